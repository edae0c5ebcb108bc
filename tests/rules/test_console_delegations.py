"""What the console's pages say of delegations, and what their forms do."""

from __future__ import annotations

import re

import pytest

from charter.cli.delegation_commands import _covered
from charter.registry.access import Access
from charter.registry.delegation_tree import grown
from desks import Caller, a_delegation, an_approval, text_of

FIRST, SECOND = a_delegation()["id"], a_delegation(2)["id"]
LENT = {"borrower": "refund-agent", "purpose": "dispute-handling", "lasts": "30m", "reason": "a dispute"}


@pytest.fixture
def caller() -> Caller:
    return Caller().sign_in()


def with_access(access: Access) -> Caller:
    """Return someone signed in who may do that much."""
    caller = Caller().sign_in()
    caller.cookie = caller.signin.open("eva@example.com", access, is_local=False)
    return caller


def test_delegations_are_drawn_from_the_initiator_down(caller: Caller) -> None:
    page = caller.get("/delegations")

    tree = page.text.partition('<ul class="tree">')[2].partition("</article>")[0]
    assert page.status_code == 200
    assert re.search(r"<ul>\s*<li>.*fraud-scoring.*</li>\s*</ul>", tree, re.DOTALL)
    assert "maria@example.com began" in text_of(page.text)
    assert "payments : charge.read" in text_of(tree)


def test_what_rests_on_something_that_is_not_listed_stands_in_its_place() -> None:
    trees = grown([a_delegation(2, rests_on=FIRST), a_delegation(3, rests_on=SECOND)])

    (branch,) = trees["maria@example.com"]
    assert (branch.delegation["id"], [each.delegation["id"] for each in branch.branches]) == (
        SECOND,
        [a_delegation(3)["id"]],
    )


def test_the_list_can_be_narrowed_and_the_narrowed_withdrawn(caller: Caller) -> None:
    page = caller.get("/delegations?agent=fraud-scoring").text

    assert "1 delegation" in text_of(page)
    assert 'href="/delegations/withdraw?agent=fraud-scoring"' in page


def test_what_is_lent_without_a_scope_goes_as_far_as_its_purpose(caller: Caller) -> None:
    """Purposes narrow (purposes.yaml): nowhere is it said that all passes which both sides may do."""
    for each in caller.desk.lent:
        each["scope"] = None
    assert "whatever both may do for it" in text_of(caller.get("/delegations").text)
    assert "Whatever both sides may do for that purpose." in text_of(caller.get(f"/delegations/{SECOND}").text)
    assert _covered(None) == "whatever both may do for that purpose"


def test_a_delegation_shows_its_chain_with_who_vouched_and_who_signed(caller: Caller) -> None:
    page = text_of(caller.get(f"/delegations/{SECOND}").text)

    order = [page.index(word) for word in ("initiator Vouched", "refund-agent decider", "fraud-scoring decider")]
    assert order == sorted(order)
    assert page.count("Its acceptance is signed by its own key") == 2
    assert f"charter delegations show {SECOND} --json" in page


@pytest.mark.parametrize("path", ["/delegations/del_", "/delegations/vrd_" + "0" * 26, f"/delegations/{FIRST[:-1]}9"])
def test_a_delegation_that_is_not_there_is_told_as_such(caller: Caller, path: str) -> None:
    assert caller.get(path).status_code == 404


def test_a_person_lends_in_their_own_name_whatever_the_form_says(caller: Caller) -> None:
    answer = caller.post("/delegations/own", **LENT, person="ceo@example.com")

    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/delegations/del_")
    assert caller.desk.asked[-1] == (
        "lend", "maria@example.com", "refund-agent", "dispute-handling", "30m", "a dispute",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "status", "said"),
    [
        ({"purpose": "marketing"}, 403, "takes none for `marketing`"),
        ({"borrower": "nobody-here"}, 404, "there is no principal"),
        ({"borrower": "<script>"}, 400, "principal"),
        ({"reason": " "}, 400, "reason"),
    ],
)
def test_what_cannot_be_lent_is_told_on_the_form_with_what_was_typed(
    caller: Caller, changed: dict[str, str], status: int, said: str
) -> None:
    answer = caller.post("/delegations/own", **(LENT | changed))

    assert answer.status_code == status
    assert said in text_of(answer.text).lower()
    assert 'value="30m"' in answer.text
    assert "<script>" not in answer.text.partition("<main")[2]


def test_a_withdrawal_says_what_it_does_and_asks_for_the_reason(caller: Caller) -> None:
    asked = caller.get(f"/delegations/withdraw?link={FIRST}")
    missing = caller.post("/delegations/own/withdraw", link=FIRST, reason="")
    done = caller.post("/delegations/own/withdraw", link=FIRST, reason="done with it")

    assert "with them whatever rests on them" in text_of(asked.text)
    assert (missing.status_code, done.status_code) == (400, 200)
    assert "1 delegation withdrawn" in text_of(done.text)
    assert caller.desk.asked == [
        ("withdraw", {"link": FIRST, "person": "maria@example.com"}, "maria@example.com", "done with it")
    ]


def test_a_withdrawal_that_names_nothing_is_no_page(caller: Caller) -> None:
    assert caller.get("/delegations/withdraw").status_code == 404


def test_a_viewer_withdraws_their_own_alone() -> None:
    viewer = with_access(Access.VIEWER)

    own = viewer.post("/delegations/own/withdraw", link=FIRST, person="maria@example.com", reason="mine?")
    others = viewer.post("/delegations/withdraw", link=FIRST, reason="not mine")
    edge = viewer.post("/delegations/switch", lender="humans", borrower="refund-agent", state="off", reason="x")

    assert own.status_code == 404  # they lent nothing
    assert (others.status_code, edge.status_code) == (403, 403)
    assert viewer.desk.asked == []


def test_an_operator_withdraws_what_others_lent() -> None:
    operator = with_access(Access.OPERATOR)

    page = operator.get("/delegations/withdraw?person=maria@example.com").text
    done = operator.post("/delegations/withdraw", person="maria@example.com", reason="left")

    assert 'action="/delegations/withdraw"' in page
    assert done.status_code == 200
    assert operator.desk.asked == [("withdraw", {"person": "maria@example.com"}, "eva@example.com", "left")]


def test_an_edge_is_switched_off_and_on_again(caller: Caller) -> None:
    off = caller.post("/delegations/switch", lender="humans", borrower="refund-agent", state="off", reason="odd calls")
    shown = text_of(caller.get("/delegations").text)
    caller.post("/delegations/switch", lender="humans", borrower="refund-agent", state="on", reason="looked at")

    assert off.status_code == 303
    assert "humans refund-agent Reason Switch on" in shown
    assert [each[3] for each in caller.desk.asked] == [False, True]
    assert "None: whoever charters let lend may lend" in text_of(caller.get("/delegations").text)


@pytest.mark.parametrize("fields", [{"state": "maybe"}, {}, {"state": "off", "borrower": "A B"}])
def test_a_switch_that_says_not_what_changes_nothing(caller: Caller, fields: dict[str, str]) -> None:
    answer = caller.post(
        "/delegations/switch", **({"lender": "humans", "borrower": "refund-agent", "reason": "x"} | fields)
    )

    assert answer.status_code == 400
    assert caller.desk.asked == []


def test_who_approves_a_call_sees_on_whose_behalf_it_is(caller: Caller) -> None:
    party = {"name": "jon@example.com", "role": "initiator", "control_plane": "http://127.0.0.1:8420"}
    approval = an_approval()
    approval["call"]["chain"] = {"delegation": FIRST, "purpose": "dispute-handling", "parties": [party]}
    caller.desk.waiting = {approval["id"]: approval}

    page = caller.get("/approvals").text

    assert "On behalf of jon@example.com initiator" in text_of(page)
    assert f'href="/delegations/{FIRST}"' in page


def test_names_of_delegations_cannot_become_markup(caller: Caller) -> None:
    caller.desk.lent = [a_delegation(initiator="<b>x</b>", lender="<b>x</b>", borrower="<i>y</i>", purpose="<u>z</u>")]

    pages = caller.get("/delegations").text + caller.get(f"/delegations/{FIRST}").text

    assert not re.search(r"<[biu]>[xyz]", pages)
