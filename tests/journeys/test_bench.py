"""`charter bench` measures what it says it does. Figures are for people: nothing here looks at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("decision", "evidence", "exchange", "gateway", "kill", "memory", "sharing", "svids", "tokens")


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "charter.cli.main", "bench", *words]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)


def test_an_unknown_benchmark_is_answered_with_those_there_are() -> None:
    done = bench("--only", "speed")
    assert done.returncode != 0
    assert all(name in done.stderr for name in NAMES)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NAMES)
def test_each_benchmark_gives_tables_that_are_whole(name: str) -> None:
    done = bench("--only", name, "--seconds", "0.5", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["results"][name]
    for table in (found, *found.get("and", ())):
        assert table["rows"]
        assert all(len(row) == len(table["columns"]) for row in table["rows"])
    assert found.get("late", 0) == 0  # of `kill`: calls that went through after the kill was answered
