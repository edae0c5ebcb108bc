"""Seats: as many people as a grant asks for, each at one."""

from __future__ import annotations

import pytest

from builders import a_charter
from charter.policy.decide import decide
from charter.policy.verdict import Allow, Deny, Escalate
from charter.registry.seat import is_seat, role_of, seats_of, taken, told
from policies import ENGINE, REFUND, a_request, bound, guards

GRANT = {"system": "payments", "actions": ["refund.create"]}


@pytest.mark.parametrize(("text", "good"), [("lead", True), ("lead/2", True), ("lead/9", True), ("lead/1", False),
    ("lead/10", False), ("lead/x", False), ("lead/", False)])  # fmt: skip
def test_a_seat_is_a_role_or_one_of_its_further_places(text: str, *, good: bool) -> None:
    assert is_seat(text) == good


def test_seats_are_told_by_their_roles_and_counts() -> None:
    assert seats_of("lead", 3) == ("lead", "lead/2", "lead/3")
    assert {role_of(each) for each in seats_of("lead", 3)} == {"lead"}
    assert taken(["lead", "risk", "lead"]) == {"lead", "lead/2", "risk"}
    assert told(["lead"]) == "`lead`"
    assert told(["lead", "lead/2", "risk"]) == "2 people with the role `lead` and `risk`"


def test_a_grant_that_asks_two_people_is_held_until_both_said_yes() -> None:
    charter = a_charter(grants=[GRANT | {"approval": {"by": "lead", "count": 2, "within": "4h"}}])
    slice_ = bound(charter)
    assert 'when { context.approvals.containsAll(["lead", "lead/2"]) };' in slice_.text
    for given in ((), ("lead",)):
        held = decide(slice_, a_request("refund.create", REFUND, charter=charter, approvals=taken(given)), ENGINE)
        assert isinstance(held, Escalate)
        assert str(held.within) == "4:00:00"
        assert "only once 2 people with the role `lead` say yes" in held.reasons[0].text
    request = a_request("refund.create", REFUND, charter=charter, approvals=taken(["lead", "lead"]))
    found = decide(slice_, request, ENGINE)
    assert isinstance(found, Allow)
    assert found.approvals_used == ("lead", "lead/2")


def test_a_guardrail_may_ask_for_a_second_person() -> None:
    charter = a_charter(grants=[GRANT])
    text = 'forbid (principal, action, resource) unless { context.approvals.containsAll(["lead", "lead/2"]) };'
    slice_ = bound(charter, guardrails=guards(text))
    held = decide(slice_, a_request("refund.create", REFUND, charter=charter), ENGINE)
    assert isinstance(held, Escalate)
    assert held.approvers == ("lead", "lead/2")


def test_an_approval_that_is_none_is_no_second_seat() -> None:
    charter = a_charter(grants=[GRANT | {"approval": {"by": "lead", "count": 2}}])
    request = a_request("refund.create", REFUND, charter=charter, approvals=frozenset({"lead", "risk"}))
    assert not isinstance(decide(bound(charter), request, ENGINE), Allow | Deny)
