"""Every credential with its age: what it is, since when it counts, when it is replaced next, and who does that."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from charter.core.clock import rfc3339
from charter.identity.keys import KeyState, KeyUse
from charter.identity.x509_authority import AuthorityRole
from charter.registry.declared import SECRET
from charter.registry.rotation import due_at, over_at
from charter.registry.standing import Standing

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction

MAX_LISTED = 1000  # credentials of principals: those due first


@dataclass(frozen=True, slots=True)
class Age:
    """One credential."""

    kind: str  # what `charter rotate` calls it
    of: str  # whose: charter, a principal, a directory, a node, a system
    id: str
    since: dt.datetime | None
    next: dt.datetime | None  # when it is replaced, or must have been
    by: str  # who does: charter, its client, a person, its node
    ends: dt.datetime | None = None  # when it counts no more, though nothing else is done

    def to_json(self, at: dt.datetime) -> dict[str, Any]:
        """Return it as JSON, as it is at `at`."""
        return {
            "kind": self.kind,
            "of": self.of,
            "id": self.id,
            "since": _time(self.since),
            "age_days": (at - self.since).days if self.since else None,
            "next": _time(self.next),
            "ends": _time(self.ends),
            "by": self.by,
            "overdue": self.next is not None and at >= self.next,
        }


def ages(house: House) -> dict[str, Any]:
    """Return every credential in use with its age: Charter's own, then those of principals that are due first."""
    at = house.clock.now()
    own = [*_signing(house), *_authorities(house), *_at_rest(house)]
    others = [*house.database.read(lambda tx: [*_vault(tx), *_nodes(tx)]), *_directories(house)]
    held = sorted(_of_principals(house), key=lambda age: (age.next is None, age.next or at, age.of))
    told = [age.to_json(at) for age in (*own, *others, *held[:MAX_LISTED])]
    return {"credentials": told, "principals": len(held), "overdue": sum(each["overdue"] for each in told)}


def _signing(house: House) -> Iterator[Age]:
    for use in KeyUse:
        active = next((key for key in house.ring.all() if key.use is use and key.state is KeyState.ACTIVE), None)
        waiting = house.ring.waiting(use)
        if active is not None:
            since = waiting.created_at if waiting else active.created_at  # one was made when the other began
            by = "a person" if use is KeyUse.WITNESS else "charter"
            yield Age(use.value, "charter", active.id, since, house.ring.due_at(use), by)


def _authorities(house: House) -> Iterator[Age]:
    known = house.trust.authorities
    for role in AuthorityRole:
        active = known.active(role)
        if active is not None:
            since = active.signs_from or active.created_at
            yield Age(role.value, "charter", active.id, since, known.due_at(role), "charter")


def _at_rest(house: House) -> Iterator[Age]:
    envelope = house.keys.envelope
    wrapped = max(key.wrapped_at for key in envelope.keys)
    yield Age("data", "charter", envelope.active.id, envelope.active.created_at, house.keys.data_due_at(), "charter")
    yield Age("master", "charter", envelope.master.name, wrapped, None, "a person")


def _vault(tx: HouseTransaction) -> Iterator[Age]:
    for secret in tx.vault.all():
        yield Age("vault", ", ".join(sorted(secret.bindings)), secret.name, secret.changed_at, None, "a person")


def _nodes(tx: HouseTransaction) -> Iterator[Age]:
    for each in tx.nodes.nodes():
        if each.standing is Standing.ACTIVE:
            yield Age("node", each.name, each.thumbprint, each.since or each.joined_at, each.key_due_at, "its node")


def _directories(house: House) -> Iterator[Age]:
    found = {each.id: each for each in house.live.directory.provisioners.values()}
    for each in sorted(found.values(), key=lambda one: one.name):
        if each.standing is Standing.ACTIVE:
            yield Age("provisioner", each.name, each.id, each.since or each.made_at, None, "a person")


def _of_principals(house: House) -> Iterator[Age]:
    for key in list(house.live.keys.values()):
        principal = house.live.principals.get(key.principal_id)
        kty = key.jwk.get("kty")
        if principal is None or key.standing is not Standing.ACTIVE or kty not in ("EC", "OKP", SECRET):
            continue
        kind, by = ("secret", "a person") if kty == SECRET else ("key", "its client")
        next_, over = due_at(key, principal.terms), over_at(key, principal.terms)
        yield Age(kind, principal.name, key.id, key.registered_at, next_, by, over)


def _time(moment: dt.datetime | None) -> str | None:
    return rfc3339(moment) if moment else None
