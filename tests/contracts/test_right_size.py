"""Right-sizing over a whole house: calls, proof, replay, the file's difference, and who takes it."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from charter.bootstrap import authority, estate, right_sizing, size_answers
from charter.bootstrap.size_answers import Said
from charter.core.errors import AbsentError, ConflictError, DeniedError, MalformedError
from charter.registry.record import ManagedBy
from charter.registry.standing import Move
from fakes import FixedClock
from houses import Stage, a_house, estate_files

ANY_TIME = {"system": "payments", "actions": ["refund.create", "charge.read"]}
FILE = "principals/refund-agent.yaml"
OWNER = Said("maria@example.com", "as it is used")


def refund(amount: int, charge: str = "ch_1") -> dict[str, object]:
    return {"charge_id": charge, "amount": amount, "currency": "EUR"}


def act(stage: Stage, days: int, amount: int = 50, tool: str = "create_refund") -> None:
    """One call a day, `days` long."""
    for _ in range(days):
        stage.submit(stage.bearer(), stage.make(tool, refund(amount)))
        stage.clock.advance(days=1)


def sized(stage: Stage, **asked: Any) -> dict[str, Any]:
    return right_sizing.right_size(stage.house, "refund-agent", **asked)


def keys(told: dict[str, Any]) -> list[str]:
    return [each["key"] for each in told["narrowings"]]


def test_what_nobody_used_is_taken_by_proof_and_every_call_is_decided_as_it_was(tmp_path: Path) -> None:
    with a_house(tmp_path, files=estate_files(grants=[ANY_TIME])) as stage:
        act(stage, 40)
        told = sized(stage)
        assert "action:payments/charge.read" in keys(told)
        assert (told["narrower"], told["replayed"], told["changed"], told["untold"]) == (True, 40, [], [])
        assert told["safe"]
        assert told["proposal"]
        step = next(each for each in told["narrowings"] if each["piece"] == "action")
        assert (step["uses"], step["last_used"], step["unused_days"]) == (0, None, 40)
        (grant,) = YAML(typ="safe", pure=True).load(told["text"])["grants"]
        assert grant["actions"] == ["refund.create"]
        assert told["diff"].startswith(f"diff --git a/{FILE} b/{FILE}\n--- a/{FILE}\n+++ b/{FILE}\n@@")
        with pytest.raises(AbsentError):
            right_sizing.right_size(stage.house, "refund-agnt")


@pytest.mark.parametrize("end", ["", "\n"], ids=["no end of the last line", "a last line that ends"])
def test_the_difference_is_a_patch_that_git_applies_while_the_file_is_what_it_was(tmp_path: Path, end: str) -> None:
    file = tmp_path / FILE
    file.parent.mkdir()
    with a_house(tmp_path, files=estate_files(grants=[ANY_TIME])) as stage:
        act(stage, 40)
        was = estate_files(grants=[ANY_TIME])[FILE].rstrip() + end
        file.write_text(was)
        told = sized(stage)
    patch = (["git", "apply", "--check"], ["git", "apply"])

    def applied(words: list[str]) -> bool:
        given = told["diff"].encode()
        return subprocess.run(words, cwd=tmp_path, input=given, capture_output=True, check=False).returncode == 0

    file.write_text(was.replace("disputed", "other"))  # somebody was faster
    assert not applied(patch[0])
    file.write_text(was)
    assert applied(patch[1])
    assert file.read_text() == told["text"]


def test_a_charter_that_changes_between_accepting_and_applying_takes_the_acceptance_with_it(tmp_path: Path) -> None:
    with a_house(tmp_path, files=estate_files(grants=[ANY_TIME])) as stage:
        act(stage, 40)
        proposal = sized(stage)["proposal"]
        took = asyncio.run(size_answers.accept(stage.house, "refund-agent", proposal, OWNER))
        assert sized(stage)["accepted"]["proposal"] == proposal

        stage.apply(estate_files(grants=[ANY_TIME], purpose="Something else by now"))

        assert sized(stage)["accepted"] is None
        with pytest.raises(ConflictError, match="not what was looked at"):
            asyncio.run(size_answers.accept(stage.house, "refund-agent", proposal, OWNER))
        files = estate_files() | {FILE: took["text"]}  # whoever applies the old file all the same is told first
        assert "Something else by now" in json.dumps(estate.plan(stage.house, files))
        assert len(stage.entries("right-size.accepted")) == 1


def test_calls_of_every_node_of_the_database_count(tmp_path: Path, postgres_url: str) -> None:
    clock, files = FixedClock(), estate_files(grants=[ANY_TIME])
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        (folder / ".charter").mkdir(parents=True, mode=0o700)
    with a_house(first, files=files, clock=clock, database=postgres_url) as stage:
        act(stage, 20, tool="get_charge")
    shutil.copy(first / ".charter" / "master.key", second / ".charter")
    with a_house(second, apply=False, clock=clock, database=postgres_url) as stage:
        act(stage, 25)
        told = sized(stage)
        assert (told["replayed"], told["changed"]) == (45, [])
        assert "action:payments/charge.read" not in keys(told)  # of which the second node's log knows nothing
        took = asyncio.run(size_answers.accept(stage.house, "refund-agent", told["proposal"], OWNER))
        assert took["replayed"] == 45


def test_little_history_and_lowered_standing_say_nothing(tmp_path: Path) -> None:
    with a_house(tmp_path, files=estate_files(grants=[ANY_TIME])) as stage:
        act(stage, 20)
        assert "nothing is proposed before 30 days" in sized(stage)["excluded"]
        act(stage, 20)
        assert "shorter than 30 days" in sized(stage, since="7d")["excluded"]
        asyncio.run(authority.move(stage.house, "refund-agent", Move.SUSPEND, actor="x@example.com", reason="r"))
        assert "suspended" in sized(stage)["excluded"]
        asyncio.run(authority.move(stage.house, "refund-agent", Move.RESUME, actor="x@example.com", reason="r"))
        assert "standing was changed" in sized(stage)["excluded"]


def test_rare_use_long_ago_is_kept_and_what_ended_is_not(tmp_path: Path) -> None:
    with a_house(tmp_path, files=estate_files(grants=[ANY_TIME])) as stage:
        act(stage, 2, tool="get_charge")
        act(stage, 95)
        told = sized(stage)
        assert "action:payments/charge.read" not in keys(told)
        assert any("seldom: 2 times" in each["why"] for each in told["kept"])
    (tmp_path / "b").mkdir()
    with a_house(tmp_path / "b", files=estate_files(grants=[ANY_TIME])) as stage:
        act(stage, 8, tool="get_charge")
        act(stage, 100)
        step = next(each for each in sized(stage)["narrowings"] if each["piece"] == "action")
        assert (step["uses"], step["unused_days"]) == (8, 101)


def test_only_who_answers_for_it_takes_it_and_only_once(tmp_path: Path) -> None:
    with a_house(tmp_path, files=estate_files(grants=[ANY_TIME])) as stage:
        act(stage, 40)
        found = sized(stage)["proposal"]
        with pytest.raises(DeniedError, match="does not answer for"):
            asyncio.run(size_answers.accept(stage.house, "refund-agent", found, Said("eve@example.com", "x")))
        before = stage.house.principal("refund-agent").digest
        took = asyncio.run(size_answers.accept(stage.house, "refund-agent", found, OWNER))
        assert not took["applied"]  # its file wins
        assert stage.house.principal("refund-agent").digest == before
        with pytest.raises(ConflictError, match="accepted this"):
            asyncio.run(size_answers.accept(stage.house, "refund-agent", found, OWNER))
        (entry,) = stage.entries("right-size.accepted")
        assert entry["actor"] == "maria@example.com"
        assert sized(stage)["accepted"]["by"] == "maria@example.com"
        stage.apply(estate_files() | {FILE: took["text"]})
        assert "action:payments/charge.read" not in keys(sized(stage))


def test_a_proposal_that_use_overtook_is_refused(tmp_path: Path) -> None:
    with a_house(tmp_path, files=estate_files(grants=[ANY_TIME])) as stage:
        act(stage, 40)
        found = sized(stage)["proposal"]
        act(stage, 1, tool="get_charge")
        with pytest.raises(ConflictError, match="not what was looked at"):
            asyncio.run(size_answers.accept(stage.house, "refund-agent", found, OWNER))
        assert stage.entries("right-size.accepted") == []


def test_what_a_person_keeps_or_dismisses_is_not_proposed_until_then(tmp_path: Path) -> None:
    key = "action:payments/charge.read"
    with a_house(tmp_path, files=estate_files(grants=[ANY_TIME])) as stage:
        act(stage, 40)
        for wrong in ("2020-01-01", "9999d", "soon"):
            with pytest.raises(MalformedError):
                asyncio.run(size_answers.keep(stage.house, "refund-agent", OWNER, key=key, until=wrong))
        with pytest.raises(MalformedError, match="nothing that is proposed"):
            asyncio.run(size_answers.keep(stage.house, "refund-agent", OWNER, key="action:x/\x1b[2J", until=None))
        with pytest.raises(DeniedError):
            asyncio.run(
                size_answers.keep(stage.house, "refund-agent", Said("eve@example.com", "x"), key=key, until=None)
            )
        asyncio.run(size_answers.keep(stage.house, "refund-agent", OWNER, key=key, until="20d"))
        told = sized(stage)
        assert key not in keys(told)
        assert any(each["key"] == key and "kept by maria@example.com" in each["why"] for each in told["kept"])
        stage.clock.advance(days=21)
        assert key in keys(sized(stage))
        asyncio.run(size_answers.keep(stage.house, "refund-agent", OWNER, key=None, until=None))
        assert keys(sized(stage)) == []


def test_comments_and_order_of_a_file_stay(tmp_path: Path) -> None:
    files = estate_files(grants=[ANY_TIME])
    value = YAML(typ="safe", pure=True).load(files[FILE])
    from charter.registry.pattern import write_yaml

    text = write_yaml(value).replace("grants:", "# who may refund\ngrants:  # see RFC 12")
    with a_house(tmp_path, files=files | {FILE: text}) as stage:
        act(stage, 40)
        told = sized(stage, text=text)
    assert told["comments_kept"]
    assert "# who may refund\ngrants:  # see RFC 12" in told["text"]
    changed = [line for line in told["diff"].splitlines()[4:] if line[:1] in "+-"]
    assert not [line for line in changed if line[1:].startswith(("purpose", "owner", "#", "grants"))]


@pytest.mark.parametrize("seed", range(3))
def test_whatever_was_seen_stays_allowed_and_nothing_is_added(tmp_path: Path, seed: int) -> None:
    """Random grants and calls, through the real engine and the prover."""
    dice = random.Random(seed)  # noqa: S311 - a die, no secret
    most = dice.choice([100, 2_000, 50_000])
    actions = dice.choice([["*"], ["refund.create", "charge.read"], ["refund.create"]])
    grant: dict[str, Any] = {"system": "payments", "actions": actions, "when": {"amount": {"max": f"{most} EUR"}}}
    grants = [
        grant | {"limit": [{"count": dice.choice([2, 5_000]), "per": "day"}]},
        {"system": "payments", "actions": ["charge.read"]},
    ]
    with a_house(tmp_path, files=estate_files(grants=grants)) as stage:
        for _ in range(45):
            for _ in range(dice.randrange(3)):
                stage.submit(
                    stage.bearer(), stage.make("create_refund", refund(dice.randrange(1, 120), f"c{dice.randrange(9)}"))
                )
                stage.clock.advance(minutes=dice.randrange(1, 200))
            stage.clock.advance(days=1, minutes=-dice.randrange(200))
        told = sized(stage)
    assert told["narrowings"]
    assert (told["narrower"], told["not_proven"], told["changed"], told["safe"]) == (True, [], [], True)


def test_what_was_asked_for_and_refused_stays(tmp_path: Path) -> None:
    """Whoever has an agent's calls refused takes no authority from it."""
    bounded = {"system": "payments", "actions": ["refund.create"], "when": {"amount": {"max": "10 EUR"}}}
    with a_house(
        tmp_path, files=estate_files(grants=[bounded, {"system": "payments", "actions": ["charge.read"]}])
    ) as stage:
        act(stage, 40, amount=50)
        told = sized(stage)
    assert "action:payments/refund.create" not in keys(told)
    assert any("asked for 40 times in the period, and refused" in each["why"] for each in told["kept"])


def test_where_the_console_manages_it_the_narrower_charter_is_in_force(tmp_path: Path) -> None:
    with a_house(tmp_path, files=estate_files(grants=[ANY_TIME])) as stage:
        known = stage.house.principal("refund-agent")
        stage.house.database.write(lambda tx: tx.registry.update_principals([known], ManagedBy.CONSOLE))
        act(stage, 40)
        found = sized(stage)
        took = asyncio.run(size_answers.accept(stage.house, "refund-agent", found["proposal"], OWNER))
        assert (found["managed_by"], took["applied"]) == ("console", True)
        assert stage.house.principal("refund-agent").version == known.version + 1
        assert "action:payments/charge.read" not in keys(sized(stage))
