"""What a change does to what one principal may do: what it may newly, what it may no more, each with one call.

    side = Side(slice, systems)           before, and after
    effect_of(before, after, …)           gains, losses, and what could not be proven

Approvals are part of a call here. A call that is allowed with the yes of some people was widened if it was not
allowed with the yes of just these before: so taking an approval away widens, and asking one person more narrows.

INVARIANT: without gains and without anything unproven, every call that is allowed after was allowed before, with the
same yes of the same people, and no oftener.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from charter.policy.expression import NotModelledError
from charter.policy.slice import Slice
from charter.policy.verdict import Deny, Escalate, Layer, Reason, Verdict, word
from charter.proof.authority import Lane, Reach, reach_of
from charter.proof.limits import Counterparts, counterparts, limits_of
from charter.proof.search import Means, Shown, Unproven, find_call
from charter.proof.term import Term, every, negated, some, truth
from charter.registry.system import System

OFTENER = "oftener"
NEWLY = "newly"


@dataclass(frozen=True, slots=True)
class Side:
    """A principal's slice, None if it may do nothing, among the systems of its time."""

    bound: Slice | None
    systems: Mapping[str, System]

    @property
    def actions(self) -> frozenset[tuple[str, str]]:
        """What its grants name, as (system, action)."""
        if self.bound is None:
            return frozenset()
        pairs = (name.partition("/") for name in self.bound.granted)
        return frozenset((system, action) for system, _, action in pairs)


class Answer(StrEnum):
    """What becomes of a call, in three values, and whether its principal is asked for a yes."""

    ALLOW = "allow"
    ESCALATE = "escalate"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class CallChange:
    """One call that is answered otherwise, as an example of all like it."""

    shown: Shown
    how: str  # newly: whether at all, or by whose yes; oftener: within wider limits
    was: Verdict | None
    becomes: Verdict | None
    limits: tuple[str, str] = ("", "")  # of before and after, in words

    @property
    def answers(self) -> tuple[Answer, Answer]:
        """What becomes of the call where nobody has said yes yet, before and after."""
        return _answer(self.was), _answer(self.becomes)

    def to_json(self) -> dict[str, Any]:
        """Return the change as plain JSON."""
        was, becomes = self.answers
        return {
            "how": self.how,
            "call": self.shown.example.to_json(),
            "was": _told(was, self.was),
            "becomes": _told(becomes, self.becomes),
            "limits": {"was": self.limits[0], "becomes": self.limits[1]} if self.how == OFTENER else None,
            "sentence": self.sentence,
        }

    @property
    def sentence(self) -> str:
        """The change in one sentence."""
        was, becomes = self.answers
        if self.how == OFTENER and self.limits[0] == self.limits[1]:
            return f"{_call(self.shown)}: within {self.limits[1]}, but no longer counted with the same calls"
        if self.how == OFTENER:
            return f"{_call(self.shown)}: within {self.limits[1]}; it was {self.limits[0]}"
        asks = Answer.ESCALATE in (was, becomes)  # then its people are named there
        return f"{_call(self.shown, is_asked=asks)}: {_said(becomes, self.becomes)}; it was {_said(was, self.was)}"


def _answer(verdict: Verdict | None) -> Answer:
    return Answer.DENY if verdict is None else Answer(word(verdict))


def _told(answer: Answer, verdict: Verdict | None) -> dict[str, Any]:
    found: dict[str, Any] = {"verdict": answer.value}
    if verdict is not None:
        found["reasons"] = [each.to_json() for each in verdict.reasons[:3]]
    if isinstance(verdict, Escalate):
        found["approvers"] = list(verdict.approvers)
    return found


def _said(answer: Answer, verdict: Verdict | None) -> str:
    if isinstance(verdict, Escalate):
        return f"allowed once {' and '.join(verdict.approvers)} says yes"
    if isinstance(verdict, Deny):
        return f"denied ({_why(verdict.reasons[0])})"
    return "allowed" if answer is Answer.ALLOW else "denied"


def _why(reason: Reason) -> str:
    """Return why a call is denied; what a guardrail says of itself does not name it."""
    return f"{reason.rule}: {reason.text}" if reason.layer is Layer.GUARDRAIL else reason.text


def _call(shown: Shown, *, is_asked: bool = False) -> str:
    """Return a call in words: `refund.create` on `payments`, charge/1, with amount 201 and currency EUR, at …."""
    call = shown.example
    inner = {name: given for name, given in call.arguments.items() if name not in call.naming}
    told = " and ".join(f"{name} {given}" for name, given in inner.items())
    parts = [f"`{call.action}` on `{call.system}`", call.object, f"with {told}" if told else ""]
    parts.append(f"on {call.at:%a %d %b %Y at %H:%M} UTC")
    if call.flow.exposed:
        parts.append("in a session that read what strangers wrote")
    if call.chain.depth:
        purpose = f", for {call.chain.purpose}" if call.chain.purpose else ""
        parts.append(f"on behalf of {call.chain.initiator}{purpose}")
    if call.approvals and not is_asked:
        parts.append(f"with the yes of {' and '.join(call.approvals)}")
    return ", ".join(each for each in parts if each)


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that could not be proven."""

    action: tuple[str, str]
    why: str

    @property
    def sentence(self) -> str:
        """What was not proven, and why."""
        return f"`{self.action[1]}` on `{self.action[0]}` is not proven: {self.why}"


@dataclass(frozen=True, slots=True)
class Effect:
    """What a change does to what one principal may do."""

    gains: tuple[CallChange, ...] = ()
    losses: tuple[CallChange, ...] = ()
    gaps: tuple[Gap, ...] = ()  # on the side of what it may newly do
    unknown_losses: tuple[Gap, ...] = ()


def effect_of(before: Side, after: Side, means: Means) -> Effect:
    """Return what a principal may do after and could not before, and the other way round."""
    gains: list[CallChange] = []
    losses: list[CallChange] = []
    gaps: list[Gap] = []
    unknown: list[Gap] = []
    onward, back = (_pairs(before, after), _pairs(after, before))
    for action in sorted(before.actions | after.actions):
        try:
            old, new = (reach_of(side.bound, side.systems, action, means.engine) for side in (before, after))
        except NotModelledError as err:
            gaps.append(Gap(action, str(err)))
            continue
        for into, without, one, other, pairs in (
            (gains, gaps, old, new, onward),
            (losses, unknown, new, old, back),
        ):
            for found in _grown(one, other, pairs, means):
                if isinstance(found, Unproven):
                    without.append(Gap(action, found.why))
                else:
                    into.append(_turned(found) if into is losses else found)
    return Effect(tuple(gains), tuple(losses), tuple(gaps), tuple(unknown))


def _turned(change: CallChange) -> CallChange:
    """Return a change that was looked for backwards the right way round."""
    return CallChange(change.shown, change.how, change.becomes, change.was, (change.limits[1], change.limits[0]))


def _pairs(before: Side, after: Side) -> Counterparts:
    return counterparts(_rules(before), _rules(after))


def _rules(side: Side) -> list[Any]:
    return [] if side.bound is None else [*side.bound.grants, *side.bound.permits.values()]


def _grown(old: Reach, new: Reach, pairs: Counterparts, means: Means) -> Iterator[CallChange | Unproven]:
    """Yield calls that `new` allows and `old` did not, or not so often; one for each way in which that can be."""
    grown = every((new.allowed, negated(old.allowed)))
    found = find_call(grown, (old, new), means)
    if isinstance(found, Unproven):
        yield found
    elif found is not None:
        yield from _each_way(old, new, _change(found, NEWLY), means)
    oftener = find_call(_oftener(old, new, pairs), (old, new), means)
    if isinstance(oftener, Unproven):
        yield oftener
    elif oftener is not None and found is None:
        yield _change(oftener, OFTENER, (_limits(old), _limits(new)))


def _each_way(old: Reach, new: Reach, first: CallChange, means: Means) -> Iterator[CallChange]:
    """Yield a call for each way in which answers change, as far as any is found; `first` is one of them."""
    was_impossible, usual = negated(old.allowed_at_most), negated(truth("restrained"))
    ways = {
        (Answer.DENY, Answer.ALLOW): every((new.allowed_unasked, was_impossible)),
        (Answer.ESCALATE, Answer.ALLOW): every(
            (new.allowed_unasked, old.allowed_at_most, negated(old.allowed_unasked))
        ),
        (Answer.DENY, Answer.ESCALATE): every((new.allowed, negated(new.allowed_unasked), was_impossible)),
    }
    told = {first.answers}
    yield first
    for way, claim in ways.items():
        if way not in told:
            found = find_call(every((claim, usual)), (old, new), means)
            if isinstance(found, Shown):
                change = _change(found, NEWLY)
                if change.answers not in told:
                    told.add(change.answers)
                    yield change


def _change(shown: Shown, how: str, limits: tuple[str, str] = ("", "")) -> CallChange:
    was, becomes = (None if each is None else each.asked for each in shown.replayed)
    if how == NEWLY and not shown.example.approvals:
        was, becomes = (None if each is None else each.verdict for each in shown.replayed)
    return CallChange(shown, how, was, becomes, limits)


def _oftener(old: Reach, new: Reach, pairs: Counterparts) -> Term:
    """Return that a lane of `new` is open whose limits no open lane of `old` covers."""
    stopped = negated(new.stopped)
    return some(
        every((stopped, lane.open, negated(_covered(old.lanes, pairs.get(lane.rule, frozenset())))))
        for lane in new.lanes
    )


def _covered(lanes: Sequence[Lane], rules: frozenset[str]) -> Term:
    return some(lane.open for lane in lanes if lane.rule in rules)


def _limits(reach: Reach) -> str:
    """Return the limits of all lanes in words, each once."""
    if any(not lane.limits for lane in reach.lanes):
        return "no limit"
    told = dict.fromkeys(each.text for lane in reach.lanes for each in lane.limits)
    return " and ".join(told) or "no limit"


def rules_of(side: Side) -> Iterator[str]:
    """Yield the ids of the rules by which a principal may be allowed something."""
    for each in _rules(side):
        yield each.id


__all__ = ["Answer", "CallChange", "Effect", "Gap", "Side", "effect_of", "limits_of", "rules_of"]
