"""Charter's own keys at rest: the master key, data keys, signing keys; how they are replaced while everything runs.

Whatever asks the master (it may be a token or a cloud) is done before a work, never inside one.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from charter.adapters.custody import NodeCustody
from charter.adapters.database import Database
from charter.adapters.master_place import Surroundings
from charter.bootstrap.transaction import HouseTransaction
from charter.config import Settings, own_variable
from charter.core.clock import Clock, rfc3339
from charter.core.entropy import Entropy, SystemEntropy
from charter.identity.envelope import DataKey, Envelope, Seal, check_seals
from charter.identity.keys import KeyRing
from charter.identity.period import USUAL, Periods

if TYPE_CHECKING:
    from charter.bootstrap.house import House

RESEALED_AT_ONCE = 200  # seals moved to another data key in one work
_OLD_FORM = "v1"


@dataclass(slots=True)
class Keys:
    """The keys of one house."""

    custody: NodeCustody
    envelope: Envelope
    clock: Clock
    entropy: Entropy
    periods: Periods = field(default_factory=lambda: USUAL)
    ring: KeyRing = field(init=False)

    def __post_init__(self) -> None:
        self.ring = KeyRing(self.envelope, self.entropy, self.periods)

    def ensure(self, tx: HouseTransaction) -> None:
        """Make and record what is missing. A work."""
        self.envelope.ensure(tx)
        self.ring.ensure(tx)

    def forward(self, database: Database[HouseTransaction]) -> None:
        """Seal anew what was sealed with the master key itself, before there were data keys.

        Raises:
            IntegrityError: such a value cannot be opened.
        """
        while database.read(lambda tx: tx.seals.counts()).get(_OLD_FORM):
            database.write(lambda tx: self.envelope.reseal(tx, RESEALED_AT_ONCE))

    def tend(self, database: Database[HouseTransaction]) -> None:
        """Replace a data key that is old, and move a few seals from superseded ones. Blocks.

        Raises:
            CharterError: it could not be done now.
        """
        if self.clock.now() >= self.data_due_at():
            self.rotate_data(database, actor="charter", reason="due")
        if len(self.envelope.keys) > 1:
            database.write(lambda tx: self.envelope.reseal(tx, RESEALED_AT_ONCE))

    def data_due_at(self) -> dt.datetime:
        """Return when another data key shall be used."""
        return self.envelope.active.created_at + self.periods["data"]

    def rotate_data(self, database: Database[HouseTransaction], *, actor: str, reason: str) -> DataKey:
        """Make new seals under a fresh data key from now on. Blocks.

        Raises:
            UnavailableError: the master cannot be reached.
        """
        with self.custody.change():
            fresh = self.envelope.fresh(self.clock.now())
            return database.write(lambda tx: self.envelope.rotate(tx, fresh, actor=actor, reason=reason))

    def rotate_master(
        self, database: Database[HouseTransaction], to: str | None, *, actor: str, reason: str
    ) -> dict[str, Any]:
        """Wrap the data keys under another master from now on. Blocks.

        Raises:
            MalformedError: `to` names no place, or is needed.
            ConflictError: a change is under way, or it is the same master.
            IntegrityError: there is no fit key.
            UnavailableError: one of the masters cannot be reached.
        """
        with self.custody.change():
            self.forward(database)  # what the old master itself sealed would be lost with it
            before = self.envelope.master
            try:
                master = self.custody.prepare(before.name, to)
                wrapped = self.envelope.wrapped_under(master)
                database.write(lambda tx: self.envelope.rewrap(tx, master, wrapped, actor=actor, reason=reason))
            finally:
                self.custody.settle(self.envelope.master.name)
        now = self.envelope.master
        return {
            "before": {"kind": before.kind, "where": before.where, "name": before.name},
            "after": {"kind": now.kind, "where": now.where, "name": now.name},
            "data_keys": len(self.envelope.keys),
            "setting": self.custody.place_of(now.name),
        }


async def rotate_master(house: House, to: str | None, *, actor: str, reason: str) -> dict[str, Any]:
    """Change the master key while everything runs; return what it was and is."""
    return await asyncio.to_thread(house.keys.rotate_master, house.database, to, actor=actor, reason=reason)


async def rotate_data(house: House, *, actor: str, reason: str) -> dict[str, Any]:
    """Seal under a fresh data key from now on; return it, and how many seals rest on older ones."""
    key = await asyncio.to_thread(house.keys.rotate_data, house.database, actor=actor, reason=reason)
    counted = house.database.read(lambda tx: tx.seals.counts())
    return {"data_key": key.id, "left": sum(n for key_id, n in counted.items() if key_id != key.id)}


async def reseal(house: House) -> dict[str, Any]:
    """Move some seals to the active data key; return how many are left."""
    left = await house.database.awrite(lambda tx: house.keys.envelope.reseal(tx, RESEALED_AT_ONCE))
    return {"data_key": house.keys.envelope.active.id, "left": left}


def look_at_master(settings: Settings) -> str:
    """Return what is found in the places this node was told of, for people.

    Raises:
        IntegrityError: what is there is no fit key, or others could read it.
        UnavailableError: a place cannot be reached.
    """
    custody = NodeCustody(settings.master, Surroundings(settings.data_folder, own_variable, SystemEntropy()))
    found = [f"{master.kind}: {master.where} is `{master.name}`" for master in custody.look()]
    return "; ".join(found) or "will be made on first use"


async def health(house: House) -> dict[str, Any]:
    """Return which master and data keys there are, how old they are, and whether every sealed value opens."""
    return await asyncio.to_thread(_health, house)


def _health(house: House) -> dict[str, Any]:
    envelope, custody, database = house.keys.envelope, house.keys.custody, house.database

    def page(place: tuple[str, ...] | None, limit: int) -> list[Seal]:
        return list(database.read(lambda tx: tx.seals.after(place, limit)))

    found = check_seals(envelope, page)
    counted = database.read(lambda tx: tx.seals.counts())
    master = envelope.master
    return {
        "master": {
            "kind": master.kind,
            "where": master.where,
            "name": master.name,
            "since": rfc3339(max(key.wrapped_at for key in envelope.keys)),
            "setting": custody.place_of(master.name),
            "as_configured": custody.agrees(master.name),
            "leftover": custody.leftover(master.name),
        },
        "data_keys": [
            {
                "id": key.id,
                "state": key.state.value,
                "created_at": rfc3339(key.created_at),
                "seals": counted.get(key.id, 0),
            }
            for key in envelope.keys
        ],
        "opened": found.opened,
        "broken": list(found.broken),
    }
