"""The relay of `charter run`: MCP endpoints, and APIs, on this machine that add a token to each request.

An agent then needs no change: it speaks plain MCP to a loopback address. The address holds a secret path segment that
only the started command is told, so another program on the machine finds nothing there.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from charter.core.errors import CharterError
from charter.gateway.mcp import RUN_HEADER
from charter.gateway.mcp_protocol import RpcCode

# What speaks of one hop only (RFC 9110 section 7.6.1), is set anew for the next, or is none of the agent's business.
_NOT_FORWARDED = frozenset(
    {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host", "content-length", "origin"}
    | {"authorization", "dpop", "proxy-authorization", "proxy-connection", "accept-encoding", "content-encoding"}
    | {"www-authenticate", "dpop-nonce", RUN_HEADER, "x-api-key"}
)
TRIES = 3  # of one request: with a fresh nonce, and with a fresh token
USE_NONCE = 'error="use_dpop_nonce"'
_UNREACHABLE = (502, "the Charter server cannot be reached", "start it with charter up")
MAX_BODY_BYTES = 16 * 1024 * 1024
CONNECT_SECONDS = 10
# (method, resource, url; the resource's own if none) -> headers that prove who asks
Credentials = Callable[[str, str, str | None], Awaitable[Mapping[str, str]]]
_log = logging.getLogger("charter.relay")
_SESSION = web.AppKey("session", aiohttp.ClientSession)


class Relay:
    """Forwards `/<secret>/<system>` to the gateway's endpoint of that system, and what is below it to an API."""

    def __init__(  # noqa: PLR0913 - where, proved how, and what each request says besides
        self,
        endpoints: Mapping[str, str],
        secret: str,
        credentials: Credentials,
        *,
        forget: Callable[[str], None],
        learn: Callable[[str | None], bool],
        says: Mapping[str, str] | None = None,
        models: Mapping[str, str] | None = None,
        apis: Mapping[str, str] | None = None,
    ) -> None:
        """`says` are headers of every request to Charter: which run it belongs to, and what the person asked for.

        `models` are where Charter's APIs of models stand, `apis` those of others that ask Charter about each request.

        `forget` is told of an endpoint that did not take what `credentials` gave, `learn` of each nonce it gave.

        `learn` answers whether the nonce is a new one, so that another try makes sense.
        """
        self._forget = forget
        self._learn = learn
        self._endpoints = endpoints
        self._secret = secret
        self._credentials = credentials
        self._says = dict(says or {})
        self._models = dict(models or {})
        self._apis = dict(apis or {})

    def app(self) -> web.Application:
        """Return the relay as an application."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{secret}/{system}", self._handle)
        app.router.add_route("*", "/{secret}/{system}/{rest:.+}", self._handle)
        app.cleanup_ctx.append(_session)
        return app

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        """Forward one request and stream the answer back."""
        system, rest = request.match_info["system"], request.match_info.get("rest")
        base = self._models.get(system)
        resource = self._endpoints.get(system)
        target = resource if rest is None else f"{base}/{rest}" if base is not None else None
        if system in self._apis:  # the path and the query as they came: its proxy reads them strictly
            target = self._apis[system] + request.raw_path.removeprefix(f"/{request.match_info['secret']}/{system}")
        given = request.match_info["secret"].encode(errors="replace")
        if not hmac.compare_digest(given, self._secret.encode()) or target is None or resource is None:
            return web.json_response({"error": "not found"}, status=404)
        body = await request.read()
        try:
            for left in reversed(range(TRIES)):
                answer = await self._forward(request, (resource, target), body, is_last=left == 0)
                if answer is not None:
                    return answer
            return _refused(*_UNREACHABLE)
        except CharterError as err:
            return _refused(403, err.detail, err.help)
        except aiohttp.ClientError:
            return _refused(*_UNREACHABLE)

    async def _forward(
        self, request: web.Request, to: tuple[str, str], body: bytes, *, is_last: bool = False
    ) -> web.StreamResponse | None:
        """Forward a request; return None if it was not taken and can be tried again.

        That is with the nonce that the server gave, or with another token: ours may be one that was withdrawn together
        with what signed it.
        """
        resource, target = to
        proof = await self._credentials(request.method, resource, target.partition("?")[0])
        says = {} if request.match_info["system"] in self._apis else self._says
        ours = _NOT_FORWARDED | self._says.keys()
        headers = {k: v for k, v in request.headers.items() if k.lower() not in ours} | dict(proof) | says
        async with request.app[_SESSION].request(
            request.method, URL(target, encoded=True), data=body or None, headers=headers, allow_redirects=False
        ) as upstream:
            is_new = self._learn(upstream.headers.get("DPoP-Nonce"))
            if upstream.status == web.HTTPUnauthorized.status_code:
                wants_nonce = USE_NONCE in upstream.headers.get("WWW-Authenticate", "")
                if not wants_nonce:
                    self._forget(resource)
                if not is_last and (is_new or not wants_nonce):
                    return None
            answer = web.StreamResponse(status=upstream.status, reason=upstream.reason)
            for name, value in upstream.headers.items():
                if name.lower() not in _NOT_FORWARDED:
                    answer.headers.add(name, value)
            await answer.prepare(request)
            try:
                async for chunk in upstream.content.iter_any():
                    await answer.write(chunk)
                await answer.write_eof()
            except aiohttp.ClientError:  # Charter broke off, and so do we: an end would pass for that of the answer
                if request.transport is not None:
                    request.transport.close()
            return answer


async def _session(app: web.Application) -> AsyncIterator[None]:
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
    async with aiohttp.ClientSession(
        timeout=timeout, auto_decompress=False, skip_auto_headers=["Accept-Encoding"]
    ) as session:
        app[_SESSION] = session
        yield


def _refused(status: int, detail: str, help: str | None) -> web.Response:
    """Return a refusal in the form MCP clients show to their users."""
    error = {"code": int(RpcCode.DENIED), "message": detail, "data": {"help": help}}
    return web.json_response({"jsonrpc": "2.0", "id": None, "error": error}, status=status)


def _is_ours(record: logging.LogRecord) -> bool:
    """Return whether a line of the log is about us, and not about what the program sent: it is answered that."""
    return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


@asynccontextmanager
async def relaying(relay: Relay) -> AsyncIterator[str]:
    """Serve `relay` on a free loopback port for as long as the context lasts; yield its base URL."""
    _log.addFilter(_is_ours)
    runner = web.AppRunner(relay.app(), access_log=None, logger=_log, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
