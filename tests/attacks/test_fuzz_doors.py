"""Where a process begins to listen, found in the code: each such place is a door, and a fuzz test tries each door.

What the doors in other files lead to is tried beside this: control, oauth, console, gateway. Here are the relay of
`charter run`, and the check that there is no door that nobody tries.
"""

from __future__ import annotations

import ast
import asyncio
import io
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.cli.connecting import _Listener
from charter.cli.relay import Relay, relaying
from charter.console.door import Door
from charter.core.errors import ErrorCode, UnavailableError
from charter.server.access import AccessApp
from charter.server.app import Later
from charter.server.bundle import BundleApp
from charter.server.control_gate import ControlGate
from charter.server.gateway import GatewayApp
from charter.server.leases import LeaseApp
from charter.server.models import ModelApp
from charter.server.nodes import NodesApp
from charter.server.oauth import OAuthApp
from charter.server.proxied import ProxiedApp
from charter.server.scim import ScimApp
from charter.server.spans import SpansApp
from charter.server.witness import WitnessApp
from fuzz_stage import SOURCE, a_world, fuzzed
from hostile import TEXT
from mcp_stage import Background, serving
from servers.rogue_http import RogueHttp

HERE = Path(__file__).parent
LISTENING = frozenset(
    {"listen", "bind", "Server", "TCPSite", "UnixSite", "SockSite", "start_server", "start_unix_server"}
    | {"create_server", "create_unix_server", "HTTPServer", "run_app", "ThreadingHTTPServer"}
)
# Files that begin to listen, and the tests that try what listens there.
DOORS = {
    "server/app.py": (
        *("fuzz_control", "fuzz_oauth", "fuzz_console", "fuzz_gateway", "fuzz_scim", "fuzz_trust", "fuzz_leases"),
        *("nodes", "http_connections", "fuzz_access", "fuzz_witness", "models"),
    ),
    "server/control_socket.py": ("fuzz_control",),
    "server/workload_door.py": ("workload_api",),
    "bootstrap/workload.py": ("workload_api",),  # what tells of the socket's peers
    "cli/relay.py": ("fuzz_doors",),
    "server/egress.py": ("egress",),
    "cli/egress_relay.py": ("egress",),
    "cli/connecting.py": ("fuzz_doors",),
}


def listening(tree: ast.AST) -> bool:
    """Whether code begins to listen somewhere: it calls one of the ways to do so."""
    nodes = list(ast.walk(tree))
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("charter")]
    own = {alias.asname or alias.name for node in imports for alias in node.names}  # ours listen where they are written
    calls = [node.func for node in nodes if isinstance(node, ast.Call)]
    named = {call.id for call in calls if isinstance(call, ast.Name)} - own
    methods = {call.attr for call in calls if isinstance(call, ast.Attribute)}
    if "socket" not in {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}:
        methods -= {"bind", "listen"}  # policies are bound too, and estates listened to
    return not LISTENING.isdisjoint(named | methods)


def test_every_door_is_tried_by_a_fuzz_test() -> None:
    found = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if "cli/demo" not in str(path) and listening(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == DOORS.keys()
    for tests in DOORS.values():
        for name in tests:
            assert (HERE / f"test_{name}.py").is_file()


def test_the_tcp_door_leads_to_nothing_else(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        behind = {type(app._make() if isinstance(app, Later) else app) for _, app in world.doors._routes}
        machines = {GatewayApp, OAuthApp, BundleApp, NodesApp, LeaseApp, AccessApp, ProxiedApp, ModelApp, SpansApp}
        assert behind == machines | {ScimApp, WitnessApp, ControlGate, Door}
        assert type(world.doors._otherwise) is Door


# --- the relay of `charter run` ---

SECRET = "s3cret-path-segment"


@pytest.fixture(scope="module")
def relay() -> Iterator[tuple[Background, str, aiohttp.ClientSession]]:
    background = Background()

    async def credentials(method: str, url: str, _at: str | None) -> Mapping[str, str]:
        if "broken" in url:
            raise UnavailableError(ErrorCode.NOT_RUNNING, "no Charter answers", help="start it")
        return {"authorization": f"DPoP the-token-for-{method}", "dpop": "a-proof"}

    async def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    try:
        upstream = background.enter(serving(RogueHttp(modern=True)))
        places = {"notes": upstream, "broken": f"{upstream}/broken", "gone": "http://127.0.0.1:9/"}
        base = background.enter(
            relaying(Relay(places, SECRET, credentials, forget=lambda _: None, learn=lambda _: False, models=places))
        )
        web = background.run(session())
        yield background, base, web
        background.run(web.close())
    finally:
        background.close()


async def ask(
    web: aiohttp.ClientSession, method: str, url: str, data: bytes | io.BytesIO, headers: dict[str, str]
) -> tuple[int, str]:
    async with asyncio.timeout(15), web.request(method, url, data=data, headers=headers) as answer:
        return answer.status, (await answer.read()).decode("utf-8", "replace") + str(answer.headers)


SEGMENT = TEXT.filter(lambda text: text.isascii() and text.isprintable() and len(text) < 1000)


def test_nothing_sent_to_the_relay_breaks_it_or_gives_a_token_away(
    relay: tuple[Background, str, aiohttp.ClientSession],
) -> None:
    background, base, web = relay
    headers = st.dictionaries(
        st.sampled_from(["Authorization", "DPoP", "Host", "X-A", "Content-Type"]), SEGMENT, max_size=3
    )
    secret = st.sampled_from([SECRET, SECRET[:-1], SECRET + "x", ""]) | SEGMENT
    system = st.sampled_from(["notes", "broken", "gone", "other", ""]) | SEGMENT

    @fuzzed(80)
    @given(
        st.sampled_from(["GET", "POST", "DELETE", "PUT", "OPTIONS"]), secret, system, st.binary(max_size=60), headers
    )
    def attempt(method: str, key: str, name: str, data: bytes, given: dict[str, str]) -> None:
        status, said = background.run(ask(web, method, f"{base}/{key}/{name}", data, given))
        assert status in (200, 202, 400, 403, 404, 405, 502)
        assert "the-token-for" not in said
        assert "Traceback" not in said
        if key != SECRET:
            assert status in (400, 404, 405)

    attempt()


def test_a_body_larger_than_any_call_is_refused_by_the_relay(
    relay: tuple[Background, str, aiohttp.ClientSession],
) -> None:
    background, base, web = relay
    status, _ = background.run(ask(web, "POST", f"{base}/{SECRET}/notes", io.BytesIO(b"x" * (17 * 1024 * 1024)), {}))
    assert status == 413


# --- the loopback address that a browser comes back to ---


@pytest.fixture
def back() -> Iterator[_Listener]:
    with _Listener() as listener:
        yield listener


def visit(listener: _Listener, target: str) -> int:
    """Ask for a target exactly as it is written; return the status, 0 if the line was closed."""
    with socket.create_connection(listener._server.server_address[:2], timeout=15) as line:  # type: ignore[arg-type]  # it is IPv4
        line.sendall(b"GET " + target.encode("utf-8", "surrogatepass") + b" HTTP/1.0\r\n\r\n")
        answer = line.recv(65_536)
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0


def test_nothing_sent_to_the_sign_ins_loopback_address_breaks_it_or_passes_for_the_real_answer(
    back: _Listener, capfd: pytest.CaptureFixture[str]
) -> None:
    back._state = "the-state"

    @fuzzed(60)
    @given(TEXT | st.builds("/back?{}={}&{}={}".format, SEGMENT, SEGMENT, st.sampled_from(["state", "code"]), SEGMENT))
    def attempt(target: str) -> None:
        assert visit(back, target) in (0, 200, 400, 414, 501, 505)
        assert back._said == {}

    attempt()
    for target in (
        "//[",
        "/back?state=the-state&state=the-state&code=x",
        "/back?state=the-stat&code=x",
        "/?" + "a=1&" * 50,
    ):
        visit(back, target)
    assert back._said == {}
    assert visit(back, "/back?state=the-state&code=good") == 200
    assert back.wait("the-state") == {"state": "the-state", "code": "good"}
    assert "Traceback" not in capfd.readouterr().err


def test_someone_who_connects_and_says_nothing_does_not_hold_the_sign_in_up(back: _Listener) -> None:
    back._state = "the-state"
    lines = [socket.create_connection(back._server.server_address[:2]) for _ in range(3)]  # type: ignore[arg-type]  # it is IPv4
    try:
        assert visit(back, "/back?state=the-state&code=good") == 200
    finally:
        for line in lines:
            line.close()
