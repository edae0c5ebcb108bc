"""The door for proxies of the organisation's own, which ask about each request before they let it through.

    /access/nginx/SYSTEM       nginx's auth_request: the request is told in `X-Original-Method` and `X-Original-URI`
    /access/envoy/SYSTEM/…     Envoy's ext_authz over HTTP: the request's own method, and its path after the prefix

It is one more door of the one pipeline. The caller is proved by its own access token for the system, with a DPoP proof
for the address it called if the token is bound to a key; the proxy adds nothing to that, and needs no identity.

200 lets the request through, and says by whom and under which verdict; 401 says where tokens are had; 403 says why not.
Whatever else comes back, 5xx included, both proxies take for a refusal.

INVARIANT: an allow is recorded before it is answered, and is for one request as the routes of the system's file read
it. Headers that would make it another (`X-HTTP-Method-Override`) are refused.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from msgspec import structs

from charter.core.clock import Clock, Deadline
from charter.core.errors import CharterError, MalformedError, ThrottledError, UnavailableError
from charter.gateway.pipeline import Pipeline
from charter.gateway.proxied import call_of, parse_target
from charter.gateway.settle import Recorded
from charter.identity.resource import resource_of
from charter.policy.verdict import Allow
from charter.registry.principal import LiveEstate
from charter.registry.proxied import Proxied
from charter.registry.system import System
from charter.server.callers import Callers, Resource, host_of, words
from charter.server.gateway import METADATA_PREFIX, GatewayApp, Watch
from charter.server.gateway_http import Head, HttpRefusal, Receive, Scope, Send, read_head, send_json
from charter.server.problems import problem_of

if TYPE_CHECKING:
    from charter.bootstrap.house import House

NGINX, ENVOY = "/access/nginx/", "/access/envoy/"
SOURCE = "proxy"
OVERRIDES = ("x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url")
MAX_SAID = 300
_log = logging.getLogger("charter.proxied")
Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Original:
    """The request that a proxy asks about."""

    system: System
    proxy: Proxied
    method: str
    target: str


@dataclass(slots=True)
class ProxiedApp:
    """The ASGI application."""

    callers: Callers
    pipeline: Pipeline
    live: LiveEstate
    clock: Clock
    issuer: str
    seconds: float
    watch: Watch | None = None

    @classmethod
    def of(cls, house: House, gateway: GatewayApp) -> Self:
        """Return the door of a house, seen where `gateway` is."""
        return cls(
            gateway.callers,
            house.pipeline,
            house.live,
            house.clock,
            house.settings.issuer,
            house.settings.call_seconds,
            gateway.watch,
        )

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer about one request. Its body, if a proxy sends it along, is not read."""
        if scope["type"] != "http":
            return
        try:
            head = _head_of(scope)
            recorded, principal, nonce = await self._answer(head)
            status, body, headers = _told(recorded, principal)
            await send_json(send, status, body, *headers, *nonce)
        except HttpRefusal as refusal:
            await send_json(send, refusal.status, {"detail": refusal.detail}, *refusal.headers)
        except CharterError as err:
            status, body = problem_of(err)
            after: Headers = ()
            if isinstance(err, ThrottledError | UnavailableError):
                after = ((b"retry-after", str(err.retry_after_seconds).encode()),)
            told = {"detail": words(err)} | {name: body[name] for name in ("code", "help") if name in body}
            # a request that nobody may read otherwise is refused as one, also where a proxy knows 401 and 403 alone
            await send_json(send, 403 if isinstance(err, MalformedError) else status, told, *after)
        except Exception:  # noqa: BLE001 - the edge of a request: a bug becomes a bare 500, which lets nothing through
            _log.exception("a proxy's question failed")
            await send_json(send, 500, {"detail": "the question could not be answered"})

    async def _answer(self, head: Head) -> tuple[Recorded, str, Headers]:
        original = self._original(head)
        name = original.system.system
        resource = Resource(resource_of(self.issuer, name), f"{self.issuer}{METADATA_PREFIX}{name}")
        if any(name in head.headers for name in OVERRIDES):
            raise HttpRefusal(403, "a header says that the request is another than it seems; leave it out")
        called = structs.replace(head, method=original.method, path=original.target.partition("?")[0])
        callers = replace(self.callers, base=original.proxy.base)
        target = parse_target(original.target)
        bearer = callers.caller(called, resource)
        if self.watch is not None and (found := self.watch.called(bearer, head.source, name)):
            await self.watch.tell(found)
        call = call_of(original.system, original.proxy, original.method, target)
        deadline = Deadline.after(self.clock, self.seconds)
        recorded = await self.pipeline.answer(bearer, call, deadline, source=SOURCE)
        return recorded, bearer.principal_name, callers.nonce_for(called)

    def _original(self, head: Head) -> Original:
        """Return what is asked about.

        Raises:
            HttpRefusal: it is nothing that a proxy may ask about here.
        """
        is_envoy = head.path.startswith(ENVOY)
        name, slash, rest = head.path.removeprefix(ENVOY if is_envoy else NGINX).partition("/")
        record = self.live.systems.get(name)
        proxy = record.system.enforcement.proxy if record is not None and record.system.enforcement else None
        if record is None or proxy is None or not _is_for(head, self.callers, proxy if is_envoy else None):
            raise HttpRefusal(404, "no system of this name has a proxy that asks here")
        if is_envoy:
            query = head.query.decode("latin-1")
            return Original(record.system, proxy, head.method, slash + rest + (f"?{query}" if query else ""))
        if slash:
            raise HttpRefusal(404, "there is nothing here: the path ends with the system's name")
        method, target = head.headers.get("x-original-method"), head.headers.get("x-original-uri")
        if method is None or target is None:
            raise HttpRefusal(403, "the headers `X-Original-Method` and `X-Original-URI` must tell the request")
        return Original(record.system, proxy, method, target)


def _head_of(scope: Scope) -> Head:
    """Return the head. Percent signs stay as the caller sent them: the routes decode, once, what is theirs to decode.

    Raises:
        HttpRefusal: it is too large, or says something twice that must be said once.
    """
    for name in (b"x-original-uri", b"x-original-method"):
        if sum(each == name for each, _ in scope["headers"]) > 1:
            raise HttpRefusal(403, f"the header `{name.decode()}` appears more than once")
    raw = scope.get("raw_path") or scope["path"].encode("latin-1", "replace")
    path = raw.partition(b"?")[0].decode("latin-1")
    return structs.replace(read_head({**scope, "raw_path": b""}), path=path)


def _is_for(head: Head, callers: Callers, proxy: Proxied | None) -> bool:
    """Whether the request names us; Envoy leaves the name that the caller asked for."""
    host = head.headers.get("host", "").lower()
    return host in callers.hosts or (proxy is not None and host == host_of(proxy.base))


def _told(recorded: Recorded, principal: str) -> tuple[int, dict[str, object], Headers]:
    """Return the status, the body and the headers of an answer; headers hold no more than both proxies pass on."""
    verdict = recorded.verdict
    headers: list[tuple[bytes, bytes]] = [
        (b"x-charter-verdict", recorded.verdict_id.encode()),
        (b"x-charter-principal", principal.encode()),
    ]
    if isinstance(verdict, Allow):
        return 200, {"allowed": True, "verdict": recorded.verdict_id}, tuple(headers)
    reason = verdict.reasons[0]
    headers.append((b"x-charter-reason", "".join(ch for ch in reason.text if " " <= ch <= "~")[:MAX_SAID].encode()))
    if recorded.approval_id is not None:
        headers.append((b"x-charter-approval", recorded.approval_id.encode()))
    told: dict[str, object] = {
        "allowed": False,
        "verdict": recorded.verdict_id,
        "detail": reason.text,
        "help": reason.mend,
        "approval": recorded.approval_id,
        "reasons": [each.to_json() for each in verdict.reasons],
    }
    return 403, told, tuple(headers)
