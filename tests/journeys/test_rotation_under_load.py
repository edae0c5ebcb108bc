"""Every credential is replaced under the feet of working agents, and not one of their calls is refused.

The server is the real `charter up` in a process of its own. Agents are Charter's own (cli/agent_keys.py): tokens bound
to their keys, nonces, one key file shared by several processes of one agent; one more has nothing but a secret. What is
replaced at once may make a client ask for another token, and nothing more.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import gc
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from charter.bootstrap import evidence
from charter.bootstrap.building import build
from charter.cli.agent_keys import AgentTokens, agent_key
from charter.cli.agent_rotation import replace_when_due
from charter.config import Settings
from charter.core.canonical import canonical
from charter.core.clock import SystemClock
from charter.core.entropy import SystemEntropy
from charter.core.errors import CharterError
from charter.identity.jose import thumbprint_of
from charter.identity.period import USUAL
from doors import ACCEPT, META
from served import ACTOR, Served, arguments, served
from terminal import Server

AGENTS = 3  # processes of one agent, which share its key
AGENT, BOT = "refund-agent", "charge-reader"
OWN = ("token", "jwt-svid", "x509-intermediate", "x509-root", "evidence", "charter")
PAUSE = 0.4  # seconds of load between two rotations
Deed = Callable[[], Any]


@dataclasses.dataclass
class Load:
    """What callers saw."""

    took: list[float] = dataclasses.field(default_factory=list)  # seconds, of calls that passed
    refused: list[str] = dataclasses.field(default_factory=list)
    keys: set[str] = dataclasses.field(default_factory=set)  # that agents went by
    key: str = ""  # thumbprint of the agents' first
    secret: str = ""


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "estate", CHARTER_TOKEN_SECONDS="33") as scene:  # agents ask anew every three seconds
        folder = scene.terminal.folder
        bot = json.loads((folder / f"principals/{BOT}.yaml").read_text())
        bot["credential"] = {"type": "legacy-secret", "bearer": "allowed"}
        (folder / f"principals/{BOT}.yaml").write_bytes(canonical(bot))
        system = json.loads((folder / "systems/payments.yaml").read_text())
        system["upstream"]["credential"] = {"type": "bearer", "secret": "vault:upstream"}
        (folder / "systems/payments.yaml").write_bytes(canonical(system))
        scene.terminal.charter("apply", "--yes", "--reason", "a test")
        yield scene


# --- who calls ---


async def post(web: aiohttp.ClientSession, url: str, number: int, headers: dict[str, str]) -> tuple[int, Any, Any]:
    params = {"name": "get_charge", "arguments": arguments(number), "_meta": META}
    body = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
    given = {"Accept": ACCEPT, "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call"}
    given |= {"Mcp-Name": "get_charge"} | headers
    async with web.post(url, json=body, headers=given) as answer:
        return answer.status, answer.headers, await answer.json()


def note(load: Load, began: float, status: int, told: Any) -> None:
    if status == 200 and "result" in told and not told["result"].get("isError"):
        load.took.append(time.perf_counter() - began)
    else:
        load.refused.append(f"{status} {told}"[:300])


async def agent(scene: Served, server: Server, load: Load, stop: asyncio.Event) -> None:
    """Call as `charter run` does: tokens bound to the agent's key, which it replaces by itself when told to."""
    client = scene.asked("GET", f"/v1/principals/{AGENT}")["id"]
    key = agent_key(scene.terminal.folder / "keys", server.url, AGENT)
    tokens = AgentTokens(key, server.url, client, SystemClock(), SystemEntropy(), when_due=replace_when_due)
    url = f"{server.url}/mcp/payments"
    async with aiohttp.ClientSession() as web:
        while not stop.is_set():
            began, number = time.perf_counter(), scene.next()
            try:
                for _ in range(3):  # as the relay does: a nonce or a token may have to be had anew; no call was made
                    status, headers, told = await post(web, url, number, await tokens.headers("POST", url))
                    is_new = tokens.learn(headers.get("DPoP-Nonce"))
                    if status != 401:
                        break
                    if not (is_new and "use_dpop_nonce" in headers.get("WWW-Authenticate", "")):
                        tokens.forget(url)
            except CharterError as err:
                load.refused.append(f"no token: {err.detail}")
                continue
            note(load, began, status, told)
            load.keys.add(tokens.key.jwk["x"])


async def bot(scene: Served, server: Server, load: Load, stop: asyncio.Event) -> None:
    """Call with a token that a secret gets; a new token for every ten calls, with the secret it was last given."""
    client, url = scene.asked("GET", f"/v1/principals/{BOT}")["id"], f"{server.url}/mcp/payments"
    async with aiohttp.ClientSession() as web:
        while not stop.is_set():
            basic = base64.b64encode(f"{client}:{load.secret}".encode()).decode()
            form = {"grant_type": "client_credentials", "resource": url}
            ask = web.post(f"{server.url}/oauth/token", data=form, headers={"Authorization": f"Basic {basic}"})
            async with ask as answer:
                told = await answer.json()
            if answer.status != 200:
                load.refused.append(f"no token: {told}")
                continue
            for _ in range(10):
                began = time.perf_counter()
                status, _, said = await post(
                    web, url, scene.next(), {"Authorization": f"Bearer {told['access_token']}"}
                )
                note(load, began, status, said)


@asynccontextmanager
async def under_load(scene: Served, server: Server, load: Load) -> AsyncIterator[None]:
    stop = asyncio.Event()
    working = [asyncio.create_task(agent(scene, server, load, stop)) for _ in range(AGENTS)]
    working.append(asyncio.create_task(bot(scene, server, load, stop)))
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*working)


# --- what is replaced ---


def prepare(scene: Served, server: Server) -> Load:
    """Give everyone what they prove themselves by, and the vault what the upstream wants."""
    key = agent_key(scene.terminal.folder / "keys", server.url, AGENT)
    scene.asked("POST", f"/v1/principals/{AGENT}/keys", {"jwk": key.jwk, "actor": ACTOR})
    put_in_vault(scene, "first", ["payments"])
    secret = str(scene.asked("POST", f"/v1/principals/{BOT}/secret", {"actor": ACTOR})["secret"])
    return Load(key=thumbprint_of(key.jwk), secret=secret)


def put_in_vault(scene: Served, value: str, systems: list[str]) -> None:
    body = {"value": base64.b64encode(value.encode()).decode(), "systems": systems, "actor": ACTOR}
    scene.asked("POST", "/v1/vault/secrets/upstream", body)


def deeds(scene: Served, load: Load, *, at_once: bool) -> dict[str, Deed]:
    """Return how each credential is replaced, by name."""
    how: dict[str, Any] = {"actor": ACTOR, "reason": "a test", "at_once": at_once}

    def own(use: str) -> Deed:
        return lambda: scene.asked("POST", "/v1/keys/rotate", how | {"use": use})

    def secret() -> None:
        load.secret = str(scene.asked("POST", f"/v1/principals/{BOT}/rotate/secret", how)["secret"])

    def data() -> None:
        scene.asked("POST", "/v1/keys/rotate/data", {"actor": ACTOR})
        while scene.asked("POST", "/v1/keys/reseal")["left"]:
            pass

    found = {use: own(use) for use in OWN if not (at_once and use == "x509-intermediate")}
    found |= {"secret": secret}
    if not at_once:  # of these there is one way
        found["data"] = data
        found["master"] = lambda: scene.asked("POST", "/v1/keys/rotate/master", {"actor": ACTOR})
        found["vault"] = lambda: put_in_vault(scene, "second", [])
        found["key"] = lambda: scene.asked("POST", f"/v1/principals/{AGENT}/rotate/key", how | {"key": load.key})
    return found


def told_of(scene: Served) -> dict[str, Any]:
    """Return what must not change by a rotation."""
    kept = ("id", "spiffe_id", "version", "digest", "standing", "charter", "envelope")
    return {name: scene.asked("GET", f"/v1/principals/{AGENT}")[name] for name in kept}


def p99(took: list[float]) -> float:
    return statistics.quantiles(took, n=100)[98] * 1000


@pytest.mark.slow
def test_no_call_is_refused_while_every_credential_is_replaced(scene: Served) -> None:
    """And what follows a principal stays: its id, charter, limits, what was held for a person, its evidence."""

    async def run(server: Server, load: Load) -> dict[str, tuple[int, int]]:
        seen: dict[str, tuple[int, int]] = {}
        async with under_load(scene, server, load):
            await asyncio.sleep(1.5)
            load.took = []
            await asyncio.sleep(3)
            quiet, load.took = load.took, []
            for name, deed in deeds(scene, load, at_once=False).items():
                before = len(load.took), len(load.refused)
                await asyncio.to_thread(deed)
                await asyncio.sleep(PAUSE if name != "key" else 5)  # agents ask for a token every three seconds
                seen[name] = len(load.took) - before[0], len(load.refused) - before[1]
        figures = f"calls {len(quiet) + len(load.took)}, refused {len(load.refused)}; p99 {p99(quiet):.1f} ms before, "
        sys.stderr.write(f"\n{figures}{p99(load.took):.1f} ms while credentials are replaced\n")
        return seen

    with scene.terminal.up() as server:
        load = prepare(scene, server)
        before, held = told_of(scene), hold(scene, server)
        seen = asyncio.run(run(server, load))
        assert load.refused == []
        assert all(passed > 0 for passed, _ in seen.values()), seen
        assert len(load.keys) == 2, "the agents went by their first key and, once asked, by another"
        assert told_of(scene) == before
        approved = {"person": "lena@example.com", "reason": "seen"}
        assert scene.asked("POST", f"/v1/approvals/{held}/approve", approved)["state"] == "approved"
        shown = {headers.get("authorization") for _, headers, _ in scene.upstream.seen}
        assert {"Bearer first", "Bearer second"} <= shown
    check_evidence(scene, [*OWN, "data-key", "master"])


def hold(scene: Served, server: Server) -> str:
    """Let the agent ask for a refund, which waits for a person; return the approval's id."""
    scene.enrol()
    return str(scene.background.run(scene.hold(server, scene.next())))


def check_evidence(scene: Served, rotated: list[str]) -> None:
    """Check that the log verifies, says of each rotation, and counts each call by the limit of its principal."""
    house = build(Settings(estate=scene.terminal.folder))
    try:
        report = asyncio.run(evidence.verify(house))
        assert report["ok"], report["problems"]
        told = [
            *evidence.listing(house, {"kind": "key.rotated"}, after=None, newest=None, limit=1000)["entries"],
            *evidence.listing(house, {"kind": "authority.rotated"}, after=None, newest=None, limit=1000)["entries"],
        ]
        uses = {entry["body"].get("use") or entry["body"].get("role") for entry in told}
        assert set(rotated) <= uses, uses
    finally:
        asyncio.run(house.aclose())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_call_is_refused_while_everything_is_replaced_on_schedule(scene: Served) -> None:
    """Periods of a minute, for more than two of them: Charter replaces its own keys, agents theirs, nobody asks."""
    folder = scene.terminal.folder
    charter = json.loads((folder / f"principals/{AGENT}.yaml").read_text())
    charter["credential"] = {"type": "private-key-jwt", "rotate": "1m", "grace": "1m"}
    (folder / f"principals/{AGENT}.yaml").write_bytes(canonical(charter))
    scene.terminal.charter("apply", "--yes", "--reason", "a test")
    often = ",".join(f"{name}=1m" for name in USUAL)

    async def run(server: Server, load: Load) -> None:
        async with under_load(scene, server, load):
            await asyncio.sleep(150)

    with scene.terminal.but(CHARTER_ROTATE=often).up() as server:
        load = prepare(scene, server)
        before = told_of(scene)
        asyncio.run(run(server, load))
        assert load.refused == []
        assert len(load.keys) >= 3
        assert told_of(scene) == before
        assert scene.asked("GET", "/v1/credentials")["overdue"] == 0
    check_evidence(scene, [*OWN, "data-key"])


@pytest.mark.slow
def test_what_goes_at_once_costs_callers_another_token_and_nothing_else(scene: Served) -> None:
    async def run(server: Server, load: Load) -> None:
        async with under_load(scene, server, load):
            for deed in deeds(scene, load, at_once=True).values():
                await asyncio.sleep(PAUSE)
                await asyncio.to_thread(deed)
            await asyncio.sleep(1)

    with scene.terminal.up() as server:
        load = prepare(scene, server)
        asyncio.run(run(server, load))
        assert load.took
        said = ("bad_token", "invalid_client", "is revoked", "401", "'layer': 'standing'")
        of_bot = [each for each in load.refused if any(each_said in each for each_said in said)]
        assert load.refused == of_bot  # it does not ask again by itself, as agents under charter run do
        assert len(of_bot) <= 60


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # httpcore leaves sockets open
def test_kill_9_amid_rotations_leaves_every_agent_with_a_key_that_works(scene: Served) -> None:
    """Agents replace their key as fast as they are asked to; the server dies at any instant of that."""

    async def run(server: Server, load: Load, seconds: float) -> None:
        stop = asyncio.Event()
        working = [asyncio.create_task(agent(scene, server, load, stop)) for _ in range(AGENTS)]
        asking = asyncio.create_task(ask_on(scene, server))
        await asyncio.sleep(seconds)
        server.process.kill()
        server.process.wait(30)
        stop.set()
        await asyncio.gather(*working, asking, return_exceptions=True)

    async def ask_on(scene: Served, server: Server) -> None:
        with contextlib.suppress(Exception):
            while server.process.poll() is None:
                how = {"actor": ACTOR, "reason": "a test", "at_once": False}
                await asyncio.to_thread(scene.control, "POST", f"/v1/principals/{AGENT}/rotate/key", how)
                await asyncio.sleep(0.05)
        gc.collect()  # here, where what was left open is expected

    port = 18_431
    load = Load()
    for round_ in range(3):
        with scene.terminal.up("--port", str(port)) as server:
            if round_ == 0:
                load = prepare(scene, server)
            asyncio.run(run(server, load, 3.0 + round_ / 3))
    with scene.terminal.up("--port", str(port)) as server:
        after = Load()

        async def once() -> None:
            stop = asyncio.Event()
            asyncio.get_running_loop().call_later(1.5, stop.set)
            await agent(scene, server, after, stop)

        asyncio.run(once())
        assert after.took
        assert after.refused == []
        keys = scene.asked("GET", f"/v1/principals/{AGENT}")["keys"]
        live = [key for key in keys if key["standing"] == "active" and key["replaced_by"] is None]
        assert len(live) == 1
    check_evidence(scene, [])
