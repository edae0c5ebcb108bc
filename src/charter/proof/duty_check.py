"""Duties held against what principals may do: whether all parts of one come together, in one hand or in two tied ones.

INVARIANT: a part counts as out of a principal's reach only where that is proven. What is not proven counts as reached.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, product
from typing import Any

from charter.core.clock import Deadline
from charter.core.errors import CharterError
from charter.policy.expression import NotModelledError
from charter.proof.authority import reach_of
from charter.proof.effect import Side
from charter.proof.search import Means, Shown, Unproven, find_call
from charter.proof.setting import OBJECT, path_of, template_of
from charter.proof.term import every, like, some
from charter.registry.charter import EVERY_ACTION, Charter
from charter.registry.duty import Duty, DutyPart, Tie


@dataclass(frozen=True, slots=True)
class Broken:
    """A duty that is broken: by whom, what ties them, and one call for each part."""

    duty: str
    reason: str
    principals: tuple[str, ...]
    tie: Tie | None
    calls: tuple[Mapping[str, Any], ...]  # in the order of the duty's parts; who makes it, and the call
    unproven: str | None = None  # why it is not proven; it counts as broken all the same

    @property
    def is_proven(self) -> bool:
        """Whether calls were found for all parts."""
        return self.unproven is None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {
            "duty": self.duty,
            "reason": self.reason,
            "principals": list(self.principals),
            "tie": self.tie.value if self.tie else None,
            "calls": [dict(each) for each in self.calls],
            "proven": self.is_proven,
            "sentence": self.sentence,
        }

    @property
    def sentence(self) -> str:
        """What is wrong, in one sentence."""
        who = " and ".join(f"`{name}`" for name in self.principals)
        together = f" together (tied by {self.tie.value})" if self.tie else ""
        if self.unproven is not None:
            said = f"perhaps may do all parts of `{self.duty}`, which is not proven either way ({self.unproven})"
            return f"{who}{together} {said}: {self.reason}"
        return f"{who}{together} may do all parts of `{self.duty}`: {self.reason}"


@dataclass(frozen=True)
class Hand:
    """One principal: its charter, and what it may do, which is bound when it is first asked for."""

    charter: Charter
    bind: Callable[[], Side]
    key: Hashable = None  # shared by those who may do the same parts: these are looked for once

    @cached_property
    def side(self) -> Side:
        """What it may do, among the systems of its time.

        Raises:
            CharterError: its charter cannot be bound.
        """
        return self.bind()


Parts = Sequence[Shown | Unproven | None]
Known = dict[Hashable, Parts]  # by duty and key
NO_TIME = "there was no time left"


def proven(known: Known) -> Known:
    """Return what is known for sure: what was not proven may be at another try."""
    return {key: parts for key, parts in known.items() if not any(isinstance(each, Unproven) for each in parts)}


def broken_duties(
    duties: Sequence[Duty],
    hands: Mapping[str, Hand],
    means: Means,
    touched: Collection[str] | None = None,
    deadline: Deadline | None = None,
    known: Known | None = None,
) -> Iterator[Broken]:
    """Yield every duty that is broken, by whom; with `touched`, those that one of these principals breaks.

    Once the `deadline` is past, each of them that may concern a duty is yielded as not proven to keep it. What was
    found out of hands with a key is kept in `known`, for those who ask again among the same hands.
    """
    for duty in duties:
        concerned = {name for name, hand in hands.items() if concerns(duty, hand.charter)}
        wanted = concerned if touched is None else concerned & set(touched)
        check = _Check(duty, hands, means, deadline, {} if known is None else known)
        yield from check.alone(sorted(wanted))
        yield from check.together(concerned, wanted)


@dataclass(slots=True)
class _Check:
    """One duty held against principals."""

    duty: Duty
    hands: Mapping[str, Hand]
    means: Means
    deadline: Deadline | None
    known: Known
    broken: set[str] = field(default_factory=set)  # who breaks it alone

    def alone(self, names: Iterable[str]) -> Iterator[Broken]:
        """Yield those who may do all parts by themselves."""
        for name in names:
            if all(self._reached(name)):
                self.broken.add(name)
                yield self._broken((name,), None)

    def together(self, concerned: Collection[str], wanted: set[str]) -> Iterator[Broken]:
        """Yield tied pairs of `concerned`, one of them `wanted`, who may do all parts together and neither alone."""
        charters = {name: self.hands[name].charter for name in concerned}
        for tie in self.duty.tied:
            for group in _groups(tie, charters):
                if wanted.isdisjoint(group):
                    continue
                for pair in self._complements(group):
                    if self._is_late:
                        yield from (self._late(name) for name in sorted(wanted - self.broken))
                        return
                    if not wanted.isdisjoint(pair) and _first_tie(self.duty, *map(charters.__getitem__, pair)) is tie:
                        yield self._broken(pair, tie)

    def _complements(self, group: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Yield the pairs of a group that may do all parts together: those who may do the same never do."""
        by_parts: dict[int, list[str]] = {}
        whole = (1 << len(self.duty.parts)) - 1
        for name in group:
            mine = sum(1 << index for index, each in enumerate(self._reached(name)) if each)
            if mine and mine != whole:  # who may do all of it alone is told alone
                by_parts.setdefault(mine, []).append(name)
        for one, other in combinations(sorted(by_parts), 2):
            if one | other == whole:
                yield from ((min(pair), max(pair)) for pair in product(by_parts[one], by_parts[other]))

    @property
    def _is_late(self) -> bool:
        return self.deadline is not None and self.deadline.is_past

    def _reached(self, name: str) -> Parts:
        hand = self.hands[name]
        key = (self.duty.id, name if hand.key is None else hand.key)
        if key not in self.known:
            found = [self._part(part, hand) for part in self.duty.parts]
            if self._is_late:
                return found
            self.known[key] = found
        return self.known[key]

    def _part(self, part: DutyPart, hand: Hand) -> Shown | Unproven | None:
        if not _names(hand.charter, part):
            return None
        if self._is_late:
            return Unproven(NO_TIME)
        try:
            return _part(part, hand.side, self.means)
        except CharterError as err:
            return Unproven(err.detail)

    def _late(self, name: str) -> Broken:
        return Broken(self.duty.id, self.duty.reason, (name,), None, (), unproven=NO_TIME)

    def _broken(self, names: tuple[str, ...], tie: Tie | None) -> Broken:
        calls: list[dict[str, Any]] = []
        unproven: str | None = None
        for found in zip(*map(self._reached, names), strict=True):
            shown = [(name, each) for name, each in zip(names, found, strict=True) if isinstance(each, Shown)]
            calls += [{"principal": name, "call": each.example.to_json()} for name, each in shown[:1]]
            if not shown:
                unproven = next(each.why for each in found if isinstance(each, Unproven))
        return Broken(self.duty.id, self.duty.reason, names, tie, tuple(calls), unproven)


def concerns(duty: Duty, charter: Charter) -> bool:
    """Whether a charter says anything of an action of a duty."""
    return any(_names(charter, part) for part in duty.parts)


def _names(charter: Charter, part: DutyPart) -> bool:
    """Whether a charter says anything of an action of this part: if not, it surely may not do it."""
    granted = {name for grant in charter.grants if grant.system == part.system for name in grant.actions}
    granted |= {name for system, name in charter.policy_actions if system == part.system}
    return EVERY_ACTION in granted or not granted.isdisjoint(part.actions)


def _part(part: DutyPart, side: Side, means: Means) -> Shown | Unproven | None:
    """Return a call of this part that the principal may make by itself."""
    unknown: Unproven | None = None
    for name in part.actions:
        action = (part.system, name)
        if action not in side.actions:
            continue
        try:
            reach = reach_of(side.bound, side.systems, action, means.engine)
        except NotModelledError as err:
            unknown = Unproven(str(err))
            continue
        template = template_of(side.systems[part.system], name)
        path = OBJECT if template is None else path_of(template)
        is_of_it = some(like(path, tuple(each.split("*"))) for each in part.objects)
        found = find_call(every((reach.allowed_unasked, is_of_it)), (reach,), means)
        if isinstance(found, Shown):
            return found
        unknown = found or unknown
    return unknown


def _groups(tie: Tie, charters: Mapping[str, Charter]) -> Iterator[Sequence[str]]:
    """Yield those who act as one by a tie, each group in the order of names."""
    if tie is Tie.DELEGATION:
        lent = [(name, to) for name, each in charters.items() for to in (each.delegation.to if each.delegation else ())]
        known = {(min(pair), max(pair)) for pair in lent if pair[1] in charters and pair[0] != pair[1]}
        yield from sorted(pair for pair in known if _are_lent(charters[pair[0]], charters[pair[1]]))
        return
    groups: dict[str, list[str]] = {}
    for name in sorted(charters):
        owner = charters[name].owner
        groups.setdefault(owner.person if tie is Tie.OWNER else owner.team, []).append(name)
    yield from groups.values()


def _first_tie(duty: Duty, one: Charter, other: Charter) -> Tie | None:
    ties = {
        Tie.OWNER: one.owner.person == other.owner.person,
        Tie.TEAM: one.owner.team == other.owner.team,
        Tie.DELEGATION: _are_lent(one, other),
    }
    return next((each for each in duty.tied if ties[each]), None)


def _are_lent(one: Charter, other: Charter) -> bool:
    return _lends(one, other) or _lends(other, one)


def _lends(lender: Charter, borrower: Charter) -> bool:
    """Whether both charters say so."""
    to, source = lender.delegation, borrower.delegation
    return bool(to and source and borrower.principal in to.to and lender.principal in source.source)
