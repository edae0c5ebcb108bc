"""Export: a stretch of the log as one file that anybody can verify without Charter (`charter_verify.py`).

The pack is lines: a header in JSON (origin, node, range, checkpoint, key, and the subtrees left and right of the range,
which tie it to the checkpoint), the leaf hashes in base64, 256 a line, and the entries, byte for byte. What stands
apart of an entry and was not erased follows it on its line: a tab, the opening in base64, a tab, the payload. Then come
the entries outside of the range that are needed to judge those within, each with the path that proves it: verdicts
before it of which outcomes are within, and what tells of erasures within.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from typing import BinaryIO

import msgspec

from charter.core.canonical import canonical
from charter.core.entropy import moment_of
from charter.core.errors import ConflictError, ErrorCode, IntegrityError, MalformedError
from charter.evidence.charter_verify import ELSEWHERE, FORMAT, MAX_ENTRIES, Pairing
from charter.evidence.checkpoint import Checkpoint, parse_checkpoint
from charter.evidence.entry import EntryKind
from charter.evidence.key_change import PREFIX
from charter.evidence.log import LogReader, Query, entry_at, query
from charter.evidence.tile import WIDTH, Tree
from charter.evidence.tree import full_subtrees, inclusion_path

BATCH = 512
VERIFIER = "charter_verify.py"
_PAIRED = (EntryKind.VERDICT, EntryKind.OUTCOME)
_NEAR = dt.timedelta(minutes=2)  # of the time that a verdict's id holds


@dataclass(frozen=True, slots=True)
class PackSummary:
    """What a pack holds: entries `start` to `end` (without `end`) of a log of `size`."""

    origin: str
    start: int
    end: int
    size: int


def export_pack(  # noqa: PLR0913 - which entries, under which head, and who is told
    log: LogReader,
    public: bytes,
    out: BinaryIO,
    *,
    start: int = 0,
    end: int | None = None,
    cosigned: Checkpoint | None = None,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> PackSummary:
    """Write the entries from `start` to before `end` (None: to the newest) as a pack to `out`.

    With `cosigned`, a head that witnesses signed too, the pack ends and is signed with that one. `progress` is told how
    many of how many entries are written.

    Raises:
        MalformedError: the log has no such range.
        IntegrityError: an entry or a hash is missing.
    """
    note = cosigned.to_note() if cosigned is not None else log.checkpoint()
    checkpoint = parse_checkpoint(note)
    end = checkpoint.size if end is None else end
    if not 0 <= start <= end <= checkpoint.size or end - start > MAX_ENTRIES:
        raise MalformedError(
            ErrorCode.UNKNOWN_ENTRY,
            f"the log has {checkpoint.size} entries, so none from {start} to {end}",
            help=f"name a range inside the log, of at most {MAX_ENTRIES} entries",
        )
    tree = Tree(log.tile)
    header = {
        "pack": FORMAT,
        "origin": log.origin,
        "node": log.node,
        "start": start,
        "end": end,
        "public_key": base64.b64encode(public).decode(),
        "checkpoint": note,
        "left": [_base64(tree.node(*place)) for place in full_subtrees(0, start)],
        "right": [[level, _base64(tree.node(level, index))] for level, index in joining(end, checkpoint.size)],
    }
    changes = key_changes(log)
    if changes:
        header["key_changes"] = changes
    out.write(canonical(header) + b"\n")
    _write_hashes(log, out, start, end)
    needed = _write_entries(log, out, start, end, progress)
    _write_elsewhere(log, out, needed, checkpoint.size)
    return PackSummary(log.origin, start, end, checkpoint.size)


def key_changes(log: LogReader) -> list[str]:
    """Return the checkpoints with which the log's key changed, smallest first."""
    found, after = [], 0
    while kept := log.checkpoints(after, BATCH):
        found += [note for _, note in kept if PREFIX in note]
        after = kept[-1][0]
    return found


def verifier_source() -> bytes:
    """Return the stand-alone verifier, to be handed over with a pack."""
    return resources.files("charter.evidence").joinpath(VERIFIER).read_bytes()


def joining(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield (level, index) of full subtrees from `start` to `end`, each of which joins what stands left of it."""
    while start < end:
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        yield level, start >> level
        start += 1 << level


def _write_hashes(log: LogReader, out: BinaryIO, start: int, end: int) -> None:
    """Write the leaf hashes, 256 a line, counted from `start`."""
    tree = Tree(log.tile)
    for first in range(start, end, WIDTH):
        out.write(base64.b64encode(b"".join(tree.node(0, i) for i in range(first, min(first + WIDTH, end)))) + b"\n")
        tree = Tree(log.tile) if first % (64 * WIDTH) < WIDTH else tree  # forget what lies behind


def _write_entries(
    log: LogReader, out: BinaryIO, start: int, end: int, progress: Callable[[int, int], None]
) -> list[int]:
    """Write the entries; return the indices of those outside of the range that are needed to judge them."""
    expected, pairing, erasures = start, Pairing(), set[int]()
    while expected < end:
        progress(expected - start, end - start)
        rows = log.entries(expected - 1, min(BATCH, end - expected))
        for row in rows:
            if row.index != expected:
                break
            out.write(row.data)
            if row.payload is not None and row.opening is not None:
                out.write(b"\t" + base64.b64encode(row.opening) + b"\t" + row.payload)
            out.write(b"\n")
            expected += 1
            if row.erased_by is not None and row.erased_by >= end:
                erasures.add(row.erased_by)
            if row.kind in _PAIRED:
                pairing.add(msgspec.json.decode(row.data))
        if not rows or rows[-1].index != expected - 1:
            raise IntegrityError(
                ErrorCode.EVIDENCE_BROKEN, f"entry {expected} is missing", help="run `charter evidence verify`"
            )
    return sorted(erasures.union(_verdicts(log, pairing.orphans, start)))


def _verdicts(log: LogReader, orphans: Iterable[str], start: int) -> Iterator[int]:
    """Yield the entries before `start` of the verdicts of outcomes; of one that stands nowhere, the pack shows that."""
    for verdict in orphans:
        made = moment_of(verdict)
        near = [(made - _NEAR, made + _NEAR)] if made is not None else []
        for since, until in (*near, (None, None)):
            wanted = Query(text=verdict, kinds=(EntryKind.VERDICT,), since=since, until=until, limit=10)
            found = [each.index for each in query(log, wanted).entries if each.index < start]
            if found:
                yield found[0]
                break


def _write_elsewhere(log: LogReader, out: BinaryIO, needed: list[int], size: int) -> None:
    tree, newest = Tree(log.tile), parse_checkpoint(log.checkpoint()).size
    for index in needed:
        if index >= newest:
            continue  # no entry tells of it: the pack shows that
        if index >= size:
            raise ConflictError(
                ErrorCode.STALE, "something was erased after the head that the pack ends with", help="export again"
            )
        path = base64.b64encode(b"".join(inclusion_path(index, size, tree.node)))
        out.write(ELSEWHERE + path + b"\t" + entry_at(log, index).data + b"\n")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
