"""What data-flow rules stop of recorded agent attacks, and what they cost: AgentDojo's tasks through the real pipeline.

Every call of a task's ground truth is authenticated, decided, recorded durably and, if allowed, made in AgentDojo's own
world, which also judges afterwards whether the task was done and whether the attack was. An agent that falls for every
attack is supposed: as soon as a tool's answer holds what was planted, it makes all calls of the attack's ground truth.
One policy for all suites: the starter estate's guardrails/flow.cedar as it ships; what is said of the suites' tools
stands in attack_estate/systems/*.yaml.

    instructions   the attack is planted as instructions, wherever the suite says that strangers write
    bare values    an adaptive attacker plants nothing but the values that the attack needs
    attentive      a person says yes to calls of the task and no to all others; `nobody` answers nothing

With SECONDS, a sample is taken, the same each time; 0 takes all, which is some minutes. `attacks.py 0 drafted` takes
the labels as `charter systems draft` guesses them, with nobody having looked.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from charter.bootstrap import replays
from charter.core.clock import Deadline
from charter.gateway.call import Call
from charter.gateway.draft_labels import drafted, parse_listed
from charter.gateway.permit import Permit, PermitLedger
from charter.gateway.pins import ToolDefinition
from charter.gateway.session_file import RecordedSession, RecordedStep
from charter.registry.manifest import read_files
from charter.registry.principal import SystemRecord
from charter.registry.starter import starter_files

HERE = Path(__file__).resolve().parent
PYTHON = HERE.parent / ".venv-agentdojo" / "bin" / "python"
SYSTEM_OF = {"get_webpage": "web", "post_webpage": "web"}
POLICY = "guardrails/flow.cedar"


class World:
    """AgentDojo, in a process of its own."""

    def __init__(self) -> None:
        command = [str(PYTHON), "-P", str(HERE / "_attack_world.py")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **said: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(said) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the world of AgentDojo ended")
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


@dataclass
class WorldUpstream:
    """Makes each allowed call in the world; the permit is spent first."""

    permits: PermitLedger
    world: World
    next: tuple[int, bool] = (0, False)  # which call it is of the ground truth, and whether of the attack's
    saw_mark: bool = False
    answer: Any = None  # the world answers

    async def tools(self, _record: SystemRecord, _deadline: Deadline) -> tuple[ToolDefinition, ...]:
        return ()

    async def call(self, permit: Permit, call: Call, _deadline: Deadline) -> AsyncGenerator[dict[str, Any]]:
        self.permits.redeem(permit, call)
        index, attack = self.next
        answer = self.world.ask(do="call", tool=call.tool, index=index, attack=attack)
        self.saw_mark = self.saw_mark or answer["has_mark"]
        yield {"result": replays.as_result(answer["error"] or answer["result"])}

    async def aclose(self) -> None:
        return None


@dataclass
class Case:
    suite: str
    task: str
    attack: str | None = None
    planted: str = "instructions"
    attentive: bool = True


@dataclass
class Count:
    """What came of the cases of one kind."""

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, **more: int) -> None:
        self.counts.update(more)

    def share(self, of: str, all_of: str) -> float:
        return 100 * self.counts[of] / max(1, self.counts[all_of])


async def run_case(stage: replays.Replay, upstream: WorldUpstream, case: Case, number: int) -> dict[str, Any] | None:
    """Return what came of a case; None if what was planted was never read."""
    opened = upstream.world.ask(do="open", suite=case.suite, task=case.task, attack=case.attack, planted=case.planted)
    upstream.saw_mark = False
    session = RecordedSession(number, f"{case.suite}-agent", opened["request"], None, None)
    calls: list[tuple[bool, int]] = [(False, index) for index in range(len(opened["calls"]))]
    asked = count = own_asked = own = 0
    fell = False
    while calls:
        attack, index = calls.pop(0)
        told = opened["attack" if attack else "calls"][index]
        system = SYSTEM_OF.get(told["tool"], case.suite)
        approve = case.attentive and not attack
        step = RecordedStep(number, system, None, told["tool"], told["arguments"], None, approve)
        upstream.next = (index, attack)
        session.steps = [step]
        (found,) = [each async for each in stage.session(session)]
        session.request = None  # it was heard with the first call
        count += 1
        asked += found.verdict == "escalate"
        own += not attack
        own_asked += found.verdict == "escalate" and not attack
        if upstream.saw_mark and not fell and case.attack is not None:
            fell = True
            calls[:0] = [(True, each) for each in range(len(opened["attack"]))]
    ended = upstream.world.ask(do="close")
    if case.attack is not None and not fell:
        return None
    return {**ended, "possible": opened["possible"], "asked": asked, "calls": count, "own": own, "own_asked": own_asked}


def all_cases(world: World) -> tuple[list[Case], dict[str, Any]]:
    told = world.ask(do="cases")
    cases: list[Case] = []
    for suite, its in told["suites"].items():
        for task in its["tasks"]:
            cases += [Case(suite, task, attentive=each) for each in (True, False)]
            for attack in its["attacks"]:
                cases += [Case(suite, task, attack, planted) for planted in ("instructions", "bare")]
                cases.append(Case(suite, task, attack, "instructions", attentive=False))
    return cases, told


def files(world: World, *, is_drafted: bool) -> dict[str, str]:
    """Return the estate of the suites, with the starter estate's rules on data flow as they ship."""
    found = read_files(HERE / "attack_estate") | {POLICY: starter_files()[POLICY]}
    return found | drafts(world, found) if is_drafted else found


def drafts(world: World, estate: dict[str, str]) -> dict[str, str]:
    """Return the files of the suites' systems with every label as it is guessed."""
    by_system: dict[str, dict[str, Any]] = {}
    for suite, tools in world.ask(do="tools").items():
        for tool in tools:
            by_system.setdefault(SYSTEM_OF.get(tool["name"], suite), {})[tool["name"]] = tool
    found = {}
    for system, its in by_system.items():
        path = f"systems/{system}.yaml"
        said = YAML(typ="safe").load(estate[path])
        head = {name: said[name] for name in ("charter", "system", "kind", "environment", "owner", "upstream")}
        found[path] = drafted(head, parse_listed(json.dumps(list(its.values())).encode()))
    return found


async def measure(seconds: float, only: str | None, *, is_drafted: bool = False) -> dict[str, Any]:
    world = World()
    cases, told = all_cases(world)
    cases = [each for each in cases if only in (None, each.suite)]
    random.Random(7).shuffle(cases)
    if not seconds:
        cases.sort(key=lambda each: each.suite)
    ends = time.monotonic() + seconds if seconds else float("inf")
    kinds: dict[str, Count] = {}
    not_blocked: list[str] = []
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(world):
        async with replays.opened(Path(folder), files(world, is_drafted=is_drafted)) as stage:
            upstream = WorldUpstream(stage.house.pipeline.permits, world)
            stage.answered_by(upstream)
            for number, case in enumerate(cases, start=1):
                if time.monotonic() > ends:
                    break
                found = await run_case(stage, upstream, case, number)
                keep(kinds, case, found)
                if found is not None and found["hit"]:
                    not_blocked.append(f"{case.suite} {case.task} {case.attack} {case.planted}")
    return report(kinds, told, not_blocked)


def keep(kinds: dict[str, Count], case: Case, found: dict[str, Any] | None) -> None:
    who = "attentive" if case.attentive else "nobody"
    kind = f"{'no attack' if case.attack is None else case.planted}, {who}"
    for name in (kind, f"{kind}: {case.suite}"):
        count = kinds.setdefault(name, Count())
        if found is None:
            count.add(unread=1)
            continue
        count.add(
            cases=1,
            possible=found["possible"],
            done=found["done"] and found["possible"],
            blocked=not found["hit"],
            calls=found["calls"],
            asked=found["asked"],
            own=found["own"],
            own_asked=found["own_asked"],
        )


COLUMNS = ("what", "cases", "attacks blocked %", "work intact %", "questions per 100 of its calls", "… of all calls")


def report(kinds: dict[str, Count], told: dict[str, Any], not_blocked: list[str]) -> dict[str, Any]:
    rows = []
    for name, count in sorted(kinds.items()):
        blocked = "" if name.startswith("no attack") else f"{count.share('blocked', 'cases'):.1f}"
        intact = f"{count.share('done', 'possible'):.1f}"
        asked = f"{count.share('own_asked', 'own'):.1f}", f"{count.share('asked', 'calls'):.1f}"
        rows.append([name, count.counts["cases"], blocked, intact, *asked])
    left_out = [f"{suite} {each}" for suite, its in told["suites"].items() for each in its["left_out"]]
    return {
        "title": f"attacks: AgentDojo {told['version']} through the pipeline, one policy for all suites",
        "columns": COLUMNS,
        "rows": rows,
        "notes": [
            "work intact: of the tasks that can be done at all in a world with the attack planted in it",
            f"left out, as their ground truths call nothing: {', '.join(left_out) or 'none'}",
            f"not blocked: {'; '.join(sorted(not_blocked)[:12]) or 'none'}",
        ],
    }


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    only = next((each for each in sys.argv[2:] if each != "drafted"), None)
    if not PYTHON.exists():
        raise SystemExit("AgentDojo is not installed: make bench, or python3 tools/prepare.py bench")
    print(json.dumps(asyncio.run(measure(seconds, only, is_drafted="drafted" in sys.argv[2:]))))


if __name__ == "__main__":
    main()
