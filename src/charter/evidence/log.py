"""Reading the log: entries, pages of them, and proofs that they stand in it.

A `LogReader` is one node's log in one snapshot. Everything here is read-only; entries are shown as the exact bytes that
were hashed. Proofs come as C2SP tlog-proof texts, which other tools verify too.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from charter.core.canonical import canonical
from charter.core.clock import rfc3339
from charter.core.errors import AbsentError, ErrorCode, IntegrityError, MalformedError
from charter.evidence.checkpoint import Checkpoint, parse_checkpoint, verify_checkpoint
from charter.evidence.entry import EntryKind
from charter.evidence.payload import told, whole
from charter.evidence.tile import Tree
from charter.evidence.tree import consistency_path, inclusion_path, leaf_hash, root_of, verify_inclusion

MAX_PAGE = 1_000
MAX_TEXT = 256
MAX_PATH = 64  # hashes: a tree of 2**64 entries
PROOF_FORMAT = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry as it is kept: its bytes, and the columns it is found by."""

    node: str
    index: int
    time: str
    kind: str
    principal: str | None
    data: bytes
    payload: bytes | None = None  # what stands apart of it, if that is there
    opening: bytes | None = None  # what shows that it is the recorded payload
    erased_by: int | None = None  # the index of the entry that tells of its erasure

    def to_json(self) -> dict[str, Any]:
        """Return what the entry says, with what stands apart; where that was erased, it says so."""
        found: dict[str, Any] = msgspec.json.decode(self.data)
        return whole(found, self.payload)

    @property
    def told(self) -> bytes:
        """What the entry says, as JSON that need not be the hashed bytes."""
        return told(self.data, self.payload)

    @property
    def is_erased(self) -> bool:
        """Whether something of it was erased."""
        return self.erased_by is not None


@dataclass(frozen=True, slots=True)
class Query:
    """Which entries are wanted, newest first. All that is given must hold; `cursor` continues an earlier page."""

    principal: str | None = None  # id
    kinds: tuple[EntryKind, ...] = ()
    since: dt.datetime | None = None  # at or after
    until: dt.datetime | None = None  # before
    text: str | None = None  # stands somewhere in the entry's texts, letter by letter
    limit: int = 100
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """A query whose parts were checked, as the store takes it. `before` is (time, index) of the last entry seen."""

    principal: str | None
    kinds: tuple[str, ...]
    since: str | None
    until: str | None
    text: bytes | None
    before: tuple[str, int] | None
    limit: int


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries, newest first, and where the next page begins if there may be one."""

    entries: tuple[Stored, ...]
    cursor: str | None


class LogReader(Protocol):
    """One node's log in one snapshot."""

    @property
    def node(self) -> str:
        """The node's id."""
        ...

    @property
    def origin(self) -> str:
        """The log's name."""
        ...

    def checkpoint(self) -> str:
        """Return the newest signed checkpoint, as it is kept.

        Raises:
            AbsentError: the log has no head.
        """
        ...

    def checkpoints(self, after: int, limit: int) -> Sequence[tuple[int, str]]:
        """Return kept checkpoints of sizes above `after`, smallest first."""
        ...

    def entries(self, after: int | None, limit: int) -> Sequence[Stored]:
        """Return entries with an index above `after` (None: from the very first), in order."""
        ...

    def find(self, wanted: Filter) -> Sequence[Stored]:
        """Return the newest entries that `wanted` describes."""
        ...

    def tile(self, level: int, index: int) -> bytes:
        """Return the hashes of a tile, or b"" if it is not kept."""
        ...


def broken(detail: str) -> IntegrityError:
    """Return the error of a log that is not what was recorded."""
    return IntegrityError(
        ErrorCode.EVIDENCE_BROKEN,
        detail,
        help="copy the data folder, then `charter evidence verify`; docs/operating.md, When something is wrong",
    )


def query(log: LogReader, wanted: Query) -> Page:
    """Return a page of the entries that `wanted` describes, newest first.

    Raises:
        MalformedError: the limit, the text or the cursor is out of bounds.
    """
    found = log.find(_checked(wanted))
    is_last = len(found) < wanted.limit
    return Page(tuple(found), None if is_last or not found else f"{found[-1].time}.{found[-1].index}")


def tail(log: LogReader, after: int | None, limit: int = 100) -> tuple[Stored, ...]:
    """Return the entries after index `after`, oldest first; with None, the newest `limit`, oldest first."""
    size = parse_checkpoint(log.checkpoint()).size
    start = max(0, size - limit) - 1 if after is None else after
    return tuple(log.entries(start, min(limit, MAX_PAGE)))


def entry_at(log: LogReader, index: int) -> Stored:
    """Return the entry at `index`.

    Raises:
        AbsentError: there is none.
    """
    size = parse_checkpoint(log.checkpoint()).size
    found = log.entries(index - 1, 1) if 0 <= index < size else ()
    if not found or found[0].index != index:
        raise AbsentError(ErrorCode.UNKNOWN_ENTRY, f"the log has no entry {index}", help="charter evidence tail")
    return found[0]


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """The proof that an entry stands at its index of the log with this checkpoint."""

    index: int
    data: bytes
    path: tuple[bytes, ...]
    note: str

    def to_text(self) -> str:
        """Return the proof in the C2SP tlog-proof form; the entry's bytes go beside it."""
        path = "".join(base64.b64encode(step).decode() + "\n" for step in self.path)
        return f"{PROOF_FORMAT}\nindex {self.index}\n{path}\n{self.note}"


def prove_inclusion(log: LogReader, index: int, cosigned: Checkpoint | None = None) -> InclusionProof:
    """Return the proof that the entry at `index` stands in the log as its newest checkpoint signs it.

    Where `cosigned`, a head that witnesses signed too, has the entry, the proof leads to that one.

    Raises:
        AbsentError: there is no such entry.
    """
    stored = entry_at(log, index)
    note = cosigned.to_note() if cosigned is not None and index < cosigned.size else log.checkpoint()
    path = inclusion_path(index, parse_checkpoint(note).size, Tree(log.tile).node)
    return InclusionProof(index, stored.data, path, note)


def prove_consistency(log: LogReader, first: int, second: int) -> tuple[bytes, ...]:
    """Return the proof that the log of `second` entries continues that of `first` (RFC 9162 section 2.1.4).

    Raises:
        MalformedError: the sizes are not in order, or the log is smaller.
    """
    size = parse_checkpoint(log.checkpoint()).size
    if second > size:
        raise MalformedError(ErrorCode.UNKNOWN_ENTRY, f"the log has {size} entries, not {second}")
    return consistency_path(first, second, Tree(log.tile).node)


def continues(log: LogReader, head: Checkpoint) -> bool:
    """Return whether `log` has at least the entries of `head`, and the same."""
    if head.size > parse_checkpoint(log.checkpoint()).size:
        return False
    return not head.size or root_of(0, head.size, Tree(log.tile).node) == head.root


def verify_proof(text: str, data: bytes, origin: str, public: bytes) -> Checkpoint:
    """Check that a tlog-proof `text` proves that `data` stands in the log `origin` of the key `public`.

    Returns:
        The checkpoint it rests on.

    Raises:
        MalformedError: the text is no proof.
        IntegrityError: it does not prove it.
    """
    head, _, note = text.partition("\n\n")
    lines = head.split("\n")
    index = lines[1].removeprefix("index ") if len(lines) > 1 else ""
    if lines[0] != PROOF_FORMAT or not (index.isascii() and index.isdigit()) or len(lines) > MAX_PATH + 2:
        raise MalformedError(ErrorCode.BAD_VALUE, "the text is no proof of the tlog-proof form")
    try:
        path = [base64.b64decode(line, validate=True) for line in lines[2:]]
    except ValueError as err:
        raise MalformedError(ErrorCode.BAD_VALUE, "the proof's path is no base64") from err
    checkpoint = parse_checkpoint(note)
    verify_checkpoint(checkpoint, origin, public)
    verify_inclusion(leaf_hash(data), int(index), checkpoint.size, path, checkpoint.root)
    return checkpoint


def _checked(wanted: Query) -> Filter:
    if not 1 <= wanted.limit <= MAX_PAGE:
        raise MalformedError(ErrorCode.BAD_VALUE, f"a page has 1 to {MAX_PAGE} entries, not {wanted.limit}")
    if wanted.text is not None and not 1 <= len(wanted.text) <= MAX_TEXT:
        raise MalformedError(ErrorCode.BAD_VALUE, f"a text to look for has 1 to {MAX_TEXT} characters")
    return Filter(
        principal=wanted.principal,
        kinds=tuple(sorted(kind.value for kind in wanted.kinds)),
        since=rfc3339(wanted.since) if wanted.since else None,
        until=rfc3339(wanted.until) if wanted.until else None,
        text=canonical(wanted.text)[1:-1] if wanted.text else None,  # as it stands in the entry's JSON
        before=_parse_cursor(wanted.cursor) if wanted.cursor else None,
        limit=wanted.limit,
    )


def _parse_cursor(cursor: str) -> tuple[str, int]:
    time, _, index = cursor.rpartition(".")
    if len(time) != len("2026-11-24T09:30:00.000000Z") or not (index.isascii() and index.isdigit()):
        raise MalformedError(ErrorCode.BAD_VALUE, f"{cursor[:60]!a} is no cursor", help="take it from the page before")
    return time, int(index[:19])
