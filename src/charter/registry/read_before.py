"""Charters that were read before: a file that has not changed by a byte is not taken apart again.

Taking YAML apart with its places takes a hundred times as long as reading the canonical JSON that it comes to. A plan
of ten thousand charters in which one changed should take the time of one. What is kept is small: the JSON, and the
places, which files that are laid out alike share.

INVARIANT: only what made a charter is kept, under the digest of the very bytes and the path; the charter is validated
again each time it is asked for.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from charter.core.canonical import canonical
from charter.registry.charter import Charter
from charter.registry.record import FilePlaces
from charter.registry.sourced import Sourced

MAX_KEPT = 20_000  # about 2 kB each
MAX_LAYOUTS = 2_000

_Layout = Mapping[str, tuple[int, int]]


class ReadBefore:
    """Keeps the charters that were read last; safe in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, tuple[bytes, _Layout]] = OrderedDict()
        self._layouts: dict[tuple[tuple[str, tuple[int, int]], ...], _Layout] = {}
        self.grown = 0  # how many were kept that were not filled in

    def find(self, path: str, data: bytes) -> Sourced[Charter] | None:
        """Return the charter that a file is, if it was read before."""
        key = _key(path, data)
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
        return None if found is None else Sourced(Charter.model_validate_json(found[0]), FilePlaces(path, found[1]))

    def keep(self, path: str, data: bytes, part: Sourced[Charter]) -> None:
        """Keep what a file was read as."""
        if any(source.path != path for source in part.sources.values()):
            return
        layout = self._shared({dotted: (source.line, source.column) for dotted, source in part.sources.items()})
        body = canonical(part.value.to_json())
        with self._lock:
            self.grown += 1
            self._kept[_key(path, data)] = (body, layout)
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)

    def to_json(self) -> dict[str, Any]:
        """Return all that is kept, for another process: `fill` takes it."""
        with self._lock:
            kept = list(self._kept.items())
        numbers: dict[int, int] = {}
        layouts: list[_Layout] = []
        for _, (_, layout) in kept:
            if id(layout) not in numbers:
                numbers[id(layout)] = len(layouts)
                layouts.append(layout)
        return {
            "layouts": [{dotted: list(at) for dotted, at in layout.items()} for layout in layouts],
            "charters": {key.hex(): [body.decode(), numbers[id(layout)]] for key, (body, layout) in kept},
        }

    def fill(self, told: Mapping[str, Any]) -> None:
        """Keep what another process kept, beneath what is here.

        Raises:
            ValueError, TypeError, KeyError, IndexError: it is not of that form; then nothing is kept.
        """
        layouts = [
            self._shared({str(dotted): (int(line), int(column)) for dotted, (line, column) in layout.items()})
            for layout in told["layouts"]
        ]
        kept = told["charters"].items()
        found = {bytes.fromhex(key): (str(body).encode(), layouts[number]) for key, (body, number) in kept}
        with self._lock:
            self._kept = OrderedDict((found | dict(self._kept)).items())

    def _shared(self, layout: dict[str, tuple[int, int]]) -> _Layout:
        """Return the one layout that is equal to this."""
        key = tuple(layout.items())
        with self._lock:
            if len(self._layouts) >= MAX_LAYOUTS:
                self._layouts.clear()
            return self._layouts.setdefault(key, layout)


def _key(path: str, data: bytes) -> bytes:
    return hashlib.sha256(path.encode("utf-8", "surrogatepass") + b"\0" + data).digest()
