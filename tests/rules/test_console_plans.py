"""What the page of plans says, and what its forms do."""

from __future__ import annotations

import pytest

from charter.registry.access import Access
from desks import PLAN, Caller, a_proposal, text_of

ANSWER = f"/plans/{PLAN}"


@pytest.fixture
def caller() -> Caller:
    return Caller().sign_in()


def test_a_plan_is_shown_with_a_call_that_it_would_let_through(caller: Caller) -> None:
    said = text_of(caller.get("/plans").text)
    assert "refunds up to 300 EUR" in said
    assert "Would be allowed: refund-agent may do refund.create on payments with amount 300 EUR" in said
    assert "role:payments-lead for refund-agent: lena@example.com, maria@example.com" in said


def test_a_plan_says_why_it_asks_and_what_changes_beside_calls(caller: Caller) -> None:
    effect = a_proposal()["effects"][0] | {
        "gains": [],
        "others": 2,
        "left": 5,
        "note": "its charter stays",
        "terms": ["widens: `delegation.max_ttl` rises from 1h to 8h", "narrows: `review` falls from 90d to 30d"],
        "duties": ["`a` may do all parts of `d`: r"],
        "rules": ["a/grant-1 is useless: guardrail/x forbids whatever satisfies it"],
    }
    caller.desk.proposed = [a_proposal(effects=[effect])]
    said = text_of(caller.get("/plans").text)
    assert "refund-agent and 2 others like it: wider" in said
    assert "its charter stays; asks for a yes, because it widens beyond its pattern" in said
    assert "Its charter: widens: delegation.max_ttl rises from 1h to 8h" in said
    assert "Breaks a duty: a may do all parts of d : r" in said
    assert "5 more of these: charter plan tells them all" in said
    assert "Says nothing: a/grant-1 is useless: guardrail/x forbids whatever satisfies it" in said


def test_a_plan_that_was_proposed_before_there_was_so_much_to_say_is_shown(caller: Caller) -> None:
    later = ("others", "left", "note", "terms", "duties", "rules")
    old = {name: each for name, each in a_proposal()["effects"][0].items() if name not in later}
    caller.desk.proposed = [a_proposal(effects=[old])]
    assert "Would be allowed" in caller.get("/plans").text


def test_what_asks_for_a_yes_comes_before_what_asks_for_nobodys(caller: Caller) -> None:
    asks = a_proposal()["effects"][0]
    idle = asks | {"principal": "a-first-one", "seat": None, "gains": [], "why": "it only narrows"}
    caller.desk.proposed = [a_proposal(effects=[idle, asks])]
    said = text_of(caller.get("/plans").text)
    assert said.index("refund-agent : wider") < said.index("a-first-one : wider")


def test_a_yes_and_a_no_are_recorded_in_the_name_of_the_person(caller: Caller) -> None:
    answer = caller.post(ANSWER, answer="approve", person="lena@example.com", reason="as agreed")
    assert "Recorded: the plan is approved" in text_of(answer.text)
    assert caller.desk.proposed[0]["needs"][0]["given"] == ["lena@example.com"]
    assert 'value="approve"' not in caller.get("/plans").text
    caller.desk.proposed = [a_proposal()]
    refused = caller.post(ANSWER, answer="refuse", person="maria@example.com", reason="too much")
    assert "Refused by maria@example.com : too much" in text_of(refused.text)


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"answer": "approve", "person": "jon@example.com", "reason": "x"}, 403, "holds none of the seats"),
        ({"answer": "maybe", "person": "lena@example.com", "reason": "x"}, 400, "answer is missing"),
        ({"answer": "approve", "person": "lena@example.com"}, 400, "reason is missing"),
    ],
)
def test_an_answer_that_does_not_count_changes_nothing(
    caller: Caller, fields: dict[str, str], status: int, said: str
) -> None:
    answer = caller.post(ANSWER, **fields)
    assert (answer.status_code, said in text_of(answer.text)) == (status, True)
    assert caller.desk.proposed == [a_proposal()]


@pytest.mark.parametrize("path", ["/plans/x", "/plans/sha256:1", "/plans/sha256:" + "G" * 64])
def test_what_is_no_plan_is_not_found(caller: Caller, path: str) -> None:
    assert caller.post(path, answer="approve", person="lena@example.com", reason="x").status_code == 404


def test_a_plan_that_nobody_proposed_is_told(caller: Caller) -> None:
    answer = caller.post(f"/plans/sha256:{'0' * 64}", answer="approve", person="lena@example.com", reason="x")
    assert answer.status_code == 404
    assert "No such plan" in answer.text


def test_a_viewer_answers_as_themselves(caller: Caller) -> None:
    caller.cookie = caller.signin.open("lena@example.com", Access.VIEWER, is_local=False)
    caller.post(ANSWER, answer="approve", person="maria@example.com", reason="x")
    assert caller.desk.proposed[0]["needs"][0]["given"] == ["lena@example.com"]


def test_refusing_stands_first_and_hostile_text_is_text(caller: Caller) -> None:
    caller.desk.proposed = [a_proposal(reason="<script>x</script>", changes=["<b>"])]
    page = caller.get("/plans").text
    assert page.index('value="refuse"') < page.index('value="approve"')
    assert "<script>x" not in page
