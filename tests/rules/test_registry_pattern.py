"""Patterns: what is rendered is a charter, and no value can make it more than was approved."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charter.core.errors import MalformedError
from charter.registry.charter import Charter
from charter.registry.document import read_document
from charter.registry.pattern import CharterPattern, render, write_yaml
from charters import charters
from estates import PATTERN, an_estate

TODAY = dt.date(2026, 11, 24)


def a_pattern(old: str = "", new: str = "") -> CharterPattern:
    return CharterPattern.model_validate(read_document(PATTERN.replace(old, new).encode(), "p.yaml").value)


def value_of(text: str) -> Any:
    return read_document(text.encode(), "rendered.yaml").value


def refused(values: dict[str, str], pattern: CharterPattern | None = None) -> str:
    with pytest.raises(MalformedError) as caught:
        render(pattern or a_pattern(), values, TODAY)
    return f"{caught.value.detail}; {caught.value.help}"


def test_a_pattern_becomes_a_charter_with_the_values_in_their_places() -> None:
    charter = Charter.model_validate(value_of(render(a_pattern(), {"principal": "small-refunds-eu"}, TODAY)))
    assert charter.principal == "small-refunds-eu"
    assert charter.owner.person == "maria@example.com"
    assert charter.purpose == "Refund small charges as small-refunds-eu"
    assert charter.grants[0].objects == ("charge/small-refunds-eu-*",)


def test_what_is_rendered_is_a_file_of_the_estate() -> None:
    text = render(a_pattern(), {"principal": "eu"}, TODAY)
    assert an_estate({"principals/eu.yaml": text}).charters["eu"].value.kind.value == "agent"


def test_a_rendered_file_says_where_it_comes_from() -> None:
    assert render(a_pattern(), {"principal": "eu"}, TODAY).startswith(
        "# From the pattern small-refunds: An agent that refunds small charges\n"
        "# Logged: every call of its, whatever stands here: charter evidence query --principal eu\n"
        "charter: v1\nprincipal: eu\n"
    )


def test_missing_parameters_are_named_with_what_they_mean() -> None:
    assert refused({}) == "the pattern `small-refunds` needs `principal`; give it as name=value (principal: its name)"


def test_an_unknown_parameter_is_refused_with_the_nearest() -> None:
    assert refused({"principle": "eu"}) == (
        "the pattern `small-refunds` has no parameter 'principle'; did you mean `principal`?"
    )


def test_a_value_that_makes_no_charter_is_refused() -> None:
    assert refused({"principal": "EU"}) == (
        "the pattern `small-refunds` makes no charter with these values: the name 'EU' has 'E'; "
        "use 1 to 63 of a-z, 0-9 and hyphens inside"
    )


@pytest.mark.parametrize("value", ["*", "a*", "*-eu"])
def test_a_value_cannot_widen_what_was_approved(value: str) -> None:
    assert "holds a `*`" in refused({"principal": value})


def test_a_value_cannot_bring_another_parameter_in() -> None:
    pattern = a_pattern("purpose: Refund small charges as ${principal}", "purpose: for ${owner}")
    assert "no e-mail address" in refused({"principal": "eu", "owner": "${principal}"}, pattern)


@settings(max_examples=60)
@given(st.text(max_size=40))
def test_whatever_a_value_holds_it_stays_one_text(value: str) -> None:
    pattern = a_pattern('objects: ["charge/${principal}-*"]', "objects: [all]").model_copy(
        update={
            "template": a_pattern().template | {"purpose": "for ${owner}", "owner": {"person": "a@b.c", "team": "t"}}
        }
    )
    try:
        found = value_of(render(pattern, {"principal": "eu", "owner": value}, TODAY))
    except MalformedError:
        return
    assert found["purpose"] == f"for {value}"
    assert set(found) == set(pattern.template)


@settings(max_examples=60)
@given(charters)
def test_what_is_written_as_yaml_reads_as_the_same_charter(written: dict[str, Any]) -> None:
    charter = Charter.model_validate(written)
    assert Charter.model_validate(value_of(write_yaml(charter.to_json()))) == charter
