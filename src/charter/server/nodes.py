"""Where remote nodes ask: two paths of the public doors, each taking a compact JWS and answering JSON.

    POST /spiffe/v1/join    a request to be let in, with a one-time token
    POST /spiffe/v1/node    a request of a node that is in

INVARIANT: strangers are slowed down, and counted per source; what they send is not written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from charter.bootstrap.house import House
from charter.bootstrap.node import Nodes
from charter.core.clock import Clock
from charter.core.errors import CharterError, ErrorCode, MalformedError, UnauthenticatedError
from charter.identity.failures import Failures
from charter.identity.node import MAX_REQUEST
from charter.server.gateway_http import Head, HttpRefusal, Receive, Scope, Send, encode, gone, read_body, read_head
from charter.server.problems import http_error, problem_of

PATH = "/spiffe/v1/"
_JOIN, _NODE = f"{PATH}join", f"{PATH}node"
MEDIA = "application/jose"
_PROBLEM = b"application/problem+json"


@dataclass(frozen=True, slots=True)
class NodesApp:
    """The ASGI application for nodes."""

    nodes: Nodes
    failures: Failures
    clock: Clock

    @classmethod
    def of(cls, house: House) -> NodesApp:
        """Return that of a house."""
        return cls(Nodes(house), house.failures, house.clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            head = read_head(scope)
            text = await _text_of(head, receive)
        except HttpRefusal as refusal:
            body = problem_of(http_error(refusal.status))[1] | {"detail": refusal.detail}
            await _send(send, refusal.status, encode(body), _PROBLEM)
            return
        try:
            self.failures.check(head.source)
            going = self.nodes.join(text, head.source) if head.path == _JOIN else self.nodes.answer(text, head.source)
            found = await _while_there(receive, going)
        except CharterError as err:
            if isinstance(err, UnauthenticatedError | MalformedError) and err.code is not ErrorCode.NOT_ATTESTED:
                self.failures.failed(head.source, err.code)
            status, problem = problem_of(err)
            await _send(send, status, encode(problem), _PROBLEM)
            return
        if found is not None:
            await _send(send, 200, encode(found), b"application/json")


async def _text_of(head: Head, receive: Receive) -> str:
    if head.path not in (_JOIN, _NODE):
        raise HttpRefusal(404, "there is nothing here")
    if head.method != "POST":
        raise HttpRefusal(405, "nodes send POST requests")
    if head.headers.get("content-type", "").partition(";")[0].strip().lower() != MEDIA:
        raise HttpRefusal(415, f"the body must be `{MEDIA}`")
    body = await read_body(head, receive, MAX_REQUEST)
    try:
        return body.decode("ascii")
    except UnicodeDecodeError:
        raise HttpRefusal(400, "the body is no compact JWS") from None


async def _while_there(receive: Receive, going: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any] | None:
    """Return what `going` returns, or None if whoever asked went away before."""
    answering, leaving = asyncio.create_task(going), asyncio.create_task(gone(receive))
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return answering.result() if answering.done() else None
    finally:
        answering.cancel()
        leaving.cancel()


async def _send(send: Send, status: int, body: bytes, kind: bytes) -> None:
    head = [
        (b"content-type", kind),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})
