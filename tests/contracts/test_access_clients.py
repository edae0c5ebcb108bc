"""The decision API over a real socket: a stock AuthZEN client, and a point whose token is bound to its key."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from decern import Client, DecernError

from access_stage import POINT, Access, a_principal, access_files, an_access, question
from charter.core.canonical import canonical
from houses import BEARING
from serving import listening


@dataclass
class Served:
    """The house behind a socket."""

    access: Access
    url: str


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    bound = {"type": "private-key-jwt"}
    files = access_files() | {f"principals/{POINT}.yaml": a_principal(POINT, [], kind="workflow", credential=bound)}
    with an_access(tmp_path, files, port=port) as access, listening(access.doors, listener):
        yield Served(access, f"http://127.0.0.1:{port}")


def let_bear(served: Served) -> None:
    changed = a_principal(POINT, [], kind="workflow", credential=BEARING)
    served.access.stage.apply(access_files() | {f"principals/{POINT}.yaml": changed})


def test_a_stock_client_is_answered(served: Served) -> None:
    let_bear(served)
    client = Client(served.url, token=served.access.token(POINT))
    allowed = client.evaluate({"type": "user", "id": "alice"}, "read", {"type": "record", "id": "record-1"})
    assert allowed.allowed is True
    denied = client.evaluate({"type": "user", "id": "bob"}, "write", {"type": "record", "id": "record-1"})
    assert denied.allowed is False
    assert denied.context is not None
    assert denied.context["evaluation_id"].startswith("vrd_")
    with pytest.raises(DecernError) as refused:
        Client(served.url, token="x" * 20).evaluate({"type": "user", "id": "alice"}, "read", {"type": "x", "id": "y"})
    assert refused.value.status_code == 401


def proof(served: Served, path: str, nonce: str | None, token: str | None = None) -> str:
    """Return a DPoP proof of the point's own key."""
    access = served.access
    pair, now = access.pair(POINT), int(access.stage.clock.now().timestamp())
    claims: dict[str, Any] = {"htm": "POST", "htu": served.url + path, "iat": now, "jti": f"j-{next(pair.serial)}"}
    claims |= {"nonce": nonce} if nonce else {}
    if token is not None:
        claims["ath"] = base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()
    jwk = {name: pair.jwk[name] for name in ("crv", "kty", "x", "y")}
    return pair.signed(canonical(claims), {"typ": "dpop+jwt", "jwk": jwk})


def test_a_points_token_is_bound_to_its_key_and_worth_nothing_without(served: Served) -> None:
    access, web = served.access, httpx.Client(base_url=served.url, timeout=20)
    pair = access.pair(POINT)
    form = {
        "grant_type": "client_credentials",
        "resource": f"{served.url}/access/v1",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    }

    def fetch(nonce: str | None, headers: bool = True) -> httpx.Response:
        assertion = pair.assertion(access.stage.clock.now(), aud=f"{served.url}/oauth/token")
        shown = {"dpop": proof(served, "/oauth/token", nonce)} if headers else {}
        return web.post("/oauth/token", data=form | {"client_assertion": assertion}, headers=shown)

    assert fetch(None, headers=False).status_code == 400
    nonce = fetch(None).headers["dpop-nonce"]
    token = fetch(nonce).json()["access_token"]
    body, path = json.dumps(question("alice", "read", "record-1")), "/access/v1/evaluation"

    def ask(scheme: str, shown: str | None) -> httpx.Response:
        headers = {"authorization": f"{scheme} {token}", "content-type": "application/json"}
        return web.post(path, content=body, headers=headers | ({"dpop": shown} if shown else {}))

    answered = ask("DPoP", proof(served, path, nonce, token))
    assert answered.status_code == 200
    assert answered.json()["decision"] is True
    assert answered.headers["dpop-nonce"]
    assert ask("Bearer", None).status_code == 401
    assert ask("DPoP", proof(served, "/access/v1/evaluations", nonce, token)).status_code == 401
    once = proof(served, path, nonce, token)
    assert [ask("DPoP", once).status_code for _ in range(2)] == [200, 401]
    web.close()
