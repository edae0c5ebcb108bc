"""The slice of the work that compositions need, and the stores it names."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Protocol

from typing_extensions import override

from charter.lifecycle.emergency import StandingWork
from charter.registry.composed import Composed
from charter.registry.principal import Principal
from charter.registry.record import Finding
from charter.registry.team import Teams


class CompositionStore(Protocol):
    """Where compositions are kept."""

    def put(self, composed: Composed, at: dt.datetime) -> None:
        """Keep one, in place of the one before."""
        ...

    def drop(self, principal_id: str) -> None:
        """Forget that of a principal."""
        ...


class Findings(Protocol):
    """The findings kept."""

    def open(self, finding: Finding) -> tuple[Finding, bool]:
        """Keep a finding; return it as it stands, and whether it is new."""
        ...

    def get(self, finding_id: str) -> Finding:
        """Return one, or raise AbsentError."""
        ...

    def update(self, finding: Finding) -> None:
        """Replace the one with the same id."""
        ...


class Registry(Protocol):
    """The registry, as far as compositions need it."""

    @property
    def findings(self) -> Findings:
        """The findings."""
        ...

    def update_principals(self, principals: Sequence[Principal]) -> None:
        """Replace the ones with the same ids."""
        ...

    def teams(self) -> Teams:
        """Return teams.yaml as applied."""
        ...


class CompositionWork(StandingWork, Protocol):
    """The slice of the work that compositions need."""

    @property
    @override
    def registry(self) -> Registry:
        """Principals, findings, teams."""
        ...

    @property
    def compositions(self) -> CompositionStore:
        """Where they are kept."""
        ...
