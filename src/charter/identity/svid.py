"""Issuing SVIDs: one work that asks whether the principal may act, and records what will be signed before it is.

An X.509-SVID lives an hour, a JWT-SVID five minutes; neither outlives the charter, nor the authority that signs it.

INVARIANT: standing is asked of principal and credential on every issue, where nothing can change meanwhile; a refusal
signs nothing.
INVARIANT: what an SVID says is recorded, by its serial number or digest, before it is signed; it leaves only after that
is durable. Private halves are made for one SVID, and are in neither evidence nor database.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric import ec

from charter.core.canonical import digest_of
from charter.core.clock import rfc3339
from charter.core.entropy import Entropy
from charter.core.errors import ErrorCode, MalformedError
from charter.core.values import SpiffeId
from charter.core.work import Transaction
from charter.evidence.entry import Draft, EntryKind
from charter.identity.attestation import DIGEST
from charter.identity.authority import refusal
from charter.identity.bearer import Attested
from charter.identity.bundle import ec_jwk
from charter.identity.composition import PROGRAM, unattested
from charter.identity.jose import sign_compact, thumbprint_of
from charter.identity.keys import KeyUse, TokenKey
from charter.identity.spiffe import ORIGIN_CLAIM
from charter.identity.trust import Trust
from charter.identity.x509_authority import SVID_LIFE, Issuer
from charter.identity.x509_profile import Origin, SvidPlan, key_id_of, serial_number, sign_svid
from charter.registry.principal import LiveEstate, Principal
from charter.registry.standing import Refusal

JWT_LIFE = dt.timedelta(minutes=5)
MAX_AUDIENCES = 8
MAX_AUDIENCE = 512  # characters
_id_of = lru_cache(maxsize=16_384)(SpiffeId.parse)  # the same principals come again every half hour


class SvidWork(Transaction, Protocol):
    """The slice of the work that issuing needs."""

    @property
    def live(self) -> LiveEstate:
        """The estate in memory."""
        ...


@dataclass(frozen=True, slots=True)
class X509Planned:
    """An X.509-SVID that is recorded and yet to be signed."""

    plan: SvidPlan
    issuer: Issuer

    def sign(self) -> tuple[bytes, bytes]:
        """Return the chain in DER: the SVID, and the intermediate that signed it."""
        return sign_svid(self.plan, self.issuer.form, self.issuer.key), self.issuer.der


@dataclass(frozen=True, slots=True)
class JwtPlanned:
    """A JWT-SVID that is recorded and yet to be signed."""

    claims: Mapping[str, Any]
    key: TokenKey = field(repr=False)

    def sign(self) -> str:
        """Return the token."""
        return sign_compact({"alg": "ES256", "kid": self.key.id, "typ": "JWT"}, self.claims, self.key.private)


def plan_x509(
    tx: SvidWork, known: Attested, public: ec.EllipticCurvePublicKey, trust: Trust, entropy: Entropy
) -> X509Planned | Refusal:
    """Record an X.509-SVID for the key `public`, or return why there is none. A work."""
    principal = _may_have(tx, known, trust)
    if isinstance(principal, Refusal):
        return principal
    issuer = trust.authorities.issuer()
    begins = tx.at.replace(microsecond=0)
    ends = min(_ends(principal, begins + SVID_LIFE), issuer.ends)
    plan = SvidPlan(
        _id_of(principal.spiffe_id),
        public,
        serial_number(entropy),
        begins,
        ends,
        Origin(known.credential, principal.epoch),
    )
    said: dict[str, Any] = {"serial": f"{plan.serial:x}", "public_key": key_id_of(public), "issuer": issuer.id}
    said["key"] = thumbprint_of(ec_jwk(public))
    _record(tx, principal, known, said | {"type": "x509-svid", "expires": rfc3339(ends)})
    return X509Planned(plan, issuer)


def plan_own(tx: SvidWork, path: str, public: ec.EllipticCurvePublicKey, trust: Trust, entropy: Entropy) -> X509Planned:
    """Record an X.509-SVID of Charter itself, for one of its own endpoints: `/charter/…` is no principal's. A work."""
    issuer, begins = trust.authorities.issuer(), tx.at.replace(microsecond=0)
    ends, name = min(begins + SVID_LIFE, issuer.ends), SpiffeId(trust.trust_domain, path)
    plan = SvidPlan(name, public, serial_number(entropy), begins, ends, None)
    body = {
        "type": "x509-svid",
        "principal": None,
        "spiffe_id": str(name),
        "serial": f"{plan.serial:x}",
        "public_key": key_id_of(public),
        "issuer": issuer.id,
        "expires": rfc3339(ends),
    }
    tx.record(Draft(EntryKind.SVID_ISSUED, "charter", None, body))
    return X509Planned(plan, issuer)


def plan_jwt(
    tx: SvidWork, known: Attested, audiences: tuple[str, ...], trust: Trust, entropy: Entropy
) -> JwtPlanned | Refusal:
    """Record a JWT-SVID for `audiences`, or return why there is none. A work."""
    principal = _may_have(tx, known, trust)
    if isinstance(principal, Refusal):
        return principal
    key, now = trust.ring.token_key(KeyUse.JWT_SVID), int(tx.at.timestamp())
    claims = {
        "sub": principal.spiffe_id,
        "aud": list(audiences),
        "iat": now,
        "exp": int(_ends(principal, tx.at + JWT_LIFE).timestamp()),
        "jti": entropy.identifier("svd"),
        ORIGIN_CLAIM: Origin(known.credential, principal.epoch).to_json(),
    }
    said = {"token": claims["jti"], "audiences": list(audiences), "key": key.id, "claims": digest_of(claims)}
    _record(tx, principal, known, said | {"type": "jwt-svid", "expires": claims["exp"]})
    return JwtPlanned(claims, key)


def check_audiences(audiences: tuple[str, ...]) -> None:
    """Check that a JWT-SVID can be made out to these.

    Raises:
        MalformedError: there are none or too many, or one is empty, too long or holds control characters.
    """
    if not 0 < len(audiences) <= MAX_AUDIENCES:
        raise MalformedError(
            ErrorCode.BAD_REQUEST,
            f"a JWT-SVID is made out to 1 to {MAX_AUDIENCES} audiences, not {len(audiences)}",
            help="name the service it is for, one at best: it can be replayed to each of them by any other",
        )
    for each in audiences:
        if not 0 < len(each) <= MAX_AUDIENCE or not each.isprintable():
            raise MalformedError(
                ErrorCode.BAD_REQUEST,
                f"the audience {each[:80]!a} is empty, longer than {MAX_AUDIENCE} or no plain text",
                help="name the service it is for",
            )


def _may_have(tx: SvidWork, known: Attested, trust: Trust) -> Principal | Refusal:
    stopped = refusal(tx.live, known, None, at=tx.at)
    if stopped is not None:
        return stopped
    principal = tx.live.principals[known.principal_id]
    stopped = unattested(tx.live, principal, {PROGRAM} if DIGEST in known.seen else ())
    if stopped is not None:
        return stopped
    if _id_of(principal.spiffe_id).trust_domain != trust.trust_domain:
        return Refusal(
            principal.name,
            f"`{principal.spiffe_id}` is not of the trust domain `{trust.trust_domain}`",
            "set CHARTER_TRUST_DOMAIN to what it was, or register the principal again under another name",
        )
    return principal


def _ends(principal: Principal, latest: dt.datetime) -> dt.datetime:
    """Return when what a principal is given ends: with its charter at the latest."""
    charter = principal.subject.expires
    return latest if charter is None else min(latest, charter)


def _record(tx: SvidWork, principal: Principal, known: Attested, said: dict[str, Any]) -> None:
    body = {
        "principal": principal.name,
        "spiffe_id": principal.spiffe_id,
        "credential": known.credential,
        "epoch": principal.epoch,
        "charter": {"version": principal.version, "digest": principal.digest},
        "seen": dict(known.seen),
    }
    tx.record(Draft(EntryKind.SVID_ISSUED, principal.id, principal.id, body | said))
