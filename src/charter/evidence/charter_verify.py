"""Verify a pack of Charter evidence. This one file needs Python 3.11 and `cryptography`; Charter need not be installed.

    python charter_verify.py PACK --key BASE64 [--held CHECKPOINT] [--witness KEY … --quorum N [--cosigned CHECKPOINT]]
    python charter_verify.py --proof PROOF --receipt RECEIPT --key BASE64 [--witness KEY … --quorum N [--cosigned …]]

The key is the log's public key, which you must have from somewhere else than the pack: a pack cannot vouch for its own
key. Where the log's key changed, any of its keys will do: each change is a checkpoint that both keys signed. `--held`
is a checkpoint of the same log that you kept from earlier; the pack must continue it. `--witness` is the key of a
witness you trust (C2SP tlog-cosignature); `--quorum` of them must have cosigned a checkpoint, the pack's own or that of
`--cosigned`, which covers the pack. Exit code: 0 the pack is what the
log's checkpoint signs, 1 it is not (each fault is named), 2 the command is wrong.

A pack is lines: a header in JSON, then the leaf hashes (base64, 256 a line), then the entries, byte for byte. Checked:
  (1) the checkpoint bears the signature of the log's key of its time, to which the given key leads;
  (2) the leaf hashes, with the subtrees left and right of them, have the checkpoint's root (RFC 9162 section 2.1.1);
  (3) each entry has its leaf hash, in order, none missing, none added, and says that it is of this node and place;
  (4) each outcome has an allowing verdict before it;
  (5) a held checkpoint is of a log that this one continues;
  (6) witnesses, as many as the quorum, cosigned what the pack holds;
  (7) the entry of each receipt stands where the log promised it (`--receipt`), with a key that it had since then;
  (8) with `--from` and `--until`, the pack has every entry of that period: it reaches from the log's first entry, or
      one before the period, to one after it, or to a head that witnesses cosigned after it. Times may go back by at
      most SKEW: every neighbour is that far outside. Forwarded calls without an outcome are named.
  (9) what stands apart of an entry (behind a tab on its line) is what the entry commits to; where it is not there, a
      later entry tells that it was erased, by whom and why.
What (4) and (9) need of entries outside of the pack's range follows behind its entries, each with its own proof.

A receipt can do without a pack: `--proof` (C2SP tlog-proof) leads from its entry to one checkpoint's root (RFC 9162
section 2.1.3.2). Checked are (1), (6) and (7); it shows that this one entry stands there, and nothing of others.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import copy
import datetime as dt
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    sys.stderr.write("charter_verify.py needs the package `cryptography`: python3 -m pip install cryptography\n")
    raise SystemExit(2) from None

FORMAT = "charter.evidence/3"
# the first has nothing apart, the second no entries from elsewhere
FORMATS = ("charter.evidence/1", "charter.evidence/2", FORMAT)
ELSEWHERE = b"elsewhere\t"  # begins the line of an entry outside of the range: its path in base64, a tab, its bytes
APART = "<apart>"  # stands in the hashed bytes where a text is kept apart
TILE = 256  # leaf hashes a line
HASH = 32
COSIGNATURE = 4 + 8 + 64  # bytes: the key's id, the time, the signature
MAX_LINE = 131_072  # bytes; entries are at most 64 KiB
MAX_FAULTS = 1_000
SHOWN_FAULTS = 50
SKEW = dt.timedelta(seconds=60)  # by which the clock of a node may be set back without a word
RECEIPT = "charter.receipt/1"
PROOF = "c2sp.org/tlog-proof@v1"
MAX_PATH = 63  # hashes: a log has less than 2**63 entries
MAX_TEXT = 1_048_576  # bytes of a proof, a receipt or a checkpoint
MAX_CHANGES = 10_000  # of the log's key
KEY_CHANGE = "charter-key-change "  # the line of a checkpoint that names the keys before and after it
MAX_ENTRIES = 50_000_000  # 32 bytes of memory each; a larger log is exported in parts


class UnreadableError(Exception):
    """The pack has no form that could be checked."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, and the entry it is about if there is one."""

    text: str
    index: int | None = None


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf (RFC 9162 section 2.1.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def commitment_of(opening: bytes, payload: bytes) -> str:
    """Return the commitment, in hex, to a payload, with 32 random bytes that keep it from being guessed."""
    return hashlib.sha256(b"charter evidence payload 1\x00" + opening + payload).hexdigest()


class Payloads:
    """Holds what stands apart of entries against what they commit to, and what is missing against erasures told of."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.given = 0
        self.erased: dict[int, int] = {}  # entry -> the entry that tells of its erasure
        self.erasures: list[dict[str, Any]] = []
        self._missing: list[int] = []
        self._seen: set[int] = set()

    def add(self, entry: dict[str, Any], payload: bytes | None, opening: bytes | None) -> None:
        """Take the next entry, with what stands apart of it if that is there."""
        index, said = entry.get("index"), entry.get("apart")
        if type(index) is not int:
            return
        self.note_erasure(entry)
        if not isinstance(said, dict):
            if payload is not None:
                self._fault(index, f"entry {index}: something stands apart of it that it does not commit to")
        elif payload is None or opening is None:
            self._missing.append(index)
        elif len(opening) != HASH or commitment_of(opening, payload) != said.get("commitment"):
            self._fault(index, f"entry {index}: what stands apart of it is not what it commits to")
        else:
            self.given += 1
            self._seen.add(index)

    def finish(self) -> list[Fault]:
        """Return all faults."""
        for index in self._missing:
            if index not in self.erased:
                self._fault(
                    index, f"entry {index}: what stands apart of it is missing, and no entry tells of an erasure"
                )
        for index in sorted(self._seen.intersection(self.erased)):
            told = self.erased[index]
            self._fault(index, f"entry {index}: entry {told} tells that its payload was erased, and it is still there")
        return self.faults

    @property
    def missing(self) -> int:
        """How many payloads are not there."""
        return len(self._missing)

    @property
    def untold(self) -> int:
        """How many of those no entry tells of."""
        return sum(index not in self.erased for index in self._missing)

    def note_erasure(self, entry: dict[str, Any]) -> None:
        """Take what an entry tells of an erasure, if it does."""
        index, body = entry.get("index"), entry.get("body")
        if entry.get("kind") != "evidence.erased" or type(index) is not int:
            return
        ranges = body.get("entries") if isinstance(body, dict) else None
        if not isinstance(body, dict) or not isinstance(ranges, list):
            return
        for each in ranges:
            is_range = isinstance(each, list) and len(each) == 2 and all(type(n) is int for n in each)  # noqa: PLR2004 - first, last
            if is_range and 0 <= each[0] <= each[1] < index and each[1] - each[0] < MAX_LINE:
                for erased in range(each[0], each[1] + 1):
                    self.erased.setdefault(erased, index)
        self.erasures.append(
            {"entry": index, "time": entry.get("time"), "actor": entry.get("actor")}
            | {name: body.get(name) for name in ("rule", "reason", "count")}
        )

    def _fault(self, index: int, text: str) -> None:
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(Fault(text, index))


class Spine:
    """The full subtrees of a growing tree, largest first: enough to know its root at any time."""

    def __init__(self) -> None:
        self.size = 0
        self._stack: list[tuple[int, bytes]] = []  # level, root

    def push(self, root: bytes, level: int = 0) -> None:
        """Append a full subtree of 2**level leaves."""
        if self.size & ((1 << level) - 1):
            raise UnreadableError("a subtree does not stand where it can be joined")
        self.size += 1 << level
        while self._stack and self._stack[-1][0] == level:
            root = hashlib.sha256(b"\x01" + self._stack.pop()[1] + root).digest()
            level += 1
        self._stack.append((level, root))

    @property
    def root(self) -> bytes:
        """The root of the tree as it is now."""
        if not self._stack:
            return hashlib.sha256(b"").digest()
        _, node = self._stack[-1]
        for _, left in reversed(self._stack[:-1]):
            node = hashlib.sha256(b"\x01" + left + node).digest()
        return node


class Comparison:
    """Holds entries, as they come, against the leaf hashes that were recorded, and names what differs.

    `expected(i)` is the recorded leaf hash of entry i, for `start` <= i < `end`. An entry is known if its own index
    names its hash. One entry is read ahead, to tell a changed entry from an added or a missing one.
    """

    def __init__(self, expected: Callable[[int], bytes], start: int, end: int) -> None:
        self.faults: list[Fault] = []
        self.given = 0  # entries seen
        self._expected = expected
        self._start, self._end = start, end
        self._next = start
        self._held: tuple[bytes, bytes] | None = None
        self._missing: dict[int, int] = {}  # first -> last + 1
        self._early: dict[int, int] = {}  # entry -> the entry it stands before
        self._instead: dict[int, int] = {}  # place -> the entry that stands there

    def add(self, data: bytes) -> bytes:
        """Take the next entry; return its leaf hash."""
        self.given += 1
        leaf = leaf_hash(data)
        if len(self.faults) + len(self._missing) + len(self._instead) >= MAX_FAULTS:
            return leaf  # another log, or no log at all: enough is known
        if self._held is not None:
            held, self._held = self._held, None
            self._judge(*held, self._known(data, leaf))
        if self._next < self._end and leaf == self._expected(self._next):
            self._next += 1
        else:
            self._held = (data, leaf)
        return leaf

    def finish(self) -> list[Fault]:
        """Return all faults, in the order of the entries they are about."""
        if self._held is not None:
            self._judge(*self._held, self._end)
            self._held = None
        self._miss(self._next, self._end)
        for place, entry in self._instead.items():
            self._fault(place, f"entry {entry} stands in the place of entry {place}")
        for first, last in self._missing.items():
            what = f"entry {first} is" if last == first + 1 else f"entries {first} to {last - 1} are"
            self._fault(first, f"{what} missing")
        return sorted(self.faults, key=lambda fault: -1 if fault.index is None else fault.index)

    def _judge(self, data: bytes, leaf: bytes, follower: int | None) -> None:
        """Judge an entry that is not the expected one; `follower` is what comes after it, None if unknown."""
        entry, place = self._known(data, leaf), self._next
        is_extra = place in (follower, self._end)  # the expected entry, if any, is still to come
        if entry is None:
            self._judge_unknown(leaf, is_extra=is_extra)
        elif entry > place:
            self._judge_later(entry, follower)
        elif self._take_missing(entry):
            self._fault(entry, f"entry {entry} stands after entry {place - 1}, out of its order")
        elif self._instead.get(entry) == place:
            del self._instead[entry]
            self._fault(entry, f"entries {entry} and {place} stand in each other's place")
            self._next += 1
        elif entry in self._instead:
            self._instead[place] = entry
            self._next += not is_extra
        else:
            self._fault(entry, f"entry {entry} stands there twice, again after entry {place - 1}")
            self._next += not is_extra

    def _judge_unknown(self, leaf: bytes, *, is_extra: bool) -> None:
        place = self._next
        if is_extra:
            where = f"before entry {place}" if place < self._end else f"after the last entry, {place - 1}"
            self._fault(place, f"an entry that was never recorded stands {where} (leaf hash {leaf.hex()})")
        else:
            wanted = self._expected(place).hex()
            self._fault(
                place, f"entry {place}: its bytes are not what was recorded (leaf hash {leaf.hex()}, expected {wanted})"
            )
            self._next += 1

    def _judge_later(self, entry: int, follower: int | None) -> None:
        place = self._next
        if follower == place:
            self._early[entry] = place
        elif follower is None or follower == entry + 1:
            self._miss(place, entry)
            self._next = entry + 1
        else:
            self._instead[place] = entry
            self._next += 1

    def _miss(self, first: int, end: int) -> None:
        """Note that entries `first` to `end` were passed over, save those that stood too early."""
        for entry in sorted(e for e in self._early if first <= e < end):
            place = self._early.pop(entry)
            if entry == place + 1:
                self._fault(place, f"entries {place} and {entry} stand in each other's place")
            else:
                self._fault(entry, f"entry {entry} stands before entry {place}, out of its order")
            if first < entry:
                self._missing[first] = entry
            first = entry + 1
        if first < end:
            self._missing[first] = end

    def _take_missing(self, entry: int) -> bool:
        """Take `entry` out of the missing ones; return whether it was one."""
        for first, end in self._missing.items():
            if first <= entry < end:
                del self._missing[first]
                if first < entry:
                    self._missing[first] = entry
                if entry + 1 < end:
                    self._missing[entry + 1] = end
                return True
        return False

    def _known(self, data: bytes, leaf: bytes) -> int | None:
        """Return the index of the recorded entry that `data` is, or None if it is none."""
        try:
            index = json.loads(data)["index"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        if type(index) is not int or not self._start <= index < self._end:
            return None
        return index if self._expected(index) == leaf else None

    def _fault(self, index: int, text: str) -> None:
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(Fault(text, index))


class Pairing:
    """Each outcome closes one allowing verdict before it."""

    def __init__(self) -> None:
        self.orphans: dict[str, list[int]] = {}  # verdict -> the entries of outcomes that it does not stand before
        self._open: dict[str, int] = {}  # verdict -> its entry, of calls that Charter forwards and that are asked about
        self._told: set[str] = set()  # other verdicts: for points that are not Charter's, which carry the call out

    def add(self, entry: dict[str, Any], *, is_asked: bool = True) -> None:
        """Take the next entry. `is_asked`: whether it is wanted to know if a call that it allows has no outcome."""
        index, verdict, kind = _paired(entry)
        if kind == "allow" and is_asked:
            self._open[verdict] = index
        elif kind in ("allow", "told"):
            self._told.add(verdict)
        elif kind == "outcome" and self._open.pop(verdict, None) is None:
            if verdict in self._told:
                self._told.remove(verdict)
            else:
                self.orphans.setdefault(verdict, []).append(index)

    def recall(self, entry: dict[str, Any]) -> None:
        """Take an entry from before those that were added: a verdict that one outcome among them may be of."""
        index, verdict, kind = _paired(entry)
        outcomes = self.orphans.get(verdict, [])
        if kind in ("allow", "told") and outcomes and index < outcomes[0]:
            outcomes.pop(0)

    @property
    def faults(self) -> list[Fault]:
        """The outcomes without a verdict."""
        said = "an outcome without an allowing verdict before it"
        found = sorted((at, verdict) for verdict, places in self.orphans.items() for at in places)
        return [Fault(f"entry {at}: {said} ({verdict[:64]!a})", at) for at, verdict in found[:MAX_FAULTS]]

    @property
    def unfinished(self) -> tuple[int, ...]:
        """The entries of allowing verdicts, of calls that Charter forwards, without an outcome."""
        return tuple(sorted(self._open.values()))


def _paired(entry: dict[str, Any]) -> tuple[int, str, str]:
    """Return index, verdict and what an entry is to it: `allow`, `told`, `outcome`, or nothing."""
    index, body = entry.get("index"), entry.get("body")
    verdict = body.get("verdict_id") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(verdict, str) or type(index) is not int:
        return -1, "", ""
    if entry.get("kind") == "verdict" and body.get("verdict") == "allow":
        return index, verdict, "told" if "asked_by" in body else "allow"
    return index, verdict, "outcome" if entry.get("kind") == "outcome" else ""


@dataclass(frozen=True)
class Checkpoint:
    """The head of a log: `signed` are the bytes under the signatures."""

    origin: str
    size: int
    root: bytes
    signed: bytes
    signatures: tuple[tuple[str, bytes], ...]  # key name, key id and signature
    extensions: tuple[str, ...] = ()


def parse_checkpoint(note: str) -> Checkpoint:
    """Return the checkpoint a signed note states (C2SP tlog-checkpoint), or raise UnreadableError."""
    body, blank, tail = note.rpartition("\n\n")
    lines = body.split("\n")
    if not blank or not tail.endswith("\n") or len(lines) < 3 or not re.fullmatch("[0-9]{1,19}", lines[1]):  # noqa: PLR2004 - origin, size, root
        raise UnreadableError("the checkpoint is no signed note of a log's head")
    signatures = []
    for line in tail[:-1].split("\n"):
        dash, name, blob = [*line.split(" ", 2), "", ""][:3]
        if dash != "\u2014":
            raise UnreadableError("the checkpoint has a signature line that is none")
        signatures.append((name, _base64(blob, "a signature")))
    root, signed = _base64(lines[2], "the checkpoint's root", HASH), (body + "\n").encode()
    return Checkpoint(lines[0], int(lines[1]), root, signed, tuple(signatures), tuple(lines[3:]))


def verify_signature(checkpoint: Checkpoint, key: bytes) -> str | None:
    """Return what is wrong with the signature of the log's own `key` (32 bytes) on `checkpoint`, or None."""
    key_id = hashlib.sha256(checkpoint.origin.encode() + b"\n\x01" + key).digest()[:4]
    own = [blob[4:] for name, blob in checkpoint.signatures if (name, blob[:4]) == (checkpoint.origin, key_id)]
    if not own:
        return "the checkpoint is not signed with the given key"
    try:
        for signature in own:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, checkpoint.signed)
    except (InvalidSignature, ValueError):
        return "the checkpoint's signature does not verify: its origin, size or root were changed"
    return None


class Keys:
    """The keys that a log had over its sizes, as far as the given key and the changes lead."""

    def __init__(self, key: bytes, changes: tuple[Checkpoint, ...]) -> None:
        self.faults: list[Fault] = []
        self._changes: list[tuple[int, bytes, bytes]] = []  # size, key before, key after
        self._key = key
        for checkpoint in changes:
            before, after = _keys_named(checkpoint)
            wrong = verify_signature(checkpoint, before) or verify_signature(checkpoint, after)
            last = self._changes[-1] if self._changes else None
            if wrong:
                self.faults.append(Fault(f"the change of the log's key at {checkpoint.size} entries: {wrong}"))
            elif last and (last[0] >= checkpoint.size or last[2] != before):
                text = f"the change of the log's key at {checkpoint.size} entries does not follow the one before"
                self.faults.append(Fault(text))
            else:
                self._changes.append((checkpoint.size, before, after))
        if self._changes and key not in [each for _, *pair in self._changes for each in pair]:
            self._changes = []  # they lead nowhere from the given key: it alone counts

    def since(self, index: int) -> tuple[bytes, ...]:
        """Return the keys that may have promised the entry at `index`: none that was replaced before it."""
        return (*self.at(index + 1), *(after for changed, _, after in self._changes if changed > index))

    def at(self, size: int) -> tuple[bytes, ...]:
        """Return the keys that must have signed a checkpoint of `size` entries: two where it changed, else one."""
        for changed, before, after in self._changes:
            if size < changed:
                return (before,)
            if size == changed:
                return (before, after)
        return (self._changes[-1][2] if self._changes else self._key,)

    def wrong_with(self, checkpoint: Checkpoint) -> str | None:
        """Return what is wrong with the signatures of `checkpoint`, or None."""
        return next((wrong for key in self.at(checkpoint.size) if (wrong := verify_signature(checkpoint, key))), None)


def _keys_named(checkpoint: Checkpoint) -> tuple[bytes, bytes]:
    lines = [line for line in checkpoint.extensions if line.startswith(KEY_CHANGE)]
    words = lines[0].removeprefix(KEY_CHANGE).split(" ") if len(lines) == 1 else []
    if len(words) != 2 or not all(word.startswith(f"{checkpoint.origin}+") for word in words):  # noqa: PLR2004 - before, after
        raise UnreadableError("a change of the log's key names no two keys of the log")
    blobs = (word.removeprefix(f"{checkpoint.origin}+").partition("+")[2] for word in words)
    before, after = (_base64(blob, "a key in a change of the log's key", HASH + 1)[1:] for blob in blobs)
    return before, after


@dataclass
class Report:
    """What was found in a pack."""

    origin: str
    node: str
    start: int
    end: int
    size: int
    root: bytes
    faults: list[Fault] = field(default_factory=list)
    first_time: str = ""
    last_time: str = ""
    quorum: int = 0  # of witnesses; 0: none were asked for
    notes: list[str] = field(default_factory=list)  # what is shown of receipts and periods
    period: Period | None = None  # of which the pack must have every entry
    payloads: Payloads = field(default_factory=Payloads)

    @property
    def is_verified(self) -> bool:
        """Whether the pack is what the checkpoint signs."""
        return not self.faults


@dataclass(frozen=True)
class _Header:
    node: str
    start: int
    end: int
    checkpoint: Checkpoint
    left: tuple[bytes, ...]
    right: tuple[tuple[int, bytes], ...]
    changes: tuple[Checkpoint, ...] = ()  # of the log's key, smallest first


@dataclass(frozen=True)
class Witnessing:
    """Which witnesses are trusted (name, raw key), how many must have cosigned, and a checkpoint they did it on."""

    witnesses: tuple[tuple[str, bytes], ...]
    quorum: int
    cosigned: Checkpoint | None = None  # None: the pack's own


def cosigners(checkpoint: Checkpoint, witnesses: tuple[tuple[str, bytes], ...]) -> dict[bytes, int]:
    """Return the keys of `witnesses` who cosigned `checkpoint`, with the time (C2SP tlog-cosignature v1)."""
    found: dict[bytes, int] = {}
    for name, key in witnesses:
        key_id = hashlib.sha256(name.encode() + b"\n\x04" + key).digest()[:4]
        for line, blob in checkpoint.signatures:
            if (line, blob[:4]) == (name, key_id) and len(blob) == COSIGNATURE:
                head = b"cosignature/v1\ntime %d\n" % int.from_bytes(blob[4:12])
                try:
                    Ed25519PublicKey.from_public_bytes(key).verify(blob[12:], head + checkpoint.signed)
                except (InvalidSignature, ValueError):
                    continue
                found[key] = max(found.get(key, 0), int.from_bytes(blob[4:12]))
    return found


@dataclass(frozen=True)
class Receipt:
    """The log's signed promise that the entry with a leaf hash stands at an index."""

    index: int
    leaf: bytes
    time: str
    note: Checkpoint  # its signed bytes and signatures


def parse_receipt(text: str) -> Receipt:
    """Return the receipt that `text` is, or raise UnreadableError."""
    body, blank, tail = text.partition("\n\n")
    lines = body.split("\n") if not re.search("[\ud800-\udfff]", text) else []
    if not blank or len(lines) != 5 or lines[0] != RECEIPT or not re.fullmatch("[0-9]{1,19}", lines[2]):  # noqa: PLR2004 - its lines
        raise UnreadableError("the receipt is none of the form " + RECEIPT)
    name, _, blob = tail.removeprefix("\u2014 ").rstrip("\n").partition(" ")
    line = (name, _base64(blob, "the signature of the receipt"))
    signed = Checkpoint(lines[1], 0, b"", (body + "\n").encode(), (line,))
    return Receipt(int(lines[2]), _base64(lines[3], "the leaf hash of the receipt", HASH), lines[4], signed)


@dataclass(frozen=True)
class Proof:
    """The hashes beside the way of the entry at an index, leaf to root, and the checkpoint of that root."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: Checkpoint


def parse_proof(text: str) -> Proof:
    """Return the proof that `text` is (C2SP tlog-proof v1, without an extra line), or raise UnreadableError."""
    head, blank, note = text.partition("\n\n")
    lines = head.split("\n") if not re.search("[\ud800-\udfff]", text) else []
    index = re.fullmatch("index ([0-9]{1,19})", lines[1]) if len(lines) > 1 else None
    if not blank or not index or lines[0] != PROOF or len(lines) > MAX_PATH + 2:
        raise UnreadableError("the proof is none of the form " + PROOF)
    path = tuple(_base64(line, "a hash of the proof", HASH) for line in lines[2:])
    return Proof(int(index[1]), path, parse_checkpoint(note))


def _root_by(proof: Proof, leaf: bytes) -> bytes | None:
    """Return the root that a proof leads to from `leaf`; None if its length is none for that place."""
    at, last, node = proof.index, proof.checkpoint.size - 1, leaf
    for beside in proof.path:
        if last == 0:
            return None
        if at & 1 or at == last:
            node = hashlib.sha256(b"\x01" + beside + node).digest()
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            node = hashlib.sha256(b"\x01" + node + beside).digest()
        at, last = at >> 1, last >> 1
    return node if last == 0 else None


def verify_receipt(receipt: Receipt, proof: Proof, key: bytes, witnessing: Witnessing | None = None) -> list[Fault]:
    """Return what is wrong with a receipt, held against the checkpoint of a proof; `key` is the log's, 32 raw bytes."""
    seen, what = proof.checkpoint, f"the receipt of entry {receipt.index} of {receipt.time[:40]!a}"
    faults = [Fault(wrong)] if (wrong := verify_signature(seen, key)) else []
    if receipt.note.origin != seen.origin or verify_signature(receipt.note, key):
        faults.append(Fault(f"{what} is not signed by this log's key, so it shows nothing"))
    elif receipt.index >= seen.size:
        text = f"{what}: the log has {seen.size} entries, so it was cut, or this head is older than it"
        faults.append(Fault(text))
    elif receipt.index != proof.index:
        faults.append(Fault(f"{what}: the proof is of entry {proof.index}"))
    elif _root_by(proof, receipt.leaf) != seen.root:
        text = f"{what}: the proof does not lead from the promised entry to the root of the checkpoint"
        faults.append(Fault(f"{text}; another entry stands there, or the proof is a wrong one"))
    if witnessing and witnessing.cosigned and witnessing.cosigned.size != seen.size:
        text = f"the proof leads to the checkpoint of {seen.size} entries, and witnesses cosigned"
        faults.append(Fault(f"{text} that of {witnessing.cosigned.size}: ask for a proof that leads there"))
    elif witnessing:
        faults += _check_witnessed(_Header("", receipt.index, receipt.index + 1, seen, (), ()), witnessing, None)
    return faults


def _check_receipts(report: Report, header: _Header, leaves: bytes, receipts: tuple[Receipt, ...], keys: Keys) -> None:
    """Note whether the entry of each receipt stands where the log promised it."""
    for each in receipts:
        what = f"the receipt of entry {each.index} of {each.time[:40]!a}"
        at = (each.index - header.start) * HASH
        if each.note.origin != header.checkpoint.origin or all(
            verify_signature(each.note, key) for key in keys.since(each.index)
        ):
            report.faults.append(Fault(f"{what} is not signed by this log's key, so it shows nothing"))
        elif each.index >= header.checkpoint.size:
            text = f"{what}: the log has {header.checkpoint.size} entries, so it was cut, or this head is older than it"
            report.faults.append(Fault(text))
        elif not header.start <= each.index < header.end:
            report.faults.append(Fault(f"{what} lies outside this pack and cannot be compared"))
        elif leaves[at : at + HASH] != each.leaf:
            report.faults.append(Fault(f"{what}: another entry stands there, so the promised one was dropped"))
        else:
            report.notes.append(f"RECEIPT: entry {each.index} stands where it was promised")


def _moment(text: str) -> dt.datetime:
    """Return the time that RFC 3339 `text` names, in this age, or raise ValueError."""
    found = dt.datetime.fromisoformat(text)
    found = found if found.tzinfo else found.replace(tzinfo=dt.UTC)
    if not 1970 <= found.year <= 9000:  # noqa: PLR2004 - so that a margin on either side stays in the calendar
        raise ValueError("of no age that logs have")
    return found


@dataclass
class Period:
    """A period of which the pack must have every entry: from `since` to before `until`."""

    since: dt.datetime
    until: dt.datetime
    entries: int = 0  # in the period
    faults: list[Fault] = field(default_factory=list)
    first: dt.datetime | None = None
    latest: dt.datetime | None = None
    is_back: bool = False  # the entry before was, too

    def add(self, entry: dict[str, Any]) -> bool:
        """Take the next entry; return whether it is of the period."""
        try:
            time = _moment(str(entry.get("time")))
            is_back = self.latest is not None and time + SKEW < self.latest
        except ValueError:
            self._fault(f"entry {entry.get('index')!a:.40} has no time")
            return True
        if is_back and not self.is_back:  # one fault for all entries until the clock is where it was
            self._fault(f"the clock was set back at entry {entry.get('index')!a:.40}, from {self.latest} to {time}")
        self.is_back = is_back
        self.entries += self.since <= time < self.until
        self.first = self.first or time
        self.latest = max(self.latest or time, time)
        return self.since <= time < self.until

    def finish(self, header: _Header, witnessed: dt.datetime | None) -> list[Fault]:
        """Return why entries of the period could stand outside of the pack; `witnessed`: when its end was cosigned."""
        if header.start and (self.first is None or self.first + SKEW >= self.since):
            self._fault(f"entries of the period may stand before entry {header.start}, the pack's first")
        is_after = self.latest is not None and self.latest - SKEW >= self.until
        is_seen = witnessed is not None and header.end == header.checkpoint.size and witnessed - SKEW >= self.until
        if not is_after and not is_seen:
            self._fault(
                "nothing shows that the period was over: no entry after it, and no witness signed the end later"
            )
        return self.faults

    def _fault(self, text: str) -> None:
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(Fault(text))


def _check_witnessed(header: _Header, asked: Witnessing, root: bytes | None) -> list[Fault]:
    """Return what is wrong with the witnessing; `root` is what the pack has at the size of the cosigned checkpoint."""
    own = header.checkpoint
    seen = asked.cosigned or own
    count = len(cosigners(seen, asked.witnesses))
    faults = []
    if count < asked.quorum:
        who = f"{count} of the {len(asked.witnesses)} trusted witnesses"
        faults.append(Fault(f"{who} cosigned the checkpoint of {seen.size} entries, and {asked.quorum} must have"))
    if seen.origin != own.origin:
        faults.append(Fault(f"the cosigned checkpoint is of another log, {seen.origin[:255]!a}"))
    elif seen.size < header.end:
        what = f"entries {max(seen.size, header.start)} to {header.end - 1}"
        faults.append(Fault(f"{what} came after the checkpoint of {seen.size} entries that witnesses cosigned"))
    elif (own.root if seen.size == own.size else root) != seen.root:
        faults.append(Fault(f"the log is not the one that witnesses cosigned at {seen.size} entries"))
    return faults


def verify_pack(
    stream: BinaryIO,
    key: bytes,
    held: Checkpoint | None = None,
    witnessing: Witnessing | None = None,
    receipts: tuple[Receipt, ...] = (),
    period: Period | None = None,
) -> Report:
    """Return what was found in the pack that `stream` gives; `key` is the log's raw public key.

    Raises:
        UnreadableError: it is no pack.
    """
    lines = _lines(stream)
    header = _parse_header(next(lines, b""))
    checkpoint = header.checkpoint
    report = Report(checkpoint.origin, header.node, header.start, header.end, checkpoint.size, checkpoint.root)
    spine = Spine()
    levels = [level for level in range(header.start.bit_length() - 1, -1, -1) if header.start >> level & 1]
    for level, root in zip(levels, header.left, strict=True):
        spine.push(root, level)
    before = copy.deepcopy(spine)
    leaves = _read_leaves(lines, header)
    keys = Keys(key, header.changes)
    report.faults += keys.faults + _check_held(header, spine, leaves, held, keys)
    reached = spine.root if witnessing and witnessing.cosigned and spine.size == witnessing.cosigned.size else None
    report.faults += _check_witnessed(header, witnessing, reached) if witnessing else []
    report.quorum = witnessing.quorum if witnessing else 0
    _check_receipts(report, header, leaves, receipts, keys)
    report.period = period
    _finish(spine, header)
    if signature := keys.wrong_with(checkpoint):
        report.faults.append(Fault(signature))
    if spine.root == checkpoint.root:
        report.faults += _check_entries(lines, header, leaves, report, None)
        report.faults += period.finish(header, _witnessed_at(header, witnessing)) if period else []
        return report
    found = _check_entries(lines, header, leaves, report, before)
    if before.size == header.end:
        _finish(before, header)
    if before.root == checkpoint.root:
        found = [Fault("the leaf hashes in the pack were changed; the entries are what the checkpoint signs")]
    else:
        report.faults.append(Fault("the leaf hashes in the pack do not have the root that the checkpoint signs"))
    report.faults += found
    return report


def _witnessed_at(header: _Header, asked: Witnessing | None) -> dt.datetime | None:
    """Return since when as many witnesses as the quorum have signed the pack's end; None: they did not."""
    if asked is None:
        return None
    seen = asked.cosigned or header.checkpoint
    times = sorted(cosigners(seen, asked.witnesses).values(), reverse=True)
    if seen.size != header.end or len(times) < asked.quorum:
        return None
    try:
        return dt.datetime.fromtimestamp(times[asked.quorum - 1], dt.UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _check_held(header: _Header, spine: Spine, leaves: bytes, held: Checkpoint | None, keys: Keys) -> list[Fault]:
    """Push the leaves onto `spine`; return how the pack contradicts what was signed or held earlier."""
    sizes = {each.size for each in (*header.changes, *([held] if held else []))}
    roots = {spine.size: spine.root} if spine.size in sizes else {}
    for at in range(0, len(leaves), HASH):
        spine.push(leaves[at : at + HASH])
        if spine.size in sizes:
            roots[spine.size] = spine.root
    faults = [
        Fault(f"the log is not the one whose key changed at {each.size} entries: its past was rewritten")
        for each in header.changes
        if roots.get(each.size, each.root) != each.root
    ]
    return faults + (_check_one_held(header.checkpoint, held, roots.get(held.size), keys) if held else [])


def _check_one_held(now: Checkpoint, held: Checkpoint, found: bytes | None, keys: Keys) -> list[Fault]:
    """Return how the pack contradicts the checkpoint held from earlier; `found` is the root it has at that size."""
    faults, size = [], held.size
    if wrong := keys.wrong_with(held):
        faults.append(Fault(f"the checkpoint held from earlier: {wrong}"))
    if held.origin != now.origin:
        faults.append(Fault(f"the checkpoint held from earlier is of another log, {held.origin[:255]!a}"))
    elif size > now.size:
        faults.append(Fault(f"the log was cut: {now.size} entries now, {size} when the held checkpoint was signed"))
    elif (found or (now.root if size == now.size else None)) is None:
        faults.append(Fault(f"the held checkpoint of {size} entries lies outside this pack and cannot be compared"))
    elif held.root != (found or now.root):
        faults.append(Fault(f"the log is not the one that was signed at {size} entries: its past was rewritten"))
    return faults


def _check_entries(
    lines: Iterator[bytes], header: _Header, leaves: bytes, report: Report, spine: Spine | None
) -> list[Fault]:
    """Hold the entries against their hashes; push what they hash to themselves onto `spine`."""

    def expected(index: int) -> bytes:
        at = (index - header.start) * HASH
        return leaves[at : at + HASH]

    comparison, pairing = Comparison(expected, header.start, header.end), Pairing()
    beside: list[Fault] = []
    for whole in lines:
        if whole.startswith(ELSEWHERE):
            beside += _recall(whole, header, report, pairing) if len(beside) < MAX_FAULTS else []
            continue
        line, tab, apart = whole.partition(b"\t")  # canonical JSON has no tab
        place = header.start + comparison.given
        leaf, entry = comparison.add(line), _entry(line)
        if place < header.end and leaf == expected(place) and len(beside) < MAX_FAULTS:
            beside += _check_place(entry, header.node, place)
        report.payloads.add(entry, *(_apart(apart) if tab else (None, None)))
        if spine is not None:
            spine.push(leaf)
        report.last_time = str(entry.get("time", ""))[:40]
        report.first_time = report.first_time or report.last_time
        pairing.add(entry, is_asked=report.period is None or report.period.add(entry))
    if report.period is not None:
        report.notes.append(f"PERIOD: {report.period.entries} entries, and none of the period stands elsewhere")
        missing = pairing.unfinished
        named = ", ".join(map(str, missing[:SHOWN_FAULTS])) + ", and more" * (len(missing) > SHOWN_FAULTS)
        report.notes.append(f"OUTCOMES: none of the calls allowed by entries {named}" if missing else "OUTCOMES: all")
    return comparison.finish() + beside + pairing.faults + report.payloads.finish()


def _check_place(entry: dict[str, Any], node: str, place: int) -> list[Fault]:
    """Return what is wrong with an entry that the log signs where it stands: it may tell of another place or node."""
    said = entry.get("index"), entry.get("node")
    if said == (place, node):
        return []
    return [
        Fault(f"entry {place} of node {node!a} says that it is entry {said[0]!a:.40} of node {said[1]!a:.80}", place)
    ]


def _recall(line: bytes, header: _Header, report: Report, pairing: Pairing) -> list[Fault]:
    """Take an entry from outside of the range, which is needed to judge those within; its path proves it."""
    path, _, data = line.removeprefix(ELSEWHERE).partition(b"\t")
    hashes, entry = _base64(path.decode("ascii", "replace") or "====", "the path of an entry"), _entry(data)
    index, head = entry.get("index"), header.checkpoint
    steps = tuple(hashes[at : at + HASH] for at in range(0, len(hashes), HASH))
    is_outside = type(index) is int and (0 <= index < header.start or header.end <= index < head.size)
    if not is_outside or _root_by(Proof(index or 0, steps, head), leaf_hash(data)) != head.root:
        return [Fault(f"an entry from outside of the pack's range, {index!a:.40}, is not proven to stand in the log")]
    report.payloads.note_erasure(entry)
    pairing.recall(entry)
    return []


def _apart(text: bytes) -> tuple[bytes, bytes]:
    """Return the payload and the opening that stand behind an entry; what is none opens nothing."""
    opening, _, payload = text.partition(b"\t")
    try:
        return payload, base64.b64decode(opening, validate=True)
    except (binascii.Error, ValueError):
        return payload, b""


def _finish(spine: Spine, header: _Header) -> None:
    for level, root in header.right:
        spine.push(root, level)
    if spine.size != header.checkpoint.size:
        raise UnreadableError(f"the pack tells of {spine.size} entries, its checkpoint of {header.checkpoint.size}")


def _parse_header(line: bytes) -> _Header:
    found = _entry(line)
    if found.get("pack") not in FORMATS:
        raise UnreadableError(f"this is no pack of the form {FORMAT}")
    start, end, note, node = (found.get(name) for name in ("start", "end", "checkpoint", "node"))
    left, right = found.get("left"), found.get("right")
    if type(start) is not int or type(end) is not int or not 0 <= start <= end <= start + MAX_ENTRIES:
        raise UnreadableError(f"the pack's header names no range of at most {MAX_ENTRIES} entries")
    if not isinstance(note, str) or not isinstance(left, list) or not isinstance(right, list) or len(right) > 128:  # noqa: PLR2004 - two a level
        raise UnreadableError("the pack's header lacks its checkpoint or the subtrees beside the range")
    if len(left) != start.bit_count():
        raise UnreadableError("the pack's header has other subtrees to the left than its range needs")
    beside = []
    for item in right:
        if not isinstance(item, list) or len(item) != 2 or type(item[0]) is not int or not 0 <= item[0] < 64:  # noqa: PLR2004 - level, root
            raise UnreadableError("the pack's header has a subtree that is none")
        beside.append((item[0], _base64(item[1], "a subtree", HASH)))
    roots = tuple(_base64(item, "a subtree", HASH) for item in left)
    checkpoint = parse_checkpoint(note)
    changes = _parse_changes(found.get("key_changes", []), checkpoint)
    return _Header(str(node)[:64], start, end, checkpoint, roots, tuple(beside), changes)


def _parse_changes(notes: object, checkpoint: Checkpoint) -> tuple[Checkpoint, ...]:
    """Return the checkpoints with which the log's key changed, those up to the pack's own."""
    if not isinstance(notes, list) or len(notes) > MAX_CHANGES or not all(isinstance(note, str) for note in notes):
        raise UnreadableError(f"the pack's header has no list of at most {MAX_CHANGES} changes of the log's key")
    changes = tuple(parse_checkpoint(note) for note in notes)
    if any(each.origin != checkpoint.origin or each.size > checkpoint.size for each in changes):
        raise UnreadableError("the pack's header has a change of another log's key")
    return changes


def _read_leaves(lines: Iterator[bytes], header: _Header) -> bytes:
    leaves, wanted = bytearray(), (header.end - header.start) * HASH
    while len(leaves) < wanted:
        width = min(TILE * HASH, wanted - len(leaves))
        leaves += _base64(next(lines, b"").decode("ascii", "replace"), "the line of leaf hashes", width)
    return bytes(leaves)


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE + 1), b""), 1):
        if len(line) > MAX_LINE:
            raise UnreadableError(f"line {number} is longer than {MAX_LINE} bytes")
        yield line.removesuffix(b"\n")


def _entry(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _base64(text: object, what: str, length: int | None = None) -> bytes:
    try:
        data = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError) as err:
        raise UnreadableError(f"{what} is no base64") from err
    if not data or (length is not None and len(data) != length):
        raise UnreadableError(f"{what} is missing or has the wrong length")
    return data


def parse_key(text: str) -> bytes:
    """Return the raw key from its base64 or `<name>+<id>+<base64 of 0x01 and the key>`, or raise UnreadableError."""
    parts = text.strip().split("+", 2)
    if len(parts) == 3 and len(text.strip()) > 44:  # noqa: PLR2004 - 44 of base64 may have plus signs of their own
        return _base64(parts[2], "the key", HASH + 1)[1:]
    return _base64(text.strip(), "the key", HASH)


def parse_witness(text: str) -> tuple[str, bytes]:
    """Return name and raw key from `<name>+<id>+<base64 of 0x04 and the key>`, or raise UnreadableError."""
    name, _, rest = text.strip().partition("+")
    raw = _base64(rest.partition("+")[2], "the witness's key", HASH + 1)
    if not name or raw[:1] != b"\x04":
        raise UnreadableError("the witness's key is none of the type of cosignatures")
    if rest.partition("+")[0] != hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4].hex():
        raise UnreadableError("the witness's key does not have the id that stands in it")
    return name, raw[1:]


def _witnessing(given: argparse.Namespace) -> Witnessing | None:
    if not given.witness:
        if given.quorum is not None or given.cosigned:
            raise UnreadableError("--quorum and --cosigned need --witness, the key of a witness that you trust")
        return None
    witnesses = tuple(parse_witness(text) for text in given.witness)
    distinct = len({key for _, key in witnesses})
    quorum = distinct if given.quorum is None else given.quorum
    if not 1 <= quorum <= distinct:
        raise UnreadableError(f"a quorum of {quorum} cannot be had of {distinct} witnesses")
    cosigned = parse_checkpoint(_text(given.cosigned)) if given.cosigned else None
    return Witnessing(witnesses, quorum, cosigned)


def _period(given: argparse.Namespace) -> Period | None:
    if given.since is None and given.until is None:
        return None
    try:
        since, until = (_moment(str(each)) for each in (given.since, given.until))
    except ValueError:
        raise UnreadableError("--from and --until go together, each a time like 2026-11-01T00:00:00Z") from None
    if since >= until:
        raise UnreadableError("the period ends before it begins")
    return Period(since, until)


def main(arguments: list[str] | None = None) -> int:
    """Carry out the command line; return the exit code."""
    parser = argparse.ArgumentParser(description="Verify a pack of Charter evidence.")
    parser.add_argument("pack", type=Path, nargs="?", help="the pack's file")
    parser.add_argument("--key", required=True, help="the log's public key: base64 of 32 bytes, or a verifier key")
    parser.add_argument("--held", type=Path, help="a checkpoint of this log that you kept from earlier")
    parser.add_argument("--witness", action="append", help="the key of a witness that you trust; may be repeated")
    parser.add_argument("--quorum", type=int, help="how many of them must have cosigned (default: all)")
    parser.add_argument("--cosigned", type=Path, help="the checkpoint they cosigned, if not the pack's own")
    parser.add_argument("--receipt", type=Path, action="append", help="a receipt of the log; may be repeated")
    parser.add_argument(
        "--proof", type=Path, help="without a pack: the proof that leads from a receipt to a checkpoint"
    )
    parser.add_argument("--from", dest="since", help="the pack must have every entry from this time on (RFC 3339)")
    parser.add_argument("--until", help="and to before this time")
    given = parser.parse_args(arguments)
    try:
        receipts = tuple(parse_receipt(_text(each)) for each in given.receipt or ())
        if given.pack is None or given.proof is not None:
            return _receipt_alone(given, receipts)
        period = _period(given)
        held = parse_checkpoint(_text(given.held)) if given.held else None
        with given.pack.open("rb") as stream:
            report = verify_pack(stream, parse_key(given.key), held, _witnessing(given), receipts, period)
    except (UnreadableError, OSError, UnicodeDecodeError) as err:
        sys.stdout.write(f"NOT VERIFIED: {err}\n")
        return 1
    sys.stdout.write(to_text(report))
    return 0 if report.is_verified else 1


def _receipt_alone(given: argparse.Namespace, receipts: tuple[Receipt, ...]) -> int:
    """Hold one receipt against the checkpoint of its proof; say what that shows, and return the exit code."""
    if given.pack is not None or given.proof is None or len(receipts) != 1:
        raise UnreadableError("name a pack; or, without one, a --proof and the one --receipt that it is of")
    if given.held or given.since is not None or given.until is not None:
        raise UnreadableError("--held, --from and --until need a pack")
    proof, witnessing = parse_proof(_text(given.proof)), _witnessing(given)
    faults = verify_receipt(receipts[0], proof, parse_key(given.key), witnessing)
    seen = proof.checkpoint
    lines = [
        f"log         {seen.origin!a}",
        f"checkpoint  {seen.size} entries, root {base64.b64encode(seen.root).decode()}",
    ]
    if faults:
        lines.append(f"NOT VERIFIED: {len(faults)} fault{'s' * (len(faults) != 1)}")
        lines += [f"  {fault.text}" for fault in faults]
    else:
        lines.append("VERIFIED: receipt and checkpoint are signed by the given key")
        lines += [f"WITNESSED: {witnessing.quorum} or more of the trusted witnesses cosigned it"] if witnessing else []
        lines.append(f"RECEIPT: entry {receipts[0].index} stands where it was promised")
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if faults else 0


def _text(path: Path) -> str:
    """Return what a small file says, or raise UnreadableError."""
    with path.open("rb") as stream:
        data = stream.read(MAX_TEXT + 1)
    if len(data) > MAX_TEXT:
        raise UnreadableError(f"{str(path)[:200]!a} is larger than {MAX_TEXT} bytes")
    return data.decode()


def to_text(report: Report) -> str:
    """Return what a person wants to read of `report`."""
    last = f"entries {report.start} to {report.end - 1}" if report.end > report.start else "no entries"
    lines = [
        f"log         {report.origin!a} (node {report.node!a})",
        f"pack        {last} of {report.size}, {report.first_time!a} to {report.last_time!a}",
        f"checkpoint  {report.size} entries, root {base64.b64encode(report.root).decode()}",
    ]
    lines += _told_payloads(report.payloads)
    if report.is_verified:
        lines.append("VERIFIED: signed by the given key; no entry was changed, removed, reordered or added")
        lines += [f"WITNESSED: {report.quorum} or more of the trusted witnesses cosigned it"] * (report.quorum > 0)
        lines += report.notes
    else:
        lines.append(f"NOT VERIFIED: {len(report.faults)} fault{'s' * (len(report.faults) != 1)}")
        lines += [f"  {fault.text}" for fault in report.faults[:SHOWN_FAULTS]]
        lines += ["  and more"] * (len(report.faults) > SHOWN_FAULTS)
    return "\n".join(lines) + "\n"


def _told_payloads(payloads: Payloads) -> list[str]:
    """Return what became of what stands apart of the entries."""
    if not payloads.given and not payloads.missing and not payloads.erasures:
        return []
    erased, untold = payloads.missing - payloads.untold, payloads.untold
    lines = [f"payloads    {payloads.given} are what their entries commit to, {erased} were erased"]
    lines[0] += f", {untold} are missing" * (untold > 0)
    for each in payloads.erasures[:SHOWN_FAULTS]:
        who, why = str(each["actor"])[:254], str(each["reason"])[:500]
        when, rule = str(each["time"])[:40], str(each["rule"])[:80]
        lines.append(f"  entry {each['entry']}: {each['count']!a} erased at {when!a} by {who!a} ({rule!a}): {why!a}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
