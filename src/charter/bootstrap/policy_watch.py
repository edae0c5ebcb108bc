"""What becomes of a disagreement between compiled policies and Cedar: it is a finding, and stands in the evidence."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from charter.core.canonical import digest_of
from charter.identity.noting import note
from charter.registry.record import Finding

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction
    from charter.policy.decide import Answer
    from charter.policy.shadow import Disagreement

POLICY_DISAGREEMENT = "policy-disagreement"
_log = logging.getLogger("charter.policy")


def hear_disagreement(house: House, found: Disagreement) -> None:
    """Record that the compiled form of a principal's policies and Cedar said different things of one call.

    Nobody waits for it: the call in hand is denied already, and its own verdict says why.
    """
    principal = house.live.principal_named(found.principal)
    body = {
        "principal": found.principal,
        "charter": principal.digest if principal else None,
        "action": found.action,
        "compiled": _told(found.compiled),
        "cedar": _told(found.reference),
    }
    _log.error("compiled policies are out of use: they and Cedar do not agree: %s", body)

    def work(tx: HouseTransaction) -> None:
        finding = Finding.noticed(
            house.entropy.identifier("fnd"),
            POLICY_DISAGREEMENT,
            digest_of(body),
            title=f"the compiled policies of `{found.principal}` and Cedar do not agree, so none is used any more",
            body=body,
            at=tx.at,
            principal_id=principal.id if principal else None,
        )
        note(tx, finding, actor="charter")

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        house.database.write(work)  # no loop here that waiting could hold up
        return
    house.database.awrite(work).add_done_callback(_noted)


def _told(answer: Answer) -> dict[str, Any]:
    return {"allowed": answer.allowed, "rules": list(answer.rules), "errors": len(answer.errors)}


def _noted(task: asyncio.Future[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.warning("the disagreement could not be recorded: %s", task.exception())
