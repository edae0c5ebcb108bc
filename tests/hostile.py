"""Input that nobody in their right mind would send: texts, JSON, and JSON that almost fits a schema.

`of_schema` makes values from a JSON Schema (an OpenAPI document's), so that whatever an endpoint declares is tried with
what it declares, with what it does not, and with everything between.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

NASTY = (
    "",
    " ",
    "\x00",
    "a\x00b",
    "\x1b[2J\x1b]0;owned\x07",
    "\u202erevo",
    "\u200b",
    "е",  # noqa: RUF001 - Cyrillic, and meant to be
    "ﬀ",
    "\ud800",
    "\U0010ffff",
    "../../etc/passwd",
    "..%2f..%2f",
    "%00",
    "%",
    "/",
    ".",
    "'; DROP TABLE principal; --",
    '" || true) };permit(principal,action,resource);//',
    "{{7*7}}${7*7}<script>alert(1)</script>",
    "-1",
    "0",
    "1e309",
    "NaN",
    "null",
    "9" * 25,
    "9" * 5000,
    "x" * 300,
    "x" * 5_000,
    "0001-01-01",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "999999w",
    "2026-02-30",
    "²",
    "٣",
)
TEXT = st.sampled_from(NASTY) | st.text(max_size=20)
NUMBERS = st.integers() | st.sampled_from([-1, 0, 2**31, 2**53, 2**63, 2**64, -(2**63) - 1, 10**400]) | st.floats()
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)


def spelt(value: Any) -> bytes:
    """Return `value` as JSON, also where Python's own would refuse: lone surrogates and NaN are spelt out."""
    return json.dumps(value, ensure_ascii=True, allow_nan=True).encode()


BROKEN_JSON = st.sampled_from(
    [
        b"",
        b"{",
        b"[" * 20_000,
        b'{"a":' * 5_000,
        b"\xff\xfe{}",
        b'{"a":1,"a":2}',
        b'"\xff"',
        b"nul",
        b"1" * 10_000,
        b"\xef\xbb\xbf{}",
        b'{"a":"' + b"x" * 20_000 + b'"}',
    ]
) | st.binary(max_size=40)


_PLAIN: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXT,
    "integer": NUMBERS,
    "number": NUMBERS,
    "boolean": st.booleans() | TEXT,
    "null": st.none(),
}


def of_schema(schema: dict[str, Any], document: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return values that fit `schema`, and some that do not; `document` holds what it refers to."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return of_schema(document["components"]["schemas"][name], document)
    if "anyOf" in schema:
        return st.one_of([of_schema(each, document) for each in schema["anyOf"]])
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]]) | TEXT
    if schema.get("type") == "object":
        return _objects(schema, document)
    if schema.get("type") == "array":
        return st.lists(of_schema(schema.get("items", {}), document), max_size=3)
    return _PLAIN.get(schema.get("type", ""), JSON)


def _objects(schema: dict[str, Any], document: dict[str, Any]) -> st.SearchStrategy[Any]:
    fields = {name: of_schema(each, document) for name, each in schema.get("properties", {}).items()}
    more = schema.get("additionalProperties")
    if not fields:
        return st.dictionaries(TEXT, of_schema(more, document) if isinstance(more, dict) else JSON, max_size=4)
    whole = st.fixed_dictionaries(fields)
    return whole | whole | st.fixed_dictionaries({}, optional=fields) | st.tuples(whole, _strange()).map(_joined)


def _strange() -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(TEXT, JSON, min_size=1, max_size=2)


def _joined(parts: tuple[dict[str, Any], dict[str, Any]]) -> dict[str, Any]:
    return parts[0] | parts[1]
