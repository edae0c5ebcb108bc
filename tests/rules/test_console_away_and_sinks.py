"""The pages of stand-ins and of sinks: whose roles it is about, and what waits where."""

from __future__ import annotations

import pytest

from charter.registry.access import Access
from desks import Caller, text_of

TYPED = {"by": "pia@example.com", "until": "2026-12-24", "reason": "on leave"}


@pytest.fixture
def caller() -> Caller:
    return Caller().sign_in()


def test_who_stands_in_for_whom_is_shown_named_and_ended(caller: Caller) -> None:
    page = text_of(caller.get("/stand-ins").text)
    assert "2026-12-05" in page
    assert "on leave" in page
    assert caller.post("/stand-ins", answer="name", person="maria@example.com", **TYPED).status_code == 303
    assert "2026-12-24" in text_of(caller.get("/stand-ins").text)
    assert caller.post("/stand-ins", answer="end", person="maria@example.com", reason="back").status_code == 303
    assert "2026-12-24" not in text_of(caller.get("/stand-ins").text)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"answer": "maybe"}, "answer is missing"),
        ({"answer": "name", "until": "soon"}, "last day is missing, or none"),
        ({"answer": "name", "by": "maria@example.com"}, "Nobody stands in for themselves"),
        ({"answer": "end", "reason": ""}, "reason is missing"),
        ({"answer": "end", "person": "nobody@example.com"}, "Nobody stands in for"),
    ],
)
def test_what_does_not_count_changes_nothing_and_says_why(caller: Caller, fields: dict[str, str], said: str) -> None:
    before = list(caller.desk.away)
    answer = caller.post("/stand-ins", **{"person": "maria@example.com"} | TYPED | fields)
    assert answer.status_code in (400, 404)
    assert said in text_of(answer.text).replace("\u2019", "'")
    assert caller.desk.away == before


def test_whoever_is_signed_in_speaks_of_their_own_roles_alone() -> None:
    caller = Caller()
    caller.cookie = caller.signin.open("jo@example.com", Access.VIEWER, is_local=False)
    assert caller.post("/stand-ins", answer="name", person="maria@example.com", **TYPED).status_code == 303
    assert [each["person"] for each in caller.desk.away] == ["lena@example.com", "jo@example.com"]


def test_a_dead_sink_comes_first_with_what_waits_and_its_last_error(caller: Caller) -> None:
    page = text_of(caller.get("/sinks").text)
    assert "1 of 2 take nothing." in page
    assert page.index("siem") < page.index("archive")
    assert "120 entries" in page
    assert "it answered 503" in page
    assert "7 times in a row, last at" in page
