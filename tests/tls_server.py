"""HTTPS on loopback, for tests: documents, served under whatever certificate a test gives it.

with a_tls_server({"/bundle": document}, web_authority().server()) as server:
    server.url("/bundle")          # https://127.0.0.1:…/bundle
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from document_server import DocumentServer
from trust_domains import Signed, certificate


@dataclass(frozen=True)
class WebAuthority:
    """An authority of the web, as far as one test's machine believes it."""

    root: Signed

    @classmethod
    def fresh(cls) -> WebAuthority:
        life = (dt.timedelta(days=-1), dt.timedelta(days=1))
        return cls(certificate(uris=(), ca=True, name="web root", valid=life, at=dt.datetime.now(dt.UTC)))

    def server(self, host: str = "127.0.0.1") -> list[Signed]:
        """Return a chain for a server of that address."""
        name = x509.IPAddress(ipaddress.ip_address(host))
        return [certificate(uris=(), names=(name,), issuer=self.root, name="web", at=dt.datetime.now(dt.UTC))]

    def trusting(self) -> ssl.SSLContext:
        """Return the context of a client that believes this authority."""
        return ssl.create_default_context(cadata=self.root.certificate.public_bytes(Encoding.PEM).decode())


@dataclass
class TlsServer(DocumentServer):
    """As a document server, over TLS."""

    @property
    def base(self) -> str:
        return f"https://127.0.0.1:{self.port}"


@contextmanager
def a_tls_server(documents: dict[str, Any], chain: list[Signed]) -> Iterator[TlsServer]:
    served = TlsServer(documents)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = served.reply(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return None

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """Pass over handshakes that clients break off, which is what tests are about."""

    server = Quiet(("127.0.0.1", 0), Handler)
    server.socket = _context(chain).wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    served.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _context(chain: list[Signed]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    key = chain[0].key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem = b"".join(each.certificate.public_bytes(Encoding.PEM) for each in chain)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "chain.pem"
        file.write_bytes(key + pem)
        context.load_cert_chain(file)
    return context
