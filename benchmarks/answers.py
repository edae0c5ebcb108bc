"""The five answers over many calls, beside the same SQL typed by hand on the same sealed files, in the same run.

    python benchmarks/answers.py SECONDS [EVENTS [FOLDER]]

FOLDER keeps what was drawn for the next run, which must be told as many.

Rows as the sealing writes them (`SealedLog.add`: the same Parquet, the same sums) are drawn by DuckDB for 90 days: 500
principals of 25 teams on 40 systems, a few of whom make most of the calls; four calls in a row belong to one task, on
one object of two hundred thousand; seven in a hundred are refused. Each allowed call has an outcome, so that there are
nearly twice as many entries as EVENTS. *By hand* reads the same sums with what a person would type; *full scan* asks
the rows, as somebody would who has no sums. An answer's time is what `charter review` waits for: tables opened, SQL
made or found, asked, rows fetched. Contenders take turns.
"""

from __future__ import annotations

import datetime as dt
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import sqlalchemy as sa

from charter.adapters import analytics
from charter.adapters import tables as t
from charter.adapters.authority import Authority
from charter.adapters.authority_table import table_of
from charter.adapters.question_sql import Asked, asking
from charter.adapters.sealed import Reached, SealedLog, connect, sql_of
from charter.core.clock import rfc3339
from charter.reports.answer import ROWS, plain
from charter.reports.permissions import Aspect, Permission, Reach
from charter.reports.questions import QUESTIONS
from charter.reports.reach import ranges
from charter.reports.tables import csv_of

PRINCIPALS, TEAMS, SYSTEMS, DAYS, EVENTS = 500, 25, 40, 90, 500_000
Spent = tuple[float, float]  # seconds, and seconds of the processor
Took = dict[tuple[str, str, str], dict[str, list[Spent]]]
UNTIL = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
FIRST = UNTIL - dt.timedelta(days=DAYS)
PERIODS = {"30 days": 30, "90 days": 90}
NARROWED: dict[str, dict[str, str | None]] = {
    "all": {},
    "team": {"team": "team-07"},
    "system": {"system": "system-03"},
    "kind": {"kind": "agent"},
}
KINDS = (
    "copilot", "developer-assistant", "saas-feature", "workflow", "agent", "model-integration", "browser-agent",
)  # fmt: skip


def draw(folder: Path, events: int) -> tuple[SealedLog, float]:
    """Seal `events` verdicts and their outcomes, a day at a time; return the log and the seconds that took."""
    log, started, index = SealedLog(folder / "sealed"), time.perf_counter(), 0
    dice = connect(folder / "dice", memory="2GB")
    listed = ", ".join(f"'{kind}'" for kind in KINDS)
    for day in range(DAYS):
        at = (FIRST + dt.timedelta(days=day)).replace(tzinfo=None)
        count = events // DAYS
        dice.execute(f"""
            CREATE OR REPLACE TEMP TABLE drawn AS
            WITH numbers AS (SELECT range AS i, range // 4 + {day * 10_000_000} AS task FROM range({count})),
            tasks AS (
                SELECT i, CAST({PRINCIPALS} * pow((hash(task, 1) % 1000003) / 1000003.0, 2.2) AS BIGINT) AS p,
                    hash(task, 2) % 4 AS s, hash(task, 3) AS o, hash(i, {day}, 4) AS h, hash(i, {day}, 5) AS v,
                    hash(task, 6) % 86400 AS clock
                FROM numbers
            ),
            placed AS (SELECT *, (p * 7 + s * (1 + p % 5)) % {SYSTEMS} AS sys, h % 12 AS act,
                CASE WHEN v % 1000 < 50 + (p % 7) * 4 THEN 'deny' WHEN v % 1000 > 985 THEN 'escalate' ELSE 'allow' END
                    AS verdict,
                CAST(200000 * pow((o % 1000003) / 1000003.0, 2.5) AS BIGINT) AS obj
            FROM tasks)
            SELECT 'nod_1' AS node, CAST({index} + i AS BIGINT) AS "index",
                TIMESTAMP '{at}' + to_seconds(CASE WHEN p % 3 = 0 THEN clock ELSE 25200 + clock % 39600 END)
                    + to_microseconds(CAST(h % 1000000 AS BIGINT)) AS time,
                printf('agent-%04d', p) AS principal, printf('team-%02d', p % {TEAMS}) AS team,
                [{listed}][CAST(p % {len(KINDS)} AS INT) + 1] AS kind, verdict,
                printf('system-%02d', CAST(sys AS INT)) AS system,
                printf('thing-%d.do-%d', act // 3, act % 3) AS action,
                CASE WHEN act < 8 THEN 'read' WHEN act < 11 THEN 'write' ELSE 'irreversible' END AS effect,
                printf('folder-%d/object-%d', obj % 300, obj) AS object,
                printf('folder-%d/*', obj % 300) AS place,
                ['', 'customer-pii', 'card', 'card, customer-pii'][CAST(sys % 4 AS INT) + 1] AS data,
                sys % 3 = 0 AS sensitive,
                CASE WHEN verdict = 'allow' THEN '' ELSE 'charter' END AS layer,
                CASE WHEN verdict = 'allow' THEN '' ELSE printf('rule-%d', v % 20) END AS rule,
                CASE WHEN verdict = 'allow' THEN '' ELSE printf('rule %d says no', v % 20) END AS text,
                CASE WHEN h % 10 < 2 THEN 'humans' WHEN h % 10 = 2 THEN printf('agent-%04d', p // 2) ELSE '' END
                    AS lender,
                CASE WHEN h % 10 <= 2 THEN 'purpose-' || (p % 9) ELSE '' END AS purpose,
                printf('ses-%d-%d', {day}, i // 40) AS session
            FROM placed""")  # noqa: S608 - our own numbers
        verdicts = dice.sql("FROM drawn").to_arrow_table()
        outcomes = dice.sql(f"""
            SELECT node, "index" + {count} AS "index", time + INTERVAL 40 MILLISECOND AS time, principal, system,
                CASE WHEN hash("index", 7) % 100 < 3 THEN 'failed' ELSE 'ok' END AS outcome,
                CAST(hash("index", 8) % 20000 AS BIGINT) AS bytes
            FROM drawn WHERE verdict = 'allow'""").to_arrow_table()  # noqa: S608
        index += 2 * count
        log.add({"verdicts": verdicts, "outcomes": outcomes}, "nod_1", Reached(index, ""))
    dice.close()
    return log, time.perf_counter() - started


def permissions() -> Iterator[Permission]:
    """Yield what the principals may do: of each of their systems twelve actions, three ranges, data and hours."""
    granted = FIRST - dt.timedelta(days=30)
    for p in range(PRINCIPALS):
        who = (f"agent-{p:04}", f"team-{p % TEAMS:02}", KINDS[p % len(KINDS)])
        for s in sorted({(p * 7 + s * (1 + p % 5)) % SYSTEMS for s in range(5)}):
            system = f"system-{s:02}"
            for act in range(14):
                yield Permission(*who, system, f"thing-{act // 3}.do-{act % 3}", "read", granted)
            patterns = (f"folder-{p % 300}/*", f"folder-{p % 30}*/object-{p % 10}*", f"folder-{300 + s}/*")
            for reach in ranges(system, patterns, (), {}):
                yield Permission(*who, system, "", "", granted, reach)
            for hour in range(24):
                yield Permission(*who, system, "", "", granted, Reach(Aspect.HOURS, system, hour=hour))
        for name in ("customer-pii", "card", "health"):
            yield Permission(*who, "", "", "", granted, Reach(Aspect.DATA, what=name))
        for name in ("humans", "agent-0001"):
            yield Permission(*who, "", "", "", granted, Reach(Aspect.DELEGATION, what=name, pattern="for"))


def kept_authority() -> dict[str, Any]:
    """Return what it costs to have what is permitted as a table: made, found again, after a change, and of one."""
    return {
        "title": "What is permitted, as a table",
        "columns": ["charters", "pieces", "MB", "made ms", "found again ms", "one changed ms", "of one, made ms"],
        "rows": [_kept_authority(PRINCIPALS), _kept_authority(20 * PRINCIPALS)],
        "notes": ["no answer above pays for making it: it is there before", "of one: narrowed to it, nothing made yet"],
    }


def _kept_authority(many: int) -> list[Any]:
    engine = sa.create_engine("sqlite://")
    t.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(t.system.insert(), [_system_row(s) for s in range(SYSTEMS)])
        for first in range(0, many, 500):
            some = range(first, min(first + 500, many))
            connection.execute(t.principal.insert(), [_principal_row(p) for p in some])
            connection.execute(t.charter_version.insert(), [_charter_row(p) for p in some])
        authority = Authority()
        made = timed(lambda: authority.table(connection, FIRST, UNTIL))
        table = authority.table(connection, FIRST, UNTIL)
        found = [timed(lambda: authority.table(connection, FIRST, UNTIL)) for _ in range(5)]
        changed = []
        for p in range(0, many, many // 5):
            one = t.principal.c.id == f"prn_{p:06}"
            connection.execute(t.principal.update().where(one).values(version=2))
            changed.append(timed(lambda: authority.table(connection, FIRST, UNTIL)))
        of_one = [
            timed(lambda: Authority().table(connection, FIRST, UNTIL, {"principal": "agent-0007"})) for _ in range(5)
        ]
    engine.dispose()
    times = [made, *(statistics.median(each) for each in (found, changed, of_one))]
    return [many, len(table), round(table.nbytes / 1e6, 1), *(round(1e3 * each, 1) for each in times)]


_AT = rfc3339(FIRST - dt.timedelta(days=30))
_UNREAD = {"sources": "{}", "managed_by": "git", "digest": "sha256:00", "version": 1}


def _system_row(s: int) -> dict[str, Any]:
    actions = {f"thing-{act // 3}.do-{act % 3}": {"effect": "read"} for act in range(14)}
    body = json.dumps({"actions": actions})
    return {**_UNREAD, "name": f"system-{s:02}", "standing": "active", "body": body, "applied_at": _AT}


def _principal_row(p: int) -> dict[str, Any]:
    name, team = f"agent-{p:04}", f"team-{p % TEAMS:02}"
    known = {"id": f"prn_{p:06}", "name": name, "spiffe_id": name, "kind": KINDS[p % len(KINDS)], "owner_team": team}
    rest = {"environment": "production", "owner_person": "a@b.example", "expires": "2027-01-01", "registered_at": _AT}
    return {**_UNREAD, **known, **rest, "standing": "active", "epoch": 1}


def _charter_row(p: int) -> dict[str, Any]:
    ranges = [f"folder-{p % 300}/*", f"folder-{p % 30}*/object-{p % 10}*", "folder-300/*"]
    grants = [
        {"system": f"system-{s:02}", "actions": ["*"], "objects": ranges}
        for s in sorted({(p * 7 + s * (1 + p % 5)) % SYSTEMS for s in range(5)})
    ]
    terms = {"from": ["humans", "agent-0001"]}
    charter = json.dumps({"data": ["customer-pii", "card", "health"], "grants": grants, "delegation": terms})
    kept = {"principal_id": f"prn_{p:06}", "charter": charter, "applied_at": _AT, "applied_by": "a", "reason": ""}
    return {**_UNREAD, **kept, "envelope": "{}"}


class Contenders:
    """One sealed log, asked in three ways."""

    def __init__(self, log: SealedLog) -> None:
        self.log, self.authority = log, table_of(permissions())
        until = pa.array([UNTIL.replace(tzinfo=None)] * len(self.authority), pa.timestamp("us"))
        self.table = self.authority.append_column("until", until)  # the same, as whoever asks by hand has it

    def charter(self, name: str, since: dt.datetime, narrowed: dict[str, str | None], rows: int = ROWS) -> Any:
        """Ask as `charter review` does."""
        asked = Asked(since, UNTIL, narrowed, [BY_NAME[name]], rows)
        (answer,) = analytics.answers(asked, (), self.authority, self.log)
        return answer

    def asked_by_hand(self, name: str, since: dt.datetime, narrowed: dict[str, str | None], *, scan: bool) -> Any:
        """Ask what a person would type, of the sums or of the rows."""
        duck = duckdb.connect(config={"memory_limit": "512MB"})
        sql = BY_HAND[name]
        source = self.scanned if scan else self.summed
        where = [f"{column} = '{value}'" for column, value in narrowed.items()]

        def narrow(columns: str) -> str:
            return "".join(f" AND {each}" for each in where if each.split()[0] in columns.split())

        sql = sql.format(
            calls=source("calls"), ends=source("ends"), objects=source("objects"), hours=source("hours"),
            places=source("places"), since=f"DATE '{since.date()}'",
            history=f"DATE '{(since - dt.timedelta(days=90)).date()}'",
            who=narrow("team kind system"), ended=narrow("system"), called=narrow("team kind system"),
        )  # fmt: skip
        duck.register("permissions", self.table)
        try:
            return duck.sql(sql).fetchall()
        finally:
            duck.close()

    def summed(self, table: str) -> str:
        return f"read_parquet('{self.log.folder}/{table}/*/*.parquet', hive_types = {{'day': DATE}})"

    def scanned(self, table: str) -> str:
        outcomes, rows = self.summed("outcomes"), self.summed("verdicts")
        if table == "ends":
            return f"(SELECT *, 1 AS calls FROM {outcomes})"  # noqa: S608
        only = " WHERE verdict = 'allow'" if table == "objects" else ""
        return (
            '(SELECT *, 1 AS calls, time AS "first", time AS "last", hour(time) AS hour, '  # noqa: S608
            f"CAST(verdict = 'allow' AS INT) AS allowed FROM {rows}{only})"
        )


BY_HAND = {
    "most-active": """
        WITH c AS (SELECT principal, max(team) AS team, max(kind) AS kind, sum(calls) AS calls,
                sum(calls) FILTER (verdict = 'allow') AS allowed, sum(calls) FILTER (verdict = 'deny') AS denied,
                sum(calls) FILTER (verdict = 'escalate') AS escalated, count(DISTINCT system) AS systems,
                count(DISTINCT action) AS actions, count(DISTINCT day) AS days, max("last") "last"
            FROM {calls} WHERE day >= {since}{who} GROUP BY 1),
        e AS (SELECT principal, sum(calls) FILTER (outcome <> 'ok') AS failed, sum(bytes) AS bytes
            FROM {ends} WHERE day >= {since}{ended} GROUP BY 1)
        SELECT * FROM c LEFT JOIN e USING (principal) ORDER BY calls DESC, principal""",
    "sensitive": """
        WITH c AS (SELECT principal, max(team) AS team, sum(calls) AS calls, count(DISTINCT system) AS systems,
                sum(calls) FILTER (effect <> 'read') AS changes, max("last") "last",
                string_agg(DISTINCT system, ', ' ORDER BY system) AS names,
                string_agg(DISTINCT data, ', ' ORDER BY data) FILTER (data <> '') AS data
            FROM {calls} WHERE day >= {since} AND verdict = 'allow' AND sensitive{who} GROUP BY 1),
        o AS (SELECT principal, count(DISTINCT object) AS objects
            FROM {objects} WHERE day >= {since} AND sensitive{who} GROUP BY 1)
        SELECT * FROM c LEFT JOIN o USING (principal) ORDER BY calls DESC, principal""",
    "refused": """
        WITH r AS (SELECT * FROM {calls} WHERE day >= {since} AND verdict <> 'allow'{who}),
        c AS (SELECT principal, max(team) AS team, sum(calls) AS refused,
            sum(calls) FILTER (verdict = 'deny') AS denied,
            min("first") "first", max("last") "last" FROM r GROUP BY 1 HAVING sum(calls) >= 3),
        t AS (SELECT principal, layer, rule, sum(calls) AS times, max(text) AS text FROM r GROUP BY 1, 2, 3
            QUALIFY row_number() OVER (PARTITION BY principal ORDER BY sum(calls) DESC, layer, rule) = 1)
        SELECT * FROM c JOIN t USING (principal) ORDER BY refused DESC, principal""",
    "unused": """
        WITH ranges AS (SELECT * FROM permissions WHERE aspect = 'objects'{who}),
        allowed AS (SELECT * FROM {calls} WHERE verdict = 'allow'{called}),
        used AS (
            SELECT principal, 'action' AS aspect, system, action, '' AS what, '' AS pattern, -1 AS hour,
                max("last") AS used FROM allowed GROUP BY ALL
            UNION ALL
            SELECT r.principal, 'objects', r.system, '', r.what, '', -1, max(o."last")
                FROM {objects} o JOIN ranges r ON o.principal = r.principal AND o.system = r.system
                WHERE starts_with(object, prefix) AND (is_open OR object = prefix) AND ends_with(object, suffix)
                    AND length(object) >= length(prefix) + length(suffix)
                    AND (middle = '' OR contains(object[length(prefix) + 1 : length(object) - length(suffix)], middle))
                    AND (r.pattern = '' OR regexp_matches(object, r.pattern)) GROUP BY ALL
            UNION ALL
            SELECT principal, 'data', '', '', class, '', -1, max(latest) FROM (
                SELECT principal, unnest(string_split(data, ', ')) AS class, max("last") AS latest
                FROM allowed WHERE data <> '' GROUP BY 1, data) GROUP BY ALL
            UNION ALL
            SELECT principal, 'delegation', '', '', lender, 'for', -1, max("last")
                FROM allowed WHERE lender <> '' GROUP BY ALL
            UNION ALL
            SELECT lender, 'delegation', '', '', principal, 'to', -1, max("last")
                FROM allowed WHERE lender <> '' GROUP BY ALL
            UNION ALL
            SELECT principal, 'hours', system, '', '', '', hour, max("last")
                FROM {hours} WHERE allowed > 0{called} GROUP BY ALL),
        held AS (
            SELECT DISTINCT principal, team, kind, aspect, system, action, what, effect, hour, granted, until, used
            FROM (SELECT * REPLACE (if(aspect = 'objects', '', pattern) AS pattern) FROM permissions WHERE true{who})
                LEFT JOIN used USING (principal, aspect, system, action, what, pattern, hour)
            WHERE (used IS NULL OR used < {since})
                AND (aspect <> 'hours' OR (principal, system) IN (
                    SELECT (principal, system) FROM used WHERE aspect = 'hours' AND used >= {since}))),
        told AS (
            SELECT principal, team, kind, aspect, system, action, what, granted, used, until FROM held WHERE hour < 0
            UNION ALL
            SELECT principal, team, kind, aspect, system, '', min(hour) || ':00-' || max(hour) + 1 || ':00',
                max(granted), max(used), max(until)
            FROM (SELECT *, hour - row_number() OVER (PARTITION BY principal, system ORDER BY hour) AS stretch
                FROM held WHERE hour >= 0) GROUP BY principal, team, kind, aspect, system, stretch)
        SELECT principal, system, aspect, floor(date_sub('second', greatest(used, granted), until) / 86400) AS days, *
        FROM told ORDER BY days DESC, principal, system, aspect, action, what""",
    "unusual": """
        WITH h AS (SELECT principal, day, hour, min("first") AS "first", sum(calls) AS calls
            FROM {hours} WHERE day >= {history}{called} GROUP BY ALL),
        d AS (SELECT principal, day, sum(calls) AS calls FROM h GROUP BY ALL),
        days AS (SELECT *, count(*) OVER earlier AS known, avg(calls) OVER earlier AS mean,
                stddev_samp(calls) OVER earlier AS deviation
            FROM d WINDOW earlier AS (
                PARTITION BY principal ORDER BY day ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)),
        a AS (SELECT principal, system, action, min("first") AS "first", sum(calls) AS calls
            FROM {calls} WHERE day >= {history}{called} GROUP BY ALL),
        p AS (SELECT principal, system, place, min("first") AS "first", sum(calls) AS calls
            FROM {places} WHERE day >= {history} AND place <> ''{called} GROUP BY ALL),
        seen AS (
            SELECT 'new action' AS sign, principal, system || '/' || action AS what, "first", calls,
                row_number() OVER (PARTITION BY principal ORDER BY "first", system, action) - 1 AS others FROM a
            UNION ALL
            SELECT 'new system', principal, system, min("first") AS f, sum(calls),
                row_number() OVER (PARTITION BY principal ORDER BY min("first"), system) - 1
                FROM a GROUP BY principal, system
            UNION ALL
            SELECT 'new hour', principal, hour || ':00', min("first"), sum(calls),
                row_number() OVER (PARTITION BY principal ORDER BY min("first"), hour) - 1
                FROM h GROUP BY principal, hour
            UNION ALL
            SELECT 'new place', principal, system || '/' || place, "first", calls,
                row_number() OVER (PARTITION BY principal ORDER BY "first", system, place) - 1 AS others
                FROM p QUALIFY others <= 20),
        signs AS (
            SELECT seen.principal, sign, what, "first", seen.calls
            FROM seen JOIN days ON seen.principal = days.principal AND CAST("first" AS DATE) = days.day
            WHERE "first" >= {since} AND others >= 1 AND known >= 7
            UNION ALL
            SELECT principal, 'busy day', CAST(day AS TEXT), day, calls FROM days
            WHERE known >= 7 AND day >= {since} AND calls >= 10
                AND calls > mean + 3 * greatest(deviation, sqrt(mean), 1))
        SELECT * FROM signs ORDER BY "first" DESC, principal, sign, what""",
}


def run(seconds: float, events: int = EVENTS, kept: Path | None = None) -> dict[str, Any]:
    """Measure in rounds until `seconds` have passed, two at least."""
    with tempfile.TemporaryDirectory(prefix=".charter-bench-", dir=Path.cwd()) as named:
        folder = kept or Path(named)
        is_drawn = (folder / "sealed").is_dir()
        log, drawing = (SealedLog(folder / "sealed"), 0.0) if is_drawn else draw(folder, events)
        asked = Contenders(log)
        took: Took = {}
        agree(asked)
        first = compiled()
        started, rounds = time.perf_counter(), 0
        while rounds < 2 or time.perf_counter() - started < seconds:
            one_round(asked, took, scan=rounds < 2)
            rounds += 1
        memory = {name: in_a_process(folder, name) for name in BY_NAME}
        size = log.size()
        files = sum(len(log.paths(table)) for table in ("verdicts", "outcomes", *("calls", "objects", "places")))
    rows = [row(*key, times) for key, times in sorted(took.items())]
    return {
        "title": f"Five answers over {events:,} calls",
        "columns": [
            "question",
            "period",
            "of",
            "Charter ms",
            "spread",
            "by hand ms",
            "ratio",
            "of processor",
            "full scan ms",
        ],
        "rows": rows,
        "notes": [
            f"{size / 1e6:,.0f} MB of Parquet in {files} files and more, drawn and sealed in {drawing:.0f} s",
            "ratio: Charter over the same SQL by hand; of processor: of the seconds on it, which others disturb less",
            f"medians of {rounds} rounds; by hand, what is permitted is a table already, and no sentences are made",
        ],
        "and": [
            {
                "title": "In a fresh process: the first answer, and memory",
                "columns": ["question", "libraries s", "first answer s", "SQL made ms", "peak MB"],
                "rows": [[name, *memory[name][:2], first[name], memory[name][2]] for name in memory],
                "notes": ["the first answer of a process makes its SQL from the expression; the next ones find it"],
            },
            kept_authority(),
        ],
    }


BY_NAME = {each.name: each for each in QUESTIONS}
NOT_SCANNED = frozenset({"unused", "unusual"})  # never asked of the raw rows
COMPARED = {  # what rows must agree in, as Charter calls it, and the places of it in what is asked by hand
    "most-active": (("principal", "calls", "bytes"), (0, 3, 12)),
    "sensitive": (("principal", "calls", "objects"), (0, 2, 8)),
    "refused": (("principal", "refused", "rule"), (0, 2, 7)),
    "unused": (("principal", "system", "aspect", "days"), (0, 1, 2, 3)),
    "unusual": (("principal", "sign", "first", "calls"), (0, 1, 3, 4)),
}


def agree(asked: Contenders) -> None:
    """Stop unless Charter, the sums by hand and the rows by hand say the same, row for row."""
    for name, (columns, places) in COMPARED.items():
        told = asked.charter(name, FIRST, {}, 10**6)
        at = [told.columns.index(column) for column in columns]
        mine = sorted(tuple(row[place] for place in at) for row in told.rows)
        for scan in (False,) if name in NOT_SCANNED else (False, True):
            found = asked.asked_by_hand(name, FIRST, {}, scan=scan)
            theirs = sorted(tuple(_plain(row[place]) for place in places) for row in found)
            assert mine == theirs, f"{name}: {next(zip(mine, theirs, strict=False))}"


def _plain(value: Any) -> Any:
    """Return a value as an answer has it."""
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime.combine(value, dt.time())
    value = plain(value)
    return int(value) if isinstance(value, float) else value


def compiled() -> dict[str, float]:
    """Return the milliseconds that a question's SQL takes to be made, nothing kept."""
    found = {}
    for each in QUESTIONS:
        times = []
        for _ in range(3):
            started = time.perf_counter()
            sql_of(asking(each, FIRST, {}))
            times.append(time.perf_counter() - started)
        found[each.name] = round(1e3 * statistics.median(times), 1)
    return found


def one_round(asked: Contenders, took: Took, *, scan: bool) -> None:
    for period, days in PERIODS.items():
        since = UNTIL - dt.timedelta(days=days)
        for of, narrowed in NARROWED.items():
            for each in QUESTIONS:
                times = took.setdefault((each.name, period, of), {"charter": [], "hand": [], "scan": []})
                times["charter"].append(spent(lambda: asked.charter(each.name, since, narrowed)))  # noqa: B023
                if each.name in BY_HAND:
                    times["hand"].append(
                        spent(lambda: asked.asked_by_hand(each.name, since, narrowed, scan=False))  # noqa: B023
                    )
                    if scan and of == "all" and each.name not in NOT_SCANNED:
                        times["scan"].append(
                            spent(lambda: asked.asked_by_hand(each.name, since, narrowed, scan=True))  # noqa: B023
                        )


def timed(once: Callable[[], Any]) -> float:
    return spent(once)[0]


def spent(once: Callable[[], Any]) -> Spent:
    """Return the seconds that something takes, and those of the processor, which others disturb less."""
    started, busy = time.perf_counter(), time.process_time()
    once()
    return time.perf_counter() - started, time.process_time() - busy


def row(name: str, period: str, of: str, times: dict[str, list[Spent]]) -> list[Any]:
    ours, hand, scan = (medians(times[who]) for who in ("charter", "hand", "scan"))
    spread = f"{1e3 * min(times['charter'])[0]:.0f} - {1e3 * max(times['charter'])[0]:.0f}"
    ratios = [round(mine / theirs, 2) for mine, theirs in zip(ours, hand, strict=True)]
    return [name, period, of, round(1e3 * ours[0]), spread, round(1e3 * hand[0]), *ratios, round(1e3 * scan[0]) or ""]


def medians(times: list[Spent]) -> Spent:
    """Return the median seconds, and the median seconds of the processor."""
    return (statistics.median(t[0] for t in times), statistics.median(t[1] for t in times)) if times else (0.0, 0.0)


def in_a_process(folder: Path, name: str) -> tuple[float, float, int]:
    """Return seconds to load the libraries, seconds to the first answer, and the peak of memory in MB."""
    words = [sys.executable, __file__, "child", str(folder), name]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    return found["libraries"], found["first"], found["peak"]


def child(folder: Path, name: str, loaded: float) -> dict[str, Any]:
    asked = Contenders(SealedLog(folder / "sealed"))
    first = timed(lambda: csv_of([], asked.charter(name, FIRST, {}).rows))
    peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) // 1024
    return {"libraries": round(loaded, 2), "first": round(first, 2), "peak": peak}


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        print(json.dumps(child(Path(sys.argv[2]), sys.argv[3], time.process_time())))
    else:
        words = dict(enumerate(sys.argv))
        kept = Path(words[3]) if 3 in words else None
        print(json.dumps(run(float(words.get(1, 20)), int(words.get(2, EVENTS)), kept), indent=1))
