"""What a principal did before a question was asked, read from the evidence for the question's card."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
import sqlalchemy as sa

from charter.adapters import tables as t
from charter.adapters.evidence_store import APART, whole_data
from charter.adapters.gateway_store import SqlApprovals
from charter.adapters.payloads import Payloads
from charter.core.clock import parse_rfc3339, rfc3339
from charter.evidence.entry import EntryKind
from charter.lifecycle.approval_card import MAX_PAST, PERIOD, Past, PastCall
from charter.registry.approval import Approval, ApprovalState

MAX_APPROVED = 100
_OWN = dt.timedelta(seconds=2)  # around the question, where its own verdict is


class _Asked(msgspec.Struct):
    arguments: dict[str, Any] = {}


class _Verdict(msgspec.Struct):
    verdict: str
    verdict_id: str
    system: str = ""
    action: str | None = None
    object: str | None = None
    asked: _Asked | None = None


class _Entry(msgspec.Struct):
    time: str
    body: _Verdict


_decode = msgspec.json.Decoder(_Entry).decode


def past_of(connection: sa.Connection, approval: Approval, payloads: Payloads | None) -> Past:
    """Return what the principal of `approval` was let do in the days before it asked."""
    c = t.evidence_entry.c
    query = (
        sa.select(c.node, c.index, c.data, *APART)
        .where(
            c.principal_id == approval.principal_id,
            c.time >= rfc3339(approval.asked_at - PERIOD),
            c.time <= rfc3339(approval.asked_at + _OWN),
            c.kind == EntryKind.VERDICT.value,
        )
        .order_by(c.time.desc(), c.index.desc())
        .limit(MAX_PAST * 2)
    )
    calls: list[PastCall] = []
    own: dict[str, tuple[Decimal, str]] = {}
    for node, index, data, *apart in connection.execute(query):
        entry = _decode(whole_data(payloads, (node, index), data, tuple(apart)))
        said = entry.body
        if said.verdict_id == approval.verdict_id:
            own = _amounts(said.asked)
        elif said.verdict == "allow" and len(calls) < MAX_PAST and parse_rfc3339(entry.time) <= approval.asked_at:
            at = parse_rfc3339(entry.time)
            calls.append(PastCall(at, said.system, said.action or "", said.object or "", _amounts(said.asked)))
    spent = SqlApprovals(connection).of_principal(approval.principal_id, ApprovalState.SPENT, limit=MAX_APPROVED)
    return Past(tuple(calls), own, tuple(each for each in spent if each.asked_at < approval.asked_at))


def _amounts(asked: _Asked | None) -> dict[str, tuple[Decimal, str]]:
    found = {}
    for name, said in (asked.arguments if asked else {}).items():
        quantity = said.get("quantity") if isinstance(said, dict) else None
        if isinstance(quantity, dict):
            try:
                found[name] = (Decimal(str(quantity["value"])), str(quantity["unit"]))
            except (InvalidOperation, KeyError):
                continue
    return found
