"""The data folder: where one node keeps its database, sealed keys and socket, and what makes sure it is alone there.

INVARIANT: while a `DataFolder` is open, no other process holds the same folder. The kernel's lock (flock) goes with the
process, however it dies, so a crash leaves nothing to clean up.
INVARIANT: only Charter's user can enter the folder (mode 0700), and git is told to keep out.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from charter.adapters import whole_file
from charter.core.errors import ConflictError, ErrorCode, UnavailableError

_LOCK = "lock"
_PID_BYTES = 32
_PAUSES = (0.01, 0.04, 0.0)  # someone who only asks `holder` has the lock for an instant


@dataclass(slots=True)
class DataFolder:
    """An open data folder. Close it, or use it as a context."""

    path: Path
    _lock: int

    @classmethod
    def open(cls, path: Path) -> DataFolder:
        """Make the folder if need be, and take it for this process.

        Raises:
            ConflictError: another process has it; the message names its pid.
            UnavailableError: it cannot be made, entered or written to.
        """
        try:
            _make_private(path)
            lock = _take(path / _LOCK)
            try:
                os.ftruncate(lock, 0)
                os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)  # fails here, not later, on a full or read-only disk
                _keep_git_out(path)
            except BaseException:
                os.close(lock)
                raise
        except OSError as err:
            raise _unusable(path, err) from err
        return cls(path, lock)

    def file(self, name: str) -> Path:
        """Return the path of the file `name` in the folder."""
        return self.path / name

    def keep(self, name: str, make: Callable[[], str]) -> str:
        """Return the line that the file `name` holds, made by `make` the first time: whole, or not at all.

        Raises:
            UnavailableError: it cannot be read or written.
        """
        file = self.file(name)
        try:
            if not file.exists():
                whole_file.replace(file, f"{make()}\n".encode("ascii"))
            return file.read_bytes().decode("ascii", "replace").strip()
        except OSError as err:
            raise _unusable(self.path, err) from err

    def close(self) -> None:
        """Let the folder go."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def holder(path: Path) -> int | None:
    """Return the pid of the process that has the data folder `path` open, or None if none has."""
    try:
        descriptor = os.open(path / _LOCK, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid_in(descriptor)
    finally:
        os.close(descriptor)
    return None


def _make_private(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.stat()
    if found.st_uid != os.geteuid() and os.geteuid() != 0:
        raise PermissionError(f"it belongs to user {found.st_uid}")
    if stat.S_IMODE(found.st_mode) & 0o077:
        path.chmod(0o700)


def _take(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    for pause in _PAUSES:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(pause)
        else:
            return descriptor
    pid = _pid_in(descriptor)
    os.close(descriptor)
    raise ConflictError(
        ErrorCode.ALREADY_RUNNING,
        f"{f'process {pid}' if pid else 'another process'} is using the data folder `{path.parent}`",
        help="use the running Charter, stop it, or name another folder with --data",
    )


def _pid_in(descriptor: int) -> int | None:
    text = os.pread(descriptor, _PID_BYTES, 0).strip()
    return int(text) if text.isdigit() else None


def _keep_git_out(path: Path) -> None:
    ignore = path / ".gitignore"
    if not ignore.exists():
        whole_file.replace(ignore, b"# Keys and evidence: not for the estate's repository.\n*\n")


def _unusable(path: Path, err: OSError) -> UnavailableError:
    why = (err.strerror or str(err)).lower()
    return UnavailableError(
        ErrorCode.STORE_FAILED,
        f"the data folder `{path}` cannot be used: {why}",
        help="name a folder that Charter's user owns and can write to, on a disk with free space",
    )
