"""Verdicts of a period held against their effects, and findings of what disagrees."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from charter.bootstrap import discovery, observing, reconciling
from charter.bootstrap.reconciling import Follower
from charter.core.clock import rfc3339
from charter.registry.problem import EstateError
from houses import Stage, a_house, estate_files

BIG = {"charge_id": "ch_1", "amount": 900, "currency": "EUR"}
SMALL = {"charge_id": "ch_1", "amount": 10, "currency": "EUR"}


def tell(stage: Stage, *events: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """Bring what a log of a platform tells of the refund agent."""
    agent = stage.house.principal("refund-agent")
    usual = {"actor": "x", "spiffe_id": agent.spiffe_id, "outcome": "success", "service": "payments"}
    usual |= {"action": "create_refund", "object": "ch_1", "time": rfc3339(stage.clock.now())}
    lines = [json.dumps(usual | {"id": which} | more) for which, more in events]
    brought = observing.ingest(stage.house, "jsonl", lines, first=1, file="a.jsonl", actor="t@example.com")
    return asyncio.run(brought)


def findings(stage: Stage) -> list[dict[str, Any]]:
    return [each for each in discovery.listing(stage.house) if each["kind"] == "disagreement"]


def test_a_period_is_held_against_what_happened(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        stage.submit(stage.bearer(), stage.make("create_refund", SMALL))
        denied, _ = stage.submit(stage.bearer(), stage.make("create_refund", BIG | {"charge_id": "ch_2"}))
        told = tell(
            stage,
            ("e1", {}),
            ("e2", {"object": "ch_2"}),
            ("e3", {"object": "ch_3", "time": rfc3339(stage.clock.now() - dt.timedelta(hours=5))}),
            ("e4", {"service": "elsewhere"}),
        )
        assert (told["added"], told["disagreements"]) == (4, 2)

        answer = reconciling.over(stage.house, {"since": "24h"})
        assert answer["counts"] == {"agrees": 1, "disagrees": 2, "unknown": 0}
        assert answer["grounds"] == {"done-as-allowed": 1, "done-although-refused": 1, "no-verdict": 1}
        assert (answer["verdicts"], answer["observed"], answer["not_governed"]) == (2, 3, 1)
        wrong = {each["ground"]: each for each in answer["disagreements"]}
        assert wrong["done-although-refused"]["verdict_id"] == denied.verdict_id
        assert wrong["no-verdict"]["verdict_id"] is None
        assert reconciling.over(stage.house, {"since": "1h"})["counts"]["disagrees"] == 1
        assert reconciling.over(stage.house, {"principal": "charge-reader"})["verdicts"] == 0


def test_what_disagrees_is_one_finding_however_often_and_in_whichever_process(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        stage.submit(stage.bearer(), stage.make("create_refund", BIG))
        assert tell(stage, ("e1", {}), ("e2", {}))["disagreements"] == 1
        (finding,) = findings(stage)
        assert "it was denied, and jsonl tells that it was done" in finding["title"]
        assert finding["principals"] == ["refund-agent"]
        assert len(finding["body"]["entries"]) == finding["count"] == 2

        assert asyncio.run(Follower().go_on(stage.house)) == 0  # another process begins, and looks back
        assert findings(stage)[0]["count"] == 2
        assert tell(stage, ("e3", {}))["disagreements"] == 0
        assert findings(stage)[0]["count"] == 3
        assert len(stage.entries("finding.opened")) == 1

        settled = discovery.settle(stage.house, finding["id"], "resolved", actor="pia@example.com", reason="a test")
        asyncio.run(settled)
        assert tell(stage, ("e4", {}))["disagreements"] == 1  # it is back
        assert findings(stage)[0]["state"] == "open"


def test_what_agrees_opens_nothing(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        stage.submit(stage.bearer(), stage.make("create_refund", SMALL))
        assert tell(stage, ("e1", {}))["disagreements"] == 0
        assert findings(stage) == []


def test_an_actor_that_only_calls_itself_a_principal_opens_nothing_in_its_name(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        told = tell(stage, ("e1", {"spiffe_id": "", "actor": "refund-agent"}))
        assert told["added"] == 1
        assert findings(stage) == []
        assert reconciling.over(stage.house, {})["not_governed"] == 1


def test_a_systems_file_says_how_a_platform_names_its_actions(tmp_path: Path) -> None:
    files = estate_files()
    system = json.loads(files["systems/payments.yaml"])
    system["actions"]["refund.create"]["seen_as"] = ["jsonl:Refunds.Issue"]
    with a_house(tmp_path, files=files | {"systems/payments.yaml": json.dumps(system)}) as stage:
        stage.submit(stage.bearer(), stage.make("create_refund", SMALL))
        other = {"service": "refunds.vendor.example", "action": "refunds.issue", "object": "arn:x"}
        assert tell(stage, ("e1", other))["disagreements"] == 0
        assert tell(stage, ("e2", other))["disagreements"] == 1  # one allow, one effect
        assert findings(stage)[0]["body"]["ground"] == "no-verdict"

        system["actions"]["refund.create"]["seen_as"] = ["claudtrail:x"]
        with pytest.raises(EstateError) as refused:
            stage.apply(files | {"systems/payments.yaml": json.dumps(system)})
        assert "`claudtrail` is no kind of log" in str(refused.value.problems[0])
        assert "cloudtrail" in str(refused.value.problems[0])
