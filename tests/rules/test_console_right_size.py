"""What the page of a narrower charter says, and what its buttons do."""

from __future__ import annotations

import pytest

from desks import Caller, a_size, text_of

PAGE = "/principals/refund-agent/right-size"
YES = {"person": "maria@example.com", "reason": "as it is used", "proposal": a_size()["proposal"]}


@pytest.fixture
def caller() -> Caller:
    return Caller().sign_in()


def test_what_would_go_is_shown_with_its_evidence_proof_and_replay(caller: Caller) -> None:
    said = text_of(caller.get(PAGE).text)
    assert "0 times; not for 90 days no recorded call asked for it" in said
    assert "120 calls replayed, none refused." in said
    assert "provably allows nothing new" in said
    assert "used at year end" in said
    assert "Beware: the history has no year end in it" in said
    assert PAGE in caller.get("/principals/refund-agent").text


def test_one_click_takes_it_and_gives_the_patch(caller: Caller) -> None:
    said = text_of(caller.post(PAGE, answer="accept", **YES).text)
    assert "Its file wins: apply the patch below" in said
    assert caller.desk.asked[-1] == ("accept", "refund-agent", "", "as it is used")
    kept = caller.post(PAGE, answer="keep", key="action:payments/refund.void", until="90d", **YES)
    assert "not proposed until 2027-02-24" in text_of(kept.text)


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"answer": "accept"} | YES | {"person": "eve@example.com"}, 403, "does not answer for"),
        ({"answer": "accept"} | YES | {"proposal": "sha256:0"}, 409, "not what was looked at"),
        ({"answer": "maybe"} | YES, 400, "answer is missing"),
        ({"answer": "accept"} | YES | {"reason": ""}, 400, "reason is missing"),
    ],
)
def test_an_answer_that_does_not_count_changes_nothing(
    caller: Caller, fields: dict[str, str], status: int, said: str
) -> None:
    before = list(caller.desk.asked)
    answer = caller.post(PAGE, **fields)
    assert (answer.status_code, said in text_of(answer.text)) == (status, True)
    assert caller.desk.asked == before


def test_what_is_not_safe_has_no_button_to_take_it(caller: Caller) -> None:
    caller.desk.sized = a_size(safe=False, proposal=None, narrower=False)
    page = caller.get(PAGE).text
    assert 'value="accept"' not in page
    assert "is not proven" in text_of(page)
    caller.desk.sized = a_size(excluded="it is restrained: what it does now says little", narrowings=[], kept=[])
    assert "Nothing is proposed: it is restrained" in text_of(caller.get(PAGE).text)
