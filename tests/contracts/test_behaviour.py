"""Behaviour in a whole house: the watch follows the log, tells why, restrains by rule and gives back by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from charter.bootstrap import (
    authority,
    behaviour_views,
    delegation,
    discovery,
    response_preview,
    responses,
    rules,
    why,
)
from charter.bootstrap.behaviour import BehaviourRoom
from charter.cli.main import app
from charter.core.clock import Deadline
from charter.core.errors import CharterError, ConflictError, MalformedError
from charter.gateway.call import Call
from charter.gateway.pipeline import Admitted
from charter.registry.problem import EstateError
from charter.registry.standing import Move, Standing
from houses import Stage, a_house, estate_files

WHO, OTHER = "charge-reader", "refund-agent"
RULES = """\
charter: v1
rules:
  - id: left-its-mission
    for: {environments: [production]}
    when: {features: [purpose, sequence], score: 16}
    then: restrain
    expires: 4h
    reason: a person looks first
"""


def with_rules(text: str = RULES) -> dict[str, str]:
    return estate_files() | {"responses.yaml": text}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A house whose charge reader has read the same charge for a while."""
    with a_house(tmp_path, files=with_rules()) as found:
        watch(found)
        live_on(found)
        yield found


def live_on(stage: Stage, calls: int = 80) -> None:
    submit(stage, [stage.make("get_charge", {"charge_id": "ch_1"})] * calls, seconds=70)
    watch(stage)


def submit(stage: Stage, calls: list[Call], *, who: str = WHO, seconds: float = 0) -> None:
    """Run calls through the pipeline, one after another."""
    bearer, pipeline = stage.bearer(who), stage.house.pipeline

    async def run() -> None:
        for call in calls:
            stage.clock.advance(seconds=seconds)
            found = await pipeline.submit(bearer, call, Deadline.after(stage.clock, 5), source="test")
            if isinstance(found, Admitted):
                async for _ in found.messages:
                    pass
        await pipeline.settled()

    asyncio.run(run())


def leave_the_mission(stage: Stage) -> None:
    call = stage.make("create_refund", {"charge_id": "ch_1", "amount": "9.00", "currency": "EUR"})
    stage.clock.advance(seconds=70)
    stage.submit(stage.bearer(WHO), call)


def watch(stage: Stage) -> None:
    """Let the watch come to the end of the log."""
    while asyncio.run(stage.house.behaviour.step()):
        pass


def found(stage: Stage) -> list[dict[str, Any]]:
    return [each for each in discovery.listing(stage.house) if each["kind"] == "behaviour"]


def standing(stage: Stage, name: str = WHO) -> Standing:
    return stage.house.principal(name).standing


def test_leaving_the_mission_is_told_with_its_reason_and_restrained(stage: Stage) -> None:
    assert found(stage) == []
    leave_the_mission(stage)
    watch(stage)
    (finding,) = found(stage)
    assert finding["principals"] == [WHO]
    assert "refund.create" in finding["title"]
    told = {each["feature"]: each for each in finding["body"]["contributions"]}
    assert {"sequence", "purpose"} <= set(told)
    assert "outside what it was given to do" in told["purpose"]["sentence"]
    assert standing(stage) is Standing.RESTRAINED
    assert standing(stage, OTHER) is Standing.ACTIVE
    entry = stage.entries("finding.opened")[-1]
    assert entry["body"]["contributions"] == finding["body"]["contributions"]
    assert stage.entries("standing.changed")[-1]["body"]["finding"] == finding["id"]


def test_what_a_rule_took_comes_back_by_itself(stage: Stage) -> None:
    leave_the_mission(stage)
    watch(stage)
    stage.clock.advance(hours=3, minutes=50)
    assert asyncio.run(responses.end_due(stage.house)) == 0
    assert standing(stage) is Standing.RESTRAINED
    stage.clock.advance(minutes=11)
    assert asyncio.run(responses.end_due(stage.house)) == 1
    assert standing(stage) is Standing.ACTIVE
    assert stage.entries("response.ended")[-1]["body"]["rule"] == "left-its-mission"
    leave_the_mission(stage)
    watch(stage)
    assert standing(stage) is Standing.RESTRAINED, "it goes on, and so does the rule"


def test_what_a_person_chose_is_not_given_back(stage: Stage) -> None:
    leave_the_mission(stage)
    watch(stage)
    moved = authority.move(stage.house, WHO, Move.SUSPEND, actor="test@example.com", reason="a test")
    asyncio.run(moved)
    stage.clock.advance(hours=5)
    asyncio.run(responses.end_due(stage.house))
    assert standing(stage) is Standing.SUSPENDED


def test_an_owner_says_that_it_is_normal_and_is_told_no_more(stage: Stage) -> None:
    leave_the_mission(stage)
    watch(stage)
    (signal,) = behaviour_views.signals(stage.house)["signals"]
    lead = signal["contributions"][0]
    with pytest.raises(ConflictError, match="because of the finding"):
        asyncio.run(authority.move(stage.house, WHO, Move.RESUME, actor="maria@example.com", reason="a test"))
    done = behaviour_views.accept_finding(
        stage.house, WHO, signal["finding"], until="30d", actor="maria@example.com", reason="a new task"
    )
    assert asyncio.run(done)["standing"] == "active"
    (finding,) = found(stage)
    assert finding["state"] == "accepted"
    leave_the_mission(stage)
    watch(stage)
    shown = behaviour_views.view(stage.house, WHO)
    assert len(shown["signals"]) == 1
    accepted = next(each for each in shown["accepted"] if each["key"] == lead["key"])
    assert accepted["by"] == "maria@example.com"
    assert len(shown["accepted"]) == len(signal["contributions"])
    withdrawn = behaviour_views.withdraw(
        stage.house, WHO, accepted["id"], actor="maria@example.com", reason="the task is over"
    )
    asyncio.run(withdrawn)
    assert accepted not in behaviour_views.view(stage.house, WHO)["accepted"]
    assert [each["body"]["change"] for each in stage.entries("behaviour.accepted")][-2:] == ["accepted", "withdrawn"]


def test_one_thing_alone_is_accepted_by_its_feature_and_key(stage: Stage) -> None:
    leave_the_mission(stage)
    watch(stage)
    done = behaviour_views.accept(
        stage.house, WHO, "sequence", "payments/*", until="30d", actor="maria@example.com", reason="a new task"
    )
    assert asyncio.run(done)["settled"] == [found(stage)[0]["id"]]
    leave_the_mission(stage)
    watch(stage)
    assert behaviour_views.view(stage.house, WHO)["signals"][0]["contributions"][0]["feature"] == "purpose"


def test_an_acceptance_that_no_signal_names_says_so(stage: Stage) -> None:
    leave_the_mission(stage)
    watch(stage)
    (signal,) = behaviour_views.signals(stage.house)["signals"]
    key = next(each["key"] for each in signal["contributions"] if each["feature"] == "sequence")

    def accept(key: str) -> tuple[int, str | None]:
        done = asyncio.run(
            behaviour_views.accept(
                stage.house, WHO, "sequence", key, until="30d", actor="maria@example.com", reason="a"
            )
        )
        return done["signals"], done["nearest"]

    assert accept(key.replace("refund", "refnud")) == (0, key)
    assert standing(stage) is Standing.RESTRAINED
    assert accept("notes/*") == (0, None)
    assert accept(key) == (1, None)


def test_settling_the_finding_gives_back_too_and_it_can_come_again(stage: Stage) -> None:
    leave_the_mission(stage)
    watch(stage)
    (finding,) = found(stage)
    asyncio.run(
        discovery.settle(stage.house, finding["id"], "resolved", actor="maria@example.com", reason="it was mended")
    )
    assert standing(stage) is Standing.ACTIVE
    leave_the_mission(stage)
    watch(stage)
    (again,) = found(stage)
    assert (again["id"], again["state"]) == (finding["id"], "open")
    assert standing(stage) is Standing.RESTRAINED


def test_a_process_that_starts_again_knows_what_it_knew(stage: Stage) -> None:
    asyncio.run(stage.house.behaviour.keep_learned(most=1000))
    live_on(stage, 5)  # not kept yet: read again
    before = stage.house.behaviour
    stage.house.behaviour = BehaviourRoom(stage.house)
    watch(stage)
    principal = stage.house.principal(WHO).id
    assert stage.house.behaviour.baseline_of(principal).to_json() == before.baseline_of(principal).to_json()
    assert stage.house.behaviour.weighed < 20, "only what was not kept is read again"
    leave_the_mission(stage)
    watch(stage)
    assert len(found(stage)) == 1


def test_a_store_that_fails_costs_no_signal(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_the_mission(stage)

    async def fails(*_: object) -> None:
        raise ConnectionError("the store is away")

    with monkeypatch.context() as patch:
        patch.setattr(responses, "keep", fails)
        with pytest.raises(ConnectionError):
            asyncio.run(stage.house.behaviour.step())
    watch(stage)
    assert len(found(stage)) == 1


def test_what_happened_before_the_watch_began_is_learned_and_not_told(tmp_path: Path) -> None:
    with a_house(tmp_path, files=with_rules()) as stage:
        submit(stage, [stage.make("get_charge", {"charge_id": "ch_1"})] * 80)
        leave_the_mission(stage)
        watch(stage)
        assert found(stage) == []
        leave_the_mission(stage)
        watch(stage)
        assert len(found(stage)) == 1


def test_a_flood_of_one_loses_nobody_elses_signal(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """One principal makes signal after signal, each of another kind; the other's one stands, with what follows."""
    monkeypatch.setattr(responses, "MAX_OPEN", 3)
    submit(stage, [stage.make(f"tool_{number}", {}) for number in range(12) for _ in range(4)], who=OTHER)
    leave_the_mission(stage)
    watch(stage)
    assert [each for each in found(stage) if each["principals"] == [WHO]]
    assert len([each for each in found(stage) if each["principals"] == [OTHER]]) <= 5
    assert standing(stage) is Standing.RESTRAINED


def test_a_principal_that_goes_on_costs_a_keeping_a_second_and_not_one_a_call(stage: Stage) -> None:
    for _ in range(30):
        submit(stage, [stage.make("create_refund", {"charge_id": "ch_9", "amount": "9.00", "currency": "EUR"})])
        watch(stage)
    stage.clock.advance(seconds=2)
    watch(stage)
    kept = stage.house.database.read(lambda tx: tx.behaviour.signals(limit=100))
    assert sum(each.count for each in kept) == 30
    assert len(kept) <= 4, "one for each thing it is about, and one for what went on"


def test_suspending_and_killing_end_what_is_under_way(tmp_path: Path) -> None:
    for then, end, after in (("suspend", "    release: person\n", "suspended"), ("kill", "", "revoked")):
        rules = RULES.replace("then: restrain", f"then: {then}").replace("    expires: 4h\n", end)
        folder = tmp_path / then
        folder.mkdir()
        with a_house(folder, files=with_rules(rules)) as stage:
            watch(stage)
            live_on(stage)
            epoch = stage.house.principal(WHO).epoch
            leave_the_mission(stage)
            watch(stage)
            assert standing(stage).value == after
            assert stage.house.principal(WHO).epoch == epoch + 1
            stage.clock.advance(days=40)
            asyncio.run(responses.end_due(stage.house))
            assert standing(stage).value == after, "only a person ends it"


def test_a_preview_shows_whom_rules_would_have_stopped(tmp_path: Path) -> None:
    with a_house(tmp_path, files=estate_files()) as stage:  # no rules in force
        watch(stage)
        live_on(stage)
        leave_the_mission(stage)
        watch(stage)
        live_on(stage, 7)
        assert standing(stage) is Standing.ACTIVE
        asked = delegation.Lending("maria@example.com", OTHER, "dispute-handling")
        asyncio.run(delegation.make(stage.house, asked, actor="maria@example.com", door="cli", reason="a test"))
        suspends = RULES.replace("then: restrain", "then: suspend")
        done = asyncio.run(response_preview.preview(stage.house, suspends))
        (rule,) = done["rules"]
        assert rule["covers"] == {"count": 2, "names": [WHO, OTHER]}
        (hit,) = rule["would_have"]
        assert (hit["principal"], hit["signals"], hit["calls"]) == (WHO, 1, 7)
        restrains = asyncio.run(response_preview.preview(stage.house, RULES))
        assert restrains["rules"][0]["calls_stopped"] == 0, "a restraint lets it read"
        assert asyncio.run(response_preview.preview(stage.house, None))["rules"] == []
        assert standing(stage) is Standing.ACTIVE, "a preview changes nothing"
        with pytest.raises(EstateError, match=r"responses\.yaml"):
            asyncio.run(response_preview.preview(stage.house, RULES.replace("restrain", "widen")))


def test_an_acceptance_that_names_nothing_is_refused(stage: Stage) -> None:
    for feature, key, until in (
        ("x", "k", "30d"),
        ("object", "", "30d"),
        ("object", "k", "soon"),
        ("object", "k", "9w9"),
    ):
        done = behaviour_views.accept(stage.house, WHO, feature, key, until=until, actor="m@x.y", reason="a test")
        with pytest.raises(MalformedError):
            asyncio.run(done)


def test_a_call_that_is_refused_before_policy_is_no_new_action(stage: Stage) -> None:
    submit(stage, [stage.make("get_charge", {"charge_id": "../ch_1"}), stage.make("get_card", {})], seconds=70)
    odd, unknown = (each["body"] for each in stage.entries("verdict")[-2:])
    assert [(each["verdict"], each["tool"], each["action"], each["slice"]) for each in (odd, unknown)] == [
        ("deny", "get_charge", "charge.read", None),
        ("deny", "get_card", None, None),
    ]
    assert odd["reasons"][0]["rule"] == "built-in/arguments"
    told = why.recorded(stage.house, odd["verdict_id"])
    assert (told["replayed"], told["agrees"]) == (None, None)
    watch(stage)
    usual = behaviour_views.view(stage.house, WHO)["baseline"]
    assert "payments/get_charge" not in {then[0] for step in usual["steps"] for then in step["then"]}


@pytest.mark.parametrize("words", [("--since", "banana"), ("--limit", "0"), ("--principal", "nobody")])
def test_what_a_person_asks_of_signals_reaches_the_house(tmp_path: Path, words: tuple[str, ...]) -> None:
    for name, text in estate_files().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    asked = ["-C", str(tmp_path), "--data", str(tmp_path / ".charter"), "behaviour", "signals", *words]
    error = CliRunner().invoke(app, asked).exception
    assert isinstance(error, CharterError)
    assert words[1] in error.detail


def test_rules_in_force_are_listed_with_the_others(stage: Stage) -> None:
    told = next(each for each in rules.listing(stage.house) if each["on"] == "behaviour")
    assert (told["name"], told["asks"]["then"], told["source"]) == (
        "left-its-mission",
        "restrain",
        "responses.yaml:3:5",
    )
