"""What the documents say is there is there, and they say all of it: codes, commands, packages, decisions, proofs."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML

from charter.cli.main import app
from charter.cli.output import exit_code
from charter.core.errors import CharterError, ErrorCode, UnauthenticatedError
from charter.gateway.mcp_answers import error_of
from charter.registry.charter import Grant
from charter.registry.system import System
from charter.server.problems import oauth_error, problem_of

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted({ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/**/*.md")})
PROVES = re.compile(r"`(tests/[^`]*)`")


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def rows(document: str, *, least: int) -> list[list[str]]:
    """Return the cells of the rows of all tables, heads and rules left out."""
    found = []
    for before, line in zip(document.splitlines(), document.splitlines()[1:], strict=False):
        if line.startswith("|") and before.startswith("|") and not line.startswith("|---"):
            found.append([cell.strip() for cell in line.strip("|").split(" | ")])
    assert len(found) >= least
    return found


# --- the threat model ---


def threats() -> list[list[str]]:
    return rows(text("docs/threat-model.md"), least=40)


def test_threats_are_numbered_without_a_gap() -> None:
    assert [row[0] for row in threats()] == [str(number) for number in range(1, len(threats()) + 1)]


def test_each_threat_names_tests_that_are_there() -> None:
    for number, _deed, _stop, proof in threats():
        named = PROVES.findall(proof)
        assert named, f"row {number} names no proof"
        missing = [name for name in named if not (ROOT / name).is_file()]
        assert not missing, f"row {number} names {missing}"


def test_each_attack_is_in_the_threat_model() -> None:
    named = {name for row in threats() for name in PROVES.findall(row[-1])}
    there = {str(file.relative_to(ROOT)) for file in ROOT.glob("tests/attacks/test_*.py")}
    assert there - named == set()


# --- error codes ---


def codes() -> list[str]:
    return [row[0].strip("`") for row in rows(text("docs/error-codes.md"), least=50) if row[0].startswith("`")]


def test_each_error_code_has_one_row() -> None:
    assert sorted(codes()) == sorted(code.value for code in ErrorCode)


@pytest.mark.parametrize("kind", CharterError.__subclasses__())
def test_each_family_is_told_as_it_is_on_each_edge(kind: type[CharterError]) -> None:
    error = kind(ErrorCode.BAD_VALUE, "it is wrong")
    status, problem = problem_of(error)
    rows_of = [row for row in rows(text("docs/error-codes.md"), least=50) if row[0] == problem["title"]]
    assert len(rows_of) == 1
    _, _, http, oauth, rpc, code = rows_of[0]
    assert (int(http), oauth.strip("`"), int(code)) == (status, oauth_error(error)[1]["error"], exit_code(error))
    assert rpc == str(error_of(error)["code"]) or isinstance(error, UnauthenticatedError)


# --- packages ---


def wanted(section: dict[str, Any], *extras: str) -> set[str]:
    listed = [*section["dependencies"]] if not extras else []
    for extra in extras:
        listed += section["optional-dependencies"][extra]
    return {re.split(r"[\[<>=~!; ]", name)[0] for name in listed}


@pytest.mark.parametrize(("heading", "extras"), [("At run time", ()), ("For development and tests", ("dev",))])
def test_each_dependency_has_one_line(heading: str, extras: tuple[str, ...]) -> None:
    project = tomllib.loads(text("pyproject.toml"))["project"]
    _, _, after = text("docs/dependencies.md").partition(f"## {heading}\n")
    section, _, _ = after.partition("\n## ")
    listed = [name.split(" ")[0] for row in rows(section, least=15) for name in row[0].split(", ")]
    assert sorted(listed) == sorted(wanted(project, *extras))


def test_each_extra_is_one_of_the_development_packages() -> None:
    extras = tomllib.loads(text("pyproject.toml"))["project"]["optional-dependencies"]
    apart = {"spark"}  # half a gigabyte: requirements/spark.txt, for make test-all
    assert {name for key, extra in extras.items() if key not in apart for name in extra} <= set(extras["dev"])


# --- commands ---


def commands(group: Any, *path: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *path, name)
        else:
            yield " ".join([*path, name])


def told() -> list[str]:
    """Return the commands in README's table; a word after `group command` is of that group, if it has it."""
    _, _, after = text("README.md").partition("## The command line\n")
    section, _, _ = after.partition("\n## ")
    there = set(commands(typer.main.get_command(app)))
    found = []
    for row in rows(section, least=7):
        group = ""
        for words in re.findall(r"`([a-z -]+?)(?: --[^`]*)?`", row[-1]):
            of_group = f"{group} {words}"
            if " " in words:
                group, _, _ = words.rpartition(" ")
            found.append(of_group if of_group in there else words)
    return found


def test_each_command_is_in_the_readme() -> None:
    assert set(told()) == set(commands(typer.main.get_command(app)))


# --- decisions ---


def test_decisions_are_numbered_without_a_gap_and_have_a_title() -> None:
    files = sorted(ROOT.glob("docs/adr/*.md"))
    assert [file.name[:5] for file in files] == [f"{number:04d}-" for number in range(1, len(files) + 1)]
    for file in files:
        assert file.read_text(encoding="utf-8").startswith("# "), file.name


# --- what documents and code point at ---


@pytest.mark.parametrize("document", DOCS, ids=lambda file: str(file.relative_to(ROOT)))
def test_each_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
        assert "://" in target or (document.parent / target).exists(), target


def test_each_file_that_documents_or_code_name_is_there() -> None:
    pattern = re.compile(r"`?\b((?:docs|tests|src|tools)/[\w./-]+\.(?:py|md|txt|yaml|json|toml))\b")
    places = [file for file in DOCS if file.name != "CHANGELOG.md"] + sorted(ROOT.glob("src/charter/**/*.py"))
    missing = {
        f"{place.relative_to(ROOT)}: {name}"
        for place in places
        for name in pattern.findall(place.read_text(encoding="utf-8"))
        if not (ROOT / name).exists()
    }
    assert missing == set()


# --- what documents show of an estate ---


def test_what_documents_show_of_charters_and_systems_is_taken() -> None:
    """Whole files of systems, and all grants, wherever a document shows some."""
    yaml, shown = YAML(typ="safe"), 0
    for place in DOCS:
        for block in re.findall(r"^```yaml\n(.*?)^```", place.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
            if "…" in block or not re.search(r"^(?:system|grants):", block, re.MULTILINE):
                continue
            read = yaml.load(block)
            shown += 1
            if "system" in read:
                System.model_validate(read)
            for grant in read.get("grants", ()):
                Grant.model_validate(grant)
    assert shown >= 4  # else they are not found
