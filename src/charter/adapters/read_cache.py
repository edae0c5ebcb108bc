"""What was read and bound, kept from one process to the next, in a file of the data folder: `read.json`.

An estate of ten thousand charters takes minutes to take apart and bind for the first time, and seconds after that.

INVARIANT: the file counts only if nobody but its owner can write it, as the database beside it does, and only for the
very code that wrote it. What cannot be read is nothing, and is read and bound again.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from functools import cache
from pathlib import Path
from typing import Any

import charter
from charter.adapters import whole_file
from charter.policy.check import BoundBefore
from charter.registry.read_before import ReadBefore

MAX_BYTES = 256 * 1024 * 1024
WORTH_IT = 50  # charters that are new to what is kept, for which it is written again
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_NAME = "read.json"


class ReadFile:
    """Fills what was read and bound from a data folder, once, and keeps it there as it grows."""

    def __init__(self, read: ReadBefore, bound: BoundBefore) -> None:
        self._read, self._bound = read, bound
        self._filled: set[Path] = set()
        self._written = 0

    def fill(self, folder: Path) -> None:
        """Take over what the folder keeps, the first time."""
        if folder in self._filled:
            return
        self._filled.add(folder)
        try:
            with (folder / _NAME).open("rb") as file:
                known = os.fstat(file.fileno())
                if known.st_mode & _OTHERS_WRITE or known.st_uid != os.geteuid() or known.st_size > MAX_BYTES:
                    return
                found = json.load(file)
            if found["by"] == _code():
                self._read.fill(found["read"])
                self._bound.fill(found["bound"])
        except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError):
            return  # whatever stands there is not ours

    def keep(self, folder: Path) -> None:
        """Write what is kept to the folder, if that has grown enough since it was last written.

        Raises:
            OSError: it cannot be written.
        """
        grown = self._read.grown + self._bound.grown
        if grown - self._written < WORTH_IT:
            return
        told: dict[str, Any] = {"by": _code(), "read": self._read.to_json(), "bound": self._bound.to_json()}
        data = json.dumps(told, separators=(",", ":")).encode()
        if len(data) <= MAX_BYTES:
            whole_file.replace(folder / _NAME, data, whole_file.PRIVATE)
        self._written = grown


@cache
def _code() -> str:
    """Return a digest of the code that reads and binds, by its files' names, sizes and times."""
    root = Path(charter.__file__).parent
    files = sorted(path for part in ("core", "registry", "policy") for path in (root / part).glob("*.py"))
    told = [f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
    return hashlib.sha256("\n".join([charter.__version__, *told]).encode()).hexdigest()
