"""Payloads of evidence entries as they are kept: encrypted, each under a key of its own.

A payload's key is HMAC-SHA256 of its place in the log and its salt, under an evidence key that is sealed under the data
keys (identity/envelope.py). So it takes the row, which an erasure empties, and the evidence key, which is in no row in
the clear: what a disk, a backup or a write-ahead log keeps of an erased row opens for nobody without the master key.

INVARIANT: a key encrypts once, so its nonce is fixed (NIST SP 800-38D section 8.2: a key and a nonce never meet twice).
"""

from __future__ import annotations

import datetime as dt
import hmac
from dataclasses import dataclass, field

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from charter.adapters import tables as t
from charter.core.clock import rfc3339
from charter.core.entropy import Entropy
from charter.core.values import Secret
from charter.evidence.log import broken
from charter.evidence.payload import Apart
from charter.identity.sealing import KEY_BYTES, Sealer

_NONCE = bytes(12)
AT_ONCE = 64  # salts that are drawn together: at each draw the interpreter is another thread's to take


def key_context(key_id: int) -> str:
    """Return what the seal of an evidence key is bound to."""
    return f"charter/evidence-key/{key_id}"


@dataclass(slots=True)
class Payloads:
    """The evidence keys in memory: closes payloads and opens them."""

    sealer: Sealer
    entropy: Entropy
    _keys: dict[int, bytes] = field(default_factory=dict, repr=False)
    active: int = 0
    _drawn: bytes = field(default=b"", repr=False)  # random bytes for salts to come

    def begin(self, connection: sa.Connection, at: dt.datetime) -> None:
        """Open the evidence keys that are kept; make the first if there is none.

        Raises:
            IntegrityError: one does not open.
        """
        row = t.evidence_key.c
        for key_id, sealed in connection.execute(sa.select(row.id, row.sealed)):
            self._keys[key_id] = self.sealer.unseal(sealed, key_context(key_id)).reveal()
        if not self._keys:
            self._keys[1] = self.entropy.bytes(KEY_BYTES)
            sealed = self.sealer.seal(Secret(self._keys[1]), key_context(1))
            connection.execute(t.evidence_key.insert(), {"id": 1, "sealed": sealed, "created_at": rfc3339(at)})
        self.active = max(self._keys)

    def salt(self, nbytes: int) -> bytes:
        """Return the random bytes of one payload. Only the writer asks, for the same number each time."""
        if len(self._drawn) < nbytes:
            self._drawn = self.entropy.bytes(nbytes * AT_ONCE)
        salt, self._drawn = self._drawn[:nbytes], self._drawn[nbytes:]
        return salt

    def close(self, node: str, index: int, apart: Apart) -> bytes:
        """Return the payload of the entry at `index` of `node`, encrypted under the active evidence key."""
        return self._cipher(self.active, node, index, apart.salt).encrypt(_NONCE, apart.payload, None)

    def open(self, node: str, index: int, salt: bytes, payload: bytes, key_id: int) -> bytes:
        """Return the payload of the entry at `index` of `node`.

        Raises:
            IntegrityError: it was altered, belongs to another entry, or its evidence key is not here.
        """
        try:
            return self._cipher(key_id, node, index, salt).decrypt(_NONCE, payload, None)
        except (InvalidTag, KeyError) as err:
            raise broken(
                f"the payload of entry {index} does not open: it was altered, or belongs to another entry"
            ) from err

    def _cipher(self, key_id: int, node: str, index: int, salt: bytes) -> AESGCM:
        # `hmac.digest` would let the interpreter go, and have to wait for it again, for each of a group's entries.
        return AESGCM(hmac.new(self._keys[key_id], f"{node}/{index}/".encode() + salt, "sha256").digest())
