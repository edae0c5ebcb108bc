"""An ASGI application served by the real server, on a real socket, for the time of a test."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from charter.server.app import _server


@contextmanager
def listening(app: Any, listener: socket.socket) -> Iterator[None]:
    with serving_on(_server(app), listener):
        yield


@contextmanager
def serving_on(server: uvicorn.Server, listener: socket.socket) -> Iterator[None]:
    """Run a server on a socket of its own."""
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join(10)


def holds(client: socket.socket) -> bool:
    """Return whether this process, which the server runs in, still has the other end of a connection."""
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            if not str(descriptor.readlink()).startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(descriptor.name))) as each:
                if each.type == socket.SOCK_STREAM and each.getpeername() == client.getsockname():
                    return True
        except OSError:
            continue
    return False


def until_full(client: socket.socket) -> None:
    """Wait until nothing more comes for a client that reads nothing: whoever sends to it waits."""
    before, ends = -1, time.monotonic() + 15
    while (now := _unread(client)) != before and time.monotonic() < ends:
        before = now
        time.sleep(0.3)


def _unread(client: socket.socket) -> int:
    return int.from_bytes(fcntl.ioctl(client, termios.FIONREAD, b"\0" * 4), sys.byteorder)


def let_go(client: socket.socket) -> bool:
    """Return whether its other end, which was accepted before, is let go of before long."""
    ends = time.monotonic() + 15
    while is_held := holds(client):
        if time.monotonic() > ends:
            break
        time.sleep(0.05)
    return not is_held
