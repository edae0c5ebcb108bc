"""A call reaches an upstream in the name of the person who began its chain: MCP over HTTP, tokens of oidc-provider."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from authorization_server import CLIENT, SECRET, AuthorizationServer, authorization_server
from builders import PAYMENTS_SYSTEM
from charter.bootstrap import vault
from charter.core.canonical import canonical
from charter.core.clock import Deadline
from charter.core.values import Secret
from charter.gateway.call import Bearer
from charter.gateway.pins import UpstreamError, parse_tool
from charter.gateway.pipeline import Admitted
from delegations import MARIA
from lending_stage import CHAIN, Lending, a_lending, lending_files
from servers.rogue_http import RogueHttp
from serving import listening

JO, OWNER = "jo@example.com", PAYMENTS_SYSTEM["owner"]["person"]
BACK = "http://127.0.0.1:5555/back"
TOOL = {"name": "get_charge", "description": "Read a charge.", "inputSchema": {"type": "object"}}
PIN = parse_tool(TOOL).digest


@dataclass
class Estate:
    """A house before an MCP server that takes people's tokens, and the authorization server that issues them."""

    lending: Lending
    upstream: RogueHttp
    tokens: AuthorizationServer

    def connect(self, person: str) -> None:
        house = self.lending.stage.house
        begun = vault.begin_connection(house, "payments", person, BACK)
        back = self.tokens.sign_in(begun["url"], account=person)
        asyncio.run(vault.finish_connection(house, back["state"], back["code"], actor=person))

    def call(self, *bearers: Bearer) -> list[str]:
        """Make one call for each bearer, all at once; return whose token each brought to the upstream."""
        house, stage = self.lending.stage.house, self.lending.stage
        before = len(self.upstream.seen)

        async def one(number: int, bearer: Bearer) -> Any:
            call = stage.make("get_charge", {"charge_id": f"ch_{number}"}, PIN)
            found = await house.pipeline.submit(bearer, call, Deadline.after(house.clock, 20), source="test")
            assert isinstance(found, Admitted), found
            return [message async for message in found.messages]

        async def go() -> None:
            house.pipeline.upstream = house.upstreams
            try:
                await house.upstreams.tools(house.live.systems["payments"], Deadline.after(house.clock, 20))
                await asyncio.gather(*(one(number, bearer) for number, bearer in enumerate(bearers)))
                await house.pipeline.settled()
            finally:
                await house.upstreams.aclose()

        asyncio.run(go())
        brought = {
            message["params"]["arguments"]["charge_id"]: headers["authorization"].removeprefix("Bearer ")
            for _, headers, message in self.upstream.seen[before:]
            if message and message.get("method") == "tools/call"
        }
        return [self.tokens.introspect(brought[f"ch_{number}"])["sub"] for number in range(len(bearers))]


@pytest.fixture(scope="module")
def tokens() -> Iterator[AuthorizationServer]:
    with authorization_server() as running:
        yield running


@contextmanager
def an_estate(folder: Path, tokens: AuthorizationServer) -> Iterator[Estate]:
    upstream = RogueHttp(modern=True)
    upstream.tool = TOOL
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        credential = {"type": "oauth-person", "token_url": tokens.token_url, "authorize_url": tokens.authorize_url}
        credential |= {"client_id": CLIENT, "secret": "vault:client", "scope": ["api:read"]}
        actions = {name: action | {"pin": PIN} for name, action in PAYMENTS_SYSTEM["actions"].items()}
        there = {"transport": "http", "url": url, "credential": credential}
        files = lending_files() | {
            "systems/payments.yaml": canonical(PAYMENTS_SYSTEM | {"actions": actions, "upstream": there}).decode()
        }
        with listening(upstream, listener), a_lending(folder, files=files) as lending:
            secret = Secret(SECRET.encode())
            asyncio.run(vault.put(lending.stage.house, "client", secret, ["payments"], actor=OWNER))
            yield Estate(lending, upstream, tokens)


def test_a_chain_acts_at_the_upstream_as_the_person_who_began_it(tmp_path: Path, tokens: AuthorizationServer) -> None:
    with an_estate(tmp_path, tokens) as estate:
        for person in (OWNER, MARIA, JO):
            estate.connect(person)
        lending = estate.lending
        bearers = [
            lending.bearer(token)
            for person in (MARIA, JO, OWNER)
            for token in (lending.chain(CHAIN[0], person=person)[-1], lending.chain(*CHAIN, person=person)[-1])
        ]
        assert estate.call(*bearers) == [MARIA, MARIA, JO, JO, OWNER, OWNER]


def test_who_did_not_connect_is_not_acted_for_with_the_token_of_someone_who_did(
    tmp_path: Path, tokens: AuthorizationServer
) -> None:
    with an_estate(tmp_path, tokens) as estate:
        estate.connect(OWNER)
        estate.connect(MARIA)
        estate.call(estate.lending.bearer(estate.lending.chain(*CHAIN)[-1]))
        jos = estate.lending.bearer(estate.lending.chain(*CHAIN, person=JO)[-1])
        with pytest.raises(UpstreamError, match=f"`{JO}` did not let Charter act for them at `payments`"):
            estate.call(jos)
        own = estate.lending.bearer(estate.lending.own_token("refund-agent"))
        with pytest.raises(UpstreamError, match="nobody delegated this call"):
            estate.call(own)
        assert len(estate.upstream.calls()) == 1
