"""Pictures of the evidence as values: a heat map, a flow, a timeline and bars. Drawings are made of these alone.

INVARIANT: nothing is left out unsaid. What has no place of its own is in the last place, summed, and `others` says how
many share it; sums of a picture are the sums of what it was made from.
INVARIANT: a picture is small, whatever the evidence: queries fold (`picture_questions`), so rows and columns have the
bounds below before Python sees them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

ROWS = 20  # principals of their own in a picture
COLUMNS = 31  # stretches of days
SERIES = 5  # rules of their own in a timeline
STEPS = 5  # calls of a session that a flow follows
STOPS = 6  # tools of their own at each of them
WEEK = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
HOURS = 24
MOST = 2**63 - 1  # of a count

Count = int
Row = Mapping[str, Any]


class Place(msgspec.Struct, frozen=True):
    """What has a row, series or stop: a name, or so many `others` together, whose names are not told."""

    name: str = ""
    others: int = 0

    @property
    def label(self) -> str:
        """What stands beside it. No name can be mistaken for it: drawings show others apart from names."""
        return f"and {self.others} other{'' if self.others == 1 else 's'}" if self.others else self.name


class Grid(msgspec.Struct, frozen=True, tag="grid"):
    """A heat map: calls by row and column. `cells`: as many as columns in each row."""

    rows: tuple[Place, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[Count, ...], ...]

    @property
    def total(self) -> int:
        """All that is in it."""
        return sum(map(sum, self.cells))

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return it in columns and rows, for who does not see it."""
        heads = ["of", *self.columns, "calls"]
        return heads, [[p.label, *line, sum(line)] for p, line in zip(self.rows, self.cells, strict=True)]


class Stop(msgspec.Struct, frozen=True):
    """A tool at a step of sessions: how many came by, and went on. Who did not go on ended there."""

    place: Place
    sessions: Count
    went_on: Count


class Link(msgspec.Struct, frozen=True):
    """How many sessions went from a stop of one step to one of the next. `step`: of the source, from 0."""

    step: int
    source: int
    target: int
    sessions: Count


class Flow(msgspec.Struct, frozen=True, tag="flow"):
    """Which tool followed which, in a session's first calls. `apart`: calls that no session is known of."""

    steps: tuple[tuple[Stop, ...], ...]
    links: tuple[Link, ...]
    apart: Count = 0

    @property
    def total(self) -> int:
        """How many sessions there were."""
        return sum(stop.sessions for stop in self.steps[0]) if self.steps else 0

    @property
    def beyond(self) -> int:
        """How many went on after the last step that is drawn."""
        return sum(stop.went_on for stop in self.steps[-1]) if self.steps else 0

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return it in columns and rows: each stop, and where its sessions went."""
        found: list[list[Any]] = []
        for at, stops in enumerate(self.steps):
            for number, stop in enumerate(stops):
                name = stop.place.label
                found += [
                    [at + 1, name, self.steps[at + 1][link.target].place.label, link.sessions]
                    for link in self.links
                    if (link.step, link.source) == (at, number)
                ]
                if at == len(self.steps) - 1 and stop.went_on:
                    found.append([at + 1, name, "further calls", stop.went_on])
                if stop.sessions > stop.went_on:
                    found.append([at + 1, name, "the end", stop.sessions - stop.went_on])
        return ["call", "tool", "then", "sessions"], found


class Series(msgspec.Struct, frozen=True):
    """One rule's refusals, by column."""

    place: Place
    counts: tuple[Count, ...]


class Timeline(msgspec.Struct, frozen=True, tag="timeline"):
    """Refusals by time and by the rule that refused."""

    columns: tuple[str, ...]
    series: tuple[Series, ...]
    denied: Count = 0
    escalated: Count = 0

    @property
    def total(self) -> int:
        """All refusals."""
        return sum(sum(each.counts) for each in self.series)

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return it in columns and rows."""
        heads = ["from", *(each.place.label for each in self.series), "refused"]
        lines = [(column, [s.counts[at] for s in self.series]) for at, column in enumerate(self.columns)]
        return heads, [[column, *counts, sum(counts)] for column, counts in lines if sum(counts)]


class Bar(msgspec.Struct, frozen=True):
    """How many pieces of an authority are granted, and how many of them were used."""

    place: Place
    granted: Count
    used: Count


class Bars(msgspec.Struct, frozen=True, tag="bars"):
    """What is granted against what was used, the most unused first."""

    bars: tuple[Bar, ...]

    @property
    def total(self) -> int:
        """All pieces that are granted."""
        return sum(bar.granted for bar in self.bars)

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return it in columns and rows."""
        rows = [[bar.place.label, bar.granted, bar.used, bar.granted - bar.used] for bar in self.bars]
        return ["of", "granted", "used", "unused"], rows


Shape = Grid | Flow | Timeline | Bars


class Picture(msgspec.Struct, frozen=True):
    """A picture: which one, of which period, narrowed to what, and the numbers. `sql`: the queries that gave them."""

    name: str
    title: str
    sentence: str
    since: str
    until: str
    narrowed: dict[str, str]
    shape: Shape
    sql: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return self.shape.total == 0

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON, with its table."""
        columns, rows = self.shape.table()
        told: dict[str, Any] = msgspec.to_builtins(self)
        return told | {"total": self.shape.total, "table": {"columns": columns, "rows": rows}}


def read_picture(told: Mapping[str, Any]) -> Picture:
    """Return a picture from its JSON, as the control API gives it.

    Raises:
        ValueError: it is none.
    """
    return msgspec.convert({**told, "sql": tuple(told.get("sql", ()))}, Picture)


# --- from rows, which queries have folded -----------------------------------------------------------------------------


def stretch(since: dt.datetime, until: dt.datetime) -> int:
    """Return how many days a column stands for, so that at most COLUMNS cover the period."""
    return -(-_days(since, until) // COLUMNS)


def columns_of(since: dt.datetime, until: dt.datetime) -> tuple[str, ...]:
    """Return the first day of each column, UTC."""
    first, step = since.astimezone(dt.UTC).date(), stretch(since, until)
    return tuple(str(first + dt.timedelta(days=at)) for at in range(0, _days(since, until), step))


def _days(since: dt.datetime, until: dt.datetime) -> int:
    last = until.astimezone(dt.UTC) - dt.timedelta(microseconds=1)
    return (last.date() - since.astimezone(dt.UTC).date()).days + 1


def grid_of(rows: Iterable[Row], columns: Sequence[str]) -> Grid:
    """Return a heat map of rows `place, name, everyone, at, calls`."""
    found = list(rows)
    places, index = _places(found, ROWS)
    cells = [[0] * len(columns) for _ in places]
    for row in found:
        cells[index[row["place"]]][row["at"]] += row["calls"]
    return Grid(places, tuple(columns), tuple(map(tuple, cells)))


def week_of(rows: Iterable[Row]) -> Grid:
    """Return a heat map by day of the week and hour, UTC, of rows `weekday, hour, calls`; none if there are none."""
    cells = [[0] * HOURS for _ in WEEK]
    for row in rows:
        cells[row["weekday"]][row["hour"]] += row["calls"]
    return Grid(tuple(map(Place, WEEK)), tuple(f"{at:02}" for at in range(HOURS)), tuple(map(tuple, cells)))


def timeline_of(rows: Iterable[Row], columns: Sequence[str]) -> Timeline:
    """Return a timeline of rows `place, name, everyone, at, denied, escalated`."""
    found = list(rows)
    places, index = _places(found, SERIES)
    counts = [[0] * len(columns) for _ in places]
    for row in found:
        counts[index[row["place"]]][row["at"]] += row["denied"] + row["escalated"]
    series = tuple(Series(place, tuple(line)) for place, line in zip(places, counts, strict=True))
    return Timeline(tuple(columns), series, sum(r["denied"] for r in found), sum(r["escalated"] for r in found))


def bars_of(rows: Iterable[Row]) -> Bars:
    """Return bars of rows `place, name, everyone, granted, used`."""
    found = list(rows)
    places, index = _places(found, ROWS)
    by = {index[row["place"]]: row for row in found}
    return Bars(tuple(Bar(place, by[at]["granted"], by[at]["used"]) for at, place in enumerate(places)))


def flow_of(rows: Iterable[Row], apart: int = 0) -> Flow:
    """Return a flow of rows `at, place, name, everyone, target, sessions, went_on`; `target` is none after the last."""
    found = list(rows)
    steps: list[tuple[Stop, ...]] = []
    indexes: list[dict[int, int]] = []
    for at in range(1 + max((row["at"] for row in found), default=-1)):
        own = [row for row in found if row["at"] == at]
        places, index = _places(own, STOPS)
        counts = [[0, 0] for _ in places]
        for row in own:
            counts[index[row["place"]]][0] += row["sessions"]
            counts[index[row["place"]]][1] += row["went_on"]
        steps.append(tuple(Stop(place, *count) for place, count in zip(places, counts, strict=True)))
        indexes.append(index)
    links = [
        Link(row["at"], indexes[row["at"]][row["place"]], indexes[row["at"] + 1][row["target"]], row["sessions"])
        for row in found
        if row["target"] is not None
    ]
    return Flow(tuple(steps), tuple(sorted(links, key=lambda each: (each.step, each.source, each.target))), apart)


def _places(rows: Sequence[Row], own: int) -> tuple[tuple[Place, ...], dict[int, int]]:
    """Return the places that rows name, in order, and where each stands; those from `own` on are others together."""
    named = {row["place"]: row for row in rows}
    order = sorted(named)
    places = (
        Place(others=named[at]["everyone"] - own) if at >= own else Place(str(named[at]["name"] or "")) for at in order
    )
    return tuple(places), {place: index for index, place in enumerate(order)}
