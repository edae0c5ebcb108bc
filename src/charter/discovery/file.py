"""One file of a checkout as detectors see it: its path, its bytes, its text, and where in the checkout it stands."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from charter.discovery.sighting import clean_path

_TESTS = frozenset(
    {"test", "tests", "testing", "__tests__", "spec", "specs", "e2e", "fixtures", "testdata", "mocks", "__mocks__"}
)
_EXAMPLES = frozenset(
    {"example", "examples", "sample", "samples", "demo", "demos", "cookbook", "docs", "doc", "tutorials", "tutorial"}
)
_BYTE_ORDERS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


@dataclass(frozen=True)
class File:
    """A file that was read. `path` is relative to what is scanned, with `/` between its parts."""

    path: str
    data: bytes

    @cached_property
    def shown(self) -> str:
        """The path, fit to be shown."""
        return clean_path(self.path)

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """The path's parts, in lower case."""
        return tuple(self.path.lower().split("/"))

    @property
    def name(self) -> str:
        """The file's own name, in lower case."""
        return self.parts[-1]

    @cached_property
    def suffix(self) -> str:
        """The name's last suffix with its dot, in lower case."""
        return PurePosixPath(self.name).suffix

    @cached_property
    def text(self) -> str:
        """The file's text; bytes that are none become U+FFFD, line ends become LF."""
        encoding = next((name for mark, name in _BYTE_ORDERS if self.data.startswith(mark)), "utf-8")
        return self.data.decode(encoding, "replace").replace("\r\n", "\n")

    def holds(self, *markers: bytes) -> bool:
        """Return whether any of `markers` stands in the file's bytes."""
        return any(marker in self.data for marker in markers)

    def line_at(self, offset: int) -> int:
        """Return the line, from 1, of the character at `offset` of the text."""
        return self.text.count("\n", 0, offset) + 1

    def line_of(self, *words: str) -> int:
        """Return the line where `words` stand one after the other; where they stop, the last found."""
        at = 0
        for word in words:
            found = self.text.find(word, at)
            if found < 0:
                break
            at = found
        return self.line_at(at)


def setting_of(path: str) -> str:
    """Return what the code at `path` is for: `tests`, `examples` or `code`."""
    parts = path.lower().split("/")
    name = parts[-1]
    if (
        not _TESTS.isdisjoint(parts[:-1])
        or name.startswith(("test_", "conftest."))
        or any(mark in name for mark in ("_test.", ".test.", ".spec."))
    ):
        return "tests"
    return "code" if _EXAMPLES.isdisjoint(parts[:-1]) else "examples"
