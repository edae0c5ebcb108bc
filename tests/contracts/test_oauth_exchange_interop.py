"""Token exchange by clients that others wrote, against the real server on loopback: authlib, openid-client and jose."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import ECKey

from authorization_server import MODULES
from charter.bootstrap import authority, delegation
from charter.identity.actor_proof import TYPE, verify_chain
from charter.identity.exchange import ACCESS_TOKEN, DELEGATION, GRANT_TYPE
from charter.identity.jose import parse_public_jwk
from charter.server.app import Doors
from charter.server.oauth import OAuthApp
from delegations import MARIA
from houses import Stage, a_house
from lending_stage import PURPOSE, lending_files
from serving import listening

SCRIPT = Path(__file__).parent.parent / "exchange_client.mjs"


class Server:
    """A house that listens, and its principals as clients."""

    def __init__(self, stage: Stage, issuer: str) -> None:
        self.stage, self.issuer, self.resource = stage, issuer, f"{issuer}/mcp/payments"
        self.endpoint = f"{issuer}/oauth/token"
        self.keys: dict[str, ECKey] = {}

    def id(self, name: str) -> str:
        return self.stage.house.principal(name).id

    def key(self, name: str) -> ECKey:
        """Return a principal's key, registered."""
        if name not in self.keys:
            self.keys[name] = key = ECKey.generate_key("P-256")
            jwk = key.as_dict(private=False)
            asyncio.run(authority.register_key(self.stage.house, name, jwk, actor="test@example.com", reason="a test"))
        return self.keys[name]

    def lend(self, borrower: str) -> str:
        asked = delegation.Lending(MARIA, borrower, PURPOSE)
        made = delegation.make(self.stage.house, asked, actor=MARIA, door="cli", reason="a test")
        return str(asyncio.run(made)["id"])

    def hop(self, name: str, onto: str, previous: str | None = None) -> dict[str, Any]:
        return {
            "actor": self.id(name),
            "issuer": self.issuer,
            "subject": MARIA,
            "purpose": PURPOSE,
            "onto": onto,
            "previous": previous,
        }

    # --- authlib ---

    def authlib(self, name: str) -> OAuth2Client:
        client = OAuth2Client(self.id(name), self.key(name), token_endpoint_auth_method="private_key_jwt")
        expires = {"exp": int(time.time()) + 60}
        method = PrivateKeyJWT(self.endpoint, claims=expires, headers={"typ": "JWT"}, alg="ES256")
        client.register_client_auth_method(method)
        return client

    def proof(self, name: str, onto: str, previous: str | None = None) -> str:
        """Return an actor proof as PyJWT signs it."""
        now, hop = int(time.time()), self.hop(name, onto, previous)
        claims = {
            "iss": hop["actor"],
            "sub": hop["subject"],
            "act": {"sub": hop["actor"], "iss": hop["issuer"]},
            "target": {"aud": [self.resource], "purpose": hop["purpose"]},
            "onto": onto,
            "iat": now,
            "exp": now + 3600,
            "jti": str(time.perf_counter_ns()),
        } | ({"prh": previous} if previous else {})
        key = self.key(name)
        header = {"typ": TYPE, "kid": str(key.thumbprint())}
        return jwt.encode(claims, key.as_pem(private=True), algorithm="ES256", headers=header)

    def exchanged(self, name: str, subject: str, kind: str, proof: str, **more: str) -> dict[str, Any]:
        with self.authlib(name) as client:
            found = client.fetch_token(
                self.endpoint,
                grant_type=GRANT_TYPE,
                resource=self.resource,
                subject_token=subject,
                subject_token_type=kind,
                actor_proof=proof,
                **more,
            )
        return dict(found)

    def claims(self, token: str) -> dict[str, Any]:
        """Return what a token says, verified by PyJWT with the published keys."""
        found = jwt.PyJWKClient(f"{self.issuer}/oauth/jwks").get_signing_key_from_jwt(token)
        options: Any = {"require": ["exp", "iat", "jti", "sub", "aud", "iss", "client_id"]}
        return dict(
            jwt.decode(token, found, algorithms=["ES256"], audience=self.resource, issuer=self.issuer, options=options)
        )


async def nowhere(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body"})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    issuer = f"http://127.0.0.1:{port}"
    folder = tmp_path_factory.mktemp("house")
    with a_house(folder, files=lending_files(), public_url=issuer, port=port) as stage:
        stage.clock.at = dt.datetime.now(dt.UTC)
        routes = {"/oauth/": OAuthApp.of(stage.house), "/.well-known/": OAuthApp.of(stage.house)}
        with listening(Doors(routes, nowhere), listener):
            yield Server(stage, issuer)


@pytest.fixture(autouse=True)
def _real_time(server: Server) -> None:
    """Stock clients live by the machine's clock."""
    server.stage.clock.at = dt.datetime.now(dt.UTC)


def a_flow_token(server: Server) -> str:
    """Return the workflow's token for maria, which the agent may exchange; obtained by authlib."""
    loan = server.lend("triage-flow")
    proof = server.proof("triage-flow", loan)
    return str(server.exchanged("triage-flow", loan, DELEGATION, proof, may_act="refund-agent")["access_token"])


def test_authlib_exchanges_along_a_chain_and_pyjwt_reads_it_in_the_rfcs_order(server: Server) -> None:
    flow = a_flow_token(server)
    chain = server.claims(flow)["chain"]

    answer = server.exchanged(
        "refund-agent", flow, ACCESS_TOKEN, server.proof("refund-agent", chain["delegation"], chain["proof"])
    )

    claims = server.claims(answer["access_token"])
    assert answer["issued_token_type"] == ACCESS_TOKEN
    assert claims["sub"] == MARIA
    assert (claims["act"]["name"], claims["act"]["act"]["name"]) == ("refund-agent", "triage-flow")
    assert claims["client_id"] == claims["act"]["sub"] == server.id("refund-agent")
    shown = delegation.show(server.stage.house, claims["chain"]["delegation"])
    keys = {party: [parse_public_jwk(jwk) for jwk in jwks] for party, jwks in shown["keys"].items()}
    proofs = verify_chain(
        shown["proofs"],
        act=claims["act"],
        subject=MARIA,
        audience=server.resource,
        keys_of=lambda _issuer, actor: keys[actor],
    )
    assert len(proofs) == 2


def test_authlib_is_told_in_the_rfcs_words_why_an_exchange_is_refused(server: Server) -> None:
    flow = a_flow_token(server)
    chain = server.claims(flow)["chain"]

    with pytest.raises(OAuthError) as refused:
        server.exchanged(
            "charge-tool", flow, ACCESS_TOKEN, server.proof("charge-tool", chain["delegation"], chain["proof"])
        )

    assert refused.value.error == "invalid_request"
    assert "names another than the client" in refused.value.description


def by_openid_client(server: Server, name: str, subject: str, kind: str, hop: dict[str, Any], **more: Any) -> Any:
    """Return the answers that openid-client gets."""
    node = shutil.which("node")
    assert node is not None, "python tools/prepare.py test brings what is missing"
    key = server.key(name)
    asked = {
        "issuer": server.issuer,
        "client": server.id(name),
        "key": key.as_dict(private=True),
        "kid": str(key.thumbprint()),
        "resource": server.resource,
        "subject": subject,
        "type": kind,
        "hop": hop,
    }
    done = subprocess.run(
        [node, str(SCRIPT), str(MODULES.parent)],
        input=json.dumps(asked | more),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_openid_client_accepts_a_delegation_and_introspects_the_same_chain(server: Server) -> None:
    loan = server.lend("refund-agent")

    found = by_openid_client(server, "refund-agent", loan, DELEGATION, server.hop("refund-agent", loan))

    claims, told = server.claims(found["got"]["access_token"]), found["told"]
    assert told["active"] is True
    assert {name: told[name] for name in ("sub", "act", "chain", "client_id")} == {
        name: claims[name] for name in ("sub", "act", "chain", "client_id")
    }
    assert len(told["actor_proofs"]) == 1


def test_openid_client_exchanges_another_principals_token_for_less(server: Server) -> None:
    flow = a_flow_token(server)
    chain = server.claims(flow)["chain"]
    hop = server.hop("refund-agent", chain["delegation"], chain["proof"])
    narrowed = [{"type": "charter_scope", "system": "payments", "actions": ["charge.read"]}]

    found = by_openid_client(server, "refund-agent", flow, ACCESS_TOKEN, hop, narrowed=narrowed)

    assert found["told"]["act"]["act"]["name"] == "triage-flow"
    shown = delegation.show(server.stage.house, found["told"]["chain"]["delegation"])
    assert shown["scope"] == [{"system": "payments", "actions": ["charge.read"], "objects": ["*"]}]


def test_the_metadata_tells_of_the_exchange(server: Server) -> None:
    told = httpx.get(f"{server.issuer}/.well-known/oauth-authorization-server").json()

    assert GRANT_TYPE in told["grant_types_supported"]
    assert "charter_scope" in told["authorization_details_types_supported"]
