"""Who presents a call, and who asks for a token: what verification yields and everything later rests on.

Each names a principal and the credential that proved it, so that standing can be asked of both. Only
`identity/tokens.py` makes a `Bearer`; only `gateway/vouching.py` a `Vouched`; only a method of client authentication a
`Client`; only `identity/spiffe.py` a `Workload`; only `identity/attestation.py` an `Attested`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgspec

from charter.registry.narrowing import Narrowing


class Binding(StrEnum):
    """The kinds of key that a token can be bound to, by their names in `cnf` (RFC 7800)."""

    JKT = "jkt"  # the JWK thumbprint of a DPoP key (RFC 9449 section 6.1)
    X5T = "x5t#S256"  # the SHA-256 of a client certificate in DER (RFC 8705 section 3.1)


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The key that must be shown together with a token. `thumbprint` is a SHA-256 in base64url."""

    binding: Binding
    thumbprint: str

    def to_json(self) -> dict[str, str]:
        """Return the claim `cnf`."""
        return {self.binding.value: self.thumbprint}


class Shown(msgspec.Struct, frozen=True):
    """The keys that were shown together with a token."""

    proof: str | None = None  # thumbprint of the key whose DPoP proof came with it
    certificate: str | None = None  # x5t#S256 of the client certificate of its connection

    def proves(self, bound_to: Confirmation | None) -> bool:
        """Return whether a token bound to that key may be used: a proof is never shown for nothing."""
        if bound_to is None:
            return self.proof is None
        if bound_to.binding is Binding.JKT:
            return self.proof == bound_to.thumbprint
        return self.certificate == bound_to.thumbprint and self.proof is None


NOTHING = Shown()


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who presents the call: the verified access token's claims that matter."""

    principal_id: str
    principal_name: str
    epoch: int
    charter_digest: str  # the version the token was issued under
    token_id: str  # jti
    credential: str  # thumbprint of the credential that obtained it
    expires_at: int  # seconds since 1970
    bound_to: Confirmation | None = None  # the key that was shown with it; None: a plain bearer
    delegation: str | None = None  # the last of the chain it acts under; None: by its own authority alone
    initiator: str | None = None  # whose authority that chain lends
    narrowing: Narrowing | None = None  # what the token was narrowed to (RFC 9396)
    is_past: bool = False  # not what presents a call now, but what obtained something that lives on: a lease


class Proof(StrEnum):
    """What an enforcement point's question about a principal rests on."""

    TOKEN = "token"  # noqa: S105 - a word, no secret; the principal's own access token
    WORD = "word"  # the point's
    SUPPOSED = "supposed"  # nothing: it is asked what would be if the principal came; never answered with an allow


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouched(Bearer):
    """A principal that an enforcement point asks about: by the principal's own token, or by the point's word alone.

    INVARIANT: whatever is asked of a bearer is asked of it too; only what no token came for (a key, an epoch, a token's
    own revocation) cannot be, and the point's own token is asked about besides.
    """

    point: Bearer  # who asks
    proof: Proof

    @property
    def is_proved(self) -> bool:
        """Whether the principal's own token came along."""
        return self.proof is Proof.TOKEN


@dataclass(frozen=True, slots=True)
class UsedAssertion:
    """What is kept of an assertion, so that it is not accepted again."""

    digest: str  # of its jti
    remember_until: int  # seconds since 1970


@dataclass(frozen=True, slots=True)
class Client:
    """A client that proved itself. Its assertion, if it did so by one, is not yet remembered as used."""

    principal_id: str
    method: str  # how it proved itself, by its name in OAuth: private_key_jwt
    credential: str  # thumbprint of the credential that proved it
    assertion: UsedAssertion | None = None
    shown: tuple[str, ...] = ()  # what else it showed that is one principal's alone: a subject, an address
    vouched: frozenset[str] = frozenset()  # parts of its composition that what proved it tells of


@dataclass(frozen=True, slots=True)
class Attested:
    """A process that the kernel's word makes a principal, by one of its credentials."""

    principal_id: str
    credential: str  # thumbprint of the selectors it matched
    seen: Mapping[str, Any] = field(default_factory=dict, compare=False)  # what was seen of it, for the evidence


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload that proved itself by an SVID which this Charter issued."""

    principal_id: str
    principal_name: str
    epoch: int
    credential: str  # thumbprint of the credential by which it was known when it was issued
    svid_id: str  # a JWT-SVID's jti, an X.509-SVID's serial number
    expires_at: int  # seconds since 1970
