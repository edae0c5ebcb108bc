"""Access tokens that Charter obtains from upstreams' authorization servers: for itself, and for people who connected.

A token is kept in memory until shortly before it expires; whoever asks meanwhile shares one request. Client secrets
come from the vault, refresh tokens from people's connections; what an authorization server says is parsed strictly.

INVARIANT: a refresh token given in exchange for the one that was used is durable before the access token is.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus, urlencode

from charter.adapters.document_fetch import DocumentFetcher, FetchError, Question
from charter.core.clock import Clock
from charter.core.errors import DeniedError, ErrorCode, UnavailableError
from charter.core.values import Secret
from charter.registry.principal import SystemRecord
from charter.registry.upstream_credential import ClientCredential, PersonCredential

MAX_TOKEN = 8192
USUAL_SECONDS, MOST_SECONDS, MARGIN_SECONDS = 300, 86_400, 30
MAX_KEPT = 10_000
FETCH_SECONDS = 10.0
_TOKEN = re.compile(r"[\x21-\x7e]{1,8192}")  # what a header can carry
_ERROR = re.compile(r"[a-z_]{1,64}")
_SCOPE = re.compile(r"[\x20-\x7e]{0,4096}")
_UNREADABLE = "answered with something that is no token response (RFC 6749 section 5)"
Credential = ClientCredential | PersonCredential


@dataclass(frozen=True, slots=True)
class Answer:
    """A token response."""

    access: Secret
    refresh: Secret | None
    scope: str
    seconds: int


@dataclass(slots=True)
class _Kept:
    """An access token in memory, and what it was obtained with."""

    access: Secret | None = field(default=None, repr=False)
    edition: object = None
    until: float = 0.0  # on the monotonic clock
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


class OAuthTokens:
    """The access tokens in memory. Belongs to one event loop."""

    def __init__(self, fetcher: DocumentFetcher, clock: Clock) -> None:
        self._fetcher = fetcher
        self._clock = clock
        self._kept: dict[tuple[str, str], _Kept] = {}

    async def token(self, key: tuple[str, str], edition: object, obtain: Callable[[], Awaitable[Answer]]) -> Secret:
        """Return the access token kept under `key` (system, person), or the one that `obtain` gives.

        `edition` is equal as long as what it is obtained with is the same.

        Raises:
            CharterError: there is none to be had.
        """
        kept = self._kept.setdefault(key, _Kept())
        async with kept.asking:
            if kept.access is None or kept.edition != edition or self._clock.monotonic() >= kept.until:
                answer = await obtain()
                life = max(1.0, answer.seconds - min(MARGIN_SECONDS, answer.seconds / 10))
                kept.access, kept.edition, kept.until = answer.access, edition, self._clock.monotonic() + life
                self._bound()
            return kept.access

    def forget(self, key: tuple[str, str]) -> None:
        """Keep the access token of `key` no longer: the upstream did not take it, or its connection ended."""
        kept = self._kept.get(key)
        if kept is not None:
            kept.access = None

    async def by_client(self, record: SystemRecord, credential: ClientCredential, secret: Secret) -> Answer:
        """Obtain a token for Charter itself (RFC 6749 section 4.4)."""
        return await self._ask(record, credential, secret, {"grant_type": "client_credentials"})

    async def by_refresh(
        self, record: SystemRecord, credential: PersonCredential, secret: Secret | None, refresh: Secret
    ) -> Answer:
        """Obtain a token for a person (RFC 6749 section 6).

        Raises:
            DeniedError: the person's consent is gone there.
        """
        form = {"grant_type": "refresh_token", "refresh_token": refresh.reveal().decode("ascii", "replace")}
        return await self._ask(record, credential, secret, form)

    async def by_code(
        self, record: SystemRecord, credential: PersonCredential, secret: Secret | None, form: Mapping[str, str]
    ) -> Answer:
        """Obtain a person's first tokens (RFC 6749 section 4.1.3, RFC 7636 section 4.5)."""
        return await self._ask(record, credential, secret, {"grant_type": "authorization_code", **form})

    async def _ask(
        self, record: SystemRecord, credential: Credential, secret: Secret | None, form: Mapping[str, str]
    ) -> Answer:
        asked, headers = dict(form), {"accept": "application/json", "content-type": "application/x-www-form-urlencoded"}
        if credential.scope and form["grant_type"] != "authorization_code":
            asked["scope"] = " ".join(credential.scope)
        if credential.resource is not None:
            asked["resource"] = credential.resource
        if secret is None:
            asked["client_id"] = credential.client_id
        elif credential.auth == "post":
            asked |= {"client_id": credential.client_id, "client_secret": secret.reveal().decode("utf-8", "replace")}
        else:
            headers["authorization"] = _basic(credential.client_id, secret)
        question = Question("POST", headers, urlencode(asked).encode(), seconds=FETCH_SECONDS, statuses=_STATUSES)
        try:
            answer = await self._fetcher.ask(credential.token_url, question)
        except FetchError as err:
            raise _failed(record, err.detail) from err
        said = _object(answer.body)
        if answer.status == 200:  # noqa: PLR2004 - OK
            found = _answer(said)
            if found is None:
                raise _failed(record, f"the authorization server of `{record.name}` {_UNREADABLE}")
            return found
        raise _refused(record, said, answer.status)

    def _bound(self) -> None:
        """Forget the tokens kept longest, when there are too many."""
        while len(self._kept) > MAX_KEPT:
            self._kept.pop(next(iter(self._kept)))


_STATUSES = frozenset({200, 400, 401})


def _basic(client_id: str, secret: Secret) -> str:
    """Return the header of a client's secret: both parts form-encoded first (RFC 6749 section 2.3.1)."""
    text = f"{quote_plus(client_id)}:{quote_plus(secret.reveal())}"
    return "Basic " + base64.b64encode(text.encode()).decode()


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _answer(said: Mapping[str, Any]) -> Answer | None:
    """Return the response that `said` is, None if it is none."""
    access, kind, refresh = said.get("access_token"), said.get("token_type"), said.get("refresh_token")
    scope, seconds = said.get("scope", ""), said.get("expires_in", USUAL_SECONDS)
    is_whole = (
        _is_token(access)
        and isinstance(kind, str)
        and kind.lower() == "bearer"
        and (refresh is None or _is_token(refresh))
        and isinstance(scope, str)
        and bool(_SCOPE.fullmatch(scope))
        and type(seconds) is int
        and seconds > 0
    )
    if not is_whole:
        return None
    token = Secret(refresh.encode()) if refresh is not None else None
    return Answer(Secret(str(access).encode()), token, scope, min(seconds, MOST_SECONDS))


def _is_token(value: object) -> bool:
    return isinstance(value, str) and bool(_TOKEN.fullmatch(value))


def _refused(record: SystemRecord, said: Mapping[str, Any], status: int) -> DeniedError | UnavailableError:
    """Return what a refusal means. The server's description is left out: it may repeat what was sent."""
    error = said.get("error")
    word = error if isinstance(error, str) and _ERROR.fullmatch(error) else f"status {status}"
    text = f"the authorization server of `{record.name}` refuses: {word}"
    if word == "invalid_grant":
        return DeniedError(ErrorCode.NOT_CONNECTED, text, help=f"connect again: charter vault connect {record.name}")
    return _failed(record, text)


def _failed(record: SystemRecord, text: str) -> UnavailableError:
    return UnavailableError(
        ErrorCode.UPSTREAM_FAILED, text, help=f"check `credential` in systems/{record.name}.yaml and its secret"
    )
