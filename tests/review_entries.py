"""Evidence entries as the pipeline writes them, with what a test wants to vary, and the answers to them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Sequence
from typing import Any

from charter.adapters import analytics
from charter.adapters.authority_table import table_of
from charter.adapters.question_sql import Asked
from charter.adapters.sealed import Entry
from charter.evidence.entry import Draft, EntryKind, place
from charter.reports.answer import Answer
from charter.reports.permissions import Permission

SINCE = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
UNTIL = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
_BODY: dict[str, Any] = {
    "verdict_id": "vrd_1",
    "verdict": "allow",
    "principal": "refund-agent",
    "team": "payments-ops",
    "kind": "agent",
    "environment": "production",
    "charter": {"version": 1, "digest": "sha256:00"},
    "system": "payments",
    "tool": "get_charge",
    "action": "charge.read",
    "effect": "read",
    "object": "charge/ch_1",
    "data": ["customer-pii"],
    "sensitive": True,
    "arguments_digest": "sha256:00",
    "call_digest": "sha256:00",
    "reasons": [],
    "approval": None,
    "session": None,
    "token": "jti",
    "slice": "sha256:00",
    "timing_us": {"decide": 30},
}


def a_verdict(at: str, **changed: Any) -> bytes:
    """Return a verdict entry's canonical bytes; `at` is `2026-11-02T09:30` or so, UTC."""
    return _entry(EntryKind.VERDICT, at, _BODY | changed)


def a_refusal(at: str, rule: str = "built-in/no-grant", layer: str = "charter", **changed: Any) -> bytes:
    """Return a denial by `rule`."""
    reason = {"layer": layer, "rule": rule, "text": f"{rule} says no", "mend": "", "link": "x", "source": None}
    return a_verdict(at, **{"verdict": "deny", "reasons": [reason]} | changed)


def an_outcome(at: str, **changed: Any) -> bytes:
    """Return an outcome entry's canonical bytes."""
    body = {
        "verdict_id": "vrd_1", "outcome": "ok", "sent": True, "bytes": 100, "result_digest": None, "duration_ms": 5,
        "principal": "refund-agent", "system": "payments", "tool": "get_charge",
    }  # fmt: skip
    return _entry(EntryKind.OUTCOME, at, body | changed)


def _entry(kind: EntryKind, at: str, body: dict[str, Any]) -> bytes:
    time = dt.datetime.fromisoformat(at).replace(tzinfo=dt.UTC)
    return place(Draft(kind, "prn_1", "prn_1", body), node="nod_1", index=0, at=time).data


def a_permission(action: str = "charge.read", granted: str = "2026-08-01", **changed: Any) -> Permission:
    """Return a permission of the refund agent."""
    given = {
        "principal": "refund-agent", "team": "payments-ops", "kind": "agent", "system": "payments",
        "action": action, "effect": "read", "granted": dt.datetime.fromisoformat(granted).replace(tzinfo=dt.UTC),
    }  # fmt: skip
    return Permission(**(given | changed))


def answers(
    lines: Iterable[bytes], permissions: Iterable[Permission] = (), **narrowed: str | None
) -> dict[str, Answer]:
    """Return the five answers by name, for November 2026 up to the 24th."""
    asked = Asked(SINCE, UNTIL, narrowed)
    return {each.name: each for each in analytics.answers(asked, lines, table_of(permissions))}


def rows(answer: Answer, *columns: str) -> list[tuple[Any, ...]]:
    """Return some columns of an answer's rows."""
    places = [answer.columns.index(column) for column in columns]
    return [tuple(row[place] for place in places) for row in answer.rows]


def placed(lines: Sequence[bytes], node: str = "nod_1", start: int = 0) -> list[Entry]:
    """Return entries at places of one node's log, as the log has them."""
    found = []
    for index, line in enumerate(lines, start):
        body = json.loads(line) | {"node": node, "index": index}
        found.append(Entry(node, index, json.dumps(body).encode()))
    return found
