"""What is known and unknown of the calls that one principal makes of one action.

Most is known: who asks, what the action does, which system it is on. Unknown are the arguments and the object made of
them, the time, who approved, the chain, and whether the principal is restrained. Two slices that are compared share
their unknowns, for these are named after what they are: `text:note` is the text of the argument `note`, whoever is
asked.

INVARIANT: every call that the gateway could put to the slice is a value of the unknowns under `facts`. The other way
round need not hold: values that no call has are found out when a counterexample is replayed (`witness.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from charter.core.canonical import digest_of
from charter.policy.amount import unit_of
from charter.policy.cedar_value import MAX_LONG
from charter.policy.object_path import pieces_of, placeholders
from charter.policy.request import FLOW_FLAGS, FLOW_NAMES
from charter.policy.slice import Slice
from charter.policy.vocabulary import MAX_ITEMS, MAX_TEXT, action_id
from charter.proof.symbol import Fields, Kind, Listed, Named, Scalar, Symbol, Thing, there
from charter.proof.term import (
    EMPTY,
    PART,
    Term,
    TextForm,
    below,
    either,
    equal,
    every,
    has,
    implied,
    is_value,
    length,
    like,
    matches,
    negated,
    number,
    parts_of,
    plus,
    rest_of,
    some,
    text,
    times,
    together,
    truth,
    value,
    within,
)
from charter.registry.calendar import Calendar
from charter.registry.charter import DAYS
from charter.registry.charter import Kind as PrincipalKind
from charter.registry.delegation import Role, role_of
from charter.registry.system import AmountOf, System
from charter.registry.unit import FACTORS, told_in

MAX_DEPTH = 8  # delegations of a chain
SCALE = 10_000
_MAX_AMOUNT = 10**12 * SCALE
_TOLD_FACTORS = sorted({told for told, _ in FACTORS.values()})


class Form(IntEnum):
    """What an argument's value is, as JSON has it."""

    ABSENT = 0
    TEXT = 1
    WHOLE = 2
    FRACTION = 3
    FLAG = 4
    LIST = 5  # of texts
    MIXED = 6  # a list of anything
    OTHER = 7  # an object, null, or what nobody reads


@dataclass(frozen=True, slots=True)
class ArgumentName:
    """One argument that policies read, with how its amount is made, and the names of its unknowns."""

    name: str
    amount: AmountOf | None = None
    patterns: tuple[str, ...] = ()  # that all its entries are told to be alike
    text: Term = EMPTY  # as text; where it names the object, that part of its path

    @property
    def tag(self) -> str:
        """What its amount is called: amounts that are read otherwise are others."""
        return (
            self.name if self.amount is None else f"{self.name}@{digest_of(self.amount.model_dump(mode='json'))[-8:]}"
        )

    @property
    def is_its_own(self) -> bool:
        """Whether the amount is the argument's own value."""
        return self.amount is None or self.amount.value == self.name

    @property
    def unknowns(self) -> frozenset[str]:
        """The names of what is unknown of it."""
        own = (f"{kind}:{self.name}" for kind in ("form", "whole", "flag", "items", "texts", "alike"))
        return frozenset((*own, self.text.data)).union(
            f"{kind}:{self.tag}" for kind in ("quantity?", "quantity", "unit", "unread?")
        )

    def of_form(self, form: Form) -> Term:
        """Return that the argument's value is of a form."""
        return equal(number(f"form:{self.name}"), value(int(form)))

    def one_of(self, *forms: Form) -> Term:
        """Return that the argument's value is of one of some forms."""
        return some(self.of_form(each) for each in forms)

    @property
    def has_quantity(self) -> Term:
        """That it is told as a quantity."""
        return truth(f"quantity?:{self.tag}")

    @property
    def quantity(self) -> Term:
        """The quantity, in 1/10,000."""
        return number(f"quantity:{self.tag}")

    @property
    def unit(self) -> Term:
        """The unit that the quantity is told in."""
        if self.amount is None or (self.amount.unit is None and self.amount.given_in is None):
            return EMPTY
        return text(f"unit:{self.tag}") if self.amount.unit else value(told_in(self.amount.given_in) or "")

    @property
    def whole(self) -> Term:
        """The whole number."""
        return number(f"whole:{self.name}")

    @property
    def presence(self) -> Term:
        """That the call gives it, be it readable or not."""
        given = negated(self.of_form(Form.ABSENT))
        return given if self.is_its_own else some((given, self.has_quantity, truth(f"unread?:{self.tag}")))

    def others(self) -> list[tuple[Term, Term]]:
        """Return the entries of a list that no policy names: for each whether it is there, and its text.

        One for each pattern suffices: an entry is told apart from the others only by the patterns that it does not
        match.
        """
        count = max(1, len(self.patterns))
        return [(truth(f"other?:{self.name}:{n}"), text(f"other:{self.name}:{n}")) for n in range(count)]

    def fields(self) -> Fields:
        """Return the argument as policies read it."""
        is_text, is_list = self.of_form(Form.TEXT), self.of_form(Form.LIST)
        items = either(is_text, value(1), number(f"items:{self.name}"))
        alike = Named(f"alike:{self.name}", {each: each for each in self.patterns})
        quantity = Fields({"value": there(Scalar(Kind.DECIMAL, self.quantity)), "unit": there(_text(self.unit))})
        return Fields(
            {
                "text": (is_text, _text(self.text)),
                "number": (self.of_form(Form.WHOLE), Scalar(Kind.LONG, self.whole)),
                "flag": (self.of_form(Form.FLAG), Scalar(Kind.BOOL, truth(f"flag:{self.name}"))),
                "quantity": (self.has_quantity, quantity),
                "length": (is_text, Scalar(Kind.LONG, length(self.text))),
                "items": (some((is_text, is_list, self.of_form(Form.MIXED))), Scalar(Kind.LONG, items)),
                "texts": (some((is_text, is_list)), Named(f"texts:{self.name}")),
                "alike": (some((is_text, is_list)), alike),
            }
        )


def _text(term: Term) -> Scalar:
    return Scalar(Kind.TEXT, term)


def _texts(entries: Iterable[str]) -> Listed:
    return Listed(tuple(_text(value(each)) for each in sorted(entries)))


_CHAIN_UNKNOWNS = frozenset({"depth", "purpose", "initiator", "by_person", "initiator_roles", "parties", "deciders"})
_DECIDING = frozenset(kind.value for kind in PrincipalKind if role_of(kind) is Role.DECIDER)


@dataclass(frozen=True, slots=True)
class Setting:
    """The calls of one principal's slice of one action."""

    bound: Slice
    system: System
    action: str
    variables: Mapping[str, Symbol]
    arguments: tuple[ArgumentName, ...]
    calendars: Mapping[str, Calendar]  # by the name of their entry in the sets of working days

    @property
    def template(self) -> str | None:
        """How the object is made of the arguments; None: the caller names the object itself."""
        return template_of(self.system, self.action)

    def facts(self, roots: Sequence[Term]) -> Iterator[Term]:
        """Yield what holds of every call, as far as `roots` speak of it."""
        parts = list(parts_of(roots))
        named = {each.data for each in parts if each.op == "variable"}
        entries: dict[str, set[str]] = {}
        for each in parts:
            if each.op in ("has", "within"):
                told = [each.data[1]] if each.op == "has" else each.data[1]
                entries.setdefault(each.data[0], set()).update(told)
        spoken_of = named | entries.keys()
        for argument in self.arguments:
            if not spoken_of.isdisjoint(argument.unknowns):
                yield from _facts_of(argument, entries, parts)
        yield from self._segments(named)
        yield from self._times(named)
        if not spoken_of.isdisjoint(_CHAIN_UNKNOWNS):
            yield from self._chain()
        yield from self._nested(spoken_of)

    def _segments(self, named: set[str]) -> Iterator[Term]:
        if self.template is None:
            yield matches(OBJECT, TextForm.TAIL)
            return
        known = {each.name: each for each in self.arguments}
        for name, segment in zip(placeholders(self.template), segments_of(self.template), strict=True):
            is_part = segment.data.startswith(PART)
            if segment.data in named:
                yield matches(segment, TextForm.SEGMENT if is_part else TextForm.TAIL)
            argument = known.get(name)
            if argument is not None:
                yield argument.one_of(Form.TEXT, Form.WHOLE, Form.FLAG)
                flags = some(equal(segment, value(word)) for word in ("true", "false"))
                yield implied(argument.of_form(Form.FLAG), flags)

    def _times(self, named: set[str]) -> Iterator[Term]:
        for zone in self.bound.words.zones:
            if f"minute:{zone}" in named:
                minute = number(f"minute:{zone}")
                yield below(value(0), minute, or_equal=True)
                yield below(minute, value(24 * 60))
            if f"day:{zone}" in named:
                yield some(equal(text(f"day:{zone}"), value(day)) for day in DAYS)

    def _chain(self) -> Iterator[Term]:
        name, depth = self.bound.principal, number("depth")
        decides = self.bound.kind in _DECIDING
        yield below(value(0), depth, or_equal=True)
        yield below(depth, value(MAX_DEPTH), or_equal=True)
        alone = equal(depth, value(0))
        yield implied(alone, equal(text("initiator"), value(name)))
        yield implied(alone, equal(text("purpose"), EMPTY))
        yield implied(alone, negated(truth("by_person")))
        yield implied(negated(truth("by_person")), within("initiator_roles", ()))
        yield implied(alone, within("parties", (name,)))
        yield has("parties", name)
        yield has("deciders", name) if decides else negated(has("deciders", name))
        yield implied(alone, within("deciders", (name,)))

    def _nested(self, spoken_of: set[str]) -> Iterator[Term]:
        """Yield that what holds other arguments is an object."""
        known = {each.name: each for each in self.arguments if not spoken_of.isdisjoint(each.unknowns)}
        for each in known.values():
            steps = each.name.split(".")
            for count in range(1, len(steps)):
                around = known.get(".".join(steps[:count]))
                if around is not None:
                    yield some((each.of_form(Form.ABSENT), around.of_form(Form.OTHER)))


def _facts_of(argument: ArgumentName, entries: Mapping[str, set[str]], parts: Sequence[Term]) -> Iterator[Term]:
    form = number(f"form:{argument.name}")
    yield below(value(0), form, or_equal=True)
    yield below(form, value(int(max(Form))), or_equal=True)
    yield from _facts_of_amount(argument, parts)
    yield from _facts_of_entries(argument, entries)
    is_text = argument.of_form(Form.TEXT)
    if length(argument.text) in parts:  # else its text is asked single questions alone
        yield implied(is_text, below(length(argument.text), value(MAX_TEXT), or_equal=True))
    yield implied(argument.of_form(Form.WHOLE), _between(argument.whole, -MAX_LONG, MAX_LONG))


def _between(term: Term, low: int, high: int) -> Term:
    return every((below(value(low), term, or_equal=True), below(term, value(high), or_equal=True)))


def _facts_of_amount(argument: ArgumentName, parts: Sequence[Term]) -> Iterator[Term]:
    is_amount, quantity = argument.has_quantity, argument.quantity
    is_whole, is_text = argument.of_form(Form.WHOLE), argument.of_form(Form.TEXT)
    digits = matches(argument.text, TextForm.DIGITS)
    yield implied(is_amount, _between(quantity, 1 - _MAX_AMOUNT, _MAX_AMOUNT - 1))
    if not argument.is_its_own:
        return
    yield implied(is_amount, argument.one_of(Form.TEXT, Form.WHOLE, Form.FRACTION))
    yield implied(every((is_amount, is_text)), digits)
    exact = equal(quantity, times(argument.whole, SCALE))
    if argument.amount is None:
        yield implied(every((is_text, digits)), is_amount)
        fits = _between(argument.whole, 1 - 10**12, 10**12 - 1)
        yield implied(is_whole, equal(is_amount, fits))
        yield implied(every((is_whole, is_amount)), exact)
        is_part = negated(equal(rest_of(quantity, SCALE), value(0)))
        yield implied(every((argument.of_form(Form.FRACTION), is_amount)), is_part)
        return
    unit = argument.unit
    if argument.amount.per_unit == 1 and not (is_value(unit) and unit.data in _TOLD_FACTORS):
        is_plain = every(negated(equal(unit, value(each))) for each in _TOLD_FACTORS)
        yield implied(every((is_whole, is_amount, is_plain)), exact)
    if not is_value(unit):
        yield from _facts_of_unit(argument, parts)


def _facts_of_unit(argument: ArgumentName, parts: Sequence[Term]) -> Iterator[Term]:
    """Yield that the unit is one that amounts are told in."""
    unit = argument.unit
    yield implied(argument.has_quantity, negated(equal(unit, EMPTY)))
    for each in parts:
        if each.op == "equal" and unit in each.args:
            other = each.args[0] if each.args[1] is unit else each.args[1]
            if is_value(other) and (unit_of(other.data) is None or told_in(other.data) != other.data):
                yield implied(argument.has_quantity, negated(each))


def _facts_of_entries(argument: ArgumentName, entries: Mapping[str, set[str]]) -> Iterator[Term]:
    """Yield which texts a list can hold, and how many, and to which patterns all of them are alike."""
    name, known = argument.name, sorted(entries.get(f"texts:{argument.name}", ()))
    texts, others = f"texts:{name}", argument.others()
    is_text, is_list = argument.of_form(Form.TEXT), argument.of_form(Form.LIST)
    for each in known:
        yield implied(is_text, equal(has(texts, each), equal(argument.text, value(each))))
    is_known = some(equal(argument.text, value(each)) for each in known)
    yield implied(is_text, equal(within(texts, known), is_known))
    yield implied(is_list, equal(within(texts, known), negated(some(there for there, _ in others))))
    for there_, other in others:
        yield implied(there_, every(negated(equal(other, value(each))) for each in known))
    for pattern in argument.patterns:
        if pattern in entries.get(f"alike:{name}", ()):
            alike, parts = has(f"alike:{name}", pattern), tuple(pattern.split("*"))
            yield implied(is_text, equal(alike, like(argument.text, parts)))
            all_are = every(
                (
                    *(implied(has(texts, each), like(value(each), parts)) for each in known),
                    *(implied(there_, like(other, parts)) for there_, other in others),
                )
            )
            yield implied(is_list, equal(alike, all_are))
    items = number(f"items:{name}")
    present = [has(texts, each) for each in known] + [there_ for there_, _ in others]
    counted = plus(*(either(each, value(1), value(0)) for each in present))
    yield implied(is_list, every((below(counted, items, or_equal=True), below(items, value(MAX_ITEMS), or_equal=True))))
    yield implied(every((is_list, equal(counted, value(0)))), equal(items, value(0)))
    yield implied(argument.of_form(Form.MIXED), _between(items, 1, 100_000))


def setting_of(bound: Slice, system: System, action: str) -> Setting:
    """Return the calls of `action` on `system` as the slice reads them."""
    words, known = bound.words, system.actions[action]
    template = template_of(system, action) or ""
    places = dict(zip(placeholders(template), segments_of(template), strict=True))
    arguments = tuple(
        ArgumentName(name, known.amounts.get(name), words.alike.get(name, ()), places.get(name, text(f"text:{name}")))
        for name in words.arguments
    )
    calendars: dict[str, Calendar] = {}
    local: dict[str, tuple[Term, Symbol]] = {}
    for zone in words.zones:
        alias = {}
        for name, calendar in words.calendars.get(zone, ()):
            alias[name] = f"{name}#{digest_of(calendar.model_dump(mode='json', exclude_none=True))[-12:]}"
            calendars[alias[name]] = calendar
        local[zone] = there(_local(zone, alias))
    variables: dict[str, Symbol] = {
        "principal": Thing("Charter::Principal", value(bound.principal), frozenset(), _principal(bound)),
        "action": Thing(
            "Charter::Action",
            value(action_id(system.system, action)),
            frozenset({("Charter::Action", known.effect.value)}),
        ),
        "resource": _resource(system, action),
        "context": Fields(
            {
                "now": there(Scalar(Kind.DATETIME, number("now"))),
                "local": there(Fields(local)),
                "arguments": there(Fields({each.name: (each.presence, each.fields()) for each in arguments})),
                "approvals": there(Named("approvals")),
                "chain": there(_CHAIN),
                "flow": there(_FLOW),
            }
        ),
    }
    return Setting(bound, system, action, variables, arguments, calendars)


def _local(zone: str, alias: Mapping[str, str]) -> Fields:
    return Fields(
        {
            "minute": there(Scalar(Kind.LONG, number(f"minute:{zone}"))),
            "day": there(_text(text(f"day:{zone}"))),
            "workdays": there(Named(f"workdays:{zone}", alias)),
            "before": there(Named(f"before:{zone}", alias)),
        }
    )


_CHAIN = Fields(
    {
        "depth": there(Scalar(Kind.LONG, number("depth"))),
        "purpose": there(_text(text("purpose"))),
        "initiator": there(_text(text("initiator"))),
        "by_person": there(Scalar(Kind.BOOL, truth("by_person"))),
        "initiator_roles": there(Named("initiator_roles")),
        "parties": there(Named("parties")),
        "deciders": there(Named("deciders")),
    }
)


_FLOW = Fields(
    {name: there(Scalar(Kind.BOOL, truth(f"flow {name}"))) for name in FLOW_FLAGS}
    | {name: there(Named(f"flow {name}")) for name in FLOW_NAMES}
)


def _principal(bound: Slice) -> Fields:
    told = bound.words.principal | {"name": bound.principal, "team": bound.team}
    members = {name: there(_known(given)) for name, given in told.items()}
    return Fields(members | {"restrained": there(Scalar(Kind.BOOL, truth("restrained")))})


def _resource(system: System, action: str) -> Thing:
    template, touched = template_of(system, action), system.touched(action)
    path = OBJECT if template is None else path_of(template)
    told = {
        "system": system.system,
        "environment": system.environment.value,
        "provider": system.provider or "",
        "data": touched.data,
        "reads": touched.reads,
        "writes": touched.writes,
        "sends": touched.sends,
        "sensitive": system.sensitive,
        "untrusted": system.untrusted,
        "external": system.sends_out(action),
    }
    members = {name: there(_known(given)) for name, given in told.items()} | {"path": there(_text(path))}
    whole = together((value(f"{system.system}/"), path))
    return Thing("Charter::Object", whole, frozenset({("Charter::System", system.system)}), Fields(members))


def _known(given: object) -> Symbol:
    match given:
        case bool():
            return Scalar(Kind.BOOL, value(given))
        case str():
            return _text(value(given))
        case frozenset():
            return _texts(given)
        case _:
            raise TypeError(f"no attribute is a {type(given).__name__}")


OBJECT: Final = text("object")


def template_of(system: System, action: str) -> str | None:
    """Return how the object of an action is made of arguments; None where an enforcement point names it apart."""
    return None if system.enforcement is not None else system.actions[action].object


def path_of(template: str) -> Term:
    """Return the object's path: what its template makes of the arguments."""
    literals, _ = pieces_of(template)
    pairs = zip(literals, segments_of(template), strict=False)  # a last piece of the text stands alone
    parts = [each for literal, segment in pairs for each in (value(literal), segment)]
    return together([*parts, value(literals[-1])])


def segments_of(template: str) -> list[Term]:
    """Return what stands for the arguments in a template: all but one that ends it hold no slash."""
    literals, names = pieces_of(template)
    last = len(names) if not literals[-1] else 0
    return [text(f"segment:{name}" if n == last else f"{PART}{name}") for n, name in enumerate(names, start=1)]


__all__ = ["ArgumentName", "Form", "Setting", "path_of", "setting_of"]
