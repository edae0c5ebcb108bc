"""Metadata documents of clients, fetched from the address that a client goes by, and kept for a while.

INVARIANT: only addresses that some charter names are asked; they must be public, unless this server is itself reached
on this machine alone.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from charter.adapters.document_fetch import DocumentFetcher, FetchError
from charter.core.clock import Clock
from charter.core.errors import ErrorCode

MAX_DOCUMENT = 16 * 1024  # bytes
LONGEST_SECONDS = 3600.0
USUAL_SECONDS = 300.0
MAX_KEPT = 1000


@dataclass(slots=True)
class ClientMetadata:
    """Documents by their address. Belongs to the event loop it is used on."""

    fetcher: DocumentFetcher
    clock: Clock
    _kept: OrderedDict[str, tuple[Mapping[str, Any], float]] = field(default_factory=OrderedDict)

    async def of(self, address: str) -> Mapping[str, Any]:
        """Return the document at `address`.

        Raises:
            UnavailableError: it cannot be had, or is no JSON object.
        """
        now = self.clock.monotonic()
        found = self._kept.get(address)
        if found is not None and now < found[1]:
            return found[0]
        answer = await self.fetcher.fetch(address, limit=MAX_DOCUMENT)
        try:
            document = json.loads(answer.body)
        except (ValueError, RecursionError) as err:
            raise FetchError(ErrorCode.UPSTREAM_FAILED, f"the document at `{address}` is no JSON") from err
        if not isinstance(document, dict):
            raise FetchError(ErrorCode.UPSTREAM_FAILED, f"the document at `{address}` is no JSON object")
        lasts = USUAL_SECONDS if answer.max_age_seconds is None else min(answer.max_age_seconds, LONGEST_SECONDS)
        self._kept[address] = (document, now + lasts)
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return document
