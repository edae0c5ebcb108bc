"""Who answers in another's roles: their say counts once, for nothing of their own, and no longer than it was lent."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from charter.bootstrap import authority, stand_ins
from charter.core.canonical import canonical
from charter.core.errors import AbsentError, DeniedError, MalformedError
from charter.gateway.pipeline import Refused
from houses import TEAMS, Stage, a_house, estate_files

LENA, MARIA, NED, PIA = "lena@example.com", "maria@example.com", "ned@example.com", "pia@example.com"


def teams(**roles: list[str]) -> str:
    found = TEAMS | {"roles": TEAMS["roles"] | {"payments-lead": [LENA, MARIA]} | roles}
    members = {"platform": {"lead": NED, "members": [NED, PIA, LENA, MARIA]}}
    return canonical(found | {"teams": TEAMS["teams"] | members}).decode()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with a_house(tmp_path, files=estate_files() | {"teams.yaml": teams()}) as found:
        yield found


def lend(stage: Stage, person: str, by: str, days: int = 3) -> None:
    until = stage.clock.now().date() + dt.timedelta(days=days)
    asyncio.run(stand_ins.name(stage.house, person=person, by=by, until=until, reason="on leave"))


def ask(stage: Stage, **changed: Any) -> str:
    said = {"charge_id": "ch_1", "amount": 150, "currency": "EUR"} | changed
    found, _ = stage.submit(stage.bearer(), stage.make("create_refund", said))
    assert isinstance(found, Refused)
    assert found.approval_id
    return found.approval_id


def answer(stage: Stage, approval: str, person: str) -> str:
    return str(asyncio.run(authority.answer(stage.house, approval, yes=True, person=person, reason="seen"))["state"])


def test_a_stand_in_says_yes_in_the_roles_of_who_is_away_and_it_is_recorded(stage: Stage) -> None:
    approval = ask(stage)
    with pytest.raises(DeniedError):
        answer(stage, approval, NED)
    lend(stage, LENA, NED)
    assert answer(stage, approval, NED.upper()) == "approved"
    (changed,) = stage.entries("stand-in.changed")
    assert changed["body"]["by"] == NED
    assert stage.entries("approval.given")[-1]["actor"] == NED


def test_it_ends_by_itself_when_they_are_back_and_when_another_is_named(stage: Stage) -> None:
    lend(stage, LENA, NED, days=1)
    stage.clock.advance(hours=49)
    with pytest.raises(DeniedError):
        answer(stage, ask(stage), NED)
    lend(stage, LENA, NED)
    asyncio.run(stand_ins.end(stage.house, person=LENA, reason="back"))
    with pytest.raises(DeniedError):
        answer(stage, ask(stage, charge_id="ch_2"), NED)
    lend(stage, LENA, NED)
    lend(stage, LENA, PIA)
    with pytest.raises(DeniedError):
        answer(stage, ask(stage, charge_id="ch_3"), NED)
    assert answer(stage, ask(stage, charge_id="ch_3"), PIA) == "approved"
    with pytest.raises(AbsentError):
        asyncio.run(stand_ins.end(stage.house, person=NED, reason="nobody did"))


def test_the_owner_gets_nobody_to_say_yes_to_their_own_agent(stage: Stage) -> None:
    lend(stage, MARIA, NED)  # maria owns refund-agent, and holds the role
    with pytest.raises(DeniedError):
        answer(stage, ask(stage), NED)


def test_an_owner_does_not_answer_for_another_either(stage: Stage) -> None:
    lend(stage, LENA, MARIA)
    with pytest.raises(DeniedError, match="owns"):
        answer(stage, ask(stage), MARIA)


def test_it_is_not_passed_on(stage: Stage) -> None:
    lend(stage, LENA, NED)
    lend(stage, NED, PIA)
    with pytest.raises(DeniedError):
        answer(stage, ask(stage), PIA)


def two_leads() -> dict[str, str]:
    grant = {"system": "payments", "actions": ["refund.create"], "approval": {"by": "payments-lead", "count": 2}}
    return estate_files(grants=[grant]) | {"teams.yaml": teams()}


@pytest.mark.parametrize("first", [LENA, NED])
def test_where_two_must_say_yes_one_persons_say_does_not_count_twice(tmp_path: Path, first: str) -> None:
    with a_house(tmp_path, files=two_leads()) as stage:
        lend(stage, LENA, NED)
        approval = ask(stage)
        assert answer(stage, approval, first) == "waiting"
        with pytest.raises(DeniedError):
            answer(stage, approval, NED if first == LENA else LENA)


def test_whoever_left_is_not_stood_in_for(stage: Stage) -> None:
    lend(stage, LENA, NED)
    stage.apply(estate_files() | {"teams.yaml": teams(**{"payments-lead": [MARIA]})})  # lena's role is gone
    with pytest.raises(DeniedError):
        answer(stage, ask(stage), NED)


@pytest.mark.parametrize(
    ("person", "by", "days", "said"),
    [
        (LENA, LENA, 3, "for themselves"),
        (LENA, "stranger@example.com", 3, "teams.yaml"),
        ("stranger@example.com", LENA, 3, "teams.yaml"),
        (LENA, NED, -2, "day is over"),
        (LENA, NED, 91, "at most 90 days"),
    ],
)
def test_what_is_no_stand_in_is_refused_and_changes_nothing(
    stage: Stage, person: str, by: str, days: int, said: str
) -> None:
    with pytest.raises(MalformedError, match=said):
        lend(stage, person, by, days)
    assert stand_ins.listing(stage.house)["stand_ins"] == []
    assert stage.entries("stand-in.changed") == []
