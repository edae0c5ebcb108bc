"""Agent cards for tests: the specification's own shape, signed as its Python SDK signs, or by hand.

card = a_card(version="2.0.0")
signed = signed_by(a_key("key-1"), card)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from charter.core.canonical import canonical
from charter.identity.foreign import ForeignKey, parse_key_set
from charter.identity.jose import encode_base64url

CARD: dict[str, Any] = {
    "name": "Route Planner",
    "description": "Plans routes, and says how long they take.",
    "supportedInterfaces": [
        {"url": "https://routes.example.com/a2a/v1", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
    ],
    "provider": {"organization": "Example Routes", "url": "https://routes.example.com"},
    "version": "1.2.0",
    "capabilities": {"streaming": True, "pushNotifications": False},
    "securitySchemes": {"google": {"openIdConnectSecurityScheme": {"openIdConnectUrl": "https://id.example.com/oidc"}}},
    "securityRequirements": [{"schemes": {"google": {"list": ["openid"]}}}],
    "defaultInputModes": ["text/plain"],
    "defaultOutputModes": ["text/plain", "image/png"],
    "skills": [
        {"id": "plan", "name": "Plan a route", "description": "From here to there.", "tags": ["maps", "navigation"]}
    ],
}


def a_card(**changed: Any) -> dict[str, Any]:
    """Return a card with some members changed; None leaves one out."""
    return {name: value for name, value in (json.loads(json.dumps(CARD)) | changed).items() if value is not None}


@dataclass(frozen=True)
class CardKey:
    """A key that signs cards."""

    private: ECKey | OKPKey | RSAKey
    key_id: str
    algorithm: str

    @property
    def jwk(self) -> dict[str, Any]:
        """Its public half."""
        return {**self.private.as_dict(private=False), "kid": self.key_id}

    @property
    def trusted(self) -> tuple[ForeignKey, ...]:
        """The key as an operator trusts it."""
        return parse_key_set({"keys": [self.jwk]})


def a_key(key_id: str = "key-1", algorithm: str = "ES256") -> CardKey:
    match algorithm:
        case "EdDSA":
            return CardKey(OKPKey.generate_key("Ed25519"), key_id, algorithm)
        case "RS256" | "PS256":
            return CardKey(RSAKey.generate_key(2048), key_id, algorithm)
        case _:
            return CardKey(ECKey.generate_key("P-256"), key_id, algorithm)


def signature_of(
    key: CardKey, form: bytes, *, header: Mapping[str, Any] | None = None, algorithm: str | None = None
) -> dict[str, Any]:
    """Return the signature that `key` makes over `form`; `header` changes members of the protected header."""
    members = {"alg": key.algorithm, "typ": "JOSE", "kid": key.key_id} | dict(header or {})
    protected = encode_base64url(canonical(members))
    signed = f"{protected}.{encode_base64url(form)}".encode()
    raw = JWSRegistry.algorithms[algorithm or key.algorithm].sign(signed, key.private)
    return {"protected": protected, "signature": encode_base64url(raw)}


def signed_by(key: CardKey, card: dict[str, Any], **header: Any) -> dict[str, Any]:
    """Return `card` with one more signature, over its members as they stand, in RFC 8785's form."""
    form = canonical({name: value for name, value in card.items() if name != "signatures"})
    return card | {"signatures": [*card.get("signatures", []), signature_of(key, form, header=header)]}


def as_bytes(card: Mapping[str, Any]) -> bytes:
    return json.dumps(card, ensure_ascii=False).encode()
