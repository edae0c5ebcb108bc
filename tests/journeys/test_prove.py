"""`charter prove`: what the rules of an estate come to, from its files alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from terminal import Terminal

DUTIES = """\
charter: v1
duties:
  - id: pay-and-write
    parts:
      - {system: payments, actions: [refund.create]}
      - {system: payments, actions: [charge.read], objects: ["charge/*"]}
    reason: who looks up a charge does not also pay it back
"""


def an_estate(tmp_path: Path) -> Terminal:
    Terminal.at(tmp_path / "work").ask("init", "estate")
    return Terminal.at(tmp_path / "work").inside("estate")


def test_the_starter_estate_is_clean_and_says_what_guardrails_stop(tmp_path: Path) -> None:
    estate = an_estate(tmp_path)
    found = estate.ask("prove", "--check")
    assert found["clean"]
    stops = {(each["rule"], each["guardrail"]) for one in found["principals"] for each in one["stops"]}
    assert ("refund-agent/grant-2", "guardrail/sensitive-after-hours") in stops
    assert found["duties"] == found["same_authority"] == []


@pytest.mark.slow
def test_a_broken_duty_and_a_rule_that_says_nothing_are_told_with_their_places(tmp_path: Path) -> None:
    estate = an_estate(tmp_path)
    (estate.folder / "duties.yaml").write_text(DUTIES, encoding="utf-8")
    agent = estate.folder / "principals" / "refund-agent.yaml"
    twice = '  - {system: payments, actions: [charge.read], objects: ["charge/a*"]}\nexceptions:'
    agent.write_text(agent.read_text(encoding="utf-8").replace("exceptions:", twice, 1), encoding="utf-8")

    done = estate.charter("prove", "refund-agent", "--check", expect=1)

    assert "`refund-agent` may do all parts of `pay-and-write`: who looks up a charge" in done.out
    assert "refund-agent/grant-3 at principals/refund-agent.yaml:" in done.out
    assert "is shadowed: refund-agent/grant-1 allows whatever it allows too" in done.out
    assert estate.ask("prove", "refund-agent")["duties"][0]["principals"] == ["refund-agent"]


@pytest.mark.slow
def test_a_duty_about_nothing_and_a_principal_that_is_none_are_told(tmp_path: Path) -> None:
    estate = an_estate(tmp_path)
    estate.refused("prove", "refund-agnt", expect=4)
    wrong = DUTIES.replace("[refund.create]", "[refund.creat]")
    (estate.folder / "duties.yaml").write_text(wrong, encoding="utf-8")
    text = estate.charter("validate", expect=2).err
    assert "duties.yaml:5:" in text
    assert "did you mean `refund.create`?" in text
