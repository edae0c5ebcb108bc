"""Sealing evidence for analytics: what is new in the logs goes to Parquet, and finished days are compacted.

Nothing waits for it and nothing depends on it: a question reads what is sealed and, of the log, what is not. The sealed
files are derived from the log; where the two do not agree, as after a backup was restored, they are made again, and of
what was erased the days that had it.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from charter.core.clock import rfc3339
from charter.core.errors import CharterError

if TYPE_CHECKING:
    from charter.adapters.sealed import SealedLog
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction

FOLDER = "sealed"  # in the data folder
EVERY_SECONDS = 60.0
LEAST = 20_000  # entries that are worth a file
LONGEST = dt.timedelta(hours=6)  # that fewer wait
MOST = 100_000  # that a question sums from the log before it seals them first
_log = logging.getLogger("charter.sealing")


@dataclass(slots=True)
class Sealing:
    """The sealed part of the logs that a house reads, kept up to date."""

    house: House
    _sealed: SealedLog | None = None
    _since: dt.datetime | None = field(default=None)

    @property
    def sealed(self) -> SealedLog:
        """The sealed files. What reads and writes them is loaded once they are asked for."""
        if self._sealed is None:
            from charter.adapters.sealed import SealedLog

            self._sealed = SealedLog(self.house.folder.file(FOLDER))
        return self._sealed

    async def keep(self, stop: asyncio.Event) -> None:
        """Seal and compact until `stop`; what fails is tried again the next time."""
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), EVERY_SECONDS)
            if stop.is_set():
                return
            try:
                await asyncio.to_thread(self._tend)
            except CharterError as err:
                _log.warning("evidence could not be sealed: %s", err.detail)

    def seal(self, *, again: bool = False) -> dict[str, Any]:
        """Seal what is not sealed yet, or all of it `again`; say how much that was, and what there is now.

        Raises:
            IntegrityError: a log has a gap or holds what is no entry.
            UnavailableError: it cannot be written.
        """

        def read(tx: HouseTransaction) -> tuple[int, int]:
            from charter.adapters import log_tail

            if again or not log_tail.descends(tx.connection, self.sealed.manifest):
                self.sealed.forget()
            self._follow(tx)
            sealed = self.sealed.seal(log_tail.unsealed(tx.connection, self.sealed.manifest, tx.payloads))
            return sealed, self.sealed.compact(self.house.clock.now().date())

        count, days = self.house.database.read(read)
        manifest = self.sealed.manifest
        return {
            "sealed": count,
            "compacted_days": days,
            "entries": sum(reached.next for reached in manifest.nodes.values()),
            "newest": manifest.newest or None,
            "bytes": self.sealed.size(),
            "folder": str(self.sealed.folder),
        }

    def _follow(self, tx: HouseTransaction) -> None:
        """Make the days anew of which something was erased; of nothing else is a file touched."""
        from charter.adapters import log_tail

        manifest = self.sealed.manifest
        for day in log_tail.days_erased(tx.connection, manifest):
            self.sealed.remake(day, log_tail.sealed_on(tx.connection, manifest, day, tx.payloads))
        self.sealed.follow(log_tail.erased(tx.connection))

    def ready(self) -> None:
        """Seal first if a question would have to sum too much of the log by itself, or the log is another one now."""
        waiting, agrees = self._waiting()
        if waiting > MOST or not agrees:
            self.seal()

    def _tend(self) -> None:
        now = self.house.clock.now()
        waiting, agrees = self._waiting()
        if not waiting:
            self._since = None
            return
        self._since = self._since or now
        if waiting >= LEAST or not agrees or now - self._since >= LONGEST:
            told = self.seal()
            _log.info("sealed %d entries by %s", told["sealed"], rfc3339(now))
            self._since = None

    def _waiting(self) -> tuple[int, bool]:
        def read(tx: HouseTransaction) -> tuple[int, bool]:
            from charter.adapters.log_tail import agrees, waiting

            manifest = self.sealed.manifest
            return waiting(tx.connection, manifest), agrees(tx.connection, manifest)

        return self.house.database.read(read)
