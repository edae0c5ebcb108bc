"""What a person's consent does in the house: lend what was shown, and keep what the client picks it up with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from charter.core.errors import ConflictError, ErrorCode
from charter.identity.asking import WayBack
from charter.identity.asking_client import AskingClient, asking_client, check_redirect
from charter.identity.authority import refusal
from charter.identity.consent import CODE_SECONDS, ConsentCode
from charter.identity.delegation import Loan, lend
from charter.identity.issuance import system_at
from charter.registry.duration import write_duration
from charter.registry.lending import Side, longest
from charter.registry.lent_scope import EVERYTHING

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction
    from charter.registry.principal import Principal

MAX_TRIES = 4


@dataclass(frozen=True, slots=True)
class Consent:
    """What a person agreed to."""

    person: str
    principal_id: str
    resource: str
    purpose: str
    door: str  # browser | device
    back: WayBack | None = None


async def asking(house: House, client_id: str, redirect_uri: str | None) -> tuple[AskingClient, str]:
    """Return which client asks, and where its answer goes.

    Raises:
        AbsentError: no principal goes by that client.
        MalformedError: the redirect address is not one of its own.
        UnavailableError: its metadata cannot be had.
    """
    client = asking_client(house.live, client_id)
    document = await house.client_metadata.of(client.document) if client.document else None
    return client, check_redirect(client, redirect_uri, document)


def card(house: House, principal_id: str, resource: str) -> dict[str, Any]:
    """Return what a person is shown before they agree: who asks, for what system, and what it could do there."""
    principal = house.live.principals[principal_id]
    record = system_at(house.live, house.settings.issuer, resource)
    bound = house.slices.of(principal)
    actions = sorted(bound.actions_on(record.name)) if record else []
    effects = {name: record.system.actions[name].effect.value for name in actions} if record else {}
    terms = bound.delegation
    side = Side(principal.name, terms)
    stopped = refusal(house.live, principal.id, None, at=house.clock.now())
    return {
        "stopped": stopped.text if stopped else None,
        "principal": principal.name,
        "kind": principal.kind.value,
        "environment": principal.environment.value,
        "owner": {"person": principal.owner_person, "team": principal.owner_team},
        "system": record.name if record else None,
        "title": record.system.title if record else None,
        "actions": [{"name": name, "effect": effects[name]} for name in actions],
        "purposes": list(terms.purposes) if terms else [],
        "lends": terms is not None and "humans" in terms.source,
        "lasts": write_duration(longest(side, side)),
    }


async def grant(house: House, consent: Consent, *, pickup: str) -> None:
    """Lend what a person agreed to; `pickup` is the digest of what the client picks it up with.

    Raises:
        DeniedError: the charter does not allow it.
        MalformedError: the purpose is no name.
    """
    for _ in range(MAX_TRIES):
        principal = house.live.principals[consent.principal_id]
        work = partial(_lend, house=house, consent=consent, principal=principal, pickup=pickup)
        if await house.database.awrite(work):
            return
    raise ConflictError(ErrorCode.STALE, "the charter changed while this was lent", help="ask again")


def _lend(tx: HouseTransaction, *, house: House, consent: Consent, principal: Principal, pickup: str) -> bool:
    record = system_at(tx.live, house.settings.issuer, consent.resource)
    scope = EVERYTHING.on(record.name) if record else EVERYTHING
    loan = Loan(
        id=house.entropy.identifier("del"),
        person=consent.person,
        borrower=principal.id,
        purpose=consent.purpose,
        scope=scope,
        lasts=None,
        control_plane=house.settings.issuer,
        made_by=consent.person,
        door=consent.door,
        reason=f"consent to {consent.resource}"[:200],
    )
    side = Side(principal.name, house.slices.of(principal).delegation)
    made, back = lend(tx, loan, side, principal.digest), consent.back
    if made is None:
        return False
    tx.consents.add_code(
        ConsentCode(
            digest=pickup,
            principal_id=principal.id,
            delegation_id=loan.id,
            resource=consent.resource,
            redirect_uri=back.redirect_uri if back else None,
            challenge=back.challenge if back else None,
            proof_key=back.proof_key if back else None,
            expires_at=int(tx.at.timestamp()) + CODE_SECONDS if back else made.link.expires_at,
        )
    )
    return True
