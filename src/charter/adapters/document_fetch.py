"""Fetch a small document from another party: an issuer's keys, a trust bundle, a client's metadata.

    (1) The address is https and has a host, no user and no fragment. http is for loopback alone.
    (2) The host's addresses are looked up once and held to a rule; the connection is made to one that passed, so that
        no second answer of the name server can lead elsewhere.
    (3) Redirects, cookies, proxies and compression are not used; the certificate is verified.
    (4) The answer is 200 (or another status that was asked for), of the media type wanted (JSON),
        at most `limit` bytes, and there in time.

INVARIANT: what fails is one `FetchError` that says which step failed; nothing of the answer's body is repeated in it.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from typing_extensions import override

from charter.adapters.upstream_address import AddressRule, resolve, usual_addresses
from charter.core.errors import CharterError, ErrorCode, UnavailableError
from charter.core.values import is_loopback

MAX_DOCUMENT = 256 * 1024  # bytes
FETCH_SECONDS = 5.0
MAX_URL = 2048
_JSON = re.compile(r"application/(?:[\w.+-]+\+)?json", re.ASCII)
_MAX_AGE = re.compile(r"(?:^|,)\s*max-age=(\d{1,8})", re.ASCII)


class FetchError(UnavailableError):
    """The document could not be had."""


@dataclass(frozen=True, slots=True)
class Question:
    """How a document is asked for, where a plain GET for JSON is not it."""

    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=lambda: {"accept": "application/json"})
    body: bytes | None = field(default=None, repr=False)
    media: re.Pattern[str] = _JSON
    limit: int = MAX_DOCUMENT  # bytes of the answer
    seconds: float = FETCH_SECONDS
    statuses: frozenset[int] = frozenset({200})  # whose bodies are wanted


@dataclass(frozen=True, slots=True)
class Fetched:
    """A document's bytes, and for how many seconds its server lets it be kept (None: it does not say)."""

    body: bytes = field(repr=False)
    max_age_seconds: int | None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # names in any case


def checked_url(url: str) -> SplitResult:
    """Return the parts of an address that documents may be fetched from.

    Raises:
        FetchError: it is none.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as err:
        raise _failed(url, "is no address") from err
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url or not host:
        raise _failed(url, "is no address")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise _failed(url, "names a user or a fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise _failed(url, "is not https")
    return parts


@dataclass(frozen=True, slots=True)
class DocumentFetcher:
    """Fetches documents whose hosts have addresses that `rule` lets through. `tls` is for authorities of one's own."""

    rule: AddressRule = usual_addresses
    tls: Callable[[], ssl.SSLContext] = ssl.create_default_context

    async def fetch(self, url: str, *, limit: int = MAX_DOCUMENT, seconds: float = FETCH_SECONDS) -> Fetched:
        """Return the document at `url`.

        Raises:
            FetchError: it could not be had; the message says why.
        """
        return await self.ask(url, Question(limit=limit, seconds=seconds))

    async def ask(self, url: str, question: Question) -> Fetched:
        """Return the answer of `url` to `question`.

        Raises:
            FetchError: it could not be had; the message says why.
        """
        parts = checked_url(url)
        try:
            async with asyncio.timeout(question.seconds):
                return await self._ask(url, parts, question)
        except TimeoutError as err:
            raise _failed(url, f"did not answer within {question.seconds:g} seconds") from err
        except aiohttp.ClientError as err:
            raise _failed(url, f"could not be reached ({type(err).__name__})") from err

    async def _ask(self, url: str, parts: SplitResult, question: Question) -> Fetched:
        try:
            addresses = await resolve(str(parts.hostname), parts.port or 443, self.rule)
        except CharterError as err:
            raise _failed(url, "has a host without an address that may be asked") from err
        connector = aiohttp.TCPConnector(
            resolver=_Pinned(addresses), use_dns_cache=False, ssl=self.tls() if parts.scheme == "https" else True
        )
        headers = {**question.headers, "accept-encoding": "identity"}
        async with (
            aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False) as session,
            session.request(question.method, url, headers=headers, data=question.body, allow_redirects=False) as answer,
        ):
            body, age = await _body_of(url, answer, question), _max_age(answer.headers.get("cache-control", ""))
            return Fetched(body, age, answer.status, answer.headers)


async def _body_of(url: str, answer: aiohttp.ClientResponse, question: Question) -> bytes:
    if answer.status not in question.statuses:
        raise _failed(url, f"answered with status {answer.status}")
    is_plain = answer.headers.get("content-encoding", "identity") == "identity"
    if not is_plain or not question.media.fullmatch(answer.content_type.lower()):
        raise _failed(url, "answered with something else than JSON" if question.media is _JSON else "answered oddly")
    body = bytearray()
    async for part in answer.content.iter_any():
        body += part
        if len(body) > question.limit:
            raise _failed(url, f"answered with more than {question.limit} bytes")
    return bytes(body)


def _max_age(header: str) -> int | None:
    found = _MAX_AGE.search(header)
    return int(found[1]) if found else None


class _Pinned(AbstractResolver):
    """Answers every question with the addresses that were checked."""

    def __init__(self, addresses: list[str]) -> None:
        self._addresses = addresses

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [_result(host, port, address) for address in self._addresses]

    @override
    async def close(self) -> None:
        return None


def _result(host: str, port: int, address: str) -> ResolveResult:
    family: Any = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(
        hostname=host, host=address, port=port, family=family, proto=socket.IPPROTO_TCP, flags=socket.AI_NUMERICHOST
    )


def _failed(url: str, why: str) -> FetchError:
    shown = url[:200] if url.isascii() and url.isprintable() else ascii(url[:80])
    return FetchError(
        ErrorCode.UPSTREAM_FAILED,
        f"`{shown}` {why}",
        help="check the address, and that its server can be reached from here",
    )
