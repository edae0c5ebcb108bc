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
    since: dt.datetime | None = None  # when its present token was made, if not with it
    before_digest: str | None = None  # of the token before
    before_until: dt.datetime | None = None  # until when that counts too

    def is_shown_by(self, shown_digest: str, at: dt.datetime) -> bool:
        """Return whether a token of that digest is this provisioner's at `at`, and it may provision."""
        if self.standing is not Standing.ACTIVE:
            return False
        is_before = shown_digest == self.before_digest and self.before_until is not None and at < self.before_until
        return shown_digest == self.token_digest or is_before

    @property
    def digests(self) -> tuple[str, ...]:
        """The digests under which it is found."""
        return (self.token_digest, *([self.before_digest] if self.before_digest else []))


def token_digest(token: str) -> str:
    """Return what is kept of a token: it has 256 random bits, so that a plain digest hides it."""
    return digest(token.encode(errors="surrogatepass"))
