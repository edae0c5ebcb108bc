"""Whoever left can do nothing any more, however the request reaches the house."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from builders import PAYMENTS_SYSTEM
from charter.bootstrap import authority, people
from charter.core.canonical import canonical
from charter.core.errors import AbsentError, ConflictError, DeniedError
from charter.core.values import Secret
from charter.gateway.pins import UpstreamError
from charter.gateway.pipeline import Refused
from charter.lifecycle import directory as deeds
from charter.registry.directory import Person
from houses import House, a_house, estate_files

AT = "2026-11-24T09:30:00.000000Z"


def a_person(email: str, **changed: object) -> Person:
    given: dict[str, object] = {
        "id": f"psn_{email.partition('@')[0]}",
        "user_name": email,
        "email": email,
        "display_name": email,
        "external_id": None,
        "is_active": True,
        "body": {"userName": email},
        "created_at": AT,
        "changed_at": AT,
    }
    return Person(**given | changed)  # type: ignore[arg-type] - one thing changed by name


def leave(stage: House, email: str) -> None:
    person, hand = a_person(email), stage.house.hand("okta")
    stage.house.database.write(lambda tx: deeds.add_person(tx, person, hand))
    stage.house.database.write(lambda tx: deeds.delete_person(tx, person.id, hand))


def waiting(stage: House) -> str:
    call = stage.make("create_refund", {"charge_id": "1", "amount": 150, "currency": "EUR"})
    found, _ = stage.submit(stage.bearer(), call)
    assert isinstance(found, Refused)
    assert found.approval_id is not None
    return found.approval_id


def test_someone_who_left_approves_nothing(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        approval = waiting(stage)
        leave(stage, "LENA@example.com")
        with pytest.raises(DeniedError, match="left, as the directory has it"):
            asyncio.run(
                authority.answer(stage.house, approval, yes=True, person="lena@example.com", reason="still here")
            )


def test_nobody_is_acted_for_at_an_upstream_who_left(tmp_path: Path) -> None:
    credential = {
        "type": "oauth-person",
        "token_url": "https://login.example.com/token",
        "authorize_url": "https://login.example.com/auth",
        "client_id": "charter",
    }
    upstream = {"transport": "http", "url": "https://payments.example.com/mcp", "credential": credential}
    files = estate_files() | {"systems/payments.yaml": canonical(PAYMENTS_SYSTEM | {"upstream": upstream}).decode()}
    with a_house(tmp_path, files=files) as stage:
        house, record = stage.house, stage.house.live.systems["payments"]
        connections = house.broker.connections
        for person in ("lena@example.com", "maria@example.com"):
            house.database.write(
                lambda tx, person=person: connections.connect(  # type: ignore[misc]
                    tx, record, person, Secret(b"refresh"), "", actor=person
                )
            )
        leave(stage, "LENA@example.com")
        assert [each.person for each in connections.all()] == ["maria@example.com"]
        with pytest.raises(UpstreamError, match="did not let Charter act for them"):
            asyncio.run(house.broker.proof(record, "lena@example.com").headers())
        assert [each.person for each in house.database.read(lambda tx: tx.connections.all())] == ["maria@example.com"]
        ended = stage.entries("person.connected")[-1]
        assert (ended["actor"], ended["body"]["what"], ended["body"]["reason"]) == (
            "okta",
            "ended",
            "LENA@example.com left",
        )


def test_an_address_is_one_active_persons(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        hand = stage.house.hand("okta")
        stage.house.database.write(lambda tx: deeds.add_person(tx, a_person("maria@example.com"), hand))
        twin = a_person("maria@example.com", id="psn_twin", user_name="other")
        with pytest.raises(ConflictError, match="another active person"):
            stage.house.database.write(lambda tx: deeds.add_person(tx, twin, hand))


def test_nobody_can_be_changed_who_is_not_there(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        hand = stage.house.hand("okta")
        with pytest.raises(AbsentError):
            stage.house.database.write(lambda tx: deeds.change_person(tx, a_person("maria@example.com"), hand))
        with pytest.raises(AbsentError):
            asyncio.run(people.revoke_provisioner(stage.house, "okta", actor="sam@example.com"))
