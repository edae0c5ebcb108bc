"""Remote nodes for tests: what one signs, and what the node endpoints answer, with no socket between.

with a_house(tmp_path, files=spiffe_files(refund_agent={"node": "web-1", "uid": 1000})) as stage:
    hand = a_joined_node(stage, "web-1")
    answer = hand.ask("who", {"process": PROCESS})
"""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass
from typing import Any

import httpx

from charter.bootstrap import node
from charter.bootstrap.house import House
from charter.identity.node import TYPE
from charter.server.nodes import MEDIA, PATH, NodesApp
from hostile import spelt
from houses import Stage
from identity_stage import ClientKeyPair

PROCESS = {"pid": 41, "uid": 1000, "gid": 1000}
ACTOR = "test@example.com"


@dataclass
class NodeHand:
    """One machine's name and key, and whatever it cares to send."""

    stage: Stage
    name: str
    pair: ClientKeyPair
    app: NodesApp
    source: str = "192.0.2.7"

    @classmethod
    def fresh(cls, stage: Stage, name: str, app: NodesApp | None = None) -> NodeHand:
        return cls(stage, name, ClientKeyPair.fresh(name), app or NodesApp.of(stage.house))

    def join(self, token: object, header: dict[str, Any] | None = None, **changed: Any) -> httpx.Response:
        given = {"jwk": self.pair.jwk} | (header or {})
        return self.send(self.signed("join", {"token": token}, given, **changed), "join")

    def ask(self, asks: str, said: Any, header: dict[str, Any] | None = None, **changed: Any) -> httpx.Response:
        return self.send(self.signed(asks, said, header, **changed))

    def signed(self, asks: Any, said: Any, header: dict[str, Any] | None = None, **changed: Any) -> str:
        """Return a request; None leaves a claim out, `header` adds to or changes the header."""
        now = int(self.stage.clock.now().timestamp())
        claims = {"iss": self.name, "aud": self.stage.house.settings.issuer, "iat": now, "exp": now + 60}
        claims |= {"jti": f"request-number-{next(self.pair.serial)}", "asks": asks, "said": said}
        told = {name: value for name, value in (claims | changed).items() if value is not None}
        return self.pair.signed(spelt(told), {"typ": TYPE} | (header or {}))

    def send(self, text: str | bytes, where: str = "node", media: str = MEDIA) -> httpx.Response:
        async def run() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app, client=(self.source, 50_000))
            async with httpx.AsyncClient(transport=transport, base_url=self.stage.house.settings.issuer) as client:
                return await client.post(f"{PATH}{where}", content=text, headers={"content-type": media})

        return asyncio.run(run())


def a_join_token(house: House, name: str, **life: float) -> str:
    """Return a join token; it lives an hour if nothing else is asked for."""
    lives = dt.timedelta(**(life or {"hours": 1}))
    going = node.new_join_token(house, name, life=lives, actor=ACTOR, reason="a test")
    return str(asyncio.run(going)["token"])


def a_joined_node(stage: Stage, name: str) -> NodeHand:
    """Return a node that is in."""
    hand = NodeHand.fresh(stage, name)
    answer = hand.join(a_join_token(stage.house, name))
    assert answer.status_code == 200, answer.text
    return hand
