"""Files that are whole or not there: on a full disk, after a crash, for a reader at any instant.

A file is written elsewhere on the same disk, made durable, and only then put in its place.

INVARIANT: no name ever leads to a part of what was to be written.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from charter.core.errors import ErrorCode, MalformedError

PRIVATE, SHARED = 0o600, 0o666  # less what the process's umask takes away


@contextlib.contextmanager
def replacing(path: Path, mode: int = PRIVATE) -> Iterator[BinaryIO]:
    """Yield a file to write to, which takes the place of `path` when the body ends without an error.

    Raises:
        OSError: it cannot be done; `path` is as it was.
    """
    with _told_of(path), _fresh(path, mode) as (fresh, out):
        yield out
        _finish(out)
        fresh.replace(path)
        sync_folder(path.parent)


def replace(path: Path, data: bytes, mode: int = PRIVATE) -> None:
    """Let `path` hold `data`.

    Raises:
        OSError: it cannot be done; `path` is as it was.
    """
    with replacing(path, mode) as out:
        out.write(data)


def create(path: Path, data: bytes, mode: int = PRIVATE) -> None:
    """Write `data` to `path`, where nothing is yet.

    Raises:
        FileExistsError: something is there: someone was faster.
        OSError: it cannot be done; nothing is there.
    """
    with _told_of(path), _fresh(path, mode) as (fresh, out):
        out.write(data)
        _finish(out)
        path.hardlink_to(fresh)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make durable which files `folder` holds."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _told_of(path: Path) -> Iterator[None]:
    """Let errors name `path`, and not what is beside it for a moment."""
    try:
        yield
    except OSError as err:
        err.filename = str(path)
        del err.filename2  # None would be told as a name
        raise


@contextlib.contextmanager
def _fresh(path: Path, mode: int) -> Iterator[tuple[Path, BinaryIO]]:
    """Yield a new file on the disk of `path`, in a folder that is only this process's; it is gone afterwards."""
    with tempfile.TemporaryDirectory(
        dir=path.parent, prefix=f".{path.name[:32]}.", ignore_cleanup_errors=True
    ) as folder:
        fresh = Path(folder) / "new"
        with open(fresh, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as out:
            yield fresh, out


def _finish(out: BinaryIO) -> None:
    out.flush()
    os.fsync(out.fileno())


def read_named(file: Path, most: int, told: str) -> bytes:
    """Return what is in a file that a person named, which has at most `most` bytes (`told` as people say it).

    Raises:
        MalformedError: it is larger, or cannot be read.
    """
    try:
        if file.stat().st_size > most:
            raise _too_large(str(file), told)
        with file.open("rb") as source:
            return read_most(source, str(file), most, told)
    except OSError as err:
        why = (err.strerror or str(err)).lower()
        raise MalformedError(ErrorCode.BAD_VALUE, f"`{file}` cannot be read: {why}", help="name a file") from err


def read_most(source: BinaryIO, name: str, most: int, told: str) -> bytes:
    """Return what there is to read, be it of a device or a pipe that says it has no size and never ends.

    Raises:
        MalformedError: it is more than `most` bytes.
    """
    data = source.read(most + 1)
    if len(data) > most:
        raise _too_large(name, told)
    return data


def _too_large(name: str, told: str) -> MalformedError:
    return MalformedError(ErrorCode.TOO_LARGE, f"`{name}` is larger than {told}", help="split it")
