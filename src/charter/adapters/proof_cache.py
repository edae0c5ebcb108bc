"""Proofs kept from one run to the next, in a file of the data folder: `proofs.json`.

INVARIANT: the file counts only if nobody but its owner can write it, as the database beside it does. What cannot be
read is no proof, and is proven again.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from charter.adapters import whole_file

VERSION = 2  # of what is kept, and of what proofs rest on
MAX_BYTES = 64 * 1024 * 1024
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class ProofFile:
    """Keeps proofs by the digest of what they are about. Without a folder, it keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / "proofs.json" if folder is not None and folder.is_dir() else None

    def read(self) -> dict[str, Any]:
        """Return what is kept; nothing where it cannot be trusted or read."""
        if self._path is None:
            return {}
        try:
            with self._path.open("rb") as file:
                known = os.fstat(file.fileno())
                if known.st_mode & _OTHERS_WRITE or known.st_uid != os.geteuid() or known.st_size > MAX_BYTES:
                    return {}
                found = json.load(file)
        except (OSError, ValueError):
            return {}
        is_ours = isinstance(found, dict) and found.get("version") == VERSION and isinstance(found.get("proofs"), dict)
        return found["proofs"] if is_ours else {}

    def write(self, proofs: Mapping[str, Any]) -> None:
        """Keep these proofs and no others, whole or not at all."""
        if self._path is not None:
            text = json.dumps({"version": VERSION, "proofs": dict(proofs)}, sort_keys=True)
            whole_file.replace(self._path, text.encode(), whole_file.PRIVATE)
