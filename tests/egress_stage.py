"""A house with the forward proxy open, and hosts outside: a site over TLS and one in the clear, both on loopback.

The system `web` reaches `localhost` alone, at the ports of the two sites; what else is asked for is denied.
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import http.server
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from builders import REFUND_CHARTER
from charter.bootstrap import authority
from charter.cli.agent_keys import AgentTokens, agent_key
from charter.console.signin import SignIn
from charter.core.canonical import canonical
from charter.core.clock import SystemClock
from charter.core.entropy import SystemEntropy
from charter.server.app import public_app
from charter.server.egress import IDLE_SECONDS, EgressDoor
from charter.server.oauth import ASSERTION_TYPE
from charter.server.shown_tls import ShownTls
from houses import BEARING, Stage, a_house, estate_files
from serving import listening
from tls_server import WebAuthority
from trust_domains import certificate

AGENT = "browser"


class Files(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and takes what is posted."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, str, dict[str, str], bytes]]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its parent's word
        pass

    def do_GET(self) -> None:
        self.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, b""))
        super().do_GET()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@dataclass
class Outside:
    """A host outside."""

    folder: Path
    port: int
    ca: Path | None = None
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{'https' if self.ca else 'http'}://localhost:{self.port}"


@contextmanager
def outside(folder: Path, authority_: WebAuthority | None = None) -> Iterator[Outside]:
    """Serve `folder` on a free port, over TLS if there is an authority."""
    seen: list[tuple[str, str, dict[str, str], bytes]] = []
    handler = type("Handler", (Files,), {"seen": seen})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    server.daemon_threads = True
    ca = None
    if authority_ is not None:
        own = certificate(
            uris=(), names=(x509.DNSName("localhost"),), issuer=authority_.root, name="web", at=dt.datetime.now(dt.UTC)
        )
        pem = folder.parent / f"{folder.name}.pem"
        key = own.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        pem.write_bytes(own.certificate.public_bytes(Encoding.PEM) + key)
        ca = folder.parent / "ca.pem"
        ca.write_bytes(authority_.root.certificate.public_bytes(Encoding.PEM))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pem)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield Outside(folder, server.server_address[1], ca, seen)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@dataclass
class Proxied:
    """What tests do with the proxy."""

    stage: Stage
    url: str
    port: int
    secure: Outside
    clear: Outside
    tokens: AgentTokens
    tls_port: int
    tls_ca: Path

    @property
    def resource(self) -> str:
        return f"{self.url}/mcp/web"

    def token(self) -> str:
        """Return a bearer token for the proxy."""
        self.stage.clock.at = SystemClock().now()
        form = {
            "grant_type": "client_credentials",
            "resource": self.resource,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self.tokens.assertion(),
        }
        return str(httpx.post(f"{self.url}/oauth/token", data=form, timeout=20).json()["access_token"])

    def address(self, token: str | None = None) -> str:
        """Return the proxy's address as programs take it."""
        return f"http://charter:{token or self.token()}@127.0.0.1:{self.port}"

    def over_tls(self, token: str | None = None) -> str:
        """Return the address of the proxy over TLS."""
        return f"https://charter:{token or self.token()}@localhost:{self.tls_port}"

    def verdicts(self) -> list[dict[str, Any]]:
        return [entry["body"] for entry in self.stage.entries("verdict")]


def web(**terms: Any) -> dict[str, Any]:
    return {
        "charter": "v1",
        "system": "web",
        "kind": "egress",
        "environment": "production",
        "owner": {"person": "pia@example.com", "team": "payments-platform"},
        "egress": {"private": ["127.0.0.0/8", "::1/128"]} | terms,
        "actions": {"tunnel": {"effect": "write"}, "request": {"effect": "write"}},
    }


def browser(*ports: int) -> dict[str, Any]:
    objects = [f"localhost:{port}" for port in ports]
    grants = [{"system": "web", "actions": ["tunnel", "request"], "objects": objects}]
    return REFUND_CHARTER | {"principal": AGENT, "grants": grants, "credential": BEARING}


@contextmanager
def a_proxy(
    folder: Path, more: dict[str, str] | None = None, *, idle: float = IDLE_SECONDS, **terms: Any
) -> Iterator[Proxied]:
    """Serve a house with its proxy, and the hosts outside; `more` are files of its estate."""
    for name in ("secure", "clear", "house"):
        (folder / name).mkdir()
    web_root = WebAuthority.fresh()
    with outside(folder / "secure", web_root) as secure, outside(folder / "clear") as clear:
        files = estate_files() | {
            "systems/web.yaml": canonical(web(**terms)).decode(),
            f"principals/{AGENT}.yaml": canonical(browser(secure.port, clear.port)).decode(),
        }
        files |= more or {}
        listener = uvicorn.Config("", port=0, log_level="error").bind_socket()
        port = listener.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        with a_house(folder / "house", files=files, public_url=url, port=port) as stage:
            stage.clock.at = SystemClock().now()
            stage.house.pipeline.upstream = stage.house.reach
            signin = SignIn(SystemClock(), SystemEntropy(), "op@example.com", issuer=url)
            key = agent_key(folder / "keys", url, AGENT)
            asked = authority.register_key(stage.house, AGENT, key.jwk, actor="t@example.com", reason="a test")
            asyncio.run(asked)
            tokens = AgentTokens(key, url, stage.house.principal(AGENT).id, SystemClock(), SystemEntropy())
            pem, ca = folder / "secure.pem", folder / "ca.pem"
            with listening(public_app(stage.house, signin), listener), proxying(stage, pem, idle) as (door, tls_door):
                yield Proxied(stage, url, door, secure, clear, tokens, tls_door, ca)


@contextmanager
def proxying(stage: Stage, pem: Path, idle: float) -> Iterator[tuple[int, int]]:
    """Serve the proxy on a loop of its own, in the clear and over TLS with a certificate for localhost."""
    listener, tls_listener = (uvicorn.Config("", port=0, log_level="error").bind_socket() for _ in range(2))
    runner = asyncio.Runner()  # which ends what is under way when it closes, as the server's does
    loop = runner.get_loop()
    stop = asyncio.Event()
    up = threading.Event()

    async def serve() -> None:
        door, tls = replace(EgressDoor.of(stage.house), idle=idle), ShownTls(pem, pem).context()
        async with door.serving(listener), door.serving(tls_listener, tls):
            up.set()
            await stop.wait()
        await stage.house.pipeline.settled()

    def run() -> None:
        with runner:
            runner.run(serve())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert up.wait(10)
    try:
        yield listener.getsockname()[1], tls_listener.getsockname()[1]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)


def through(proxy: str, *, verify: ssl.SSLContext | bool = True) -> httpx.Client:
    """Return a client that goes through the proxy."""
    return httpx.Client(proxy=proxy, verify=verify, timeout=20, trust_env=False)


def credentials(token: str) -> str:
    return f"Proxy-Authorization: Basic {base64.b64encode(f'charter:{token}'.encode()).decode()}\r\n"


def said(connection: socket.socket) -> bytes:
    """Return all that comes until the other side closes."""
    found = b""
    try:
        while data := connection.recv(65_536):
            found += data
    except ConnectionError:
        pass
    return found


def outcome(proxied: Proxied) -> dict[str, object]:
    """Return the newest outcome, once everything under way is recorded."""
    ends = time.monotonic() + 10
    while time.monotonic() < ends:
        found = proxied.stage.entries("outcome")
        if len(found) >= sum(body["verdict"] == "allow" for body in proxied.verdicts()):
            break
        time.sleep(0.05)
    return dict(found[-1]["body"])
