"""The newest head of this node's log, kept where a restored backup does not reach; and the look at it at a start.

A log that was put back from a backup is whole and signed, and says nothing of what it lost. A head that was kept
elsewhere does: it is of more entries, or of others.

INVARIANT: a node whose log does not continue a head of its own that is kept elsewhere does not start, or stops where it
comes to be known later: what it would write could contradict what it signed before.
INVARIANT: no such head is overwritten: it is the proof.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charter.adapters.head_places import HeadFolder
from charter.core.errors import CharterError, ErrorCode, IntegrityError
from charter.evidence.checkpoint import Checkpoint, is_signed_by, parse_checkpoint
from charter.evidence.log import LogReader, continues

if TYPE_CHECKING:
    from charter.bootstrap.house import House

EVERY_SECONDS = 5.0
GIT_EVERY_SECONDS = 60.0
_log = logging.getLogger("charter.heads")


def check_kept(log: LogReader, folders: Sequence[Path], publics: Sequence[bytes]) -> None:
    """Check that a log continues its heads that are kept elsewhere, before anything is written to it.

    A folder that cannot be read, or holds what this log's keys did not sign, is warned of and proves nothing.

    Raises:
        IntegrityError: it does not continue one of them.
    """
    for path in folders:
        try:
            kept = _kept(path, log.origin, publics)
        except (OSError, ValueError, CharterError) as err:
            _log.warning("no head of this log can be read in %s, which then shows nothing: %s", path, err)
        else:
            if kept is not None:
                _check(log, kept, HeadFolder(path).file_of(log.origin))


def _kept(path: Path, origin: str, publics: Sequence[bytes]) -> Checkpoint | None:
    note = HeadFolder(path).read(origin)
    if note is None:
        return None
    found = parse_checkpoint(note)
    if not is_signed_by(found, origin, publics):
        raise ValueError("it is not signed by this log's key")
    return found


def _check(log: LogReader, kept: Checkpoint, file: Path) -> None:
    if continues(log, kept):
        return
    size = parse_checkpoint(log.checkpoint()).size
    text = f"the log has {size} entries, and `{file}` holds its own signed head of {kept.size}"
    if kept.size <= size:
        text = f"the log's first {kept.size} entries are others than those whose signed head `{file}` holds"
    raise IntegrityError(
        ErrorCode.EVIDENCE_BROKEN,
        text,
        help="an older state was put back: restore the newest one, or begin with an empty data folder "
        "(docs/operating.md, When something is wrong)",
    )


@dataclass(slots=True)
class Heads:
    """Keeps the newest head elsewhere."""

    house: House
    _kept: dict[Path, str] = field(default_factory=dict)  # heads
    _committed: dict[Path, tuple[str, float]] = field(default_factory=dict)  # heads, and when it was tried (monotonic)
    _errors: dict[Path, str] = field(default_factory=dict)  # why the newest head is not there

    async def keep(self, stop: asyncio.Event) -> None:
        """Keep it every few seconds until `stop`, and then once more."""
        while self.house.settings.checkpoints and not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), EVERY_SECONDS)
            await asyncio.to_thread(self.keep_once, is_last=stop.is_set())

    def keep_once(self, *, is_last: bool = False) -> None:
        """Keep the newest head in each folder, and only then ask git, which may wait for others.

        Where either fails it is told once, stands in `listing`, and is tried again.
        """
        head, now = self.house.database.head, self.house.clock.monotonic()
        size, origin = head.size, self.house.database.origin
        cosigned = self.house.witnesses.cosigned
        is_newest = cosigned is not None and (cosigned.size, cosigned.root) == (size, head.edge.frontier.root)
        note = cosigned.to_note() if cosigned is not None and is_newest else head.note
        folders = self.house.settings.checkpoints
        for path in folders:
            if self._kept.get(path) != note and self._tried(path, partial(self._keep_in, path, note)):
                self._kept[path] = note
        for path in folders:
            committed, at = self._committed.get(path, ("", -GIT_EVERY_SECONDS))
            if self._kept.get(path) != note or committed == note or not (is_last or now - at >= GIT_EVERY_SECONDS):
                continue
            done = self._tried(path, partial(HeadFolder(path).commit, origin, size))
            self._committed[path] = (note if done else committed, now)

    def _keep_in(self, path: Path, note: str) -> None:
        """Keep a head in a folder, unless that has one of this log which the log does not continue."""
        origin, kept = self.house.database.origin, None
        with contextlib.suppress(OSError, ValueError, CharterError):  # whatever it is proves nothing, and is replaced
            kept = _kept(path, origin, self.house.ring.head_publics(origin))
        if kept is not None:
            try:
                self.house.database.read_log(partial(_check, kept=kept, file=HeadFolder(path).file_of(origin)))
            except IntegrityError as err:
                self.house.database.halt(err.detail)
                raise OSError(err.detail) from err
        HeadFolder(path).keep(origin, note)

    def _tried(self, path: Path, do: Callable[[], None]) -> bool:
        try:
            do()
        except OSError as err:
            if path not in self._errors:
                _log.warning("the head of the log cannot be kept in %s: %s", path, err)
            self._errors[path] = str(err)
            return False
        self._errors.pop(path, None)
        return True

    def listing(self) -> list[dict[str, Any]]:
        """Return of each folder: of how many entries the head is that it holds, and why it does not hold the newest."""
        found = []
        for path in self.house.settings.checkpoints:
            size, error = 0, self._errors.get(path, "")
            try:
                note = HeadFolder(path).read(self.house.database.origin)
                size = parse_checkpoint(note).size if note is not None else 0
            except (OSError, ValueError, CharterError) as err:
                error = error or str(err)
            found.append({"folder": str(path), "size": size, "error": error})
        return found
