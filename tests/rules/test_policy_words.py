"""Each word that a grant can say: what it compiles to, what it lets through, and the sentence when it does not."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from msgspec.structs import replace
from pydantic import ValidationError

from builders import PAYMENTS_SYSTEM, a_charter, a_system
from charter.core.values import Source
from charter.policy.decide import decide
from charter.policy.request import NO_CHAIN, ChainFacts
from charter.policy.verdict import Allow, Deny
from charter.registry import prose
from charter.registry.central import read_central
from charter.registry.manifest import parse_estate
from charter.registry.problem import EstateError
from charter.registry.sourced import TextFile
from charter.registry.system import System
from estates import PRINCIPAL, SYSTEM, estate_files
from policies import ENGINE, a_request, bound

SENT: dict[str, Any] = PAYMENTS_SYSTEM | {
    "groups": {
        "handbook": {"under": ["page/handbook"], "objects": ["page/faq-*"]},
        "open": {"groups": ["handbook"], "under": ["page/press"]},
    },
    "actions": {
        "send": {
            "tool": "send",
            "effect": "write",
            "object": "{path}",
            "amounts": {
                "size": {"value": "bytes", "given_in": "B"},
                "total": {"value": "order.cents", "unit": "order.currency", "per_unit": 100},
            },
        }
    },
}


def decided(grant: dict[str, Any], arguments: dict[str, Any], *, at: dt.datetime | None = None) -> Any:
    system = a_system(**SENT)
    charter = a_charter(grants=[{"system": "payments", "actions": ["send"]} | grant])
    sources = {"grants.0": Source("f.yaml", 9), "grants.0.when": Source("f.yaml", 10)}
    central = read_central([TextFile("calendars.yaml", CALENDARS)])
    slice_ = bound(charter, system=system, sources=sources, central=central)
    asked = {"at": at} if at else {}
    request = a_request("send", {"path": "page/1"} | arguments, charter=charter, system=system, **asked)
    return decide(slice_, request, ENGINE)


CALENDARS = "charter: v1\ncalendars: {office: {holidays: DE-BE, closed: [2026-12-24], open: [2026-12-26]}}\n"


@pytest.mark.parametrize(
    ("grant", "allowed", "refused", "sentence", "mend"),
    [
        (
            {"under": ["page/hr"]},
            [{"path": "page/hr"}, {"path": "page/hr/pay/2026"}],
            {"path": "page/hrx"},
            "only for objects like `page/hr` and all below it; this call is for `page/hrx`",
            "ask for an object like `page/hr` and all below it, or widen",
        ),
        (
            {"groups": ["open"], "objects": ["page/0"]},
            [{"path": "page/press/a"}, {"path": "page/handbook"}, {"path": "page/faq-1"}, {"path": "page/0"}],
            {"path": "page/1"},
            "only for objects like `page/0` or those of the group `open`; this call is for `page/1`",
            "ask for an object like `page/0` or those of the group `open`, or widen",
        ),
        (
            {"when": {"size": {"max": "5 MB"}}},
            [{"bytes": 5_000_000}, {"bytes": 1}],
            {"bytes": 5_000_001},
            "with `size` up to 5 MB; this call asks 5.000001 MB",
            "ask for at most 5 MB, or raise `max` at f.yaml:10:1 through plan and apply",
        ),
        (
            {"when": {"total": {"max": "20 EUR"}}},
            [{"order": {"cents": 2000, "currency": "eur"}}],
            {"order": {"cents": 2001, "currency": "EUR"}},
            "with `total` up to 20 EUR; this call asks 20.01 EUR",
            "ask for at most 20 EUR, or raise",
        ),
        (
            {"when": {"order.lines": {"max": 3}}},
            [{"order": {"lines": 3}}],
            {"order": {"lines": 4}},
            "with `order.lines` up to 3; this call asks 4 without a unit",
            "ask for at most 3, or raise",
        ),
        (
            {"when": {"to": {"max_items": 2}}},
            [{"to": ["a", "b"]}, {"to": []}],
            {"to": ["a", "b", "c"]},
            "with `to` of at most 2 entries; this call's has 3",
            "send at most 2 entries as `to`, or raise `max_items`",
        ),
        (
            {"when": {"text": {"max_length": 3}}},
            [{"text": "abc"}],
            {"text": "abcd"},
            "with `text` of at most 3 characters; this call's has 4",
            "send at most 3 characters as `text`, or raise `max_length`",
        ),
        (
            {"when": {"to": {"each_of": ["a", "b"]}}},
            [{"to": ["b", "a", "a"]}, {"to": "a"}],
            {"to": ["a", "c"]},
            "with `to` each one of `a`, `b`; one of this call's is not",
            "send only `a` and `b` as `to`, or widen `each_of`",
        ),
        (
            {"when": {"to": {"each_like": "*@example.com"}}},
            [{"to": ["a@example.com", "b@example.com"]}, {"to": "a@example.com"}],
            {"to": ["a@example.com", "a@example.com.evil.net"]},
            "with `to` each like `*@example.com`; one of this call's is not",
            "send only what is like `*@example.com`, or widen `each_like`",
        ),
        (
            {"when": {"to": {"each_like": "*@example.com"}}},
            [],
            {"to": ["a@example.com", {"address": "eve@example.net"}]},
            "with `to` each like `*@example.com`; this call's `to` is not in a form that can be compared",
            "send only what is like `*@example.com`",
        ),
    ],
)
def test_a_word_lets_through_what_it_says_and_tells_the_rest_why(
    grant: dict[str, Any], allowed: list[dict[str, Any]], refused: dict[str, Any], sentence: str, mend: str
) -> None:
    for arguments in allowed:
        assert isinstance(decided(grant, arguments), Allow), arguments
    found = decided(grant, refused)
    assert isinstance(found, Deny)
    assert found.reasons[0].text == f"refund-agent may do `send` on `payments` {sentence}"
    assert found.reasons[0].mend.startswith(mend)


@pytest.mark.parametrize(
    ("when", "at", "allowed"),
    [
        ({"workdays": "office"}, "2026-12-23T12:00:00+00:00", True),
        ({"workdays": "office"}, "2026-12-24T12:00:00+00:00", False),  # closed
        ({"workdays": "office"}, "2026-12-25T12:00:00+00:00", False),  # a holiday
        ({"workdays": "office"}, "2026-12-26T12:00:00+00:00", True),  # a holiday on a Saturday, and open
        ({"workdays": "office"}, "2026-12-27T12:00:00+00:00", False),  # Sunday
        ({"workdays": "US"}, "2026-11-26T12:00:00+00:00", False),  # Thanksgiving
        ({"workdays": "DE"}, "2026-11-26T12:00:00+00:00", True),
        ({"workdays": "DE", "hours": "08:00-18:00 Asia/Tokyo"}, "2026-12-27T23:30:00+00:00", True),  # Monday there
        ({"workdays": "DE", "hours": "22:00-06:00 UTC"}, "2026-12-25T03:00:00+00:00", True),  # opened on the 24th
        ({"workdays": "DE", "hours": "22:00-06:00 UTC"}, "2026-12-25T23:00:00+00:00", False),
        ({"workdays": "DE", "hours": "22:00-06:00 UTC"}, "2026-12-28T03:00:00+00:00", False),  # opened on Sunday
    ],
)
def test_working_days_are_those_of_the_calendar_in_the_windows_zone(when: Any, at: str, *, allowed: bool) -> None:
    assert isinstance(decided({"when": when}, {}, at=dt.datetime.fromisoformat(at)), Allow) == allowed


@pytest.mark.parametrize(
    ("when", "at", "sentence"),
    [
        (
            {"workdays": "office"},
            "2026-12-25T12:00:00+00:00",
            "only on working days of `office` (UTC); it is Fri 2026-12-25 12:00 there",
        ),
        (
            {"workdays": "DE", "hours": "08:00-18:00 UTC", "days": "mon-fri"},
            "2026-12-25T12:00:00+00:00",
            "only 08:00-18:00 UTC on mon-fri on working days of `DE`; it is Fri 2026-12-25 12:00 there",
        ),
    ],
)  # fmt: skip
def test_a_day_that_is_not_worked_is_told(when: Any, at: str, sentence: str) -> None:
    (reason,) = decided({"when": when}, {}, at=dt.datetime.fromisoformat(at)).reasons
    assert reason.text == f"refund-agent may do `send` on `payments` {sentence}"
    assert reason.mend.startswith("wait for the next working day, or widen `workdays`")


BY_MARIA = ChainFacts(1, "travel", "maria@example.com", by_person=True, initiator_roles=frozenset({"lead"}))
BY_TRIAGE = ChainFacts(2, "", "triage")


@pytest.mark.parametrize(
    ("delegated", "chain", "told"),
    [
        ({}, BY_TRIAGE, None),
        ({}, NO_CHAIN, "of somebody it acts for; this call acts for nobody"),
        ({"by": ["humans"]}, BY_MARIA, None),
        ({"by": ["humans"]}, BY_TRIAGE, "begun by `humans`; this one was begun by `triage`"),
        ({"by": ["triage"]}, BY_TRIAGE, None),
        ({"by": ["triage"]}, BY_MARIA, "begun by `triage`; this one was begun by a person"),
        ({"roles": ["lead", "risk"]}, BY_MARIA, None),
        ({"roles": ["risk"]}, BY_MARIA, "begun by a person with the role `risk`; whoever began this one holds none"),
        ({"purposes": ["travel"]}, BY_MARIA, None),
        ({"purposes": ["audit"]}, BY_MARIA, "for the purpose `audit`; this one is for `travel`"),
        ({"purposes": ["audit"]}, BY_TRIAGE, "for the purpose `audit`; this one names no purpose"),
        ({"max_depth": 1}, BY_TRIAGE, "at most 1 deep; this one is 2 deep"),
    ],
)
def test_a_grant_for_delegated_use_says_under_which_delegation(delegated: Any, chain: ChainFacts, told: Any) -> None:
    charter = a_charter(grants=[{"system": "payments", "actions": ["charge.read"], "delegated": delegated}])
    request = replace(a_request("charge.read", {"charge_id": "c"}, charter=charter), chain=chain)
    found = decide(bound(charter), request, ENGINE)
    assert isinstance(found, Deny) == (told is not None)
    if told:
        assert f"only under a delegation {told}" in found.reasons[0].text


@pytest.mark.parametrize(
    ("delegated", "told"),
    [
        ("{by: [human]}", "`human` is no principal, and not `humans`; did you mean `humans`?"),
        ("{roles: [payments-lad]}", "`payments-lad` is no role in teams.yaml"),
        ("{purposes: [disputes]}", "`disputes` is no purpose that the charter's `delegation` allows"),
        ("{by: [humans]}", None),
    ],
)
def test_a_delegation_that_can_never_be_is_told(delegated: str, told: str | None) -> None:
    text = PRINCIPAL.replace("    objects:", f"    delegated: {delegated}\n    objects:")
    try:
        found = parse_estate(estate_files({"principals/refund-agent.yaml": text})).warnings
    except EstateError as err:
        found = err.problems
    assert [told in str(each) for each in found] == ([True] if told else []) if told is not None else found == ()


def test_a_grant_for_delegated_use_is_warned_of_where_nobody_may_delegate() -> None:
    text = PRINCIPAL.replace("    objects:", "    delegated: {by: [humans]}\n    objects:")
    text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("delegation:"))
    (warning,) = parse_estate(estate_files({"principals/refund-agent.yaml": text})).warnings
    assert "nobody may lend this principal authority, so the grant cannot be used" in str(warning)


def test_what_a_grant_says_is_told_in_words() -> None:
    grant = {
        "system": "docs",
        "actions": ["send"],
        "objects": [],
        "under": ["page/hr"],
        "groups": ["open"],
        "delegated": {"by": ["humans", "triage"], "roles": ["lead"], "purposes": ["travel"], "max_depth": 2},
        "when": {"workdays": "office", "to": {"each_like": "*@x.com", "max_items": 5}, "text": {"max_length": 9}},
    }
    assert prose.objects(grant) == ["page/hr and all below it", "the group open"]
    assert prose.conditions(grant) == [
        "on working days of office",
        "to each like *@x.com and of at most 5 entries",
        "text of at most 9 characters",
        "only under a delegation begun by people or triage in the role lead for travel at most 2 deep",
    ]


MANY = [f"x{n}" for n in range(300)]


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        ({"a": {"groups": ["b"]}}, "`b` is no group"),
        ({"a": {"groups": ["a"]}}, "the group `a` holds itself"),
        ({"a": {"groups": ["b"]}, "b": {"groups": ["c"]}, "c": {"groups": ["a"]}}, "holds itself"),
        ({"a": {"objects": MANY}, "b": {"groups": ["a"], "under": MANY}}, "more than 500 patterns in all"),
        ({"a": {"under": ["x/"]}}, "ends with a slash"),
        ({"a": {"under": ["x/*"]}}, "holds a `*`"),
    ],
)  # fmt: skip
def test_groups_that_make_no_sense_are_refused(groups: Any, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        System.model_validate(PAYMENTS_SYSTEM | {"groups": groups})


@pytest.mark.parametrize(
    ("was", "becomes", "told"),
    [
        ('objects: ["charge/*"]', "groups: [larg]", "`larg` is no group of objects of the system"),
        ('objects: ["charge/*"]', "objects: []", "names no object; write patterns, or leave it out"),
        ("days: mon-fri", "workdays: ofice", "`ofice` is no calendar of calendars.yaml, and no region with"),
        ("days: mon-fri", "workdays: DE-XX", "`DE-XX` is no calendar of calendars.yaml, and no region with"),
        ("days: mon-fri", "workday: DE", "`workday` is no condition; did you mean `workdays`?"),
    ],
)  # fmt: skip
def test_a_word_that_names_nothing_is_told_with_the_nearest(was: str, becomes: str, told: str) -> None:
    system = SYSTEM.replace("actions:", "groups: {large: {under: [charge]}}\nactions:", 1)
    files = {"principals/refund-agent.yaml": PRINCIPAL.replace(was, becomes), "systems/payments.yaml": system}
    with pytest.raises(EstateError) as caught:
        parse_estate(estate_files(files | {"calendars.yaml": CALENDARS}))
    assert any(told in str(problem) for problem in caught.value.problems), caught.value.problems


def test_a_currency_that_nobody_knows_is_warned_of() -> None:
    text = PRINCIPAL.replace("200 EUR", "200 EUE").replace("2000 EUR", "2000 EUE").replace("100 EUR", "100 EUE")
    warnings = parse_estate(estate_files({"principals/refund-agent.yaml": text})).warnings
    assert len(warnings) == 3
    assert str(warnings[0]).startswith("principals/refund-agent.yaml:15:")
    assert "`EUE` is no currency's code; did you mean `EUR`?" in str(warnings[0])


@pytest.mark.parametrize("word", ["Euro", "EUROS", "euro"])
def test_a_word_for_a_currency_is_no_code_of_one(word: str) -> None:
    text = (
        PRINCIPAL.replace("200 EUR", f"200 {word}")
        .replace("2000 EUR", f"2000 {word}")
        .replace("100 EUR", f"100 {word}")
    )
    warnings = parse_estate(estate_files({"principals/refund-agent.yaml": text})).warnings
    assert len(warnings) == 3
    assert all(f"`{word}` is no currency's code; write `EUR`" in str(each) for each in warnings)
