"""What a plan does to what principals may do: for each it touches the effect, what that comes to, who approves.

Of each is told besides which duties are broken then, and which of its rules say nothing then.

Touched are the principals whose charters change, and all others where systems, guardrails or central files do. Charters
that policy reads alike, before and after, are proven once, and told together if they need the same yes.

INVARIANT: whose yes a change needs is found for each charter by itself: who approves it, which pattern it is within.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from pydantic import ValidationError

from charter.core.canonical import canonical
from charter.core.clock import Deadline
from charter.core.errors import CharterError
from charter.proof.duty_change import Breach, Duties, breaches
from charter.proof.duty_check import NO_TIME, Hand, Known, concerns, proven
from charter.proof.effect import CallChange, Effect, Gap, Side, effect_of
from charter.proof.inspection import Inspection, RuleFault, inspect
from charter.proof.route import TIERS, Conclusion, Route, Seat, conclusion_of, route_of, route_past_duties
from charter.proof.search import Means
from charter.proof.surroundings import Surroundings
from charter.proof.terms_of_charter import TermChange, term_changes
from charter.proof.within_pattern import pattern_of
from charter.registry.charter import Charter
from charter.registry.estate import Estate
from charter.registry.plan import Change, ChangeKind, Plan, What
from charter.registry.record import RegisteredEstate
from charter.registry.risk import Tier, risk_of

MAX_BREACHES = 20  # of one principal that are told
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
    breaches: tuple[Breach, ...] = ()  # duties that are broken then
    rules: tuple[RuleFault, ...] = ()  # rules of its that say nothing then
    unread: tuple[str, ...] = ()  # why it is not proven that all its rules say something

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
            "duties": [each.to_json() for each in self.breaches[:MAX_BREACHES]],
            "rules": [each.to_json() for each in self.rules],
            "rules_not_proven": list(self.unread),
        }

    @property
    def is_proven(self) -> bool:
        """Whether nothing of it was left unproven, so that another try could say no more."""
        effect = self.effect
        asked = all(each.broken.is_proven for each in self.breaches)
        return asked and not (effect.gaps or effect.unknown_losses or self.unread)

    @property
    def examples(self) -> tuple[CallChange, ...]:
        """The calls that people see: what is gained first."""
        return (*self.effect.gains, *self.effect.losses)


@dataclass(frozen=True, slots=True)
class Times:
    """The surroundings before and after; None: those before cannot be read any more."""

    before: Surroundings | None
    after: Surroundings


@dataclass(slots=True)
class Progress:
    """What was proven of one plan so far: a try that ran out of time is gone on with by the next one.

    What was not proven is never kept here.
    """

    effects: dict[str, Effect] = field(default_factory=dict)  # by principal
    inspections: dict[str, Inspection] = field(default_factory=dict)
    parts: Known = field(default_factory=dict)  # of duties, after the plan
    parts_before: Known = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Review:
    """How consequences are found: by what means, until when, and up to which tier the owner's team decides.

    `progress`: what earlier tries of the very same plan have proven; what this one proves is added.
    """

    means: Means
    deadline: Deadline
    team_up_to: Tier = Tier.LOW
    progress: Progress = field(default_factory=Progress)


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
    stays = times.before is not None and times.before.digest == times.after.digest
    found = list(_of_changes(changed.values(), estate, current, times, review))
    if not stays:
        found += _of_surroundings(changed.keys(), estate, current, times, review)
    kept = {name for name in changed if name in estate.charters}
    duties = _duties(estate, current, times, review, changed.keys())
    touched = kept if stays else estate.charters.keys()
    broken = breaches(duties, touched, kept, review.means, review.deadline)
    review.progress.parts = proven(duties.known)
    review.progress.parts_before = proven(duties.known_before)
    told = [
        each
        if each.conclusion is Conclusion.SAME and each.principal not in kept  # its rules are those that it had
        else _read(each, estate, times, review)
        for each in _with_breaches(found, broken, estate)
    ]
    return tuple(sorted(told, key=lambda each: each.principal))


def _duties(
    estate: Estate, current: RegisteredEstate, times: Times, review: Review, changed: Collection[str]
) -> Duties:
    """Return the duties after a plan, and who holds what before and after. Nothing is bound before it is asked for."""
    duties = times.after.central.duties.value.duties
    known = times.before.central.duties.value.duties if times.before else ()
    charters = {name: part.value for name, part in estate.charters.items()}
    named = times.after.guardrail_text
    hands = {
        name: Hand(charter, partial(_side, charter, times.after, review.means), _key(charter, named))
        for name, charter in charters.items()
        if any(concerns(each, charter) for each in duties)
    }

    def hand_before(name: str) -> Hand | None:
        before = times.before
        if before is None or name not in current.principals:
            return None
        charter = last_charter(current, name, estate) if name in changed else charters.get(name)
        if charter is None:
            return None
        return Hand(charter, partial(_side, charter, before, review.means), _key(charter, before.guardrail_text))

    changed_ids = frozenset(each.id for each in duties if each not in known)
    progress = review.progress
    return Duties(duties, changed_ids, hands, hand_before, dict(progress.parts), dict(progress.parts_before))


def _side(charter: Charter, among: Surroundings, means: Means) -> Side:
    return Side(among.bind(charter, means.engine), among.systems)


def _with_breaches(
    found: Iterable[Consequence], broken: Mapping[str, tuple[Breach, ...]], estate: Estate
) -> Iterator[Consequence]:
    """Yield consequences, and those of principals whose duties alone are what a plan touches."""
    seen: set[str] = set()
    for each in found:
        names = (each.principal, *each.others)
        seen.update(names)
        kept = tuple(name for name in names if name not in broken)
        if kept:
            yield replace(each, principal=kept[0], others=kept[1:])
        for name in names:
            if name in broken:
                yield _breaking(replace(each, principal=name, others=()), broken[name], estate)
    for name in broken.keys() - seen:
        route = Route(Seat.NOBODY, "", "what it may do stays the same")
        stays = Consequence(name, Conclusion.SAME, route, Effect(), note="its charter stays")
        yield _breaking(stays, broken[name], estate)


def _breaking(found: Consequence, broken: tuple[Breach, ...], estate: Estate) -> Consequence:
    route = route_past_duties(found.route, estate.charters[found.principal].value, broken)
    return replace(found, route=route, breaches=broken)


def _read(found: Consequence, estate: Estate, times: Times, review: Review) -> Consequence:
    """Return a consequence with those rules of its principal that say nothing."""
    part = estate.charters.get(found.principal)
    if part is None:
        return found
    seen = review.progress.inspections.get(found.principal)
    if seen is not None:
        return replace(found, rules=seen.faults)
    if review.deadline.is_past:
        return replace(found, unread=(f"whether each of its rules says something is not proven: {NO_TIME}",))
    try:
        bound = times.after.bind(part.value, review.means.engine, part.sources)
    except CharterError as err:
        return replace(found, unread=(err.detail,))
    seen = inspect(Side(bound, times.after.systems), review.means, is_stopped_told=False)
    if not seen.gaps:
        review.progress.inspections[found.principal] = seen
    gaps = tuple(each.sentence for each in seen.gaps if each not in found.effect.gaps)
    return replace(found, rules=seen.faults, unread=gaps)


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


@dataclass(frozen=True, slots=True)
class _Turned:
    """A charter before and after."""

    before: Charter
    after: Charter
    terms: tuple[TermChange, ...] = ()


def _of_changes(
    changes: Iterable[Change], estate: Estate, current: RegisteredEstate, times: Times, review: Review
) -> Iterator[Consequence]:
    """Yield what changes of charters do; those that are alike before and after are proven once."""
    alike: dict[bytes, list[_Turned]] = {}
    fresh: dict[bytes, list[Charter]] = {}
    named = _guardrails(times)
    rules = frozenset(rule.id for rule, _ in times.after.central.charter_rules())
    for each in changes:
        name = each.name
        if each.change is ChangeKind.WITHDRAW:
            yield _withdrawn(name)
            continue
        before, after = last_charter(current, name, estate), estate.charters[name].value
        if before is not None:
            turned = _Turned(before, after, term_changes(before, after, rules))
            told = canonical([term.to_json() for term in turned.terms])
            alike.setdefault(b"".join((_key(before, named), _key(after, named), told)), []).append(turned)
        elif name not in current.principals:
            fresh.setdefault(_key(after, named), []).append(after)
        else:
            gaps = _unknown(after, "its charter as registered cannot be read")
            yield _routed(after, _Found(Conclusion.UNPROVEN, gaps), times, review)
    for charters in fresh.values():
        yield from _shared(charters, _Found(Conclusion.WIDENS, Effect(), note=_NEW), times, review)
    for together in alike.values():
        first = together[0]
        effect = _effect(first.before, first.after, times, review)
        found = _Found(conclusion_of(effect, first.terms), effect, first.terms)
        yield from _shared([each.after for each in together], found, times, review)


def _shared(charters: Sequence[Charter], found: _Found, times: Times, review: Review) -> Iterator[Consequence]:
    """Yield what is true of all these charters, once for those that need the same yes."""
    by_route: dict[Route, list[Consequence]] = {}
    for each in charters:
        routed = _routed(each, found, times, review)
        by_route.setdefault(routed.route, []).append(routed)
    for first, *others in by_route.values():
        yield replace(first, others=tuple(each.principal for each in others))


def _guardrails(times: Times) -> str:
    """Return the text in which names of principals tell them apart."""
    return times.after.guardrail_text + (times.before.guardrail_text if times.before else "")


def _withdrawn(name: str) -> Consequence:
    route = Route(Seat.NOBODY, "", "it is withdrawn")
    return Consequence(name, Conclusion.NARROWS, route, Effect(), note="it may do nothing any more")


def _effect(before: Charter, after: Charter, times: Times, review: Review) -> Effect:
    known = review.progress.effects.get(after.principal)
    if known is not None:
        return known
    if review.deadline.is_past:
        return _unknown(after, NO_TIME)
    if times.before is None:
        return _unknown(after, "the guardrails or systems that are registered cannot be read")
    try:
        old, new = _side(before, times.before, review.means), _side(after, times.after, review.means)
    except CharterError as err:
        return _unknown(after, err.detail)
    found = effect_of(old, new, review.means)
    if not found.gaps and not found.unknown_losses:
        review.progress.effects[after.principal] = found
    return found


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
    alike: dict[bytes, list[Charter]] = {}
    named = _guardrails(times)
    for name, part in estate.charters.items():
        if name not in changed and name in current.principals:
            alike.setdefault(_key(part.value, named), []).append(part.value)
    for together in alike.values():
        effect = _effect(together[0], together[0], times, review)
        conclusion = conclusion_of(effect, ())
        if conclusion is not Conclusion.SAME:
            yield from _shared(together, _Found(conclusion, effect, note="its charter stays"), times, review)


def _key(charter: Charter, guardrails: str) -> bytes:
    """Return what two charters share exactly if policy reads them alike."""
    told = {name: each for name, each in charter.to_json().items() if name not in _OWN}
    told["owner"] = charter.owner.team
    if f'"{charter.principal}"' in guardrails or charter.policy is not None:
        told["principal"] = charter.principal
    return canonical(told)
