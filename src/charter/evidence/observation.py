"""What another told of something that Charter did not see itself: one event, in the words of evidence.

INVARIANT: an observation is what its source says. It gives no authority, spends nothing and closes no verdict; its
entry names the source, the event's own id there and the digest of what was told, to hold the original against.
INVARIANT: prompts, answers, request bodies and secrets are not taken over, only the fields below, each bounded.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass, field
from typing import Any

import msgspec

from charter.core.clock import rfc3339
from charter.core.errors import ErrorCode, MalformedError
from charter.evidence.entry import Draft, EntryKind

MAX_TEXT = 512
MAX_DIGITS = 20  # of 64 bits
FIRST_YEAR = 2000
_encode = msgspec.json.Encoder(order="sorted").encode


@dataclass(frozen=True, slots=True)
class Who:
    """Who acted, as the source names them."""

    name: str
    id: str = ""
    kind: str = "unknown"  # person | service | agent | unknown
    credential: str = ""  # the id of the key or session used, never the secret
    # What the source itself makes sure of, in a form of its own: a service account, `account/role`, an object id. Never
    # what an actor says of itself or could choose: a display name, a session's name, an attribute of a span.
    marks: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All that a person could know it by."""
        return tuple(dict.fromkeys(each for each in (self.name, self.id, self.credential, *self.marks) if each))


@dataclass(frozen=True, slots=True)
class Used:
    """The model that was asked, and what that took."""

    provider: str = ""
    model: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """One event that a source told of."""

    source: str  # kind: cloudtrail, entra, …, otlp
    event: str  # its own id there; of events without one, the digest
    digest: str  # SHA-256, hex, of what was told
    at: dt.datetime
    who: Who
    action: str
    effect: str = "other"  # create | read | update | delete | other
    service: str = ""
    object: str = ""
    outcome: str = "unknown"  # success | failure | unknown
    error: str = ""
    address: str = ""
    used: Used | None = None
    uses_ai: bool = False  # whether it shows AI in use
    more: dict[str, str] = field(default_factory=dict)  # trace, span, session, region, …
    teller: str = ""  # where names mean something beside one teller alone: which

    @property
    def actor(self) -> str:
        """Who acted, as people are shown it and say who that is."""
        return self.named(self.who.name)

    def named(self, name: str) -> str:
        """Return a name of the actor with its teller, where that belongs to it."""
        return f"{self.teller}/{name}" if self.teller else name

    @property
    def identity(self) -> str:
        """What makes it the same event when it is told again: SHA-256, hex."""
        return identity_of(self.source, self.event)

    def draft(self, principal: tuple[str, str] | None, known_by: str, told: dict[str, str]) -> Draft:
        """Return the entry of it. `principal` is the id and name of who it is known to be, `told` who brought it.

        Its actor is the source that tells it: whom it names can be erased with the rest of `who`.
        """
        who = {"name": self.who.name, "id": self.who.id, "kind": self.who.kind, "credential": self.who.credential}
        body: dict[str, Any] = {
            "source": {"kind": self.source, "event": self.event, "digest": f"sha256:{self.digest}", **told},
            "at": rfc3339(self.at),
            "who": {name: value for name, value in who.items() if value},
            "action": self.action,
            "effect": self.effect,
            "outcome": self.outcome,
            "principal": principal[1] if principal else None,
            "known_by": known_by or None,
            "uses_ai": self.uses_ai,
        }
        texts = {"service": self.service, "object": self.object, "error": self.error, "address": self.address}
        body |= {name: value for name, value in texts.items() if value}
        if self.used is not None:
            body["model"] = {"provider": self.used.provider, "name": self.used.model}
            counts = {"input_tokens": self.used.input_tokens, "output_tokens": self.used.output_tokens}
            body["used"] = {name: value for name, value in counts.items() if value is not None}
        if self.more:
            body["more"] = dict(self.more)
        return Draft(EntryKind.OBSERVED, self.source, principal[0] if principal else None, body)


def identity_of(source: str, event: str) -> str:
    """Return what makes an event the same when it is told again: SHA-256, hex."""
    return hashlib.sha256(f"{source}\0{event}".encode(errors="surrogatepass")).hexdigest()


def digest_of_record(record: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return the SHA-256 of a JSON value, hex, whatever the order and spacing it was written in."""
    return hashlib.sha256(_encode(record)).hexdigest()


def text_of(value: object, longest: int = MAX_TEXT) -> str:
    """Return a value of a stranger's record as bounded text; what is no text or number is left out."""
    if isinstance(value, str):
        return value[:longest]
    return str(value)[:longest] if isinstance(value, int) and not isinstance(value, bool) else ""


def count_of(value: object, below: int = 2**53) -> int | None:
    """Return a count, or None if it is none below `below`: by default, none that evidence can hold."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < below else None


def time_of(value: object) -> dt.datetime:
    """Return the moment that a record names: RFC 3339, or seconds, milliseconds, micro- or nanoseconds since 1970.

    Raises:
        MalformedError: it names none since 2000.
    """
    try:
        if isinstance(value, str) and not value.isdigit():
            at = dt.datetime.fromisoformat(value)
            at = at.astimezone(dt.UTC) if at.tzinfo else at.replace(tzinfo=dt.UTC)
        elif isinstance(value, int | float | str) and not isinstance(value, bool):
            at = _since_1970(value)
        else:
            raise _no_time()
    except (ValueError, OverflowError, OSError) as err:
        raise _no_time() from err
    if at.year < FIRST_YEAR:
        raise _no_time()
    return at


def _since_1970(value: float | str) -> dt.datetime:
    number = float(value)
    for factor in (1e9, 1e6, 1e3):  # the largest that leaves a moment since 1972
        if number / factor > 9e7:  # noqa: PLR2004 - November 1972
            number /= factor
            break
    return dt.datetime.fromtimestamp(number, dt.UTC)


def _no_time() -> MalformedError:
    return MalformedError(ErrorCode.BAD_VALUE, "it names no time since 2000")
