"""How much a scan finds, and how much of it is true, on the labelled corpus."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from charter.adapters.scanners import scan
from scan_corpus import Case, cases, labels_of

CASES = list(cases())


def measured(case: Case, root: Path) -> tuple[Counter[str], Counter[str], set[str]]:
    report = scan(case.unpack(root))
    found, facts = Counter[str](), Counter[str]()
    for finding in report.findings:
        label, own = labels_of(finding)
        found[label] += 1
        facts.update(own)
    return found, facts, {each.path for each in report.unread}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_labelled_checkout_gives_exactly_its_findings(case: Case, tmp_path: Path) -> None:
    found, facts, unread = measured(case, tmp_path)

    assert sorted(found.elements()) == sorted(case.expected)
    assert sorted(facts.elements()) == sorted(case.facts)
    assert unread == set(case.unread)


def test_precision_and_recall_on_the_whole_corpus_are_what_we_publish(tmp_path: Path) -> None:
    totals = Counter[str]()
    for case in CASES:
        found, facts, _ = measured(case, tmp_path / case.name)
        for what, got, wanted in (("findings", found, Counter(case.expected)), ("facts", facts, Counter(case.facts))):
            totals[f"{what} true"] += (got & wanted).total()
            totals[f"{what} false"] += (got - wanted).total()
            totals[f"{what} missed"] += (wanted - got).total()

    assert totals["findings true"] >= 45
    for what in ("findings", "facts"):
        assert totals[f"{what} true"] / (totals[f"{what} true"] + totals[f"{what} false"]) == 1.0, totals
        assert totals[f"{what} true"] / (totals[f"{what} true"] + totals[f"{what} missed"]) == 1.0, totals


def test_the_corpus_holds_more_files_that_show_nothing_than_files_that_do() -> None:
    without = [case for case in CASES if not case.expected]

    assert len(without) >= 8
    assert {"agent", "workflow", "copilot", "browser-agent", "saas-feature", "developer-assistant"} <= {
        label.split(" ")[2] for case in CASES for label in case.expected
    }
