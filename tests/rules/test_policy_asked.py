"""What evidence keeps of a call's arguments: numbers and lengths, never a text, and read back as it was told."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from builders import a_system
from charter.core.canonical import canonical
from charter.policy.asked import MAX_TOLD, UNKNOWN, read_asked, told_asked
from charter.policy.request import Asker, build_request
from charter.policy.vocabulary import record_of
from charter.registry.charter import Environment

AT = dt.datetime(2026, 11, 24, 9, 30, tzinfo=dt.UTC)
ASKER = Asker("prn_1", "refund-agent", "agent", Environment.PRODUCTION, "payments-ops")
TEXTUAL = ("text", "texts", "alike")
values = st.one_of(
    st.text(max_size=40),
    st.integers(),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.lists(st.text(max_size=8), max_size=5),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.sampled_from("ab"), st.integers(), max_size=2),
    st.none(),
)


def told_of(arguments: dict[str, Any], names: list[str]) -> dict[str, Any]:
    request = build_request(ASKER, a_system(), "refund.create", {"charge_id": "ch_1"} | arguments, AT)
    told = told_asked(request, names, [("refund-agent", 3, True)], "sha256:1")
    return dict(json.loads(canonical(told)))


@given(st.dictionaries(st.sampled_from(["amount", "currency", "note", "count", "tags"]), values, max_size=5))
def test_what_is_read_back_is_what_policy_read_but_for_texts(arguments: dict[str, Any]) -> None:
    names = ["amount", "note", "count", "tags", "currency"]
    request = build_request(ASKER, a_system(), "refund.create", {"charge_id": "ch_1"} | arguments, AT)
    found = read_asked(told_of(arguments, names))
    for name in names:
        record, kept = record_of(request, name), found.arguments[name]
        if record is None:
            assert kept is None
            continue
        assert kept == {form: value for form, value in record.items() if form not in TEXTUAL}
        assert (name in found.withheld) is any(form in record for form in TEXTUAL)
        assert found.knows(name) is (name not in found.withheld)
    assert (found.restrained, found.parties, found.tool_pin, found.at) == (
        {"refund-agent"},
        {"refund-agent": 3},
        "sha256:1",
        AT,
    )


@given(st.text(alphabet=st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), min_size=3, max_size=30))
def test_no_text_of_an_argument_is_kept(secret: str) -> None:
    arguments = {"note": secret, "tags": [secret], "inner": {"deep": secret}}
    kept = json.dumps(told_of(arguments, ["note", "tags", "inner", "inner.deep"]), ensure_ascii=False)
    assert secret not in kept


def test_how_much_is_kept_is_bounded() -> None:
    found = told_of({f"a{number}": number for number in range(200)}, [f"a{number}" for number in range(200)])
    assert len(found["arguments"]) == MAX_TOLD
    assert "x" * 200 not in told_of({}, ["x" * 200])["arguments"]


def test_what_was_not_told_is_unknown_and_never_absent() -> None:
    found = read_asked(told_of({}, ["amount"]))
    assert found.knows("amount")
    assert not found.knows("note")
    for odd in (None, [], "x", 7):
        assert read_asked(odd) == UNKNOWN
