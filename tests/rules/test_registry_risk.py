"""The tier of risk is a sum that anyone can do by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import PAYMENTS_SYSTEM, a_charter, a_system
from charter.registry.data_class import DataClasses, Level
from charter.registry.risk import FROM, Factor, Risk, Tier, risk_of

NONE = DataClasses(charter="v1")


def levels(**of: str) -> DataClasses:
    return DataClasses.model_validate(
        {"charter": "v1", "classes": {name.replace("_", "-"): {"level": of[name]} for name in of}}
    )


def risk(*, system: dict[str, Any] | None = None, classes: DataClasses = NONE, **changed: Any) -> Risk:
    return risk_of(a_charter(**changed), {"payments": a_system(**system or {})}, classes)


def grant(*actions: str, **more: Any) -> list[dict[str, Any]]:
    return [{"system": "payments", "actions": list(actions)} | more]


def points(found: Risk) -> dict[str, int]:
    return {factor.name: factor.points for factor in found.factors}


def test_the_sum_of_the_refund_agent_is_shown_term_by_term() -> None:
    found = risk(classes=levels(customer_pii="restricted"))
    assert found.sentence == ("high: 13 = 2 changes state + 2 irreversibly + 3 data + 3 environment + 3 autonomy")
    assert [factor.why for factor in found.factors] == [
        "an action it may do writes",
        "an action it may do cannot be undone",
        "`customer-pii` is restricted",
        "it runs in production",
        "its kind is agent",
        "it reads nothing that strangers wrote, as far as systems say",
    ]


@pytest.mark.parametrize(
    ("changed", "factor", "expected"),
    [
        ({"grants": grant("charge.read")}, "changes state", 0),
        ({"grants": grant("charge.read")}, "irreversibly", 0),
        ({"grants": grant("refund.create")}, "irreversibly", 2),
        ({"environment": "sandbox"}, "environment", 0),
        ({"environment": "staging"}, "environment", 1),
        ({"kind": "copilot"}, "autonomy", 0),
        ({"kind": "workflow"}, "autonomy", 2),
        ({"kind": "browser-agent", "grants": []}, "untrusted content", 3),
        ({"grants": grant("refund.create", approval={"by": "lead"})}, "autonomy", 2),
        ({"grants": grant("refund.create", approval={"by": "lead", "when": {"amount": {"over": 5}}})}, "autonomy", 3),
        ({"grants": grant("charge.read", approval={"by": "lead"})}, "autonomy", 3),
        ({"grants": []}, "data", 0),
    ],
)  # fmt: skip
def test_each_term_counts_what_it_says(changed: dict[str, Any], factor: str, expected: int) -> None:
    assert points(risk(**changed))[factor] == expected


def test_a_class_that_nobody_judged_counts_as_confidential() -> None:
    assert points(risk())["data"] == 2
    assert points(risk(classes=levels(customer_pii="public")))["data"] == 0
    assert points(risk(system={"data": ["a", "customer-pii"]}, classes=levels(customer_pii="public")))["data"] == 2


def test_what_strangers_write_counts() -> None:
    found = risk(system={"untrusted": True})
    assert points(found)["untrusted content"] == 3
    assert found.factors[-1].why == "strangers write what it reads in `payments`"


def test_a_grant_on_a_system_that_is_not_there_reaches_nothing() -> None:
    found = risk_of(a_charter(), {}, NONE)
    assert points(found) == {
        "changes state": 0, "irreversibly": 0, "data": 0, "environment": 3, "autonomy": 3, "untrusted content": 0,
    }  # fmt: skip


@pytest.mark.parametrize(("tier", "least"), list(FROM.items()))
def test_each_tier_begins_where_it_says(tier: Tier, least: int) -> None:
    assert Risk((Factor("x", least, ""),)).tier is tier
    if least:
        assert Risk((Factor("x", least - 1, ""),)).tier is not tier


@given(st.sampled_from(["charge.read", "refund.create", "*"]), st.sampled_from(list(Level)), st.booleans())
def test_granting_more_never_lowers_the_sum(action: str, level: Level, untrusted: bool) -> None:
    classes = levels(customer_pii=level.value)
    system = PAYMENTS_SYSTEM | {"untrusted": untrusted}
    small = risk(system=system, classes=classes, grants=[])
    large = risk(system=system, classes=classes, grants=grant(action))
    assert all(points(small)[name] <= points(large)[name] for name in points(small))
