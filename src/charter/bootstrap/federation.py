"""Federation with other trust domains: begin and end relationships, ask their endpoints in time, show what came."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from charter.core.clock import rfc3339
from charter.core.errors import CharterError, UnavailableError
from charter.identity.bundle import Bundle
from charter.identity.federation import (
    Federation,
    Profile,
    add_federation,
    answered,
    known_federation,
    plan_federation,
    remove_federation,
    unanswered,
)

if TYPE_CHECKING:
    from charter.bootstrap.house import House

EVERY_SECONDS = 5.0
AT_ONCE = 8  # endpoints asked at a time


async def add(
    house: House,
    trust_domain: str,
    given: dict[str, Any],
    *,
    actor: str,
    reason: str,
) -> dict[str, Any]:
    """Begin a relationship, and ask its endpoint at once; return how it stands then.

    `given` has `url`, `profile`, and perhaps `endpoint_id`, `networks` and `bundle`.

    Raises:
        MalformedError: a parameter is wrong.
        ConflictError: there is one already, or it is our own trust domain.
    """
    wanted = plan_federation(
        trust_domain,
        given["url"],
        Profile(given["profile"]),
        endpoint_id=given.get("endpoint_id"),
        networks=given.get("networks") or (),
        by=actor,
        at=house.clock.now(),
    )
    bundle = given.get("bundle")
    first = bundle.encode() if bundle else None
    await house.database.awrite(lambda tx: add_federation(tx, house.trust, wanted, first, reason=reason))
    await _ask(house, wanted)
    return show(house, trust_domain)


async def remove(house: House, trust_domain: str, *, actor: str, reason: str) -> dict[str, Any]:
    """End a relationship.

    Raises:
        AbsentError: there is none.
    """
    await house.database.awrite(lambda tx: remove_federation(tx, house.trust, trust_domain, actor=actor, reason=reason))
    return {"trust_domain": trust_domain, "removed": True}


async def refresh(house: House, trust_domain: str) -> dict[str, Any]:
    """Ask the endpoint of a relationship now; return how it stands then.

    Raises:
        AbsentError: there is none.
    """
    await _ask(house, house.database.read(lambda tx: known_federation(tx, trust_domain)))
    return show(house, trust_domain)


def listing(house: House) -> list[dict[str, Any]]:
    """Return every relationship and how it stands."""
    return [_view(each, house.trust.bundles.get(each.trust_domain)) for each in _all(house)]


def show(house: House, trust_domain: str) -> dict[str, Any]:
    """Return one relationship and how it stands.

    Raises:
        AbsentError: there is none.
    """
    found = house.database.read(lambda tx: known_federation(tx, trust_domain))
    return _view(found, house.trust.bundles.get(trust_domain))


async def keep_asking(house: House, stop: asyncio.Event) -> None:
    """Ask endpoints when they are due, until `stop`."""
    while not stop.is_set():
        with contextlib.suppress(UnavailableError):  # the store: it is tried again the next time
            await ask_those_due(house)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), EVERY_SECONDS)


async def ask_those_due(house: House) -> int:
    """Ask the endpoints that are due; return how many."""
    now, bundles = house.clock.now(), house.trust.bundles
    due = [each for each in await asyncio.to_thread(_all, house) if now >= each.next_at(bundles.get(each.trust_domain))]
    for start in range(0, len(due), AT_ONCE):
        await asyncio.gather(*(_ask(house, each) for each in due[start : start + AT_ONCE]))
    return len(due)


async def _ask(house: House, asked: Federation) -> None:
    """Ask one endpoint, and write down what came of it."""
    try:
        body = await house.bundle_fetcher.fetch(asked, house.trust.bundles)
        await house.database.awrite(lambda tx: answered(tx, house.trust, asked, body))
    except CharterError as err:
        why = err.detail
        await house.database.awrite(lambda tx: unanswered(tx, house.trust, asked, why))


def _all(house: House) -> list[Federation]:
    return house.database.read(lambda tx: tx.trust.federations())


def _view(federation: Federation, bundle: Bundle | None) -> dict[str, Any]:
    due = federation.next_at(bundle)
    return {
        "trust_domain": federation.trust_domain,
        "url": federation.url,
        "profile": federation.profile.value,
        "endpoint_id": federation.endpoint_id,
        "networks": list(federation.networks),
        "added_at": rfc3339(federation.added_at),
        "added_by": federation.added_by,
        "refreshed_at": rfc3339(federation.refreshed_at) if federation.refreshed_at else None,
        "next_at": rfc3339(due),
        "failure": federation.failure,
        "is_trusted": bundle is not None,
        "sequence": bundle.sequence if bundle else None,
        "x509_authorities": len(bundle.x509_authorities) if bundle else 0,
        "jwt_authorities": len(bundle.jwt_authorities) if bundle else 0,
    }
