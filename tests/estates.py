"""Estates for tests: small ones as files or values, and a transaction that has the registry.

files = estate_files(**{"principals/refund-agent.yaml": changed})
with a_registry(tmp_path) as house:
    house.apply(estate_of(files))
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from charter.adapters.database import Database
from charter.adapters.registry_store import RegistryStore
from charter.adapters.transaction import Frame, SqlTransaction
from charter.core.entropy import Entropy
from charter.registry.apply import Applied, apply
from charter.registry.estate import Estate
from charter.registry.manifest import parse_estate
from charter.registry.plan import Plan, plan
from charter.registry.principal import LiveEstate
from databases import SIGNER, a_database
from fakes import CountingEntropy

TEAMS = """\
charter: v1
teams:
  payments-ops: {lead: maria@example.com, members: [jo@example.com]}
  payments-platform: {lead: pia@example.com, members: [alex@example.com, lena@example.com]}
roles:
  payments-risk: [alex@example.com]
  payments-lead: [lena@example.com]
  owner: [pia@example.com]
"""
SYSTEM = """\
charter: v1
system: payments
kind: mcp
environment: production
owner: {person: pia@example.com, team: payments-platform}
sensitive: true
data: [customer-pii]
upstream: {transport: http, url: "http://127.0.0.1:9/mcp"}
actions:
  charge.read: {tool: get_charge, effect: read, object: "charge/{charge_id}"}
  refund.create:
    tool: create_refund
    effect: irreversible
    object: "charge/{charge_id}"
    amounts: {amount: {value: amount, unit: currency}}
"""
PRINCIPAL = """\
charter: v1
principal: refund-agent
kind: agent
environment: production
owner: {person: maria@example.com, team: payments-ops}
purpose: Refund small disputed card charges
model: {provider: anthropic, name: claude-*}
data: [customer-pii]
approved: {by: alex@example.com, role: payments-risk, on: 2026-11-02}
credential: {type: private-key-jwt}
grants:
  - system: payments
    actions: [charge.read, refund.create]
    objects: ["charge/*"]
    when: {hours: "08:00-18:00 Europe/Berlin", days: mon-fri, amount: {max: 200 EUR}}
    limit: [{count: 50, per: day}, {sum: amount, max: 2000 EUR, per: day}]
    approval: {when: {amount: {over: 100 EUR}}, by: payments-lead}
delegation: {from: [humans], purposes: [dispute-handling], max_ttl: 1h, max_depth: 2}
review: 90d
expires: 2027-11-02
"""
GUARDRAIL = """\
@id("irreversible-at-home")
forbid (principal, action in Charter::Action::"irreversible", resource)
unless { resource.environment == principal.environment };
"""
PATTERN = """\
charter: v1
pattern: small-refunds
title: An agent that refunds small charges
parameters:
  principal: {description: its name}
  owner: {description: who answers for it, default: maria@example.com}
template:
  charter: v1
  principal: ${principal}
  kind: agent
  environment: production
  owner: {person: "${owner}", team: payments-ops}
  purpose: Refund small charges as ${principal}
  model: {provider: anthropic, name: claude-*}
  data: [customer-pii]
  approved: {by: alex@example.com, role: payments-risk, on: 2026-11-02}
  credential: {type: private-key-jwt}
  grants: [{system: payments, actions: [charge.read], objects: ["charge/${principal}-*"]}]
  review: 90d
  expires: 2027-11-02
"""
TRIALS = """\
charter: v1
tests:
  - name: a small refund goes through
    principal: refund-agent
    system: payments
    action: refund.create
    arguments: {charge_id: ch_1, amount: 80.5, currency: EUR}
    at: 2026-11-24T10:00:00+01:00
    expect: allow
  - name: a large one does not
    principal: refund-agent
    system: payments
    action: refund.create
    arguments: {charge_id: ch_1, amount: 900, currency: EUR}
    expect: deny
    because: 200 EUR
"""
FILES = {
    "teams.yaml": TEAMS,
    "systems/payments.yaml": SYSTEM,
    "principals/refund-agent.yaml": PRINCIPAL,
    "guardrails/environments.cedar": GUARDRAIL,
    "patterns/small-refunds.yaml": PATTERN,
    "tests/refunds.yaml": TRIALS,
}


def estate_files(changed: dict[str, str | None] | None = None) -> dict[str, str]:
    """Return the files of a small estate, some changed; None leaves one out."""
    return {path: text for path, text in (FILES | (changed or {})).items() if text is not None}


def an_estate(changed: dict[str, str | None] | None = None) -> Estate:
    """Return the small estate, some of its files changed."""
    return parse_estate(estate_files(changed))


def another_principal(name: str, **changed: str) -> dict[str, str]:
    """Return the file of one more principal like the refund agent; `changed` replaces pieces of text."""
    text = PRINCIPAL.replace("principal: refund-agent", f"principal: {name}")
    for old, new in changed.items():
        text = text.replace(old, new)
    return {f"principals/{name}.yaml": text}


def write_files(folder: Path, files: dict[str, str]) -> Path:
    """Write files into `folder` and return it."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


class RegistryTransaction(SqlTransaction):
    """A transaction with the live estate and the registry's store."""

    def __init__(self, frame: Frame, live: LiveEstate) -> None:
        super().__init__(frame)
        self.live = live
        self.registry = RegistryStore(frame.connection)


@dataclass
class Registry:
    """A database with a registry in it, and what a house does with one."""

    database: Database[Any]
    live: LiveEstate
    entropy: Entropy = field(default_factory=CountingEntropy)

    def plan(self, estate: Estate) -> Plan:
        """Return the plan for `estate` against what is registered now."""
        return plan(estate, self.database.read(lambda tx: tx.registry.registered(estate)))

    def apply(self, estate: Estate, planned: Plan | None = None, **changed: Any) -> Applied:
        """Apply `estate`, by default as planned now."""
        chosen = planned or self.plan(estate)
        given = {"signer": SIGNER, "entropy": self.entropy, "trust_domain": "charter.local"} | changed
        given = {"actor": "maria@example.com", "reason": "first"} | given
        return self.database.write(lambda tx: apply(chosen, estate, tx, **given))

    def sql(self, statement: Any, values: Any = None) -> None:
        """Do to the database what someone with its password could."""
        self.database.write(lambda tx: tx.connection.execute(statement, values))

    def rows(self, table: Any) -> list[Any]:
        """Return all rows of a table, in order; their values also go by the names of columns."""
        found = self.database.read(lambda tx: tx.connection.execute(table.select()).all())
        return sorted(found, key=tuple)


@contextmanager
def a_registry(folder: Path, url: str | None = None) -> Iterator[Registry]:
    """Open a database with an empty registry."""
    live = LiveEstate()
    with a_database(folder, url=url, make_transaction=lambda frame: RegistryTransaction(frame, live)) as database:
        yield Registry(database, live)
