"""Passkeys of the local operator: how they sign in without a link (Web Authentication Level 3)."""

from __future__ import annotations

from dataclasses import dataclass

from charter.registry.standing import Standing


@dataclass(frozen=True, slots=True)
class Passkey:
    """One passkey. Its private half never left the device, and is good for the console's host alone."""

    id: str  # psk_…
    person: str
    host: str  # the relying party: the console's host name
    credential_id: str  # base64url, as the device knows it
    public_key: str  # base64url of a COSE key
    sign_count: int  # of its last use; a device that counts never counts backwards
    name: str
    standing: Standing
    added_at: str  # RFC 3339
    used_at: str | None
