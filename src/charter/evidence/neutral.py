"""Texts of strangers on their way to readers that act on some characters: terminals, log collectors, spreadsheets.

INVARIANT: what leaves here as a line has no line break, no control character and nothing that reverses direction; JSON
leaves as ASCII; a CSV cell begins with nothing that a spreadsheet takes for a formula. All of it can be read back.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from typing import Any

_LAST_OF_PLANE_0 = 0xFFFF
_FORMULA = re.compile(r"^[\s]*[=+\-@\t\r|%\uff1d\uff0b\uff0d\uff20]")


def ascii_json(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """Return JSON of which every byte is printable ASCII: whatever is not, is escaped."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).replace("\x7f", "\\u007f").encode("ascii")


def readable_json(value: Any, indent: int | None = None) -> str:  # noqa: ANN401 - any JSON value
    """Return JSON for programs and people: only what cannot be seen, or moves what can, is escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _each(text, _json_escape, kept="\n")  # others than line breaks stand within strings alone


def cut_to(text: str, longest: int) -> str:
    """Return `text`, at most so many characters of it; one that is cut ends with an ellipsis."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def one_line(text: str, longest: int = 1024) -> str:
    """Return `text` in one line, what could steer a reader made visible."""
    return _each(text[:longest], _visible_escape)


def lines(text: str) -> str:
    """Return `text` with its line breaks and tabs, all else that could steer a reader made visible."""
    return _each(text, _visible_escape, kept="\n\t")


def _each(text: str, escape: Callable[[str], str], kept: str = "") -> str:
    if text.isprintable():
        return text
    return "".join(each if _can_be_seen(each) or each in kept else escape(each) for each in text)


def _can_be_seen(character: str) -> bool:
    """Return whether a character stands for itself: none of control, format, direction, tag, or half a pair."""
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _visible_escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code <= _LAST_OF_PLANE_0 else f"\\U{code:08x}"


def _json_escape(character: str) -> str:
    return json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"


def cell(text: str) -> str:
    """Return `text` as a cell of CSV: no formula, no control characters but what stands visibly."""
    plain = one_line(text, len(text))
    return f"'{plain}" if _FORMULA.match(plain) else plain
