"""What was shown, and by whom: keys, certificates and subjects, each by the one principal that showed it first.

A *mark* is what is the same wherever it turns up: the RFC 7638 thumbprint of a public key, be it in a JWK, in a
certificate or in a DPoP proof; a subject of another issuer; the address of a public client.

INVARIANT: memory is bounded, and one principal cannot crowd out another's: past `MAX_OF_ONE` of its own it loses those.
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from charter.core.canonical import digest
from charter.core.errors import CharterError
from charter.identity.certificate import read_certificate
from charter.identity.use import Use

CLIENT_MARK, SUBJECT_MARK = "client", "subject"
MAX_SUBJECT = 255  # characters, as OpenID Connect has it
MAX_MARKS = 100_000
MAX_OF_ONE = 1_000


class Marks:
    """The marks shown lately."""

    def __init__(self, most: int = MAX_MARKS, most_of_one: int = MAX_OF_ONE) -> None:
        self._most, self._most_of_one = most, most_of_one
        self._first: dict[str, Use] = {}
        self._of: dict[str, deque[str]] = {}  # a principal's marks, oldest first

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._first)

    def get(self, mark: str) -> Use | None:
        """Return the use that showed it first."""
        return self._first.get(mark)

    def put(self, mark: str, use: Use) -> None:
        """Remember who shows `mark`, in place of what was remembered of it."""
        if mark not in self._first:
            own = self._of.setdefault(use.principal_id, deque())
            own.append(mark)
            if len(own) > self._most_of_one:
                self._drop(own.popleft())
            while len(self._first) >= self._most:
                self._drop_oldest()
        self._first[mark] = use

    def _drop_oldest(self) -> None:
        mark, use = next(iter(self._first.items()))
        own = self._of.get(use.principal_id)
        if own is not None and mark in own:
            own.remove(mark)
            if not own:
                del self._of[use.principal_id]
        self._drop(mark)

    def _drop(self, mark: str) -> None:
        self._first.pop(mark, None)


def subject_marks(issuer: str, subject: object) -> tuple[str, ...]:
    """Return the mark of a subject of another issuer, if it is one."""
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT:
        return ()
    return (f"{SUBJECT_MARK} {issuer} {subject}",)


@lru_cache(maxsize=4096)
def mark_of_certificate(der: bytes) -> str | None:
    """Return the mark of the key that a certificate holds: as of a JWK where it could be one, else of its own bytes."""
    try:
        read = read_certificate(der)
    except CharterError:
        return None
    if read.key is not None:
        return read.key
    public = read.parsed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"spki {digest(public)}"
