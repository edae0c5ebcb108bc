"""The OAuth endpoints of a stage, spoken to as ASGI: requests in, answers out, no socket between."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from charter.adapters.aws_callers import AwsCallers
from charter.adapters.document_fetch import DocumentFetcher
from charter.adapters.issuer_keys import IssuerKeys
from charter.core.clock import rfc3339
from charter.identity.asking import Consents
from charter.identity.dpop import ProofMemory
from charter.identity.pace import of_tokens
from charter.identity.status_list import StatusLists
from charter.registry.charter import DelegationTerms
from charter.registry.principal import Principal
from charter.server.gateway_http import CERTIFICATE
from charter.server.oauth import ASSERTION_TYPE, OAuthApp
from charter.server.oauth_parts import Parts
from identity_stage import ISSUER, Stage

GRANTS = {"refund-agent": {"payments"}, "ledger-agent": {"ledger"}}


@dataclass(frozen=True, slots=True)
class Policy:
    """What one principal is granted."""

    systems: set[str]

    delegation: DelegationTerms | None = None

    def rules_on(self, system: str) -> frozenset[str]:
        return frozenset(
            {f"refund-agent/grant-{n}" for n, each in enumerate(sorted(self.systems), 1) if each == system}
        )

    def actions_on(self, system: str) -> frozenset[str]:
        return frozenset({"any.action"} if system in self.systems else ())


@dataclass(slots=True)
class Grants:
    """Who is granted which systems; counts how often it was asked."""

    systems: dict[str, set[str]] = field(default_factory=lambda: {name: set(s) for name, s in GRANTS.items()})

    def of(self, principal: Principal) -> Policy:
        return Policy(self.systems.get(principal.name, set()))

    def of_person(self, _person: str, _borrower: Principal) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint answered."""

    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        return dict(json.loads(self.raw))


@dataclass(slots=True)
class Door:
    """The endpoints of one stage."""

    app: OAuthApp
    grants: Grants
    source: str = "192.0.2.7"
    certificate: bytes | None = None  # what the connection's TLS proved
    intermediates: tuple[bytes, ...] = ()

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        return asyncio.run(self.arequest(method, path, body, headers))

    async def arequest(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        where, _, query = path.partition("?")
        raw = [(k.replace("_", "-").lower().encode(), v.encode()) for k, v in (headers or {}).items()]
        scope = {
            "type": "http",
            "method": method,
            "path": where,
            "raw_path": where.encode(),
            "query_string": query.encode(),
            "headers": raw,
            "client": (self.source, 50_000),
            "extensions": {CERTIFICATE: (self.certificate, *self.intermediates)} if self.certificate else {},
        }
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(dict(message))

        await self.app(scope, receive, send)
        told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], told, b"".join(part.get("body", b"") for part in sent[1:]))

    def post(self, path: str, *, dpop: str | None = None, **form: str) -> Answer:
        return asyncio.run(self.apost(path, dpop=dpop, **form))

    async def apost(self, path: str, *, dpop: str | None = None, **form: str) -> Answer:
        headers = {"content-type": "application/x-www-form-urlencoded"} | ({"dpop": dpop} if dpop else {})
        return await self.arequest("POST", path, urlencode(form).encode(), headers)

    def client(self, assertion: str) -> dict[str, str]:
        """Return the parameters by which a client authenticates."""
        return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}

    def token(self, assertion: str, resource: str, *, dpop: str | None = None, **more: str) -> Answer:
        return asyncio.run(self.atoken(assertion, resource, dpop=dpop, **more))

    async def atoken(self, assertion: str, resource: str, *, dpop: str | None = None, **more: str) -> Answer:
        form = {"grant_type": "client_credentials", "resource": resource} | self.client(assertion) | more
        return await self.apost("/oauth/token", dpop=dpop, **form)

    @staticmethod
    def payload(token: str) -> bytes:
        part = token.split(".")[1]
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


async def _saw_nothing(_principal_id: str, _told: Mapping[str, str], *, by: str) -> None:
    """No charter of these tests pins what anything is made of."""


def a_door(stage: Stage, **changed: Any) -> Door:
    """Return the endpoints of `stage`, with some parts changed."""
    grants = Grants()
    parts = Parts(
        issuer=ISSUER,
        live=stage.live,
        ring=stage.ring,
        tokens=stage.tokens,
        failures=stage.failures,
        proofs=ProofMemory(),
        issuer_keys=IssuerKeys(DocumentFetcher(), stage.clock),
        aws_callers=AwsCallers(DocumentFetcher()),
        consents=Consents(stage.clock, stage.entropy),
        consents_kept=lambda question: stage.database.read(lambda tx: question(tx.consents)),
        writer=stage.database,
        slices=grants,
        saw=_saw_nothing,
        actor_proofs=lambda last: stage.database.read(lambda tx: tx.delegations.proofs(last)),
        statuses=StatusLists(
            stage.ring,
            stage.live,
            lambda after, since: stage.database.read_log(
                lambda log: log.of_kind("authentication", after=after, since=rfc3339(since))
            ),
            issuer=ISSUER,
            node=stage.database.node,
        ),
        pace=of_tokens(stage.clock),
        clock=stage.clock,
        entropy=stage.entropy,
    )
    return Door(OAuthApp.at(replace(parts, **changed)), grants)
