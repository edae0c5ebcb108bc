"""What verdicts, outcomes and changes of context say of the sequence that a call is part of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from charter.gateway.model_answer import ProposedCall
from charter.gateway.proposals import Answer
from flow_stage import STRANGER, Talk, files
from houses import Stage, a_house
from lending_stage import a_lending


def bodies(stage: Stage, kind: str) -> list[dict[str, Any]]:
    return [entry["body"] for entry in stage.entries(kind)]


def test_a_session_is_told_step_by_step_with_what_each_result_brings(tmp_path: Path) -> None:
    with a_house(tmp_path, files=files()) as stage:
        talk = Talk(stage, run="ticket-7")
        talk.call("find", {"id": "m1"})
        talk.call("read", STRANGER)
        Talk(stage, run="ticket-8").call("find", {})

        steps = [body["sequence"] for body in bodies(stage, "verdict")]
        assert [(each["run"], each["step"]) for each in steps] == [("ticket-7", 1), ("ticket-7", 2), ("ticket-8", 1)]
        assert steps[0]["session"] == steps[1]["session"] == talk.key.id
        assert [body["labels"] for body in bodies(stage, "outcome")] == [
            {"origin": "trusted", "data": ["customer-pii"]},
            {"origin": "untrusted", "data": ["customer-pii"]},
            {"origin": "trusted", "data": ["customer-pii"]},
        ]
        changes = [(body["run"], body["added"]) for body in bodies(stage, "context.changed")]
        assert changes[:2] == [
            ("ticket-7", {"exposed": False, "data": ["customer-pii"]}),
            ("ticket-7", {"exposed": True, "data": []}),
        ]


def test_the_call_to_a_model_that_proposed_a_call_is_its_parent(tmp_path: Path) -> None:
    with a_house(tmp_path, files=files()) as stage:
        talk = Talk(stage)
        answer = Answer("msg_1", "small-1", "vrd_model")
        proposals, at = stage.house.pipeline.proposals, stage.clock.now()
        proposals.remember(talk.bearer.principal_id, [ProposedCall("mail__find", {"id": "m1"})], answer, at)

        talk.call("find", {}, id="m1")
        talk.call("find", {}, id="m2")

        proposed, other = (body["sequence"] for body in bodies(stage, "verdict"))
        assert proposed["parents"] == [{"verdict": "vrd_model", "known_by": "proposal"}]
        assert "parents" not in other


def test_what_is_done_for_a_principal_under_its_delegation_names_its_session(tmp_path: Path) -> None:
    with a_lending(tmp_path) as lending:
        flow = lending.redeem("triage-flow", lending.lend("triage-flow"), may_act="refund-agent")
        agent = lending.exchange("refund-agent", flow)
        lending.call(flow)
        lending.call(agent)

        first, second = (body["sequence"] for body in bodies(lending.stage, "verdict"))
        assert "parents" not in first  # a person lent it
        assert second["parents"] == [{"session": first["session"], "known_by": "delegation"}]
