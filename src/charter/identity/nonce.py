"""Nonces for DPoP proofs (RFC 9449 sections 8 and 9): they show that a proof was made lately, and for this server.

A nonce holds the second it was given out and a MAC over it, so that nothing is kept: any node that holds the same keys
knows the others'. It is good for a minute, as often as one likes; that a proof is used once is `ProofMemory`'s matter.

INVARIANT: a proof made before this process began is worth nothing to it: what it remembered of used proofs is gone,
so a nonce from then is refused, whoever gave it out.
INVARIANT: a proof made ahead of time, by whoever held the key for a moment, is worth nothing a minute later.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from typing import Protocol

from charter.core.errors import ErrorCode, UnauthenticatedError
from charter.identity.jose import decode_base64url, encode_base64url

NONCE_SECONDS = 60
SKEW_SECONDS = 5  # between nodes
_PURPOSE = b"charter/dpop-nonce/v1"
_TIME_BYTES, _MAC_BYTES = 5, 16
_CHARACTERS = 28  # base64url of both


class NonceKeys(Protocol):
    """Where the key comes from that all nodes share."""

    def derived(self, purpose: bytes) -> bytes:
        """Return 32 bytes for `purpose` alone, which follow the rotations of the key they are derived from."""
        ...

    def derived_before(self, purpose: bytes) -> bytes | None:
        """Return what `derived` gave before the last rotation, if that still counts."""
        ...


class Nonces:
    """Gives nonces out, and knows its own."""

    def __init__(self, keys: NonceKeys, began: dt.datetime) -> None:
        self._keys = keys
        self._began = int(began.timestamp())
        self._last = (-1, b"", "")  # second, key, nonce: most requests of a second get the same one

    def fresh(self, at: dt.datetime) -> str:
        """Return the nonce of the second `at`."""
        second, key = int(at.timestamp()), self._keys.derived(_PURPOSE)
        if self._last[:2] != (second, key):
            self._last = (second, key, _nonce(key, second))
        return self._last[2]

    def check(self, nonce: object, at: dt.datetime) -> None:
        """Check that a proof's nonce is one of ours, and of this minute.

        Raises:
            UnauthenticatedError: it is none, or none that is good any more; the answer must hold a fresh one.
        """
        if not isinstance(nonce, str) or len(nonce) != _CHARACTERS:
            raise _refusal(
                "has no `nonce` of this server" if nonce is None else "has a `nonce` that is not this server's"
            )
        try:
            second = int.from_bytes(decode_base64url(nonce)[:_TIME_BYTES])
        except ValueError:
            raise _refusal("has a `nonce` that is not this server's") from None
        keys = (self._keys.derived(_PURPOSE), self._keys.derived_before(_PURPOSE))
        wanted = [_nonce(key, second).encode() for key in keys if key is not None]
        if not any([hmac.compare_digest(nonce.encode(), each) for each in wanted]):  # noqa: C419 - each is compared
            raise _refusal("has a `nonce` that is not this server's")
        now = int(at.timestamp())
        if not max(self._began, now - NONCE_SECONDS) <= second <= now + SKEW_SECONDS:
            raise _refusal("has a `nonce` that is too old")


def _nonce(key: bytes, second: int) -> str:
    time = second.to_bytes(_TIME_BYTES)
    return encode_base64url(time + hmac.digest(key, time, hashlib.sha256)[:_MAC_BYTES])


def _refusal(why: str) -> UnauthenticatedError:
    return UnauthenticatedError(
        ErrorCode.NONCE_NEEDED, f"the DPoP proof {why}", help="use the one in the header `DPoP-Nonce` of this answer"
    )
