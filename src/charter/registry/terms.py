"""What a charter says of its principal's credential, as far as tokens depend on it: kept with the principal, in memory.

INVARIANT: what a charter does not say is refused. A bearer token, a secret, a certificate's name count only where the
charter in force names them.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from charter.core.canonical import canonical
from charter.registry.charter import Credential, CredentialType, Sharing

MAX_SHARED = 4096  # different terms kept once each, however many principals have them


class Bearing(StrEnum):
    """Whether a token may be used without showing a key."""

    BOUND = "bound"  # only together with the key it is bound to: the rule
    ALLOWED = "allowed"  # the charter says so
    # a charter from before there was a choice, until its next version (docs/adr/0010-bearer-tokens-by-charter.md)
    GRANDFATHERED = "grandfathered"


@dataclass(frozen=True, slots=True)
class Usage:
    """What a charter says of how its credential is used."""

    places: tuple[str, ...] = ()  # names of sharing.yaml, and networks; none: from anywhere
    instances: int | None = None  # how many use it at a time; None: nothing is said
    sharing: Sharing | None = None  # what follows when it is used otherwise


ANYHOW = Usage()


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of one principal."""

    type: CredentialType
    bearing: Bearing = Bearing.BOUND
    token_seconds: int | None = None  # how long its tokens live at most; None: as long as the server lets them
    certificate: str | None = None  # `san_dns:refunds.example.com`
    trusts: tuple[str, ...] = ()  # the trust domains whose bundles its workloads are given
    usage: Usage = ANYHOW
    rotate_seconds: int | None = None  # how old what it proves itself by may become; None: any age
    grace_seconds: int | None = None  # how long an older one counts on; None: until it is replaced

    @property
    def may_bear(self) -> bool:
        """Whether a token bound to no key is good."""
        return self.bearing is not Bearing.BOUND


def terms_of(credential: Credential) -> Terms:
    """Return the terms that a charter's `credential` sets."""
    named = credential.certificate
    return _shared(
        Terms(
            credential.type,
            Bearing.ALLOWED if credential.bearer else Bearing.BOUND,
            _seconds(credential.tokens),
            str(named) if named else None,
            credential.trusts or (),
            usage=Usage(credential.places or (), credential.instances, credential.sharing),
            rotate_seconds=_seconds(credential.rotate),
            grace_seconds=_seconds(credential.grace),
        )
    )


def write_terms(terms: Terms) -> str:
    """Return the terms as they are kept."""
    found = {
        "type": terms.type.value,
        "bearing": terms.bearing.value,
        "token_seconds": terms.token_seconds,
        "certificate": terms.certificate,
        "trusts": terms.trusts or None,
        "places": terms.usage.places or None,
        "instances": terms.usage.instances,
        "sharing": terms.usage.sharing.value if terms.usage.sharing else None,
        "rotate_seconds": terms.rotate_seconds,
        "grace_seconds": terms.grace_seconds,
    }
    return canonical({name: value for name, value in found.items() if value is not None}).decode()


@lru_cache(maxsize=MAX_SHARED)
def read_terms(text: str) -> Terms:
    """Return the terms that `write_terms` wrote."""
    found = json.loads(text)
    sharing = Sharing(found["sharing"]) if "sharing" in found else None
    return _shared(
        Terms(
            CredentialType(found["type"]),
            Bearing(found["bearing"]),
            found.get("token_seconds"),
            found.get("certificate"),
            tuple(found.get("trusts", ())),
            usage=Usage(tuple(found.get("places", ())), found.get("instances"), sharing),
            rotate_seconds=found.get("rotate_seconds"),
            grace_seconds=found.get("grace_seconds"),
        )
    )


@lru_cache(maxsize=MAX_SHARED)
def _shared(terms: Terms) -> Terms:
    """Return the same terms as one object, however many principals have them."""
    return terms


def _seconds(duration: dt.timedelta | None) -> int | None:
    return None if duration is None else int(duration.total_seconds())
