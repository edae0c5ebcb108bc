"""The Workload API's unix socket: open to every process of the machine, because the kernel tells who each one is.

In the data folder, which is closed to other users, only Charter's own user reaches it. `CHARTER_WORKLOAD_SOCKET` puts
it where others can, as in /run/charter/workload.sock.
"""

from __future__ import annotations

import socket
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from charter.bootstrap.workload import Bell, Peer
from charter.core.errors import ConflictError, ErrorCode, UnavailableError
from charter.server.control_socket import reachable
from charter.server.workload import Source, WorkloadVisit
from charter.server.workload_rpc import WorkloadServer

BACKLOG = 128
_EVERYONE = 0o666
_FOLDER = 0o755


class WorkloadSource(Source, Protocol):
    """A source that also tells who connected, and when the estate changed."""

    def visitor(self, connection: Any) -> Peer:  # noqa: ANN401 - a socket, or what an event loop shows of one
        """Return the process that connected, or raise."""
        ...

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` whenever the estate changed; return what ends that."""
        ...


@asynccontextmanager
async def workload_door(source: WorkloadSource, path: Path) -> AsyncIterator[WorkloadServer]:
    """Serve the Workload API at `path`.

    Raises:
        ConflictError: something else is there.
        UnavailableError: no socket can be made there.
    """
    bell = Bell()
    server = WorkloadServer(lambda: WorkloadVisit(source, bell), source.visitor)
    deaf = source.listen(bell.ring)
    listener = _bind(path)
    try:
        await server.start(path=None, sock=listener)
        yield server
        await server.end()
    finally:
        deaf()
        listener.close()
        _remove(path)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _bind(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(mode=_FOLDER, parents=True, exist_ok=True)
        _clear(path)
        with reachable(path) as name:
            listener.bind(name)
        path.chmod(_EVERYONE)
        listener.listen(BACKLOG)
    except OSError as err:
        listener.close()
        raise UnavailableError(
            ErrorCode.STORE_FAILED,
            f"the Workload API cannot listen at `{path}`: {(err.strerror or str(err)).lower()}",
            help="set CHARTER_WORKLOAD_SOCKET to a path in a folder that Charter's user may write to",
        ) from err
    except ConflictError:
        listener.close()
        raise
    return listener


def _clear(path: Path) -> None:
    """Remove the socket of a server that has ended.

    Raises:
        ConflictError: something else is there, or a server that lives.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, reachable(path) as name:
        if not stat.S_ISSOCK(found.st_mode) or probe.connect_ex(name) == 0:
            raise ConflictError(
                ErrorCode.ALREADY_RUNNING,
                f"something else is at `{path}`, where the Workload API shall listen",
                help="stop what listens there, or set CHARTER_WORKLOAD_SOCKET to another path",
            )
    path.unlink()
