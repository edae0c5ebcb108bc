"""What others tell becomes evidence: each event once, matched to the principal it is known to be.

INVARIANT: an actor is a principal by what the source makes sure of and a charter names, or by a person's word; never by
what it calls itself.

INVARIANT: a work takes its events whole: their entries, and the memory that they were told, or none of it. So whoever
was interrupted tells everything again, and only what was missing is added.
INVARIANT: an event told otherwise than before is not added, and is no silent repetition either: it is set aside.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from charter.bootstrap.reconciling import Follower
from charter.core.canonical import digest_of
from charter.core.clock import rfc3339
from charter.core.errors import AbsentError, CharterError, ErrorCode, MalformedError
from charter.evidence.checkpoint import parse_checkpoint
from charter.evidence.entry import Draft, EntryKind
from charter.evidence.observation import MAX_TEXT, Observation
from charter.evidence.vendors.readers import READERS, read_observations
from charter.identity.noting import note
from charter.registry.declared import FEDERATED, SPIFFE
from charter.registry.issuer import Platform
from charter.registry.principal import ClientKey
from charter.registry.record import Finding, FindingState

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction

SHADOW_AI = "shadow-ai"
MAX_GROUP = 200  # events of one work
MAX_LINES = 2_000  # of one request
MAX_FINDINGS = 100  # opened by one request: what one file can put before people
_LEASE = re.compile(r"charter-(lea_[0-9a-z]{1,36})")


@dataclass(slots=True)
class Taken:
    """What became of what was told."""

    added: int = 0
    repeated: int = 0
    unknown: int = 0  # of those added: by actors that are no principal
    findings: int = 0
    disagreements: int = 0  # findings of effects that are not what was decided
    aside: list[tuple[int, str]] = field(default_factory=list)  # the numbers of lines set aside, and why
    told_of: frozenset[tuple[str, str]] = frozenset()  # sources and actors whose findings are there already

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        aside = [{"line": number, "why": why} for number, why in sorted(self.aside)]
        counts = {"added": self.added, "repeated": self.repeated, "unknown": self.unknown, "findings": self.findings}
        return counts | {"disagreements": self.disagreements, "set_aside": aside}


@dataclass(frozen=True, slots=True)
class Told:
    """One event, with the number it is told under, and the principal that proved that it sends it, if one did."""

    number: int
    event: Observation
    principal_id: str | None = None


async def ingest(house: House, kind: str, lines: Sequence[str], *, first: int, file: str, actor: str) -> dict[str, Any]:
    """Take the lines of a log of that kind; `first` is the number of the first of them in the file.

    Raises:
        MalformedError: there is no such kind of log, or there are too many lines.
    """
    if kind not in READERS:
        raise MalformedError(
            ErrorCode.BAD_VALUE, f"{kind[:40]!a} is no kind of log", help=f"there are {', '.join(READERS)}"
        )
    told, taken = [], Taken()
    for number, line in enumerate(lines, first):
        try:
            told += [Told(number, each) for each in read_observations(line.encode(), kind)]
        except UnicodeEncodeError:
            taken.aside.append((number, "it is no text"))
        except CharterError as err:
            taken.aside.append((number, err.detail))
    brought = {"file": file[:MAX_TEXT], "by": actor}
    follower = Follower(house.database.read_log(lambda log: parse_checkpoint(log.checkpoint()).size) - 1)
    await take(house, told, brought, taken)
    taken.disagreements = await follower.go_on(house)
    return taken.to_json()


async def take(house: House, told: Sequence[Told], brought: dict[str, str], taken: Taken) -> None:
    """Add what was told to the evidence, and to `taken` what became of it."""
    marks = _marks(house) if any(each.principal_id is None for each in told) else {}
    for start in range(0, len(told), MAX_GROUP):
        group = told[start : start + MAX_GROUP]
        known = _known(house, group, marks)
        done = await house.database.awrite(partial(_take, house, group, known, brought, taken))
        taken.added += done.added
        taken.repeated += done.repeated
        taken.unknown += done.unknown
        taken.findings += done.findings
        taken.aside += done.aside
        taken.told_of = done.told_of


def _take(
    house: House,
    group: Sequence[Told],
    known: Mapping[str, tuple[str, str]],
    brought: dict[str, str],
    before: Taken,
    tx: HouseTransaction,
) -> Taken:
    done, told_of = Taken(), set(before.told_of)
    found = tx.observations.digests([each.event.identity for each in group])
    fresh: list[tuple[str, str]] = []
    for each in group:
        event = each.event
        earlier = found.get(event.identity)
        if earlier is not None:
            if earlier == event.digest:
                done.repeated += 1
            else:
                done.aside.append((each.number, f"the event {event.event[:80]!a} was told otherwise before"))
            continue
        found[event.identity] = event.digest
        fresh.append((event.identity, event.digest))
        who, how = (each.principal_id, "token") if each.principal_id else known.get(event.identity, (None, ""))
        principal = tx.live.principals.get(who) if who else None
        index = tx.record(event.draft((principal.id, principal.name) if principal else None, how, brought))
        done.added += 1
        if principal is None:
            done.unknown += 1
            actor = (event.source, event.actor)
            if event.uses_ai and actor not in told_of and before.findings + done.findings < MAX_FINDINGS:
                told_of.add(actor)
                done.findings += _open_finding(house, tx, event, index)
    tx.observations.add(fresh)
    done.told_of = frozenset(told_of)
    return done


def _open_finding(house: House, tx: HouseTransaction, event: Observation, index: int) -> bool:
    """Open the finding of an actor that uses AI and is no principal; return whether it is new."""
    who = event.who
    body = {
        "source": event.source,
        "actor": event.actor,
        "actor_kind": who.kind,
        "action": event.action,
        "service": event.service,
        "model": event.used.model if event.used else "",
        "at": rfc3339(event.at),
        "certainty": "stated" if event.source in ("otlp", "jsonl") else "proved",  # by the platform's own log
        "entries": [index],
    }
    finding = Finding.noticed(
        house.entropy.identifier("fnd"),
        SHADOW_AI,
        digest_of({"kind": SHADOW_AI, "source": event.source, "actor": event.actor}),
        title=f"{event.actor[:120]!a} uses AI, as {event.source} tells ({event.action[:80]}), and is no principal",
        body=body,
        at=tx.at,
    )
    return note(tx, finding, actor="charter")[1]


# --- who an actor is --------------------------------------------------------------------------------------------------


Mark = tuple[str, str]  # the kind of log, and what that makes sure of


def _known(house: House, group: Sequence[Told], marks: Mapping[Mark, str | None]) -> dict[str, tuple[str, str]]:
    """Return whom the actors of events are known to be, and by what: the events by their identity."""
    said = house.database.read(lambda tx: tx.observations.known())
    found = {}
    for each in group:
        event = each.event
        ways = (
            *((said.get((event.source, event.named(name))), "a person's word") for name in event.who.names),
            *((marks.get((event.source, mark)), f"what {event.source} makes sure of") for mark in event.who.marks),
            (_lease_holder(house, event), "the session of a lease"),
        )
        for holder, how in ways:
            if holder is not None:
                found[event.identity] = (holder, how)
                break
    return found


def _marks(house: House) -> dict[Mark, str | None]:
    """Return by what charters say that platforms know their principals; None where two say the same."""
    found: dict[Mark, str | None] = {}
    for key in house.live.keys.values():
        for mark in _marks_of(house, key):
            same = found.get(mark, key.principal_id) == key.principal_id
            found[mark] = key.principal_id if same else None
    for principal in house.live.principals.values():
        found.setdefault(("jsonl", principal.spiffe_id), principal.id)
    return found


def _marks_of(house: House, key: ClientKey) -> Iterator[Mark]:
    """Yield how logs name whoever a declared credential is."""
    if key.jwk.get("kty") == SPIFFE and "id" in key.jwk:
        yield "jsonl", key.jwk["id"]
    if key.jwk.get("kty") != FEDERATED:
        return
    issuer = house.live.issuers.issuers.get(key.jwk.get("issuer", ""))
    claims: dict[str, Any] = json.loads(key.jwk.get("claims", "{}"))
    texts = {name: value for name, value in claims.items() if isinstance(value, str)}
    match issuer.platform if issuer else None:
        case Platform.KUBERNETES if {"namespace", "service_account"} <= texts.keys():
            yield "kubernetes", f"system:serviceaccount:{texts['namespace']}:{texts['service_account']}"
        case Platform.AWS:
            if {"account", "role"} <= texts.keys():
                yield "cloudtrail", f"{texts['account']}/{texts['role']}"
            if "arn" in texts:
                yield "cloudtrail", texts["arn"]
        case Platform.AZURE:
            yield from (("entra", texts[name]) for name in ("oid", "azp", "appid") if name in texts)
        case _:
            return


def _lease_holder(house: House, event: Observation) -> str | None:
    """Return who holds the lease that AWS gave this session for: by AWS's own id of it, not by its name alone."""
    named = _LEASE.fullmatch(event.who.id.partition(":")[2]) if event.source == "cloudtrail" else None
    if named is None:
        return None
    try:
        lease = house.database.read(lambda tx: tx.leases.get(named[1]))
    except AbsentError:
        return None
    return lease.principal_id if lease.handle.get("userid") == event.who.id else None


async def identify(house: House, source: str, actor: str, principal: str, *, by: str, reason: str) -> dict[str, Any]:
    """Say that a source's actor is a principal: what it tells from now on is about that; its finding is adopted.

    Raises:
        AbsentError: there is no such principal.
        MalformedError: there is no such source.
    """
    if source not in READERS and source != "otlp":
        known = ", ".join((*READERS, "otlp"))
        raise MalformedError(ErrorCode.BAD_VALUE, f"{source[:40]!a} is no source", help=f"there are {known}")
    found = house.principal(principal)
    body = {"principal": found.name, "source": source, "name": actor, "reason": reason}

    def work(tx: HouseTransaction) -> None:
        tx.observations.identify(source, actor, found.id, by, rfc3339(tx.at))
        tx.record(Draft(EntryKind.ACTOR_IDENTIFIED, by, found.id, body))
        for each in tx.registry.findings.of_kinds((SHADOW_AI,)):
            if each.state is FindingState.OPEN and (each.body["source"], each.body["actor"]) == (source, actor):
                tx.registry.findings.update(replace(each.moved(FindingState.ADOPTED, tx.at, found.id)))
                said = {"finding": each.id, "kind": SHADOW_AI, "to": "adopted", "reason": reason}
                tx.record(Draft(EntryKind.FINDING_CHANGED, by, found.id, said))

    await house.database.awrite(work)
    return {"source": source, "actor": actor, "principal": found.name}
