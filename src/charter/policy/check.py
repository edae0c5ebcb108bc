"""Everything about an estate that only policy can be wrong about, for `charter validate`.

Each file of guardrails is parsed; every word in it that names a system, an action, a principal, a kind, an environment
or a role must be one; every charter's slice must bind, so that no policy error waits for the first call.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from charter.core.canonical import canonical, digest, digest_of
from charter.core.errors import CharterError
from charter.core.values import Source
from charter.policy.binder import Binder, Surroundings
from charter.policy.central import central_guardrails
from charter.policy.doubts import doubts, sure_faults
from charter.policy.engine import Engine
from charter.policy.guardrail import Guardrail, parse_guardrails
from charter.policy.object_path import template_fault
from charter.policy.own import OwnPermit, parse_own
from charter.policy.slice import Slice, bind_slice
from charter.policy.vocabulary import GROUPS, action_id, schema_text
from charter.registry.charter import Environment, Kind
from charter.registry.estate import Estate
from charter.registry.problem import EstateError, Problem, suggestion
from charter.registry.risk import Tier
from charter.registry.rule import Force
from charter.registry.seat import is_seat, role_of
from charter.registry.system import System

MAX_REMEMBERED = 50_000  # charters that were bound
_CASES = {
    ("principal", "kind"): tuple(kind.value for kind in Kind),
    ("principal", "environment"): tuple(each.value for each in Environment),
    ("principal", "tier"): tuple(each.value for each in Tier),
    ("resource", "environment"): tuple(each.value for each in Environment),
}


class BoundBefore:
    """Remembers which charters were bound among which surroundings: none of them needs to be tried again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, None] = OrderedDict()
        self.grown = 0  # how many were remembered that were not filled in

    def has(self, key: str) -> bool:
        """Whether a charter was bound so."""
        with self._lock:
            return key in self._known

    def add(self, key: str) -> None:
        """Remember it; the oldest are forgotten."""
        with self._lock:
            self.grown += 1
            self._known[key] = None
            while len(self._known) > MAX_REMEMBERED:
                self._known.popitem(last=False)

    def to_json(self) -> list[str]:
        """Return all that is remembered, for another process: `fill` takes it."""
        with self._lock:
            return list(self._known)

    def fill(self, told: Iterable[str]) -> None:
        """Remember what another process did, beneath what is here."""
        with self._lock:
            self._known = OrderedDict.fromkeys([*map(str, told), *self._known])


def check_estate(estate: Estate, engine: Engine, before: BoundBefore | None = None) -> tuple[Problem, ...]:
    """Return every problem of policy in `estate`, each at its place; none if every slice binds."""
    guardrails, problems = read_guardrails(estate, engine)
    problems += [problem for each in guardrails for problem in _unknown_words(each, estate)]
    problems += _exceptions(guardrails, estate)
    problems += [problem for each in guardrails for problem in sure_faults(each.statement, each.policies[each.id])]
    problems += _beside(estate, engine)
    problems += _same_ids(guardrails)
    problems += _templates(estate)
    if not problems:
        problems += _not_bound(estate, guardrails, engine, before)
    return tuple(sorted(set(problems)))


def warnings_of(estate: Estate, engine: Engine) -> tuple[Problem, ...]:
    """Return what is doubtful about the Cedar of an estate without problems, each at its place."""
    guardrails, _ = read_guardrails(estate, engine)
    return tuple(doubts(guardrails, estate, engine))


def read_guardrails(estate: Estate, engine: Engine) -> tuple[list[Guardrail], list[Problem]]:
    """Return the guardrails of all files that can be read, central ones included, and the problems of the others."""
    guardrails: list[Guardrail] = [*central_guardrails(estate.central, engine)]
    problems: list[Problem] = []
    for file in estate.guardrails:
        try:
            guardrails += parse_guardrails(file.path, file.text, engine)
        except EstateError as err:
            problems += err.problems
    return guardrails, problems


def systems_of(estate: Estate) -> dict[str, System]:
    """Return the estate's systems by name."""
    return {name: part.value for name, part in estate.systems.items()}


def bind_slices(estate: Estate, engine: Engine) -> dict[str, Slice]:
    """Return the slice of every principal.

    Raises:
        EstateError: something in the estate cannot be bound.
    """
    guardrails, problems = read_guardrails(estate, engine)
    if problems:
        raise EstateError(problems)
    systems = systems_of(estate)
    return {
        name: bind_slice(part.value, part.sources, systems, guardrails, engine, estate.central)
        for name, part in estate.charters.items()
    }


def estate_schema(estate: Estate, engine: Engine) -> str:
    """Return the Cedar schema of the whole estate: its actions, and the zones and arguments that its policies name.

    Raises:
        EstateError: something in the estate cannot be bound.
    """
    slices = bind_slices(estate, engine).values()
    guardrails, _ = read_guardrails(estate, engine)
    actions = {
        action_id(name, action): it.effect.value
        for name, system in systems_of(estate).items()
        for action, it in system.actions.items()
    }
    zones = {zone for each in slices for zone in each.zones} | {z for each in guardrails for z in each.mentions.zones}
    arguments = {name for each in slices for name in each.arguments}
    return schema_text(actions, zones, arguments | {name for each in guardrails for name in each.mentions.arguments})


def _beside(estate: Estate, engine: Engine) -> Iterator[Problem]:
    """Yield every problem of the Cedar beside charters."""
    for name, part in estate.charters.items():
        try:
            own = parse_own(name, part.value.policy or "", engine)
        except EstateError as err:
            yield from err.problems
            continue
        for each in own.all:
            yield from _unknown_words(each, estate)
            policy = each.policy if isinstance(each, OwnPermit) else each.policies[each.id]
            yield from sure_faults(each.statement, policy)


def _not_bound(
    estate: Estate, guardrails: Sequence[Guardrail], engine: Engine, before: BoundBefore | None
) -> Iterator[Problem]:
    among = digest_of(
        {
            "systems": {name: each.digest for name, each in systems_of(estate).items()},
            "guardrails": [each.text for each in guardrails],
            "central": {each.path: each.digest for each in estate.central.files},
        }
    )
    binder = Binder(Surroundings(systems_of(estate), guardrails, engine, estate.central))
    alike = set[str]()  # digests of what charters that bind share: one of them is tried for all
    for name, part in estate.charters.items():
        known = f"{part.value.digest} {among}"
        if before is not None and before.has(known):
            continue
        shared = binder.shared_key(name, canonical(part.value.to_json()).decode())
        key = None if shared is None else digest(shared)
        found = [] if key in alike else _unbound(name, estate, guardrails, engine)
        yield from found
        if not found:
            if key is not None:
                alike.add(key)
            if before is not None:
                before.add(known)


def _unbound(name: str, estate: Estate, guardrails: Sequence[Guardrail], engine: Engine) -> list[Problem]:
    part = estate.charters[name]
    try:
        bind_slice(part.value, part.sources, systems_of(estate), guardrails, engine, estate.central)
    except EstateError as err:
        return list(err.problems)
    except CharterError as err:
        return [Problem.at(part.source_of("grants"), f"the grants of `{name}` cannot be bound: {err.detail}", err.help)]
    return []


def _exceptions(guardrails: Sequence[Guardrail], estate: Estate) -> Iterator[Problem]:
    """Yield a problem for each exception of a charter from a rule that there is none of, or that allows none."""
    forces = {each.name: each.force for each in guardrails}
    forces |= {rule.id: rule.force for rule, _ in estate.central.charter_rules()}
    defaults = [name for name, force in forces.items() if force is Force.DEFAULT]
    for part in estate.charters.values():
        for index, each in enumerate(part.value.exceptions or ()):
            where = part.source_of(f"exceptions.{index}.rule")
            if each.rule not in forces:
                yield Problem.at(where, f"there is no rule `{each.rule}`", suggestion(each.rule, defaults))
            elif each.rule not in defaults:
                text = f"the rule `{each.rule}` is {forces[each.rule].value}, so no charter can set it aside"
                yield Problem.at(where, text, "keep to it, or ask whoever keeps it")


def _same_ids(guardrails: Sequence[Guardrail]) -> Iterator[Problem]:
    first: dict[str, Guardrail] = {}
    for each in guardrails:
        other = first.setdefault(each.id, each)
        if other is not each:
            yield Problem.at(
                each.source, f"the id of `{each.id}` is taken", f"by the one at {other.source}; choose another"
            )


def _templates(estate: Estate) -> Iterator[Problem]:
    for part in estate.systems.values():
        for name, action in part.value.actions.items():
            fault = template_fault(action.object)
            if fault:
                where = part.source_of(f"actions.{name}.object")
                yield Problem.at(
                    where, f"the object `{action.object[:80]}` {fault}", "write as in `charge/{charge_id}`"
                )


def _unknown_words(guardrail: Guardrail | OwnPermit, estate: Estate) -> Iterator[Problem]:
    """Yield a problem for each word that names nothing: such a guardrail would guard nothing."""
    systems = systems_of(estate)
    for kind, name in sorted(guardrail.mentions.entities):
        yield from _unknown_entity(guardrail, kind, name, systems, estate)
    known = dict(_CASES) | {
        ("resource", "system"): tuple(systems),
        ("principal", "name"): tuple(estate.charters),
        ("principal", "team"): tuple(estate.teams.value.teams),
    }
    for variable, attribute, text in sorted(guardrail.mentions.comparisons):
        words = known.get((variable, attribute))
        if words is not None and text not in words:
            said = f"`{text[:80]}` is no {attribute} that `{variable}` can have"
            yield Problem.at(_source(guardrail, text), said, suggestion(text, words))
    calendars = estate.central.calendars.value
    for _, name in sorted(guardrail.mentions.calendars):
        if calendars.find(name) is None:
            said = f"`{name[:80]}` is no calendar of calendars.yaml, and no region with known holidays"
            yield Problem.at(_source(guardrail, name), said, suggestion(name, calendars.calendars))
    known_roles = estate.teams.value.roles
    for role in sorted(seat for seat in guardrail.roles if role_of(seat) not in known_roles or not is_seat(seat)):
        said = f"there is no role `{role[:80]}` in teams.yaml"
        yield Problem.at(_source(guardrail, role), said, suggestion(role, estate.teams.value.roles))


def _unknown_entity(
    guardrail: Guardrail | OwnPermit, kind: str, name: str, systems: Mapping[str, System], estate: Estate
) -> Iterator[Problem]:
    where = _source(guardrail, name)
    system, _, action = name.partition("/")
    match kind:
        case "Charter::System" if name not in systems:
            yield Problem.at(where, f"there is no system `{name[:80]}`", suggestion(name, systems))
        case "Charter::Principal" if name not in estate.charters:
            yield Problem.at(where, f"there is no principal `{name[:80]}`", suggestion(name, estate.charters))
        case "Charter::Object" if system not in systems:
            yield Problem.at(where, f"there is no system `{system[:80]}`", suggestion(system, systems))
        case "Charter::Action" if system not in systems:
            if name not in GROUPS:
                words = [*GROUPS, *(action_id(each, one) for each, it in systems.items() for one in it.actions)]
                yield Problem.at(where, f"there is no action `{name[:80]}`", suggestion(name, words))
        case "Charter::Action" if action not in systems[system].actions:
            near = suggestion(action, systems[system].actions)
            yield Problem.at(where, f"`{action[:80]}` is no action of the system `{system}`", near)
        case _:
            pass


def _source(guardrail: Guardrail | OwnPermit, word: str) -> Source:
    token = guardrail.statement.find(word)
    return guardrail.statement.source_of(token) if token else guardrail.source
