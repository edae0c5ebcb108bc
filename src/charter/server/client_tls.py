"""The TLS door for clients with certificates (RFC 8705): a context that asks for one, and whose they may be.

A handshake proves that a client holds its certificate's key, and accepts certificates that clients signed themselves
only if they are registered. Whom a certificate stands for is not decided here (identity/certificate.py).

INVARIANT: a client may come without a certificate; one with a certificate nobody knows does not come in at all.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import logging
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from typing_extensions import override

from charter.core.errors import ErrorCode, MalformedError
from charter.identity.bundle import Bundle
from charter.identity.certificate import read_pem
from charter.identity.trust import Trust
from charter.registry.principal import LiveEstate
from charter.server.connection import Connection
from charter.server.gateway_http import CERTIFICATE
from charter.server.shown_tls import ShownTls

MAX_CHAIN = 8  # certificates a client sends that are looked at
_DER = 2  # _ssl.ENCODING_DER
MAX_FILE = 4 * 1024 * 1024  # bytes
_log = logging.getLogger("charter.tls")
Anchors = Callable[[], Iterable[bytes]]  # further certificates to accept, DER


@dataclass(slots=True)
class ClientTls:
    """Makes the context, and keeps what it accepts in step with what is registered."""

    certificate: Path
    key: Path
    live: LiveEstate
    authorities: tuple[x509.Certificate, ...] = ()
    others: Anchors = tuple  # authorities that come and go: those of trust domains
    _context: ssl.SSLContext | None = None
    _seen: int = 0  # of the registered certificates
    _known: set[bytes] = field(default_factory=set)

    def context(self) -> ssl.SSLContext:
        """Return the context of the door. Each connection proves anew that it holds the key.

        Raises:
            MalformedError: certificate and key cannot be read, or do not belong together.
        """
        context = self._context = ShownTls(self.certificate, self.key, self._follow).context()
        context.verify_mode = ssl.CERT_OPTIONAL
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN  # what was named is trusted, root or not
        self._accept(each.public_bytes(Encoding.DER) for each in self.authorities)
        self._follow()
        return context

    def _follow(self) -> None:
        """Accept what was registered since the last handshake."""
        registered = self.live.certificates
        if len(registered) > self._seen:
            fresh = tuple(itertools.islice(registered, self._seen, None))
            self._seen += len(fresh)
            self._accept(base64.b64decode(each) for each in fresh)
        self._accept(self.others())

    def _accept(self, certificates: Iterable[bytes]) -> None:
        assert self._context is not None  # noqa: S101 - made before anything is accepted
        for der in certificates:
            if der not in self._known:
                self._known.add(der)
                self._context.load_verify_locations(cadata=der)


class TrustAnchors:
    """The authorities of all trusted trust domains, read again only where they changed."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._seen: Mapping[str, Bundle] = {}
        self._found: tuple[bytes, ...] = ()

    def __call__(self) -> tuple[bytes, ...]:
        """Return them, DER."""
        bundles = self._trust.bundles
        if bundles is not self._seen:
            authorities = (each for bundle in bundles.values() for each in bundle.x509_authorities)
            self._seen, self._found = bundles, tuple(each.public_bytes(Encoding.DER) for each in authorities)
        return self._found


class TlsConnection(Connection):
    """A connection of the TLS door: each of its requests holds the certificate that the handshake proved."""

    _chain: tuple[bytes, ...] = ()

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._chain = _chain_of(transport.get_extra_info("ssl_object"))

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._chain:
            self.scope["extensions"][CERTIFICATE] = self._chain  # type: ignore[assignment]  # one of our own


def _chain_of(connection: Any) -> tuple[bytes, ...]:  # noqa: ANN401 - ssl.SSLObject, and what stands beneath it
    """Return the certificates that the client sent, DER, its own first."""
    own = connection.getpeercert(binary_form=True)
    if own is None:
        return ()
    # Public from Python 3.13 on; before, the same is found beneath.
    inner = connection if hasattr(connection, "get_unverified_chain") else connection._sslobj  # noqa: SLF001
    found = inner.get_unverified_chain() or []
    sent = [each if isinstance(each, bytes) else each.public_bytes(_DER) for each in found[:MAX_CHAIN]]
    return (own, *sent[1:])


def read_authorities(file: Path | None) -> tuple[x509.Certificate, ...]:
    """Return the authorities that issue client certificates.

    Raises:
        MalformedError: the file cannot be read, or holds none.
    """
    if file is None:
        return ()
    try:
        data = file.read_bytes()[:MAX_FILE]
    except OSError as err:
        raise MalformedError(
            ErrorCode.BAD_VALUE, f"`{file}` cannot be read: {err.strerror}", help="name a file in PEM: --client-ca FILE"
        ) from err
    found = read_pem(data)
    for each in found:
        if not _is_authority(each):
            raise MalformedError(
                ErrorCode.BAD_VALUE,
                f"`{file}` holds a certificate that is no authority's: {each.subject.rfc4514_string()[:80]}",
                help="name the certificates of the authorities that issue clients', each with `CA:TRUE`",
            )
    return found


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
