"""A real Charter with an assistant that enforces its own tools, for the SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from builders import REFUND_CHARTER
from charter.bootstrap import authority
from charter.cli.agent_keys import AgentTokens, agent_key
from charter.console.signin import SignIn
from charter.core.canonical import canonical
from charter.core.clock import SystemClock
from charter.core.entropy import SystemEntropy
from charter.sdk import AsyncCharter, Charter
from charter.server.app import public_app
from charter.server.oauth import ASSERTION_TYPE
from houses import BEARING, Stage, a_house, estate_files
from serving import listening

AGENT = "assistant"
TOOLS: dict[str, Any] = {
    "charter": "v1",
    "system": "tools",
    "kind": "http",
    "environment": "production",
    "owner": {"person": "pia@example.com", "team": "payments-platform"},
    "actions": {
        "read_record": {"effect": "read"},
        "write_record": {"effect": "write"},
        "drop_record": {"effect": "irreversible"},
        "mark_record": {"effect": "write"},
    },
    "enforcement": {
        "points": [AGENT],
        "vouching": "allowed",
        "obligations": [
            {
                "id": "tell",
                "type": "notification",
                "to": "pia@example.com",
                "body": "marked",
                "on": "allow",
                "actions": ["mark_record"],
            }
        ],
    },
}
GRANTS: list[dict[str, Any]] = [
    {"system": "tools", "actions": ["read_record", "mark_record"]},
    {"system": "tools", "actions": ["write_record"], "approval": {"by": "payments-lead"}},
]


@dataclass
class Sdk:
    stage: Stage
    url: str
    asking: Callable[[], str]  # gets another token
    token: str = ""

    def renew(self) -> None:
        """Get another token: a suspension ends those that there are."""
        self.token = self.asking()

    def headers(self, _method: str, _url: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}

    def client(self, **more: Any) -> Charter:
        return Charter(f"{self.url}/access/v1", principal=AGENT, headers=self.headers, **more)

    def asynchronous(self) -> AsyncCharter:
        return AsyncCharter(f"{self.url}/access/v1", principal=AGENT, headers=self.headers)

    def approve(self, approval: str | None) -> None:
        assert approval is not None
        asyncio.run(authority.answer(self.stage.house, approval, yes=True, person="lena@example.com", reason="a test"))


@contextmanager
def an_sdk(folder: Path, *, tools: dict[str, Any] = TOOLS) -> Iterator[Sdk]:
    charter = REFUND_CHARTER | {"principal": AGENT, "grants": GRANTS, "credential": BEARING}
    files = estate_files() | {
        "systems/tools.yaml": canonical(tools).decode(),
        f"principals/{AGENT}.yaml": canonical(charter).decode(),
    }
    listener = uvicorn.Config("", port=0, log_level="error").bind_socket()
    port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    profiles = ("obligations:1",)
    with a_house(folder, files=files, public_url=url, port=port, authzen_profiles=profiles) as stage:
        stage.clock.at = SystemClock().now()
        signin = SignIn(SystemClock(), SystemEntropy(), "op@example.com", issuer=url)
        key = agent_key(folder / "keys", url, AGENT)
        asyncio.run(authority.register_key(stage.house, AGENT, key.jwk, actor="t@example.com", reason="a test"))
        tokens = AgentTokens(key, url, stage.house.principal(AGENT).id, SystemClock(), SystemEntropy())
        with listening(public_app(stage.house, signin), listener):

            def asking() -> str:
                stage.clock.at = SystemClock().now()  # however long the tests before took, assertions are made now
                form = {
                    "grant_type": "client_credentials",
                    "resource": f"{url}/access/v1",
                    "client_assertion_type": ASSERTION_TYPE,
                    "client_assertion": tokens.assertion(),
                }
                answer = httpx.post(f"{url}/oauth/token", data=form, timeout=20).json()
                return str(answer["access_token"])

            found = Sdk(stage, url, asking)
            found.renew()
            yield found
