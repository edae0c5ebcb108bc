"""Changes of standing on SQLite and PostgreSQL: what they do, in which order, and to whom."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from charter.adapters import tables as t
from charter.adapters.registry_store import load_live
from charter.core.errors import AbsentError, ConflictError, ErrorCode, MalformedError
from charter.identity.authority import refusal
from charter.lifecycle.emergency import Moved, move
from charter.registry.approval import Approval, ApprovalState
from charter.registry.standing import Move, Standing
from identity_stage import PAYMENTS, Stage, a_stage
from oauth_door import a_door

NOW = dt.datetime(2026, 11, 24, 9, 30, tzinfo=dt.UTC)


@pytest.fixture
def stage(tmp_path: Path, database_url: str) -> Iterator[Stage]:
    with a_stage(tmp_path, url=database_url) as found:
        yield found


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Stage]:
    with a_stage(tmp_path) as found:
        yield found


def moved(
    stage: Stage,
    to: Move,
    name: str = "refund-agent",
    *,
    reason: str = "odd refunds",
    then: Callable[[], None] | None = None,
) -> Moved:
    return stage.database.write(lambda tx: move(tx, name, to, actor="sec@example.com", reason=reason, then=then))


def an_approval(stage: Stage, name: str, state: ApprovalState = ApprovalState.WAITING, number: int = 1) -> Approval:
    approval = Approval(
        id=f"apr_{name}_{number}",
        principal_id=f"prn_{name}",
        call_digest=f"sha256:{number:064d}",
        call={"system": "payments", "tool": "create_refund"},
        roles=("payments-lead",),
        given={},
        state=state,
        asked_at=NOW,
        expires_at=NOW + dt.timedelta(hours=1),
        verdict_id="vrd_1",
    )
    stage.database.write(lambda tx: tx.approvals.add(approval))
    stage.live.approvals[approval.principal_id, approval.call_digest] = approval
    return approval


@pytest.mark.parametrize(
    ("to", "after", "epochs"),
    [
        (Move.RESTRAIN, Standing.RESTRAINED, 0),
        (Move.SUSPEND, Standing.SUSPENDED, 1),
        (Move.KILL, Standing.REVOKED, 1),
        (Move.RETIRE, Standing.RETIRED, 1),
    ],
)
def test_a_move_is_durable_shown_and_recorded(stage: Stage, to: Move, after: Standing, epochs: int) -> None:
    before = stage.live.principals["prn_refund-agent"]
    done = moved(stage, to)
    shown = stage.live.principals["prn_refund-agent"]
    stored = stage.database.read(lambda tx: tx.registry.principal("prn_refund-agent"))
    (entry,) = stage.entries("standing.changed")
    feed = stage.database.read(lambda tx: tx.connection.execute(sa.select(t.feed)).all())[-1]
    assert done.principal == shown == stored
    assert (done.before, done.after, shown.standing) == (Standing.ACTIVE, after, after)
    assert shown.epoch == before.epoch + epochs
    assert (entry["index"], entry["actor"], entry["principal"]) == (done.index, "sec@example.com", before.id)
    body = entry["body"]
    assert (body["before"], body["after"], body["reason"]) == ("active", after.value, "odd refunds")
    assert (body["move"], body["epoch"], body["principal"]) == (to.value, shown.epoch, "refund-agent")
    assert (feed.kind, feed.subject, feed.actor, feed.reason) == (
        "principal",
        before.id,
        "sec@example.com",
        "odd refunds",
    )


def test_a_resumed_principal_keeps_the_epoch_of_its_withdrawal(local: Stage) -> None:
    moved(local, Move.SUSPEND)
    moved(local, Move.RESUME, reason="explained")
    assert local.live.principals["prn_refund-agent"].standing is Standing.ACTIVE
    assert local.live.principals["prn_refund-agent"].epoch == 1


@pytest.mark.parametrize("reason", ["", "   ", "\n", "x" * 1001])
def test_a_move_needs_a_reason(local: Stage, reason: str) -> None:
    with pytest.raises(MalformedError, match="needs a reason"):
        moved(local, Move.KILL, reason=reason)
    assert local.live.principals["prn_refund-agent"].standing is Standing.ACTIVE


def test_a_move_of_nobody_names_the_nearest(local: Stage) -> None:
    with pytest.raises(AbsentError, match="there is no principal 'refnd-agent'") as caught:
        moved(local, Move.KILL, "refnd-agent")
    assert "refund-agent" in str(caught.value.help)


def test_an_illegal_move_changes_and_records_nothing(local: Stage) -> None:
    moved(local, Move.KILL)
    killed = local.live.principals["prn_refund-agent"]
    for to in (Move.RESUME, Move.RESTRAIN, Move.SUSPEND, Move.KILL):
        with pytest.raises(ConflictError, match="`refund-agent` is revoked and cannot"):
            moved(local, to)
    assert local.live.principals["prn_refund-agent"] is killed
    assert len(local.entries("standing.changed")) == 1


def test_everybody_else_is_left_alone(stage: Stage) -> None:
    other = stage.live.principals["prn_ledger-agent"]
    waiting = an_approval(stage, "ledger-agent")
    pair = stage.client("ledger-agent")
    moved(stage, Move.KILL)
    assert stage.live.principals["prn_ledger-agent"] is other
    assert stage.database.read(lambda tx: tx.registry.principal("prn_ledger-agent")) == other
    assert stage.database.read(lambda tx: tx.approvals.get(waiting.id)) == waiting
    assert stage.live.approvals == {(waiting.principal_id, waiting.call_digest): waiting}
    answer = a_door(stage).token(pair.assertion(NOW), PAYMENTS.replace("payments", "ledger"))
    assert answer.status == 200


@pytest.mark.parametrize("to", [Move.SUSPEND, Move.KILL, Move.RETIRE])
def test_a_withdrawal_cancels_what_waits_for_people(stage: Stage, to: Move) -> None:
    waiting = an_approval(stage, "refund-agent", ApprovalState.WAITING, 1)
    approved = an_approval(stage, "refund-agent", ApprovalState.APPROVED, 2)
    done = moved(stage, to)
    states = [stage.database.read(lambda tx, a=a: tx.approvals.get(a.id)).state for a in (waiting, approved)]
    assert states == [ApprovalState.CANCELLED] * 2
    assert sorted(done.cancelled) == [waiting.id, approved.id]
    assert sorted(stage.entries("standing.changed")[0]["body"]["cancelled_approvals"]) == [waiting.id, approved.id]
    assert stage.live.approvals == {}


def test_a_restraint_leaves_what_waits(local: Stage) -> None:
    waiting = an_approval(local, "refund-agent")
    moved(local, Move.RESTRAIN)
    assert local.live.approvals[waiting.principal_id, waiting.call_digest] is waiting


def test_what_is_under_way_ends_after_it_is_shown_and_before_the_answer(local: Stage) -> None:
    seen: list[Any] = []

    def then() -> None:
        seen.append(local.live.principals["prn_refund-agent"].standing)
        stored = local.database.read(lambda tx: tx.registry.principal("prn_refund-agent"))
        seen.append(stored.standing)

    moved(local, Move.KILL, then=then)
    assert seen == [Standing.REVOKED, Standing.REVOKED]


def test_a_move_that_cannot_be_made_durable_ends_nothing(local: Stage) -> None:
    ended: list[str] = []

    def fails(tx: Any) -> None:
        move(tx, "refund-agent", Move.KILL, actor="x", reason="y", then=lambda: ended.append("ended"))
        raise ConflictError(ErrorCode.BAD_MOVE, "given up")

    with pytest.raises(ConflictError, match="given up"):
        local.database.write(fails)
    assert ended == []
    assert local.live.principals["prn_refund-agent"].standing is Standing.ACTIVE


def test_a_kill_outlives_a_restart(tmp_path: Path, database_url: str) -> None:
    with a_stage(tmp_path, url=database_url) as stage:
        pair = stage.client("refund-agent")
        moved(stage, Move.KILL)
    with a_stage(tmp_path, "another-agent", url=database_url) as stage:
        loaded = stage.database.read(lambda tx: load_live(tx.connection))
        assert loaded.principals["prn_refund-agent"].standing is Standing.REVOKED
        stage.live.principals |= loaded.principals
        for key in loaded.keys.values():
            stage.live.put_key(key)
        answer = a_door(stage).token(pair.assertion(NOW), PAYMENTS)
        assert (answer.status, answer.body["error"]) == (400, "unauthorized_client")


def test_a_token_asked_for_while_the_kill_is_written_is_dead_or_refused(local: Stage) -> None:
    """Whichever of the two the one writer takes first, no token of the new epoch comes out."""
    pair, door = local.client("refund-agent"), a_door(local)

    async def race() -> list[Any]:
        asks = [door.atoken(pair.assertion(NOW), PAYMENTS) for _ in range(10)]
        kill = local.database.awrite(lambda tx: move(tx, "refund-agent", Move.KILL, actor="x", reason="y"))
        more = [door.atoken(pair.assertion(NOW), PAYMENTS) for _ in range(10)]
        return list(await asyncio.gather(*asks, kill, *more))

    answers = [answer for answer in asyncio.run(race()) if not isinstance(answer, Moved)]
    assert len(answers) == 20
    for answer in answers:
        if answer.status == 200:
            bearer = local.tokens.verify(answer.body["access_token"], audience=PAYMENTS, at=NOW)
            assert refusal(local.live, bearer, None, at=NOW) is not None
        else:
            assert answer.body["error"] == "unauthorized_client"
