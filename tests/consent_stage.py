"""A whole house with a public client, served on a socket, and people's browsers without a browser."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import html
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import uvicorn
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import ECKey

from builders import REFUND_CHARTER
from charter.console.signin import SignIn
from charter.core.canonical import canonical
from charter.core.clock import SystemClock
from charter.core.entropy import SystemEntropy
from charter.registry.access import Access
from charter.server.app import public_app
from houses import House, a_house, estate_files
from serving import listening

CALLBACK = "http://127.0.0.1:43123/callback"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
ASSISTANT = "desk-assistant"


def assistant(**credential: Any) -> str:
    """Return the charter of an assistant that people run; `credential` changes how it goes by."""
    given: dict[str, Any] = {
        "type": "public-client",
        "redirects": ["http://127.0.0.1/callback"],
        "registration": "allowed",
        "bearer": "allowed",
    }
    changed = {
        "principal": ASSISTANT,
        "kind": "copilot",
        "credential": {k: v for k, v in (given | credential).items() if v is not None},
        "grants": [{"system": "payments", "actions": ["charge.read"]}],
        "delegation": {"from": ["humans"], "purposes": ["dispute-handling"], "max_ttl": "1h", "max_depth": 2},
    }
    return canonical(REFUND_CHARTER | changed).decode()


@dataclass
class Person:
    """Somebody with a browser who is signed in to the console."""

    site: Site
    name: str = "lena@example.com"
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        session = self.site.signin.open(self.name, Access.VIEWER)
        cookie = {self.site.signin.address.cookie: session}
        own = {"origin": self.site.origin, "sec-fetch-site": "same-origin"}
        self.http = httpx.Client(base_url=self.site.origin, cookies=cookie, headers=own, timeout=30)
        self.site.opened.append(self.http)

    def look(self, query: Mapping[str, str]) -> httpx.Response:
        """Open the address that a client sends the browser to."""
        return self.http.get("/oauth/authorize", params=dict(query))

    def answer(self, page: httpx.Response, *, yes: bool = True, **changed: str) -> httpx.Response:
        """Fill the form on the page in, and send it."""
        fields = dict(re.findall(r'name="(form_token|name|purpose)" value="([^"]*)"', page.text))
        option = re.search(r"<option>([^<]+)</option>", page.text)
        if option:
            fields["purpose"] = option[1]
        action = re.search(r'action="(/oauth/authorize|/device)"', page.text)
        assert action, page.text
        form = {key: html.unescape(value) for key, value in fields.items()}
        return self.http.post(action[1], data=form | {"answer": "yes" if yes else "no"} | changed)

    def consent(self, query: Mapping[str, str]) -> dict[str, str]:
        """Say yes, and return what the browser takes back to the client."""
        return sent(self.answer(self.look(query)))


def sent(page: httpx.Response) -> dict[str, str]:
    """Return what a page takes back to the client."""
    where = re.search(r'http-equiv="refresh" content="0; url=([^"]+)"', page.text)
    assert where, page.text
    return {key: values[0] for key, values in parse_qs(urlsplit(html.unescape(where[1])).query).items()}


def claims_of(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def proof(key: ECKey, url: str, nonce: str | None, at: dt.datetime) -> str:
    """Return a DPoP proof for a POST to `url` at `at`."""
    public = {name: key.as_dict(private=False)[name] for name in ("kty", "crv", "x", "y")}
    claims = {"htm": "POST", "htu": url, "iat": int(at.timestamp()), "jti": secrets.token_hex(8)}
    said = claims | ({"nonce": nonce} if nonce else {})
    return joserfc_jwt.encode({"alg": "ES256", "typ": "dpop+jwt", "jwk": public}, said, key)


@dataclass
class Site:
    stage: House
    signin: SignIn
    opened: list[httpx.Client] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return self.signin.address.origin

    @property
    def resource(self) -> str:
        return f"{self.origin}/mcp/payments"

    def register(self, **changed: Any) -> httpx.Response:
        body = {"client_name": "Desk", "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"} | changed
        return httpx.post(f"{self.origin}/oauth/register", json=body, timeout=30)

    def client_id(self) -> str:
        answer = self.register()
        assert answer.status_code == 201, answer.text
        return str(answer.json()["client_id"])

    def query(self, client_id: str, **changed: str | None) -> dict[str, str]:
        given: dict[str, str | None] = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": CALLBACK,
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "resource": self.resource,
            "state": "xyz",
        }
        return {key: value for key, value in (given | changed).items() if value is not None}

    def token(self, *, key: ECKey | None = None, **form: str) -> httpx.Response:
        """Ask the token endpoint, with a DPoP proof if there is a key."""
        url, nonce = f"{self.origin}/oauth/token", None
        while True:
            headers = {"dpop": proof(key, url, nonce, self.stage.clock.now())} if key else {}
            answer = httpx.post(url, data=form, headers=headers, timeout=30)
            if nonce is not None or answer.is_success or answer.json().get("error") != "use_dpop_nonce":
                return answer
            nonce = answer.headers["dpop-nonce"]

    def redeem(self, client_id: str, code: str, *, key: ECKey | None = None, **changed: str | None) -> httpx.Response:
        given: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "client_id": client_id,
            "code": code,
            "redirect_uri": CALLBACK,
            "code_verifier": VERIFIER,
        }
        return self.token(key=key, **{name: value for name, value in (given | changed).items() if value is not None})

    def refresh(self, client_id: str, token: str, **more: str) -> httpx.Response:
        return self.token(grant_type="refresh_token", client_id=client_id, refresh_token=token, **more)

    def granted(self) -> tuple[str, dict[str, Any]]:
        """Return a client and the answer with its first token."""
        client_id = self.client_id()
        code = Person(self).consent(self.query(client_id))["code"]
        answer = self.redeem(client_id, code)
        assert answer.status_code == 200, answer.text
        return client_id, dict(answer.json())

    def call(self, token: str) -> int:
        """Return the status of a call to the system with `token`."""
        info = {"name": "test", "version": "1"}
        params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info}
        body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
        headers = {"authorization": f"Bearer {token}", "accept": "application/json, text/event-stream"}
        return httpx.post(self.resource, json=body, headers=headers, timeout=30).status_code


@contextmanager
def a_site(folder: Path, **credential: Any) -> Iterator[Site]:
    socket = uvicorn.Config("", port=0, log_level="error").bind_socket()
    port = socket.getsockname()[1]
    origin = f"http://127.0.0.1:{port}"
    files = estate_files() | {f"principals/{ASSISTANT}.yaml": assistant(**credential)}
    with a_house(folder, files=files, public_url=origin, port=port) as stage:
        stage.clock.at = dt.datetime.now(dt.UTC)
        signin = SignIn(SystemClock(), SystemEntropy(), "op@example.com", issuer=origin)
        with listening(public_app(stage.house, signin), socket):
            site = Site(stage, signin)
            try:
                yield site
            finally:
                for http in site.opened:
                    http.close()
