"""Clients written by others against the real server on loopback: authlib, PyJWT, curl, the official MCP SDK."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import httpx2
import jwt
import pytest
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import ECKey
from mcp.client.auth.extensions.client_credentials import PrivateKeyJWTOAuthProvider, SignedJWTParameters
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

from charter.bootstrap import authority
from charter.cli.agent_keys import AgentTokens, agent_key
from charter.cli.relay import Relay, relaying
from charter.core.clock import SystemClock
from charter.core.entropy import SystemEntropy
from charter.server.app import Doors
from charter.server.gateway import GatewayApp
from charter.server.oauth import ASSERTION_TYPE, OAuthApp
from houses import Stage, a_house, estate_files
from serving import listening


@dataclass
class Server:
    """A whole house that listens, and one client's key."""

    issuer: str
    stage: Stage
    client_id: str
    key: ECKey

    @property
    def resource(self) -> str:
        return f"{self.issuer}/mcp/payments"

    def assertion(self, **changed: Any) -> str:
        now = int(time.time())
        claims = {"iss": self.client_id, "sub": self.client_id, "aud": self.issuer, "exp": now + 60, "iat": now}
        return jwt.encode(
            claims | {"jti": str(time.perf_counter_ns())} | changed, self.key.as_pem(private=True), algorithm="ES256"
        )


async def nowhere(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body"})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    listener = socket.create_server(("127.0.0.1", 0))
    issuer = f"http://127.0.0.1:{listener.getsockname()[1]}"
    port = listener.getsockname()[1]
    files = estate_files(bearing=True)
    with a_house(tmp_path_factory.mktemp("house"), files=files, public_url=issuer, port=port) as stage:
        stage.clock.at = dt.datetime.now(dt.UTC)
        house = stage.house
        key = ECKey.generate_key("P-256")
        jwk = key.as_dict(private=False)
        asyncio.run(authority.register_key(house, "refund-agent", jwk, actor="test@example.com", reason="a test"))
        routes = {"/mcp/": GatewayApp.of(house), "/oauth/": OAuthApp.of(house), "/.well-known/": OAuthApp.of(house)}
        routes = {"/.well-known/oauth-protected-resource": routes["/mcp/"]} | routes
        with listening(Doors(routes, nowhere), listener):
            yield Server(issuer, stage, house.principal("refund-agent").id, key)


@pytest.fixture(autouse=True)
def _real_time(server: Server) -> None:
    """Stock clients live by the machine's clock."""
    server.stage.clock.at = dt.datetime.now(dt.UTC)


def test_authlib_gets_a_token_and_pyjwt_verifies_it_by_the_published_keys(server: Server) -> None:
    metadata = httpx.get(f"{server.issuer}/.well-known/oauth-authorization-server").json()
    endpoint = metadata["token_endpoint"]
    # authlib's assertions live for an hour unless told otherwise; five minutes is the most there is here
    expires = {"exp": int(time.time()) + 60}
    method = PrivateKeyJWT(endpoint, claims=expires, headers={"typ": "JWT"}, alg="ES256")
    with OAuth2Client(server.client_id, server.key, token_endpoint_auth_method="private_key_jwt") as client:
        client.register_client_auth_method(method)
        token = client.fetch_token(endpoint, grant_type="client_credentials", resource=server.resource)
    assert (token["token_type"], token["expires_in"]) == ("Bearer", 300)
    found = jwt.PyJWKClient(metadata["jwks_uri"]).get_signing_key_from_jwt(token["access_token"])
    claims = jwt.decode(
        token["access_token"],
        found,
        algorithms=["ES256"],
        audience=server.resource,
        issuer=metadata["issuer"],
        options={"require": ["exp", "iat", "jti", "sub", "aud", "iss", "client_id"]},
    )
    assert claims["sub"] == claims["client_id"] == server.client_id
    assert claims["spiffe"] == "spiffe://charter.local/production/agent/refund-agent"
    assert jwt.get_unverified_header(token["access_token"])["typ"] == "at+jwt"


def test_a_long_lived_assertion_as_authlib_makes_it_unasked_is_told_why(server: Server) -> None:
    endpoint = f"{server.issuer}/oauth/token"
    with OAuth2Client(server.client_id, server.key, token_endpoint_auth_method="private_key_jwt") as client:
        client.register_client_auth_method(PrivateKeyJWT(endpoint, headers={"typ": "JWT"}, alg="ES256"))
        with pytest.raises(Exception, match="is valid for more than 300 seconds"):
            client.fetch_token(endpoint, grant_type="client_credentials", resource=server.resource)


def test_authlib_revokes_a_token(server: Server) -> None:
    endpoint = f"{server.issuer}/oauth/token"
    token = httpx.post(endpoint, data=form(server)).json()["access_token"]
    assert introspected(server, token)["active"] is True
    with OAuth2Client(
        server.client_id, server.key, revocation_endpoint_auth_method="private_key_jwt", token_endpoint=endpoint
    ) as client:
        expires = {"exp": int(time.time()) + 60}
        client.register_client_auth_method(PrivateKeyJWT(endpoint, claims=expires, headers={"typ": "JWT"}, alg="ES256"))
        answer = client.revoke_token(f"{server.issuer}/oauth/revoke", token=token)
    assert answer.status_code == 200
    assert introspected(server, token) == {"active": False}


def introspected(server: Server, token: str) -> dict[str, Any]:
    return dict(httpx.post(f"{server.issuer}/oauth/introspect", data={"token": token} | proof_of(server)).json())


def proof_of(server: Server) -> dict[str, str]:
    return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": server.assertion()}


def form(server: Server) -> dict[str, str]:
    return {"grant_type": "client_credentials", "resource": server.resource} | proof_of(server)


def test_curl_gets_a_token_and_the_gateway_takes_it(server: Server) -> None:
    fields = [word for name, value in form(server).items() for word in ("--data-urlencode", f"{name}={value}")]
    answer = curl(*fields, f"{server.issuer}/oauth/token")
    assert answer["token_type"] == "Bearer"
    told = curl(
        *("-H", f"Authorization: Bearer {answer['access_token']}", "-H", "Content-Type: application/json"),
        *("-H", "Accept: application/json, text/event-stream", "--data", json.dumps(INITIALIZE)),
        server.resource,
    )
    assert told["result"]["serverInfo"]["name"] == "charter"


def curl(*words: str) -> dict[str, Any]:
    done = subprocess.run(
        ["curl", "-sS", "--fail-with-body", "--max-time", "20", "--noproxy", "*", *words],
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "interop", "version": "1"},
    },
}


class MemoryStorage:
    """Where the MCP SDK keeps what it gets."""

    tokens: OAuthToken | None = None
    client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


def test_the_official_mcp_sdk_finds_its_own_way_from_a_401_to_an_answer(server: Server) -> None:
    """Challenge, protected resource metadata, server metadata, assertion, token, and the call again: all by itself."""
    storage = MemoryStorage()
    pem = server.key.as_pem(private=True).decode()
    signing = SignedJWTParameters(
        issuer=server.client_id, subject=server.client_id, signing_key=pem, signing_algorithm="ES256"
    )
    provider = PrivateKeyJWTOAuthProvider(
        server_url=server.resource,
        storage=storage,
        client_id=server.client_id,
        assertion_provider=signing.create_assertion_provider(),
        issuer=server.issuer,
    )

    async def call() -> httpx2.Response:
        async with httpx2.AsyncClient(auth=provider, timeout=20) as client:
            headers = {"accept": "application/json, text/event-stream"}
            return await client.post(server.resource, json=INITIALIZE, headers=headers)

    answer = asyncio.run(call())
    assert (answer.status_code, answer.json()["result"]["serverInfo"]["name"]) == (200, "charter")
    assert storage.tokens is not None
    assert storage.tokens.token_type == "Bearer"


def test_charters_own_client_gets_a_bound_token_that_is_worth_nothing_to_a_thief(
    server: Server, tmp_path: Path
) -> None:
    key = agent_key(tmp_path, server.issuer, "refund-agent")
    house = server.stage.house
    asyncio.run(authority.register_key(house, "refund-agent", key.jwk, actor="test@example.com", reason="a test"))
    tokens = AgentTokens(key, server.issuer, server.client_id, SystemClock(), SystemEntropy())
    own = asyncio.run(tokens.headers("POST", server.resource))
    token = own["authorization"].removeprefix("DPoP ")
    assert present(server, own) == 200
    assert present(server, own) == 401  # the same proof again
    assert challenge(server, {"authorization": f"DPoP {token}", "dpop": "x"}).startswith("DPoP algs=")
    assert present(server, {"authorization": f"Bearer {token}"}) == 401
    assert present(server, {"authorization": f"DPoP {token}"}) == 401
    thief = agent_key(tmp_path, server.issuer, "charge-reader")
    stolen = AgentTokens(thief, server.issuer, "x", SystemClock(), SystemEntropy()).proof(
        "POST", server.resource, token
    )
    assert present(server, {"authorization": f"DPoP {token}", "dpop": stolen}) == 401
    assert (
        present(server, {"authorization": f"DPoP {token}", "dpop": tokens.proof("GET", server.resource, token)}) == 401
    )
    fresh = {"authorization": f"DPoP {token}", "dpop": tokens.proof("POST", server.resource, token)}
    assert present(server, fresh) == 200


def challenge(server: Server, headers: dict[str, str]) -> str:
    accept = {"accept": "application/json, text/event-stream"}
    answer = httpx.post(server.resource, json=INITIALIZE, headers=accept | headers)
    assert answer.headers["dpop-nonce"]
    return answer.headers["www-authenticate"]


def test_what_charter_run_puts_between_answers_the_demand_for_a_nonce_by_itself(server: Server, tmp_path: Path) -> None:
    key = agent_key(tmp_path, server.issuer, "refund-agent")
    house = server.stage.house
    asyncio.run(authority.register_key(house, "refund-agent", key.jwk, actor="test@example.com", reason="a test"))

    async def call() -> list[int]:
        tokens = AgentTokens(key, server.issuer, server.client_id, SystemClock(), SystemEntropy())
        relay = Relay({"payments": server.resource}, "s3cret", tokens.headers, forget=tokens.forget, learn=tokens.learn)
        async with relaying(relay) as base, httpx.AsyncClient(trust_env=False) as client:
            accept = {"accept": "application/json, text/event-stream"}

            async def one() -> int:
                answer = await client.post(f"{base}/s3cret/payments", json=INITIALIZE, headers=accept)
                assert "dpop-nonce" not in answer.headers
                return answer.status_code

            found = [await one()]
            tokens.learn("x" * 28)  # as if it had been idle for long
            return [*found, await one(), await one()]

    assert asyncio.run(call()) == [200, 200, 200]


def present(server: Server, headers: dict[str, str]) -> int:
    accept = {"accept": "application/json, text/event-stream"}
    return httpx.post(server.resource, json=INITIALIZE, headers=accept | headers).status_code
