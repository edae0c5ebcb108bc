"""What the console says of a principal's behaviour, and who may say that something is normal for it."""

from __future__ import annotations

import pytest

from charter.registry.access import Access
from desks import Caller, a_finding, a_signal, text_of

PAGE = "/behaviour/refund-agent"
FORM = {"finding": a_signal()["finding"], "until": "30d", "reason": "a new task"}


@pytest.fixture
def caller() -> Caller:
    return Caller().sign_in()


def test_a_page_says_what_is_usual_what_was_not_and_why(caller: Caller) -> None:
    page = caller.get(PAGE).text
    said = text_of(page)
    assert "customer/* on payments is new to it" in said.replace("  ", " ")
    assert "14.1 object" in said
    assert "19.4 bits" in said
    assert "payments/charge.read 360" in said
    assert "Held down: restrain, by the rule left-its-mission" in said
    assert "objects: [&#34;charge/*&#34;]" in page or 'objects: ["charge/*"]' in page
    assert f'href="/findings/{a_signal()["finding"]}"' in page


def test_whoever_did_nothing_yet_has_a_page_too(caller: Caller) -> None:
    said = text_of(caller.get("/behaviour/price-watch").text)
    assert "It did nothing yet" in said
    assert "Nothing was noticed" in said


def test_accepting_names_the_person_and_shows_how_it_stands(caller: Caller) -> None:
    done = caller.post(f"{PAGE}/accept", **FORM)
    assert done.status_code == 200
    assert "Accepted." in done.text
    assert caller.desk.asked[-1] == (
        "accept-signal",
        "refund-agent",
        a_signal()["finding"],
        "30d",
        "maria@example.com",
        "a new task",
    )
    assert "working days 03:00" in done.text


@pytest.mark.parametrize(("field", "value"), [("reason", ""), ("until", "soon"), ("finding", "")])
def test_what_is_wrong_with_a_form_is_said_on_it(caller: Caller, field: str, value: str) -> None:
    answer = caller.post(f"{PAGE}/accept", **FORM | {field: value})
    assert answer.status_code == 400
    assert "accept-signal" not in str(caller.desk.asked)


def test_only_its_owner_or_an_operator_says_what_is_normal() -> None:
    for access, owner, status in (
        (Access.VIEWER, "someone@example.com", 403),
        (Access.VIEWER, "maria@example.com", 200),
        (Access.OPERATOR, "someone@example.com", 200),
    ):
        person = Caller()
        person.cookie = person.signin.open("maria@example.com", access, is_local=False)
        person.desk.behaved["owner"] = owner
        assert person.post(f"{PAGE}/accept", **FORM).status_code == status, (access, owner)


def test_everybodys_signals_are_listed_and_lead_to_the_pages(caller: Caller) -> None:
    page = caller.get("/behaviour").text
    assert f'href="{PAGE}"' in page
    caller.desk.behaved["signals"] = []
    assert "everybody did what they usually do" in caller.get("/behaviour").text


@pytest.mark.parametrize("path", ["/behaviour/nobody", "/behaviour/A%20b"])
def test_nobody_is_no_page(caller: Caller, path: str) -> None:
    assert caller.get(path).status_code == 404


def test_a_finding_of_behaviour_says_why_and_leads_to_the_page(caller: Caller) -> None:
    body = a_signal() | {"response": {"rule": "left-its-mission", "does": "restrain"}}
    caller.desk.found.append(a_finding(9, kind="behaviour", body=body, principals=["refund-agent"]))
    page = caller.get(f"/findings/{a_finding(9)['id']}").text
    assert "14.1" in page
    assert f'href="{PAGE}"' in page
    assert "left-its-mission" in page


def test_hostile_words_stay_text(caller: Caller) -> None:
    evil = "<script>alert(1)</script>"
    signal = a_signal(deed=evil)
    signal["contributions"][0] |= {"key": f'"{evil}', "sentence": evil}
    caller.desk.behaved["signals"] = [signal]
    for path in ("/behaviour", PAGE):
        assert "<script>alert" not in caller.get(path).text
