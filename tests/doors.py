"""A whole Charter as its callers meet it: the real house behind its real TCP door, in front of a real MCP server.

    async with open_doors(tmp_path) as doors:
        agent = await doors.agent("refund-agent")
        answer = await agent.call("get_charge", charge_id="ch_1")

The estate is that of houses.py: `refund-agent` reads charges and makes refunds of at most 200 EUR, above 100 EUR with
the approval of a payments-lead (lena); `charge-reader` reads.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from builders import PAYMENTS_SYSTEM
from charter.bootstrap import authority, estate
from charter.bootstrap.building import build
from charter.bootstrap.house import House
from charter.config import Settings
from charter.console.signin import SignIn
from charter.core.canonical import canonical
from charter.core.clock import Clock
from charter.gateway.pins import parse_tool
from charter.server.app import public_app
from charter.server.oauth import ASSERTION_TYPE
from houses import estate_files, put_tables_of
from identity_stage import ClientKeyPair
from mcp_stage import serving
from servers.rogue_http import RogueHttp

READ = {"name": "get_charge", "description": "Get a charge.", "inputSchema": {"type": "object"}}
REFUND = {"name": "create_refund", "description": "Refund a charge.", "inputSchema": {"type": "object"}}
META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
ACCEPT = "application/json, text/event-stream"


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, or the last event of a stream."""
        if self.headers.get("Content-Type", "").startswith("text/event-stream"):
            return json.loads(self.body.rpartition(b"data: ")[2])
        return json.loads(self.body)

    @property
    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = self.json["result"]
        return found

    @property
    def refusal(self) -> dict[str, Any]:
        """What Charter says of a call it refused."""
        found: dict[str, Any] = self.result["_meta"]["charter/refusal"]
        return found

    @property
    def passed(self) -> bool:
        """Whether the call reached its upstream and came back well."""
        return self.status == 200 and "result" in self.json and not self.result.get("isError", False)


@dataclass
class Agent:
    """One principal with a key and a token of its own."""

    doors: Doors
    name: str
    pair: ClientKeyPair
    token: str = ""
    ids: int = 0

    async def fetch_token(self) -> Answer:
        form = {
            "grant_type": "client_credentials",
            "resource": self.doors.resource,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self.assertion(),
        }
        answer = await self.doors.request("POST", "/oauth/token", form=form)
        if answer.status == 200:
            self.token = answer.json["access_token"]
        return answer

    def assertion(self, **changed: Any) -> str:
        given = {"aud": f"{self.doors.issuer}/oauth/token"} | changed
        return self.pair.assertion(self.doors.house.clock.now(), **given)

    async def ask(self, method: str, params: dict[str, Any] | None = None, **headers: str) -> Answer:
        """Send one request of the stateless version."""
        named, self.ids = params or {}, self.ids + 1
        message = {"jsonrpc": "2.0", "id": self.ids, "method": method, "params": named | {"_meta": META}}
        proper = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method}
        if isinstance(named.get("name"), str):
            proper["Mcp-Name"] = named["name"]
        return await self.send(json.dumps(message).encode(), **(proper | headers))

    async def send(self, data: bytes | None, *, method: str = "POST", path: str = "", **headers: str) -> Answer:
        given = {"Authorization": f"Bearer {self.token}", "Accept": ACCEPT, "Content-Type": "application/json"}
        return await self.doors.request(method, path or "/mcp/payments", data, headers=given | headers)

    async def call(self, tool: str, **arguments: Any) -> Answer:
        return await self.ask("tools/call", {"name": tool, "arguments": arguments})


@dataclass
class Doors:
    """The door, what is behind it, and what the upstream saw."""

    issuer: str
    house: House
    signin: SignIn
    upstream: RogueHttp
    web: aiohttp.ClientSession
    files: dict[str, str] = field(default_factory=dict)

    @property
    def resource(self) -> str:
        return f"{self.issuer}/mcp/payments"

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.issuer.removeprefix("http://").partition(":")
        return host, int(port)

    async def request(
        self,
        method: str,
        path: str,
        data: bytes | None = None,
        *,
        form: dict[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        async with self.web.request(
            method, self.issuer + path, data=form or data, headers=headers, allow_redirects=False
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def agent(self, name: str = "refund-agent") -> Agent:
        """Return a principal with a registered key and a token."""
        agent = Agent(self, name, ClientKeyPair.fresh(self.house.principal(name).id))
        await authority.register_key(self.house, name, agent.pair.jwk, actor="test@example.com", reason="a test")
        answer = await agent.fetch_token()
        assert answer.status == 200, answer.body
        return agent

    async def apply(self, files: dict[str, str]) -> None:
        await estate.apply(self.house, files, plan_digest=None, actor="test@example.com", reason="a test")

    async def approve(self, approval: str, person: str = "lena@example.com") -> None:
        await authority.answer(self.house, approval, yes=True, person=person, reason="seen")

    def entries(self, kind: str) -> list[dict[str, Any]]:
        """Return the evidence entries of one kind, oldest first."""
        from charter.bootstrap import evidence

        return list(evidence.listing(self.house, {"kind": kind}, after=None, newest=None, limit=1000)["entries"])


def door_files(upstream_url: str, *tools: dict[str, Any]) -> dict[str, str]:
    """Return the estate of houses.py, with its system at `upstream_url` and the definitions of `tools` accepted."""
    pins = {tool["name"]: parse_tool(tool).digest for tool in tools or (READ, REFUND)}
    actions = {name: each | {"pin": pins[each["tool"]]} for name, each in PAYMENTS_SYSTEM["actions"].items()}
    system = PAYMENTS_SYSTEM | {"actions": actions, "upstream": {"transport": "http", "url": upstream_url}}
    grant = {
        "system": "payments",
        "actions": ["refund.create"],
        "when": {"amount": {"max": "200 EUR"}},
        "approval": {"when": {"amount": {"over": "100 EUR"}}, "by": "payments-lead"},
    }
    reading = {"system": "payments", "actions": ["charge.read"]}
    return estate_files(bearing=True, grants=[reading, grant]) | {"systems/payments.yaml": canonical(system).decode()}


@asynccontextmanager
async def open_doors(
    folder: Path,
    *,
    upstream: RogueHttp | None = None,
    clock: Clock | None = None,
    most: int | None = None,
    **settings: Any,
) -> AsyncIterator[Doors]:
    """Open the door, to at most `most` connections; close it, and all that stands behind it, at the end."""
    server = upstream or RogueHttp(modern=True)
    server.tool, server.others = READ, [REFUND]
    made: list[tuple[House, SignIn]] = []

    def app(url: str) -> Any:
        told = Settings(estate=folder, port=int(url.rpartition(":")[2]), **settings)
        put_tables_of(told)
        house = build(told, operator="test@example.com", clock=clock)
        signin = SignIn(house.clock, house.entropy, "test@example.com", issuer=told.issuer)
        made.append((house, signin))
        return public_app(house, signin)

    app.takes_url = True  # type: ignore[attr-defined]  # a mark for `serving`
    async with serving(server) as url, serving(app, most=most) as issuer, aiohttp.ClientSession() as web:
        house, signin = made[0]
        doors = Doors(issuer, house, signin, server, web)
        doors.files = door_files(f"{url}/mcp")
        try:
            await doors.apply(doors.files)
            yield doors
        finally:
            await house.aclose()


def run(going: Any) -> None:
    """Run a coroutine of a test; nothing in one takes as long as this."""
    asyncio.run(asyncio.wait_for(going, 60))
