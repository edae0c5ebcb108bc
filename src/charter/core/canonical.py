"""Canonical JSON (RFC 8785) and digests: the only place that turns objects into bytes to be signed or hashed.

Evidence, charters and approvals are all compared by the digests made here, so two spellings of one value must give
the same bytes. `canonical` uses msgspec where its output is byte for byte that of RFC 8785 (objects with ASCII keys, no
floats) and the `rfc8785` package, forty times slower, for the rest; a property test holds the two equal.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import rfc8785

from charter.core.errors import ErrorCode, MalformedError

MAX_DEPTH = 64
MAX_SAFE_INTEGER = 2**53 - 1  # beyond it, JSON readers disagree (RFC 8785 section 3.2.2.3)
_TEXT = frozenset({str})
_HOLDS_NOTHING = frozenset({str, bool, type(None)})
_MANY_KEYS = 4_096
_known_keys: set[str] = set()  # ASCII keys seen before, as most are: to look them up costs a third of looking at them
_encode = msgspec.json.Encoder(order="deterministic").encode


def canonical(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """Return the canonical UTF-8 bytes of a JSON `value`: dicts with text keys, lists, tuples, text, numbers, None.

    Raises:
        MalformedError: `value` is no JSON, nests deeper than 64, or holds a number that JSON readers disagree about.
    """
    try:
        if _is_simple(value, 0):
            return _encode(value)
        return bytes(rfc8785.dumps(value))
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError, TypeError) as err:
        raise MalformedError(
            ErrorCode.NOT_CANONICAL,
            f"the value has no canonical JSON form: {err}",
            help="send plain JSON with safe integers",
        ) from err


def _is_simple(value: Any, depth: int) -> bool:  # noqa: ANN401
    """Return whether msgspec's deterministic form of `value` is its canonical form too."""
    kind = type(value)
    if kind is dict:
        if not value.keys() <= _known_keys and not _are_simple_keys(value):
            return False
        items = value.values()
    elif kind is list or kind is tuple:
        items = value
    else:
        return kind in _HOLDS_NOTHING or (kind is int and _is_safe(value))
    if depth == MAX_DEPTH and items:
        raise MalformedError(ErrorCode.NOT_CANONICAL, f"the value nests deeper than {MAX_DEPTH}")
    for item in items:  # what holds nothing is looked at here: a call costs more, and this is run for each entry
        kind = type(item)
        if kind in _HOLDS_NOTHING or (kind is int and _is_safe(item)):
            continue
        if not _is_simple(item, depth + 1):
            return False
    return True


def _are_simple_keys(value: dict[Any, Any]) -> bool:
    if {*map(type, value)} != _TEXT or not "".join(value).isascii():
        return False
    if len(_known_keys) + len(value) <= _MANY_KEYS:
        _known_keys.update(value)
    return True


def _is_safe(number: int) -> bool:
    return -MAX_SAFE_INTEGER <= number <= MAX_SAFE_INTEGER


def digest(data: bytes) -> str:
    """Return `sha256:<64 hex digits>` of `data`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_of(value: Any) -> str:  # noqa: ANN401
    """Return the digest of the canonical form of a JSON `value`."""
    return digest(canonical(value))
