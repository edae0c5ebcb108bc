"""Clients that registered themselves (RFC 7591), where the charter of a public client lets them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RegisteredClient:
    """One registration: it names the principal, and proves nothing by itself."""

    client_id: str  # dcl_…
    principal_id: str
    name: str  # what it calls itself
    redirects: tuple[str, ...]
    registered_at: str  # RFC 3339
