"""Properties as data: one form each, strict words, nearest ones told."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from charter.registry.manifest import parse_estate
from charter.registry.problem import EstateError
from charter.registry.property import Property
from estates import estate_files

SANDBOX = {"principals": {"environment": "sandbox"}, "systems": {"environment": "production"}}
WRITES = {"effects": ["write"]}


def a_property(**changed: Any) -> Property:
    return Property.model_validate({"name": "p", "never": SANDBOX} | changed)


@pytest.mark.parametrize(
    "said",
    [
        {"never": SANDBOX},
        {"never": {"principals": {"not": {"team": ["finance"]}}, "unapproved": True}},
        {"only": {"name": "deployer"}, "may": WRITES},
        {"always": WRITES},
        {"always": WRITES, "approved_by": "platform-lead"},
        {"never": {"when": {"amount": {"over": "1000 EUR"}, "hours": "18:00-08:00 Europe/Berlin"}}},
        {"never": {"delegated": {"by": ["humans"], "max_depth": 2}, "objects": "charge/*"}},
    ],
)
def test_each_form_is_read(said: dict[str, Any]) -> None:
    found = Property.model_validate({"name": "p"} | said)
    assert found.place in said


def test_one_word_is_a_list_of_one() -> None:
    assert (
        a_property().of.principals
        == a_property(never=SANDBOX | {"principals": {"environment": ["sandbox"]}}).of.principals
    )


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({}, "says nothing of calls"),
        ({"never": SANDBOX, "always": WRITES}, "says `never` and `always`"),
        ({"only": {"name": "d"}}, "`may` is missing"),
        ({"may": WRITES, "never": SANDBOX}, "`only` is missing"),
        ({"never": SANDBOX, "approved_by": ["owner"]}, "`approved_by` stands beside `always`"),
        ({"only": {"name": "d"}, "may": {"principals": {"name": "d"}}}, "`only` says which principals"),
        ({"never": {}}, "means every call there is"),
        ({"never": {"unapproved": False, "effects": ["write"]}}, "`unapproved` is true or left out"),
        ({"never": {"principal": {"name": "d"}}}, "Extra inputs"),
        ({"never": {"effects": ["delete"]}}, "Input should be"),
        ({"never": {"effects": []}}, "at least 1"),
        ({"never": {"when": {"amount": {"over": "a lot"}}}}, "is no quantity"),
        ({"never": {"principals": {"not": {"not": {"name": "d"}}}}}, "Extra inputs"),
    ],
)
def test_what_is_no_property_is_refused(said: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Property.model_validate({"name": "p"} | said)


def with_properties(text: str) -> dict[str, str]:
    return estate_files() | {"tests/p.yaml": f"charter: v1\nproperties:\n{text}"}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("never: {principals: {name: refund-agnt}}", "`refund-agnt` is no principal; did you mean `refund-agent`?"),
        ("never: {systems: {not: {name: payment}}}", "`payment` is no system; did you mean `payments`?"),
        (
            "never: {actions: payments/refund.creat}",
            "is no action of any system; did you mean `payments/refund.create`",
        ),
        ("never: {data: customer-pi}", "`customer-pi` is no data class of any system; did you mean `customer-pii`?"),
        ("only: {team: payments-op}\n    may: {effects: write}", "`payments-op` is no team in teams.yaml"),
        ("always: {effects: write}\n    approved_by: payment-lead", "`payment-lead` is no role in teams.yaml"),
        ("never: {principals: {kind: agnt}}", "`kind` cannot be `agnt`; did you mean `agent`?"),
        ("never: {principals: {kind: [agnt]}}", "`kind` cannot be `agnt`; did you mean `agent`?"),
        ("nver: {effects: write}", "`nver` is no field of a property; did you mean `never`?"),
        ("never: {effect: write}", "`effect` is no field of a class of calls; did you mean `effects`?"),
        ("never: {effects: [writes]}", "`effects` cannot be `writes`; did you mean `write`?"),
    ],
)
def test_a_misspelt_word_is_told_with_its_place_and_the_nearest_one(line: str, told: str) -> None:
    with pytest.raises(EstateError) as raised:
        parse_estate(with_properties(f"  - name: p\n    {line}\n"))
    said = [f"{each.text}; {each.help}" for each in raised.value.problems]
    assert any(told in each for each in said), said
    assert all(each.path == "tests/p.yaml" and each.line >= 3 for each in raised.value.problems)


def test_a_file_of_neither_tests_nor_properties_and_two_of_one_name_are_refused() -> None:
    for text in ("charter: v1\n", "charter: v1\nproperties: []\n"):
        with pytest.raises(EstateError, match="neither `tests` nor `properties`"):
            parse_estate(estate_files() | {"tests/p.yaml": text})
    twice = "  - {name: p, never: {effects: write}}\n" * 2
    with pytest.raises(EstateError, match="two properties are called `p`"):
        parse_estate(with_properties(twice))


def test_properties_are_no_part_of_what_is_applied() -> None:
    plain, with_them = (
        parse_estate(estate_files()),
        parse_estate(with_properties("  - {name: p, never: {effects: write}}\n")),
    )
    assert plain.digest == with_them.digest
    assert [each.value.name for each in with_them.properties] == ["p"]
