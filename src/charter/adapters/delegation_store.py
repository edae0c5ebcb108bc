"""Delegations and switches: rows <-> values."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from charter.adapters import tables as t
from charter.adapters.driver_sql import Compiled, batch
from charter.core.canonical import canonical
from charter.core.clock import parse_rfc3339, rfc3339
from charter.core.errors import AbsentError, CharterError, ErrorCode
from charter.identity.delegation import Wanted
from charter.registry.delegation import Delegation, Link, Role
from charter.registry.lent_scope import Scope, parse_scope
from charter.registry.standing import Standing

Row = Any  # a row with the table's columns
_log = logging.getLogger(__name__)
BATCH = 2_000
MAX_ROWS_NAMED = 500  # in one statement
_ROLES = {each.value: each for each in Role}
_STANDINGS = {each.value: each for each in Standing}


class SqlDelegations:
    """The delegations kept, on one connection. Satisfies identity.delegation.DelegationStore."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, delegation: Delegation, depth: int) -> None:
        """Keep a new one; `depth` is its chain's."""
        with batch(self._connection) as new_cursor:
            _insertion(self._connection.dialect).one(new_cursor(), _row(delegation, depth))

    def accept(self, delegation_id: str, proof: str, digest: str) -> None:
        """Keep the proof by which its borrower accepted it."""
        statement = t.delegation.update().where(t.delegation.c.id == delegation_id)
        self._connection.execute(statement.values(proof=proof, proof_digest=digest))

    def get(self, delegation_id: str) -> Delegation:
        """Return one.

        Raises:
            AbsentError: there is none of that id.
        """
        row = self._connection.execute(sa.select(t.delegation).where(t.delegation.c.id == delegation_id)).first()
        if row is None:
            raise AbsentError(
                ErrorCode.UNKNOWN_DELEGATION,
                f"there is no delegation {delegation_id[:64]!a}",
                help="charter delegations ls",
            )
        return _delegation(row)

    def chain(self, delegation_id: str) -> list[Delegation]:
        """Return the delegations of a chain, from its root to the one named, whatever their standing.

        Raises:
            AbsentError: there is none of that id.
        """
        found = [self.get(delegation_id)]
        while found[-1].parent is not None:
            found.append(self.get(found[-1].parent))
        return found[::-1]

    def proofs(self, delegation_id: str) -> list[str | None]:
        """Return the actors' proofs of the chain that a delegation ends, newest first as in a token.

        Raises:
            AbsentError: there is none of that id.
        """
        return [each.proof for each in reversed(self.chain(delegation_id))]

    def matching(self, wanted: Wanted, after: int) -> list[str]:
        """Return the ids of those that are wanted, not withdrawn, and end after `after`, in seconds since 1970."""
        c = t.delegation.c
        query = sa.select(c.id).where(_is_wanted(wanted), c.standing == Standing.ACTIVE.value, c.expires_at > after)
        return list(self._connection.execute(query.order_by(c.id)).scalars())

    def listed(self, wanted: Wanted, after: int, *, limit: int) -> list[Delegation]:
        """Return those that are wanted and end after `after`, withdrawn ones too, newest first."""
        c = t.delegation.c
        query = sa.select(t.delegation).where(_is_wanted(wanted), c.expires_at > after)
        return [_delegation(row) for row in self._connection.execute(query.order_by(c.id.desc()).limit(limit))]

    def beneath(self, ids: Sequence[str], after: int) -> int:
        """Return how many that end after `after` rest on one of `ids`, at whatever remove."""
        d = t.delegation
        tree = sa.select(d.c.id).where(d.c.parent.in_(ids), d.c.expires_at > after).cte("beneath", recursive=True)
        tree = tree.union(sa.select(d.c.id).where(d.c.parent == tree.c.id, d.c.expires_at > after))
        others = sa.select(sa.func.count()).select_from(tree).where(tree.c.id.not_in(ids))
        return int(self._connection.execute(others).scalar_one())

    def lent_by(self, party: str, after: int, *, limit: int) -> list[tuple[str, str, str, str]]:
        """Return (id, lender, borrower, purpose) of what a party lent, and of all that rests on it, at any remove.

        Those that end after `after` and were not withdrawn; the newest `limit`.
        """
        d = t.delegation
        counts = sa.and_(d.c.expires_at > after, d.c.standing == Standing.ACTIVE.value)
        tree = sa.select(d.c.id).where(d.c.lender == party, counts).cte("lent", recursive=True)
        tree = tree.union(sa.select(d.c.id).where(d.c.parent == tree.c.id, counts))
        query = (
            sa.select(d.c.id, d.c.lender, d.c.borrower, d.c.purpose)
            .where(d.c.id.in_(sa.select(tree.c.id)))
            .order_by(d.c.id.desc())
            .limit(limit)
        )
        return [(row.id, row.lender, row.borrower, row.purpose) for row in self._connection.execute(query)]

    def withdraw(self, ids: Sequence[str], at: dt.datetime, by: str) -> None:
        """Mark as withdrawn."""
        values = {"standing": Standing.REVOKED.value, "withdrawn_at": rfc3339(at), "withdrawn_by": by}
        for start in range(0, len(ids), MAX_ROWS_NAMED):
            named = t.delegation.c.id.in_(ids[start : start + MAX_ROWS_NAMED])
            self._connection.execute(t.delegation.update().where(named).values(values))

    def live(self, after: int) -> Iterator[Delegation]:
        """Yield those that end after `after`, withdrawn ones too, each after what it rests on; without their proofs."""
        c = t.delegation.c
        columns = [sa.null().label("proof") if each.name == "proof" else each for each in t.delegation.columns]
        query = sa.select(*columns).where(c.expires_at > after).order_by(c.depth, c.id)
        for rows in self._connection.execute(query.execution_options(yield_per=BATCH)).partitions():
            yield from (found for row in rows if (found := _intact(row)) is not None)

    def forget(self, before: int, *, most: int = BATCH) -> int:
        """Drop at most `most` that ended before `before`, what hangs beneath first; return how many."""
        c = t.delegation.c
        old = sa.select(c.id).where(c.expires_at < before).order_by(c.depth.desc(), c.expires_at).limit(most)
        ids = list(self._connection.execute(old).scalars())
        for start in range(0, len(ids), MAX_ROWS_NAMED):
            self._connection.execute(t.delegation.delete().where(c.id.in_(ids[start : start + MAX_ROWS_NAMED])))
        return len(ids)

    # --- switches ---

    def switch(self, lender: str, borrower: str, *, is_on: bool, at: dt.datetime, by: str) -> None:
        """Keep whether `lender` may lend to `borrower` for now."""
        c = t.delegation_switch.c
        self._connection.execute(t.delegation_switch.delete().where(c.lender == lender, c.borrower == borrower))
        if not is_on:
            row = {"lender": lender, "borrower": borrower, "at": rfc3339(at), "by": by}
            self._connection.execute(t.delegation_switch.insert(), row)

    def switched_off(self) -> list[tuple[str, str]]:
        """Return each lender that may not lend for now, with the borrower it may not lend to."""
        c = t.delegation_switch.c
        found = self._connection.execute(sa.select(c.lender, c.borrower).order_by(c.lender, c.borrower))
        return [(row.lender, row.borrower) for row in found]


def _is_wanted(wanted: Wanted) -> sa.ColumnElement[bool]:
    c = t.delegation.c
    terms: list[sa.ColumnElement[bool]] = [sa.true()]
    if wanted.link is not None:
        terms.append(c.id == wanted.link)
    if wanted.person is not None:
        terms.append(c.lender == wanted.person)
    if wanted.agent is not None:
        terms.append(sa.or_(c.borrower == wanted.agent, c.lender == wanted.agent))
    if wanted.purpose is not None:
        terms.append(c.purpose == wanted.purpose)
    return sa.and_(*terms)


@lru_cache(maxsize=4)
def _insertion(dialect: sa.Dialect) -> Compiled:
    """Return the statement that keeps a delegation. Every exchange makes one, so it is built once."""
    return Compiled(t.delegation.insert(), dialect)


def _row(delegation: Delegation, depth: int) -> dict[str, object]:
    link = delegation.link
    scope = link.scope.to_json()
    return {
        "id": link.id,
        "parent": delegation.parent,
        "depth": depth,
        "initiator": delegation.initiator,
        "lender": link.lender,
        "borrower": link.borrower,
        "role": link.role.value,
        "control_plane": link.control_plane,
        "purpose": link.purpose,
        "scope": None if scope is None else canonical(scope).decode(),
        "made_at": link.made_at,
        "expires_at": link.expires_at,
        "standing": link.standing.value,
        "lender_epoch": link.lender_epoch,
        "lender_credential": link.lender_credential,
        "made_by": delegation.made_by,
        "door": delegation.door,
        "reason": delegation.reason,
        "proof": delegation.proof,
        "proof_digest": link.proof,
        "withdrawn_at": None if delegation.withdrawn_at is None else rfc3339(delegation.withdrawn_at),
        "withdrawn_by": delegation.withdrawn_by,
    }


@lru_cache(maxsize=4096)
def _scope(text: str | None) -> Scope:
    return parse_scope(None if text is None else json.loads(text))


def _intact(row: Row) -> Delegation | None:
    """Return what a row keeps; one that was altered into what it cannot be is left out, and so denied."""
    try:
        return _delegation(row)
    except (CharterError, KeyError, ValueError) as err:
        _log.warning("the delegation %s cannot be read, and is left out: %s", row.id, err)
        return None


def _delegation(row: Row) -> Delegation:
    """Return what a row keeps; by position, since a million of them are read at a start."""
    (id_, parent, _depth, initiator, lender, borrower, role, plane, purpose, scope, made_at, expires_at, standing,
     epoch, credential, made_by, door, reason, proof, digest, withdrawn_at, withdrawn_by) = row  # fmt: skip
    link = Link(
        id_, lender, borrower, _ROLES[role], plane, purpose, _scope(scope), made_at, expires_at, _STANDINGS[standing],
        epoch, credential, digest,
    )  # fmt: skip
    withdrawn = None if withdrawn_at is None else parse_rfc3339(withdrawn_at)
    return Delegation(link, parent, initiator, made_by, door, reason, proof, withdrawn, withdrawn_by)
