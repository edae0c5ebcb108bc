"""The story of one call, as the house tells it from its log, and as a terminal shows it."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from charter.bootstrap import call_story, observing, verdicts
from charter.cli import output
from charter.cli.story_page import show_story
from charter.core.clock import rfc3339
from charter.core.errors import AbsentError, MalformedError
from charter.gateway.model_answer import ProposedCall
from charter.gateway.pipeline import Admitted, Refused
from charter.gateway.proposals import Answer
from flow_stage import STRANGER, Talk, files
from houses import Stage, a_house
from lending_stage import a_lending


def tell(stage: Stage, of: Admitted | Refused | str) -> dict[str, Any]:
    return call_story.tell(stage.house, of if isinstance(of, str) else of.verdict_id)


def shown(story: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what a terminal of 160 columns gets of a story."""
    stream = io.StringIO()
    monkeypatch.setattr(output, "out", Console(file=stream, width=160, soft_wrap=True, highlight=False))
    show_story(story)
    return stream.getvalue()


def test_an_approved_call_is_told_from_who_asked_to_what_came_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_house(tmp_path, files=files()) as stage:
        talk = Talk(stage, run="ticket-7")
        talk.call("read", STRANGER)
        held = talk.call("send", to="eve@evil.example.org", body="hi")
        talk.approve(held)
        done = talk.call("send", to="eve@evil.example.org", body="hi")
        later = talk.call("find", {})

        story = tell(stage, done)
        assert story["verdict"] == "allow"
        assert "`send` on `mail` by `assistant` was allowed by `assistant/grant-1`" in story["sentence"]
        assert story["authority"]["applied"]["by"] == "test@example.com"
        assert story["authority"]["owner"] == {"person": "maria@example.com", "team": "payments-ops"}
        assert story["approval"]["asked_by"] == held.verdict_id
        assert [(each["by"], each["answer"], each["reason"]) for each in story["approval"]["answers"]] == [
            ("lena@example.com", "yes", "a test")
        ]
        assert story["approval"]["spent_by"] == done.verdict_id
        assert story["labels"]["before"]["exposed"] is True
        assert story["labels"]["before"]["untrusted"] == ["to"]
        assert story["permit"]["state"] == "spent"
        assert (story["outcome"]["outcome"], story["outcome"]["labels"]["origin"]) == ("ok", "untrusted")
        assert story["reconciliation"]["agreement"] == "agrees"
        assert story["sequence"]["step"] == 3
        assert [each["verdict_id"] for each in story["afterwards"]] == [later.verdict_id]
        assert story["log"]["prove"] == f"charter evidence prove {story['index']}"
        assert [each["index"] for each in story["entries"]] == story["log"]["entries"]

        waits = tell(stage, held)
        assert waits["permit"]["state"] == "none"
        assert waits["reconciliation"]["ground"] == "not-forwarded"
        assert "eve@evil.example.org" not in json.dumps([story, waits])  # evidence keeps no texts of arguments
        assert tell(stage, str(story["index"])) == story  # by its place in the log too

        page = shown(story, monkeypatch)
        for said in ("lena@example.com said yes as owner", "content that strangers wrote", "agrees: it was done"):
            assert said in page


def test_the_result_that_brought_a_label_is_told_with_what_was_new(tmp_path: Path) -> None:
    with a_house(tmp_path, files=files()) as stage:
        story = tell(stage, Talk(stage).call("read", STRANGER))

        assert story["labels"]["added"] == {"exposed": True, "data": ["customer-pii"]}
        assert story["labels"]["after"] == {"exposed": True, "data": ["customer-pii"]}
        assert story["labels"]["before"] == {"known": True}


def test_a_call_is_led_back_to_the_models_answer_that_proposed_it_and_on_to_what_came_of_it(tmp_path: Path) -> None:
    with a_house(tmp_path, files=files()) as stage:
        talk = Talk(stage)
        asked = talk.call("find", {})
        proposals, at = stage.house.pipeline.proposals, stage.clock.now()
        answer = Answer("msg_1", "small-1", asked.verdict_id)
        proposals.remember(talk.bearer.principal_id, [ProposedCall("mail__read", {"id": "m1"})], answer, at)
        done = talk.call("read", STRANGER, id="m1")
        other = talk.call("read", STRANGER, id="m2")

        proposed = tell(stage, done)["proposed_by"]
        assert (proposed["response"], proposed["call"]["verdict_id"]) == ("msg_1", asked.verdict_id)
        assert tell(stage, other)["proposed_by"]["is_known"] is False
        assert [each["verdict_id"] for each in tell(stage, asked)["children"]] == [done.verdict_id]


def test_a_chain_is_told_with_its_roles_and_control_planes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with a_lending(tmp_path) as lending:
        token = lending.chain("triage-flow", "refund-agent")[-1]
        story = tell(lending.stage, lending.refund(token))

        parties = story["who"]["chain"]["parties"]
        assert [(each["name"], each["role"]) for each in parties] == [
            ("maria@example.com", "initiator"),
            ("triage-flow", "carrier"),
            ("refund-agent", "decider"),
        ]
        assert all(each["control_plane"] for each in parties)
        credential = story["who"]["credential"]
        assert credential["method"] == "private_key_jwt"
        entry = next(e for e in lending.stage.entries("authentication") if e["index"] == credential["index"])
        assert entry["body"]["token"] == credential["token"]
        page = shown(story, monkeypatch)
        assert "initiator maria@example.com, vouched for by" in page


def test_the_limits_that_a_call_was_counted_against_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with a_house(tmp_path) as stage:
        small = {"charge_id": "ch_1", "amount": 10, "currency": "EUR"}
        done, _ = stage.submit(stage.bearer(), stage.make("create_refund", small))

        story = tell(stage, done)
        assert {each["link"] for each in story["limits"]} == {"refund-agent"}
        assert f"counted against {story['limits'][0]['limit']} of refund-agent" in shown(story, monkeypatch)
        assert story["asked"]["arguments"]["amount"] == {"number": "10", "quantity": {"value": "10", "unit": "EUR"}}


def test_a_denied_call_that_a_platform_saw_done_disagrees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with a_house(tmp_path) as stage:
        bearer = stage.bearer()
        big = {"charge_id": "ch_1", "amount": 900, "currency": "EUR"}
        denied, _ = stage.submit(bearer, stage.make("create_refund", big))
        agent = stage.house.principal("refund-agent")
        told = {"time": rfc3339(stage.clock.now()), "actor": "x", "spiffe_id": agent.spiffe_id, "outcome": "success"}
        told |= {"service": "payments", "action": "create_refund", "object": "ch_1", "id": "e1"}
        brought = observing.ingest(stage.house, "jsonl", [json.dumps(told)], first=1, file="x", actor="t@example.com")
        assert asyncio.run(brought)["added"] == 1

        story = tell(stage, denied)
        assert story["reconciliation"]["ground"] == "done-although-refused"
        assert story["reconciliation"]["seen"][0]["source"] == "jsonl"
        assert "disagrees: it was denied, and jsonl tells that it was done" in shown(story, monkeypatch)


# --- attacks ----------------------------------------------------------------------------------------------------------

HOSTILE = "\x1b[2J\x1b]0;x\x07\u202eevil\u200b\nagrees: all is well"


def test_what_callers_and_servers_say_steers_no_terminal_and_writes_no_lines_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_house(tmp_path, files=files()) as stage:
        done = Talk(stage).call("find", {})
        story = _poisoned(tell(stage, done))
        page = shown(story, monkeypatch)

        assert not set(page) & {"\x1b", "\x07", "\u202e", "\u200b"}
        assert not [line for line in page.splitlines() if line.startswith("agrees")]


def _poisoned(value: Any) -> Any:
    """Return a story with every text that is none of Charter's own words replaced."""
    if isinstance(value, dict):
        return {
            k: v if k in ("verdict", "agreement", "at", "time", "since") else _poisoned(v) for k, v in value.items()
        }
    if isinstance(value, list):
        return [_poisoned(each) for each in value]
    return HOSTILE if isinstance(value, str) else value


@pytest.mark.parametrize("which", ["vrd_0000000000000000000000000z", "vrd_x", "9999", "0"])
def test_an_id_that_nobody_made_finds_nothing(tmp_path: Path, which: str) -> None:
    with a_house(tmp_path) as stage, pytest.raises(AbsentError):
        tell(stage, which)


@pytest.mark.parametrize(
    "which", ["", "vrd_", "vrd_%", "VRD_1", "vrd_1' OR 1=1", "../1", "apr_1", "-1", "vrd_" + "0" * 99]
)
def test_what_is_no_id_is_refused(tmp_path: Path, which: str) -> None:
    with a_house(tmp_path) as stage, pytest.raises(MalformedError):
        tell(stage, which)


def test_an_id_that_only_stands_in_anothers_words_is_not_taken_for_the_verdict(tmp_path: Path) -> None:
    """A run's name is the caller's: one may call it like another's verdict, and its calls stay its own."""
    with a_house(tmp_path, files=files()) as stage:
        victim = Talk(stage, run="mine").call("find", {})
        forger = Talk(stage, run=victim.verdict_id).call("read", STRANGER)

        assert verdicts.find(stage.house, victim.verdict_id).to_json()["body"]["tool"] == "find"
        story = tell(stage, victim)
        assert forger.verdict_id not in json.dumps({k: v for k, v in story.items() if k != "afterwards"})
        assert story["outcome"]["labels"]["origin"] == "trusted"
        assert story["children"] == []
        assert story["labels"]["added"] == {"exposed": False, "data": ["customer-pii"]}  # and not the forger's
