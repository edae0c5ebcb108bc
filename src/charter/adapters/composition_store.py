"""Pinned compositions: rows <-> values.

INVARIANT: what is kept is held to its digest when it is read; one that somebody altered stops the node, since without
it a change would go unseen.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from charter.adapters import tables as t
from charter.core.canonical import canonical
from charter.core.clock import parse_rfc3339, rfc3339
from charter.core.errors import ErrorCode, IntegrityError
from charter.registry.composed import Changed, Composed, Seen, Terms
from charter.registry.composition import OnChange, Parts

_c = t.composition.c


@dataclass(frozen=True, slots=True)
class SqlCompositions:
    """The compositions, on one connection. Satisfies lifecycle.composition.CompositionStore."""

    connection: sa.Connection

    def put(self, composed: Composed, at: dt.datetime) -> None:
        """Keep one, in place of the one before."""
        self.drop(composed.principal_id)
        row = {"principal_id": composed.principal_id, "digest": composed.digest, "body": _body(composed)}
        self.connection.execute(t.composition.insert(), row | {"changed_at": rfc3339(at)})

    def drop(self, principal_id: str) -> None:
        """Forget that of a principal."""
        self.connection.execute(t.composition.delete().where(_c.principal_id == principal_id))

    def all(self) -> Iterator[Composed]:
        """Yield every one.

        Raises:
            IntegrityError: one is not what its digest says.
        """
        return map(_composed, self.connection.execute(sa.select(t.composition)))


def _body(composed: Composed) -> str:
    terms = composed.terms
    found = {
        "terms": {"on_change": terms.on_change.value, "role": terms.role, "attested": list(terms.attested)},
        "reviewer": composed.reviewer,
        "declared": _lists(composed.declared),
        "accepted": _lists(composed.accepted),
        "accepted_by": composed.accepted_by,
        "accepted_at": rfc3339(composed.accepted_at),
        "reviews": composed.reviews,
        "seen": {part: [each.value, each.by, rfc3339(each.at)] for part, each in composed.seen.items()},
        "changes": {
            part: {"was": list(each.was), "now": list(each.now), "by": each.by, "at": rfc3339(each.at)}
            | ({"actor": each.actor} if each.actor is not None else {})
            for part, each in composed.changes.items()
        },
        "finding": composed.finding,
    }
    return canonical(found).decode()


def _composed(row: sa.Row[Any]) -> Composed:
    try:
        found = _read(row.principal_id, json.loads(row.body))
    except (ValueError, KeyError, TypeError) as err:
        raise _altered(row.principal_id) from err
    if found.digest != row.digest:
        raise _altered(row.principal_id)
    return found


def _read(principal_id: str, body: Mapping[str, Any]) -> Composed:
    terms = body["terms"]
    return Composed(
        principal_id=principal_id,
        terms=Terms(OnChange(terms["on_change"]), terms["role"], tuple(terms["attested"])),
        reviewer=body["reviewer"],
        declared=_parts(body["declared"]),
        accepted=_parts(body["accepted"]),
        accepted_by=body["accepted_by"],
        accepted_at=parse_rfc3339(body["accepted_at"]),
        reviews=body["reviews"],
        seen={part: Seen(value, by, parse_rfc3339(at)) for part, (value, by, at) in body["seen"].items()},
        changes={
            part: Changed(
                tuple(each["was"]), tuple(each["now"]), each["by"], parse_rfc3339(each["at"]), each.get("actor")
            )
            for part, each in body["changes"].items()
        },
        finding=body["finding"],
    )


def _lists(parts: Parts) -> dict[str, list[str]]:
    return {part: list(values) for part, values in parts.items()}


def _parts(kept: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {part: tuple(values) for part, values in kept.items()}


def _altered(principal_id: str) -> IntegrityError:
    return IntegrityError(
        ErrorCode.EVIDENCE_BROKEN,
        f"the composition of `{principal_id}` was altered in the database: it is not what its digest says",
        help="find out who did it; a backup has what was accepted, and so has the evidence (composition.reviewed)",
    )
