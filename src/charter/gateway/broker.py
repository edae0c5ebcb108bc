"""Credentials made for one lease: what makes them, and the batch of allowed calls that leads to one.

A lease is asked for by several calls at once, one for each action on each table or resource: each is decided, recorded
and permitted like any call. The credential is made when, and only when, every one of their permits has been spent.

INVARIANT: nothing is made outside before the lease is durable (lifecycle/leases.py), and nothing is handed over that
the registry does not show as issued.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from charter.core.errors import ErrorCode, UnavailableError
from charter.core.values import Secret
from charter.registry.lease import Lease
from charter.registry.principal import SystemRecord


class Gone(StrEnum):
    """What an attempt to revoke found."""

    REMOVED = "removed"
    MISSING = "missing"  # there was nothing of that name


@dataclass(frozen=True, slots=True)
class Credential:
    """What a lease's holder is given: variables as the system's own clients read them. Some are secret."""

    kind: str  # postgres | aws
    variables: Mapping[str, Secret]
    expires_at: dt.datetime
    handle: Mapping[str, str] = field(default_factory=dict)  # what else helps to find it outside; no secret


class ProviderError(UnavailableError):
    """A system could not make, renew or revoke a credential. `perhaps_made`: whether it may exist all the same."""

    def __init__(self, detail: str, *, perhaps_made: bool, help: str | None = None) -> None:
        super().__init__(ErrorCode.UPSTREAM_FAILED, detail, help=help)
        self.perhaps_made = perhaps_made


class Provider(Protocol):
    """Makes and takes back credentials at systems of one kind. Its methods block; each attempt is bounded in time."""

    def handle(self, lease_id: str, record: SystemRecord) -> Mapping[str, str]:
        """Return the name under which the lease's credential will be found, before it is made."""
        ...

    def issue(self, record: SystemRecord, lease: Lease) -> Credential:
        """Make the credential of a recorded lease, good until its `expires_at`, for its rights and nothing else.

        Raises:
            ProviderError: it could not be made.
            DeniedError: it could do more than it was to; nothing was made.
        """
        ...

    def renew(self, record: SystemRecord, lease: Lease, at: dt.datetime, until: dt.datetime) -> Credential:
        """Let the credential be good until `until`; return what is new of it. It is `at` now. Raises ProviderError."""
        ...

    def revoke(self, record: SystemRecord, lease: Lease) -> Gone:
        """Take the credential back, and end what uses it now. It may be gone already, in part or whole.

        Raises:
            ProviderError: it may still be there.
        """
        ...

    def tidy_after(self, lease: Lease) -> dt.datetime | None:
        """Return when `tidy` may clear away what a revocation leaves outside, None if it leaves nothing."""
        ...

    def tidy(self, record: SystemRecord, lease: Lease) -> None:
        """Clear away what the revocation left outside. Raises ProviderError."""
        ...


@dataclass(slots=True)
class Batch:
    """The allowed calls that lead to one lease: all of their permits are spent before anything is made.

    Belongs to one event loop. Making goes on when those who wait for it are gone: what was begun outside is finished,
    so that it can be taken back.
    """

    size: int
    make: Callable[[], Coroutine[Any, Any, Mapping[str, Any]]]
    _spent: int = 0
    _all_spent: asyncio.Event = field(default_factory=asyncio.Event)
    _making: asyncio.Task[Mapping[str, Any]] | None = None

    async def join(self) -> Mapping[str, Any]:
        """Count one spent permit; wait until all are, and return what `make` returned. Raises what it raised."""
        self._spent += 1
        if self._spent == self.size:
            self._making = asyncio.create_task(self.make())
            self._making.add_done_callback(_heard)
            self._all_spent.set()
        await self._all_spent.wait()
        if self._making is None:
            raise RuntimeError("a batch whose permits are spent is being made")
        return await asyncio.shield(self._making)


def _heard(task: asyncio.Task[Mapping[str, Any]]) -> None:
    """Take note of how the making ended, also where nobody waits for it any more."""
    if not task.cancelled():
        task.exception()
