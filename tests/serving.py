"""An ASGI application served by the real server, on a real socket, for the time of a test."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
