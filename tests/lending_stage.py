"""A whole house with parties that lend to each other, spoken to over its OAuth endpoints.

with a_lending(tmp_path) as stage:
    loan = stage.lend("triage-flow")                         # maria lends to the workflow
    flow = stage.redeem("triage-flow", loan, may_act="refund-agent")
    agent = stage.exchange("refund-agent", flow)              # and the workflow to the agent
    assert stage.claims(agent)["act"]["act"]["name"] == "triage-flow"
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builders import PAYMENTS_SYSTEM, REFUND_CHARTER
from charter.bootstrap import authority, delegation
from charter.core.canonical import canonical
from charter.gateway.call import Bearer
from charter.gateway.pipeline import Admitted, Refused
from charter.identity.actor_proof import TYPE, Hop, proof_claims
from charter.identity.exchange import ACCESS_TOKEN, DELEGATION, GRANT_TYPE
from charter.server.oauth import OAuthApp
from delegations import MARIA
from houses import PIN, TEAMS, Stage, a_house
from identity_stage import ISSUER, PAYMENTS, ClientKeyPair
from oauth_door import Answer, Door, Grants

CHAIN = ("triage-flow", "refund-agent", "charge-tool")
BEARING: dict[str, Any] = {"type": "private-key-jwt", "bearer": "allowed"}
PURPOSE = "dispute-handling"


def lending_charters() -> dict[str, dict[str, Any]]:
    """Return charters that may lend along `CHAIN`, and one, `rogue-agent`, with which nobody agreed on anything."""
    reading = {"system": "payments", "actions": ["charge.read"]}
    refunding = {"system": "payments", "actions": ["refund.create"], "objects": ["charge/*"]}
    both = [reading, refunding]
    terms = {"purposes": [PURPOSE], "max_ttl": "1h", "max_depth": 3}

    def charter(name: str, kind: str, grants: list[Any], **lent: Any) -> dict[str, Any]:
        own = {"principal": name, "kind": kind, "credential": BEARING, "grants": grants}
        return REFUND_CHARTER | own | {"delegation": terms | lent if lent else None}

    return {
        "triage-flow": charter("triage-flow", "workflow", both, **{"from": ["humans"], "to": ["refund-agent"]}),
        "refund-agent": charter(
            "refund-agent", "agent", both, **{"from": ["humans", "triage-flow"], "to": ["charge-tool"]}
        ),
        "charge-tool": charter("charge-tool", "model-integration", both, **{"from": ["refund-agent"]}),
        "rogue-agent": charter("rogue-agent", "agent", both),
    }


def lending_files(
    changed: dict[str, dict[str, Any]] | None = None, teams: dict[str, Any] | None = None
) -> dict[str, str]:
    """Return the estate's files; `changed` holds what differs in a charter, by name."""
    actions = {name: action | {"pin": PIN} for name, action in PAYMENTS_SYSTEM["actions"].items()}
    files = {
        "teams.yaml": canonical(TEAMS | (teams or {})).decode(),
        "systems/payments.yaml": canonical(PAYMENTS_SYSTEM | {"actions": actions}).decode(),
    }
    for name, charter in lending_charters().items():
        whole = {k: v for k, v in (charter | (changed or {}).get(name, {})).items() if v is not None}
        files[f"principals/{name}.yaml"] = canonical(whole).decode()
    return files


@dataclass
class Lending:
    """The house, its endpoints, and every party's own key."""

    stage: Stage
    door: Door
    pairs: dict[str, ClientKeyPair] = field(default_factory=dict)

    def id(self, name: str) -> str:
        return self.stage.house.principal(name).id

    def pair(self, name: str) -> ClientKeyPair:
        if name not in self.pairs:
            pair = self.pairs[name] = ClientKeyPair.fresh(self.id(name))
            deed = authority.register_key(self.stage.house, name, pair.jwk, actor="test@example.com", reason="a test")
            asyncio.run(deed)
        return self.pairs[name]

    def client(self, name: str) -> dict[str, str]:
        pair = self.pair(name)
        return self.door.client(pair.assertion(self.stage.clock.now()))

    # --- lending ---

    def lend(self, borrower: str, person: str = MARIA, **given: Any) -> str:
        """Let a person lend; return the delegation's id."""
        wish = {"purpose": PURPOSE} | given
        asked = delegation.Lending(person, borrower, **wish)
        made = asyncio.run(delegation.make(self.stage.house, asked, actor=person, door="cli", reason="a test"))
        return str(made["id"])

    def withdraw(self, **wanted: str) -> dict[str, Any]:
        deed = delegation.withdraw(self.stage.house, wanted, actor="pia@example.com", reason="a test")
        return asyncio.run(deed)

    def switch(self, lender: str, borrower: str, *, is_on: bool) -> None:
        deed = delegation.switch(
            self.stage.house, lender, borrower, is_on=is_on, actor="pia@example.com", reason="a test"
        )
        asyncio.run(deed)

    def proof(
        self,
        actor: str,
        *,
        subject: str,
        onto: str,
        previous: str | None = None,
        signer: ClientKeyPair | None = None,
        **changed: Any,
    ) -> str:
        """Return an actor's proof of its hop, some claims changed."""
        now = int(self.stage.clock.now().timestamp())
        hop = Hop(self.id(actor), ISSUER, subject, PURPOSE, onto, previous)
        pair = signer or self.pair(actor)
        jti = f"proof-{next(pair.serial)}"
        claims = proof_claims(hop, [PAYMENTS], at=now, expires_at=now + 86_400, jti=jti) | changed
        return pair.signed(canonical({k: v for k, v in claims.items() if v is not None}), {"typ": TYPE})

    def own_token(self, name: str, **more: str) -> str:
        """Return a principal's token by its own authority."""
        answer = self.ask_own(name, **more)
        assert answer.status == 200, answer.body
        return str(answer.body["access_token"])

    def ask_own(self, name: str, **more: str) -> Answer:
        """Return the endpoint's answer to a principal that asks for itself."""
        form = {"grant_type": "client_credentials", "resource": PAYMENTS}
        return self.door.post("/oauth/token", **form | self.client(name) | more)

    @staticmethod
    def files_with(name: str, **changed: Any) -> dict[str, str]:
        """Return the estate's files with something changed in one charter."""
        return lending_files({name: changed})

    def ask(self, name: str, subject: str, kind: str = ACCESS_TOKEN, **more: str) -> Answer:
        """Return the endpoint's answer to an exchange by `name`; an empty text leaves a parameter out."""
        form = {
            "grant_type": GRANT_TYPE,
            "resource": PAYMENTS,
            "subject_token": subject,
            "subject_token_type": kind,
        }
        given = form | self.client(name) | more
        return self.door.post("/oauth/token", **{key: value for key, value in given.items() if value})

    def ask_redeem(self, name: str, loan: str, **more: str) -> Answer:
        """Return the answer to `name` asking for a token under a delegation to it."""
        chain = self.stage.house.live.delegations.chain_of(loan)
        if chain is not None and "actor_proof" not in more:
            previous = chain.links[-2].proof if chain.depth > 1 else None
            more["actor_proof"] = self.proof(name, subject=chain.initiator, onto=loan, previous=previous)
        return self.ask(name, loan, DELEGATION, **more)

    def redeem(self, name: str, loan: str, **more: str) -> str:
        answer = self.ask_redeem(name, loan, **more)
        assert answer.status == 200, answer.body
        return str(answer.body["access_token"])

    def ask_exchange(self, name: str, token: str, **more: str) -> Answer:
        """Return the answer to `name` exchanging another's token."""
        claims = self.claims(token)
        if "actor_proof" not in more:
            chain = claims.get("chain")
            more["actor_proof"] = self.proof(
                name,
                subject=claims["sub"],
                onto=chain["delegation"] if chain else claims["jti"],
                previous=chain["proof"] if chain else None,
            )
        return self.ask(name, token, **more)

    def exchange(self, name: str, token: str, **more: str) -> str:
        answer = self.ask_exchange(name, token, **more)
        assert answer.status == 200, answer.body
        return str(answer.body["access_token"])

    def chain(self, *names: str, person: str = MARIA) -> list[str]:
        """Return the tokens of a chain that a person begins, each party's in turn."""
        tokens = []
        for at, name in enumerate(names):
            following = names[at + 1] if at + 1 < len(names) else ""
            more = {"may_act": following} if following else {}
            if at == 0:
                tokens.append(self.redeem(name, self.lend(name, person), **more))
            else:
                tokens.append(self.exchange(name, tokens[-1], **more))
        return tokens

    # --- what tokens say and do ---

    def claims(self, token: str) -> dict[str, Any]:
        return dict(json.loads(Door.payload(token)))

    def delegation_of(self, token: str) -> str:
        return str(self.claims(token)["chain"]["delegation"])

    def bearer(self, token: str) -> Bearer:
        return self.stage.house.pipeline.authenticate(token, audience=PAYMENTS, at=self.stage.clock.now())

    def call(self, token: str, tool: str = "get_charge", **arguments: Any) -> Admitted | Refused:
        """Run one call with a token through the pipeline."""
        return self.stage.submit(self.bearer(token), self.stage.make(tool, {"charge_id": "ch_1"} | arguments))[0]

    def refund(self, token: str, amount: int = 10) -> Admitted | Refused:
        return self.call(token, "create_refund", amount=amount, currency="EUR")

    def introspected(self, name: str, token: str) -> dict[str, Any]:
        return self.door.post("/oauth/introspect", token=token, **self.client(name)).body


@contextmanager
def a_lending(folder: Path, *, files: dict[str, str] | None = None, **settings: Any) -> Iterator[Lending]:
    """Build a house whose principals lend to each other."""
    with a_house(folder, files=files or lending_files(), **settings) as stage:
        yield Lending(stage, Door(OAuthApp.of(stage.house), Grants()))


@contextmanager
def a_lending_with(folder: Path, provider: str) -> Iterator[Lending]:
    """Build such a house, which takes the word of the identity provider at `provider` for people."""
    stated = {"corporate": {"platform": "identity-provider", "issuer": provider}}
    files = lending_files() | {"issuers.yaml": canonical({"charter": "v1", "issuers": stated}).decode()}
    with a_lending(folder, files=files) as lending:
        yield lending
