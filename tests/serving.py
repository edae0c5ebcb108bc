"""An ASGI application served by the real server, on a real socket, for the time of a test."""

from __future__ import annotations

import asyncio
import os
import socket
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


def let_go(client: socket.socket) -> bool:
    """Return whether its other end is let go of before long."""
    ends = time.monotonic() + 15
    while holds(client) and time.monotonic() < ends:
        time.sleep(0.05)
    return not holds(client)
