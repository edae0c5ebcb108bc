"""An organisation of any size, whose every principal has a slice of ten policies: what decisions are measured on.

Three built-in rules, three guardrails and four grants. Charters follow twenty patterns, as an organisation's do: their
bounds, hours and limits differ by pattern, their names, teams and owners by principal. Everything a decision reads is
the product's own: `LiveEstate`, `SliceCache`, `Call`, `Bearer`. Nothing is bound before it is first asked for.
"""

from __future__ import annotations

import datetime as dt
import functools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from charter.adapters.cedar import CedarEngine
from charter.bootstrap.slices import SliceCache
from charter.core.canonical import canonical, digest, digest_of
from charter.gateway.call import Bearer, Call
from charter.gateway.facts import resolve
from charter.policy.decide import Evaluator, decide
from charter.policy.shadow import CompiledEngine, Disagreement
from charter.policy.verdict import Deny, Verdict
from charter.registry.charter import Charter, CredentialType, Environment, Kind
from charter.registry.estate import TextFile
from charter.registry.principal import ClientKey, LiveEstate, Principal, SystemRecord
from charter.registry.record import FilePlaces, KeptCharter
from charter.registry.standing import Standing
from charter.registry.system import System
from charter.registry.team import Teams
from charter.registry.terms import Bearing, Terms

PATTERNS = 20
TEAMS = 1_000
TEAMS_FILE = Teams(charter="v1")
NOON = dt.datetime(2026, 11, 24, 12, 0, tzinfo=dt.UTC)  # a Tuesday
PIN = "sha256:" + "ab" * 32
GUARDRAILS = TextFile(
    "guardrails/house.cedar",
    """@id("no-night-writes")
@approval("platform-lead")
forbid (principal, action in [Charter::Action::"write", Charter::Action::"irreversible"], resource)
when { context.local["Europe/Berlin"].minute < 300 }
unless { context.approvals.contains("platform-lead") };

@id("frozen-accounts")
forbid (principal, action, resource) when { resource.path like "charge/frozen/*" };

@id("copilots-keep-off")
forbid (principal, action == Charter::Action::"payments/refund.create", resource)
when { ["copilot", "browser-agent"].contains(principal.kind) && resource.sensitive };
""",
)
SYSTEMS: dict[str, dict[str, Any]] = {
    "payments": {
        "sensitive": True,
        "data": ["customer-pii"],
        "actions": {
            "charge.read": {"tool": "get_charge", "effect": "read", "object": "charge/{charge_id}"},
            "refund.create": {
                "tool": "create_refund",
                "effect": "irreversible",
                "object": "charge/{charge_id}",
                "amounts": {"amount": {"value": "amount", "unit": "currency"}},
            },
            "note.add": {"tool": "add_note", "effect": "write", "object": "note/{charge_id}"},
        },
    },
    "crm": {
        "data": ["customer-pii", "contacts"],
        "actions": {
            "contact.read": {"tool": "get_contact", "effect": "read", "object": "contact/{id}"},
            "contact.update": {"tool": "update_contact", "effect": "write", "object": "contact/{id}"},
        },
    },
}


def system_of(name: str) -> System:
    """Return one of the two systems, its tools accepted."""
    given = SYSTEMS[name]
    actions = {action: it | {"pin": PIN} for action, it in given["actions"].items()}
    fixed = {"charter": "v1", "system": name, "kind": "mcp", "environment": "production"}
    owner = {"person": "pia@example.com", "team": "team-0"}
    return System.model_validate(fixed | {"owner": owner} | given | {"actions": actions})


def charter_json(number: int) -> dict[str, Any]:
    """Return the charter of principal `number`, as its file says it."""
    pattern = number % PATTERNS
    most, asking = 200 + 50 * pattern, 100 + 20 * pattern
    return {
        "charter": "v1",
        "principal": f"agent-{number}",
        "kind": "agent",
        "environment": "production",
        "owner": {"person": f"owner-{number % TEAMS}@example.com", "team": f"team-{number % TEAMS}"},
        "purpose": "Refund small disputed card charges",
        "model": {"provider": "anthropic", "name": "claude-*"},
        "data": ["customer-pii", "contacts"],
        "approved": {"by": "alex@example.com", "role": "payments-risk", "on": "2026-11-02"},
        "credential": {"type": "private-key-jwt"},
        "grants": [
            {
                "system": "payments",
                "actions": ["charge.read", "refund.create"],
                "objects": ["charge/*"],
                "when": {
                    "hours": f"0{6 + pattern % 3}:00-18:00 Europe/Berlin",
                    "days": "mon-fri",
                    "amount": {"max": f"{most} EUR"},
                },
                "limit": [{"count": 50, "per": "day"}, {"sum": "amount", "max": f"{most * 10} EUR", "per": "day"}],
                "approval": {"when": {"amount": {"over": f"{asking} EUR"}}, "by": "payments-lead"},
            },
            {"system": "payments", "actions": ["note.add"], "when": {"text": {"like": f"{pattern}*"}}},
            {"system": "crm", "actions": ["contact.read"], "objects": ["contact/*"]},
            {
                "system": "crm",
                "actions": ["contact.update"],
                "when": {"field": {"one_of": ["phone", "mail"]}, "value": {"like": "*"}},
            },
        ],
        "delegation": {"from": ["humans"], "purposes": ["dispute-handling"], "max_ttl": "1h", "max_depth": 2},
        "review": "90d",
        "expires": "2035-11-02",
    }


def principal_id(number: int) -> str:
    return f"prn_01k2{number:022d}"


def principal_of(number: int, digest: str | None = None) -> Principal:
    """Return principal `number` as the registry keeps it."""
    given = charter_json(number)
    return Principal(
        id=principal_id(number),
        name=given["principal"],
        spiffe_id=f"spiffe://charter.local/production/agent/{given['principal']}",
        kind=Kind.AGENT,
        environment=Environment.PRODUCTION,
        owner_person=given["owner"]["person"],
        owner_team=given["owner"]["team"],
        standing=Standing.ACTIVE,
        epoch=1,
        version=1,
        digest=digest or f"sha256:{number:064x}",
        expires=dt.date(2035, 11, 2),
        terms=Terms(CredentialType.PRIVATE_KEY_JWT, Bearing.ALLOWED),
    )


def digest_of_charter(number: int) -> str:
    """Return the digest of the charter of principal `number`."""
    return digest(body_of(number).encode())


def body_of(number: int) -> str:
    """Return the canonical JSON of the charter of principal `number`."""
    pattern, team = number % PATTERNS, number % TEAMS
    text = _pattern_body(pattern)
    text = text.replace(f'"agent-{pattern}"', f'"agent-{number}"').replace(f'"team-{pattern}"', f'"team-{team}"')
    return text.replace(f'"owner-{pattern}@', f'"owner-{team}@')


@functools.lru_cache(maxsize=PATTERNS)
def _pattern_body(pattern: int) -> str:
    return canonical(Charter.model_validate(charter_json(pattern)).to_json()).decode()


def places_of(number: int) -> FilePlaces:
    """Return where the parts of that charter stand in its file."""
    return FilePlaces(f"principals/agent-{number}.yaml", _places())


@functools.lru_cache(maxsize=1)
def _places() -> dict[str, tuple[int, int]]:
    names: list[str] = []

    def walk(value: Any, dotted: str) -> None:
        names.append(dotted)
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for name, each in items:
            walk(each, f"{dotted}.{name}".lstrip("."))

    walk(charter_json(0), "")
    return {name: (line, 5) for line, name in enumerate(names, start=1)}


def kept_of(principal: Principal) -> KeptCharter:
    """Return the charter that a principal acts under, as the registry keeps it."""
    number = int(principal.name.partition("-")[2])
    return KeptCharter(principal.digest, body_of(number), places_of(number))


def version_row(number: int) -> dict[str, object]:
    """Return the row that keeps the charter of principal `number`, unsigned."""
    body = body_of(number)
    at = canonical({name: list(place) for name, place in _places().items()}).decode()
    return {
        "principal_id": principal_id(number),
        "version": 1,
        "digest": digest(body.encode()),
        "charter": body,
        "sources": f'{{"at":{at},"path":"principals/agent-{number}.yaml"}}',
        "envelope": "{}",
        "applied_at": "2026-11-24T12:00:00Z",
        "applied_by": "bench",
        "reason": "bench",
    }


def key_of(number: int) -> ClientKey:
    """Return the public key of principal `number`; as long as a P-256 key's members are."""
    jwk = {"kty": "EC", "crv": "P-256", "x": f"{number:043d}", "y": f"{number + 1:043d}"}
    return ClientKey(f"crd_01k2{number:022d}", principal_id(number), f"{number:043d}", jwk, Standing.ACTIVE, NOON)


def live_estate(count: int) -> LiveEstate:
    """Return the estate in memory with `count` principals, each with a key."""
    live = LiveEstate(policy_generation=1)
    for number in range(count):
        principal = principal_of(number)
        live.principals[principal.id] = principal
        live.ids[principal.name] = principal.id
        live.put_key(key_of(number))
    for name in SYSTEMS:
        system = system_of(name)
        live.systems[name] = SystemRecord(name, 1, system.digest, Standing.ACTIVE, system)
    return live


def bearer_of(number: int) -> Bearer:
    """Return what a verified token of principal `number` proves."""
    return Bearer(
        principal_id=principal_id(number),
        principal_name=f"agent-{number}",
        epoch=1,
        charter_digest=f"sha256:{number:064x}",
        token_id=f"tok_{number}",
        credential=f"{number:043d}",
        expires_at=int(NOON.timestamp()) + 300,
    )


def calls(dice: random.Random) -> Iterator[Call]:
    """Yield raw calls without end: about half allowed, the rest denied by each kind of rule, or held for approval."""
    while True:
        tool, arguments = dice.choice(_KINDS)(dice)
        system = "crm" if "contact" in tool else "payments"
        digest = digest_of({"system": system, "tool": tool, "arguments": arguments})
        yield Call(system, tool, arguments, digest, PIN)


def _read(dice: random.Random) -> tuple[str, dict[str, Any]]:
    return "get_charge", {"charge_id": f"ch_{dice.randrange(10_000)}"}


def _refund(dice: random.Random) -> tuple[str, dict[str, Any]]:
    amount = f"{dice.randrange(1, 400)}.50"
    currency = dice.choice(["EUR", "EUR", "EUR", "USD"])
    return "create_refund", {"charge_id": f"ch_{dice.randrange(10_000)}", "amount": amount, "currency": currency}


def _note(dice: random.Random) -> tuple[str, dict[str, Any]]:
    return "add_note", {"charge_id": "ch_1", "text": f"{dice.randrange(PATTERNS)} called back"}


def _contact(dice: random.Random) -> tuple[str, dict[str, Any]]:
    return "get_contact", {"id": f"c_{dice.randrange(10_000)}"}


def _update(dice: random.Random) -> tuple[str, dict[str, Any]]:
    return "update_contact", {"id": "c_1", "field": dice.choice(["phone", "mail", "name"]), "value": "+49 30 1234567"}


_KINDS = (_read, _refund, _refund, _note, _contact, _update)


@dataclass
class Deciding:
    """An estate of `count` principals, ready to decide: from a raw call to a verdict, as the pipeline does it."""

    live: LiveEstate
    slices: SliceCache
    evaluator: Evaluator

    def verdict(self, bearer: Bearer, call: Call) -> Verdict:
        """Return the verdict on one call: resolve, then decide."""
        facts = resolve(self.live, self.slices, bearer, call, NOON)
        return facts if isinstance(facts, Deny) else decide(facts.slice, facts.request, self.evaluator)


def an_engine() -> CompiledEngine:
    """Return the engine that decides in `charter up`; a disagreement ends the benchmark."""

    def disagreed(found: Disagreement) -> None:
        raise AssertionError(found)

    return CompiledEngine(CedarEngine(), disagreed)


def slices_of(live: LiveEstate, engine: Any) -> SliceCache:
    """Return the policies of an estate, bound as they are asked for."""
    return SliceCache(live, engine, load=kept_of, guardrails=lambda: (GUARDRAILS,), teams=lambda: TEAMS_FILE)


def deciding(count: int, engine: Any) -> Deciding:
    """Return an estate of `count` principals that decides with `engine`."""
    live = live_estate(count)
    return Deciding(live, slices_of(live, engine), engine)


def quantiles(took: list[float]) -> Mapping[str, float]:
    """Return the median and the 99th percentile, in the unit given."""
    ordered = sorted(took)
    return {"p50": ordered[len(ordered) // 2], "p99": ordered[int(len(ordered) * 0.99)]}
