"""The numbers of pictures, from evidence whose counts are known by hand, and from a whole house."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from charter.adapters.analytics import Asked, ReviewTables
from charter.bootstrap import pictures
from charter.bootstrap.review import Review
from charter.core.errors import MalformedError
from charter.reports.picture import Bars, Flow, Grid, Timeline, columns_of, flow_of, grid_of
from charter.reports.picture_questions import Sketch
from houses import a_house
from review_entries import SINCE, UNTIL, a_permission, a_refusal, a_verdict


def asked(name: str, lines: Iterable[bytes], permissions: Iterable[Any] = (), **narrowed: str) -> list[dict[str, Any]]:
    with ReviewTables(SINCE, UNTIL) as tables:
        tables.load(lines)
        tables.permit(permissions)
        return tables.rows(Sketch(name), Asked(SINCE, UNTIL, narrowed))[0]


def test_principals_beyond_twenty_are_summed_together() -> None:
    lines = [a_verdict("2026-11-02T09:00", principal=f"p{n:02}") for n in range(23) for _ in range(30 - n)]

    grid = grid_of(asked("activity", lines), columns_of(SINCE, UNTIL))

    assert grid.total == sum(30 - n for n in range(23))
    assert (grid.rows[0].name, grid.rows[20].others, sum(grid.cells[20])) == ("p00", 3, 10 + 9 + 8)


def test_tools_follow_each_other_by_session_and_rare_ones_are_folded() -> None:
    lines = [
        a_verdict(f"2026-11-02T09:{minute:02}", action=action, sequence={"session": session})
        for session, actions in (("s1", "abc"), ("s2", "ab"), *((f"t{n}", f"{n}b") for n in range(8)))
        for minute, action in enumerate(actions)
    ]

    flow = flow_of(asked("sequences", lines))

    assert flow.total == 10
    assert flow.steps[0][0].place.name == "payments/a"
    assert (flow.steps[0][-1].place.others, flow.steps[0][-1].sessions) == (3, 3)
    assert [(s.place.name, s.sessions, s.went_on) for s in flow.steps[1]] == [("payments/b", 10, 1)]
    assert sum(link.sessions for link in flow.links) == 11


def test_what_is_used_of_what_is_granted_is_counted() -> None:
    granted = [a_permission(), a_permission("refund.create")]
    (row,) = asked("grants", [a_verdict("2026-11-02T09:00"), a_refusal("2026-11-03T09:00")], granted)
    assert (row["name"], row["granted"], row["used"]) == ("refund-agent", 2, 1)


def test_pictures_of_a_house_count_what_was_called(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        for tool in ("get_charge", "get_charge", "drop_everything"):
            stage.submit(stage.bearer("refund-agent"), stage.make(tool, {"charge_id": "ch_1"}))
        stage.clock.advance(seconds=1)
        found = {p.name: p.shape for p in asyncio.run(pictures.pictures(stage.house, Review()))}
        stage.house.sealing.seal()
        sealed = {p.name: p.shape for p in asyncio.run(pictures.pictures(stage.house, Review()))}

        assert sealed == found
        activity, denials, grants, tools = (found[name] for name in pictures.NAMES)
        assert isinstance(activity, Grid)
        assert isinstance(denials, Timeline)
        assert isinstance(grants, Bars)
        assert isinstance(tools, Flow)
        assert (activity.total, denials.denied, grants.total > 0) == (3, 1, True)
        assert (tools.total, tools.apart) in ((1, 0), (0, 3))

        (week,) = asyncio.run(pictures.pictures(stage.house, Review(principal="refund-agent"), ["activity"]))
        assert (week.shape.total, len(week.shape.table()[1])) == (3, 7)
        with pytest.raises(MalformedError):
            asyncio.run(pictures.pictures(stage.house, Review(), ["moods"]))
