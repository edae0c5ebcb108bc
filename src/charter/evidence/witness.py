"""Being a witness: what a log asks for, and whether its head may be cosigned (C2SP tlog-witness, add-checkpoint).

    old <size>
    <base64 hash>         the consistency proof from that size, at most 63 lines
    <empty line>
    <signed checkpoint>

A witness keeps of each log the last head it cosigned, and cosigns another only if that provably continues it. What it
says no to is one of the `Refusal`s, each with its HTTP status.

INVARIANT: of one log a witness never cosigns two heads of which neither continues the other, nor a smaller after a
larger one. Whoever calls `judge` keeps what it answers in the transaction in which it read `kept`.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, replace
from enum import StrEnum

from charter.core.errors import CharterError, ErrorCode, MalformedError
from charter.evidence.checkpoint import (
    MAX_CHARACTERS,
    Checkpoint,
    parse_checkpoint,
    raw_key,
    verifier_key,
    verify_checkpoint,
)
from charter.evidence.key_change import says_change, verify_change
from charter.evidence.tree import EMPTY_ROOT, HASH_BYTES, verify_consistency

MAX_PROOF = 63  # lines
MAX_REQUEST = MAX_CHARACTERS + 64 * 64
SIZE_TYPE = "text/x.tlog.size"
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")


class Fault(StrEnum):
    """What a log did, as its own signature shows."""

    FORK = "fork"  # two heads of one size
    BEHIND = "behind"  # a head smaller than the last
    UNPROVEN = "unproven"  # a larger head that the proof does not lead to


@dataclass(frozen=True, slots=True)
class Refusal:
    """A head that is not cosigned: the status and text of the answer, and what it shows about the log, if anything."""

    status: int
    text: str
    fault: Fault | None = None
    is_size: bool = False  # the text is the size of the last head that was cosigned


@dataclass(frozen=True, slots=True)
class Request:
    """What a log asks for: that `checkpoint` be cosigned, which `proof` shows to continue the head of `old` entries."""

    old: int
    proof: tuple[bytes, ...]
    checkpoint: Checkpoint

    def to_text(self) -> str:
        """Return the request's body."""
        proof = "".join(base64.b64encode(each).decode() + "\n" for each in self.proof)
        return f"old {self.old}\n{proof}\n{self.checkpoint.to_note()}"


@dataclass(frozen=True, slots=True)
class WitnessedLog:
    """A log that is witnessed: its name, its key (32 bytes) as far as is known, and the last head that was cosigned."""

    origin: str
    public: bytes
    size: int = 0
    root: bytes = EMPTY_ROOT
    note: str | None = None

    @property
    def key(self) -> str:
        """The log's key, as other tools take it."""
        return verifier_key(self.origin, self.public)


def parse_log_key(text: str) -> WitnessedLog:
    """Return the log whose verifier key `text` is, nothing of it seen.

    Raises:
        MalformedError: it is none.
    """
    name = text.partition("+")[0]
    public = raw_key(name, text)
    if public is None or not 1 <= len(name) <= 255:  # noqa: PLR2004 - as in checkpoint.py
        raise MalformedError(
            ErrorCode.BAD_VALUE,
            f"{text[:80]!a} is no key of a log",
            help="write <origin>+<8 hex digits>+<base64>, as `charter evidence log-key` of the other node prints it",
        )
    return WitnessedLog(name, public)


def parse_request(body: bytes) -> Request:
    """Return what a log asks for.

    Raises:
        MalformedError: it is not of the protocol's form.
    """
    if len(body) > MAX_REQUEST:
        raise _malformed(f"is longer than {MAX_REQUEST} bytes")
    try:
        head, blank, note = body.decode().partition("\n\n")
    except UnicodeDecodeError as err:
        raise _malformed("is no UTF-8") from err
    first, *lines = head.split("\n")
    old = _OLD.fullmatch(first)
    if old is None or not blank:
        raise _malformed("does not begin with `old`, a size, a proof and an empty line")
    if len(lines) > MAX_PROOF:
        raise _malformed(f"has more than {MAX_PROOF} lines of proof")
    proof = tuple(_hash(line) for line in lines)
    checkpoint = parse_checkpoint(note)
    if int(old[1]) > checkpoint.size:
        raise _malformed(f"names the old size {old[1]}, above the checkpoint's {checkpoint.size}")
    return Request(int(old[1]), proof, checkpoint)


def judge(kept: WitnessedLog | None, asked: Request) -> WitnessedLog | Refusal:
    """Return what is to be kept of the log once its head is cosigned, or why it is not. `kept` None: it is unknown."""
    head = asked.checkpoint
    if kept is None:
        return Refusal(404, "this witness does not know the log\n")
    public = _key_of(kept, head)
    if public is None:
        return Refusal(403, "no signature on the checkpoint is of the log's key\n")
    fault = _fault(kept, head)
    if asked.old != kept.size:
        return Refusal(409, f"{kept.size}\n", fault, is_size=True)
    if fault is not None:
        return Refusal(409, f"{kept.size}\n", fault, is_size=True)
    try:
        verify_consistency(kept.size, head.size, (kept.root, head.root), asked.proof)
    except CharterError:
        return Refusal(422, "the proof does not lead from the old head to this one\n", Fault.UNPROVEN)
    return replace(kept, public=public, size=head.size, root=head.root, note=head.to_note())


def _fault(kept: WitnessedLog, head: Checkpoint) -> Fault | None:
    if head.size < kept.size:
        return Fault.BEHIND
    return Fault.FORK if head.size == kept.size and head.root != kept.root else None


def _key_of(kept: WitnessedLog, head: Checkpoint) -> bytes | None:
    """Return the log's key from this head on, None if the log's key did not sign it."""
    try:
        verify_checkpoint(head, kept.origin, kept.public)
        if says_change(head):
            change = verify_change(head, kept.origin)
            return change.after if change.before == kept.public else kept.public
    except CharterError:
        return None
    return kept.public


def _hash(line: str) -> bytes:
    try:
        found = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError) as err:
        raise _malformed("has a line of proof that is no base64") from err
    if len(found) != HASH_BYTES or base64.b64encode(found).decode() != line:
        raise _malformed("has a line of proof that is no hash")
    return found


def parse_lines(text: str, head: Checkpoint) -> Checkpoint:
    """Return `head` as signed by the lines of a witness's answer alone.

    Raises:
        MalformedError: they are no signature lines.
    """
    return parse_checkpoint(head.body.decode() + "\n" + text)


def _malformed(why: str) -> MalformedError:
    return MalformedError(ErrorCode.BAD_REQUEST, f"the request {why}")
