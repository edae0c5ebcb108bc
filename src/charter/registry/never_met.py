"""What a grant's own numbers rule out: conditions that no amount satisfies, approvals that nobody is ever asked for.

Each is most likely a slip of the pen, and none of them makes a file mean more than it says: they are warnings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from charter.registry.field import Quantity
from charter.registry.grant import ArgumentCondition, Grant
from charter.registry.unit import FACTORS, told_in


@dataclass(frozen=True, slots=True)
class NeverMet:
    """A slip: the dotted path of what is never met within the grant, what is wrong, and how to mend it."""

    path: str
    text: str
    help: str


@dataclass(frozen=True, slots=True)
class _Bound:
    """One end of a range of amounts, in the unit that they are told in."""

    quantity: Quantity
    amount: Decimal
    is_open: bool  # whether the amount itself is outside


def never_met(grant: Grant) -> Iterator[NeverMet]:
    """Yield what can never be true of a call under `grant`, in the order of its file."""
    granted = grant.when.arguments if grant.when else {}
    approval = (grant.approval.when if grant.approval else None) or {}
    for name, condition in granted.items():
        yield from _empty(f"when.{name}", name, condition, "no call is ever allowed by it")
    for number, limit in enumerate(grant.limit):
        if limit.sum in granted and limit.max is not None:
            yield from _other_unit(f"limit.{number}.max", limit.sum, limit.max, granted)
    yield from _two_units(grant)
    for name, condition in approval.items():
        path = f"approval.when.{name}"
        slips = [*_empty(path, name, condition, "nobody is ever asked"), *_unit_of(path, name, condition, granted)]
        yield from slips
        if not slips and name in granted and _misses(granted[name], condition):
            highest = _end(granted[name], upper=True)
            text = f"`{name}` is never over {highest.quantity if highest else ''} here, so nobody is ever asked"
            yield NeverMet(path, text, "ask from a lower amount on, or remove the condition")


def _two_units(grant: Grant) -> Iterator[NeverMet]:
    """Yield limits that add up one amount in another unit than a limit before: a call is counted by all of them."""
    first: dict[str, Quantity] = {}
    for number, limit in enumerate(grant.limit):
        if limit.sum is None or limit.max is None or limit.max.unit is None:
            continue
        other = first.setdefault(limit.sum, limit.max)
        if told_in(other.unit) != told_in(limit.max.unit):
            text = f"`{limit.sum}` is added up in `{limit.max.unit}` here and in `{other.unit}` before"
            help = "a call is counted by every limit of its grant; write a grant for each unit"
            yield NeverMet(f"limit.{number}.max", f"{text}: no call is in both", help)


def _empty(path: str, name: str, condition: ArgumentCondition, so: str) -> Iterator[NeverMet]:
    low, high = _end(condition, upper=False), _end(condition, upper=True)
    if low is not None and high is not None and _are_apart(low, high):
        text = f"no `{name}` is at least {low.quantity} and at most {high.quantity}, so {so}"
        yield NeverMet(path, text, "put the two the other way round, or remove one")


def _misses(granted: ArgumentCondition, asked: ArgumentCondition) -> bool:
    """Whether every amount that is granted is less than what is asked about."""
    low, high = _end(asked, upper=False), _end(granted, upper=True)
    return low is not None and high is not None and _are_apart(low, high)


def _are_apart(low: _Bound, high: _Bound) -> bool:
    if low.amount == high.amount:
        return low.is_open or high.is_open
    return low.amount > high.amount


def _end(condition: ArgumentCondition, *, upper: bool) -> _Bound | None:
    """Return the tighter of a condition's two bounds at one end; None: it has none there."""
    closed, opened = (condition.max, condition.under) if upper else (condition.min, condition.over)
    found = [_Bound(each, _told(each), is_open) for each, is_open in ((closed, False), (opened, True)) if each]
    sign = 1 if upper else -1
    return min(found, key=lambda each: (sign * each.amount, not each.is_open), default=None)


def _told(quantity: Quantity) -> Decimal:
    return quantity.value * FACTORS.get(quantity.unit or "", ("", Decimal(1)))[1]


def _unit_of(
    path: str, name: str, condition: ArgumentCondition, granted: Mapping[str, ArgumentCondition]
) -> Iterator[NeverMet]:
    own = _any(condition)
    if own is not None and name in granted:
        yield from _other_unit(path, name, own, granted)


def _other_unit(path: str, name: str, own: Quantity, granted: Mapping[str, ArgumentCondition]) -> Iterator[NeverMet]:
    other = _any(granted[name])
    if other is not None and told_in(own.unit) != told_in(other.unit):
        said = f"`{own.unit}`" if own.unit else "no unit"
        text = f"`{name}` has {said} here and {f'`{other.unit}`' if other.unit else 'none'} under `when`"
        yield NeverMet(
            path, f"{text}: no amount is both", f"write {own.value.normalize():f} {other.unit or ''}".strip()
        )


def _any(condition: ArgumentCondition) -> Quantity | None:
    found = (condition.max, condition.min, condition.over, condition.under)
    return next((each for each in found if each is not None), None)
