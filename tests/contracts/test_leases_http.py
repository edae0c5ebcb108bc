"""The lease endpoint, called as an agent's client calls it: with a token bound to a key, and with less."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charter.bootstrap import authority
from charter.cli.agent_keys import AgentTokens, agent_key
from charter.cli.agent_leases import LeaseClient, leased, variables_of, without_others
from charter.core.clock import SystemClock
from charter.core.entropy import SystemEntropy
from charter.core.errors import AbsentError, CharterError, DeniedError, MalformedError
from charter.identity.credential import register_key
from charter.registry.standing import Move
from charter.server.app import Doors
from charter.server.gateway import GatewayApp
from charter.server.leases import LeaseApp
from charter.server.oauth import OAuthApp
from fakes import FakeProvider
from houses import Stage, a_house
from leasing_stage import READ_AND_WRITE, WHO, Orders, lease_files, orders_system
from serving import listening

NOWHERE = Orders("", "broker", "orders", "/nowhere")
MAY_ASK = READ_AND_WRITE | {"objects": ["public.orders"]}
ASKS = {"system": "orders-db", "actions": ["read"], "objects": ["sales.leads"], "approval": {"by": "payments-risk"}}


@dataclass
class Server:
    """A running server, and agents that hold keys."""

    issuer: str
    stage: Stage
    provider: FakeProvider
    folder: Path

    def tokens(self, name: str = "order-agent") -> AgentTokens:
        key = agent_key(self.folder, self.issuer, name)
        principal = self.stage.house.principal(name)
        if not any(known.jwk == key.jwk for known in self.stage.house.live.keys_of(principal.id)):
            self._register(name, key.jwk)
        return AgentTokens(key, self.issuer, principal.id, SystemClock(), SystemEntropy())

    def _register(self, name: str, jwk: dict[str, str]) -> None:
        house = self.stage.house
        principal = house.principal(name)
        house.database.write(
            lambda tx: register_key(tx, principal, jwk, actor=WHO, reason="a test", entropy=house.entropy)
        )

    def client(self, name: str = "order-agent") -> LeaseClient:
        return LeaseClient(self.tokens(name))

    def raw(self, method: str, path: str, body: Any = None, name: str = "order-agent") -> httpx.Response:
        """Return the answer to one request with a good token and proof, and whatever body."""

        async def go() -> httpx.Response:
            tokens = self.tokens(name)
            resource, url = f"{self.issuer}/mcp/orders-db", f"{self.issuer}{path}"
            async with httpx.AsyncClient(timeout=30) as web:
                for _ in range(2):
                    proof = await tokens.headers(method, resource, url)
                    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
                    told = {"content-type": "application/json"} | proof
                    answer = await web.request(method, url, content=content, headers=told)
                    if not tokens.learn(answer.headers.get("dpop-nonce")) or answer.status_code != 401:
                        break
                return answer

        return asyncio.run(go())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    issuer = f"http://127.0.0.1:{port}"
    folder = tmp_path_factory.mktemp("house")
    files = lease_files(orders_system(NOWHERE), [MAY_ASK, ASKS])
    with a_house(folder, files=files, public_url=issuer, port=port) as stage:
        house, provider = stage.house, FakeProvider()
        house.pipeline.upstream = house.reach
        house.leasing.providers = {"postgres": lambda: provider}
        gateway, oauth = GatewayApp.of(house), OAuthApp.of(house)
        routes = {"/lease/": LeaseApp.of(house, gateway), "/mcp/": gateway, "/oauth/": oauth, "/.well-known/": oauth}
        with listening(Doors(routes, oauth), listener):
            yield Server(issuer, stage, provider, folder / "keys")


@pytest.fixture(autouse=True)
def _real_time(server: Server) -> None:
    server.stage.clock.at = dt.datetime.now(dt.UTC)
    server.stage.clock.advance(seconds=0)


def test_a_lease_is_asked_for_renewed_and_given_back(server: Server) -> None:
    async def go() -> None:
        client = server.client()
        held = await client.ask("orders-db")
        assert held.variables == {"FAKE_KEY": "of the fake"}
        assert server.provider.made[f"fake-{held.id}"] == (("read", "public.orders"), ("write", "public.orders"))
        server.stage.clock.advance(seconds=5)
        renewed = await client.renew(held)
        assert renewed.expires_at > held.expires_at
        assert renewed.variables == held.variables
        await client.give_back(held)
        assert f"fake-{held.id}" not in server.provider.made
        with pytest.raises(AbsentError):
            await client.renew(held)

    asyncio.run(go())


def test_just_what_is_asked_for_is_given(server: Server) -> None:
    answer = server.raw("POST", "/lease/orders-db", {"actions": {"read": ["public.orders"]}, "ttl_seconds": 120})
    assert answer.status_code == 201
    body = answer.json()
    assert [(r["action"], r["on"]) for r in body["lease"]["rights"]] == [("read", "public.orders")]
    assert answer.headers["cache-control"] == "no-store"
    made, ends = (dt.datetime.fromisoformat(body["lease"][name]) for name in ("created_at", "expires_at"))
    assert ends - made == dt.timedelta(seconds=120)


def test_a_refusal_names_each_right_and_what_would_mend_it(server: Server) -> None:
    answer = server.raw("POST", "/lease/orders-db", {"actions": {"read": ["public.orders", "public.items"]}})
    body = answer.json()
    assert (answer.status_code, body["code"]) == (403, "policy_denied")
    (refusal,) = body["refusals"]
    assert (refusal["action"], refusal["on"], refusal["verdict"]) == ("read", "public.items", "deny")
    assert refusal["verdict_id"].startswith("vrd_")
    assert "credential" not in body


def test_what_waits_for_a_person_names_the_approval_and_passes_after_it(server: Server) -> None:
    wanted = {"actions": {"read": ["sales.leads"]}}
    body = server.raw("POST", "/lease/orders-db", wanted).json()
    approval = body["refusals"][0]["approval"]
    assert (body["code"], body["help"]) == ("approval_needed", f"charter approvals approve {approval}")
    house = server.stage.house
    asyncio.run(authority.answer(house, approval, yes=True, person="alex@example.com", reason="fine"))
    assert server.raw("POST", "/lease/orders-db", wanted).status_code == 201


def test_without_a_token_there_is_nothing_but_where_to_get_one(server: Server) -> None:
    answer = httpx.post(f"{server.issuer}/lease/orders-db", json={})
    assert answer.status_code == 401
    assert "/.well-known/oauth-protected-resource/mcp/orders-db" in answer.headers["www-authenticate"]


def test_a_token_for_another_system_or_a_proof_for_another_address_is_refused(server: Server) -> None:
    async def go() -> list[int]:
        tokens = server.tokens()
        resource = f"{server.issuer}/mcp/orders-db"
        statuses = []
        async with httpx.AsyncClient() as web:
            for system, url in (
                ("orders-db", f"{server.issuer}/mcp/orders-db"),
                ("other", f"{server.issuer}/lease/other"),
            ):
                for _ in range(2):
                    proof = await tokens.headers("POST", resource, url)
                    answer = await web.post(f"{server.issuer}/lease/{system}", json={}, headers=proof)
                    if not tokens.learn(answer.headers.get("dpop-nonce")):
                        break
                statuses.append(answer.status_code)
        return statuses

    assert asyncio.run(go()) == [401, 401]


def test_nobody_else_sees_renews_or_ends_a_lease(server: Server) -> None:
    lease = server.raw("POST", "/lease/orders-db", {"actions": {"read": ["public.orders"]}}).json()["lease"]["id"]
    for method, path in (("POST", f"/lease/orders-db/{lease}/renew"), ("DELETE", f"/lease/orders-db/{lease}")):
        answer = server.raw(method, path, name="other-agent")
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_lease")
    assert server.raw("DELETE", f"/lease/orders-db/{lease}").json()["lease"]["state"] == "revoked"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/lease/orders-db", None, 405),
        ("POST", "/lease/orders-db", b"{", 400),
        ("POST", "/lease/orders-db", b"[]", 400),
        ("POST", "/lease/orders-db", b'{"ttl_seconds": "60"}', 400),
        ("POST", "/lease/orders-db", b'{"ttl_seconds": 60, "ttl_seconds": 600}', 400),
        ("POST", "/lease/orders-db", b'{"ttl_seconds": 1000000}', 400),
        ("POST", "/lease/orders-db", b'{"ttl_seconds": true}', 400),
        ("POST", "/lease/orders-db", b'{"actions": []}', 400),
        ("POST", "/lease/orders-db", b'{"actions": {"read": "public.orders"}}', 400),
        ("POST", "/lease/orders-db", b'{"actions": {"read": []}}', 400),
        ("POST", "/lease/orders-db", b'{"actions": {"read": [1]}}', 400),
        ("POST", "/lease/orders-db", b'{"actions": {"read": ["public.nothing"]}}', 404),
        ("POST", "/lease/orders-db", b'{"more": 1}', 400),
        ("POST", "/lease/orders-db", b"[" * 70_000, 413),
        ("POST", "/lease/orders-db/lea_1/renew", None, 404),
        ("DELETE", "/lease/orders-db/lea_00000000000000000000000000", None, 404),
        ("DELETE", "/lease/orders-db/..%2f..", None, 404),
    ],
)
def test_what_is_no_request_is_told_so(server: Server, method: str, path: str, body: bytes | None, status: int) -> None:
    answer = server.raw(method, path, body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json()["detail"]


BODIES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda each: (
        st.lists(each, max_size=3)
        | st.dictionaries(st.sampled_from(["actions", "ttl_seconds", "read", "x"]), each, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=40)
@given(BODIES)
def test_any_body_is_answered_without_a_fault(server: Server, body: Any) -> None:
    assert server.raw("POST", "/lease/orders-db", json.dumps(body).encode()).status_code < 500


def test_a_killed_agents_token_opens_nothing_and_its_lease_is_gone(server: Server) -> None:
    async def go() -> None:
        client = server.client("other-agent")
        held = await client.ask("orders-db")
        house = server.stage.house
        steps = await authority.move(house, "other-agent", Move.SUSPEND, actor=WHO, reason="a test")
        assert "1 of 1 leases revoked" in [step["what"] for step in steps["steps"]]
        assert f"fake-{held.id}" not in server.provider.made
        with pytest.raises(CharterError):
            await client.ask("orders-db")
        await authority.move(house, "other-agent", Move.RESUME, actor=WHO, reason="for the tests that follow")

    asyncio.run(go())


def _check(file: Path) -> None:
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    assert json.loads(file.read_text())["variables"] == {"FAKE_KEY": "of the fake"}


def test_the_client_of_charter_run_writes_files_for_its_owner_alone_and_gives_everything_back(
    server: Server, tmp_path: Path
) -> None:
    async def go() -> None:
        async with leased(server.client(), ["orders-db"], tmp_path, {"PGPASSWORD": "another"}) as found:
            _check(Path(found["CHARTER_LEASE_ORDERS_DB"]))

    before = set(server.provider.made)
    asyncio.run(go())
    assert set(server.provider.made) == before


def test_a_system_without_leases_or_at_all_is_told(server: Server) -> None:
    async def go() -> None:
        with pytest.raises((MalformedError, AbsentError, DeniedError)):
            await server.client().ask("nowhere")

    asyncio.run(go())


def test_what_an_agent_inherits_of_its_leases_kind_is_taken_away() -> None:
    inherited = {
        "PGPASSWORD": "another",
        "PGSERVICE": "x",
        "DATABASE_URL": "d",
        "AWS_PROFILE": "admin",
        "AWS_ENDPOINT_URL": "e",
        "HOME": "/root",
    }
    assert without_others(inherited, {"postgres"}) == {"AWS_PROFILE": "admin", "AWS_ENDPOINT_URL": "e", "HOME": "/root"}
    assert without_others(inherited, {"aws"}) == {
        "PGPASSWORD": "another",
        "PGSERVICE": "x",
        "DATABASE_URL": "d",
        "AWS_ENDPOINT_URL": "e",
        "HOME": "/root",
    }
    assert without_others(inherited, {"aws", "postgres"}) == {"AWS_ENDPOINT_URL": "e", "HOME": "/root"}
    assert without_others(inherited, set()) == inherited
    assert variables_of([], Path("/tmp")) == {}
