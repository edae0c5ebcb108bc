"""Requests of clients to go by another key: as they should be, or with something changed."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Mapping
from typing import Any

from charter.core.canonical import canonical
from charter.identity.rotation_request import PROOF_TYPE, TYPE
from charter.server.oauth_rotation import ROTATE_PATH
from identity_stage import ISSUER, ClientKeyPair

_SERIAL = itertools.count()


def rotation_request(
    old: ClientKeyPair,
    new: ClientKeyPair,
    at: dt.datetime,
    *,
    outer: Mapping[str, Any] | None = None,
    inner: Mapping[str, Any] | None = None,
    header: Mapping[str, Any] | None = None,
    proof_header: Mapping[str, Any] | None = None,
    proof: object = None,
) -> str:
    """Return a request by both keys; None leaves a claim or member out."""
    now = int(at.timestamp())
    both = {"iss": old.client_id, "sub": old.client_id, "aud": f"{ISSUER}{ROTATE_PATH}", "iat": now, "exp": now + 60}
    claims = both | {"old": old.thumbprint} | dict(inner or {})
    if proof is None:
        head = {"typ": PROOF_TYPE, "jwk": bare(new)} | dict(proof_header or {})
        proof = new.signed(canonical(_without_none(claims)), head)
    said = both | {"jti": f"rotation-{next(_SERIAL):08}", "new": proof} | dict(outer or {})
    return old.signed(canonical(_without_none(said)), {"typ": TYPE} | dict(header or {}))


def bare(pair: ClientKeyPair) -> dict[str, str]:
    """Return the required members of a public key."""
    return {name: value for name, value in pair.jwk.items() if name in ("crv", "kty", "x", "y")}


def _without_none(claims: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in claims.items() if value is not None}
