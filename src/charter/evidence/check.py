"""Verify a node's whole log where it is kept, streaming, and name what is wrong with it.

    (1) The head's checkpoint bears the log's signature, and so do the ones kept along the way; where the log's key
        changed, both keys signed that (key_change.py).
    (2) The leaf hashes in the tiles have the checkpoints' roots; the tiles above them are made of them.
    (3) Each entry has its leaf hash, in order, none missing, none added, and is filed under what it says.
    (4) Each outcome has an allowing verdict before it.
    (5) What stands apart of an entry is what it commits to, or a later entry tells that it was erased.
    (6) A checkpoint held from earlier is of a log that this one continues.

If the leaf hashes have the signed root, a differing entry is certainly the changed one. If they have not, the entries
may still have it (then the hashes were changed); else the kept checkpoints tell which stretch of the log is wrong.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO

from charter.core.clock import parse_rfc3339
from charter.core.errors import CharterError
from charter.evidence.charter_verify import (
    MAX_FAULTS,
    SKEW,
    Comparison,
    Fault,
    Pairing,
    Payloads,
    UnreadableError,
    verify_pack,
)
from charter.evidence.checkpoint import Checkpoint, parse_checkpoint, verify_checkpoint
from charter.evidence.export import export_pack
from charter.evidence.key_change import PREFIX, KeyChange, KeyHistory, says_change, verify_change
from charter.evidence.log import LogReader, Stored
from charter.evidence.tile import HEIGHT, WIDTH
from charter.evidence.tree import HASH_BYTES, Frontier

BATCH = 512


@dataclass(frozen=True, slots=True)
class LogReport:
    """What was found. The log is verified if there are no faults."""

    node: str
    origin: str
    entries: int
    checkpoint: Checkpoint | None
    faults: tuple[Fault, ...]
    payloads: int = 0  # that are what their entries commit to
    erased: int = 0
    set_back: int = 0  # how often an entry bears a time more than `SKEW` before that of the one before it
    first_set_back: int | None = None  # the index of the first such entry

    @property
    def is_verified(self) -> bool:
        """Whether the log is what its checkpoint signs."""
        return not self.faults


def check_log(
    log: LogReader,
    public: bytes,
    *,
    held: Checkpoint | None = None,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> LogReport:
    """Return what is wrong with `log`, whose key is `public`; `held` is a checkpoint kept elsewhere from earlier.

    `progress` is told how many of how many entries are done.
    """
    try:
        checkpoint = parse_checkpoint(log.checkpoint())
    except CharterError as err:
        return LogReport(log.node, log.origin, 0, None, (Fault(f"the log's head: {err.detail}"),))
    faults: list[Fault] = []
    check = _Check(log, _history(log, public, checkpoint, faults), checkpoint, held, faults)
    check.check_signature(checkpoint, "the log's head")
    if held is not None:
        check.check_held(held)
    done = 0
    for row in _rows(log):
        check.add(row)
        done += 1
        if done % BATCH == 0:
            progress(done, checkpoint.size)
    check.finish()
    progress(done, checkpoint.size)
    return LogReport(
        log.node,
        log.origin,
        done,
        checkpoint,
        tuple(check.faults[:MAX_FAULTS]),
        check.payloads.given,
        len(check.payloads.erased),
        check.times.set_back,
        check.times.first,
    )


def check_newest(log: LogReader, public: bytes, newest: int) -> LogReport:
    """Return what is wrong with the newest entries of `log`, as whoever is given a pack of them would find it."""
    pack, times = BytesIO(), _Times()
    try:
        checkpoint = parse_checkpoint(log.checkpoint())
        start = max(0, checkpoint.size - newest)
        export_pack(log, public, pack, start=start)
        pack.seek(0)
        found = verify_pack(pack, public)
        for row in _rows(log, start - 1):
            times.add(row)
    except (CharterError, UnreadableError) as err:
        return LogReport(log.node, log.origin, 0, None, (Fault(f"the newest entries: {err}"),))
    faults, payloads = tuple(found.faults), found.payloads
    counts = (payloads.given, len(payloads.erased), times.set_back, times.first)
    return LogReport(log.node, log.origin, found.end - found.start, checkpoint, faults, *counts)


def _rows(log: LogReader, after: int | None = None) -> Iterator[Stored]:
    while rows := log.entries(after, BATCH):
        yield from rows
        after = rows[-1].index


def _history(log: LogReader, public: bytes, head: Checkpoint, faults: list[Fault]) -> KeyHistory:
    """Return the keys that the log had over time, as the checkpoints say where they changed."""
    changes: dict[int, KeyChange] = {}
    for checkpoint in (*_stated(log), head):
        if says_change(checkpoint):
            try:
                changes[checkpoint.size] = verify_change(checkpoint, log.origin)
            except CharterError as err:
                faults.append(Fault(f"the checkpoint of {checkpoint.size} entries: {err.detail}"))
    try:
        return KeyHistory(public, changes.values())
    except CharterError as err:
        faults.append(Fault(err.detail))
        return KeyHistory(public, ())


def _stated(log: LogReader) -> Iterator[Checkpoint]:
    """Yield the checkpoints kept that state a change of the key, smallest first."""
    after = 0
    while found := log.checkpoints(after, BATCH):
        for _, note in found:
            if PREFIX in note:
                with contextlib.suppress(CharterError):  # what is none is named where all are walked along
                    yield parse_checkpoint(note)
        after = found[-1][0]


@dataclass(slots=True)
class _Times:
    """Where the clock was set back: no fault of the log, but no period across it can be shown to be whole."""

    before: str = ""
    set_back: int = 0
    first: int | None = None

    def add(self, row: Stored) -> None:
        with contextlib.suppress(ValueError):  # not what was recorded, which is named elsewhere
            if row.time < self.before and parse_rfc3339(self.before) - parse_rfc3339(row.time) > SKEW:
                self.set_back += 1
                self.first = row.index if self.first is None else self.first
        self.before = row.time


@dataclass(slots=True)
class _Check:
    """One walk along the log."""

    log: LogReader
    keys: KeyHistory
    checkpoint: Checkpoint
    held: Checkpoint | None
    faults: list[Fault]
    comparison: Comparison = field(init=False)
    pairing: Pairing = field(default_factory=Pairing)
    payloads: Payloads = field(default_factory=Payloads)
    times: _Times = field(default_factory=_Times)
    recorded: Frontier = field(default_factory=Frontier)  # over the leaf hashes in the tiles
    actual: Frontier | None = None  # over the entries, from the first that differs
    tiles: dict[int, bytes] = field(default_factory=dict)
    kept: Iterator[Checkpoint] = field(init=False)
    due: Checkpoint | None = None

    def __post_init__(self) -> None:
        self.comparison = Comparison(self._leaf, 0, self.checkpoint.size)
        self.kept = self._kept()
        self.due = next(self.kept, None)

    def check_signature(self, checkpoint: Checkpoint, what: str) -> None:
        """Note if `checkpoint` is not signed by the log's key of its time."""
        try:
            for public in self.keys.at(checkpoint.size):
                verify_checkpoint(checkpoint, self.log.origin, public)
        except CharterError as err:
            self._fault(f"{what}: {err.detail}")

    def check_held(self, held: Checkpoint) -> None:
        """Note if the log is shorter than a checkpoint held from earlier; its root is compared on the way."""
        self.check_signature(held, "the checkpoint held from earlier")
        if held.size > self.checkpoint.size:
            now = self.checkpoint.size
            self._fault(f"the log was cut: {now} entries now, {held.size} when the held checkpoint was signed")
        elif held.size == 0 and held.root != self.recorded.root:
            self._fault("the checkpoint held from earlier is of no empty log")

    def add(self, row: Stored) -> None:
        """Take the next entry in the order of the index it is filed under."""
        was_expected = self.comparison.given
        leaf = self.comparison.add(row.data)
        self._extend(was_expected, leaf)
        self._check_filing(row)

    def finish(self) -> None:
        """Check what can be known only at the end, and collect all faults."""
        while self.recorded.size < self.checkpoint.size and self._leaf(self.recorded.size):
            self._extend(self.recorded.size, None)
        if self.due is not None and self.due.size > self.checkpoint.size:
            self._fault(f"the log was cut: {self.checkpoint.size} entries, but a checkpoint of {self.due.size} is kept")
        found = self.comparison.finish()
        for wrong in (*self.pairing.faults, *self.payloads.finish()):
            self._fault(wrong.text, wrong.index)
        if self.recorded.root == self.checkpoint.root:
            self.faults += found
        elif (self.actual or self.recorded).root == self.checkpoint.root:
            self._fault("leaf hashes in the tiles were changed; the entries are what the checkpoint signs")
        else:
            self._fault("neither the entries nor their hashes are what the log's head signs")
            self.faults += found

    def _extend(self, position: int, leaf: bytes | None) -> None:
        """Take the recorded hash at `position` and the actual one, and check tiles and checkpoints that are due."""
        if position < self.checkpoint.size:
            recorded = self._leaf(position)
            if self.actual is None and leaf != recorded:
                self.actual = self.recorded
            self.recorded, completed = self.recorded.extend((recorded,), HEIGHT)
            for subtree in completed:
                self._check_tile(subtree.level // HEIGHT, subtree.index, subtree.root)
            self._check_due()
        if self.actual is not None and leaf is not None:
            self.actual, _ = self.actual.extend((leaf,), HEIGHT)

    def _check_tile(self, level: int, place: int, root: bytes) -> None:
        tile, at = divmod(place, WIDTH)
        hashes = self.log.tile(level, tile)
        if hashes[at * HASH_BYTES : (at + 1) * HASH_BYTES] != root:
            self._fault(f"tile {tile} of level {level} is not made of the tiles below it, so proofs would fail")

    def _check_due(self) -> None:
        size = self.recorded.size
        while self.due is not None and self.due.size <= size:
            self.check_signature(self.due, f"the checkpoint kept at {self.due.size} entries")
            if self.due.size == size and self.due.root != self.recorded.root:
                self._fault(f"the first {size} entries are not what was signed when the log had {size}", size - 1)
                self.kept = iter(())  # the later ones cannot be right either: the first one tells the stretch
            self.due = next(self.kept, None)
        if self.held is not None and self.held.size == size and self.held.root != self.recorded.root:
            self._fault(f"the log is not the one that was signed at {size} entries: its past was rewritten")

    def _check_filing(self, row: Stored) -> None:
        """Check that an entry is filed under what it says, else a query would not find it."""
        try:
            entry = json.loads(row.data)
        except (ValueError, RecursionError):
            return  # not the recorded bytes: named already
        if not isinstance(entry, dict):
            return
        said = tuple(entry.get(name) for name in ("node", "index", "time", "kind", "principal"))
        if said != (row.node, row.index, row.time, row.kind, row.principal):
            self._fault(f"entry {row.index} is filed under another index, time, kind or principal than it says")
        else:
            self.times.add(row)
        self.payloads.add(entry, row.payload, row.opening)
        self.pairing.add(entry)

    def _leaf(self, index: int) -> bytes:
        """Return the recorded leaf hash of entry `index`; empty if no tile has it."""
        tile, at = divmod(index, WIDTH)
        hashes = self.tiles.get(tile)
        if hashes is None:
            if len(self.tiles) > WIDTH:
                self.tiles.clear()
            hashes = self.tiles[tile] = self.log.tile(0, tile)
        return hashes[at * HASH_BYTES : (at + 1) * HASH_BYTES]

    def _kept(self) -> Iterator[Checkpoint]:
        after = 0
        while found := self.log.checkpoints(after, BATCH):
            for size, note in found:
                try:
                    checkpoint = parse_checkpoint(note)
                except CharterError as err:
                    self._fault(f"the checkpoint kept at {size} entries: {err.detail}")
                    continue
                if checkpoint.size == size:
                    yield checkpoint
                else:
                    self._fault(f"the checkpoint kept at {size} entries is of {checkpoint.size}")
            after = found[-1][0]

    def _fault(self, text: str, index: int | None = None) -> None:
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(Fault(text, index))
