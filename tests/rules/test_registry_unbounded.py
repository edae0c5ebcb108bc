"""Patterns that bound nothing where a bound is meant, rules that ask for bounds, dates of what patterns make."""

from __future__ import annotations

import datetime as dt

import pytest

from charter.core.errors import MalformedError
from charter.registry.charter import Charter
from charter.registry.document import read_document
from charter.registry.manifest import parse_estate
from charter.registry.pattern import CharterPattern, charter_of, render
from charter.registry.problem import EstateError
from estates import PATTERN, PRINCIPAL, SYSTEM, TEAMS, estate_files

TODAY = dt.date(2026, 11, 24)
LATER = dt.date(2029, 2, 28)
LASTING = PATTERN.replace("on: 2026-11-02", "on: today").replace("expires: 2027-11-02", "expires: 365d")
OUTSIDE = """\
charter: v1
system: outside
kind: egress
environment: production
owner: {person: pia@example.com, team: payments-platform}
egress: {}
actions: {tunnel: {effect: write}, request: {effect: write}}
"""
CHARGES = 'objects: ["charge/*"]'


def warnings(files: dict[str, str | None], today: dt.date = TODAY) -> list[str]:
    return [str(each) for each in parse_estate(estate_files(files), today=today).warnings]


def problems(files: dict[str, str | None]) -> list[str]:
    with pytest.raises(EstateError) as caught:
        parse_estate(estate_files(files), today=TODAY)
    return [str(each) for each in caught.value.problems]


def charter(old: str, new: str) -> dict[str, str | None]:
    assert old in PRINCIPAL
    return {"principals/refund-agent.yaml": PRINCIPAL.replace(old, new)}


def outside(objects: str) -> dict[str, str | None]:
    grant = f"  - {{system: outside, actions: [tunnel]{objects}}}\n"
    return {"systems/outside.yaml": OUTSIDE} | charter("delegation:", f"{grant}delegation:")


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (charter("name: claude-*", 'name: "*"'), "principals/refund-agent.yaml:7:36: `*` is any model of `anthropic`"),
        (charter("name: claude-*", 'name: "***"'), "`*` is any model of `anthropic`"),
        (charter(CHARGES, 'objects: ["****"]'), "refund-agent.yaml:14:15: `****` matches every object, as `*` does"),
        (charter(CHARGES, 'objects: ["charge/*", "*"]'), "`*` matches every object, so what stands beside it bounds"),
        (charter(CHARGES, 'objects: ["*"]\n    under: [charge/a]'), "so what stands beside it bounds nothing"),
        (charter("amount: {max: 200 EUR}", 'amount: {max: 200 EUR}, note: {like: "**"}'), "every text is like `**`"),
        (outside(""), "the grant reaches every host there is through `outside`"),
        (outside(', objects: ["*:443"]'), "`*:443` matches hosts of everybody"),
        (outside(', objects: ["*.com:443"]'), "`*.com:443` matches hosts of everybody"),
        (
            {"systems/payments.yaml": SYSTEM + 'groups: {all: {objects: ["a/*", "*"]}}\n'},
            "systems/payments.yaml:16:33: every object is in the group `all`",
        ),
        (
            {
                "teams.yaml": TEAMS
                + 'entitlements: {payments-ops: [{system: payments, actions: ["*"], objects: ["**"]}]}\n'
            },
            "teams.yaml:9:",
        ),
        (
            {
                "duties.yaml": "charter: v1\nduties:\n  - id: apart\n    reason: because\n    parts:\n"
                '      - {system: payments, actions: [charge.read], objects: ["**"]}\n'
                "      - {system: payments, actions: [refund.create]}\n"
            },
            "duties.yaml:6:62: `**` matches every object",
        ),
        (
            {"patterns/small-refunds.yaml": LASTING.replace("claude-*", '"*"')},
            "patterns/small-refunds.yaml:14:38: `*` is any model of `anthropic`",
        ),
        (
            {"patterns/small-refunds.yaml": LASTING.replace('"charge/${principal}-*"', '"**"')},
            "patterns/small-refunds.yaml:18:65: `**` matches every object",
        ),
    ],
)
def test_what_bounds_nothing_is_told_at_its_place(files: dict[str, str | None], told: str) -> None:
    (found,) = warnings(files)
    assert told in found
    assert "; " in found  # and how to mend it


@pytest.mark.parametrize(
    "files",
    [
        {},
        charter(CHARGES, 'objects: ["*"]'),
        charter(f"    {CHARGES}\n", ""),
        charter(
            "model: {provider: anthropic, name: claude-*}",
            'model: {provider: anthropic, name: "*"}\ncomposition: {model: [claude-sonnet-4-5]}',
        ),
        outside(', objects: ["api.example.com:443", "*.example.com:443"]'),
    ],
)
def test_what_is_bounded_or_plainly_left_open_is_not_warned_of(files: dict[str, str | None]) -> None:
    assert warnings(files) == []


BOUNDED = "charter: v1\nrules:\n  - {id: bounds, reason: because, bounded: [model, objects]}\n"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("name: claude-*", 'name: "*"', "refund-agent.yaml:7:36: `bounds` asks for models by name, and `*` is any"),
        (CHARGES, 'objects: ["*"]', "refund-agent.yaml:14:14: `bounds` asks for objects where state is changed"),
        (f"    {CHARGES}\n", "", "`bounds` asks for objects where state is changed"),
    ],
)
def test_a_rule_makes_what_bounds_nothing_a_problem(old: str, new: str, told: str) -> None:
    (found,) = problems(charter(old, new) | {"guardrails/bounds.yaml": BOUNDED})
    assert told in found


def test_what_only_reads_may_be_for_any_object_under_that_rule() -> None:
    reads = PRINCIPAL[: PRINCIPAL.index("grants:")] + "grants: [{system: payments, actions: [charge.read]}]\n"
    files = {
        "principals/refund-agent.yaml": reads + PRINCIPAL[PRINCIPAL.index("review:") :],
        "tests/refunds.yaml": None,
    }
    assert warnings(files | {"guardrails/bounds.yaml": BOUNDED}) == []


# --- dates of patterns ------------------------------------------------------------------------------------------------


def a_pattern(text: str) -> CharterPattern:
    return CharterPattern.model_validate(read_document(text.encode(), "p.yaml").value)


@pytest.mark.parametrize("day", [TODAY, LATER])
def test_a_charter_is_approved_on_the_day_it_is_made_and_holds_as_long_as_its_pattern_says(day: dt.date) -> None:
    made = Charter.model_validate(
        read_document(render(a_pattern(LASTING), {"principal": "eu"}, day).encode(), "").value
    )
    assert (made.approved.on, made.expires) == (day, day + dt.timedelta(days=365))
    assert charter_of(a_pattern(LASTING), {"principal": "eu"}, day) == made


def test_dates_that_are_written_out_stay_and_no_charter_is_made_that_has_run_out() -> None:
    made = charter_of(a_pattern(PATTERN), {"principal": "eu"}, TODAY)
    assert (made.approved.on, made.expires) == (dt.date(2026, 11, 2), dt.date(2027, 11, 2))
    with pytest.raises(MalformedError, match="charters of the pattern `small-refunds` expired on 2027-11-02"):
        render(a_pattern(PATTERN), {"principal": "eu"}, LATER)


def test_a_pattern_whose_charters_are_born_expired_is_told() -> None:
    (told,) = warnings({"principals/refund-agent.yaml": None, "tests/refunds.yaml": None}, LATER)
    assert told == (
        "patterns/small-refunds.yaml:20:12: charters of this pattern expired on 2027-11-02, whenever they are made; "
        "say how long they hold: `expires: 365d`, and `on: today` under `approved`"
    )


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("expires: 365d", "expires: 365", "`365` is no date"),
        ("expires: 365d", "expires: 999999w", "`999999w` is no date"),
        ("review: 90d", "review: soon", "`soon` is no duration"),
        ("on: today", "on: tomorrow", "`tomorrow` is no date"),
    ],
)
def test_a_template_that_no_value_makes_a_charter_is_a_problem_of_the_pattern(old: str, new: str, told: str) -> None:
    (found,) = problems({"patterns/small-refunds.yaml": LASTING.replace(old, new)})
    assert found.startswith("patterns/small-refunds.yaml:")
    assert told in found


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("{max: 200 EUR}", "`max` bounds one side: any `amount` below zero is within it; add `min: 0 EUR`, or"),
        ("{under: 200 EUR}", "`under` bounds one side: any `amount` below zero is within it; add `min: 0 EUR`, or"),
        ("{max: 200 EUR, min: 0 EUR}", ""),
        ("{max: 200 EUR, over: 1 EUR}", ""),
        ("{min: 5 EUR}", ""),
    ],
)
def test_a_bound_that_leaves_all_below_zero_open_is_a_warning(condition: str, told: str) -> None:
    bare = PRINCIPAL.replace("    limit: [{count: 50, per: day}, {sum: amount, max: 2000 EUR, per: day}]\n", "")
    found = warnings({"principals/refund-agent.yaml": bare.replace("{max: 200 EUR}", condition)})
    assert bool(found) == bool(told)
    assert told in "".join(found)
    assert warnings({"principals/refund-agent.yaml": PRINCIPAL.replace("{max: 200 EUR}", condition)}) == [], (
        "what a limit adds up is never below zero"
    )


def test_cedar_beside_a_charter_that_reaches_across_environments_is_a_warning() -> None:
    policy = 'permit (principal, action == Charter::Action::"outside/tunnel", resource);\n'
    there = {"systems/outside.yaml": OUTSIDE.replace("environment: production", "environment: sandbox")}
    (found,) = warnings(there | {"principals/refund-agent.cedar": policy})
    assert found.startswith(
        "principals/refund-agent.cedar:1:1: `refund-agent` runs in production and `outside` in sandbox"
    )
    assert warnings({"systems/outside.yaml": OUTSIDE, "principals/refund-agent.cedar": policy}) == []
