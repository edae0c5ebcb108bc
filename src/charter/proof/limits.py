"""Limits over windows, compared by what they say: Cedar keeps no counts, so no solver is asked.

A grant's limits are as wide as another's if every one of them is kept wherever the other's are: the same thing
counted, no fewer of it, in the same window or a shorter one. What cannot be compared so is not as wide.

INVARIANT: a counter of before stands in for one counter of after, never for two: who may do something fifty times a
day by two grants each may do it a hundred times.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from charter.policy.grant import GrantRule, LimitRule
from charter.policy.own import OwnPermit
from charter.registry.unit import told_in
from charter.registry.window import Window

_SECONDS = {"minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
Rule = GrantRule | OwnPermit
Counterparts = Mapping[str, frozenset[str]]


def limits_of(rule: Rule) -> tuple[LimitRule, ...]:
    """Return the limits of a grant; what stands beside a charter has none."""
    return rule.limits if isinstance(rule, GrantRule) else ()


def counterparts(before: Iterable[Rule], after: Iterable[Rule]) -> Counterparts:
    """Return for each rule of after, by id, those of before whose limits are as wide as its own, or wider."""
    olds, news = list(before), list(after)
    free = frozenset(each.id for each in olds if not limits_of(each))
    found = {each.id: set(free) for each in news}
    known = {each.id: each for each in news}
    left = []
    for old in olds:
        same = known.get(old.id)
        if limits_of(old) and same is not None and are_as_wide(limits_of(old), limits_of(same)):
            found[same.id].add(old.id)  # a grant that stays keeps its counter
        elif limits_of(old):
            left.append(old)
    met = {name for name, ids in found.items() if ids - free}
    for old in left:
        fitting = (each for each in news if are_as_wide(limits_of(old), limits_of(each)))
        heir = min(fitting, key=lambda each: each.id in met, default=None)
        if heir is not None:
            found[heir.id].add(old.id)
            met.add(heir.id)
    return {name: frozenset(ids) for name, ids in found.items()}


def are_as_wide(wide: Sequence[LimitRule], narrow: Sequence[LimitRule]) -> bool:
    """Whether all that keeps within `narrow` surely keeps within `wide`."""
    return all(any(_follows(each, other) for other in narrow) for each in wide)


def _follows(wide: LimitRule, narrow: LimitRule) -> bool:
    return _measure(wide) == _measure(narrow) and narrow.ceiling <= wide.ceiling and _spans(narrow.window, wide.window)


def _measure(rule: LimitRule) -> tuple[str | None, str | None]:
    limit = rule.limit
    return limit.sum, told_in(limit.max.unit) if limit.max else None


def _spans(longer: Window, shorter: Window) -> bool:
    """Whether every window of the one kind lies within a window of the other."""
    if longer == shorter:
        return True
    if longer.seconds is None:
        return False
    if shorter.seconds is not None:
        return longer.seconds >= shorter.seconds
    seconds = _SECONDS.get(shorter.per or "")
    return (
        seconds is not None
        and (shorter.zone == "UTC" or shorter.per in ("minute", "hour"))
        and (longer.seconds >= seconds)
    )
