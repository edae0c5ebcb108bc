"""A house with an enforcement point: `records-gateway` stands before `records`, and asks about `alice` and `bob`.

The estate is that of the published certification scenario of AuthZEN 1.0: alice reads and writes active records and
deletes softly; bob reads; who has the role admin writes archived records, and bob is known to be an admin. Beside it
stands `ledger`, which another point enforces, and on which a principal is proved by its own token alone.

    with an_access(tmp_path) as access:
        answer = access.ask("evaluation", question("alice", "read", "record-1"))
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from builders import REFUND_CHARTER
from charter.bootstrap import authority
from charter.bootstrap.house import House
from charter.console.signin import SignIn
from charter.core.canonical import canonical
from charter.server.app import Doors, public_app
from charter.server.oauth import ASSERTION_TYPE
from houses import BEARING, TEAMS, Stage, a_house
from identity_stage import ClientKeyPair

POINT, OTHER_POINT = "records-gateway", "ledger-gateway"
ARCHIVED, ACTIVE = {"status": "archived"}, {"status": "active"}
RECORDS: dict[str, Any] = {
    "charter": "v1",
    "system": "records",
    "kind": "http",
    "environment": "production",
    "owner": {"person": "pia@example.com", "team": "payments-platform"},
    "actions": {
        "read": {"effect": "read"},
        "write": {"effect": "write"},
        "delete": {"effect": "irreversible"},
    },
    "enforcement": {
        "points": [POINT],
        "vouching": "allowed",
        "subjects": {"types": ["user"], "known": {"bob": {"role": "admin"}}},
        "resources": {"record": {"known": {"record-1": ACTIVE, "record-2": ARCHIVED}}},
    },
}
LEDGER: dict[str, Any] = {
    "charter": "v1",
    "system": "ledger",
    "kind": "http",
    "environment": "production",
    "owner": {"person": "pia@example.com", "team": "payments-platform"},
    "actions": {
        "entry.read": {"effect": "read"},
        "entry.post": {"effect": "write", "amounts": {"amount": {"value": "amount", "unit": "currency"}}},
    },
    "enforcement": {
        "points": [OTHER_POINT],
        "resources": {"account": {"object": "account/{id}"}},
        "context": ["region"],
    },
}
READS = {"system": "records", "actions": ["read"]}
WRITES_ARCHIVED = {
    "system": "records",
    "actions": ["write"],
    "when": {"asked.resource.status": {"equals": "archived"}, "asked.subject.role": {"equals": "admin"}},
}
ALICE = [
    READS,
    {"system": "records", "actions": ["write"], "when": {"asked.resource.status": {"equals": "active"}}},
    WRITES_ARCHIVED,
    {"system": "records", "actions": ["delete"], "when": {"soft": {"equals": True}}},
    {"system": "ledger", "actions": ["entry.read"], "objects": ["account/a-1", "account/team-*"]},
    {
        "system": "ledger",
        "actions": ["entry.post"],
        "objects": ["account/*"],
        "when": {"amount": {"max": "500 EUR"}},
        "limit": [{"count": 3, "per": "day"}],
        "approval": {"when": {"amount": {"over": "100 EUR"}}, "by": "payments-lead"},
    },
]
BOB = [READS, WRITES_ARCHIVED]


def a_principal(name: str, grants: list[dict[str, Any]], **changed: Any) -> str:
    """Return the file of a principal with these grants."""
    own = {"principal": name, "grants": grants, "credential": BEARING, "data": [], "delegation": None}
    return canonical({k: v for k, v in (REFUND_CHARTER | own | changed).items() if v is not None}).decode()


def access_files(**systems: dict[str, Any]) -> dict[str, str]:
    """Return the estate's files; `systems` stand for those of their names."""
    named = {"records": RECORDS, "ledger": LEDGER} | systems
    files = {f"systems/{name}.yaml": canonical(system).decode() for name, system in named.items()}
    lending = REFUND_CHARTER["delegation"] | {"purposes": ["bookkeeping"]}
    return files | {
        "teams.yaml": canonical(TEAMS).decode(),
        "principals/alice.yaml": a_principal("alice", ALICE, delegation=lending),
        "principals/bob.yaml": a_principal("bob", BOB),
        "principals/stranger.yaml": a_principal("stranger", []),
        f"principals/{POINT}.yaml": a_principal(POINT, [], kind="workflow"),
        f"principals/{OTHER_POINT}.yaml": a_principal(OTHER_POINT, [], kind="workflow"),
    }


def subject(name: str, **properties: Any) -> dict[str, Any]:
    return {"type": "user", "id": name} | ({"properties": properties} if properties else {})


def resource(name: str, **properties: Any) -> dict[str, Any]:
    return {"type": "record", "id": name} | ({"properties": properties} if properties else {})


def question(who: str, action: str, what: str, **context: Any) -> dict[str, Any]:
    """Return a question about a record."""
    asked: dict[str, Any] = {"subject": subject(who), "action": {"name": action}, "resource": resource(what)}
    return asked | ({"context": context} if context else {})


@dataclass(repr=False)
class Access:
    """The house, its door, and the tokens of its points."""

    stage: Stage
    doors: Doors
    pairs: dict[str, ClientKeyPair] = field(default_factory=dict)
    tokens: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def house(self) -> House:
        return self.stage.house

    @property
    def issuer(self) -> str:
        return self.house.settings.issuer

    def pair(self, name: str) -> ClientKeyPair:
        """Return the key of a principal, registered the first time."""
        if name not in self.pairs:
            pair = ClientKeyPair.fresh(self.house.principal(name).id)
            deed = authority.register_key(self.house, name, pair.jwk, actor="test@example.com", reason="a test")
            asyncio.run(deed)
            self.pairs[name] = pair
        return self.pairs[name]

    def fetch(self, name: str, path: str = "/access/v1", **form: str) -> httpx.Response:
        """Ask for a token of a principal for the resource at `path`."""
        given = {
            "grant_type": "client_credentials",
            "resource": self.issuer + path,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self.pair(name).assertion(self.stage.clock.now(), aud=f"{self.issuer}/oauth/token"),
        }
        return self.send("POST", "/oauth/token", form=given | form)

    def token(self, name: str, path: str = "/access/v1") -> str:
        """Return a token, the same until `tokens` is cleared."""
        if (name, path) not in self.tokens:
            answer = self.fetch(name, path)
            assert answer.status_code == 200, answer.text
            self.tokens[name, path] = answer.json()["access_token"]
        return self.tokens[name, path]

    def ask(self, path: str, body: Any, *, by: str = POINT, **headers: str) -> httpx.Response:
        """Ask as an enforcement point."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"authorization": f"Bearer {self.token(by)}", "content-type": "application/json"}
        return self.send("POST", f"/access/v1/{path}", content=content, headers=given | headers)

    def decide(self, body: Any, *, by: str = POINT) -> dict[str, Any]:
        """Return the decision on one question."""
        answer = self.ask("evaluation", body, by=by)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def found(self, path: str, body: Any, *, by: str = POINT) -> list[str]:
        """Return what a search finds, by id or name."""
        answer = self.ask(f"search/{path}", body, by=by)
        assert answer.status_code == 200, answer.text
        return [each.get("id") or each["name"] for each in answer.json()["results"]]

    def send(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        form: dict[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        async def sent() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.doors, client=("192.0.2.7", 50_000))  # type: ignore[arg-type]  # an ASGI application
            async with httpx.AsyncClient(transport=transport, base_url=self.issuer) as client, asyncio.timeout(15):
                return await client.request(method, path, content=content, data=form, headers=headers)

        return asyncio.run(sent())


@contextmanager
def an_access(folder: Path, files: dict[str, str] | None = None, **settings: Any) -> Iterator[Access]:
    """Open the house and its door."""
    with a_house(folder, files=files or access_files(), **settings) as stage:
        house = stage.house
        signin = SignIn(house.clock, house.entropy, "test@example.com", issuer=house.settings.issuer)
        yield Access(stage, public_app(house, signin))  # type: ignore[arg-type]  # no proxy is trusted here
