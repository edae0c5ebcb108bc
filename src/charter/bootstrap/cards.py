"""Agent cards: fetched where an operator says, verified with keys the operator trusts, held against what is pinned.

INVARIANT: only addresses that the operator wrote are asked: the card's own, and key sets on hosts that they named.
INVARIANT: a card that is unsigned, not checked or badly signed is a finding; the card of a principal that is another
than was accepted is a change of its composition, whoever signed it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charter.adapters.document_fetch import DocumentFetcher
from charter.bootstrap import composition
from charter.core.canonical import digest_of
from charter.core.clock import SystemClock
from charter.core.errors import AbsentError, ErrorCode, MalformedError
from charter.discovery.adopt_card import draft_from_card, name_of, proof_told
from charter.evidence.entry import Draft, EntryKind
from charter.identity.agent_card import MAX_CARD, AgentCard, read_card
from charter.identity.card_signature import CardProof, Signed, key_addresses, verify_card
from charter.identity.foreign import ForeignKey, parse_key_set
from charter.lifecycle.composition import nothing_pinned
from charter.registry.composition import Part
from charter.registry.estate import NO_TEAMS
from charter.registry.manifest import load_estate
from charter.registry.problem import EstateError
from charter.registry.record import Finding, FindingState

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction
    from charter.registry.principal import Principal

UNPROVEN = "unproven-card"  # a kind of finding
MAX_KEY_SETS = 8
_WELL_KNOWN = "/.well-known/agent-card.json"  # A2A 1.0 section 8.2


@dataclass(frozen=True, slots=True)
class Shown:
    """A card as somebody shows it, and the key sets that count."""

    card: str
    keys: Sequence[Mapping[str, Any]]
    where: str


async def gather(where: str, keys: Path | None, hosts: Sequence[str], fetcher: DocumentFetcher | None = None) -> Shown:
    """Return the card at `where`, a file or an address, with the key sets of the file `keys` and of named `hosts`.

    Raises:
        MalformedError: it is no card, or a key set is none.
        FetchError: something could not be fetched.
        OSError: a file cannot be read.
    """
    fetcher = fetcher or DocumentFetcher()
    if where.startswith(("https://", "http://")):
        address = where if where.count("/") > 2 and not where.endswith("/") else where.rstrip("/") + _WELL_KNOWN  # noqa: PLR2004 - scheme and host
        data = (await fetcher.fetch(address, limit=MAX_CARD)).body
    else:
        data = await asyncio.to_thread(_read, Path(where))
    card = read_card(data)
    own = [] if keys is None else [_document(await asyncio.to_thread(_read, keys), str(keys))]
    served = [
        _document((await fetcher.fetch(address)).body, address) for address in key_addresses(card, hosts)[:MAX_KEY_SETS]
    ]
    return Shown(data.decode(), [*own, *served], where)


async def look(house: House, shown: Shown, *, principal: str | None, actor: str) -> dict[str, Any]:
    """Verify a card; keep what is wrong with it as a finding; hold a principal's pinned card against it.

    Raises:
        MalformedError: it is no card, or a key set is none.
        AbsentError: there is no such principal, or its charter pins no card.
    """
    card, holder = read_card(shown.card.encode()), _holder(house, principal)
    proof = verify_card(card, _keys(shown.keys))
    finding = await house.database.awrite(lambda tx: _noted(house, tx, card, proof, shown.where, holder, actor))
    told = {
        "name": card.content["name"],
        "version": card.content["version"],
        "digest": card.digest,
        "proposes": name_of(card),
        "outcome": proof.outcome.value,
        "key": proof.key_id,
        "why": proof_told(proof),
        "finding": finding,
    }
    if holder is None:
        return told
    by = f"the signature of {proof.key_id}" if proof.outcome is Signed.TRUSTED else "a card that nobody vouches for"
    if proof.outcome is Signed.TRUSTED or card.digest not in _accepted(house, holder):
        await composition.saw(house, holder.id, {Part.CARD.value: card.digest}, by=by)
    return told | {"composition": composition.view(house, holder.name)}


def draft(card: str, told: Mapping[str, Any], where: str, estate: Path) -> tuple[str, str]:
    """Return the name and text of a draft charter for a card that was looked at, in the words of the estate."""
    try:
        teams = load_estate(estate).teams.value
    except EstateError:
        teams = NO_TEAMS.value  # a draft is no worse for an estate that someone is in the middle of writing
    proof = CardProof(Signed(told["outcome"]), told["key"])
    return draft_from_card(read_card(card.encode()), proof, where, teams=teams, at=SystemClock().now())


def _holder(house: House, name: str | None) -> Principal | None:
    if name is None:
        return None
    principal = house.principal(name)
    composed = house.live.compositions.get(principal.id)
    if composed is None:
        raise nothing_pinned(name)
    if Part.CARD.value not in {**composed.accepted, **composed.declared}:
        raise AbsentError(
            ErrorCode.NOT_PINNED, f"the charter of `{name}` pins no agent card", help="write `composition: {card: …}`"
        )
    return principal


def _accepted(house: House, holder: Principal) -> tuple[str, ...]:
    return house.live.compositions[holder.id].accepted.get(Part.CARD.value, ())


def _noted(  # noqa: PLR0913, PLR0917 - what one look at a card found
    house: House,
    tx: HouseTransaction,
    card: AgentCard,
    proof: CardProof,
    where: str,
    holder: Principal | None,
    actor: str,
) -> str | None:
    """Keep what is wrong with a card as a finding, or resolve the finding of a card that is well now."""
    fingerprint = digest_of(
        {"kind": UNPROVEN, "card": card.digest, "principal": holder.id if holder else None, "outcome": proof.outcome}
    )
    if proof.outcome is Signed.TRUSTED:
        _resolve(tx, card.digest, holder, actor)
        return None
    title = f"the agent card {str(card.content['name'])[:80]!a} is not proved: {proof_told(proof)}"[:300]
    body = {"card": card.digest, "outcome": proof.outcome.value, "faults": list(proof.faults), "where": where[:300]}
    if holder is not None:
        body["principal"] = holder.name
    finding = Finding.noticed(
        house.entropy.identifier("fnd"),
        UNPROVEN,
        fingerprint,
        title=title,
        body=body,
        at=tx.at,
        principal_id=holder.id if holder else None,
    )
    kept, is_new = tx.registry.findings.open(finding)
    if is_new or kept.state is FindingState.RESOLVED:
        if not is_new:
            kept = replace(kept, state=FindingState.OPEN, changed_at=tx.at)
            tx.registry.findings.update(kept)
        _tell(tx, kept, EntryKind.FINDING_OPENED if is_new else EntryKind.FINDING_CHANGED, actor)
    return kept.id


def _resolve(tx: HouseTransaction, digest: str, holder: Principal | None, actor: str) -> None:
    for each in tx.registry.findings.of_kinds([UNPROVEN]):
        is_its = each.principal_id == (holder.id if holder else None) and each.body["card"] == digest
        if is_its and each.state is FindingState.OPEN:
            moved = each.moved(FindingState.RESOLVED, tx.at)
            tx.registry.findings.update(moved)
            _tell(tx, moved, EntryKind.FINDING_CHANGED, actor)


def _tell(tx: HouseTransaction, finding: Finding, kind: EntryKind, actor: str) -> None:
    body = {"finding": finding.id, "kind": finding.kind, "title": finding.title, "state": finding.state.value}
    tx.record(Draft(kind, actor, finding.principal_id, body | dict(finding.body)))
    tx.changed("finding", finding.id, actor=actor, reason=finding.title)


def _keys(sets: Sequence[Mapping[str, Any]]) -> tuple[ForeignKey, ...]:
    return tuple(key for each in sets for key in parse_key_set(each))


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_CARD + 1)  # one more than a card may have, so that a longer one is told from it


def _document(data: bytes, where: str) -> Mapping[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise MalformedError(
            ErrorCode.BAD_VALUE, f"`{where}` is no JWK Set", help='it holds {"keys": […]}: RFC 7517 section 5'
        )
    return found
