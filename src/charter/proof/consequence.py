"""What a plan does to what principals may do: for each it touches the effect, what that comes to, who approves.

Touched are the principals whose charters change, and all others where systems, guardrails or central files do. Charters
that differ in nothing that policy reads are proven once, for all who hold them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from charter.core.canonical import canonical
from charter.core.clock import Deadline
from charter.core.errors import CharterError
from charter.proof.effect import CallChange, Effect, Gap, Side, effect_of
from charter.proof.route import TIERS, Conclusion, Route, Seat, conclusion_of, route_of
from charter.proof.search import Means
from charter.proof.surroundings import Surroundings
from charter.proof.terms_of_charter import TermChange, term_changes
from charter.proof.within_pattern import pattern_of
from charter.registry.charter import Charter
from charter.registry.estate import Estate
from charter.registry.plan import Change, ChangeKind, Plan, What
from charter.registry.record import RegisteredEstate
from charter.registry.risk import Tier, risk_of

_NEW = "everything it may do is new"
_OWN = ("principal", "purpose", "approved", "credential", "review", "expires")  # no policy reads these


@dataclass(frozen=True, slots=True)
class Consequence:
    """What a plan does to what one principal may do."""

    principal: str
    conclusion: Conclusion
    route: Route
    effect: Effect
    terms: tuple[TermChange, ...] = ()
    others: tuple[str, ...] = ()  # principals with the same charter, of whom the same is true
    note: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the consequence as plain JSON."""
        return {
            "principal": self.principal,
            "conclusion": self.conclusion.value,
            "route": self.route.to_json(),
            "gains": [each.to_json() for each in self.effect.gains],
            "losses": [each.to_json() for each in self.effect.losses],
            "not_proven": [each.sentence for each in self.effect.gaps],
            "terms": [each.to_json() for each in self.terms],
            "others": list(self.others),
            "note": self.note,
        }

    @property
    def examples(self) -> tuple[CallChange, ...]:
        """The calls that people see: what is gained first."""
        return (*self.effect.gains, *self.effect.losses)


@dataclass(frozen=True, slots=True)
class Times:
    """The surroundings before and after; None: those before cannot be read any more."""

    before: Surroundings | None
    after: Surroundings


@dataclass(frozen=True, slots=True)
class Review:
    """How consequences are found: by what means, until when, and up to which tier the owner's team decides."""

    means: Means
    deadline: Deadline
    team_up_to: Tier = Tier.LOW


@dataclass(frozen=True, slots=True)
class _Found:
    """What a change comes to, before anybody is asked to approve it."""

    conclusion: Conclusion
    effect: Effect
    terms: tuple[TermChange, ...] = ()
    note: str | None = None


def consequences(
    plan: Plan, estate: Estate, current: RegisteredEstate, times: Times, review: Review
) -> tuple[Consequence, ...]:
    """Return what `plan` does to what principals may do, by name."""
    changed = {each.name: each for each in plan.changes if each.what is What.PRINCIPAL}
    found = [_of_change(each, estate, current, times, review) for each in changed.values()]
    if times.before is None or times.before.digest != times.after.digest:
        found += _of_surroundings(changed.keys(), estate, current, times, review)
    return tuple(sorted(found, key=lambda each: each.principal))


def last_charter(current: RegisteredEstate, name: str, estate: Estate) -> Charter | None:
    """Return the charter in force of a principal; None if there is none, or none that can be read."""
    known = current.principals.get(name)
    if known is None or not known.is_intact:
        return None
    if known.charter is None:
        return estate.charters[name].value if name in estate.charters else None
    try:
        return Charter.model_validate(known.charter)
    except ValidationError:
        return None


def _of_change(change: Change, estate: Estate, current: RegisteredEstate, times: Times, review: Review) -> Consequence:
    name = change.name
    before = last_charter(current, name, estate)
    after = estate.charters[name].value if change.change is not ChangeKind.WITHDRAW else None
    if after is None:
        return _withdrawn(name)
    if before is None and name not in current.principals:
        return _routed(after, _Found(Conclusion.WIDENS, Effect(), note=_NEW), times, review)
    if before is None:
        gaps = _unknown(after, "its charter as registered cannot be read")
        return _routed(after, _Found(Conclusion.UNPROVEN, gaps), times, review)
    rules = frozenset(rule.id for rule, _ in times.after.central.charter_rules())
    terms = term_changes(before, after, rules)
    effect = _effect(before, after, times, review)
    return _routed(after, _Found(conclusion_of(effect, terms), effect, terms), times, review)


def _withdrawn(name: str) -> Consequence:
    route = Route(Seat.NOBODY, "", "it is withdrawn")
    return Consequence(name, Conclusion.NARROWS, route, Effect(), note="it may do nothing any more")


def _effect(before: Charter, after: Charter, times: Times, review: Review) -> Effect:
    if review.deadline.is_past:
        return _unknown(after, "there was no time left")
    if times.before is None:
        return _unknown(after, "the guardrails or systems that are registered cannot be read")
    engine = review.means.engine
    try:
        old = Side(times.before.bind(before, engine), times.before.systems)
        new = Side(times.after.bind(after, engine), times.after.systems)
    except CharterError as err:
        return _unknown(after, err.detail)
    return effect_of(old, new, review.means)


def _unknown(charter: Charter, why: str) -> Effect:
    return Effect(gaps=tuple(Gap((grant.system, ", ".join(grant.actions)), why) for grant in charter.grants))


def _routed(charter: Charter, found: _Found, times: Times, review: Review) -> Consequence:
    conclusion = found.conclusion
    tier = risk_of(charter, times.after.systems, times.after.central.data.value).tier
    pattern = None
    is_asked = conclusion in (Conclusion.WIDENS, Conclusion.UNPROVEN)
    if is_asked and TIERS.index(tier) <= TIERS.index(review.team_up_to) and not review.deadline.is_past:
        approved = times.before.patterns if times.before else {}
        pattern = pattern_of(charter, times.after, approved, review.means)
    route = route_of(conclusion, charter, tier, pattern, review.team_up_to)
    return Consequence(charter.principal, conclusion, route, found.effect, found.terms, note=found.note)


def _of_surroundings(
    changed: Collection[str], estate: Estate, current: RegisteredEstate, times: Times, review: Review
) -> Iterator[Consequence]:
    """Yield what a change of systems or guardrails does to those whose charters stay."""
    groups: dict[bytes, list[str]] = {}
    named = times.after.guardrail_text + (times.before.guardrail_text if times.before else "")
    for name, part in estate.charters.items():
        if name not in changed and name in current.principals:
            groups.setdefault(_key(part.value, named), []).append(name)
    for first, *others in groups.values():
        charter = estate.charters[first].value
        effect = _effect(charter, charter, times, review)
        conclusion = conclusion_of(effect, ())
        if conclusion is not Conclusion.SAME:
            found = _routed(charter, _Found(conclusion, effect, note="its charter stays"), times, review)
            yield replace(found, others=tuple(others))


def _key(charter: Charter, guardrails: str) -> bytes:
    """Return what two charters share exactly if policy reads them alike."""
    told = {name: each for name, each in charter.to_json().items() if name not in _OWN}
    told["owner"] = charter.owner.team
    if f'"{charter.principal}"' in guardrails or charter.policy is not None:
        told["principal"] = charter.principal
    return canonical(told)
