"""The public conformance suite of MCP through the gateway, beside the same suite run against the server behind it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from conformance_stage import conformance, governed
from mcp_stage import SERVERS, http, serving, stdio
from servers.everything import app

EVERYTHING = str(SERVERS / "everything.py")
JSON = "an answer with nothing before it comes as JSON, where the SDK always opens a stream"
# What comes out otherwise through Charter, by scenario, and why. Nothing else may.
DIFFERENCES = {
    "2026-07-28": {
        "http-header-validation": "white space around a header is none of it; the SDK takes it for a part of the name",
        "input-required-result-ignore-extra-params": "answers to what nobody asked reach no server: it is asked first",
    },
    "2025-06-18": {},
    "2025-11-25": {"server-sse-multiple-streams": JSON, "server-sse-polling": JSON},
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
@pytest.mark.parametrize("transport", ["http", "stdio"])
@pytest.mark.parametrize("version", sorted(DIFFERENCES))
def test_the_suite_finds_the_same_through_charter_as_directly(tmp_path: Path, version: str, transport: str) -> None:
    async def go() -> None:
        server = app()
        async with server.router.lifespan_context(server), serving(server) as url:
            there = f"{url.replace('127.0.0.1', 'localhost')}/mcp"
            direct = await conformance(there, version, tmp_path / "direct")
            (tmp_path / "house").mkdir()
            upstream = http(f"{url}/mcp") if transport == "http" else stdio(sys.executable, EVERYTHING)
            async with governed(tmp_path / "house", upstream) as (_, here):
                through = await conformance(here, version, tmp_path / "governed")
        seen = {key: (direct.get(key), through.get(key)) for key in direct.keys() | through.keys()}
        other = {key: both for key, both in seen.items() if both[0] != both[1]}
        assert {scenario for scenario, _ in other} == DIFFERENCES[version].keys(), other

    asyncio.run(go())
