"""The answers held against plain counting in Python: in any order of sealing, late, again, cut short, killed."""

from __future__ import annotations

import datetime as dt
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sqlglot import parse_one

from charter.adapters import analytics
from charter.adapters.authority_table import table_of
from charter.adapters.question_sql import Asked, asking, sql_for
from charter.adapters.review_tables import ReviewTables
from charter.adapters.sealed import Entry, SealedLog, sql_of
from charter.core.errors import UnavailableError
from charter.reports.permissions import Permission
from charter.reports.questions import QUESTIONS
from charter.reports.reach import ranges
from review_entries import UNTIL, a_permission, a_verdict, placed

SINCE = dt.datetime(2026, 11, 3, 12, tzinfo=dt.UTC)  # within a day
TODAY = dt.date(2026, 11, 24)
RANGES = ("a/*", "*/x", "a/*y*", "b/x", "*a*b*c*")


@dataclass(frozen=True)
class Event:
    """One call, as plain Python counts it."""

    at: str
    principal: str
    verdict: str
    system: str
    object: str

    @property
    def time(self) -> dt.datetime:
        return dt.datetime.fromisoformat(self.at).replace(tzinfo=dt.UTC)

    def line(self) -> bytes:
        rule = [] if self.verdict == "allow" else [{"layer": "charter", "rule": "r", "text": "no"}]
        return a_verdict(
            self.at, principal=self.principal, verdict=self.verdict, system=self.system, object=self.object,
            sensitive=self.system == "payments", reasons=rule,
        )  # fmt: skip


EVENTS = st.builds(
    Event,
    at=st.builds("2026-11-{:02}T{:02}:00:00.{:06}".format, st.integers(1, 6), st.integers(0, 23), st.integers(0, 2)),
    principal=st.sampled_from(["refund-agent", "other"]),
    verdict=st.sampled_from(["allow", "allow", "deny", "escalate"]),
    system=st.sampled_from(["payments", "ledger"]),
    object=st.sampled_from(["a/x", "a/zy", "b/x", "b/c", "xaybzc", "a/x\ny"]),
)


def permissions() -> list[Permission]:
    return [a_permission("", reach=reach) for reach in ranges("payments", RANGES, ("b",), {"g": ("a/x", "b/*")})]


def counted(events: Sequence[Event]) -> dict[str, Any]:
    """Count without any engine."""
    inside = [each for each in events if SINCE <= each.time < UNTIL]
    calls = Counter(each.principal for each in inside)
    refused = Counter(each.principal for each in inside if each.verdict != "allow")
    objects: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for each in inside:
        if each.verdict == "allow" and each.system == "payments":
            objects[each.principal].add((each.system, each.object))
    return {
        "calls": dict(calls),
        "refused": {name: count for name, count in refused.items() if count >= 3},
        "objects": {name: len(found) for name, found in objects.items()},
        "unused": {what: last for what, last in last_uses(events).items() if last is None or last < SINCE},
    }


def last_uses(events: Sequence[Event]) -> dict[str, dt.datetime | None]:
    patterns = {**{each: (each,) for each in RANGES}, "under b": ("b", "b/*"), "group g": ("a/x", "b/*")}
    found: dict[str, dt.datetime | None] = {}
    for what, each in patterns.items():
        regexes = [re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL) for pattern in each]
        found[what] = max(
            (
                event.time
                for event in events
                if event.time < UNTIL and (event.principal, event.system, event.verdict)
                == ("refund-agent", "payments", "allow") and any(regex.fullmatch(event.object) for regex in regexes)
            ),
            default=None,
        )  # fmt: skip
    return found


def told(log: SealedLog, tail: Sequence[Entry]) -> dict[str, Any]:
    """Return the same counts from the answers."""
    asked = Asked(SINCE, UNTIL, {}, [each for each in QUESTIONS if each.name != "unusual"])
    answers = {
        each.name: [dict(zip(each.columns, row, strict=True)) for row in each.rows]
        for each in analytics.answers(asked, (each.data for each in tail), table_of(permissions()), log)
    }
    return {
        "calls": {row["principal"]: row["calls"] for row in answers["most-active"]},
        "refused": {row["principal"]: row["refused"] for row in answers["refused"]},
        "objects": {row["principal"]: row["objects"] for row in answers["sensitive"]},
        "unused": {
            row["what"]: row["last_used"] and dt.datetime.fromisoformat(row["last_used"]) for row in answers["unused"]
        },
    }


def to_the_second(found: dict[str, Any]) -> dict[str, Any]:
    """Return counts with times as answers tell them."""
    return {**found, "unused": {what: at and at.replace(microsecond=0) for what, at in found["unused"].items()}}


def logs_of(events: Sequence[Event]) -> dict[str, list[Entry]]:
    """Return events as the logs of two nodes, which take turns: what one seals late lies in days of the other."""
    return {
        f"nod_{n}": placed([event.line() for at, event in enumerate(events) if at % 2 == n], node=f"nod_{n}")
        for n in range(2)
    }


def in_any_order(folder: Path, events: Sequence[Event], steps: Sequence[tuple[int, int, int]]) -> None:
    """Seal pieces of two logs, some again, compacting between; hold the answers against counting."""
    log, logs = SealedLog(folder), logs_of(events)
    for node, back, size in steps:
        entries = logs[f"nod_{node}"]
        reached = log.manifest.nodes.get(f"nod_{node}")
        start = max(0, (reached.next if reached else 0) - back)
        log.seal(entries[start : start + back + size])
        if size % 3 == 0:
            log.compact(TODAY)
    nodes = log.manifest.nodes
    tail = [each for node, log_of in logs.items() for each in log_of[nodes[node].next if node in nodes else 0 :]]

    assert told(log, tail) == to_the_second(counted(events))


STEPS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3), st.integers(1, 12)), max_size=5)


@settings(max_examples=4, deadline=None, phases=[Phase.generate])
@given(st.lists(EVENTS, max_size=40), STEPS)
def test_answers_are_what_counting_gives(
    tmp_path_factory: pytest.TempPathFactory, events: list[Event], steps: list[tuple[int, int, int]]
) -> None:
    in_any_order(tmp_path_factory.mktemp("counted") / "sealed", events, steps)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, phases=[Phase.generate])
@given(st.lists(EVENTS, max_size=80), STEPS)
def test_answers_are_what_counting_gives_many_times(
    tmp_path_factory: pytest.TempPathFactory, events: list[Event], steps: list[tuple[int, int, int]]
) -> None:
    in_any_order(tmp_path_factory.mktemp("counted") / "sealed", events, steps)


def test_a_short_period_opens_the_files_of_its_days_alone(tmp_path: Path) -> None:
    log = SealedLog(tmp_path / "sealed")
    log.seal(placed([a_verdict(f"2026-{month:02}-{day:02}T09:00") for month in (9, 10, 11) for day in range(1, 24)]))
    (question,) = [each for each in QUESTIONS if each.name == "refused"]
    asked = Asked(dt.datetime(2026, 11, 20, tzinfo=dt.UTC), UNTIL, {}, [question])

    with ReviewTables(asked.since, asked.until, log) as tables:
        plan = tables.explain(question, asked)

    files = [int(each) for each in re.findall(r"(?:Scanning|Total) Files[^0-9]*([0-9]+)", plan)]
    assert files
    assert max(files) <= 4 < len(log.paths("calls"))


@pytest.mark.parametrize("name", ["plain", "it's", "back\\slash", "new\nline", "Zoë ' OR 1=1 --", '"x" AS "value"'])
def test_sql_that_is_filled_in_is_what_would_be_made(name: str) -> None:
    for question in QUESTIONS:
        asked = Asked(SINCE, UNTIL, {"team": name, "system": name + "2", "kind": None})

        made = sql_of(asking(question, SINCE, asked.narrowed))

        assert parse_one(sql_for(question, asked), dialect="duckdb") == parse_one(made, dialect="duckdb")


KILLED = """
import sys
from pathlib import Path
from charter.adapters.sealed import SealedLog
import test_answers_counted as t
log, entries = SealedLog(Path(sys.argv[1])), t.many()
print("begun", flush=True)
while True:
    for start in range(0, len(entries), 40):
        log.seal(entries[start:start + 40])
    log.compact(t.TODAY)
    log.forget() if len(log.manifest.nodes) and log.manifest.nodes["nod_1"].next == len(entries) else None
"""


def many() -> list[Entry]:
    """Return a log of which sealing takes a while."""
    return placed([a_verdict(f"2026-11-{n % 20 + 1:02}T{n % 24:02}:00", object=f"o/{n}") for n in range(400)])


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("milliseconds", [300, 900, 1700, 2900, 4300])
def test_killed_while_it_seals_or_compacts_nothing_is_lost_or_counted_twice(tmp_path: Path, milliseconds: int) -> None:
    folder, entries = tmp_path / "sealed", many()
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1]), *sys.path])
    words = [sys.executable, "-c", KILLED, str(folder)]
    with subprocess.Popen(words, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True) as sealing:
        assert sealing.stdout
        assert sealing.stdout.readline() == "begun\n"
        time.sleep(milliseconds / 1000)
        sealing.send_signal(signal.SIGKILL)

    log = SealedLog(folder)
    reached = log.manifest.nodes["nod_1"].next if log.manifest.nodes else 0
    assert all(each.exists() for each in log.paths("calls"))
    assert calls(log, entries[reached:]) == len(entries)
    log.seal(entries)
    log.compact(TODAY)
    assert calls(log, ()) == len(entries)


def calls(log: SealedLog, tail: Sequence[Entry]) -> int:
    """Return how many calls the answers count, in all time."""
    asked = Asked(dt.datetime(2026, 1, 1, tzinfo=dt.UTC), UNTIL, {}, QUESTIONS[:1])
    (answer,) = analytics.answers(asked, (each.data for each in tail), None, log)
    return sum(row[answer.columns.index("calls")] for row in answer.rows)


def test_a_compaction_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, entries = SealedLog(tmp_path / "sealed"), many()[:20]
    log.seal(entries[:10])
    log.seal([replace_node(each) for each in entries[:10]])

    def fails(_path: Path, _target: Path) -> Path:
        raise OSError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", fails)
        with pytest.raises(UnavailableError, match="cannot be written"):
            log.compact(TODAY)
    assert calls(log, ()) == 20


def replace_node(entry: Entry) -> Entry:
    """Return the entry as another node's."""
    data = entry.data.replace(b"nod_1", b"nod_2")
    return Entry("nod_2", entry.index, data)
