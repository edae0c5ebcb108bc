"""A plan tells what principals may do afterwards that they could not before, each with one call that shows it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from terminal import Terminal

AGENT = "principals/refund-agent.yaml"


def edit(terminal: Terminal, name: str, old: str, new: str) -> None:
    file = terminal.folder / name
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def effect(terminal: Terminal, principal: str) -> dict[str, Any]:
    return next(each for each in terminal.ask("plan")["effects"] if each["principal"] == principal)


@pytest.mark.slow
def test_a_wider_charter_is_shown_with_a_call_that_was_refused(running: Terminal) -> None:
    edit(running, AGENT, "max: 200 EUR", "max: 300 EUR")

    found = effect(running, "refund-agent")

    assert found["conclusion"] == "widens"
    assert found["route"]["seat"] == "role:payments-risk"
    (gain,) = found["gains"]
    assert gain["call"]["action"] == "refund.create"
    assert gain["call"]["arguments"]["amount"] == 201
    assert (gain["was"]["verdict"], gain["becomes"]["verdict"]) == ("deny", "escalate")
    shown = running.say("plan")
    assert "+ `refund.create` on `payments`" in shown
    assert "approval: role:payments-risk" in shown


@pytest.mark.slow
def test_a_narrower_charter_needs_nobody(running: Terminal) -> None:
    edit(running, AGENT, "max: 200 EUR", "max: 150 EUR")

    found = effect(running, "refund-agent")

    assert (found["conclusion"], found["gains"], found["route"]["seat"]) == ("narrows", [], None)
    assert [each["becomes"]["verdict"] for each in found["losses"]] == ["deny"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "conclusion", "turn"),
    [
        ("review: 90d", "review: 60d", "narrows", "narrows"),
        ("max_depth: 2", "max_depth: 3", "widens", "widens"),
        ("name: claude-*", "name: claude-opus-*", "not proven", "not comparable"),
        ("purpose: Refund small disputed card charges", "purpose: Refund card charges", "same", None),
    ],
)
def test_what_no_policy_decides_is_told_by_its_field(
    running: Terminal, old: str, new: str, conclusion: str, turn: str | None
) -> None:
    edit(running, AGENT, old, new)

    found = effect(running, "refund-agent")

    assert found["conclusion"] == conclusion
    assert [each["turn"] for each in found["terms"]] == ([turn] if turn else [])


@pytest.mark.slow
def test_a_looser_guardrail_is_told_for_those_it_held_back(running: Terminal) -> None:
    edit(running, "guardrails/hours.cedar", "minute < 480", "minute < 450")

    effects = running.ask("plan")["effects"]

    assert [each["principal"] for each in effects if each["gains"]] == ["refund-agent"]
    (found,) = (each for each in effects if each["gains"])
    assert found["note"] == "its charter stays"
    assert {each["call"]["at"][11:16] for each in found["gains"]} == {"06:30"}  # 07:30 in Berlin


@pytest.mark.slow
def test_a_plan_of_nothing_has_no_effects(running: Terminal) -> None:
    assert running.ask("plan")["effects"] == []


CHANGES = "changes: {reviewed: required, central: security-lead}\n"


def with_review(terminal: Terminal) -> None:
    """Have teams.yaml ask for people's yes from now on."""
    file = terminal.folder / "teams.yaml"
    file.write_text(file.read_text(encoding="utf-8") + CHANGES, encoding="utf-8")
    terminal.charter("apply", "--yes", "--reason", "changes are reviewed")


@pytest.mark.slow
def test_what_widens_is_applied_only_after_the_named_role_said_yes_to_exactly_that(running: Terminal) -> None:
    with_review(running)
    edit(running, AGENT, "max: 200 EUR", "max: 300 EUR")
    planned = running.ask("plan")["review"]
    assert planned["required"]
    assert [(each["seat"], each["given"]) for each in planned["needs"]] == [("role:payments-risk", [])]

    refused = running.charter("apply", "--yes", expect=3).err
    assert "`role:payments-risk` for refund-agent" in refused
    running.refused("plan", "--approve", "--as", "maria@example.com", expect=3)  # who owns it
    said = running.ask("plan", "--approve", "--as", "alex@example.com", "--reason", "agreed with finance")["approved"]
    assert said["seats"] == ["role:payments-risk"]
    assert "alex@example.com said yes" in running.say("plan")
    edit(running, AGENT, "max: 300 EUR", "max: 400 EUR")
    running.charter("apply", "--yes", expect=3)  # another plan
    edit(running, AGENT, "max: 400 EUR", "max: 300 EUR")
    running.charter("apply", "--yes", "--reason", "larger refunds")

    (entry,) = running.ask("evidence", "query", "--kind", "plan.approved")["entries"]
    assert (entry["actor"], entry["body"]["seat"]) == ("alex@example.com", "role:payments-risk")
    assert "amount 201" in entry["body"]["examples"][0]
    last = running.ask("evidence", "query", "--principal", "refund-agent", "--kind", "charter.applied")["entries"][-1]
    assert last["body"]["review"]["approved_by"] == ["alex@example.com"]
    assert last["body"]["review"]["conclusion"] == "widens"


def test_a_plan_is_proposed_looked_at_and_answered(running: Terminal) -> None:
    """And a yes given to a proposal counts for whoever applies the same files."""
    with_review(running)
    running.refused("plan", "--propose", "--reason", "nothing", expect=5)  # it needs nobody's yes
    edit(running, AGENT, "max: 200 EUR", "max: 300 EUR")
    edit(running, AGENT, "max_depth: 2", "max_depth: 3")
    edit(running, AGENT, 'objects: ["charge/*"]', 'objects: ["dispute/*"]')  # which no charge is
    proposed = running.ask("plan", "--propose", "--reason", "larger refunds")["proposed"]
    assert (proposed["state"], proposed["reason"]) == ("waiting", "larger refunds")
    assert "alex@example.com" in proposed["needs"][0]["people"]
    (effect_,) = (each for each in proposed["effects"] if each["gains"])
    assert "amount 201" in effect_["gains"][0]
    assert effect_["terms"] == ["widens: chains are 3 deep at most instead of 2"]
    assert effect_["rules"][0].endswith("is never open: no call satisfies it")
    path, say = f"/v1/plans/{proposed['plan']}", {"person": "alex@example.com", "reason": "agreed"}
    transport = httpx.HTTPTransport(uds=str(running.folder / ".charter" / "control.sock"))
    control = httpx.Client(transport=transport, base_url="http://charter", timeout=30)
    assert control.post(f"{path}/approve", json=say | {"person": "maria@example.com"}).status_code == 403  # who owns it
    assert control.post(f"{path}/approve", json=say | {"person": "jo@example.com"}).status_code == 403
    assert control.post(f"{path}/refuse", json=say).json()["state"] == "refused"
    answered = control.post(f"{path}/approve", json=say).json()
    assert (answered["state"], answered["needs"][0]["given"]) == ("approved", ["alex@example.com"])
    assert control.post(f"/v1/plans/sha256:{'0' * 64}/approve", json=say).status_code == 404
    running.charter("apply", "--yes", "--reason", "larger refunds")
    (told,) = control.get("/v1/plans").json()["plans"]
    assert told["state"] == "outdated"
    assert control.post(f"{path}/approve", json=say).status_code == 409
    control.close()


@pytest.mark.slow
def test_what_only_narrows_is_applied_without_anybody(running: Terminal) -> None:
    with_review(running)
    edit(running, AGENT, "max: 200 EUR", "max: 150 EUR")
    assert running.ask("plan")["review"]["needs"] == []
    running.charter("apply", "--yes", "--reason", "smaller refunds")


@pytest.mark.slow
def test_nobody_makes_themselves_an_approver_or_turns_the_review_off(running: Terminal) -> None:
    with_review(running)
    edit(running, "teams.yaml", CHANGES, "")
    edit(
        running, "teams.yaml", "payments-risk: [alex@example.com]", "payments-risk: [alex@example.com, jo@example.com]"
    )
    edit(running, AGENT, "max: 200 EUR", "max: 300 EUR")
    seats = [each["seat"] for each in running.ask("plan")["review"]["needs"]]
    assert seats == ["role:payments-risk", "role:security-lead"]
    running.refused("plan", "--approve", "--as", "jo@example.com", expect=3)
    running.charter("plan", "--approve", "--as", "alex@example.com")
    assert "role:security-lead" in running.charter("apply", "--yes", expect=3).err
