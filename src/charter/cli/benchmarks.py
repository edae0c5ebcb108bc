"""`charter bench`: run the benchmarks of a checkout and print figures, ratios and spread.

Each file in `benchmarks/` is one benchmark, a program: `python benchmarks/NAME.py SECONDS` measures Charter and its
peer or floor side by side, interleaved, and prints `{"title", "columns", "rows", "notes"}` as JSON; `"and"` holds
further tables of that form. Files whose names begin with `_` are what they share.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from charter.cli.output import err, print_json, say, table
from charter.core.errors import AbsentError, ErrorCode

FOLDER = Path(__file__).resolve().parents[3] / "benchmarks"


def run_benchmarks(*, seconds: float, only: str | None, as_json: bool) -> None:
    """Run all benchmarks, or the one named `only`.

    Raises:
        AbsentError: this is no checkout, or there is no such benchmark.
    """
    files = sorted(f for f in FOLDER.glob("*.py") if not f.stem.startswith("_")) if FOLDER.is_dir() else []
    names = [f.stem for f in files]
    if not files or (only and only not in names):
        what = f"there is no benchmark `{only}`" if files else "there are no benchmarks here"
        shown = f"there are: {', '.join(names)}" if files else "run charter bench from a checkout"
        raise AbsentError(ErrorCode.UNKNOWN_FINDING, what, help=shown)
    results: dict[str, Any] = {}
    for file in files:
        if only in (None, file.stem):
            err.print(f"measuring {file.stem} …", style="dim")
            results[file.stem] = _measured(file, seconds)
            if not as_json:
                _print(results[file.stem])
    if as_json:
        print_json({"machine": _machine(), "results": results})
    else:
        say(_machine(), "dim")


def _measured(file: Path, seconds: float) -> Any:  # noqa: ANN401 - any JSON value
    """Run one benchmark in a process of its own, so that none is measured in what another left behind."""
    words = [sys.executable, str(file), str(seconds)]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=False)  # noqa: S603 - a file of this checkout
    if done.returncode:
        raise RuntimeError(f"{file.name} ended with exit code {done.returncode}; what it said stands above")
    return msgspec.json.decode(done.stdout)


def _print(result: dict[str, Any]) -> None:
    for each in (result, *result.get("and", ())):
        _print_table(each)


def _print_table(result: dict[str, Any]) -> None:
    table([str(c) for c in result["columns"]], [list(row) for row in result["rows"]], title=result["title"])
    for note in result.get("notes", ()):
        say(f"  {note}", "dim")
    say("")


def _machine() -> str:
    """Say what was measured on, and how busy it was: read ratios within one table, not figures of two runs."""
    cores, load = os.cpu_count(), os.getloadavg()[0]
    return (
        f"{cores} cores (load {load:.1f}), Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    )
