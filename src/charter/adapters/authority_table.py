"""What is permitted as an Arrow table: columns `AUTHORITY`, a row for each piece."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

import pyarrow as pa

from charter.reports.facts import AUTHORITY
from charter.reports.permissions import Permission

_OF_REACH = frozenset({"aspect", "what", "prefix", "middle", "suffix", "is_open", "pattern", "hour"})
_TEXT = pa.dictionary(pa.int32(), pa.string())  # few of them are unlike: a third of the memory, and quicker to compare
_TYPES = {"string": pa.string(), "boolean": pa.bool_(), "int64": pa.int64(), "timestamp(6)": pa.timestamp("us", "UTC")}


def table_of(permissions: Iterable[Permission]) -> pa.Table:
    """Return permissions as a table; moments are UTC without a zone in it."""
    held = list(permissions)
    reach = [each.reach for each in held]
    columns = {}
    for name, kind in AUTHORITY.items():
        values = pa.array(map(attrgetter(name), reach if name in _OF_REACH else held), _TYPES[kind])
        columns[name] = values.cast(_TEXT) if kind == "string" else values
    columns["granted"] = columns["granted"].cast(pa.timestamp("us"))
    return pa.table(columns)


def whole(blocks: Iterable[pa.Table]) -> pa.Table:
    """Return such tables as one; nothing is copied."""
    return pa.concat_tables([table_of(()), *blocks])
