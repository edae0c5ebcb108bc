"""A person's yes to the next calls like one: so many, for a while, in the charter, and over with what it rests on."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.bootstrap import authority
from charter.core.errors import AbsentError, DeniedError, MalformedError
from charter.gateway.pipeline import Admitted, Refused
from charter.lifecycle.emergency import Move
from charter.registry.repeat import Terms, is_within
from houses import TEAMS, Stage, a_house, estate_files

GRANT = {"system": "payments", "actions": ["refund.create"], "approval": {"by": "payments-lead"}}
LENA = "lena@example.com"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with a_house(tmp_path, files=estate_files(grants=[GRANT | {"limit": [{"count": 4, "per": "day"}]}])) as found:
        yield found


def refund(stage: Stage, charge: str = "ch_1", amount: int = 50, **more: Any) -> Admitted | Refused:
    arguments = {"charge_id": charge, "amount": amount, "currency": "EUR"} | more
    return stage.submit(stage.bearer(), stage.make("create_refund", arguments))[0]


def approve(stage: Stage, found: Admitted | Refused, terms: Terms | None, person: str = LENA) -> dict[str, Any]:
    assert isinstance(found, Refused)
    assert found.approval_id is not None
    return asyncio.run(
        authority.answer(stage.house, found.approval_id, yes=True, person=person, reason="a test", further=terms)
    )


def begun(stage: Stage, count: int = 2, *vary: str) -> str:
    """Have a first call approved, with further ones like it; return the id of that yes."""
    answered = approve(stage, refund(stage), Terms(count, vary=vary))
    assert isinstance(refund(stage), Admitted)
    return str(answered["further"]["repeat"])


def test_so_many_further_calls_like_it_are_let_through_and_then_people_are_asked_again(stage: Stage) -> None:
    begun(stage, 2, "charge_id")
    assert isinstance(refund(stage, "ch_2"), Admitted)
    assert isinstance(refund(stage, "ch_3", 20), Admitted)
    assert isinstance(refund(stage, "ch_4"), Refused)
    assert stage.house.live.repeats[stage.house.principal("refund-agent").id] == ()


def test_each_of_them_is_an_approval_of_its_own_in_the_evidence_in_the_persons_name(stage: Stage) -> None:
    begun(stage, 2, "charge_id")
    refund(stage, "ch_2")
    given, spent = stage.entries("approval.given")[-2:], stage.entries("approval.spent")[-2:]
    by_repeat = next(each for each in (*given, *stage.entries("approval.given")) if "repeat" in each["body"])
    assert (by_repeat["actor"], by_repeat["body"]["left"]) == (LENA, 1)
    assert by_repeat["body"]["approval"] in {each["body"]["approval"] for each in spent}
    verdicts = [each["body"] for each in stage.entries("verdict")]
    assert sum(each["verdict"] == "allow" for each in verdicts) == 2


UNLIKE: list[tuple[str, Any, dict[str, Any]]] = [
    ("ch_2", 50, {}),  # another charge, which was not let vary
    ("ch_1", 51, {}),
    ("ch_1", -1, {}),
    ("ch_1", 50, {"currency": "USD"}),
    ("ch_1", 50, {"note": "x"}),
    ("ch_1", "50", {}),
    ("ch_1", True, {}),
]


def test_what_is_not_like_it_is_asked_about(stage: Stage) -> None:
    begun(stage, 5)
    for charge, amount, more in UNLIKE:
        assert isinstance(refund(stage, charge, amount, **more), Refused), (charge, amount, more)


def test_the_charters_limits_hold_all_the_same(stage: Stage) -> None:
    begun(stage, 10, "charge_id")
    passed = [isinstance(refund(stage, f"ch_{n}"), Admitted) for n in range(10, 16)]
    assert passed == [True, True, True, False, False, False]  # four a day, the first among them


def test_it_is_over_after_its_time(stage: Stage) -> None:
    begun(stage, 5)
    stage.clock.advance(minutes=61)
    assert isinstance(refund(stage), Refused)


def test_a_person_can_take_it_back(stage: Stage) -> None:
    given = begun(stage, 5)
    asyncio.run(authority.end_repeat(stage.house, given, person="jo@example.com", reason="enough"))
    assert isinstance(refund(stage), Refused)
    with pytest.raises(AbsentError):
        asyncio.run(authority.end_repeat(stage.house, given, person="jo@example.com", reason="enough"))
    assert stage.entries("repeat.ended")[0]["body"]["left"] == 5


@pytest.mark.parametrize("to", [Move.RESTRAIN, Move.SUSPEND])
def test_it_ends_for_good_with_the_standing_of_its_principal(stage: Stage, to: Move) -> None:
    begun(stage, 5)
    for move in (to, Move.RESUME):
        asyncio.run(authority.move(stage.house, "refund-agent", move, actor=LENA, reason="a test"))
    assert isinstance(refund(stage), Refused)


def test_it_ends_with_the_charters_version_and_with_the_roles_of_people(stage: Stage) -> None:
    begun(stage, 5)
    stage.apply(estate_files(grants=[GRANT], purpose="Another purpose"))
    assert isinstance(refund(stage), Refused)
    approve(stage, refund(stage), Terms(5))
    assert isinstance(refund(stage), Admitted)
    from charter.core.canonical import canonical

    teams = TEAMS | {"roles": TEAMS["roles"] | {"payments-lead": ["maria@example.com", "alex@example.com"]}}
    files = estate_files(grants=[GRANT], purpose="Another purpose") | {"teams.yaml": canonical(teams).decode()}
    stage.apply(files)
    assert isinstance(refund(stage), Refused)


def test_it_is_of_one_principal(tmp_path: Path) -> None:
    with a_house(tmp_path, files=estate_files(grants=[GRANT])) as stage:
        begun(stage, 5)
        call = stage.make("create_refund", {"charge_id": "ch_1", "amount": 50, "currency": "EUR"})
        assert isinstance(stage.submit(stage.bearer("charge-reader"), call)[0], Refused)


def test_it_outlives_a_restart_and_is_counted_across_it(tmp_path: Path) -> None:
    files = estate_files(grants=[GRANT])
    with a_house(tmp_path, files=files) as stage:
        begun(stage, 2)
        assert isinstance(refund(stage), Admitted)
    with a_house(tmp_path, apply=False) as stage:
        assert isinstance(refund(stage), Admitted)
        assert isinstance(refund(stage), Refused)


UNFIT = [
    (Terms(0), "from 1 to 50"),
    (Terms(51), "from 1 to 50"),
    (Terms(1, dt.timedelta(hours=9)), "to 8 hours"),
    (Terms(1, vary=("nothing",)), "no argument `nothing`"),
    (Terms(1, vary=("amount",)), "may be smaller"),
]


def test_terms_that_do_not_go_with_the_call_are_refused_and_nothing_is_approved(stage: Stage) -> None:
    found = refund(stage)
    for terms, said in UNFIT:
        with pytest.raises(MalformedError, match=said):
            approve(stage, found, terms)
    assert isinstance(refund(stage), Refused)


def test_whoever_may_not_approve_the_call_may_not_approve_further_ones(stage: Stage) -> None:
    found = refund(stage)
    with pytest.raises(DeniedError):
        approve(stage, found, Terms(5), person="maria@example.com")  # the owner
    assert isinstance(refund(stage), Refused)
    assert not stage.house.live.repeats


def test_where_several_must_say_yes_each_call_is_asked_about(tmp_path: Path) -> None:
    both = GRANT | {"approval": {"by": "payments-lead", "count": 2}}
    with a_house(tmp_path, files=estate_files(grants=[both])) as stage, pytest.raises(MalformedError, match="several"):
        approve(stage, refund(stage), Terms(5))


def test_a_value_that_strangers_named_is_asked_about_where_it_was_let_vary(stage: Stage) -> None:
    from charter.gateway.repeated import standing_yes
    from charter.policy.request import FlowFacts
    from charter.policy.verdict import Escalate

    begun(stage, 5, "charge_id")
    call = stage.make("create_refund", {"charge_id": "ch_9", "amount": 5, "currency": "EUR"})
    facts, verdict = stage.house.pipeline.would(stage.bearer(), call, stage.clock.now())
    assert facts is not None
    assert isinstance(verdict, Escalate)
    live, bearer = stage.house.live, stage.bearer()
    assert standing_yes(live, bearer, call, facts, verdict) is not None
    from msgspec.structs import replace

    for doubtful in (
        {"untrusted": {"charge_id"}},
        {"unseen": {"charge_id.x"}},
        {"carried": {"charge_id"}},
        {"pointed": {"charge_id"}},
    ):
        flow = FlowFacts(**{name: frozenset(said) for name, said in doubtful.items()})
        doubted = replace(facts, request=replace(facts.request, flow=flow))
        assert standing_yes(live, bearer, call, doubted, verdict) is None


numbers = st.integers() | st.floats(allow_nan=True, allow_infinity=True) | st.booleans() | st.text(max_size=3)


@given(numbers, numbers)
def test_within_what_was_approved_is_the_same_or_a_smaller_number_from_zero(value: Any, approved: Any) -> None:
    if is_within(value, approved):
        if isinstance(value, int | float) and not isinstance(value, bool):
            assert value == approved or 0 <= value <= approved
        else:
            assert value == approved
            assert type(value) is type(approved)
    assert is_within(5, 5.0)
    assert not is_within(5.0001, 5)
    assert not is_within(float("nan"), float("nan"))
