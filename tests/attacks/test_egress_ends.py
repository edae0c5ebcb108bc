"""How connections through the forward proxy end: with all that they hold, whatever either side takes or says."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from charter.bootstrap import authority
from charter.cli.egress_relay import EgressRelay
from charter.core.canonical import canonical
from charter.registry.standing import Move
from egress_stage import AGENT, Proxied, a_proxy, browser, credentials, outcome, said
from serving import holds, let_go, until_full

IDLE = 1.0
ANSWERS = {
    "/two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde",
    "/bare-cr": b"HTTP/1.1 200 OK\r\nX-A: b\rX-B: c\r\nContent-Length: 0\r\n\r\n",
    "/nonsense": b"SSH-2.0-OpenSSH_9.2\r\n",
    "/switching": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "/nothing": b"",
    "/wants-a-password": b"HTTP/1.1 407 x\r\nDPoP-Nonce: n\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
    "/": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
}


class Host(socketserver.StreamRequestHandler):
    """A host that does as the first line says."""

    seen: list[bytes]

    def handle(self) -> None:
        line = self.rfile.readline(200)
        with contextlib.suppress(OSError):
            if line == b"flood\n":
                while True:
                    self.wfile.write(b"x" * 65_536)
            elif line == b"drip\n":
                for _ in range(30):
                    self.wfile.write(b".")
                    time.sleep(0.1)
            elif line == b"wait\n":
                self.rfile.read()
                time.sleep(30)
            elif line == b"bye\n":
                self.connection.shutdown(socket.SHUT_WR)
                self.rfile.read()
            else:
                self._answer(line)

    def _answer(self, line: bytes) -> None:
        head = line
        while (header := self.rfile.readline(200)).strip():
            head += header
        length = next((int(each[15:]) for each in head.splitlines() if each.startswith(b"content-length:")), 0)
        self.seen.append(head + self.rfile.read(length))
        self.wfile.write(ANSWERS[line.split(b" ")[1].decode()])


@contextmanager
def a_host() -> Iterator[tuple[int, list[bytes]]]:
    """Serve such a host; yield its port, and what was asked of it."""
    seen: list[bytes] = []
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), type("Handler", (Host,), {"seen": seen})) as server:
        server.daemon_threads, server.block_on_close = True, False
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server.server_address[1], seen
        server.shutdown()
        thread.join(10)


@contextmanager
def with_a_host(folder_of: pytest.TempPathFactory, **terms: float) -> Iterator[tuple[Proxied, int, list[bytes]]]:
    with a_host() as (port, seen):
        more = {f"principals/{AGENT}.yaml": canonical(browser(port)).decode()}
        with a_proxy(folder_of.mktemp("ends"), more, plain=[port], **terms) as proxied:
            yield proxied, port, seen


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxied, int, list[bytes]]]:
    with with_a_host(tmp_path_factory, idle=IDLE) as found:
        yield found


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxied, int, list[bytes]]]:
    """Return one where nothing is idle for as long as a test takes."""
    with with_a_host(tmp_path_factory) as found:
        yield found


def opened(proxied: Proxied, port: int, first: bytes, connection: socket.socket | None = None) -> socket.socket:
    """Return a tunnel to the host, which was told the first line."""
    connection = connection or socket.create_connection(("127.0.0.1", proxied.port), timeout=20)
    connection.sendall(f"CONNECT localhost:{port} HTTP/1.1\r\nHost: x\r\n".replace("x", f"localhost:{port}").encode())
    connection.sendall(f"{credentials(proxied.token())}\r\n".encode())
    assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    connection.sendall(first)
    return connection


def test_who_takes_nothing_does_not_hold_a_connection_past_its_end(site: tuple[Proxied, int, list[bytes]]) -> None:
    proxied, port, _ = site
    with opened(proxied, port, b"flood\n") as tunnel:
        assert holds(tunnel)
        assert let_go(tunnel)
    assert outcome(proxied)["outcome"] == "ok"


def test_a_kill_closes_the_connection_of_who_takes_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    with (
        with_a_host(tmp_path_factory) as (proxied, port, _),
        opened(proxied, port, b"flood\n") as tunnel,
    ):
        tunnel.recv(1)
        until_full(tunnel)
        asyncio.run(authority.move(proxied.stage.house, AGENT, Move.KILL, actor="op@example.com", reason="a drill"))
        assert let_go(tunnel)


def test_a_connection_is_idle_only_if_nothing_comes_either_way(site: tuple[Proxied, int, list[bytes]]) -> None:
    """A download may take longer than a client may be silent."""
    proxied, port, _ = site
    with opened(proxied, port, b"drip\n") as tunnel:
        assert said(tunnel) == b"." * 30


def test_the_end_of_one_direction_ends_a_tunnel_over_tls(patient: tuple[Proxied, int, list[bytes]]) -> None:
    """TLS has no half-closed connections: else each side waited for the other until the tunnel is idle."""
    proxied, port, _ = patient
    context = ssl.create_default_context(cafile=str(proxied.tls_ca))
    with (
        socket.create_connection(("127.0.0.1", proxied.tls_port), timeout=20) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as secure,
    ):
        opened(proxied, port, b"bye\n", secure)
        assert secure.recv(1) == b""


def test_a_program_that_goes_lets_go_of_the_proxy_over_tls(
    patient: tuple[Proxied, int, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`charter run` ends the connection to a proxy over TLS with the program's: the host here waits to be told."""
    proxied, port, _ = patient
    monkeypatch.setenv("SSL_CERT_FILE", str(proxied.tls_ca))

    async def own(_method: str, _resource: str, _url: str) -> dict[str, str]:
        return {"authorization": f"Bearer {await asyncio.to_thread(proxied.token)}", "dpop": "none"}

    async def go() -> None:
        at = f"https://localhost:{proxied.tls_port}"
        relay = EgressRelay(at, proxied.url, proxied.resource, "secret", own, print, bool, "a-run")
        async with relay.serving() as address:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
            password = base64.b64encode(b"charter:secret").decode()
            head = f"CONNECT localhost:{port} HTTP/1.1\r\nHost: localhost:{port}\r\n"
            writer.write(f"{head}Proxy-Authorization: Basic {password}\r\n\r\n".encode())
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            writer.write(b"wait\n")
            writer.write_eof()
            assert await asyncio.wait_for(reader.read(), 20) == b""
            writer.close()

    asyncio.run(go())


@pytest.mark.parametrize("path", [each for each in ANSWERS if each != "/"])
def test_an_answer_that_is_none_is_told_as_such(site: tuple[Proxied, int, list[bytes]], path: str) -> None:
    """Among them one that asks for the proxy's own password, as whose `charter run` would send the request again."""
    proxied, port, _ = site
    answer = asked(proxied, f"GET http://localhost:{port}{path} HTTP/1.1\r\nHost: localhost:{port}\r\nAUTH\r\n")
    assert answer.startswith(b"HTTP/1.1 502 the host broke off, or what it answered is no answer")


def test_what_bounds_a_body_is_passed_on_whatever_names_it(site: tuple[Proxied, int, list[bytes]]) -> None:
    proxied, port, seen = site
    head = (
        f"POST http://localhost:{port}/ HTTP/1.1\r\nHost: localhost:{port}\r\nAUTHConnection: content-length, x-a\r\n"
    )
    assert asked(proxied, head + "X-A: b\r\nContent-Length: 3\r\n\r\nabc").endswith(b"ok")
    assert seen[-1].endswith(b"abc")
    assert b"x-a" not in seen[-1]


def asked(proxied: Proxied, text: str) -> bytes:
    """Return what the proxy answers to a request."""
    with socket.create_connection(("127.0.0.1", proxied.port), timeout=20) as connection:
        connection.sendall(text.replace("AUTH", credentials(proxied.token())).encode())
        return said(connection)
