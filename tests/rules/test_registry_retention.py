"""Which rule of retention an entry is under, and which texts are rules."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from charter.config import settings_from
from charter.core.errors import MalformedError
from charter.registry.retention import parse_retention, place_of, rules_for

PERIODS = parse_retention("default=400d, customer-pii=90d, kind:observed=4w")


def an_entry(kind: str = "verdict", *data: str) -> dict[str, Any]:
    return {"kind": kind, "body": {"data": list(data)}}


@pytest.mark.parametrize(
    ("entry", "rules"),
    [
        (an_entry(), ("default",)),
        (an_entry("verdict", "customer-pii"), ("customer-pii",)),
        (an_entry("verdict", "internal", "customer-pii"), ("customer-pii",)),
        (an_entry("verdict", "internal"), ("default",)),
        (an_entry("observed", "customer-pii"), ("customer-pii", "kind:observed")),
        (an_entry("verdict", "default"), ("default",)),  # a class of that name is under it as the rest is
        ({"kind": "verdict", "body": {"data": "customer-pii"}}, ("default",)),
        ({"kind": "verdict", "body": None}, ("default",)),
    ],
)
def test_an_entry_is_under_the_rules_of_its_classes_and_kind_or_else_under_the_default(
    entry: dict[str, Any], rules: tuple[str, ...]
) -> None:
    assert rules_for(PERIODS, entry) == rules


def test_without_a_default_what_no_rule_is_for_is_kept() -> None:
    assert rules_for(parse_retention("customer-pii=90d"), an_entry()) == ()
    assert rules_for({}, an_entry("verdict", "customer-pii")) == ()


def test_the_default_begins_anew_when_there_are_other_rules() -> None:
    fewer = parse_retention("default=400d")
    assert place_of("default", PERIODS) != place_of("default", fewer)
    assert place_of("default", PERIODS) == place_of("default", PERIODS | {"customer-pii": dt.timedelta(days=1)})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("default=23h", "is kept for 1d to 36500d"),
        ("default=0d", "is no duration"),
        ("default", "is no duration"),
        ("default=1d,default=2d", "there twice"),
        ("kind:verdicts=9d", "is no class of data"),
        ("Customer PII=9d", "is no class of data"),
        (",".join(f"c{n}=9d" for n in range(101)), "more than 100"),
    ],
)
def test_what_is_no_rule_stops_the_start(text: str, told: str) -> None:
    with pytest.raises(MalformedError, match=told):
        settings_from({"CHARTER_RETENTION": text})
