"""`charter bench`: run the benchmarks of a checkout and print figures, ratios and spread.

Each file in `benchmarks/` is one benchmark: a `run(seconds) -> dict` that measures Charter and its peer or floor side
by side, interleaved, and gives `{"title", "columns", "rows", "notes"}`.
"""

from __future__ import annotations

import importlib.util
import os
import platform
from pathlib import Path
from typing import Any

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
            results[file.stem] = _load(file).run(seconds)
            if not as_json:
                _print(results[file.stem])
    if as_json:
        print_json({"machine": _machine(), "results": results})
    else:
        say(f"{_machine()}", "dim")


def _load(file: Path) -> Any:  # noqa: ANN401 - a module
    spec = importlib.util.spec_from_file_location(f"charter_benchmark_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise AbsentError(ErrorCode.UNKNOWN_FINDING, f"`{file.name}` cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _print(result: dict[str, Any]) -> None:
    table([str(c) for c in result["columns"]], [list(row) for row in result["rows"]], title=result["title"])
    for note in result.get("notes", ()):
        say(f"  {note}", "dim")
    say("")


def _machine() -> str:
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
