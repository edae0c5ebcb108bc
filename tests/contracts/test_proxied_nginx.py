"""The API of a team stands behind real nginx, which asks Charter about each request (ngx_http_auth_request_module).

The second half speaks as Envoy's ext_authz filter does over HTTP: the request's own method, its path after the prefix.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from builders import REFUND_CHARTER
from charter.bootstrap import authority
from charter.cli.agent_keys import AgentTokens, agent_key
from charter.cli.relay import Relay, relaying
from charter.console.signin import SignIn
from charter.core.canonical import canonical
from charter.core.clock import SystemClock
from charter.core.entropy import SystemEntropy
from charter.gateway.call import Call
from charter.registry.standing import Move
from charter.server.app import public_app
from houses import Stage, a_house, estate_files
from serving import listening

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")
ROUTES = [
    {"request": "GET /records/{record_id}", "action": "read", "query": ["fields"]},
    {"request": "POST /records/{record_id}", "action": "write"},
    {"request": "DELETE /records/{record_id}", "action": "delete"},
]
CONFIG = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr warn;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{api};
    location / {{ return 200 "$request_method $request_uri for $http_x_charter_principal $http_authorization"; }}
  }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      auth_request /charter;
      auth_request_set $charter_principal $upstream_http_x_charter_principal;
      auth_request_set $charter_verdict $upstream_http_x_charter_verdict;
      auth_request_set $charter_reason $upstream_http_x_charter_reason;
      auth_request_set $charter_approval $upstream_http_x_charter_approval;
      auth_request_set $charter_nonce $upstream_http_dpop_nonce;
      add_header X-Charter-Verdict $charter_verdict always;
      add_header X-Charter-Reason $charter_reason always;
      add_header X-Charter-Approval $charter_approval always;
      add_header DPoP-Nonce $charter_nonce always;
      proxy_set_header X-Charter-Principal $charter_principal;
      proxy_set_header Authorization "";
      proxy_set_header DPoP "";
      proxy_pass http://127.0.0.1:{api};
    }}
    location = /charter {{
      internal;
      proxy_pass http://{charter}/access/nginx/records;
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
      proxy_set_header X-Original-Method $request_method;
      proxy_set_header X-Original-URI $request_uri;
    }}
  }}
}}
"""


def records(base: str) -> dict[str, Any]:
    return {
        "charter": "v1",
        "system": "records",
        "kind": "http",
        "environment": "production",
        "owner": {"person": "pia@example.com", "team": "payments-platform"},
        "actions": {
            "read": {"effect": "read", "object": "record/{record_id}"},
            "write": {"effect": "write", "object": "record/{record_id}"},
            "delete": {"effect": "irreversible", "object": "record/{record_id}"},
        },
        "enforcement": {"proxy": {"base": base, "routes": ROUTES}},
    }


GRANTS = [
    {"system": "records", "actions": ["read"], "objects": ["record/r-*"]},
    {"system": "records", "actions": ["delete"], "approval": {"by": "payments-risk"}},
]


@dataclass
class Site:
    """Charter, nginx before an API, and an agent with a key of its own."""

    stage: Stage
    charter: str
    api: str
    tokens: AgentTokens
    leaver: AgentTokens

    def headers(self, method: str, path: str) -> dict[str, str]:
        self.stage.clock.at = SystemClock().now()
        url = self.api + path.partition("?")[0]
        return asyncio.run(self.tokens.headers(method, f"{self.charter}/mcp/records", url))

    def ask(self, method: str, path: str, **more: str) -> httpx.Response:
        """Ask nginx as an agent does: with a proof for the address, again with the nonce it is given."""
        for _ in range(2):
            answer = httpx.request(method, self.api + path, headers=self.headers(method, path) | more, timeout=30)
            if not (answer.status_code == 401 and self.tokens.learn(answer.headers.get("dpop-nonce"))):
                break
        return answer

    def envoy(self, method: str, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        """Ask as Envoy's filter does."""
        host = {"host": self.api.removeprefix("http://")}
        for _ in range(2):
            told = host | (self.headers(method, path) if headers is None else headers)
            url = f"{self.charter}/access/envoy/records{path}"
            answer = httpx.request(method, url, headers=told, timeout=30)
            if not (answer.status_code == 401 and self.tokens.learn(answer.headers.get("dpop-nonce"))):
                break
        return answer


def tokens_of(stage: Stage, folder: Path, url: str, name: str) -> AgentTokens:
    key = agent_key(folder / "keys", url, name)
    asyncio.run(authority.register_key(stage.house, name, key.jwk, actor="t@example.com", reason="a test"))
    return AgentTokens(key, url, stage.house.principal(name).id, SystemClock(), SystemEntropy())


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    assert NGINX, "nginx is not installed: python3 tools/prepare.py test"
    folder = tmp_path_factory.mktemp("proxied")
    listener = uvicorn.Config("", port=0, log_level="error").bind_socket()
    port, front, api = listener.getsockname()[1], free_port(), free_port()
    base = f"http://127.0.0.1:{front}"
    files = estate_files() | {
        "systems/records.yaml": canonical(records(base)).decode(),
        **{
            f"principals/{name}.yaml": canonical(REFUND_CHARTER | {"principal": name, "grants": GRANTS}).decode()
            for name in ("keeper", "leaver")
        },
    }
    url = f"http://127.0.0.1:{port}"
    (folder / "house").mkdir()
    with a_house(folder / "house", files=files, public_url=url, port=port) as stage:
        stage.clock.at = SystemClock().now()
        signin = SignIn(SystemClock(), SystemEntropy(), "op@example.com", issuer=url)
        tokens = {name: tokens_of(stage, folder, url, name) for name in ("keeper", "leaver")}
        told = {"folder": folder, "api": api, "port": front, "charter": f"127.0.0.1:{port}"}
        (folder / "nginx.conf").write_text(CONFIG.format(**told), encoding="utf-8")
        with listening(public_app(stage.house, signin), listener):
            command = [NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf")]
            with subprocess.Popen(command, stderr=subprocess.PIPE) as nginx:
                try:
                    wait_for(front, nginx)
                    yield Site(stage, url, base, tokens["keeper"], tokens["leaver"])
                finally:
                    nginx.terminate()


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        with socket.socket() as asked:
            if asked.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, "nginx did not start"
        time.sleep(0.05)
    raise AssertionError("nginx did not start in time")


def last_verdict(site: Site) -> dict[str, Any]:
    return dict(site.stage.entries("verdict")[-1]["body"])


def test_what_the_charter_grants_reaches_the_api_without_the_token(site: Site) -> None:
    answer = site.ask("GET", "/records/r-1?fields=name")
    assert (answer.status_code, answer.text) == (200, "GET /records/r-1?fields=name for keeper ")
    told = last_verdict(site)
    assert (told["verdict_id"], told["object"]) == (answer.headers["x-charter-verdict"], "record/r-1")


@pytest.mark.parametrize(
    ("method", "path", "why"),
    [
        ("GET", "/records/x-1", "objects"),
        ("POST", "/records/r-1", "write"),
        ("GET", "/records", "no action"),
        ("GET", "/records/r-1?all=yes", "no action `GET /records/r-1?all`"),
        ("PATCH", "/records/r-1", "no action"),
    ],
)
def test_what_it_does_not_grant_is_refused_with_the_reason(site: Site, method: str, path: str, why: str) -> None:
    answer = site.ask(method, path)
    assert answer.status_code == 403
    assert why in answer.headers["x-charter-reason"], answer.headers["x-charter-reason"]
    assert last_verdict(site)["verdict_id"] == answer.headers["x-charter-verdict"]


def test_a_program_under_charter_run_calls_the_api_without_a_change(site: Site) -> None:
    """The relay adds token and proof, keeps path and query as they came, and says nothing of the run to the API."""

    async def go() -> None:
        site.stage.clock.at = SystemClock().now()
        places = {"records": f"{site.charter}/mcp/records"}
        tokens = site.tokens
        relay = Relay(
            places,
            "s3cret",
            tokens.headers,
            forget=tokens.forget,
            learn=tokens.learn,
            says={"charter-request": "aGVsbG8="},
            apis={"records": site.api},
        )
        async with relaying(relay) as base, httpx.AsyncClient(timeout=30) as web:
            own = f"{base}/s3cret/records"
            read = await web.get(f"{own}/records/r-1?fields=name", headers={"Authorization": "Bearer x"})
            assert (read.status_code, read.text) == (200, "GET /records/r-1?fields=name for keeper ")
            other = await web.get(f"{own}/records/x-1")
            assert (other.status_code, "objects" in other.headers["x-charter-reason"]) == (403, True)
            for path in ("/records/%72-1%", "/records/r-1%2f..%2fx-1", "/records//r-1"):
                assert (await web.get(own + path)).status_code in (400, 403)

    asyncio.run(go())


@pytest.mark.parametrize(
    "path",
    [
        "/records/r-1/",
        "/records//r-1",
        "/records/r-1%2f..%2fx-1",
        "/records/r-1;v=2",
        "/records/%72-1%",
    ],
)
def test_a_path_that_can_be_read_in_two_ways_is_refused(site: Site, path: str) -> None:
    assert site.ask("GET", path).status_code in (400, 403)
    assert site.envoy("GET", path).status_code in (400, 403, 404)


def test_a_token_is_needed_and_its_key_and_it_is_good_for_the_address_alone(site: Site) -> None:
    bare = httpx.get(f"{site.api}/records/r-1", timeout=30)
    assert bare.status_code == 401
    assert "resource_metadata" in bare.headers["www-authenticate"]
    elsewhere = site.headers("GET", "/records/r-2")
    assert httpx.get(f"{site.api}/records/r-1", headers=elsewhere, timeout=30).status_code == 401
    assert site.ask("GET", "/records/r-1").status_code == 200


def test_a_request_that_says_it_is_another_is_refused(site: Site) -> None:
    assert site.ask("GET", "/records/r-1", **{"X-HTTP-Method-Override": "DELETE"}).status_code == 403


def test_a_person_lifts_a_denial_once(site: Site) -> None:
    held = site.ask("DELETE", "/records/r-9")
    assert held.status_code == 403
    approval = held.headers["x-charter-approval"]
    said = authority.answer(site.stage.house, approval, yes=True, person="alex@example.com", reason="seen")
    asyncio.run(said)
    assert site.ask("DELETE", "/records/r-9").status_code == 200
    assert site.ask("DELETE", "/records/r-9").status_code == 403


def test_envoy_is_answered_alike_and_passes_the_body_of_a_denial_on(site: Site) -> None:
    allowed = site.envoy("GET", "/records/r-1?fields=name")
    assert (allowed.status_code, allowed.headers["x-charter-principal"]) == (200, "keeper")
    denied = site.envoy("POST", "/records/r-1")
    assert denied.status_code == 403
    assert {"detail", "help", "verdict", "reasons"} <= json.loads(denied.text).keys()
    assert site.envoy("GET", "/records/r-1", {}).status_code == 401


def test_no_system_without_a_proxy_is_asked_about(site: Site) -> None:
    for path in ("/access/nginx/payments", "/access/nginx/nothing", "/access/envoy/payments/x", "/access/nginx/"):
        assert httpx.get(site.charter + path, timeout=30).status_code == 404


def test_such_a_system_is_not_reached_through_charter(site: Site) -> None:
    """Else a caller could say itself what the proxy says."""
    bearer = site.stage.bearer("keeper")
    call = Call("records", "read", {"record_id": "r-1"}, "sha256:" + "0" * 64, None)
    refused, _ = site.stage.submit(bearer, call)
    assert "enforcement points of its own" in refused.verdict.reasons[0].text  # type: ignore[union-attr]


def test_a_kill_ends_it(site: Site) -> None:
    leaving = replace(site, tokens=site.leaver)
    assert leaving.ask("GET", "/records/r-1").status_code == 200
    moved = authority.move(site.stage.house, "leaver", Move.KILL, actor="op@example.com", reason="a drill")
    asyncio.run(moved)
    assert leaving.ask("GET", "/records/r-1").status_code == 401
    assert site.ask("GET", "/records/r-1").status_code == 200
