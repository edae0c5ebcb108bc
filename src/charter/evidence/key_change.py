"""How one key of a log follows another: a checkpoint that both sign, and that names them.

    <origin>
    <size>
    <base64 root>
    charter-key-change <verifier key before> <verifier key after>

    — <origin> <signature of the key before>
    — <origin> <signature of the key after>

The line is an extension of the checkpoint (C2SP tlog-checkpoint), so both signatures cover it: whoever trusts either
key learns of the other from these bytes alone. The log says the same in an entry of its own, `key.rotated`.

INVARIANT: a change counts only with both signatures: a key cannot appoint itself, nor be appointed without its holder.
INVARIANT: from a change on, the key before signs nothing that counts: a larger checkpoint of its is a forgery.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from charter.core.errors import ErrorCode, IntegrityError
from charter.evidence.checkpoint import Checkpoint, raw_key, verifier_key, verify_checkpoint

PREFIX = "charter-key-change "
_TWO = 2


@dataclass(frozen=True, slots=True)
class KeyChange:
    """The keys (32 raw bytes each) before and after the checkpoint of `size` entries."""

    size: int
    before: bytes
    after: bytes


def line_of(origin: str, before: bytes, after: bytes) -> str:
    """Return the extension line that says so."""
    return f"{PREFIX}{verifier_key(origin, before)} {verifier_key(origin, after)}"


def says_change(checkpoint: Checkpoint) -> bool:
    """Return whether a checkpoint claims that the log's key changes with it."""
    return any(line.startswith(PREFIX) for line in checkpoint.extensions)


def verify_change(checkpoint: Checkpoint, origin: str) -> KeyChange:
    """Return the change that `checkpoint` states, which both keys signed.

    Raises:
        IntegrityError: it states none, or one of them did not.
    """
    lines = [line for line in checkpoint.extensions if line.startswith(PREFIX)]
    words = lines[0].removeprefix(PREFIX).split(" ") if len(lines) == 1 else []
    keys = [raw_key(origin, word) for word in words]
    if len(keys) != _TWO or keys[0] is None or keys[1] is None or keys[0] == keys[1]:
        raise IntegrityError(ErrorCode.BAD_SIGNATURE, "the change of the log's key names no two keys of it")
    before, after = keys[0], keys[1]
    for key in (before, after):
        verify_checkpoint(checkpoint, origin, key)
    return KeyChange(checkpoint.size, before, after)


class KeyHistory:
    """The keys of one log over its sizes, worked out backwards from the newest."""

    def __init__(self, newest: bytes, changes: Iterable[KeyChange]) -> None:
        """Take the changes, smallest first.

        Raises:
            IntegrityError: they do not lead to `newest`, one from the next.
        """
        self._changes = tuple(changes)
        self._newest = newest
        following = newest
        for change in reversed(self._changes):
            if change.after != following:
                raise IntegrityError(
                    ErrorCode.BAD_SIGNATURE,
                    f"the log's key changed at {change.size} entries to one that is not the next in use",
                )
            following = change.before

    def at(self, size: int) -> tuple[bytes, ...]:
        """Return the keys that must have signed a checkpoint of `size` entries: two where it changed, else one."""
        for change in self._changes:
            if size < change.size:
                return (change.before,)
            if size == change.size:
                return (change.before, change.after)
        return (self._newest,)
