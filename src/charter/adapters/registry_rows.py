"""Rows <-> values of the registry. Every row that carries a digest is held to it here.

Principals come by the hundred thousand, so their mapping is plain and shares what repeats: kinds, environments, teams
and people are one object each, however many principals name them.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
import sqlalchemy as sa
from pydantic import ValidationError

from charter.core.canonical import canonical, digest
from charter.core.clock import parse_rfc3339, rfc3339
from charter.core.errors import ErrorCode, IntegrityError
from charter.core.values import Source
from charter.registry.charter import Charter, Environment, Kind
from charter.registry.hold import read_held, write_held
from charter.registry.principal import ClientKey, Principal, SystemRecord
from charter.registry.record import (
    CharterVersion,
    EstatePart,
    FeedRow,
    FilePlaces,
    KeptCharter,
    ManagedBy,
    PartKind,
    RegisteredSystem,
)
from charter.registry.standing import Standing
from charter.registry.system import System
from charter.registry.terms import read_terms, write_terms

_log = logging.getLogger(__name__)
Row = sa.Row[Any]

# Enum members by their value: a hundred thousand rows must not each search for theirs.
_KINDS = {each.value: each for each in Kind}
_ENVIRONMENTS = {each.value: each for each in Environment}
_STANDINGS = {each.value: each for each in Standing}
_SHORT = 16  # of a JWK's members, those that many keys share are short
MANAGERS = {each.value: each for each in ManagedBy}


def principal_of(row: Row) -> Principal:
    """Return the principal that a row of the table `principal` keeps."""
    return Principal(
        id=row.id,
        name=row.name,
        spiffe_id=row.spiffe_id,
        kind=_KINDS[row.kind],
        environment=_ENVIRONMENTS[row.environment],
        owner_person=sys.intern(row.owner_person),
        owner_team=sys.intern(row.owner_team),
        standing=_STANDINGS[row.standing],
        epoch=row.epoch,
        version=row.version,
        digest=row.digest,
        expires=_day(row.expires),
        terms=read_terms(row.terms),
        held=read_held(row.held),
    )


@lru_cache(maxsize=4096)
def _day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


def principal_row(principal: Principal) -> dict[str, object]:
    """Return what the table keeps of a principal, its management apart."""
    return {
        "id": principal.id,
        "name": principal.name,
        "spiffe_id": principal.spiffe_id,
        "kind": principal.kind.value,
        "environment": principal.environment.value,
        "owner_person": principal.owner_person,
        "owner_team": principal.owner_team,
        "standing": principal.standing.value,
        "epoch": principal.epoch,
        "version": principal.version,
        "digest": principal.digest,
        "expires": principal.expires.isoformat(),
        "terms": write_terms(principal.terms),
        "held": write_held(principal.held),
    }


def version_of(row: Row) -> CharterVersion:
    """Return the version that a row of `charter_version` keeps.

    Raises:
        IntegrityError: the stored charter is not what its digest says.
    """
    if digest(row.charter.encode()) != row.digest:
        raise _altered(f"version {row.version} of the charter of `{row.principal_id}`")
    try:
        charter = Charter.model_validate_json(row.charter)
    except ValidationError as err:
        raise _altered(f"version {row.version} of the charter of `{row.principal_id}`") from err
    return CharterVersion(
        principal_id=row.principal_id,
        version=row.version,
        digest=row.digest,
        charter=charter,
        sources=_sources_of(row.sources),
        envelope=json.loads(row.envelope),
        applied_at=parse_rfc3339(row.applied_at),
        applied_by=row.applied_by,
        reason=row.reason,
    )


def kept_of(row: Row) -> KeptCharter:
    """Return the charter version that a row keeps, unread.

    Raises:
        IntegrityError: it is not what its digest says.
    """
    if digest(row.charter.encode()) != row.digest:
        raise _altered(f"the charter of `{row.principal_id}`")
    return KeptCharter(row.digest, row.charter, _sources_of(row.sources))


def version_row(version: CharterVersion) -> dict[str, object]:
    """Return what the table keeps of a charter version."""
    return {
        "principal_id": version.principal_id,
        "version": version.version,
        "digest": version.digest,
        "charter": canonical(version.charter.to_json()).decode(),
        "sources": _sources_row(version.sources),
        "envelope": canonical(dict(version.envelope)).decode(),
        "applied_at": rfc3339(version.applied_at),
        "applied_by": version.applied_by,
        "reason": version.reason,
    }


def system_of(row: Row) -> SystemRecord | None:
    """Return the system that a row keeps, or None if its body is not what its digest says."""
    if digest(row.body.encode()) != row.digest:
        _log.warning("the registered system %s was altered in the database and is not used; apply the estate", row.name)
        return None
    try:
        system = System.model_validate_json(row.body)
    except ValidationError:
        _log.warning("the registered system %s cannot be read and is not used; apply the estate", row.name)
        return None
    return SystemRecord(row.name, row.version, row.digest, _STANDINGS[row.standing], system)


def system_row(record: SystemRecord, sources: Mapping[str, Source]) -> dict[str, object]:
    """Return what the table keeps of a system, its management apart."""
    return {
        "name": record.name,
        "version": record.version,
        "digest": record.digest,
        "standing": record.standing.value,
        "body": canonical(record.system.to_json()).decode(),
        "sources": _sources_row(sources),
    }


def registered_system_of(row: Row) -> RegisteredSystem:
    """Return a system as plan sees it."""
    record = system_of(row)
    return RegisteredSystem(
        name=row.name,
        version=row.version,
        digest=row.digest,
        is_withdrawn=row.standing == Standing.RETIRED.value,
        managed_by=MANAGERS[row.managed_by],
        applied_digest=row.applied_digest,
        is_intact=record is not None,
        record=record,
    )


def part_of(row: Row) -> EstatePart:
    """Return a guardrail file, teams.yaml or a pattern as kept."""
    is_intact = digest(row.body.encode()) == row.digest
    return EstatePart(row.path, PartKind(row.kind), row.digest, row.body, row.applied_digest, is_intact)


def intact(part: EstatePart) -> EstatePart:
    """Return `part`.

    Raises:
        IntegrityError: it is not what its digest says.
    """
    if not part.is_intact:
        raise _altered(f"`{part.path}`")
    return part


def key_row(key: ClientKey) -> dict[str, object]:
    """Return the row that keeps a client key or a declared credential."""
    return {
        "id": key.id,
        "principal_id": key.principal_id,
        "thumbprint": key.thumbprint,
        "jwk": canonical(key.jwk).decode(),
        "standing": key.standing.value,
        "registered_at": rfc3339(key.registered_at),
        "certificate": key.certificate,
        "ends_at": rfc3339(key.ends_at) if key.ends_at else None,
        "replaced_by": key.replaced_by,
        "due_at": rfc3339(key.due_at) if key.due_at else None,
    }


def key_of(row: Row, owner: Principal | None = None) -> ClientKey:
    """Return the client key that a row keeps; with its `owner` at hand, the two share the owner's id."""
    return ClientKey(
        id=row.id,
        principal_id=owner.id if owner else row.principal_id,
        thumbprint=row.thumbprint,
        jwk=_members(row.jwk),
        standing=_STANDINGS[row.standing],
        registered_at=parse_rfc3339(row.registered_at),
        certificate=row.certificate,
        ends_at=parse_rfc3339(row.ends_at) if row.ends_at else None,
        replaced_by=row.replaced_by,
        due_at=parse_rfc3339(row.due_at) if row.due_at else None,
    )


def _members(text: str) -> dict[str, str]:
    """Return the members of a JWK; their names, and what is the same in every key, are one object each."""
    found: dict[str, str] = json.loads(text)
    return {sys.intern(name): sys.intern(value) if len(value) < _SHORT else value for name, value in found.items()}


def feed_row_of(row: Row) -> FeedRow:
    """Return one change in the feed."""
    return FeedRow(row.sequence, row.kind, row.subject, parse_rfc3339(row.at), row.actor, row.reason)


def _altered(what: str) -> IntegrityError:
    return IntegrityError(
        ErrorCode.EVIDENCE_BROKEN,
        f"{what} was altered in the database: it is not what its digest says",
        help="find out who did it; charter plan shows it as drift, and charter apply restores the file's",
    )


def _sources_row(sources: Mapping[str, Source]) -> str:
    """Return sources in the form they are kept in: the file once, then places."""
    path = next((source.path for source in sources.values()), "")
    return canonical({"path": path, "at": {dotted: [s.line, s.column] for dotted, s in sources.items()}}).decode()


def _sources_of(text: str) -> FilePlaces:
    kept = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    return FilePlaces(json.loads(bytes(kept["path"])), _places(bytes(kept["at"])))


@lru_cache(maxsize=4096)
def _places(at: bytes) -> dict[str, tuple[int, int]]:
    return msgspec.json.decode(at, type=dict[str, tuple[int, int]])
