"""What a plan tells besides who may do more: duties that are broken then, and rules that say nothing then."""

from __future__ import annotations

from typing import Any

import pytest

from builders import a_charter
from charter.bootstrap.file_diff import compare
from charter.proof.duty_change import Breach
from charter.proof.duty_check import Broken
from charter.proof.plan_review import needs_of
from charter.proof.route import Route, Seat, route_past_duties
from estates import PRINCIPAL, estate_files
from fakes import FixedClock, SteppingClock

DUTIES = """\
charter: v1
duties:
  - id: pay-and-read
    parts:
      - {system: payments, actions: [refund.create]}
      - {system: payments, actions: [charge.read]}
    tied: [team]
    reason: who refunds does not look charges up
"""


def granting(name: str, *actions: str) -> dict[str, str]:
    """Return the file of a principal of the refund agent's team that may do exactly these actions."""
    head, _, rest = PRINCIPAL.replace("principal: refund-agent", f"principal: {name}").partition("grants:\n")
    grant = f"grants: [{{system: payments, actions: [{', '.join(actions)}], objects: ['charge/*']}}]\n"
    return {f"principals/{name}.yaml": head + grant + rest[rest.index("delegation:") :]}


SECONDS = 20.0  # for the proofs of a plan


def effects(
    before: dict[str, str], after: dict[str, str], clock: FixedClock | None = None
) -> dict[str, dict[str, Any]]:
    told = compare(before, after, clock or FixedClock(), SECONDS)
    return {each["principal"]: each for each in told["effects"]}


READER, BOTH = granting("refund-agent", "charge.read"), granting("refund-agent", "charge.read", "refund.create")
BEFORE = estate_files({"tests/refunds.yaml": None, "duties.yaml": DUTIES, **READER})


def test_a_plan_that_breaks_a_duty_says_so_with_a_call_of_each_part_and_asks_the_reviewer() -> None:
    found = effects(BEFORE, BEFORE | BOTH)["refund-agent"]
    (duty,) = found["duties"]
    assert (duty["duty"], duty["principals"], duty["new"], duty["proven"]) == (
        "pay-and-read",
        ["refund-agent"],
        True,
        True,
    )
    assert [each["call"]["action"] for each in duty["calls"]] == ["refund.create", "charge.read"]
    assert found["route"]["seat"] == "role:payments-risk"
    assert found["route"]["why"].startswith("it breaks the duty `pay-and-read`; ")


def test_two_that_something_ties_break_it_and_only_the_one_that_changes_is_asked_about() -> None:
    found = effects(BEFORE, BEFORE | granting("payer", "refund.create"))
    assert set(found) == {"payer"}
    (duty,) = found["payer"]["duties"]
    assert (duty["principals"], duty["tie"], duty["new"]) == (["payer", "refund-agent"], "team", True)


def test_a_duty_that_is_new_is_held_against_everybody_and_asks_nobody_about_what_they_could_do_before() -> None:
    files = estate_files({"tests/refunds.yaml": None, **BOTH})
    found = effects(files, files | {"duties.yaml": DUTIES})["refund-agent"]
    assert [(each["duty"], each["new"]) for each in found["duties"]] == [("pay-and-read", False)]
    assert (found["conclusion"], found["route"]["seat"]) == ("same", None)


def test_what_was_broken_before_is_not_told_where_the_plan_does_not_touch_it() -> None:
    before = BEFORE | BOTH
    data = {"data.yaml": "charter: v1\nclasses:\n  customer-pii: {level: restricted}\n"}
    assert effects(before, before | data) == {}


def test_without_time_a_duty_is_not_proven_and_the_reviewer_is_asked() -> None:
    both = {path: text.replace("disputed", "doubtful") for path, text in BOTH.items()}  # a plan of its own
    found = effects(BEFORE, BEFORE | both, SteppingClock(30))["refund-agent"]
    (duty,) = found["duties"]
    assert (duty["new"], duty["proven"]) == (True, False)
    assert "not proven either way (there was no time left)" in duty["sentence"]
    assert found["route"]["seat"] == "role:payments-risk"
    assert found["rules_not_proven"] == [
        "whether each of its rules says something is not proven: there was no time left"
    ]


@pytest.mark.parametrize(
    ("is_new", "unproven", "seat", "why"),
    [
        (True, None, "role:payments-risk", "it breaks the duty `apart`"),
        (True, "no time", "role:payments-risk", "it is not proven to keep the duty `apart`"),
        (False, None, "", "it only narrows"),
    ],
)
def test_no_change_that_newly_breaks_a_duty_passes_by_itself(
    is_new: bool, unproven: str | None, seat: str, why: str
) -> None:
    breach = Breach(Broken("apart", "because", ("refund-agent",), None, (), unproven), is_new)
    found = route_past_duties(Route(Seat.NOBODY, "", "it only narrows"), a_charter(), [breach])
    assert (found.name, found.why) == (seat, why)


def test_a_teams_own_yes_is_not_enough_for_what_breaks_a_duty() -> None:
    breach = Breach(Broken("apart", "because", ("refund-agent",), None, ()), is_new=True)
    found = route_past_duties(
        Route(Seat.TEAM, "payments-ops", "it widens, within the pattern `p`"), a_charter(), [breach]
    )
    assert found.name == "role:payments-risk"
    assert needs_of([], [], None) == ()


def test_a_plan_tells_which_of_the_rules_it_touches_say_nothing_and_where_they_stand() -> None:
    slip = PRINCIPAL.replace('objects: ["charge/*"]', 'objects: ["dispute/*"]')
    found = effects(estate_files(), estate_files({"principals/refund-agent.yaml": slip, "tests/refunds.yaml": None}))
    (fault,) = found["refund-agent"]["rules"]
    assert (fault["rule"], fault["fault"]) == ("refund-agent/grant-1", "never open")
    assert fault["source"].startswith("principals/refund-agent.yaml:")
