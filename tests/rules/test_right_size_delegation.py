"""Delegation and tokens drawn closer, from what was lent, lent on and used: pure, without a house."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from builders import PAYMENTS_SYSTEM, REFUND_CHARTER
from charter.core.clock import rfc3339
from charter.proof.lent import Lent
from charter.proof.narrowing import Ground
from charter.proof.observed import Observed
from charter.proof.right_size import Proposal, proposed
from charter.proof.right_size_delegation import roomy_time
from charter.registry.charter import Charter
from charter.registry.system import System

NOW = dt.datetime(2026, 11, 24, 9, 30, tzinfo=dt.UTC)
SINCE = NOW - dt.timedelta(days=90)
TERMS = {"from": ["humans", "triage-flow"], "to": ["charge-tool", "old-tool"], "purposes": ["disputes", "audits"]}
GROUPS = {"cards": {"objects": ["card/*"]}, "charges": {"objects": ["charge/*"]}}
SYSTEM = System.model_validate(PAYMENTS_SYSTEM | {"groups": GROUPS})


def charter(**changed: Any) -> Charter:
    grant = {"system": "payments", "actions": ["charge.read"]}
    terms = TERMS | {"max_ttl": "8h", "max_depth": 4}
    return Charter.model_validate(REFUND_CHARTER | {"grants": [grant], "delegation": terms} | changed)


def a_call(day: int, initiator: str = "jo@example.com", minute: int = 10, **more: Any) -> tuple[dict[str, Any], Any]:
    parties = [{"name": initiator, "party": initiator}, {"name": "refund-agent", "party": "prn_a"}]
    chain = {"delegation": f"del_{day}", "purpose": "disputes", "parties": parties}
    at = SINCE + dt.timedelta(days=day, minutes=minute)
    body = {"system": "payments", "action": "charge.read", "verdict": "allow", "object": "charge/1", "chain": chain}
    return body | {"asked": {"at": rfc3339(at)}, "token": f"tok_{day}"} | more, at


def made(day: int, hours: float = 8, lasts: str = "longest", **more: Any) -> tuple[dict[str, Any], dt.datetime]:
    at = SINCE + dt.timedelta(days=day)
    told = {"delegation": f"del_{day}", "lender": "jo@example.com", "borrower": "refund-agent", "purpose": "disputes"}
    return told | {"depth": 1, "expires": rfc3339(at + dt.timedelta(hours=hours)), "lasts": lasts} | more, at


def sized(own: Charter, calls: list[Any], loans: list[Any], **more: Any) -> Proposal:
    observed, lent = Observed.of(own, SINCE), Lent("prn_a", "refund-agent", SINCE, {"prn_t": "triage-flow"})
    for body, at in calls:
        observed.issue({"outcome": "issued", "token": body["token"]}, at - dt.timedelta(seconds=30))
        observed.take(body, at)
    for body, at in loans:
        lent.made(body, at)
    for delegation, at in observed.delegations.items():
        lent.used(delegation, at)
    ground = Ground({"payments": SYSTEM}, observed, lambda _: SINCE - dt.timedelta(days=9), NOW, lent=lent, **more)
    return proposed(own, ground)


def keys(found: Proposal) -> set[str]:
    return {each.key for each in found.narrowings}


def test_nobody_lends_or_is_lent_to_any_more_who_did_not() -> None:
    onward = made(80, lender="prn_a", borrower="charge-tool", delegation="del_x", rests_on="del_80", depth=2)
    found = sized(charter(), [a_call(day) for day in range(60)], [made(day) for day in range(81)] + [onward])
    assert {"delegation:from triage-flow", "delegation:to old-tool", "delegation:purpose audits"} <= keys(found)
    terms = found.charter.delegation
    assert terms is not None
    assert (terms.source, terms.to, terms.purposes, terms.max_depth) == (
        ("humans",),
        ("charge-tool",),
        ("disputes",),
        2,
    )


def test_what_is_lent_on_seldom_or_at_a_season_stays() -> None:
    once = made(-200, lender="prn_a", borrower="old-tool", delegation="del_y", depth=2)
    found = sized(charter(), [], [once])
    assert "delegation:to old-tool" not in keys(found)
    assert any(key == "delegation:to old-tool" and "seldom" in why for key, why in found.kept)


def test_without_knowledge_of_what_is_lent_on_nothing_of_it_goes() -> None:
    own = charter()
    observed = Observed.of(own, SINCE)
    found = proposed(own, Ground({"payments": SYSTEM}, observed, lambda _: SINCE - dt.timedelta(days=9), NOW))
    assert not {key for key in keys(found) if "to " in key or "max_ttl" in key}


@pytest.mark.parametrize(
    ("hours", "lasts", "becomes"),
    [(8, "longest", "30m"), (1, "asked", "2h"), (8, "asked", None), (8, None, None)],
)
def test_how_long_is_drawn_closer_to_what_was_needed_or_asked_for(
    hours: float, lasts: str | None, becomes: str | None
) -> None:
    """Of the last nothing is said: it is as evidence from before was."""
    loans = [made(day, hours, str(lasts)) for day in range(60)]
    found = sized(charter(), [a_call(day) for day in range(60)], loans)
    step = next((each for each in found.narrowings if each.what == "max_ttl"), None)
    assert (step.becomes if step else None) == becomes


def test_a_delegation_that_others_rest_on_was_needed_in_full() -> None:
    resting = made(1, lender="prn_a", borrower="charge-tool", delegation="del_z", rests_on="del_1", depth=2)
    loans = [made(day) for day in range(60)]
    found = sized(charter(), [a_call(day) for day in range(60)], [*loans[:2], resting, *loans[2:]])
    assert "delegation:max_ttl" not in keys(found)


def test_times_leave_room_for_twice_the_most() -> None:
    for minutes in (0, 1, 7, 29, 31, 400, 5_000):
        most = dt.timedelta(minutes=minutes)
        found = roomy_time(most)
        assert found is not None
        assert found >= most * 2
    assert roomy_time(dt.timedelta(days=30)) is None


def test_tokens_live_as_long_as_they_are_used() -> None:
    credential = {"type": "private-key-jwt", "tokens": "15m"}
    calls = [a_call(day) for day in range(60)]
    assert sized(charter(credential=credential), calls, []).charter.credential.tokens == dt.timedelta(minutes=1)
    assert "credential:tokens" not in keys(sized(charter(), calls, []))  # the charter says nothing of it


def test_whom_a_grant_acts_for_is_drawn_closer() -> None:
    delegated = {
        "by": ["humans", "triage-flow"],
        "roles": ["payments-risk", "payments-lead"],
        "purposes": ["disputes", "audits"],
        "max_depth": 3,
    }
    own = charter(grants=[{"system": "payments", "actions": ["charge.read"], "delegated": delegated}])
    calls = [a_call(day) for day in range(60)]
    found = sized(own, calls, [], roles_of=lambda _: frozenset({"payments-risk"}))
    told = found.charter.grants[0].delegated
    assert told is not None
    assert (told.by, told.roles, told.purposes, told.max_depth) == (("humans",), ("payments-risk",), ("disputes",), 1)
    unknown = sized(own, calls, []).charter.grants[0].delegated  # nobody knows any more which role it was
    assert unknown is not None
    assert unknown.roles == ("payments-risk", "payments-lead")


def test_groups_of_objects_go_that_nothing_used_was_in() -> None:
    grant = {"system": "payments", "actions": ["charge.read"], "groups": ["cards", "charges"]}
    found = sized(charter(grants=[grant]), [a_call(day) for day in range(60)], [])
    assert found.charter.grants[0].groups == ("charges",)
    only = sized(charter(grants=[grant | {"groups": ["cards"]}]), [a_call(day) for day in range(60)], [])
    assert only.charter.grants[0].groups == ("cards",)  # something has to stay


def test_what_was_erased_may_have_been_anything() -> None:
    grant = {"system": "payments", "actions": ["charge.read"], "objects": ["charge/*", "card/*"]}
    own = charter(grants=[grant])
    observed = Observed.of(own, SINCE)
    for day in range(60):
        body, at = a_call(day, object="<erased>" if day == 5 else "charge/1")
        observed.take(body, at, is_erased=day == 5)
    ground = Ground({"payments": SYSTEM}, observed, lambda _: SINCE - dt.timedelta(days=9), NOW)
    assert proposed(own, ground).charter.grants[0].objects == ("charge/*", "card/*")
