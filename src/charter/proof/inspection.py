"""What one principal's rules come to, over all calls: what guardrails stop of them, and which of them say nothing.

    stopped     a grant allows a call that a guardrail forbids: the guardrail wins, the grant says more than it gives
    never open  no call satisfies the rule: its conditions contradict each other
    useless     whatever satisfies the rule is forbidden, by one rule or by several that contradict each other
    shadowed    whatever the rule allows another rule allows too, as often

INVARIANT: a rule is called never open, useless or shadowed only where that is proven for each action that it names.
INVARIANT: of the rules that are named for it, none could be left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from charter.policy.central import DATA
from charter.policy.expression import NotModelledError
from charter.policy.guardrail import UNREADABLE
from charter.policy.slice import Slice
from charter.proof.authority import Lane, Reach, reach_of
from charter.proof.effect import Gap, Side
from charter.proof.limits import are_as_wide
from charter.proof.search import Means, Shown, Unproven, find_call, is_nowhere
from charter.proof.term import Term, Values, every, negated, some, truth


class Fault(StrEnum):
    """What is wrong with a rule."""

    NEVER_OPEN = "never open"
    USELESS = "useless"
    SHADOWED = "shadowed"


@dataclass(frozen=True, slots=True)
class Stop:
    """A part of a rule that a guardrail stops, with one call of it."""

    rule: str
    guardrail: str
    action: tuple[str, str]
    call: Mapping[str, Any]
    lifted_by: tuple[str, ...]  # whose yes lets it by; nobody's: it is never let by

    def to_json(self) -> dict[str, Any]:
        """Return the stop as plain JSON."""
        return {
            "rule": self.rule,
            "guardrail": self.guardrail,
            "action": "/".join(self.action),
            "call": dict(self.call),
            "lifted_by": list(self.lifted_by),
        }


@dataclass(frozen=True, slots=True)
class RuleFault:
    """A rule that says nothing."""

    rule: str
    fault: Fault
    by: tuple[str, ...]  # the rules that shadow it, or stop all of it, and of which none could be left out
    source: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the fault as plain JSON."""
        told = {"rule": self.rule, "fault": self.fault.value, "by": list(self.by), "source": self.source}
        return told | {"sentence": self.sentence}

    @property
    def sentence(self) -> str:
        """What is wrong with the rule, in one sentence."""
        where = f" at {self.source}" if self.source else ""
        return f"{self.rule}{where} is {self.fault.value}: {self._why}"

    @property
    def _why(self) -> str:
        *others, last = self.by or ("a policy that errs",)
        who, together, s = last, "", "s"
        if others:
            who, together, s = f"{', '.join(others)} and {last}", " together", ""
        match self.fault:
            case Fault.NEVER_OPEN:
                return "no call satisfies it"
            case Fault.USELESS:
                return f"{who}{together} forbid{s} whatever satisfies it"
            case Fault.SHADOWED:
                return f"{who}{together} allow{s} whatever it allows too"


@dataclass(frozen=True, slots=True)
class Inspection:
    """What one principal's rules come to."""

    principal: str
    stops: tuple[Stop, ...] = ()
    faults: tuple[RuleFault, ...] = ()
    gaps: tuple[Gap, ...] = ()
    actions: int = 0

    @property
    def is_inside(self) -> bool:
        """Whether nothing that it is granted is stopped by a guardrail, and all of that is proven."""
        return not self.stops and not self.gaps

    def to_json(self) -> dict[str, Any]:
        """Return the inspection as plain JSON."""
        return {
            "principal": self.principal,
            "inside": self.is_inside,
            "stops": [each.to_json() for each in self.stops],
            "faults": [each.to_json() for each in self.faults],
            "not_proven": [each.sentence for each in self.gaps],
            "actions": self.actions,
        }


def read_inspection(told: Mapping[str, Any]) -> Inspection:
    """Return what `to_json` told of an inspection without gaps.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    stops = tuple(
        Stop(
            str(each["rule"]),
            str(each["guardrail"]),
            _action(each["action"]),
            dict(each["call"]),
            tuple(map(str, each["lifted_by"])),
        )
        for each in told["stops"]
    )
    faults = tuple(
        RuleFault(str(each["rule"]), Fault(each["fault"]), tuple(map(str, each["by"])), each["source"])
        for each in told["faults"]
    )
    if told["not_proven"]:
        raise ValueError("what is not proven is not kept")
    return Inspection(str(told["principal"]), stops, faults, (), int(told["actions"]))


def _action(told: str) -> tuple[str, str]:
    system, _, name = told.partition("/")
    return system, name


@dataclass(slots=True)
class _Seen:
    """What is known of one rule so far, action by action."""

    opens: bool = False
    serves: bool = False
    adds: bool = False
    doubts: list[Gap] = field(default_factory=list)
    places: list[tuple[_Inside, Lane]] = field(default_factory=list)  # where it is open, of each action

    def is_found(self, action: tuple[str, str], nowhere: bool | Unproven) -> bool:
        """Whether a call was found; that nobody knows is noted."""
        if isinstance(nowhere, Unproven):
            self.doubts.append(Gap(action, nowhere.why))
            return False
        return not nowhere

    @property
    def says_something(self) -> bool:
        """Whether it allows a call that nothing else does."""
        return self.serves and self.adds


def inspect(side: Side, means: Means, *, is_stopped_told: bool = True) -> Inspection:
    """Return what the rules of a principal come to; without what guardrails stop of them, if that is not asked for."""
    bound = side.bound
    if bound is None:
        return Inspection("")
    stops: list[Stop] = []
    gaps: list[Gap] = []
    seen: dict[str, _Seen] = {}
    for action in sorted(side.actions):
        try:
            reach = reach_of(bound, side.systems, action, means.engine)
        except NotModelledError as err:
            gaps.append(Gap(action, str(err)))
            for rule in _naming(bound, action):
                seen.setdefault(rule, _Seen()).doubts.append(Gap(action, str(err)))
            continue
        inside = _Inside(bound, action, reach, means)
        if is_stopped_told:
            stops += inside.stops(gaps)
        inside.look(seen)
    told = {each.action for each in gaps}
    for rule, known in seen.items():
        doubt = next((each for each in known.doubts if each.action not in told), None)
        if doubt is not None and not known.says_something:
            gaps.append(Gap(doubt.action, f"whether `{rule}` says something: {doubt.why}"))
    return Inspection(bound.principal, tuple(stops), tuple(_faults(bound, seen)), tuple(gaps), len(side.actions))


def _naming(bound: Slice, action: tuple[str, str]) -> list[str]:
    found = [each.id for each in bound.covering(*action)]
    return found + [each.id for each in bound.permitting(*action)]


@dataclass(frozen=True, slots=True)
class _Inside:
    """One action of one principal."""

    bound: Slice
    action: tuple[str, str]
    reach: Reach
    means: Means
    known: list[Values] = field(default_factory=list)  # values of calls that were found

    def _find(self, claim: Term) -> Shown | Unproven | None:
        return find_call(every((claim, negated(truth("restrained")))), (self.reach,), self.means)

    def _is_nowhere(self, claim: Term) -> bool | Unproven:
        return is_nowhere(every((claim, negated(truth("restrained")))), (self.reach,), self.means, self.known)

    def stops(self, gaps: list[Gap]) -> Iterator[Stop]:
        """Yield what guardrails stop of the rules, one call for each rule and guardrail."""
        guardrails = {name: term for name, term in self.reach.forbids.items() if self.bound.guardrail(name)}
        together = every((self.reach.granted, some(guardrails.values())))
        if not guardrails or self._is_nowhere(together) is True:
            return
        for lane in self.reach.lanes:
            for name, term in guardrails.items():
                found = self._find(every((lane.open, term)))
                if isinstance(found, Shown):
                    yield self._stop(lane, name, found)
                elif found is not None:
                    gaps.append(Gap(self.action, f"whether `{name}` stops `{lane.rule}`: {found.why}"))

    def _stop(self, lane: Lane, name: str, found: Shown) -> Stop:
        lifting = tuple(sorted(self.bound.roles_lifting(name)))
        return Stop(lane.rule, name.removesuffix(UNREADABLE), self.action, found.example.to_json(), lifting)

    def look(self, seen: dict[str, _Seen]) -> None:
        """Note of each rule that names the action whether it surely does nothing for it."""
        lanes = {lane.rule: lane for lane in self.reach.lanes}
        for rule in _naming(self.bound, self.action):
            known = seen.setdefault(rule, _Seen())
            if rule in lanes:
                self._look(lanes[rule], known)

    def _look(self, lane: Lane, known: _Seen) -> None:
        serving = self._serving(lane)
        known.places.append((self, lane))
        if not known.serves:
            known.serves = known.is_found(self.action, self._is_nowhere(serving))
            known.opens = known.opens or known.serves
        if not known.opens:
            known.opens = known.is_found(self.action, self._is_nowhere(lane.open))
        others = self._others(lane)
        if not known.adds:
            beyond = every((serving, negated(some(each.open for each in others))))
            known.adds = known.is_found(self.action, self._is_nowhere(beyond)) if others else known.serves

    def _serving(self, lane: Lane) -> Term:
        return every((lane.open, negated(self.reach.stopped)))

    def stopping(self, lane: Lane) -> set[str]:
        """Return the rules that stop all of a lane together, and of which none could be left out."""
        apart = {name: term for name, term in self.reach.forbids.items() if self.bound.guardrail(name) is None}
        last = {name: term for name, term in self.reach.forbids.items() if name not in apart}
        first = {name: term for name, term in last.items() if name.endswith(UNREADABLE)}
        needed = self._needed(every((lane.open, negated(self.reach.errs))), apart | first | last)
        return {name.removesuffix(UNREADABLE) for name in needed}

    def shadowing(self, lane: Lane) -> set[str]:
        """Return the rules that together allow all that a lane does, and of which none could be left out."""
        return self._needed(self._serving(lane), {each.rule: each.open for each in self._others(lane)})

    def _needed(self, claim: Term, parts: Mapping[str, Term]) -> set[str]:
        """Return the fewest of `parts`, leaving out the first ones first, beside which `claim` holds nowhere."""
        kept = dict(parts)
        for name in parts:
            left = some(term for other, term in kept.items() if other != name)
            if self._is_nowhere(every((claim, negated(left)))) is True:
                del kept[name]
        return set(kept)

    def _others(self, lane: Lane) -> list[Lane]:
        """Return the other lanes whose limits are as wide; of two that are alike, the first shadows the second."""
        order = [each.rule for each in self.reach.lanes]
        return [
            each
            for each in self.reach.lanes
            if each.rule != lane.rule
            and are_as_wide(each.limits, lane.limits)
            and not (each.open is lane.open and order.index(each.rule) > order.index(lane.rule))
        ]


def _faults(bound: Slice, seen: Mapping[str, _Seen]) -> Iterator[RuleFault]:
    for rule, known in seen.items():
        if known.doubts:
            continue
        grant = bound.grant(rule) or bound.permits.get(rule)
        source = str(grant.source) if grant is not None and grant.source else None
        if not known.opens:
            yield RuleFault(rule, Fault.NEVER_OPEN, (), source)
        elif not known.serves:
            stopping = {name for inside, lane in known.places for name in inside.stopping(lane)}
            yield RuleFault(rule, Fault.USELESS, tuple(sorted(stopping)), source)
        elif not known.adds:
            shadowing = {name for inside, lane in known.places for name in inside.shadowing(lane)}
            yield RuleFault(rule, Fault.SHADOWED, tuple(sorted(shadowing)), source)


def idle_guardrails(sides: Sequence[Side], inspections: Sequence[Inspection]) -> tuple[str, ...]:
    """Return the guardrails that stop nothing of what anybody is granted: kept for the day when somebody asks."""
    named = {name for side in sides if side.bound for name in side.bound.guardrails}
    stopping = {each.guardrail for one in inspections for each in one.stops}
    unknown = any(one.gaps for one in inspections)
    idle = () if unknown else sorted(named - stopping)
    return tuple(name for name in idle if not name.startswith(DATA))  # few estates have a call that would show those


__all__ = ["Fault", "Inspection", "RuleFault", "Stop", "idle_guardrails", "inspect"]
