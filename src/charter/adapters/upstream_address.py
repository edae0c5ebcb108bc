"""Which addresses upstreams may have: checked on what a name resolves to, and connected to as checked.

A name that pointed to a public address when it was approved may point to the cloud's metadata service now, and another
look-up a moment later may give another answer; so the connection is made to the very address that was checked.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable

from charter.core.errors import ErrorCode
from charter.gateway.pins import UpstreamError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
AddressRule = Callable[[Address], bool]


# IPv6 addresses that stand for IPv4 ones, and where in them: mapped, compatible, translated (RFC 2765), of NAT64 (RFC
# 6052) and of 6to4. What such an address may reach is what the one within it is, as translators send it there.
_CARRYING = (
    (ipaddress.IPv6Network("::ffff:0:0/96"), 12),
    (ipaddress.IPv6Network("::/96"), 12),
    (ipaddress.IPv6Network("::ffff:0:0:0/96"), 12),
    (ipaddress.IPv6Network("64:ff9b::/96"), 12),
    (ipaddress.IPv6Network("2002::/16"), 2),
)
_NOT_PUBLIC = (ipaddress.IPv6Network("64:ff9b:1::/48"), ipaddress.IPv6Network("fec0::/10"))  # as Python does not know


def usual_addresses(address: Address) -> bool:
    """Return whether an upstream may have `address`: not if it is link-local (metadata services), multicast or none."""
    plain = plain_address(address)
    return not (plain.is_link_local or plain.is_multicast or plain.is_unspecified)


def public_addresses(address: Address) -> bool:
    """Return whether `address` is reachable by everyone: the rule where upstreams are never local."""
    plain = plain_address(address)
    return usual_addresses(address) and plain.is_global and not any(plain in each for each in _NOT_PUBLIC)


async def resolve(host: str, port: int, rule: AddressRule) -> list[str]:
    """Return the addresses of `host` that the rule lets through, in the system's order.

    Raises:
        UpstreamError: it has none, or the name does not resolve.
    """
    try:
        found = [host.partition("%")[0]] if _is_literal(host) else await _look_up(host, port)
    except OSError as err:
        raise UpstreamError(
            ErrorCode.UPSTREAM_FAILED, f"the upstream's host {host[:80]!a} has no address", sent=False
        ) from err
    kept = [each for each in dict.fromkeys(found) if rule(ipaddress.ip_address(each))]
    if not kept:
        raise UpstreamError(
            ErrorCode.UPSTREAM_FAILED,
            f"the upstream's host `{host[:80]}` has an address that upstreams may not have",
            sent=False,
            help="check `url` in the system's file",
        )
    return kept


async def _look_up(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]).partition("%")[0] for *_, address in found]


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def plain_address(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(address, ipaddress.IPv4Address) or address == ipaddress.IPv6Address("::1"):
        return address
    at = next((at for network, at in _CARRYING if address in network), None)
    return address if at is None else ipaddress.IPv4Address(address.packed[at : at + 4])
