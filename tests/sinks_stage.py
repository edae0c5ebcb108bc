"""Receivers of evidence on loopback, for tests: a webhook or collector, and syslog over UDP, TCP and TLS.

with a_receiver() as receiver:
    receiver.url; receiver.bodies
with a_syslog("tcp") as syslog:
    syslog.port; syslog.messages
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Receiver:
    """What was posted, and what is answered."""

    port: int = 0
    status: int = 200
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def a_receiver() -> Iterator[Receiver]:
    kept = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if kept.status < 300:
                kept.paths.append(self.path)
                kept.headers.append({name.lower(): value for name, value in self.headers.items()})
                kept.bodies.append(body)
            self.send_response(kept.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return None

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        kept.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield kept
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Syslog:
    """A syslog receiver: the messages it read whole, by the framing of RFC 6587 on streams."""

    port: int
    messages: list[bytes] = field(default_factory=list)
    connections: int = 0
    breaks_after: int | None = None  # bytes of a connection, after which it is reset

    def read_stream(self, data: bytes) -> None:
        while data:
            found = re.match(rb"([1-9][0-9]{0,8}) ", data)
            assert found, data[:40]
            end = found.end() + int(found[1])
            assert len(data) >= end
            self.messages.append(data[found.end() : end])
            data = data[end:]


@contextmanager
def a_syslog(kind: str, tls: ssl.SSLContext | None = None) -> Iterator[Syslog]:
    if kind == "udp":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
            door.bind(("127.0.0.1", 0))
            door.settimeout(10)
            kept = Syslog(door.getsockname()[1])
            yield kept
            door.settimeout(0.05)
            try:
                while True:
                    kept.messages.append(door.recv(65_536))
            except TimeoutError:
                pass
        return
    with socket.create_server(("127.0.0.1", 0)) as door:
        kept = Syslog(door.getsockname()[1])
        thread = threading.Thread(target=_serve, args=(door, kept, tls))
        thread.start()
        try:
            yield kept
        finally:
            door.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve(door: socket.socket, kept: Syslog, tls: ssl.SSLContext | None) -> None:
    while True:
        try:
            plain, _ = door.accept()
        except OSError:
            return
        kept.connections += 1
        data = _read(plain, kept, tls)
        if data is not None:
            kept.read_stream(data)


def _read(plain: socket.socket, kept: Syslog, tls: ssl.SSLContext | None) -> bytes | None:
    """Return what came until the sender was through; None if it broke off."""
    data = b""
    try:
        with tls.wrap_socket(plain, server_side=True) if tls else plain as peer:
            while part := peer.recv(65_536):
                data += part
                if kept.breaks_after is not None and len(data) >= kept.breaks_after:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    kept.breaks_after = None
                    return None
            if isinstance(peer, ssl.SSLSocket):
                peer.unwrap()
    except OSError:
        return None
    return data
