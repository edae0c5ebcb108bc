"""Erasing what stands apart of entries: which, who may not, and what is told of it.

INVARIANT: what a hold covers is erased by nobody and by no rule, until a person releases the hold.
INVARIANT: an erasure and the entry that tells of it are one transaction; that entry names no more than it must: places
in the log, who, why, under which rule.
INVARIANT: an order is kept before anything of it is erased, with how far it is carried out: one that was cut short is
carried out to its end by whoever comes next. Only a node can tell of an erasure in its log, so each log has its own.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from charter.core.clock import rfc3339
from charter.core.errors import AbsentError, ConflictError, ErrorCode, MalformedError
from charter.core.work import Transaction
from charter.evidence.entry import Draft, EntryKind
from charter.evidence.log import Stored
from charter.evidence.payload import texts_of

MAX_ERASED = 500  # payloads told of by one entry
MAX_REASON = 500  # characters
MAX_HOLDS = 1_000  # that stand


@dataclass(frozen=True, slots=True)
class Cover:
    """Which entries are meant; all that is given must hold."""

    principal_id: str | None = None
    system: str | None = None
    person: str | None = None  # a mail address that stands apart as a text of its own, letters large or small
    since: str | None = None  # RFC 3339, at or after
    until: str | None = None  # before
    index: int | None = None

    def covers(self, stored: Stored) -> bool:
        """Whether an entry is meant."""
        if self.index is not None and stored.index != self.index:
            return False
        if self.principal_id is not None and stored.principal != self.principal_id:
            return False
        if (self.since is not None and stored.time < self.since) or (
            self.until is not None and stored.time >= self.until
        ):
            return False
        if self.system is not None and stored.to_json()["body"].get("system") != self.system:
            return False
        return self.person is None or _names(stored, self.person)

    def to_json(self) -> dict[str, Any]:
        """Return what is given."""
        names = ("principal_id", "system", "person", "since", "until", "index")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True)
class Hold:
    """A legal hold: of what it covers, nothing may be erased while it stands."""

    id: str  # hld_…
    cover: Cover
    reason: str
    placed_by: str
    placed_at: dt.datetime

    def to_json(self) -> dict[str, Any]:
        """Return the hold as people are shown it."""
        told = {"id": self.id, "reason": self.reason, "placed_by": self.placed_by, "placed_at": rfc3339(self.placed_at)}
        return told | self.cover.to_json()


@dataclass(frozen=True, slots=True)
class Erasing:
    """One order to erase: who gives it, why, and the rule it rests on (`entry`, `person`, `selection`, or a period)."""

    actor: str
    reason: str
    rule: str


@dataclass(frozen=True, slots=True)
class Order:
    """An order that is under way in one log: `reached` is the last index that is done, `end` the first not meant."""

    id: str  # ers_…
    node: str  # whose log it is; that node alone carries it out
    cover: Cover
    by: Erasing
    reached: int
    end: int


class ErasureStore(Protocol):
    """Where payloads are emptied, and holds are kept."""

    def empty(self, node: str, indexes: Sequence[int], erased_by: int) -> int:
        """Empty the payloads of these entries; return how many were there."""
        ...

    def holds(self) -> Sequence[Hold]:
        """Return the holds that stand, oldest first."""
        ...

    def place(self, hold: Hold) -> None:
        """Keep a new hold."""
        ...

    def release(self, hold: Hold, by: str, at: dt.datetime, reason: str) -> None:
        """Keep that a hold stands no more."""
        ...

    def sweep_anew(self) -> None:
        """Forget how far retention was carried out: what a hold kept may be over its time."""
        ...


class ErasureWork(Transaction, Protocol):
    """The slice of the work that erasing needs."""

    @property
    def erasures(self) -> ErasureStore:
        """Where payloads are emptied."""
        ...


def erase(tx: ErasureWork, stored: Sequence[Stored], order: Erasing) -> int:
    """Erase what stands apart of `stored`, of which no hold covers any, and tell of it. Return how many. A work.

    Raises:
        ConflictError: a hold covers one of them.
        MalformedError: there is no reason, or there are more than `MAX_ERASED`.
    """
    check_reason(order.reason)
    if len(stored) > MAX_ERASED:
        raise MalformedError(ErrorCode.BAD_VALUE, f"one erasure tells of at most {MAX_ERASED} entries")
    for hold in tx.erasures.holds():
        if held := next((each for each in stored if hold.cover.covers(each)), None):
            raise ConflictError(
                ErrorCode.HELD,
                f"entry {held.index} is held by `{hold.id}`, and nothing of it may be erased",
                help="charter evidence hold ls",
            )
    if not stored:
        return 0
    node, index = tx.place
    indexes = sorted(each.index for each in stored)
    count = tx.erasures.empty(node, indexes, index)
    if count:
        said = {"rule": order.rule, "reason": order.reason, "count": count, "entries": ranges(indexes)}
        tx.record(Draft(EntryKind.EVIDENCE_ERASED, order.actor, None, said))
    return count


def place_hold(tx: ErasureWork, hold: Hold) -> None:
    """Place a hold. A work.

    Raises:
        MalformedError: there is no reason, it covers all there is, or there are `MAX_HOLDS` already.
    """
    check_reason(hold.reason)
    if not hold.cover.to_json():
        raise MalformedError(
            ErrorCode.BAD_VALUE, "a hold says what it covers", help="name a principal, system, person or period"
        )
    if len(tx.erasures.holds()) >= MAX_HOLDS:
        raise MalformedError(ErrorCode.TOO_MANY, f"{MAX_HOLDS} holds stand already", help="release some")
    tx.erasures.place(hold)
    said = {name: value for name, value in hold.cover.to_json().items() if name != "person"}
    body = said | {"hold": hold.id, "reason": hold.reason, "of_a_person": hold.cover.person is not None}
    tx.record(Draft(EntryKind.HOLD_PLACED, hold.placed_by, hold.cover.principal_id, body))


def release_hold(tx: ErasureWork, hold_id: str, actor: str, reason: str) -> Hold:
    """Release a hold. A work.

    Raises:
        AbsentError: none of that id stands.
        MalformedError: there is no reason.
    """
    check_reason(reason)
    found = next((each for each in tx.erasures.holds() if each.id == hold_id), None)
    if found is None:
        raise AbsentError(ErrorCode.BAD_VALUE, f"no hold {hold_id[:40]!a} stands", help="charter evidence hold ls")
    tx.erasures.release(found, actor, tx.at, reason)
    tx.erasures.sweep_anew()
    body = {"hold": found.id, "reason": reason}
    tx.record(Draft(EntryKind.HOLD_RELEASED, actor, found.cover.principal_id, body))
    return found


def check_reason(reason: str) -> None:
    """Check that a reason is one.

    Raises:
        MalformedError: it is empty or too long.
    """
    if not reason.strip() or len(reason) > MAX_REASON:
        raise MalformedError(
            ErrorCode.BAD_VALUE, f"a reason has 1 to {MAX_REASON} characters", help="say why, without naming the person"
        )


def ranges(indexes: Iterable[int]) -> list[list[int]]:
    """Return sorted indexes as runs: first and last of each."""
    found: list[list[int]] = []
    for index in indexes:
        if found and found[-1][1] == index - 1:
            found[-1][1] = index
        else:
            found.append([index, index])
    return found


def _names(stored: Stored, person: str) -> bool:
    """Return whether what stands apart names a person: as a text of its own, or within one, as a whole address."""
    if stored.payload is None:
        return False
    named = _naming(person.casefold())
    return any(named.search(text.casefold()) for text in texts_of(stored.payload))


@lru_cache(maxsize=64)
def _naming(person: str) -> re.Pattern[str]:
    """Return what finds an address within a text, made once for all the entries that are looked through."""
    return re.compile(rf"(?<![\w.+%-]){re.escape(person)}(?!\w|[.+%-]\w)")
