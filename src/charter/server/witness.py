"""Where logs of others ask this node to cosign their heads (C2SP tlog-witness).

    POST /witness/add-checkpoint    200 cosignature lines, 400 malformed, 403 not the log's key, 404 unknown log,
                                    409 another old size (text/x.tlog.size) or a fork, 422 a proof that leads elsewhere

INVARIANT: strangers cost a bounded read and one look at the database; nothing they send is written.
"""

from __future__ import annotations

from dataclasses import dataclass

from charter.bootstrap.house import House
from charter.bootstrap.witnessing import Reply, Witnessing, seen_header
from charter.core.clock import Clock
from charter.core.errors import CharterError, MalformedError, ThrottledError
from charter.evidence.witness import MAX_REQUEST
from charter.identity.failures import Failures
from charter.server.gateway_http import Head, HttpRefusal, Receive, Scope, Send, read_body, read_head
from charter.server.problems import problem_of

PATH = "/witness/"
_ADD = f"{PATH}add-checkpoint"


@dataclass(frozen=True, slots=True)
class WitnessApp:
    """The ASGI application of a witness."""

    witnessing: Witnessing
    failures: Failures
    clock: Clock

    @classmethod
    def of(cls, house: House) -> WitnessApp:
        """Return that of a house."""
        return cls(Witnessing.of(house), house.failures, house.clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            head = _head_of(scope)
            body = await read_body(head, receive, MAX_REQUEST)
        except HttpRefusal as refusal:
            await _send(send, Reply(refusal.status, "text/plain", refusal.detail + "\n"), *refusal.headers)
            return
        try:
            self.failures.check(head.source)
            reply = await self.witnessing.answer(body)
        except CharterError as err:
            status = problem_of(err)[0]
            if isinstance(err, MalformedError):
                self.failures.failed(head.source, err.code)
            wait = err.retry_after_seconds if isinstance(err, ThrottledError) else None
            headers = ((b"retry-after", str(wait).encode()),) if wait else ()
            await _send(send, Reply(status, "text/plain", f"{err.detail}\n"), *headers)
            return
        await _send(send, reply)


def _head_of(scope: Scope) -> Head:
    head = read_head(scope)
    if head.path != _ADD:
        raise HttpRefusal(404, f"there is nothing here; logs POST to {_ADD}")
    if head.method != "POST":
        raise HttpRefusal(405, "logs send POST requests", headers=((b"allow", b"POST"),))
    return head


async def _send(send: Send, reply: Reply, *headers: tuple[bytes, bytes]) -> None:
    body = reply.text.encode()
    head = [
        (b"content-type", reply.media.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *seen_header(reply),
        *headers,
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": head})
    await send({"type": "http.response.body", "body": body})
