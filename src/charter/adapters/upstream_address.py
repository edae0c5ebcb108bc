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


def usual_addresses(address: Address) -> bool:
    """Return whether an upstream may have `address`: not if it is link-local (metadata services), multicast or none."""
    plain = _plain(address)
    return not (plain.is_link_local or plain.is_multicast or plain.is_unspecified)


def public_addresses(address: Address) -> bool:
    """Return whether `address` is reachable by everyone: the rule where upstreams are never local."""
    return usual_addresses(address) and _plain(address).is_global


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


def _plain(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one stands for, if it does."""
    return address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped else address
