"""The policy slice of one principal: its grants, the built-in rules and the guardrails that concern it, bound together.

A decision never sees the whole estate. A guardrail is left out of a slice only if its scope shows that it can never
forbid anything that the slice's grants allow.

INVARIANT: a slice exists only if every policy in it parsed, kept its id and validated strictly. What cannot be bound
raises, and the caller denies.
INVARIANT: the digest changes exactly when the charter, a policy, the schema, the tier of risk or a calendar does.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from charter.core.canonical import digest_of
from charter.core.errors import ErrorCode, IntegrityError
from charter.core.values import Source
from charter.policy.builtin import BUILT_IN, RESTRAINED, RESTRAINED_ROLE
from charter.policy.engine import Asked, Engine, Json
from charter.policy.grant import GrantRule, Sources, compile_grants, place
from charter.policy.guardrail import UNREADABLE, Guardrail, until
from charter.policy.own import OwnPermit, parse_own
from charter.policy.vocabulary import NO_ACTIONS, Words, action_id, schema_text
from charter.registry.calendar import Calendar
from charter.registry.central import Central
from charter.registry.charter import Charter, DelegationTerms, Environment
from charter.registry.data_class import DataFlow
from charter.registry.problem import EstateError, Problem, suggestion
from charter.registry.risk import Risk, risk_of
from charter.registry.rule import Force
from charter.registry.system import System

T = TypeVar("T")
_NOWHERE = Source("?", 1)
_JSON_ESCAPES = frozenset({"__extn", "__entity", "__expr"})  # Cedar's JSON gives these keys a meaning of their own


@dataclass(frozen=True, slots=True)
class Slice:
    """One principal's policies, bound. `program` is what the engine that bound them evaluates."""

    principal: str
    kind: str
    environment: Environment
    team: str
    risk: Risk
    data: tuple[str, ...]
    flow: DataFlow
    grants: tuple[GrantRule, ...]
    guardrails: Mapping[str, Guardrail]  # by id, the principal's own forbids among them
    granted: frozenset[str]  # action ids
    words: Words
    schema: str
    digest: str
    program: object = field(repr=False, compare=False)
    permits: Mapping[str, OwnPermit] = field(default_factory=dict)  # of the Cedar beside its charter, by id
    delegation: DelegationTerms | None = None  # what its charter says of lending and borrowing
    sources: Sources = field(repr=False, compare=False, default_factory=dict)

    @property
    def zones(self) -> tuple[str, ...]:
        """The time zones that its policies name."""
        return self.words.zones

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments that its policies name."""
        return self.words.arguments

    @property
    def text(self) -> str:
        """All policies as Cedar text, in a stable order."""
        return policy_text(self.grants, self.guardrails.values(), permits=self.permits.values())

    @property
    def systems(self) -> tuple[str, ...]:
        """The systems its grants and own permits cover, in their order."""
        own = (action.partition("/")[0] for each in self.permits.values() for action in each.actions)
        return tuple(dict.fromkeys([*(grant.system for grant in self.grants), *own]))

    def actions_on(self, system: str) -> frozenset[str]:
        """Return the names of the actions that some grant or own permit covers on `system`."""
        own = (action.partition("/") for each in self.permits.values() for action in each.actions)
        granted = (action for grant in self.grants if grant.system == system for action in grant.actions)
        return frozenset(granted).union(action for name, _, action in own if name == system)

    def permitting(self, system: str, action: str) -> tuple[OwnPermit, ...]:
        """Return the own permits that name `action` on `system`."""
        return tuple(each for each in self.permits.values() if action_id(system, action) in each.actions)

    def may_allow(self, rule: str) -> bool:
        """Whether `rule` is one by which this principal may be allowed something: a grant, or an own permit."""
        return rule in self.permits or self.grant(rule) is not None

    def covering(self, system: str, action: str) -> tuple[GrantRule, ...]:
        """Return the grants that name `action` on `system`, in the charter's order."""
        return tuple(grant for grant in self.grants if grant.system == system and action in grant.actions)

    def grant(self, rule: str) -> GrantRule | None:
        """Return the grant with the id `rule`."""
        return next((grant for grant in self.grants if grant.id == rule), None)

    def guardrail(self, rule: str) -> Guardrail | None:
        """Return the guardrail with the id `rule`, or whose companion it is."""
        return self.guardrails.get(rule.removesuffix(UNREADABLE))

    def roles_lifting(self, rule: str) -> frozenset[str]:
        """Return the roles whose yes a forbidding rule accepts; none if nothing lifts it."""
        if rule == RESTRAINED:
            return frozenset({RESTRAINED_ROLE})
        found = self.guardrails.get(rule)
        return found.roles if found else frozenset()

    def place(self, dotted: str) -> Source | None:
        """Return where a part of the charter stands."""
        return place(self.sources, dotted)


def policy_text(
    grants: Iterable[GrantRule],
    guardrails: Iterable[Guardrail],
    *,
    built_in: Iterable[str] = BUILT_IN.values(),
    permits: Iterable[OwnPermit] = (),
) -> str:
    """Return policies as one Cedar text: built-in rules, guardrails, grants, and what stands beside the charter."""
    others = (*(each.text for each in guardrails), *(each.text for each in grants), *(each.text for each in permits))
    return "\n".join([*built_in, *others])


def bind_slice(
    charter: Charter,
    sources: Sources,
    systems: Mapping[str, System],
    guardrails: Sequence[Guardrail],
    engine: Engine,
    central: Central,
) -> Slice:
    """Return the slice of `charter`'s principal.

    Args:
        charter: the version it acts under.
        sources: where the parts of the charter stand, by dotted path; may be empty.
        systems: all systems of the estate, by name.
        guardrails: all guardrails of the estate, those that central files make included.
        engine: what parses, validates and binds.
        central: what the organisation lays down.

    Raises:
        EstateError: a grant names an unknown system, or a policy does not validate.
        PolicyTextError: Cedar cannot read or bind a policy.
    """
    _check_systems(charter, sources, systems)
    grants = compile_grants(charter, sources, systems)
    granted = groups_of((action_id(g.system, action) for g in grants for action in g.actions), systems)
    own = parse_own(charter.principal, charter.policy, engine)
    granted |= groups_of((action for each in own.permits.values() for action in each.actions), systems)
    written = (*in_force(guardrails, charter, engine), *own.forbids)
    found = [each for each in written if each.concerns(charter.principal, granted)]
    concerned = {each.id: each for each in found}
    if len(concerned) != len(found):
        raise EstateError([Problem.at(_NOWHERE, "two guardrails share an id", "give each its own")])
    mentioned = (name for each in (*concerned.values(), *own.all) for name in each.mentions.actions)
    groups = groups_of(mentioned, systems) | granted
    words = words_of(grants, (*concerned.values(), *own.permits.values()), central)
    _check_arguments(words.arguments, place(sources, "grants"))
    # a charter without grants is one too: nothing can be asked of it, but its policies are held valid all the same
    schema = schema_text(groups or NO_ACTIONS, words.zones, words.arguments)
    text = policy_text(grants, concerned.values(), permits=own.permits.values())
    policies = _policies(engine, grants, concerned) | {each.id: each.policy for each in own.permits.values()}
    risk, flow = risk_of(charter, systems, central.data.value), charter.flow
    check_faults(engine.faults(text, schema), list(policies), grants, concerned)
    attributes: Json = {
        "name": charter.principal,
        "kind": charter.kind.value,
        "environment": charter.environment.value,
        "team": charter.owner.team,
        "tier": risk.tier.value,
        "provider": charter.model.provider,
        "data": sorted(charter.data),
        "reads": sorted(flow.read or ()),
        "writes": sorted(flow.write or ()),
        "sends": sorted(flow.send or ()),
    }
    return Slice(
        principal=charter.principal,
        kind=charter.kind.value,
        environment=charter.environment,
        team=charter.owner.team,
        risk=risk,
        data=charter.data,
        flow=flow,
        grants=grants,
        guardrails=concerned,
        granted=frozenset(granted),
        permits=own.permits,
        words=words,
        schema=schema,
        digest=digest_of(
            {
                "charter": charter.digest,
                "policies": text,
                "schema": schema,
                "tier": risk.tier.value,
                "calendars": calendars_json(words),
            }
        ),
        program=engine.bind(policies, Asked(charter.principal, attributes, groups)),
        delegation=charter.delegation,
        sources=sources,
    )


def in_force(guardrails: Iterable[Guardrail], charter: Charter, engine: Engine) -> Iterator[Guardrail]:
    """Yield those of `guardrails` that hold for `charter`: defaults that it sets aside only from when it no longer may.

    An exception without an end lasts as long as the charter.
    """
    aside = {each.rule: each for each in charter.exceptions or ()}
    for each in guardrails:
        exception = aside.get(each.name) if each.force is Force.DEFAULT else None
        if exception is None:
            yield each
        elif exception.until is not None:
            yield until(each, dt.datetime.combine(exception.until, dt.time(), dt.UTC) + dt.timedelta(days=1), engine)


def words_of(grants: Iterable[GrantRule], policies: Iterable[Guardrail | OwnPermit], central: Central) -> Words:
    """Return what these policies name, and a question must therefore tell of.

    Raises:
        EstateError: a calendar is none.
    """
    rules, mentions = list(grants), [each.mentions for each in policies]
    zones = _all(each.zones for each in rules) | _all(each.zones for each in mentions)
    arguments = _all(each.arguments for each in rules) | _all(each.arguments for each in mentions)
    named = _all(each.calendars for each in rules) | _all(each.calendars for each in mentions)
    calendars = _calendars(sorted(named), central)
    return Words(tuple(sorted(zones)), tuple(sorted(arguments)), calendars, _alike(rules))


def calendars_json(words: Words) -> list[list[Any]]:
    """Return the calendars of `words` as plain JSON."""
    named = ((zone, *each) for zone, some in sorted(words.calendars.items()) for each in some)
    return [[zone, name, calendar.model_dump(mode="json")] for zone, name, calendar in named]


def _calendars(named: Iterable[tuple[str, str]], central: Central) -> dict[str, tuple[tuple[str, Calendar], ...]]:
    """Return the calendars of some (zone, name), by the zone in which their days are days."""
    found: dict[str, tuple[tuple[str, Calendar], ...]] = {}
    for zone, name in named:
        calendar = central.calendars.value.find(name)
        if calendar is None:
            text = f"`{name[:80]}` is no calendar of calendars.yaml, and no region with known holidays"
            raise EstateError([Problem.at(_NOWHERE, text, suggestion(name, central.calendars.value.calendars))])
        found[zone] = (*found.get(zone, ()), (name, calendar))
    return found


def _alike(grants: Iterable[GrantRule]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for argument, pattern in sorted(_all(each.alike for each in grants)):
        found[argument] = (*found.get(argument, ()), pattern)
    return found


def _all(sets: Iterable[Iterable[T]]) -> set[T]:
    return {each for some in sets for each in some}


def groups_of(actions: Iterable[str], systems: Mapping[str, System]) -> dict[str, str]:
    """Return each action with its group. One that no system has (check_estate tells of it) can never be asked."""
    groups: dict[str, str] = {}
    for name in actions:
        system, _, action = name.partition("/")
        known = systems[system].actions.get(action) if system in systems else None
        groups[name] = known.effect.value if known else "write"
    return groups


def _policies(engine: Engine, grants: Sequence[GrantRule], guardrails: Mapping[str, Guardrail]) -> dict[str, Json]:
    """Return every policy under its id, in the order of `policy_text`."""
    policies = dict(zip(BUILT_IN, engine.parse("\n".join(BUILT_IN.values())), strict=True))
    for each in guardrails.values():
        policies |= each.policies
    return policies | parsed_grants(engine, grants)


def parsed_grants(engine: Engine, grants: Sequence[GrantRule]) -> dict[str, Json]:
    """Return the policies of compiled grants, each under its id.

    Raises:
        IntegrityError: one does not read back as it was written.
    """
    policies: dict[str, Json] = {}
    parsed = engine.parse("\n".join(grant.text for grant in grants)) if grants else []
    for grant, policy in zip(grants, parsed, strict=True):
        if policy["effect"] != "permit" or policy["annotations"].get("id") != grant.id:
            raise IntegrityError(ErrorCode.BAD_ESTATE, f"`{grant.id}` did not read back as it was written")
        policies[grant.id] = policy
    return policies


def _check_systems(charter: Charter, sources: Sources, systems: Mapping[str, System]) -> None:
    problems = [
        Problem.at(
            place(sources, f"grants.{index}.system") or _NOWHERE,
            f"there is no system `{grant.system}`",
            suggestion(grant.system, systems),
        )
        for index, grant in enumerate(charter.grants)
        if grant.system not in systems
    ]
    if problems:
        raise EstateError(problems)


def _check_arguments(arguments: Iterable[str], source: Source | None) -> None:
    reserved = sorted(_JSON_ESCAPES.intersection(arguments))
    if reserved:
        text = f"no condition can be put on an argument called `{reserved[0]}`"
        raise EstateError([Problem.at(source or _NOWHERE, text, "have the system's file call it otherwise")])


def check_faults(
    faults: Iterable[tuple[int, str]],
    ids: Sequence[str],
    grants: Sequence[GrantRule],
    guardrails: Mapping[str, Guardrail],
) -> None:
    """Raise the validator's faults at the place of the policies they are in."""
    places: dict[str, Source | None] = {each.id: each.source for each in grants}
    places |= {each.id: each.source for each in guardrails.values()}
    problems = []
    for index, said in faults:
        rule = ids[index] if index < len(ids) else "?"
        source = places.get(rule.removesuffix(UNREADABLE)) or _NOWHERE
        problems.append(Problem.at(source, f"the policy `{rule}` does not validate: {said[:300]}"))
    if problems:
        raise EstateError(problems)
