"""What people have replaced: secrets, directories' tokens, nodes' keys, Charter's own; and the list of all ages."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from charter.bootstrap import authority, credential_ages, discovery, inventory, people, rotation, tending
from charter.bootstrap.rotation import TOKEN_OVERLAP, Wish
from charter.core.canonical import canonical
from charter.core.errors import CharterError
from charter.identity.jose import thumbprint_of
from charter.identity.node import KEY_LIFE
from charter.identity.node_key import KEY_OVERLAP, PROOF_TYPE
from charter.identity.period import USUAL
from charter.registry.rotation import SECRET_OVERLAP
from charter.registry.standing import Standing
from charter.server.oauth import OAuthApp
from charter.server.scim import ScimApp
from houses import Stage, a_house, estate_files
from identity_stage import PAYMENTS, ClientKeyPair
from nodes import PROCESS, NodeHand, a_joined_node
from oauth_door import Door, Grants
from rotation_stage import bare
from workload_stage import spiffe_files

AGENT = "refund-agent"
WISH, AT_ONCE = Wish("maria@example.com", "due"), Wish("maria@example.com", "stolen", at_once=True)
LEGACY = {"type": "legacy-secret", "bearer": "allowed", "rotate": "30d", "grace": "7d"}


def listed(stage: Stage, kind: str) -> list[dict[str, Any]]:
    return [each for each in credential_ages.ages(stage.house)["credentials"] if each["kind"] == kind]


# --- secrets ---


def with_secret(stage: Stage, secret: str) -> int:
    """Return the status of a token request with a secret."""
    door = Door(OAuthApp.of(stage.house), Grants())
    client = stage.house.principal(AGENT).id
    basic = base64.b64encode(f"{client}:{secret}".encode()).decode()
    body = f"grant_type=client_credentials&resource={PAYMENTS}".encode()
    form = "application/x-www-form-urlencoded"
    return door.request("POST", "/oauth/token", body, content_type=form, authorization=f"Basic {basic}").status


@pytest.fixture
def legacy(tmp_path: Path) -> Iterator[Stage]:
    with a_house(tmp_path, files=estate_files(credential=LEGACY)) as stage:
        yield stage


def rotate_secret(stage: Stage, wish: Wish = WISH) -> dict[str, Any]:
    return asyncio.run(rotation.rotate_secret(stage.house, AGENT, wish))


def test_a_secret_overlaps_with_the_one_before_and_ends_it(legacy: Stage) -> None:
    first = rotate_secret(legacy)["secret"]
    told = rotate_secret(legacy)
    assert [with_secret(legacy, each) for each in (first, told["secret"])] == [200, 200]
    with pytest.raises(CharterError, match="has 2 secrets in use"):
        rotate_secret(legacy)
    legacy.clock.advance(seconds=SECRET_OVERLAP.total_seconds())
    assert [with_secret(legacy, each) for each in (first, told["secret"])] == [400, 200]
    legacy.house.database.write(lambda tx: tending._tend_once(legacy.house, tx))
    assert with_secret(legacy, first) == 401
    assert [with_secret(legacy, each) for each in (rotate_secret(legacy)["secret"], told["secret"])] == [200, 200]


def test_a_stolen_secret_goes_at_once_with_its_tokens(legacy: Stage) -> None:
    first, second = rotate_secret(legacy)["secret"], rotate_secret(legacy)["secret"]
    third = rotate_secret(legacy, AT_ONCE)
    assert third["ends"] is not None
    assert [with_secret(legacy, each) for each in (first, second, third["secret"])] == [401, 401, 200]
    standings = [key.standing for key in legacy.house.live.keys_of(legacy.house.principal(AGENT).id)]
    assert standings == [Standing.REVOKED, Standing.REVOKED, Standing.ACTIVE]


def test_a_secret_that_is_due_is_a_finding_then_refused_and_mended_by_another(legacy: Stage) -> None:
    def overdue() -> list[str]:
        asyncio.run(tending.notice_overdue(legacy.house))
        return [f["state"] for f in discovery.listing(legacy.house) if f["kind"] == "overdue-credential"]

    secret = rotate_secret(legacy)["secret"]
    assert overdue() == []
    legacy.clock.advance(days=30)
    assert (overdue(), with_secret(legacy, secret)) == (["open"], 200)
    (told,) = listed(legacy, "secret")
    assert (told["overdue"], told["age_days"], told["by"]) == (True, 30, "a person")
    shown = inventory.dossier(legacy.house, AGENT)
    assert "overdue-credential" in [each["kind"] for each in shown["weaknesses"]]
    legacy.clock.advance(days=7)
    assert with_secret(legacy, secret) == 400
    fresh = rotate_secret(legacy)["secret"]
    assert (overdue(), with_secret(legacy, fresh)) == (["resolved"], 200)


# --- keys, by people ---


def test_a_person_has_a_client_asked_and_the_finding_is_there_until_it_is_done(tmp_path: Path) -> None:
    with a_house(tmp_path, files=estate_files(bearing=True)) as stage:
        pair = ClientKeyPair.fresh(stage.house.principal(AGENT).id)
        asyncio.run(authority.register_key(stage.house, AGENT, pair.jwk, actor="maria@example.com", reason="first"))
        told = asyncio.run(rotation.rotate_key(stage.house, AGENT, None, None, WISH))
        assert (told["state"], told["after"]) == ("asked", None)
        door = Door(OAuthApp.of(stage.house), Grants())
        answer = door.token(pair.assertion(stage.clock.now()), PAYMENTS).body
        assert answer["key_rotation_at"] <= stage.clock.now().timestamp()
        assert "overdue-credential" in [f["kind"] for f in discovery.listing(stage.house) if f["state"] == "open"]
        new = ClientKeyPair.fresh(pair.client_id)
        done = asyncio.run(rotation.rotate_key(stage.house, AGENT, None, bare(new), WISH))
        assert done["state"] == "replaced"
        assert "key_rotation_at" not in door.token(new.assertion(stage.clock.now()), PAYMENTS).body
        assert [f["state"] for f in discovery.listing(stage.house) if f["kind"] == "overdue-credential"] == ["resolved"]
        with pytest.raises(CharterError, match="was replaced by another already"):
            asyncio.run(rotation.rotate_key(stage.house, AGENT, done["before"], bare(pair_of(pair)), WISH))


def pair_of(pair: ClientKeyPair) -> ClientKeyPair:
    return ClientKeyPair.fresh(pair.client_id)


# --- directories ---


class Provisioner:
    """A directory, by its token."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.token = asyncio.run(people.add_provisioner(stage.house, "okta", actor="sam@example.com"))["token"]

    def status(self, token: str) -> int:
        async def ask() -> int:
            transport = httpx.ASGITransport(app=ScimApp.of(self.stage.house))  # type: ignore[arg-type]
            base = self.stage.house.settings.issuer
            async with httpx.AsyncClient(transport=transport, base_url=base) as client:
                answer = await client.get("/scim/v2/Users", headers={"authorization": f"Bearer {token}"})
                return answer.status_code

        return asyncio.run(ask())

    def rotate(self, wish: Wish) -> str:
        return str(asyncio.run(rotation.rotate_provisioner(self.stage.house, "okta", wish))["token"])


def test_a_directorys_token_overlaps_with_the_one_before_or_goes_at_once(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        directory = Provisioner(stage)
        first, second = directory.token, directory.rotate(WISH)
        assert [directory.status(each) for each in (first, second)] == [200, 200]
        stage.clock.advance(seconds=TOKEN_OVERLAP.total_seconds())
        assert [directory.status(each) for each in (first, second)] == [401, 200]
        third = directory.rotate(AT_ONCE)
        assert [directory.status(each) for each in (first, second, third)] == [401, 401, 200]
        (told,) = listed(stage, "provisioner")
        assert (told["of"], told["age_days"]) == ("okta", 0)
    with a_house(tmp_path, apply=False) as again:  # as kept, so found at the next start
        directory.stage = again
        assert [directory.status(each) for each in (second, third)] == [401, 200]


# --- nodes ---


class Machine:
    """A node that replaces its key."""

    def __init__(self, hand: NodeHand) -> None:
        self.hand, self.old, self.new = hand, hand.pair, ClientKeyPair.fresh(hand.name)

    def rotate(self, by: ClientKeyPair | None = None, **changed: Any) -> Any:
        claims = {"node": self.hand.name, "old": thumbprint_of(bare(by or self.old))} | changed
        proof = self.new.signed(canonical(claims), {"typ": PROOF_TYPE, "jwk": bare(self.new)})
        return self.ask(by or self.old, "rotate", {"proof": proof})

    def ask(self, pair: ClientKeyPair, asks: str, said: Any) -> Any:
        self.hand.pair = pair
        return self.hand.ask(asks, said)

    def is_heard(self, pair: ClientKeyPair) -> bool:
        return bool(self.ask(pair, "who", {"process": PROCESS}).status_code == 200)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with a_house(tmp_path, files=spiffe_files(refund_agent={"node": "web-1", "uid": 1000})) as stage:
        yield Machine(a_joined_node(stage, "web-1"))


def test_a_node_replaces_its_key_and_both_count_for_an_hour(machine: Machine) -> None:
    stage = machine.hand.stage
    assert machine.rotate().status_code == 200
    assert machine.rotate().status_code == 200  # an answer that was lost, asked for again
    assert machine.is_heard(machine.old)
    assert machine.is_heard(machine.new)
    stage.clock.advance(seconds=KEY_OVERLAP.total_seconds())
    assert not machine.is_heard(machine.old)
    assert machine.is_heard(machine.new)
    assert len(stage.entries("node.rotated")) == 1
    (told,) = listed(stage, "node")
    assert told["id"] == machine.new.thumbprint


def test_a_node_is_told_when_its_key_is_due_and_when_a_person_wants_another(machine: Machine) -> None:
    stage = machine.hand.stage
    due = machine.ask(machine.old, "watch", {"version": None}).json()["key_rotation_at"]
    assert due == (stage.clock.now() + KEY_LIFE).timestamp()
    asyncio.run(rotation.rotate_node(stage.house, "web-1", WISH))
    asked = machine.ask(machine.old, "watch", {"version": None}).json()["key_rotation_at"]
    assert asked == stage.clock.now().timestamp()


def test_a_node_that_is_replaced_at_once_is_out(machine: Machine) -> None:
    told = asyncio.run(rotation.rotate_node(machine.hand.stage.house, "web-1", AT_ONCE))
    assert told["state"] == "put out"
    assert not machine.is_heard(machine.old)
    assert machine.rotate().status_code == 401


@pytest.mark.parametrize("changed", [{"node": "web-2"}, {"old": "x"}, {"more": 1}])
def test_a_proof_for_another_node_or_key_replaces_nothing(machine: Machine, changed: dict[str, Any]) -> None:
    answer = machine.rotate(**changed)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_new_key")
    assert machine.is_heard(machine.old)


def test_a_nodes_replaced_key_replaces_nothing(machine: Machine) -> None:
    assert machine.rotate().status_code == 200
    thief, machine.new = machine.old, ClientKeyPair.fresh("web-1")
    answer = machine.rotate(by=thief)
    assert (answer.status_code, "replaced already" in answer.json()["detail"]) == (401, True)


@pytest.mark.parametrize("proof", [None, 7, "", "a.b.c", ["x"]])
def test_what_is_no_proof_replaces_nothing(machine: Machine, proof: object) -> None:
    assert machine.ask(machine.old, "rotate", {"proof": proof}).status_code == 400
    assert machine.is_heard(machine.old)


# --- Charter's own ---


OFTEN = "token=2d,jwt-svid=2d,evidence=3d,charter=3d,data=4d,x509-root=5d,x509-intermediate=1d"


def test_charters_own_keys_are_replaced_by_themselves_each_in_its_time(tmp_path: Path) -> None:
    with a_house(tmp_path, rotate=OFTEN) as stage:
        house, seen = stage.house, dict[str, set[str]]()
        for _ in range(21):
            for _ in range(3):
                house.database.write(lambda tx: tending._tend_once(house, tx))
            house.keys.tend(house.database)
            for each in credential_ages.ages(house)["credentials"]:
                if each["of"] == "charter":
                    seen.setdefault(each["kind"], set()).add(each["id"])
                    assert not each["overdue"], each
            stage.clock.advance(hours=12)
        assert asyncio.run(evidence_of(stage))["ok"]
    counts = {kind: len(ids) for kind, ids in seen.items()}
    assert counts == {
        "token": 6,
        "jwt-svid": 6,
        "evidence": 4,
        "charter": 4,
        "data": 3,
        "x509-root": 3,
        "x509-intermediate": 11,
        "master": 1,
        "witness": 1,
    }
    assert counts.keys() >= USUAL.keys()


async def evidence_of(stage: Stage) -> dict[str, Any]:
    from charter.bootstrap import evidence

    return await evidence.verify(stage.house)
