"""Pictures to draw: one small one of each shape, and evidence that makes them."""

from __future__ import annotations

from charter.bootstrap.pictures import NAMES, sentence_of
from charter.reports.picture import Picture, Shape, bars_of, columns_of, flow_of, grid_of, timeline_of
from review_entries import SINCE, UNTIL

COLUMNS = columns_of(SINCE, UNTIL)


def a_picture(name: str, shape: Shape) -> Picture:
    """Return a picture of November up to the 24th."""
    told = (str(SINCE.isoformat()), str(UNTIL.isoformat()))
    return Picture(name, NAMES[name], sentence_of(shape), *told, {"team": "payments-ops"}, shape)


def small(
    name: str = "refund-agent", tool: str = "payments/charge.read", rule: str = "guardrail/nights"
) -> list[Picture]:
    """Return one picture of each shape, in which these names stand."""
    ranked = ((0, name, 3), (1, "charge-reader", 3), (2, "fraud-scoring", 3))
    grid = grid_of(
        [
            {"place": p, "name": n, "everyone": e, "at": at, "calls": (at * 7 + p * 5) % 23 + 1}
            for p, n, e in ranked
            for at in range(p, 23, p + 1)
        ],
        COLUMNS,
    )
    timeline = timeline_of(
        [
            {"place": p, "name": n, "everyone": 8, "at": at, "denied": (at + p) % 5, "escalated": p % 2}
            for p, n in ((0, rule), (1, "built-in/no-grant"), (5, "other"))
            for at in range(p, 23, 2)
        ],
        COLUMNS,
    )
    bars = bars_of(
        [
            {"place": 0, "name": name, "everyone": 23, "granted": 12, "used": 3},
            {"place": 1, "name": "charge-reader", "everyone": 23, "granted": 4, "used": 4},
            {"place": 20, "name": "x", "everyone": 23, "granted": 9, "used": 1},
        ]
    )
    flow = flow_of(
        [
            {"at": at, "place": p, "everyone": 2, "name": n, "target": t, "sessions": s, "went_on": w}
            for at, p, n, t, s, w in (
                (0, 0, tool, 0, 30, 30), (0, 0, tool, 1, 10, 10), (0, 0, tool, None, 20, 0),
                (0, 1, "mail/send", 0, 5, 5), (1, 0, "payments/refund.create", None, 35, 12),
                (1, 1, tool, None, 10, 0),
            )
        ],
        apart=7,
    )  # fmt: skip
    shapes = {"activity": grid, "denials": timeline, "grants": bars, "tools": flow}
    return [a_picture(each, shape) for each, shape in shapes.items()]
