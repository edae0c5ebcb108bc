"""A principal's MCP endpoint as `charter mcp` reaches it: requests with a token and a proof, again with fresh ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp

from charter.adapters.upstream_sse import SseReader
from charter.cli.agent_keys import AgentTokens
from charter.cli.relay import CONNECT_SECONDS, MAX_BODY_BYTES, TRIES, USE_NONCE
from charter.core.errors import CharterError, ErrorCode, UnavailableError

SILENCE_SECONDS = 300.0  # a stream that says nothing for so long is dead: the gateway says that it is there every 15
_UNREACHABLE = "the Charter server cannot be reached"
_ACCEPT = "application/json, text/event-stream"


@asynccontextmanager
async def web_session() -> AsyncIterator[aiohttp.ClientSession]:
    """Give what requests are sent with."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as web:
        yield web


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one principal's messages go, and how it proves itself there."""

    resource: str
    tokens: AgentTokens
    web: aiohttp.ClientSession
    says: Mapping[str, str]  # headers of every request: which run it belongs to, and what the person asked for

    @asynccontextmanager
    async def ask(
        self, method: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send one request; give its answer, whatever that says.

        Raises:
            CharterError: there is no token to be had, or no server.
        """
        begun = False
        try:
            for left in reversed(range(TRIES)):
                proof = await self.tokens.headers(method, self.resource)
                sent = {"Accept": _ACCEPT, "Content-Type": "application/json", **headers, **self.says, **proof}
                async with self.web.request(
                    method, self.resource, data=body, headers=sent, allow_redirects=False
                ) as answer:
                    if left and self._can_try_again(answer):
                        continue
                    begun = True
                    yield answer
                    return
        except (aiohttp.ClientError, TimeoutError) as err:
            text = "the answer broke off: what was asked may have happened" if begun else _UNREACHABLE
            raise UnavailableError(ErrorCode.NOT_RUNNING, text, help="see that Charter runs: charter up") from err

    def _can_try_again(self, answer: aiohttp.ClientResponse) -> bool:
        """Return whether a request that was not taken may be with a new nonce or token."""
        is_new = self.tokens.learn(answer.headers.get("DPoP-Nonce"))
        if answer.status != HTTPStatus.UNAUTHORIZED:
            return False
        wants_nonce = USE_NONCE in answer.headers.get("WWW-Authenticate", "")
        if not wants_nonce:
            self.tokens.forget(self.resource)
        return is_new or not wants_nonce


async def messages(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Yield the messages of an answer: one if it is JSON, as they come if it is a stream.

    Raises:
        CharterError: one is too large.
    """
    if answer.content_type != "text/event-stream":
        yield await _whole(answer)
        return
    reader = SseReader(MAX_BODY_BYTES)
    async for chunk in answer.content.iter_any():
        for data in reader.feed(chunk):
            yield data


async def _whole(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise CharterError(ErrorCode.TOO_LARGE, f"the answer exceeds {MAX_BODY_BYTES} bytes")
    return bytes(body)
