"""What the registry keeps beside the live estate: versions of charters, who manages what, findings, the feed.

INVARIANT: a charter version is never changed. Its `digest` is that of its canonical JSON and its envelope signs it.
INVARIANT: `digest` differs from `applied_digest` exactly when something was changed by hand since files were applied.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Self

from pydantic import ValidationError
from typing_extensions import override

from charter.core.canonical import digest_of
from charter.core.errors import ConflictError, ErrorCode, IntegrityError
from charter.core.values import Source
from charter.registry.charter import Charter
from charter.registry.principal import Principal, SystemRecord
from charter.registry.standing import Standing


class ManagedBy(StrEnum):
    """Where the newest version came from. What files once managed they take back on the next apply."""

    GIT = "git"
    CONSOLE = "console"


class PartKind(StrEnum):
    """What an estate holds beside charters and systems."""

    GUARDRAIL = "guardrail"
    TEAMS = "teams"
    ISSUERS = "issuers"
    RULES = "rules"  # data.yaml, calendars.yaml, guardrails/*.yaml: kept as their text
    PATTERN = "pattern"


@dataclass(frozen=True, slots=True)
class CharterVersion:
    """One immutable version of a principal's charter."""

    principal_id: str
    version: int
    digest: str
    charter: Charter
    sources: Mapping[str, Source]  # dotted path -> place in the file it was applied from
    envelope: Mapping[str, Any]  # DSSE over the canonical charter (registry/dsse.py)
    applied_at: dt.datetime
    applied_by: str
    reason: str


class FilePlaces(Mapping[str, Source]):
    """Where the parts of one file stand, by dotted path. Files laid out alike share their lines and columns."""

    __slots__ = ("_at", "_path")

    def __init__(self, path: str, at: Mapping[str, tuple[int, int]]) -> None:
        self._path, self._at = path, at

    @override
    def __getitem__(self, dotted: str) -> Source:
        return Source(self._path, *self._at[dotted])

    @override
    def get(self, dotted: str, default: Any = None) -> Any:  # quicker than by way of an exception
        at = self._at.get(dotted)
        return default if at is None else Source(self._path, *at)

    @override
    def __contains__(self, dotted: object) -> bool:
        return dotted in self._at

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._at)

    @override
    def __len__(self) -> int:
        return len(self._at)


@dataclass(frozen=True, slots=True)
class KeptCharter:
    """A charter version as policy needs it: its canonical JSON, which is read only where it must be."""

    digest: str
    body: str
    sources: Mapping[str, Source]

    @property
    def charter(self) -> Charter:
        """The charter.

        Raises:
            IntegrityError: what is kept is none.
        """
        try:
            return Charter.model_validate_json(self.body)
        except ValidationError as err:
            raise IntegrityError(
                ErrorCode.EVIDENCE_BROKEN, f"the charter kept as `{self.digest}` is none", help="apply the estate again"
            ) from err


@dataclass(frozen=True, slots=True)
class RegisteredPrincipal:
    """A principal as plan sees it. `charter` is None where it is the file's, so that large estates stay small."""

    principal: Principal
    managed_by: ManagedBy
    applied_digest: str | None
    is_intact: bool = True  # whether the stored charter is what its digest says
    charter: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class RegisteredSystem:
    """A system as plan sees it. `record` is None where the stored body is no system any more."""

    name: str
    version: int
    digest: str
    is_withdrawn: bool
    managed_by: ManagedBy
    applied_digest: str | None
    is_intact: bool
    record: SystemRecord | None


@dataclass(frozen=True, slots=True)
class EstatePart:
    """A guardrail file, teams.yaml or a pattern as kept. `digest` is that of the body's bytes."""

    path: str
    kind: PartKind
    digest: str
    body: str
    applied_digest: str | None = None
    is_intact: bool = True


@dataclass(frozen=True, slots=True)
class RegisteredEstate:
    """All that is registered, as one reading."""

    principals: Mapping[str, RegisteredPrincipal] = field(default_factory=dict)  # by name
    systems: Mapping[str, RegisteredSystem] = field(default_factory=dict)  # by name
    parts: Mapping[str, EstatePart] = field(default_factory=dict)  # by path

    @property
    def digest(self) -> str:
        """What a plan rests on: it changes when anything a plan could decide about does."""
        principals = (state_of_principal(r.principal, r.managed_by) for r in self.principals.values())
        systems = ([r.name, r.version, r.digest, r.managed_by.value, r.is_withdrawn] for r in self.systems.values())
        return state_digest(principals, systems, ([r.path, r.digest] for r in self.parts.values()))


StateRow = list[Any]


def state_of_principal(principal: Principal, managed_by: ManagedBy) -> StateRow:
    """Return what a plan's base says of one principal; a standing counts only where it is final."""
    is_retired = principal.standing is Standing.RETIRED
    return [principal.name, principal.version, principal.digest, managed_by.value, is_retired]


def state_digest(principals: Iterable[StateRow], systems: Iterable[StateRow], parts: Iterable[StateRow]) -> str:
    """Return the digest of a registered state, whatever the order of its rows."""
    return digest_of([sorted(principals), sorted(systems), sorted(parts)])


@dataclass(frozen=True, slots=True)
class FeedRow:
    """One change in the ordered feed."""

    sequence: int
    kind: str
    subject: str
    at: dt.datetime
    actor: str
    reason: str


class FindingState(StrEnum):
    """Where a finding stands."""

    OPEN = "open"
    ADOPTED = "adopted"  # it became a principal
    ACCEPTED = "accepted"  # someone answers for leaving it as it is
    RESOLVED = "resolved"  # it is gone


@dataclass(frozen=True, slots=True)
class Finding:
    """Something discovered or noticed. Seeing it again changes nothing: `fingerprint` tells that it is the same."""

    id: str  # fnd_…
    kind: str
    fingerprint: str  # sha256:… of what makes it the same finding
    state: FindingState
    title: str
    body: Mapping[str, Any]
    principal_id: str | None
    opened_at: dt.datetime
    changed_at: dt.datetime

    @classmethod
    def noticed(  # noqa: PLR0913 - what a finding is made of
        cls,
        finding_id: str,
        kind: str,
        fingerprint: str,
        *,
        title: str,
        body: Mapping[str, Any],
        at: dt.datetime,
        principal_id: str | None = None,
    ) -> Self:
        """Return one that is open since it was noticed, just now."""
        return cls(finding_id, kind, fingerprint, FindingState.OPEN, title, body, principal_id, at, at)

    @property
    def since(self) -> dt.datetime:
        """Since when it has been there: one that came back counts from then."""
        return self.changed_at if self.state is FindingState.OPEN else self.opened_at

    def told(self, *but: str) -> dict[str, Any]:
        """Return what evidence tells of it: all that its body holds `but` what is named."""
        named = {"finding": self.id, "kind": self.kind, "title": self.title, "fingerprint": self.fingerprint}
        kept = {key: value for key, value in self.body.items() if key not in but}
        return named | {"state": self.state.value} | kept

    def moved(self, state: FindingState, at: dt.datetime, principal_id: str | None = None) -> Finding:
        """Return the finding in another state; one that was settled can be opened again.

        Raises:
            ConflictError: it is in that state already, or a settled one would be settled otherwise.
        """
        if state is self.state or FindingState.OPEN not in (state, self.state):
            raise ConflictError(
                ErrorCode.BAD_MOVE,
                f"the finding `{self.id}` is {self.state.value}",
                help="open it again first" if state is not self.state else "nothing is left to do",
            )
        return replace(self, state=state, changed_at=at, principal_id=principal_id or self.principal_id)
