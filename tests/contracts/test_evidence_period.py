"""A pack of a period shows all of it, and what of it rests on entries outside, to somebody who trusts nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from charter.bootstrap import evidence
from charter.core.errors import MalformedError
from charter.evidence import charter_verify
from charter.evidence.entry import Draft, EntryKind
from erasing_stage import ANN, erase, put
from houses import Stage, a_house

DAY = 86_400
LONG = {"verdict_id": "vrd_long", "verdict": "allow"}


def record(stage: Stage, kind: EntryKind, body: dict[str, Any]) -> int:
    return int(stage.house.database.write(lambda tx: tx.record(Draft(kind, "prn_1", "prn_1", body))))


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Give a log of five days. Of the third, one outcome is of a call of the second, and one payload is erased."""
    with a_house(tmp_path, apply=False) as found:
        for day in range(5):
            found.clock.advance(seconds=DAY)
            if day == 2:
                record(found, EntryKind.OUTCOME, {"verdict_id": "vrd_long"})
            record(found, EntryKind.VERDICT, LONG if day == 1 else LONG | {"verdict_id": f"vrd_x{day}"})
            put(found, [ANN if day == 2 else "bob@example.com"])
        erase(found, person=ANN)
        yield found


def exported(stage: Stage, target: Path, since: str | None, until: str | None) -> dict[str, Any]:
    return asyncio.run(evidence.export(stage.house, target, since, until, actor="auditor@example.com"))


def verified(made: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    asked = ["--from", made["since"], "--until", made["until"]]
    code = charter_verify.main([made["pack"], "--key", made["key"], *asked])
    return code, capsys.readouterr().out


@pytest.fixture
def third(stage: Stage, tmp_path: Path) -> dict[str, Any]:
    """Export the third day alone."""
    day = stage.clock.now() - 2 * evidence.dt.timedelta(days=1)
    since, until = (day + evidence.dt.timedelta(hours=hours) for hours in (-1, 1))
    return exported(stage, tmp_path / "third.pack", since.isoformat(), until.isoformat())


def test_a_pack_of_a_period_is_verified_with_what_it_rests_on(
    stage: Stage, third: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = verified(third, capsys)
    assert code == 0, said
    assert "PERIOD: 3 entries, and none of the period stands elsewhere" in said
    assert "none of the calls allowed by entries" in said  # vrd_x2 alone: what is outside is not asked about
    assert said.count(", ", said.index("OUTCOMES")) == 0
    assert "1 were erased" in said
    assert third["entries"] < stage.house.database.head.size
    told = stage.entries("evidence.exported")[-1]
    assert (told["actor"], told["body"]["until"]) == ("auditor@example.com", third["until"])


@pytest.mark.parametrize("end", ["now", "open"])
def test_a_period_up_to_now_is_whole_by_the_entry_that_tells_of_the_export(
    stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str], end: str
) -> None:
    stage.clock.advance(seconds=3600)
    until = None if end == "open" else evidence.rfc3339(stage.clock.now() - charter_verify.SKEW)
    made = exported(stage, tmp_path / "all.pack", None if until else "3d", until)
    code, said = verified(made, capsys)
    assert code == 0, said


def spoiled(made: dict[str, Any], wrong: str) -> None:
    """Do one thing to the pack's entries from outside of its range."""
    path = Path(made["pack"])
    lines = path.read_bytes().splitlines(keepends=True)
    beside = [n for n, line in enumerate(lines) if line.startswith(charter_verify.ELSEWHERE)]
    assert len(beside) == 2
    verdict, erasure = beside
    match wrong:
        case "no verdict":
            del lines[verdict]
        case "no erasure":
            del lines[erasure]
        case "another verdict":
            lines[verdict] = lines[verdict].replace(b"vrd_long", b"vrd_lang")
        case "another path":
            head, path_text, data = lines[verdict].split(b"\t", 2)
            lines[verdict] = b"\t".join([head, lines[erasure].split(b"\t")[1], data])
            assert path_text not in lines[verdict]
        case "a made-up erasure":
            lines[erasure] = lines[erasure].replace(b"dpo@", b"nob@")
    path.write_bytes(b"".join(lines))


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ("no verdict", "an outcome without an allowing verdict before it ('vrd_long')"),
        ("no erasure", "is missing, and no entry tells of an erasure"),
        ("another verdict", "is not proven to stand in the log"),
        ("another path", "is not proven to stand in the log"),
        ("a made-up erasure", "is not proven to stand in the log"),
    ],
)
def test_what_a_pack_rests_on_cannot_be_left_out_or_made_up(
    third: dict[str, Any], capsys: pytest.CaptureFixture[str], wrong: str, fault: str
) -> None:
    spoiled(third, wrong)
    code, said = verified(third, capsys)
    assert code == 1
    assert fault in said
    assert (", 1 are missing" in said) == (wrong in ("no erasure", "a made-up erasure"))  # and not "erased"


def test_what_a_clock_that_was_set_back_says_later_of_a_period_is_shown_and_not_hidden(
    stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.clock.advance(seconds=-2 * DAY)
    late = put(stage, ["bob@example.com"])
    stage.clock.advance(seconds=2 * DAY)
    day = stage.clock.now() - evidence.dt.timedelta(days=2)
    since, until = (day + evidence.dt.timedelta(hours=hours) for hours in (-1, 1))
    code, said = verified(exported(stage, tmp_path / "p.pack", since.isoformat(), until.isoformat()), capsys)
    assert code == 1
    assert f"the clock was set back at entry {late[0]}" in said


@pytest.mark.parametrize(
    ("since", "until", "told"),
    [
        ("7d", "1s", "nothing can show yet"),
        ("2030-01-01", None, "ends before it begins"),
        ("yesterday", None, "is no time since 1970"),
        ("3d", "4d", "ends before it begins"),
    ],
)
def test_no_period_is_refused_and_nothing_is_written(
    stage: Stage, tmp_path: Path, since: str, until: str | None, told: str
) -> None:
    with pytest.raises(MalformedError, match=told):
        exported(stage, tmp_path / "no.pack", since, until)
    assert not (tmp_path / "no.pack").exists()
    assert stage.entries("evidence.exported") == []
