"""What a reverse proxy tells of the connection it ended: the client's certificate (RFC 9440) and its address.

INVARIANT: a header counts only if the connection comes from an address that was named as a trusted proxy's. From
anywhere else it is as if it were not there: whoever can open a connection could have written it.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import lru_cache
from typing import Any

from charter.identity.certificate import MAX_CERTIFICATE
from charter.server.client_tls import MAX_CHAIN
from charter.server.gateway_http import CERTIFICATE

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_BYTES = b":"  # the delimiter of a byte sequence (RFC 9651 section 3.3.5)


class Forwarded:
    """Reads those headers of trusted proxies, in front of an application."""

    def __init__(self, app: App, trusted: Iterable[Network]) -> None:
        self._app = app
        self._trusted = tuple(trusted)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:  # noqa: ANN401 - as ASGI has it
        """Serve one request."""
        client = scope.get("client")
        if scope["type"] == "http" and client and self._is_trusted(client[0]):
            self._take(scope)
        await self._app(scope, receive, send)

    def _take(self, scope: Scope) -> None:
        certificates = [value for name, value in scope["headers"] if name == b"client-cert"]
        if len(certificates) == 1:
            der = parse_byte_sequence(certificates[0])
            if der is not None:
                sent_along = b",".join(value for name, value in scope["headers"] if name == b"client-cert-chain")
                chain = (der, *_byte_sequences(sent_along))
                scope["extensions"] = {**scope.get("extensions", {}), CERTIFICATE: chain}
        hops = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        source = self._nearest_stranger(hops.decode("latin-1").split(","))
        if source is not None:
            scope["client"] = (source, 0)

    def _nearest_stranger(self, hops: list[str]) -> str | None:
        """Return the last address that no trusted proxy has: what stands before it, a client may have made up."""
        for hop in reversed(hops):
            address = _address(hop.strip())
            if address is None:
                return None
            if not any(address in network for network in self._trusted):
                return str(address)
        return None

    def _is_trusted(self, host: str) -> bool:
        address = _address(host)
        return address is not None and any(address in network for network in self._trusted)


def _byte_sequences(value: bytes) -> list[bytes]:
    """Return the bytes of a list of byte sequences (RFC 9440 section 2.3); nothing of one that is none."""
    parts = value.split(b",", MAX_CHAIN) if value else []
    found = [parse_byte_sequence(part) for part in parts[:MAX_CHAIN]]
    read = [each for each in found if each is not None]
    return read if len(read) == len(parts) else []


def parse_byte_sequence(value: bytes) -> bytes | None:
    """Return the bytes of a structured field that is one byte sequence without parameters, or None (RFC 9440 2.1)."""
    text = value.strip()
    is_framed = len(text) > 2 and text[:1] == _BYTES and text[-1:] == _BYTES  # noqa: PLR2004 - the two delimiters
    if not is_framed or len(text) > MAX_CERTIFICATE * 2:
        return None
    try:
        return base64.b64decode(text[1:-1], validate=True)
    except (binascii.Error, ValueError):
        return None


@lru_cache(maxsize=4096)
def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, ipaddress.IPv6Address) else found
