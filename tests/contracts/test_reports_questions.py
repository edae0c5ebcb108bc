"""The five review questions, on entries whose answers are known by hand."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charter.core.errors import IntegrityError
from charter.evidence.entry import Draft, EntryKind, place
from charter.reports.answer import NAMES
from charter.reports.permissions import Aspect, Reach
from charter.reports.questions import QUESTIONS
from review_entries import SINCE, a_permission, a_refusal, a_verdict, an_outcome, answers, rows


def test_an_empty_log_answers_politely() -> None:
    found = answers([])

    assert list(found) == ["most-active", "sensitive", "refused", "unused", "unusual"]
    assert all(answer.rows == () and answer.sentence.startswith("None in this period") for answer in found.values())
    assert all("SELECT" in answer.sql for answer in found.values())


def test_the_most_active_come_first_with_how_their_calls_were_decided_and_ended() -> None:
    lines = [
        *[
            a_verdict(f"2026-11-0{day}T09:00", action=action)
            for day in (2, 3)
            for action in ("charge.read", "charge.list")
        ],
        a_refusal("2026-11-03T10:00"),
        a_verdict("2026-11-03T11:00", principal="beta", verdict="escalate", system="ledger"),
        a_verdict("2026-11-03T11:00", principal="alpha"),
        an_outcome("2026-11-02T09:00"),
        an_outcome("2026-11-02T09:01", outcome="tool-error", bytes=11),
    ]

    found = answers(lines)["most-active"]

    assert rows(
        found, "principal", "calls", "allowed", "denied", "escalated", "actions", "days", "failed", "bytes"
    ) == [
        ("refund-agent", 5, 4, 1, 0, 2, 2, 1, 111),
        ("alpha", 1, 1, 0, 0, 1, 1, 0, 0),
        ("beta", 1, 0, 0, 1, 1, 1, 0, 0),
    ]
    assert rows(found, "last")[0] == ("2026-11-03T10:00:00Z",)
    assert rows(found, "sentence")[0] == (
        "refund-agent made 5 calls on 2 days: 4 allowed, 1 denied, 0 sent to a person; 1 failed",
    )


def test_what_lies_before_the_period_is_not_counted() -> None:
    lines = [a_verdict("2026-10-31T23:59:59.999999"), a_verdict("2026-11-01T00:00")]

    assert rows(answers(lines)["most-active"], "calls") == [(1,)]


def test_sensitive_systems_are_told_with_their_objects_classes_and_last_time() -> None:
    lines = [
        a_verdict("2026-11-02T09:00", object="charge/1", data=["pii", "card"]),
        a_verdict("2026-11-04T09:00", object="charge/2", effect="irreversible"),
        a_verdict("2026-11-03T09:00", system="hr", object="staff", data=[]),
        a_verdict("2026-11-05T09:00", system="docs", sensitive=False),
        a_refusal("2026-11-06T09:00", object="charge/3"),
        a_verdict("2026-11-03T09:00", principal="calm", sensitive=False, data=["pii"]),
    ]

    found = answers(lines)["sensitive"]

    assert rows(found, "principal", "calls", "systems", "objects", "changes", "system_names", "data", "last") == [
        ("refund-agent", 3, 2, 3, 1, "hr, payments", "card, pii, customer-pii", "2026-11-04T09:00:00Z")
    ]


def test_repeated_refusals_name_the_rule_that_refused_most() -> None:
    lines = [
        *[a_refusal(f"2026-11-02T09:0{n}", rule="guardrail/nights", layer="guardrail") for n in range(3)],
        *[a_refusal(f"2026-11-03T09:0{n}", rule="built-in/hours", verdict="escalate") for n in range(2)],
        *[a_refusal(f"2026-11-03T09:0{n}", principal="twice") for n in range(2)],
        a_verdict("2026-11-03T09:00"),
    ]

    found = answers(lines)["refused"]

    assert rows(found, "principal", "refused", "denied", "escalated", "layer", "rule", "times", "first", "last") == [
        ("refund-agent", 5, 3, 2, "guardrail", "guardrail/nights", 3, "2026-11-02T09:00:00Z", "2026-11-03T09:01:00Z")
    ]
    assert rows(found, "sentence") == [
        ("refund-agent was refused 5 times, 3 of them by guardrail/nights (guardrail): guardrail/nights says no",)
    ]


def test_rules_that_refuse_alike_often_are_told_in_the_order_of_their_names() -> None:
    lines = [a_refusal(f"2026-11-02T09:0{n}", rule=rule) for n in range(2) for rule in ("b", "a")]

    assert rows(answers(lines)["refused"], "rule", "times") == [("a", 2)]


def test_permissions_not_used_in_the_period_are_told_with_for_how_long() -> None:
    lines = [
        a_verdict("2026-11-10T09:00", action="charge.read"),
        a_verdict("2026-10-15T00:00", action="charge.list"),
        a_refusal("2026-11-10T09:00", action="refund.create"),
    ]
    permissions = [a_permission(action) for action in ("charge.read", "charge.list", "refund.create")]

    found = answers(lines, [*permissions, a_permission("later", granted="2026-12-01")])["unused"]

    assert rows(found, "action", "days", "last_used") == [
        ("refund.create", 115, None),
        ("charge.list", 40, "2026-10-15T00:00:00Z"),
    ]
    assert rows(found, "sentence") == [
        ("refund-agent may refund.create on payments and has not done so for 115 days",),
        ("refund-agent may charge.list on payments and last did so 40 days ago",),
    ]


JOB = {"parties": [{"name": "ana@example.com"}, {"name": "planner"}, {"name": "refund-agent"}], "purpose": "disputes"}
BROADER = [
    a_permission("", reach=Reach(Aspect.OBJECTS, "payments", "charge/*", "charge/")),
    a_permission("", reach=Reach(Aspect.OBJECTS, "payments", "refund/*", "refund/")),
    *[a_permission("", system="", reach=Reach(Aspect.DATA, what=name)) for name in ("customer-pii", "card", "pii")],
    *[a_permission("", reach=Reach(Aspect.HOURS, "payments", hour=hour)) for hour in range(8, 14)],
    *[a_permission("", system="idle", reach=Reach(Aspect.HOURS, "idle", hour=hour)) for hour in range(24)],
    *[
        a_permission("", system="", reach=Reach(Aspect.DELEGATION, what=what, pattern=way))
        for way, what in [("for", "planner"), ("for", "humans"), ("purpose", "disputes"), ("purpose", "audits")]
    ],
    *[
        a_permission("", system="", principal="planner", reach=Reach(Aspect.DELEGATION, what=what, pattern="to"))
        for what in ("refund-agent", "other")
    ],
]


def test_objects_data_hours_and_delegations_that_were_not_used_are_told_with_for_how_long() -> None:
    lines = [
        a_verdict("2026-11-10T09:00", data=["customer-pii"], chain=JOB),
        a_verdict("2026-11-11T11:00", data=[]),
        a_verdict("2026-10-20T12:00", data=["pii"]),
        a_refusal("2026-11-12T13:00", object="refund/1", data=["card"]),
    ]

    found = answers(lines, BROADER)["unused"]

    assert rows(found, "principal", "aspect", "system", "what", "days") == [
        ("planner", "delegation", "", "lend to other", 115),
        ("refund-agent", "data", "", "card", 115),
        ("refund-agent", "delegation", "", "act for humans", 115),
        ("refund-agent", "delegation", "", "act for the purpose audits", 115),
        ("refund-agent", "hours", "payments", "08:00-09:00 UTC", 115),
        ("refund-agent", "hours", "payments", "10:00-11:00 UTC", 115),
        ("refund-agent", "objects", "payments", "refund/*", 115),
        ("refund-agent", "data", "", "pii", 34),
        ("refund-agent", "hours", "payments", "12:00-14:00 UTC", 34),
    ]
    assert ("refund-agent may reach refund/* on payments and has not done so for 115 days",) in rows(found, "sentence")
    assert ("refund-agent may call payments at 12:00-14:00 UTC and last did so 34 days ago",) in rows(found, "sentence")


def test_how_long_something_was_not_used_is_counted_however_long_ago_that_was() -> None:
    found = answers([a_verdict("2025-11-24T00:00")], [a_permission(granted="2025-01-01")])["unused"]

    assert rows(found, "days") == [(365,)]


def test_the_names_of_the_questions_are_those_that_can_be_asked_for() -> None:
    assert tuple(question.name for question in QUESTIONS) == NAMES


def test_sentences_count_one_and_many_and_do_not_tell_of_zero_days() -> None:
    lines = [a_verdict("2026-11-22T22:00", action="charge.list"), a_verdict("2026-10-31T22:00")]
    found = answers(lines, [a_permission(), a_permission("refund.create", granted="2026-11-23T09:00")])

    assert rows(found["most-active"], "sentence") == [
        ("refund-agent made 1 call on 1 day: 1 allowed, 0 denied, 0 sent to a person; 0 failed",)
    ]
    assert rows(found["unused"], "sentence") == [
        ("refund-agent may charge.read on payments and last did so 23 days ago",),
        ("refund-agent may refund.create on payments since today and has not done so yet",),
    ]


def test_the_same_action_by_another_principal_is_no_use_of_a_permission() -> None:
    found = answers([a_verdict("2026-11-10T09:00", principal="other")], [a_permission()])["unused"]

    assert rows(found, "principal", "action") == [("refund-agent", "charge.read")]


OCTOBER = [a_verdict(f"2026-10-{day:02}T09:{n:02}") for day in range(1, 11) for n in range(4)]


def test_a_day_far_above_the_earlier_ones_is_told_with_the_arithmetic() -> None:
    busy = [a_verdict(f"2026-11-05T09:{n:02}") for n in range(30)]

    found = answers([*OCTOBER, *busy])["unusual"]

    assert rows(found, "principal", "sign", "what", "calls", "sentence") == [
        (
            "refund-agent",
            "busy day",
            "2026-11-05",
            30,
            "refund-agent made 30 calls on 2026-11-05; on its 10 earlier days it made 4.0 a day, give or take 2.0",
        )
    ]


def test_a_day_within_three_deviations_is_not_told() -> None:
    assert answers([*OCTOBER, *[a_verdict(f"2026-11-05T09:{n:02}") for n in range(10)]])["unusual"].rows == ()


@pytest.mark.parametrize(
    ("changed", "at", "sign", "what"),
    [
        ({"system": "ledger", "object": "x", "action": "charge.read"}, "09:00", "new system", "ledger"),
        ({"action": "refund.create"}, "09:00", "new action", "payments/refund.create"),
        ({}, "23:10", "new hour", "23:00 UTC"),
        ({"object": "customer/7"}, "09:00", "new place", "payments/customer/*"),
    ],
)
def test_what_is_done_for_the_first_time_is_told(changed: dict[str, str], at: str, sign: str, what: str) -> None:
    found = answers([*OCTOBER, a_verdict(f"2026-11-05T{at}", **changed)])["unusual"]

    assert (sign, what) in rows(found, "sign", "what")
    if sign != "new system":
        assert len(found.rows) == 1


def test_another_object_of_a_known_folder_is_nothing_new() -> None:
    assert answers([*OCTOBER, a_verdict("2026-11-05T09:00", object="charge/ch_999")])["unusual"].rows == ()


def test_new_places_are_not_told_of_a_principal_that_knows_many() -> None:
    many = [a_verdict("2026-10-09T09:00", object=f"folder-{n}/x") for n in range(30)]

    assert answers([*OCTOBER, *many, a_verdict("2026-11-05T09:00", object="other/x")])["unusual"].rows == ()


def test_nothing_is_unusual_for_a_principal_without_a_week_of_history() -> None:
    few = [a_verdict(f"2026-10-0{day}T09:00") for day in range(1, 7)]

    assert answers([*few, *[a_verdict(f"2026-11-05T03:{n:02}", system="x") for n in range(40)]])["unusual"].rows == ()


def test_what_was_new_before_the_period_is_not_told_again() -> None:
    assert answers([*OCTOBER, a_verdict("2026-10-20T03:00"), a_verdict("2026-11-05T03:00")])["unusual"].rows == ()


def test_answers_narrow_to_a_team_a_kind_or_a_system() -> None:
    lines = [
        a_verdict("2026-11-02T09:00"),
        a_verdict("2026-11-02T09:00", principal="b", team="platform", kind="workflow", system="git"),
        an_outcome("2026-11-02T09:00"),
    ]
    permissions = [
        a_permission("never"),
        a_permission("never", principal="b", team="platform", kind="workflow", system="git"),
    ]

    for narrowed in ({"team": "platform"}, {"kind": "workflow"}, {"system": "git"}):
        found = answers(lines, permissions, **narrowed)
        assert rows(found["most-active"], "principal") == [("b",)]
        assert rows(found["unused"], "principal") == [("b",)]
    assert answers(lines, permissions, team="nobody")["most-active"].rows == ()


def test_a_refusal_before_anything_was_known_is_counted() -> None:
    line = a_refusal(
        "2026-11-02T09:00", team=None, kind=None, action=None, effect=None, object=None, data=[], sensitive=False
    )

    assert rows(answers([line])["most-active"], "principal", "denied") == [("refund-agent", 1)]


NASTY = [
    "'; DROP TABLE verdicts; --",
    '"quoted"',
    "line\nbreak\x1b[31m",
    "\u202eevil",
    "\x00",
    "%s {} \\",
    "😀" * 50,
    "",
]


def test_hostile_names_survive_and_change_nothing() -> None:
    lines = [
        a_verdict("2026-11-02T09:00", principal=f"p{name}", system=name, object=name, action=name) for name in NASTY
    ]
    refused = [a_refusal(f"2026-11-02T09:0{n}", rule=name, layer=name) for name in NASTY for n in range(3)]

    found = answers([*lines, *refused], [a_permission(name) for name in NASTY], team=None)

    assert {row[0] for row in found["most-active"].rows} == {f"p{name}" for name in NASTY} | {"refund-agent"}
    assert {row[0] for row in rows(found["unused"], "action")} == set(NASTY)
    assert rows(found["refused"], "refused") == [(3 * len(NASTY),)]
    assert answers(lines, team=NASTY[0])["most-active"].rows == ()


def test_entries_of_other_kinds_are_passed_over_and_nonsense_is_an_integrity_error() -> None:
    other = place(Draft(EntryKind.KEY_ROTATED, "charter", None, {"x": 1}), node="n", index=0, at=SINCE).data
    assert answers([other])["most-active"].rows == ()

    for line in (b"", b"{}", b'{"time": "x", "kind": "verdict", "body": {}}', b"\xff"):
        with pytest.raises(IntegrityError, match="an evidence entry is none"):
            answers([line])


def test_more_rows_than_are_shown_are_counted() -> None:
    found = answers([a_verdict("2026-11-02T09:00", principal=f"p{n:03}") for n in range(60)])["most-active"]

    assert (len(found.rows), found.total) == (50, 60)
    assert found.sentence.startswith("60 rows, of which the first 50 are shown")


CALLS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["allow", "deny", "escalate"]),
        st.sampled_from(["x", "y"]),
        st.booleans(),
        st.integers(1, 23),
    ),
    max_size=40,
)


@settings(max_examples=15)
@given(CALLS)
def test_totals_agree_with_counting_by_hand(calls: list[tuple[str, str, str, bool, int]]) -> None:
    lines = [
        a_verdict(f"2026-11-{day:02}T09:00", principal=who, verdict=verdict, system=system, sensitive=sensitive)
        for who, verdict, system, sensitive, day in calls
    ]

    found = answers(lines)

    counted = Counter(who for who, *_ in calls)
    assert rows(found["most-active"], "principal", "calls") == sorted(counted.items(), key=lambda c: (-c[1], c[0]))
    touched = Counter(who for who, verdict, _, sensitive, _ in calls if verdict == "allow" and sensitive)
    assert dict(rows(found["sensitive"], "principal", "calls")) == touched
    refused = Counter(who for who, verdict, *_ in calls if verdict != "allow")
    assert dict(rows(found["refused"], "principal", "refused")) == {w: n for w, n in refused.items() if n >= 3}


def test_a_call_without_an_object_is_at_no_new_place() -> None:
    """It has none: `new place payments/` would name nothing."""
    usual = [a_verdict(f"2026-10-{day:02}T09:00", object="charge/ch_1") for day in range(1, 11)]

    def told(found: str) -> list[str]:
        said = answers([*usual, a_verdict("2026-11-12T09:00", object=found)])["unusual"]
        return [sentence for sign, sentence in rows(said, "sign", "sentence") if sign == "new place"]

    assert told("") == []
    (sentence,) = told("card/c_1")
    assert sentence.endswith("which show 1 other")


def test_narrowed_to_a_system_what_is_unused_is_that_of_all_which_is_the_systems() -> None:
    """What is of no system (data, delegations) is not in it, and no calls are read for it."""
    held = [
        a_permission("refund.create"),
        a_permission("close", system="ledger"),
        a_permission("", system="", reach=Reach(Aspect.DATA, what="card")),
        a_permission("", system="", reach=Reach(Aspect.DELEGATION, what="humans", pattern="for")),
    ]
    calls = [a_verdict("2026-11-03T09:00")]

    every = answers(calls, held)["unused"]
    alone = answers(calls, held, system="payments")["unused"]

    columns = ("aspect", "system", "action", "what")
    assert {row[0] for row in rows(every, *columns)} == {"action", "data", "delegation"}
    assert rows(alone, *columns) == [row for row in rows(every, *columns) if row[1] == "payments"] != []
    assert "lender" in every.sql
    assert "lender" not in alone.sql
