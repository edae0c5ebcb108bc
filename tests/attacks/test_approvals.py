"""A person's yes is worth one exact call of one principal, once, soon, and only from someone who may give it."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from charter.bootstrap import authority
from charter.core.canonical import canonical
from charter.core.clock import Deadline
from charter.core.errors import AbsentError, ConflictError, DeniedError
from charter.gateway.call import Bearer, Call
from charter.gateway.pipeline import Admitted, Refused
from charter.gateway.settle import MAX_WAITING_PER_PRINCIPAL
from charter.registry.approval import APPROVED_MINUTES, WAITING_HOURS, ApprovalState
from charter.registry.standing import Move
from houses import TEAMS, Stage, a_house, estate_files

REFUND = {"charge_id": "ch_1", "amount": 150, "currency": "EUR"}
LENA, OWNER = "lena@example.com", "maria@example.com"  # both hold payments-lead; maria owns the agent


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with a_house(tmp_path, files=files()) as found:
        yield found


def files(**teams: Any) -> dict[str, str]:
    """Return an estate where charge-reader is granted the same refunds as refund-agent."""
    found = estate_files()
    agent = found["principals/refund-agent.yaml"]
    found["principals/charge-reader.yaml"] = agent.replace('"refund-agent"', '"charge-reader"')
    return found | {"teams.yaml": canonical(TEAMS | teams).decode()}


def call_of(stage: Stage, **changed: Any) -> Call:
    return stage.make("create_refund", REFUND | changed)


def ask(stage: Stage, name: str = "refund-agent", **changed: Any) -> str:
    """Make a call that is held; return the approval's id."""
    found, _ = stage.submit(stage.bearer(name), call_of(stage, **changed))
    assert isinstance(found, Refused)
    assert found.approval_id is not None
    return found.approval_id


def answer(stage: Stage, approval: str, person: str = LENA, *, yes: bool = True) -> str:
    return str(asyncio.run(authority.answer(stage.house, approval, yes=yes, person=person, reason="seen"))["state"])


def passes(stage: Stage, bearer: Bearer, call: Call) -> bool:
    return isinstance(stage.submit(bearer, call)[0], Admitted)


def state_of(stage: Stage, approval: str) -> ApprovalState:
    return stage.house.database.read(lambda tx: tx.approvals.get(approval)).state


def move(stage: Stage, *moves: Move) -> None:
    for each in moves:
        asyncio.run(authority.move(stage.house, "refund-agent", each, actor="pia@example.com", reason="a test"))


# --- what it is worth ---


def test_it_is_worth_the_call_it_was_asked_for(stage: Stage) -> None:
    """Else every test below would pass for approvals that are worth nothing."""
    answer(stage, ask(stage))
    assert passes(stage, stage.bearer(), call_of(stage))
    assert [call.arguments for call in stage.upstream.calls] == [REFUND]


CHANGES: dict[str, Any] = {
    "another amount": {"amount": 151},
    "the amount as text": {"amount": "150"},
    "the amount as a decimal": {"amount": 150.0001},
    "another object": {"charge_id": "ch_2"},
    "one argument more": {"note": "x"},
    "a name that looks the same": {"charge_id": "сh_1"},  # noqa: RUF001 - the attack: a Cyrillic letter
    "a space": {"charge_id": "ch_1 "},
    "other capitals": {"currency": "eur"},
}


@pytest.mark.parametrize("name", CHANGES)
def test_it_is_worth_no_other_arguments(stage: Stage, name: str) -> None:
    answer(stage, ask(stage))
    assert not passes(stage, stage.bearer(), call_of(stage, **CHANGES[name]))
    assert stage.upstream.calls == []
    assert passes(stage, stage.bearer(), call_of(stage))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60)
@given(changed=st.dictionaries(st.sampled_from(["charge_id", "amount", "currency", "note"]), JSON, max_size=3))
def test_no_change_of_arguments_keeps_a_yes(stage: Stage, changed: dict[str, Any]) -> None:
    """The digest an approval is bound to differs for every other value, however alike it looks."""
    before, after = call_of(stage), call_of(stage, **changed)
    assert (before.digest == after.digest) == (canonical(before.arguments) == canonical(after.arguments))


def test_it_is_worth_nothing_for_another_tool_or_system(stage: Stage) -> None:
    answer(stage, ask(stage))
    call = call_of(stage)
    assert stage.make("get_charge", REFUND).digest != call.digest
    elsewhere = replace(call, system="ledger")
    found, _ = stage.submit(stage.bearer(), elsewhere)
    assert isinstance(found, Refused)
    assert state_of(stage, str(ask(stage, charge_id="other"))) is ApprovalState.WAITING


def test_it_is_worth_nothing_to_another_principal(stage: Stage) -> None:
    """charge-reader is granted the very same call, and needs a yes of its own."""
    answer(stage, ask(stage))
    assert not passes(stage, stage.bearer("charge-reader"), call_of(stage))
    assert passes(stage, stage.bearer(), call_of(stage))


def test_it_is_worth_one_call(stage: Stage) -> None:
    approval = ask(stage)
    answer(stage, approval)
    assert passes(stage, stage.bearer(), call_of(stage))
    assert not passes(stage, stage.bearer(), call_of(stage))
    assert state_of(stage, approval) is ApprovalState.SPENT
    assert len(stage.upstream.calls) == 1


def test_two_that_spend_it_at_once_make_one_call(stage: Stage) -> None:
    approval = ask(stage)
    answer(stage, approval)
    bearer = stage.bearer()

    async def race() -> list[Admitted | Refused]:
        pipeline = stage.house.pipeline
        deadline = Deadline.after(stage.clock, 5)
        tries = [pipeline.submit(bearer, call_of(stage), deadline, source="test") for _ in range(16)]
        found = await asyncio.gather(*tries)
        for each in found:
            if isinstance(each, Admitted):
                async for _ in each.messages:
                    pass
        await pipeline.settled()
        return list(found)

    found = asyncio.run(race())
    assert sum(isinstance(each, Admitted) for each in found) == 1
    assert len(stage.upstream.calls) == 1
    assert len(stage.entries("approval.spent")) == 1


def test_two_that_answer_it_at_once_give_one_answer(stage: Stage) -> None:
    approval = ask(stage)

    async def race() -> list[Any]:
        house = stage.house
        answers = [
            authority.answer(house, approval, yes=yes, person=LENA, reason="seen") for yes in (True, False, True, False)
        ]
        return await asyncio.gather(*answers, return_exceptions=True)

    found = asyncio.run(race())
    assert sum(isinstance(each, dict) for each in found) == 1
    assert all(isinstance(each, ConflictError) for each in found if not isinstance(each, dict))
    assert len(stage.entries("approval.given") + stage.entries("approval.refused")) == 1


def test_an_approved_call_still_stays_within_its_limits_and_its_policy(stage: Stage) -> None:
    """A yes lifts what asks for it, and nothing else: the grant still ends at 200 EUR."""
    found, _ = stage.submit(stage.bearer(), call_of(stage, amount=201))
    assert isinstance(found, Refused)
    assert found.approval_id is None
    answer(stage, ask(stage))
    narrowed = files() | {"principals/refund-agent.yaml": estate_files(grants=[])["principals/refund-agent.yaml"]}
    stage.apply(narrowed)
    assert not passes(stage, stage.bearer(), call_of(stage))
    assert stage.upstream.calls == []


# --- how long ---


def test_an_unused_yes_lapses(stage: Stage) -> None:
    answer(stage, ask(stage))
    stage.clock.advance(minutes=APPROVED_MINUTES)
    assert not passes(stage, stage.bearer(), call_of(stage))


def test_a_question_nobody_answered_lapses(stage: Stage) -> None:
    approval = ask(stage)
    stage.clock.advance(hours=WAITING_HOURS)
    with pytest.raises(ConflictError, match="is expired"):
        answer(stage, approval)


def test_a_clock_set_back_does_not_bring_a_spent_or_refused_one_back(stage: Stage) -> None:
    spent, refused = ask(stage), ask(stage, charge_id="ch_9")
    answer(stage, spent)
    answer(stage, refused, yes=False)
    assert passes(stage, stage.bearer(), call_of(stage))
    stage.clock.at -= dt.timedelta(hours=1)
    assert not passes(stage, stage.bearer(), call_of(stage))
    for approval in (spent, refused):
        with pytest.raises(ConflictError):
            answer(stage, approval)


@pytest.mark.parametrize("moves", [[Move.KILL], [Move.RETIRE], [Move.SUSPEND], [Move.SUSPEND, Move.RESUME]])
def test_a_withdrawal_ends_every_yes_and_every_question(stage: Stage, moves: list[Move]) -> None:
    """After a resume too: authority that came back does not bring back what people said before."""
    approved, waiting = ask(stage), ask(stage, charge_id="ch_9")
    answer(stage, approved)
    move(stage, *moves)
    assert not passes(stage, stage.bearer(), call_of(stage))
    for approval in (approved, waiting):
        assert state_of(stage, approval) is ApprovalState.CANCELLED
        with pytest.raises((ConflictError, DeniedError)):
            answer(stage, approval)
    assert stage.upstream.calls == []


def test_a_kill_that_lands_between_yes_and_call_wins(stage: Stage) -> None:
    answer(stage, ask(stage))
    bearer = stage.bearer()

    async def race() -> None:
        pipeline = stage.house.pipeline
        admitted = await pipeline.submit(bearer, call_of(stage), Deadline.after(stage.clock, 5), source="test")
        assert isinstance(admitted, Admitted)
        await authority.move(stage.house, "refund-agent", Move.KILL, actor="pia@example.com", reason="3 a.m.")
        assert [message async for message in admitted.messages][-1]["error"]["data"] == {"layer": "standing"}
        await pipeline.settled()

    asyncio.run(race())
    assert stage.upstream.calls == []
    assert stage.entries("outcome")[-1]["body"]["sent"] is False


# --- who ---


@pytest.mark.parametrize("person", [OWNER, "Maria@Example.COM", "MARIA@example.com"])
def test_the_owner_cannot_approve_their_own_agents_call(stage: Stage, person: str) -> None:
    approval = ask(stage)
    with pytest.raises(DeniedError, match="owns `refund-agent` and cannot approve"):
        answer(stage, approval, person)
    assert state_of(stage, approval) is ApprovalState.WAITING


def test_an_owner_is_no_other_person_in_other_capitals(tmp_path: Path) -> None:
    """teams.yaml and the charter spell one address in two ways; it is one person all the same."""
    roles = {"payments-risk": ["alex@example.com"], "payments-lead": ["Maria@Example.com"]}
    with a_house(tmp_path, files=files(roles=roles)) as stage:
        approval = ask(stage)
        for person in ("Maria@Example.com", "maria@example.com"):
            with pytest.raises(DeniedError, match="owns"):
                answer(stage, approval, person)


@pytest.mark.parametrize("person", ["alex@example.com", "stranger@example.com", "prn_1", "refund-agent", "", " "])
def test_who_does_not_hold_the_role_cannot_approve(stage: Stage, person: str) -> None:
    approval = ask(stage)
    with pytest.raises(DeniedError, match="does not hold the role"):
        answer(stage, approval, person)
    assert stage.entries("approval.given") == []


def test_nobody_alone_gives_a_yes_that_two_roles_must_give(tmp_path: Path) -> None:
    """Someone of the owner's team who leads payments too says yes in one of the two roles, and no more."""
    teams = TEAMS["teams"] | {"payments-ops": {"lead": OWNER, "members": ["jo@example.com", LENA]}}
    with a_house(tmp_path, files=files(teams=teams)) as stage:
        move(stage, Move.RESTRAIN)  # so that the owner's team is asked, beside payments-lead
        approval = ask(stage)
        assert answer(stage, approval) == "waiting"
        with pytest.raises(DeniedError, match=f"`{LENA}` said yes already"):
            answer(stage, approval)
        assert not passes(stage, stage.bearer(), call_of(stage))
        assert answer(stage, approval, "jo@example.com") == "approved"
        assert passes(stage, stage.bearer(), call_of(stage))


def test_a_role_lost_meanwhile_is_not_held(stage: Stage) -> None:
    approval = ask(stage)
    stage.apply(files(roles={"payments-risk": ["alex@example.com"], "payments-lead": ["someone@example.com"]}))
    with pytest.raises(DeniedError, match="does not hold the role"):
        answer(stage, approval)


@pytest.mark.parametrize(
    "approval", ["apr_" + "0" * 26, "", "apr_", "x' OR '1'='1", "apr_%", "\x00", "apr_" + "é" * 26]
)
def test_a_forged_id_is_unknown(stage: Stage, approval: str) -> None:
    ask(stage)
    with pytest.raises(AbsentError):
        answer(stage, approval)


# --- flooding people ---


def test_a_principal_cannot_bury_people_in_questions(stage: Stage) -> None:
    for number in range(MAX_WAITING_PER_PRINCIPAL):
        ask(stage, charge_id=f"ch_{number}")
    found, _ = stage.submit(stage.bearer(), call_of(stage, charge_id="one too many"))
    assert isinstance(found, Refused)
    assert found.approval_id is None
    assert "questions waiting already" in found.verdict.reasons[0].text
    assert ask(stage, "charge-reader")  # others still can


def test_the_same_call_asks_the_same_question(stage: Stage) -> None:
    assert len({ask(stage) for _ in range(5)}) == 1
    assert len(stage.entries("approval.asked")) == 1


def test_what_a_person_cannot_see_whole_is_not_put_to_them(stage: Stage) -> None:
    found, _ = stage.submit(stage.bearer(), call_of(stage, note="x" * 20_000))
    assert isinstance(found, Refused)
    assert found.approval_id is None
    assert "too large for a person to judge" in found.verdict.reasons[0].text


# --- two people, and not for long ---


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Stage]:
    """An estate whose refunds two people must say yes to, within an hour."""
    found = files(roles=TEAMS["roles"] | {"payments-lead": [LENA, "pia@example.com", OWNER]})
    agent = json.loads(found["principals/refund-agent.yaml"])
    agent["grants"][1]["approval"] |= {"count": 2, "within": "1h"}
    found["principals/refund-agent.yaml"] = canonical(agent).decode()
    with a_house(tmp_path, files=found) as stage:
        yield stage


def test_one_person_is_not_two(two: Stage) -> None:
    approval = ask(two)
    assert answer(two, approval) == "waiting"
    with pytest.raises(DeniedError, match="said yes already, and one person's yes counts in one role"):
        answer(two, approval)
    with pytest.raises(DeniedError, match="owns `refund-agent` and cannot approve its calls"):
        answer(two, approval, OWNER)
    assert not passes(two, two.bearer(), call_of(two))
    assert answer(two, approval, "pia@example.com") == "approved"
    assert passes(two, two.bearer(), call_of(two))
    given = two.entries("approval.spent")[-1]["body"]["given"]
    assert sorted(given.items()) in (
        [("payments-lead", LENA), ("payments-lead/2", "pia@example.com")],
        [("payments-lead", "pia@example.com"), ("payments-lead/2", LENA)],
    )


def test_a_question_waits_no_longer_than_the_grant_says(two: Stage) -> None:
    approval = ask(two)
    two.clock.advance(minutes=59)
    assert answer(two, approval) == "waiting"
    two.clock.advance(minutes=1)
    with pytest.raises(ConflictError, match="is expired"):
        answer(two, approval, "pia@example.com")
    assert not passes(two, two.bearer(), call_of(two))
