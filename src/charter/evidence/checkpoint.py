"""Checkpoints: the signed head of a log (C2SP tlog-checkpoint, a C2SP signed note).

    <origin>
    <size>
    <base64 root>
    <extension lines, kept as they are>

    — <key name> <base64(4-byte key id || signature)>

The log's own signature is Ed25519 and its key is named like the origin. Lines of witnesses are kept untouched, whatever
their algorithm, so that a cosigned checkpoint can be stored and passed on.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from charter.core.errors import ErrorCode, IntegrityError, MalformedError
from charter.core.keys import Signer, verify_ed25519
from charter.evidence.tree import HASH_BYTES

MAX_CHARACTERS = 131_072  # witnesses with post-quantum keys sign with 5 kB each
MAX_SIGNATURES = 64
_ED25519 = b"\x01"  # the signature type of C2SP signed-note
_KEY_ID_BYTES, _KEY_BYTES = 4, 32
_BODY_LINES = 3  # origin, size, root; more are extensions
_NAME = re.compile(r"[^\s+]{1,255}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: who signs, the hint of the key, and the signature's bytes."""

    name: str
    key_id: bytes
    signature: bytes

    def to_line(self) -> str:
        """Return the line as it stands in a signed note."""
        return f"\u2014 {self.name} {base64.b64encode(self.key_id + self.signature).decode()}\n"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A head of a log: its size and root, and who signed it. Nothing is verified before `verify_checkpoint`."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()
    signatures: tuple[Signature, ...] = ()

    @property
    def body(self) -> bytes:
        """The bytes that are signed."""
        lines = (self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions)
        return ("\n".join(lines) + "\n").encode()

    def to_note(self) -> str:
        """Return the signed note."""
        return self.body.decode() + "\n" + "".join(line.to_line() for line in self.signatures)


def check_origin(origin: str) -> str:
    """Return `origin` if a log may be called so: 1 to 255 characters, no white space, no plus sign.

    Raises:
        MalformedError: it may not.
    """
    if not _NAME.fullmatch(origin):
        raise MalformedError(
            ErrorCode.BAD_VALUE, f"{origin[:80]!a} is no name for a log", help="use a URL without white space or `+`"
        )
    return origin


def key_id(name: str, public: bytes) -> bytes:
    """Return the 4-byte hint of an Ed25519 key: SHA-256(name || LF || 0x01 || public key), cut."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:_KEY_ID_BYTES]


def verifier_key(name: str, public: bytes) -> str:
    """Return the key as other tools take it: `<name>+<hex key id>+<base64 of type and key>`."""
    return f"{name}+{key_id(name, public).hex()}+{base64.b64encode(_ED25519 + public).decode()}"


def raw_key(name: str, text: str) -> bytes | None:
    """Return the 32 bytes of a verifier key of the log `name`; None: it is none, or not in its one form."""
    try:
        raw = base64.b64decode(text.removeprefix(f"{name}+").partition("+")[2], validate=True)[1:]
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == _KEY_BYTES and verifier_key(name, raw) == text else None


def sign_checkpoint(
    origin: str, size: int, root: bytes, *signers: Signer, extensions: tuple[str, ...] = ()
) -> Checkpoint:
    """Return the checkpoint of a log of `size` entries with `root`, signed by the log's own key, or keys."""
    head = Checkpoint(origin, size, root, extensions)
    own = (Signature(origin, key_id(origin, each.public), each.sign(head.body)) for each in signers)
    return replace(head, signatures=tuple(own))


def verify_checkpoint(checkpoint: Checkpoint, origin: str, public: bytes) -> None:
    """Check that `checkpoint` is of the log `origin` and signed with its key.

    Raises:
        IntegrityError: it is another log's, or the log's key did not sign it.
    """
    if checkpoint.origin != origin:
        raise IntegrityError(
            ErrorCode.BAD_SIGNATURE, f"the checkpoint is of the log {checkpoint.origin!a}, not of {origin!a}"
        )
    hint = key_id(origin, public)
    own = [s for s in checkpoint.signatures if s.name == origin and s.key_id == hint]
    if len(own) != 1:
        raise IntegrityError(
            ErrorCode.BAD_SIGNATURE, f"the checkpoint bears {len(own)} signatures of the log's key, not one"
        )
    verify_ed25519(public, checkpoint.body, own[0].signature, "the checkpoint")


def is_signed_by(checkpoint: Checkpoint, origin: str, publics: Iterable[bytes]) -> bool:
    """Return whether `checkpoint` is of the log `origin` and bears the signature of one of its keys."""
    for public in publics:
        with contextlib.suppress(IntegrityError):
            verify_checkpoint(checkpoint, origin, public)
            return True
    return False


def parse_checkpoint(note: str) -> Checkpoint:
    """Return the checkpoint that a signed note states.

    Raises:
        MalformedError: it is none; the message says what is wrong with it.
    """
    if len(note) > MAX_CHARACTERS:
        raise _malformed(f"is longer than {MAX_CHARACTERS} characters")
    body, blank, tail = note.rpartition("\n\n")
    if not blank or not tail.endswith("\n") or any(ch < " " and ch != "\n" for ch in note):
        raise _malformed("is no signed note: text, an empty line, signature lines")
    lines = body.split("\n")
    if len(lines) < _BODY_LINES or not all(lines):
        raise _malformed("does not name origin, size and root, one a line")
    origin, size, root, *extensions = lines
    if not _SIZE.fullmatch(size):
        raise _malformed(f"has the size {size[:40]!a}, which is no decimal number")
    signed = tail[:-1].split("\n")
    if len(signed) > MAX_SIGNATURES:
        raise _malformed(f"bears more than {MAX_SIGNATURES} signatures")
    signatures = tuple(_parse_signature(line) for line in signed)
    return Checkpoint(origin, int(size), _decode(root, "root", HASH_BYTES), tuple(extensions), signatures)


def _parse_signature(line: str) -> Signature:
    dash, _, rest = line.partition(" ")
    name, space, blob = rest.partition(" ")
    if dash != "\u2014" or not space or not _NAME.fullmatch(name):
        raise _malformed(f"has the signature line {line[:80]!a}, which is none")
    data = _decode(blob, "signature")
    if len(data) <= _KEY_ID_BYTES:
        raise _malformed(f"has an empty signature of {name[:80]!a}")
    return Signature(name, data[:_KEY_ID_BYTES], data[_KEY_ID_BYTES:])


def _decode(text: str, what: str, length: int | None = None) -> bytes:
    """Return the bytes of strict base64 `text`: one spelling for each value."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as err:
        raise _malformed(f"has a {what} that is no base64") from err
    if base64.b64encode(data).decode() != text or (length is not None and len(data) != length):
        raise _malformed(f"has a {what} of the wrong form")
    return data


def _malformed(why: str) -> MalformedError:
    return MalformedError(ErrorCode.BAD_VALUE, f"the checkpoint {why}")
