"""Decisions that a program made by itself, on its disk before it acts on them, until Charter has recorded them.

A folder holds one file for each process, `spl_….jsonl`: a line for each decision, numbered by its place, and beside it
`spl_….through`, up to which number Charter has them. A process that ended leaves its file to the next one that opens
the folder, which reports it first.

INVARIANT: `add` returns once the line is on the disk; a line that is not whole was never acted on.
INVARIANT: a file belongs to one process, which holds its lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from charter.core.entropy import Entropy

MAX_WAITING = 10_000  # decisions that are not reported yet; with more, no further one is made here
ROTATED_AT = 10_000  # decisions of one file
_NAME = re.compile(r"spl_[0-9a-z]{26}\.jsonl")
_MODE = 0o600
Line = dict[str, Any]


class SpoolFullError(RuntimeError):
    """Too much waits to be reported: nothing more may be decided here."""


class Spool:
    """The file of this process, and those that others left."""

    def __init__(self, folder: Path, entropy: Entropy) -> None:
        """Open a file in `folder`, which only this user may read.

        Raises:
            OSError: it cannot be made, or written.
            PermissionError: others may read or write it.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_mode & 0o077:
            raise PermissionError(f"others may read or write {folder}: run chmod 700 on it")
        self._folder, self._entropy = folder, entropy
        self._lock = threading.Lock()  # over the file and what waits
        self._syncing = threading.Lock()
        self._left = list(_left_in(folder))
        self._open()

    def _open(self) -> None:
        self.id = self._entropy.identifier("spl")
        self._path = self._folder / f"{self.id}.jsonl"
        self._file: IO[bytes] = os.fdopen(
            os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, _MODE), "wb", 0
        )
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _sync_folder(self._folder)
        self._written = self._synced = 0  # numbers of decisions
        self._waiting: deque[tuple[int, Line]] = deque()

    def add(self, line: Mapping[str, Any]) -> int:
        """Keep a decision on the disk; return its number.

        Raises:
            SpoolFullError: too much waits to be reported.
            OSError: it could not be kept, and must not be acted on.
        """
        data = json.dumps(line, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"
        with self._lock:
            if len(self._waiting) >= MAX_WAITING:
                raise SpoolFullError(f"{MAX_WAITING} decisions wait to be reported")
            if self._written >= ROTATED_AT and not self._waiting:
                self._begin_anew()
            if self._file.write(data) != len(data):
                raise OSError("the disk took only a part of a decision")
            self._written += 1
            number = self._written
            self._waiting.append((number, dict(line)))
        self._sync(number)
        return number

    def _sync(self, number: int) -> None:
        """Return once everything up to `number` is on the disk; whoever waits meanwhile shares the next round."""
        with self._syncing:
            if self._synced >= number:
                return
            with self._lock:
                written, file = self._written, self._file
            os.fdatasync(file.fileno())
            self._synced = written

    def _begin_anew(self) -> None:
        """Let go of a file whose every decision is recorded."""
        with self._syncing:
            self._file.close()
            _forget(self._path)
            self._open()

    def waiting(self, most: int) -> tuple[str, int, list[Line]] | None:
        """Return decisions to be reported: their spool, the number of the first, and the lines; None: there are none.

        What others left comes first.
        """
        while self._left:
            name, lines, through, _ = self._left[0]
            if through < len(lines):
                return name, through + 1, list(lines[through : through + most])
            self._let_go()
        with self._lock:
            # only what is on the disk: what is not was not acted on yet, and may never be
            some = [each for each in self._waiting if each[0] <= self._synced][:most]
            return (self.id, some[0][0], [line for _, line in some]) if some else None

    def reported(self, name: str, through: int) -> None:
        """Note up to which number a spool is recorded."""
        if self._left and self._left[0][0] == name:
            _, lines, _, held = self._left[0]
            self._left[0] = (name, lines, through, held)
            _keep_through(self._folder / f"{name}.through", through)
            return
        with self._lock:
            if name != self.id:
                return
            while self._waiting and self._waiting[0][0] <= through:
                self._waiting.popleft()
            _keep_through(self._path.with_suffix(".through"), through)

    def _let_go(self) -> None:
        name, _, _, held = self._left.pop(0)
        _forget(self._folder / f"{name}.jsonl")
        held.close()

    def close(self) -> None:
        """Close the file; one of which everything is recorded goes."""
        with self._lock, self._syncing:
            is_over = not self._waiting
            if is_over:
                _forget(self._path)
            self._file.close()
            for _, _, _, held in self._left:
                held.close()
            self._left = []


Left = tuple[str, Sequence[Line], int, IO[bytes]]  # its name, its lines, up to where they are recorded, its lock


def _left_in(folder: Path) -> Iterator[Left]:
    """Yield the spools of processes that ended, oldest first."""
    for path in sorted(folder.iterdir()):
        if not _NAME.fullmatch(path.name):
            continue
        held = path.open("rb")
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # its process runs
            held.close()
            continue
        yield path.stem, list(_whole_lines(held)), _through_of(path.with_suffix(".through")), held


def _whole_lines(file: IO[bytes]) -> Iterator[Line]:
    for line in file:
        if not line.endswith(b"\n"):
            return
        try:
            yield json.loads(line)
        except ValueError:  # the disk lost a part of it: what follows has another number, and the gap shows
            return


def _through_of(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0  # they are reported again, which records nothing twice


def _keep_through(path: Path, through: int) -> None:
    """Keep a number; one that is lost costs a report that says nothing new."""
    with contextlib.suppress(OSError):
        new = path.with_suffix(".through-new")
        new.write_text(str(through))
        new.replace(path)


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_suffix(".through").unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
