"""The card of a call that waits says so when no yes would let it through any more."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from charter.bootstrap import authority
from charter.bootstrap.inventory import approval, approval_cards
from charter.gateway.pipeline import Refused
from houses import Stage, a_house, estate_files

GRANT: dict[str, Any] = {"system": "payments", "actions": ["refund.create"], "approval": {"by": "payments-lead"}}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with a_house(tmp_path, files=estate_files(grants=[GRANT])) as found:
        yield found


def asked(stage: Stage) -> str:
    arguments = {"charge_id": "ch_1", "amount": 50, "currency": "EUR"}
    found = stage.submit(stage.bearer(), stage.make("create_refund", arguments))[0]
    assert isinstance(found, Refused)
    assert found.approval_id is not None
    return found.approval_id


def denied(stage: Stage, which: str) -> str | None:
    (view,) = approval_cards(stage.house, [approval(stage.house, which)])
    told: str | None = view["card"]["denied"]
    return told


def test_it_says_nothing_while_a_yes_decides(stage: Stage) -> None:
    assert denied(stage, asked(stage)) is None


@pytest.mark.parametrize(
    ("grants", "said"),
    [
        ([GRANT | {"when": {"amount": {"max": "20 EUR"}}}], "up to 20 EUR"),
        ([GRANT | {"actions": ["charge.read"]}], "no grant for `refund.create`"),
        ([GRANT | {"when": {"currency": {"one_of": ["USD"]}}}], "currency"),
    ],
)
def test_a_narrower_charter_shows(stage: Stage, grants: list[dict[str, Any]], said: str) -> None:
    which = asked(stage)
    stage.apply(estate_files(grants=grants))
    assert said in str(denied(stage, which))


def test_what_was_answered_or_lapsed_says_nothing(stage: Stage) -> None:
    which = asked(stage)
    stage.apply(estate_files(grants=[GRANT | {"actions": ["charge.read"]}]))
    stage.clock.at += dt.timedelta(hours=25)
    assert denied(stage, which) is None


def test_a_yes_to_it_is_kept_and_says_so(stage: Stage) -> None:
    """It may be another hour's, or the next charter's: but whoever says it hears that it changes nothing as yet."""
    which = asked(stage)
    stage.apply(estate_files(grants=[GRANT | {"actions": ["charge.read"]}]))
    deed = authority.answer(stage.house, which, yes=True, person="lena@example.com", reason="seen")
    given = asyncio.run(deed)
    assert given["state"] == "approved"
    assert "no grant for `refund.create`" in given["denied"]


def test_a_yes_that_decides_says_nothing_of_the_kind(stage: Stage) -> None:
    deed = authority.answer(stage.house, asked(stage), yes=True, person="lena@example.com", reason="seen")
    assert asyncio.run(deed)["denied"] is None
