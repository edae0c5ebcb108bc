"""An estate in git: what changed since a revision, the hook of pre-commit, and the steps of the GitHub Action."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from ruamel.yaml import YAML

from charter.registry.central import CALENDARS, DATA, DUTIES, FLOW, RESPONSES, SHARING
from charter.registry.crosscheck import TEAMS
from charter.registry.federated import ISSUERS
from terminal import BIN, ROOT, Terminal

ACTION = YAML(typ="safe", pure=True).load((ROOT / "action.yml").read_text(encoding="utf-8"))
HOOKS = ROOT / ".pre-commit-hooks.yaml"


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=Rita", "-c", "user.email=rita@example.com", "-c", "init.defaultBranch=main")
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, env=environment(folder), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def environment(folder: Path, **added: str) -> dict[str, str]:
    """Return what a fresh login has; the charter command is on its path."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    home = folder.parent / "home"
    home.mkdir(exist_ok=True)
    return kept | {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(home), "LANG": "C.UTF-8"} | added


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git repository whose folder `estate` is the starter, committed on `main`."""
    Terminal.at(tmp_path).charter("init", "repo/estate")
    repo = tmp_path / "repo"
    git(repo, "init", "--quiet")
    git(repo, "add", ".")
    git(repo, "commit", "--quiet", "-m", "begin")
    return repo


def widened(repo: Path) -> None:
    """Let refunds go to 300 EUR, and the approval begin at 250: nothing of the guardrails, all of the charter."""
    path = repo / "estate" / "principals" / "refund-agent.yaml"
    text = path.read_text(encoding="utf-8")
    assert "over: 100 EUR" in text
    path.write_text(text.replace("over: 100 EUR", "over: 150 EUR"), encoding="utf-8")


# --- diff and check ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_diff_against_a_revision_needs_no_server_and_shows_what_widens(checkout: Path) -> None:
    terminal = Terminal.at(checkout).inside("estate")
    assert terminal.ask("diff")["changes"] == []
    widened(checkout)
    found = terminal.ask("diff", "--base", "main")

    (change,) = found["changes"]
    assert (change["change"], change["what"], change["name"]) == ("change", "principal", "refund-agent")
    (effect,) = found["effects"]
    assert (effect["principal"], effect["conclusion"]) == ("refund-agent", "widens")
    assert effect["gains"]
    assert found["note"] is None
    assert not (checkout / "estate" / ".charter").exists()
    terminal.charter("diff", "--fail-on-widening", expect=1)
    assert "= refund-agent: widens" in terminal.say("diff")


@pytest.mark.slow
def test_a_base_that_is_missing_or_none_counts_as_nothing_and_says_so(checkout: Path, tmp_path: Path) -> None:
    terminal = Terminal.at(checkout).inside("estate")
    assert "the base is no revision here" in terminal.ask("diff", "--base", "no-such-branch")["note"]
    teams = checkout / "estate" / "teams.yaml"
    whole = teams.read_text(encoding="utf-8")
    teams.write_text("charter: v2\n", encoding="utf-8")
    git(checkout, "commit", "--quiet", "-am", "broken")
    teams.write_text(whole, encoding="utf-8")
    assert "is no valid estate" in terminal.ask("diff")["note"]
    for odd in ("--upload-pack=x", "a b", "HEAD:estate", "-h"):
        assert "is no git revision" in terminal.refused("diff", f"--base={odd}", expect=2)["detail"]
    Terminal.at(tmp_path).charter("init", "alone")
    assert "no git repository" in Terminal.at(tmp_path).inside("alone").refused("diff", expect=2)["detail"]


@pytest.mark.slow
def test_a_check_writes_junit_and_a_summary_and_fails_where_a_bound_is_not_kept(checkout: Path) -> None:
    terminal = Terminal.at(checkout).inside("estate")
    found = terminal.ask("check", "--base", "HEAD", "--junit", "../r.xml", "--summary", "../s.md")
    assert found["tests"]["failed"] == 0
    assert found["diff"]["changes"] == []
    assert ET.parse(checkout / "r.xml").getroot().get("failures") == "0"  # noqa: S314 - our own
    assert "what rules can do is shown by a test" in (checkout / "s.md").read_text(encoding="utf-8")
    terminal.charter("check", "--min-coverage", "100", expect=1)
    terminal.charter("check", "--min-coverage", "50", "--proven")
    widened(checkout)
    said = terminal.ask("check", "--base", "HEAD", "--fail-on-widening", expect=1)
    failing = [each["name"] for each in said["tests"]["properties"] if not each["passed"]]
    assert failing == ["nobody refunds more than 100 EUR without a yes"]


def test_names_in_a_summary_never_become_markup(checkout: Path) -> None:
    name = "<script>x</script> [a](http://evil.example) @maria `b` | c"
    tests = checkout / "estate" / "tests" / "odd.yaml"
    case = {"principal": "refund-agent", "system": "payments", "action": "charge.read", "expect": "allow"}
    tests.write_text(json.dumps({"charter": "v1", "tests": [case | {"name": name}]}), encoding="utf-8")
    Terminal.at(checkout).inside("estate").charter("check", "--summary", "../s.md", expect=1)
    said = (checkout / "s.md").read_text(encoding="utf-8")
    row = next(line for line in said.splitlines() if "script" in line)
    assert not set("<>[]`@").intersection(row)
    assert "http://" not in row
    assert row.count("|") == 5


# --- pre-commit -------------------------------------------------------------------------------------------------------


@pytest.fixture
def hooked(checkout: Path, tmp_path: Path) -> Path:
    """The checkout with our hook installed by pre-commit, from a repository that holds our manifest.

    `language: unsupported` takes the command on the path in place of an environment that pip would fill from the
    network; everything else is what the manifest says.
    """
    ours = tmp_path / "charter-hooks"
    ours.mkdir()
    shutil.copy(HOOKS, ours / ".pre-commit-hooks.yaml")
    git(ours, "init", "--quiet")
    git(ours, "add", ".")
    git(ours, "commit", "--quiet", "-m", "hooks")
    hook = {"id": "charter-check", "args": ["-C", "estate", "check", "--base", "HEAD"]}
    hook |= {"language": "unsupported", "language_version": "default"}
    repo = {"repo": str(ours), "rev": git(ours, "rev-parse", "HEAD").strip(), "hooks": [hook]}
    (checkout / ".pre-commit-config.yaml").write_text(json.dumps({"repos": [repo]}), encoding="utf-8")
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "-m", "hooks")
    run(checkout, "pre-commit", "install")
    return checkout


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=300, check=False
    )


def commit(folder: Path) -> subprocess.CompletedProcess[str]:
    return run(folder, "git", "-c", "user.name=Rita", "-c", "user.email=rita@example.com", "commit", "-am", "change")


@pytest.mark.slow
def test_the_hook_stops_a_commit_that_breaks_a_property_and_lets_a_good_one_through(hooked: Path) -> None:
    widened(hooked)
    stopped = commit(hooked)
    assert stopped.returncode != 0
    assert "FAIL  nobody refunds more than 100 EUR without a yes" in stopped.stdout + stopped.stderr
    assert "principal refund-agent" in stopped.stdout + stopped.stderr

    git(hooked, "checkout", "--quiet", "--", "estate")
    path = hooked / "estate" / "principals" / "refund-agent.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r"(?m)^purpose: .*$", "purpose: Refund small charges", text), encoding="utf-8")
    done = commit(hooked)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "purpose: Refund small charges" in git(hooked, "show", "HEAD:estate/principals/refund-agent.yaml")


@pytest.mark.slow
def test_the_hook_stops_a_file_that_is_wrong_and_is_not_asked_about_others(hooked: Path) -> None:
    (hooked / "README.md").write_text("more\n", encoding="utf-8")
    git(hooked, "add", ".")
    assert "no files to check" in (done := commit(hooked)).stdout + done.stderr
    assert done.returncode == 0
    path = hooked / "estate" / "principals" / "refund-agent.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("kind: agent", "kind: agnet"), encoding="utf-8")
    stopped = commit(hooked)
    assert stopped.returncode != 0
    assert "did you mean `agent`?" in stopped.stdout + stopped.stderr


def test_the_hooks_files_are_those_of_an_estate() -> None:
    (hook,) = YAML(typ="safe", pure=True).load(HOOKS.read_text(encoding="utf-8"))
    meant = re.compile(hook["files"])
    for path in (
        "principals/a.yaml",
        "estate/systems/b.yaml",
        "x/y/guardrails/c.cedar",
        "teams.yaml",
        "e/tests/t.yaml",
        *(f"estate/{name}" for name in (CALENDARS, DATA, DUTIES, FLOW, ISSUERS, RESPONSES, SHARING, TEAMS)),
    ):
        assert meant.search(path), path
    for path in ("README.md", "src/main.py", "principals/notes.md", "other.yaml", "estate/.schema/tests.json"):
        assert not meant.search(path), path
    assert run(ROOT, sys.executable, "-m", "pre_commit", "validate-manifest", str(HOOKS)).returncode == 0


# --- the GitHub Action ------------------------------------------------------------------------------------------------


def test_the_action_is_valid_by_the_published_schema() -> None:
    done = run(ROOT, str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.github-actions", "action.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_that_a_workflow_says_is_ever_read_as_a_command() -> None:
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step["run"], step["name"]
        assert "uses" not in step


class Runner:
    """Runs the action's steps as GitHub's runner does: expressions, environment files, `bash -eo pipefail`."""

    def __init__(self, checkout: Path, **context: str) -> None:
        self.checkout = checkout
        self.inputs = {name: each.get("default", "") for name, each in ACTION["inputs"].items()}
        self.github = {"action_path": str(ROOT), "base_ref": ""} | context
        self.temp = checkout.parent / "runner"
        self.temp.mkdir(exist_ok=True)
        self.log = ""

    def value(self, text: Any) -> Any:
        """Return `text` with its expressions worked out."""
        whole = re.fullmatch(r"\$\{\{(.*)\}\}", str(text).strip(), re.DOTALL)
        return self._worked_out(whole[1]) if whole else text

    def _worked_out(self, expression: str) -> Any:
        names: dict[str, Any] = {"format": lambda form, *given: form.format(*given)}

        def named(found: re.Match[str]) -> str:
            around = {"inputs": self.inputs, "github": self.github}[found[1]]
            names[key := f"v{len(names)}"] = around[found[2]]
            return key

        python = re.sub(r"\b(inputs|github)\.([\w-]+)", named, expression)
        python = python.replace("&&", " and ").replace("||", " or ").strip()
        return eval(python, {"__builtins__": {}}, names)  # noqa: S307 - the expressions of our own action.yml

    def run(self, **inputs: str) -> tuple[int, dict[str, str], str]:
        """Return how the action ended, its outputs, and the summary it wrote."""
        self.inputs |= {name.replace("_", "-"): value for name, value in inputs.items()}
        outputs, summary = self.temp / "outputs", self.temp / "summary"
        for each in (outputs, summary):
            each.write_text("", encoding="utf-8")
        added = {"RUNNER_TEMP": str(self.temp), "GITHUB_OUTPUT": str(outputs), "GITHUB_STEP_SUMMARY": str(summary)}
        code = 0
        for step in ACTION["runs"]["steps"]:
            if code or not self.value(step.get("if", "true")):
                continue
            script = self.temp / "step.sh"
            script.write_text(step["run"], encoding="utf-8")
            own = {name: str(self.value(value)) for name, value in step.get("env", {}).items()}
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)],
                cwd=self.checkout,
                env=environment(self.checkout, **added, **own),
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            self.log += done.stdout + done.stderr
            code = done.returncode
        told = dict(line.split("=", 1) for line in outputs.read_text(encoding="utf-8").splitlines())
        return code, told, summary.read_text(encoding="utf-8")


def test_the_action_passes_on_a_good_estate_and_tells_the_run_what_it_found(checkout: Path) -> None:
    runner = Runner(checkout)
    code, outputs, summary = runner.run(charter=str(BIN / "charter"), estate="estate")
    assert code == 0, runner.log
    assert (outputs["passed"], outputs["changes"], outputs["widens"]) == ("true", "", "false")
    assert float(outputs["coverage"]) > 80
    assert set(outputs) == set(ACTION["outputs"])
    assert json.loads(Path(outputs["results"]).read_text(encoding="utf-8"))["tests"]["failed"] == 0
    assert "proven" in summary
    assert ET.parse(checkout / "charter-results.xml").getroot().get("failures") == "0"  # noqa: S314


def test_the_action_compares_a_pull_request_with_its_base_and_puts_failures_at_their_lines(
    checkout: Path, tmp_path: Path
) -> None:
    git(checkout, "clone", "--quiet", "--bare", ".", str(tmp_path / "origin.git"))
    git(checkout, "remote", "add", "origin", str(tmp_path / "origin.git"))
    git(checkout, "checkout", "--quiet", "-b", "wider")
    widened(checkout)
    git(checkout, "commit", "--quiet", "-am", "wider")
    runner = Runner(checkout, base_ref="main")
    code, outputs, summary = runner.run(charter=str(BIN / "charter"), estate="estate")
    assert code == 1
    assert (outputs["passed"], outputs["changes"], outputs["widens"]) == ("false", "1", "true")
    assert re.search(
        r"::error file=estate/tests/properties\.yaml,line=\d+,col=\d+,title=Charter::nobody refunds", runner.log
    )
    assert "What differs from origin/main" in summary
    assert "**fails**" in summary


@pytest.mark.slow
def test_the_action_tells_of_a_wrong_file_and_keeps_hostile_words_to_themselves(checkout: Path) -> None:
    path = checkout / "estate" / "principals" / "refund-agent.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("kind: agent", "kind: agnet"), encoding="utf-8")
    runner = Runner(checkout)
    code, outputs, _ = runner.run(charter=str(BIN / "charter"), estate="estate")
    assert (code, outputs["passed"], outputs["coverage"]) == (2, "false", "")
    assert "::error file=estate/principals/refund-agent.yaml,line=" in runner.log
    mark = checkout / "owned"
    for odd in (f"$(touch {mark})", f"; touch {mark}", f"`touch {mark}`", f"x\n::set-output name=a::b\ntouch {mark}"):
        for name in ("estate", "base", "junit", "min-coverage"):
            code, _, _ = Runner(checkout).run(charter=str(BIN / "charter"), **{"estate": "estate", name: odd})
            assert code != 0
    assert not mark.exists()
