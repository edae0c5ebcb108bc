"""The certificate that our TLS doors show: read from two files, and read again when they change.

INVARIANT: what is shown is a certificate with its own key: a half-written pair is left for later.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from charter.core.errors import ErrorCode, MalformedError

_log = logging.getLogger("charter.tls")


def _nothing_else() -> None:
    pass


@dataclass(slots=True)
class ShownTls:
    """Makes the context of a door, and keeps what it shows in step with the files."""

    certificate: Path
    key: Path
    before: Callable[[], None] = _nothing_else  # what else is done before each handshake
    _context: ssl.SSLContext = field(default_factory=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    _files: tuple[int, ...] = ()  # when certificate and key were changed last, as they are shown now

    def context(self) -> ssl.SSLContext:
        """Return the context: TLS 1.2 at least, no compression, no renegotiation, HTTP/1.1.

        Raises:
            MalformedError: certificate and key cannot be read, or do not belong together.
        """
        context = self._context
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        context.num_tickets = 0
        context.set_alpn_protocols(["http/1.1"])
        try:
            self._files = self._changed_at()
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as err:
            raise MalformedError(
                ErrorCode.BAD_VALUE,
                f"`{self.certificate}` and `{self.key}` are no certificate with its key: {err.args[-1]}",
                help="give both in PEM: charter up --tls-cert FILE --tls-key FILE",
            ) from err
        context.sni_callback = self._before_handshake
        return context

    def _before_handshake(self, _object: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: Any) -> None:  # noqa: ANN401 - as ssl has it
        """Look at the files. OpenSSL calls this with or without a name."""
        self._renew()
        self.before()

    def _renew(self) -> None:
        """Show the certificate that the files hold now, if they changed.

        OpenSSL gave the handshake that is under way its certificate already: the new one is shown from the next one on.
        Connections that are there go on. The pair is tried in a context of its own first: one that does not fit would
        leave this one with a certificate and another's key.
        """
        try:
            now = self._changed_at()
            if now == self._files:
                return
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.certificate, self.key)
            self._context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as err:
            _log.warning("the certificate of the TLS door was not replaced: %s", err.args[-1])
            return
        self._files = now
        _log.info("the TLS door shows another certificate")

    def _changed_at(self) -> tuple[int, ...]:
        return tuple(file.stat().st_mtime_ns for file in (self.certificate, self.key))
