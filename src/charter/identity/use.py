"""One use of a credential, as evidence tells it, and two uses that cannot both be one principal's."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from charter.core.canonical import digest_of
from charter.core.clock import rfc3339
from charter.registry.sharing import Certainty


class Deed(StrEnum):
    """What a credential was used for."""

    REGISTRATION = "registration"  # it was registered, or offered
    TOKEN = "token"  # noqa: S105 - a kind of use; a token was issued to it
    CALL = "call"  # a token that it obtained was presented
    SVID = "svid"  # an SVID was asked for
    PROCESS = "process"  # a process proved to be it


class Sharing(StrEnum):
    """What two uses say. The values are the kinds of findings."""

    PRINCIPALS = "shared-credential"  # one key, certificate or subject for two principals
    WORKLOADS = "shared-workloads"  # one key from two attested workloads
    TOKEN = "shared-token"  # noqa: S105 - a kind; one bearer token from two senders
    PLACES = "shared-places"  # one credential in two places at a time
    OUTSIDE = "outside-places"  # … elsewhere than its charter says
    INSTANCES = "shared-instances"  # … by more at a time than its charter says
    NODE = "another-node"  # attested on one node, used from where another is


@dataclass(frozen=True, slots=True)
class Use:
    """One use."""

    principal_id: str
    credential: str  # thumbprint of the credential that proved the principal
    deed: Deed
    at: dt.datetime
    until: dt.datetime | None = None  # when the same sender was last seen
    source: str = ""  # the address it came from
    place: str = ""
    key: str | None = None  # thumbprint of the key that was shown with it
    token: str | None = None  # the token's id
    workload: str | None = None  # node and selectors of an attested workload, or its process
    entry: int | None = None  # where the evidence has it already
    is_proved: bool = False  # whether it was shown that what came with it is held; a public key can be anyone's word

    def to_json(self) -> dict[str, Any]:
        """Return what evidence says of it; what is not known is left out."""
        found: dict[str, Any] = {
            "principal": self.principal_id,
            "credential": self.credential,
            "deed": self.deed.value,
            "at": rfc3339(self.at),
            "until": rfc3339(self.until) if self.until else None,
            "source": self.source or None,
            "place": self.place or None,
            "key": self.key,
            "token": self.token,
            "workload": self.workload,
            "proved": True if self.is_proved else None,
        }
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two uses that cannot both be one principal's in one place. `about` makes it the same fact when it comes again."""

    kind: Sharing
    certainty: Certainty
    about: tuple[str, ...]
    uses: tuple[Use, Use]  # the earlier first
    why: str  # one sentence, with principals by their names
    times: int = 1  # how often it was noticed since it was last told

    @property
    def fingerprint(self) -> str:
        """What makes it the same finding."""
        if self.kind is Sharing.PRINCIPALS:  # as findings of refused registrations have it
            thumbprint, *principals = self.about
            return digest_of({"kind": self.kind.value, "thumbprint": thumbprint, "principals": principals})
        return digest_of({"kind": self.kind.value, "about": list(self.about)})

    @property
    def principals(self) -> tuple[str, ...]:
        """The ids of the principals it is about, each once."""
        return tuple(dict.fromkeys(use.principal_id for use in self.uses))
