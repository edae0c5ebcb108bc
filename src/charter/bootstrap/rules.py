"""What can be asked of the rules in force: each with its force, whom it is for, whom it concerns, what it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from charter.policy.central import DATA, FREEZE
from charter.policy.guardrail import Guardrail
from charter.registry.record import CharterVersion
from charter.registry.response import ResponseRule
from charter.registry.risk import risk_of
from charter.registry.rule import CharterRule, Force
from charter.registry.scope import Scope
from charter.registry.sharing import SharingRule
from charter.registry.standing import Standing

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction
    from charter.core.values import Source


def listing(house: House) -> list[dict[str, Any]]:
    """Return every rule in force: on charters, on shared credentials, on calls, each in the order of its files."""
    versions = _versions(house)
    aside = [
        (version.charter.principal, each.rule) for version in versions for each in version.charter.exceptions or ()
    ]
    central = house.live.central
    on_charters = [_on_charters(house, rule, source, versions) for rule, source in central.charter_rules()]
    on_sharing = [_on_sharing(house, each, versions) for each in central.sharing.value.rules]
    on_behaviour = [_on_behaviour(house, each, versions) for each in central.responses.value.rules]
    told = [*on_charters, *on_sharing, *on_behaviour, *(_on_calls(each) for each in house.slices.guardrails())]
    return [each | {"set_aside_by": sorted(name for name, rule in aside if rule == each["name"])} for each in told]


def _versions(house: House) -> list[CharterVersion]:
    known = [p for p in house.live.principals.values() if p.standing is not Standing.RETIRED]

    def read(tx: HouseTransaction) -> list[CharterVersion]:
        return [tx.registry.charter_version(p.id, p.version) for p in known]

    return house.database.read(read)


def _on_charters(house: House, rule: CharterRule, source: Source, versions: list[CharterVersion]) -> dict[str, Any]:
    written = rule.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {
        "name": rule.id,
        "on": "charters",
        "force": rule.force.value,
        "for": written["for"],
        "asks": {key: written[key] for key in ("at_most", "only") if key in written},
        "lifted_by": [],
        "reason": rule.reason,
        "answers": list(rule.answers),
        "source": str(source),
        "concerns": _covered(house, rule.scope, versions),
    }


def _on_behaviour(house: House, rule: ResponseRule, versions: list[CharterVersion]) -> dict[str, Any]:
    written = rule.model_dump(mode="json", by_alias=True, exclude_none=True)
    part = house.live.central.responses
    at = next(index for index, each in enumerate(part.value.rules) if each is rule)
    return {
        "name": rule.id,
        "on": "behaviour",
        "force": Force.HARD.value,
        "for": written["for"],
        "asks": {key: written[key] for key in ("when", "then", "expires", "release") if key in written},
        "lifted_by": [],
        "reason": rule.reason,
        "answers": [],
        "source": str(part.source_of(f"rules.{at}")),
        "concerns": _covered(house, rule.scope, versions),
    }


def _on_sharing(house: House, rule: SharingRule, versions: list[CharterVersion]) -> dict[str, Any]:
    written = rule.model_dump(mode="json", by_alias=True, exclude_none=True)
    part = house.live.central.sharing
    at = next(index for index, each in enumerate(part.value.rules) if each is rule)
    return {
        "name": rule.id,
        "on": "sharing",
        "force": Force.HARD.value,
        "for": written["for"],
        "asks": {key: written[key] for key in ("proved", "stated", "seen") if key in written},
        "lifted_by": [],
        "reason": rule.reason,
        "answers": [],
        "source": str(part.source_of(f"rules.{at}")),
        "concerns": _covered(house, rule.scope, versions),
    }


def _covered(house: House, scope: Scope, versions: list[CharterVersion]) -> list[str]:
    """Return the principals that a rule is for, by name."""
    systems = {name: record.system for name, record in house.live.systems.items()}
    classes = house.live.central.data.value
    return sorted(
        version.charter.principal
        for version in versions
        if scope.covers(version.charter, risk_of(version.charter, systems, classes).tier)
    )


def _on_calls(rule: Guardrail) -> dict[str, Any]:
    what = "freezes" if rule.id.startswith(FREEZE) else "data" if rule.id.startswith(DATA) else "calls"
    return {
        "name": rule.name,
        "on": what,
        "force": rule.force.value,
        "for": {},
        "asks": {},
        "lifted_by": sorted(rule.roles),
        "reason": rule.reason,
        "answers": list(rule.answers),
        "source": str(rule.source),
        "concerns": None,  # its scope and its conditions say, call by call
    }
