"""How leases are shown: to operators, to holders, on the console."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from charter.core.clock import rfc3339
from charter.registry.lease import Lease

if TYPE_CHECKING:
    from charter.bootstrap.house import House

MAX_LISTED = 500


def view(lease: Lease) -> dict[str, Any]:
    """Return a lease as it is shown. There is no secret in it, and none to find."""
    return {
        "id": lease.id,
        "principal": lease.holder.principal_name,
        "system": lease.system,
        "kind": lease.kind,
        "state": lease.state.value,
        "rights": [
            {"action": r.action, "on": r.on, "verbs": list(r.verbs), "verdict_id": r.verdict_id} for r in lease.rights
        ],
        "handle": dict(lease.handle),
        "delegation": lease.holder.delegation,
        "created_at": rfc3339(lease.created_at),
        "expires_at": rfc3339(lease.expires_at),
        "ends_at": rfc3339(lease.ends_at),
        "renewals": lease.renewals,
        "why": lease.why,
        "attempts": lease.attempts,
        "next_try_at": _told(lease.next_try_at),
        "error": lease.error,
        "overdue": lease.is_overdue,
    }


def listing(house: House, *, every: bool, principal: str | None = None, system: str | None = None) -> dict[str, Any]:
    """Return the open leases, or the newest of all, and how many there are of which sort.

    Raises:
        AbsentError: no principal has that name.
    """
    principal_id = house.principal(principal).id if principal else None
    wanted = {"principal_id": principal_id, "system": system}
    if every:
        found = list(house.database.read(lambda tx: tx.leases.newest(MAX_LISTED, **wanted)))
    else:
        open_ones = list(house.leasing.book.open.values())
        found = [each for each in open_ones if all(v in (None, getattr(each, k)) for k, v in wanted.items())]
    newest = sorted(found, key=lambda lease: (lease.created_at, lease.id), reverse=True)
    return {"leases": [view(lease) for lease in newest], "counts": house.leasing.book.counts()}


def show(house: House, lease_id: str) -> dict[str, Any]:
    """Return one lease, whatever became of it.

    Raises:
        AbsentError: there is none of that id.
    """
    return view(house.database.read(lambda tx: tx.leases.get(lease_id)))


def _told(at: dt.datetime | None) -> str | None:
    return rfc3339(at) if at else None
