"""The numbers of pictures, from evidence whose counts are known by hand, and from a whole house."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import httpx
import msgspec
import pytest
from click.testing import Result
from msgspec.structs import replace
from typer.testing import CliRunner

from charter.adapters import sealed
from charter.adapters.authority_table import table_of
from charter.adapters.question_sql import Asked
from charter.adapters.review_tables import ReviewTables
from charter.bootstrap import pictures, sessions
from charter.bootstrap.review import Review
from charter.cli.main import app
from charter.core.errors import MalformedError
from charter.reports.picture import Bars, Flow, Grid, Timeline, columns_of, flow_of, grid_of
from charter.reports.picture_questions import Sketch
from charter.server.control import control_app
from houses import a_house
from review_entries import SINCE, UNTIL, a_permission, a_refusal, a_verdict


def asked(name: str, lines: Iterable[bytes], permissions: Iterable[Any] = (), **narrowed: str) -> list[dict[str, Any]]:
    with ReviewTables(SINCE, UNTIL) as tables:
        tables.load(lines)
        tables.permit(table_of(permissions))
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


def test_pictures_are_answered_and_written_as_svg_and_png_also_from_evidence_sealed_by_an_older_version(
    tmp_path: Path,
) -> None:
    """From the calls to the drawing: over the control API as it is served, and by commands as typed."""
    with a_house(tmp_path) as stage:
        call = replace(stage.make("get_charge", {"charge_id": "ch_1"}), run="run-1")
        for _ in range(3):
            stage.submit(stage.bearer(), call)
        stage.clock.advance(seconds=1)
        stage.house.sealing.seal()
        newest = stage.house.sealing.sealed.manifest
        older = msgspec.structs.replace(newest, version=sealed.FORMAT - 1)
        (stage.house.sealing.sealed.folder / sealed.MANIFEST).write_bytes(msgspec.json.encode(older))

        inner = httpx.ASGITransport(app=control_app(stage.house))

        async def answers(*paths: str) -> list[httpx.Response]:
            async with httpx.AsyncClient(transport=inner, base_url="http://charter") as client:
                return [await client.get(path) for path in paths]

        forms = [f"/v1/pictures/{name}?form={form}" for name in pictures.NAMES for form in ("svg", "png")]
        found = asyncio.run(answers(*forms, "/v1/pictures/activity?form=gif", "/v1/pictures/tools"))
        *drawn, wrong, numbers = found
        for svg, png in zip(drawn[::2], drawn[1::2], strict=True):
            assert (svg.headers["content-type"], png.headers["content-type"]) == ("image/svg+xml", "image/png")
            assert fromstring(svg.content).tag.endswith("svg")  # noqa: S314 - our own
            assert png.content.startswith(b"\x89PNG\r\n\x1a\n")
        assert wrong.status_code == 400
        assert numbers.json()["name"] == "tools"
        assert stage.house.sealing.sealed.manifest.version == sealed.FORMAT  # sealed again, and drawn
        asked = sessions.listing(stage.house, "refund-agent", since="7d")
        session = asked["sessions"][0]["session"]

    def charter(*words: str) -> Result:
        return CliRunner().invoke(app, ["-C", str(tmp_path), *words])

    for name, magic in (("a.svg", b"<svg"), ("a.png", b"\x89PNG")):
        done = charter("graph", session, "--since", "2026-11-01", "--plot", str(tmp_path / name))
        assert done.exit_code == 0, done.output
        assert (tmp_path / name).read_bytes().startswith(magic)
    assert "payments/charge.read" in charter("graph", session, "--since", "2026-11-01", "--plot").output
    assert charter("graph", session, "--since", "2026-11-01", "--plot", "a.txt.svg/none.svg").exit_code != 0


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
