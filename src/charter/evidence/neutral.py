"""Texts of strangers on their way to readers that act on some characters: terminals, log collectors, spreadsheets.

INVARIANT: what leaves here as a line has no line break, no control character and nothing that reverses direction; JSON
leaves as ASCII; a CSV cell begins with nothing that a spreadsheet takes for a formula. All of it can be read back.
"""

from __future__ import annotations

import json
import re
from typing import Any

_UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\ufff9-\ufffb]"
)
_FORMULA = re.compile(r"^[\s]*[=+\-@\t\r|%\uff1d\uff0b\uff0d\uff20]")


def ascii_json(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """Return JSON of which every byte is printable ASCII: whatever is not, is escaped."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).replace("\x7f", "\\u007f").encode("ascii")


def one_line(text: str, longest: int = 1024) -> str:
    """Return `text` in one line, what could steer a reader made visible."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text[:longest])


def cell(text: str) -> str:
    """Return `text` as a cell of CSV: no formula, no control characters but what stands visibly."""
    plain = one_line(text, len(text))
    return f"'{plain}" if _FORMULA.match(plain) else plain
