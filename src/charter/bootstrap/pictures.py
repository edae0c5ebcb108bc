"""Pictures of what happened, worked out like the review's answers: from sealed evidence and the tail of the log."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from charter.bootstrap.review import Review, period
from charter.core.clock import rfc3339
from charter.core.errors import ErrorCode, MalformedError
from charter.reports.picture import (
    Bars,
    Flow,
    Grid,
    Picture,
    Shape,
    Timeline,
    bars_of,
    columns_of,
    flow_of,
    grid_of,
    stretch,
    timeline_of,
    week_of,
)

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction

NAMES = {
    "activity": "Activity: calls of each principal by day",
    "denials": "Refusals by rule and day",
    "grants": "What is granted against what was used",
    "tools": "Which tool followed which",
}
OF_ONE = {
    "activity": "Activity by day of the week and hour, UTC",
    "grants": "What is granted against what was used, by system",
}  # where one principal is asked about


async def pictures(house: House, asked: Review, names: Sequence[str] = tuple(NAMES)) -> list[Picture]:
    """Return pictures of the period, worked out away from the event loop. `asked.question` and `rows` do not matter.

    Raises:
        MalformedError: there is no such picture, a time cannot be read, or the period is empty.
    """
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        text = f"there is no picture {unknown[0][:40]!a}"
        raise MalformedError(ErrorCode.BAD_VALUE, text, help=f"one of {', '.join(NAMES)}")
    return await asyncio.to_thread(_pictures, house, asked, names)


def png(svg: str) -> bytes:
    """Return a drawing of ours as PNG.

    Raises:
        UnavailableError: this machine has no font.
    """
    from charter.adapters.png import png_of

    return png_of(svg)


def _pictures(house: House, asked: Review, names: Sequence[str]) -> list[Picture]:
    from charter.adapters import log_tail
    from charter.adapters.question_sql import Asked
    from charter.adapters.review_tables import ReviewTables
    from charter.reports.picture_questions import Sketch

    start, end = period(asked.since, asked.until, house.clock.now())
    narrowed = asked.narrowed
    wanted = Asked(start, end, narrowed)
    step, columns = stretch(start, end), columns_of(start, end)
    one = "principal" in narrowed
    queries = {
        "activity": ("week",) if one else ("activity",),
        "denials": ("denials",),
        "grants": ("grants-of-one",) if one else ("grants",),
        "tools": ("sequences", "apart"),
    }

    def read(tx: HouseTransaction) -> list[Picture]:
        sealed = house.sealing.sealed
        lines = (entry.told for entry in log_tail.unsealed(tx.connection, sealed.manifest, tx.payloads))
        with ReviewTables(start, end, sealed) as tables:
            tables.load(lines)
            if "grants" in names:
                tables.permit(house.authority.table(tx.connection, start, end, narrowed))
            found = []
            for name in names:
                read = [tables.rows(Sketch(query, step), wanted) for query in queries[name]]
                shape = shape_of(name, [rows for rows, _ in read], columns, one=one)
                title = OF_ONE.get(name, NAMES[name]) if one else NAMES[name]
                about = (name, title, sentence_of(shape), rfc3339(start), rfc3339(end), narrowed, shape)
                found.append(Picture(*about, tuple(sql for _, sql in read)))
            return found

    house.sealing.ready()
    return house.database.read(read)


def shape_of(name: str, rows: Sequence[Sequence[Mapping[str, Any]]], columns: Sequence[str], *, one: bool) -> Shape:
    """Return the shape of a picture from the rows of its queries."""
    if name == "activity":
        return week_of(rows[0]) if one else grid_of(rows[0], columns)
    if name == "denials":
        return timeline_of(rows[0], columns)
    if name == "grants":
        return bars_of(rows[0])
    return flow_of(rows[0], sum(row["calls"] for row in rows[1]))


def sentence_of(shape: Shape) -> str:
    """Return a picture in one sentence."""
    match shape:
        case Grid(rows=rows):
            most = max(((sum(line), place.label) for place, line in zip(rows, shape.cells, strict=True)), default=None)
            return f"{shape.total} calls; most: {most[1]}, {most[0]}" if most and most[0] else "No call in this period"
        case Timeline(series=series):
            first = f"; most by {series[0].place.label}" if series else ""
            said = f"{shape.denied} denied and {shape.escalated} sent to a person{first}"
            return said if shape.total else "Nothing was refused in this period"
        case Bars(bars=bars):
            used = sum(bar.used for bar in bars)
            return f"{used} of {shape.total} granted pieces were used" if shape.total else "Nothing is granted"
        case Flow():
            apart = f"; {shape.apart} calls of no known session" if shape.apart else ""
            return (
                f"{shape.total} sessions, of which {shape.beyond} had more calls than are drawn{apart}"
                if (shape.total)
                else f"No session in this period{apart}"
            )
