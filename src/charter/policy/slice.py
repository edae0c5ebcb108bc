"""The policy slice of one principal: its grants, the built-in rules and the guardrails that concern it, bound together.

A decision never sees the whole estate. A guardrail is left out of a slice only if its scope shows that it can never
forbid anything that the slice's grants allow.

INVARIANT: a slice exists only if every policy in it parsed, kept its id and validated strictly. What cannot be bound
raises, and the caller denies.
INVARIANT: the digest changes exactly when the charter, a policy, the schema, the tier of risk or a calendar does.
INVARIANT: an authority that is NOBODY's is asked only with the principal of the slice at hand, which holds it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, TypeVar

from charter.core.canonical import digest_of
from charter.core.errors import ErrorCode, IntegrityError
from charter.core.values import Source
from charter.policy.builtin import BUILT_IN, RESTRAINED, RESTRAINED_ROLE
from charter.policy.engine import Engine, Json
from charter.policy.grant import GrantRule, Sources, compile_grants, place
from charter.policy.guardrail import UNREADABLE, Guardrail, until
from charter.policy.held import Held
from charter.policy.own import OwnPermit, parse_own
from charter.policy.vocabulary import NO_ACTIONS, Words, action_id, schema_text
from charter.registry.calendar import Calendar
from charter.registry.central import Central
from charter.registry.charter import Charter, DelegationTerms, Environment
from charter.registry.data_class import DataFlow
from charter.registry.flow import OBSERVED, Watch, watch_of
from charter.registry.problem import EstateError, Problem, suggestion
from charter.registry.risk import Risk, risk_of
from charter.registry.rule import Force
from charter.registry.system import System

T = TypeVar("T")
_NOWHERE = Source("?", 1)
_JSON_ESCAPES = frozenset({"__extn", "__entity", "__expr"})  # Cedar's JSON gives these keys a meaning of their own


@dataclass(frozen=True, slots=True)
class Authority:
    """What a charter comes to, whoever holds it. `program` is what the engine that bound the policies evaluates.

    Compiled for nobody (`held.py`), it is shared by every principal whose charter differs in nothing that policy reads.
    """

    party: str  # for whom its grants are compiled; NOBODY: for each who holds it
    kind: str
    environment: Environment
    risk: Risk
    data: tuple[str, ...]
    flow: DataFlow
    grants: tuple[GrantRule, ...]
    guardrails: Mapping[str, Guardrail]  # by id, the principal's own forbids among them
    granted: frozenset[str]  # action ids
    words: Words
    schema: str
    digest: str  # of policies, schema, tier of risk and calendars
    program: object = field(repr=False, compare=False)
    permits: Mapping[str, OwnPermit] = field(default_factory=dict)  # of the Cedar beside its charter, by id
    delegation: DelegationTerms | None = None  # what its charter says of lending and borrowing
    watch: Watch = OBSERVED  # over its sessions
    named: Mapping[str, GrantRule] = field(init=False, repr=False, compare=False)  # its grants, by id

    def __post_init__(self) -> None:
        object.__setattr__(self, "named", {each.id: each for each in self.grants})


@dataclass(frozen=True, slots=True)
class Slice:
    """One principal's policies, bound: its authority, and what is its own."""

    principal: str
    team: str
    charter: str  # digest of its version
    authority: Authority
    sources: Sources = field(repr=False, compare=False, default_factory=dict)

    @property
    def kind(self) -> str:
        """The principal's kind, or what else it is a slice of."""
        return self.authority.kind

    @property
    def environment(self) -> Environment:
        """Where the principal runs."""
        return self.authority.environment

    @property
    def risk(self) -> Risk:
        """How much harm it could do."""
        return self.authority.risk

    @property
    def data(self) -> tuple[str, ...]:
        """The classes of data that its charter covers."""
        return self.authority.data

    @property
    def flow(self) -> DataFlow:
        """What it may read, write and send of them."""
        return self.authority.flow

    @property
    def grants(self) -> tuple[GrantRule, ...]:
        """Its grants, in the charter's order."""
        return tuple(map(self._own, self.authority.grants))

    def _own(self, grant: GrantRule) -> GrantRule:
        return grant if self.authority.party else Held(grant, self.principal, self.sources)

    @property
    def guardrails(self) -> Mapping[str, Guardrail]:
        """The guardrails that concern it, by id."""
        return self.authority.guardrails

    @property
    def permits(self) -> Mapping[str, OwnPermit]:
        """The permits of the Cedar beside its charter, by id."""
        return self.authority.permits

    @property
    def granted(self) -> frozenset[str]:
        """The ids of the actions that some grant names."""
        return self.authority.granted

    @property
    def words(self) -> Words:
        """What its policies name."""
        return self.authority.words

    @property
    def schema(self) -> str:
        """The Cedar schema that its policies are valid under."""
        return self.authority.schema

    @property
    def program(self) -> object:
        """What its engine evaluates."""
        return self.authority.program

    @property
    def delegation(self) -> DelegationTerms | None:
        """What its charter says of lending and borrowing."""
        return self.authority.delegation

    @property
    def digest(self) -> str:
        """What a verdict rests on."""
        return _digest(self.charter, self.authority.digest)

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
        return tuple(dict.fromkeys([*(grant.system for grant in self.authority.grants), *own]))

    def actions_on(self, system: str) -> frozenset[str]:
        """Return the names of the actions that some grant or own permit covers on `system`."""
        own = (action.partition("/") for each in self.permits.values() for action in each.actions)
        granted = (action for grant in self.authority.grants if grant.system == system for action in grant.actions)
        return frozenset(granted).union(action for name, _, action in own if name == system)

    def permitting(self, system: str, action: str) -> tuple[OwnPermit, ...]:
        """Return the own permits that name `action` on `system`."""
        return tuple(each for each in self.permits.values() if action_id(system, action) in each.actions)

    def may_allow(self, rule: str) -> bool:
        """Whether `rule` is one by which this principal may be allowed something: a grant, or an own permit."""
        return rule in self.authority.permits or self._named(rule) in self.authority.named

    def allowing(self, rules: Sequence[str]) -> list[GrantRule | OwnPermit]:
        """Return those of `rules` by which this principal may be allowed something, grants first."""
        authority = self.authority
        named = [self._named(each) for each in rules]
        grants = [self._own(each) for each in authority.grants if each.id in named]
        return [*grants, *(each for each in authority.permits.values() if each.id in rules)]

    def _named(self, rule: str) -> str:
        """Return what a grant that is this principal's own as `rule` is called in its authority."""
        return rule if self.authority.party else rule.removeprefix(self.principal)

    def rules_on(self, system: str) -> frozenset[str]:
        """Return the ids of the grants and own permits on `system`."""
        own = (each.id for each in self.permits.values() if any(a.partition("/")[0] == system for a in each.actions))
        return frozenset(grant.id for grant in self.grants if grant.system == system).union(own)

    def covering(self, system: str, action: str) -> tuple[GrantRule, ...]:
        """Return the grants that name `action` on `system`, in the charter's order."""
        found = (each for each in self.authority.grants if each.system == system and action in each.actions)
        return tuple(map(self._own, found))

    def grant(self, rule: str) -> GrantRule | None:
        """Return the grant with the id `rule`."""
        found = self.authority.named.get(self._named(rule))
        return None if found is None else self._own(found)

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


@lru_cache(maxsize=4096)
def _digest(charter: str, authority: str) -> str:
    return digest_of({"charter": charter, "authority": authority})


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

    Raises:
        EstateError: a grant names an unknown system, or a policy does not validate.
        PolicyTextError: Cedar cannot read or bind a policy.
    """
    authority = bind_authority(charter, sources, systems, guardrails, engine, central)
    return Slice(charter.principal, charter.owner.team, charter.digest, authority, sources)


def bind_authority(
    charter: Charter,
    sources: Sources,
    systems: Mapping[str, System],
    guardrails: Sequence[Guardrail],
    engine: Engine,
    central: Central,
) -> Authority:
    """Return what `charter` comes to for its principal, or for each who holds it if it is NOBODY's.

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
    own = parse_own(charter.principal, charter.policy or "", engine)
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
    policies = policies_of(engine, grants, concerned, own.permits)
    risk, flow = risk_of(charter, systems, central.data.value), charter.data_ways
    check_faults(engine.faults(text, schema), list(policies), grants, concerned)
    watch = watch_of(charter, central.flow.value)
    told = {
        "kind": charter.kind.value,
        "environment": charter.environment.value,
        "tier": risk.tier.value,
        "provider": charter.model.provider,
        "data": frozenset(charter.data),
        "reads": frozenset(flow.read or ()),
        "writes": frozenset(flow.write or ()),
        "sends": frozenset(flow.send or ()),
        "posture": watch.posture.value,
    }
    return Authority(
        party=charter.principal,
        kind=charter.kind.value,
        environment=charter.environment,
        risk=risk,
        data=charter.data,
        flow=flow,
        grants=grants,
        guardrails=concerned,
        granted=frozenset(granted),
        permits=own.permits,
        words=replace(words, principal=told),
        schema=schema,
        digest=digest_of(
            {"policies": text, "schema": schema, "tier": risk.tier.value, "calendars": calendars_json(words)}
        ),
        program=engine.bind(policies, groups),
        delegation=charter.delegation,
        watch=watch,
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


def policies_of(
    engine: Engine, grants: Sequence[GrantRule], guardrails: Mapping[str, Guardrail], permits: Mapping[str, OwnPermit]
) -> dict[str, Json]:
    """Return every policy as Cedar's JSON under its id, in the order of `policy_text`.

    Raises:
        IntegrityError: two share an id, or one does not read back as it was written.
    """
    policies = dict(zip(BUILT_IN, engine.parse("\n".join(BUILT_IN.values())), strict=True))
    for each in guardrails.values():
        policies |= each.policies
    own = parsed_grants(engine, grants)
    if not policies.keys().isdisjoint(own):  # a principal called `guardrail` must not take a guardrail's place
        raise IntegrityError(ErrorCode.BAD_ESTATE, "a grant and a guardrail share an id")
    return policies | own | {each.id: each.policy for each in permits.values()}


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
        # Nobody's grants are bound for whoever asks: a slice is put only to the calls of its own principal (decide.py).
        policies[grant.id] = policy | {"principal": {"op": "All"}} if grant.id.startswith("/") else policy
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
