"""Packs of evidence, and the stand-alone verifier run as an auditor would: with `cryptography`, without Charter."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from charter.adapters.database import Database
from charter.evidence.export import export_pack, verifier_source
from databases import SIGNER

KEY = base64.b64encode(SIGNER.public).decode()
# -I and -S leave nothing on the path but the standard library; the one folder added holds links to `cryptography` and
# what it needs itself.
RUN = """
import sys, importlib.util, runpy
sys.path.insert(0, sys.argv.pop(1))
assert importlib.util.find_spec("charter") is None and importlib.util.find_spec("sqlalchemy") is None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
NEEDED = ("cryptography", "cffi", "_cffi_backend*", "pycparser")


def a_pack(database: Database[Any], *, start: int = 0, end: int | None = None) -> bytes:
    """Return a pack of the log, as it is exported."""
    out = io.BytesIO()
    database.read_log(lambda log: export_pack(log, SIGNER.public, out, start=start, end=end))
    return out.getvalue()


class Auditor:
    """Somebody with the verifier, the log's key, and no Charter."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._packages = folder / "packages"
        self._packages.mkdir()
        installed = Path(sysconfig.get_paths()["platlib"])
        for pattern in NEEDED:
            for found in installed.glob(pattern):
                (self._packages / found.name).symlink_to(found)
        self._verifier = folder / "charter_verify.py"
        self._verifier.write_bytes(verifier_source())

    def verify(self, pack: bytes, *arguments: str, key: str = KEY) -> tuple[int, str]:
        """Return the exit code and what the verifier says."""
        path = self._folder / "pack.jsonl"
        path.write_bytes(pack)
        return self.run(str(path), "--key", key, *arguments)

    def run(self, *words: str) -> tuple[int, str]:
        """Return the exit code and what the verifier says to a whole command line."""
        command = [sys.executable, "-I", "-S", "-c", RUN, self._packages, self._verifier]
        done = subprocess.run(  # the exit code is looked at by the caller
            [*map(str, command), *words], capture_output=True, timeout=60, check=False, env={}
        )
        assert done.stderr == b"", done.stderr.decode()
        return done.returncode, done.stdout.decode()
