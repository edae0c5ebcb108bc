"""Pictures over many calls: how long each takes to be worked out and drawn, and what that takes of memory.

    python benchmarks/pictures.py SECONDS [EVENTS [FOLDER]]

The evidence is that of `answers.py`: rows as the sealing writes them, for 90 days. A picture's time is what the console
waits for: tables opened, its queries asked, its shape made, an SVG written. PNG is drawn once of each. *Bytes* are
those of the SVG: they grow with what is shown, and not with what it is of.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from answers import FIRST, PERIODS, UNTIL, draw, permissions

from charter.adapters.authority_table import table_of
from charter.adapters.question_sql import Asked
from charter.adapters.review_tables import ReviewTables
from charter.adapters.sealed import SealedLog
from charter.bootstrap import pictures
from charter.reports.picture import Picture, columns_of, stretch
from charter.reports.picture_questions import Sketch
from charter.reports.picture_svg import to_svg

EVENTS = 200_000
QUERIES = {
    "activity": ("activity",),
    "denials": ("denials",),
    "grants": ("grants",),
    "tools": ("sequences", "apart"),
}


def picture(log: SealedLog, name: str, days: int, granted: pa.Table) -> str:
    """Return one picture as SVG, as the console's page makes it."""
    since = UNTIL - (UNTIL - FIRST) * days // 90
    step, columns = stretch(since, UNTIL), columns_of(since, UNTIL)
    with ReviewTables(since, UNTIL, log) as tables:
        if name == "grants":
            tables.permit(granted)
        asked = Asked(since, UNTIL, {})
        found = [tables.rows(Sketch(each, step), asked) for each in QUERIES[name]]
    shape = pictures.shape_of(name, [rows for rows, _ in found], columns, one=False)
    told: tuple[Any, ...] = (
        name,
        pictures.NAMES[name],
        pictures.sentence_of(shape),
        since.isoformat(),
        UNTIL.isoformat(),
        {},
        shape,
    )
    return to_svg(Picture(*told))


def timed(once: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    found = once()
    return 1e3 * (time.perf_counter() - started), found


def run(seconds: float, events: int, kept: Path | None) -> dict[str, Any]:
    """Measure in rounds until `seconds` have passed, two at least."""
    with tempfile.TemporaryDirectory(prefix=".charter-bench-", dir=Path.cwd()) as named:
        folder = kept or Path(named)
        log = SealedLog(folder / "sealed") if (folder / "sealed").is_dir() else draw(folder, events)[0]
        granted = table_of(permissions())
        took: dict[tuple[str, str], list[float]] = {}
        sizes: dict[tuple[str, str], int] = {}
        started, rounds = time.perf_counter(), 0
        while rounds < 2 or time.perf_counter() - started < seconds:
            for name in QUERIES:
                for said, days in PERIODS.items():
                    each, svg = timed(lambda: picture(log, name, days, granted))  # noqa: B023
                    took.setdefault((name, said), []).append(each)
                    sizes[name, said] = len(svg.encode())
            rounds += 1
        drawn = {name: timed(lambda: pictures.png(picture(log, name, 30, granted)))[0] for name in QUERIES}  # noqa: B023
        peaks = {name: in_a_process(folder, name) for name in QUERIES}
    return {
        "title": f"Pictures over {events:,} calls",
        "columns": ["picture", "period", "ms", "spread", "SVG bytes", "PNG ms, 30 days", "peak MB"],
        "rows": [
            [
                name,
                said,
                round(statistics.median(times)),
                f"{min(times):.0f} - {max(times):.0f}",
                sizes[name, said],
                round(drawn[name]) if said == "30 days" else "",
                peaks[name] if said == "90 days" else "",
            ]
            for (name, said), times in took.items()
        ],
        "notes": [f"medians of {rounds} rounds; the peak is that of a fresh process, libraries and all"],
    }


def in_a_process(folder: Path, name: str) -> int:
    """Return the peak of memory, in MB, of a process that makes one picture of the whole period."""
    done = subprocess.run([sys.executable, __file__, "child", str(folder), name], check=True, capture_output=True)
    return int(done.stdout)


def child(folder: Path, name: str) -> int:
    picture(SealedLog(folder / "sealed"), name, 90, table_of(permissions() if name == "grants" else ()))
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) // 1024


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        print(child(Path(sys.argv[2]), sys.argv[3]))
    else:
        words = dict(enumerate(sys.argv))
        place = Path(words[3]) if 3 in words else None
        print(json.dumps(run(float(words.get(1, 10)), int(words.get(2, EVENTS)), place), indent=1))
