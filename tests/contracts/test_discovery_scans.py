"""Scans of real checkouts on disk: the same finding every time, matched to what is registered, and fast enough."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
from pathlib import Path

import pytest

from builders import a_charter
from charter.adapters.scanners import FolderTree, scan
from charter.discovery.findings import Coverage, ScanFinding, finding_from, matched, reconciled, record_of
from charter.registry.charter import Charter
from charter.registry.record import Finding, FindingState

AT = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
LATER = AT + dt.timedelta(days=7)
APP = {
    "services/triage/pyproject.toml": '[project]\nname = "triage"\ndependencies = ["anthropic"]\n',
    "services/triage/main.py": 'import anthropic\nanthropic.x(model="claude-sonnet-4-5")\n',
    ".mcp.json": '{"mcpServers": {"git": {"command": "uvx", "args": ["mcp-server-git"]}}}',
}


def write(root: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return root


def by_kind(root: Path) -> dict[str, ScanFinding]:
    return {finding.kind.value: finding for finding in scan(root).findings}


def registered(finding: ScanFinding, **changed: object) -> dict[str, Charter]:
    model = {"provider": finding.providers[0] if finding.providers else "anthropic", "name": "*"}
    given = {"principal": finding.proposes, "kind": finding.suggests.value, "model": model} | changed
    charter = a_charter(**given)
    return {charter.principal: charter}


def test_a_second_scan_reports_the_same_findings_byte_for_byte(tmp_path: Path) -> None:
    write(tmp_path, APP)

    assert json.dumps(scan(tmp_path).to_json()) == json.dumps(scan(tmp_path).to_json())


def test_a_finding_is_the_same_after_its_lines_models_and_secrets_changed(tmp_path: Path) -> None:
    before = by_kind(write(tmp_path, APP))["application"]

    write(tmp_path, {"services/triage/main.py": '\n\n\nimport openai\nopenai.x(model="gpt-4o")\n'})
    after = by_kind(tmp_path)["application"]

    assert (before.fingerprint, before.id) == (after.fingerprint, after.id)
    assert before.models != after.models


def test_a_finding_is_the_same_in_another_clone_and_from_a_folder_within(tmp_path: Path) -> None:
    for name, url in (("one", "https://u:t@git.example.com/acme/app.git"), ("two", "git@git.example.com:acme/app.git")):
        root = write(tmp_path / name, APP)
        subprocess.run(["git", "init", "-q"], cwd=root, check=True)
        subprocess.run(["git", "remote", "add", "origin", url], cwd=root, check=True)

    one, two = by_kind(tmp_path / "one"), by_kind(tmp_path / "two")
    (within,) = scan(tmp_path / "one" / "services").findings

    assert one["application"].fingerprint == two["application"].fingerprint == within.fingerprint
    assert within.path == "services/triage"
    assert FolderTree(tmp_path / "one").origin == "git.example.com/acme/app"


def test_two_checkouts_without_a_remote_are_two(tmp_path: Path) -> None:
    one, two = by_kind(write(tmp_path / "a" / "app", APP)), by_kind(write(tmp_path / "b" / "app", APP))

    assert one["application"].fingerprint != two["application"].fingerprint


def test_an_empty_folder_has_no_findings(tmp_path: Path) -> None:
    report = scan(tmp_path)

    assert (report.findings, report.unread, report.stopped) == ((), (), None)
    assert report.counts["files"] == 0


def test_a_charter_of_the_proposed_name_kind_and_provider_covers_a_finding(tmp_path: Path) -> None:
    finding = by_kind(write(tmp_path, APP))["application"]

    (match,) = matched([finding], registered(finding))

    assert (match.coverage, match.principal) == (Coverage.COVERED, finding.proposes)


@pytest.mark.parametrize(
    "changed", [{"kind": "copilot"}, {"model": {"provider": "mistral", "name": "*"}}, {"principal": "x"}]
)
def test_a_charter_of_another_kind_provider_or_name_does_not(tmp_path: Path, changed: dict[str, object]) -> None:
    finding = by_kind(write(tmp_path, APP))["application"]

    (match,) = matched([finding], registered(finding, **changed))

    assert (match.coverage, match.principal) == (Coverage.OPEN, None)


def test_a_finding_that_was_adopted_is_that_principal_until_it_is_gone(tmp_path: Path) -> None:
    finding = by_kind(write(tmp_path, APP))["application"]
    adopted = {finding.fingerprint: "refund-agent"}

    (held,) = matched([finding], {"refund-agent": a_charter()}, adopted)
    (lost,) = matched([finding], {}, adopted)

    assert (held.coverage, held.principal) == (Coverage.ADOPTED, "refund-agent")
    assert lost.coverage is Coverage.OPEN
    assert "no longer registered" in lost.why


def records(root: Path) -> list[Finding]:
    return [record_of(each, f"fnd_{n}", AT) for n, each in enumerate(scan(root).findings)]


def compared(root: Path, kept: list[Finding], *, complete: bool = True) -> tuple[int, int, int, int]:
    report = scan(root)
    changes = reconciled(report.findings, kept, origin=report.origin, prefix=report.prefix, complete=complete, at=LATER)
    return len(changes.new), len(changes.reopened), len(changes.resolved), changes.unchanged


def test_a_later_scan_opens_resolves_and_reopens(tmp_path: Path) -> None:
    kept = records(write(tmp_path, APP))
    assert compared(tmp_path, kept) == (0, 0, 0, 2)

    (tmp_path / ".mcp.json").unlink()
    write(tmp_path, {"flow/requirements.txt": "openai\n"})
    assert compared(tmp_path, kept) == (1, 0, 1, 1)

    gone = [each.moved(FindingState.RESOLVED, LATER) if each.kind == "scan.assistant" else each for each in kept]
    write(tmp_path, APP)
    assert compared(tmp_path, gone) == (1, 1, 0, 1)


def test_what_someone_accepted_stays_accepted_seen_or_not(tmp_path: Path) -> None:
    kept = [each.moved(FindingState.ACCEPTED, LATER) for each in records(write(tmp_path, APP))]

    assert compared(tmp_path, kept) == (0, 0, 0, 2)
    (tmp_path / ".mcp.json").unlink()
    assert compared(tmp_path, kept) == (0, 0, 0, 1)


def test_a_scan_that_was_cut_short_or_looked_elsewhere_resolves_nothing(tmp_path: Path) -> None:
    kept = records(write(tmp_path / "app", APP))
    (tmp_path / "app" / ".mcp.json").unlink()

    assert compared(tmp_path / "app", kept, complete=False) == (0, 0, 0, 1)
    assert compared(write(tmp_path / "other", {"a.txt": "x"}), kept) == (0, 0, 0, 0)


def test_a_finding_of_a_real_scan_survives_its_json(tmp_path: Path) -> None:
    for finding in scan(write(tmp_path, APP)).findings:
        assert finding_from(json.loads(json.dumps(finding.to_json()))) == finding
