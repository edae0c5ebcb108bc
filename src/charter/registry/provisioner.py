"""Who may write people and groups: the organisation's directory, by a bearer token that Charter made once.

INVARIANT: the token itself is kept nowhere; its digest is, and what is presented is compared by digest.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from charter.core.canonical import digest
from charter.registry.standing import Standing

PREFIX = "cdp_"  # so that scanners for leaked secrets know one when they see it


@dataclass(frozen=True, slots=True)
class Provisioner:
    """One directory that may provision."""

    id: str  # prv_…
    name: str
    token_digest: str
    standing: Standing
    made_by: str
    made_at: dt.datetime


def token_digest(token: str) -> str:
    """Return what is kept of a token: it has 256 random bits, so that a plain digest hides it."""
    return digest(token.encode(errors="surrogatepass"))
