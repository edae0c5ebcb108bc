"""Right-sizing: what nobody used is taken out, provably narrower, and every recorded call is decided as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from builders import a_charter, a_system
from charter.bootstrap import right_sizing
from charter.core.errors import AbsentError
from charter.proof.right_size import proposed
from charter.registry.charter import Charter
from houses import a_house, estate_files

READING = {"system": "payments", "actions": ["charge.read"]}
REFUND = {"system": "payments", "actions": ["refund.create", "charge.read"], "objects": ["charge/*"]}
FILE = "principals/refund-agent.yaml"


def refund(amount: int) -> dict[str, object]:
    return {"charge_id": "ch_1", "amount": amount, "currency": "EUR"}


def test_what_nobody_used_is_taken_out_and_the_rest_stays_as_it_was(tmp_path: Path) -> None:
    files = estate_files(grants=[REFUND, READING])
    with a_house(tmp_path, files=files) as stage:
        for amount in (50, 80):
            stage.submit(stage.bearer(), stage.make("create_refund", refund(amount)))
        told = right_sizing.right_size(stage.house, files, "refund-agent", "30d")

        assert told["used"] == ["payments/refund.create"]
        assert told["removed"] == ["payments/charge.read"]
        assert (told["narrower"], told["replayed"], told["changed"], told["safe"]) == (True, 2, [], True)
        (grant,) = YAML(typ="safe", pure=True).load(told["charter"])["grants"]
        assert (grant["actions"], grant["objects"]) == (["refund.create"], ["charge/*"])
        narrower = files | {FILE: told["charter"]}
        stage.apply(narrower)
        again = right_sizing.right_size(stage.house, narrower, "refund-agent", "30d")
        assert (again["removed"], again["safe"]) == ([], True)


def test_a_recorded_call_that_would_be_refused_makes_it_unsafe(tmp_path: Path) -> None:
    """The files at hand are narrower than what was in force when the call was made: that is told, and not safe."""
    files = estate_files(grants=[REFUND, READING])
    with a_house(tmp_path, files=files) as stage:
        stage.submit(stage.bearer(), stage.make("create_refund", refund(50)))
        bounded = estate_files(grants=[REFUND | {"when": {"amount": {"max": "10 EUR"}}}, READING])
        told = right_sizing.right_size(stage.house, bounded, "refund-agent", "30d")
    assert not told["safe"]
    assert [(each["was"], each["would_be"]) for each in told["changed"]] == [("allow", "deny")]


def test_a_principal_that_did_nothing_keeps_nothing(tmp_path: Path) -> None:
    files = estate_files(grants=[REFUND])
    with a_house(tmp_path, files=files) as stage:
        told = right_sizing.right_size(stage.house, files, "refund-agent", "30d")
        with pytest.raises(AbsentError, match="there is no principal"):
            right_sizing.right_size(stage.house, files, "refund-agnt", "30d")
    assert told["removed"] == ["payments/refund.create", "payments/charge.read"]
    assert YAML(typ="safe", pure=True).load(told["charter"])["grants"] == []
    assert told["safe"]


def test_every_action_becomes_those_that_were_used() -> None:
    charter: Charter = a_charter(grants=[{"system": "payments", "actions": ["*"]}])
    found = proposed(charter, {"payments": a_system()}, {("payments", "charge.read")})
    assert [grant.actions for grant in found.charter.grants] == [("charge.read",)]
    assert found.removed == (("payments", "refund.create"),)
    whole = proposed(charter, {"payments": a_system()}, {("payments", "charge.read"), ("payments", "refund.create")})
    assert (whole.charter, whole.is_narrower) == (charter, False)
    assert proposed(charter, {}, set()).charter == charter  # a system that is not there is left alone
