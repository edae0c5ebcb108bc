"""Pinned compositions in a whole house: what changes them, what a change takes, and what a review gives back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from charter.adapters.registry_store import load_live
from charter.bootstrap import authority, composition, estate, inventory
from charter.bootstrap.tending import hear_tools
from charter.core.canonical import digest_of
from charter.core.clock import Deadline
from charter.core.errors import AbsentError, ConflictError, DeniedError, MalformedError
from charter.gateway.call import Call
from charter.gateway.pins import ToolDefinition, ToolList
from charter.gateway.pipeline import Admitted, Refused
from charter.registry.record import FindingState
from charter.registry.standing import Move, Standing
from houses import PIN, Stage, a_house, estate_files

REFUND = {"charge_id": "1", "amount": 5, "currency": "EUR"}
A, B, C = ("sha256:" + sign * 64 for sign in "abc")
REVIEWER, OWNER, OPERATOR = "alex@example.com", "maria@example.com", "test@example.com"


def files(**composition_: Any) -> dict[str, str]:
    return estate_files(composition=composition_) if composition_ else estate_files()


def repinned(pin: str, **composition_: Any) -> dict[str, str]:
    """Return the estate with another accepted definition of one tool."""
    changed = files(**composition_)
    system = json.loads(changed["systems/payments.yaml"])
    system["actions"]["refund.create"]["pin"] = pin
    return changed | {"systems/payments.yaml": json.dumps(system)}


def standing(stage: Stage) -> Standing:
    return stage.house.principal("refund-agent").standing


def view(stage: Stage) -> dict[str, Any]:
    return composition.view(stage.house, "refund-agent")


def saw(stage: Stage, by: str = "the kernel", **told: str) -> None:
    principal = stage.house.principal("refund-agent")
    asyncio.run(stage.house.saw(principal.id, told, by=by))


def accept(stage: Stage, person: str = REVIEWER, change: str | None = None) -> dict[str, Any]:
    looked_at = change or view(stage)["change"] or "sha256:" + "0" * 64
    return asyncio.run(composition.review(stage.house, "refund-agent", looked_at, person=person, reason="looked at it"))


def move(stage: Stage, to: Move) -> None:
    asyncio.run(authority.move(stage.house, "refund-agent", to, actor=OPERATOR, reason="a test"))


def findings(stage: Stage) -> list[Any]:
    found = stage.house.database.read(lambda tx: tx.registry.findings.of_kinds(["changed-composition"]))
    return list(found)


def hear(stage: Stage, **digests: str) -> None:
    """Let the gateway read these definitions from the upstream."""
    tools = tuple(ToolDefinition(name, {"name": name}, digest) for name, digest in digests.items())

    async def heard() -> None:
        hear_tools(stage.house, stage.house.live.systems["payments"], ToolList(tools))
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others)

    asyncio.run(heard())


# --- pinning ---


def test_what_a_charter_pins_counts_as_accepted_with_it(tmp_path: Path) -> None:
    with a_house(tmp_path, files=files(program=A, tools="granted")) as stage:
        told = view(stage)
        assert standing(stage) is Standing.ACTIVE
        assert told["change"] is None
        assert [part["part"] for part in told["parts"]] == [
            "program",
            "tools.payments.create_refund",
            "tools.payments.get_charge",
        ]
        (entry,) = stage.entries("composition.pinned")
        assert entry["body"]["composition"] == told["digest"]
        assert inventory.dossier(stage.house, "refund-agent")["composition"] == {
            "digest": told["digest"],
            "change": None,
        }


def test_a_charter_that_pins_nothing_has_none(tmp_path: Path) -> None:
    with a_house(tmp_path, files=files()) as stage:
        with pytest.raises(AbsentError, match="pins nothing"):
            view(stage)
        assert composition.listing(stage.house) == []
        assert inventory.dossier(stage.house, "refund-agent")["composition"] is None


def test_every_part_says_who_attests_it_or_that_it_is_declared(tmp_path: Path) -> None:
    with a_house(tmp_path, files=files(program=A, tools="granted", model="claude-x")) as stage:
        saw(stage, program=A)
        who = {part["part"]: part["attested_by"] for part in view(stage)["parts"]}
        assert who == {
            "model": "declared",
            "program": "the kernel",
            "tools.payments.create_refund": "the gateway",
            "tools.payments.get_charge": "the gateway",
        }


def test_what_is_seen_again_is_not_written_again(tmp_path: Path) -> None:
    with a_house(tmp_path, files=files(program=A)) as stage:
        saw(stage, program=A)
        size = inventory.status(stage.house)["log_size"]
        for _ in range(3):
            saw(stage, program=A)
        assert inventory.status(stage.house)["log_size"] == size


def test_compositions_and_holds_are_there_after_a_restart(tmp_path: Path, database_url: str) -> None:
    pinned = files(program=[A, B], image=A, on_change="suspend")
    with a_house(tmp_path, files=pinned, database=database_url if "postgres" in database_url else None) as stage:
        saw(stage, program=B)
        stage.apply(files(program=[A, B], image=C, on_change="suspend"))
        saw(stage, program=C)
        live = stage.house.live
        again = stage.house.database.read(lambda tx: load_live(tx.connection))
        principal = stage.house.principal("refund-agent")
        assert again.compositions == live.compositions
        assert again.principals[principal.id] == principal
        assert again.principals[principal.id].held is not None


# --- changes ---


def test_another_program_restrains_until_it_is_reviewed(tmp_path: Path) -> None:
    with a_house(tmp_path, files=files(program=A)) as stage:
        saw(stage, program=A)
        saw(stage, program=B)
        assert standing(stage) is Standing.RESTRAINED
        (finding,) = findings(stage)
        assert finding.state is FindingState.OPEN
        (changed,) = view(stage)["changes"]
        assert (changed["was"], changed["now"], changed["told_by"]) == ([A], [B], "the kernel")
        bearer = stage.bearer()
        found, _ = stage.submit(bearer, stage.make("create_refund", REFUND))
        assert isinstance(found, Refused)  # it changes something, so it waits for a person
        read, _ = stage.submit(bearer, stage.make("get_charge", {"charge_id": "1"}))
        assert isinstance(read, Admitted)

        told = accept(stage)
        assert (told["before"], told["standing"], told["change"]) == ("restrained", "active", None)
        (finding,) = findings(stage)
        assert finding.state is FindingState.ACCEPTED
        (entry,) = stage.entries("composition.reviewed")
        assert entry["actor"] == REVIEWER
        assert entry["body"]["parts"][0]["now"] == [B]
        after, _ = stage.submit(stage.bearer(), stage.make("create_refund", REFUND))
        assert isinstance(after, Admitted)


def test_where_the_charter_says_so_a_change_suspends_and_ends_tokens(tmp_path: Path) -> None:
    with a_house(tmp_path, files=files(program=A, on_change="suspend")) as stage:
        before = stage.bearer()
        saw(stage, program=B)
        assert standing(stage) is Standing.SUSPENDED
        found, _ = stage.submit(before, stage.make("get_charge", {"charge_id": "1"}))
        assert isinstance(found, Refused)
        accept(stage)
        assert standing(stage) is Standing.ACTIVE
        found, _ = stage.submit(before, stage.make("get_charge", {"charge_id": "1"}))
        assert isinstance(found, Refused)  # its tokens are from before
        found, _ = stage.submit(stage.bearer(), stage.make("get_charge", {"charge_id": "1"}))
        assert isinstance(found, Admitted)


def test_a_tool_that_its_upstream_defines_otherwise_is_a_change_for_whoever_is_granted_it(tmp_path: Path) -> None:
    pinned = files(tools="granted")
    with a_house(tmp_path, files=pinned) as stage:
        hear(stage, create_refund=PIN, get_charge=PIN)
        assert standing(stage) is Standing.ACTIVE
        hear(stage, create_refund=B, get_charge=PIN)
        assert standing(stage) is Standing.RESTRAINED
        (changed,) = view(stage)["changes"]
        assert changed["part"] == "tools.payments.create_refund"
        assert changed["told_by"] == "the upstream of payments"
        assert stage.house.principal("charge-reader").standing is Standing.ACTIVE


def test_an_upstream_that_tells_something_else_each_time_is_written_down_once(tmp_path: Path) -> None:
    with a_house(tmp_path, files=files(tools="granted")) as stage:
        hear(stage, create_refund=B)
        change = view(stage)["change"]
        for number in range(5):
            hear(stage, create_refund=f"sha256:{number:064x}")
        assert view(stage)["change"] == change
        assert len(stage.entries("composition.changed")) == 1
        accept(stage)
        hear(stage, create_refund=C)
        assert standing(stage) is Standing.RESTRAINED


def test_a_tool_that_is_defined_as_before_again_still_waits_for_a_person(tmp_path: Path) -> None:
    with a_house(tmp_path, files=files(tools="granted")) as stage:
        hear(stage, create_refund=B)
        hear(stage, create_refund=PIN)
        assert standing(stage) is Standing.RESTRAINED
        (changed,) = view(stage)["changes"]
        assert changed["is_back"]
        accept(stage)
        assert standing(stage) is Standing.ACTIVE
        assert view(stage)["parts"][0]["accepted"] == [PIN]


def test_accepting_another_definition_of_a_tool_is_reviewed_for_whoever_pins_it(tmp_path: Path) -> None:
    with a_house(tmp_path, files=files(tools="granted")) as stage:
        hear(stage, create_refund=B)
        change = view(stage)["change"]
        stage.apply(repinned(B, tools="granted"))
        assert view(stage)["change"] == change  # what the gateway saw is what was applied now: one change
        accept(stage)
        assert standing(stage) is Standing.ACTIVE
        hear(stage, create_refund=B)
        assert standing(stage) is Standing.ACTIVE


def test_an_applied_charter_that_pins_otherwise_is_a_change(tmp_path: Path) -> None:
    with a_house(tmp_path, files=files(program=A, model="claude-x")) as stage:
        stage.apply(files(program=A, model="claude-y"))
        assert standing(stage) is Standing.RESTRAINED
        (changed,) = view(stage)["changes"]
        assert (changed["was"], changed["now"]) == (["anthropic/claude-x"], ["anthropic/claude-y"])
        assert changed["applied_by"] == OPERATOR
        stage.apply(files(program=A, model="claude-x"))
        assert standing(stage) is Standing.RESTRAINED
        accept(stage)
        assert standing(stage) is Standing.ACTIVE


def test_a_plan_says_who_will_be_held(tmp_path: Path) -> None:
    with a_house(tmp_path, files=files(tools="granted", model="claude-x", on_change="suspend")) as stage:
        (moved,) = estate.plan(stage.house, files(tools="granted", model="claude-y"))["changes"]
        assert "what it is made of changes: it is suspended until that is reviewed" in "\n".join(moved["notes"])
        (system,) = estate.plan(stage.house, repinned(B, tools="granted", model="claude-x", on_change="suspend"))[
            "changes"
        ]
        assert "held until that is reviewed, since their charters pin it: refund-agent" in system["notes"]
        other = files(tools="granted", model="claude-x", on_change="suspend", accepted_by="payments-lead")
        (calm,) = estate.plan(stage.house, other)["changes"]
        assert "what it is made of" not in "\n".join(calm["notes"])


def test_a_charter_that_changes_elsewhere_changes_no_composition(tmp_path: Path) -> None:
    with a_house(tmp_path, files=files(program=A)) as stage:
        saw(stage, program=A)
        stage.apply(estate_files(composition={"program": A}, purpose="Refund even smaller charges"))
        assert standing(stage) is Standing.ACTIVE
        assert view(stage)["parts"][0]["attested_by"] == "the kernel"


def test_a_charter_that_pins_nothing_any_more_is_a_change_too(tmp_path: Path) -> None:
    with a_house(tmp_path, files=files(program=A)) as stage:
        stage.apply(files())
        assert standing(stage) is Standing.RESTRAINED
        accept(stage)
        assert standing(stage) is Standing.ACTIVE
        with pytest.raises(AbsentError, match="pins nothing"):
            view(stage)


def test_a_withdrawn_principal_leaves_no_open_finding(tmp_path: Path) -> None:
    with a_house(tmp_path, files=files(program=A)) as stage:
        saw(stage, program=B)
        stage.apply({name: text for name, text in files(program=A).items() if "refund-agent" not in name})
        assert standing(stage) is Standing.RETIRED
        (finding,) = findings(stage)
        assert finding.state is FindingState.RESOLVED
        assert composition.listing(stage.house) == []


def test_another_change_while_one_waits_is_the_same_finding_and_another_change(tmp_path: Path) -> None:
    with a_house(tmp_path, files=files(program=A, image=A)) as stage:
        saw(stage, program=B)
        first = view(stage)["change"]
        saw(stage, by="a token", image=C)
        assert len(findings(stage)) == 1
        assert view(stage)["change"] != first
        with pytest.raises(ConflictError, match="another change"):
            accept(stage, change=first)
        assert standing(stage) is Standing.RESTRAINED


# --- who gives back what ---


def test_a_review_gives_back_what_the_change_took_and_nothing_that_a_person_took(tmp_path: Path) -> None:
    with a_house(tmp_path, files=files(program=A)) as stage:
        move(stage, Move.RESTRAIN)
        saw(stage, program=B)
        accept(stage)
        assert standing(stage) is Standing.RESTRAINED
        move(stage, Move.RESUME)
        saw(stage, program=C)
        move(stage, Move.SUSPEND)
        accept(stage)
        assert standing(stage) is Standing.SUSPENDED


def test_nobody_resumes_what_a_change_took(tmp_path: Path) -> None:
    with a_house(tmp_path, files=files(program=A)) as stage:
        saw(stage, program=B)
        with pytest.raises(ConflictError, match="because of the finding"):
            move(stage, Move.RESUME)
        move(stage, Move.SUSPEND)
        move(stage, Move.RESUME)
        assert standing(stage) is Standing.RESTRAINED


def test_a_killed_principal_stays_killed(tmp_path: Path) -> None:
    with a_house(tmp_path, files=files(program=A)) as stage:
        saw(stage, program=B)
        change = view(stage)["change"]
        move(stage, Move.KILL)
        with pytest.raises(ConflictError, match="is revoked"):
            accept(stage, change=change)
        saw(stage, program=C)
        assert standing(stage) is Standing.REVOKED


@pytest.mark.parametrize(
    ("person", "why"),
    [
        (OWNER, "does not hold the role `payments-risk`"),
        ("lena@example.com", "does not hold the role"),
        ("stranger@example.com", "does not hold the role"),
    ],
)
def test_who_does_not_hold_the_role_reviews_nothing(tmp_path: Path, person: str, why: str) -> None:
    with a_house(tmp_path, files=files(program=A)) as stage:
        saw(stage, program=B)
        with pytest.raises(DeniedError, match=why):
            accept(stage, person=person)
        assert standing(stage) is Standing.RESTRAINED


def test_its_owner_does_not_review_it_whatever_roles_they_hold(tmp_path: Path) -> None:
    with a_house(tmp_path, files=files(program=A, accepted_by="payments-lead")) as stage:
        saw(stage, program=B)
        with pytest.raises(DeniedError, match="owns `refund-agent`"):
            accept(stage, person=OWNER)
        assert view(stage)["reviewers"] == ["lena@example.com"]
        accept(stage, person="Lena@Example.com")
        assert standing(stage) is Standing.ACTIVE


@pytest.mark.parametrize(("change", "why"), [("sha256:abc", "names no change"), ("latest", "names no change")])
def test_a_review_names_what_was_looked_at(tmp_path: Path, change: str, why: str) -> None:
    with a_house(tmp_path, files=files(program=A)) as stage:
        saw(stage, program=B)
        with pytest.raises(MalformedError, match=why):
            accept(stage, change=change)
        accept(stage, change=view(stage)["change"][:19])
        assert standing(stage) is Standing.ACTIVE


def test_what_is_pinned_is_listed_with_what_waits_first(tmp_path: Path) -> None:
    changed = files(program=A) | {
        "principals/charge-reader.yaml": json.dumps(
            json.loads(files()["principals/charge-reader.yaml"]) | {"composition": {"program": A}}
        )
    }
    with a_house(tmp_path, files=changed) as stage:
        saw(stage, program=B)
        names = [each["principal"] for each in composition.listing(stage.house)]
        assert names == ["refund-agent", "charge-reader"]


# --- models ---


def model_files(**composition_: Any) -> dict[str, str]:
    """Return the estate with a model provider behind the gateway, which both principals may ask."""
    system = {
        "charter": "v1",
        "system": "models",
        "kind": "model",
        "provider": "anthropic",
        "environment": "production",
        "owner": {"person": "pia@example.com", "team": "payments-platform"},
        "upstream": {"transport": "http", "url": "http://127.0.0.1:9/mcp"},
        "actions": {"complete": {"tool": "messages", "effect": "read", "object": "*"}},
    }
    changed = files(**composition_) | {"systems/models.yaml": json.dumps(system)}
    for name in ("refund-agent", "charge-reader"):
        charter = json.loads(changed[f"principals/{name}.yaml"])
        charter["grants"].append({"system": "models", "actions": ["complete"]})
        changed[f"principals/{name}.yaml"] = json.dumps(charter)
    return changed


def ask(stage: Stage, name: str = "refund-agent", **arguments: Any) -> Admitted | Refused:
    call = Call("models", "messages", arguments, digest_of({"tool": "messages", "arguments": arguments}), None)

    async def asked() -> Admitted | Refused:
        found = await stage.house.pipeline.submit(bearer, call, Deadline.after(stage.clock, 5), source="test")
        if isinstance(found, Admitted):
            found.give_up()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others)
        return found

    bearer = stage.bearer(name)
    return asyncio.run(asked())


def test_a_call_for_another_model_than_the_pinned_is_denied_and_a_change(tmp_path: Path) -> None:
    with a_house(tmp_path, files=model_files(model="claude-x")) as stage:
        assert isinstance(ask(stage, model="claude-x", prompt="a"), Admitted)
        assert standing(stage) is Standing.ACTIVE
        denied = ask(stage, model="claude-y", prompt="a")
        assert isinstance(denied, Refused)
        assert denied.verdict.reasons[0].rule == "built-in/pinned-models"
        assert "`anthropic/claude-y`, which nobody accepted" in denied.verdict.reasons[0].text
        assert standing(stage) is Standing.RESTRAINED
        (changed,) = view(stage)["changes"]
        assert (changed["now"], changed["told_by"]) == (["anthropic/claude-y"], "its call to models")
        accept(stage)
        assert isinstance(ask(stage, model="claude-y", prompt="a"), Admitted)
        assert isinstance(ask(stage, model="claude-x", prompt="a"), Refused)


def test_a_call_that_names_no_model_and_one_of_nobody_pinned_are_decided_as_ever(tmp_path: Path) -> None:
    with a_house(tmp_path, files=model_files(model="claude-x")) as stage:
        assert isinstance(ask(stage, prompt="a"), Admitted)
        assert isinstance(ask(stage, "charge-reader", model="gpt-9"), Admitted)
        read, _ = stage.submit(stage.bearer(), stage.make("get_charge", {"charge_id": "1", "model": "gpt-9"}))
        assert isinstance(read, Admitted)  # `model` means a model only where models are asked
        assert standing(stage) is Standing.ACTIVE


def test_an_agent_that_asks_for_ever_other_models_is_written_down_once(tmp_path: Path) -> None:
    with a_house(tmp_path, files=model_files(model="claude-x")) as stage:
        for number in range(4):
            assert isinstance(ask(stage, model=f"other-{number}"), Refused)
        assert len(stage.entries("composition.changed")) == 1
        assert view(stage)["changes"][0]["now"] == ["anthropic/other-0"]


def test_a_model_with_a_name_like_a_terminals_command_is_told_as_text(tmp_path: Path) -> None:
    with a_house(tmp_path, files=model_files(model="claude-x")) as stage:
        denied = ask(stage, model="\x1b[2J" + "y" * 5000)
        assert isinstance(denied, Refused)
        assert denied.verdict.reasons[0].text.isprintable()
        assert len(view(stage)["changes"][0]["now"][0]) <= 200
