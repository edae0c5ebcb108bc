"""A plan that runs out of time: what was not proven is tried again by whoever looks again."""

from __future__ import annotations

from typing import Any

from charter.bootstrap.file_diff import as_registered, compare
from charter.bootstrap.proofs import consequences_of
from charter.registry import plan as planning
from charter.registry.manifest import parse_estate
from estates import PRINCIPAL, estate_files
from fakes import FixedClock, SteppingClock

SECONDS = 20.0
MANY = 6


def many(amount: str) -> dict[str, str]:
    """Return an estate of principals who may refund so much; no other module plans with these names."""
    changed = {
        f"principals/late-{n}.yaml": PRINCIPAL.replace("principal: refund-agent", f"principal: late-{n}")
        .replace("200 EUR", amount)
        .replace("count: 50", f"count: {50 + n}")  # no two alike, so each is proven by itself
        for n in range(MANY)
    }
    return estate_files({"tests/refunds.yaml": None, **changed})


def unproven(told: dict[str, Any]) -> list[str]:
    return [e["principal"] for e in told["effects"] if e["not_proven"] or e["rules_not_proven"]]


def test_what_ran_out_of_time_is_proven_by_looking_again() -> None:
    before, after = many("200 EUR"), many("211 EUR")
    late = compare(before, after, SteppingClock(30), SECONDS)
    assert {each["conclusion"] for each in late["effects"]} == {"not proven"}
    assert unproven(compare(before, after, FixedClock(), SECONDS)) == []


def test_each_try_goes_on_where_the_one_before_stopped() -> None:
    before, after = many("200 EUR"), many("212 EUR")
    left = [len(unproven(compare(before, after, SteppingClock(6), SECONDS))) for _ in range(3 * MANY)]
    assert left[0] > left[-1] == 0
    assert left == sorted(left, reverse=True)


def test_whoever_approves_and_applies_decides_on_what_was_shown() -> None:
    before, after = many("200 EUR"), many("213 EUR")
    estate, current = parse_estate(after), as_registered(parse_estate(before))
    plan, clock = planning.plan(estate, current), FixedClock()
    shown = consequences_of(plan, estate, current, SteppingClock(30), SECONDS)
    assert consequences_of(plan, estate, current, clock, SECONDS) is shown
    proven = consequences_of(plan, estate, current, clock, SECONDS, is_tried_again=True)
    assert all(each.is_proven for each in proven)
    assert consequences_of(plan, estate, current, clock, SECONDS) is proven
