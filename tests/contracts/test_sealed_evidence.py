"""Evidence sealed to Parquet: the same answers as from the log, each entry once, whole after a crash."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from charter.adapters import analytics, sealed, whole_file
from charter.adapters.authority_table import table_of
from charter.adapters.question_sql import Asked
from charter.adapters.sealed import Entry, SealedLog
from charter.core.errors import IntegrityError, UnavailableError
from charter.reports.answer import Answer
from charter.reports.facts import ROWS, SUMS
from charter.reports.questions import QUESTIONS
from review_entries import SINCE, UNTIL, a_permission, a_refusal, a_verdict, an_outcome, placed

TODAY = dt.date(2026, 11, 24)
SOME = [q for q in QUESTIONS if q.name in {"most-active", "sensitive"}]


def asked(
    log: SealedLog | None, tail: Sequence[Entry] = (), *, since: dt.datetime = SINCE, until: dt.datetime = UNTIL
) -> list[tuple[str, object]]:
    """Return the answers' rows."""
    wanted = Asked(since, until, {}, QUESTIONS)
    permissions = [a_permission(), a_permission("refund.create")]
    return _rows(analytics.answers(wanted, (each.data for each in tail), table_of(permissions), log))


def few(log: SealedLog, tail: Sequence[Entry] = ()) -> list[tuple[str, object]]:
    """Return the rows of the quicker questions."""
    wanted = Asked(SINCE, UNTIL, {}, SOME)
    return _rows(analytics.answers(wanted, (each.data for each in tail), None, log))


def _rows(answers: Sequence[Answer]) -> list[tuple[str, object]]:
    return [(each.name, each.rows) for each in answers]


def calls(log: SealedLog) -> int:
    """Return how many calls the answers count."""
    ((_name, rows), _sensitive) = few(log)
    return sum(row[3] for row in rows)  # type: ignore[attr-defined]


WEEKS = [
    *[
        a_verdict(f"2026-{month}-{day:02}T{hour:02}:30")
        for month in (10, 11)
        for day in range(1, 23)
        for hour in (8, 9)
    ],
    *[a_refusal(f"2026-11-{day:02}T10:00", principal="other") for day in range(1, 9)],
    *[an_outcome(f"2026-11-{day:02}T08:31") for day in range(1, 9)],
    a_verdict("2026-11-09T03:00", system="ledger", object="book/1", action="post", effect="write", data=[]),
]


@pytest.mark.slow
def test_sealed_evidence_answers_as_the_log_does(tmp_path: Path) -> None:
    entries, log = placed(WEEKS), SealedLog(tmp_path / "sealed")
    wanted = asked(None, entries)

    assert log.seal(entries[:60]) == 60
    assert asked(log, entries[60:]) == wanted
    assert log.seal(entries[60:]) == len(entries) - 60
    assert asked(log) == wanted
    assert log.compact(TODAY) > 0
    assert asked(log) == wanted
    assert {len(days) for table in log.manifest.files.values() for days in table.values()} == {1}


def test_a_period_may_begin_and_end_within_a_day(tmp_path: Path) -> None:
    entries, log = placed(WEEKS), SealedLog(tmp_path / "sealed")
    log.seal(entries)
    since, until = (dt.datetime(2026, 11, day, 8, 45, tzinfo=dt.UTC) for day in (3, 9))

    assert asked(log, since=since, until=until) == asked(None, entries, since=since, until=until)


def test_what_comes_again_counts_once_and_what_comes_late_goes_to_its_day(tmp_path: Path) -> None:
    log = SealedLog(tmp_path / "sealed")
    ours = placed([a_verdict(f"2026-11-{day:02}T09:00") for day in range(1, 9)])
    late = placed([a_verdict("2026-11-02T09:00"), a_verdict("2026-11-02T10:00")], node="nod_2")

    assert log.seal([*ours, *ours[3:]]) == 8
    assert log.seal(ours) == 0
    assert log.seal([*late, *ours]) == 2
    assert calls(log) == 10
    assert len(log.paths("verdicts", since=dt.date(2026, 11, 2), until=dt.date(2026, 11, 3))) == 2
    log.compact(TODAY)
    assert calls(log) == 10


def test_a_gap_is_told_and_nothing_behind_it_is_sealed(tmp_path: Path) -> None:
    log, entries = SealedLog(tmp_path / "sealed"), placed([a_verdict("2026-11-01T09:00")] * 5)
    log.seal(entries[:2])

    with pytest.raises(IntegrityError, match="after entry 1 of nod_1 came 3"):
        log.seal(entries[3:])
    assert calls(log) == 2


@pytest.mark.parametrize("step", range(6))
def test_a_crash_at_any_step_leaves_what_was_sealed_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    log = SealedLog(tmp_path / "sealed")
    entries = placed([a_verdict(f"2026-11-01T09:0{n}") for n in range(4)])
    log.seal(entries[:2])
    steps = iter(range(100))
    replace, commit = Path.replace, whole_file.replace

    def crash() -> None:
        if next(steps) == step:
            raise OSError("the machine stops")

    def replacing(path: Path, target: Path) -> Path:
        crash()
        return replace(path, target)

    def committing(path: Path, data: bytes) -> None:
        crash()
        commit(path, data)

    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", replacing)
        broken.setattr(whole_file, "replace", committing)
        with pytest.raises(UnavailableError, match="cannot be written"):
            log.seal(entries[2:])

    again = SealedLog(tmp_path / "sealed")
    assert calls(again) == 2
    assert again.seal(entries) == 2
    assert calls(again) == 4
    again.seal(placed([a_verdict("2026-11-03T09:00")], node="nod_2"))
    named = {path for table in (*ROWS, *SUMS) for path in again.paths(table)}
    assert set(again.folder.glob("*/day=*/*")) == named  # what the crash left is gone


def test_a_manifest_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    log = SealedLog(tmp_path)
    (tmp_path / sealed.MANIFEST).write_text('{"version": "x"}')

    with pytest.raises(IntegrityError, match="its manifest cannot be read"):
        log.paths("calls")


PIECES = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["allow", "deny"]), st.integers(1, 4), st.integers(0, 23)),
    max_size=12,
)


@pytest.mark.slow
@settings(max_examples=12, deadline=None, phases=[Phase.generate])
@given(PIECES, st.lists(st.integers(0, 12), max_size=3), st.booleans())
def test_in_whatever_pieces_it_is_sealed_the_answers_are_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    pieces: list[tuple[str, str, int, int]],
    cuts: list[int],
    compacted: bool,
) -> None:
    entries = placed([a_verdict(f"2026-11-{d:02}T{h:02}:00", principal=p, verdict=v) for p, v, d, h in pieces])
    log = SealedLog(tmp_path_factory.mktemp("sealed"))
    wanted = few(SealedLog(log.folder / "none"), entries)
    for cut in sorted(cuts):
        log.seal(entries[:cut])
        if compacted:
            log.compact(TODAY)
    reached = log.manifest.nodes["nod_1"].next if log.manifest.nodes else 0

    assert few(log, entries[reached:]) == wanted


def test_a_folder_whose_name_looks_like_a_column_changes_no_answer(tmp_path: Path) -> None:
    entries = placed(WEEKS)
    log = SealedLog(tmp_path / "principal=other" / "team=1" / "sealed")
    log.seal(entries[:-9])

    assert asked(log, entries[-9:]) == asked(None, entries)


def without_objects(entries: Sequence[Entry], day: str) -> list[Entry]:
    """Return the entries of a day as they are told once what stood apart of them is erased."""
    of_day = [each for each in entries if f'"time": "{day}'.encode() in each.data]
    return [Entry(each.node, each.index, each.data, each.data.replace(b"charge/ch_1", b"<erased>")) for each in of_day]


def files(log: SealedLog) -> set[Path]:
    return set(log.folder.glob("*/day=*/*"))


def test_a_day_that_is_made_anew_leaves_the_files_of_all_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed, "BATCH", 2)  # more than one of a day
    log, entries = SealedLog(tmp_path / "sealed"), placed(WEEKS)
    with monkeypatch.context() as whole:
        whole.setattr(sealed, "BATCH", 1_000)
        log.seal(entries)
    before, wanted = files(log), calls(log)
    there = {"charge/ch_1", "book/1"}
    assert objects(log) == there

    log.remake(dt.date(2026, 11, 2), without_objects(entries, "2026-11-02"))
    log.follow({"nod_1": 7})

    assert calls(log) == wanted  # it counts what it counted
    assert objects(log) == there | {"<erased>"}
    changed = {path.parent.name for path in before ^ files(log)}
    assert changed == {"day=2026-11-02"}
    assert files(log) == {path for table in (*ROWS, *SUMS) for path in log.paths(table)}  # nothing of it is left
    assert log.manifest.erased == {"nod_1": 7}
    assert log.seal(entries) == 0
    assert log.manifest.nodes["nod_1"].next == len(entries)


def objects(log: SealedLog) -> set[str]:
    """Return all objects in rows and sums."""
    duck = sealed.connect(log.folder / "spill")
    named = [list(map(str, log.paths(table))) for table in ("verdicts", "objects")]
    found = {
        row[0] for paths in named for row in duck.execute("SELECT object FROM read_parquet(?)", [paths]).fetchall()
    }
    duck.close()
    return found


@pytest.mark.parametrize("step", range(9))
def test_a_crash_while_a_day_is_made_anew_leaves_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    log, entries = SealedLog(tmp_path / "sealed"), placed(WEEKS[-20:])
    log.seal(entries)
    steps, wanted, replacing = iter(range(100)), calls(log), whole_file.sync_folder
    commit, move = whole_file.replace, Path.replace

    def crashing(kind: Callable[..., Any]) -> Callable[..., Any]:
        def once(*given: Any) -> Any:
            if next(steps) == step:
                raise OSError("the machine stops")
            return kind(*given)

        return once

    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", crashing(move))
        broken.setattr(whole_file, "replace", crashing(commit))
        broken.setattr(whole_file, "sync_folder", crashing(replacing))
        with contextlib.suppress(UnavailableError, OSError):
            log.remake(dt.date(2026, 11, 2), without_objects(entries, "2026-11-02"))
            log.follow({"nod_1": 7})

    again = SealedLog(tmp_path / "sealed")
    assert calls(again) == wanted
    again.remake(dt.date(2026, 11, 2), without_objects(entries, "2026-11-02"))
    again.follow({"nod_1": 7})
    assert calls(again) == wanted
    assert files(again) == {path for table in (*ROWS, *SUMS) for path in again.paths(table)}
