"""The page of what the organisation lays down, and the words in which a rule is told."""

from __future__ import annotations

import pytest

from charter.reports.rule_words import terms_of
from desks import Caller, a_rule, text_of


@pytest.fixture
def caller() -> Caller:
    return Caller().sign_in()


def test_each_rule_is_shown_with_its_force_why_terms_and_place(caller: Caller) -> None:
    page = text_of(caller.get("/rules").text)
    assert "refund-ceiling guardrails/a.cedar:3:1" in page
    assert "lifted by payments-lead" in page
    assert "everyone" in page
    assert "expires at most 366d" in page
    assert "OWASP ASI02" in page


def test_rules_are_found_by_what_they_answer(caller: Caller) -> None:
    page = text_of(caller.get("/rules?answers=asi02").text)
    assert "refund-ceiling" in page
    assert "a-year-at-most" not in page
    assert "No rule answers" in text_of(caller.get("/rules?answers=nothing").text)


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (a_rule("r"), []),
        (a_rule("r", on="sharing"), ["everyone"]),
        (
            a_rule("r", on="charters", **{"for": {"kinds": ["copilot", "agent"]}, "asks": {"only": {"data": []}}}),
            ["kinds: copilot, agent", "data only none"],
        ),
        (a_rule("r", on="charters", asks={"bounded": ["objects"]}), ["everyone", "objects bounded"]),
        (a_rule("r", on="sharing", asks={"proved": "suspend"}), ["everyone", "proved: suspend"]),
        (
            a_rule(
                "r",
                on="behaviour",
                asks={"when": {"score": 8, "effects": ["write"]}, "then": "restrain", "expires": "4h"},
            ),
            ["everyone", "from 8 bits on", "effects: write", "then restrain for 4h"],
        ),
        (
            a_rule("r", on="behaviour", asks={"when": {"score": 9}, "then": "suspend", "release": "person"}),
            ["everyone", "from 9 bits on", "then suspend until a person settles it"],
        ),
        (
            a_rule("r", on="behaviour", asks={"when": {"score": 40}, "then": "kill"}),
            ["everyone", "from 40 bits on", "then kill"],
        ),
        (a_rule("r", lifted_by=["security"], set_aside_by=["a", "b"]), ["lifted by security", "set aside by a, b"]),
    ],
)
def test_a_rule_is_told_in_a_few_words(rule: dict[str, object], told: list[str]) -> None:
    assert terms_of(rule) == told
