"""`data.yaml`: classes of data, how bad each would be in wrong hands, and whose models may be shown it.

A class that no file describes counts as confidential: what nobody has judged is not harmless.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from charter.registry.field import DataClass, Model, Name, Text

MAX_CLASSES = 500


class DataFlow(Model):
    """Which classes of data are read, written, and sent to a model provider; what is not written: all, or by effect."""

    read: tuple[DataClass, ...] | None = None
    write: tuple[DataClass, ...] | None = None
    send: tuple[DataClass, ...] | None = None

    @property
    def classes(self) -> frozenset[str]:
        """Every class that is named."""
        return frozenset((*(self.read or ()), *(self.write or ()), *(self.send or ())))


@dataclass(frozen=True, slots=True)
class Touched:
    """What one action does to data: the classes it touches, and which of them it reads, writes and sends."""

    data: frozenset[str] = frozenset()
    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    sends: frozenset[str] = frozenset()


NOTHING_TOUCHED = Touched()


class Level(StrEnum):
    """How much harm a class of data does in wrong hands, least first."""

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"
    RESTRICTED = "restricted"


UNJUDGED = Level.CONFIDENTIAL


class DataRule(Model):
    """One class of data. Without `providers`, the models of any provider may be shown it."""

    level: Level
    title: Text | None = None
    providers: Annotated[tuple[Name, ...], Field(max_length=50)] | None = None


class DataClasses(Model):
    """`data.yaml`, version 1 of the format."""

    charter: Literal["v1"]
    classes: Annotated[dict[DataClass, DataRule], Field(max_length=MAX_CLASSES)] = Field(default_factory=dict)

    def level_of(self, name: str) -> Level:
        """Return the level of a class; of one that is not described, `UNJUDGED`."""
        known = self.classes.get(name)
        return known.level if known else UNJUDGED

    def to_json(self) -> dict[str, Any]:
        """Return the file as plain JSON."""
        return self.model_dump(mode="json", exclude_none=True)
