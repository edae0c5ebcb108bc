"""Right-sizing turned against its owner: authority kept, taken or widened by whoever shapes what is observed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from charter.bootstrap import proofs, right_sizing, size_answers
from charter.bootstrap.size_answers import Said
from charter.core.errors import ConflictError, DeniedError
from charter.proof.prover import Prover, Unknown
from charter.registry.manifest import charter_in
from houses import Stage, a_house, estate_files

FILE = "principals/refund-agent.yaml"
OWNER = Said("maria@example.com", "as it is used")
WORDS = [f"word-{n}" for n in range(12)]
READING = {"system": "payments", "actions": ["refund.create", "charge.read"]}
TEXTS = {
    name: {"one_of": ["EUR", *WORDS]} for name in ("charge_id", "currency", "note")
}  # too many to suppose them all


def act(stage: Stage, days: int = 40, tool: str = "create_refund", **changed: Any) -> None:
    asked = {"charge_id": "ch_1", "amount": 50, "currency": "EUR"} | changed
    for _ in range(days):
        stage.submit(stage.bearer(), stage.make(tool, asked))
        stage.clock.advance(days=1)


def sized(stage: Stage, **asked: Any) -> dict[str, Any]:
    return right_sizing.right_size(stage.house, "refund-agent", **asked)


def take(stage: Stage, proposal: str, said: Said = OWNER) -> dict[str, Any]:
    return asyncio.run(size_answers.accept(stage.house, "refund-agent", proposal, said))


def keys(told: dict[str, Any]) -> list[str]:
    return [each["key"] for each in told["narrowings"]]


class Slow:
    """A solver that never gets done."""

    def solve(self, _claim: object, _wishes: object) -> Unknown:
        return Unknown("it took longer than there is time")


def test_floods_thin_use_and_a_slow_proof_give_nobody_a_proposal_on_half_the_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call is use, whatever it was for; but a person is told on how little a piece of authority stays."""
    real = proofs.means_of
    bounded = {"system": "payments", "actions": ["refund.create"], "when": {"amount": {"max": "9000 EUR"}}}
    with a_house(tmp_path, files=estate_files(grants=[bounded, READING | {"actions": ["charge.read"]}])) as stage:
        act(stage, 20)
        act(stage, 1, tool="get_charge")
        act(stage, 20)
        told = sized(stage)
        assert "action:payments/charge.read" not in keys(told)
        assert "`charge.read` on `payments` stays on 1 call alone" in told["cautions"]

        monkeypatch.setattr(proofs, "means_of", lambda clock: replace(real(clock), prover=Prover(Slow())))
        told = sized(stage)
        assert told["narrowings"]
        assert (told["narrower"], told["safe"], told["proposal"]) == (False, False, None)
        assert any("is not proven: it took longer than there is time" in each for each in told["not_proven"])
        with pytest.raises(ConflictError):
            take(stage, "sha256:" + "0" * 64)

        monkeypatch.setattr(right_sizing, "MAX_CALLS", 25)
        told = sized(stage)
        assert "more than 25 calls" in told["excluded"]
        assert (told["safe"], told["proposal"]) == (False, None)


def test_calls_that_nobody_can_decide_again_shield_their_own_action_alone(tmp_path: Path) -> None:
    """Else one agent that fills its calls with texts kept all of its authority for good."""
    textual = {"system": "payments", "actions": ["refund.create"], "when": TEXTS | {"amount": {"max": "9000 EUR"}}}
    reading = {"system": "payments", "actions": ["charge.read"]}
    texts = {"charge_id": WORDS[0], "currency": "EUR", "note": WORDS[2]}
    with a_house(tmp_path, files=estate_files(grants=[textual, reading])) as stage:
        act(stage, **texts)
        told = sized(stage)
        assert told["untold"]
        assert told["untouched"] == [{"system": "payments", "action": "refund.create", "calls": 40}]
        assert (keys(told), told["safe"]) == (["action:payments/charge.read", "delegation:from humans"], True)
        (grant,) = charter_in(FILE, told["text"]).grants
        assert grant == charter_in(FILE, estate_files(grants=[textual, reading])[FILE]).grants[0]
        assert not take(stage, told["proposal"])["applied"]


def test_a_call_between_proposal_and_acceptance_that_would_be_refused_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes in after the proposal was made anew, where only the transaction can see it: object, hour and amount."""
    grants = [READING | {"objects": ["charge/*", "card/*"], "when": {"amount": {"max": "9000 EUR"}}}]
    with a_house(tmp_path, files=estate_files(grants=grants)) as stage:
        act(stage)
        made = right_sizing.size_of(stage.house, "refund-agent", None, None)
        monkeypatch.setattr(right_sizing, "size_of", lambda *_: made)
        found = made.told["proposal"]
        assert {"objects", "amount", "hours"} <= {each["piece"] for each in made.told["narrowings"]}
        for change, days in (({"amount": 8000}, 0.0), ({}, 0.5)):
            stage.clock.advance(days=days)
            stage.submit(
                stage.bearer(),
                stage.make("create_refund", {"charge_id": "c", "amount": 50, "currency": "EUR"} | change),
            )
            with pytest.raises(ConflictError, match="after the proposal was made, and would be refused under it"):
                take(stage, found)
        assert stage.entries("right-size.accepted") == []


def test_anothers_proposal_a_strangers_yes_a_wider_file_and_a_stale_one_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = estate_files(grants=[READING])
    wider = files[FILE].replace('"charge.read"', '"charge.read","refund.void"').replace("Refund", "Refund \u202e")
    with a_house(tmp_path, files=files) as stage:
        act(stage)
        honest, told = sized(stage), sized(stage, text=wider)
        assert "refund.void" not in told["text"]
        assert (told["text"], told["proposal"], told["comments_kept"]) == (honest["text"], honest["proposal"], False)
        found = honest["proposal"]
        with pytest.raises(DeniedError, match="does not answer for"):
            take(stage, found, Said("eve@example.com", "x"))
        with pytest.raises(ConflictError):  # of another principal
            asyncio.run(size_answers.accept(stage.house, "charge-reader", found, OWNER))
        made = right_sizing.size_of(stage.house, "refund-agent", None, None)
        stage.apply(estate_files(grants=[READING | {"actions": ["*"]}]))
        with pytest.raises(ConflictError, match="not what was looked at"):
            take(stage, found)
        assert stage.entries("right-size.accepted") == []

        stage.apply(files)
        act(stage, 1)  # what comes in and stays allowed stops nothing
        monkeypatch.setattr(right_sizing, "size_of", lambda *_: made)
        assert take(stage, found)["person"] == "maria@example.com"
