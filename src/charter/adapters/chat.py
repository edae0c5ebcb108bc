"""Posts to a chat by its incoming webhook: one JSON document to one address, which is a secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from charter.adapters.upstream_rpc import encode
from charter.adapters.upstream_wire import HttpLimits, HttpWire
from charter.core.errors import ErrorCode, UnavailableError

SECONDS = 15.0
_TAKEN = range(200, 300)


@dataclass(slots=True)
class Chat:
    """One webhook. Redirects are not followed; metadata services are not reached. Belongs to one event loop."""

    url: str
    _wire: HttpWire = field(init=False)

    def __post_init__(self) -> None:
        self._wire = HttpWire(self.url, limits=HttpLimits(connections=4, answer_bytes=64 * 1024))

    async def post(self, document: Mapping[str, Any]) -> None:
        """Post a document.

        Raises:
            UnavailableError: it cannot be reached, or does not take it.
        """
        line = await self._wire.open("POST", encode(document), {}, SECONDS)
        try:
            if line.status not in _TAKEN:
                raise UnavailableError(ErrorCode.UPSTREAM_FAILED, f"the chat answered {line.status}")
        finally:
            self._wire.close(line)

    def close(self) -> None:
        """Close all connections."""
        self._wire.close_all()
