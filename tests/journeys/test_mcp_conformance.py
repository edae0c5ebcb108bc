"""The public conformance suite of MCP through the gateway, beside the same suite run against the server behind it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from conformance_stage import conformance, governed
from mcp_stage import serving
from servers.everything import app

JSON = "an answer with nothing before it comes as JSON, where the SDK always opens a stream"
# What comes out otherwise through Charter, by scenario, and why. Nothing else may.
DIFFERENCES = {
    "2026-07-28": {
        "input-required-result-ignore-extra-params": "answers to what nobody asked reach no server: it is asked first",
    },
    "2025-11-25": {"server-sse-multiple-streams": JSON, "server-sse-polling": JSON},
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
@pytest.mark.parametrize("version", sorted(DIFFERENCES))
def test_the_suite_finds_the_same_through_charter_as_directly(tmp_path: Path, version: str) -> None:
    async def go() -> None:
        server = app()
        async with server.router.lifespan_context(server), serving(server) as url:
            there = f"{url.replace('127.0.0.1', 'localhost')}/mcp"
            direct = await conformance(there, version, tmp_path / "direct")
            (tmp_path / "house").mkdir()
            async with governed(tmp_path / "house", f"{url}/mcp") as (_, here):
                through = await conformance(here, version, tmp_path / "governed")
        seen = {key: (direct.get(key), through.get(key)) for key in direct.keys() | through.keys()}
        other = {key: both for key, both in seen.items() if both[0] != both[1]}
        assert {scenario for scenario, _ in other} == DIFFERENCES[version].keys(), other

    asyncio.run(go())
