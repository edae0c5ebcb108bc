"""Who presents a call, and who asks for a token: what verification yields and everything later rests on.

Both name a principal and the key that proved it, so that standing can be asked of both. Only `identity/tokens.py` makes
a `Bearer` and only `identity/clients.py` makes a `Client`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who presents the call: the verified access token's claims that matter."""

    principal_id: str
    principal_name: str
    epoch: int
    charter_digest: str  # the version the token was issued under
    token_id: str  # jti
    key_thumbprint: str  # of the client key that obtained it
    expires_at: int  # seconds since 1970
    bound_to: str | None = None  # thumbprint of the key whose proof was shown with it (RFC 9449); None: a plain bearer


@dataclass(frozen=True, slots=True)
class Client:
    """A client that proved itself by an assertion (RFC 7523), which is not yet remembered as used."""

    principal_id: str
    key_thumbprint: str
    assertion_digest: str  # of the assertion's jti
    remember_until: int  # seconds since 1970: until then the assertion must not be accepted again
