"""The published JSON Schemas say of a file what Charter says of it, as far as a schema can."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings

from charter.registry.document import read_document
from charter.registry.schema import DIALECT, json_schemas
from charter.registry.starter import starter_files
from charters import charters
from estates import PRINCIPAL, SYSTEM, TRIALS

SCHEMAS = json_schemas()
FOLDERS = {
    "principals": "principal.json",
    "systems": "system.json",
    "patterns": "pattern.json",
    "tests": "tests.json",
    "guardrails": "rules.json",
    "data.yaml": "data.json",
    "calendars.yaml": "calendars.json",
    "sharing.yaml": "sharing.json",
    "flow.yaml": "flow.json",
    "purposes.yaml": "purposes.json",
    "teams.yaml": "teams.json",
}
STARTER = {path: text for path, text in starter_files().items() if path.endswith(".yaml")}


def schema_of(path: str) -> dict[str, Any]:
    return SCHEMAS[FOLDERS[path.partition("/")[0]]]


def faults(schema: dict[str, Any], text: str) -> list[str]:
    value = read_document(text.encode(), "f.yaml").value
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    return [error.message for error in validator.iter_errors(_as_json(value))]


def _as_json(value: Any) -> Any:
    """Return a YAML value as an editor's YAML reader gives it to its JSON Schema checker."""
    match value:
        case dict():
            return {key: _as_json(item) for key, item in value.items()}
        case list():
            return [_as_json(item) for item in value]
        case None | bool() | int() | str():
            return value
        case _:
            return float(value)


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_schema_is_one(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])
    assert SCHEMAS[name]["$schema"] == DIALECT


# Words that mean one thing wherever they stand.
ALIKE = {"answers", "for", "issuer", "known", "not", "objects", "owner", "places", "posture", "providers", "questions"}
ALIKE |= {"sensitive", "under", "untrusted"}  # of what a class of calls takes and leaves out; of grants and groups


def test_a_word_that_means_two_things_is_told_twice() -> None:
    """What an editor shows beside a field is about that field, not about another of the same name."""
    told: dict[str, dict[str, str]] = {}
    for file, schema in SCHEMAS.items():
        for called, definition in (schema.get("$defs", {}) | {file: schema}).items():
            for name, field in definition.get("properties", {}).items():
                if "description" in field:
                    told.setdefault(name, {})[called] = field["description"]
    same = {name for name, by in told.items() if len(by) > len(set(by.values()))}
    assert same <= ALIKE
    condition = SCHEMAS["principal.json"]["$defs"]["ArgumentCondition"]["properties"]
    assert condition["under"]["description"] == "Less than this."
    assert all("description" in field for field in condition.values())


@pytest.mark.parametrize("path", sorted(STARTER))
def test_every_starter_file_passes_its_schema(path: str) -> None:
    assert faults(schema_of(path), STARTER[path]) == []


@pytest.mark.parametrize("path", sorted(STARTER))
def test_every_starter_file_points_its_editor_to_its_schema(path: str) -> None:
    up = "../" if "/" in path else ""
    wanted = FOLDERS[path.partition("/")[0]]
    assert STARTER[path].splitlines()[0] == f"# yaml-language-server: $schema={up}.schema/{wanted}"


@settings(max_examples=60)
@given(charters)
def test_every_charter_passes_the_schema(written: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(SCHEMAS["principal.json"])
    assert [error.message for error in validator.iter_errors(written)] == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("owner:", "ownr:"),
        ("kind: agent", "kind: agnet"),
        ("review: 90d", "review: 90 days"),
        ("expires: 2027-11-02", "expires: soon"),
        ("200 EUR", "200EUR"),
        ("08:00-18:00 Europe/Berlin", "8 to 18"),
        ("mon-fri", "mon-fry"),
        ("count: 50", "count: 0"),
        ("[charge.read, refund.create]", '["charge.*"]'),
        ("principal: refund-agent", "principal: Refund Agent"),
        ("maria@example.com", "maria"),
        ("{max: 200 EUR}", "{mx: 200 EUR}"),
        ("purpose: Refund small disputed card charges\n", ""),
    ],
)
def test_what_charter_refuses_in_a_principal_its_schema_refuses(old: str, new: str) -> None:
    assert faults(SCHEMAS["principal.json"], PRINCIPAL) == []
    assert faults(SCHEMAS["principal.json"], PRINCIPAL.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new"),
    [("sensitive: true", 'sensitive: "yes"'), ("transport: http", "transport: htpp"), ("effect: read", "effect: reed")],
)
def test_what_charter_refuses_in_a_system_its_schema_refuses(old: str, new: str) -> None:
    assert faults(SCHEMAS["system.json"], SYSTEM) == []
    assert faults(SCHEMAS["system.json"], SYSTEM.replace(old, new, 1))


def test_what_charter_refuses_in_a_test_its_schema_refuses() -> None:
    assert faults(SCHEMAS["tests.json"], TRIALS) == []
    assert faults(SCHEMAS["tests.json"], TRIALS.replace("expect: deny", "expect: no"))
