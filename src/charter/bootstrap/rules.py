"""What can be asked of the rules in force: each with its force, whom it is for, whom it concerns, what it answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charter.adapters.cedar import CedarEngine
from charter.bootstrap.estate import check_folder
from charter.core.clock import Clock
from charter.core.values import Source
from charter.policy.central import DATA, FREEZE, PURPOSE
from charter.policy.check import read_guardrails, systems_of
from charter.policy.guardrail import Guardrail
from charter.registry.central import Central
from charter.registry.charter import Charter
from charter.registry.response import ResponseRule
from charter.registry.risk import risk_of
from charter.registry.rule import CharterRule, Force
from charter.registry.scope import Scope
from charter.registry.sharing import SharingRule
from charter.registry.standing import Standing
from charter.registry.system import System

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction


@dataclass(frozen=True, slots=True)
class _Laid:
    """What is laid down, and for whom it could be."""

    central: Central
    systems: Mapping[str, System]
    charters: tuple[Charter, ...]


_MADE_BY_FILES = {FREEZE: "freezes", DATA: "data", PURPOSE: "purposes"}


def listing(house: House) -> list[dict[str, Any]]:
    """Return every rule in force: on charters, on shared credentials, on calls, each in the order of its files."""
    systems = {name: record.system for name, record in house.live.systems.items()}
    return _listed(_Laid(house.live.central, systems, _charters(house)), house.slices.guardrails())


def listing_in(root: Path, clock: Clock | None = None) -> list[dict[str, Any]]:
    """Return every rule that the files in the folder `root` lay down, as `listing` does those in force.

    Raises:
        EstateError: the files are wrong.
    """
    estate = check_folder(root, clock)
    guardrails, _ = read_guardrails(estate, CedarEngine())
    charters = tuple(part.value for part in estate.charters.values())
    return _listed(_Laid(estate.central, systems_of(estate), charters), guardrails)


def _listed(laid: _Laid, guardrails: Iterable[Guardrail]) -> list[dict[str, Any]]:
    aside = [(charter.principal, each.rule) for charter in laid.charters for each in charter.exceptions or ()]
    sharing, responses = laid.central.sharing, laid.central.responses
    on_charters = [_on_charters(laid, rule, source) for rule, source in laid.central.charter_rules()]
    on_sharing = [
        _on_sharing(laid, rule, sharing.source_of(f"rules.{at}")) for at, rule in enumerate(sharing.value.rules)
    ]
    on_behaviour = [
        _on_behaviour(laid, rule, responses.source_of(f"rules.{at}")) for at, rule in enumerate(responses.value.rules)
    ]
    told = [*on_charters, *on_sharing, *on_behaviour, *map(_on_calls, guardrails)]
    return [each | {"set_aside_by": sorted(name for name, rule in aside if rule == each["name"])} for each in told]


def _charters(house: House) -> tuple[Charter, ...]:
    known = [p for p in house.live.principals.values() if p.standing is not Standing.RETIRED]

    def read(tx: HouseTransaction) -> tuple[Charter, ...]:
        return tuple(tx.registry.charter_version(p.id, p.version).charter for p in known)

    return house.database.read(read)


def _on_charters(laid: _Laid, rule: CharterRule, source: Source) -> dict[str, Any]:
    told = _on_principals(laid, rule, "charters", ("at_most", "only", "bounded"), source)
    return told | {"force": rule.force.value, "answers": list(rule.answers)}


def _on_behaviour(laid: _Laid, rule: ResponseRule, source: Source) -> dict[str, Any]:
    return _on_principals(laid, rule, "behaviour", ("when", "then", "expires", "release"), source)


def _on_sharing(laid: _Laid, rule: SharingRule, source: Source) -> dict[str, Any]:
    return _on_principals(laid, rule, "sharing", ("proved", "stated", "seen"), source)


def _on_principals(
    laid: _Laid, rule: CharterRule | ResponseRule | SharingRule, what: str, asks: Sequence[str], source: Source
) -> dict[str, Any]:
    """Tell a rule that is for principals by what they are; `asks` are the words in which it says what it asks."""
    written = rule.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {
        "name": rule.id,
        "on": what,
        "force": Force.HARD.value,
        "for": written["for"],
        "asks": {key: written[key] for key in asks if key in written},
        "lifted_by": [],
        "reason": rule.reason,
        "answers": [],
        "source": str(source),
        "concerns": _covered(laid, rule.scope),
    }


def _covered(laid: _Laid, scope: Scope) -> list[str]:
    """Return the principals that a rule is for, by name."""
    classes = laid.central.data.value
    return sorted(
        charter.principal
        for charter in laid.charters
        if scope.covers(charter, risk_of(charter, laid.systems, classes).tier)
    )


def _on_calls(rule: Guardrail) -> dict[str, Any]:
    what = next((told for begins, told in _MADE_BY_FILES.items() if rule.id.startswith(begins)), "calls")
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
