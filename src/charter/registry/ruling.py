"""Charters held against what the organisation lays down, and that against the rest of the estate.

INVARIANT: a charter that breaks a rule is a problem, unless the rule is a default that the charter names in
`exceptions` and the exception has not run out.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from charter.registry.central import DATA, Central
from charter.registry.charter import EVERY_ACTION, Charter
from charter.registry.duty import DutyPart
from charter.registry.problem import Problem, suggestion
from charter.registry.purpose import PURPOSES, PurposePart
from charter.registry.risk import risk_of
from charter.registry.rule import CharterRule, Force, breaches
from charter.registry.scope import Scope
from charter.registry.sourced import Sourced
from charter.registry.system import System
from charter.registry.team import Teams


def broken_rules(
    part: Sourced[Charter], systems: Mapping[str, System], central: Central, today: dt.date | None
) -> Iterator[Problem]:
    """Yield a problem for each rule that a charter breaks, at the place where it does."""
    charter = part.value
    risk = risk_of(charter, systems, central.data.value)
    for rule, _ in central.charter_rules():
        if not is_set_aside(rule, charter, today):
            for breach in breaches(rule, charter, risk, systems):
                yield Problem.at(part.source_of(breach.at), breach.text, breach.help)


def is_set_aside(rule: CharterRule, charter: Charter, today: dt.date | None) -> bool:
    """Whether `charter` says otherwise than a default, and may still."""
    if rule.force is not Force.DEFAULT:
        return False
    return any(
        each.rule == rule.id and (each.until is None or today is None or today <= each.until)
        for each in charter.exceptions or ()
    )


def unknown_words(central: Central, teams: Teams, systems: Mapping[str, System]) -> Iterator[Problem]:
    """Yield a problem for each word of the central files that names nothing: such a rule would rule nothing."""
    calendars = central.calendars
    for index, freeze in enumerate(calendars.value.freezes):
        at = f"freezes.{index}"
        if freeze.approval is not None:
            yield from _unknown(calendars, f"{at}.approval", (freeze.approval,), teams.roles, "role in teams.yaml")
        yield from _unknown_teams(calendars, f"{at}.for", freeze.scope, teams)
    for index, answer in enumerate(central.sharing.value.rules):
        yield from _unknown_teams(central.sharing, f"rules.{index}.for", answer.scope, teams)
    for index, response in enumerate(central.responses.value.rules):
        yield from _unknown_teams(central.responses, f"rules.{index}.for", response.scope, teams)
    yield from _unknown_parts(central, systems)
    classes = {name for system in systems.values() for name in system.classes} | central.data.value.classes.keys()
    for part in central.rules:
        for index, rule in enumerate(part.value.rules):
            at = f"rules.{index}"
            yield from _unknown_teams(part, f"{at}.for", rule.scope, teams)
            if rule.only:
                roles, data, names = rule.only.approved_by or (), rule.only.data or (), rule.only.systems or ()
                yield from _unknown(part, f"{at}.only.approved_by", roles, teams.roles, "role in teams.yaml")
                yield from _unknown(part, f"{at}.only.data", data, classes, "class of data of any system")
                yield from _unknown(part, f"{at}.only.systems", names, systems, "system")


def unlisted(central: Central, charters: Iterable[Sourced[Charter]]) -> Iterator[Problem]:
    """Yield a warning for each purpose of a charter that purposes.yaml, if there is one, does not describe."""
    known = central.purposes.value.purposes
    for part in charters if known else ():
        terms = part.value.delegation
        for index, name in enumerate(terms.purposes if terms is not None else ()):
            if name not in known:
                text = f"`{name}` is not in {PURPOSES}, so all that the charters allow can be done for it"
                help = suggestion(name, known, few=True) or "list there what it is for"
                yield Problem.at(part.source_of(f"delegation.purposes.{index}"), text, help)


def unjudged(central: Central, systems: Mapping[str, Sourced[System]]) -> Iterator[Problem]:
    """Yield a warning for each class of data of a system that data.yaml, if there is one, does not describe."""
    known = central.data.value.classes
    told: set[str] = set()
    for part in systems.values() if known else ():
        for name in sorted(part.value.classes - known.keys() - told):
            told.add(name)
            text = f"`{name}` is not in {DATA}, so it counts as confidential"
            yield Problem.at(
                part.source_of("data"), text, suggestion(name, known, few=True) or f"describe it in {DATA}"
            )


def _unknown_parts(central: Central, systems: Mapping[str, System]) -> Iterator[Problem]:
    """Yield a problem for each system or action of a duty or purpose that there is none of: it would say nothing."""
    for index, duty in enumerate(central.duties.value.duties):
        for number, part in enumerate(duty.parts):
            yield from _unknown_part(central.duties, f"duties.{index}.parts.{number}", part, systems)
    for name, purpose in central.purposes.value.purposes.items():
        for number, listed in enumerate(purpose.only):
            yield from _unknown_part(central.purposes, f"purposes.{name}.only.{number}", listed, systems)


def _unknown_part(
    file: Sourced[Any], at: str, part: DutyPart | PurposePart, systems: Mapping[str, System]
) -> Iterator[Problem]:
    known = systems.get(part.system)
    if known is None:
        text = f"there is no system `{part.system}`"
        yield Problem.at(file.source_of(f"{at}.system"), text, suggestion(part.system, systems))
    elif part.actions != (EVERY_ACTION,):
        what = f"action of the system `{part.system}`"
        yield from _unknown(file, f"{at}.actions", part.actions, known.actions, what)


def _unknown_teams(part: Sourced[Any], at: str, scope: Scope, teams: Teams) -> Iterator[Problem]:
    yield from _unknown(part, f"{at}.teams", scope.teams or (), teams.teams, "team in teams.yaml")


def _unknown(part: Sourced[Any], at: str, words: Iterable[str], valid: Iterable[str], what: str) -> Iterator[Problem]:
    known = set(valid)
    for index, word in enumerate(words):
        if word not in known:
            where = part.source_of(f"{at}.{index}")
            yield Problem.at(where, f"`{word}` is no {what}", suggestion(word, known))
