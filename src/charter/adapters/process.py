"""The process at the other end of a unix socket, by the kernel's word: who runs it, which program it is, in which unit.

    with Peer.of(connection) as peer:
        peer.process()     # a Process (identity/attestation.py)

The kernel noted user, group and process id when the peer connected. The rest is read from /proc, between two looks at
the process's own descriptor (pidfd), which can mean no other process, whatever becomes of its number.

INVARIANT: what is returned was true of the very process that connected, while it was alive. Whatever cannot be read, or
changed between, is refused or left out; a selector that names it is then not met.

    path    counts only if this machine's own file of that name is the one that runs: a process in a file system of its
            own (a container, a user namespace) could call any program by any name.
    unit    counts only if the system's manager keeps it. A user's own manager names units as the user likes.

Programs and paths of other users' processes can be read by root, or with CAP_SYS_PTRACE.
"""

from __future__ import annotations

import hashlib
import os
import select
import socket
import struct
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self

from charter.core.errors import ErrorCode, UnauthenticatedError
from charter.identity.attestation import Process

MAX_PROGRAM = 1 << 30  # bytes of a program whose digest is asked for
MAX_DIGESTS = 256
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid
_SO_PEERPIDFD = 77  # Linux 6.5; Python has no name for it yet
_MAX_TEXT = 65_536
_PARENT, _STARTED = 1, 19  # fields of /proc/PID/stat, counted from the state, which is the first behind the name


@dataclass(slots=True)
class Peer:
    """The process that connected. Close it when its connection ends."""

    pid: int
    uid: int
    gid: int
    _pidfd: int
    _started: str  # in clock ticks since the machine started
    _program: tuple[int, ...] | None = None  # the file it ran when it was first looked at
    _path: str | None = None
    _is_open: bool = True

    @classmethod
    def of(cls, connection: socket.socket) -> Peer:
        """Return the process that `connection` leads to.

        Raises:
            UnauthenticatedError: it has ended, or is of another machine or namespace that cannot be looked into.
        """
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, gid = _CREDENTIALS.unpack(raw)
        if pid <= 0 or uid < 0 or gid < 0:
            raise _refusal("is not of this machine")
        pidfd = _pidfd_of(connection, pid)
        try:
            peer = cls(pid, uid, gid, pidfd, _stat(pid)[_STARTED])
            peer.process()
        except BaseException:
            os.close(pidfd)
            raise
        return peer

    def process(self) -> Process:
        """Return what the kernel says of it now. Reads files.

        Raises:
            UnauthenticatedError: it has ended, runs another program than at first, or changed its user.
        """
        self._check_alive()
        stat = _stat(self.pid)
        if stat[_STARTED] != self._started:
            raise _refusal("has ended")
        if _ids(self.pid) != (self.uid, self.gid):
            raise _refusal("changed its user or group since it connected")
        program, path = self._running()
        unit = _unit_of(self.pid) or self._parents_unit(int(stat[_PARENT]))
        self._check_alive()
        if self._program is not None and program != self._program:
            raise _refusal("runs another program than when it connected")
        self._program, self._path = program, self._path or path
        return Process(self.pid, self.uid, self.gid, self._path, unit)

    def digest(self) -> str | None:
        """Return the SHA-256 of the program it runs, in hexadecimal; None if that cannot be read. Reads the whole file.

        Raises:
            UnauthenticatedError: it has ended.
        """
        found = _digests.of(f"/proc/{self.pid}/exe")
        self._check_alive()
        return found

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return self._is_open and not poll.poll(0)

    @property
    def descriptor(self) -> int:
        """The pidfd: readable once the process has ended."""
        return self._pidfd

    def close(self) -> None:
        """Let the process go."""
        if self._is_open:
            self._is_open = False
            os.close(self._pidfd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _check_alive(self) -> None:
        if not self.is_alive:
            raise _refusal("has ended")

    def _running(self) -> tuple[tuple[int, ...] | None, str | None]:
        """Return the file that runs (device and inode), and its path if that means the same file here."""
        link = Path(f"/proc/{self.pid}/exe")
        try:
            there, path = link.stat(), link.readlink()
        except OSError:
            return None, None
        program = (there.st_dev, there.st_ino)
        try:
            here = path.stat()  # not lstat: a program may be called by a link's name, but the kernel tells its own
        except OSError:
            return program, None
        return program, str(path) if (here.st_dev, here.st_ino) == program else None

    def _parents_unit(self, parent: int) -> str | None:
        """Return the unit of the parent, if it is still the parent when that was read."""
        if parent <= 1:
            return None
        unit = _unit_of(parent)
        return unit if int(_stat(self.pid)[_PARENT]) == parent else None


class _Digests:
    """The digests of programs, by what would change with their content."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: OrderedDict[tuple[int, ...], str] = OrderedDict()

    def of(self, path: str) -> str | None:
        """Return the SHA-256 of the file at `path` in hexadecimal, or None."""
        try:
            with Path(path).open("rb") as file:
                found = os.fstat(file.fileno())
                name = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
                with self._lock:
                    known = self._known.get(name)
                if known is not None or found.st_size > MAX_PROGRAM:
                    return known
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return None
        with self._lock:
            self._known[name] = digest
            while len(self._known) > MAX_DIGESTS:
                self._known.popitem(last=False)
        return digest


_digests = _Digests()


def _pidfd_of(connection: socket.socket, pid: int) -> int:
    """Return a descriptor of the process that connected.

    The kernel gives it from Linux 6.5 on. Before, it is opened by number: a process that ended, and whose number was
    given away between connecting and this moment, is then told by its user alone.
    """
    try:
        return int.from_bytes(connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD, 4), "little", signed=True)
    except OSError:
        pass
    try:
        return os.pidfd_open(pid)
    except OSError as err:
        raise _refusal("has ended") from err


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat behind the program's name, which may hold anything."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if len(fields) <= _STARTED or fields[0] in "ZX":
        raise _refusal("has ended")
    return fields


def _ids(pid: int) -> tuple[int, int]:
    """Return the effective user and group."""
    found: dict[str, int] = {}
    for line in _read(f"/proc/{pid}/status").splitlines():
        name, _, rest = line.partition(":")
        if name in ("Uid", "Gid"):
            found[name] = int(rest.split()[1])
    return found["Uid"], found["Gid"]


def _unit_of(pid: int) -> str | None:
    """Return the unit of the system's manager that a process is in (systemd: the first below the slices)."""
    try:
        lines = [line.split(":", 2) for line in _read(f"/proc/{pid}/cgroup").splitlines()]
    except UnauthenticatedError:
        return None
    kept = {parts[1]: parts[2] for parts in lines if len(parts) == 3}  # noqa: PLR2004 - number, controllers, path
    return unit_in(kept.get("name=systemd", kept.get("", "")))


def unit_in(path: str) -> str | None:
    """Return the unit that a control group's `path` names, if the system's manager made it."""
    for part in path.split("/")[1:]:
        if part == "user.slice":
            return None  # below it, users start what they like
        if part.endswith(".slice"):
            continue
        return part if part.endswith((".service", ".scope")) else None
    return None


def _read(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(_MAX_TEXT).decode(errors="replace")
    except OSError as err:
        raise _refusal("has ended, or cannot be looked at") from err


def _refusal(why: str) -> UnauthenticatedError:
    return UnauthenticatedError(
        ErrorCode.NOT_ATTESTED, f"the process {why}", help="connect again from the process that wants the SVID"
    )
