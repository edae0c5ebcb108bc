"""The page of credentials: how old each is, when it is replaced, and having one replaced now, with a reason."""

from __future__ import annotations

import pytest

from charter.registry.access import Access
from desks import Caller, FakeDesk, an_age


@pytest.fixture
def caller() -> Caller:
    return Caller().sign_in()


def desk_of(caller: Caller) -> FakeDesk:
    return caller.desk


def test_the_page_shows_each_credential_with_its_age_and_who_replaces_it(caller: Caller) -> None:
    desk_of(caller).ages.append(an_age(kind="vault", of="payments", id="upstream", next=None, by="a person"))
    page = caller.get("/credentials").text

    for fact in ("token", "12 days", "refund-agent", "its client", "overdue since", "1 overdue", "when asked"):
        assert fact in page
    assert "charter rotate vault upstream" in page


def test_one_of_charters_own_keys_is_replaced_with_a_reason(caller: Caller) -> None:
    answer = caller.post("/credentials/own", kind="token", reason="due")

    assert answer.status_code == 200
    assert "the token key is a-fresh-one now" in answer.text
    assert desk_of(caller).asked[-1][:3] == ("rotate", "token", False)
    assert caller.post("/credentials/own", kind="token", reason="stolen", at_once="yes").status_code == 200
    assert desk_of(caller).asked[-1][:3] == ("rotate", "token", True)


def test_a_principals_key_is_asked_for_or_revoked_at_once(caller: Caller) -> None:
    asked = caller.post("/credentials/principals", name="refund-agent", key="crd_1", reason="due")
    revoked = caller.post("/credentials/principals", name="refund-agent", key="crd_1", reason="lost", at_once="yes")

    assert "crd_1 of refund-agent is asked for another" in asked.text
    assert "crd_1 of refund-agent is revoked, and what it obtained is dead" in revoked.text
    assert [each[3] for each in desk_of(caller).asked if each[0] == "rotate"] == [False, True]


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("own", {"kind": "master", "reason": "due"}, 400),
        ("own", {"kind": "", "reason": "due"}, 400),
        ("own", {"kind": "token", "reason": " "}, 400),
        ("own", {"kind": "x509-intermediate", "reason": "due", "at_once": "yes"}, 400),
        ("principals", {"name": "refund-agent", "key": "crd_2", "reason": "due"}, 404),
        ("principals", {"name": "nobody", "key": "crd_1", "reason": "due"}, 404),
        ("principals", {"name": "../x", "key": "crd_1", "reason": "due"}, 400),
        ("principals", {"name": "refund-agent", "key": "x" * 65, "reason": "due"}, 400),
    ],
)
def test_what_is_wrong_is_said_on_the_page_and_replaces_nothing(
    caller: Caller, path: str, fields: dict[str, str], status: int
) -> None:
    answer = caller.post(f"/credentials/{path}", **fields)

    assert answer.status_code == status
    assert "Credentials</h1>" in answer.text
    assert [each for each in desk_of(caller).asked if each[0] == "rotate" and each[1] != "x509-intermediate"] == []


def test_an_operator_has_principals_keys_replaced_and_only_an_admin_charters_own() -> None:
    from charter.console.door import needed_for

    assert needed_for("/credentials/principals") is Access.OPERATOR
    assert needed_for("/credentials/own") is Access.ADMIN
