"""What a charter says of its principal's credential, as far as tokens depend on it: kept with the principal, in memory.

INVARIANT: what a charter does not say is refused. A bearer token, a secret, a certificate's name count only where the
charter in force names them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from charter.core.canonical import canonical
from charter.registry.charter import Credential, CredentialType

MAX_SHARED = 4096  # different terms kept once each, however many principals have them


class Bearing(StrEnum):
    """Whether a token may be used without showing a key."""

    BOUND = "bound"  # only together with the key it is bound to: the rule
    ALLOWED = "allowed"  # the charter says so
    # a charter from before there was a choice, until its next version (docs/adr/0010-bearer-tokens-by-charter.md)
    GRANDFATHERED = "grandfathered"


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of one principal."""

    type: CredentialType
    bearing: Bearing = Bearing.BOUND
    token_seconds: int | None = None  # how long its tokens live at most; None: as long as the server lets them
    certificate: str | None = None  # `san_dns:refunds.example.com`
    trusts: tuple[str, ...] = ()  # the trust domains whose bundles its workloads are given

    @property
    def may_bear(self) -> bool:
        """Whether a token bound to no key is good."""
        return self.bearing is not Bearing.BOUND


def terms_of(credential: Credential) -> Terms:
    """Return the terms that a charter's `credential` sets."""
    life, named = credential.tokens, credential.certificate
    return _shared(
        credential.type,
        Bearing.ALLOWED if credential.bearer else Bearing.BOUND,
        int(life.total_seconds()) if life else None,
        str(named) if named else None,
        credential.trusts or (),
    )


def write_terms(terms: Terms) -> str:
    """Return the terms as they are kept."""
    found = {
        "type": terms.type.value,
        "bearing": terms.bearing.value,
        "token_seconds": terms.token_seconds,
        "certificate": terms.certificate,
        "trusts": terms.trusts or None,
    }
    return canonical({name: value for name, value in found.items() if value is not None}).decode()


@lru_cache(maxsize=MAX_SHARED)
def read_terms(text: str) -> Terms:
    """Return the terms that `write_terms` wrote."""
    found = json.loads(text)
    return _shared(
        CredentialType(found["type"]),
        Bearing(found["bearing"]),
        found.get("token_seconds"),
        found.get("certificate"),
        tuple(found.get("trusts", ())),
    )


@lru_cache(maxsize=MAX_SHARED)
def _shared(
    kind: CredentialType,
    bearing: Bearing,
    token_seconds: int | None,
    certificate: str | None,
    trusts: tuple[str, ...],
) -> Terms:
    return Terms(kind, bearing, token_seconds, certificate, trusts)
