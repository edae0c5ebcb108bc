"""Grants, days and filters in words; hostile text made visible; forms read strictly."""

from __future__ import annotations

import datetime as dt
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from charter.console import words
from charter.console.form import MAX_FIELDS, one_line, parse_pairs
from charter.console.plain import plain, shortened
from charter.console.render import coded
from charter.core.errors import MalformedError
from charter.registry.standing import Move, Standing
from desks import GRANTS, FakeDesk

TODAY = dt.date(2026, 11, 24)


def test_the_conditions_of_a_grant_are_phrases() -> None:
    assert words.conditions(GRANTS[0]) == [
        "between 08:00 and 18:00 Europe/Berlin",
        "on mon to fri",
        "amount at most 200 EUR",
        "at most 50 calls per day",
        "amount at most 2000 EUR in all per day",
        "approval by payments-lead if amount more than 100 EUR",
    ]


@pytest.mark.parametrize(
    ("grant", "phrases"),
    [
        ({}, []),
        ({"when": {"days": ["sat", "sun"]}}, ["on sat, sun"]),
        ({"when": {"days": ["mon", "wed", "fri"]}}, ["on mon, wed, fri"]),
        ({"when": {"n": {"min": "1", "under": "9"}}}, ["n at least 1 and less than 9"]),
        ({"when": {"env": {"one_of": ["a", "b"]}}}, ["env one of a, b"]),
        ({"when": {"dry_run": {"equals": True}}}, ["dry_run exactly True"]),
        ({"when": {"arguments": {"hours": {"max": "3"}}}}, ["hours at most 3"]),
        (
            {"when": {"hours": "22:00-06:00 UTC", "arguments": {"days": {"max": "3"}}}},
            ["between 22:00 and 06:00 UTC", "days at most 3"],
        ),
        ({"when": {"x": {"new-word": "5"}}}, ["x new-word 5"]),
        ({"approval": {"by": "lead"}}, ["approval by lead for each call"]),
    ],
)
def test_each_condition_has_its_words(grant: dict[str, Any], phrases: list[str]) -> None:
    assert words.conditions(grant) == phrases


def test_every_action_and_any_object_are_said_in_words() -> None:
    assert words.actions({"actions": ["*"]}) == ["every action"]
    assert words.objects({}) == ["any object"]
    assert words.objects({"objects": ["charge/*"]}) == ["charge/*"]


@pytest.mark.parametrize(
    ("charter", "sentence"),
    [
        ({}, "Nobody may lend it authority."),
        (
            {"delegation": {"from": ["humans"], "purposes": ["a", "b"], "max_ttl": "1h", "max_depth": 2}},
            "People may lend it authority for a, b, at most 1h at a time, 2 deep.",
        ),
        (
            {"delegation": {"to": ["clerk", "scribe"], "purposes": [], "max_ttl": "30m", "max_depth": 1}},
            "Nobody may lend it authority. It may lend authority to clerk or scribe, at most 30m at a time, 1 deep.",
        ),
        (
            {
                "delegation": {
                    "from": ["humans"],
                    "to": ["clerk"],
                    "max_ttl": "1h",
                    "max_depth": 2,
                    "ceiling": [{"system": "payments", "actions": ["charge.read"]}],
                }
            },
            (
                "People may lend it authority, at most 1h at a time, 2 deep. It may lend authority to clerk. "
                "People whose entitlements are not written down lend it at most payments."
            ),
        ),
    ],
)
def test_delegation_is_told_in_sentences(charter: dict[str, Any], sentence: str) -> None:
    assert words.delegation(charter) == sentence


@pytest.mark.parametrize(
    ("days", "said", "state"),
    [
        (0, "today", "soon"),
        (1, "in 1 day", "soon"),
        (30, "in 30 days", "soon"),
        (31, "in 31 days", "later"),
        (-1, "1 day ago", "past"),
        (-90, "90 days ago", "past"),
    ],
)
def test_a_day_is_said_as_people_say_it(days: int, said: str, state: str) -> None:
    found = words.due(TODAY + dt.timedelta(days=days), TODAY)

    assert (found.words, found.state) == (said, state)


def test_a_review_is_due_one_cadence_after_the_approval() -> None:
    principal = {"approved": {"on": "2026-09-01"}, "review": "90d"}

    assert words.review_due(principal, TODAY).day == dt.date(2026, 11, 30)


def names(filters: dict[str, str]) -> list[str]:
    return [p["name"] for p in words.matching(FakeDesk().inventory({}), filters)]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"kind": "workflow"}, ["invoice-workflow"]),
        ({"team": "payments-ops"}, ["fraud-scoring", "refund-agent"]),
        ({"standing": "revoked"}, ["price-watch"]),
        ({"environment": "staging", "team": "finance"}, ["invoice-workflow"]),
        ({"text": "CARD charges"}, ["fraud-scoring", "refund-agent"]),
        ({"text": "knowledge-base"}, ["support-copilot"]),
        ({"text": "rita@example.com"}, ["repo-helper"]),
        ({"kind": "nonsense"}, []),
        ({"text": "nothing-like-it"}, []),
    ],
)
def test_filters_narrow_the_inventory(filters: dict[str, str], found: list[str]) -> None:
    assert names(filters) == found


def test_no_filter_shows_everyone() -> None:
    assert len(names({})) == len(names({"text": "  ", "kind": ""})) == 7


def test_the_summary_counts_each_standing() -> None:
    counts = words.counts(FakeDesk().inventory({}), TODAY)

    assert {k: v for k, v in counts.items() if v} == {
        "all": 7,
        "active": 4,
        "restrained": 1,
        "suspended": 1,
        "revoked": 1,
        "state_changing": 3,
        "due": 4,
    }


@pytest.mark.parametrize(
    ("standing", "moves"),
    [
        (Standing.ACTIVE, [Move.RESTRAIN, Move.SUSPEND, Move.KILL, Move.RETIRE]),
        (Standing.RESTRAINED, [Move.RESUME, Move.SUSPEND, Move.KILL, Move.RETIRE]),
        (Standing.SUSPENDED, [Move.RESUME, Move.RESTRAIN, Move.KILL, Move.RETIRE]),
        (Standing.REVOKED, [Move.RETIRE]),
        (Standing.RETIRED, []),
    ],
)
def test_only_legal_moves_are_offered(standing: Standing, moves: list[Move]) -> None:
    assert words.legal_moves(standing.value, "x") == moves


def test_each_move_says_what_it_does() -> None:
    assert set(words.DEEDS) == set(Move)


# --- hostile text -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("Größe 東京 🙂", "Größe 東京 🙂"),
        ("\x1b[31mred", "⟨U+001B⟩[31mred"),
        ("a\u202egnp.exe", "a⟨U+202E⟩gnp.exe"),
        ("re\u200bfund", "re⟨U+200B⟩fund"),
        ("tag\U000e0041", "tag⟨U+E0041⟩"),
        ("x\ufe0fy", "x⟨U+FE0F⟩y"),
        ("\u3164", "⟨U+3164⟩"),
        ("\ud800", "⟨U+D800⟩"),
        ("nul\x00", "nul⟨U+0000⟩"),
        ("a\r\nb\tc", "a⟨U+000D⟩\nb\tc"),
        ("nbsp\u00a0", "nbsp⟨U+00A0⟩"),
        ("z" + "\u0301" * 5, "z\u0301\u0301\u0301⟨U+0301⟩⟨U+0301⟩"),
    ],
)
def test_what_cannot_be_seen_is_shown_by_its_code_point(text: str, shown: str) -> None:
    assert plain(text) == shown


@pytest.mark.parametrize("value", [None, 5, 2.5, True, Markup("<b>")])
def test_numbers_and_markup_pass_as_they_are(value: object) -> None:
    assert plain(value) is value


@given(text=st.text(alphabet=st.characters(), max_size=200))
@settings(max_examples=200)
def test_shown_text_is_visible_encodable_and_stable(text: str) -> None:
    shown = plain(text)

    assert all(char.isprintable() or char in "\n\t" for char in shown)
    assert shown.encode("utf-8") is not None
    assert plain(shown) == shown


def test_long_text_says_how_long_it_is() -> None:
    assert shortened("x" * 5000, 3) == "xxx… (5,000 characters)"
    assert shortened("xyz", 3) == "xyz"


# --- forms ------------------------------------------------------------------------------------------------------------


def test_a_form_is_read_as_it_was_filled_in() -> None:
    assert parse_pairs(b"reason=a+%C3%A9&name=") == {"reason": "a é", "name": ""}
    assert parse_pairs(b"") == {}


@pytest.mark.parametrize(
    "body",
    [
        b"a=1&a=2",
        b"a",
        b"a=%ff",
        "a=é".encode(),
        b"&".join(b"f%d=1" % n for n in range(MAX_FIELDS + 1)),
        b"a=" + b"x" * 4097,
        b"n" * 41 + b"=1",
    ],
)
def test_a_form_that_could_be_read_two_ways_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_pairs(body)


@given(body=st.binary(max_size=300))
@settings(max_examples=200)
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        fields = parse_pairs(body)
    except MalformedError:
        return
    assert all(isinstance(v, str) for v in fields.values())


_readable = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@given(fields=st.dictionaries(_readable, _readable, max_size=MAX_FIELDS))
@settings(max_examples=60)
def test_what_a_browser_encodes_comes_back(fields: dict[str, str]) -> None:
    assert parse_pairs(urlencode(fields).encode()) == fields


@pytest.mark.parametrize(
    ("value", "line"), [("because", "because"), ("  two\r\n lines ", "two lines"), ("Größe", "Größe")]
)
def test_a_reason_becomes_one_line(value: str, line: str) -> None:
    assert one_line({"reason": value}, "reason", longest=100) == line


@pytest.mark.parametrize("value", ["", "  \n ", "x" * 101, "evil\u202etxt", "esc\x1b[0m", "nul\x00"])
def test_a_reason_nobody_can_read_is_refused(value: str) -> None:
    with pytest.raises(MalformedError):
        one_line({"reason": value}, "reason", longest=100)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("add `a.b` to `actions`", "add <code>a.b</code> to <code>actions</code>"),
        ("no `end", "no `end"),
        ("`<b>`&", "<code>&lt;b&gt;</code>&amp;"),
        ("", ""),
    ],
)
def test_what_stands_in_backticks_is_code_and_never_markup(text: str, shown: str) -> None:
    assert coded(text) == shown


@given(st.text(alphabet=st.sampled_from("`<>&\"'a\x1b\u202e"), max_size=40))
def test_a_sentence_with_code_says_what_it_said(text: str) -> None:
    said = plain(text)
    assert coded(text).striptags() == (said.replace("`", "") if said.count("`") % 2 == 0 else said)
