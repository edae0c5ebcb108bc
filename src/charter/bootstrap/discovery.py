"""What can be asked of discovery: scan a folder, draft a charter from a finding, keep and list findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charter.adapters.scanners import scan
from charter.bootstrap import behaviour_views, evidence, responses
from charter.core.clock import SystemClock, rfc3339
from charter.discovery.adopt import draft_charter
from charter.discovery.findings import finding_from, record_of
from charter.discovery.scan import ScanReport
from charter.evidence.entry import Draft, EntryKind
from charter.lifecycle import sharing
from charter.lifecycle.holds import check_settled_elsewhere
from charter.registry.estate import NO_TEAMS
from charter.registry.manifest import load_estate
from charter.registry.problem import EstateError
from charter.registry.record import Finding, FindingState

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction


_STATUS = {
    FindingState.OPEN: "New",
    FindingState.ADOPTED: "Resolved",
    FindingState.ACCEPTED: "Suppressed",
    FindingState.RESOLVED: "Resolved",
}
_SEVERITY = {"proved": "High", "stated": "Medium", "seen": "Low"}
_CONFIDENCE = {"proved": "High", "stated": "Medium", "seen": "Low"}


def scan_folder(path: Path) -> ScanReport:
    """Return what a scan of `path` finds. Runs nothing of it."""
    return scan(path)


def draft(body: Mapping[str, Any], estate: Path) -> tuple[str, str]:
    """Return the name and text of a draft charter for a finding, in the words of the estate as far as it is valid."""
    try:
        known = load_estate(estate)
        teams, systems = known.teams.value, {name: part.value for name, part in known.systems.items()}
    except EstateError:
        teams, systems = (
            NO_TEAMS.value,
            {},
        )  # a draft is no worse for an estate that someone is in the middle of writing
    return draft_charter(finding_from(body), teams=teams, systems=systems, at=SystemClock().now())


def listing(house: House) -> list[dict[str, Any]]:
    """Return the findings kept, newest first."""
    found = house.database.read(lambda tx: tx.registry.findings.in_states())
    return [finding_view(house, each) for each in found]


def finding(house: House, finding_id: str) -> dict[str, Any]:
    """Return one finding, with the entries that it names.

    Raises:
        AbsentError: there is none of that id.
    """
    found = house.database.read(lambda tx: tx.registry.findings.get(finding_id))
    return finding_view(house, found) | {"entries": evidence.entries_at(house, found.body.get("entries", ()))}


def finding_view(house: House, found: Finding) -> dict[str, Any]:
    """Return a finding as it is shown; `status`, `severity` and `confidence` are OCSF's words (Detection Finding)."""
    certainty = str(found.body.get("certainty", ""))
    owner = house.live.principals.get(found.principal_id or "")
    return {
        "id": found.id,
        "kind": found.kind,
        "state": found.state.value,
        "title": found.title,
        "body": dict(found.body),
        "principals": found.body.get("names") or ([owner.name] if owner else []),
        "opened_at": rfc3339(found.opened_at),
        "days": (house.clock.now() - found.since).days,
        "status": _STATUS[found.state],
        "severity": _SEVERITY.get(certainty, "Medium"),
        "confidence": _CONFIDENCE.get(certainty, "Unknown"),
        "first_seen": rfc3339(found.opened_at),
        "last_seen": found.body.get("last_at", rfc3339(found.opened_at)),
        "count": found.body.get("count", 1),
    }


async def settle(house: House, finding_id: str, to: str, *, actor: str, reason: str) -> dict[str, Any]:
    """Move a finding on a person's word: `accepted`, `resolved` or `open`.

    Raises:
        AbsentError: there is none of that id.
        ConflictError: it is so already, would be settled twice, or holds a principal until something is reviewed.
    """

    def work(tx: HouseTransaction) -> Finding:
        found = tx.registry.findings.get(finding_id)
        if found.kind == responses.BEHAVIOUR:
            return behaviour_views.settle(house, tx, found, FindingState(to), actor=actor, reason=reason)
        check_settled_elsewhere(tx.live, found)
        return sharing.settle(tx, found, FindingState(to), actor=actor, reason=reason)

    return finding_view(house, await house.database.awrite(work))


async def keep(house: House, bodies: Sequence[Mapping[str, Any]], *, actor: str) -> int:
    """Keep the findings of a scan; return how many were new.

    Raises:
        MalformedError: one is none.
    """
    found = [finding_from(body) for body in bodies]

    def work(tx: HouseTransaction) -> int:
        new = 0
        for each in found:
            kept, is_new = tx.registry.findings.open(record_of(each, house.entropy.identifier("fnd"), tx.at))
            if is_new:
                new += 1
                body = {"finding": kept.id, "kind": kept.kind, "title": kept.title, "fingerprint": kept.fingerprint}
                tx.record(Draft(EntryKind.FINDING_OPENED, actor, None, body))
        return new

    return await house.database.awrite(work)
