"""Actor proofs: what is signed for a hop, what is refused of it, and chains of them verified without any Charter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charter.core.canonical import canonical
from charter.core.errors import ErrorCode, MalformedError
from charter.identity.actor_proof import (
    TYPE,
    Hop,
    actors_of,
    check_proof,
    proof_claims,
    proof_hash,
    read_proof,
    verify_chain,
)
from charter.identity.jose import PublicKey, parse_public_jwk
from delegations import ISSUER, MARIA, NOON
from identity_stage import PAYMENTS, ClientKeyPair

HOP = Hop("prn_b", ISSUER, MARIA, "dispute-handling", "del_1", None)


@dataclass
class Actor:
    """One actor's key, and what it signs."""

    name: str
    pair: ClientKeyPair

    @property
    def public(self) -> PublicKey:
        return parse_public_jwk({k: v for k, v in self.pair.jwk.items() if k in ("crv", "kty", "x", "y")})

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        return self.pair.signed(canonical(claims), {"typ": TYPE} | header)

    def prove(self, hop: Hop, **changed: Any) -> str:
        claims = proof_claims(hop, [PAYMENTS], at=NOON, expires_at=NOON + 3600, jti=f"{self.name}-{hop.onto}")
        return self.sign({k: v for k, v in (claims | changed).items() if v is not None})


def an_actor(name: str, algorithm: str = "ES256") -> Actor:
    return Actor(name, ClientKeyPair.fresh(name, algorithm))


B, C, D = an_actor("prn_b"), an_actor("prn_c", "EdDSA"), an_actor("prn_d")
KEYS = {actor.name: [actor.public] for actor in (B, C, D)}


def keys_of(issuer: str, actor: str) -> list[PublicKey]:
    return KEYS.get(actor, []) if issuer == ISSUER else []


def proofs_of(*actors: Actor, subject: str = MARIA, onto: str = "del_") -> list[str]:
    """Return the proofs of a chain, newest first."""
    made: list[str] = []
    for number, actor in enumerate(actors):
        previous = proof_hash(made[0]) if made else None
        made.insert(0, actor.prove(Hop(actor.name, ISSUER, subject, "dispute-handling", f"{onto}{number}", previous)))
    return made


def act_of(*actors: Actor) -> dict[str, Any]:
    act: dict[str, Any] = {}
    for actor in actors:
        act = {"sub": actor.name, "iss": ISSUER} | ({"act": act} if act else {})
    return act


def verified(proofs: list[str], *actors: Actor, subject: str = MARIA, audience: str = PAYMENTS) -> int:
    return len(verify_chain(proofs, act=act_of(*actors), subject=subject, audience=audience, keys_of=keys_of))


def checked(text: str, hop: Hop = HOP, **changed: Any) -> None:
    given = {"resource": PAYMENTS, "at": NOON, "until": NOON + 300}
    check_proof(read_proof(text, KEYS["prn_b"]), hop, **(given | changed))


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_an_actors_proof_of_its_hop_is_taken(algorithm: str) -> None:
    actor = an_actor("prn_b", algorithm)
    proof = read_proof(actor.prove(HOP), [actor.public])
    check_proof(proof, HOP, resource=PAYMENTS, at=NOON, until=NOON + 300)
    assert (proof.hop, proof.audiences, proof.key) == (HOP, (PAYMENTS,), actor.public.thumbprint)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("actor", "prn_c", "names another actor"),
        ("issuer", "https://other.example", "names another actor"),
        ("subject", "jo@example.com", "is for another initiator"),
        ("purpose", "travel", "is for another purpose"),
        ("onto", "del_2", "does not hang on `del_2`"),
        ("previous", "x" * 43, "does not continue the proofs of this chain"),
    ],
)
def test_a_proof_for_another_hop_is_refused(field: str, value: str, said: str) -> None:
    with pytest.raises(MalformedError, match=said) as caught:
        checked(B.prove(HOP), replace(HOP, **{field: value}))
    assert caught.value.code is ErrorCode.BAD_ACTOR_PROOF


def test_a_proof_bound_to_another_system_is_a_bad_target() -> None:
    with pytest.raises(MalformedError) as caught:
        checked(B.prove(HOP), resource=f"{ISSUER}/mcp/ledger")
    assert caught.value.code is ErrorCode.BAD_TARGET


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"iat": NOON - 331}, "not of this moment"),
        ({"iat": NOON + 31}, "not of this moment"),
        ({"exp": NOON + 299}, "ends before"),
        ({"exp": NOON + 367 * 86_400}, "more than a year"),
    ],
)
def test_a_stale_or_endless_proof_is_refused(changed: dict[str, int], said: str) -> None:
    with pytest.raises(MalformedError, match=said):
        checked(B.prove(HOP, **changed))


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": None},
        {"iss": "prn_c"},
        {"sub": None},
        {"sub": ""},
        {"sub": 3},
        {"act": None},
        {"act": {"sub": "prn_b"}},
        {"act": {"sub": "prn_b", "iss": ISSUER, "act": {"sub": "prn_a", "iss": ISSUER}}},
        {"act": {"sub": "prn_b", "iss": ISSUER, "cnf": {}}},
        {"target": None},
        {"target": PAYMENTS},
        {"target": {"aud": [PAYMENTS]}},
        {"target": {"aud": [], "purpose": "x"}},
        {"target": {"aud": [3], "purpose": "x"}},
        {"target": {"aud": [PAYMENTS] * 33, "purpose": "x"}},
        {"onto": None},
        {"onto": "x" * 41},
        {"prh": 3},
        {"prh": "x" * 44},
        {"iat": None},
        {"iat": "now"},
        {"exp": True},
        {"jti": None},
        {"jti": "x" * 129},
        {"aud": ISSUER},
        {"scope": "everything"},
    ],
)
def test_a_proof_of_another_form_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        read_proof(B.prove(HOP, **changed), KEYS["prn_b"])


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "JWT"},
        {"typ": None},
        {"alg": "none"},
        {"alg": "HS256"},
        {"kid": "other"},
        {"jwk": {}},
        {"crit": ["x"]},
        {"x5u": "https://x"},
    ],
)
def test_a_proof_under_another_header_is_refused(header: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        read_proof(
            B.sign(proof_claims(HOP, [PAYMENTS], at=NOON, expires_at=NOON + 60, jti="1"), **header), KEYS["prn_b"]
        )


def test_a_proof_signed_by_another_actor_is_refused() -> None:
    with pytest.raises(MalformedError, match="not signed with a key of its actor"):
        read_proof(Actor("prn_b", D.pair).prove(HOP), KEYS["prn_b"])


@settings(max_examples=60)
@given(st.integers(0, 400), st.sampled_from("Aa0_-.~"))
def test_a_proof_with_one_character_changed_is_refused(at: int, to: str) -> None:
    proof = B.prove(HOP)
    at %= len(proof)
    if proof[at] == to:
        return
    with pytest.raises(MalformedError):
        checked(proof[:at] + to + proof[at + 1 :])


@given(st.text(max_size=200))
def test_any_text_is_refused_and_no_more(text: str) -> None:
    with pytest.raises(MalformedError):
        read_proof(text, KEYS["prn_b"])


def test_a_long_proof_is_refused_unread() -> None:
    with pytest.raises(MalformedError, match="longer than 2048"):
        read_proof("a" * 2049, KEYS["prn_b"])


# --- chains, offline ---


def test_a_chain_of_proofs_verifies_with_the_actors_public_keys_alone() -> None:
    assert verified(proofs_of(B, C, D), B, C, D) == 3
    assert verified(proofs_of(B), B) == 1


FORGERIES: dict[str, Callable[[list[str]], list[str]]] = {
    "one left out": lambda p: [p[0], p[2]],
    "the newest left out": lambda p: p[1:],
    "two exchanged": lambda p: [p[1], p[0], p[2]],
    "turned round": lambda p: p[::-1],
    "one twice": lambda p: [p[0], p[0], p[2]],
    "none": lambda _: [],
    "the root of another chain": lambda p: [p[0], p[1], proofs_of(B, onto="del_9")[0]],
    "the middle of another chain": lambda p: [p[0], proofs_of(B, C, onto="del_9")[0], p[2]],
    "the root of another initiator's chain": lambda p: [p[0], p[1], proofs_of(B, subject="jo@example.com")[0]],
    "the newest by another key": lambda p: [
        Actor("prn_d", B.pair).prove(Hop("prn_d", ISSUER, MARIA, "dispute-handling", "del_2", proof_hash(p[1]))),
        *p[1:],
    ],
    "one more on top": lambda p: [
        D.prove(Hop("prn_d", ISSUER, MARIA, "dispute-handling", "del_3", proof_hash(p[0]))),
        *p,
    ],
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_chain_of_proofs_that_is_not_whole_does_not_verify(name: str) -> None:
    with pytest.raises(MalformedError):
        verified(FORGERIES[name](proofs_of(B, C, D)), B, C, D)


def test_a_chain_for_another_system_or_initiator_does_not_verify() -> None:
    with pytest.raises(MalformedError, match="bound to other systems"):
        verified(proofs_of(B, C), B, C, audience=f"{ISSUER}/mcp/ledger")
    with pytest.raises(MalformedError, match="of another chain"):
        verified(proofs_of(B, C), B, C, subject="jo@example.com")


def test_a_hop_for_another_purpose_does_not_continue_a_chain() -> None:
    first = proofs_of(B)[0]
    second = C.prove(Hop("prn_c", ISSUER, MARIA, "travel", "del_1", proof_hash(first)))
    with pytest.raises(MalformedError, match="another purpose"):
        verified([second, first], B, C)


@pytest.mark.parametrize(
    "act",
    [
        {},
        {"sub": "a"},
        {"sub": "a", "iss": 3},
        {"sub": "a", "iss": "b", "act": []},
        {"sub": "a", "iss": "b", "act": {}},
    ],
)
def test_an_act_that_is_no_chain_is_refused(act: Any) -> None:
    with pytest.raises(MalformedError):
        actors_of(act)


def test_an_act_that_nests_without_end_is_refused() -> None:
    act: dict[str, Any] = {"sub": "a", "iss": "b"}
    for _ in range(8):
        act = {"sub": "a", "iss": "b", "act": act}
    with pytest.raises(MalformedError, match="no chain"):
        actors_of(act)


def test_the_hash_of_a_proof_is_that_of_its_exact_characters() -> None:
    """`printf abc | sha256sum`, in base64url."""
    assert proof_hash("abc") == "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"
