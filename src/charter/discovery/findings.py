"""A finding of a scan: one AI system that nobody may have registered, with all that was seen of it.

The registry keeps findings with a state of their own (registry/record.py: open, adopted, accepted, resolved); this
module says how a scan's finding becomes one, what a later scan changes, and which findings registered principals cover.

INVARIANT: a fingerprint rests on the checkout's origin and the finding's place alone, never on lines, contents or time,
so a second scan reports the same finding.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from charter.core.errors import ErrorCode, MalformedError
from charter.discovery.sighting import Confidence, FindingKind, Key, Server, Sighting
from charter.registry.charter import Charter, Kind
from charter.registry.record import Finding, FindingState

RECORD_KIND = "scan"  # `kind` of the registry's records that come from scans: `scan.application`, …
MAX_SIGHTINGS_TOLD = 100


@dataclass(frozen=True, slots=True)
class ScanFinding:
    """One AI system, as found."""

    id: str  # 12 hex digits of the fingerprint
    fingerprint: str  # sha256:…
    kind: FindingKind
    suggests: Kind
    title: str
    where: str  # path:line of the surest sighting
    confidence: Confidence
    evidence: str
    risk: str
    proposes: str  # a name for its principal
    path: str  # its place: a folder or a file
    setting: str  # code | examples | tests
    origin: str
    providers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    servers: tuple[Server, ...] = ()
    keys: tuple[Key, ...] = ()
    reaches: tuple[str, ...] = ()  # applications a workflow touches
    sightings: tuple[Sighting, ...] = ()  # the first hundred
    sightings_in_all: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the finding as JSON; what it has nothing to say about is left out."""
        body: dict[str, Any] = plain(self)
        return body


def plain(value: object) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value of this room as JSON, without empty fields."""
    return _pruned(msgspec.to_builtins(value))


def _pruned(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {key: _pruned(item) for key, item in value.items() if item is not None and item != []}
    return [_pruned(item) for item in value] if isinstance(value, list) else value


def finding_from(body: Mapping[str, Any]) -> ScanFinding:
    """Return the finding that `to_json` wrote.

    Raises:
        MalformedError: `body` is none.
    """
    try:
        return msgspec.convert(body, ScanFinding)
    except msgspec.ValidationError as err:
        raise MalformedError(
            ErrorCode.BAD_VALUE, f"this is no finding of a scan: {err}", help="run charter scan PATH again"
        ) from err


# --- findings and registered principals ---


class Coverage(StrEnum):
    """How a finding stands to what is registered."""

    ADOPTED = "adopted"  # a person made it that principal
    COVERED = "covered"  # a registered principal is called what it would be, and uses what it uses
    OPEN = "open"  # nobody answers for it


@dataclass(frozen=True, slots=True)
class Matched:
    """A finding, how it is covered, by whom, and why one may think so."""

    finding: ScanFinding
    coverage: Coverage
    principal: str | None
    why: str


def matched(
    findings: Iterable[ScanFinding], charters: Mapping[str, Charter], adopted: Mapping[str, str] | None = None
) -> tuple[Matched, ...]:
    """Return each finding with the registered principal it is, if any.

    `charters` are those in force, by principal; `adopted` says which principal a person made of a fingerprint.
    """
    known = adopted or {}
    return tuple(_match(finding, charters, known.get(finding.fingerprint)) for finding in findings)


def _match(finding: ScanFinding, charters: Mapping[str, Charter], adopted: str | None) -> Matched:
    if adopted is not None and adopted in charters:
        return Matched(finding, Coverage.ADOPTED, adopted, f"it was adopted as `{adopted}`")
    charter = charters.get(finding.proposes)
    if charter is not None and _agrees(finding, charter):
        why = f"`{finding.proposes}` is registered, of the same kind and provider"
        return Matched(finding, Coverage.COVERED, finding.proposes, why)
    gone = f"`{adopted}`, which it was adopted as, is no longer registered" if adopted else None
    return Matched(finding, Coverage.OPEN, None, gone or "no registered principal answers for it")


def _agrees(finding: ScanFinding, charter: Charter) -> bool:
    """Whether a charter may be that of a finding: of the kind it suggests, and for the models it uses."""
    return charter.kind is finding.suggests and (not finding.providers or charter.model.provider in finding.providers)


# --- findings and their records ---


def record_of(finding: ScanFinding, finding_id: str, at: dt.datetime) -> Finding:
    """Return the record of a finding that is seen for the first time."""
    kind = f"{RECORD_KIND}.{finding.kind.value}"
    return Finding.noticed(finding_id, kind, finding.fingerprint, title=finding.title, body=finding.to_json(), at=at)


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What one scan means for the records kept: findings to be opened, records to be replaced, and the rest."""

    new: tuple[ScanFinding, ...]
    reopened: tuple[Finding, ...]  # it was resolved, and is back
    resolved: tuple[Finding, ...]  # it was open, and is gone
    unchanged: int


def reconciled(
    found: Sequence[ScanFinding], kept: Iterable[Finding], *, origin: str, prefix: str, complete: bool, at: dt.datetime
) -> Reconciled:
    """Return what a scan of `prefix` in `origin` changes.

    Only a complete scan resolves anything, and only what lies where it looked. What someone adopted or accepted stays
    as they left it, seen again or not.
    """
    seen = {finding.fingerprint: finding for finding in found}
    records = {record.fingerprint: record for record in kept}
    back = [records[each] for each in seen if each in records and records[each].state is FindingState.RESOLVED]
    gone = [
        record
        for record in records.values()
        if complete
        and record.state is FindingState.OPEN
        and record.fingerprint not in seen
        and record.kind.startswith(f"{RECORD_KIND}.")
        and record.body.get("origin") == origin
        and str(record.body.get("path", "")).startswith(prefix)
    ]
    return Reconciled(
        new=tuple(finding for each, finding in seen.items() if each not in records),
        reopened=tuple(record.moved(FindingState.OPEN, at) for record in back),
        resolved=tuple(record.moved(FindingState.RESOLVED, at) for record in gone),
        unchanged=sum(1 for each in seen if each in records) - len(back),
    )
