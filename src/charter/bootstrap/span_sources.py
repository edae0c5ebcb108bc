"""Applications that may send spans with a key of Charter's: made, listed, revoked, and told by their key."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from charter.core.errors import AbsentError, ConflictError, ErrorCode
from charter.core.values import parse_name
from charter.evidence.entry import Draft, EntryKind
from charter.registry.problem import suggestion
from charter.registry.span_source import PREFIX, SpanSource, key_digest
from charter.registry.standing import Standing

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction

MAX_SOURCES = 1000


async def add(house: House, name: str, *, actor: str) -> dict[str, Any]:
    """Let an application send spans; return it with its key, which is shown this once.

    Raises:
        ConflictError: one of that name was made before.
    """
    key = PREFIX + house.entropy.token(32)
    made = SpanSource(
        house.entropy.identifier("src"),
        parse_name(name, "source's name"),
        key_digest(key),
        Standing.ACTIVE,
        actor,
        house.clock.now(),
    )

    def work(tx: HouseTransaction) -> None:
        kept = tx.observations.sources()
        if any(each.name == name for each in kept):
            raise ConflictError(ErrorCode.EXISTS, f"there is a source `{name}`", help="choose another name")
        if len(kept) >= MAX_SOURCES:
            raise ConflictError(ErrorCode.TOO_MANY, f"there are {MAX_SOURCES} sources already", help="use one of them")
        tx.observations.keep_source(made)
        tx.record(Draft(EntryKind.SOURCE_CHANGED, actor, None, {"name": name, "id": made.id, "change": "added"}))

    await house.database.awrite(work)
    return made.to_json() | {"key": key, "url": f"{house.settings.issuer}/otlp"}


async def revoke(house: House, name: str, *, actor: str, reason: str) -> dict[str, Any]:
    """Let an application send spans no more.

    Raises:
        AbsentError: there is none of that name that may.
    """

    def work(tx: HouseTransaction) -> SpanSource:
        kept = {each.name: each for each in tx.observations.sources() if each.standing is Standing.ACTIVE}
        found = kept.get(name)
        if found is None:
            detail = f"there is no source {name[:63]!a} that may send spans"
            raise AbsentError(ErrorCode.UNKNOWN_SOURCE, detail, help=suggestion(name[:63], kept))
        revoked = replace(found, standing=Standing.REVOKED)
        tx.observations.keep_source(revoked)
        body = {"name": name, "id": found.id, "change": "revoked", "reason": reason}
        tx.record(Draft(EntryKind.SOURCE_CHANGED, actor, None, body))
        return revoked

    return (await house.database.awrite(work)).to_json()


def listing(house: House) -> list[dict[str, Any]]:
    """Return every application that was ever given a key."""
    return [each.to_json() for each in house.database.read(lambda tx: tx.observations.sources())]


def holder(house: House, key: str) -> SpanSource | None:
    """Return the application whose key this is, if it may send spans now."""
    shown = key_digest(key)
    kept = house.database.read(lambda tx: tx.observations.sources())
    return next((each for each in kept if each.key_digest == shown and each.standing is Standing.ACTIVE), None)
