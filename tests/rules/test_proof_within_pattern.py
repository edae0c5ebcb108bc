"""Whether a charter stays within a pattern is proven, its dates included."""

from __future__ import annotations

import datetime as dt

import pytest

from builders import a_system
from charter.proof.surroundings import Surroundings
from charter.proof.within_pattern import pattern_of
from charter.registry.central import NOTHING
from charter.registry.charter import Charter
from charter.registry.document import read_document
from charter.registry.pattern import CharterPattern, charter_of
from estates import PATTERN
from policies import TUESDAY_NOON
from proof_stage import means

TODAY = TUESDAY_NOON.date()
LASTING = CharterPattern.model_validate(
    read_document(
        PATTERN.replace("on: 2026-11-02", "on: today").replace("expires: 2027-11-02", "expires: 90d").encode(), "p"
    ).value
)
AMONG = Surroundings({"payments": a_system()}, (), NOTHING, {})


def made(on: dt.date, **changed: object) -> Charter:
    return charter_of(LASTING, {"principal": "eu"}, on).model_copy(update=changed)


@pytest.mark.parametrize(
    ("charter", "is_within"),
    [
        (made(TODAY), True),
        (made(TODAY - dt.timedelta(days=40)), True),
        (made(TODAY, expires=TODAY + dt.timedelta(days=30)), True),
        (made(TODAY, expires=TODAY + dt.timedelta(days=91)), False),
        (made(TODAY - dt.timedelta(days=40), expires=TODAY + dt.timedelta(days=90)), False),
        (made(TODAY + dt.timedelta(days=40)), False),  # nobody lengthens it by an approval that is to come
        (made(TODAY, review=dt.timedelta(days=91)), False),
    ],
)
def test_a_charter_is_within_its_pattern_as_long_as_it_holds_no_longer(charter: Charter, is_within: bool) -> None:
    found = pattern_of(charter, AMONG, {"small-refunds": LASTING}, means())
    assert found == ("small-refunds" if is_within else None)
