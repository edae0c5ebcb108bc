"""Our bundle endpoint: the published bundle, for trust domains that federate with us (SPIFFE Federation, section 5).

Whoever can reach Charter's address reads it: it holds public keys and nothing else. Behind TLS of the web this is the
profile https_web; the door of its own that `CHARTER_BUNDLE_PORT` opens shows our X.509-SVID and is https_spiffe.
"""

from __future__ import annotations

from dataclasses import dataclass

from charter.bootstrap.house import House
from charter.config import BUNDLE_PATH
from charter.identity.trust import Trust
from charter.server.gateway_http import HttpRefusal, Receive, Scope, Send, encode, read_head, send_json

CACHE_SECONDS = 60  # shorter than the refresh hint: a withdrawn authority must not be kept by caches


@dataclass(frozen=True, slots=True)
class BundleApp:
    """The ASGI application of the bundle endpoint."""

    trust: Trust

    @classmethod
    def of(cls, house: House) -> BundleApp:
        """Return that of a house."""
        return cls(house.trust)

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            head = read_head(scope)
        except HttpRefusal as refusal:
            await send_json(send, refusal.status, {"detail": refusal.detail})
            return
        if head.path != BUNDLE_PATH:
            await send_json(send, 404, {"detail": f"there is nothing here; the bundle is at {BUNDLE_PATH}"})
            return
        if head.method not in ("GET", "HEAD"):
            await send_json(send, 405, {"detail": "the bundle can be read, and nothing else"}, (b"allow", b"GET, HEAD"))
            return
        body = encode(self.trust.own.document())
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"public, max-age=%d" % CACHE_SECONDS),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if head.method == "HEAD" else body})
