"""One credential, one principal, one place at a time: whoever shares one is found out, and policy says what follows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from certificates import a_certificate
from charter.bootstrap import authority, discovery
from charter.core.canonical import canonical
from charter.core.errors import ConflictError, ErrorCode
from charter.gateway.call import Bearer
from charter.gateway.pipeline import Admitted, Refused
from charter.identity.trail import HANDOVER_SECONDS
from charter.registry.standing import Move, Standing
from charter.server.gateway import GatewayApp
from charter.server.oauth import OAuthApp
from houses import Stage, a_house, estate_files
from identity_stage import PAYMENTS, ClientKeyPair
from oauth_door import Door, Grants

ONE, OTHER = "refund-agent", "charge-reader"
OFFICE, ABROAD, INSIDE = "8.8.8.8", "9.9.9.9", "10.0.0.7"


@dataclass
class World:
    """Two principals with keys of their own, and what their agents can do with them."""

    stage: Stage
    door: Door
    keys: dict[str, ClientKeyPair] = field(default_factory=dict)

    def standing(self, name: str = ONE) -> Standing:
        return self.stage.house.principal(name).standing

    def findings(self, kind: str | None = None) -> list[dict[str, Any]]:
        return [each for each in discovery.listing(self.stage.house) if kind in (None, each["kind"])]

    def token(self, name: str, *, dpop: ClientKeyPair | None = None, source: str = OFFICE) -> str:
        """Return an access token of `name`, bound to the key of `dpop` if one is given."""
        self.door.source = source
        at = self.stage.clock.now()
        proof = self.proof(dpop, "POST", "http://127.0.0.1:8420/oauth/token") if dpop else None
        answer = self.door.token(self.keys[name].assertion(at), PAYMENTS, dpop=proof)
        assert answer.status == 200, answer.body
        return str(answer.body["access_token"])

    def proof(self, pair: ClientKeyPair, method: str, url: str) -> str:
        now = self.stage.clock.now()
        nonces = self.stage.house.proofs.nonces
        claims = {"htm": method, "htu": url, "iat": int(now.timestamp()), "jti": f"p-{next(pair.serial)}"}
        claims["nonce"] = nonces.fresh(now) if nonces else "none"
        return pair.signed(canonical(claims), {"typ": "dpop+jwt", "jwk": pair.jwk})

    def bearer(self, token: str) -> Bearer:
        return self.stage.house.tokens.read(token, at=self.stage.clock.now()).bearer

    def comes(self, token: str, source: str, *, after: float = 0) -> None:
        """Present a token from an address, as the gateway does."""
        self.stage.clock.advance(seconds=after)
        watch = self.stage.house.sharing
        asyncio.run(watch.notice(watch.called(self.bearer(token), source, "payments")))

    def by_turns(self, token: str, *sources: str) -> None:
        """Present a token from each address, long enough after another that nobody just moved."""
        for source in sources * 3:
            self.comes(token, source, after=HANDOVER_SECONDS / 2)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as found:
        yield found


@contextmanager
def a_world(
    folder: Path, *, central: dict[str, Any] | None = None, database: str | None = None, **credential: Any
) -> Iterator[World]:
    """Open a world; `credential` is added to that of the first principal, `central` is sharing.yaml."""
    bearing = {"type": "private-key-jwt", "bearer": "allowed", "tokens": "15m"}
    files = estate_files(bearing=True, credential=bearing | credential)
    if central is not None:
        files["sharing.yaml"] = canonical({"charter": "v1"} | central).decode()
    with a_house(folder, files=files, **({"database": database} if database else {})) as stage:
        made = World(stage, Door(OAuthApp.of(stage.house), Grants()))
        for name in (ONE, OTHER):
            pair = made.keys[name] = ClientKeyPair.fresh(stage.house.principal(name).id)
            register(stage, name, pair.jwk)
        yield made


def register(stage: Stage, name: str, jwk: Any, **more: Any) -> dict[str, Any]:
    return asyncio.run(authority.register_key(stage.house, name, jwk, actor="m@example.com", reason="test", **more))


def resume(world: World, name: str = ONE) -> None:
    asyncio.run(authority.move(world.stage.house, name, Move.RESUME, actor="pia@example.com", reason="looked at it"))


# --- one key, two principals ---


def test_one_dpop_key_for_two_principals_restrains_both_and_names_both_uses(world: World) -> None:
    pair = ClientKeyPair.fresh("x")
    world.token(ONE, dpop=pair)
    world.token(OTHER, dpop=pair)
    (finding,) = world.findings("shared-credential")
    assert (world.standing(ONE), world.standing(OTHER)) == (Standing.RESTRAINED, Standing.RESTRAINED)
    assert finding["body"]["certainty"] == "proved"
    entries = {each["index"]: each for each in world.stage.entries("authentication")}
    principals = {entries[index]["body"]["principal"] for index in finding["body"]["entries"]}
    assert principals == {ONE, OTHER}
    moves = world.stage.entries("standing.changed")
    assert [finding["id"] in each["body"]["reason"] for each in moves] == [True, True]
    assert {each["actor"] for each in moves} == {"charter"}


def test_a_registered_key_that_its_owner_uses_is_told_as_soon_as_another_shows_it(world: World) -> None:
    world.token(ONE)
    world.token(OTHER, dpop=world.keys[ONE])
    (finding,) = world.findings("shared-credential")
    assert sorted(finding["body"]["names"]) == [OTHER, ONE]
    assert world.standing(OTHER) is Standing.RESTRAINED


def test_the_key_in_a_certificate_is_the_key_in_a_proof(world: World) -> None:
    pair = ClientKeyPair.fresh("x")
    world.token(ONE, dpop=pair)
    world.door.certificate = a_certificate(key=pair.private.get_op_key("sign")).der
    world.token(OTHER)
    (finding,) = world.findings("shared-credential")
    assert finding["body"]["certainty"] == "proved"


def test_a_key_that_one_showed_cannot_be_registered_for_another(world: World) -> None:
    pair = ClientKeyPair.fresh("x")
    world.token(ONE, dpop=pair)
    with pytest.raises(ConflictError) as refused:
        register(world.stage, OTHER, pair.jwk)
    assert refused.value.code is ErrorCode.SHARED_CREDENTIAL
    assert world.standing(ONE) is Standing.ACTIVE, "a public key can be offered by anyone: it restrains nobody"


def test_who_offers_anothers_public_key_harms_nobody_and_who_then_shows_it_does(world: World) -> None:
    with pytest.raises(ConflictError):
        register(world.stage, OTHER, world.keys[ONE].jwk)
    assert (world.standing(ONE), world.standing(OTHER)) == (Standing.ACTIVE, Standing.ACTIVE)
    world.token(ONE)
    world.token(OTHER, dpop=world.keys[ONE])
    (finding,) = world.findings("shared-credential")
    assert finding["body"]["certainty"] == "proved"
    assert world.standing(ONE) is Standing.RESTRAINED


def test_who_has_anothers_public_key_registered_for_itself_stops_nobody(world: World) -> None:
    """Registering takes no private key: only what both proved to hold restrains, whoever is first."""
    pair = ClientKeyPair.fresh(world.stage.house.principal(OTHER).id)
    register(world.stage, OTHER, pair.jwk)
    world.token(ONE, dpop=pair)
    (finding,) = world.findings("shared-credential")
    assert finding["body"]["certainty"] == "seen"
    assert (world.standing(ONE), world.standing(OTHER)) == (Standing.ACTIVE, Standing.ACTIVE)

    world.keys[OTHER] = pair
    world.token(OTHER)
    (finding,) = world.findings("shared-credential")
    assert finding["body"]["certainty"] == "proved", "now both hold it, within the same minute"
    assert (world.standing(ONE), world.standing(OTHER)) == (Standing.RESTRAINED, Standing.RESTRAINED)


def test_one_principals_own_key_in_every_form_is_no_finding(world: World) -> None:
    world.token(ONE, dpop=world.keys[ONE])
    world.door.certificate = a_certificate(key=world.keys[ONE].private.get_op_key("sign")).der
    world.token(ONE)
    world.token(ONE, dpop=ClientKeyPair.fresh("x"))
    assert world.findings() == []


def test_who_showed_a_key_is_still_known_after_a_restart(tmp_path: Path) -> None:
    pair = ClientKeyPair.fresh("x")
    keys: dict[str, ClientKeyPair] = {}
    with a_world(tmp_path) as world:
        world.token(ONE, dpop=pair)
        keys |= world.keys
    with a_house(tmp_path, apply=False) as stage:
        world = World(stage, Door(OAuthApp.of(stage.house), Grants()), keys)
        assert stage.house.sharing.recall() == 1
        world.token(OTHER, dpop=pair)
        (finding,) = world.findings("shared-credential")
        assert len(finding["body"]["entries"]) == 2


def test_after_a_restart_a_key_is_still_whose_showed_it_first(tmp_path: Path) -> None:
    pair = ClientKeyPair.fresh("x")
    with a_world(tmp_path) as world:
        world.token(ONE, dpop=pair)
        world.stage.clock.advance(seconds=1)
        world.token(OTHER, dpop=pair)
    with a_house(tmp_path, apply=False) as stage:
        assert stage.house.sharing.recall() == 2
        assert stage.house.sharing.uses.holder_of(pair.thumbprint) == stage.house.principal(ONE).id


# --- one fact, one finding ---


def test_the_same_again_is_one_finding_that_counts(world: World) -> None:
    pair = ClientKeyPair.fresh("x")
    for _ in range(5):
        world.token(ONE, dpop=pair)
        world.token(OTHER, dpop=pair)
        world.stage.clock.advance(seconds=61)
    (finding,) = world.findings("shared-credential")
    assert len(world.stage.entries("finding.opened")) == 1
    assert finding["body"]["count"] >= 4


def test_a_finding_opens_counts_and_opens_again_on_either_database(tmp_path: Path, database_url: str) -> None:
    on = database_url if database_url.startswith("postgres") else None
    with a_world(tmp_path, database=on) as world:
        pair = ClientKeyPair.fresh("x")
        for to in ("resolved", "accepted"):
            for _ in range(2):
                world.token(ONE, dpop=pair)
                world.token(OTHER, dpop=pair)
                world.stage.clock.advance(seconds=61)
            (finding,) = world.findings("shared-credential")
            assert finding["state"] == "open"
            settle(world, to)
        (finding,) = world.findings("shared-credential")
        assert (finding["state"], finding["body"]["count"]) == ("accepted", 4)
        assert len(world.stage.entries("finding.opened")) == 1


def test_a_person_who_resumes_has_decided(world: World) -> None:
    pair = ClientKeyPair.fresh("x")
    world.token(ONE, dpop=pair)
    world.token(OTHER, dpop=pair)
    resume(world, ONE)
    resume(world, OTHER)
    world.stage.clock.advance(seconds=61)
    world.token(OTHER, dpop=pair)
    assert world.standing(OTHER) is Standing.ACTIVE


def test_what_was_resolved_and_comes_back_opens_again_and_restrains_again(world: World) -> None:
    pair = ClientKeyPair.fresh("x")
    world.token(ONE, dpop=pair)
    world.token(OTHER, dpop=pair)
    settle(world, "resolved")
    resume(world, ONE)
    resume(world, OTHER)
    world.stage.clock.advance(seconds=61)
    world.token(OTHER, dpop=pair)
    (finding,) = world.findings("shared-credential")
    assert finding["state"] == "open"
    assert world.standing(OTHER) is Standing.RESTRAINED


def test_what_somebody_accepted_moves_nothing(world: World) -> None:
    pair = ClientKeyPair.fresh("x")
    world.token(ONE, dpop=pair)
    world.token(OTHER, dpop=pair)
    settle(world, "accepted")
    resume(world, OTHER)
    world.stage.clock.advance(seconds=61)
    world.token(OTHER, dpop=pair)
    (finding,) = world.findings("shared-credential")
    assert (finding["state"], world.standing(OTHER)) == ("accepted", Standing.ACTIVE)


def settle(world: World, to: str) -> None:
    (finding,) = world.findings("shared-credential")
    asyncio.run(discovery.settle(world.stage.house, finding["id"], to, actor="pia@example.com", reason="looked"))


# --- places ---


def test_a_bearer_token_from_two_places_by_turns_is_told_and_stops_nobody(world: World) -> None:
    token = world.token(ONE)
    world.by_turns(token, OFFICE, ABROAD)
    kinds = {each["kind"] for each in world.findings()}
    assert kinds == {"shared-token", "shared-places"}
    assert world.standing() is Standing.ACTIVE
    (finding,) = world.findings("shared-token")
    sources = {use["source"] for use in finding["body"]["uses"]}
    assert sources == {OFFICE, ABROAD}
    assert finding["body"]["entries"], "the token's issuance stands in the evidence"


def test_a_thief_who_calls_once_in_between_is_told(world: World) -> None:
    token = world.token(ONE)
    for _ in range(4):
        world.comes(token, OFFICE, after=5)
    world.comes(token, ABROAD, after=1)
    for _ in range(8):
        world.comes(token, OFFICE, after=5)
    assert {each["kind"] for each in world.findings()} == {"shared-token", "shared-places"}


SPELT = {
    "IPv4 as IPv6": ("203.0.112.9", "::ffff:203.0.112.9"),
    "case": ("2a00:1450:4001::a", "2A00:1450:4001:0::A"),
    "an interface": ("fe80::1", "fe80::1%eth0"),
    "ports and neighbours behind NAT": ("8.8.8.8", "8.8.8.77"),
    "privacy addresses of one network": ("2a00:1450:4001:1::a", "2a00:1450:4001:2::b"),
    "both kinds of address of one host": ("8.8.8.8", "2a00:1450:4001::a"),
    "pods of one cluster": ("10.4.1.7", "10.4.2.9"),
}


@pytest.mark.parametrize("name", SPELT)
def test_one_sender_is_not_told_as_two(world: World, name: str) -> None:
    token = world.token(ONE, source=SPELT[name][0])
    world.by_turns(token, *SPELT[name])
    assert world.findings() == []


def test_who_moves_is_one_sender(world: World) -> None:
    token = world.token(ONE, source=INSIDE)
    for source in (INSIDE, OFFICE, ABROAD):
        for _ in range(6):
            world.comes(token, source, after=15)
    assert world.findings() == []


def test_a_pool_that_the_organisation_names_is_one_place(tmp_path: Path) -> None:
    with a_world(tmp_path, central={"places": {"egress": [f"{OFFICE}/32", f"{ABROAD}/32"]}}) as world:
        world.by_turns(world.token(ONE), OFFICE, ABROAD)
        assert world.findings() == []


def test_a_rule_lets_addresses_restrain_where_the_organisation_wants_it(tmp_path: Path) -> None:
    rule = {"id": "prod", "for": {"environments": ["production"]}, "seen": "restrain", "reason": "we are careful"}
    with a_world(tmp_path, central={"rules": [rule]}) as world:
        world.by_turns(world.token(ONE), OFFICE, ABROAD)
        assert world.standing() is Standing.RESTRAINED


def test_a_rule_for_others_changes_nothing_and_no_charter_weakens_one(tmp_path: Path) -> None:
    rules = [
        {"id": "sandbox", "for": {"environments": ["sandbox"]}, "proved": "suspend", "reason": "elsewhere"},
        {"id": "high", "for": {"tiers": ["low", "medium", "high", "critical"]}, "stated": "suspend", "reason": "all"},
    ]
    with a_world(tmp_path, central={"rules": rules}, places=["10.0.0.0/8"]) as world:
        world.token(ONE, source=OFFICE)
        assert world.standing() is Standing.SUSPENDED


def test_used_elsewhere_than_its_charter_says_restrains_and_stops_what_changes_state(tmp_path: Path) -> None:
    with a_world(tmp_path, places=["10.0.0.0/8"]) as world:
        token = world.token(ONE, source=INSIDE)
        world.comes(token, INSIDE)
        assert world.findings() == []
        world.comes(token, OFFICE)
        (finding,) = world.findings()
        assert (finding["kind"], finding["body"]["certainty"]) == ("outside-places", "stated")
        assert world.standing() is Standing.RESTRAINED
        refund = {"charge_id": "ch_1", "amount": 10, "currency": "EUR"}
        answer, _ = world.stage.submit(world.bearer(token), world.stage.make("create_refund", refund))
        assert isinstance(answer, Refused)
        answer, _ = world.stage.submit(world.bearer(token), world.stage.make("get_charge", {"charge_id": "ch_1"}))
        assert isinstance(answer, Admitted)


def test_a_charter_that_says_suspend_is_suspended_and_its_token_is_dead(tmp_path: Path) -> None:
    with a_world(tmp_path, places=["10.0.0.0/8"], sharing="suspend") as world:
        token = world.token(ONE, source=INSIDE)
        world.comes(token, OFFICE)
        assert world.standing() is Standing.SUSPENDED
        answer, _ = world.stage.submit(world.bearer(token), world.stage.make("get_charge", {"charge_id": "ch_1"}))
        assert isinstance(answer, Refused)


def test_a_charter_that_says_report_is_only_told(tmp_path: Path) -> None:
    with a_world(tmp_path, places=["10.0.0.0/8"], sharing="report") as world:
        world.token(ONE, source=OFFICE)
        assert [each["kind"] for each in world.findings()] == ["outside-places"]
        assert world.standing() is Standing.ACTIVE


# --- instances ---


def test_two_keys_by_turns_where_the_charter_says_one_instance(tmp_path: Path) -> None:
    with a_world(tmp_path, instances=1) as world:
        tokens = [world.token(ONE, dpop=ClientKeyPair.fresh("x")) for _ in range(2)]
        for _ in range(3):
            for token in tokens:
                world.comes(token, OFFICE, after=20)
        (finding,) = world.findings()
        assert (finding["kind"], finding["body"]["certainty"]) == ("shared-instances", "stated")
        assert world.standing() is Standing.RESTRAINED


def test_one_instance_that_rotates_its_keys_is_one(tmp_path: Path) -> None:
    with a_world(tmp_path, instances=1) as world:
        for _ in range(10):
            token = world.token(ONE, dpop=ClientKeyPair.fresh("x"))
            for _ in range(4):
                world.comes(token, OFFICE, after=10)
        assert world.findings() == []


def test_as_many_places_as_instances_are_no_finding(tmp_path: Path) -> None:
    with a_world(tmp_path, instances=2) as world:
        world.by_turns(world.token(ONE, dpop=ClientKeyPair.fresh("x")), OFFICE, ABROAD)
        assert [each["kind"] for each in world.findings()] == []


# --- at the doors ---


def test_the_gateway_tells_before_the_call_goes_on(tmp_path: Path) -> None:
    with a_world(tmp_path, places=["10.0.0.0/8"], sharing="suspend") as world:
        token = world.token(ONE, source=INSIDE)
        gateway = GatewayApp.of(world.stage.house)
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/mcp/payments",
            "raw_path": b"/mcp/payments",
            "query_string": b"",
            "client": (OFFICE, 5000),
            "headers": [(b"host", b"127.0.0.1:8420"), (b"authorization", b"Bearer " + token.encode())],
        }
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"{}", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(gateway(scope, receive, send))
        assert world.standing() is Standing.SUSPENDED
