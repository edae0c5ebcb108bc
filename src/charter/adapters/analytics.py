"""Review questions on DuckDB, through Ibis: evidence entries and charter versions in, answers out.

Entries are read in batches into a database file in a temporary folder, so memory stays bounded however long the log is;
the folder goes when the answers are given. Only what the questions need leaves an entry. Ibis is slow to import, so
whoever imports this module does so where it is first needed.
"""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Self

import duckdb
import ibis
import msgspec
import pyarrow as pa
import sqlalchemy as sa

from charter.adapters import tables as t
from charter.core.clock import parse_rfc3339, rfc3339
from charter.core.errors import ErrorCode, IntegrityError
from charter.evidence.entry import EntryKind
from charter.registry.own_policy import permitted
from charter.registry.standing import Standing
from charter.reports.answer import ROWS, Answer, plain, summary
from charter.reports.facts import HISTORY, OUTCOME_COLUMNS, PERMISSION_COLUMNS, VERDICT_COLUMNS, Facts, facts_between
from charter.reports.permissions import AppliedVersion, Effects, Permission, in_force
from charter.reports.questions import QUESTIONS, Question

BATCH = 20_000
MEMORY = "512MB"
_MAY_ACT = (Standing.ACTIVE.value, Standing.RESTRAINED.value)


# --- entries as far as the questions need them ------------------------------------------------------------------------


class _Reason(msgspec.Struct):
    layer: str = ""
    rule: str = ""
    text: str = ""


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


class _Outcome(msgspec.Struct):
    principal: str
    outcome: str
    system: str = ""
    bytes: int = 0


class _Entry(msgspec.Struct):
    time: str
    kind: str
    body: msgspec.Raw


_entry = msgspec.json.Decoder(_Entry).decode
_verdict = msgspec.json.Decoder(_Verdict).decode
_outcome = msgspec.json.Decoder(_Outcome).decode
_NONE = _Reason()


def _verdict_row(time: str, body: _Verdict) -> tuple[Any, ...]:
    reason = body.reasons[0] if body.reasons else _NONE
    return (
        time,
        body.principal,
        body.team or "",
        body.kind or "",
        body.verdict,
        body.system,
        body.action or body.tool,
        body.effect or "",
        body.object or "",
        ", ".join(sorted(body.data)),
        body.sensitive,
        reason.layer,
        reason.rule,
        reason.text,
    )


_TABLES = {"verdicts": VERDICT_COLUMNS, "outcomes": OUTCOME_COLUMNS, "permissions": PERMISSION_COLUMNS}


# --- the tables -------------------------------------------------------------------------------------------------------


class ReviewTables:
    """Verdicts, outcomes and permissions on DuckDB. Close it: its file goes with it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="charter-review-")
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": MEMORY,
            "temp_directory": self._folder.name,
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        }
        self._duck = duckdb.connect(str(Path(self._folder.name, "review.duckdb")), config=settings)
        for name, columns in _TABLES.items():
            fields = ", ".join(f'"{column}" {_DUCKDB[kind]}' for column, kind in columns.items())
            self._duck.execute(f"CREATE TABLE {name} ({fields})")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database and remove its file."""
        self._duck.close()
        self._folder.cleanup()

    def load(self, lines: Iterable[bytes]) -> None:
        """Take in evidence entries (their canonical JSON); entries of other kinds are passed over.

        Raises:
            IntegrityError: one is no entry.
        """
        remaining = iter(lines)
        while batch := list(islice(remaining, BATCH)):
            verdicts: list[tuple[Any, ...]] = []
            outcomes: list[tuple[Any, ...]] = []
            for line in batch:
                _sort(line, verdicts, outcomes)
            self._insert("verdicts", verdicts)
            self._insert("outcomes", outcomes)

    def permit(self, permissions: Iterable[Permission]) -> None:
        """Take in the permissions in force."""
        remaining = iter(permissions)
        while batch := list(islice(remaining, BATCH)):
            rows = [(p.principal, p.team, p.kind, p.system, p.action, p.effect, rfc3339(p.granted)) for p in batch]
            self._insert("permissions", rows)

    def answer(self, question: Question, facts: Facts) -> Answer:
        """Return the answer to one question; the SQL shown is the SQL that ran."""
        expression = question.answer(facts)
        sql = str(ibis.to_sql(expression, dialect="duckdb"))
        columns = tuple(expression.columns)
        (total,) = self._duck.execute(f"SELECT count(*) FROM ({sql})").fetchall()[0]  # noqa: S608 - Ibis wrote it
        found = self._duck.execute(f"SELECT * FROM ({sql}) LIMIT {ROWS}").fetchall()  # noqa: S608
        rows = tuple(tuple(plain(value) for value in row) for row in found)
        told = summary([dict(zip(columns, row, strict=True)) for row in rows], total, question.meaning)
        return Answer(question.name, question.question, columns, rows, question.meaning, total, told, sql)

    def _insert(self, name: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if not rows:
            return
        columns = _TABLES[name]
        arrays = [_array(kind, values) for kind, values in zip(columns.values(), zip(*rows, strict=True), strict=True)]
        self._duck.register("arriving", pa.table(dict(zip(columns, arrays, strict=True))))
        self._duck.execute(f"INSERT INTO {name} SELECT * FROM arriving")  # noqa: S608 - one of three names above
        self._duck.unregister("arriving")


_DUCKDB = {"string": "VARCHAR", "boolean": "BOOLEAN", "int64": "BIGINT", "timestamp(6)": "TIMESTAMP"}
_ARROW = {"string": pa.string(), "boolean": pa.bool_(), "int64": pa.int64()}


def _array(kind: str, values: Sequence[Any]) -> pa.Array:
    if kind in _ARROW:
        return pa.array(values, _ARROW[kind])
    return pa.array(values, pa.string()).cast(pa.timestamp("us", tz="UTC")).cast(pa.timestamp("us"))


def _sort(line: bytes, verdicts: list[tuple[Any, ...]], outcomes: list[tuple[Any, ...]]) -> None:
    """Put one entry where it belongs."""
    try:
        entry = _entry(line)
        if entry.kind == EntryKind.VERDICT:
            verdicts.append(_verdict_row(entry.time, _verdict(entry.body)))
        elif entry.kind == EntryKind.OUTCOME:
            body = _outcome(entry.body)
            outcomes.append((entry.time, body.principal, body.system, body.outcome, body.bytes))
    except msgspec.DecodeError as err:
        raise IntegrityError(
            ErrorCode.EVIDENCE_BROKEN, f"an evidence entry is none: {err}", help="run charter evidence verify"
        ) from err


def answer_all(
    lines: Iterable[bytes],
    permissions: Iterable[Permission],
    *,
    since: dt.datetime,
    until: dt.datetime,
    **narrowed: str | None,
) -> list[Answer]:
    """Return the five answers for `since <= time < until`.

    `lines` are evidence entries from `since - HISTORY` on, before `until`; `narrowed` may name a team, kind or system.

    Raises:
        IntegrityError: a line is no entry.
    """
    with ReviewTables() as tables:
        tables.load(lines)
        tables.permit(permissions)
        facts = facts_between(since, until).narrowed(**narrowed)
        return [tables.answer(question, facts) for question in QUESTIONS]


# --- where the facts are kept -----------------------------------------------------------------------------------------


def evidence_lines(connection: sa.Connection, since: dt.datetime, until: dt.datetime) -> Iterator[bytes]:
    """Yield the verdicts and outcomes that answers for a period rest on, of all nodes, with the history before it."""
    entry = t.evidence_entry.c
    query = sa.select(entry.data).where(
        entry.time >= rfc3339(since - HISTORY),
        entry.time < rfc3339(until),
        entry.kind.in_([EntryKind.VERDICT.value, EntryKind.OUTCOME.value]),
    )
    for (data,) in connection.execute(query, execution_options={"yield_per": 5_000}):
        yield bytes(data)


class _Grant(msgspec.Struct):
    system: str
    actions: tuple[str, ...]


class _Charter(msgspec.Struct):
    grants: tuple[_Grant, ...] = ()
    policy: str = ""


class _Action(msgspec.Struct):
    effect: str


class _System(msgspec.Struct):
    actions: dict[str, _Action] = {}


_charter = msgspec.json.Decoder(_Charter).decode
_system = msgspec.json.Decoder(_System).decode


def permissions_in_force(connection: sa.Connection, until: dt.datetime) -> Iterator[Permission]:
    """Yield the permissions that principals who may act now had before `until`, from their charters' versions."""
    version, principal = t.charter_version.c, t.principal.c
    query = (
        sa.select(principal.name, principal.owner_team, principal.kind, version.applied_at, version.charter)
        .join_from(t.charter_version, t.principal, version.principal_id == principal.id)
        .where(principal.standing.in_(_MAY_ACT), version.applied_at < rfc3339(until))
        .order_by(principal.name, version.version)
    )
    rows = connection.execute(query, execution_options={"yield_per": 1_000})
    yield from in_force((_applied(*row) for row in rows), _effects(connection))


def _applied(name: str, team: str, kind: str, applied_at: str, charter: str) -> AppliedVersion:
    whole = _charter(charter)
    own = ((system, (action,)) for system, action in permitted(whole.policy))
    grants = (*((grant.system, grant.actions) for grant in whole.grants), *own)
    return AppliedVersion(name, team, kind, parse_rfc3339(applied_at), grants)


def _effects(connection: sa.Connection) -> Effects:
    query = sa.select(t.system.c.name, t.system.c.body).where(t.system.c.standing != Standing.RETIRED.value)
    return {
        name: {action: each.effect for action, each in _system(body).actions.items()}
        for name, body in connection.execute(query)
    }
