"""`charter up`: one process, one event loop, two doors, and a third where it is given a certificate.

The TCP door leads to the OAuth endpoints and the gateways (raw ASGI: they are the hot path) and to the console. The
unix socket leads to the control API. The TLS door leads clients that have certificates to the OAuth endpoints and the
gateways (RFC 8705). All drain on SIGTERM and SIGINT: no new calls, the ones under way end, outcomes
are recorded. A second signal waits for no one.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import uvicorn
from typing_extensions import override

from charter.bootstrap.building import build
from charter.bootstrap.house import House
from charter.bootstrap.workload import Workloads
from charter.config import BUNDLE_PATH, Settings
from charter.console.signin import SignIn
from charter.core.errors import ConflictError, ErrorCode, MalformedError
from charter.identity.resource import DECISION_PATH, SPANS_PATH
from charter.registry.directory import Person
from charter.server.bundle import BundleApp
from charter.server.bundle_door import BundleTls
from charter.server.client_tls import ClientTls, TlsConnection, TrustAnchors, read_authorities
from charter.server.connection import Connection
from charter.server.control import control_app
from charter.server.control_gate import ControlGate
from charter.server.control_socket import listening
from charter.server.descriptors import most_connections, take_descriptors
from charter.server.egress import EgressDoor
from charter.server.forwarded import Forwarded
from charter.server.gateway_http import send_json
from charter.server.nodes import PATH as NODES_PATH
from charter.server.nodes import NodesApp
from charter.server.shown_tls import ShownTls
from charter.server.witness import PATH as WITNESS_PATH
from charter.server.witness import WitnessApp
from charter.server.workload_door import workload_door

if TYPE_CHECKING:
    from charter.server.gateway import GatewayApp

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
DRAIN_SECONDS = 5


class Doors:
    """Sends each request to the application it is for, by the beginning of its path."""

    def __init__(self, routes: Mapping[str, App], otherwise: App) -> None:
        self._routes = tuple(routes.items())  # the first that fits is taken
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        path = scope["path"]
        app = next((app for prefix, app in self._routes if path.startswith(prefix)), self._otherwise)
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


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a server is reached."""

    url: str
    console: str  # a one-time link
    workload_api: str  # as SPIFFE clients take it: unix:///…
    mtls: str | None  # for clients with certificates, if there is a door for them
    bundle: str | None  # for trust domains that authenticate us by our SVID, likewise
    egress: str | None = None  # the forward proxy, likewise


def public_app(house: House, signin: SignIn) -> App:
    """Return what the TCP door serves."""
    from charter.bootstrap.desk import HouseDesk
    from charter.console.pages import console_app
    from charter.identity.single_signon import SingleSignOn

    signon = SingleSignOn(house.provider, house.clock, house.entropy) if house.provider else None
    console = console_app(HouseDesk(house), signin, signon, house.consents, house.settings.issuer)
    routes: dict[str, App] = {
        "/oauth/authorize": console,  # a page, behind the console's door
        **_machine_routes(house),
        "/scim/v2/": Later(lambda: _scim(house)),
        "/v1/": ControlGate(control_app(house), signin),
    }
    doors = Doors(routes, console)
    trusted = house.settings.trusted_proxies
    return Forwarded(doors, trusted) if trusted else doors


def _scim(house: House) -> App:
    from charter.server.scim import ScimApp

    return ScimApp.of(house)


def _spans(house: House, gateway: GatewayApp) -> App:
    from charter.server.spans import SpansApp

    return SpansApp.of(house, gateway)


class Later:
    """An application that is loaded once it is asked for: a server that nobody asks for it starts sooner."""

    def __init__(self, make: Callable[[], App]) -> None:
        self._make = make
        self._made: App | None = None
        self._making = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        async with self._making:
            if self._made is None:
                self._made = await asyncio.to_thread(self._make)  # calls go on meanwhile
        await self._made(scope, receive, send)


def machine_app(house: House) -> App:
    """Return what the TLS door serves: clients with certificates, and no people, whose browsers would ask for one."""
    return Doors(_machine_routes(house, mtls=True), _nothing)


def _machine_routes(house: House, *, mtls: bool = False) -> dict[str, App]:
    from charter.server.access import RESOURCE_METADATA, WELL_KNOWN, AccessApp
    from charter.server.gateway import GatewayApp
    from charter.server.leases import LeaseApp
    from charter.server.models import PREFIX as MODELS
    from charter.server.models import ModelApp
    from charter.server.oauth import OAuthApp
    from charter.server.proxied import ENVOY, NGINX, ProxiedApp

    gateway, oauth = GatewayApp.of(house, mtls=mtls), OAuthApp.of(house, mtls=mtls)
    access, proxied = AccessApp.of(house, gateway), ProxiedApp.of(house, gateway)
    return {
        "/mcp/": gateway,
        "/mcp": gateway,
        f"{DECISION_PATH}/": access,
        NGINX: proxied,
        ENVOY: proxied,
        RESOURCE_METADATA: access,
        WELL_KNOWN: access,
        MODELS: ModelApp.of(house, gateway),
        "/lease/": LeaseApp.of(house, gateway),
        f"{SPANS_PATH}/": Later(lambda: _spans(house, gateway)),
        "/.well-known/oauth-protected-resource": gateway,
        BUNDLE_PATH: BundleApp.of(house),
        NODES_PATH: NodesApp.of(house),
        WITNESS_PATH: WitnessApp.of(house),
        "/.well-known/": oauth,
        "/oauth/": oauth,
    }


async def _nothing(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send_json(send, 404, {"detail": "people use the other door; this one is for clients with certificates"})


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop that servers run in: uvloop, where there is one, spends half as much on each event."""
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()


async def serve(settings: Settings, *, operator: str, announce: Callable[[Addresses], None]) -> None:
    """Run the server until it is told to stop.

    Once it is up, `announce` is told where it is reached.

    Raises:
        ConflictError: another server runs on this data folder, or the port is taken.
        MalformedError: this machine cannot listen there.
    """
    take_descriptors()
    async with contextlib.AsyncExitStack() as undo:
        listeners, settings = _listeners(settings, undo)
        house = await asyncio.to_thread(build, settings, operator=operator)
        undo.push_async_callback(house.aclose)
        await asyncio.to_thread(house.prepare)
        gc.freeze()  # what stands for the life of the process is not walked over and over for cycles, while calls wait
        signin = SignIn(house.clock, house.entropy, operator, issuer=settings.issuer)
        _end_sessions_of_leavers(house, signin)
        control = undo.enter_context(listening(settings.socket))
        servers = [
            (_server(public_app(house, signin)), listeners["port"]),
            (_server(control_app(house, signin)), control),
        ]
        if "tls_port" in listeners:
            servers.append((_tls_server(house), listeners["tls_port"]))
        if "bundle_port" in listeners:
            servers.append((await _bundle_server(house, undo), listeners["bundle_port"]))
        await undo.enter_async_context(house.serving())
        await _open_proxy(house, listeners, undo)
        await undo.enter_async_context(workload_door(Workloads(house), settings.workload_path))
        await _serve_all(servers, lambda: announce(_addresses(settings, signin)), house.last_calls)


def _addresses(settings: Settings, signin: SignIn) -> Addresses:
    workloads, link = f"unix://{settings.workload_path}", signin.link()
    return Addresses(settings.issuer, link, workloads, settings.mtls_url, settings.bundle_url, settings.egress_url)


async def _serve_all(
    servers: list[tuple[uvicorn.Server, socket.socket]], up: Callable[[], None], last_calls: list[Callable[[], None]]
) -> None:
    """Run the servers until one is told to stop; then stop all. Call `up` once all have started."""
    _stop_on_signals([server for server, _ in servers], last_calls)
    tasks = [asyncio.create_task(server.serve(sockets=[listener])) for server, listener in servers]
    while not all(server.started for server, _ in servers):  # noqa: ASYNC110 - uvicorn has no event to wait for
        await asyncio.sleep(0.01)
    up()
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for server, _ in servers:
        server.should_exit = True
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


def _stop_on_signals(servers: list[uvicorn.Server], last_calls: list[Callable[[], None]]) -> None:
    """Let SIGTERM and SIGINT stop the servers, and a second one not wait for the calls under way."""
    if threading.current_thread() is not threading.main_thread():
        return  # only there can signals be heard

    def stop() -> None:
        for server in servers:
            server.force_exit = server.should_exit
            server.should_exit = True
        for call in last_calls:
            call()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)


def _tls_server(house: House) -> uvicorn.Server:
    settings = house.settings
    assert settings.tls_cert is not None  # noqa: S101 - there is no TLS door without
    assert settings.tls_key is not None  # noqa: S101 - they go together
    authorities = read_authorities(settings.client_ca)
    tls = ClientTls(settings.tls_cert, settings.tls_key, house.live, authorities, TrustAnchors(house.trust))
    context = tls.context()
    return _server(machine_app(house), http=TlsConnection, ssl_context_factory=lambda _config, _default: context)


async def _open_proxy(house: House, listeners: dict[str, socket.socket], undo: contextlib.AsyncExitStack) -> None:
    """Open the forward proxy, in the clear, over TLS, or both, until `undo`."""
    door, settings = EgressDoor.of(house), house.settings
    if "egress_port" in listeners:
        await undo.enter_async_context(door.serving(listeners["egress_port"]))
    if "egress_tls_port" in listeners and settings.tls_cert and settings.tls_key:
        tls = ShownTls(settings.tls_cert, settings.tls_key).context()
        await undo.enter_async_context(door.serving(listeners["egress_tls_port"], tls))


async def _bundle_server(house: House, undo: contextlib.AsyncExitStack) -> uvicorn.Server:
    """Return the door that shows our X.509-SVID; it is renewed until `undo`."""
    tls, stop = BundleTls(house), asyncio.Event()
    context = await tls.context()
    renewing = asyncio.create_task(tls.keep(stop))

    async def end() -> None:
        stop.set()
        await renewing

    undo.push_async_callback(end)
    return _server(Doors({}, BundleApp.of(house)), ssl_context_factory=lambda _config, _default: context)


def _end_sessions_of_leavers(house: House, signin: SignIn) -> None:
    """Sign people out who leave. The directory is answered on this loop, after what is put on it here."""
    loop = asyncio.get_running_loop()

    def farewell(person: Person) -> None:
        if person.email is not None:
            loop.call_soon_threadsafe(signin.end_all_of, person.email)

    house.farewells.append(farewell)


def _server(app: App, *, http: type[Connection] = Connection, **more: Any) -> uvicorn.Server:  # noqa: ANN401 - uvicorn's
    return _Server(
        uvicorn.Config(
            app,
            http=http,
            ws="none",  # there are no websockets: who asks for one is answered as if they had not
            log_config=None,  # its lines are written as all others are
            log_level="error",  # what strangers send wrongly is no warning to anybody, and would fill the log
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            timeout_graceful_shutdown=DRAIN_SECONDS,
            limit_concurrency=most_connections(),
            **more,
        )
    )


def _listeners(
    settings: Settings, open_sockets: contextlib.AsyncExitStack
) -> tuple[dict[str, socket.socket], Settings]:
    """Return the listening sockets by the settings that name their ports, and the settings with the ports taken."""
    names = ["port"] + ["tls_port"] * (settings.tls_cert is not None)
    names += ["egress_port"] * (settings.egress_port is not None)
    names += ["egress_tls_port"] * (settings.egress_tls_port is not None)
    names += ["bundle_port"] * (settings.bundle_port is not None)
    found = {name: open_sockets.enter_context(_listen(settings.host, getattr(settings, name), name)) for name in names}
    ports = {name: listener.getsockname()[1] for name, listener in found.items()}
    return found, settings.model_copy(update=ports)


def _listen(host: str, port: int, option: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio sets TCP_NODELAY only where it is: without, each answer takes 40 ms longer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as err:
        listener.close()
        place = f"cannot listen on {host}:{port}: {(err.strerror or str(err)).lower()}"
        name = option.replace("_", "-")
        if err.errno == errno.EADDRINUSE:
            raise ConflictError(
                ErrorCode.ALREADY_RUNNING, place, help=f"choose another --{name}, or stop what listens there"
            ) from err
        raise MalformedError(ErrorCode.BAD_VALUE, place, help=f"choose another --host or --{name}") from err
    return listener
