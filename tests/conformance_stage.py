"""The public conformance suite of MCP, run against a server directly and through Charter.

It carries no tokens, so a door before Charter's own adds one: the suite sees what an agent sees.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charter.adapters.upstream import read_tools
from charter.core.canonical import canonical
from charter.gateway.mcp_import import describe_tools
from charter.registry.upstream import HttpUpstream, StdioUpstream
from charter.server.app import public_app
from charter.server.oauth import ASSERTION_TYPE
from doors import Doors, open_doors
from mcp_stage import deadline, serving, settings_of

HERE = Path(__file__).parent
SUITE = HERE.parent / ".venv-servers/npm-conformance/node_modules/@modelcontextprotocol/conformance/dist/index.js"
COMMAND = ("node", "--no-warnings", "--import", str(HERE / "servers" / "fs_of_node_20.mjs"), str(SUITE), "server")
SECONDS = 240
WITH_REQUIREMENTS = ("2026-07-28", "2025-11-25")  # for 2025-06-18 the suite has all that it knows of it
Checks = dict[tuple[str, str], str]  # (scenario, check) -> how it came out, the worst if there were several
_WHEN = re.compile(r"-\d{4}-\d\d-\d\dT.*")
_RANK = ("SUCCESS", "INFO", "SKIPPED", "WARNING", "FAILURE")


async def conformance(url: str, version: str, folder: Path) -> Checks:
    """Run what a version of the specification requires of servers, and what it has the suite look at besides."""
    wanted = (
        ("--requirements", version) if version in WITH_REQUIREMENTS else ("--suite", "all", "--spec-version", version)
    )
    words = (*COMMAND, "--url", url, *wanted, "-o", str(folder))
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(SECONDS):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    checks = checks_in(folder)
    assert checks, said.decode()
    return checks


def checks_in(folder: Path) -> Checks:
    """Return what the suite left in a folder."""
    checks: Checks = {}
    for file in sorted(folder.glob("server-*/checks.json")):
        scenario = _WHEN.sub("", file.parent.name.removeprefix("server-"))
        for each in json.loads(file.read_text()):
            key = (scenario, each["id"])
            checks[key] = max(checks.get(key, _RANK[0]), each["status"], key=_RANK.index)
    return checks


@dataclass
class Carrying:
    """The door before: adds a token, and leads to one endpoint."""

    app: Any
    token: str
    host: str  # of Charter's own door
    path: str

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        own = b"%s:%d" % (scope["server"][0].encode(), scope["server"][1])
        names = {own, own.replace(b"127.0.0.1", b"localhost")}
        headers = [(b"authorization", f"Bearer {self.token}".encode())]
        for name, value in scope["headers"]:
            scheme, there, host = value.rpartition(b"://")
            is_own = name in (b"host", b"origin") and host in names
            headers.append((name, scheme + there + self.host.encode() if is_own else value))
        path = scope["path"].replace("/mcp", self.path, 1)
        await self.app(scope | {"headers": headers, "path": path, "raw_path": path.encode()}, receive, send)


@asynccontextmanager
async def carrying(app: Any, token: str, issuer: str, path: str) -> AsyncIterator[str]:
    """Serve the door before; give the URL that the suite is told."""
    async with serving(Carrying(app, token, issuer.removeprefix("http://"), path)) as url:
        yield f"{url.replace('127.0.0.1', 'localhost')}/mcp"


@asynccontextmanager
async def governed(folder: Path, upstream: dict[str, Any]) -> AsyncIterator[tuple[Doors, str]]:
    """Put a server behind Charter, everything of it imported and granted; give the URL to ask there."""
    config = (HttpUpstream if upstream["transport"] == "http" else StdioUpstream).model_validate(upstream)
    listed = await read_tools(config, settings_of(), deadline())
    assert not listed.faults
    async with open_doors(folder) as doors:
        system = {
            "charter": "v1",
            "system": "everything",
            "kind": "mcp",
            "environment": "production",
            "owner": {"person": "pia@example.com", "team": "payments-platform"},
            "upstream": upstream | {"asks": ["elicitation", "sampling", "roots"]},
            "actions": {
                each.name: {"tool": each.tool, "effect": "read", "object": each.object, "pin": each.pin}
                for each in describe_tools(listed.tools)
            },
        }
        charter = json.loads(doors.files["principals/refund-agent.yaml"])
        charter["grants"].append({"system": "everything", "actions": sorted(system["actions"])})
        files = {
            "systems/everything.yaml": canonical(system).decode(),
            "principals/refund-agent.yaml": json.dumps(charter),
        }
        await doors.apply(doors.files | files)
        agent = await doors.agent()
        form = {
            "grant_type": "client_credentials",
            "resource": f"{doors.issuer}/mcp/everything",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": agent.assertion(jti="another"),
        }
        answer = await doors.request("POST", "/oauth/token", form=form)
        assert answer.status == 200, answer.body
        app = public_app(doors.house, doors.signin)
        async with carrying(app, answer.json["access_token"], doors.issuer, "/mcp/everything") as place:
            yield doors, place
