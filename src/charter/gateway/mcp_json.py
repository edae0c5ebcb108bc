"""Strict JSON for what callers send: one text, one value.

INVARIANT: what is decided on and what is forwarded are the same value. So anything two readers could understand
differently is refused: repeated keys (also when one is spelt with escapes), invalid UTF-8, lone surrogates, NaN,
numbers out of range, trailing text, a byte order mark. Nesting is bounded, so that no later step runs out of stack.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from charter.core.errors import ErrorCode, MalformedError

MAX_DEPTH = 64
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class _RepeatedKeyError(ValueError):
    """An object holds one key twice."""


def parse_json(data: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value that `data` spells.

    Raises:
        MalformedError: `data` is no JSON text (RFC 8259), nests deeper than 64, or repeats a key.
    """
    if _opens(data) > MAX_DEPTH and _depth(data) > MAX_DEPTH:
        raise _malformed(f"nests deeper than {MAX_DEPTH}")
    try:
        value = msgspec.json.decode(data)
        _KEY_CHECK.decode(data.decode())
    except _RepeatedKeyError as err:
        raise _malformed(f"repeats the key {str(err)[:80]!a} in one object") from err
    except (msgspec.MsgspecError, ValueError, RecursionError) as err:
        raise _malformed("is not JSON in UTF-8") from err
    return value


def _opens(data: bytes) -> int:
    """Return an upper bound of the nesting depth: how many brackets open, strings included."""
    return data.count(b"[") + data.count(b"{")


def _depth(data: bytes) -> int:
    """Return how deep `data` nests, if it is JSON."""
    depth = deepest = 0
    for byte in _STRING.sub(b"", data).translate(None, _NO_BRACKETS):
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> None:
    if len(pairs) > 1 and len(dict(pairs)) < len(pairs):
        seen: set[str] = set()
        raise _RepeatedKeyError(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]  # add returns None on purpose


_KEY_CHECK = json.JSONDecoder(object_pairs_hook=_object)


def _malformed(why: str) -> MalformedError:
    return MalformedError(ErrorCode.BAD_REQUEST, f"the body {why}", help="send one JSON object, each key once")
