"""An attested workload's credential is that workload's: on another machine, in another process, for another principal.

Nodes tell of processes and ask for SVIDs; with those the processes ask for tokens, from the addresses they are at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from charter.bootstrap import discovery
from charter.core.canonical import canonical
from charter.identity.trail import HANDOVER_SECONDS
from charter.registry.standing import Standing
from charter.server.oauth import OAuthApp
from houses import Stage, a_house, estate_files
from identity_stage import ISSUER, PAYMENTS, ClientKeyPair
from nodes import PROCESS, NodeHand, a_joined_node
from oauth_door import Answer, Door, Grants

AGENT, READER = "refund-agent", "charge-reader"
SPIFFE = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"
WEB_1, WEB_2 = "10.8.0.4", "10.9.0.4"


@dataclass
class World:
    """A house, two machines with a process each, and what those do."""

    stage: Stage
    door: Door
    one: NodeHand
    two: NodeHand

    def findings(self) -> list[dict[str, Any]]:
        return discovery.listing(self.stage.house)

    def standing(self, name: str = AGENT) -> Standing:
        return self.stage.house.principal(name).standing

    def svid(self, hand: NodeHand, **process: Any) -> str:
        """Return a JWT-SVID for a process of a node, made out to us."""
        answer = hand.ask("jwt", {"process": PROCESS | process, "audiences": [ISSUER]})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

    def token(self, svid: str, source: str, *, dpop: ClientKeyPair | None = None, name: str = AGENT) -> Answer:
        """Ask for a token with an SVID from an address, bound to the key of `dpop` if one is given."""
        self.door.source = source
        form = {"grant_type": "client_credentials", "resource": PAYMENTS, "client_assertion_type": SPIFFE}
        form |= {"client_assertion": svid, "client_id": self.stage.house.principal(name).id}
        return self.door.post("/oauth/token", dpop=self.proof(dpop) if dpop else None, **form)

    def proof(self, pair: ClientKeyPair) -> str:
        now, nonces = self.stage.clock.now(), self.stage.house.proofs.nonces
        claims: dict[str, Any] = {"htm": "POST", "htu": f"{ISSUER}/oauth/token", "iat": int(now.timestamp())}
        claims |= {"jti": f"p-{next(pair.serial)}", "nonce": nonces.fresh(now) if nonces else ""}
        return pair.signed(canonical(claims), {"typ": "dpop+jwt", "jwk": pair.jwk})


@contextmanager
def a_world(folder: Path, *, central: dict[str, Any] | None = None, **credential: Any) -> Iterator[World]:
    workloads = [{"node": "web-1", "uid": 1000}, {"node": "web-2", "uid": 1000}]
    spiffe = {"type": "spiffe", "workloads": workloads, "bearer": "allowed"}
    files = estate_files(bearing=True, credential=spiffe | credential)
    other = {"type": "spiffe", "workloads": [{"node": "web-2", "uid": 2000}], "bearer": "allowed"}
    files["principals/charge-reader.yaml"] = files["principals/charge-reader.yaml"].replace(
        '"credential":{"bearer":"allowed","type":"private-key-jwt"}', f'"credential":{canonical(other).decode()}'
    )
    if central is not None:
        files["sharing.yaml"] = canonical({"charter": "v1"} | central).decode()
    with a_house(folder, files=files) as stage:
        one, two = a_joined_node(stage, "web-1"), a_joined_node(stage, "web-2")
        one.source, two.source = WEB_1, WEB_2
        yield World(stage, Door(OAuthApp.of(stage.house), Grants()), one, two)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as found:
        yield found


def test_one_key_behind_two_attested_workloads_restrains(world: World) -> None:
    pair = ClientKeyPair.fresh("x")
    for hand, source in ((world.one, WEB_1), (world.two, WEB_2)):
        assert world.token(world.svid(hand), source, dpop=pair).status == 200
    (finding,) = world.findings()
    assert (finding["kind"], finding["body"]["certainty"]) == ("shared-workloads", "proved")
    assert "node web-1, uid 1000" in finding["title"]
    assert "node web-2, uid 1000" in finding["title"]
    assert world.standing() is Standing.RESTRAINED


def test_two_workloads_with_keys_of_their_own_are_what_the_charter_says(world: World) -> None:
    for hand, source in ((world.one, WEB_1), (world.two, WEB_2)):
        pair = ClientKeyPair.fresh("x")
        for _ in range(3):
            world.stage.clock.advance(seconds=20)
            assert world.token(world.svid(hand), source, dpop=pair).status == 200
    assert world.findings() == []


def test_a_workloads_svid_from_where_another_node_asks_is_told_and_stops_nobody(world: World) -> None:
    world.svid(world.two)  # so that it is known where that node asks from
    stolen = world.svid(world.one)
    assert world.token(stolen, WEB_2).status == 200
    (finding,) = world.findings()
    assert (finding["kind"], finding["body"]["certainty"]) == ("another-node", "seen")
    assert "attested on the node web-1 and came from 10.9.0.4, from where web-2 asks" in finding["title"]
    assert world.standing() is Standing.ACTIVE


def test_a_workloads_svid_from_elsewhere_than_its_node_is_stated_to_be_restrains(tmp_path: Path) -> None:
    with a_world(tmp_path, central={"nodes": {"web-1": [f"{WEB_1}/32"]}}) as world:
        assert world.token(world.svid(world.one), WEB_1).status == 200
        assert world.findings() == []
        assert world.token(world.svid(world.one), WEB_2).status == 200
        (finding,) = world.findings()
        assert (finding["kind"], finding["body"]["certainty"]) == ("another-node", "stated")
        assert world.standing() is Standing.RESTRAINED


def test_nodes_behind_one_address_are_not_held_against_each_other(world: World) -> None:
    world.one.source = world.two.source = WEB_1
    for hand in (world.one, world.two):
        assert world.token(world.svid(hand), WEB_1).status == 200
    assert world.findings() == []


def test_an_svid_for_another_principals_key_is_refused_and_harms_nobody(world: World) -> None:
    """A node can send anyone's public key: that proves nothing against whoever holds the private one."""
    pair = ClientKeyPair.fresh("x")
    assert world.one.ask("x509", {"process": PROCESS, "jwk": pair.jwk}).status_code == 200
    answer = world.two.ask("x509", {"process": PROCESS | {"uid": 2000}, "jwk": pair.jwk})
    assert answer.status_code == 409
    assert answer.json()["code"] == "shared_credential"
    (finding,) = world.findings()
    assert (finding["kind"], finding["body"]["certainty"]) == ("shared-credential", "seen")
    assert (world.standing(), world.standing(READER)) == (Standing.ACTIVE, Standing.ACTIVE)
    assert len(world.stage.entries("svid.issued")) == 1


def test_the_key_of_an_svid_in_another_principals_proof_restrains_once_both_proved_it(world: World) -> None:
    """A node that asks for an SVID with somebody's public key cannot stop them; a process that holds it, too, does."""
    pair = ClientKeyPair.fresh("x")
    assert world.one.ask("x509", {"process": PROCESS, "jwk": pair.jwk}).status_code == 200
    svid = world.svid(world.two, uid=2000)
    assert world.token(svid, WEB_2, dpop=pair, name=READER).status == 200
    (finding,) = world.findings()
    assert (finding["kind"], finding["body"]["certainty"]) == ("shared-credential", "seen")
    assert (world.standing(), world.standing(READER)) == (Standing.ACTIVE, Standing.ACTIVE)
    assert world.token(world.svid(world.one), WEB_1, dpop=pair).status == 200
    (finding,) = world.findings()
    assert (finding["kind"], finding["body"]["certainty"]) == ("shared-credential", "proved")
    assert (world.standing(), world.standing(READER)) == (Standing.RESTRAINED, Standing.RESTRAINED)
    kinds = {world.stage.house.live.principals[use["principal"]].name for use in finding["body"]["uses"]}
    assert kinds == {AGENT, READER}


def test_two_processes_where_the_charter_says_one_instance(tmp_path: Path) -> None:
    with a_world(tmp_path, instances=1) as world:
        for _ in range(3):
            for pid in (41, 42):
                assert world.one.ask("who", {"process": PROCESS | {"pid": pid}}).status_code in (200, 403)
                world.stage.clock.advance(seconds=HANDOVER_SECONDS)
        (finding,) = world.findings()
        assert finding["kind"] == "shared-instances"
        assert {use["workload"] for use in finding["body"]["uses"]} == {"web-1 pid 41", "web-1 pid 42"}
        assert world.standing() is Standing.RESTRAINED


def test_a_process_that_restarts_is_one_instance(tmp_path: Path) -> None:
    with a_world(tmp_path, instances=1) as world:
        for pid in (41, 41, 42, 42, 43, 43):
            assert world.one.ask("who", {"process": PROCESS | {"pid": pid}}).status_code == 200
            world.stage.clock.advance(seconds=HANDOVER_SECONDS)
        assert world.findings() == []


def test_selectors_that_a_charter_replaces_do_not_make_its_key_a_shared_one(world: World) -> None:
    pair = ClientKeyPair.fresh("x")
    assert world.token(world.svid(world.one), WEB_1, dpop=pair).status == 200
    workloads = [{"node": "web-1", "uid": 1000, "gid": 1000}]
    spiffe = {"type": "spiffe", "workloads": workloads, "bearer": "allowed"}
    files = estate_files(bearing=True, credential=spiffe)
    world.stage.apply(files)
    assert world.token(world.svid(world.one), WEB_1, dpop=pair).status == 200
    assert world.findings() == []


SUBJECT = "subject https://ci.example.com repo:acme/refunds"


def test_one_subject_of_another_issuer_for_two_principals_is_told(world: World) -> None:
    """Two charters may tell a subject's tokens apart by other claims: worth a look, and no more."""
    from charter.identity.bearer import Client

    house = world.stage.house
    for number, name in enumerate((AGENT, READER)):
        principal = house.principal(name)
        (key, *_) = house.live.keys_of(principal.id)
        client = Client(principal.id, "federated_jwt", key.thumbprint)
        found = house.sharing.issued(client, (SUBJECT,), source=WEB_1, token=f"tok_{number}", entry=number)
        asyncio.run(house.sharing.notice(found))
    (finding,) = world.findings()
    assert (finding["kind"], finding["body"]["certainty"]) == ("shared-credential", "seen")
    assert "one subject of another issuer" in finding["title"]
    assert world.standing() is Standing.ACTIVE
