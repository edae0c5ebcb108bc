"""The registry on one connection: principals, charter versions, systems, the estate's other files, the feed.

What is read is checked against its digest, so a row that someone altered in the database is not acted upon: a charter
or guardrail that is not what its digest says raises, a system that is not is left out of the live estate (calls to it
are then denied as unknown), and all are drift that the next plan shows.

Large tables are read in batches; nothing here holds more than one batch of rows beside the values it makes.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from charter.adapters import history_store
from charter.adapters import registry_rows as rows
from charter.adapters import tables as t
from charter.adapters.composition_store import SqlCompositions
from charter.adapters.consent_store import SqlConsents
from charter.adapters.delegation_store import SqlDelegations
from charter.adapters.directory_store import SqlDirectory
from charter.adapters.finding_store import SqlFindings
from charter.adapters.gateway_store import SqlApprovals
from charter.adapters.repeat_store import SqlRepeats
from charter.core.canonical import digest
from charter.core.clock import rfc3339
from charter.core.errors import AbsentError, ErrorCode, IntegrityError
from charter.core.values import Source
from charter.registry.approval import ApprovalState
from charter.registry.central import Central, read_central
from charter.registry.declared import Declared
from charter.registry.estate import Estate, TextFile
from charter.registry.history import Held, Succession
from charter.registry.issuer import Issuers
from charter.registry.principal import LiveEstate, Principal, SystemRecord, show_repeats
from charter.registry.problem import EstateError
from charter.registry.record import (
    CharterVersion,
    EstatePart,
    FeedRow,
    KeptCharter,
    ManagedBy,
    PartKind,
    RegisteredEstate,
    RegisteredPrincipal,
    state_digest,
    state_of_principal,
)
from charter.registry.standing import Standing
from charter.registry.team import Teams

_log = logging.getLogger(__name__)
BATCH = 2_000
MAX_OPEN_APPROVALS = 100_000


_KEPT = sa.select(*(t.charter_version.c[name] for name in ("principal_id", "charter", "digest", "sources")))


class RegistryStore:
    """The registry's rows, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    @cached_property
    def findings(self) -> SqlFindings:
        """What was discovered or noticed."""
        return SqlFindings(self._connection)

    # --- principals and their charters ---

    def principal(self, principal_id: str) -> Principal:
        """Return the principal of that id.

        Raises:
            AbsentError: there is none.
        """
        return rows.principal_of(self._principal_row(t.principal.c.id == principal_id, principal_id))

    def principal_named(self, name: str) -> Principal:
        """Return the principal called `name`.

        Raises:
            AbsentError: there is none.
        """
        return rows.principal_of(self._principal_row(t.principal.c.name == name, name))

    def principals_named(self, names: Sequence[str]) -> dict[str, Principal]:
        """Return those of the named principals that there are, by name."""
        found: dict[str, Principal] = {}
        for start in range(0, len(names), BATCH):
            query = sa.select(t.principal).where(t.principal.c.name.in_(names[start : start + BATCH]))
            found |= {row.name: rows.principal_of(row) for row in self._connection.execute(query)}
        return found

    def principals(self) -> Iterator[Principal]:
        """Yield every principal, by name."""
        return map(rows.principal_of, self._stream(sa.select(t.principal).order_by(t.principal.c.name)))

    def management_of(self, principal_id: str) -> tuple[ManagedBy, bool]:
        """Return who manages a principal, and whether it was changed by hand since files were last applied.

        Raises:
            AbsentError: there is no such principal.
        """
        row = self._principal_row(t.principal.c.id == principal_id, principal_id)
        return rows.MANAGERS[row.managed_by], row.applied_digest not in (None, row.digest)

    def add_principals(self, principals: Sequence[Principal], managed_by: ManagedBy, at: dt.datetime) -> None:
        """Keep new ones."""
        fixed = {"registered_at": rfc3339(at)}
        self._insert(t.principal, [rows.principal_row(p) | _managed(managed_by, p.digest) | fixed for p in principals])

    def update_principals(self, principals: Sequence[Principal], managed_by: ManagedBy | None = None) -> None:
        """Replace those with the same ids. With `managed_by` None, who manages them stays: a standing moved, say."""
        self._update(
            t.principal, "id", [rows.principal_row(p) | _managed_again(managed_by, p.digest) for p in principals]
        )

    def add_versions(self, versions: Sequence[CharterVersion]) -> None:
        """Keep new charter versions."""
        self._insert(t.charter_version, [rows.version_row(version) for version in versions])

    def charter_version(self, principal_id: str, version: int) -> CharterVersion:
        """Return one version of a principal's charter.

        Raises:
            AbsentError: there is none.
            IntegrityError: it is not what its digest says.
        """
        return self._version(principal_id, t.charter_version.c.version == version, f"version {version}")

    def kept_charter(self, principal_id: str, version: int) -> KeptCharter:
        """Return one version of a principal's charter, unread.

        Raises:
            AbsentError: there is none.
            IntegrityError: it is not what its digest says.
        """
        c = t.charter_version.c
        row = self._connection.execute(_KEPT.where(c.principal_id == principal_id, c.version == version)).first()
        if row is None:
            raise AbsentError(
                ErrorCode.UNKNOWN_PRINCIPAL, f"the charter of `{principal_id[:64]}` has no version {version}"
            )
        return rows.kept_of(row)

    def kept_charters(self) -> Iterator[tuple[str, KeptCharter]]:
        """Yield the charter in force of each principal, unread, with the principal's id; altered ones are left out."""
        p, v = t.principal.c, t.charter_version.c
        newest = sa.and_(v.principal_id == p.id, v.version == p.version)
        for row in self._stream(_KEPT.join(t.principal, newest)):
            try:
                kept = rows.kept_of(row)
            except IntegrityError:
                continue
            yield row.principal_id, kept

    def charter_by_digest(self, principal_id: str, wanted: str) -> CharterVersion:
        """Return the newest version of a principal's charter with the digest `wanted`.

        Raises:
            AbsentError: there is none.
            IntegrityError: it is not what its digest says.
        """
        return self._version(principal_id, t.charter_version.c.digest == wanted, f"version with the digest {wanted}")

    def versions(self, principal_id: str) -> list[CharterVersion]:
        """Return all versions of a principal's charter, newest first."""
        c = t.charter_version.c
        query = sa.select(t.charter_version).where(c.principal_id == principal_id).order_by(c.version.desc())
        return [rows.version_of(row) for row in self._connection.execute(query)]

    def put_declared(self, declared: Declared) -> None:
        """Keep declared credentials, new and changed."""
        self._insert(t.client_key, [rows.key_row(key) for key in declared.added])
        self._update(t.client_key, "id", [rows.key_row(key) for key in declared.changed])

    def key_rows(self) -> Iterator[rows.Row]:
        """Yield the rows of every client key, in the order of their ids, which is that of their making."""
        return self._stream(sa.select(t.client_key).order_by(t.client_key.c.id))

    # --- systems ---

    def systems(self) -> Iterator[SystemRecord]:
        """Yield the systems that are what their digests say, withdrawn ones too, by name."""
        found = map(rows.system_of, self._connection.execute(sa.select(t.system).order_by(t.system.c.name)))
        return (record for record in found if record is not None)

    def system_heads(self) -> dict[str, tuple[int, Standing]]:
        """Return each system's newest version and its standing, whether or not its body can be read."""
        c = t.system.c
        found = self._connection.execute(sa.select(c.name, c.version, c.standing))
        return {row.name: (row.version, Standing(row.standing)) for row in found}

    def retire_system(self, name: str) -> None:
        """Withdraw a system: it stays known, and may not be used."""
        statement = t.system.update().where(t.system.c.name == name).values(standing=Standing.RETIRED.value)
        self._connection.execute(statement)

    def put_system(
        self, record: SystemRecord, sources: Mapping[str, Source], managed_by: ManagedBy, at: dt.datetime
    ) -> None:
        """Keep a system's newest version."""
        row = rows.system_row(record, sources) | _managed_again(managed_by, record.digest)
        row["applied_at"] = rfc3339(at)
        changed = self._connection.execute(t.system.update().where(t.system.c.name == record.name).values(row))
        if not changed.rowcount:
            self._insert(t.system, [row])

    # --- the estate's other files ---

    def parts(self, kind: PartKind | None = None) -> list[EstatePart]:
        """Return the other files, by path. Whether each is intact is for the caller to judge."""
        query = sa.select(t.estate_part).order_by(t.estate_part.c.path)
        if kind is not None:
            query = query.where(t.estate_part.c.kind == kind.value)
        return [rows.part_of(row) for row in self._connection.execute(query)]

    def put_part(self, part: EstatePart, at: dt.datetime) -> None:
        """Keep a file, in place of the one at the same path."""
        self.drop_part(part.path)
        row = {"path": part.path, "kind": part.kind.value, "digest": part.digest, "body": part.body}
        self._insert(t.estate_part, [row | {"applied_digest": part.applied_digest, "applied_at": rfc3339(at)}])

    def drop_part(self, path: str) -> None:
        """Forget the file at `path`."""
        self._connection.execute(t.estate_part.delete().where(t.estate_part.c.path == path))

    def keep_history(self, successions: Sequence[Succession], place: tuple[str, int], at: dt.datetime) -> None:
        """Keep what came to hold, and what ceased, at the entry `place` (node, index) of a log."""
        history_store.keep_history(self._connection, successions, place, at)

    def held_at(self, node: str, index: int, at: dt.datetime) -> list[Held]:
        """Return the systems and files that held when an entry of a node's log was made.

        Raises:
            IntegrityError: one is not what its digest says.
        """
        return history_store.held_at(self._connection, node, index, at)

    def moves_of(self, node: str) -> list[int]:
        """Return the indices in a node's log at which a system or file came to hold or ceased, in order."""
        return history_store.moves_of(self._connection, node)

    def guardrails(self) -> tuple[TextFile, ...]:
        """Return the guardrails as applied, by path.

        Raises:
            IntegrityError: one is not what its digest says; nothing may be decided then.
        """
        return tuple(TextFile(part.path, rows.intact(part).body) for part in self.parts(PartKind.GUARDRAIL))

    def teams(self) -> Teams:
        """Return teams.yaml as applied; before the first apply, one without teams.

        Raises:
            IntegrityError: it is not what its digest says.
        """
        found = self.parts(PartKind.TEAMS)
        return Teams.model_validate_json(rows.intact(found[0]).body) if found else Teams(charter="v1")

    def issuers(self) -> Issuers:
        """Return issuers.yaml as applied; without one, nobody's tokens are trusted.

        Raises:
            IntegrityError: it is not what its digest says.
        """
        found = self.parts(PartKind.ISSUERS)
        return Issuers.model_validate_json(rows.intact(found[0]).body) if found else Issuers(charter="v1")

    def central(self) -> Central:
        """Return what the central files lay down, as applied.

        Raises:
            IntegrityError: one is not what its digest says, or cannot be read; nothing may be decided then.
        """
        files = [TextFile(part.path, rows.intact(part).body) for part in self.parts(PartKind.RULES)]
        try:
            return read_central(files)
        except EstateError as err:
            raise IntegrityError(ErrorCode.BAD_ESTATE, err.detail, help="apply the estate again") from err

    def roles(self) -> Mapping[str, tuple[str, ...]]:
        """Return the people who hold each human role, as applied.

        Raises:
            IntegrityError: teams.yaml is not what its digest says.
        """
        return self.teams().roles

    # --- what plan and apply rest on ---

    def registered(self, estate: Estate | None = None) -> RegisteredEstate:
        """Return all that is registered; charters that are the same in `estate` are not held."""
        wanted = {name: part.value.digest for name, part in estate.charters.items()} if estate else {}
        principals = {row.name: self._registered(row, wanted.get(row.name)) for row in self._current_charters()}
        systems = [rows.registered_system_of(row) for row in self._connection.execute(sa.select(t.system))]
        return RegisteredEstate(
            principals=principals,
            systems={each.name: each for each in systems},
            parts={part.path: part for part in self.parts()},
        )

    def state_digest(self) -> str:
        """Return the digest of what is registered, as `RegisteredEstate.digest` does, without reading the bodies."""
        s, p = t.system.c, t.estate_part.c
        managed = (
            (rows.principal_of(row), rows.MANAGERS[row.managed_by]) for row in self._stream(sa.select(t.principal))
        )
        systems = self._connection.execute(sa.select(s.name, s.version, s.digest, s.managed_by, s.standing))
        retired = Standing.RETIRED.value
        return state_digest(
            (state_of_principal(principal, managed_by) for principal, managed_by in managed),
            ([r.name, r.version, r.digest, r.managed_by, r.standing == retired] for r in systems),
            ([r.path, r.digest] for r in self._connection.execute(sa.select(p.path, p.digest))),
        )

    def _current_charters(self) -> Iterator[rows.Row]:
        p, v = t.principal, t.charter_version
        newest = sa.and_(v.c.principal_id == p.c.id, v.c.version == p.c.version)
        columns = (v.c.charter, v.c.digest.label("version_digest"))
        return self._stream(sa.select(p, *columns).select_from(p.outerjoin(v, newest)))

    def _registered(self, row: rows.Row, wanted: str | None) -> RegisteredPrincipal:
        body = row.charter or ""
        is_intact = row.version_digest == row.digest and digest(body.encode()) == row.digest
        return RegisteredPrincipal(
            principal=rows.principal_of(row),
            managed_by=rows.MANAGERS[row.managed_by],
            applied_digest=row.applied_digest,
            is_intact=is_intact,
            charter=None if is_intact and row.digest == wanted else _parsed(body),
        )

    # --- the feed ---

    def changes_after(self, sequence: int, *, limit: int = 1000) -> list[FeedRow]:
        """Return the changes after `sequence`, in order."""
        c = t.feed.c
        query = sa.select(t.feed).where(c.sequence > sequence).order_by(c.sequence).limit(limit)
        return [rows.feed_row_of(row) for row in self._connection.execute(query)]

    def feed_head(self) -> int:
        """Return the sequence of the last change, 0 before the first."""
        return int(self._connection.execute(sa.select(sa.func.max(t.feed.c.sequence))).scalar() or 0)

    # --- plumbing ---

    def _principal_row(self, where: sa.ColumnElement[bool], asked: str) -> rows.Row:
        row = self._connection.execute(sa.select(t.principal).where(where)).first()
        if row is None:
            raise AbsentError(ErrorCode.UNKNOWN_PRINCIPAL, f"there is no principal {asked[:64]!a}", help="charter ls")
        return row

    def _version(self, principal_id: str, where: sa.ColumnElement[bool], what: str) -> CharterVersion:
        c = t.charter_version.c
        query = sa.select(t.charter_version).where(c.principal_id == principal_id, where)
        row = self._connection.execute(query.order_by(c.version.desc()).limit(1)).first()
        if row is None:
            raise AbsentError(ErrorCode.UNKNOWN_PRINCIPAL, f"the charter of `{principal_id[:64]}` has no {what[:100]}")
        return rows.version_of(row)

    def _stream(self, query: sa.Select[Any]) -> Iterator[rows.Row]:
        """Yield rows without holding them all."""
        for batch in self._connection.execute(query.execution_options(yield_per=BATCH)).partitions():
            yield from batch

    def _insert(self, table: sa.Table, values: Sequence[Mapping[str, object]]) -> None:
        for start in range(0, len(values), BATCH):
            self._connection.execute(table.insert(), [dict(each) for each in values[start : start + BATCH]])

    def _update(self, table: sa.Table, key: str, values: Sequence[Mapping[str, object]]) -> None:
        if not values:
            return
        columns = [name for name in values[0] if name != key]
        statement = (
            table.update()
            .where(table.c[key] == sa.bindparam(f"the_{key}"))
            .values({name: sa.bindparam(name) for name in columns})
        )
        self._connection.execute(statement, [{f"the_{key}": each[key]} | dict(each) for each in values])


def load_live(connection: sa.Connection, after: int = 0) -> LiveEstate:
    """Return the estate in memory as the database has it now. 100,000 principals take about a second.

    `after`: delegations that ended before, in seconds since 1970, are left out.
    """
    store = RegistryStore(connection)
    live = LiveEstate(sequence=store.feed_head())
    for principal in store.principals():
        live.principals[principal.id] = principal
        live.ids[principal.name] = principal.id
    for composed in SqlCompositions(connection).all():
        live.put_composition(composed)
    for row in store.key_rows():
        live.put_key(rows.key_of(row, live.principals.get(row.principal_id)))
    for token in connection.execute(sa.select(t.revoked_token)):
        live.revoked_tokens[token.id] = token.expires_at
    live.issuers = store.issuers()
    live.directory = SqlDirectory(connection).load()
    live.registered_clients = {each.client_id: each for each in SqlConsents(connection).clients()}
    live.central = store.central()
    for record in store.systems():
        live.systems[record.name] = record
    _load_delegations(live, SqlDelegations(connection), after)
    waiting = (ApprovalState.WAITING, ApprovalState.APPROVED)
    for approval in SqlApprovals(connection).in_states(waiting, limit=MAX_OPEN_APPROVALS):
        live.approvals.setdefault((approval.principal_id, approval.call_digest), approval)
    for repeat in SqlRepeats(connection).all():
        show_repeats(live, repeat.principal_id, put=repeat)
    return live


def _load_delegations(live: LiveEstate, store: SqlDelegations, after: int) -> None:
    for delegation in store.live(after):
        try:
            live.delegations.add(delegation)
        except ValueError as err:
            _log.warning("a delegation is left out, and so denied: %s", err)
    for lender, borrower in store.switched_off():
        live.delegations.switch(lender, borrower, is_on=False)


def _managed(managed_by: ManagedBy, now: str) -> dict[str, object]:
    return {"managed_by": managed_by.value, "applied_digest": now if managed_by is ManagedBy.GIT else None}


def _managed_again(managed_by: ManagedBy | None, now: str) -> dict[str, object]:
    """Return who manages a row from now on; a change by hand leaves the digest that files last gave it."""
    if managed_by is None:
        return {}
    if managed_by is ManagedBy.CONSOLE:
        return {"managed_by": managed_by.value}
    return _managed(managed_by, now)


def _parsed(body: str) -> dict[str, Any]:
    """Return a stored charter for showing; what cannot be read shows as nothing."""
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
