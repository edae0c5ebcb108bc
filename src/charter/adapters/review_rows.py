"""Evidence entries as rows of `reports.facts.ROWS`: only what the review questions need leaves an entry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from charter.core.errors import ErrorCode, IntegrityError
from charter.evidence.entry import EntryKind
from charter.reports.facts import HUMANS, ROWS, Columns

Row = tuple[Any, ...]
Rows = dict[str, list[Row]]  # by table
KINDS = (EntryKind.VERDICT.value, EntryKind.OUTCOME.value)  # of entries that become rows


class _Reason(msgspec.Struct):
    layer: str = ""
    rule: str = ""
    text: str = ""


class _Party(msgspec.Struct):
    name: str = ""


class _Chain(msgspec.Struct):
    initiator: str | None = None
    purpose: str | None = None
    parties: list[_Party] = []


class _Sequence(msgspec.Struct):
    session: str | None = None


class _Verdict(msgspec.Struct):
    principal: str
    verdict: str
    system: str
    tool: str = ""
    team: str | None = None
    kind: str | None = None
    action: str | None = None
    effect: str | None = None
    object: str | None = None
    data: list[str] = []
    sensitive: bool = False
    reasons: list[_Reason] = []
    chain: _Chain | None = None
    sequence: _Sequence | None = None


class _Outcome(msgspec.Struct):
    principal: str
    outcome: str
    system: str = ""
    bytes: int = 0


class _Entry(msgspec.Struct):
    node: str
    index: int
    time: str
    kind: str
    body: msgspec.Raw


_entry = msgspec.json.Decoder(_Entry).decode
_verdict = msgspec.json.Decoder(_Verdict).decode
_outcome = msgspec.json.Decoder(_Outcome).decode
_NONE = _Reason()


def rows_of(lines: Iterable[bytes]) -> Rows:
    """Return entries (their canonical JSON) as rows; entries of other kinds are passed over.

    Raises:
        IntegrityError: one is no entry.
    """
    found: Rows = {name: [] for name in ROWS}
    for line in lines:
        try:
            entry = _entry(line)
            if entry.kind == EntryKind.VERDICT:
                found["verdicts"].append(_verdict_row(entry, _verdict(entry.body)))
            elif entry.kind == EntryKind.OUTCOME:
                body = _outcome(entry.body)
                told = (body.principal, body.system, body.outcome, body.bytes)
                found["outcomes"].append((entry.node, entry.index, entry.time, *told))
        except msgspec.DecodeError as err:
            raise IntegrityError(
                ErrorCode.EVIDENCE_BROKEN, f"an evidence entry is none: {err}", help="run charter evidence verify"
            ) from err
    return found


def _verdict_row(entry: _Entry, body: _Verdict) -> Row:
    reason = body.reasons[0] if body.reasons and body.verdict != "allow" else _NONE
    lender, purpose = _lent(body.chain, body.principal)
    found = body.object or ""
    return (
        entry.node,
        entry.index,
        entry.time,
        body.principal,
        body.team or "",
        body.kind or "",
        body.verdict,
        body.system,
        body.action or body.tool,
        body.effect or "",
        found,
        place_of(found),
        ", ".join(sorted(body.data)),
        body.sensitive,
        reason.layer,
        reason.rule,
        reason.text,
        lender,
        purpose,
        (body.sequence.session if body.sequence else None) or "",
    )


def _lent(chain: _Chain | None, caller: str) -> tuple[str, str]:
    """Return who lent the caller its authority, and for what; nothing for one that acts by itself."""
    if chain is None:
        return "", ""
    names = [party.name for party in chain.parties]
    at = names.index(caller) if caller in names else len(names)
    lender = names[at - 1] if at else chain.initiator or ""
    return HUMANS if "@" in lender else lender, chain.purpose or ""


def place_of(found: str) -> str:
    """Return an object's folder: `charge/ch_1` is in `charge/*`; what has no folder is its own place."""
    folder, slash, _name = found.rpartition("/")
    return f"{folder}/*" if slash else found


_ARROW = {"string": pa.string(), "boolean": pa.bool_(), "int64": pa.int64()}


def arrow(columns: Columns, rows: Sequence[Row]) -> pa.Table:
    """Return rows as an Arrow table; times are RFC 3339 in the rows, and UTC without a zone in the table."""
    values: Mapping[str, Sequence[Any]] = dict(zip(columns, zip(*rows, strict=True), strict=True)) if rows else {}
    return pa.table({name: _array(kind, values.get(name, ())) for name, kind in columns.items()})


def _array(kind: str, values: Sequence[Any]) -> pa.Array:
    if kind in _ARROW:
        return pa.array(values, _ARROW[kind])
    return pa.array(values, pa.string()).cast(pa.timestamp("us", tz="UTC")).cast(pa.timestamp("us"))
