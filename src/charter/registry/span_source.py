"""Applications that Charter does not govern, and that send it spans with a key that Charter made once.

INVARIANT: the key itself is kept nowhere; its digest is. It opens the door for spans and no other.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from charter.core.canonical import digest
from charter.core.clock import rfc3339
from charter.registry.standing import Standing

PREFIX = "cds_"  # so that scanners for leaked secrets know one when they see it


@dataclass(frozen=True, slots=True)
class SpanSource:
    """One such application."""

    id: str  # src_…
    name: str
    key_digest: str
    standing: Standing
    made_by: str
    made_at: dt.datetime

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON, without anything of its key."""
        return {
            "id": self.id,
            "name": self.name,
            "standing": self.standing.value,
            "made_by": self.made_by,
            "made_at": rfc3339(self.made_at),
        }


def key_digest(key: str) -> str:
    """Return what is kept of a key: it has 256 random bits, so that a plain digest hides it."""
    return digest(key.encode(errors="surrogatepass"))
