"""A key in a file of its own: 32 random bytes that only Charter's user can read.

INVARIANT: a key file is made once, complete or not at all. One that others could read, that belongs to someone else, is
no plain file, or is of another size, is refused and never mended in silence.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from charter.adapters import whole_file
from charter.core.errors import ErrorCode, IntegrityError, UnavailableError
from charter.core.values import Secret
from charter.identity.sealing import KEY_BYTES

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def read_key(path: Path, *, least: int = KEY_BYTES, most: int = KEY_BYTES, closed_to: int = _OTHERS) -> Secret | None:
    """Return the bytes in the file, `least` to `most` of them, or None if there is no file.

    `closed_to` is the bits of the mode that must not be set.

    Raises:
        IntegrityError: the file is no key, or not Charter's alone.
        UnavailableError: it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as err:
        raise _unusable(path, err) from err
    try:
        _must_be_private(path, os.fstat(descriptor), closed_to)
        secret = os.read(descriptor, most + 1)
    finally:
        os.close(descriptor)
    if not least <= len(secret) <= most:
        size = f"{most}" if least == most else f"{least} to {most}"
        raise _unfit(path, f"is not {size} bytes long", "put the right file back from your backup")
    return Secret(secret)


def make_key(path: Path, secret: Secret) -> None:
    """Write a new key, if nobody was faster.

    Raises:
        UnavailableError: it cannot be made.
    """
    try:
        whole_file.create(path, secret.reveal())
    except FileExistsError:
        pass  # another process made one: that one counts
    except OSError as err:
        raise _unusable(path, err) from err


def put_key(path: Path, fresh: Path) -> None:
    """Let the key file `fresh` take the place of `path`, whole and durably.

    Raises:
        UnavailableError: it cannot be done; both are as they were.
    """
    try:
        fresh.replace(path)
        whole_file.sync_folder(path.parent)
    except OSError as err:
        raise _unusable(path, err) from err


def write_whole(path: Path, data: bytes) -> None:
    """Put `data` into the file `path`, readable by Charter's user alone: whole and durably, or not at all.

    Raises:
        UnavailableError: it cannot be done.
    """
    try:
        whole_file.replace(path, data)
    except OSError as err:
        raise _unusable(path, err) from err


def _must_be_private(path: Path, found: os.stat_result, closed_to: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise _unfit(path, "is no plain file", "put the right file back from your backup")
    if found.st_mode & closed_to:
        raise _unfit(
            path,
            f"can be used by others than its owner (mode {stat.S_IMODE(found.st_mode):04o})",
            f"chmod 600 {path}; if others may have read it, rotate every key",
        )
    if found.st_uid not in (os.geteuid(), 0):
        raise _unfit(
            path, f"belongs to user {found.st_uid}", f"chown it to Charter's user, or check who put it at {path}"
        )


def _unfit(path: Path, why: str, mend: str) -> IntegrityError:
    return IntegrityError(ErrorCode.KEY_BROKEN, f"the key file `{path}` {why}", help=mend)


def _unusable(path: Path, err: OSError) -> UnavailableError:
    return UnavailableError(
        ErrorCode.STORE_FAILED,
        f"the key file `{path}` cannot be used: {(err.strerror or str(err)).lower()}",
        help="let Charter's user read it and write to its folder",
    )
