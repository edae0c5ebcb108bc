"""Actor proofs: each borrower in a chain signs that it takes part, for whom, where to, and after which proof.

`act` alone is asserted by whoever issues tokens. A proof is the actor's own word, after the draft of OAuth Actor-Signed
Hop Proofs (draft-mcguinness-oauth-actor-proofs-00); what it is linked to, its purpose and its delegation are ours:

    header  typ: actor-proof+jwt, alg, kid                  nothing else
    iss     the actor, as `act.sub`                          act   {sub, iss}: the actor, and whose namespace that is in
    sub     the initiator                                    target {aud: [resources], purpose}
    prh     SHA-256 of the proof before, base64url; none in the first
    onto    what the hop hangs on: the delegation accepted or continued (`del_…`), or the lender's own token (`tok_…`)
    iat, exp, jti

Since each proof holds the hash of the one before, the hash of the newest stands for all of them. That is what a token
carries (`chain.proof`); the proofs themselves are in the answer of introspection and in the registry.

INVARIANT: a chain of proofs verifies with the actors' public keys alone, by `verify_chain`, without any Charter; proofs
of two chains, one left out, one turned round or one of another initiator do not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from charter.core.errors import CharterError, ErrorCode, MalformedError
from charter.identity.jose import PublicKey, encode_base64url, parse_compact, verify_compact
from charter.registry.delegation import MAX_DEPTH

TYPE = "actor-proof+jwt"
MAX_PROOF = 2048  # characters
MAX_AUDIENCES = 32
MAX_AGE_SECONDS = 300  # of a proof that is exchanged
SKEW_SECONDS = 30
MAX_LIFE_SECONDS = 366 * 86_400
_MAX_JTI = 128
_HEADER = frozenset({"typ", "alg", "kid"})
_CLAIMS = frozenset({"iss", "sub", "act", "target", "prh", "onto", "iat", "exp", "jti"})
_WHAT = "the actor proof"
KeysOf = Callable[[str, str], Sequence[PublicKey]]  # (issuer, actor) -> keys that it may have signed with


@dataclass(frozen=True, slots=True)
class Hop:
    """One hop, as its actor must have signed it."""

    actor: str
    issuer: str  # whose namespace the actor's name is in
    subject: str  # the initiator
    purpose: str
    onto: str
    previous: str | None  # hash of the proof before


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof whose signature is good."""

    hop: Hop
    audiences: tuple[str, ...]
    issued_at: int
    expires_at: int
    key: str  # thumbprint
    name: str  # what tells it from other proofs of its key
    digest: str  # what the next one is linked to

    @property
    def forget_after(self) -> int:
        """When it need not be remembered as used any more, in seconds since 1970: it is stale by then."""
        return self.issued_at + MAX_AGE_SECONDS + 2 * SKEW_SECONDS


def proof_hash(proof: str) -> str:
    """Return what the proof after `proof` holds as `prh`."""
    return encode_base64url(hashlib.sha256(proof.encode("ascii")).digest())


def proof_claims(hop: Hop, audiences: Sequence[str], *, at: int, expires_at: int, jti: str) -> dict[str, Any]:
    """Return what an actor signs for a hop. Times are seconds since 1970."""
    claims: dict[str, Any] = {
        "iss": hop.actor,
        "sub": hop.subject,
        "act": {"sub": hop.actor, "iss": hop.issuer},
        "target": {"aud": list(audiences), "purpose": hop.purpose},
        "onto": hop.onto,
        "iat": at,
        "exp": expires_at,
        "jti": jti,
    }
    return claims | ({} if hop.previous is None else {"prh": hop.previous})


def read_proof(text: str, keys: Sequence[PublicKey]) -> Proof:
    """Return what a proof says, if one of `keys` signed it.

    Raises:
        MalformedError: none did, or it has another form.
    """
    try:
        parts = parse_compact(text, _WHAT, members=_HEADER, limit=MAX_PROOF)
    except CharterError as err:
        raise _refusal(err.detail) from err
    if parts.header.get("typ") != TYPE:
        _refuse(f"is of another type than `{TYPE}`")
    for key in keys:
        if parts.header.get("kid", key.thumbprint) != key.thumbprint:
            continue
        try:
            verify_compact(parts, key, _WHAT)
        except CharterError:
            continue
        return _meaning(parts.claims, text, key)
    return _refuse("is not signed with a key of its actor")


def check_proof(proof: Proof, hop: Hop, *, resource: str, at: int, until: int) -> None:
    """Check that `proof` is for exactly `hop` and `resource`, fresh at `at`, and holds at least until `until`.

    Raises:
        MalformedError: it is not; the message says in what.
    """
    said, wanted = proof.hop, hop
    _same("names another actor", (said.actor, said.issuer), (wanted.actor, wanted.issuer))
    _same("is for another initiator", said.subject, wanted.subject)
    _same("is for another purpose", said.purpose, wanted.purpose)
    _same(f"does not hang on `{wanted.onto}`", said.onto, wanted.onto)
    _same("does not continue the proofs of this chain", said.previous, wanted.previous)
    if resource not in proof.audiences:
        raise MalformedError(
            ErrorCode.BAD_TARGET,
            f"{_WHAT} is bound to other systems than the one asked for",
            help=f"name {resource[:200]} under `target.aud`",
        )
    if not at - MAX_AGE_SECONDS - SKEW_SECONDS <= proof.issued_at <= at + SKEW_SECONDS:
        _refuse("is not of this moment; check this machine's clock")
    if proof.expires_at < until:
        _refuse("ends before the token that it is for")
    if proof.expires_at > at + MAX_LIFE_SECONDS:
        _refuse("is valid for more than a year")


def verify_chain(
    proofs: Sequence[str], *, act: Mapping[str, Any], subject: str, audience: str, keys_of: KeysOf
) -> tuple[Proof, ...]:
    """Return the proofs of a token, oldest first, if they are those of its `act`, `sub` and `aud`.

    `proofs` are ordered as in a token: newest first. Times are not looked at: what was signed then stays signed.

    Raises:
        MalformedError: one is missing, forged, of another chain or out of order; the message says which.
    """
    actors = actors_of(act)
    if len(proofs) != len(actors):
        _refuse(f"is missing for some actor: {len(proofs)} proofs for {len(actors)} actors")
    found: list[Proof] = []
    for (issuer, actor), text in zip(reversed(actors), reversed(proofs), strict=True):
        proof = read_proof(text, keys_of(issuer, actor))
        wanted = Hop(actor, issuer, subject, proof.hop.purpose, proof.hop.onto, found[-1].digest if found else None)
        _same(f"of `{actor[:80]}` is of another chain", proof.hop, wanted)
        if found:
            _same(f"of `{actor[:80]}` is for another purpose", proof.hop.purpose, found[0].hop.purpose)
        found.append(proof)
    if audience not in found[-1].audiences:
        _refuse("of the newest actor is bound to other systems")
    return tuple(found)


def actors_of(act: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the (issuer, actor) pairs of nested `act` claims, outermost (current) first.

    Raises:
        MalformedError: it nests deeper than chains may, or has another form.
    """
    found: list[tuple[str, str]] = []
    inner: object = act
    while inner is not None:
        if not isinstance(inner, Mapping) or len(found) == MAX_DEPTH:
            raise MalformedError(ErrorCode.BAD_ACTOR, "`act` is no chain of actors")
        issuer, actor = inner.get("iss"), inner.get("sub")
        if not isinstance(issuer, str) or not isinstance(actor, str):
            raise MalformedError(ErrorCode.BAD_ACTOR, "`act` has an actor without `sub` or `iss`")
        found.append((issuer, actor))
        inner = inner.get("act")
    return found


def _meaning(claims: Mapping[str, Any], text: str, key: PublicKey) -> Proof:
    if not claims.keys() <= _CLAIMS:
        _refuse(f"has the claim {min(claims.keys() - _CLAIMS)[:40]!a}, which means nothing here")
    act, target = claims.get("act"), claims.get("target")
    if not isinstance(act, Mapping) or act.keys() != {"sub", "iss"} or act["sub"] != claims.get("iss"):
        _refuse("has an `act` that is not {sub, iss}, or is another than its `iss`")
    if not isinstance(target, Mapping) or target.keys() != {"aud", "purpose"}:
        _refuse("has a `target` that is not {aud, purpose}")
    issued_at, expires_at = _seconds(claims, "iat"), _seconds(claims, "exp")
    jti = _text(claims, "jti", _MAX_JTI)
    previous = _text(claims, "prh", 43) if "prh" in claims else None
    hop = Hop(
        actor=_text(act, "sub"),
        issuer=_text(act, "iss"),
        subject=_text(claims, "sub"),
        purpose=_text(target, "purpose", 63),
        onto=_text(claims, "onto", 40),
        previous=previous,
    )
    named = encode_base64url(hashlib.sha256(f"{key.thumbprint} {jti}".encode(errors="surrogatepass")).digest())
    return Proof(hop, _audiences(target["aud"]), issued_at, expires_at, key.thumbprint, named, proof_hash(text))


def _audiences(value: object) -> tuple[str, ...]:
    """Return `target.aud`: a text, or a list of them."""
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list) or not 0 < len(given) <= MAX_AUDIENCES or not all(isinstance(v, str) for v in given):
        _refuse(f"has a `target.aud` that is no list of 1 to {MAX_AUDIENCES} texts")
    return tuple(given)


def _text(claims: Mapping[str, Any], name: str, most: int = 2048) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= most:
        _refuse(f"has no `{name}` of 1 to {most} characters")
    return value


def _seconds(claims: Mapping[str, Any], name: str) -> int:
    value = claims.get(name)
    if type(value) is not int or not 0 <= value < 2**40:
        _refuse(f"has a `{name}` that is no whole number of seconds since 1970")
    return value


def _same(why: str, said: object, wanted: object) -> None:
    if said != wanted:
        _refuse(why)


def _refuse(why: str) -> NoReturn:
    raise _refusal(f"{_WHAT} {why}")


def _refusal(detail: str) -> MalformedError:
    return MalformedError(
        ErrorCode.BAD_ACTOR_PROOF, detail, help="sign a fresh one with the actor's own key, as charter run does"
    )
