"""The one pipeline, on the real parts: what is allowed, denied, held, counted and recorded."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from charter.bootstrap import authority, evidence
from charter.core.clock import Deadline
from charter.core.errors import DeniedError
from charter.gateway.pipeline import Admitted, Refused
from charter.policy.verdict import Deny, Escalate, Layer
from charter.registry.standing import Move
from houses import PIN, a_house, estate_files

READ = {"charge_id": "ch_1"}


def refund(amount: int, charge: str = "ch_1") -> dict[str, object]:
    return {"charge_id": charge, "amount": amount, "currency": "EUR"}


def layer_of(found: Admitted | Refused) -> Layer:
    assert isinstance(found, Refused)
    return found.verdict.reasons[0].layer


def test_an_allowed_call_is_recorded_forwarded_and_closed(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        found, messages = stage.submit(stage.bearer(), stage.make("get_charge", READ))
        assert isinstance(found, Admitted)
        assert messages[-1] == {"result": {"content": [{"type": "text", "text": "done"}]}}
        (verdict,), (outcome,) = stage.entries("verdict"), stage.entries("outcome")
        assert verdict["body"]["verdict"] == "allow"
        assert verdict["index"] == found.entry_index < outcome["index"]
        assert (outcome["body"]["outcome"], outcome["body"]["verdict_id"]) == ("ok", found.verdict_id)
        assert asyncio.run(evidence.verify(stage.house))["ok"]


def test_a_verdict_names_the_charter_version_it_was_made_under(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        stage.submit(stage.bearer(), stage.make("get_charge", READ))
        principal = stage.house.principal("refund-agent")
        assert stage.entries("verdict")[0]["body"]["charter"] == {"version": 1, "digest": principal.digest}


@pytest.mark.parametrize(
    ("tool", "arguments", "pin", "layer"),
    [
        ("drop_everything", {}, PIN, Layer.SYSTEM),
        ("get_charge", READ, "sha256:" + "2" * 64, Layer.SYSTEM),
        ("get_charge", READ, None, Layer.SYSTEM),
        ("get_charge", {}, PIN, Layer.CHARTER),
        ("get_charge", {"charge_id": "../etc"}, PIN, Layer.CHARTER),
        ("create_refund", refund(201), PIN, Layer.CHARTER),
        ("create_refund", refund(50) | {"currency": "USD"}, PIN, Layer.CHARTER),
        ("create_refund", {"charge_id": "ch_1"}, PIN, Layer.CHARTER),
    ],
)
def test_what_is_not_granted_is_denied_and_never_forwarded(
    tmp_path: Path, tool: str, arguments: dict[str, object], pin: str | None, layer: Layer
) -> None:
    with a_house(tmp_path) as stage:
        found, _ = stage.submit(stage.bearer(), stage.make(tool, arguments, pin))
        assert layer_of(found) is layer
        assert stage.upstream.calls == []
        assert stage.entries("verdict")[0]["body"]["verdict"] == "deny"


def test_the_sum_of_a_window_is_reserved_and_runs_out(tmp_path: Path) -> None:
    limit = [{"sum": "amount", "max": "100 EUR", "per": "day"}]
    grant = {"system": "payments", "actions": ["refund.create"], "objects": ["charge/*"], "limit": limit}
    with a_house(tmp_path, files=estate_files(grants=[grant])) as stage:
        bearer = stage.bearer()
        assert isinstance(stage.submit(bearer, stage.make("create_refund", refund(60)))[0], Admitted)
        found, _ = stage.submit(bearer, stage.make("create_refund", refund(41)))
        assert layer_of(found) is Layer.LIMIT
        assert isinstance(stage.submit(bearer, stage.make("create_refund", refund(40)))[0], Admitted)
        stage.clock.advance(days=1)
        assert isinstance(stage.submit(bearer, stage.make("create_refund", refund(60)))[0], Admitted)


def test_an_approved_call_goes_through_once_and_only_exactly_that_one(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        bearer, call = stage.bearer(), stage.make("create_refund", refund(150))
        held, _ = stage.submit(bearer, call)
        assert isinstance(held, Refused)
        assert isinstance(held.verdict, Escalate)
        assert held.approval_id is not None
        asked_again, _ = stage.submit(bearer, call)
        assert isinstance(asked_again, Refused)
        assert asked_again.approval_id == held.approval_id
        asyncio.run(authority.answer(stage.house, held.approval_id, yes=True, person="lena@example.com", reason="fine"))
        changed, _ = stage.submit(bearer, stage.make("create_refund", refund(151)))
        other, _ = stage.submit(stage.bearer("charge-reader"), call)
        through, _ = stage.submit(bearer, call)
        spent, _ = stage.submit(bearer, call)
        assert isinstance(changed, Refused)
        assert isinstance(other, Refused)
        assert isinstance(through, Admitted)
        assert isinstance(spent, Refused)
        assert len(stage.upstream.calls) == 1
        assert len(stage.entries("approval.spent")) == 1


def test_the_owner_cannot_approve_even_with_the_role(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        held, _ = stage.submit(stage.bearer(), stage.make("create_refund", refund(150)))
        assert isinstance(held, Refused)
        for person in ("maria@example.com", "stranger@example.com"):
            with pytest.raises(DeniedError):
                asyncio.run(authority.answer(stage.house, str(held.approval_id), yes=True, person=person, reason=""))
        assert stage.entries("approval.given") == []


def test_a_restrained_principal_reads_and_asks_before_it_changes_anything(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        bearer = stage.bearer()
        asyncio.run(authority.move(stage.house, "refund-agent", Move.RESTRAIN, actor="a@example.com", reason="odd"))
        reading, _ = stage.submit(bearer, stage.make("get_charge", READ))
        changing, _ = stage.submit(bearer, stage.make("create_refund", refund(10)))
        assert isinstance(reading, Admitted)
        assert isinstance(changing, Refused)
        assert isinstance(changing.verdict, Escalate)


def test_what_is_allowed_without_a_yes_rests_on_no_approval_that_waits_for_the_same_call(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        bearer, call = stage.bearer(), stage.make("create_refund", refund(10))
        for to in (Move.RESTRAIN, Move.RESUME):
            asyncio.run(authority.move(stage.house, "refund-agent", to, actor="a@example.com", reason="odd"))
            stage.submit(bearer, call)
        held, allowed = (entry["body"] for entry in stage.entries("verdict"))
        assert (held["verdict"], allowed["verdict"]) == ("escalate", "allow")
        assert held["approval"] is not None
        assert allowed["approval"] is None


def test_a_kill_ends_the_open_call_and_leaves_the_other_principal_alone(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        killed, other = stage.bearer(), stage.bearer("charge-reader")

        async def run() -> tuple[list[dict[str, object]], list[dict[str, object]]]:
            pipeline, gate = stage.house.pipeline, asyncio.Event()
            stage.upstream.gate = gate
            deadline = Deadline.after(stage.clock, 5)
            mine = await pipeline.submit(killed, stage.make("get_charge", READ), deadline, source="test")
            theirs = await pipeline.submit(other, stage.make("get_charge", READ), deadline, source="test")
            assert isinstance(mine, Admitted)
            assert isinstance(theirs, Admitted)

            async def drain(admitted: Admitted) -> list[dict[str, object]]:
                return [message async for message in admitted.messages]

            tasks = [asyncio.create_task(drain(mine)), asyncio.create_task(drain(theirs))]
            while len(stage.upstream.calls) < 2:  # noqa: ASYNC110 - the fake counts its calls and has no event
                await asyncio.sleep(0.01)
            moved = await authority.move(stage.house, "refund-agent", Move.KILL, actor="a@example.com", reason="3 a.m.")
            assert moved["after"] == "revoked"
            ended = await asyncio.wait_for(tasks[0], 5)
            gate.set()
            went_on = await asyncio.wait_for(tasks[1], 5)
            await pipeline.settled()
            return ended, went_on

        ended, went_on = asyncio.run(run())
        assert "error" in ended[-1]
        assert "result" in went_on[-1]
        outcomes = {e["body"]["principal"]: e["body"]["outcome"] for e in stage.entries("outcome")}
        assert outcomes == {"refund-agent": "withdrawn", "charge-reader": "ok"}
        found, _ = stage.submit(killed, stage.make("get_charge", READ))
        assert layer_of(found) is Layer.STANDING


def test_a_widened_charter_takes_effect_on_the_next_call(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        call = stage.make("create_refund", refund(10))
        found, _ = stage.submit(stage.bearer("charge-reader"), call)
        assert isinstance(found, Refused)
        assert isinstance(found.verdict, Deny)
        files = estate_files()
        name = "principals/charge-reader.yaml"
        files[name] = files[name].replace('"charge.read"', '"charge.read","refund.create"')
        stage.apply(files)
        again, _ = stage.submit(stage.bearer("charge-reader"), call)
        assert isinstance(again, Admitted)


def test_a_store_that_fails_allows_nothing(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        bearer, call = stage.bearer(), stage.make("get_charge", READ)
        stage.house.database.close()
        with pytest.raises(Exception, match="clos"):
            stage.submit(bearer, call)
        assert stage.upstream.calls == []
