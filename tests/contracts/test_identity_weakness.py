"""Weak credentials are standing findings: opened, shown with their age, resolved and opened again, all as evidence."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command

from charter.adapters import migrations
from charter.adapters.engine import open_engines, sqlite_url
from charter.bootstrap import authority, discovery, inventory
from charter.identity.jose import thumbprint_of
from charter.registry.standing import Move
from charter.registry.terms import Bearing
from houses import Stage, a_house, estate_files
from identity_stage import ClientKeyPair

LEGACY = {"type": "legacy-secret"}
MODERN = {"type": "private-key-jwt"}


def weak(stage: Stage) -> list[dict[str, Any]]:
    return [f for f in discovery.listing(stage.house) if f["kind"] in ("legacy-secret", "bearer-by-custom")]


def test_a_legacy_secret_is_a_finding_that_grows_old_and_is_resolved_by_the_next_charter(tmp_path: Path) -> None:
    with a_house(tmp_path, files=estate_files(credential=LEGACY)) as stage:
        (opened,) = weak(stage)
        stage.clock.advance(days=12)
        (listed,) = (p for p in inventory.listing(stage.house, {}) if p["name"] == "refund-agent")
        shown = inventory.dossier(stage.house, "refund-agent")
        stage.apply(estate_files(credential=MODERN))
        (resolved,) = weak(stage)
        assert inventory.dossier(stage.house, "refund-agent")["weaknesses"] == []
        stage.clock.advance(days=3)
        stage.apply(estate_files(credential=LEGACY))
        (back,) = weak(stage)
        assert inventory.dossier(stage.house, "refund-agent")["weaknesses"][0]["days"] == 0
        kinds = [e["kind"] for e in stage.entries("finding.opened") + stage.entries("finding.changed")]
    assert (opened["state"], opened["title"]) == ("open", "refund-agent proves itself by a shared secret")
    assert [w["days"] for w in listed["weaknesses"]] == [w["days"] for w in shown["weaknesses"]] == [12]
    assert (resolved["state"], back["state"]) == ("resolved", "open")
    assert opened["id"] == resolved["id"] == back["id"]
    assert kinds == ["finding.opened", "finding.changed", "finding.changed"]


def test_a_killed_principals_weakness_is_over(tmp_path: Path) -> None:
    with a_house(tmp_path, files=estate_files(credential=LEGACY)) as stage:
        asyncio.run(authority.move(stage.house, "refund-agent", Move.KILL, actor="a@example.com", reason="a test"))
        assert [f["state"] for f in weak(stage)] == ["resolved"]


def test_applying_again_opens_nothing_twice(tmp_path: Path) -> None:
    with a_house(tmp_path, files=estate_files(credential=LEGACY)) as stage:
        stage.apply(estate_files(credential=LEGACY))
        stage.apply(estate_files(credential=LEGACY, purpose="Something else"))
        assert len(weak(stage)) == 1
        assert len(stage.entries("finding.opened")) == 1


def test_what_was_registered_before_the_choice_keeps_bearer_tokens_until_its_next_version(tmp_path: Path) -> None:
    """The first tables, with two principals of which one has a key, brought to the newest version."""
    folder = tmp_path / ".charter"
    folder.mkdir(mode=0o700)
    pair = ClientKeyPair.fresh("prn_0")
    engine, _ = open_engines(sqlite_url(folder / "charter.db"))
    with engine.connect() as connection, connection.begin():
        config = migrations._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for number, name in enumerate(("refund-agent", "charge-reader")):
            _old_principal(connection, f"prn_{number}", name)
        connection.execute(
            sa.text("INSERT INTO client_key VALUES ('crd_0', 'prn_0', :thumbprint, :jwk, 'active', :at)"),
            {"thumbprint": thumbprint_of(pair.jwk), "jwk": "{}", "at": AT},
        )
    engine.dispose()
    with a_house(tmp_path, apply=False) as stage:
        terms = {p.name: p.terms.bearing for p in stage.house.live.principals.values()}
        (found,) = weak(stage)
        stage.apply(estate_files())
        after = {p.name: p.terms.bearing for p in stage.house.live.principals.values()}
        states = [f["state"] for f in weak(stage)]
    assert terms == {"refund-agent": Bearing.GRANDFATHERED, "charge-reader": Bearing.BOUND}
    assert (found["kind"], found["state"]) == ("bearer-by-custom", "open")
    assert set(after.values()) == {Bearing.BOUND}
    assert states == ["resolved"]


AT = "2026-11-01T00:00:00.000000Z"


def _old_principal(connection: sa.Connection, principal_id: str, name: str) -> None:
    row = {"id": principal_id, "name": name, "at": AT, "spiffe": f"spiffe://charter.local/production/agent/{name}"}
    connection.execute(
        sa.text(
            "INSERT INTO principal VALUES (:id, :name, :spiffe, 'agent', 'production', 'maria@example.com',"
            " 'payments-ops', 'active', 1, 1, 'sha256:0', '2027-11-02', 'git', 'sha256:0', :at)"
        ),
        row,
    )
    charter = '{"credential":{"type":"private-key-jwt"},"principal":"x"}'
    connection.execute(
        sa.text("INSERT INTO charter_version VALUES (:id, 1, 'sha256:0', :charter, '{}', '{}', :at, 'x', 'x')"),
        {"id": principal_id, "charter": charter, "at": AT},
    )
