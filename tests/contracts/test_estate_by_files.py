"""What can be asked of an estate's files before anything is applied: rules, counts, the Cedar of one charter."""

from __future__ import annotations

from pathlib import Path

import pytest

from charter.adapters.cedar import CedarEngine
from charter.bootstrap.estate import check_folder, counts_of, patterns_in, policy_in, render_pattern
from charter.bootstrap.rules import listing_in
from charter.core.errors import AbsentError, MalformedError
from charter.registry.starter import init
from fakes import FixedClock


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A starter estate."""
    root = tmp_path_factory.mktemp("files") / "estate"
    init(root, today=FixedClock().now().date())
    return root


def test_the_rules_of_the_files_are_listed_as_those_in_force_are(folder: Path) -> None:
    found = {each["name"]: each for each in listing_in(folder, FixedClock())}
    assert found["review-critical"]["concerns"] == ["invoice-workflow", "travel-browser"]
    assert found["review-critical"]["asks"] == {"at_most": {"review": "30d"}}
    assert found["models-propose"]["set_aside_by"] == ["refund-agent"]
    assert found["refund-ceiling"]["source"].startswith("guardrails/amounts.cedar:")


def test_a_rule_that_asks_for_bounds_says_so(tmp_path: Path) -> None:
    init(tmp_path / "estate", today=FixedClock().now().date())
    text = "charter: v1\nrules: [{id: named, for: {kinds: [copilot]}, bounded: [model], reason: models are named}]\n"
    (tmp_path / "estate" / "guardrails" / "more.yaml").write_text(text)
    found = {each["name"]: each for each in listing_in(tmp_path / "estate", FixedClock())}
    assert found["named"]["asks"] == {"bounded": ["model"]}


def test_validate_counts_the_rules_that_are_listed_and_not_their_files(folder: Path) -> None:
    counts, listed = counts_of(check_folder(folder, FixedClock())), listing_in(folder, FixedClock())
    assert counts["guardrails"] == sum(each["on"] == "calls" for each in listed)
    assert counts["guardrails"] + counts["rules"] == len(listed)
    assert counts["principals"] == len(list((folder / "principals").glob("*.yaml")))


@pytest.mark.parametrize("principal", ["support-copilot", "refund-agent"])
def test_the_cedar_of_a_charter_says_what_verdicts_call_each_rule_and_where_it_stands(
    folder: Path, principal: str
) -> None:
    text = policy_in(folder, principal, FixedClock())
    assert "// guardrail/copilots-draft, guardrails/kinds.cedar:" in text
    assert "// data/customer-pii, data.yaml:" in text
    assert f'@id("{principal}/grant-1")\n@source("principals/{principal}.yaml:' in text
    own = "// support-copilot/policy/not-the-salaries, principals/support-copilot.cedar:8:1\n"
    assert (own in text) == (principal == "support-copilot")
    assert CedarEngine().parse(text), "comments and all, it is Cedar"
    assert text == policy_in(folder, principal, FixedClock())


def test_a_charter_that_is_not_there_is_named_with_the_nearest(folder: Path) -> None:
    with pytest.raises(AbsentError) as caught:
        policy_in(folder, "refund-agnt", FixedClock())
    assert caught.value.help == "did you mean `refund-agent`?"


# --- patterns ---

VALUES = {"principal": "help-desk", "owner": "ana@example.com", "queue": "help-desk", "approver": "sofia@example.com"}


def test_patterns_are_listed_with_their_parameters(folder: Path) -> None:
    found = {each["pattern"]: each for each in patterns_in(folder)}
    assert set(found) == {"coding-agent", "support-copilot"}
    assert [each["name"] for each in found["support-copilot"]["parameters"]] == [
        "principal", "owner", "team", "queue", "approver"
    ]  # fmt: skip
    team = next(each for each in found["support-copilot"]["parameters"] if each["name"] == "team")
    assert team == {"name": "team", "description": "their team, as in teams.yaml", "default": "support"}


def test_a_charter_is_made_that_is_valid_among_the_others(folder: Path) -> None:
    made = render_pattern(folder, "support-copilot", VALUES, FixedClock())
    assert (made.principal, made.warnings) == ("help-desk", ())
    (folder / "principals" / "help-desk.yaml").write_text(made.text)
    try:
        assert check_folder(folder, FixedClock()).warnings == ()
    finally:
        (folder / "principals" / "help-desk.yaml").unlink()


@pytest.mark.parametrize(
    ("changed", "told", "help"),
    [
        ({"team": "suport"}, "`suport` is no team in teams.yaml", "did you mean `support`?"),
        ({"owner": "sofia@example.com"}, "`sofia@example.com` owns `help-desk` and cannot approve", "someone else"),
        ({"queue": " "}, "the value of `queue` is empty", "name what is meant"),
        ({"queue": "a*"}, "the value of `queue` holds a `*`", "name the one thing"),
    ],
)
def test_no_charter_is_made_that_would_not_be_valid(
    folder: Path, changed: dict[str, str], told: str, help: str
) -> None:
    with pytest.raises(MalformedError) as caught:
        render_pattern(folder, "support-copilot", VALUES | changed, FixedClock())
    assert told in caught.value.detail
    assert caught.value.help is not None
    assert help in caught.value.help


def test_what_is_odd_about_a_new_charter_is_told_with_it(folder: Path) -> None:
    made = render_pattern(folder, "support-copilot", VALUES | {"queue": "../board"}, FixedClock())
    (warning,) = made.warnings
    assert "is like `ticket/../board/*`, so it lets nothing by" in warning
