"""Signing keys as the domain sees them: something with a key id that signs, and a check that raises.

Evidence checkpoints and charters are signed with Ed25519 (RFC 8032). Access tokens use ES256 and live in
identity/tokens.py. `verify_*` raises, because ignoring its answer would be wrong.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from charter.core.canonical import canonical
from charter.core.errors import ErrorCode, IntegrityError

SEED_BYTES = 32


class Signer(Protocol):
    """Holds one private key and never shows it."""

    @property
    def key_id(self) -> str:
        """The RFC 7638 thumbprint of the public key."""
        ...

    @property
    def public(self) -> bytes:
        """The 32 raw bytes of the public key."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte signature over `data`."""
        ...


@dataclass(frozen=True, slots=True)
class Ed25519Signer:
    """A signer whose key is in memory."""

    key_id: str
    public: bytes
    _private: Ed25519PrivateKey

    @classmethod
    def from_seed(cls, seed: bytes) -> Ed25519Signer:
        """Return the signer of the private key that `seed` (32 bytes) is."""
        private = Ed25519PrivateKey.from_private_bytes(seed)
        public = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return cls(key_id_of(public), public, private)

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte signature over `data`."""
        return self._private.sign(data)


def key_id_of(public: bytes) -> str:
    """Return the RFC 7638 thumbprint (SHA-256, base64url) of a raw Ed25519 public key."""
    jwk = {"crv": "Ed25519", "kty": "OKP", "x": base64.urlsafe_b64encode(public).rstrip(b"=").decode()}
    return base64.urlsafe_b64encode(hashlib.sha256(canonical(jwk)).digest()).rstrip(b"=").decode()


def verify_ed25519(public: bytes, data: bytes, signature: bytes, what: str) -> None:
    """Check that `signature` is `public`'s over `data`; `what` names the signed thing in the error.

    Raises:
        IntegrityError: it is not.
    """
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except (InvalidSignature, ValueError) as err:
        raise IntegrityError(ErrorCode.BAD_SIGNATURE, f"the signature of {what} does not verify") from err
