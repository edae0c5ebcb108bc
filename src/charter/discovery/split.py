"""What separates the senders behind one principal, and how sure that is: an addition anyone can do by hand.

    coverage     the share of calls of which the feature is known
    steadiness   the share of tokens that were never used under two of its values
    weight       the share of calls in groups of at least five: keys that live for one call tell nobody apart
    apartness    how little the groups do what the others do: 0 all do the same, 1 none does what another does
    trust        1 what is proved (workload, credential, key, initiator), 0.8 a program's word, 0.6 a place, 0.4 hours

    confidence = coverage x steadiness x weight x trust x (0.5 + 0.5 x apartness)

The surest feature with two groups or more is taken, unless a person names one, or several together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from charter.core.clock import rfc3339
from charter.discovery.uses import Feature, Tally, Uses

LEAST_CALLS = 5  # of a group
MAX_GROUPS = 12
QUIET_HOURS = 3  # that separate one stretch of the day from the next
UNKNOWN = "not known"
TRUST = {
    Feature.WORKLOAD: 1.0,
    Feature.CREDENTIAL: 1.0,
    Feature.KEY: 1.0,
    Feature.INITIATOR: 1.0,
    Feature.CLIENT: 0.8,
    Feature.PLACE: 0.6,
    Feature.HOURS: 0.4,
}
_DAY = 24
_HIGH, _MEDIUM = 0.7, 0.4


@dataclass(frozen=True, slots=True)
class Group:
    """The calls that one value, or one combination of values, of the separating features stands for."""

    values: tuple[tuple[Feature, str], ...]
    tally: Tally

    @property
    def label(self) -> str:
        """The values in words."""
        return ", ".join(value for _, value in self.values)


@dataclass(frozen=True, slots=True)
class Separation:
    """One way to tell senders apart, and how well it does."""

    features: tuple[Feature, ...]
    groups: tuple[Group, ...]  # those with calls enough, most calls first
    rest: Tally  # calls of which the features are not known, or of groups too small
    coverage: float
    steadiness: float
    weight: float
    apartness: float

    @property
    def confidence(self) -> float:
        """How far one may rest on it, from 0 to 1; nothing rests on what separates nobody."""
        if len(self.groups) < 2 or len(self.groups) > MAX_GROUPS:  # noqa: PLR2004 - one group is no separation
            return 0.0
        trust = min(TRUST[each] for each in self.features)
        return self.coverage * self.steadiness * self.weight * trust * (0.5 + 0.5 * self.apartness)

    @property
    def word(self) -> str:
        """The confidence in a word."""
        return "high" if self.confidence >= _HIGH else "medium" if self.confidence >= _MEDIUM else "low"

    def to_json(self) -> dict[str, Any]:
        """Return it as it stands in answers; shares in percent."""
        return {
            "by": [each.value for each in self.features],
            "groups": len(self.groups),
            "confidence": percent(self.confidence),
            "word": self.word,
            "coverage": percent(self.coverage),
            "steadiness": percent(self.steadiness),
            "weight": percent(self.weight),
            "apartness": percent(self.apartness),
        }


def percent(share: float) -> int:
    """Return a share as a whole percentage."""
    return round(share * 100)


def separations(uses: Uses) -> list[Separation]:
    """Return each feature as a separation, the surest first."""
    found = [separated(uses, (feature,)) for feature in Feature]
    return sorted(found, key=lambda each: (-each.confidence, list(Feature).index(each.features[0])))


def separated(uses: Uses, features: Sequence[Feature]) -> Separation:
    """Return the calls of `uses` told apart by `features`, taken together."""
    stretches = _stretches(uses) if Feature.HOURS in features else {}
    found: dict[tuple[tuple[Feature, str], ...], Tally] = {}
    rest = Tally()
    for sender, tally in uses.by_sender.items():
        known = dict(sender)
        if Feature.HOURS in known:
            known[Feature.HOURS] = stretches.get(known[Feature.HOURS], "all day")
        values = tuple((each, known[each]) for each in features if each in known)
        (found.setdefault(values, Tally()) if len(values) == len(features) else rest).merge(tally)
    known_calls = sum(tally.calls for tally in found.values())
    groups = [Group(values, tally) for values, tally in found.items() if tally.calls >= LEAST_CALLS]
    for tally in found.values():
        if tally.calls < LEAST_CALLS:
            rest.merge(tally)
    groups.sort(key=lambda each: (-each.tally.calls, each.label))
    return Separation(
        tuple(features),
        tuple(groups),
        rest,
        coverage=known_calls / uses.calls if uses.calls else 0.0,
        steadiness=min((uses.steadiness(each) for each in features if each is not Feature.HOURS), default=1.0),
        weight=sum(each.tally.calls for each in groups) / known_calls if known_calls else 0.0,
        apartness=_apartness(groups),
    )


def told_group(group: Group) -> dict[str, Any]:
    """Return a group as it stands in answers."""
    tally = group.tally
    return {
        "values": {feature.value: value for feature, value in group.values},
        "calls": tally.calls,
        "days": len(tally.days),
        "first": rfc3339(tally.first) if tally.first else None,
        "last": rfc3339(tally.last) if tally.last else None,
        "hours": hours_in_words(tally.hours),
        "did": [
            {"system": system, "action": action, "calls": calls}
            for (system, action), calls in sorted(_by_action(tally).items(), key=lambda each: (-each[1], each[0]))
        ],
        "refused": [
            {"system": system, "action": action, "calls": calls}
            for (system, action), calls in tally.refused.most_common(20)
        ],
    }


def hours_in_words(hours: Mapping[int, int]) -> str:
    """Return the hours of the day, UTC, as stretches: `08-17`."""
    return ", ".join(dict.fromkeys(_stretch_of(set(hours)).values())) or "never"


def _by_action(tally: Tally) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for (system, action, _), deed in tally.deeds.items():
        found[system, action] += deed.calls
    return found


def _apartness(groups: Sequence[Group]) -> float:
    """Return how little any two groups have in common, on the average."""
    pairs = [(one.tally.actions, other.tally.actions) for one, other in combinations(groups, 2)]
    shared = [len(one & other) / min(len(one), len(other)) for one, other in pairs if one and other]
    return 1 - sum(shared) / len(shared) if shared else 0.0


def _stretches(uses: Uses) -> dict[str, str]:
    """Return which stretch of the day each hour belongs to, where at least three hours are quiet in between."""
    hours = {int(dict(sender)[Feature.HOURS]) for sender in uses.by_sender if Feature.HOURS in dict(sender)}
    return {f"{hour:02}": stretch for hour, stretch in _stretch_of(hours).items()}


def _stretch_of(hours: set[int]) -> dict[int, str]:
    """Return the stretch of each hour; the day is a circle, and a stretch may cross midnight."""
    if not hours:
        return {}
    ordered = sorted(hours)
    starts = [
        hour
        for before, hour in zip([ordered[-1] - _DAY, *ordered], ordered, strict=False)
        if hour - before > QUIET_HOURS
    ]
    if not starts:
        return dict.fromkeys(ordered, "all day")
    found: dict[int, str] = {}
    for number, start in enumerate(starts):
        following = starts[(number + 1) % len(starts)]
        within = [hour for hour in ordered if _is_between(start, hour, following)]
        end = max(within, key=lambda hour, start=start: (hour - start) % _DAY)  # type: ignore[misc]
        found |= dict.fromkeys(within, f"{start:02}-{(end + 1) % _DAY:02}")
    return found


def _is_between(start: int, hour: int, following: int) -> bool:
    """Whether `hour` comes at or after `start` and before `following`, around the clock."""
    span = (following - start) % _DAY or _DAY
    return (hour - start) % _DAY < span
