"""Who is behind one account: what tells them apart, how sure that is, and what is proposed for each."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import REFUND_CHARTER
from charter.discovery.proposal import proposals, unused
from charter.discovery.split import Separation, separated, separations
from charter.discovery.uses import MAX_SENDERS, Call, Feature, Tally, Uses
from charter.policy.like import is_like
from charter.registry.charter import Charter

START = dt.datetime(2026, 11, 2, 9, tzinfo=dt.UTC)
SHARED = Charter.model_validate(
    REFUND_CHARTER
    | {
        "principal": "integration",
        "grants": [
            {"system": "payments", "actions": ["charge.read", "refund.create"], "objects": ["charge/*"]},
            {"system": "ledger", "actions": ["*"], "objects": ["book/*", "report"]},
            {"system": "mail", "actions": ["mail.send"], "limit": [{"count": 5, "per": "day"}]},
        ],
    }
)


def a_call(number: int = 0, **changed: Any) -> Call:
    told = {Feature(name): changed.pop(name) for name in [each.value for each in Feature] if name in changed}
    given: dict[str, Any] = {
        "at": START + dt.timedelta(minutes=number),
        "verdict": "allow",
        "system": "payments",
        "action": "charge.read",
        "effect": "read",
        "object": f"charge/ch_{number % 7}",
        "rule": "integration/grant-1",
        "data": ("customer-pii",),
        "token": f"tok_{number // 5}",
        "told": tuple(told.items()),
    }
    return Call(**given | changed)


def used(*calls: Iterable[Call]) -> Uses:
    found = Uses()
    for each in calls:
        for call in each:
            found.add(call)
    return found


def reading(client: str, place: str, count: int = 20, **more: Any) -> list[Call]:
    return [a_call(n, client=client, place=place, token=f"{client}-{n // 5}", **more) for n in range(count)]


def refunding(client: str, place: str, count: int = 20) -> list[Call]:
    return reading(client, place, count, action="refund.create", effect="irreversible")


def chosen(uses: Uses) -> Separation:
    return separations(uses)[0]


def test_two_programs_are_told_apart_by_what_they_say_they_are() -> None:
    found = chosen(used(reading("reports 1.0", "office"), refunding("disputes 2.1", "office")))
    assert found.features == (Feature.CLIENT,)
    assert {group.label for group in found.groups} == {"reports 1.0", "disputes 2.1"}
    assert (found.confidence, found.word) == (0.8, "high")


def test_a_key_is_surer_than_a_word_and_a_word_than_a_place() -> None:
    calls = [
        *(a_call(n, credential="crd_1", client="a", place="x", token=f"a{n}") for n in range(10)),
        *(a_call(n, credential="crd_2", client="b", place="y", token=f"b{n}") for n in range(10)),
    ]
    assert [each.features[0] for each in separations(used(calls))][:3] == [
        Feature.CREDENTIAL,
        Feature.CLIENT,
        Feature.PLACE,
    ]


def test_keys_that_live_for_one_call_tell_nobody_apart() -> None:
    calls = [a_call(n, key=f"k{n}", client="ab"[n % 2], token=f"t{n}") for n in range(60)]
    assert chosen(used(calls)).features == (Feature.CLIENT,)


def test_a_token_that_is_used_in_two_places_makes_places_worth_less() -> None:
    calls = [a_call(n, place="xy"[n % 2], token="one") for n in range(40)]
    found = separated(used(calls), [Feature.PLACE])
    assert (found.steadiness, found.confidence) == (0.0, 0.0)


def test_one_sender_is_one() -> None:
    assert chosen(used(reading("reports", "office"))).confidence == 0.0


def test_shifts_are_told_apart_where_the_day_is_quiet_in_between() -> None:
    day = [a_call(n, at=START + dt.timedelta(days=n, hours=n % 4), token=f"d{n}") for n in range(20)]
    night = [a_call(n, at=START + dt.timedelta(days=n, hours=13 + n % 3), token=f"n{n}") for n in range(20)]
    found = separated(used(day, night), [Feature.HOURS])
    assert {group.label for group in found.groups} == {"09-13", "22-01"}


def test_several_features_tell_apart_together() -> None:
    calls = [*reading("a", "x"), *reading("a", "y"), *reading("b", "x")]
    found = separated(used(calls), [Feature.CLIENT, Feature.PLACE])
    assert {group.label for group in found.groups} == {"a, x", "a, y", "b, x"}


def test_what_is_not_known_belongs_to_nobody() -> None:
    found = separated(used(reading("a", "x"), [a_call(n) for n in range(20)]), [Feature.CLIENT])
    assert (len(found.groups), found.rest.calls, found.coverage) == (1, 20, 0.5)


def test_memory_is_bounded_and_no_call_is_lost() -> None:
    uses = used(a_call(n, key=f"key-{n}", client=f"c{n % 3}") for n in range(MAX_SENDERS + 500))
    assert len(uses.by_sender) <= MAX_SENDERS + 24 * 3
    assert sum(tally.calls for tally in uses.by_sender.values()) == MAX_SENDERS + 500


# --- what is proposed ---


def split_by(feature: Feature, *calls: list[Call]) -> list[Any]:
    return proposals(SHARED, separated(used(*calls), [feature]).groups)


def test_each_gets_what_it_used_and_nothing_else() -> None:
    by_name = {
        each.name: each.charter["grants"]
        for each in split_by(Feature.CLIENT, reading("reports 1.0", "x"), refunding("disputes 2.1", "x"))
    }
    assert by_name == {
        "integration-reports": [{"system": "payments", "actions": ["charge.read"], "objects": ["charge/*"]}],
        "integration-disputes": [{"system": "payments", "actions": ["refund.create"], "objects": ["charge/*"]}],
    }


def test_one_object_that_is_used_all_the_time_is_named_by_itself() -> None:
    calls = reading("a", "x", object="report", system="ledger", action="rows.read", rule="integration/grant-2")
    (found,) = split_by(Feature.CLIENT, calls)
    assert found.charter["grants"] == [{"system": "ledger", "actions": ["rows.read"], "objects": ["report"]}]


def test_limits_and_conditions_come_along() -> None:
    calls = reading("a", "x", system="mail", action="mail.send", object="*", rule="integration/grant-3")
    (found,) = split_by(Feature.CLIENT, calls)
    (grant,) = found.charter["grants"]
    assert grant == {"system": "mail", "actions": ["mail.send"], "limit": [{"count": 5, "per": "day"}]}


def test_what_was_refused_is_told_and_not_granted() -> None:
    denied = [a_call(n, client="a", verdict="deny", action="refund.create", token="t") for n in range(6)]
    (found,) = split_by(Feature.CLIENT, [*reading("a", "x"), *denied])
    assert [grant["actions"] for grant in found.charter["grants"]] == [["charge.read"]]
    assert "payments/refund.create was refused 6 times: it is left out" in found.notes


def test_what_no_grant_of_today_allows_is_told_and_not_granted() -> None:
    calls = reading("a", "x", system="gone", rule="integration/grant-9")
    (found,) = split_by(Feature.CLIENT, calls)
    assert found.charter["grants"] == []
    assert "gone/charge.read was allowed then" in found.notes[0]


def test_what_nobody_used_can_be_taken_out_at_once() -> None:
    whole = Tally()
    for tally in used(reading("a", "x")).by_sender.values():
        whole.merge(tally)
    assert unused(SHARED, whole) == [
        {"grant": 1, "system": "payments", "actions": ["refund.create"], "whole": False},
        {"grant": 2, "system": "ledger", "actions": ["*"], "whole": True},
        {"grant": 3, "system": "mail", "actions": ["mail.send"], "whole": True},
    ]


def test_names_are_names_and_no_two_are_alike() -> None:
    values = ["Claude Code 1.2.3", "claude-code", "x" * 200, "Ünïcode ☃", "😀", "-", "a@b.example"]
    calls = [a_call(n, client=value, token=f"{value}{n}") for value in values for n in range(6)]
    names = [each.name for each in split_by(Feature.CLIENT, calls)]
    assert len(set(names)) == len(values)
    for name in names:
        Charter.model_validate(SHARED.to_json() | {"principal": name})


@pytest.mark.parametrize("value", ["two\nlines: [1", "# no comment", "{a: b}", "*", "'\"", "\u202egnp"])
def test_whatever_a_program_calls_itself_the_file_is_strict_yaml(value: str) -> None:
    from charter.registry.document import read_document

    (found,) = split_by(Feature.CLIENT, reading(value, "x"))
    text = found.text(SHARED, "2026-11-01T", "2026-11-30T")
    document = read_document(text.encode(), "principals/x.yaml")
    assert document.value["principal"] == found.name
    assert "purpose" not in document.value
    assert "# MISSING: purpose" in text
    assert "# MISSING: approved" in text


_objects = st.one_of(
    st.sampled_from(["charge/1", "charge/2", "book/a", "book/b/c", "report", "*", "other/x", "charge/", "/"]),
    st.text("abc/*", min_size=1, max_size=12),
)
_systems = st.sampled_from(["payments", "ledger", "mail", "gone"])
_actions = st.sampled_from(["charge.read", "refund.create", "mail.send", "rows.read"])


@given(st.lists(st.tuples(_systems, _actions, _objects, st.sampled_from(["allow", "deny", "escalate"])), max_size=60))
def test_no_proposal_grants_what_the_shared_charter_does_not(done: list[tuple[str, str, str, str]]) -> None:
    calls = [
        a_call(n, client="a", system=system, action=action, object=on, verdict=verdict, token="t")
        for n, (system, action, on, verdict) in enumerate(done)
    ]
    for found in split_by(Feature.CLIENT, calls):
        Charter.model_validate(found.filled(SHARED))
        for grant in found.charter["grants"]:
            assert any(_is_within(grant, shared.model_dump(mode="json")) for shared in SHARED.grants)


def _is_within(grant: dict[str, Any], shared: dict[str, Any]) -> bool:
    patterns = grant.get("objects", ["*"])
    return (
        grant["system"] == shared["system"]
        and ("*" in shared["actions"] or set(grant["actions"]) <= set(shared["actions"]))
        and all(any(is_like(each, wider) for wider in shared["objects"]) for each in patterns)
        and grant.get("limit", []) == [{k: v for k, v in each.items() if v is not None} for each in shared["limit"]]
    )
