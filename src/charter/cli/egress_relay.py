"""The forward proxy of `charter run`: on this machine, adding the agent's token and proof to each connection.

An agent then needs no change: HTTPS_PROXY and HTTP_PROXY name a loopback address with a password that only the started
command is told. Browsers leave the password out; so a connection of the started command, or of what it started, is also
known by the kernel's word. What goes through is not looked at here; Charter decides (docs/egress.md).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from charter.adapters.socket_owner import is_from
from charter.core.errors import CharterError
from charter.gateway.egress import parse_absolute, parse_destination
from charter.gateway.mcp import RUN_HEADER

BUFFER = 64 * 1024
MAX_HEAD = 32 * 1024
HEAD_SECONDS = 15.0
TRIES = 3  # with a fresh nonce, and with a fresh token
USER = "charter"
_OWN = frozenset({b"proxy-authorization", b"dpop", b"proxy-connection"})
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(slots=True)
class EgressRelay:
    """Passes what a program sends to its proxy on to Charter's."""

    proxy: str  # Charter's: http://127.0.0.1:8422
    issuer: str
    resource: str
    password: str
    credentials: Callable[[str, str, str], Awaitable[Mapping[str, str]]]  # (method, resource, url) -> headers
    forget: Callable[[str], None]  # the resource whose token was not taken
    learn: Callable[[str | None], bool]  # told of each nonce; whether it is a new one
    run: str  # which run the connections belong to
    started: Callable[[], int | None] = lambda: None  # the process of the started command, once there is one
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve on a free loopback port for as long as the context lasts; yield the address to give to programs."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=MAX_HEAD)
        port = server.sockets[0].getsockname()[1]
        try:
            yield f"http://{USER}:{self.password}@127.0.0.1:{port}"
        finally:
            server.close()
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.sleep(0)  # asyncio's own ends of the connections are told by callbacks

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio runs this in one
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # one of the sides went
        except asyncio.CancelledError:
            pass  # the relay ends, and so does this; asyncio would print a cancelled handler of a connection
        except CharterError as err:
            _refuse(writer, "400 Bad Request", f"{err.detail}; {err.help}")
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await _head(reader)
        line, lines = _parts(head)
        given = next((value for name, value in lines if name.lower() == b"proxy-authorization"), b"")
        wanted = b"Basic " + base64.b64encode(f"{USER}:{self.password}".encode())
        if not hmac.compare_digest(given, wanted) and (given or not await self._is_ours(writer)):
            challenge = b'Proxy-Authenticate: Basic realm="charter run"\r\n'
            _refuse(writer, "407 Proxy Authentication Required", "the password is another", challenge)
            return
        method, _, target = line.decode("latin-1").rpartition(" ")[0].partition(" ")
        to = parse_destination(target) if method == "CONNECT" else parse_absolute(target, method)[0]
        rest = b"".join(name + b":" + value + b"\r\n" for name, value in lines if name.lower() not in _OWN)
        named = {name.lower() for name, _ in lines}
        has_body = method != "CONNECT" and not named.isdisjoint({b"content-length", b"transfer-encoding"})
        waits = has_body and b"expect" not in named  # we ask to be told to go on, so that a 407 finds the body unsent
        plain = line + b"\r\n" + rest + (b"Expect: 100-continue\r\n" if waits else b"")
        answer, upstream = await self._opened(plain, method, f"{self.issuer}/egress/{to.authority}")
        if not (waits and answer.startswith(b"HTTP/1.1 100 ")):
            writer.write(answer)
        try:
            await asyncio.gather(_copy(reader, upstream[1]), _copy(upstream[0], writer))
        finally:
            upstream[1].close()

    async def _is_ours(self, writer: asyncio.StreamWriter) -> bool:
        """Whether a connection comes from the started command, or from what it started."""
        pid, client, here = self.started(), *(writer.get_extra_info(each) for each in ("peername", "sockname"))
        if pid is None or client is None or here is None:
            return False
        return await asyncio.to_thread(is_from, client, here, pid)

    async def _opened(self, head: bytes, method: str, url: str) -> tuple[bytes, Streams]:
        """Return the head of Charter's answer to a request with our proof, and the connection it came on.

        A body waits in its reader meanwhile: Charter answers 407 before it looks at one.
        """
        left = TRIES
        while True:
            left -= 1
            proof = await self.credentials(method, self.resource, url)
            own = f"Proxy-Authorization: {proof['authorization']}\r\nDPoP: {proof['dpop']}\r\n"
            own += f"{RUN_HEADER}: {self.run}\r\n\r\n"
            upstream = await self._dial(head + own.encode())
            answer = await _head(upstream[0])
            if left == 0 or not self._is_worth_another_try(answer):
                return answer, upstream
            upstream[1].close()

    async def _dial(self, head: bytes) -> Streams:
        parts = urlsplit(self.proxy)
        tls = ssl.create_default_context() if parts.scheme == "https" else None
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=MAX_HEAD, ssl=tls)
        writer.write(head)
        await writer.drain()
        return reader, writer

    def _is_worth_another_try(self, answer: bytes) -> bool:
        """Whether Charter wants a fresh nonce, or another token."""
        line, lines = _parts(answer)
        if b" 407 " not in line + b" ":
            return False
        nonce = next((value for name, value in lines if name.lower() == b"dpop-nonce"), None)
        if not self.learn(nonce.decode("latin-1").strip() if nonce else None):
            self.forget(self.resource)
        return True


async def _head(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(HEAD_SECONDS):
        return await reader.readuntil(b"\r\n\r\n")


def _parts(head: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Return the first line of a head, and its headers as they are written."""
    line, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    pairs = [each.partition(b":") for each in lines]
    return line, [(name, value if name.lower() not in _OWN else value.strip()) for name, _, value in pairs]


def _refuse(writer: asyncio.StreamWriter, status: str, why: str, more: bytes = b"") -> None:
    body = why.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
    writer.write(head.encode() + more + b"Connection: close\r\n\r\n" + body)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction until its end, which the other side is told of: over TLS, by the end of both directions."""
    while data := await reader.read(BUFFER):
        writer.write(data)
        await writer.drain()
    if not writer.can_write_eof():
        writer.close()
        return
    with contextlib.suppress(OSError, RuntimeError):
        writer.write_eof()
