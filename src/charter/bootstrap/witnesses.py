"""Having witnesses: this node asks others to cosign its heads, keeps what they signed, and hears what they saw.

INVARIANT: no call waits for a witness. Witnesses that cannot be reached are asked again, later and later; when the
quorum has not been had for longer than the settings let pass, that is a finding, and doctor shows it.
INVARIANT: a node whose log does not continue what a witness saw of it does not start. One that runs stops where the
witness shows a head that the log's own key signed; its mere word is a finding, since it may lie.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from charter.adapters.witness_http import Answered, WitnessClient
from charter.bootstrap.noticed import open_finding
from charter.core.clock import rfc3339
from charter.core.errors import CharterError, ErrorCode, IntegrityError
from charter.evidence.checkpoint import Checkpoint, is_signed_by, parse_checkpoint
from charter.evidence.cosignature import Witness, cosigners, parse_witness, with_cosignatures
from charter.evidence.export import key_changes
from charter.evidence.log import continues, prove_consistency
from charter.evidence.witness import Request, parse_lines

if TYPE_CHECKING:
    from charter.adapters.database import Database
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction

EVERY_SECONDS = 5.0
LONGEST_PAUSE = 300.0
MAX_CHANGES = 16  # of the log's key that a witness is led along
UNWITNESSED, CONTRADICTED = "unwitnessed-log", "contradicted-log"
_OK, _FORBIDDEN, _OTHER_SIZE, _UNPROVEN = 200, 403, 409, 422
_log = logging.getLogger("charter.witnesses")


@dataclass(frozen=True, slots=True)
class Place:
    """A witness, and where it is asked."""

    witness: Witness
    url: str  # the submission prefix


class ContradictedError(Exception):
    """A witness saw of this log what the log does not continue; the text says what."""

    def __init__(self, text: str, *, is_proven: bool = False) -> None:
        """`is_proven`: the log's own key signed it."""
        super().__init__(text)
        self.is_proven = is_proven


def parse_places(values: Iterable[str]) -> tuple[Place, ...]:
    """Return the witnesses that `<key> <url>` texts name; they were checked with the settings."""
    pairs = (each.split() for each in values)
    return tuple(Place(parse_witness(key), url.rstrip("/")) for key, url in pairs)


async def cosigned_by(client: WitnessClient, place: Place, log: LogSource, head: Checkpoint, known: int) -> Checkpoint:
    """Return `head` with the witness's cosignature; `known`: the size of the head that it probably cosigned last.

    Raises:
        ContradictedError: it saw what this log does not continue.
        CharterError: it cannot be had now.
    """
    answer = await client.ask(place.url, log.request(min(known, head.size), head))
    if answer.status == _FORBIDDEN:  # it may know the key before
        for change in log.changes(head.size):
            led = await client.ask(place.url, log.request(0, change))
            if led.status == _OTHER_SIZE and (size := _size(led)) <= change.size:
                led = await client.ask(place.url, log.request(size, change))
            if led.status == _OK:
                answer = await client.ask(place.url, log.request(change.size, head))
    if answer.status == _OTHER_SIZE:
        size = _size(answer)
        _must_not_be_ahead(log, head, answer, size)
        answer = await client.ask(place.url, log.request(size, head))
        if answer.status == _OTHER_SIZE and _size(answer) == head.size:
            raise _contradicted(log, answer, f"it cosigned another head of {head.size} entries")
    if answer.status == _OK:
        lines = parse_lines(answer.text, head).signatures
        return with_cosignatures(head, lines, place.witness)
    if answer.status == _UNPROVEN:
        raise _contradicted(log, answer, "what it cosigned of this log earlier is not what this log began with")
    if answer.status == _FORBIDDEN:
        raise ContradictedError("it knows this log under another key, which this log does not have (any more)")
    raise IntegrityError(ErrorCode.UPSTREAM_FAILED, f"the witness answered with status {answer.status}")


def _must_not_be_ahead(log: LogSource, head: Checkpoint, answer: Answered, size: int) -> None:
    if size > head.size:  # of the same size it may be this very head: asked once more, it says
        raise _contradicted(log, answer, f"it says that it cosigned a head of {size} entries")


def _contradicted(log: LogSource, answer: Answered, told: str) -> ContradictedError:
    """Return what a witness's answer says of the log: proven where it shows a head of the log's own, else as `told`."""
    if answer.seen is None or not log.lacks(answer.seen):
        return ContradictedError(told)
    text = f"it shows a head of {answer.seen.size} entries that this log's own key signed and that it does not continue"
    return ContradictedError(text, is_proven=True)


def _size(answer: Answered) -> int:
    text = answer.text.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 19):  # noqa: PLR2004 - digits of a size
        raise IntegrityError(ErrorCode.UPSTREAM_FAILED, "the witness answered with no size")
    return int(text)


@dataclass(frozen=True, slots=True)
class LogSource:
    """This node's log, as what is asked of witnesses is made from it."""

    database: Database[HouseTransaction]
    publics: Sequence[bytes]  # the keys that its heads may bear

    def head(self) -> Checkpoint:
        """Return the newest head."""
        return parse_checkpoint(self.database.head.note)

    def request(self, old: int, head: Checkpoint) -> Request:
        """Return the request to cosign `head` after one of `old` entries."""
        proof = self.database.read_log(lambda log: prove_consistency(log, old, head.size))
        return Request(old, proof, head)

    def changes(self, size: int) -> Sequence[Checkpoint]:
        """Return the newest checkpoints with which the log's key changed, oldest first."""
        notes = self.database.read_log(key_changes)
        return [each for each in map(parse_checkpoint, notes) if each.size <= size][-MAX_CHANGES:]

    def lacks(self, head: Checkpoint) -> bool:
        """Return whether the log's key signed `head`, and the log does not continue it."""
        if not is_signed_by(head, self.database.origin, self.publics):
            return False
        return not self.database.read_log(lambda log: continues(log, head))


def check_seen(database: Database[HouseTransaction], publics: Sequence[bytes], settings: Sequence[str]) -> None:
    """Ask the witnesses what they saw of this log, before anything more is written to it. Blocks, some seconds at most.

    One that cannot be reached is warned of and shows nothing.

    Raises:
        IntegrityError: the log does not continue what one of them saw.
    """
    places, log, client = parse_places(settings), LogSource(database, publics), WitnessClient()

    async def all_of_them() -> list[object]:
        head = log.head()
        going = (cosigned_by(client, each, log, head, head.size) for each in places)
        return await asyncio.gather(*going, return_exceptions=True)

    with ThreadPoolExecutor(1) as beside:  # whoever builds a house may be in an event loop of their own
        answers = beside.submit(lambda: asyncio.run(all_of_them())).result()
    for place, found in zip(places, answers, strict=True):
        if isinstance(found, ContradictedError):
            raise IntegrityError(
                ErrorCode.EVIDENCE_BROKEN,
                f"the log has {log.head().size} entries, but its witness `{place.witness.name}` saw another: {found}",
                help="an older state was put back: restore the newest one, or begin with an empty data folder "
                "(docs/operating.md, When something is wrong); "
                "only if you know that the witness is wrong, take it out of CHARTER_WITNESSES",
            )
        if isinstance(found, CharterError):
            _log.warning("the witness `%s` shows nothing: %s", place.witness.name, found.detail)
        elif isinstance(found, BaseException):
            raise found


@dataclass(slots=True)
class State:
    """How it stands with one witness, since this process began."""

    size: int = 0  # of the head it cosigned last
    at: dt.datetime | None = None
    failures: int = 0
    error: str = ""
    contradicted: ContradictedError | None = None  # it saw what this log does not continue
    next: float = 0.0  # when to ask again (monotonic)


@dataclass(slots=True)
class Witnesses:
    """The witnesses of a house that serves."""

    house: House
    client: WitnessClient = field(default_factory=WitnessClient)
    places: tuple[Place, ...] = ()
    states: dict[str, State] = field(default_factory=dict)  # by the witness's key
    cosigned: Checkpoint | None = None  # the newest head that witnesses cosigned: as many as the quorum, if ever
    missed_since: float | None = None  # since when newer heads lack the quorum (monotonic)
    told_at: float | None = None  # when it was last told that they do
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    @classmethod
    def of(cls, house: House) -> Witnesses:
        """Return those of a house, with the head that they cosigned last."""
        found = cls(house, places=parse_places(house.settings.witnesses))
        note = house.database.read(lambda tx: tx.witnessed.cosigned(house.database.node))
        found.cosigned = parse_checkpoint(note) if note else None
        found.states = {str(each.witness): State() for each in found.places}
        return found

    @property
    def quorum(self) -> int:
        """How many must cosign a head."""
        return self.house.settings.witness_quorum or len(self.places)

    @property
    def settled(self) -> Checkpoint | None:
        """The newest head, if as many cosigned it as must; None: it lacks some of them by now, or there are none."""
        head = self.cosigned
        if head is None or not self.places or self.missed_since is not None or len(self.signers_of(head)) < self.quorum:
            return None
        return head

    def signers_of(self, head: Checkpoint | None) -> tuple[Witness, ...]:
        """Return the witnesses of this node that cosigned `head`."""
        return cosigners(head, (each.witness for each in self.places)) if head is not None else ()

    async def keep(self, stop: asyncio.Event) -> None:
        """Have heads cosigned every few seconds until `stop`, and then once more."""
        while self.places and not stop.is_set():
            with contextlib.suppress(CharterError):  # the store: tried again the next time
                await self.ask()
                await self._tell()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), EVERY_SECONDS)
        if self.places:
            with contextlib.suppress(CharterError):
                await self.ask()

    async def ask(self, *, at_once: bool = False) -> Checkpoint | None:
        """Have the newest head cosigned by those who did not yet and are due (`at_once`: by all); return what is kept.

        Raises:
            UnavailableError: what they signed cannot be made durable.
        """
        async with self._asking:
            database = self.house.database
            log = LogSource(database, self.house.ring.head_publics(database.origin))
            head = log.head()
            if self.cosigned is not None and (self.cosigned.size, self.cosigned.root) == (head.size, head.root):
                head = self.cosigned
            now = self.house.clock.monotonic()
            signed = {each.public for each in self.signers_of(head)}
            due = [
                each
                for each in self.places
                if each.witness.public not in signed and (at_once or self.states[str(each.witness)].next <= now)
            ]
            for found in await asyncio.gather(*(self._ask_one(each, log, head) for each in due)):
                if found is not None:
                    others = {line.to_line(): line for line in (*head.signatures, *found.signatures)}
                    head = replace(head, signatures=tuple(others.values()))
            await self._keep(head)
            return self.cosigned

    async def _ask_one(self, place: Place, log: LogSource, head: Checkpoint) -> Checkpoint | None:
        state, clock = self.states[str(place.witness)], self.house.clock
        try:
            found = await cosigned_by(self.client, place, log, head, state.size)
        except (CharterError, ContradictedError) as err:
            told = err.detail if isinstance(err, CharterError) else str(err)
            if state.error != told:
                _log.warning("the witness `%s` did not cosign: %s", place.witness.name, told)
            state.failures, state.error = state.failures + 1, told[:300]
            state.contradicted = err if isinstance(err, ContradictedError) else None
            state.next = clock.monotonic() + min(LONGEST_PAUSE, EVERY_SECONDS * 2 ** min(state.failures - 1, 8))
            return None
        state.size, state.at, state.failures, state.error, state.next = head.size, clock.now(), 0, "", 0.0
        state.contradicted = None
        return found

    async def _keep(self, head: Checkpoint) -> None:
        """Keep a cosigned head, unless the one that is kept says more."""
        count, before = len(self.signers_of(head)), self.cosigned
        is_whole = count >= self.quorum
        self.missed_since = None if is_whole else (self.missed_since or self.house.clock.monotonic())
        self.told_at = None if is_whole else self.told_at
        if not count or before == head:
            return
        if not is_whole and before is not None and len(self.signers_of(before)) >= self.quorum:
            return
        node = self.house.database.node
        await self.house.database.awrite(lambda tx: tx.witnessed.keep_cosigned(node, head.size, head.to_note(), tx.at))
        self.cosigned = head

    async def _tell(self) -> None:
        """Open the findings: a witness saw another log than this; the log has gone without its quorum for too long."""
        for place in self.places:
            found, name = self.states[str(place.witness)].contradicted, place.witness.name
            if found is None:
                continue
            title = f"the witness `{name}` saw of this node's log what it does not continue"
            try:
                await self._open(CONTRADICTED, title, {"witness": name, "told": str(found)[:300]}, {"witness": name})
            finally:
                if found.is_proven:
                    self.house.database.halt(f"its log was put back to an older state: the witness `{name}`: {found}")
        since = self.missed_since if self.told_at is None else self.told_at
        now, bound = self.house.clock.monotonic(), self.house.settings.witness_seconds
        if self.missed_since is None or since is None or now - since < bound:
            return
        told = {each.witness.name: self.states[str(each.witness)].error for each in self.places}
        title = f"fewer than {self.quorum} of {len(self.places)} witnesses cosign this node's log"
        await self._open(UNWITNESSED, title, {"quorum": self.quorum, "witnesses": told}, {})
        self.told_at = now  # looked at anew after the same while

    async def _open(self, kind: str, title: str, body: dict[str, Any], same: dict[str, Any]) -> None:
        house, own = self.house, {"origin": self.house.database.origin}

        def work(tx: HouseTransaction) -> None:
            open_finding(house, tx, kind, title=title, body=own | body, same_as=own | same, principal_id=None)

        await house.database.awrite(work)

    def listing(self) -> dict[str, Any]:
        """Return how it stands with each witness, what they cosigned, and where heads are kept."""
        size, cosigned = self.house.database.head.size, self.cosigned
        signed = {each.public for each in self.signers_of(cosigned)}
        return {
            "size": size,
            "quorum": self.quorum,
            "cosigned": cosigned.size if cosigned else 0,
            "checkpoint": cosigned.to_note() if cosigned else None,
            "cosigned_by": len(signed),
            "backlog": size - (cosigned.size if cosigned and len(signed) >= self.quorum else 0) if self.places else 0,
            "settled": self.settled is not None,
            "missed_seconds": int(self.house.clock.monotonic() - self.missed_since) if self.missed_since else 0,
            "witnesses": [self._told(each, signed) for each in self.places],
            "kept": self.house.heads.listing(),
        }

    def _told(self, place: Place, signed: set[bytes]) -> dict[str, Any]:
        state = self.states[str(place.witness)]
        return {
            "name": place.witness.name,
            "key": str(place.witness),
            "url": place.url,
            "size": state.size,
            "at": rfc3339(state.at) if state.at else None,
            "failures": state.failures,
            "error": state.error,
            "contradicted": state.contradicted is not None,
            "cosigned": place.witness.public in signed,
        }
