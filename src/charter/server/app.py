"""`charter up`: one process, one event loop, two doors.

The TCP door leads to the OAuth endpoints and the gateways (raw ASGI: they are the hot path) and to the console. The
unix socket leads to the control API. Both drain on SIGTERM and SIGINT: no new calls, the ones under way end, outcomes
are recorded. A second signal waits for no one.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

import uvicorn
from typing_extensions import override

from charter.bootstrap import House, build
from charter.config import Settings
from charter.console.signin import SignIn
from charter.core.errors import ConflictError, ErrorCode, MalformedError
from charter.server.connection import Connection
from charter.server.control import control_app
from charter.server.control_socket import listening

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
DRAIN_SECONDS = 5


class Doors:
    """Sends each request to the application it is for, by the beginning of its path."""

    def __init__(self, gateway: App, oauth: App, scim: App, console: App) -> None:
        self._routes: tuple[tuple[str, App], ...] = (
            ("/mcp/", gateway),
            ("/.well-known/oauth-protected-resource", gateway),
            ("/oauth/", oauth),
            ("/scim/v2/", scim),
            ("/.well-known/", oauth),
        )
        self._console = console

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        path = scope["path"]
        app = next((app for prefix, app in self._routes if path.startswith(prefix)), self._console)
        await app(scope, receive, send)


async def _lifespan(receive: Receive, send: Send) -> None:
    """Answer uvicorn's lifespan messages: the house is built before and closed after."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return


def public_app(house: House, signin: SignIn) -> Doors:
    """Return what the TCP door serves."""
    from charter.bootstrap.desk import HouseDesk
    from charter.console.pages import console_app
    from charter.server.gateway import GatewayApp
    from charter.server.oauth import OAuthApp
    from charter.server.scim import ScimApp

    return Doors(GatewayApp.of(house), OAuthApp.of(house), ScimApp.of(house), console_app(HouseDesk(house), signin))


async def serve(settings: Settings, *, operator: str, announce: Callable[[str, str], None]) -> None:
    """Run the server until it is told to stop. Once it is up, `announce` is told its URL and a link to the console.

    Raises:
        ConflictError: another server runs on this data folder, or the port is taken.
        MalformedError: this machine cannot listen there.
    """
    listener = _listen(settings)
    port = listener.getsockname()[1]
    if settings.port == 0:
        settings = settings.model_copy(update={"port": port})
    async with contextlib.AsyncExitStack() as undo:
        undo.callback(listener.close)
        house = await asyncio.to_thread(build, settings, operator=operator)
        undo.push_async_callback(house.aclose)
        signin = SignIn(house.clock, house.entropy, operator, issuer=settings.issuer)
        control = undo.enter_context(listening(settings.socket))
        tcp, uds = _server(public_app(house, signin)), _server(control_app(house, signin))
        await undo.enter_async_context(house.serving())
        _stop_on_signals(tcp, uds)
        tasks = [
            asyncio.create_task(tcp.serve(sockets=[listener])),
            asyncio.create_task(uds.serve(sockets=[control])),
        ]
        while not (tcp.started and uds.started):  # noqa: ASYNC110 - uvicorn has no event to wait for
            await asyncio.sleep(0.01)
        announce(settings.issuer, signin.link())
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        tcp.should_exit = uds.should_exit = True
        await asyncio.gather(*tasks)


class _Server(uvicorn.Server):
    """A server that leaves signals alone.

    uvicorn's own way is to raise a signal again once its server has stopped. With two servers the first to stop would
    end the process before the other has drained and the house is closed.
    """

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _stop_on_signals(*servers: uvicorn.Server) -> None:
    """Let SIGTERM and SIGINT stop the servers, and a second one not wait for the calls under way."""
    if threading.current_thread() is not threading.main_thread():
        return  # only there can signals be heard

    def stop() -> None:
        for server in servers:
            server.force_exit = server.should_exit
            server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)


def _server(app: App) -> uvicorn.Server:
    return _Server(
        uvicorn.Config(
            app,
            http=Connection,
            ws="none",  # there are no websockets: who asks for one is answered as if they had not
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            timeout_graceful_shutdown=DRAIN_SECONDS,
            limit_concurrency=4096,
        )
    )


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # The protocol is named because asyncio sets TCP_NODELAY only where it is: without, each answer takes 40 ms longer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(1024)
    except OSError as err:
        listener.close()
        place = f"cannot listen on {settings.host}:{settings.port}: {(err.strerror or str(err)).lower()}"
        if err.errno == errno.EADDRINUSE:
            raise ConflictError(
                ErrorCode.ALREADY_RUNNING, place, help="choose another --port, or stop what listens there"
            ) from err
        raise MalformedError(ErrorCode.BAD_VALUE, place, help="choose another --host or --port") from err
    return listener
