"""A plan as people read it at the terminal, where files are compared and where what is registered is."""

from __future__ import annotations

from typing import Any

import pytest

from charter.bootstrap.file_diff import compare
from charter.cli.estate_commands import print_plan
from charter.cli.summary import summary
from estates import PRINCIPAL, TEAMS, estate_files
from fakes import FixedClock, SteppingClock

REVIEWED = TEAMS + "changes: {reviewed: required, central: payments-lead}\n"


@pytest.fixture(scope="module")
def compared() -> dict[str, Any]:
    before = estate_files({"teams.yaml": REVIEWED, "tests/refunds.yaml": None})
    wider = before | {"principals/refund-agent.yaml": PRINCIPAL.replace("200 EUR", "205 EUR")}
    return compare(before, wider, FixedClock(), 60.0)


def test_files_that_are_compared_say_whose_yes_is_needed_and_not_who_gave_it(
    compared: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    print_plan(compared)
    said = " ".join(capsys.readouterr().out.split())
    assert "needs a yes of role:payments-risk for refund-agent" in said
    assert "said yes" not in said


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], "for refund-agent: nobody said yes yet"),
        (["alex@example.com"], "for refund-agent: alex@example.com said yes"),
    ],
)
def test_a_plan_says_who_gave_a_yes(
    compared: dict[str, Any], capsys: pytest.CaptureFixture[str], given: list[str], told: str
) -> None:
    needs = [each | {"given": given} for each in compared["review"]["needs"]]
    print_plan(compared | {"review": compared["review"] | {"needs": needs}})
    assert told in " ".join(capsys.readouterr().out.split())


def test_a_plan_that_ran_out_of_time_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    before = estate_files({"teams.yaml": REVIEWED, "tests/refunds.yaml": None})
    wider = before | {"principals/refund-agent.yaml": PRINCIPAL.replace("200 EUR", "206 EUR")}
    for clock, is_told in ((SteppingClock(30), True), (FixedClock(), False)):
        print_plan(compare(before, wider, clock, 20.0))
        told = " ".join(capsys.readouterr().out.split())
        assert ("plan again, and a running server goes on where it stopped" in told) is is_told


def test_the_page_of_a_run_tells_all_that_the_terminal_does() -> None:
    before = estate_files({"teams.yaml": REVIEWED, "tests/refunds.yaml": None})
    text = PRINCIPAL.replace("max_depth: 2", "max_depth: 3").replace("dispute-handling", "disputes")
    twice = text.replace(
        "delegation:", "  - {system: payments, actions: [charge.read], objects: ['dispute/*']}\ndelegation:"
    )
    new = {"principals/another.yaml": PRINCIPAL.replace("principal: refund-agent", "principal: another")}
    told = compare(before, before | {"principals/refund-agent.yaml": twice} | new, FixedClock(), 60.0)
    tests = {"passed": 0, "failed": 0, "results": [], "properties": [], "coverage": {"percent": 0}}
    page = summary({"tests": tests, "diff": told}, "main").splitlines()
    assert "- everything it may do is new" in page
    assert "- its charter widens: chains are 3 deep at most instead of 2" in page
    assert any(each.startswith("- says nothing: refund-agent/grant-2 at ") for each in page)
    assert "- needs a yes of role:payments-risk, because it widens, and its risk is high" in page


@pytest.mark.parametrize(
    ("base", "told"), [(None, "is no revision here (git fetch may bring it)"), ({}, "holds no estate")]
)
def test_a_base_that_is_nothing_says_what_it_lacks(base: dict[str, str] | None, told: str) -> None:
    note = compare(base, estate_files({"tests/refunds.yaml": None}), FixedClock(), 60.0)["note"]
    assert note == f"the base {told}, so all counts as new"
