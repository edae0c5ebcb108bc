"""Charters of public clients, held against each other: one address, one principal; one registration, one principal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from charter.registry.charter import Charter, CredentialType
from charter.registry.client_address import is_redirect_within
from charter.registry.estate import Sourced
from charter.registry.problem import Problem


def problems_of_public_clients(charters: Mapping[str, Sourced[Charter]]) -> Iterator[Problem]:
    """Yield what is wrong with the charters of public clients, taken together."""
    clients = [part for part in charters.values() if part.value.credential.type is CredentialType.PUBLIC_CLIENT]
    known: dict[str, str] = {}
    for part in clients:
        client, name = part.value.credential.client, part.value.principal
        if client is not None and known.setdefault(client, name) != name:
            text = f"`{known[client]}` goes by this address already"
            yield Problem.at(part.source_of("credential.client"), text, "one client, one principal")
    yield from _registrable([part for part in clients if part.value.credential.registration])


def _registrable(parts: list[Sourced[Charter]]) -> Iterator[Problem]:
    seen: list[tuple[str, str]] = []
    for part in parts:
        for address in part.value.credential.redirects or ():
            other = next((name for name, known in seen if is_alike(address, known)), None)
            if other is not None:
                text = f"a client that registers with `{address}` could be `{other}` as well"
                yield Problem.at(part.source_of("credential.redirects"), text, "let the two differ by their paths")
        seen += [(part.value.principal, address) for address in part.value.credential.redirects or ()]


def is_alike(one: str, other: str) -> bool:
    """Return whether one answer could go to both addresses."""
    return is_redirect_within(one, other) or is_redirect_within(other, one)
