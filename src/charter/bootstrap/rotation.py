"""What people do to have credentials replaced, and what can be asked of their ages: all kinds in one list.

Charter's own keys are replaced by itself (bootstrap/tending.py) and by `authority.rotate`; clients replace theirs
(server/oauth_rotation.py), and are asked to here.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from charter.bootstrap import node
from charter.bootstrap.people import provisioner_view
from charter.bootstrap.tending import notice_overdue
from charter.core.clock import rfc3339
from charter.core.errors import ConflictError, ErrorCode
from charter.identity import credential
from charter.identity.certificate import certificate_in
from charter.identity.credential import SharedKey, key_named
from charter.identity.jose import parse_public_jwk
from charter.identity.rotation import Change, Forked, Succession, ask_for, replace_by, succeed
from charter.identity.secret import fresh_secret, keep_secret, secrets_of
from charter.lifecycle import directory as deeds
from charter.registry.principal import ClientKey, Principal
from charter.registry.rotation import OVERLAP, SECRET_OVERLAP, grows_old, overlap_of

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction

TOKEN_OVERLAP = dt.timedelta(days=1)  # of a directory's token, which people carry about


@dataclass(frozen=True, slots=True)
class Wish:
    """How a person wants something replaced: at once, or counting on for a while (None: as is usual)."""

    actor: str
    reason: str
    at_once: bool = False
    overlap: dt.timedelta | None = None

    def change(self, principal: Principal, usual: dt.timedelta) -> Change:
        """Return the change to one of a principal's credentials."""
        lasts = None if self.at_once else overlap_of(principal.terms, self.overlap, usual)
        return Change(self.actor, self.reason, lasts)


async def rotate_key(
    house: House, name: str, key_id: str | None, offered: dict[str, Any] | str | None, wish: Wish
) -> dict[str, Any]:
    """Have a principal's key replaced: by `offered` (a JWK, or a certificate in PEM), else by its client.

    Raises:
        AbsentError: there is no such principal or key.
        ConflictError: it is not clear which key, or it is replaced already, or the offered one is another's.
    """
    principal = house.principal(name)
    if offered is None:
        return await _ask_client(house, principal, key_id, wish)
    shown = certificate_in(offered) if isinstance(offered, str) else None
    jwk = shown.jwk if shown else offered

    def work(tx: HouseTransaction) -> Succession | SharedKey | Forked:
        old = _chosen(tx, principal, key_id)
        return succeed(
            tx,
            principal,
            old,
            jwk,
            change=wish.change(principal, OVERLAP),
            entropy=house.entropy,
            certificate=shown.der if shown else None,
        )

    parse_public_jwk(jwk)
    found = await house.database.awrite(work)
    match found:
        case SharedKey():
            credential.required(found)
            raise AssertionError  # `required` raises
        case Forked():
            raise ConflictError(
                ErrorCode.BAD_MOVE,
                f"the key `{found.key_id}` of `{name}` was replaced by another already",
                help=f"replace that one: charter key ls {name}",
            )
        case Succession():
            if wish.at_once:
                house.pipeline.withdrawn(principal.id, f"a key of `{name}` was replaced at once")
            await notice_overdue(house)
            return _told(principal, found.before, found.after)


async def _ask_client(house: House, principal: Principal, key_id: str | None, wish: Wish) -> dict[str, Any]:
    """Revoke a principal's key at once, or have its client replace it."""
    actor, reason, name = wish.actor, wish.reason, principal.name

    def work(tx: HouseTransaction) -> ClientKey:
        key = _chosen(tx, principal, key_id)
        if wish.at_once:
            return credential.revoke_key(tx, principal, key.id, actor=actor, reason=reason)
        return ask_for(tx, principal, key.id, actor=actor, reason=reason)

    key = await house.database.awrite(work)
    if wish.at_once:
        house.pipeline.withdrawn(principal.id, f"a key of `{name}` was revoked")
    await notice_overdue(house)
    return _told(principal, key, None)


def _chosen(tx: HouseTransaction, principal: Principal, key_id: str | None) -> ClientKey:
    """Return the credential that is meant: the named one, else the only one that could be."""
    if key_id is not None:
        return key_named(tx.live, principal, key_id)
    found = [key for key in tx.live.keys_of(principal.id) if grows_old(key) and key.replaced_by is None]
    if len(found) != 1:
        raise ConflictError(
            ErrorCode.BAD_MOVE,
            f"`{principal.name}` has {len(found)} keys in use, and none is named",
            help=f"name one by its id: charter key ls {principal.name}",
        )
    return found[0]


def _told(principal: Principal, before: ClientKey, after: ClientKey | None) -> dict[str, Any]:
    return {
        "principal": principal.name,
        "client_id": principal.id,
        "before": before.id,
        "after": after.id if after else None,
        "state": before.standing.value if before.standing.value != "active" else "replaced" if after else "asked",
        "ends": rfc3339(before.ends_at) if before.ends_at else None,
    }


async def rotate_secret(house: House, name: str, wish: Wish) -> dict[str, Any]:
    """Make a principal another secret, for which the ones before end; the answer is its only copy."""
    principal, fresh = house.principal(name), fresh_secret(house.entropy)

    def work(tx: HouseTransaction) -> tuple[ClientKey, list[ClientKey]]:
        old = secrets_of(tx.live, principal)
        ending = old if wish.at_once else []
        after = keep_secret(tx, principal, fresh, actor=wish.actor, reason=wish.reason, instead_of=ending)
        change = wish.change(principal, SECRET_OVERLAP)
        waiting = [key for key in old if wish.at_once or key.replaced_by is None]
        return after, [replace_by(tx, principal, key, after, change).before for key in waiting]

    after, before = await house.database.awrite(work)
    if wish.at_once:
        house.pipeline.withdrawn(principal.id, f"the secret of `{name}` was replaced at once")
    await notice_overdue(house)
    ends = max((key.ends_at for key in before if key.ends_at is not None), default=None)
    told = {"principal": name, "client_id": principal.id, "before": [key.id for key in before], "after": after.id}
    return told | {"ends": rfc3339(ends) if ends else None, "secret": fresh.secret.reveal().decode()}


async def rotate_provisioner(house: House, name: str, wish: Wish) -> dict[str, Any]:
    """Make a directory another token; the answer is its only copy."""
    overlap = None if wish.at_once else wish.overlap or TOKEN_OVERLAP
    made, token = await house.database.awrite(
        lambda tx: deeds.rotate_provisioner(tx, name, overlap, actor=wish.actor, entropy=house.entropy)
    )
    ends = rfc3339(made.before_until) if made.before_until else None
    return provisioner_view(made) | {"token": token, "url": f"{house.settings.issuer}/scim/v2", "ends": ends}


async def rotate_node(house: House, name: str, wish: Wish) -> dict[str, Any]:
    """Have a node replace its key; at once, put it out: it joins again with a new token."""
    if wish.at_once:
        await node.remove(house, name, actor=wish.actor, reason=wish.reason)
        return {"node": name, "key": None, "state": "put out"}
    return await node.ask_for_key(house, name, actor=wish.actor, reason=wish.reason)
