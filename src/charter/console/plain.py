"""Text from outside, made harmless to look at.

INVARIANT: what `plain` returns holds only characters a person can see, spaces, and (for blocks of text) tabs and line
ends. Everything else (terminal escapes, direction overrides, zero-width and tag characters, fillers that draw
nothing, lone surrogates) is shown by its code point, so that no value can hide, reorder or imitate anything. Jinja
calls it on every value a template prints (`finalize`), before it escapes HTML; no template can forget it.
"""

from __future__ import annotations

import unicodedata
from typing import Any

from markupsafe import Markup

# Letters and marks by category, yet drawn as nothing (Unicode: Default_Ignorable_Code_Point and blank glyphs)
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0\ufffc")
_SELECTORS = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))  # variation selectors carry hidden bytes
MAX_MARKS = 3  # combining marks one letter may carry; a pile of them paints over its neighbours


def plain(value: Any) -> Any:  # noqa: ANN401 - whatever a template prints
    """Return `value` fit to be seen: every invisible character of text as `⟨U+202E⟩`; other values as they are."""
    if isinstance(value, Markup | bool | int | float) or value is None:
        return value
    text = str(value)
    return text if text.isascii() and text.isprintable() else _shown(text)


def _shown(text: str) -> str:
    parts: list[str] = []
    marks = 0
    for char in text:
        marks = marks + 1 if unicodedata.combining(char) else 0
        seen = char in "\n\t" or _is_visible(char)
        parts.append(char if seen and marks <= MAX_MARKS else f"⟨U+{ord(char):04X}⟩")
    return "".join(parts)


def _is_visible(char: str) -> bool:
    return char.isprintable() and char not in _BLANK and not any(ord(char) in block for block in _SELECTORS)


def shortened(value: object, length: int = 400) -> str:
    """Return `value` as text of at most `length` characters and a note of how many there are."""
    text = str(value)
    return text if len(text) <= length else f"{text[:length]}… ({len(text):,} characters)"
