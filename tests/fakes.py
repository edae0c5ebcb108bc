"""Stand-ins for the outside world that keep its promises: a clock that only moves when told, dice that count."""

from __future__ import annotations

import datetime as dt

from charter.core.values import Secret
from charter.gateway.broker import Credential, Gone, ProviderError
from charter.registry.lease import Lease
from charter.registry.principal import SystemRecord


class FixedClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, at: dt.datetime = dt.datetime(2026, 11, 24, 9, 30, tzinfo=dt.UTC)) -> None:
        self.at = at
        self._monotonic = 1000.0

    def now(self) -> dt.datetime:
        return self.at

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, **parts: float) -> None:
        """Move both clocks on by `timedelta(**parts)`."""
        step = dt.timedelta(**parts)
        self.at += step
        self._monotonic += step.total_seconds()


class SteppingClock(FixedClock):
    """A clock that goes on by `step` seconds each time that somebody looks whether time is up."""

    def __init__(self, step: float) -> None:
        super().__init__()
        self.step = step

    def monotonic(self) -> float:
        self.advance(seconds=self.step)
        return super().monotonic()


class CountingEntropy:
    """Dice that count: identifiers and bytes are the same in every run."""

    def __init__(self) -> None:
        self._count = 0

    def _next(self) -> int:
        self._count += 1
        return self._count

    def identifier(self, kind: str) -> str:
        return f"{kind}_{self._next():026d}"

    def token(self, nbytes: int = 32) -> str:
        return f"token-{self._next():0{max(4, nbytes - 6)}d}"

    def bytes(self, nbytes: int) -> bytes:
        return self._next().to_bytes(nbytes, "big")


class FakeProvider:
    """A system that makes credentials in memory, and can be told to fail. Keeps gateway.broker.Provider's promises."""

    def __init__(self) -> None:
        self.made: dict[str, tuple[tuple[str, str], ...]] = {}  # by name: the rights it has
        self.down: str | None = None  # why nothing can be asked of it
        self.lost_answer = False  # it makes what it is asked for, and the answer never comes
        self.attempts = 0

    def handle(self, lease_id: str, _record: SystemRecord) -> dict[str, str]:
        return {"name": f"fake-{lease_id}"}

    def issue(self, _record: SystemRecord, lease: Lease) -> Credential:
        self._must_be_up(perhaps_made=False)
        self.made[lease.handle["name"]] = tuple((right.action, right.on) for right in lease.rights)
        if self.lost_answer:
            raise ProviderError("the answer got lost", perhaps_made=True)
        return Credential("fake", {"FAKE_KEY": Secret(b"of the fake")}, lease.expires_at)

    def renew(self, _record: SystemRecord, _lease: Lease, _at: dt.datetime, until: dt.datetime) -> Credential:
        self._must_be_up(perhaps_made=True)
        return Credential("fake", {}, until)

    def revoke(self, _record: SystemRecord, lease: Lease) -> Gone:
        self.attempts += 1
        self._must_be_up(perhaps_made=True)
        return Gone.MISSING if self.made.pop(lease.handle["name"], None) is None else Gone.REMOVED

    def tidy_after(self, _lease: Lease) -> dt.datetime | None:
        return None

    def tidy(self, _record: SystemRecord, _lease: Lease) -> None:
        return None

    def _must_be_up(self, *, perhaps_made: bool) -> None:
        if self.down is not None:
            raise ProviderError(self.down, perhaps_made=perhaps_made)
