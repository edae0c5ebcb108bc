"""A stage for fuzzing endpoints: a whole house with all its applications, and the check that every answer must pass.

with a_world(tmp_path) as world:
    answer = world.ask(world.control, "GET", "/v1/status")
    check(world, answer)
"""

from __future__ import annotations

import ast
import asyncio
import base64
import datetime as dt
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from hypothesis import HealthCheck, Phase, settings

import charter
from charter.bootstrap import authority
from charter.bootstrap.house import House
from charter.console.signin import SignIn
from charter.server.app import Doors, public_app
from charter.server.control import control_app
from charter.server.oauth import ASSERTION_TYPE
from consent_stage import ASSISTANT, assistant
from hostile import spelt
from houses import Stage, a_house, estate_files
from identity_stage import ClientKeyPair

SOURCE = Path(charter.__file__).parent
SECONDS = 15  # an answer that takes longer is a hang
_LEAKS = (
    "Traceback",
    'File "',
    "site-packages",
    "sqlalchemy",
    "sqlite3.",
    "pydantic",
    "psycopg",
    "Error(",
    "set_int_max",
)


def fuzzed(examples: int) -> settings:
    """Return how an endpoint is fuzzed: half as often in `make test`, `FUZZ_TIMES` as often if that is set.

    What fails is shown as it was found: a house keeps what was done to it.
    """
    return settings(
        max_examples=max(1, round(examples * float(os.environ.get("FUZZ_TIMES", "0.5")))),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate),
    )


@dataclass(repr=False)
class World:
    """A house with all its applications, a principal's key and token, and what no answer may hold."""

    stage: Stage
    doors: Doors
    control: Any
    signin: SignIn
    pair: ClientKeyPair
    token: str = ""
    secrets: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        return "a world"

    @property
    def house(self) -> House:
        return self.stage.house

    @property
    def issuer(self) -> str:
        return self.house.settings.issuer

    @property
    def resource(self) -> str:
        return f"{self.issuer}/mcp/payments"

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Return the claims of an assertion that is in order."""
        return self.pair.claims(self.stage.clock.now(), aud=f"{self.issuer}/oauth/token", **changed)

    def assertion(self) -> str:
        made = self.pair.signed(spelt(self.claims()))
        self.secrets.append(made)
        return made

    def fetch_token(self) -> str:
        form = {"grant_type": "client_credentials", "resource": self.resource}
        form |= {"client_assertion_type": ASSERTION_TYPE, "client_assertion": self.assertion()}
        answer = self.ask(self.doors, "POST", "/oauth/token", form=form)
        assert answer.status_code == 200, answer.text
        self.token = answer.json()["access_token"]
        self.secrets.append(self.token)
        return self.token

    def ask(self, app: Any, method: str, path: str, **request: Any) -> httpx.Response:
        """Send one request to an application; what it raises shows itself."""
        return asyncio.run(self.aask(app, method, path, **request))

    async def aask(
        self,
        app: Any,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        form: dict[str, str] | None = None,
        headers: Any = None,
    ) -> httpx.Response:
        transport = httpx.ASGITransport(app=app, client=("192.0.2.7", 50_000))
        async with httpx.AsyncClient(transport=transport, base_url=self.issuer) as client, asyncio.timeout(SECONDS):
            return await client.request(method, path, content=content, data=form, headers=headers)

    def nonce(self, at: dt.datetime) -> str | None:
        """Return the nonce that proofs of the moment `at` need."""
        nonces = self.house.proofs.nonces
        return nonces.fresh(at) if nonces else None

    def forgive(self) -> None:
        """Let the minute go by in which failed attempts are counted."""
        self.stage.clock._monotonic += 61


@contextmanager
def a_world(folder: Path) -> Iterator[World]:
    files = estate_files(bearing=True) | {f"principals/{ASSISTANT}.yaml": assistant()}
    with a_house(folder, files=files) as stage:
        house = stage.house
        signin = SignIn(house.clock, house.entropy, "test@example.com", issuer=house.settings.issuer)
        pair = ClientKeyPair.fresh(house.principal("refund-agent").id)
        asyncio.run(authority.register_key(house, "refund-agent", pair.jwk, actor="a@example.com", reason="a test"))
        world = World(stage, public_app(house, signin), control_app(house, signin), signin, pair)
        world.fetch_token()
        master = (folder / ".charter" / "master.key").read_bytes()
        world.secrets += [master.hex(), base64.b64encode(master).decode(), base64.urlsafe_b64encode(master).decode()]
        world.secrets.append(str(pair.private.as_dict(private=True)["d"]))
        yield world


def check(world: World, answer: httpx.Response) -> None:
    """Check that an answer is a clear one, and holds nothing that it must not."""
    assert answer.status_code < 500 or _tells_of_an_upstream(answer), answer.text[:2000]
    for sign in _LEAKS:
        assert sign not in answer.text, answer.text[:2000]
    said = answer.text + str(answer.headers)
    for secret in world.secrets:
        assert secret not in said
    if answer.status_code >= 400 and answer.headers.get("content-type", "").startswith("application/"):
        told = answer.json()
        assert told.get("detail") or told.get("error_description") or told["error"]["message"], told


def _tells_of_an_upstream(answer: httpx.Response) -> bool:
    """Whether somebody asked for what only the upstream knows; at the stage's there is nobody."""
    return answer.status_code == httpx.codes.SERVICE_UNAVAILABLE and answer.json().get("code") == "upstream_failed"


def words_of(*modules: str) -> list[str]:
    """Return the words that stand as texts in modules: names of parameters, and what they are compared with."""
    found: set[str] = set()
    for path in sorted(path for pattern in modules for path in SOURCE.glob(pattern)):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.update(re.findall(r"^[A-Za-z][A-Za-z0-9_:./-]{1,80}$", node.value))
    return sorted(found)
