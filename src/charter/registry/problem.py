"""A problem in an estate's files: where it stands, what is wrong, and the nearest thing that would be right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from typing_extensions import override

from charter.core.errors import ErrorCode, MalformedError
from charter.core.values import Source

_MAX_TEXT = 400
_CLOSE_ENOUGH = 60  # of 100, on rapidfuzz's scale: `refnd.create` is near `refund.create`, `delete` is not


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One problem, printed `file:line:column: text; help`."""

    path: str
    line: int
    column: int
    text: str
    help: str | None = None

    def __post_init__(self) -> None:
        # what a file says reaches terminals and logs: no escape sequences, no endless lines
        object.__setattr__(self, "path", _shown(self.path))
        object.__setattr__(self, "text", _shown(self.text))
        object.__setattr__(self, "help", _shown(self.help) if self.help else None)

    @classmethod
    def at(cls, source: Source, text: str, help: str | None = None) -> Problem:
        """Return the problem that stands at `source`."""
        return cls(source.path, source.line, source.column, text, help)

    @override
    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.text}" + (f"; {self.help}" if self.help else "")


def _shown(text: str) -> str:
    """Return `text` on one line, without control characters, cut to what a person reads."""
    clean = "".join(ch if ch.isprintable() else ascii(ch)[1:-1] for ch in text[:_MAX_TEXT])
    return clean if len(text) <= _MAX_TEXT else f"{clean}…"


class PlacedError(ValueError):
    """What a model's validator refuses, with the path to it below the model: `("actions", "refund.create", "tool")`."""

    def __init__(self, path: tuple[str | int, ...], text: str) -> None:
        super().__init__(text)
        self.path = path


class EstateError(MalformedError):
    """Files of an estate are wrong. All problems found are reported together, in the files' order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems), key=lambda p: (p.path, p.line, p.column, p.text)))
        count = len(self.problems)
        super().__init__(
            ErrorCode.BAD_ESTATE,
            f"the estate has {count} problem{'s' if count != 1 else ''}: {self.problems[0] if self.problems else ''}",
            help="mend them and run charter validate",
        )


def nearest(word: str, valid: Iterable[str]) -> str | None:
    """Return the valid word nearest to `word`, or None if none is near."""
    from rapidfuzz import process

    found = process.extractOne(word, list(valid), score_cutoff=_CLOSE_ENOUGH)
    return found[0] if found else None


def suggestion(word: str, valid: Iterable[str], *, few: bool = False) -> str:
    """Return `did you mean X?`, or the words there are (at most 12); with `few`, nothing where none is near."""
    words = sorted(set(valid))
    close = nearest(word, words)
    if close:
        return f"did you mean `{close}`?"
    if few:
        return ""
    shown = ", ".join(f"`{w}`" for w in words[:12])
    return f"there is {shown}{' …' if len(words) > 12 else ''}" if words else "there is none yet"  # noqa: PLR2004 - as said
