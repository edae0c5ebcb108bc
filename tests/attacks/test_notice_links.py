"""What a link in a mail does not give: a session, a second answer, an answer by looking, or one from another page."""

from __future__ import annotations

import pytest

from charter.registry.access import Access
from desks import Caller
from desks import an_approval as a_question

LINK, LENA = "/approve/a-link", "lena@example.com"
YES = {"answer": "approve", "reason": "seen"}


@pytest.fixture
def caller() -> Caller:
    return Caller()


def state(caller: Caller) -> str:
    return str(next(iter(caller.desk.waiting.values()))["state"])


def test_looking_changes_nothing_and_signs_nobody_in(caller: Caller) -> None:
    for _ in range(3):
        page = caller.get(LINK)
        assert page.status_code == 200
        assert LENA in page.text
        assert "charge/ch_3RkA" in page.text
        assert "set-cookie" not in page.headers
    assert state(caller) == "waiting"
    assert caller.get("/").status_code == 303


def test_a_program_that_scans_mail_may_ask_for_the_head_alone(caller: Caller) -> None:
    seen = caller.send("HEAD", LINK)
    assert (seen.status_code, seen.content) == (200, b"")
    assert caller.send("HEAD", "/approve/none").status_code == 404
    assert caller.send("HEAD", "/").status_code == 405
    assert state(caller) == "waiting"


def test_one_answer_spends_it(caller: Caller) -> None:
    assert "approved" in caller.post(LINK, **YES).text
    (approval,) = caller.desk.waiting.values()
    assert approval["given"] == {"payments-lead": LENA}
    for again in (caller.post(LINK, **YES), caller.post(LINK, answer="refuse", reason="no"), caller.get(LINK)):
        assert again.status_code == 410
        assert "This link was used" in again.text  # whoever pressed twice learns that their answer counts
        assert "approved" in again.text
        assert "charge/ch_3RkA" not in again.text
    assert state(caller) == "approved"


def test_nobody_answers_from_another_page(caller: Caller) -> None:
    for headers in (
        {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
        {"origin": "null", "sec-fetch-site": "cross-site"},
        {"origin": "null"},
    ):
        form = {"content-type": "application/x-www-form-urlencoded"}
        sent = caller.send("POST", LINK, headers=form | headers, body="answer=approve&reason=x")
        assert sent.status_code == 403
    assert state(caller) == "waiting"


@pytest.mark.parametrize("form", [{}, {"answer": "approve"}, {"answer": "yes", "reason": "x"}, {"reason": "x"}])
def test_half_an_answer_is_none(caller: Caller, form: dict[str, str]) -> None:
    answer = caller.post(LINK, **form)
    assert answer.status_code == 400
    assert "Approve this one call" in answer.text
    assert state(caller) == "waiting"


def test_who_is_signed_in_as_another_does_not_answer_by_a_link_that_was_passed_on(caller: Caller) -> None:
    caller.cookie = caller.signin.open("maria@example.com", Access.ADMIN, is_local=False)
    answer = caller.post(LINK, **YES)
    assert answer.status_code == 403
    assert "is signed in here" in answer.text
    assert state(caller) == "waiting"


@pytest.mark.parametrize("token", ["another", "a-link2", "%00", "a" * 400, "..%2f..%2fsign-in"])
def test_a_link_that_is_none_tells_nothing(caller: Caller, token: str) -> None:
    answer = caller.get(f"/approve/{token}")
    assert answer.status_code == 404
    assert "charge/ch_3RkA" not in answer.text
    assert caller.post(f"/approve/{token}", **YES).status_code == 404
    assert state(caller) == "waiting"


def test_hostile_text_on_the_card_is_text(caller: Caller) -> None:
    caller.desk.waiting = {"a": a_question(call=a_question()["call"] | {"object": "<script>alert(1)</script>"})}
    assert "<script>alert" not in caller.get(LINK).text
