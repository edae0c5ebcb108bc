"""Values with the places they were read from, and files that are kept as their text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from charter.core.canonical import digest
from charter.core.values import Source

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sourced(Generic[T]):
    """A value and where each piece of it stands: `sources["grants.0.when.hours"]`; `""` is the whole."""

    value: T
    sources: Mapping[str, Source]

    @property
    def path(self) -> str:
        """The file, relative to the estate."""
        return self.sources[""].path

    def source_of(self, dotted: str) -> Source:
        """Return where `dotted` stands, or the nearest thing around it that does."""
        while dotted and dotted not in self.sources:
            dotted = dotted.rpartition(".")[0]
        return self.sources[dotted]


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file that counts as it is written: its path relative to the estate and its text, line ends as LF."""

    path: str
    text: str

    @property
    def digest(self) -> str:
        """The digest of the text."""
        return digest(self.text.encode())
