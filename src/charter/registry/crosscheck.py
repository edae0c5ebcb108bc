"""What no file can be wrong about alone: names that other files must know, and pairs that must not meet.

A *problem* would make a charter mean something else than it says, so the estate is refused. A *warning* is worth a
look and true of estates in use: people leave teams, charters run out, grants reach what the charter's data do not.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from charter.core.values import Source
from charter.registry.central import CALENDARS, Central
from charter.registry.charter import EVERY_ACTION, ArgumentCondition, Charter, Grant
from charter.registry.compositions import problems_of_compositions
from charter.registry.enforcement_points import problems_of_points
from charter.registry.estate import Sourced
from charter.registry.federated import ISSUERS, problems_of_federated, warnings_of_federated
from charter.registry.grant import Delegated
from charter.registry.issuer import Issuers
from charter.registry.never_like import never_like
from charter.registry.never_met import NeverMet, never_met
from charter.registry.pattern import CharterPattern, last_day, open_places, sample_of
from charter.registry.problem import Problem, nearest, suggestion
from charter.registry.property import Property
from charter.registry.property_words import Known, problems_of_property
from charter.registry.public_clients import problems_of_public_clients
from charter.registry.rule_conflict import conflicts
from charter.registry.ruling import broken_rules, unjudged, unknown_words, unlisted
from charter.registry.sharing import SHARING, unknown_places
from charter.registry.system import System
from charter.registry.team import Teams
from charter.registry.trial import TrialCase
from charter.registry.unbounded import (
    Unbounded,
    groups_of_everything,
    odd_patterns,
    unbounded,
    unbounded_grant,
    unbounded_template,
)
from charter.registry.unit import CURRENCIES, is_doubtful, meant_by
from charter.registry.workloads import problems_of_workloads, warnings_of_workloads

TEAMS = "teams.yaml"
OWNER_ROLE = "owner"  # who says yes to the calls of a restrained principal
HUMANS = "humans"  # in `delegation.from`: any person; every other word there names a principal
_EAST = dt.timedelta(days=1)  # it may be tomorrow already where the approver is; days here are in UTC
_FEW = 2000  # people among whom a misspelt one is looked for: a warning must not cost seconds
_TEMPLATE = re.compile(r"(?:[^{}]|\{[^{}]+\})*")


@dataclass(slots=True)
class CrossCheck:
    """Checks the parts of an estate against each other and gathers what it finds."""

    charters: Mapping[str, Sourced[Charter]]
    systems: Mapping[str, Sourced[System]]
    teams: Sourced[Teams]
    issuers: Sourced[Issuers]
    central: Central
    patterns: Mapping[str, Sourced[CharterPattern]]
    trials: Iterable[Sourced[TrialCase]]
    properties: Iterable[Sourced[Property]]
    broken: frozenset[str]  # files that could not be read: what only they could tell is not complained about
    today: dt.date | None  # None: nothing is said about expiry
    is_alone: bool = False  # one charter among what is in force, which is not judged again
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    _people: frozenset[str] = frozenset()
    _data: frozenset[str] = frozenset()

    def run(self) -> None:
        """Check everything."""
        self._people = self.teams.value.people
        self._data = frozenset(name for part in self.systems.values() for name in part.value.classes)
        self._check_teams()
        for system in self.systems.values():
            self._check_system(system)
        for charter in self.charters.values():
            self.check_charter(charter)
        self._check_central()
        self._check_patterns()
        if ISSUERS not in self.broken:
            self.problems.extend(problems_of_federated(self.charters, self.issuers.value))
            self.problems.extend(problems_of_compositions(self.charters, self.issuers.value))
        self.warnings.extend(warnings_of_federated(self.charters))
        self.problems.extend(problems_of_workloads(self.charters))
        self.problems.extend(problems_of_public_clients(self.charters))
        if not self._broken_folder("systems"):
            self.problems.extend(problems_of_points(self.systems, self.charters, self.broken))
        self.warnings.extend(warnings_of_workloads(self.charters))
        if SHARING not in self.broken:
            self.problems.extend(unknown_places(self.charters, self.central.sharing.value))
        self._check_certificates()
        for trial in self.trials:
            self._check_trial(trial)
        if not (self._broken_folder("systems") or self._broken_folder("principals") or TEAMS in self.broken):
            systems = {name: part.value for name, part in self.systems.items()}
            known = Known(self.charters, systems, self.teams.value)
            self.problems.extend(problem for each in self.properties for problem in problems_of_property(each, known))

    # --- teams.yaml and systems ---

    def _check_teams(self) -> None:
        if TEAMS not in self.broken and not self.teams.value.roles.get(OWNER_ROLE):
            text = f"nobody holds the role `{OWNER_ROLE}`, who answers for the calls of restrained principals"
            self._warn(self.teams.source_of("roles"), text, f"name a person: `{OWNER_ROLE}: [sam@example.com]`")
        if self.teams.value.changes is not None:
            self._check_role(self.teams, "changes.central", self.teams.value.changes.central)
        for role, people in self.teams.value.roles.items():
            for index, person in enumerate(people):
                self._check_person(person, self.teams.source_of(f"roles.{role}.{index}"))

    def _check_system(self, part: Sourced[System]) -> None:
        system = part.value
        self._check_team(part, system.owner.team)
        self._check_person(system.owner.person, part.source_of("owner.person"))
        for name, action in system.actions.items():
            if not _TEMPLATE.fullmatch(action.object):
                where = part.source_of(f"actions.{name}.object")
                self._problem(where, f"`{action.object}` is no object", "braces take an argument: `charge/{charge_id}`")

    def _check_central(self) -> None:
        systems = {name: part.value for name, part in self.systems.items()}
        if TEAMS not in self.broken and not self._broken_folder("systems"):
            self.problems.extend(unknown_words(self.central, self.teams.value, systems))
            for part in self.charters.values():
                self.problems.extend(broken_rules(part, systems, self.central, self.today))
            if not self.is_alone:
                found = conflicts(tuple(self.central.charter_rules()), self.teams)
                self.problems.extend(found.problems)
                self.warnings.extend(found.warnings)
        self.warnings.extend(unjudged(self.central, self.systems))
        self.warnings.extend(unlisted(self.central, self.charters.values()))

    # --- charters ---

    def check_charter(self, part: Sourced[Charter]) -> None:
        """Check one charter, rules on charters apart."""
        charter = part.value
        self._check_team(part, charter.owner.team)
        self._check_role(part, "approved.role", charter.approved.role)
        self._check_people(part)
        if charter.composition is not None and charter.composition.accepted_by is not None:
            self._check_role(part, "composition.accepted_by", charter.composition.accepted_by)
        self._check_data(part)
        for index, name in enumerate(charter.delegation.source if charter.delegation else ()):
            if name not in self.charters and name != HUMANS and not self._is_broken("principals", name):
                known = [HUMANS, *self.charters]
                self._known(part, f"delegation.from.{index}", name, known, f"principal, and not `{HUMANS}`")
        self._check_dates(part)
        self._warn_each(part, unbounded(charter, {name: each.value for name, each in self.systems.items()}))
        for index, grant in enumerate(charter.grants):
            self._check_grant(part, grant, f"grants.{index}")
        for name in dict.fromkeys(system for system, _ in charter.policy_actions):
            if name in self.systems:
                self._check_environment(part, self.systems[name].value, "policy")

    def _check_data(self, part: Sourced[Charter]) -> None:
        charter = part.value
        for index, name in enumerate(charter.data if not self._broken_folder("systems") else ()):
            self._known(part, f"data.{index}", name, self._data, "data class of any system")
        for way, named in (charter.data_flow.model_dump(exclude_none=True) if charter.data_flow else {}).items():
            for index, name in enumerate(named):
                if name not in charter.data:
                    where = part.source_of(f"data_flow.{way}.{index}")
                    near = suggestion(name, charter.data)
                    self._problem(where, f"`{name}` is not in the charter's `data`", near)

    def _check_dates(self, part: Sourced[Charter]) -> None:
        """Check that it was approved, and has not run out: a day to come would put off what rules count from there."""
        charter, today = part.value, self.today
        if today is None:
            return
        if charter.approved.on > today + _EAST:
            text = f"`{charter.principal}` was approved on {charter.approved.on.isoformat()}, which is still to come"
            self._problem(part.source_of("approved.on"), text, f"write the day of the approval: {today.isoformat()}")
        if charter.expires < today:
            text = f"`{charter.principal}` expired on {charter.expires.isoformat()}, so it cannot act"
            self._warn(part.source_of("expires"), text, "set a later date once its owner has reviewed it")
        for index, each in enumerate(charter.exceptions or ()):
            if each.until is not None and each.until < today:
                text = f"this ran out on {each.until.isoformat()}, so `{each.rule}` holds again"
                where = part.source_of(f"exceptions.{index}.until")
                self._warn(where, text, "remove it, or have it approved until a later day")

    # --- patterns ---

    def _check_patterns(self) -> None:
        """Warn of patterns whose charters are born expired, and of what matches everything where a bound is meant."""
        systems = {name: part.value for name, part in self.systems.items()}
        for pattern in self.patterns.values():
            last = last_day(pattern.value)
            if self.today is not None and last is not None and last < self.today:
                text = f"charters of this pattern expired on {last.isoformat()}, whenever they are made"
                help = "say how long they hold: `expires: 365d`, and `on: today` under `approved`"
                self._warn(pattern.source_of("template.expires"), text, help)
            self._warn_each(pattern, unbounded_template(pattern.value.template, systems))
            self._check_sample(pattern, systems)
        for part in self.systems.values():
            self._warn_each(part, groups_of_everything(part.value))
        for index, duty in enumerate(self.central.duties.value.duties):
            for number, each in enumerate(duty.parts):
                at = f"duties.{index}.parts.{number}.objects"
                self._warn_each(self.central.duties, odd_patterns(each.objects, at))
        for purpose, listed in self.central.purposes.value.purposes.items():
            for number, its in enumerate(listed.only):
                found = odd_patterns(its.objects, f"purposes.{purpose}.only.{number}.objects")
                self._warn_each(self.central.purposes, found)
        for name, grants in (self.teams.value.entitlements or {}).items():
            for index, grant in enumerate(grants):
                at = f"entitlements.{name}.{index}"
                self._warn_each(self.teams, unbounded_grant(grant, systems.get(grant.system), at))

    def _check_sample(self, pattern: Sourced[CharterPattern], systems: Mapping[str, System]) -> None:
        """Check a charter such as the pattern makes: words that name nothing, and rules that it breaks.

        What is told where a placeholder stands is of the made-up value. A rule is a warning, since other values
        may put a charter outside of whom it is for; `charter new` holds each charter that is made against all of it.
        """
        sample = sample_of(pattern.value, self.today or dt.date.min)
        if sample is None:
            return
        below = "template."
        sources = {
            (at.removeprefix(below) if at.startswith(below) else ""): place
            for at, place in pattern.sources.items()
            if at == "template" or at.startswith(below)
        }
        part = Sourced(sample, sources)
        alone = replace(self, charters={**self.charters, sample.principal: part}, today=None, problems=[], warnings=[])
        alone.check_charter(part)
        broken = TEAMS in self.broken or self._broken_folder("systems")
        rules = () if broken else broken_rules(part, systems, self.central, self.today)
        unsaid = {(place.line, place.column) for place in map(part.source_of, open_places(pattern.value))}
        self.problems += [each for each in alone.problems if (each.line, each.column) not in unsaid]
        self.warnings += [each for each in (*alone.warnings, *rules) if (each.line, each.column) not in unsaid]

    def _warn_each(self, part: Sourced[Any], found: Iterable[Unbounded]) -> None:
        for each in found:
            self._warn(part.source_of(each.at), each.text, each.help)

    def _check_certificates(self) -> None:
        """Check that no certificate and no SVID proves two principals."""
        first: dict[tuple[str, str], str] = {}
        for name, part in self.charters.items():
            credential = part.value.credential
            for field_name, value in (("certificate", credential.certificate), ("spiffe_id", credential.spiffe_id)):
                if value is not None and first.setdefault((field_name, str(value)), name) != name:
                    text = f"`{value}` proves `{first[field_name, str(value)]}` already"
                    self._problem(part.source_of(f"credential.{field_name}"), text, "one credential, one principal")

    def _check_people(self, part: Sourced[Charter]) -> None:
        charter, approved = part.value, part.value.approved
        self._check_person(charter.owner.person, part.source_of("owner.person"))
        self._check_person(approved.by, part.source_of("approved.by"))
        if approved.by == charter.owner.person:
            text = f"`{approved.by}` owns `{charter.principal}` and cannot approve its charter too"
            self._problem(part.source_of("approved.by"), text, "someone else who holds the role must approve it")
        holders = self.teams.value.roles.get(approved.role, (approved.by,))
        if approved.by not in holders:
            text = f"`{approved.by}` does not hold the role `{approved.role}` in teams.yaml"
            self._warn(part.source_of("approved.by"), text, "let someone who does approve the next version")

    def _check_grant(self, part: Sourced[Charter], grant: Grant, at: str) -> None:
        self._warn_slips(part, at, never_met(grant))
        if grant.approval is not None:
            self._check_role(part, f"{at}.approval.by", grant.approval.by)
            holders = self.teams.value.roles.get(grant.approval.by, ())
            if 0 < len(holders) < (grant.approval.count or 1):
                hold = f"{len(holders)} {'hold' if len(holders) > 1 else 'holds'} `{grant.approval.by}`"
                text = f"{grant.approval.count} people must say yes, and {hold}"
                self._warn(part.source_of(f"{at}.approval.count"), text, "name more in teams.yaml")
        if grant.delegated is not None:
            self._check_delegated(part, grant.delegated, f"{at}.delegated")
        if grant.system not in self.systems:
            self._check_system_name(part, f"{at}.system", grant.system)
            return
        system = self.systems[grant.system].value
        for index, name in enumerate(grant.groups or ()):
            what = f"group of objects of the system `{grant.system}`"
            self._known(part, f"{at}.groups.{index}", name, system.groups or {}, what)
        if grant.when and grant.when.workdays and CALENDARS not in self.broken:
            self._check_calendar(part, f"{at}.when.workdays", grant.when.workdays)
        unknown = [each for each in enumerate(grant.actions) if each[1] not in (EVERY_ACTION, *system.actions)]
        for index, name in unknown:
            what = f"action of the system `{grant.system}`"
            self._known(part, f"{at}.actions.{index}", name, system.actions, what)
        if not unknown:
            self._warn_slips(part, at, never_like(grant, system))
            self._check_amounts(part, grant, system, at)
            self._check_reach(part, grant, system, at)

    def _warn_slips(self, part: Sourced[Charter], at: str, slips: Iterable[NeverMet]) -> None:
        for slip in slips:
            self._warn(part.source_of(f"{at}.{slip.path}"), slip.text, slip.help)

    def _check_calendar(self, part: Sourced[Charter], at: str, name: str) -> None:
        calendars = self.central.calendars.value
        if calendars.find(name) is None:
            text = f"`{name}` is no calendar of {CALENDARS}, and no region with known holidays"
            near = suggestion(name, calendars.calendars, few=True)
            self._problem(part.source_of(at), text, near or "name one, or a country as in DE or DE-BE")

    def _check_delegated(self, part: Sourced[Charter], delegated: Delegated, at: str) -> None:
        """Check the words of a grant for delegated use; warn of what no delegation to this principal can ever be."""
        for index, role in enumerate(delegated.roles or ()):
            self._check_role(part, f"{at}.roles.{index}", role)
        for index, name in enumerate(delegated.by or ()):
            if name not in self.charters and name != HUMANS and not self._is_broken("principals", name):
                known = [HUMANS, *self.charters]
                self._known(part, f"{at}.by.{index}", name, known, f"principal, and not `{HUMANS}`")
        terms = part.value.delegation
        if terms is None or not terms.source:
            text = "nobody may lend this principal authority, so the grant cannot be used"
            self._warn(part.source_of(at), text, "say who may under `delegation.from`, or remove `delegated`")
        for index, purpose in enumerate(delegated.purposes or ()):
            if terms is not None and terms.purposes and purpose not in terms.purposes:
                text = f"`{purpose}` is no purpose that the charter's `delegation` allows, so the grant is never for it"
                near = suggestion(purpose, terms.purposes)
                self._warn(part.source_of(f"{at}.purposes.{index}"), text, near)

    def _check_reach(self, part: Sourced[Charter], grant: Grant, system: System, at: str) -> None:
        """Warn of a grant that cannot be used: across environments, or on data the charter does not name."""
        charter = part.value
        self._check_environment(part, system, f"{at}.system")
        touched = {name for action in system.granted(grant) for name in system.data_of(action)}
        for name in sorted(touched - set(charter.data)):
            text = f"this touches `{name}`, which is not in the charter's `data`, so such calls are denied"
            self._warn(part.source_of(f"{at}.actions"), text, f"add `{name}` to `data` if it is meant to")

    def _check_environment(self, part: Sourced[Charter], system: System, at: str) -> None:
        charter = part.value
        if system.environment is not charter.environment:
            text = (
                f"`{charter.principal}` runs in {charter.environment.value} and `{system.system}` "
                f"in {system.environment.value}, so its calls are denied"
            )
            self._warn(part.source_of(at), text, "environments are kept apart; grant its counterpart")

    def _check_amounts(self, part: Sourced[Charter], grant: Grant, system: System, at: str) -> None:
        """Check that every amount with a unit is one that an action of the grant has, in the grant's conditions."""
        amounts = {name for action in system.granted(grant) for name in system.actions[action].amounts}
        for where, unit in _units_used(grant, at):
            if is_doubtful(unit):
                meant = meant_by(unit)
                near = f"write `{meant}`" if meant else suggestion(unit, CURRENCIES, few=True)
                self._warn(part.source_of(where), f"`{unit}` is no currency's code", near or None)
        for where, name, has_unit in _amounts_used(grant, at):
            if name in amounts or (not has_unit and not nearest(name, amounts)):
                continue
            text = f"no action of this grant has an amount `{name}`"
            self._problem(part.source_of(where), text, _help_for_amount(name, amounts, system))

    # --- tests ---

    def _check_trial(self, part: Sourced[TrialCase]) -> None:
        case = part.value
        if not self._is_broken("principals", case.principal):
            self._known(part, "principal", case.principal, self.charters, "principal")
        for index, role in enumerate(case.approvals):
            self._check_role(part, f"approvals.{index}", role)
        for index, name in enumerate(case.chain.through if case.chain else ()):
            self._known(part, f"chain.through.{index}", name, self.charters, "principal")
        if case.chain and "@" not in case.chain.initiator:
            self._known(part, "chain.initiator", case.chain.initiator, self.charters, "principal")
        if case.system not in self.systems:
            self._check_system_name(part, "system", case.system)
            return
        actions = self.systems[case.system].value.actions
        self._known(part, "action", case.action, actions, f"action of the system `{case.system}`")

    # --- what all checks share ---

    def _check_system_name(self, part: Sourced[Any], at: str, name: str) -> None:
        if not self._is_broken("systems", name):
            self._known(part, at, name, self.systems, "system")

    def _check_team(self, part: Sourced[Any], team: str) -> None:
        if TEAMS not in self.broken:
            self._known(part, "owner.team", team, self.teams.value.teams, "team in teams.yaml")

    def _check_role(self, part: Sourced[Any], at: str, role: str) -> None:
        if TEAMS in self.broken:
            return
        roles = self.teams.value.roles
        self._known(part, at, role, roles, "role in teams.yaml")
        if role in roles and not roles[role]:
            self._warn(part.source_of(at), f"nobody holds the role `{role}`", "name a person in teams.yaml")

    def _check_person(self, person: str, where: Source) -> None:
        if person not in self._people and TEAMS not in self.broken:
            near = suggestion(person, self._people, few=True) if len(self._people) <= _FEW else ""
            self._warn(where, f"`{person}` is in no team", near or None)

    def _is_broken(self, folder: str, name: str) -> bool:
        return f"{folder}/{name}.yaml" in self.broken

    def _broken_folder(self, folder: str) -> bool:
        return any(path.startswith(f"{folder}/") for path in self.broken)

    def _known(self, part: Sourced[Any], at: str, word: str, valid: Iterable[str], what: str) -> None:
        if word not in valid:
            self._problem(part.source_of(at), f"`{word}` is no {what}", suggestion(word, valid))

    def _problem(self, where: Source, text: str, help: str | None) -> None:
        self.problems.append(Problem.at(where, text, help))

    def _warn(self, where: Source, text: str, help: str | None) -> None:
        self.warnings.append(Problem.at(where, text, help))


def _amounts_used(grant: Grant, at: str) -> Iterator[tuple[str, str, bool]]:
    """Yield (dotted path, argument, whether a unit is written) for every quantity that `grant` compares."""
    conditions = [(f"{at}.when", grant.when.arguments if grant.when else {})]
    conditions.append((f"{at}.approval.when", grant.approval.when if grant.approval else {}))
    for where, arguments in conditions:
        for name, condition in arguments.items():
            if _is_numeric(condition):
                yield f"{where}.{name}", name, _has_unit(condition)
    for index, limit in enumerate(grant.limit):
        if limit.sum is not None and limit.max is not None:
            yield f"{at}.limit.{index}.sum", limit.sum, limit.max.unit is not None


def _units_used(grant: Grant, at: str) -> Iterator[tuple[str, str]]:
    """Yield (dotted path, unit) for every unit that `grant` writes."""
    conditions = [(f"{at}.when", grant.when.arguments if grant.when else {})]
    conditions.append((f"{at}.approval.when", grant.approval.when if grant.approval else {}))
    for where, arguments in conditions:
        for name, condition in arguments.items():
            for bound in ("max", "min", "over", "under"):
                quantity = getattr(condition, bound)
                if quantity is not None and quantity.unit:
                    yield f"{where}.{name}.{bound}", quantity.unit
    for index, limit in enumerate(grant.limit):
        if limit.max is not None and limit.max.unit:
            yield f"{at}.limit.{index}.max", limit.max.unit


def _help_for_amount(name: str, amounts: set[str], system: System) -> str:
    elsewhere = next((action for action, each in system.actions.items() if name in each.amounts), None)
    if elsewhere:
        return f"it is one of `{elsewhere}`, which this grant does not name"
    return suggestion(name, amounts) if amounts else f"declare it in systems/{system.system}.yaml"


def _is_numeric(condition: ArgumentCondition) -> bool:
    return any(q is not None for q in (condition.max, condition.min, condition.over, condition.under))


def _has_unit(condition: ArgumentCondition) -> bool:
    return any(q is not None and q.unit for q in (condition.max, condition.min, condition.over, condition.under))
