"""Policies for programs that decide by themselves, and what they decided (docs/sdk.md).

    GET  /access/v1/carried     the policies of the asking principal, pushed: a line of JSON whenever they change, and
                                four times a second a line that says they are in force
    POST /access/v1/decisions   what it decided by them, in order

A stream ends at once when its principal's authority is withdrawn, and after some minutes in any case. Whoever hears
nothing for a second decides nothing more by itself.

INVARIANT: a line says what was in force when it was written, and when that was by the pipeline's time, so that one that
was long under way is known for what it is.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from charter.bootstrap.carrying import BEAT_SECONDS, FRESH_SECONDS, Carrying
from charter.core.clock import rfc3339
from charter.core.errors import CharterError
from charter.gateway.reported import parse_report
from charter.identity.bearer import Proof
from charter.identity.resource import DECISION_PATH
from charter.policy.verdict import Deny
from charter.server.gateway_http import HttpRefusal, Receive, Send, encode, gone

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.gateway.vouching import Asking, Vouching

CARRIED_PATH = f"{DECISION_PATH}/carried"
DECISIONS_PATH = f"{DECISION_PATH}/decisions"
MAX_SECONDS = 600.0  # of one stream
SLOW_SECONDS = 5.0  # for which one may not take what it is told, before it is cut off
_log = logging.getLogger("charter.access")
_HEADERS = [
    (b"content-type", b"application/x-ndjson"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


@dataclass(slots=True)
class CarriedDoor:
    """Pushes policies, and takes reports."""

    house: House
    vouching: Vouching

    @property
    def carrying(self) -> Carrying:
        """What is carried."""
        return self.house.carrying

    async def report(self, asking: Asking, data: bytes) -> dict[str, Any]:
        """Take a report; return how far its spool is recorded.

        Raises:
            MalformedError: it is none.
            HttpRefusal: the asking principal is none any more.
            UnavailableError: it could not be recorded.
        """
        report = parse_report(data)
        principal = self.house.live.principals.get(asking.bearer.principal_id)
        bearer = self.vouching.vouched(asking, principal, None, Proof.WORD) if principal is not None else None
        if bearer is None or isinstance(bearer, Deny):
            raise HttpRefusal(403, "nobody is registered who could have decided this")
        return {"spool": report.spool, "through": await self.carrying.take(bearer, report)}

    async def stream(self, asking: Asking, receive: Receive, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        """Push what the asking principal carries, until it goes away or may not go on."""
        with self.house.pipeline.admit_stream(asking.bearer) as stream:
            leaving = asyncio.ensure_future(gone(receive))
            closing = asyncio.ensure_future(stream.closed.wait())
            try:
                await send({"type": "http.response.start", "status": 200, "headers": [*_HEADERS, *headers]})
                ends = self.house.clock.monotonic() + MAX_SECONDS
                told = ""
                while not (leaving.done() or closing.done()) and self.house.clock.monotonic() < ends:
                    line, told = self._line(asking, told)
                    message = {"type": "http.response.body", "body": line, "more_body": True}
                    await asyncio.wait_for(send(message), SLOW_SECONDS)
                    await asyncio.wait((leaving, closing), timeout=BEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                await send({"type": "http.response.body"})
            except CharterError as err:  # its policies cannot be bound any more: nothing is in force to be told of
                _log.warning("the policies of %s cannot be carried: %s", asking.bearer.principal_name, err.detail)
                await send({"type": "http.response.body"})
            finally:
                for each in (leaving, closing):
                    each.cancel()
                await asyncio.gather(leaving, closing, return_exceptions=True)

    def _line(self, asking: Asking, told: str) -> tuple[bytes, str]:
        """Return what is to be said now, and the digest of the policies that are in force by it."""
        principal = self.house.live.principals[asking.bearer.principal_id]
        carried, at = self.carrying.of(principal), self.house.clock.now()
        self.carrying.told(principal.id, carried, at)
        said: dict[str, Any] = {"at": rfc3339(at), "digest": carried.digest, "fresh_seconds": FRESH_SECONDS}
        if carried.digest == told:
            return encode(said) + b"\n", told
        return encode(said)[:-1] + b',"policies":' + carried.encoded() + b"}\n", carried.digest
