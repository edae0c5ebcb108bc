"""One decision, from a raw call to a verdict, with 1, 1,000 and 100,000 principals registered.

A decision is what the pipeline does between the token and the writer: `resolve` (standing, system, tool, slice, the
call in policy's words) and `decide` (a slice of ten policies, compiled; a verdict with its reasons). Rows say what each
part costs, and what an engine costs that is handed the whole estate. All take turns.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from _engines import agt, beside_http
from _population import NOON, PATTERNS, SYSTEMS, Deciding, an_engine, bearer_of, calls, deciding

from charter.adapters.cedar import CedarEngine
from charter.gateway.facts import Facts, resolve
from charter.policy.builtin import BUILT_IN
from charter.policy.decide import Answer, decide
from charter.policy.held import NOBODY
from charter.policy.verdict import word
from charter.policy.vocabulary import Question, question_of

SIZES = (1, 1_000, 100_000)
ASKED = 500  # principals that take turns: their slices are bound beforehand
ROUNDS = 7
NO_AGT = "no agent-governance-toolkit: `make bench` installs it in .venv-peers"
SIMPLER = "agent-governance-toolkit's ten rules are simpler: it has no prefixes, sets or hours"


class Turn(NamedTuple):
    """One turn of a contender."""

    each: list[float]  # microseconds, by the clock
    processor: float  # microseconds on the processor, on average


class Stage:
    """One estate, with the calls that are put to it."""

    def __init__(self, count: int, dice: random.Random) -> None:
        self.count = count
        self.engine = an_engine()
        self.house: Deciding = deciding(count, self.engine)
        stream = calls(dice)
        numbers = range(count) if count <= ASKED else dice.sample(range(count), ASKED)
        self.asked = [(bearer_of(number), next(stream)) for number in numbers for _ in range(-(-ASKED // len(numbers)))]
        dice.shuffle(self.asked)
        self.words: dict[str, int] = {}
        for bearer, call in self.asked:
            said = word(self.house.verdict(bearer, call))
            self.words[said] = self.words.get(said, 0) + 1

    def whole(self) -> Turn:
        """Return the microseconds of each decision, raw call to verdict."""
        return timed([partial(self.house.verdict, bearer, call) for bearer, call in self.asked])

    def parts(self) -> dict[str, Turn]:
        """Return the microseconds of each part of those decisions that policy is asked about."""
        house = self.house
        facts = [resolve(house.live, house.slices, bearer, call, NOON) for bearer, call in self.asked]
        known = [each for each in facts if isinstance(each, Facts)]
        resolving = [partial(resolve, house.live, house.slices, bearer, call, NOON) for bearer, call in self.asked]
        return {
            "resolve": timed(resolving),
            "decide": timed([partial(decide, f.slice, f.request, house.evaluator) for f in known]),
            "one answer, from policy's request (all reasons, all errors)": timed(
                [partial(self.answer, each) for each in known]
            ),
            "… the same principal asking again and again": timed([partial(self.answer, known[0])] * len(known)),
            "the same answer by cedarpy": timed([partial(self.answer_by_cedar, each) for each in known]),
        }

    def answer(self, facts: Facts) -> Answer:
        return self.engine.evaluate(facts.slice.program, asked(facts), facts.request.approvals)

    def answer_by_cedar(self, facts: Facts) -> Answer:
        program: Any = facts.slice.program
        return self.engine.reference.evaluate(program.reference, asked(facts), facts.request.approvals)


def asked(facts: Facts) -> Question:
    return question_of(facts.request, facts.slice.words)


def timed(samples: Sequence[Callable[[], Any]]) -> Turn:
    """Return the microseconds that each sample took by the clock, and on the processor on average.

    The second says what a sample costs on a machine that is busy with other things; the first, what it takes there.
    """
    took = []
    before = time.thread_time()
    for sample in samples:
        sample()
    processor = (time.thread_time() - before) / len(samples) * 1e6
    for sample in samples:
        started = time.perf_counter_ns()
        sample()
        took.append((time.perf_counter_ns() - started) / 1000)
    return Turn(took, processor)


def binding(count: int) -> tuple[Turn, Turn]:
    """Return what binding costs the first of a pattern of charters, and each that follows."""
    house = deciding(count, an_engine())
    firsts: list[tuple[float, float]] = []
    others: list[tuple[float, float]] = []
    for number, principal in enumerate(house.live.principals.values()):
        before, started = time.thread_time(), time.perf_counter_ns()
        house.slices.of(principal)
        took = ((time.perf_counter_ns() - started) / 1000, (time.thread_time() - before) * 1e6)
        (firsts if number < PATTERNS else others).append(took)
    return turn_of(firsts[1:]), turn_of(others)  # the very first reads the guardrails


def turn_of(took: list[tuple[float, float]]) -> Turn:
    return Turn([each for each, _ in took], statistics.mean(processor for _, processor in took))


class Naive:
    """What Cedar costs that is handed the policies of a whole estate in place of a slice."""

    def __init__(self, count: int, stage: Stage) -> None:
        engine, house = CedarEngine(), deciding(count, CedarEngine())
        slices = [house.slices.of(principal) for principal in house.live.principals.values()]
        ids = [grant.id for each in slices for grant in each.grants]
        texts = []  # what is bound once for a pattern of charters, written out for each who holds it
        for each in slices:
            own = f'Principal::"{each.principal}"'
            texts += [grant.text.replace(f'Principal::"{NOBODY}"', own) for grant in each.authority.grants]
        policies = dict(zip(ids, engine.parse("\n".join(texts)), strict=True))
        policies |= dict(zip(BUILT_IN, engine.parse("\n".join(BUILT_IN.values())), strict=True))
        for guardrail in slices[0].guardrails.values():
            policies |= guardrail.policies
        bearer, call = stage.asked[0]
        facts = resolve(stage.house.live, stage.house.slices, bearer, call, NOON)
        assert isinstance(facts, Facts)
        actions = {f"{name}/{action}": "read" for name, it in SYSTEMS.items() for action in it["actions"]}
        program = engine.bind(policies, actions)
        question = question_of(facts.request, facts.slice.words)
        self.policies = len(policies)
        self.once = lambda: engine.evaluate(program, question, frozenset())


def run(seconds: float) -> dict[str, Any]:
    """Measure for about `seconds`, building the estates apart; return rows of medians over the rounds."""
    dice = random.Random(7)
    stages = [Stage(count, dice) for count in SIZES]
    naive = Naive(1_000, stages[-1])
    whole_estate = f"naive: cedarpy handed all {naive.policies:,} policies of 1,000 principals"
    turns: dict[str, list[Turn]] = {}
    ends, rounds = time.perf_counter() + seconds, 0
    while rounds < ROUNDS or time.perf_counter() < ends:
        rounds += 1
        for stage in stages:
            turns.setdefault(f"{stage.count:,} principals", []).append(stage.whole())
        for name, took in stages[-1].parts().items():
            turns.setdefault(f"of which: {name}", []).append(took)
        turns.setdefault(whole_estate, []).append(timed([naive.once] * 10))
    first, others = binding(1_000)
    turns["binding the first charter of a pattern"] = [first]
    turns["binding each that follows"] = [others]
    peer = agt()
    for name, found in (peer or {}).items():
        turns[f"agent-governance-toolkit, ten rules, {name}"] = [
            Turn(each["each"], each["processor"]) for each in found
        ]
    floor = statistics.median(turn.processor for turn in turns["1 principals"])
    return {
        "title": "One decision, from a raw call",
        "columns": ["what", "processor us", "lowest - highest", "p50 us", "p99 us", "x 1 principal"],
        "rows": [row(name.replace("1 principals", "1 principal"), found, floor) for name, found in turns.items()],
        "notes": [
            f"a slice of ten policies; {ASKED} principals take turns, their slices bound; {rounds} rounds",
            "verdicts of the largest estate: " + ", ".join(f"{n} {said}" for said, n in stages[-1].words.items()),
            "a denial that an approval could lift is put to policy twice",
            NO_AGT if peer is None else SIMPLER,
        ],
        "and": [beside_http(max(seconds, 2.0))],
    }


def row(name: str, turns: list[Turn], floor: float) -> list[Any]:
    processor = [turn.processor for turn in turns]
    every = sorted(one for turn in turns for one in turn.each)
    return [
        name,
        round(statistics.median(processor), 2),
        f"{min(processor):.2f} - {max(processor):.2f}",
        round(statistics.median(every), 2),
        round(every[int(len(every) * 0.99)], 2),
        round(statistics.median(processor) / floor, 2),
    ]


if __name__ == "__main__":
    import json

    print(json.dumps(run(float(sys.argv[1]) if len(sys.argv) > 1 else 3.0), indent=1))
