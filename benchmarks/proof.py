"""Proofs: a plan over 10,000 principals of which one changed, 1,000 charters held to their guardrails, one change.

The estates are the starter's, with more principals: each of 1,000 charters differs from all others in objects, hours
and amounts, so none is proven by another's proof. `again` is the same with the proofs kept from the run before.
"""

from __future__ import annotations

import datetime as dt
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from charter.adapters.proof_cache import ProofFile
from charter.bootstrap.estate import check_files
from charter.bootstrap.proofs import means_of, prove
from charter.core.clock import SystemClock
from charter.proof.effect import Side, effect_of
from charter.proof.search import Means
from charter.proof.surroundings import Surroundings, planned
from charter.registry.estate import Estate
from charter.registry.starter import init

PRINCIPALS = 10_000
CHARTERS = 1_000
REPEATS = 7
AGENT, HOURS = "principals/refund-agent.yaml", "guardrails/hours.cedar"
CLOCK = SystemClock()


def starter() -> dict[str, str]:
    """Return the starter estate's files, without its tests."""
    with tempfile.TemporaryDirectory() as folder:
        init(Path(folder) / "estate", today=CLOCK.now().date())
        root = Path(folder) / "estate"
        files = {str(each.relative_to(root)): each for each in root.rglob("*") if each.is_file()}
        kept = {name: each.read_text("utf-8") for name, each in files.items() if not name.startswith(("tests", "."))}
    return {name: text for name, text in kept.items() if name.endswith((".yaml", ".cedar"))}


def estate_of(files: Mapping[str, str], count: int, vary: Callable[[str, int], str]) -> dict[str, str]:
    """Return files with `count` refund agents more."""
    text = files[AGENT]
    more = {f"principals/agent-{n}.yaml": vary(text.replace("refund-agent", f"agent-{n}"), n) for n in range(count)}
    return dict(files) | more


def alike(text: str, _number: int) -> str:
    return text


def unlike(text: str, number: int) -> str:
    """Return a charter that differs from every other in what policy reads."""
    hour, amount = 6 + number % 4, 100 + number
    return (
        text.replace("charge/*", f"charge/{number}-*")
        .replace("07:00-20:00", f"{hour:02}:00-{hour + 11}:30")
        .replace("max: 200 EUR", f"max: {amount} EUR")
    )


def milliseconds(
    work: Callable[[], Any], repeats: int = REPEATS, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    took = []
    for _ in range(repeats):
        started = clock()
        work()
        took.append((clock() - started) * 1000)
    return took


def processor(work: Callable[[], Any], repeats: int) -> list[float]:
    """Return the milliseconds of the processor: a plan uses one core, and others may use it too."""
    return milliseconds(work, repeats, time.process_time)


def spread(took: list[float]) -> list[str]:
    return [f"{statistics.median(took):,.0f}", f"{min(took):,.0f}", f"{max(took):,.0f}"]


def one_change(files: Mapping[str, str]) -> list[list[str]]:
    """Return what it takes to prove one changed charter, by what changed."""
    means = means_of(CLOCK)
    estate = check_files(files, CLOCK)
    among = planned(estate, means.engine)
    text = files[AGENT]
    changes = {
        "one change: narrower (a proof)": text.replace("max: 200 EUR", "max: 150 EUR"),
        "one change: wider (a call, decided by the engine)": text.replace("max: 200 EUR", "max: 300 EUR"),
        "one change: other hours (calls both ways)": text.replace("07:00-20:00", "08:00-21:00"),
        "one change: the same, otherwise written": text.replace('objects: ["charge/*"]', 'objects: ["*", "charge/a*"]'),
    }
    before = side_of(estate, among, means)
    rows = []
    for what, changed in changes.items():
        other = check_files({**files, AGENT: changed}, CLOCK)
        took = milliseconds(lambda other=other: effect_of(before, side_of(other, among, means), means))  # type: ignore[misc]
        rows.append([what, *spread(took)])
    return rows


def plan_again(root: Path) -> float:
    """Return the milliseconds that a plan with one change takes in this process, which has planned nothing yet."""
    import asyncio

    from charter.bootstrap import estate as estates
    from charter.bootstrap.building import build
    from charter.config import read_settings

    many = estate_of({str(p.relative_to(root)): p.read_text("utf-8") for p in files_in(root)}, PRINCIPALS, alike)
    name = f"principals/agent-{PRINCIPALS - 1}.yaml"
    many[name] = many[name].replace("max: 200 EUR", "max: 250 EUR")
    house = build(read_settings(estate=root))
    try:
        return processor(lambda: estates.plan(house, many), 1)[0]
    finally:
        asyncio.run(house.aclose())


def files_in(root: Path) -> list[Path]:
    return [each for each in root.rglob("*") if each.suffix in (".yaml", ".cedar") and ".charter" not in each.parts]


def side_of(estate: Estate, among: Surroundings, means: Means) -> Side:
    return Side(among.bind(estate.charters["refund-agent"].value, means.engine), among.systems)


def big_plan(files: Mapping[str, str]) -> list[list[str]]:
    """Return what a plan takes in which one of many charters changed, through a whole house."""
    import asyncio

    from charter.bootstrap import estate as estates
    from charter.bootstrap.building import build
    from charter.config import read_settings

    many = estate_of(files, PRINCIPALS, alike)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, "utf-8")
        house = build(read_settings(estate=root))
        try:
            cold = processor(lambda: estates.plan(house, many), 1)
            asyncio.run(estates.apply(house, many, plan_digest=None, actor="bench", reason="bench"))
            number = iter(range(PRINCIPALS))

            def changed() -> None:
                name = f"principals/agent-{next(number)}.yaml"
                found = estates.plan(house, {**many, name: many[name].replace("max: 200 EUR", "max: 300 EUR")})
                assert [each["conclusion"] for each in found["effects"]] == ["widens"]

            warm = processor(changed, 3)
            looser = {**many, HOURS: many[HOURS].replace("minute < 480", "minute < 450")}
            central = processor(lambda: estates.plan(house, looser), 1)
        finally:
            asyncio.run(house.aclose())
        words = [sys.executable, __file__, "--again", folder]
        again = [float(subprocess.run(words, capture_output=True, text=True, check=True).stdout)]
    return [
        [f"plan of {PRINCIPALS:,} new principals, every file read for the first time, processor", *spread(cold)],
        [f"plan of {PRINCIPALS:,} principals, one changed, in a process just started, processor", *spread(again)],
        [f"plan of {PRINCIPALS:,} principals, one changed, in one that planned before, processor", *spread(warm)],
        [f"plan of {PRINCIPALS:,} principals, a guardrail changed that concerns all, processor", *spread(central)],
    ]


def containment(files: Mapping[str, str]) -> list[list[str]]:
    """Return what holding many charters, all different, to their guardrails takes, the first time and again."""
    estate = check_files(estate_of(files, CHARTERS, unlike), CLOCK)
    with tempfile.TemporaryDirectory() as folder:
        kept = ProofFile(Path(folder))
        first = milliseconds(lambda: prove(estate, CLOCK, None, kept), 1)
        again = milliseconds(lambda: prove(estate, CLOCK, None, kept), 2)
    cores = os.cpu_count()
    return [
        [f"{CHARTERS:,} charters held to their guardrails, {cores} cores, the first time", *spread(first)],
        ["again, the proofs kept", *spread(again)],
    ]


def main() -> None:
    files = starter()
    rows = [*one_change(files), *containment(files), *big_plan(files)]
    load = os.getloadavg()[0]
    notes = [
        f"load {load:.1f} on {os.cpu_count()} cores; the whole of each: translation, solver, replay in the engine",
        f"measured on {dt.datetime.now(dt.UTC):%Y-%m-%d}",
    ]
    columns = ["what", "median ms", "least", "most"]
    sys.stdout.buffer.write(msgspec.json.encode({"title": "proofs", "columns": columns, "rows": rows, "notes": notes}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--again"]:
        print(plan_again(Path(sys.argv[2])))
    else:
        main()
