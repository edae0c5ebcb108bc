"""An HTTP/2 client that says exactly what it is told, for gRPC that no library would send.

with a_visitor(path) as visitor:
    visitor.call("/SpiffeWorkloadAPI/FetchX509SVID", body=message(b""))
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError

GOOD = (("workload.spiffe.io", "true"),)
Headers = Sequence[tuple[str, str]]


def message(body: bytes, *, flag: int = 0, size: int | None = None) -> bytes:
    """Return a gRPC message with the head it should have, or another one."""
    return struct.pack(">BI", flag, len(body) if size is None else size) + body


@dataclass
class Answer:
    """What came back: gRPC's status (None: none came), its message, the data, or why there was nothing."""

    status: int | None = None
    text: str = ""
    data: bytes = b""
    is_reset: bool = False
    is_closed: bool = False
    http: str = ""


@dataclass
class Visitor:
    """One connection."""

    line: socket.socket
    h2: H2Connection = field(
        default_factory=lambda: H2Connection(H2Configuration(validate_outbound_headers=False, header_encoding="utf-8"))
    )

    def hello(self) -> None:
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # what `hear` then finds out too
            self.line.sendall(self.h2.data_to_send())

    def start(self, path: str, metadata: Headers = GOOD, *, head: Headers | None = None) -> int:
        """Send the head of a call; `head` replaces all of it."""
        usual = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "localhost"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            *metadata,
        ]
        number = self.h2.get_next_available_stream_id()
        self.h2.send_headers(number, list(usual if head is None else head))
        self.flush()
        return number

    def call(self, path: str, body: bytes | None, metadata: Headers = GOOD, *, head: Headers | None = None) -> Answer:
        """Make a call and return what comes back: for a stream, up to its first message."""
        number = self.start(path, metadata, head=head)
        if body is not None:
            self.send(number, body)
        return self.hear(number)

    def hear(self, number: int) -> Answer:
        answer = Answer()
        while True:
            try:
                data = self.line.recv(65_536)
            except ConnectionResetError:
                data = b""
            if not data:
                answer.is_closed = True
                return answer
            if self._take(data, number, answer):
                return answer

    def send(self, number: int, body: bytes) -> None:
        """Send a call's data in frames, and its end."""
        size = self.h2.max_outbound_frame_size
        for start in range(0, len(body), size):
            self.h2.send_data(number, body[start : start + size])
        self.h2.end_stream(number)
        self.flush()

    def _take(self, data: bytes, number: int, answer: Answer) -> bool:
        """Take in what came; return whether that ends the wait for `number`."""
        try:
            events = self.h2.receive_data(data)
        except ProtocolError:
            answer.is_closed = True
            return True
        for event in events:
            if isinstance(event, DataReceived) and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        self.flush()
        answer.is_closed = any(isinstance(each, ConnectionTerminated) for each in events)
        own = [each for each in events if getattr(each, "stream_id", None) == number]
        for event in own:
            _note(event, answer)
        return answer.is_closed or any(isinstance(each, DataReceived | StreamReset | StreamEnded) for each in own)


def _note(event: Event, answer: Answer) -> None:
    if isinstance(event, ResponseReceived | TrailersReceived):
        found = dict(event.headers or ())
        answer.http = str(found.get(":status", answer.http))
        if "grpc-status" in found:
            answer.status, answer.text = int(found["grpc-status"]), str(found.get("grpc-message", ""))
    elif isinstance(event, DataReceived):
        answer.data += event.data or b""
    elif isinstance(event, StreamReset):
        answer.is_reset = True


@contextmanager
def a_visitor(path: Path, *, greets: bool = True) -> Iterator[Visitor]:
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(20)
        line.connect(str(path))
        visitor = Visitor(line)
        if greets:
            visitor.hello()
        yield visitor
