"""Where addresses and remote nodes are: as `sharing.yaml` states it, and as nodes were seen to ask from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from charter.identity.lately import Lately
from charter.registry.central import Central
from charter.registry.place import NameByNetwork, Place, Places, is_network, read_address
from charter.registry.principal import LiveEstate
from charter.registry.sharing import Certainty

NODE_SECONDS = 900.0  # that an address is taken to be a node's after it asked from there
MAX_ADDRESSES = 20_000
MAX_ANSWERS = 65_536


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Why an address is not where a node is."""

    certainty: Certainty
    what: str


class Whereabouts:
    """Answers where something is, from the central files in force."""

    def __init__(self, live: LiveEstate) -> None:
        self._live = live
        self._nodes_at: Lately[frozenset[str]] = Lately(NODE_SECONDS, MAX_ADDRESSES)  # by address
        self._read(live.central)

    def _read(self, central: Central) -> None:
        said = central.sharing.value
        self._central, self._said = central, said
        self._places = Places(said.places)
        self._stated_nodes = NameByNetwork(said.nodes)
        self._within: dict[tuple[str, tuple[str, ...]], bool] = {}

    def place(self, source: str) -> Place:
        """Return the place of an address."""
        if self._live.central is not self._central:
            self._read(self._live.central)
        return self._places.of(source)

    def is_within(self, source: str, places: tuple[str, ...]) -> bool:
        """Return whether an address is in one of `places`, names or networks."""
        if self._live.central is not self._central:
            self._read(self._live.central)
        asked = (source, places)
        found = self._within.get(asked)
        if found is None:
            if len(self._within) >= MAX_ANSWERS:
                self._within.clear()
            found = self._within[asked] = self._look(source, places)
        return found

    def node_at(self, node: str, source: str, now: float) -> None:
        """Note that a node asked from an address; several may stand behind one."""
        name = _spelled(source)
        self._nodes_at.put(name, (self._nodes_at.get(name, now) or frozenset()) | {node}, now)

    def contradicts(self, node: str, source: str, now: float) -> Elsewhere | None:
        """Return why `source` cannot be the node's, as far as that is known."""
        if self._live.central is not self._central:
            self._read(self._live.central)
        address = read_address(source)
        if address is None:
            return None
        if node in self._said.nodes:
            if _holds(self._said.nodes[node], source):
                return None
            return Elsewhere(Certainty.STATED, f"and {node} is at {', '.join(self._said.nodes[node])}")
        others = self._stated_nodes.of(address)
        if others:
            return Elsewhere(Certainty.STATED, f"where {others[0]} is")
        seen = self._nodes_at.get(_spelled(source), now) or frozenset()
        if seen and node not in seen:
            return Elsewhere(Certainty.SEEN, f"from where {min(seen)} asks")
        return None

    def _look(self, source: str, places: Iterable[str]) -> bool:
        networks = [each for each in places if is_network(each)]
        names = [each for each in places if not is_network(each)]
        return _holds(networks, source) or any(_holds(self._said.places.get(name, ()), source) for name in names)


def _holds(networks: Iterable[str], source: str) -> bool:
    address = read_address(source)
    return address is not None and bool(NameByNetwork({"": networks}).of(address))


def _spelled(source: str) -> str:
    """Return an address in its one spelling."""
    return str(read_address(source) or source[:64])
