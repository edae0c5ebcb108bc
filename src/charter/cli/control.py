"""How a command reaches the control API: over the server's socket, in this process when no server runs, or elsewhere.

There is one code path for each action either way. In this process the house is built under the data folder's lock, so
it can never write beside a running server.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx

from charter.config import Settings
from charter.core.errors import CharterError, ErrorCode, UnavailableError
from charter.registry.problem import EstateError, Problem
from charter.server.control_socket import reachable

TIMEOUT_SECONDS = 120.0
_NO_TLS = False  # on a unix socket; to load the certificates of the authorities takes longer than a request


class Control:
    """The control API, for one command."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def get(self, path: str, **query: object) -> Any:  # noqa: ANN401 - any JSON value
        """Return the JSON answer of GET `path`; None values of `query` are left out.

        Raises:
            ValueError: a query is written into the path, where it would be lost without a word.
        """
        if "?" in path:
            raise ValueError(f"the query of {path!r} belongs into keywords")
        return self._call("GET", path, params={k: str(v) for k, v in query.items() if v is not None})

    def post(self, path: str, body: object = None) -> Any:  # noqa: ANN401
        """Return the JSON answer of POST `path`."""
        return self._call("POST", path, json=body if body is not None else {})

    def stream(self, path: str, body: object, step: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Return the last line of the answer of POST `path`; `step` is told of every line before it.

        Raises:
            CharterError: what went wrong, be it on the way.
        """
        return asyncio.run(self._astream(path, body, step))

    async def _astream(self, path: str, body: object, step: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        last: dict[str, Any] = {}
        async with self._client() as client:
            with _told_of_the_way():
                async with client.stream("POST", path, json=body) as answer:
                    if not answer.is_success:
                        await answer.aread()
                        raise _error_of(answer)
                    async for line in answer.aiter_lines():
                        if last:
                            step(last)
                        last = json.loads(line)
        if "problem" in last:
            from charter.server.problems import error_from_problem

            raise error_from_problem(int(last["problem"].get("status", 500)), last["problem"])
        return last

    def delete(self, path: str, body: object = None) -> Any:  # noqa: ANN401
        """Return the JSON answer of DELETE `path`."""
        return self._call("DELETE", path, json=body if body is not None else {})

    @property
    def server_runs(self) -> bool:
        """Whether a server answers on the data folder's socket, or is one elsewhere."""
        if self.settings.server:
            return True
        try:
            if not self.settings.socket.exists():
                return False
            with (
                reachable(self.settings.socket) as name,
                httpx.Client(transport=httpx.HTTPTransport(uds=name, verify=_NO_TLS), timeout=5) as client,
            ):
                return client.get("http://charter/v1/status").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False
        except PermissionError as error:
            raise UnavailableError(
                ErrorCode.STORE_FAILED,
                f"the data folder `{self.settings.data_folder}` is closed to this account",
                help="run charter as the account that runs the server",
            ) from error

    def must_run(self) -> None:
        """Refuse to go on without a running server.

        Raises:
            UnavailableError: none answers.
        """
        if not self.server_runs:
            raise UnavailableError(ErrorCode.NOT_RUNNING, "no server runs on this estate", help="start it: charter up")

    def _call(self, method: str, path: str, **options: Any) -> Any:  # noqa: ANN401
        return asyncio.run(self._acall(method, path, **options))

    async def _acall(self, method: str, path: str, **options: Any) -> Any:  # noqa: ANN401
        async with self._client() as client:
            with _told_of_the_way():
                answer = await client.request(method, path, **options)
        if answer.headers.get("content-type", "").startswith("application/json") and answer.is_success:
            return answer.json()
        if answer.is_success:
            return answer.content
        raise _error_of(answer)

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[httpx.AsyncClient]:
        if self.settings.server:
            from charter.cli.login import checked_server, session_at

            bearer = {"authorization": f"Bearer {session_at(self.settings.logins, self.settings.server)}"}
            origin = checked_server(self.settings.server)
            async with httpx.AsyncClient(
                base_url=origin, headers=bearer, timeout=TIMEOUT_SECONDS, trust_env=False
            ) as client:
                yield client
            return
        if self.server_runs:
            with reachable(self.settings.socket) as name:
                transport = httpx.AsyncHTTPTransport(uds=name, verify=_NO_TLS)
                async with httpx.AsyncClient(
                    transport=transport, base_url="http://charter", timeout=TIMEOUT_SECONDS
                ) as client:
                    yield client
            return
        _must_be_begun(self.settings)
        from charter.bootstrap.building import build
        from charter.server.control import control_app

        house = await asyncio.to_thread(build, self.settings)
        try:
            inner = httpx.ASGITransport(app=control_app(house), raise_app_exceptions=True)
            async with httpx.AsyncClient(transport=inner, base_url="http://charter", timeout=None) as client:  # noqa: S113 - in this process
                yield client
        finally:
            await house.aclose()


@contextmanager
def _told_of_the_way() -> Iterator[None]:
    """Raise what befalls the way to the server as an error that says what to do."""
    try:
        yield
    except httpx.ConnectError as error:
        raise UnavailableError(ErrorCode.NOT_RUNNING, "the server does not answer", help="check --server") from error
    except httpx.TimeoutException as error:
        text = f"the server did not answer within {TIMEOUT_SECONDS:.0f} seconds"
        help = "it may be at it still: look at charter doctor before you ask again"
        raise UnavailableError(ErrorCode.STORE_FAILED, text, help=help) from error
    except httpx.TransportError as error:
        raise UnavailableError(
            ErrorCode.NOT_RUNNING, "the server broke off", help="look at its log, and ask again"
        ) from error


def _must_be_begun(settings: Settings) -> None:
    """Refuse a folder that is no estate: a question asked in the wrong place must not begin a new, empty node there."""
    if not settings.data_folder.exists() and not (settings.estate / "teams.yaml").is_file():
        place = str(settings.estate.absolute())
        raise EstateError([Problem(place, 1, 1, "there is no estate here", "begin one: charter init; or name it: -C")])


def _error_of(answer: httpx.Response) -> CharterError:
    """Return the error that a problem document (RFC 9457) tells of."""
    from charter.server.problems import error_from_problem

    try:
        body = answer.json()
    except ValueError:
        body = {}
    return error_from_problem(answer.status_code, body if isinstance(body, dict) else {})
