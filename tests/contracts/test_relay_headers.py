"""What the relay of `charter run` passes on of what its program says of the person's request."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp
import pytest
from aiohttp import web

from charter.cli.relay import Relay, relaying


async def heard(says: Mapping[str, str], sent: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the `charter-…` headers that come out behind a relay that `says` its own."""
    came: list[tuple[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        came.extend((k.lower(), v) for k, v in request.headers.items() if k.lower().startswith("charter-"))
        return web.json_response({})

    async def proof(*_: object) -> Mapping[str, str]:
        return {"authorization": "DPoP x"}

    app = web.Application()
    app.router.add_post("/mcp", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        upstream = f"http://127.0.0.1:{runner.addresses[0][1]}/mcp"
        relay = Relay({"payments": upstream}, "s3cret", proof, forget=print, learn=lambda _: False, says=says)
        async with (
            relaying(relay) as base,
            aiohttp.ClientSession() as client,
            client.post(f"{base}/s3cret/payments", json={}, headers=sent) as got,
        ):
            assert got.status == 200
    finally:
        await runner.cleanup()
    return sorted(came)


@pytest.mark.parametrize(
    ("says", "request_header"),
    [({"charter-session": "run"}, "cHJvZ3JhbQ=="), ({"charter-session": "run", "charter-request": "cnVu"}, "cnVu")],
    ids=["the program's own", "what the run was told stands in its place"],
)
def test_the_request_is_said_once(says: dict[str, str], request_header: str) -> None:
    sent = {"Charter-Request": "cHJvZ3JhbQ==", "Charter-Session": "another"}
    found = asyncio.run(heard(says, sent))
    assert found == [("charter-request", request_header), ("charter-session", "run")]
