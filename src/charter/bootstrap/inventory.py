"""What can be asked of the inventory: who is registered, what one principal is, which systems there are."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from charter import __version__
from charter.bootstrap import composition, evidence, lease_views
from charter.core.errors import CharterError
from charter.evidence.checkpoint import parse_checkpoint
from charter.evidence.entry import EntryKind
from charter.evidence.log import MAX_PAGE, Query, Stored, query
from charter.gateway.denied_now import denied_now
from charter.identity.jose import encode_base64url
from charter.identity.weakness import KINDS as WEAKNESSES
from charter.lifecycle.approval_card import card_of, masked
from charter.lifecycle.repeats import told
from charter.policy.listing import told as told_policy
from charter.registry.approval import Approval, ApprovalState
from charter.registry.declared import SECRET
from charter.registry.inventory import inventory_of
from charter.registry.principal import ClientKey, Principal
from charter.registry.record import CharterVersion, Finding, FindingState
from charter.registry.risk import risk_of
from charter.registry.rotation import due_at, over_at
from charter.registry.terms import Terms

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction

RECENT = 25
MAX_LISTED = 5_000
_TYPES = {"EC": "key", "OKP": "key"}  # what a credential is called, where its members do not say
_REACHED = frozenset({"provider", "data", "system", "tier"})  # filters on what a charter says, and not on who it is of


def listing(house: House, wanted: dict[str, str]) -> list[dict[str, Any]]:
    """Return the principals that `wanted` describes, by name.

    Args:
        house: where they are registered.
        wanted: any of team, kind, environment, standing, provider, data, system and tier, each with what it must be.
    """
    chosen = sorted((p for p in house.live.principals.values() if _is_wanted(p, wanted)), key=lambda p: p.name)
    if not _REACHED & wanted.keys():  # else each charter must be looked into
        chosen = chosen[:MAX_LISTED]

    def read(tx: HouseTransaction) -> tuple[list[CharterVersion], dict[str, list[Finding]]]:
        return [tx.registry.charter_version(p.id, p.version) for p in chosen], _weak(tx)

    versions, weak = house.database.read(read)
    told = [
        _facts(house, p, version) | {"weaknesses": _ages(house, weak.get(p.id, ()))}
        for p, version in zip(chosen, versions, strict=True)
    ]
    return [facts for facts in told if _reaches(facts, wanted)][:MAX_LISTED]


def dossier(house: House, name: str) -> dict[str, Any]:
    """Return one principal, whole: its charter, policy, keys, recent verdicts, open leases and what waits.

    Raises:
        AbsentError: there is none of that name.
    """
    principal = house.principal(name)

    def read(tx: HouseTransaction) -> tuple[CharterVersion, list[dict[str, Any]], list[Finding], list[Finding]]:
        log = evidence.log_of(house, tx)
        found = query(log, Query(principal=principal.id, kinds=(EntryKind.VERDICT,), limit=RECENT)).entries
        version = tx.registry.charter_version(principal.id, principal.version)
        verdicts = [_verdict(evidence.view(entry)) for entry in found]
        return version, verdicts, _weak(tx).get(principal.id, []), _open(tx, principal.id)

    version, recent, weak, noticed = house.database.read(read)
    keys = house.live.keys_of(principal.id)
    return _facts(house, principal, version) | {
        "charter": version.charter.to_json(),
        "policy": _policy(house, principal),
        "keys": [_key(key, principal.terms) for key in keys],
        "weaknesses": _ages(house, weak),
        "findings": [{"id": each.id, "kind": each.kind, "title": each.title} for each in noticed],
        "recent": recent,
        "waiting": [approval_view(a) for a in approvals(house, every=False) if a.principal_id == principal.id],
        "leases": lease_views.listing(house, every=False, principal=name)["leases"],
        "envelope": version.envelope,
        "signing_keys": _signing_keys(house, version.envelope),
    }


def _signing_keys(house: House, envelope: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the public keys (JWK, RFC 8037) that signed a charter's envelope; each stands in the evidence too."""
    known = house.ring.publics("charter")
    named = (str(signature["keyid"]) for signature in envelope["signatures"])
    return [
        {"kty": "OKP", "crv": "Ed25519", "x": encode_base64url(known[key_id]), "kid": key_id}
        for key_id in named
        if key_id in known
    ]


def systems(house: House) -> list[dict[str, Any]]:
    """Return the systems, by name."""
    return [
        record.system.to_json()
        | {
            "version": record.version,
            "digest": record.digest,
            "standing": record.standing.value,
            "pinned": sum(a.pin is not None for a in record.system.actions.values()),
        }
        for _, record in sorted(house.live.systems.items())
    ]


def approvals(house: House, *, every: bool) -> list[Approval]:
    """Return what waits for a person, or all that ever did, newest first."""
    states = tuple(ApprovalState) if every else (ApprovalState.WAITING,)
    found = house.database.read(lambda tx: tx.approvals.in_states(states))
    return [a for a in found if every or a.is_open(house.clock.now())]


def approval(house: House, approval_id: str) -> Approval:
    """Return one approval.

    Raises:
        AbsentError: there is none of that id.
    """
    return house.database.read(lambda tx: tx.approvals.get(approval_id))


def approval_view(approval: Approval) -> dict[str, Any]:
    """Return an approval as JSON; what looks like a credential among its arguments is masked."""
    call = approval.call | {"arguments": masked(approval.call.get("arguments") or {})}
    return {
        "id": approval.id,
        "state": approval.state.value,
        "call": call,
        "roles": list(approval.roles),
        "given": approval.given,
        "missing": list(approval.missing()),
        "asked_at": approval.asked_at.isoformat(),
        "expires_at": approval.expires_at.isoformat(),
        "verdict_id": approval.verdict_id,
    }


def repeats(house: House) -> dict[str, Any]:
    """Return the yeses to further calls that count now, the newest last."""
    live, at = house.live, house.clock.now()
    found = [each for some in live.repeats.values() for each in some if not each.is_over(at)]
    return {
        "repeats": [
            told(each)
            | {
                "principal": live.principals[each.principal_id].name,
                "arguments": masked(dict(each.arguments)),
                "reason": each.reason,
            }
            for each in sorted(found, key=lambda each: each.id)
        ]
    }


def approval_cards(house: House, found: Iterable[Approval]) -> list[dict[str, Any]]:
    """Return approvals as JSON, each with its card: who asks, what for, and what is different from usual."""
    from charter.adapters.approval_past import past_of

    live, at = house.live, house.clock.now()

    def card(tx: HouseTransaction, each: Approval) -> dict[str, Any]:
        denied = denied_now(each, live, house.slices, house.pipeline.evaluator, at) if each.is_open(at) else None
        return card_of(each, live.principals.get(each.principal_id), past_of(tx.connection, each, tx.payloads), denied)

    return house.database.read(lambda tx: [approval_view(each) | {"card": card(tx, each)} for each in found])


def _is_wanted(principal: Principal, wanted: dict[str, str]) -> bool:
    said = {
        "team": principal.owner_team,
        "kind": principal.kind.value,
        "environment": principal.environment.value,
        "standing": principal.standing.value,
    }
    return all(wanted.get(key, value) == value for key, value in said.items())


def _reaches(facts: dict[str, Any], wanted: dict[str, str]) -> bool:
    """Whether what is derived of a principal is as `wanted` says."""
    reached = {
        "provider": [facts["model"]["provider"]],
        "data": facts["data"],
        "system": facts["systems"],
        "tier": [facts["risk"]["tier"]],
    }
    return all(wanted[key] in reached[key] for key in _REACHED & wanted.keys())


def _facts(house: House, principal: Principal, version: CharterVersion) -> dict[str, Any]:
    charter = version.charter
    told = charter.to_json()
    known = {name: record.system for name, record in house.live.systems.items()}
    derived = inventory_of(charter, known).to_json()
    risk = risk_of(charter, known, house.live.central.data.value)
    return {
        "name": principal.name,
        "id": principal.id,
        "spiffe_id": principal.spiffe_id,
        "kind": principal.kind.value,
        "environment": principal.environment.value,
        "owner": told["owner"],
        "purpose": charter.purpose,
        "model": told["model"],
        "data": derived["data"],
        "systems": derived["systems"],
        "sensitive": derived["sensitive"],
        "state_changing": derived["state_changing"],
        "irreversible": derived["irreversible"],
        "risk": risk.to_json(),
        "approved": told["approved"],
        "credential": charter.credential.type.value,
        "terms": {
            "bearing": principal.terms.bearing.value,
            "token_seconds": principal.terms.token_seconds,
            "certificate": principal.terms.certificate,
            "rotate_seconds": principal.terms.rotate_seconds,
            "grace_seconds": principal.terms.grace_seconds,
        },
        "review": told["review"],
        "expires": told["expires"],
        "standing": principal.standing.value,
        "chosen": principal.chosen.value,
        "held_by": sorted(principal.held.floors) if principal.held else [],
        "composition": _composition(house, principal),
        "version": principal.version,
        "digest": principal.digest,
    }


def _composition(house: House, principal: Principal) -> dict[str, Any] | None:
    """Return the digest of what a principal is made of, and what waits for a review; None where nothing is pinned."""
    composed = house.live.compositions.get(principal.id)
    return {"digest": composed.digest, "change": composed.change} if composed else None


def _key(key: ClientKey, terms: Terms) -> dict[str, Any]:
    """Return a credential as people and programs see it; of a secret, not even its hash."""
    members = {"kty": key.jwk["kty"]} if key.jwk["kty"] == SECRET else key.jwk
    return {
        "id": key.id,
        "type": "certificate" if key.certificate else _TYPES.get(key.jwk["kty"], key.jwk["kty"]),
        "thumbprint": key.thumbprint,
        "jwk": members,
        "standing": key.standing.value,
        "registered_at": key.registered_at.isoformat(),
        "replaced_by": key.replaced_by,
        "due": _moment(due_at(key, terms)),
        "ends": _moment(over_at(key, terms)),
    }


def _moment(at: dt.datetime | None) -> str | None:
    return at.isoformat() if at else None


def _weak(tx: HouseTransaction) -> dict[str, list[Finding]]:
    """Return the weaknesses of credentials that are not mended, by principal."""
    found: dict[str, list[Finding]] = {}
    for each in tx.registry.findings.of_kinds(WEAKNESSES):
        if each.state is not FindingState.RESOLVED and each.principal_id:
            found.setdefault(each.principal_id, []).append(each)
    return found


def _open(tx: HouseTransaction, principal_id: str) -> list[Finding]:
    """Return what is open about a principal, newest first, its credential's weaknesses apart."""
    found = tx.registry.findings.in_states([FindingState.OPEN])
    about = (each for each in found if principal_id in (each.principal_id, *each.body.get("principals", ())))
    return [each for each in about if each.kind not in WEAKNESSES]


def _ages(house: House, weak: Iterable[Finding]) -> list[dict[str, Any]]:
    """Return weaknesses with their ages in whole days."""
    now = house.clock.now()
    return [
        {
            "finding": each.id,
            "kind": each.kind,
            "state": each.state.value,
            "since": each.since.isoformat(),
            "days": (now - each.since).days,
        }
        for each in weak
    ]


def _verdict(entry: dict[str, Any]) -> dict[str, Any]:
    body = entry["body"]
    first = body["reasons"][0] if body["reasons"] else {}
    return {
        "time": entry["time"],
        "index": entry["index"],
        "verdict": body["verdict"],
        "system": body["system"],
        "tool": body["tool"],
        "action": body["action"],
        "object": body["object"],
        "why": first.get("text", ""),
        "mend": first.get("mend", ""),
        "rule": first.get("rule", ""),
        "layer": first.get("layer", ""),
        "source": first.get("source"),
        "verdict_id": body["verdict_id"],
        "principal": body["principal"],
    }


def _policy(house: House, principal: Principal) -> str:
    try:
        return told_policy(house.slices.own_of(principal))
    except CharterError as err:
        return f"// cannot be bound, so nothing is allowed: {err.detail}"


def verdicts(
    house: House, after: int | None, limit: int, *, principal: str | None = None, verdict: str | None = None
) -> dict[str, Any]:
    """Return recorded verdicts in the log's order, after the index `after` or the newest, and where to go on.

    Raises:
        AbsentError: the principal is unknown.
    """
    wanted = Query(
        principal=house.principal(principal).id if principal else None, kinds=(EntryKind.VERDICT,), limit=MAX_PAGE
    )

    def read(tx: HouseTransaction) -> tuple[tuple[Stored, ...], int]:
        log = evidence.log_of(house, tx)
        size = parse_checkpoint(log.checkpoint()).size
        return query(log, wanted).entries, size - 1

    found, last = house.database.read(read)
    matching = [
        v
        for entry in reversed(found)
        if (after is None or entry.index > after)
        and ((v := _verdict(evidence.view(entry)))["verdict"] == verdict or verdict is None)
    ]
    shown = matching[-limit:] if after is None else matching[:limit]
    is_all = after is None or len(matching) <= limit
    return {"entries": shown, "next": last if is_all else shown[-1]["index"]}


def status(house: House) -> dict[str, Any]:
    """Return whether the node is well, and what it holds."""
    checkpoint = house.database.read(lambda tx: evidence.log_of(house, tx).checkpoint())
    return {
        "version": __version__,
        "node": house.database.node,
        "origin": house.database.origin,
        "issuer": house.settings.issuer,
        "egress": house.settings.egress_url,
        "principals": len(house.live.principals),
        "systems": len(house.live.systems),
        "healthy": house.database.healthy,
        "halted": house.database.halted,
        "leases": house.leasing.book.counts(),
        "compositions": composition.counts(house),
        "log_size": parse_checkpoint(checkpoint).size,
        "checkpoint": checkpoint,
    }
