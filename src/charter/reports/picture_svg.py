"""Pictures as SVG, drawn here without a script or a program; a PNG is this SVG, rastered.

It is named and described for those who do not see it, and its colours come from classes, light and dark. Colour never
speaks alone: heat has a number for every cell in its title, series stand in one order and are named beside it.

INVARIANT: names come from callers and tools; all of them go through `label_of` and an XML writer, and none into an
attribute. INVARIANT: numbers are integers up to the last step, so no size is NaN, negative or beyond the drawing.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import assert_never

import msgspec

from charter.reports.picture import Bars, Flow, Grid, Picture, Place, Timeline
from charter.reports.session_drawing import label_of

LEFT, RIGHT = 12, 12
LETTER = 7  # the width of one, about
LEVELS = 5  # of heat, beside none
CELL, GAP = 20, 2
PLOT = 220  # height of a timeline
TOOL = 20  # characters of a tool
HEIGHT = 360  # of all sessions in a flow


class Sheet(msgspec.Struct, frozen=True):
    """What a picture is drawn on. All in pixels; without `names` beside them, rows have their names above them."""

    name: str
    width: int
    names: int
    top: int  # where the shape begins, below the title
    is_titled: bool

    @property
    def left(self) -> int:
        """Where rows begin."""
        return LEFT + self.names

    @property
    def right(self) -> int:
        """Where they end."""
        return self.width - RIGHT

    @property
    def above(self) -> int:
        """What a row's name takes above it."""
        return 0 if self.names else 18


WIDE = Sheet("picture", 860, names=210, top=64, is_titled=True)
NARROW = Sheet("picture-narrow", 332, names=0, top=36, is_titled=False)  # a phone's page, which says the title itself
STYLE = (
    "svg{font:13px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;--surface:#fff;--text:#1b2024;"
    "--faint:#535c64;--strong-line:#7c868d;--sunken:#eceeef;--accent:#0b5566;--s0:#0072b2;--s1:#c44601;--s2:#5b4b8a;"
    "--s3:#00795c;--s4:#a3487f;--s5:#6b7280}"
    "@media(prefers-color-scheme:dark){svg{--surface:#14181b;--text:#e5e9ec;--faint:#a4aeb6;--strong-line:#7d8992;"
    "--sunken:#262d33;--accent:#79c7d8;--s0:#56b4e9;--s1:#ff9a5c;--s2:#b8a6f0;--s3:#3fd0a5;--s4:#f0a0cf;--s5:#9aa4ae}}"
)
RULES = (
    ".p-ground{fill:var(--surface)}.p-title{fill:var(--text);font-size:16px;font-weight:600}.p-text{fill:var(--text);"
    "font-size:12px}.p-note{fill:var(--faint);font-size:11px}.p-axis{stroke:var(--strong-line);fill:none}"
    ".p-heat-0{fill:var(--sunken)}.p-heat-1{fill:var(--accent);fill-opacity:.22}"
    ".p-heat-2{fill:var(--accent);fill-opacity:.4}.p-heat-3{fill:var(--accent);fill-opacity:.58}"
    ".p-heat-4{fill:var(--accent);fill-opacity:.78}.p-heat-5{fill:var(--accent)}"
    ".p-series-0{fill:var(--s0)}.p-series-1{fill:var(--s1)}.p-series-2{fill:var(--s2)}.p-series-3{fill:var(--s3)}"
    ".p-series-4{fill:var(--s4)}.p-series-5{fill:var(--s5)}.p-link{fill:var(--s0);fill-opacity:.28}"
    ".p-granted{fill:var(--sunken);stroke:var(--strong-line)}.p-used{fill:var(--accent)}"
)


def bounds_of(most: int) -> tuple[int, ...]:
    """Return the most calls of each level of heat: squares, so that little is seen beside much. Whole numbers."""
    return tuple(-(-most * level * level // (LEVELS * LEVELS)) for level in range(1, LEVELS + 1))


def level_of(count: int, most: int) -> int:
    """Return the level of heat of a count, 0 for none of it."""
    return 0 if count <= 0 else 1 + next(at for at, bound in enumerate(bounds_of(most)) if count <= bound)


def legend_of(most: int) -> list[tuple[int, str]]:
    """Return the levels of heat that a count up to `most` can have, each with what it means."""
    low, found = 1, []
    for level, bound in enumerate(bounds_of(most), 1):
        if bound >= low:
            found.append((level, str(bound) if bound == low else f"{low} to {bound}"))
            low = bound + 1
    return found


def to_svg(picture: Picture, *, alone: bool = True, sheet: Sheet = WIDE) -> str:
    """Return a picture as an SVG document, or without `alone` as an element of a page that has the styles.

    Flows have one width, that of WIDE.
    """
    if isinstance(picture.shape, Flow):
        sheet = WIDE
    name = f"{sheet.name}-{picture.name}"
    root = ET.Element(
        "svg",
        {"xmlns": "http://www.w3.org/2000/svg", "role": "img", "class": "picture"}
        | {"aria-labelledby": f"{name}-title {name}-text"},
    )
    _add(root, "title", {"id": f"{name}-title"}, label_of(picture.title, 120))
    _add(root, "desc", {"id": f"{name}-text"}, label_of(picture.sentence, 600))
    if alone:
        _add(root, "style", {}, STYLE + RULES)
    ground = _add(root, "rect", {"class": "p-ground", "width": str(sheet.width)})
    if sheet.is_titled:
        _text(root, LEFT, 24, label_of(picture.title, 90), "p-title")
    period = f"{picture.since[:10]} to {picture.until[:10]} UTC{_narrowed(picture)}"
    _text(root, LEFT, sheet.top - 20, label_of(period, (sheet.width - LEFT) * 10 // 65))
    height = _nothing(root, picture.sentence, sheet) if picture.is_empty else _shape(root, picture, sheet)
    ground.set("height", str(height))
    for key, value in {"width": sheet.width, "height": height, "viewBox": f"0 0 {sheet.width} {height}"}.items():
        root.set(key, str(value))
    return ET.tostring(root, encoding="unicode")


def _shape(root: ET.Element, picture: Picture, sheet: Sheet) -> int:
    match picture.shape:
        case Grid() as grid:
            return _grid(root, grid, sheet)
        case Flow() as flow:
            return _flow(root, flow, sheet)
        case Timeline() as timeline:
            return _timeline(root, timeline, sheet)
        case Bars() as bars:
            return _bars(root, bars, sheet)
        case _:
            assert_never(picture.shape)


def _nothing(root: ET.Element, sentence: str, sheet: Sheet) -> int:
    _text(root, LEFT, sheet.top + 20, label_of(sentence, (sheet.width - LEFT) // LETTER), "p-text")
    return sheet.top + 40


def _narrowed(picture: Picture) -> str:
    return "".join(f" · {name} {value}" for name, value in sorted(picture.narrowed.items()))


# --- shapes: each returns the height it took --------------------------------------------------------------------------


def _grid(root: ET.Element, grid: Grid, sheet: Sheet) -> int:
    most = max(max(line) for line in grid.cells)
    left, top = sheet.left, sheet.top
    step = (sheet.right - left - (50 if sheet.names else 0)) // len(grid.columns)
    for at, column in enumerate(grid.columns):
        if at % max(1, -(-46 // step)) == 0:
            _column(root, left + at * step, top + 12, column[5:] or column, sheet)
    for number, (place, line) in enumerate(zip(grid.rows, grid.cells, strict=True)):
        y = top + 20 + number * (CELL + GAP + sheet.above) + sheet.above
        _name(root, place, y, sheet)
        for at, count in enumerate(line):
            cell = {"class": f"p-heat-{level_of(count, most)}", "x": str(left + at * step), "y": str(y)}
            box = _add(root, "rect", cell | {"width": str(step - GAP), "height": str(CELL), "rx": "2"})
            _add(box, "title", {}, label_of(f"{place.label}, {grid.columns[at]}: {count}", 120))
        _text(root, sheet.right, y + (-4 if sheet.above else 14), _number(sum(line)), anchor="end")
    y = top + 20 + len(grid.rows) * (CELL + GAP + sheet.above) + 12
    x = left
    for level, meaning in [(0, "none"), *legend_of(most)]:
        if x > left and x + 20 + LETTER * len(meaning) > sheet.right:
            x, y = left, y + 20
        _box(root, f"p-heat-{level}", x, y, 14, 14)
        _text(root, x + 20, y + 11, meaning)
        x += 34 + LETTER * len(meaning)
    return y + 30


def _timeline(root: ET.Element, timeline: Timeline, sheet: Sheet) -> int:
    most = max(sum(each.counts[at] for each in timeline.series) for at in range(len(timeline.columns)))
    left, bottom = LEFT + (60 if sheet.names else 10 + LETTER * len(_number(most))), sheet.top + 12 + PLOT
    step = (sheet.right - left) // len(timeline.columns)
    for share in (0, 1, 2):
        y = bottom - PLOT * share // 2
        _add(root, "path", {"class": "p-axis", "d": f"M{left} {y}H{sheet.right}", "stroke-opacity": "0.5"})
        if share * most % 2 == 0:
            _text(root, left - 6, y + 4, _number(most * share // 2), anchor="end")
    for at, column in enumerate(timeline.columns):
        done = 0
        for number, each in enumerate(timeline.series):
            count = each.counts[at]
            if count:
                low, high = bottom - PLOT * done / most, bottom - PLOT * (done + count) / most
                box = _box(root, f"p-series-{number}", left + at * step, high, max(1, step - GAP), low - high)
                _add(box, "title", {}, label_of(f"{column}, {each.place.label}: {count}", 120))
                done += count
        if at % max(1, -(-46 // step)) == 0:
            _column(root, left + at * step, bottom + 16, column[5:], sheet)
    y = bottom + 30
    for number, each in enumerate(timeline.series):
        _box(root, f"p-series-{number}", left, y, 12, 12)
        total = f": {_number(sum(each.counts))}"
        room = min(80, (sheet.right - left - 20) // LETTER - len(total))
        _text(root, left + 20, y + 11, f"{label_of(each.place.label, room)}{total}", "p-text")
        y += 20
    _text(root, left, y + 11, f"{_number(timeline.denied)} denied, {_number(timeline.escalated)} sent to a person")
    return y + 24


def _bars(root: ET.Element, bars: Bars, sheet: Sheet) -> int:
    most = max(bar.granted for bar in bars.bars)
    left = sheet.left
    room = sheet.right - left - (150 if sheet.names else 110)
    for number, bar in enumerate(bars.bars):
        y = sheet.top + 4 + number * (24 + sheet.above) + sheet.above
        _name(root, bar.place, y - 1, sheet)
        _box(root, "p-granted", left, y, max(1, room * bar.granted / most), 16)
        if bar.used:
            _box(root, "p-used", left, y + 4, max(1, room * bar.used / most), 8)
        said = f"{_number(bar.used)} of {_number(bar.granted)} used"
        _text(root, left + max(1, room * bar.granted / most) + 8, y + 12, said)
    y = sheet.top + 4 + len(bars.bars) * (24 + sheet.above) + 10
    for place, (drawn, what) in enumerate((("p-granted", "granted"), ("p-used", "used"))):
        _box(root, drawn, left + place * 90, y, 14, 12)
        _text(root, left + place * 90 + 20, y + 11, what)
    return y + 26


def _flow(root: ET.Element, flow: Flow, sheet: Sheet) -> int:
    top = sheet.top
    wide, bar = (sheet.right - LEFT) // len(flow.steps), 12
    heights = [[max(1.0, HEIGHT * stop.sessions / flow.total) for stop in stops] for stops in flow.steps]
    tops: list[list[float]] = []
    lowest = 0.0
    for line in heights:
        y, own = float(top + 26), []
        for height in line:
            own.append(y)
            y += max(height, 30) + 8
        tops.append(own)
        lowest = max(lowest, y)
    scale = HEIGHT / flow.total
    leaving = [list(line) for line in tops]
    coming = [list(line) for line in tops]
    for link in flow.links:
        x, end = LEFT + link.step * wide + bar, LEFT + (link.step + 1) * wide
        start, goal = leaving[link.step][link.source], coming[link.step + 1][link.target]
        thick, middle = link.sessions * scale, (x + end) / 2
        leaving[link.step][link.source] += thick
        coming[link.step + 1][link.target] += thick
        band = (
            f"M{x} {start:.2f}C{middle} {start:.2f} {middle} {goal:.2f} {end} {goal:.2f}V{goal + thick:.2f}"
            f"C{middle} {goal + thick:.2f} {middle} {start + thick:.2f} {x} {start + thick:.2f}Z"
        )
        path = _add(root, "path", {"class": "p-link", "d": band})
        one, other = flow.steps[link.step][link.source].place, flow.steps[link.step + 1][link.target].place
        _add(path, "title", {}, f"{label_of(one.label, 60)} → {label_of(other.label, 60)}: {link.sessions}")
    for at, stops in enumerate(flow.steps):
        x = LEFT + at * wide
        _text(root, x, top + 12, f"call {at + 1}")
        for place, stop in enumerate(stops):
            y = tops[at][place]
            _box(root, f"p-series-{5 if stop.place.others else 0}", x, y, bar, heights[at][place])
            _text(root, x + bar + 5, y + 12, _tool(stop.place), "p-text")
            ended = stop.sessions - stop.went_on
            said = f"{_number(stop.sessions)}{f', {_number(ended)} ended' if ended else ''}"
            _text(root, x + bar + 5, y + 26, said)
    y = int(lowest) + 12
    said = f"{_number(flow.total)} sessions; {_number(flow.beyond)} went on after call {len(flow.steps)}"
    apart = f"; {_number(flow.apart)} calls of no known session are not drawn" if flow.apart else ""
    _text(root, LEFT, y, said + apart)
    return y + 16


def _tool(place: Place) -> str:
    """Return a tool in what room there is: its end tells more than its beginning."""
    shown = label_of(place.label, 400)
    return shown if len(shown) <= TOOL else f"…{shown[1 - TOOL :]}"


def _number(count: int) -> str:
    return f"{count:,}".replace(",", " ")  # a thin gap, no sign that means another thing elsewhere


def _name(root: ET.Element, place: Place, y: float, sheet: Sheet) -> None:
    """Write a row's name beside or above it; `y` is where the row begins."""
    room = (sheet.names or sheet.right - LEFT - 50) // LETTER
    _text(
        root, LEFT, y + (-4 if sheet.above else 14), label_of(place.label, room), "p-note" if place.others else "p-text"
    )


def _column(root: ET.Element, x: float, y: float, name: str, sheet: Sheet) -> None:
    """Write a column's name where the column begins, or as far right as there is room."""
    is_last = x + LETTER * len(name) > sheet.right
    _text(root, sheet.right if is_last else x, y, name, anchor="end" if is_last else "start")


def _text(root: ET.Element, x: float, y: float, text: str, drawn: str = "p-note", *, anchor: str = "start") -> None:
    place = {"class": drawn, "x": f"{x:.5g}", "y": f"{y:.5g}"}
    _add(root, "text", place | ({"text-anchor": anchor} if anchor != "start" else {}), text)


def _box(root: ET.Element, drawn: str, x: float, y: float, width: float, height: float) -> ET.Element:
    size = {"x": f"{x:.2f}", "y": f"{y:.2f}", "width": f"{width:.2f}", "height": f"{height:.2f}"}
    return _add(root, "rect", {"class": drawn} | size)


def _add(parent: ET.Element, name: str, attributes: Mapping[str, str], text: str | None = None) -> ET.Element:
    element = ET.SubElement(parent, name, dict(attributes))
    element.text = text
    return element
