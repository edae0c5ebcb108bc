"""Sending entries to sinks: one batch, taken whole or not at all as far as the sink lets us know.

INVARIANT: `send` returns only when the sink took the whole batch: an answer of the 200s, or of a stream that the
receiver read to its end and closed. Whatever else happens is a SinkError, and the batch is sent again.
INVARIANT: a connection is made only to an address that upstreams may have; redirects are not followed.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import csv
import hashlib
import hmac
import io
import re
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from charter.adapters import whole_file
from charter.adapters.document_fetch import DocumentFetcher, Question
from charter.adapters.upstream_address import resolve, usual_addresses
from charter.core.clock import Clock
from charter.core.errors import CharterError, ErrorCode, UnavailableError
from charter.core.values import Secret
from charter.evidence.log import Stored
from charter.evidence.neutral import ascii_json, cell
from charter.evidence.ocsf import event_of
from charter.evidence.sink import Form, Sink, SinkKind
from charter.evidence.syslog import MAX_DATAGRAM, framed, message_of

SECONDS = 15.0
MAX_ANSWER = 64 * 1024
MAX_WORDS = 16  # reads of what a syslog receiver says, which is nothing
_ANYTHING = re.compile(r".*", re.DOTALL)
_TAKEN = frozenset(range(200, 300))


class SinkError(UnavailableError):
    """A sink did not take a batch."""


class Sender(Protocol):
    """Sends batches to one sink."""

    async def send(self, batch: Sequence[Stored]) -> None:
        """Have the sink take a batch, whose entries follow each other.

        Raises:
            CharterError: it did not.
        """
        ...


@dataclass(frozen=True, slots=True)
class Senders:
    """Makes the sender of each sink."""

    clock: Clock
    variable: Callable[[str], str | None]
    tls: Callable[[], ssl.SSLContext] = ssl.create_default_context

    def of(self, sink: Sink) -> Sender:
        """Return the sender of `sink`."""
        match sink.target.kind:
            case SinkKind.WEBHOOK:
                return _Webhook(sink, self)
            case SinkKind.OTLP:
                return _Otlp(sink, self)
            case SinkKind.FILE:
                return _Files(sink)
            case SinkKind.SYSLOG_UDP:
                return _Datagrams(sink)
            case SinkKind.SYSLOG_TCP | SinkKind.SYSLOG_TLS:
                return _Stream(sink, self.tls)

    def secret(self, sink: Sink) -> Secret | None:
        """Return what the sink's variable holds, if it names one.

        Raises:
            SinkError: the variable is not set.
        """
        if sink.secret_env is None:
            return None
        value = self.variable(sink.secret_env)
        if not value:
            raise SinkError(
                ErrorCode.UPSTREAM_FAILED,
                f"the environment variable `{sink.secret_env}` is not set",
                help="set it where charter up runs",
            )
        return Secret(value.encode())

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> None:
        """Post a body and have it taken."""
        asked = Question("POST", headers, body, _ANYTHING, MAX_ANSWER, SECONDS, _TAKEN)
        await DocumentFetcher(usual_addresses, self.tls).ask(url, asked)


def told(stored: Stored, form: Form) -> Any:  # noqa: ANN401 - JSON
    """Return an entry in a form that is JSON."""
    return stored.to_json() if form is Form.ENTRY else event_of(stored)


@dataclass(frozen=True, slots=True)
class _Webhook:
    """POSTs a JSON list, signed as Standard Webhooks 1.0 has it where the sink has a secret."""

    sink: Sink
    room: Senders

    async def send(self, batch: Sequence[Stored]) -> None:
        body = ascii_json([told(each, self.sink.form) for each in batch])
        first, last = batch[0], batch[-1]
        headers = {
            "content-type": "application/json",
            "user-agent": "charter",
            "webhook-id": f"{first.node}.{first.index}-{last.index}",
            "webhook-timestamp": str(int(self.room.clock.now().timestamp())),
        }
        secret = self.room.secret(self.sink)
        if secret is not None:
            headers["webhook-signature"] = _signature(secret, headers, body)
        await self.room.post(self.sink.target.url, headers, body)


def _signature(secret: Secret, headers: dict[str, str], body: bytes) -> str:
    """Return the signature of a webhook: HMAC-SHA-256 over its id, its time and its body."""
    value = secret.reveal()
    key = base64.b64decode(value.removeprefix(b"whsec_")) if value.startswith(b"whsec_") else value
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


@dataclass(frozen=True, slots=True)
class _Otlp:
    """Exports log records to an OpenTelemetry collector; the secret is a bearer token."""

    sink: Sink
    room: Senders

    async def send(self, batch: Sequence[Stored]) -> None:
        from charter.adapters.otlp import logs_request, spans_request

        headers = {"content-type": "application/x-protobuf", "user-agent": "charter"}
        secret = self.room.secret(self.sink)
        if secret is not None:
            headers["authorization"] = f"Bearer {secret.reveal().decode()}"
        is_spans = self.sink.form is Form.SPANS
        url, signal = self.sink.target.url.rstrip("/"), "/v1/traces" if is_spans else "/v1/logs"
        body = spans_request(batch) if is_spans else logs_request(batch, self.sink.form)
        if body:
            await self.room.post(url if url.endswith(signal) else url + signal, headers, body)


@dataclass(frozen=True, slots=True)
class _Datagrams:
    """Sends syslog over UDP: nobody says whether it arrives."""

    sink: Sink

    async def send(self, batch: Sequence[Stored]) -> None:
        address = await _address_of(self.sink)
        try:
            await asyncio.to_thread(self._send, address, batch)
        except OSError as err:
            raise _failed(self.sink, err) from err

    def _send(self, address: str, batch: Sequence[Stored]) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as door:
            door.connect((address, self.sink.target.port))
            for each in batch:
                door.send(message_of(each, "charter", self.sink.form, longest=MAX_DATAGRAM))


@dataclass(frozen=True, slots=True)
class _Stream:
    """Sends syslog over TCP or TLS, a connection a batch: that the receiver closes it tells that it read all of it."""

    sink: Sink
    tls: Callable[[], ssl.SSLContext]

    async def send(self, batch: Sequence[Stored]) -> None:
        address = await _address_of(self.sink)
        data = b"".join(framed(message_of(each, "charter", self.sink.form)) for each in batch)
        try:
            with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as plain:
                await self._sent(plain, address, data)
        except OSError as err:  # and TimeoutError and ssl.SSLError, which are such
            raise _failed(self.sink, err) from err

    async def _sent(self, plain: socket.socket, address: str, data: bytes) -> None:
        plain.settimeout(0)
        async with asyncio.timeout(SECONDS):
            await asyncio.get_running_loop().sock_connect(plain, (address, self.sink.target.port))
        plain.settimeout(SECONDS)
        sending = asyncio.create_task(asyncio.to_thread(self._send, plain, data))
        try:
            await asyncio.shield(sending)
        except asyncio.CancelledError:
            with contextlib.suppress(OSError):
                plain.shutdown(socket.SHUT_RDWR)  # whoever waits in the thread waits no more
            await asyncio.gather(sending, return_exceptions=True)
            raise

    def _send(self, plain: socket.socket, data: bytes) -> None:
        if self.sink.target.kind is SinkKind.SYSLOG_TCP:
            plain.sendall(data)
            _closed_by_peer(plain)
            return
        with self.tls().wrap_socket(plain.dup(), server_hostname=self.sink.target.host) as private:
            private.settimeout(SECONDS)
            private.sendall(data)
            with contextlib.suppress(ssl.SSLEOFError):  # it closed without a word, which is a close all the same
                private.unwrap()


def _closed_by_peer(door: socket.socket) -> None:
    """Wait until the peer, which learns that nothing more comes, closes its side too.

    Raises:
        OSError: it does not: it says nothing for long, or talks without end.
    """
    door.shutdown(socket.SHUT_WR)
    for _ in range(MAX_WORDS):
        if not door.recv(4096):
            return
    raise OSError("the receiver talks, and does not close")


async def _address_of(sink: Sink) -> str:
    return (await resolve(sink.target.host, sink.target.port, usual_addresses))[0]


COLUMNS = (
    "node",
    "index",
    "time",
    "kind",
    "principal_id",
    "actor",
    "principal",
    "system",
    "action",
    "verdict",
    "entry",
)


def row_of(stored: Stored) -> tuple[str | int | None, ...]:
    """Return an entry as a row of COLUMNS."""
    entry = stored.to_json()
    body = entry["body"]
    named = (body.get(name) for name in ("principal", "system", "action", "verdict"))
    texts = (value if isinstance(value, str) else None for value in named)
    head = (stored.node, stored.index, stored.time, stored.kind, stored.principal, str(entry["actor"]))
    return (*head, *texts, stored.data.decode())


@dataclass(frozen=True, slots=True)
class _Files:
    """Writes a file a batch, named by its first entry: sent again, it takes its own place."""

    sink: Sink

    async def send(self, batch: Sequence[Stored]) -> None:
        try:
            await asyncio.to_thread(self._write, batch)
        except OSError as err:
            raise _failed(self.sink, err) from err

    def _write(self, batch: Sequence[Stored]) -> None:
        folder = Path(self.sink.target.folder) / batch[0].node
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{batch[0].index:012d}.{self.sink.form.value}"
        whole_file.replace(folder / name, rendered(batch, self.sink.form), whole_file.SHARED)


def rendered(batch: Sequence[Stored], form: Form) -> bytes:
    """Return entries as the bytes of one file."""
    match form:
        case Form.PARQUET:
            return _parquet(batch)
        case Form.CSV:
            return _csv(batch)
        case Form.JSONL | Form.OCSF:
            return b"".join(ascii_json(event_of(each)) + b"\n" for each in batch)
        case Form.ENTRY | Form.SPANS:
            return b"".join(each.data + b"\n" for each in batch)


def _csv(batch: Sequence[Stored]) -> bytes:
    out = io.StringIO(newline="")
    rows = csv.writer(out, quoting=csv.QUOTE_ALL)
    rows.writerow(COLUMNS)
    for each in batch:
        *head, entry = row_of(each)
        shown = ascii_json(each.to_json()).decode() if entry else ""
        rows.writerow(["" if value is None else cell(str(value)) for value in (*head, shown)])
    return out.getvalue().encode()


def _parquet(batch: Sequence[Stored]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    columns = list(zip(*(row_of(each) for each in batch), strict=True))
    arrays = [pa.array(values, pa.int64() if name == "index" else pa.string()) for name, values in _named(columns)]
    at = COLUMNS.index("time")
    arrays[at] = arrays[at].cast(pa.timestamp("us", tz="UTC"))
    out = io.BytesIO()
    parquet.write_table(pa.table(dict(zip(COLUMNS, arrays, strict=True))), out, compression="zstd")
    return out.getvalue()


def _named(columns: Sequence[Sequence[Any]]) -> zip[tuple[str, Sequence[Any]]]:
    return zip(COLUMNS, columns, strict=True)


def _failed(sink: Sink, err: Exception) -> CharterError:
    slow = f"it took longer than {SECONDS:.0f} seconds" if isinstance(err, TimeoutError) else None
    words = slow or getattr(err, "strerror", None) or type(err).__name__
    return SinkError(
        ErrorCode.UPSTREAM_FAILED,
        f"`{sink.target.address[:200]}` did not take a batch: {str(words).lower()}",
        help="check the address, and that the sink can be reached from here",
    )
