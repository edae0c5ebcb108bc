"""What a client asks of the forward proxy, read strictly: a destination, and the name in its TLS handshake.

INVARIANT: a destination is a host and a port that everyone reads alike: a name in lower case ASCII, or an address in
its usual form. `0x7f.1`, `127.1` or a trailing dot are no destinations, since resolvers differ on what they mean.
INVARIANT: the name that a TLS client asks for (SNI, RFC 6066 section 3) is the name that was decided on. A handshake
without a name, or with another, is ended before a byte of it has left.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from charter.core.canonical import digest_of
from charter.core.errors import ErrorCode, MalformedError
from charter.gateway.call import Call
from charter.registry.egress import REQUEST, TUNNEL

MAX_AUTHORITY = 262
MAX_PATH = 8192
MAX_HELLO = 16_384 + 5
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_NUMERIC = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)")
_METHOD = re.compile(r"[A-Z]{3,16}")
_PATH = re.compile(r"/[\x21-\x7e]*")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a connection goes."""

    host: str  # a name, or an address without brackets
    port: int

    @property
    def is_address(self) -> bool:
        """Whether the host is an address, which has no name in a TLS handshake."""
        return _address(self.host) is not None

    @property
    def authority(self) -> str:
        """As it stands in a request: `pypi.org:443`, `[::1]:80`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_destination(text: str, default: int | None = None) -> Destination:
    """Return what `host:port` names; without a port, `default`.

    Raises:
        MalformedError: it names nothing, or could be read in two ways.
    """
    if len(text) > MAX_AUTHORITY or not text.isascii() or "%" in text:  # no encoded names, no interfaces
        raise _wrong("is no `host:port` in ASCII")
    host, port = _split(text.lower(), default)
    if not _PORT.fullmatch(port) or int(port) > 65_535:  # noqa: PLR2004 - the highest there is
        raise _wrong("has no port from 1 to 65535")
    address = _address(host)
    if address is not None:
        mapped = getattr(address, "ipv4_mapped", None)
        if str(address) != host or mapped is not None:
            raise _wrong(f"has an address that is usually written `{mapped or address}`")
    elif not _NAME.fullmatch(host) or len(host) > 253 or _NUMERIC.fullmatch(host.rpartition(".")[2]):  # noqa: PLR2004
        raise _wrong("has a host that is neither a name nor an address in its usual form")
    return Destination(host, int(port))


def _split(text: str, default: int | None) -> tuple[str, str]:
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        if ":" not in host:
            raise _wrong("has brackets around what is no IPv6 address")
        port = rest.removeprefix(":") if rest.startswith(":") else ("" if rest else str(default or ""))
        return host, port
    host, colon, port = text.partition(":")
    return host, port if colon else str(default or "")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _wrong(what: str) -> MalformedError:
    return MalformedError(ErrorCode.BAD_REQUEST, f"the destination {what}", help="write it as in pypi.org:443")


def parse_absolute(text: str, method: str) -> tuple[Destination, str]:
    """Return the destination and the path of a request in absolute form (RFC 9112 section 3.2.2).

    Raises:
        MalformedError: it is none, or another scheme than http.
    """
    if not text.startswith("http://") or len(text) > MAX_PATH or not _METHOD.fullmatch(method):
        raise MalformedError(
            ErrorCode.BAD_REQUEST, "this is neither CONNECT nor a request for http://", help="use CONNECT for the rest"
        )
    rest = text.removeprefix("http://")
    cut = min((at for at in (rest.find(ch) for ch in "/?#") if at >= 0), default=len(rest))
    authority, path = rest[:cut], rest[cut:]
    path = path if path.startswith("/") else f"/{path}"
    if "#" in path or not _PATH.fullmatch(path):
        raise MalformedError(ErrorCode.BAD_REQUEST, "the path holds what no path may hold", help="encode it")
    return parse_destination(authority, 80), path


def tunnel_call(system: str, to: Destination, request_id: str, session: str | None = None) -> Call:
    """Return the call that a tunnel is."""
    arguments = {"host": to.host, "port": to.port}
    digest = digest_of({"system": system, "tool": TUNNEL, "arguments": arguments})
    return Call(system, TUNNEL, arguments, digest, tool_pin=None, session=session, request_id=request_id)


def request_call(system: str, to: Destination, method: str, path: str, request_id: str) -> Call:
    """Return the call that a request in the clear is."""
    arguments = {"host": to.host, "port": to.port, "method": method, "path": path}
    digest = digest_of({"system": system, "tool": REQUEST, "arguments": arguments})
    return Call(system, REQUEST, arguments, digest, tool_pin=None, request_id=request_id)


def read_client_hello(data: bytes) -> str | None:
    """Return the name that a TLS client asks for, or None while `data` is only the beginning of its first message.

    The name is empty where the client names nobody, as it does who was told an address.

    TLS 1.0 to 1.3 (RFC 8446 sections 4.1.2 and 5.1): a handshake message, over one or more records.

    Raises:
        MalformedError: it is no TLS handshake, names more than one, or is longer than one may be.
    """
    hello = bytearray()
    rest = memoryview(data)
    while len(rest) >= 5:  # noqa: PLR2004 - a record's head
        kind, major, length = rest[0], rest[1], int.from_bytes(rest[3:5])
        if kind != 22 or major != 3 or not 0 < length <= MAX_HELLO - 5:  # noqa: PLR2004 - handshake, TLS
            raise _no_tls("is no TLS handshake")
        hello += rest[5 : 5 + length]
        if len(hello) >= 4:  # noqa: PLR2004 - a message's head
            whole = 4 + int.from_bytes(hello[1:4])
            if hello[0] != 1 or whole > MAX_HELLO:
                raise _no_tls("does not begin with a ClientHello of at most 16 KiB")
            if len(hello) >= whole:
                return _server_name(_Cursor(bytes(hello[4:whole])))
        if len(rest) < 5 + length:
            return None
        rest = rest[5 + length :]
    if rest and rest[0] != 22:  # noqa: PLR2004
        raise _no_tls("is no TLS handshake")
    if len(data) > 2 * MAX_HELLO:
        raise _no_tls("has a ClientHello that does not end")
    return None


def _server_name(cursor: _Cursor) -> str:
    cursor.take(2 + 32)  # version, random
    cursor.block(1)  # session
    cursor.block(2)  # ciphers
    cursor.block(1)  # compression
    extensions = _Cursor(cursor.block(2))
    names: list[bytes] = []
    while extensions.left:
        kind, body = int.from_bytes(extensions.take(2)), _Cursor(extensions.block(2))
        if kind == 0:
            listed = _Cursor(body.block(2))
            while listed.left:
                if listed.take(1) != b"\0":
                    raise _no_tls("names something that is no host")
                names.append(listed.block(2))
    if len(names) > 1 or not all(name.isascii() for name in names):
        raise _no_tls("names more than one host, or none in ASCII")
    return names[0].decode().lower() if names else ""


class _Cursor:
    """Bytes read from their beginning."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise _no_tls("has a ClientHello that ends too soon")
        self._at += count
        return self._data[self._at - count : self._at]

    def block(self, size: int) -> bytes:
        return self.take(int.from_bytes(self.take(size)))


def _no_tls(what: str) -> MalformedError:
    return MalformedError(
        ErrorCode.BAD_REQUEST,
        f"what came through the tunnel {what}",
        help="tunnels hold TLS for the host that was asked for; other ports stand under `egress.plain`",
    )
