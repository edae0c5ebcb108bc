"""One symmetric key that seals: AES-256-GCM with a fresh nonce, bound to what the seal is for.

INVARIANT: a seal opens under the key and for the context it was made with, whole and unaltered, or not at all.
INVARIANT: a nonce is 96 random bits (NIST SP 800-38D section 8.2.2); one key makes far fewer than 2^32 seals, since
data keys are replaced by age.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from charter.core.entropy import Entropy
from charter.core.values import Secret
from charter.identity.jose import decode_base64url, encode_base64url

KEY_BYTES = 32
_NONCE_BYTES = 12


class Sealer(Protocol):
    """Seals secrets that are kept in the database, whatever holds the keys to them."""

    def seal(self, secret: Secret, context: str) -> str:
        """Return `secret` sealed, bound to `context`."""
        ...

    def unseal(self, sealed: str, context: str) -> Secret:
        """Return what was sealed for `context`.

        Raises:
            IntegrityError: it was sealed under another key, for another context, or altered.
        """
        ...


class SealBrokenError(Exception):
    """What was to be opened was altered, or was made with another key or for something else."""


@dataclass(frozen=True, slots=True)
class SealingKey:
    """32 bytes of key, ready to use."""

    fingerprint: str  # 16 hex digits that tell this key from others, and nothing else about it
    _aead: AESGCM = field(repr=False)
    _entropy: Entropy = field(repr=False)

    @classmethod
    def of(cls, secret: Secret, entropy: Entropy) -> SealingKey:
        """Return the key that `secret` is.

        Raises:
            ValueError: it is not 32 bytes long.
        """
        key = secret.reveal()
        if len(key) != KEY_BYTES:
            raise ValueError(f"a sealing key is {KEY_BYTES} bytes long")
        return cls(hashlib.sha256(b"charter master key\x00" + key).hexdigest()[:16], AESGCM(key), entropy)

    def close(self, secret: Secret, context: str) -> str:
        """Return `secret` sealed for `context`: base64url of nonce and ciphertext."""
        nonce = self._entropy.bytes(_NONCE_BYTES)
        return encode_base64url(nonce + self._aead.encrypt(nonce, secret.reveal(), context.encode()))

    def open(self, text: str, context: str) -> Secret:
        """Return what was sealed for `context`.

        Raises:
            SealBrokenError: it was not, with this key, or was altered since.
        """
        try:
            data = decode_base64url(text)
            return Secret(self._aead.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], context.encode()))
        except (ValueError, InvalidTag) as err:
            raise SealBrokenError from err
