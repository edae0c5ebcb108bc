"""Charters that are alike are proven once and told together, but never share whose yes they need."""

from __future__ import annotations

from typing import Any

from charter.bootstrap.file_diff import compare
from estates import TEAMS, another_principal, estate_files
from fakes import FixedClock

GUARDED = (
    '@id("held") @reason("held") forbid (principal, action, resource) when {{ resource.path like "charge/{part}*" }};\n'
)
ROLES = TEAMS.replace("roles:\n", "roles:\n  support-lead: [jo@example.com]\n")
RISK, LEAD = "role: payments-risk", "role: support-lead"


def an_estate(*names: str, guarded: str = "x", amount: str = "200 EUR", lead: str = "") -> dict[str, str]:
    """Return an estate of principals that are alike; the one called `lead` is approved by another role."""
    files: dict[str, str | None] = {"tests/refunds.yaml": None, "teams.yaml": ROLES}
    files["guardrails/amounts.cedar"] = GUARDED.format(part=guarded)
    for name in names:
        text = another_principal(name)[f"principals/{name}.yaml"].replace("200 EUR", amount)
        files[f"principals/{name}.yaml"] = text.replace(RISK, LEAD) if name == lead else text
    return estate_files(files)


def planned(before: dict[str, str], after: dict[str, str]) -> dict[str, Any]:
    return compare(before, after, FixedClock(), 60.0)


def told(plan: dict[str, Any]) -> dict[str, tuple[str, list[str], str | None]]:
    return {each["principal"]: (each["conclusion"], each["others"], each["route"]["seat"]) for each in plan["effects"]}


def test_the_same_change_of_charters_that_are_alike_is_proven_once() -> None:
    names = [f"alike-{n}" for n in range(5)]
    plan = planned(an_estate(*names), an_estate(*names, amount="210 EUR"))
    assert told(plan) == {names[0]: ("widens", names[1:], "role:payments-risk")}
    assert plan["review"]["needs"][0]["for"] == names


def test_those_that_are_new_and_alike_are_told_together() -> None:
    names = ["alike-1", "alike-2", "alike-3"]
    found = told(planned(an_estate(), an_estate(*names, lead="alike-2")))
    assert found == {
        "alike-1": ("widens", ["alike-3"], "role:payments-risk"),
        "alike-2": ("widens", [], "role:support-lead"),
    }


def test_a_change_that_differs_is_told_apart() -> None:
    names = ["alike-1", "alike-2"]
    after = an_estate(*names, amount="210 EUR") | {
        path: text for path, text in an_estate("alike-2", amount="150 EUR").items() if "alike-2" in path
    }
    found = told(planned(an_estate(*names), after))
    assert {name: each[0] for name, each in found.items()} == {"alike-1": "widens", "alike-2": "narrows"}


def test_those_that_another_role_approves_need_its_yes_though_their_charters_stay() -> None:
    names = ["alike-1", "alike-2", "alike-3"]
    before, after = (an_estate(*names, guarded=part, lead="alike-2") for part in ("x", "xy"))
    plan = planned(before, after)
    found = {name: each for name, each in told(plan).items() if name.startswith("alike")}
    assert found == {
        "alike-1": ("widens", ["alike-3", "refund-agent"], "role:payments-risk"),
        "alike-2": ("widens", [], "role:support-lead"),
    }
    assert {"role:payments-risk", "role:support-lead"} <= {each["seat"] for each in plan["review"]["needs"]}


def test_those_that_another_role_approves_need_its_yes_where_their_charters_change_alike() -> None:
    names = ["alike-1", "alike-2"]
    before, after = (an_estate(*names, amount=most, lead="alike-2") for most in ("200 EUR", "220 EUR"))
    seats = {name: each[2] for name, each in told(planned(before, after)).items()}
    assert seats == {"alike-1": "role:payments-risk", "alike-2": "role:support-lead"}
