"""Review questions on DuckDB, through Ibis: sealed evidence, the tail of the log and charters in, answers out.

Sums of whole days are read from the sealed files. What is not sealed yet, and the day in which a period begins or ends,
is summed from rows, by the same expressions, into tables of a file in a temporary folder, so memory stays bounded; the
folder goes when the answers are given. Ibis is slow to import, so whoever imports this module does so where it is first
needed.
"""

from __future__ import annotations

import datetime as dt
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import ibis
import msgspec
import pyarrow as pa
import sqlalchemy as sa
from ibis.expr.operations import UnboundTable

from charter.adapters import tables as t
from charter.adapters.evidence_store import APART, octets, whole_data
from charter.adapters.payloads import Payloads
from charter.adapters.review_rows import Row, arrow, rows_of
from charter.adapters.sealed import FORMAT, TYPES, Entry, Manifest, SealedLog, connect, digest, sql_of
from charter.core.clock import parse_rfc3339, rfc3339
from charter.evidence.entry import EntryKind
from charter.registry.field import Hours
from charter.registry.own_policy import permitted
from charter.registry.standing import Standing
from charter.registry.system import below
from charter.reports.answer import ROWS as SHOWN
from charter.reports.answer import Answer, plain, summary
from charter.reports.facts import HISTORY, PERMISSIONS, ROWS, STEPS, SUMS, Columns, facts_since, naive
from charter.reports.permissions import AppliedVersion, Aspect, Permission, Reach, in_force
from charter.reports.picture_questions import Sketch
from charter.reports.questions import QUESTIONS, Question
from charter.reports.reach import delegations, hours_utc, ranges
from charter.reports.sums import SOURCE, sum_of_rows

if TYPE_CHECKING:
    from ibis.expr.types import Table

BATCH = 20_000
_MAY_ACT = (Standing.ACTIVE.value, Standing.RESTRAINED.value)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked: the questions, the period `since <= time < until`, how many rows, and what it is narrowed to.

    `narrowed` may name a team, kind, system or principal.
    """

    since: dt.datetime
    until: dt.datetime
    narrowed: Mapping[str, str | None]
    questions: Sequence[Question] = QUESTIONS
    rows: int = SHOWN


class ReviewTables:
    """What the questions read, on DuckDB. Close it: its file goes with it."""

    def __init__(self, since: dt.datetime, until: dt.datetime, sealed: SealedLog | None = None) -> None:
        self._since, self._until, self._sealed = naive(since), naive(until), sealed
        self._folder = tempfile.TemporaryDirectory(prefix="charter-review-")
        self._duck = connect(Path(self._folder.name), database=str(Path(self._folder.name, "review.duckdb")))
        self._made: set[str] = set()
        for name, columns in ROWS.items():
            self._create(f"tail_{name}", columns)
        self._create("permissions", PERMISSIONS)

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
            for name, rows in rows_of(batch).items():
                self._insert(f"tail_{name}", ROWS[name], rows)

    def permit(self, permissions: Iterable[Permission]) -> None:
        """Take in the permissions in force."""
        remaining, until = iter(permissions), _moment(self._until.replace(tzinfo=dt.UTC))
        while batch := list(islice(remaining, BATCH)):
            self._insert(
                "permissions",
                PERMISSIONS,
                [_permission_row(each, until) for each in batch if _moment(each.granted) < until],
            )

    def answer(self, question: Question, asked: Asked) -> Answer:
        """Return the answer to one question, its first rows; the SQL shown is the SQL that ran."""
        read = self._ask(question, asked)
        rows: list[Row] = []
        total = 0
        for batch in self._duck.sql(read.sql).to_arrow_reader(2048):
            total += batch.num_rows
            if len(rows) < asked.rows:
                few = batch.slice(0, asked.rows - len(rows)).to_pylist()
                rows += [tuple(map(plain, each.values())) for each in few]
        return told(question, read.columns, rows, total, read.sql)

    def rows(self, sketch: Sketch, asked: Asked) -> tuple[list[dict[str, Any]], str]:
        """Return the rows of a picture's query, which folds them to few, and its SQL."""
        read = self._ask(sketch, asked)
        found = self._duck.sql(read.sql).to_arrow_table().to_pylist()
        return [{name: plain(value) for name, value in row.items()} for row in found], read.sql

    def explain(self, question: Question, asked: Asked) -> str:
        """Return how DuckDB answers a question, having done so: among others, how many files it opened."""
        read = self._ask(question, asked)
        return "\n".join(str(row[-1]) for row in self._duck.execute(f"EXPLAIN ANALYZE {read.sql}").fetchall())

    def _ask(self, question: Question | Sketch, asked: Asked) -> _Read:
        read = _read(question, asked)
        self.prepare(read.tables)
        return read

    def whole(self, name: str) -> list[Path]:
        """Return the sealed files of the sums `name` of days that lie on one side of both ends of the period."""
        return [path for path, is_whole in self._days(name) if is_whole]

    def loose(self, name: str) -> pa.Table:
        """Return what the table `name` has besides: sums of what is not sealed, or of a day that is not whole."""
        if name == "permissions":
            return self._duck.sql("FROM permissions").to_arrow_table()
        self.prepare([name])
        columns = ", ".join(f'"{column}"' for column in SUMS[name])
        return self._duck.sql(f"SELECT {columns} FROM loose_{name}").to_arrow_table()  # noqa: S608

    def prepare(self, names: Iterable[str]) -> None:
        """Let the tables of sums be there that are named."""
        for name in names:
            if name in SUMS and name not in self._made:
                self._sum(name)
                self._made.add(name)
            if name == "steps" and name not in self._made:
                self._steps()
                self._made.add(name)

    # --- sums ---------------------------------------------------------------------------------------------------------

    def _sum(self, name: str) -> None:
        """Make the table `name`: sealed sums of whole days, and the rest summed from rows."""
        source = SOURCE[name]
        self._rows(source)
        columns = ", ".join(f'"{column}"' for column in SUMS[name])
        self._duck.execute(f"CREATE TEMP TABLE loose_{name} AS {_loose_sql(name, self._since)}")
        whole = f"SELECT {columns} FROM loose_{name}"  # noqa: S608 - our own names, here and below
        paths = self.whole(name)
        if paths:
            whole += f" UNION ALL SELECT {columns} FROM {_parquet(paths)}"  # noqa: S608
        self._duck.execute(f"CREATE TEMP VIEW {name} AS {whole}")

    def _rows(self, source: str) -> None:
        """Make the table `source` of rows that no sealed sum has, or that one has together with others."""
        if source in self._made:
            return
        self._made.add(source)
        until = f"time < TIMESTAMP '{self._until.isoformat(sep=' ')}'"
        columns = ", ".join(f'"{column}"' for column in ROWS[source])
        rows = f"SELECT {columns} FROM tail_{source} WHERE {until}"  # noqa: S608
        paths = [path for path, is_whole in self._days(source) if not is_whole]
        if paths:
            rows += f" UNION ALL SELECT {columns} FROM {_parquet(paths)} WHERE {until}"  # noqa: S608
        self._duck.execute(f"CREATE TEMP VIEW {source} AS {rows}")

    def _steps(self) -> None:
        """Make the table `steps`: calls of the period one by one, sealed or not."""
        since, until = (moment.isoformat(sep=" ") for moment in (self._since, self._until))
        within = f"time >= TIMESTAMP '{since}' AND time < TIMESTAMP '{until}'"
        columns = ", ".join(f'"{column}"' for column in STEPS)
        rows = f"SELECT {columns} FROM tail_verdicts WHERE {within}"  # noqa: S608
        last = self._until.date() + dt.timedelta(days=1)
        paths = self._sealed.paths("verdicts", since=self._since.date(), until=last) if self._sealed else []
        if paths:
            rows += f" UNION ALL SELECT {columns} FROM {_parquet(paths)} WHERE {within}"  # noqa: S608
        self._duck.execute(f"CREATE TEMP VIEW steps AS {rows}")

    def _days(self, table: str) -> Iterator[tuple[Path, bool]]:
        """Yield the sealed files of a table before `until`, each with whether its day is whole: on one side of both."""
        if self._sealed is None:
            return
        newest = self._sealed.manifest.newest
        is_all = bool(newest) and naive(parse_rfc3339(newest)) < self._until
        cuts = {moment.date() for moment in (self._since, self._until) if moment.time() != dt.time()}
        for path in self._sealed.paths(table, until=None if is_all else self._until.date() + dt.timedelta(days=1)):
            day = dt.date.fromisoformat(path.parent.name.removeprefix("day="))
            if is_all or dt.datetime.combine(day, dt.time()) < self._until:
                yield path, day not in cuts or (is_all and day != self._since.date())

    def _create(self, name: str, columns: Columns) -> None:
        fields = ", ".join(f'"{column}" {TYPES[kind]}' for column, kind in columns.items())
        self._duck.execute(f"CREATE TABLE {name} ({fields})")

    def _insert(self, name: str, columns: Columns, rows: Sequence[Row]) -> None:
        if rows:
            self._duck.register("arriving", arrow(columns, rows))
            self._duck.execute(f"INSERT INTO {name} SELECT * FROM arriving")  # noqa: S608
            self._duck.unregister("arriving")


def told(question: Question, columns: Sequence[str], rows: Sequence[Row], total: int, sql: str) -> Answer:
    """Return the answer of which `rows`, as JSON has them, are the first of `total`."""
    sentence = summary([dict(zip(columns, row, strict=True)) for row in rows], total, question.meaning)
    about = (question.name, question.question, tuple(columns), tuple(rows), question.meaning)
    return Answer(*about, total, sentence, sql)


@dataclass(frozen=True, slots=True)
class _Read:
    """A question as DuckDB is asked it: its SQL, the columns of the answer, and the tables that it reads."""

    sql: str
    columns: tuple[str, ...]
    tables: frozenset[str]


def _read(question: Question | Sketch, asked: Asked) -> _Read:
    """Return a question as SQL: made once for each set of columns that it is narrowed by, then filled in.

    Making it takes longer than asking it of a small log. Pictures count in Python from the beginning of the period, so
    theirs is made for each.
    """
    narrowed = {name: value for name, value in asked.narrowed.items() if value}
    if isinstance(question, Sketch):
        return _made(question, asked.since, tuple(sorted(narrowed.items())))
    blank = tuple((name, _BLANK + name) for name in sorted(narrowed))
    never = _NEVER if naive(asked.since).time() != dt.time() else _MIDNIGHT
    made = _made(question, never, blank)
    values = {_literal(_BLANK + name): _literal(value) for name, value in narrowed.items()}
    for moment in (naive, _day, _history):
        values[_literal(moment(never))] = _literal(moment(asked.since))
    return replace(made, sql=re.sub("|".join(map(re.escape, values)), lambda found: values[found[0]], made.sql))


def sql_for(question: Question, asked: Asked) -> str:
    """Return the SQL that DuckDB is asked for a question."""
    return _read(question, asked).sql


@lru_cache(maxsize=256)
def _made(question: Question | Sketch, since: dt.datetime, narrowed: tuple[tuple[str, str], ...]) -> _Read:
    expression = asking(question, since, dict(narrowed))
    return _Read(sql_of(expression), tuple(expression.columns), tables_of(expression))


def asking(question: Question | Sketch, since: dt.datetime, narrowed: Mapping[str, str | None]) -> Table:
    """Return a question as an expression, bound to no engine."""
    return question.answer(facts_since(since).narrowed(**narrowed))


def tables_of(expression: Table) -> frozenset[str]:
    """Return the names of the tables that an expression reads."""
    return frozenset(table.name for table in expression.op().find(UnboundTable))


_NEVER = dt.datetime(1801, 2, 3, 4, 5, 6, 7, tzinfo=dt.UTC)  # stands for the beginning, where SQL is made without it
_MIDNIGHT = _NEVER.replace(hour=0, minute=0, second=0, microsecond=0)  # for periods of whole days: see `of_period`
_BLANK = "\u2063blank-"  # begins what stands for a value


def _day(since: dt.datetime) -> dt.date:
    return naive(since).date()


def _history(since: dt.datetime) -> dt.date:
    return (naive(since) - HISTORY).date()


@lru_cache(maxsize=256)
def _literal(value: str | dt.date) -> str:
    """Return a value as it stands in the SQL of an expression."""
    return sql_of(ibis.literal(value).name("value")).removeprefix("SELECT").removesuffix('AS "value"').strip()


_loose_sql = lru_cache(maxsize=64)(lambda name, cut: sql_of(sum_of_rows(name, cut)))


def _parquet(paths: Sequence[Path]) -> str:
    listed = ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths)
    return f"read_parquet([{listed}], hive_partitioning = true, hive_types = {{'day': DATE}})"


def _narrowed(permissions: Iterable[Permission], asked: Asked) -> Iterator[Permission]:
    """Yield those that are asked about: an estate has many, and taking one in costs more than passing it over."""
    wanted = {name: value for name, value in asked.narrowed.items() if value}
    return (each for each in permissions if all(getattr(each, name) == value for name, value in wanted.items()))


_moment = lru_cache(maxsize=4_096)(rfc3339)  # many permissions came with one version of a charter


def _permission_row(each: Permission, until: str) -> Row:
    reach = each.reach
    who = (each.principal, each.team, each.kind, reach.aspect.value)
    what = (each.system, each.action, each.effect, reach.what)
    where = (reach.prefix, reach.middle, reach.suffix, reach.is_open, reach.pattern, reach.hour)
    return (*who, *what, *where, _moment(each.granted), until)


def answer_all(
    lines: Iterable[bytes],
    permissions: Iterable[Permission],
    *,
    since: dt.datetime,
    until: dt.datetime,
    **narrowed: str | None,
) -> list[Answer]:
    """Return the five answers for `since <= time < until`, from the evidence entries `lines` alone.

    Raises:
        IntegrityError: a line is no entry.
    """
    return answers(Asked(since, until, narrowed), lines, permissions)


def answers(
    asked: Asked,
    lines: Iterable[bytes],
    permissions: Iterable[Permission],
    sealed: SealedLog | None = None,
    *,
    spark: str | None = None,
) -> list[Answer]:
    """Return what is asked, from sealed evidence and the `lines` that are not sealed yet.

    `permissions` are read only if a question needs them. `spark`: the master of a Spark that answers, in place of
    DuckDB, which then only sums what is not sealed.

    Raises:
        IntegrityError: a line is no entry, or the sealed evidence cannot be read.
        UnavailableError: there is no Spark.
    """
    with ReviewTables(asked.since, asked.until, sealed) as tables:
        tables.load(lines)
        if any(question.needs_permissions for question in asked.questions):
            tables.permit(_narrowed(permissions, asked))
        if spark is None:
            return [tables.answer(question, asked) for question in asked.questions]
        from charter.adapters import spark_answers

        with spark_answers.SparkTables(tables, spark) as on_spark:
            return [on_spark.answer(question, asked) for question in asked.questions]


# --- where the facts are kept -----------------------------------------------------------------------------------------


def unsealed(connection: sa.Connection, manifest: Manifest, payloads: Payloads | None) -> Iterator[Entry]:
    """Yield the entries of all nodes' logs that are not sealed, each node's in its order."""
    entry = t.evidence_entry.c
    for (node,) in connection.execute(sa.select(t.evidence_head.c.node).order_by(t.evidence_head.c.node)).all():
        reached = manifest.nodes.get(node)
        query = sa.select(entry.index, entry.data, *APART).where(
            entry.node == node, entry.index >= (reached.next if reached else 0)
        )
        for index, data, *apart in connection.execute(
            query.order_by(entry.index), execution_options={"yield_per": 5_000}
        ):
            yield Entry(node, index, octets(data), whole_data(payloads, (node, index), data, tuple(apart)))


def waiting(connection: sa.Connection, manifest: Manifest) -> int:
    """Return how many entries of all nodes' logs are not sealed."""
    heads = connection.execute(sa.select(t.evidence_head.c.node, t.evidence_head.c.size)).all()
    return sum(size - (manifest.nodes[node].next if node in manifest.nodes else 0) for node, size in heads)


def erasures(connection: sa.Connection) -> int:
    """Return how many erasures the logs tell of."""
    entry = t.evidence_entry.c
    query = sa.select(sa.func.count()).where(entry.kind == EntryKind.EVIDENCE_ERASED.value, t.RARE_KIND)
    return int(connection.execute(query).scalar_one())


def agrees(connection: sa.Connection, manifest: Manifest) -> bool:
    """Whether the logs still hold what was sealed, in the form of now: not so after an older backup or an erasure."""
    if manifest.nodes and manifest.erasures != erasures(connection):
        return False
    entry = t.evidence_entry.c
    if manifest.version != FORMAT:
        return False
    for node, reached in manifest.nodes.items():
        query = sa.select(entry.data).where(entry.node == node, entry.index == reached.next - 1)
        found = connection.execute(query).scalar()
        if found is None or digest(octets(found)) != reached.last:
            return False
    return True


class _When(msgspec.Struct):
    hours: str | None = None


class _Grant(msgspec.Struct):
    system: str
    actions: tuple[str, ...]
    objects: tuple[str, ...] = ("*",)
    under: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None
    when: _When | None = None


class _Terms(msgspec.Struct):
    source: tuple[str, ...] = msgspec.field(default=(), name="from")
    to: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()


class _Charter(msgspec.Struct):
    data: tuple[str, ...] = ()
    grants: tuple[_Grant, ...] = ()
    delegation: _Terms | None = None
    policy: str | None = None


class _Action(msgspec.Struct):
    effect: str


class _Group(msgspec.Struct):
    objects: tuple[str, ...] = ()
    under: tuple[str, ...] | None = None
    groups: tuple[str, ...] = ()


class _System(msgspec.Struct):
    actions: dict[str, _Action] = {}
    groups: dict[str, _Group] | None = None


_charter = msgspec.json.Decoder(_Charter).decode
_system = msgspec.json.Decoder(_System).decode


def permissions_in_force(connection: sa.Connection, since: dt.datetime, until: dt.datetime) -> Iterator[Permission]:
    """Yield the permissions that principals who may act now had before `until`, from their charters' versions.

    Hours are those that are open by the clocks of both ends of the period.
    """
    version, principal = t.charter_version.c, t.principal.c
    query = (
        sa.select(principal.name, principal.owner_team, principal.kind, version.applied_at, version.charter)
        .join_from(t.charter_version, t.principal, version.principal_id == principal.id)
        .where(principal.standing.in_(_MAY_ACT), version.applied_at < rfc3339(until))
        .order_by(principal.name, version.version)
    )
    rows = connection.execute(query, execution_options={"yield_per": 1_000})
    systems = _systems(connection)
    effects = {name: {action: each.effect for action, each in found.actions.items()} for name, found in systems.items()}
    yield from in_force((_applied(row, systems, (since, until)) for row in rows), effects)


def _applied(row: Sequence[Any], systems: Mapping[str, _System], moments: Sequence[dt.datetime]) -> AppliedVersion:
    name, team, kind, applied_at, charter = row
    whole = _charter(charter)
    own = ((system, (action,)) for system, action in permitted(whole.policy or ""))
    grants = (*((grant.system, grant.actions) for grant in whole.grants), *own)
    reach = tuple(dict.fromkeys(_reach(whole, systems, moments)))
    return AppliedVersion(name, team, kind, parse_rfc3339(applied_at), grants, reach)


def _reach(charter: _Charter, systems: Mapping[str, _System], moments: Sequence[dt.datetime]) -> Iterator[Reach]:
    windows: dict[str, list[Hours | None]] = {}
    for grant in charter.grants:
        groups = {name: tuple(_members(systems.get(grant.system), name)) for name in grant.groups or ()}
        yield from ranges(grant.system, grant.objects, grant.under or (), groups)
        window = grant.when.hours if grant.when else None
        windows.setdefault(grant.system, []).append(Hours.model_validate(window) if window else None)
    for system, each in windows.items():
        for hour in sorted(hours_utc(each, moments)):
            yield Reach(Aspect.HOURS, system, hour=hour)
    for name in charter.data:
        yield Reach(Aspect.DATA, what=name)
    if charter.delegation:
        terms = charter.delegation
        yield from delegations(terms.source, terms.to, terms.purposes)


def _members(system: _System | None, name: str) -> list[str]:
    """Return the patterns of a group of objects and of the groups inside it."""
    known = (system.groups if system else None) or {}
    found: list[str] = []
    inside, seen = [name], set[str]()
    while inside:
        each = inside.pop()
        if each in known and each not in seen:
            seen.add(each)
            found += [*known[each].objects, *(pattern for place in known[each].under or () for pattern in below(place))]
            inside += known[each].groups
    return found


def _systems(connection: sa.Connection) -> dict[str, _System]:
    query = sa.select(t.system.c.name, t.system.c.body).where(t.system.c.standing != Standing.RETIRED.value)
    return {name: _system(body) for name, body in connection.execute(query)}
