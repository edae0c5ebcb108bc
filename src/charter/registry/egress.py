"""Systems of the kind egress: hosts outside, reached through Charter's forward proxy (docs/egress.md).

    kind: egress
    egress: {plain: [22], private: [10.4.0.0/16], seconds: 3600, megabytes: 1024}
    actions:
      tunnel: {effect: write}     # CONNECT: what goes through is between the agent and the host
      request: {effect: write}    # HTTP in the clear

Their two actions are named like this; each one's object is `host:port`, which grants and guardrails match.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, Field, StrictInt, StringConstraints

from charter.registry.field import Model
from charter.registry.place import parse_network

TUNNEL, REQUEST = "tunnel", "request"
EGRESS_ACTIONS = (TUNNEL, REQUEST)
EGRESS_OBJECT = "{host}:{port}"
MAX_SECONDS, MAX_MEGABYTES = 86_400, 1_048_576


def _network(text: str) -> str:
    return str(parse_network(text))


Network = Annotated[str, StringConstraints(strict=True, max_length=64), AfterValidator(_network)]
Port = Annotated[StrictInt, Field(ge=1, le=65_535)]


class EgressTerms(Model):
    """What holds for every connection: where TLS is not asked for, which private networks count, how long, how much."""

    plain: Annotated[tuple[Port, ...], Field(max_length=32)] = ()  # ports where a tunnel may hold anything: 22
    private: Annotated[tuple[Network, ...], Field(max_length=64)] = ()  # without, only addresses that everyone reaches
    seconds: Annotated[StrictInt, Field(ge=1, le=MAX_SECONDS)] = 3600  # of one connection
    megabytes: Annotated[StrictInt, Field(ge=1, le=MAX_MEGABYTES)] = 1024  # of one connection, both ways together

    def reaches(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        """Whether a connection may be made to an address that not everyone reaches."""
        return any(address in ipaddress.ip_network(each) for each in self.private)
