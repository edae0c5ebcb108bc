"""One key, one principal: whoever offers one twice, in whatever spelling and at whatever moment, is found out."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from charter.bootstrap import authority, discovery
from charter.core.errors import ConflictError, DeniedError, ErrorCode, MalformedError
from charter.identity.credential import MAX_KEYS
from charter.registry.standing import Move, Standing
from houses import Stage, a_house
from identity_stage import ClientKeyPair

ONE, OTHER = "refund-agent", "charge-reader"


@pytest.fixture
def stage(tmp_path: Path, database_url: str) -> Iterator[Stage]:
    on_postgres = {"database": database_url} if database_url.startswith("postgres") else {}
    with a_house(tmp_path, **on_postgres) as found:
        yield found


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Stage]:
    """A house on SQLite, for what no database has a say in."""
    with a_house(tmp_path) as found:
        yield found


def register(stage: Stage, name: str, jwk: Any, actor: str = "maria@example.com") -> dict[str, Any]:
    return asyncio.run(authority.register_key(stage.house, name, jwk, actor=actor, reason="first use"))


def move(stage: Stage, name: str, *moves: Move) -> None:
    for each in moves:
        asyncio.run(authority.move(stage.house, name, each, actor="pia@example.com", reason="a test"))


def keys_of(stage: Stage, name: str) -> list[str]:
    found = stage.house.live.keys_of(stage.house.principal(name).id)
    return [key.thumbprint for key in found if key.standing is Standing.ACTIVE]


def test_a_key_offered_for_two_principals_is_refused_and_becomes_a_finding(stage: Stage) -> None:
    pair = ClientKeyPair.fresh("x")
    register(stage, ONE, pair.jwk)
    with pytest.raises(ConflictError, match=f"this key is `{ONE}`'s and cannot be `{OTHER}`'s too") as refused:
        register(stage, OTHER, pair.jwk, actor="mallory@example.com")
    assert refused.value.code is ErrorCode.SHARED_CREDENTIAL
    assert (keys_of(stage, ONE), keys_of(stage, OTHER)) == ([pair.thumbprint], [])
    (finding,) = discovery.listing(stage.house)
    assert (finding["kind"], finding["state"]) == ("shared-credential", "open")
    assert finding["body"]["offered_by"] == "mallory@example.com"
    (entry,) = stage.entries("finding.opened")
    assert entry["body"]["finding"] == finding["id"]


def test_offering_it_again_and_again_is_one_finding(stage: Stage) -> None:
    pair = ClientKeyPair.fresh("x")
    register(stage, ONE, pair.jwk)
    for _ in range(3):
        with pytest.raises(ConflictError):
            register(stage, OTHER, pair.jwk)
    assert len(discovery.listing(stage.house)) == len(stage.entries("finding.opened")) == 1


def test_two_who_offer_one_key_at_once_do_not_both_get_it(stage: Stage) -> None:
    pair = ClientKeyPair.fresh("x")

    async def race() -> list[Any]:
        offers = [
            authority.register_key(stage.house, name, pair.jwk, actor="a@example.com", reason="first use")
            for name in (ONE, OTHER) * 4
        ]
        return await asyncio.gather(*offers, return_exceptions=True)

    found = asyncio.run(race())
    assert len({answer["principal"] for answer in found if isinstance(answer, dict)}) == 1
    assert sorted(len(keys_of(stage, name)) for name in (ONE, OTHER)) == [0, 1]
    assert {type(answer) for answer in found} == {dict, ConflictError}


RESPELT: dict[str, Any] = {
    "another key id": {"kid": "mine"},
    "its use said": {"use": "sig", "alg": "ES256"},
    "its operations said": {"key_ops": ["verify"]},
    "members in another order": {},
}


@pytest.mark.parametrize("name", RESPELT)
def test_another_spelling_of_a_key_is_the_same_key(local: Stage, name: str) -> None:
    pair = ClientKeyPair.fresh("x")
    register(local, ONE, pair.jwk)
    respelt = dict(reversed(list((pair.jwk | RESPELT[name]).items())))
    with pytest.raises(ConflictError, match="cannot be"):
        register(local, OTHER, respelt)


def padded(text: str) -> str:
    return text + "="


def with_a_zero_before(text: str) -> str:
    return base64.urlsafe_b64encode(b"\0" + base64.urlsafe_b64decode(text + "=")).rstrip(b"=").decode()


def in_the_other_alphabet(text: str) -> str:
    return text.replace("-", "+").replace("_", "/") if set("-_") & set(text) else text + "\n"


def with_stray_bits(text: str) -> str:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return text[:-1] + alphabet[alphabet.index(text[-1]) ^ 1]


@pytest.mark.parametrize("spell", [padded, with_a_zero_before, in_the_other_alphabet, with_stray_bits])
def test_a_second_spelling_of_its_numbers_is_no_key(local: Stage, spell: Any) -> None:
    """Else one key could have two thumbprints, and be two principals'."""
    pair = ClientKeyPair.fresh("x")
    register(local, ONE, pair.jwk)
    with pytest.raises(MalformedError):
        register(local, OTHER, pair.jwk | {"x": spell(pair.jwk["x"])})


def test_a_revoked_key_comes_back_for_nobody(stage: Stage) -> None:
    pair = ClientKeyPair.fresh("x")
    key = register(stage, ONE, pair.jwk)["key"]
    asyncio.run(authority.revoke_key(stage.house, ONE, key, actor="maria@example.com", reason="laptop lost"))
    for name in (ONE, OTHER):
        with pytest.raises(ConflictError):
            register(stage, name, pair.jwk)
    assert keys_of(stage, ONE) == keys_of(stage, OTHER) == []


@pytest.mark.parametrize("moves", [[Move.KILL], [Move.RETIRE], [Move.SUSPEND]])
def test_who_may_not_act_registers_no_key(stage: Stage, moves: list[Move]) -> None:
    """A new key is no way back in after a kill."""
    move(stage, ONE, *moves)
    with pytest.raises(DeniedError) as refused:
        register(stage, ONE, ClientKeyPair.fresh("x").jwk)
    assert refused.value.code is ErrorCode.NOT_STANDING
    assert keys_of(stage, ONE) == []
    assert stage.entries("credential.registered") == []


def test_a_kill_between_offer_and_registration_wins(stage: Stage) -> None:
    async def race() -> list[Any]:
        jwks = [ClientKeyPair.fresh("x").jwk for _ in range(6)]
        offers = [authority.register_key(stage.house, ONE, j, actor="a@example.com", reason="first use") for j in jwks]
        kill = authority.move(stage.house, ONE, Move.KILL, actor="pia@example.com", reason="3 a.m.")
        return await asyncio.gather(*offers[:3], kill, *offers[3:], return_exceptions=True)

    found = asyncio.run(race())
    assert [isinstance(answer, DeniedError) for answer in found] == [False] * 4 + [True] * 3
    assert stage.house.principal(ONE).standing is Standing.REVOKED


def test_a_killed_principals_key_is_still_nobody_elses(stage: Stage) -> None:
    pair = ClientKeyPair.fresh("x")
    register(stage, ONE, pair.jwk)
    move(stage, ONE, Move.KILL)
    with pytest.raises(ConflictError, match="cannot be"):
        register(stage, OTHER, pair.jwk)


PRIVATE = ClientKeyPair.fresh("x").private
WRONG: dict[str, Any] = {
    "its private half too": dict(PRIVATE.as_dict(private=True)),
    "a secret": {"kty": "oct", "k": "c2VjcmV0"},
    "an RSA key": {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
    "a point that is on no curve": {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43},
    "another curve": {"kty": "EC", "crv": "P-384", "x": "A" * 64, "y": "A" * 64},
    "a key that anybody can sign for": {"kty": "OKP", "crv": "Ed25519", "x": "AQ" + "A" * 41},
    "the key of no point": {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43},
    "a key to agree keys with": {"kty": "OKP", "crv": "X25519", "x": "A" * 43},
    "a key for encryption": dict(PRIVATE.as_dict(private=False)) | {"use": "enc"},
    "a key of another algorithm": dict(PRIVATE.as_dict(private=False)) | {"alg": "HS256"},
    "where to get one": {"jku": "https://evil.example/keys"},
    "a certificate beside it": dict(PRIVATE.as_dict(private=False)) | {"x5u": "https://evil.example/c"},
    "nothing": {},
    "a list": [],
    "a text": "key",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_proper_public_key_is_not_registered(local: Stage, name: str) -> None:
    with pytest.raises(MalformedError) as refused:
        register(local, ONE, WRONG[name])
    assert keys_of(local, ONE) == []
    for secret in ("c2VjcmV0", str(PRIVATE.as_dict(private=True)["d"])):
        assert secret not in refused.value.detail + str(refused.value.help)


def test_a_principal_has_a_bounded_number_of_keys(local: Stage) -> None:
    """Else whoever may register could make every authentication slow: each key is tried."""
    for _ in range(MAX_KEYS):
        register(local, ONE, ClientKeyPair.fresh("x").jwk)
    with pytest.raises(ConflictError, match="active keys already"):
        register(local, ONE, ClientKeyPair.fresh("x").jwk)
    assert len(keys_of(local, ONE)) == MAX_KEYS
