"""The clients: one that blocks and one that does not; both ask the decision API and read its answers alike.

Under `charter run` they find where to ask in the environment (CHARTER_DECISIONS_URL, CHARTER_PRINCIPAL), and the relay
proves the program by its key. Elsewhere `headers` gives what proves it at each request: (method, url) -> headers.

INVARIANT: nothing is retried that may have been decided: a connection that broke after the question left is no answer.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from charter.sdk.answer import Allowed, Answer, CallDenied, CallHeld, CharterUnavailable, Held, Obligation, Question
from charter.sdk.answer import read_answer as _read
from charter.sdk.in_process import InProcess

URL, PRINCIPAL, SPOOL = "CHARTER_DECISIONS_URL", "CHARTER_PRINCIPAL", "CHARTER_SPOOL"
SECONDS = 10.0
POLL_SECONDS = 2.0
JSON = {"content-type": "application/json"}
TRIES = 3  # of a connection that could not be made: nothing left, so nothing was decided
Headers = Callable[[str, str], Mapping[str, str]]


class _Asking:
    """What both clients share."""

    def __init__(
        self,
        url: str | None = None,
        *,
        principal: str | None = None,
        headers: Headers | None = None,
        obligations: Mapping[str, Obligation] | None = None,
        in_process: bool | str | Path = False,
    ) -> None:
        """Find where to ask.

        Args:
            url: the decision API's address; None: as the environment says.
            principal: whose calls these are; None: as the environment says.
            headers: what proves the program, for each request's method and address.
            obligations: what the program can do besides, by the type of obligation.
            in_process: whether plain reads are decided here (in_process.py): the folder that keeps what was decided,
                or True for the one that the environment names.

        Raises:
            CharterUnavailable: nobody says where to ask, or the folder cannot be used.
        """
        found, name = url or os.environ.get(URL), principal or os.environ.get(PRINCIPAL)
        if not found or not name:
            missing = URL if not found else PRINCIPAL
            raise CharterUnavailable(f"{missing} is not set: run the program by `charter run NAME -- …`, or say url=…")
        self.principal = name
        self._url = f"{found.rstrip('/')}/evaluation"
        self._headers = headers
        self._obligations = dict(obligations or {})
        try:
            spool = _spool_of(in_process)
            base = self._url.removesuffix("/evaluation")
            self._own = InProcess(base, name, spool, headers) if spool is not None else None
        except (OSError, ValueError) as err:
            raise CharterUnavailable(f"nothing can be decided in the program: {err}") from err

    @property
    def decides_in_process(self) -> bool:
        """Whether plain reads can be decided here just now, by policies that are in force."""
        return self._own is not None and self._own.is_fresh

    def _noted(self, question: Question, answer: Answer) -> Answer:
        if self._own is not None and isinstance(answer, Allowed):
            self._own.answered(question)
        return answer

    def question(
        self,
        system: str,
        action: str,
        object: str,
        arguments: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Question:
        """Return the question whether this program may make a call."""
        told = dict(context or {})
        if self._obligations:
            told["supported_obligations"] = sorted(self._obligations)
        return Question(self.principal, system, action, object, arguments or {}, told)

    def _proof(self) -> dict[str, str]:
        return dict(self._headers("POST", self._url)) if self._headers is not None else {}

    @staticmethod
    def _body(question: Question) -> bytes:
        """Return the question as JSON in UTF-8.

        Raises:
            CharterUnavailable: it has no such form (NaN, half a surrogate pair, an object), so nobody can be asked.
        """
        try:
            return json.dumps(question.to_json(), ensure_ascii=False, allow_nan=False).encode()
        except (ValueError, TypeError, RecursionError) as err:
            raise CharterUnavailable(f"the call cannot be told in JSON, so nobody can decide: {err}"[:300]) from err

    def _answer(self, response: httpx.Response) -> Answer:
        try:
            body = response.json()
        except ValueError:
            body = None
        return _read(response.status_code, body, self._obligations)


class Charter(_Asking):
    """Asks, and blocks until there is an answer."""

    def __init__(self, url: str | None = None, *, seconds: float = SECONDS, **more: Any) -> None:  # noqa: ANN401
        """`seconds` bounds one question; the others are those of `charter.sdk.client._Asking`."""
        super().__init__(url, **more)
        self._client = httpx.Client(timeout=seconds, transport=httpx.HTTPTransport(retries=TRIES), trust_env=False)

    def ask(self, question: Question) -> Answer:
        """Return the verdict on a call.

        Raises:
            CharterUnavailable: there is none to be had; nothing is allowed.
        """
        own = self._own.allowed(question) if self._own is not None else None
        if own is not None:
            return own
        body = self._body(question)
        try:
            response = self._client.post(self._url, content=body, headers=self._proof() | JSON)
            return self._noted(question, self._answer(response))
        except httpx.HTTPError as err:
            raise CharterUnavailable(f"the decision API cannot be asked: {err!r}"[:300]) from err

    def check(self, system: str, action: str, object: str, arguments: Mapping[str, Any] | None = None) -> Answer:
        """Return the verdict on a call of this program."""
        return self.ask(self.question(system, action, object, arguments))

    def require(self, question: Question) -> Allowed:
        """Return the allow, or raise CallDenied or CallHeld."""
        return required(self.ask(question))

    def wait(self, question: Question, seconds: float) -> Answer:
        """Ask until people answered, for at most so long; return the last answer."""
        ends = time.monotonic() + seconds
        answer = self.ask(question)
        while isinstance(answer, Held) and time.monotonic() + POLL_SECONDS < ends:
            time.sleep(POLL_SECONDS)
            answer = self.ask(question)
        return answer

    def close(self) -> None:
        """Close the connections; what was decided in the program is reported first."""
        if self._own is not None:
            self._own.close()
        self._client.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        """Close the connections."""
        self.close()


class AsyncCharter(_Asking):
    """Asks without blocking the event loop."""

    def __init__(self, url: str | None = None, *, seconds: float = SECONDS, **more: Any) -> None:  # noqa: ANN401
        """`seconds` bounds one question; the others are those of `charter.sdk.client._Asking`."""
        super().__init__(url, **more)
        transport = httpx.AsyncHTTPTransport(retries=TRIES)
        self._client = httpx.AsyncClient(timeout=seconds, transport=transport, trust_env=False)

    async def ask(self, question: Question) -> Answer:
        """Return the verdict on a call.

        Raises:
            CharterUnavailable: there is none to be had; nothing is allowed.
        """
        if self._own is not None:
            own = await asyncio.to_thread(self._own.allowed, question)  # which waits for the disk
            if own is not None:
                return own
        body = self._body(question)
        try:
            response = await self._client.post(self._url, content=body, headers=self._proof() | JSON)
            return self._noted(question, self._answer(response))
        except httpx.HTTPError as err:
            raise CharterUnavailable(f"the decision API cannot be asked: {err!r}"[:300]) from err

    async def check(self, system: str, action: str, object: str, arguments: Mapping[str, Any] | None = None) -> Answer:
        """Return the verdict on a call of this program."""
        return await self.ask(self.question(system, action, object, arguments))

    async def require(self, question: Question) -> Allowed:
        """Return the allow, or raise CallDenied or CallHeld."""
        return required(await self.ask(question))

    async def wait(self, question: Question, seconds: float) -> Answer:
        """Ask until people answered, for at most so long; return the last answer."""
        ends = time.monotonic() + seconds
        answer = await self.ask(question)
        while isinstance(answer, Held) and time.monotonic() + POLL_SECONDS < ends:
            await asyncio.sleep(POLL_SECONDS)
            answer = await self.ask(question)
        return answer

    async def aclose(self) -> None:
        """Close the connections; what was decided in the program is reported first."""
        if self._own is not None:
            await asyncio.to_thread(self._own.close)
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.aclose()


def _spool_of(said: bool | str | Path) -> Path | None:
    """Return where the spool of a program lies; None: it decides nothing by itself.

    Raises:
        ValueError: the program wants to decide by itself, and says nowhere where what it decided is kept.
    """
    if said is True:
        found = os.environ.get(SPOOL)
        if not found:
            raise ValueError(f"{SPOOL} is not set: run the program by `charter run`, or say in_process=FOLDER")
        return Path(found)
    return None if said is False else Path(said)


def required(answer: Answer) -> Allowed:
    """Return the allow.

    Raises:
        CallDenied, CallHeld: it is none.
    """
    match answer:
        case Allowed():
            return answer
        case Held():
            raise CallHeld(answer)
        case _:
            raise CallDenied(answer)
