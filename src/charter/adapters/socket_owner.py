"""Whether a TCP connection on this machine comes from a process, or from one that it started.

Browsers, and programs made with them, take the address of a proxy from their environment and leave its password out.
What `charter run` started is known to it all the same: the kernel tells which socket a connection is
(/proc/net/tcp), who holds that socket (/proc/PID/fd) and who started whom (/proc/PID/stat).

INVARIANT: what cannot be told, as on other systems than Linux, or of a process whose parents have ended, is no.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
_ESTABLISHED = "01"
_PARENT = 1  # a field of /proc/PID/stat, counted from the state, which is the first behind the name


def is_from(client: tuple[str, int], here: tuple[str, int], ancestor: int) -> bool:
    """Return whether the client at one end of a connection over IPv4 is `ancestor`, or came of it; it reads files."""
    inode = _inode(f"{_hex(*client)} {_hex(*here)} {_ESTABLISHED}")
    return inode is not None and any(f"socket:[{inode}]" in _held(pid) for pid in _started_by(ancestor))


def _hex(address: str, port: int) -> str:
    return f"{int.from_bytes(socket.inet_aton(address), sys.byteorder):08X}:{port:04X}"


def _inode(ends: str) -> str | None:
    try:
        lines = (PROC / "net" / "tcp").read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return None
    found = [line.split() for line in lines if ends in line]
    return found[0][9] if len(found) == 1 and found[0][9] != "0" else None


def _held(pid: int) -> set[str]:
    """Return what a process holds open, as far as we may look."""
    held = set()
    try:
        for each in (PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                held.add(str(each.readlink()))
    except OSError:
        pass  # it ended, or is another user's
    return held


def _started_by(ancestor: int) -> Iterator[int]:
    """Yield a process and whatever came of it."""
    children: dict[int, list[int]] = {}
    for each in PROC.glob("[0-9]*/stat"):
        try:
            parent = int(each.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[_PARENT])
        except (OSError, ValueError, IndexError):
            continue
        children.setdefault(parent, []).append(int(each.parent.name))
    left = [ancestor]
    while left:
        pid = left.pop()
        yield pid
        left += children.pop(pid, ())
