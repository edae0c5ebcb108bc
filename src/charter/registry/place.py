"""Places: parts of a network, as the organisation's files name them.

A *place* is as many addresses as one sender may have at a time: an office, a cluster, the pool behind a NAT gateway.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema

from charter.core.errors import MalformedError
from charter.core.values import parse_name

MAX_NETWORKS = 64  # of one place
MAX_REMEMBERED = 65_536  # addresses whose place is kept
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_NEIGHBOURS = {4: 24, 6: 48}  # prefixes that are taken to be one place where nothing is said
_CARRIER = ipaddress.ip_network("100.64.0.0/10")  # RFC 6598: shared behind a carrier's NAT
INSIDE = "private addresses"


def parse_network(text: str) -> Network:
    """Return the network that `10.4.0.0/16`, or one address, names.

    Raises:
        ValueError: it names none, has bits set beyond its prefix, or is IPv4 written as IPv6.
    """
    if "%" in text:
        raise ValueError(f"`{text[:60]}` names an interface; write the network alone")
    try:
        found = ipaddress.ip_network(text)
    except ValueError as err:
        raise ValueError(f"`{text[:60]}` is no network; write as in 10.4.0.0/16 or 2001:db8:77::/48") from err
    if isinstance(found, ipaddress.IPv6Network) and found.network_address.ipv4_mapped is not None:
        raise ValueError(f"`{text[:60]}` is IPv4 written as IPv6; write the IPv4 network itself")
    return found


def _network(text: str) -> str:
    return str(parse_network(text))


def is_network(text: str) -> bool:
    """Whether a place is written as a network; a name holds none of these."""
    return not set(text).isdisjoint(".:/%")


def _place(text: str) -> str:
    if is_network(text):
        return _network(text)
    try:
        return parse_name(text, "place")
    except MalformedError as err:
        raise ValueError(f"{err.detail}; {err.help}, or a network as in 10.4.0.0/16") from err


_Written = StringConstraints(strict=True, min_length=1, max_length=64)
_EXAMPLES = WithJsonSchema({"type": "string", "examples": ["10.4.0.0/16", "2001:db8:77::/48"]})
NetworkText = Annotated[str, _Written, AfterValidator(_network), _EXAMPLES]
Networks = Annotated[tuple[NetworkText, ...], Field(min_length=1, max_length=MAX_NETWORKS)]
PlaceText = Annotated[
    str,
    _Written,
    AfterValidator(_place),
    WithJsonSchema({"type": "string", "examples": ["office", "10.4.0.0/16"]}),
]


@lru_cache(maxsize=4096)
def read_address(text: str) -> Address | None:
    """Return the address that `text` is; IPv4 in IPv6's clothes is IPv4, and an interface's name is no part of it."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, ipaddress.IPv6Address) else found


@dataclass(frozen=True, slots=True)
class Place:
    """Where an address is."""

    name: str
    is_stated: bool  # by a person; else what neighbours have in common
    version: int  # of IP; 0 for what is no address

    def is_comparable(self, other: Place) -> bool:
        """Whether being here speaks against being there: a host with both kinds of address uses them by turns."""
        return self.is_stated or other.is_stated or self.version == other.version


class NameByNetwork:
    """Finds the name under which the narrowest network that holds an address is known."""

    def __init__(self, named: Mapping[str, Iterable[str]]) -> None:
        self._known: dict[tuple[int, int], dict[int, tuple[str, ...]]] = {}
        for name, networks in named.items():
            for text in networks:
                network = parse_network(text)
                group = self._known.setdefault((network.version, network.prefixlen), {})
                at = int(network.network_address)
                group[at] = (*group.get(at, ()), name)
        self._prefixes = sorted(self._known, key=lambda each: -each[1])

    def of(self, address: Address) -> tuple[str, ...]:
        """Return the names of that network, none if no network holds the address."""
        bits, number = address.max_prefixlen, int(address)
        for version, prefix in self._prefixes:
            if version == address.version:
                found = self._known[version, prefix].get(number >> (bits - prefix) << (bits - prefix))
                if found is not None:
                    return found
        return ()


class Places:
    """The place of each address, remembered."""

    def __init__(self, named: Mapping[str, Iterable[str]]) -> None:
        self._named = NameByNetwork(named)
        self._known: dict[str, Place] = {}

    def of(self, source: str) -> Place:
        """Return the place of the address `source`, however it is spelled."""
        found = self._known.get(source)
        if found is None:
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            found = self._known[source] = self._look(source)
        return found

    def _look(self, source: str) -> Place:
        address = read_address(source)
        if address is None:
            return Place(source[:64], is_stated=False, version=0)
        names = self._named.of(address)
        if names:
            return Place(names[0], is_stated=True, version=address.version)
        if not address.is_global or address in _CARRIER:
            return Place(INSIDE, is_stated=False, version=address.version)
        network = ipaddress.ip_network((address, _NEIGHBOURS[address.version]), strict=False)
        return Place(str(network), is_stated=False, version=address.version)
