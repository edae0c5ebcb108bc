"""What can be asked of discovery: scan a folder, draft a charter from a finding, keep and list findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charter.adapters.scanners import scan
from charter.core.clock import SystemClock, rfc3339
from charter.discovery.adopt import draft_charter
from charter.discovery.findings import finding_from, record_of
from charter.discovery.scan import ScanReport
from charter.evidence.entry import Draft, EntryKind
from charter.registry.estate import NO_TEAMS
from charter.registry.manifest import load_estate
from charter.registry.problem import EstateError

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction


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
    return [
        {
            "id": f.id,
            "kind": f.kind,
            "state": f.state.value,
            "title": f.title,
            "body": dict(f.body),
            "opened_at": rfc3339(f.opened_at),
            "days": (house.clock.now() - f.since).days,
        }
        for f in found
    ]


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
