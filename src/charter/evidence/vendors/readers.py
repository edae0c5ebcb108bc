"""Logs of vendors and platforms, read as observations: a module, and a row of `READERS`, for each kind of log.

A reader takes one record, a JSON object, and says what it tells of; it knows the vendor's fields and nothing else. What
lacks an actor, an action or a time is refused, and whoever reads the file sets that line aside; where a vendor tells of
deeds that nobody is named for, the actor is `UNNAMED`.

INVARIANT: a reader raises MalformedError or returns, whatever the record holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec

from charter.core.errors import ErrorCode, MalformedError
from charter.evidence.observation import Observation, digest_of_record
from charter.evidence.vendors import anthropic, aws, entra, github, google, jsonl, kubernetes, okta, openai
from charter.evidence.vendors.record import Record

MAX_LINE = 1024 * 1024  # bytes
GOOGLE = "google-workspace"
READERS: dict[str, Callable[[Record], Observation]] = {
    "cloudtrail": aws.read,
    "entra": entra.read,
    "okta": okta.read,
    "github": github.read,
    GOOGLE: google.read,
    "openai": openai.read,
    "anthropic": anthropic.read,
    "kubernetes": kubernetes.read,
    "jsonl": jsonl.read,
}


def read_observations(data: bytes, kind: str) -> tuple[Observation, ...]:
    """Return what one record of a log of that kind tells of: one event; of Google's, as many as it holds.

    Raises:
        MalformedError: it is no record of such a log.
    """
    reader = READERS.get(kind)
    if reader is None:
        known = ", ".join(READERS)
        raise MalformedError(ErrorCode.BAD_VALUE, f"{kind[:40]!a} is no kind of log", help=f"there are {known}")
    if len(data) > MAX_LINE:
        raise MalformedError(ErrorCode.TOO_LARGE, f"it is longer than {MAX_LINE} bytes")
    try:
        record = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as err:
        raise MalformedError(ErrorCode.BAD_VALUE, "it is no JSON") from err
    if not isinstance(record, dict):
        raise MalformedError(ErrorCode.BAD_VALUE, "it is no JSON object")
    digest, told = digest_of_record(record), []
    for number, each in enumerate(google.events_of(record) if kind == GOOGLE else (record,)):
        found = reader(each)
        if not found.who.name:
            raise MalformedError(ErrorCode.BAD_VALUE, "it names no actor")
        if not found.action:
            raise MalformedError(ErrorCode.BAD_VALUE, "it names no action")
        event = (found.event or digest) + (f"/{number}" if number else "")
        told.append(replace(found, source=kind, digest=digest, event=event))
    return tuple(told)
