"""The page of what is kept: erasing with a look before, holds, and what of them each visitor may learn."""

from __future__ import annotations

from typing import Any

import pytest

from charter.console.door import needed_for
from charter.registry.access import Access
from desks import Caller

ANN = "held@example.com"


@pytest.fixture
def caller() -> Caller:
    return Caller().sign_in()


def erased(caller: Caller, **fields: str) -> Any:
    return caller.post("/evidence/erase", **({"person": ANN, "reason": "request 4711"} | fields))


def deeds(caller: Caller) -> list[Any]:
    return [each for each in caller.desk.asked if each[0] == "erase"]


def test_the_page_tells_retention_and_witnesses(caller: Caller) -> None:
    page = caller.get("/evidence").text
    for fact in (
        "customer-pii",
        "90d",
        "never",
        "eye.example/w",
        "1 of 1 cosigned the head of 7 entries",
        "/gone",
        "&lt;i&gt;no",
    ):
        assert fact in page


def test_what_would_go_is_shown_before_it_goes(caller: Caller) -> None:
    page = erased(caller)
    assert page.status_code == 200
    assert "1 would be erased" in page.text
    assert "Type 1 to confirm" in page.text
    assert f'name="person" value="{ANN}"' in page.text
    assert deeds(caller) == []


def test_another_number_than_was_shown_erases_nothing(caller: Caller) -> None:
    answer = erased(caller, confirm="2")
    assert answer.status_code == 409
    assert "is not how many would be erased" in answer.text
    assert "Type 1 to confirm" in answer.text
    assert deeds(caller) == []


def test_the_number_that_was_shown_erases_in_the_visitors_name(caller: Caller) -> None:
    answer = erased(caller, confirm="1", entry="5")
    assert "1 erased; the log tells of it" in answer.text
    assert deeds(caller) == [("erase", {"person": ANN, "entry": 5}, "maria@example.com", "request 4711")]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"person": ""}, "Nothing is named"),
        ({"reason": ""}, "reason"),
        ({"entry": "\uff15"}, "is no index of an entry"),
        ({"entry": "-1"}, "is no index of an entry"),
        ({"person": "a\u202eb"}, "person"),
    ],
)
def test_what_names_nothing_or_hides_something_is_refused(caller: Caller, fields: dict[str, str], told: str) -> None:
    answer = erased(caller, **fields)
    assert answer.status_code == 400
    assert told in answer.text
    assert deeds(caller) == []


def test_a_hold_is_placed_shown_counted_and_released(caller: Caller) -> None:
    assert caller.post("/evidence/holds", person=ANN, reason="case 12").status_code == 303
    page = caller.get("/evidence").text
    assert ANN in page
    assert "case 12" in page
    assert "holds keep 1" in erased(caller).text
    assert caller.post("/evidence/release", hold="hld_9", reason="closed").status_code == 404
    assert caller.post("/evidence/release", hold="hld_0", reason="closed").status_code == 303
    assert ANN not in caller.get("/evidence").text


def test_a_viewer_learns_how_many_holds_there_are_and_not_of_whom(caller: Caller) -> None:
    caller.post("/evidence/holds", person=ANN, reason="case 12")
    for access in (Access.VIEWER, Access.OPERATOR):
        caller.cookie = caller.signin.open("eva@example.com", access, is_local=False)
        page = caller.get("/evidence").text
        assert "Holds: 1" in page
        assert "for administrators" in page
        for secret in (ANN, "case 12", "hld_0", 'action="/evidence/'):
            assert secret not in page
        assert erased(caller, confirm="1").status_code == 403
        assert caller.post("/evidence/release", hold="hld_0", reason="closed").status_code == 403
    assert deeds(caller) == []


def test_every_deed_of_the_page_takes_an_administrator() -> None:
    assert {needed_for(f"/evidence/{deed}") for deed in ("erase", "holds", "release")} == {Access.ADMIN}


def test_what_other_nodes_have_to_erase_is_told_before_and_after(caller: Caller) -> None:
    caller.desk.elsewhere = [{"log": "<i>b</i>", "found": 3, "held": 0}]
    page = erased(caller).text
    assert "3 of them stand in the log <bdi>&lt;i&gt;b&lt;/i&gt;</bdi> of another node" in page
    assert "in the log <bdi>&lt;b&gt;other&lt;/b&gt;</bdi> that wait for its node to run: 2." in page
    assert (
        "1 erased; the log tells of it; 3 in logs of other nodes go when these next run."
        in erased(caller, confirm="1").text
    )
