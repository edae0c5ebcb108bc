"""Applying an estate, on SQLite and PostgreSQL: all of it or nothing, once, and with evidence of who and why."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from charter.adapters import tables as t
from charter.adapters.registry_store import RegistryStore, load_live
from charter.core.canonical import digest
from charter.core.errors import CharterError, ConflictError, ErrorCode, IntegrityError, MalformedError
from charter.core.values import Source
from charter.evidence.entry import EntryKind
from charter.registry.dsse import verify_envelope
from charter.registry.plan import plan
from charter.registry.record import ManagedBy
from charter.registry.standing import Standing, may_act
from databases import SIGNER
from estates import GUARDRAIL, PRINCIPAL, SYSTEM, Registry, a_registry, an_estate, another_principal
from fakes import CountingEntropy, FixedClock

P, S, G = "principals/refund-agent.yaml", "systems/payments.yaml", "guardrails/environments.cedar"
AT = FixedClock().now()
TABLES = (t.principal, t.charter_version, t.system, t.estate_part, t.feed, t.evidence_entry)
WIDER = {P: PRINCIPAL.replace("200 EUR", "300 EUR")}
GONE: dict[str, str | None] = {P: None, "tests/refunds.yaml": None}


def everything(house: Registry) -> list[Any]:
    """Return all that is kept and all that memory shows."""
    live = house.live
    return [*(house.rows(table) for table in TABLES), dict(live.principals), dict(live.systems), live.policy_generation]


def entries(house: Registry) -> list[dict[str, Any]]:
    """Return the evidence but for the log's own first entry."""
    return [json.loads(row.data) for row in house.rows(t.evidence_entry)[1:]]


def refund_agent(house: Registry) -> Any:
    found = house.live.principal_named("refund-agent")
    assert found is not None
    return found


def test_a_new_principal_gets_an_identity_for_life(tmp_path: Path, database_url: str) -> None:
    with a_registry(tmp_path, database_url) as house:
        house.apply(an_estate())
        agent = refund_agent(house)
        assert agent.id.startswith("prn_")
        assert agent.spiffe_id == "spiffe://charter.local/production/agent/refund-agent"
        assert (agent.standing, agent.epoch, agent.version) == (Standing.ACTIVE, 1, 1)
        house.apply(an_estate(WIDER))
        wider = refund_agent(house)
        assert (wider.id, wider.spiffe_id, wider.epoch, wider.version) == (agent.id, agent.spiffe_id, 1, 2)


def test_what_is_applied_is_in_memory_and_after_a_restart(tmp_path: Path, database_url: str) -> None:
    with a_registry(tmp_path, database_url) as house:
        house.apply(an_estate(another_principal("second")))
        house.apply(an_estate(WIDER))
        again = house.database.read(lambda tx: load_live(tx.connection))
        assert again.principals == house.live.principals
        assert again.ids == house.live.ids
        assert again.systems == house.live.systems
        assert again.sequence == len(house.rows(t.feed))


def test_an_applied_charter_is_an_immutable_signed_version(tmp_path: Path, database_url: str) -> None:
    with a_registry(tmp_path, database_url) as house:
        house.apply(an_estate(), reason="the first")
        house.apply(an_estate(WIDER), actor="pia@example.com", reason="to 300 EUR")
        agent = refund_agent(house)
        newest, first = house.database.read(lambda tx: tx.registry.versions(agent.id))
    assert (first.version, first.applied_by, first.reason) == (1, "maria@example.com", "the first")
    assert (newest.version, newest.applied_by, newest.reason) == (2, "pia@example.com", "to 300 EUR")
    assert newest.digest == agent.digest == an_estate(WIDER).charters["refund-agent"].value.digest
    assert newest.sources["grants.0.when.hours"] == Source(P, 15, 19)
    assert newest.applied_at == AT
    for version in (newest, first):
        verify_envelope(version.envelope, version.charter, {SIGNER.key_id: SIGNER.public})


def test_applying_again_changes_nothing_and_records_nothing(tmp_path: Path, database_url: str) -> None:
    with a_registry(tmp_path, database_url) as house:
        house.apply(an_estate())
        before = everything(house)
        applied = house.apply(an_estate())
        assert applied.changes == ()
        assert everything(house) == before


def test_a_plan_made_after_applying_is_empty(tmp_path: Path, database_url: str) -> None:
    with a_registry(tmp_path, database_url) as house:
        for estate in (an_estate(), an_estate(WIDER), an_estate(another_principal("second")), an_estate(GONE)):
            house.apply(estate)
            assert house.plan(estate).changes == ()


def test_evidence_says_who_applied_what_and_why(tmp_path: Path, database_url: str) -> None:
    with a_registry(tmp_path, database_url) as house:
        house.apply(an_estate())
        planned = house.plan(an_estate(WIDER))
        house.apply(an_estate(WIDER), planned, reason="to 300 EUR", actor="pia@example.com")
        agent = refund_agent(house)
        told = entries(house)
    assert [entry["kind"] for entry in told] == [
        EntryKind.TEAMS_APPLIED,
        EntryKind.SYSTEM_APPLIED,
        EntryKind.GUARDRAILS_APPLIED,
        EntryKind.PATTERN_APPLIED,
        EntryKind.CHARTER_APPLIED,
        EntryKind.CHARTER_APPLIED,
    ]
    last = told[-1]
    assert (last["actor"], last["principal"]) == ("pia@example.com", agent.id)
    body = last["body"]
    assert (body["change"], body["version"], body["reason"]) == ("change", 2, "to 300 EUR")
    assert (body["before"], body["digest"], body["plan"]) == (told[-2]["body"]["digest"], agent.digest, planned.digest)
    assert body["differences"] == [{"path": "grants.0.when.amount.max", "before": "200 EUR", "after": "300 EUR"}]


def test_each_change_is_a_row_in_the_feed(tmp_path: Path, database_url: str) -> None:
    with a_registry(tmp_path, database_url) as house:
        house.apply(an_estate())
        agent = refund_agent(house)
        found = house.database.read(lambda tx: tx.registry.changes_after(1))
    assert [(row.kind, row.subject) for row in found] == [
        ("system", "payments"),
        ("guardrails", "guardrails/environments.cedar"),
        ("pattern", "patterns/small-refunds.yaml"),
        ("principal", agent.id),
    ]
    assert {(row.actor, row.reason) for row in found} == {("maria@example.com", "first")}


def test_a_withdrawn_principal_is_retired_and_its_tokens_die(tmp_path: Path, database_url: str) -> None:
    with a_registry(tmp_path, database_url) as house:
        house.apply(an_estate())
        before = refund_agent(house)
        house.apply(an_estate(GONE), reason="no longer needed")
        after = refund_agent(house)
        assert (after.standing, after.epoch, after.id) == (Standing.RETIRED, before.epoch + 1, before.id)
        assert may_act(after.subject, at=AT, epoch=before.epoch) is not None
        assert entries(house)[-1]["kind"] == EntryKind.CHARTER_WITHDRAWN
        assert entries(house)[-1]["body"]["reason"] == "no longer needed"


def test_a_system_that_was_withdrawn_may_come_back(tmp_path: Path, database_url: str) -> None:
    without: dict[str, str | None] = {S: None, "patterns/small-refunds.yaml": None, **GONE}
    with a_registry(tmp_path, database_url) as house:
        house.apply(an_estate())
        house.apply(an_estate(without))
        assert house.live.systems["payments"].standing is Standing.RETIRED
        house.apply(an_estate(GONE))
        assert (house.live.systems["payments"].standing, house.live.systems["payments"].version) == (Standing.ACTIVE, 2)
        assert house.plan(an_estate(GONE)).changes == ()


def test_bound_policy_is_stale_after_systems_or_guardrails_change(tmp_path: Path, database_url: str) -> None:
    with a_registry(tmp_path, database_url) as house:
        house.apply(an_estate())
        assert house.live.policy_generation == 1
        house.apply(an_estate(WIDER))
        assert house.live.policy_generation == 1
        house.apply(an_estate({**WIDER, G: GUARDRAIL.replace('irreversible"', 'write"')}))
        assert house.live.policy_generation == 2
        house.apply(an_estate({**WIDER, G: None}))
        assert house.live.policy_generation == 3
        assert house.database.read(lambda tx: tx.registry.guardrails()) == ()


def test_a_plan_that_was_overtaken_is_refused_whole(tmp_path: Path, database_url: str) -> None:
    with a_registry(tmp_path, database_url) as house:
        house.apply(an_estate())
        slow = house.plan(an_estate(another_principal("slow")))
        house.apply(an_estate(another_principal("fast")))
        before = everything(house)
        with pytest.raises(ConflictError, match="what is registered changed since this was planned"):
            house.apply(an_estate(another_principal("slow")), slow)
        assert everything(house) == before


def test_a_plan_of_other_files_is_refused(tmp_path: Path, database_url: str) -> None:
    with a_registry(tmp_path, database_url) as house:
        planned = house.plan(an_estate())
        with pytest.raises(ConflictError, match="the files changed since this was planned"):
            house.apply(an_estate(WIDER), planned)
        assert house.live.principals == {}


class FailingEntropy(CountingEntropy):
    """Dice that break at the third principal."""

    def identifier(self, kind: str) -> str:
        made = super().identifier(kind)
        if made.endswith("3"):
            raise MalformedError(ErrorCode.BAD_VALUE, "no more dice")
        return made


class FailingSigner:
    """A signer that breaks after `left` signatures."""

    key_id, public = SIGNER.key_id, SIGNER.public

    def __init__(self, left: int) -> None:
        self.left = left

    def sign(self, data: bytes) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("the key is gone")
        return SIGNER.sign(data)


BROKEN = {"dice": lambda: {"entropy": FailingEntropy()}, "key": lambda: {"signer": FailingSigner(2)}}


@pytest.mark.parametrize("broken", BROKEN)
def test_an_apply_that_fails_midway_changes_nothing(tmp_path: Path, database_url: str, broken: str) -> None:
    files: dict[str, str | None] = {S: SYSTEM.replace("sensitive: true", "sensitive: false"), G: None, **WIDER}
    for name in ("one", "two", "three", "four"):
        files |= another_principal(name)
    with a_registry(tmp_path, database_url) as house:
        house.apply(an_estate())
        before = everything(house)
        with pytest.raises((MalformedError, RuntimeError)):
            house.apply(an_estate(files), **BROKEN[broken]())
        assert everything(house) == before
        house.apply(an_estate(files))
        assert house.plan(an_estate(files)).changes == ()


def test_an_apply_that_fails_on_its_last_row_changes_nothing(tmp_path: Path, database_url: str) -> None:
    with a_registry(tmp_path, database_url) as house:
        house.apply(an_estate())
        agent = refund_agent(house)
        stolen = replace(
            agent, id="prn_other", name="other", spiffe_id="spiffe://charter.local/production/agent/second"
        )
        house.database.write(lambda tx: tx.registry.add_principals([stolen], ManagedBy.CONSOLE, AT))
        before = everything(house)
        with pytest.raises(CharterError):
            house.apply(an_estate({**another_principal("second"), **WIDER}))
        assert everything(house) == before


def test_many_principals_are_applied_as_one(tmp_path: Path, database_url: str) -> None:
    files: dict[str, str | None] = {}
    for number in range(120):
        files |= another_principal(f"p{number}")
    with a_registry(tmp_path, database_url) as house:
        applied = house.apply(an_estate(files))
        assert len(applied.changes) == 125
        assert len(house.live.principals) == 121
        found = house.database.read(lambda tx: [p.name for p in tx.registry.principals()])
        assert found == sorted(found)
        assert len(found) == 121


def test_an_answer_names_each_thing_applied(tmp_path: Path, database_url: str) -> None:
    with a_registry(tmp_path, database_url) as house:
        applied = house.apply(an_estate()).to_json()
    assert {(each["what"], each["name"], each["version"]) for each in applied["applied"]} == {
        ("teams", "teams.yaml", 0),
        ("system", "payments", 1),
        ("guardrail", "guardrails/environments.cedar", 0),
        ("pattern", "patterns/small-refunds.yaml", 0),
        ("principal", "refund-agent", 1),
    }


# --- changes by hand ---


def test_a_charter_altered_in_the_database_is_not_used_is_drift_and_is_mended(
    tmp_path: Path, database_url: str
) -> None:
    with a_registry(tmp_path, database_url) as house:
        house.apply(an_estate())
        agent = refund_agent(house)
        body = house.rows(t.charter_version)[0][3]
        house.sql(t.charter_version.update().values(charter=body.replace("200 EUR", "9999 EUR")))
        with pytest.raises(IntegrityError, match="was altered in the database"):
            house.database.read(lambda tx: tx.registry.charter_version(agent.id, 1))
        (change,) = house.plan(an_estate()).changes
        assert change.change.value == "drift"
        assert [(d.path, d.before, d.after) for d in change.differences] == [
            ("grants.0.when.amount.max", "9999 EUR", "200 EUR")
        ]
        house.apply(an_estate())
        assert house.plan(an_estate()).changes == ()
        found = house.database.read(lambda tx: tx.registry.charter_by_digest(agent.id, agent.digest))
        assert (found.version, found.digest) == (2, agent.digest)


def test_a_charter_replaced_with_its_digest_is_drift_all_the_same(tmp_path: Path, database_url: str) -> None:
    with a_registry(tmp_path, database_url) as house:
        house.apply(an_estate())
        body = house.rows(t.charter_version)[0][3].replace("200 EUR", "9999 EUR")
        house.sql(t.charter_version.update().values(charter=body, digest=digest(body.encode())))
        house.sql(t.principal.update().values(digest=digest(body.encode())))
        (change,) = house.plan(an_estate()).changes
        assert change.change.value == "drift"
        assert change.notes[0] == "changed by hand since files were last applied; the file wins"


def test_an_expiry_pushed_back_by_hand_is_drift(tmp_path: Path, database_url: str) -> None:
    with a_registry(tmp_path, database_url) as house:
        house.apply(an_estate())
        house.sql(t.principal.update().values(expires="2099-01-01"))
        (change,) = house.plan(an_estate()).changes
        assert [(d.path, d.before, d.after) for d in change.differences] == [("expires", "2099-01-01", "2027-11-02")]
        house.apply(an_estate())
        assert refund_agent(house).expires.year == 2027


def test_a_system_altered_in_the_database_is_not_used_and_mended(tmp_path: Path, database_url: str) -> None:
    with a_registry(tmp_path, database_url) as house:
        house.apply(an_estate())
        body = house.rows(t.system)[0][4]
        house.sql(t.system.update().values(body=body.replace("irreversible", "read")))
        assert house.database.read(lambda tx: load_live(tx.connection)).systems == {}
        (change,) = house.plan(an_estate()).changes
        assert (change.change.value, change.name) == ("drift", "payments")
        house.apply(an_estate())
        assert house.plan(an_estate()).changes == ()
        assert "payments" in house.database.read(lambda tx: load_live(tx.connection)).systems


def test_a_guardrail_altered_in_the_database_stops_decisions_until_it_is_mended(
    tmp_path: Path, database_url: str
) -> None:
    with a_registry(tmp_path, database_url) as house:
        house.apply(an_estate())
        house.sql(t.estate_part.update().where(t.estate_part.c.path == G).values(body="// nothing"))
        with pytest.raises(IntegrityError, match="was altered in the database"):
            house.database.read(lambda tx: tx.registry.guardrails())
        (change,) = house.plan(an_estate()).changes
        assert (change.change.value, change.name) == ("drift", G)
        house.apply(an_estate())
        (part,) = house.database.read(lambda tx: tx.registry.guardrails())
        assert part.text == GUARDRAIL


def test_roles_altered_in_the_database_give_nobody_a_role(tmp_path: Path, database_url: str) -> None:
    with a_registry(tmp_path, database_url) as house:
        house.apply(an_estate())
        assert house.database.read(lambda tx: tx.registry.roles())["payments-lead"] == ("lena@example.com",)
        body = next(row[3] for row in house.rows(t.estate_part) if row[0] == "teams.yaml")
        altered = body.replace("lena@example.com", "eve@example.com")
        house.sql(t.estate_part.update().where(t.estate_part.c.path == "teams.yaml").values(body=altered))
        with pytest.raises(IntegrityError, match="was altered in the database"):
            house.database.read(lambda tx: tx.registry.roles())


def test_a_guardrail_deleted_in_the_database_comes_back(tmp_path: Path, database_url: str) -> None:
    with a_registry(tmp_path, database_url) as house:
        house.apply(an_estate())
        house.sql(t.estate_part.delete().where(t.estate_part.c.path == G))
        (change,) = house.plan(an_estate()).changes
        assert (change.change.value, change.name) == ("create", G)


def test_the_store_reads_the_same_state_with_and_without_bodies(tmp_path: Path, database_url: str) -> None:
    with a_registry(tmp_path, database_url) as house:
        for estate in (an_estate(), an_estate(another_principal("b")), an_estate({S: SYSTEM + "# x\n", **GONE})):
            house.apply(estate)
            light, whole = house.database.read(lambda tx: (tx.registry.state_digest(), tx.registry.registered().digest))
            assert light == whole


def test_charters_equal_to_the_files_are_not_held_in_memory(tmp_path: Path, database_url: str) -> None:
    estate = an_estate(another_principal("second"))
    with a_registry(tmp_path, database_url) as house:
        house.apply(estate)
        changed = an_estate({**another_principal("second"), **WIDER})
        found = house.database.read(lambda tx: tx.registry.registered(changed)).principals
    assert found["second"].charter is None
    assert found["refund-agent"].charter == estate.charters["refund-agent"].value.to_json()
    assert plan(changed, house_state(found, estate)).counts["change"] >= 1


def house_state(principals: Any, estate: Any) -> Any:
    from charter.registry.plan import parts_of
    from charter.registry.record import RegisteredEstate

    return RegisteredEstate(principals, {}, parts_of(estate))


def test_who_manages_a_principal_can_be_asked(tmp_path: Path, database_url: str) -> None:
    with a_registry(tmp_path, database_url) as house:
        house.apply(an_estate())
        agent = refund_agent(house)

        def by_hand(tx: Any) -> None:
            store: RegistryStore = tx.registry
            store.update_principals([replace(agent, digest="sha256:" + "0" * 64)], ManagedBy.CONSOLE)

        assert house.database.read(lambda tx: tx.registry.management_of(agent.id)) == (ManagedBy.GIT, False)
        house.database.write(by_hand)
        assert house.database.read(lambda tx: tx.registry.management_of(agent.id)) == (ManagedBy.CONSOLE, True)
