"""What the decision API says of itself: AuthZEN metadata, signed besides (section 9), and where tokens come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from charter.core.clock import Clock
from charter.gateway.access_profiles import ACCESS_REQUEST_CAPABILITY, OBLIGATION_TYPES, Profile
from charter.identity.jose import sign_compact
from charter.identity.keys import KeyRing
from charter.identity.resource import DECISION_PATH, decisions_of

SIGNED_TYPE = "authzen-configuration+jwt"
MAX_AGE = (b"cache-control", b"public, max-age=300")
_ENDPOINTS = {
    "access_evaluation_endpoint": "/evaluation",
    "access_evaluations_endpoint": "/evaluations",
    "search_subject_endpoint": "/search/subject",
    "search_resource_endpoint": "/search/resource",
    "search_action_endpoint": "/search/action",
}


@dataclass(frozen=True, slots=True)
class Told:
    """A metadata document."""

    body: dict[str, Any]
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = (MAX_AGE,)


@dataclass(slots=True)
class Metadata:
    """Makes the documents, as they are seen at one door."""

    ring: KeyRing
    issuer: str
    base: str
    profiles: frozenset[Profile]
    clock: Clock

    def of(self, is_configuration: bool) -> Told:
        """Return the decision API's configuration, or its metadata as a protected resource (RFC 9728)."""
        if not is_configuration:
            return Told(resource_metadata(self.issuer))
        claims = self.configuration()
        key = self.ring.token_key()
        header = {"alg": "ES256", "kid": key.id, "typ": SIGNED_TYPE}
        signed = claims | {"iss": self.issuer, "iat": int(self.clock.now().timestamp())}
        return Told(claims | {"signed_metadata": sign_compact(header, signed, key.private)})

    def configuration(self) -> dict[str, Any]:
        """Return the configuration; what has no value is left out."""
        told: dict[str, Any] = {"policy_decision_point": self.base}
        told |= {name: self.base + DECISION_PATH + path for name, path in _ENDPOINTS.items()}
        told["jwks_uri"] = f"{self.issuer}/oauth/jwks"
        if Profile.ACCESS_REQUEST in self.profiles:
            told["access_request_endpoint"] = f"{self.base}{DECISION_PATH}/requests"
            told["capabilities"] = [ACCESS_REQUEST_CAPABILITY]
        if Profile.OBLIGATIONS in self.profiles:
            told["supported_obligations"] = list(OBLIGATION_TYPES)
        return told


def resource_metadata(issuer: str) -> dict[str, Any]:
    """Return where enforcement points get their tokens (RFC 9728)."""
    return {
        "resource": decisions_of(issuer),
        "authorization_servers": [issuer],
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": ["ES256", "EdDSA"],
        "resource_name": "Charter's decisions",
    }
