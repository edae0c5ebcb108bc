"""Central rules that contradict each other are found before anybody meets them, with both places."""

from __future__ import annotations

import datetime as dt
import time

import pytest

from charter.core.values import Source
from charter.registry.central import NO_DUTIES
from charter.registry.manifest import parse_estate
from charter.registry.problem import EstateError
from charter.registry.rule import CharterRule
from charter.registry.rule_conflict import conflicts
from charter.registry.sourced import Sourced
from charter.registry.team import Teams
from estates import TEAMS, estate_files

HEAD = "charter: v1\nrules:\n"


def rule(id: str, said: str, force: str = "hard") -> str:  # noqa: A002 - the file's word
    return f"  - {{id: {id}, force: {force}, reason: because, {said}}}\n"


def told(*rules: str, teams: str = TEAMS) -> tuple[list[str], list[str]]:
    """Return the problems and the warnings of an estate without charters that has these rules."""
    files = {
        "principals/refund-agent.yaml": None,
        "tests/refunds.yaml": None,
        "patterns/small-refunds.yaml": None,
        "guardrails/rules.yaml": HEAD + "".join(rules),
        "teams.yaml": teams,
    }
    try:
        return [], [str(each) for each in parse_estate(estate_files(files), today=dt.date(2026, 11, 24)).warnings]
    except EstateError as err:
        return [str(each) for each in err.problems], []


def test_two_rules_that_no_charter_meets_are_a_problem_with_both_places() -> None:
    (found,), _ = told(rule("a", "only: {providers: [anthropic]}"), rule("b", "only: {providers: [openai]}", "ceiling"))
    assert found == (
        "guardrails/rules.yaml:4:5: `b` and `a` at guardrails/rules.yaml:3:5 leave no provider of models, so no "
        "charter that both are for can meet them; let them have a word in common, or tell apart under `for` whom they "
        "are for"
    )


@pytest.mark.parametrize(
    "rules",
    [
        (rule("a", "only: {providers: [anthropic, openai]}"), rule("b", "only: {providers: [openai, google]}")),
        (
            rule("a", "for: {kinds: [agent]}, only: {providers: [anthropic]}"),
            rule("b", "for: {kinds: [copilot]}, only: {providers: [openai]}"),
        ),
        (
            rule("a", "for: {teams: [payments-ops]}, only: {credentials: [spiffe]}"),
            rule("b", "for: {teams: [payments-platform]}, only: {credentials: [mutual-tls]}"),
        ),
        (
            rule("a", "for: {environments: [production], tiers: [high]}, only: {credentials: [spiffe]}"),
            rule("b", "for: {environments: [production], tiers: [low]}, only: {credentials: [mutual-tls]}"),
        ),
        (rule("a", "at_most: {review: 90d}"), rule("b", "at_most: {review: 30d}")),
        (rule("a", "at_most: {review: 90d}"), rule("b", "at_most: {review: 30d}", "default")),
    ],
)
def test_rules_that_are_for_others_or_have_a_word_in_common_are_not_told(rules: tuple[str, ...]) -> None:
    assert told(*rules) == ([], [])


def test_three_rules_of_which_each_two_agree_can_contradict_each_other() -> None:
    pairs = ("[a, b]", "[b, c]", "[a, c]")
    (found,), _ = told(*(rule(f"r{index}", f"only: {{providers: {each}}}") for index, each in enumerate(pairs)))
    assert "`r2` and `r0` at guardrails/rules.yaml:3:5 and `r1` at guardrails/rules.yaml:4:5 leave no" in found


def test_a_default_that_contradicts_a_firm_rule_can_be_set_aside_and_is_a_warning() -> None:
    wrong, doubtful = told(
        rule("a", "only: {credentials: [spiffe]}"), rule("b", "only: {credentials: [mutual-tls]}", "default")
    )
    assert wrong == []
    assert "leave no type of credential" in doubtful[0]


def test_a_default_over_a_ceiling_settles_nothing_and_is_told_with_both_places() -> None:
    _, (found,) = told(
        rule("usual", "at_most: {review: 180d}", "default"), rule("most", "at_most: {review: 90d}", "ceiling")
    )
    assert found == (
        "guardrails/rules.yaml:3:5: `usual` lets `review` be 180d unless a charter says otherwise, and `most` "
        "(ceiling, at guardrails/rules.yaml:4:5) allows 90d at most; write 90d or less, or tell apart under `for` whom "
        "they are for"
    )


@pytest.mark.parametrize(("force", "which"), [("hard", 0), ("default", 1)])
def test_a_rule_by_which_nobody_can_approve_is_told_with_the_role_that_nobody_holds(force: str, which: int) -> None:
    teams = TEAMS + "  empty: []\n"
    found = told(rule("who", "only: {approved_by: [empty]}", force), teams=teams)[which]
    assert found[0].startswith(
        "guardrails/rules.yaml:3:5: nobody holds a role by which `who` lets charters be approved: "
    )
    assert "`empty` at teams.yaml:9:" in found[0]


def test_many_rules_for_many_teams_are_held_against_each_other_at_once() -> None:
    names = [f"team-{index}" for index in range(300)]
    teams = Teams.model_validate({"charter": "v1", "teams": {name: {"lead": "a@example.com"} for name in names}})
    rules = [
        CharterRule.model_validate(
            {"id": name, "reason": "r", "for": {"teams": [name]}, "only": {"providers": [f"p{index % 7}"]}}
        )
        for index, name in enumerate(names)
    ]
    places = [(each, Source("guardrails/rules.yaml", 3 + index)) for index, each in enumerate(rules)]
    began = time.perf_counter()
    assert conflicts(places, Sourced(teams, NO_DUTIES.sources)).problems == ()
    assert time.perf_counter() - began < 5
