"""What the charters of a chain's parties say now, for the flows that issue tokens under delegations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from charter.core.errors import DeniedError, ErrorCode
from charter.registry.delegation import Chain, is_person
from charter.registry.lending import Side
from charter.server.oauth_parts import Parts


@dataclass(frozen=True, slots=True)
class Looked:
    """What the charters of an exchange's parties were found to say."""

    sides: Mapping[str, Side]
    digests: Mapping[str, str]  # principal -> of the charter looked at


class Charters:
    """Looks charters up."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def look(self, parties: Iterable[str]) -> Looked:
        """Return what the charters of `parties` say now."""
        live = self._parts.live
        sides: dict[str, Side] = {}
        digests: dict[str, str] = {}
        for party in parties:
            principal = live.principals.get(party)
            if is_person(party):
                sides[party] = Side(party)
            elif principal is not None:
                sides[party] = Side(principal.name, self._parts.slices.of(principal).delegation)
                digests[party] = principal.digest
        return Looked(sides, digests)

    def check_granted(self, chain: Chain, system: str) -> None:
        """Check that something is left on `system` of what each party may do and each delegation lends.

        Raises:
            DeniedError: nothing is; the message names the party with whom the last of it is gone.
        """
        live, left = self._parts.live, None
        for party in chain.parties:
            own = self._actions_of(chain, party, system)
            if own is None:
                continue
            left = own if left is None else left & own
            left = frozenset(a for a in left if all(link.scope.allows_action(system, a) for link in chain.links))
            if not left:
                name = live.principals[party].name if party in live.principals else party
                raise DeniedError(
                    ErrorCode.BAD_TARGET,
                    f"nothing is left on `{system}` of what `{name}` may do and what was lent",
                    help="ask for another system, or let its owner add a grant",
                )

    def _actions_of(self, chain: Chain, party: str, system: str) -> frozenset[str] | None:
        """Return the actions that a party may do on `system`; None for a person of whom nothing is said."""
        live, slices = self._parts.live, self._parts.slices
        if is_person(party):
            lent = slices.of_person(party, live.principals[chain.links[0].borrower])
            return None if lent is None else lent.actions_on(system)
        return slices.of(live.principals[party]).actions_on(system)


def said_of(flow: str, chain: Chain) -> dict[str, Any]:
    """Return what evidence says of a token that `flow` issues under `chain`."""
    return {
        "flow": flow,
        "initiator": chain.initiator,
        "delegation": chain.id,
        "chain": list(chain.parties),
        "purpose": chain.purpose,
    }
