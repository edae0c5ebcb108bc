"""The newest entries on their way from the writer to whoever weighs them: the log's, without a gap, or none."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from charter.bootstrap import behaviour_feed
from charter.bootstrap.behaviour_feed import Feed
from charter.evidence.entry import Draft, Entry, EntryKind, place
from houses import Stage, a_house

NOON = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)


def entries(*indexes: int) -> list[Entry]:
    draft = Draft(EntryKind.OUTCOME, "prn_1", "prn_1", {"outcome": "ok", "result_digest": "sha256:0"})
    return [place(draft, node="nod_1", index=each, at=NOON, salt=bytes) for each in indexes]


def indexes(feed: Feed, index: int, most: int = 500) -> list[int] | None:
    found = feed.take(index, most)
    return None if found is None else [each["index"] for each in found]


def test_what_was_written_is_taken_out_once_and_in_order() -> None:
    feed = Feed()
    feed.hear(entries(7, 8))
    feed.hear(entries(9))
    assert indexes(feed, 7, 2) == [7, 8]
    assert indexes(feed, 9) == [9]
    assert feed.take(10, 500) is None


def test_who_is_behind_or_ahead_is_given_nothing_that_was_not_asked_for() -> None:
    feed = Feed()
    feed.hear(entries(7, 8, 9))
    assert feed.take(6, 500) is None
    assert indexes(feed, 8) == [8, 9]
    feed.hear(entries(10))
    assert feed.take(12, 500) is None


def test_a_gap_empties_it_up_to_where_it_goes_on() -> None:
    feed = Feed()
    feed.hear(entries(1, 2))
    feed.hear([])
    feed.hear(entries(5))
    assert feed.take(1, 500) is None
    assert feed.take(3, 500) is None
    assert indexes(feed, 5) == [5]


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(behaviour_feed, "MAX_BYTES", 2_000)
    feed = Feed()
    for index in range(100):
        feed.hear(entries(index))
    assert feed._size <= 2_000
    assert sum(len(each.data) for each in feed._entries) <= 2_000
    assert feed.take(0, 500) is None


def test_it_says_what_the_log_says(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        feed = Feed()
        done = stage.house.database.hand_out(feed.hear)
        begins = stage.house.database.head.size
        for charge in ("ch_1", "ch_2"):
            stage.submit(stage.bearer("charge-reader"), stage.make("get_charge", {"charge_id": charge}))
        told = feed.take(begins, 500)
        assert told is not None
        assert told == in_the_log(stage, begins)
        assert [each["body"]["object"] for each in told if each["kind"] == "verdict"] == ["charge/ch_1", "charge/ch_2"]
        done()
        stage.submit(stage.bearer("charge-reader"), stage.make("get_charge", {"charge_id": "ch_3"}))
        assert feed.take(begins + len(told), 500) is None


def in_the_log(stage: Stage, begins: int) -> list[dict[str, object]]:
    stored = stage.house.database.read_log(lambda log: log.entries(begins - 1, 500))
    return [each.to_json() for each in stored]
