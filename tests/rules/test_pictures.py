"""Pictures: sums are kept, flows are conserved, sizes are bounded, and no name is more than a name."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from typer.testing import CliRunner

from charter.adapters.png import png_of
from charter.cli.main import app
from charter.cli.plot import WIDTH, lines_of, with_terminal
from charter.reports.picture import COLUMNS, Flow, Grid, Place, columns_of, flow_of, grid_of, read_picture
from charter.reports.picture_svg import NARROW, RULES, STYLE, WIDE, Sheet, bounds_of, legend_of, level_of, to_svg
from charter.reports.session import graph_of, read_session
from charter.reports.session_drawing import to_svg as session_svg
from hostile import NASTY
from pictures_made import a_picture, small
from review_entries import SINCE, UNTIL

ROOT = Path(__file__).resolve().parents[2]
NAMES = [
    *NASTY,
    "\x1b]8;;http://evil\x07x",
    "\u202ecod",
    "]]></style><script>x</script>",
    '"><image href="http://evil/"/>',
]
counts = st.integers(0, 2**53)


def test_a_picture_is_the_same_after_its_json() -> None:
    for picture in small():
        again = read_picture(json.loads(json.dumps(picture.to_json())))
        assert again == picture


@given(st.lists(st.lists(counts, min_size=3, max_size=3), min_size=1, max_size=4))
def test_the_sums_of_a_grid_are_those_of_its_rows(lines: list[list[int]]) -> None:
    rows = [
        {"place": p, "name": f"p{p}", "everyone": len(lines), "at": at, "calls": n}
        for p, line in enumerate(lines)
        for at, n in enumerate(line)
    ]
    grid = grid_of(rows, ("a", "b", "c"))
    assert grid.total == sum(map(sum, lines))
    assert [row[-1] for row in grid.table()[1]] == [sum(line) for line in lines]
    picture = a_picture("activity", grid)
    assert "nan" not in to_svg(picture).lower()
    assert all(cell_len(line.plain) <= WIDTH for line in lines_of(picture))


@given(st.integers(1, 2**63 - 1), st.data())
def test_levels_of_heat_are_what_the_legend_says(most: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, most))
    level = level_of(count, most)
    assert bounds_of(most)[-1] == most
    meaning = dict(legend_of(most))[level]
    low, _, high = meaning.partition(" to ")
    assert int(low) <= count <= int(high or low)


def flow() -> Flow:
    (found,) = [each.shape for each in small() if isinstance(each.shape, Flow)]
    return found


def test_what_goes_on_from_a_stop_comes_to_the_next() -> None:
    drawn = flow()
    for at, stops in enumerate(drawn.steps[:-1]):
        for number, stop in enumerate(stops):
            assert stop.went_on == sum(k.sessions for k in drawn.links if (k.step, k.source) == (at, number))
        for number, stop in enumerate(drawn.steps[at + 1]):
            assert stop.sessions == sum(k.sessions for k in drawn.links if (k.step, k.target) == (at, number))
    ended_or_beyond = sum(row[3] for row in drawn.table()[1] if row[2] in ("the end", "further calls"))
    assert ended_or_beyond == drawn.total


def test_what_has_no_place_of_its_own_is_told_with_how_many_it_is() -> None:
    grid = grid_of([{"place": 20, "name": "z", "everyone": 10_000_023, "at": 0, "calls": 5}], ("a",))
    assert grid.rows == (Place(others=10_000_003),)
    assert grid.rows[0].label == "and 10000003 others"


def test_a_long_period_has_few_columns() -> None:
    assert len(columns_of(SINCE.replace(year=1990), UNTIL)) <= COLUMNS
    assert columns_of(SINCE, UNTIL)[-1] == "2026-11-23"


def test_nothing_is_said_where_nothing_happened() -> None:
    for shape in (grid_of([], ("a",)), flow_of([])):
        picture = a_picture("activity" if isinstance(shape, Grid) else "tools", shape)
        assert picture.is_empty
        assert "in this period" in to_svg(picture)
        assert "in this period" in "\n".join(line.plain for line in lines_of(picture))


@pytest.mark.parametrize("text", NAMES)
def test_a_hostile_name_is_text_in_every_drawing(text: str) -> None:
    for picture in small(text, text, text):
        root = ET.fromstring(to_svg(picture))  # noqa: S314 - our own
        tags = {each.tag.rpartition("}")[2] for each in root.iter()}
        assert tags <= {"svg", "title", "desc", "style", "rect", "text", "path"}
        assert not [name for each in root.iter() for name in each.attrib if name.startswith("on") or "href" in name]
        for line in lines_of(picture):
            assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", line.plain)
            assert cell_len(line.plain) <= WIDTH


@pytest.mark.parametrize("sheet", [WIDE, NARROW])
@pytest.mark.parametrize("name", ["p", "a-name-of-sixty-three-characters-that-is-as-long-as-names-may-be"])
def test_a_drawing_stays_on_its_sheet(sheet: Sheet, name: str) -> None:
    for picture in small(name, name, name):
        root = ET.fromstring(to_svg(picture, sheet=sheet))  # noqa: S314 - our own
        width = int(root.attrib["width"])
        assert width == WIDE.width if isinstance(picture.shape, Flow) else sheet.width
        boxes = [each.attrib for each in root.iter() if each.tag.endswith("rect")]
        assert all(float(box.get("x", 0)) + float(box["width"]) <= width for box in boxes)
        assert all(float(box.get("y", 0)) + float(box["height"]) <= int(root.attrib["height"]) for box in boxes)
        for text in (each for each in root.iter() if each.tag.endswith("}text") and each.text):
            end = 0 if text.attrib.get("text-anchor") == "end" else len(text.text or "") * 6
            assert float(text.attrib["x"]) + end <= width, text.text


def test_a_png_is_made_of_the_same_svg() -> None:
    for picture in small():
        data = png_of(to_svg(picture))
        assert data.startswith(b"\x89PNG")
        assert int.from_bytes(data[16:20]) == 2 * 860


def test_a_session_is_made_a_png_of_too() -> None:
    entry = {"kind": "verdict", "index": 1, "time": "2026-11-24T09:00:00Z", "principal": "prn_1"}
    body = {"verdict_id": "vrd_1", "verdict": "deny", "system": "mail", "tool": "send", "principal": "p"}
    session = read_session("ses_1", [entry | {"body": body | {"sequence": {"session": "ses_1", "step": 1}}}])
    assert session is not None
    assert png_of(session_svg(graph_of(session))).startswith(b"\x89PNG")


def test_a_png_of_the_longest_session_that_is_drawn_has_a_bounded_height() -> None:
    entry = {"kind": "verdict", "time": "2026-11-24T09:00:00Z", "principal": "prn_1"}
    body = {"verdict": "deny", "system": "mail", "tool": "send", "principal": "p"}
    entries = [
        entry | {"index": n, "body": body | {"verdict_id": f"vrd_{n}", "sequence": {"session": "ses_1", "step": n}}}
        for n in range(1, 1000)
    ]
    session = read_session("ses_1", entries)
    assert session is not None
    data = png_of(session_svg(graph_of(session)))
    wide, high = (int.from_bytes(data[at : at + 4]) for at in (16, 20))
    assert high < 5_000
    assert wide * high < 40_000_000


def test_the_console_has_the_rules_of_the_drawing() -> None:
    css = (ROOT / "src/charter/console/static/console.css").read_text(encoding="utf-8")
    assert all(rule + "}" in css for rule in RULES.split("}") if rule)
    assert set(re.findall(r"var\((--[a-z0-9-]+)\)", RULES)) <= set(re.findall(r"(--[a-z0-9-]+):", STYLE))


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_series_stands_out_from_its_ground_by_three_to_one() -> None:
    for style, ground in zip(STYLE.split("@media"), ("#ffffff", "#14181b"), strict=True):
        for colour in re.findall(r"--s[0-9]:(#[0-9a-f]{6})", style):
            one, other = sorted((luminance(colour), luminance(ground)))
            assert (other + 0.05) / (one + 0.05) >= 3, colour


def test_plot_stands_with_or_without_a_file() -> None:
    assert with_terminal(["--plot"]) == ["--plot=-"]
    assert with_terminal(["--plot", "refused"]) == ["--plot=-", "refused"]
    assert with_terminal(["refused", "--plot", "a.SVG", "--json"]) == ["refused", "--plot=a.SVG", "--json"]
    assert with_terminal(["--plot", "to/x"]) == ["--plot=to/x"]
    assert with_terminal(["--plot", "--since=1.5d"]) == ["--plot=-", "--since=1.5d"]


@pytest.mark.parametrize("command", [["review", "refused"], ["graph", "ses_1"], ["sessions"]])
def test_a_file_that_is_no_picture_is_refused_before_anything_is_asked(command: list[str]) -> None:
    told = CliRunner().invoke(app, [*command, "--plot", "x.pdf"])
    assert told.exit_code == 2
    words = " ".join(told.output.split())
    assert "`x.pdf` is neither .svg nor .png" in words
    assert "FILE.svg" in words


@pytest.mark.parametrize("picture", small(), ids=lambda each: each.name)
def test_a_small_picture_is_drawn_as_it_was(picture) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    golden = ROOT / "tests/golden"
    lines = "\n".join(line.plain.rstrip() for line in lines_of(picture)) + "\n"
    assert lines == (golden / f"picture_{picture.name}.txt").read_text(encoding="utf-8")
    assert to_svg(picture) + "\n" == (golden / f"picture_{picture.name}.svg").read_text(encoding="utf-8")
