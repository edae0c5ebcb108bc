"""Status lists at the OAuth door, for whoever validates our tokens offline (draft-ietf-oauth-status-list).

    GET /oauth/status/<node>/<number>    a list, as a signed JWT    section 8.1
    GET /oauth/status                    the addresses of all       section 9

Anyone may read them: they hold nothing but two bits for each number.
"""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs

from charter.identity.claims import STATUS_PATH
from charter.identity.status_list import TTL_SECONDS, TYPE
from charter.server.gateway_http import Head, HttpRefusal, Receive
from charter.server.oauth_http import Answer, Endpoint
from charter.server.oauth_parts import Parts

_ANYONE = ((b"access-control-allow-origin", b"*"),)  # scripts of web pages validate tokens too
_TYPE = f"application/{TYPE}".encode()


class StatusDoor:
    """Answers with status lists."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where."""
        return (
            Endpoint(STATUS_PATH.rstrip("/"), {"GET": self._all}, "status_list_aggregation_endpoint"),
            Endpoint(STATUS_PATH, {"GET": self._one}, holds_below=True),
        )

    async def _one(self, head: Head, _receive: Receive) -> Answer:
        if b"time" in parse_qs(head.query, keep_blank_values=True, max_num_fields=16):
            raise HttpRefusal(501, "only the status of now is told")
        parts, name = self._parts, head.path.removeprefix(STATUS_PATH)
        found = await asyncio.to_thread(parts.statuses.signed, name, parts.clock.now())
        if found is None:
            raise HttpRefusal(404, "there is no such list, or all its tokens have expired")
        return Answer(found, headers=_ANYONE, public=True, content_type=_TYPE, cache_seconds=TTL_SECONDS)

    async def _all(self, _head: Head, _receive: Receive) -> Answer:
        parts = self._parts
        found = await asyncio.to_thread(parts.statuses.addresses, parts.clock.now())
        return Answer({"status_lists": found}, headers=_ANYONE, public=True, cache_seconds=TTL_SECONDS)
