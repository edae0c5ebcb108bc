"""The features of an act: each held against what its principal usually does, each in bits.

Where one thing lies within another, only what is left is counted, as the chain rule has it: a new system's actions and
objects are new as a matter of course, so a first call to it is told once, as a new system.

INVARIANT: nothing here changes a baseline.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from charter.behaviour.act import Answer, Call, Proof, folder_of
from charter.behaviour.baseline import Baseline, parties_of, place_of, thing_of
from charter.behaviour.bits import bits
from charter.behaviour.peers import WEIGHT, Peers
from charter.behaviour.signal import MAX_KEY, Contribution, Feature

LEAST = 1.0  # bits that are worth a sentence
LEAST_CALLS = 10  # in a window: below, chance looks like haste
LEAST_RUN = 3  # refusals
LEAST_BYTES = 4_096  # of an answer


def of_call(call: Call, own: Baseline, peers: Peers) -> list[Contribution]:
    """Return what a call adds, strongest first."""
    found = [
        *_parties(call, own, peers),
        *_sequence(call, own, peers),
        *_object(call, own, peers),
        *_data(call, own, peers),
        *_purpose(call, own, peers),
        *_outside(call, own, peers),
        *_denials(call, own, peers),
        *_hours(call, own, peers),
        *_rate(call, own, peers),
        *_network(call.network, own, peers, "called from"),
    ]
    return _worth(found)


def of_answer(answer: Answer, own: Baseline, peers: Peers) -> list[Contribution]:
    """Return what an answer adds, strongest first."""
    return _worth([*_volume(answer, own, peers), *_cost(answer, own, peers)])


def of_proof(proof: Proof, own: Baseline, peers: Peers) -> list[Contribution]:
    """Return what a use of a credential adds, strongest first."""
    return _worth([*_network(proof.network, own, peers, "proved itself from")])


def _worth(found: list[Contribution]) -> list[Contribution]:
    return sorted((each for each in found if each.bits >= LEAST), key=lambda each: -each.bits)


def _newness(which: str, name: str, own: Baseline, peers: Peers) -> float:
    """Return how surprising it is to meet `name`, in bits; nothing if it is known."""
    known = getattr(own, which)
    if name in known or (own.is_young and peers.knows(which, name)):
        return 0.0
    return bits(known.newness(peers.newness(which)))


def _met(own: Baseline, which: str) -> str:
    known = getattr(own, which)
    return f"of {known.total:.0f} before, {known.fresh:.0f} had one that was new to it"


def _parties(call: Call, own: Baseline, peers: Peers) -> Iterator[Contribution]:
    for what, name in parties_of(call):
        told = f"{what}: {name}"
        found = _newness("parties", told, own, peers)
        if found:
            yield Contribution(
                Feature.COUNTERPARTY,
                told[:MAX_KEY],
                found,
                f"it never had to do with the {what} `{name}`; {_met(own, 'parties')}",
            )


def _sequence(call: Call, own: Baseline, peers: Peers) -> Iterator[Contribution]:
    session = own.sessions.get(call.session)
    last = session.last if session is not None else "(start)"
    steps = own.steps.get(last)
    first = own.deeds.share(call.deed, peers.deed(call.deed))
    prior = max(first, peers.step(last, call.deed)) if own.is_young else first
    found = bits(steps.share(call.deed, prior) if steps is not None else prior)
    # what is usual of its steps is no surprise, and what a new system brings is told by that
    found -= usual_surprise(own) + _newness("parties", f"system: {call.system}", own, peers)
    times = steps.names.get(call.deed, 0) if steps is not None else 0
    total = steps.total if steps is not None else 0
    after = "at the beginning of a session" if last == "(start)" else f"after `{last}`"
    how = f"{times:.0f} of {total:.0f} times" if total else "it was never there before"
    yield Contribution(
        Feature.SEQUENCE, f"{last} > {call.deed}"[:MAX_KEY], found, f"it did `{call.deed}` {after}: {how}"
    )


def usual_surprise(own: Baseline) -> float:
    """Return how surprising its steps are on average, in bits: how little they follow from each other."""
    total = sum(known.total for known in own.steps.values())
    if not total:
        return 2.0
    spent = 0.0
    for known in own.steps.values():
        for count in known.names.values():
            if known.total:
                spent -= count * math.log2(min(1.0, count / known.total))
    return spent / total


def _object(call: Call, own: Baseline, peers: Peers) -> Iterator[Contribution]:
    if not call.object or call.deed not in own.deeds:
        return  # what an action that is new to it is done to is new as a matter of course
    place, thing = place_of(call), thing_of(call)
    folder = _newness("folders", place, own, peers)
    if folder:
        text = f"`{folder_of(call.object)}` on `{call.system}` is new to it; {_met(own, 'folders')}"
        yield Contribution(Feature.OBJECT, place[:MAX_KEY], folder, text)
        return
    found = _newness("objects", thing, own, peers)
    if found:
        text = f"`{call.object}` on `{call.system}` is new to it; {_met(own, 'objects')}"
        yield Contribution(Feature.OBJECT, thing[:MAX_KEY], found, text)


def _data(call: Call, own: Baseline, peers: Peers) -> Iterator[Contribution]:
    if call.deed not in own.deeds:
        return
    for label in call.data:
        found = _newness("labels", label, own, peers)
        if found:
            text = f"data of the class `{label}` is new to it; {_met(own, 'labels')}"
            yield Contribution(Feature.DATA, label[:MAX_KEY], found, text)


def _purpose(call: Call, own: Baseline, peers: Peers) -> Iterator[Contribution]:
    if not call.purpose or call.deed not in own.deeds:
        return
    told = f"{call.purpose}: {call.deed}"
    found = _newness("purposes", told, own, peers)
    if found:
        text = f"it did `{call.deed}` for `{call.purpose}`, for which it never did; {_met(own, 'purposes')}"
        yield Contribution(Feature.PURPOSE, told[:MAX_KEY], found, text)


def _outside(call: Call, own: Baseline, peers: Peers) -> Iterator[Contribution]:
    if not call.is_outside:
        return
    share = (own.denials.outside + WEIGHT * peers.outside()) / (own.denials.calls + WEIGHT)
    text = f"it asked for `{call.deed}`, which is outside what it was given to do"
    yield Contribution(Feature.PURPOSE, f"outside: {call.deed}"[:MAX_KEY], bits(share), text)


def _denials(call: Call, own: Baseline, peers: Peers) -> Iterator[Contribution]:
    run = own.denials.run + 1
    if call.verdict != "deny" or run < LEAST_RUN:
        return
    share = (own.denials.denied + WEIGHT * peers.refused()) / (own.denials.calls + WEIGHT)
    text = f"it was refused {run} times in a row; of its calls, {100 * share:.0f} in 100 are refused"
    # the refusal that began the run is told by itself, where it is told
    yield Contribution(Feature.DENIALS, call.system[:MAX_KEY], min(30.0, (run - 1) * bits(share)), text)


def _hours(call: Call, own: Baseline, peers: Peers) -> Iterator[Contribution]:
    if own.week.is_counted(call.at):
        return
    share = own.week.probability(call.at, peers.at_work(call.at))
    kind = "weekends" if call.at.weekday() >= 5 else "working days"  # noqa: PLR2004 - Saturday
    days = own.week.days[call.at.weekday() >= 5]  # noqa: PLR2004
    text = f"it works at {call.at:%H}:00 UTC; on its {days:.0f} {kind} before, that was {100 * share:.0f} of 100"
    yield Contribution(Feature.HOURS, f"{kind} {call.at:%H}:00", bits(share), text)


def _rate(call: Call, own: Baseline, peers: Peers) -> Iterator[Contribution]:
    count = own.in_window + 1
    if count < LEAST_CALLS:
        return
    prior = peers.pace()
    found = bits(own.pace.tail(count, prior))
    usual = math.exp(own.pace.mean) if own.pace.count else math.exp(prior.mean)
    text = f"it made {count} calls in ten minutes; where it makes any, it makes {usual:.0f}"
    yield Contribution(Feature.RATE, call.system[:MAX_KEY], found - 1, text)  # a middling count is one bit


def _network(network: str, own: Baseline, peers: Peers, deed: str) -> Iterator[Contribution]:
    if not network:
        return
    found = _newness("networks", network, own, peers)
    if found:
        yield Contribution(Feature.GEOGRAPHY, network, found, f"it {deed} {network}; {_met(own, 'networks')}")


def _volume(answer: Answer, own: Baseline, peers: Peers) -> Iterator[Contribution]:
    if answer.bytes < LEAST_BYTES:
        return
    prior, spread = peers.volume(answer.deed), own.volumes.get(answer.deed)
    if spread is None or not spread.count:
        return
    usual = math.exp(spread.mean)
    text = f"the answer to `{answer.deed}` had {answer.bytes:,} bytes; usual are {usual:,.0f}"
    yield Contribution(Feature.VOLUME, answer.deed[:MAX_KEY], bits(spread.tail(answer.bytes, prior)) - 1, text)


def _cost(answer: Answer, own: Baseline, peers: Peers) -> Iterator[Contribution]:
    if not answer.cost or not own.spend.count:
        return
    thousandths = answer.cost * 1000
    usual = math.exp(own.spend.mean) / 1000
    text = f"`{answer.deed}` cost {answer.cost:.3f}; usual is {usual:.3f}"
    found = bits(own.spend.tail(thousandths, peers.spend())) - 1
    yield Contribution(Feature.COST, answer.deed[:MAX_KEY], found, text)
