"""What a request points at by name, and what stands alone there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.gateway.pointing import MAX_NAMES, MAX_POINTED, Pointed, names_in

IBAN = "GB29NWBK60161331926819"


def pointed(request: str, content: Any, *more: Any, **arguments: Any) -> Pointed:
    found = Pointed()
    found.hear(request)
    found.take_in("files", arguments, [content, *more])
    return found


@pytest.mark.parametrize(
    ("text", "places", "quoted"),
    [
        ("her address is on her page: www.dora.example", ["www.dora.example"], []),
        ("see https://www.Dora.example/people/ please.", ["www.dora.example/people"], []),
        ("pay (bill-december.txt), and 'Bill of March'", ["bill-december.txt"], ["bill of march"]),
        ("pay 'bill-december.txt'", ["bill-december.txt"], []),
        ("pay \u201cBill of March\u201d", [], ["bill of march"]),
        ("it's Bob's, and Eve's too", [], []),
        ("write to 'ana@example.com' or bo@example.com", [], []),
        ("do 3.5 of it, e.g. now", [], []),
        ("", [], []),
    ],
)
def test_a_name_is_what_is_quoted_or_has_the_form_of_a_file_or_page(
    text: str, places: list[str], quoted: list[str]
) -> None:
    found = names_in(text)
    assert [name for name, is_place in found.items() if is_place] == places
    assert [name for name, is_place in found.items() if not is_place] == quoted


def test_a_text_is_pointed_at_by_the_form_of_a_file_or_page_alone() -> None:
    assert pointed("pay bill.txt", f"pay {IBAN}", path="bill.txt").holds(IBAN, "to", "bank")
    assert not pointed("pay 'the bill'", f"1 hit: the bill, pay {IBAN}", query="the bill").holds(IBAN, "to", "bank")
    assert pointed("pay 'the bill'", {"title": "The bill", "text": f"pay {IBAN}"}, query="the bill").holds(
        IBAN, "to", "b"
    )


def test_of_a_document_counts_what_is_alone_of_its_kind() -> None:
    bill = f"Car rental 98.70\nto {IBAN}, or ask ana@example.com or bo@example.com"
    found = pointed("pay 'bill.txt'", bill, path="bill.txt")
    assert found.holds(IBAN.lower(), "to", "bank")
    assert found.holds(98.7, "amount", "bank")
    assert not found.holds("ana@example.com", "to", "bank")
    assert not found.holds(True, "to", "bank")
    assert not found.holds(None, "to", "bank")
    assert not found.holds("Car rental", "to", "files")


@pytest.mark.parametrize(
    "bill",
    [
        "98.70 and 1,098.70",
        "98.70\n98.71",
        "98.7",
        "98.700",
        "v1.98.70.3",
        "98.70%",
    ],
)
def test_an_amount_that_is_not_alone_or_not_written_as_money_is_none(bill: str) -> None:
    assert not pointed("pay 'bill.txt'", bill, path="bill.txt").amounts


def test_servers_wrap_lists_and_texts_and_say_both_twice() -> None:
    record = {"title": "Kick-off", "participants": ["ana@example.com", "bo@example.com"], "room": "blue"}
    asked = "with the same participants as 'Kick-off'"
    for contents in (
        [record],
        [[record]],
        [{"result": [record]}],
        [record, record],
        [{"result": [record]}, "- Kick-off"],
    ):
        found = pointed(asked, *contents, query="Kick-off")
        assert found.holds("ana@example.com", "participants", "files")
        assert found.holds("bo@example.com", "participants", "files")
        assert not found.holds("ana@example.com", "to", "files")
        assert not found.holds("ana@example.com", "participants", "mail")
    assert pointed("see page.html", {"result": f"pay {IBAN}"}, path="page.html").holds(IBAN, "to", "bank")


def test_what_is_kept_is_bounded() -> None:
    found = Pointed()
    found.hear(" ".join(f"'file {number}'" for number in range(2 * MAX_NAMES)))
    assert len(found.names) == MAX_NAMES
    for number in range(40):
        record = {"title": "file 1", "many": [f"{number} {each}" for each in range(100)]}
        found.take_in("files", {"query": "file 1"}, [record])
    assert len(found.fields) <= MAX_POINTED + 101


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.sampled_from(["a.txt", "x@y.org", IBAN, "9.50"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["title", "to", "a", "b"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=4))
def test_nothing_is_kept_that_did_not_stand_there(contents: list[Any]) -> None:
    found = pointed("see 'a.txt'", None, *contents, path="a.txt")
    said = repr(contents).casefold()
    assert all(value in said for value in found.values)
    assert len(found.values) <= 2
    assert len(found.amounts) <= 1
    assert not pointed("see it", None, *contents, path="a.txt").fields


@given(st.text(max_size=200))
def test_any_text_can_be_heard(text: str) -> None:
    assert all("@" not in name for name in names_in(text))
