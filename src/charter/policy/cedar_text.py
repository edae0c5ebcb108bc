"""Cedar text, written so that no value can become structure.

INVARIANT: whatever a string holds, `quoted` yields one string literal that reads back as it, and `pattern` one `like`
pattern in which `*` alone is special. Property tests parse both back.
INVARIANT: expressions stay shallow. Cedar's JSON form and its parsed tree both bound nesting (at about 60 and 100
levels), and its parser's stack is not bounded at all, so long alternatives are written as a balanced tree.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from decimal import Decimal

MAX_FLAT = 6  # alternatives written side by side; more are bracketed in halves

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED = frozenset({"true", "false", "if", "then", "else", "in", "is", "like", "has", "__cedar"})
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    return char if char.isprintable() else f"\\u{{{ord(char):x}}}"


def quoted(text: str) -> str:
    """Return `text` as a Cedar string literal. `text` must be Unicode without lone surrogates."""
    return '"' + "".join(map(_escaped, text)) + '"'


def pattern(text: str) -> str:
    """Return `text` as the right side of `like`: `*` matches any run of characters, all else itself."""
    return quoted(text)  # a bare `*` is Cedar's wildcard too, and a backslash was doubled, so nothing escapes it


def entity(kind: str, name: str) -> str:
    """Return the entity literal `Charter::<kind>::"<name>"`."""
    return f"Charter::{kind}::{quoted(name)}"


def attribute(base: str, name: str) -> str:
    """Return `base.name`, or `base["name"]` where the name is no identifier."""
    return f"{base}.{name}" if is_identifier(name) else f"{base}[{quoted(name)}]"


def is_identifier(name: str) -> bool:
    """Whether Cedar reads `name` bare."""
    return bool(_IDENTIFIER.fullmatch(name)) and name not in _RESERVED


def key(name: str) -> str:
    """Return `name` as it stands after `has`, or as an attribute in a schema."""
    return name if is_identifier(name) else quoted(name)


def strings(values: Sequence[str]) -> str:
    """Return a set literal of strings."""
    return "[" + ", ".join(map(quoted, values)) + "]"


def decimal(value: Decimal) -> str:
    """Return a decimal literal; `value` has at most 4 decimals and 12 digits before them."""
    return f'decimal("{decimal_digits(value)}")'


def decimal_digits(value: Decimal) -> str:
    """Return the digits of a Cedar decimal: 1 to 4 after the point."""
    digits = f"{value:.4f}".rstrip("0")
    return digits + "0" if digits.endswith(".") else digits


def moment(at: dt.datetime) -> str:
    """Return a datetime literal, in UTC, with milliseconds."""
    return f'datetime("{moment_digits(at)}")'


def moment_digits(at: dt.datetime) -> str:
    """Return `at` as Cedar's datetime is written: `2026-12-18T17:00:00.000Z`."""
    return at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"


def any_of(terms: Sequence[str]) -> str:
    """Return `a || b || …`, balanced when long. `terms` are expressions that bind tighter than `||`; at least one."""
    if len(terms) <= MAX_FLAT:
        return " || ".join(terms)
    middle = len(terms) // 2
    return f"({any_of(terms[:middle])}) || ({any_of(terms[middle:])})"


def annotation(name: str, text: str) -> str:
    """Return `@name("text")`."""
    return f"@{name}({quoted(text)})"
