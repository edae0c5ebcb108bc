"""Replacing a key as a thief, a stranger or a liar would: refused with the exact OAuth error, and in the evidence."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from charter.bootstrap import authority, rotation
from charter.bootstrap.rotation import Wish
from charter.core.canonical import canonical
from charter.core.errors import CharterError
from charter.identity.credential import revoke_key
from charter.identity.jose import encode_base64url
from charter.identity.rotation import FORKED
from charter.identity.rotation_request import PROOF_TYPE, TYPE
from charter.registry.rotation import OVERLAP
from charter.registry.standing import Move, Standing
from charter.server.oauth_rotation import ROTATE_PATH
from houses import a_house, estate_files
from identity_stage import ISSUER, PAYMENTS, TOKEN_ENDPOINT, ClientKeyPair, Stage, a_principal, a_stage
from oauth_door import Answer, a_door
from rotation_stage import bare, rotation_request
from ways_in import AGENT, a_world

CLIENT = ("invalid_client", 401)
KEY = ("invalid_client_metadata", 400)
STANDING = ("unauthorized_client", 400)


class Scene:
    """One client with a key, and what it sends."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.door = stage, a_door(stage)
        self.old = stage.client("refund-agent")
        self.new = ClientKeyPair.fresh(self.old.client_id)

    def send(self, text: str) -> Answer:
        return self.door.post(ROTATE_PATH, rotation=text)

    def ask(self, old: ClientKeyPair | None = None, new: ClientKeyPair | None = None, **changed: Any) -> Answer:
        text = rotation_request(old or self.old, new or self.new, self.stage.clock.now(), **changed)
        return self.send(text)

    def refused(self, answer: Answer, error: tuple[str, int], *words: str) -> None:
        assert (answer.body["error"], answer.status) == error, answer.raw
        assert all(word in answer.body["error_description"] for word in words), answer.body

    def unchanged(self) -> bool:
        """Return whether the client goes by the key it had, and by no other."""
        keys = self.stage.live.keys_of(self.old.client_id)
        return [key.thumbprint for key in keys] == [self.old.thumbprint] and keys[0].replaced_by is None

    def told(self) -> list[dict[str, Any]]:
        """Return what the evidence says of refused rotations."""
        entries = [entry["body"] for entry in self.stage.entries("authentication")]
        return [body for body in entries if body.get("asks") == "key-rotation"]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with a_stage(tmp_path) as stage:
        yield Scene(stage)


# --- who asks ---


def test_a_revoked_key_replaces_nothing(scene: Scene) -> None:
    """A thief with a key that was found out and revoked."""
    principal = scene.stage.live.principals[scene.old.client_id]
    scene.stage.database.write(
        lambda tx: revoke_key(tx, principal, scene.old.thumbprint, actor="maria@example.com", reason="stolen")
    )
    by_id = {"kid": scene.old.thumbprint}  # without it, a revoked key is not even looked at
    scene.refused(scene.ask(), CLIENT, "there is no such client, or the rotation request is not signed")
    scene.refused(scene.ask(header=by_id), STANDING, "is revoked")
    (told,) = scene.told()
    assert (told["outcome"], told["code"], told["offered"]) == ("refused", "not_standing", scene.new.thumbprint)
    assert scene.stage.live.keys.keys() == {scene.old.thumbprint}


@pytest.mark.parametrize("standing", [Standing.SUSPENDED, Standing.REVOKED, Standing.RETIRED])
def test_a_principal_that_may_not_act_replaces_no_key(scene: Scene, standing: Standing) -> None:
    scene.stage.show(a_principal(standing=standing))
    scene.refused(scene.ask(), STANDING, f"is {standing.value}")
    assert scene.unchanged()
    assert [told["code"] for told in scene.told()] == ["not_standing"]


def test_another_principals_key_replaces_nothing_of_this_ones(scene: Scene) -> None:
    other = scene.stage.client("ledger-agent")
    as_victim = ClientKeyPair(scene.old.client_id, other.private)
    scene.refused(scene.ask(old=as_victim), CLIENT, "there is no such client, or")
    scene.refused(scene.ask(old=as_victim, header={"kid": scene.old.thumbprint}), CLIENT, "there is no such client, or")
    nobody = ClientKeyPair.fresh("prn_nobody")
    scene.refused(scene.ask(old=nobody), CLIENT, "there is no such client, or")
    assert scene.unchanged()
    assert scene.told() == []  # strangers do not grow the log


def test_a_key_that_was_replaced_names_no_other_successor_and_that_it_tries_is_a_finding(scene: Scene) -> None:
    """Whoever stole the old key within its overlap; or the client itself, if the thief was faster."""
    assert scene.ask().status == 200
    thief = ClientKeyPair.fresh(scene.old.client_id)
    for _ in range(2):
        scene.refused(scene.ask(new=thief), STANDING, "was replaced by another already")
    (finding,) = scene.stage.database.read(lambda tx: tx.registry.findings.of_kinds((FORKED,)))
    assert finding.body["offered"] == thief.thumbprint
    assert len(scene.stage.entries("finding.opened")) == 1
    assert thief.thumbprint not in scene.stage.live.keys
    assert len(scene.told()) == 2


def test_a_key_whose_time_is_over_replaces_nothing(scene: Scene) -> None:
    assert scene.ask().status == 200
    scene.stage.clock.advance(seconds=OVERLAP.total_seconds())
    scene.refused(scene.ask(), STANDING, "was replaced, and counted until")


# --- what is asked for ---


def test_another_principals_key_cannot_be_taken(scene: Scene) -> None:
    """With its private half even: it is refused without a word of whose it is, and becomes a finding."""
    other = scene.stage.client("ledger-agent")
    answer = scene.ask(new=ClientKeyPair(scene.old.client_id, other.private))
    scene.refused(answer, KEY, "is not this client's alone")
    assert b"ledger" not in answer.raw
    (finding,) = scene.stage.database.read(lambda tx: tx.registry.findings.of_kinds(("shared-credential",)))
    assert finding.body["holder"] == "ledger-agent"
    assert scene.unchanged()
    assert [told["code"] for told in scene.told()] == ["bad_new_key"]


def test_a_public_key_without_its_private_half_cannot_be_taken(scene: Scene) -> None:
    other = ClientKeyPair.fresh(scene.old.client_id)
    scene.refused(scene.ask(proof_header={"jwk": bare(other)}), KEY, "signature that does not verify")
    assert scene.unchanged()


def test_a_key_follows_neither_itself_nor_one_that_was_in_use_before(scene: Scene) -> None:
    scene.refused(scene.ask(new=scene.old), KEY, "one that this client uses, or used before")
    assert scene.ask().status == 200
    scene.refused(scene.ask(old=scene.new, new=scene.old), KEY, "uses, or used before")


def test_the_same_request_counts_once(scene: Scene) -> None:
    text = rotation_request(scene.old, scene.new, scene.stage.clock.now())
    assert scene.send(text).status == 200
    scene.refused(scene.send(text), CLIENT, "was used before")
    assert len(scene.stage.entries("credential.rotated")) == 1


def test_parts_of_two_requests_make_no_third(scene: Scene) -> None:
    """A client assertion or a proof that was caught serves for nothing else."""
    now = scene.stage.clock.now()
    thief = ClientKeyPair.fresh(scene.old.client_id)
    assertion = scene.old.assertion(now, aud=f"{ISSUER}{ROTATE_PATH}")
    scene.refused(scene.send(assertion), CLIENT, "is not of the type")
    caught = rotation_request(scene.old, scene.new, now)
    answer = scene.door.token(caught, PAYMENTS)
    assert (answer.status, answer.body["error"]) == (401, "invalid_client")
    head, payload, _ = caught.split(".")
    scene.refused(scene.send(f"{head}.{payload}.{encode_base64url(b'0' * 64)}"), CLIENT, "there is no such client")
    other = scene.stage.client("ledger-agent")
    claims = {"iss": other.client_id, "sub": other.client_id, "old": other.thumbprint}
    scene.refused(scene.ask(inner=claims), KEY, "is another client's")
    scene.refused(scene.ask(inner={"old": thief.thumbprint}), KEY, "is for the place of another key")
    assert scene.unchanged()


@pytest.mark.parametrize(
    ("outer", "words"),
    [
        ({"aud": TOKEN_ENDPOINT}, "is not made out to"),
        ({"aud": [f"{ISSUER}{ROTATE_PATH}"]}, "is not made out to"),
        ({"aud": f"{ISSUER}{ROTATE_PATH}/"}, "is not made out to"),
        ({"exp": None}, "must have the claims"),
        ({"more": 1}, "must have the claims"),
        ({"exp": 2**45}, "at most 120 seconds apart"),
        ({"iat": "now"}, "at most 120 seconds apart"),
        ({"iat": True}, "at most 120 seconds apart"),
        ({"iat": 0, "exp": 60}, "is not of this moment"),
        ({"jti": "short"}, "`jti` of 16 to 256"),
        ({"jti": "x" * 257}, "`jti` of 16 to 256"),
        ({"sub": "prn_ledger-agent"}, "both `iss` and `sub`"),
    ],
)
def test_a_request_for_another_place_or_time_is_nobodys(scene: Scene, outer: dict[str, Any], words: str) -> None:
    scene.refused(scene.ask(outer=outer), CLIENT, words.replace("`", "'"))
    assert scene.unchanged()
    assert scene.told() == []


@pytest.mark.parametrize(
    ("inner", "words"),
    [
        ({"aud": TOKEN_ENDPOINT}, "is not made out to"),
        ({"old": None}, "must have the claims"),
        ({"jti": "x" * 20}, "must have the claims"),
        ({"iat": 0, "exp": 60}, "is not of this moment"),
        ({"exp": 2**40}, "at most 120 seconds apart"),
        ({"certificate": "@@"}, "no base64 of DER"),
        ({"certificate": 7}, "no base64 of DER"),
        ({"certificate": "A" * 6001}, "no base64 of DER"),
        ({"certificate": "AAAA"}, "certificate"),
    ],
)
def test_a_proof_for_another_place_time_or_key_is_none(scene: Scene, inner: dict[str, Any], words: str) -> None:
    scene.refused(scene.ask(inner=inner), KEY, words)
    assert scene.unchanged()
    assert [told["code"] for told in scene.told()] == ["bad_new_key"]


@pytest.mark.parametrize("header", [{"alg": "none"}, {"alg": "HS256"}, {"alg": "EdDSA"}, {"alg": None}, {"alg": 256}])
def test_no_algorithm_but_the_keys_own_counts(scene: Scene, header: dict[str, Any]) -> None:
    scene.refused(scene.ask(header=header), CLIENT, "there is no such client, or")
    scene.refused(scene.ask(proof_header=header), KEY, "which is not that of its key")
    assert scene.unchanged()


@pytest.mark.parametrize("member", ["jwk", "jku", "x5u", "x5c", "crit", "b64"])
def test_no_header_brings_a_key_along(scene: Scene, member: str) -> None:
    scene.refused(scene.ask(header={member: bare(scene.new)}), CLIENT, "which has no place there")
    if member != "jwk":
        scene.refused(scene.ask(proof_header={member: "x"}), KEY, "which has no place there")
    scene.refused(scene.ask(header={"kid": 7}), CLIENT, "`kid` that is no text".replace("`", "'"))
    scene.refused(scene.ask(header={"typ": PROOF_TYPE}), CLIENT, "is not of the type")
    scene.refused(scene.ask(proof_header={"typ": TYPE}), KEY, "is not of the type")
    assert scene.unchanged()


def test_private_halves_weak_keys_and_other_curves_are_no_new_keys(scene: Scene) -> None:
    private = {"d": "AAAA"} | bare(scene.new)
    small = {"kty": "OKP", "crv": "Ed25519", "x": "A" * 42 + "A"}  # of small order: anybody can sign for it
    wide = {"kty": "EC", "crv": "P-384", "x": "A" * 64, "y": "A" * 64}
    for jwk, words in [
        (private, "holds its private half"),
        (small, "anybody can sign for"),
        (wide, "is on the curve"),
        ({"kty": "RSA", "n": "AQAB", "e": "AQAB"}, "has the type"),
        ({"kty": "oct", "k": "AAAA"}, "holds its private half"),
        ({}, "has the type"),
        ("x", "is no JSON object"),
    ]:
        scene.refused(scene.ask(proof_header={"jwk": jwk}), KEY, words)
    assert scene.unchanged()


@pytest.mark.parametrize("proof", ["", "x", "..", "a.b.c", 7, [], {"payload": ""}, True])
def test_what_is_no_proof_is_none(scene: Scene, proof: object) -> None:
    answer = scene.ask(proof=proof)
    scene.refused(answer, KEY)
    assert scene.unchanged()


def test_nothing_oversize_is_read(scene: Scene) -> None:
    scene.refused(scene.send("x" * 15_000), CLIENT, "is longer than 14000 characters")
    long = "x" * 9_001
    scene.refused(scene.ask(proof=long), KEY, "is longer than 9000 characters")
    answer = scene.send("x" * 17_000)
    assert (answer.status, answer.body["error"]) == (413, "invalid_request")
    assert scene.door.post(ROTATE_PATH).body["error"] == "invalid_request"
    assert scene.door.request("GET", ROTATE_PATH).status == 405
    repeated = canonical({"a": 1})
    assert scene.door.request("POST", ROTATE_PATH, repeated, content_type="application/json").status == 415
    assert scene.unchanged()


def test_guesses_are_slowed_down(scene: Scene) -> None:
    thief = ClientKeyPair(scene.old.client_id, ClientKeyPair.fresh("x").private)
    for _ in range(300):
        scene.ask(old=thief)
    answer = scene.ask(old=thief)
    assert (answer.status, answer.body["error"]) == (429, "temporarily_unavailable")


# --- what people ask for ---


@pytest.mark.parametrize("move", [Move.SUSPEND, Move.KILL, Move.RETIRE])
@pytest.mark.parametrize("at_once", [False, True])
def test_nothing_is_given_by_a_rotation_to_a_principal_that_may_not_act(
    tmp_path: Path, move: Move, at_once: bool
) -> None:
    wish = Wish("maria@example.com", "a test", at_once)
    with a_world(tmp_path) as world:
        house = world.stage.house
        world.move(move)
        with pytest.raises(CharterError):
            asyncio.run(rotation.rotate_key(house, AGENT, None, bare(ClientKeyPair.fresh("x")), wish))
    (tmp_path / "legacy").mkdir()
    with a_house(tmp_path / "legacy", files=estate_files(credential={"type": "legacy-secret"})) as stage:
        asyncio.run(authority.make_secret(stage.house, AGENT, actor="maria@example.com", reason="first"))
        asyncio.run(authority.move(stage.house, AGENT, move, actor="maria@example.com", reason="a test"))
        with pytest.raises(CharterError):
            asyncio.run(rotation.rotate_secret(stage.house, AGENT, wish))


def test_a_key_that_goes_at_once_takes_along_what_it_obtained(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        house, at = world.stage.house, world.stage.clock.now()
        new = ClientKeyPair.fresh(world.pair.client_id)
        wish = Wish("maria@example.com", "stolen", at_once=True)
        told = asyncio.run(rotation.rotate_key(house, AGENT, None, bare(new), wish))
        assert told["state"] == "revoked"
        with pytest.raises(CharterError, match="is revoked"):
            house.pipeline.authenticate(world.token, audience=PAYMENTS, at=at)
        assert world.door.token(world.assertion(), PAYMENTS).status == 401
        assert world.door.token(new.assertion(at), PAYMENTS).status == 200


def test_a_token_of_a_signing_key_that_goes_at_once_is_worthless_and_one_that_overlaps_is_good(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        house, at = world.stage.house, world.stage.clock.now()
        asyncio.run(authority.rotate(house, "token", actor="maria@example.com", reason="due"))
        assert house.pipeline.authenticate(world.token, audience=PAYMENTS, at=at)
        fresh = world.door.token(world.assertion(), PAYMENTS).body["access_token"]
        asyncio.run(authority.rotate(house, "token", actor="maria@example.com", reason="stolen", at_once=True))
        assert house.pipeline.authenticate(world.token, audience=PAYMENTS, at=at)  # of the one before the stolen one
        with pytest.raises(CharterError, match=r"not one of ours|key"):
            house.pipeline.authenticate(fresh, audience=PAYMENTS, at=at)
        assert world.door.token(world.assertion(), PAYMENTS).status == 200


def test_the_door_is_found_by_its_metadata(scene: Scene) -> None:
    told = scene.door.request("GET", "/.well-known/oauth-authorization-server").body
    assert told["key_rotation_endpoint"] == f"{ISSUER}{ROTATE_PATH}"
