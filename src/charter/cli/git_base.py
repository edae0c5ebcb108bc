"""An estate's files as a git revision has them, read by the git on this machine and without touching the checkout.

A checkout may be a stranger's: nothing of it is run. Git is called without its hooks, monitors and pagers, revisions
are never taken for options, and only paths that an estate has are read, each within the bounds of an estate.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from charter.config import child_environment
from charter.core.errors import ErrorCode, MalformedError, UnavailableError
from charter.registry.document import MAX_FILE_BYTES
from charter.registry.manifest import MAX_FILES, is_estate_path

_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./@{}^~-]{0,250}")
_QUIET = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "protocol.allow=never")
SECONDS = 60


def files_at(folder: Path, revision: str) -> dict[str, str] | None:
    """Return the estate's files in `folder` as `revision` has them; None where it has no such revision yet.

    Raises:
        MalformedError: the folder is in no git repository, or the revision is spelt as none is.
        UnavailableError: git cannot be run.
    """
    if not _REVISION.fullmatch(revision):
        raise MalformedError(
            ErrorCode.BAD_VALUE, f"{revision[:80]!a} is no git revision", help="write origin/main, HEAD"
        )
    _git(folder, "rev-parse", "--git-dir", otherwise="there is no git repository around")
    if _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}") is None:
        return None
    listed = _git(folder, "ls-tree", "-r", "-z", "--full-name", "--end-of-options", revision, "--", ".") or b""
    blobs = _blobs(listed.decode("utf-8", "replace"), _prefix(folder))
    if len(blobs) > MAX_FILES:
        raise MalformedError(ErrorCode.TOO_LARGE, f"the estate at {revision} has more than {MAX_FILES:,} files")
    return _texts(folder, blobs)


def _prefix(folder: Path) -> str:
    return (_git(folder, "rev-parse", "--show-prefix") or b"").decode("utf-8", "replace").strip()


def _blobs(listed: str, prefix: str) -> dict[str, str]:
    """Return the object of each plain file that an estate has, by its path in the estate."""
    found: dict[str, str] = {}
    for line in listed.split("\0"):
        told, _, path = line.partition("\t")
        mode, _, rest = told.partition(" ")
        inside = path.removeprefix(prefix)
        if path.startswith(prefix) and mode in ("100644", "100755") and is_estate_path(inside):
            found[inside] = rest.partition(" ")[2].strip()
    return found


def _texts(folder: Path, blobs: dict[str, str]) -> dict[str, str]:
    """Return the text of each blob, at most one byte more than a file may have."""
    if not blobs:
        return {}
    asked = "".join(f"{blob}\n" for blob in blobs.values()).encode()
    data = _git(folder, "cat-file", "--batch", given=asked, otherwise="its objects cannot be read in") or b""
    texts: dict[str, str] = {}
    at = 0
    for path in blobs:
        head = data[at : data.index(b"\n", at)].split(b" ")
        if len(head) != len((b"object", b"kind", b"size")):  # of a partial clone, which nothing is fetched for
            text = f"git does not hold `{path}` as it was at the base"
            raise MalformedError(ErrorCode.BAD_VALUE, text, help="fetch it: git fetch --refetch")
        at += len(b" ".join(head)) + 1
        size = int(head[2])
        texts[path] = _decoded(data[at : at + min(size, MAX_FILE_BYTES + 1)])
        at += size + 1
    return texts


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape").replace("\r\n", "\n")


def _git(folder: Path, *words: str, given: bytes | None = None, otherwise: str | None = None) -> bytes | None:
    """Return what git prints; None if it says no, or `otherwise` as an error."""
    command = ["git", *_QUIET, "--no-optional-locks", "--no-pager", "-C", str(folder), *words]
    # in a hook git tells of its own repository and index, which need not be those of the folder
    around = {name: value for name, value in child_environment().items() if not name.startswith("GIT_")}
    environment = around | {"GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(  # noqa: S603 - the git of this machine, with words that are ours or were checked
            command, input=given, capture_output=True, timeout=SECONDS, check=False, env=environment
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        raise UnavailableError(
            ErrorCode.STORE_FAILED, "git cannot be run", help="install git, or name a folder"
        ) from err
    if done.returncode and otherwise:
        raise MalformedError(ErrorCode.BAD_VALUE, f"{otherwise} `{folder}`", help="run git init, or leave --base out")
    return None if done.returncode else done.stdout
