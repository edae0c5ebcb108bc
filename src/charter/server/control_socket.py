"""The control API's unix socket: how the server makes it and how commands reach it.

The kernel takes paths of at most 107 bytes for one (unix(7)), and an estate may stand deeper than that. Such a socket
is named through its folder's descriptor, `/proc/self/fd/N/control.sock`, which is short whatever the folder is called.

INVARIANT: only the account that owns the socket can open it (mode 0600, in a folder of mode 0700).
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_PATH_BYTES = 107


@contextmanager
def reachable(path: Path) -> Iterator[str]:
    """Give a name of the socket `path` that the kernel takes, good for as long as the context lasts.

    Raises:
        OSError: its folder cannot be entered.
    """
    if len(os.fsencode(path)) <= MAX_PATH_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """Give the socket bound to `path`, and take its file away in the end.

    The caller holds the data folder's lock all the while: what stands there is a dead process's, or this one's.
    """
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
        with reachable(path) as name:
            control.bind(name)
        try:
            path.chmod(stat.S_IRUSR | stat.S_IWUSR)
            control.listen(64)
            yield control
        finally:
            path.unlink(missing_ok=True)
