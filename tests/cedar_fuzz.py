"""Policies and requests made by dice, in the whole of Cedar's language, with every kind of mistake in them.

A world is one request: the attributes of principal, resource and context in Python's values, and the same in Cedar's
JSON. `by_cedar` and `by_python` give what each side says of a world: the decision, the policies that determined it,
and those that erred.
"""

from __future__ import annotations

import datetime as dt
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cedarpy
import msgspec

from charter.policy.cedar_text import quoted
from charter.policy.cedar_value import Fixed, Moment, Span, element
from charter.policy.compile import Compiled, compile_policy, in_scope

NAMES = ("name", "kind", "level", "restrained", "data", "nums", "home", "limit", "born", "age", "x y")
TEXTS = ("", "a", "ab", "agent", "charge/1", "charge/frozen/2", "Größe", "a*b", 'say "hi"\\', "\n")
LONGS = (0, 1, -1, 2, 5, 100, 9_223_372_036_854_775_807, -9_223_372_036_854_775_808)
DECIMALS = ("0.0", "1.5", "-1.5", "200.0", "0.0001", "922337203685477.5807", "-922337203685477.5808")
DATETIMES = (
    "2026-11-24",
    "2026-11-24T12:00:00Z",
    "1969-12-31T23:59:59.999Z",
    "2000-02-29T00:00:00.001+0530",
    "1970-01-01",
)
DURATIONS = ("1d", "-1d12h", "1h30m", "500ms", "0s", "-1ms")
GROUPS = ('Team::"a"', 'Team::"b"', 'Org::"o"', 'System::"s"')
ORDERINGS = ("lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual")
PATTERNS = (
    '"*"',
    '"a*"',
    '"*b"',
    '"charge/*"',
    '"a*b"',
    '"charge/*/*"',
    '"*e*"',
    '"a\\*b"',
    '""',
    '"agent"',
    '"**a**"',
    '"*a*a*"',
)
USER = 'User::"a"'
UNITS = ("Milliseconds", "Seconds", "Minutes", "Hours", "Days")
Verdict = tuple[str, frozenset[str], frozenset[str]]


@dataclass(frozen=True)
class World:
    """One request, in both forms."""

    principal: dict[str, Any]
    resource: dict[str, Any]
    context: dict[str, Any]
    setting: tuple[Any, ...]  # uids with what they are in, as compiled rules read them

    @property
    def request(self) -> dict[str, Any]:
        uids = [{"type": each[0], "id": each[1]} for each in self.setting[::2]]
        context = msgspec.json.encode({name: to_json(value) for name, value in self.context.items()}).decode()
        return dict(zip(("principal", "action", "resource"), uids, strict=True)) | {"context": context}

    @property
    def entities(self) -> cedarpy.Entities:
        entities = []
        attributes = (self.principal, {}, self.resource)
        for uid, within, attrs in zip(self.setting[::2], self.setting[1::2], attributes, strict=True):
            parents = [{"type": each[0], "id": each[1]} for each in within if each != uid]
            entities.append(
                {
                    "uid": {"type": uid[0], "id": uid[1]},
                    "attrs": {name: to_json(value) for name, value in attrs.items()},
                    "parents": parents,
                }
            )
        return cedarpy.Entities.from_json_str(msgspec.json.encode(entities).decode())


def to_json(value: Any) -> Any:
    """Return a value in Cedar's JSON."""
    match value:
        case Fixed():
            sign, digits = "-" if value < 0 else "", abs(int(value))
            return extension("decimal", f"{sign}{digits // 10_000}.{digits % 10_000:04}")
        case Moment():
            return extension("datetime", "1970-01-01T00:00:00Z", offset=int(value))
        case Span():
            return extension("duration", f"{int(value)}ms")
        case frozenset():
            return [to_json(plain(each)) for each in value]
        case dict():
            return {name: to_json(each) for name, each in value.items()}
        case _:
            return value


def extension(name: str, text: str, offset: int = 0) -> dict[str, Any]:
    """Return an extension value; a datetime that no text names is so long after another."""
    if offset:
        at = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=offset)
        text = at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"
    return {"__extn": {"fn": name, "arg": text}}


def plain(form: Any) -> Any:
    """Return the value of a set's element."""
    return form[1] if isinstance(form, tuple) and isinstance(form[0], type) else form


# --- requests ---------------------------------------------------------------------------------------------------------


VALUES: dict[str, Callable[[random.Random], Any]] = {
    "string": lambda dice: dice.choice(TEXTS),
    "long": lambda dice: dice.choice(LONGS),
    "bool": lambda dice: dice.random() < 0.5,
    "strings": lambda dice: frozenset(dice.sample(TEXTS, dice.randrange(4))),
    "longs": lambda dice: frozenset(element(each) for each in dice.sample(LONGS, dice.randrange(3))),
    "decimal": lambda dice: Fixed(dice.choice((0, 15_000, -15_000, 2_000_000, 1))),
    "datetime": lambda dice: Moment(dice.choice((0, -1, 1_795_521_600_000, 951_782_400_001, 86_400_000))),
    "duration": lambda dice: Span(dice.choice((0, 86_400_000, -1, 5_400_000, -129_600_000))),
    "record": lambda dice: {name: VALUES[kind](dice) for name, kind in HOME.items()},
}
HOME = {"city": "string", "zip": "long", "limit": "decimal"}
KINDS = {
    "name": "string",
    "kind": "string",
    "level": "long",
    "restrained": "bool",
    "data": "strings",
    "nums": "longs",
    "home": "record",
    "limit": "decimal",
    "born": "datetime",
    "age": "duration",
    "x y": "string",
}
TYPES = tuple(dict.fromkeys(KINDS.values()))


def attributes(dice: random.Random) -> dict[str, Any]:
    """Return attributes: some missing, some of another type."""
    found = {}
    for name, kind in KINDS.items():
        if dice.random() < 0.9:
            found[name] = VALUES[kind if dice.random() < 0.93 else dice.choice(TYPES)](dice)
    return found


def a_world(dice: random.Random) -> World:
    def uid(kind: str) -> tuple[str, str]:
        return (kind, dice.choice(("a", "b", "c")))

    def within(own: tuple[str, str]) -> tuple[tuple[str, str], ...]:
        groups = [tuple(each.removesuffix('"').split('::"')) for each in GROUPS]
        return (own, *(each for each in groups if dice.random() < 0.5))  # type: ignore[misc]

    principal, action, resource = uid("User"), uid("Action"), uid("File")
    acts: tuple[tuple[str, str], ...] = (action, ("Action", "all")) if dice.random() < 0.5 else (action,)
    setting = (principal, within(principal), action, acts, resource, within(resource))
    return World(attributes(dice), attributes(dice), attributes(dice), setting)


# --- policies ---------------------------------------------------------------------------------------------------------


def listed(texts: list[str]) -> str:
    """Return a set literal."""
    return "[" + ", ".join(texts) + "]"


class Author:
    """Writes policies by dice. A narrow one reads few attributes, again and again, and branches much."""

    def __init__(self, dice: random.Random, *, narrow: bool = False) -> None:
        self.dice = dice
        self.narrow = narrow

    def policy(self) -> str:
        dice = self.dice
        effect = dice.choice(("permit", "permit", "forbid"))
        principal = dice.choice(
            ("principal",) * 4 + ('principal == User::"a"', f"principal in {dice.choice(GROUPS)}", "principal is User")
        )
        action = dice.choice(
            ("action",) * 4
            + ('action == Action::"a"', 'action in [Action::"a", Action::"b"]', 'action in Action::"all"')
        )
        resource = dice.choice(
            ("resource",) * 4
            + (
                'resource == File::"a"',
                f"resource in {dice.choice(GROUPS)}",
                "resource is File",
                f"resource is File in {dice.choice(GROUPS)}",
            )
        )
        conditions = " ".join(
            f"{dice.choice(('when', 'when', 'unless'))} {{ {self.expression('bool', dice.randrange(1, 5))} }}"
            for _ in range(dice.choice((0, 1, 1, 1, 2)))
        )
        return f"{effect} ({principal}, {action}, {resource}) {conditions};"

    def expression(self, kind: str, depth: int) -> str:
        """Return an expression, most likely of this type."""
        if self.dice.random() < 0.04:
            kind = self.dice.choice(TYPES)
        if depth <= 0 or self.dice.random() < 0.15:
            return self.leaf(kind)
        return str(getattr(self, f"_{kind}")(depth - 1))

    def leaf(self, kind: str) -> str:
        if self.dice.random() < 0.5:
            return self.access(kind)
        return self.literal(kind)

    def literal(self, kind: str) -> str:
        dice = self.dice
        plain: dict[str, Callable[[], str]] = {
            "string": lambda: quoted(dice.choice(TEXTS)),
            "long": lambda: str(dice.choice(LONGS[:-1])),
            "bool": lambda: dice.choice(("true", "false")),
            "strings": lambda: listed([quoted(each) for each in dice.sample(TEXTS, dice.randrange(3))]),
            "longs": lambda: listed([str(each) for each in dice.sample(LONGS[:-1], dice.randrange(3))]),
            "decimal": lambda: f'decimal("{dice.choice(DECIMALS)}")',
            "datetime": lambda: f'datetime("{dice.choice(DATETIMES)}")',
            "duration": lambda: f'duration("{dice.choice(DURATIONS)}")',
            "record": lambda: f"{{city: {self.leaf('string')}, zip: {self.leaf('long')}}}",
        }
        return plain[kind]()

    def access(self, kind: str) -> str:
        base = "context" if self.narrow else self.dice.choice(("principal", "resource", "context"))
        if kind in HOME.values() and self.dice.random() < (0.8 if self.narrow else 0.3):
            return f"{base}.home.{ {'string': 'city', 'long': 'zip', 'decimal': 'limit'}[kind] }"
        name = self.dice.choice([name for name, its in KINDS.items() if its == kind])
        return f'{base}["{name}"]' if " " in name else f"{base}.{name}"

    def _bool(self, depth: int) -> str:
        def sub(kind: str) -> str:
            return self.expression(kind, depth)

        number = self.dice.choice(("long", "long", "long", "datetime", "duration"))
        base = self.dice.choice(("principal", "resource", "context", "principal.home", "context.home", "action"))
        if self.narrow and self.dice.random() < 0.6:
            return self._branch(depth)
        some = self.dice.choice(TYPES)
        group = self.dice.choice(GROUPS)
        variable = self.dice.choice(("principal", "resource", "action"))
        return self.dice.choice(
            (
                lambda: f"({sub('bool')} && {sub('bool')})",
                lambda: f"({sub('bool')} || {sub('bool')})",
                lambda: f"!({sub('bool')})",
                lambda: f"(if {sub('bool')} then {sub('bool')} else {sub('bool')})",
                lambda: f"({sub(number)} {self.dice.choice(('<', '<=', '>', '>='))} {sub(number)})",
                lambda: f"({sub(some)} {self.dice.choice(('==', '!='))} {sub(some)})",
                lambda: f"({sub(some)} == {sub(self.dice.choice(TYPES))})",
                lambda: f"({base} has {self.dice.choice(NAMES[:-1])})",
                lambda: f'({base} has "x y")',
                lambda: f"(context has home.{self.dice.choice(('city', 'zip', 'street'))})",
                lambda: f"({sub('string')} like {self.dice.choice(PATTERNS)})",
                lambda: f"{sub('strings')}.contains({sub('string')})",
                lambda: f"{sub('longs')}.contains({sub(self.dice.choice(('long', 'long', 'bool', 'decimal')))})",
                lambda: f"{sub('strings')}.{self.dice.choice(('containsAll', 'containsAny'))}({sub('strings')})",
                lambda: f"[{sub(some)}, {sub(some)}].contains({sub(some)})",
                lambda: f"{sub(self.dice.choice(('strings', 'longs')))}.isEmpty()",
                lambda: f"{sub('decimal')}.{self.dice.choice(ORDERINGS)}({sub('decimal')})",
                lambda: f"({variable} in {group})",
                lambda: f"({variable} in [{group}, {self.dice.choice(GROUPS)}])",
                lambda: '(action in [Action::"a", Action::"all"])',
                lambda: f"({variable} is {self.dice.choice(('User', 'File', 'Action'))})",
                lambda: f"(principal is User in {group})",
                lambda: f"({variable} == {self.dice.choice(('principal', 'resource', USER, group))})",
                lambda: f"(principal in {self.dice.choice(('resource', 'principal'))})",
            )
        )()

    def _branch(self, depth: int) -> str:
        """Return a part that is run only sometimes, so that what it finds is known only sometimes."""
        one, other, third = (self.expression("bool", depth) for _ in range(3))
        return self.dice.choice(
            (f"({one} && {other})", f"({one} || {other})", f"!({one})", f"(if {one} then {other} else {third})")
        )

    def _string(self, depth: int) -> str:
        return f"(if {self.expression('bool', depth)} then {self.leaf('string')} else {self.leaf('string')})"

    def _long(self, depth: int) -> str:
        one, other = self.expression("long", depth), self.expression("long", depth)
        return self.dice.choice(
            (
                f"({one} {self.dice.choice('+-*')} {other})",
                f"-({one})",
                f"{self.expression('duration', depth)}.to{self.dice.choice(UNITS)}()",
                f"(if {self.expression('bool', depth)} then {one} else {other})",
            )
        )

    def _strings(self, depth: int) -> str:
        return f"[{self.expression('string', depth)}, {self.expression('string', depth)}]"

    def _longs(self, depth: int) -> str:
        return f"[{self.expression('long', depth)}, {self.expression('long', depth)}]"

    def _decimal(self, depth: int) -> str:
        return f"(if {self.expression('bool', depth)} then {self.leaf('decimal')} else {self.leaf('decimal')})"

    def _datetime(self, depth: int) -> str:
        moment = self.expression("datetime", depth)
        return self.dice.choice((f"{moment}.offset({self.expression('duration', depth)})", f"{moment}.toDate()"))

    def _duration(self, depth: int) -> str:
        moment = self.expression("datetime", depth)
        return self.dice.choice((f"{moment}.durationSince({self.expression('datetime', depth)})", f"{moment}.toTime()"))

    def _record(self, depth: int) -> str:
        return f"{{city: {self.expression('string', depth)}, zip: {self.expression('long', depth)}}}"


# --- both opinions ----------------------------------------------------------------------------------------------------

_POLICY = re.compile(r"policy `([^`]+)`")


def by_cedar(world: World, policies: cedarpy.PolicySet) -> Verdict:
    """Return what Cedar says."""
    result = cedarpy.is_authorized(world.request, policies, world.entities)
    assert result.decision in (cedarpy.Decision.Allow, cedarpy.Decision.Deny), result
    erred = [_POLICY.search(each) for each in result.diagnostics.errors]
    assert all(erred), result.diagnostics.errors
    return (
        "allow" if result.decision is cedarpy.Decision.Allow else "deny",
        frozenset(result.diagnostics.reasons),
        frozenset(each[1] for each in erred if each),
    )


def by_python(world: World, policies: dict[str, Compiled]) -> Verdict:
    """Return what the compiled policies say."""
    action, acts = world.setting[2:4]
    satisfied: dict[bool, list[str]] = {True: [], False: []}
    erred = []
    for name, policy in policies.items():
        if not in_scope(policy.action, action, acts):
            continue
        try:
            if policy.rule(world.principal, world.resource, world.context, world.setting, policy.values):
                satisfied[policy.forbids].append(name)
        except Exception:  # noqa: BLE001 - as program.py does: whatever it is, the policy has no answer
            erred.append(name)
    if satisfied[True]:
        return "deny", frozenset(satisfied[True]), frozenset(erred)
    return "allow" if satisfied[False] else "deny", frozenset(satisfied[False]), frozenset(erred)


def read(text: str) -> dict[str, Any]:
    """Return the policies of a text in Cedar's JSON, by id."""
    return msgspec.json.decode(cedarpy.policies_to_json_str(text))["staticPolicies"]


def bound(policies: dict[str, Any]) -> cedarpy.PolicySet:
    document = {"templates": {}, "staticPolicies": policies, "templateLinks": []}
    return cedarpy.PolicySet.from_json_str(msgspec.json.encode(document).decode())


def compiled(policies: dict[str, Any]) -> dict[str, Compiled]:
    """Return the policies compiled.

    Raises:
        NotModelledError: one of them is left to Cedar.
    """
    return {name: compile_policy(each) for name, each in policies.items()}
