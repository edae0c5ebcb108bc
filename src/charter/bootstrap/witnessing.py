"""Being a witness: the logs of others whose heads this node cosigns, and what it says to them (C2SP tlog-witness).

INVARIANT: what is kept of a log changes in the transaction in which its head was judged, and a cosignature leaves only
once that is durable: after a crash the node cosigns nothing that contradicts what it signed before.
INVARIANT: no entry is written for a head that is cosigned, so two nodes that witness each other come to rest; a fork,
which only the holder of the log's key can make, is one finding a log, with both heads in evidence.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from charter.bootstrap.noticed import open_finding
from charter.core.errors import AbsentError, ConflictError, ErrorCode
from charter.evidence.checkpoint import Checkpoint, parse_checkpoint, verifier_key
from charter.evidence.cosignature import Witness, cosign
from charter.evidence.entry import Draft, EntryKind
from charter.evidence.witness import SIZE_TYPE, Fault, Refusal, WitnessedLog, judge, parse_log_key, parse_request
from charter.identity.keys import KeyUse
from charter.identity.pace import Pace
from charter.registry.problem import suggestion

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction

MAX_LOGS = 256
FORKED = "forked-log"
SEEN = b"charter-cosigned"  # the header of a refusal that shows the last head that was cosigned, as base64


@dataclass(frozen=True, slots=True)
class Reply:
    """What a log is answered: status, media type, text, and the head that shows why not, if there is one."""

    status: int
    media: str
    text: str
    seen: str | None = None


@dataclass(slots=True)
class Witnessing:
    """A node as a witness."""

    house: House
    pace: Pace

    @classmethod
    def of(cls, house: House) -> Witnessing:
        """Return that of a house."""
        return cls(house, Pace(house.clock, 20, 2, "cosignatures", "ask again later, and about the newest head alone"))

    async def answer(self, body: bytes) -> Reply:
        """Return what a log is answered that asks for `body`.

        Raises:
            MalformedError: it is not of the protocol's form.
            ThrottledError: this log asks too often.
            UnavailableError: nothing can be made durable now.
        """
        asked = parse_request(body)
        origin = asked.checkpoint.origin
        known = self.house.database.read(lambda tx: tx.witnessed.log(origin))
        refused = judge(known, asked)
        if isinstance(refused, Refusal) and refused.status in (403, 404):  # a stranger: costs a read, and no pace
            return Reply(refused.status, "text/plain", refused.text)
        self.pace.take(origin)

        def work(tx: HouseTransaction) -> Reply:
            kept = tx.witnessed.log(origin, to_keep=True)
            found = judge(kept, asked)
            if isinstance(found, Refusal):
                if found.fault is Fault.FORK and kept is not None:
                    _tell_fork(self.house, tx, kept, asked.checkpoint)
                return Reply(
                    found.status, SIZE_TYPE if found.is_size else "text/plain", found.text, kept.note if kept else None
                )
            tx.witnessed.keep(found, tx.at)
            line = cosign(
                asked.checkpoint,
                name_of(self.house),
                self.house.ring.signer(KeyUse.WITNESS, self.house.database.origin),
                tx.at,
            )
            return Reply(200, "text/plain", line.to_line())

        return await self.house.database.awrite(work)


def name_of(house: House) -> str:
    """Return the name under which this node cosigns."""
    return house.database.origin.replace("/log/", "/witness/", 1)


def own_witness(house: House) -> Witness:
    """Return this node as a witness: name and key."""
    return Witness(name_of(house), house.ring.active_signer(KeyUse.WITNESS, house.database.origin).public)


def own_keys(house: House) -> dict[str, str]:
    """Return the verifier keys that others need: of this node's log, and of its cosignatures."""
    origin = house.database.origin
    return {"log_key": verifier_key(origin, house.evidence_key), "witness_key": str(own_witness(house))}


def _tell_fork(house: House, tx: HouseTransaction, kept: WitnessedLog, shown: Checkpoint) -> None:
    body = {
        "origin": kept.origin,
        "size": shown.size,
        "cosigned": _own_lines(parse_checkpoint(kept.note)) if kept.note else None,
        "shown": _own_lines(shown),
    }
    title = f"the log `{kept.origin}` showed two different heads of {shown.size} entries, both signed with its key"
    open_finding(house, tx, FORKED, title=title, body=body, same_as={"origin": kept.origin}, principal_id=None)


def _own_lines(head: Checkpoint) -> str:
    """Return a head with the signatures of its log alone: whatever else a log added counts for nothing."""
    return replace(head, signatures=tuple(each for each in head.signatures if each.name == head.origin)).to_note()


def seen_header(reply: Reply) -> tuple[tuple[bytes, bytes], ...]:
    """Return the header with the head that a refusal rests on: its log's own signature proves it to the log."""
    if reply.seen is None:
        return ()
    return ((SEEN, base64.b64encode(_own_lines(parse_checkpoint(reply.seen)).encode())),)


async def add(house: House, key: str, *, actor: str) -> dict[str, Any]:
    """Witness the log whose verifier key is `key`.

    Raises:
        MalformedError: it is none.
        ConflictError: that log is witnessed, is this node's own, or there are too many.
    """
    log = parse_log_key(key)
    if log.origin == house.database.origin:
        raise ConflictError(
            ErrorCode.EXISTS, "a node is no witness of its own log", help="give the key to another node"
        )

    def work(tx: HouseTransaction) -> None:
        kept = tx.witnessed.logs()
        known = next((each for each, _ in kept if each.origin == log.origin), None)
        if known is not None:
            mend = "nothing is left to do"
            if known.key != log.key:
                mend = "by another key: where no change of keys leads there, ask its node why; then unwatch it first"
            raise ConflictError(ErrorCode.EXISTS, f"`{log.origin}` is witnessed already", help=mend)
        if len(kept) >= MAX_LOGS:
            raise ConflictError(ErrorCode.TOO_MANY, f"there are {MAX_LOGS} logs already", help="remove one")
        tx.witnessed.add(log)
        tx.record(
            Draft(EntryKind.WITNESS_CHANGED, actor, None, {"change": "added", "origin": log.origin, "key": log.key})
        )

    await house.database.awrite(work)
    return _told(log, None)


async def remove(house: House, origin: str, *, actor: str, reason: str) -> dict[str, Any]:
    """Witness a log no more, and forget the last head that was cosigned.

    Raises:
        AbsentError: it is not witnessed.
    """

    def work(tx: HouseTransaction) -> WitnessedLog:
        log = tx.witnessed.log(origin)
        if log is None:
            names = [each.origin for each, _ in tx.witnessed.logs()]
            raise AbsentError(
                ErrorCode.UNKNOWN_ENTRY, f"no log {origin[:255]!a} is witnessed", help=suggestion(origin[:255], names)
            )
        tx.witnessed.remove(origin)
        body = {"change": "removed", "origin": origin, "key": log.key, "size": log.size, "reason": reason}
        tx.record(Draft(EntryKind.WITNESS_CHANGED, actor, None, body))
        return log

    return _told(await house.database.awrite(work), None)


def listing(house: House) -> list[dict[str, Any]]:
    """Return every log that is witnessed."""
    return [_told(log, at) for log, at in house.database.read(lambda tx: tx.witnessed.logs())]


def _told(log: WitnessedLog, at: str | None) -> dict[str, Any]:
    return {"origin": log.origin, "key": log.key, "size": log.size, "seen_at": at}
