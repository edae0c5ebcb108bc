"""The starter estate in the real decision engine: its policy is valid, its tests pass, and each rule has one."""

from __future__ import annotations

from charter.adapters.cedar import CedarEngine
from charter.bootstrap import trials
from charter.core.clock import SystemClock
from charter.policy.check import check_estate
from charter.registry.manifest import FOLDERS, SINGLE, parse_estate
from charter.registry.starter import starter_files

ESTATE = parse_estate(
    {path: text for path, text in starter_files().items() if path in SINGLE or path.split("/")[0] in FOLDERS}
)


def test_the_starter_estate_passes_every_check() -> None:
    assert check_estate(ESTATE, CedarEngine()) == ()


def test_the_starter_estates_own_tests_pass_and_leave_no_rule_out() -> None:
    report = trials.run(ESTATE, SystemClock())
    assert [(result.name, result.why) for result in report.results if not result.passed] == []
    assert report.untested == ()
