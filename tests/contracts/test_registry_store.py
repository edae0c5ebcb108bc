"""The registry's rows on SQLite and PostgreSQL: what is kept comes back as it was."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from charter.adapters import tables as t
from charter.adapters.gateway_store import SqlApprovals
from charter.adapters.registry_store import BATCH, load_live
from charter.core.clock import rfc3339
from charter.core.errors import AbsentError, ConflictError
from charter.registry.approval import Approval, ApprovalState
from charter.registry.charter import CredentialType, Environment, Kind
from charter.registry.principal import Principal
from charter.registry.record import Finding, FindingState, ManagedBy
from charter.registry.standing import Standing
from charter.registry.terms import Bearing, Terms
from estates import a_registry, an_estate
from fakes import FixedClock

AT = FixedClock().now()


def a_principal(number: int = 1, **changed: Any) -> Principal:
    given: dict[str, Any] = {
        "id": f"prn_{number:05}",
        "name": f"p{number:05}",
        "spiffe_id": f"spiffe://charter.local/sandbox/agent/p{number:05}",
        "kind": Kind.AGENT,
        "environment": Environment.SANDBOX,
        "owner_person": "maria@example.com",
        "owner_team": "payments-ops",
        "standing": Standing.ACTIVE,
        "epoch": 1,
        "version": 1,
        "digest": "sha256:" + "0" * 64,
        "expires": dt.date(2027, 11, 2),
        "terms": Terms(CredentialType.MUTUAL_TLS, Bearing.BOUND, 120, "san_dns:p.example.com"),
    }
    return Principal(**given | changed)


def a_finding(**changed: Any) -> Finding:
    given: dict[str, Any] = {
        "id": "fnd_1",
        "kind": "shared-credential",
        "fingerprint": "sha256:" + "a" * 64,
        "state": FindingState.OPEN,
        "title": "two principals hold one key",
        "body": {"thumbprint": "x", "principals": ["a", "b"]},
        "principal_id": None,
        "opened_at": AT,
        "changed_at": AT,
    }
    return Finding(**given | changed)


def test_more_principals_than_a_batch_come_back_as_they_were(tmp_path: Path, database_url: str) -> None:
    many = [a_principal(number, standing=list(Standing)[number % 5]) for number in range(BATCH + 5)]
    with a_registry(tmp_path, database_url) as house:
        house.database.write(lambda tx: tx.registry.add_principals(many, ManagedBy.GIT, AT))
        live = house.database.read(lambda tx: load_live(tx.connection))
        assert list(live.principals.values()) == many
        assert live.principal_named("p00007") == many[7]
        found = house.database.read(lambda tx: tx.registry.principals_named(["p00001", "p02001", "nobody"]))
        assert found == {"p00001": many[1], "p02001": many[2001]}


def test_many_principals_share_what_repeats(tmp_path: Path, database_url: str) -> None:
    with a_registry(tmp_path, database_url) as house:
        house.database.write(lambda tx: tx.registry.add_principals([a_principal(1), a_principal(2)], ManagedBy.GIT, AT))
        one, two = house.database.read(lambda tx: list(tx.registry.principals()))
    assert one.owner_team is two.owner_team
    assert one.owner_person is two.owner_person
    assert one.kind is two.kind


def test_a_changed_standing_leaves_who_manages_a_principal(tmp_path: Path, database_url: str) -> None:
    suspended = a_principal(standing=Standing.SUSPENDED, epoch=2)
    with a_registry(tmp_path, database_url) as house:
        house.database.write(lambda tx: tx.registry.add_principals([a_principal()], ManagedBy.GIT, AT))
        house.database.write(lambda tx: tx.registry.update_principals([suspended]))
        assert house.database.read(lambda tx: tx.registry.principal("prn_00001")) == suspended
        assert house.database.read(lambda tx: tx.registry.management_of("prn_00001")) == (ManagedBy.GIT, False)


def test_what_is_not_there_is_absent(tmp_path: Path) -> None:
    with a_registry(tmp_path) as house:
        for asked in (
            lambda tx: tx.registry.principal("prn_x"),
            lambda tx: tx.registry.principal_named("x"),
            lambda tx: tx.registry.management_of("prn_x"),
            lambda tx: tx.registry.charter_version("prn_x", 1),
            lambda tx: tx.registry.charter_by_digest("prn_x", "sha256:0"),
            lambda tx: tx.registry.findings.get("fnd_x"),
        ):
            with pytest.raises(AbsentError):
                house.database.read(asked)


def test_before_the_first_apply_there_are_no_teams_and_no_guardrails(tmp_path: Path) -> None:
    with a_registry(tmp_path) as house:
        assert house.database.read(lambda tx: (tx.registry.roles(), tx.registry.guardrails())) == ({}, ())
        assert house.database.read(lambda tx: tx.registry.feed_head()) == 0


def test_open_approvals_and_keys_are_in_memory_after_a_restart(tmp_path: Path, database_url: str) -> None:
    expires = AT + dt.timedelta(hours=1)

    def approval(name: str, state: ApprovalState) -> Approval:
        call = {"tool": "t"}
        return Approval(name, "prn_00001", f"sha256:{name}", call, ("lead",), {}, state, AT, expires, "vrd_1")

    waiting = approval("apr_1", ApprovalState.WAITING)

    def keep(tx: Any) -> None:
        tx.registry.add_principals([a_principal()], ManagedBy.GIT, AT)
        for each in (waiting, approval("apr_2", ApprovalState.SPENT)):
            SqlApprovals(tx.connection).add(each)
        key = {"id": "crd_1", "principal_id": "prn_00001", "thumbprint": "tp", "jwk": '{"kty":"OKP"}'}
        tx.connection.execute(t.client_key.insert(), key | {"standing": "active", "registered_at": rfc3339(AT)})

    with a_registry(tmp_path, database_url) as house:
        house.database.write(keep)
        live = house.database.read(lambda tx: load_live(tx.connection))
    assert live.approvals == {("prn_00001", "sha256:apr_1"): waiting}
    assert live.keys["tp"].principal_id == "prn_00001"
    assert live.keys["tp"].registered_at == AT


def test_the_feed_is_read_in_order_from_any_place(tmp_path: Path, database_url: str) -> None:
    with a_registry(tmp_path, database_url) as house:
        for number in range(3):
            house.database.write(lambda tx, n=number: tx.changed("system", f"s{n}", actor="a", reason="r"))
        head = house.database.read(lambda tx: tx.registry.feed_head())
        found = house.database.read(lambda tx: tx.registry.changes_after(head - 2, limit=1))
    assert [(row.sequence, row.subject, row.at) for row in found] == [(head - 1, "s1", AT)]


# --- findings ---


def test_a_finding_seen_twice_is_one(tmp_path: Path, database_url: str) -> None:
    with a_registry(tmp_path, database_url) as house:
        first = house.database.write(lambda tx: tx.registry.findings.open(a_finding()))
        again = house.database.write(lambda tx: tx.registry.findings.open(a_finding(id="fnd_2", title="again")))
        found = house.database.read(lambda tx: tx.registry.findings.in_states())
    assert first == (a_finding(), True)
    assert again == (a_finding(), False)
    assert found == [a_finding()]


def test_an_accepted_finding_stays_accepted_when_it_is_seen_again(tmp_path: Path, database_url: str) -> None:
    accepted = a_finding().moved(FindingState.ACCEPTED, AT + dt.timedelta(days=1))
    with a_registry(tmp_path, database_url) as house:
        house.database.write(lambda tx: tx.registry.findings.open(a_finding()))
        house.database.write(lambda tx: tx.registry.findings.update(accepted))
        kept, is_new = house.database.write(lambda tx: tx.registry.findings.open(a_finding(id="fnd_2")))
        assert (kept, is_new) == (accepted, False)
        assert house.database.read(lambda tx: tx.registry.findings.in_states([FindingState.OPEN])) == []
        assert house.database.read(lambda tx: tx.registry.findings.get("fnd_1")) == accepted


def test_findings_are_listed_newest_first_and_bounded(tmp_path: Path) -> None:
    def found(number: int) -> Finding:
        at = AT + dt.timedelta(minutes=number)
        return a_finding(id=f"fnd_{number}", fingerprint=f"sha256:{number}", opened_at=at)

    with a_registry(tmp_path) as house:
        for number in range(4):
            house.database.write(lambda tx, n=number: tx.registry.findings.open(found(n)))
        listed = house.database.read(lambda tx: tx.registry.findings.in_states(limit=2))
    assert [finding.id for finding in listed] == ["fnd_3", "fnd_2"]


def test_a_settled_finding_is_settled_otherwise_only_after_it_was_opened_again() -> None:
    adopted = a_finding().moved(FindingState.ADOPTED, AT, "prn_1")
    assert (adopted.state, adopted.principal_id) == (FindingState.ADOPTED, "prn_1")
    with pytest.raises(ConflictError):
        adopted.moved(FindingState.RESOLVED, AT)
    with pytest.raises(ConflictError):
        adopted.moved(FindingState.ADOPTED, AT)
    opened = adopted.moved(FindingState.OPEN, AT)
    assert opened.moved(FindingState.RESOLVED, AT).principal_id == "prn_1"


def test_a_version_of_another_digest_is_not_mistaken_for_one_asked_for(tmp_path: Path) -> None:
    with a_registry(tmp_path) as house:
        house.apply(an_estate())
        agent = house.live.principal_named("refund-agent")
        assert agent is not None
        with pytest.raises(AbsentError, match="has no version with the digest"):
            house.database.read(lambda tx: tx.registry.charter_by_digest(agent.id, replace(agent, digest="x").digest))
