"""The slice of the work that the identity floor needs, and the stores it names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from charter.core.work import Transaction
from charter.identity.keys import KeyStore
from charter.registry.principal import ClientKey, LiveEstate
from charter.registry.record import Finding


class IdentityStore(KeyStore, Protocol):
    """Client keys, and what must not be accepted again."""

    def add_key(self, key: ClientKey) -> None:
        """Keep a new client key."""
        ...

    def update_key(self, key: ClientKey) -> None:
        """Replace the one with the same id."""
        ...

    def key_by_thumbprint(self, thumbprint: str) -> ClientKey | None:
        """Return the key of that thumbprint, whoever's it is."""
        ...

    def remember_assertion(self, thumbprint: str, jti_digest: str, expires_at: int) -> bool:
        """Remember a client assertion until `expires_at`; return False if it is remembered already."""
        ...

    def revoke_token(self, token_id: str, principal_id: str, expires_at: int) -> bool:
        """Keep a token as revoked until it would have expired; return False if it is already."""
        ...

    def forget_expired(self, before: int) -> int:
        """Forget assertions and revoked tokens that expired before `before`; return how many."""
        ...


class Findings(Protocol):
    """The findings kept."""

    def open(self, finding: Finding) -> tuple[Finding, bool]:
        """Keep a finding; return it as it stands, and whether it is new."""
        ...

    def of_kinds(self, kinds: Sequence[str]) -> list[Finding]:
        """Return every finding of these kinds, whatever its state."""
        ...

    def update(self, finding: Finding) -> None:
        """Replace the one with the same id."""
        ...


class HasFindings(Protocol):
    """The registry, as far as identity writes to it."""

    @property
    def findings(self) -> Findings:
        """The findings."""
        ...


class IdentityWork(Transaction, Protocol):
    """What every work on identities may do."""

    @property
    def live(self) -> LiveEstate:
        """The estate in memory."""
        ...

    @property
    def identity(self) -> IdentityStore:
        """Keys, assertions, tokens."""
        ...

    @property
    def registry(self) -> HasFindings:
        """Where findings are kept."""
        ...
