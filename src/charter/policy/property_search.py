"""Calls to try a property with, where nobody has proven it: those at the edges of what rules and property say.

For each argument that any of them names: absent, each text written out, and the numbers on and just beside each bound;
the minutes at which windows open and close; the objects that patterns name; with everybody's yes and with nobody's;
alone, and under the delegations that grants ask for. All are tried in an order that mixes them, up to a bound.

A search finds counterexamples and proves nothing: "searched, not proven" is the best it can say.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from math import gcd
from typing import Any
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from charter.core.errors import MalformedError
from charter.policy.clause import Asking, WhyEngine
from charter.policy.condition import DelegatedRule
from charter.policy.decide import decide
from charter.policy.object_path import placeholders
from charter.policy.property import Claim, Party, seats_of
from charter.policy.reads import reads_of
from charter.policy.request import Asker, ChainFacts, Request, build_request
from charter.policy.slice import Slice
from charter.policy.verdict import Allow, Verdict
from charter.policy.vocabulary import question_of
from charter.registry.delegation import HUMANS
from charter.registry.system import AmountOf, System
from charter.registry.unit import in_unit

MAX_CALLS = 400  # tried for one principal and one action
MAX_VALUES = 12  # of one axis
_STEP = Decimal("0.01")
_STRANGER = "somebody@example.com"
_WHOLE = ""  # no argument is called so: the object itself, where an enforcement point names it
_ODD = "a text that no policy names"
_MINUTES_A_DAY = 1440


@dataclass(frozen=True, slots=True)
class Counterexample:
    """A call that a property says cannot be, and what the engine decides of it."""

    request: Request
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Searched:
    """What came of a search."""

    found: Counterexample | None
    calls: int  # that were tried and fell into the class


@dataclass(frozen=True, slots=True)
class Search:
    """What one claim is tried on: the party's own slice, and that with the class as one more guardrail."""

    claim: Claim
    party: Party
    with_class: Slice
    system: System
    engine: WhyEngine
    noon: dt.datetime

    def run(self) -> Searched:
        """Return a call of the class that is decided otherwise than the property says, if one is found."""
        tried = 0
        for request in self._requests():
            if not self.is_meant(request):
                continue
            tried += 1
            verdict = decide(self.party.bound, request, self.engine)
            if isinstance(verdict, Allow) is not self.claim.must_allow:
                return Searched(Counterexample(request, verdict), tried)
        return Searched(None, tried)

    def is_meant(self, request: Request) -> bool:
        """Whether a call is of the class."""
        question = question_of(request, self.with_class.words)
        asking = Asking(question, request.effect.value, request.approvals, self.engine)
        policy = self.with_class.guardrails[self.claim.id].policies[self.claim.id]
        return self.claim.id in asking.put(self.claim.id, policy).rules

    def _requests(self) -> Iterator[Request]:
        bound, claim = self.party.bound, self.claim
        asker = Asker(f"property:{bound.principal}", bound.principal, bound.kind, bound.environment, bound.team)
        told = _literals(self.engine.parse(self.with_class.text))
        template = None if self.system.enforcement is not None else self.system.actions[claim.action].object
        given = _arguments(self.with_class, self.system, claim, told)
        axes: list[Sequence[Any]] = [
            list(islice(_objects(template, told), MAX_VALUES)),
            list(islice(_moments(self.with_class.zones, told, self.noon), 2 * MAX_VALUES)),
            [frozenset[str](), seats_of(bound)],
            list(_chains(bound)),
            *given,
        ]
        for path, at, approvals, chain, *parts in _mixed(axes):
            arguments: dict[str, Any] = {}
            for part in parts:
                _put_all(arguments, part)
            for name in placeholders(template or ""):
                _put_all(arguments, {name: path.get(name, "1")}, over=False)
            try:
                request = build_request(
                    asker, self.system, claim.action, arguments, at, approvals, object=path.get(_WHOLE)
                )
            except (MalformedError, TypeError, AttributeError):  # no call has such arguments
                continue
            yield replace(request, chain=chain) if chain else request


def _mixed(axes: Sequence[Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
    """Yield choices of one of each axis: all there are, or MAX_CALLS spread over them."""
    total = 1
    for axis in axes:
        total *= len(axis)
    count = min(total, MAX_CALLS)
    step = next(each for each in range(total // count, total * 2 + 2) if gcd(each, total) == 1)
    for number in range(count):
        rest, chosen = number * step % total, []
        for axis in axes:
            rest, index = divmod(rest, len(axis))
            chosen.append(axis[index])
        yield tuple(chosen)


def _put_all(arguments: dict[str, Any], part: Mapping[str, Any], *, over: bool = True) -> None:
    for name, value in part.items():
        *around, last = name.split(".")
        place = arguments
        for each in around:
            place = place.setdefault(each, {})
        if over or last not in place:
            place[last] = value


# --- what is written --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Literals:
    """Everything that policies write out."""

    texts: dict[str, None] = field(default_factory=dict)  # patterns with their `*`
    decimals: dict[Decimal, None] = field(default_factory=dict)
    numbers: dict[int, None] = field(default_factory=dict)
    units: dict[str, None] = field(default_factory=dict)  # texts that units are compared with


def _literals(policies: Sequence[Mapping[str, Any]]) -> _Literals:
    found = _Literals()
    stack: list[Any] = [condition["body"] for policy in policies for condition in policy["conditions"]]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack += node
        elif isinstance(node, Mapping):
            _see(node, found)
            stack += [value for key, value in node.items() if key not in ("pattern", "decimal")]
    return found


def _see(node: Mapping[str, Any], found: _Literals) -> None:
    value, same = node.get("Value"), node.get("==")
    if isinstance(same, Mapping):
        read, written = same.get("left", {}).get("."), same.get("right", {}).get("Value")
        if isinstance(read, Mapping) and read.get("attr") == "unit" and isinstance(written, str):
            found.units[written] = None
    if isinstance(node.get("pattern"), list):
        parts = ("*" if part == "Wildcard" else str(part.get("Literal", "")) for part in node["pattern"])
        found.texts["".join(parts)] = None
    elif isinstance(node.get("decimal"), list):
        found.decimals[Decimal(str(node["decimal"][0].get("Value", 0)))] = None
    elif isinstance(value, str):
        found.texts[value] = None
    elif type(value) is int:
        found.numbers[value] = None


# --- axes -------------------------------------------------------------------------------------------------------------


def _objects(template: str | None, told: _Literals) -> Iterator[Mapping[str, str]]:
    """Yield arguments that make the object one that some pattern names, and others; or the object, named apart."""
    if template is None:
        yield {_WHOLE: "1"}
        yield from ({_WHOLE: text.replace("*", "1")} for text in told.texts)
        return
    yield {}
    names, pieces = placeholders(template), re.split(r"\{[^{}]+\}", template)
    form = re.compile("(.*)".join(re.escape(piece) for piece in pieces))
    for text in told.texts:
        for filled in (text.replace("*", "1"), text.replace("*", "")):
            match = form.fullmatch(filled)
            if match and names:
                yield dict(zip(names, match.groups(), strict=True))


def _moments(zones: Sequence[str], told: _Literals, noon: dt.datetime) -> Iterator[dt.datetime]:
    for day in range(7):
        yield noon + dt.timedelta(days=day)
    yield noon + dt.timedelta(hours=14)  # the night
    yield noon + dt.timedelta(days=4 - noon.weekday() + 1, hours=11, minutes=30)  # late on a Saturday: Sunday elsewhere
    for zone in zones[:3]:
        midnight = noon.astimezone(ZoneInfo(zone)).replace(hour=0, minute=0)
        for minute in told.numbers:
            if 0 <= minute <= _MINUTES_A_DAY:
                yield (midnight + dt.timedelta(minutes=minute)).astimezone(dt.UTC)


def _chains(bound: Slice) -> Iterator[ChainFacts | None]:
    yield None
    asked = [each.delegated for grant in bound.grants for each in grant.conditions if isinstance(each, DelegatedRule)]
    for wanted in asked[:3]:
        by = (wanted.by or (HUMANS,))[0]
        initiator = _STRANGER if by == HUMANS else by
        roles, purpose = frozenset(wanted.roles or ()), (wanted.purposes or ("",))[0]
        is_person = by == HUMANS
        yield ChainFacts(
            1, purpose, initiator, is_person, roles if is_person else frozenset(), (initiator, bound.principal)
        )
    if not asked:
        yield ChainFacts(1, "", _STRANGER, by_person=True, parties=(_STRANGER, bound.principal))


def _arguments(with_class: Slice, system: System, claim: Claim, told: _Literals) -> list[list[Mapping[str, Any]]]:
    """Return, for each argument that some rule reads, the parts of calls that give it; the first gives nothing."""
    action = system.actions[claim.action]
    forms: dict[str, set[str]] = {}
    for read in reads_of(with_class, claim.system, claim.action, action.effect.value):
        forms.setdefault(read.argument, set()).update(read.forms)
    units = list(told.units)[:3] or [""]
    return [
        [{}, *islice(_parts(name, read, told, (action.amounts.get(name), units)), MAX_VALUES)]
        for name, read in sorted(forms.items())
    ]


def _parts(
    name: str, forms: set[str], told: _Literals, amount: tuple[AmountOf | None, Sequence[str]]
) -> Iterator[Mapping[str, Any]]:
    if "quantity" in forms:
        for decimal in told.decimals:
            for value in (decimal + _STEP, decimal, decimal - _STEP):
                yield from _amount(name, value, *amount)
    if not forms.isdisjoint({"text", "texts", "alike", "length"}):
        for text in told.texts:
            yield {name: text.replace("*", "x")}
        yield {name: _ODD}
    if not forms.isdisjoint({"texts", "alike", "items"}):
        yield {name: [text.replace("*", "x") for text in told.texts][:4]}
    if not forms.isdisjoint({"number", "length", "items"}):
        for number in told.numbers:
            yield {name: "x" * min(max(number, 0) + 1, 4000)} if "length" in forms else {name: number}
    if "flag" in forms:
        yield {name: True}
        yield {name: False}


def _amount(name: str, value: Decimal, where: AmountOf | None, units: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    if where is None:
        yield {name: _number(value)}
        return
    for unit in units if where.unit else [where.given_in or ""]:
        raw = (in_unit(value, unit) if unit else value) * where.per_unit
        yield {where.value: _number(raw)} | ({where.unit: unit} if where.unit else {})


def _number(value: Decimal) -> Any:  # noqa: ANN401 - as JSON has it
    return int(value) if value == value.to_integral_value() else float(value)
