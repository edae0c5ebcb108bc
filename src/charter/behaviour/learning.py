"""Learning an act: what its principal did becomes what it usually does.

INVARIANT: what raised a signal is not learned, so that nobody makes an attack usual by going on with it. An owner who
says that it is normal (acceptance.py) lets it be learned.
INVARIANT: what was refused was not done. Of a refusal nothing is learned but that it was one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from charter.behaviour.act import Answer, Call, Proof
from charter.behaviour.baseline import NO_DATA, Baseline, parties_of, place_of, thing_of
from charter.behaviour.signal import Feature

NOTHING: frozenset[Feature] = frozenset()


@dataclass(frozen=True, slots=True)
class Lesson:
    """A call with what it came after, the window that ended with it, and whether its verdict counts."""

    call: Call
    last: str
    window: int  # calls
    counts: bool


def learn_call(
    own: Baseline, call: Call, but: Collection[Feature] = NOTHING, *, group: Baseline | None = None, window: int = 0
) -> Lesson:
    """Let `own` learn a call, but for the features in `but`; return what peers learn of it.

    `group` are the peers, who tell a young one's news from what everybody does; `window` is what `own.turn` returned.
    """
    own.in_window += 1
    own.is_odd = own.is_odd or Feature.RATE in but
    is_denied = call.verdict == "deny"
    counts = False
    if Feature.DENIALS in but and is_denied:
        own.denials.run += 1
    else:
        counts = own.denials.see(denied=is_denied, outside=call.is_outside)
    own.since = own.since or call.at
    own.calls += 1
    session = own.session(call.session)
    lesson = Lesson(call, session.last, window, counts)
    if not is_denied:
        _learn(own, lesson, but, group if own.is_young else None)
        session.last = call.deed
    return lesson


def learn_from(group: Baseline, lesson: Lesson, but: Collection[Feature] = NOTHING) -> None:
    """Let a group learn what one of its members did."""
    call = lesson.call
    group.calls += 1
    group.since = group.since or call.at
    group.members.meet(call.principal)
    if lesson.window:
        group.pace.see(lesson.window)
    if lesson.counts:
        group.denials.count(denied=call.verdict == "deny", outside=call.is_outside)
    if call.verdict != "deny":
        _learn(group, lesson, but, None)


def _learn(own: Baseline, lesson: Lesson, but: Collection[Feature], group: Baseline | None) -> None:
    call = lesson.call
    if Feature.HOURS not in but:
        own.week.work(call.at)
    if not {Feature.SEQUENCE, Feature.COUNTERPARTY} & set(but):
        own.step_from(lesson.last).meet(call.deed)
    for which, name in _met(call, but):
        known = getattr(own, which)
        known.meet(name, is_fresh=group is None or name not in getattr(group, which))


def _met(call: Call, but: Collection[Feature]) -> Iterator[tuple[str, str]]:
    if Feature.COUNTERPARTY not in but:
        for what, name in parties_of(call):
            yield "parties", f"{what}: {name}"
    if Feature.OBJECT not in but and call.object:
        yield "folders", place_of(call)
        yield "objects", thing_of(call)
    if Feature.DATA not in but:
        for label in call.data or (NO_DATA,):
            yield "labels", label
    if Feature.PURPOSE not in but and call.purpose:
        yield "purposes", f"{call.purpose}: {call.deed}"
    if Feature.GEOGRAPHY not in but and call.network:
        yield "networks", call.network
    if not {Feature.SEQUENCE, Feature.COUNTERPARTY} & set(but):
        yield "deeds", call.deed


def learn_answer(own: Baseline, answer: Answer, but: Collection[Feature] = NOTHING) -> None:
    """Let `own` learn an answer."""
    if Feature.VOLUME not in but and answer.bytes:
        own.volume_of(answer.deed).see(answer.bytes)
    if Feature.COST not in but and answer.cost:
        own.spend.see(answer.cost * 1000)


def learn_proof(own: Baseline, proof: Proof, but: Collection[Feature] = NOTHING) -> None:
    """Let `own` learn where a credential was used from."""
    if Feature.GEOGRAPHY not in but:
        own.networks.meet(proof.network)


def learn_surprise(own: Baseline, score: float) -> None:
    """Let `own` learn how surprising its acts are."""
    own.surprise.see(1 + (score if math.isfinite(score) else 0.0))
