"""What the console's pages say of findings and of shared accounts, and what their forms do."""

from __future__ import annotations

import pytest

from charter.registry.access import Access
from desks import Caller, a_finding, text_of

FINDING = f"/findings/{a_finding()['id']}"
SPLIT = "/principals/refund-agent/split"


@pytest.fixture
def caller() -> Caller:
    return Caller().sign_in()


def test_what_is_open_is_listed_and_the_settled_on_demand(caller: Caller) -> None:
    page, every = caller.get("/findings").text, caller.get("/findings?all=1").text
    assert "one key stands behind both fraud-scoring and refund-agent" in page
    assert "3 times" in text_of(page)
    assert "held-tool" not in page
    assert "held-tool" in every


def test_a_finding_shows_both_uses_what_followed_and_the_entries(caller: Caller) -> None:
    said = text_of(caller.get(FINDING).text)
    assert "The earlier : token" in said or "The earlier: token" in said
    assert "10.1.2.3" in said
    assert "9.9.9.9" in said
    assert "How sure proved" in said
    assert "refund-agent : restrain" in said
    assert "entry 12" in said
    assert f'href="{SPLIT}"' in caller.get(FINDING).text


def test_a_finding_is_settled_with_a_reason_in_the_name_of_who_is_signed_in(caller: Caller) -> None:
    answer = caller.post(FINDING, state="resolved", reason="the copy is gone")
    assert (answer.status_code, answer.headers["location"]) == (303, FINDING)
    assert caller.desk.asked == [("settle", a_finding()["id"], "resolved", "maria@example.com", "the copy is gone")]
    page = caller.get(FINDING).text
    assert "the copy is gone" in page
    assert "Open it again" in page


@pytest.mark.parametrize(
    ("form", "says"), [({"state": "resolved"}, "reason"), ({"state": "gone", "reason": "x"}, "answer")]
)
def test_what_is_wrong_with_a_form_is_said_on_it(caller: Caller, form: dict[str, str], says: str) -> None:
    answer = caller.post(FINDING, **form)
    assert answer.status_code == 400
    assert says in text_of(answer.text)
    assert caller.desk.asked == []


def test_what_is_settled_already_is_a_conflict(caller: Caller) -> None:
    caller.post(FINDING, state="accepted", reason="two replicas")
    answer = caller.post(FINDING, state="accepted", reason="again")
    assert answer.status_code == 409


def test_who_may_only_look_settles_nothing() -> None:
    caller = Caller().sign_in()
    caller.cookie = caller.signin.open("eva@example.com", Access.VIEWER, is_local=False)
    assert caller.get(FINDING).status_code == 200
    assert caller.post(FINDING, state="resolved", reason="x").status_code == 403
    assert caller.desk.asked == []


@pytest.mark.parametrize("path", ["/findings/nothing", "/findings/fnd_../x", "/principals/-/split"])
def test_what_is_no_name_is_no_page(caller: Caller, path: str) -> None:
    assert caller.get(path).status_code == 404


def test_a_finding_that_is_not_there_is_said_so(caller: Caller) -> None:
    assert caller.get("/findings/fnd_nope").status_code == 404


def test_who_is_behind_an_account_is_told_with_what_separates_them(caller: Caller) -> None:
    page = caller.get(f"{SPLIT}?client=1&place=1&since=7d").text
    assert caller.desk.asked == [("split", "refund-agent", "7d", ("client", "place"))]
    said = text_of(page)
    assert "63 calls" in said
    assert "80 %, high" in said
    assert "refund-agent-reports" in said
    assert "payments/charge.read : 31" in said
    assert "2 calls belong to no group" in said
    assert "charter split refund-agent --by client --by place --write" in said
    assert 'name="place" value="1" checked' in page


def test_an_account_without_calls_and_a_time_that_is_none_are_said_on_the_page(caller: Caller) -> None:
    nothing = caller.get("/principals/price-watch/split")
    assert (nothing.status_code, "has no call" in nothing.text) == (200, True)
    wrong = caller.get(f"{SPLIT}?since=never")
    assert (wrong.status_code, "is no time" in wrong.text) == (400, True)
    assert caller.get("/principals/nobody/split").status_code == 404


def test_a_principals_page_says_what_is_open_about_it(caller: Caller) -> None:
    page = caller.get("/principals/refund-agent").text
    assert f'href="{FINDING}"' in page
    caller.post(FINDING, state="resolved", reason="x")
    assert FINDING not in caller.get("/principals/refund-agent").text


def test_one_sender_is_said_to_be_one(caller: Caller) -> None:
    caller.desk.parted |= {"proposals": [], "by": [], "confidence": None}
    assert "there is one" in text_of(caller.get(SPLIT).text)


def test_a_finding_that_holds_a_principal_leads_to_its_review_and_is_settled_by_no_word(caller: Caller) -> None:
    caller.desk.found.append(
        a_finding(9, kind="changed-composition", body={"principal": "refund-agent", "change": "sha256:" + "c" * 64})
    )
    page = caller.get(f"/findings/{a_finding(9)['id']}").text
    assert 'href="/compositions/refund-agent"' in page
    assert "It is gone" not in page
