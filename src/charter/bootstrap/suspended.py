"""What ends with the standing of a principal that a finding suspended."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from charter.lifecycle import leases
from charter.lifecycle.holds import BY_CHARTER, Shifted

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction


def end_under_way(house: House, tx: HouseTransaction, shifted: Shifted | None, cause: str) -> None:
    """End what is under way on the authority of a principal that was suspended, for `cause`. A work."""
    if shifted is None or not shifted.withdraws:
        return
    principal = shifted.principal
    why = f"the authority of `{principal.name}` was withdrawn: {cause}"
    leases.end_resting(tx, house.leasing.book, [principal.id], why=why, actor=BY_CHARTER)
    tx.after_commit(partial(_withdrawn, house, principal.id, why))


def _withdrawn(house: House, principal_id: str, why: str) -> None:
    house.pipeline.withdrawn(principal_id, why)
