"""Cosignatures: a witness's word that a log's head continues all it saw before (C2SP tlog-cosignature, Ed25519, v1).

    key id     SHA-256(name || LF || 0x04 || public key), its first 4 bytes
    signature  8 bytes of POSIX time, big-endian, then Ed25519 over

        cosignature/v1
        time <seconds>
        <the checkpoint's body>

A witness's key is written `<name>+<hex key id>+<base64 of 0x04 and the key>`, and is no key of a log's own: those have
the type 0x01. Lines of witnesses that are not known, or whose algorithm is another, are left alone.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from typing_extensions import override

from charter.core.errors import CharterError, ErrorCode, IntegrityError, MalformedError
from charter.core.keys import Signer, verify_ed25519
from charter.evidence.checkpoint import MAX_SIGNATURES, Checkpoint, Signature

HEADER = b"cosignature/v1\n"
_TYPE = b"\x04"
_TIME_BYTES, _SIGNATURE_BYTES, _KEY_BYTES, _ID_BYTES = 8, 64, 32, 4
_LATEST = 2**63 - 1  # what a timestamp may be at most
_VKEY = re.compile(r"([^\s+]{1,255})\+([0-9a-f]{8})\+([A-Za-z0-9+/=]{44})")


@dataclass(frozen=True, slots=True)
class Witness:
    """Who cosigns: a name and an Ed25519 key (32 bytes)."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """The hint that stands before its signatures."""
        return hashlib.sha256(self.name.encode() + b"\n" + _TYPE + self.public).digest()[:_ID_BYTES]

    @override
    def __str__(self) -> str:
        """Return the key as other tools take it."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_TYPE + self.public).decode()}"


def parse_witness(text: str) -> Witness:
    """Return the witness whose verifier key `text` is.

    Raises:
        MalformedError: it is none, or a key of another type.
    """
    found = _VKEY.fullmatch(text)
    try:
        raw = base64.b64decode(found[3], validate=True) if found else b""
    except (binascii.Error, ValueError):
        raw = b""
    if found and len(raw) == 1 + _KEY_BYTES and raw[:1] == _TYPE:
        witness = Witness(found[1], raw[1:])
        if str(witness) == text:
            return witness
    raise MalformedError(
        ErrorCode.BAD_VALUE,
        f"{text[:80]!a} is no key of a witness",
        help="write <name>+<8 hex digits>+<base64>, as `charter evidence witness-key` of the other node prints it",
    )


def cosign(checkpoint: Checkpoint, name: str, signer: Signer, at: dt.datetime) -> Signature:
    """Return the cosignature of the witness `name` on `checkpoint`, of the time `at`. Nothing is checked here."""
    time = int(at.timestamp())
    signature = time.to_bytes(_TIME_BYTES) + signer.sign(_message(checkpoint, time))
    return Signature(name, Witness(name, signer.public).key_id, signature)


def verify_cosignature(checkpoint: Checkpoint, witness: Witness) -> dt.datetime | None:
    """Return when `witness` cosigned `checkpoint`, the newest time if it did more than once; None: it did not.

    Raises:
        IntegrityError: a line bears its name and key, but does not verify.
    """
    times = [_time_of(checkpoint, witness, line) for line in checkpoint.signatures if _is_by(line, witness)]
    return max(times, default=None)


def cosigners(checkpoint: Checkpoint, witnesses: Iterable[Witness]) -> tuple[Witness, ...]:
    """Return those of `witnesses` who cosigned `checkpoint`; one key counts once, whatever names it goes by."""
    found: dict[bytes, Witness] = {}
    for witness in witnesses:
        try:
            at = verify_cosignature(checkpoint, witness)
        except CharterError:
            continue
        if at is not None:
            found.setdefault(witness.public, witness)
    return tuple(found.values())


def with_cosignatures(checkpoint: Checkpoint, lines: Iterable[Signature], witness: Witness) -> Checkpoint:
    """Return `checkpoint` with what `lines` hold of `witness`'s valid cosignatures, in place of its earlier ones.

    Raises:
        IntegrityError: a line bears its name and key, but does not verify; or there is none at all.
    """
    own = [line for line in lines if _is_by(line, witness)]
    for line in own:
        _time_of(checkpoint, witness, line)
    if not own:
        raise IntegrityError(ErrorCode.BAD_SIGNATURE, f"the witness `{witness.name}` gave no cosignature of its key")
    others = [line for line in checkpoint.signatures if not _is_by(line, witness)]
    if len(others) >= MAX_SIGNATURES:
        raise IntegrityError(ErrorCode.BAD_SIGNATURE, f"the checkpoint bears {len(others)} signatures already")
    return replace(checkpoint, signatures=(*others, own[0]))


def _is_by(line: Signature, witness: Witness) -> bool:
    return line.name == witness.name and line.key_id == witness.key_id


def _time_of(checkpoint: Checkpoint, witness: Witness, line: Signature) -> dt.datetime:
    what = f"the cosignature of `{witness.name}`"
    time = int.from_bytes(line.signature[:_TIME_BYTES])
    if len(line.signature) != _TIME_BYTES + _SIGNATURE_BYTES or time > _LATEST:
        raise IntegrityError(ErrorCode.BAD_SIGNATURE, f"{what} has another form than v1's")
    verify_ed25519(witness.public, _message(checkpoint, time), line.signature[_TIME_BYTES:], what)
    try:
        return dt.datetime.fromtimestamp(time, dt.UTC)
    except (OverflowError, ValueError, OSError) as err:
        raise IntegrityError(ErrorCode.BAD_SIGNATURE, f"{what} is of a time beyond the calendar") from err


def _message(checkpoint: Checkpoint, time: int) -> bytes:
    return HEADER + b"time %d\n" % time + checkpoint.body
