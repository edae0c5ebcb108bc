"""A folder on disk as a scan sees it: listed by git where it is a checkout, else walked; links are never followed.

Git only lists (`ls-files`). Its configuration belongs to whoever wrote the checkout and can name programs to run, so
the ways to do that from a listing are closed: no fsmonitor, hooks, transports or lazy fetching, no configuration of
the system or the user, and no other work tree than the folder. If git refuses or is missing, the folder is walked.

INVARIANT: every byte read is of a plain file whose folders, from the root down, are no links.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

from charter.core.clock import Clock, SystemClock
from charter.discovery.scan import Limits, ScanReport, TooLargeError, scan_tree
from charter.discovery.tree import UnreadableError

GIT_SECONDS = 60
MAX_LISTING = 256 * 1024 * 1024  # bytes of git's answer
_VENDORED = frozenset(
    {".git", ".hg", ".svn", "node_modules", "bower_components", "site-packages", "__pycache__", ".venv", "venv", ".tox"}
    | {".nox", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".next", ".nuxt", ".terraform", ".gradle", "vendor"}
    | {"third_party", "third-party", "pods", ".yarn", ".pnpm-store", "dist", ".charter"}
)
_NOT_IN_CHECKOUTS = frozenset({"build", "target", "out", "env"})  # where no git tells what is ignored
_GIT_OPTIONS = (
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.untrackedCache=false",
    "core.excludesFile=/dev/null",
    "protocol.allow=never",
    "submodule.recurse=false",
)
_GIT_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
_REMOTE = re.compile(r'^\[remote "origin"\][^\[]*?^\s*url\s*=\s*(\S{1,500})', re.MULTILINE | re.DOTALL)
_MAX_CONFIG = 256 * 1024


def scan(root: Path, *, limits: Limits | None = None, clock: Clock | None = None) -> ScanReport:
    """Return what is found in the folder `root`; nothing of it is run, and no network is asked."""
    chosen = limits or Limits()
    return scan_tree(FolderTree(root, chosen), clock=clock or SystemClock(), limits=chosen)


class FolderTree:
    """A folder. Satisfies discovery.scan.Tree."""

    def __init__(self, root: Path, limits: Limits | None = None) -> None:
        self._root = os.path.realpath(root)
        self._limits = limits or Limits()
        self._top = _top_of(self._root)
        self._folders: dict[str, bool] = {"": True}
        self.skipped: dict[str, int] = {"vendored": 0, "links": 0}

    @property
    def origin(self) -> str:
        """The remote's address without user and scheme; without a remote, the folder's path."""
        return (self._top and _remote_of(self._top)) or f"file:{self._top or self._root}"

    @property
    def prefix(self) -> str:
        """Where in its checkout the folder is."""
        inside = os.path.relpath(self._root, self._top) if self._top else "."
        return "" if inside == "." else f"{inside.replace(os.sep, '/')}/"

    @property
    def name(self) -> str:
        """The last part of the remote's address, or of the path."""
        return self.origin.rstrip("/").rpartition("/")[2].rpartition(":")[2] or "checkout"

    def paths(self) -> Iterator[str]:
        """Yield the files' paths, in order."""
        listing = self._listed("", 0) if self._top else None
        yield from listing if listing is not None else self._walked("", 0)

    def read(self, path: str, limit: int) -> bytes:
        """Return a file's bytes."""
        folder = path.rpartition("/")[0]
        if not self._is_real(folder):
            raise UnreadableError("a link is in its path")
        try:
            handle = os.open(Path(self._root, path), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except (OSError, ValueError) as err:
            raise UnreadableError(getattr(err, "strerror", None) or "its name cannot be opened") from err
        try:
            with os.fdopen(handle, "rb") as opened:
                return _bytes_of(opened.fileno(), limit)
        except OSError as err:
            raise UnreadableError(err.strerror or "it cannot be read") from err

    def _is_real(self, folder: str) -> bool:
        """Whether a folder is below the root without any link in between."""
        known = self._folders.get(folder)
        if known is None:
            full = str(Path(self._root, folder))
            known = self._folders[folder] = os.path.realpath(full) == full
        return known

    # --- listed by git ---

    def _listed(self, folder: str, depth: int) -> list[str] | None:
        """Return the files git knows or does not ignore, in order; None if git cannot tell."""
        names = _git_files(str(Path(self._root, folder)), self._top if not folder else None)
        if names is None or depth > 3:  # noqa: PLR2004 - checkouts within checkouts
            return None
        found: list[str] = []
        for name in names:
            path = f"{folder}/{name}".strip("/") if folder else name
            found.extend(self._accepted(path.rstrip("/"), depth))
        return sorted(dict.fromkeys(found))

    def _accepted(self, path: str, depth: int) -> list[str]:
        """Return `path` if it is a plain file to be read; what it holds, if it is a checkout of its own."""
        parts = path.split("/")
        mode = self._mode(path)
        is_folder = mode is not None and stat.S_ISDIR(mode)
        left_out = self._left_out(parts if is_folder else parts[:-1], len(parts), mode)
        if left_out:
            self.skipped[left_out] = self.skipped.get(left_out, 0) + 1
        if left_out or mode is None:
            return []
        if is_folder and self._is_real(path):
            listed = self._listed(path, depth + 1)
            return list(self._walked(path, len(parts))) if listed is None else listed
        return [path] if stat.S_ISREG(mode) else []

    def _left_out(self, folders: list[str], depth: int, mode: int | None) -> str | None:
        """Return why a listed file is left out, if it is."""
        if not _VENDORED.isdisjoint(part.lower() for part in folders):
            return "vendored"
        if depth > self._limits.depth:
            return "deep"
        return "links" if mode is not None and stat.S_ISLNK(mode) else None

    def _mode(self, path: str) -> int | None:
        """Return a file's mode; None if it is in git's index and not on the disk."""
        try:
            return Path(self._root, path).lstat().st_mode
        except (OSError, ValueError):
            return None

    # --- walked ---

    def _walked(self, folder: str, depth: int) -> Iterator[str]:
        """Yield the files below a folder, in order."""
        stack = [(folder, depth)]
        while stack:
            here, level = stack.pop()
            inner: list[tuple[str, int]] = []
            for name, mode in self._entries(here):
                path = f"{here}/{name}" if here else name
                if stat.S_ISDIR(mode):
                    if self._is_wanted(name, level):
                        inner.append((path, level + 1))
                elif stat.S_ISLNK(mode):
                    self.skipped["links"] += 1
                elif stat.S_ISREG(mode):
                    yield path
            stack.extend(reversed(inner))

    def _entries(self, folder: str) -> list[tuple[str, int]]:
        try:
            with os.scandir(Path(self._root, folder)) as entries:
                return sorted((entry.name, entry.stat(follow_symlinks=False).st_mode) for entry in entries)
        except OSError as err:
            if not folder:
                raise UnreadableError(err.strerror or "the folder cannot be listed") from err
            self.skipped["unlisted"] = self.skipped.get("unlisted", 0) + 1
            return []

    def _is_wanted(self, name: str, level: int) -> bool:
        if name.lower() in _VENDORED or name.lower() in _NOT_IN_CHECKOUTS:
            self.skipped["vendored"] += 1
            return False
        if level >= self._limits.depth:
            self.skipped["deep"] = self.skipped.get("deep", 0) + 1
            return False
        return True


def _bytes_of(handle: int, limit: int) -> bytes:
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        raise UnreadableError("it is no plain file")
    if found.st_size > limit:
        raise TooLargeError(f"it is larger than {limit // 1024} KiB")
    return os.read(handle, limit)


def _top_of(root: str) -> str | None:
    """Return the folder at or around `root` that holds `.git`, if there is one."""
    inside = Path(root)
    return next((str(each) for each in (inside, *inside.parents) if os.path.lexists(each / ".git")), None)


def _git_files(folder: str, top: str | None) -> list[str] | None:
    """Return what `git ls-files` lists in `folder`, or None if git is missing, refuses or takes too long."""
    git = shutil.which("git")
    if git is None:
        return None
    options = [word for option in _GIT_OPTIONS for word in ("-c", option)]
    command = [
        git,
        "-C",
        folder,
        *options,
        f"--work-tree={top or folder}",
        f"--git-dir={Path(top or folder, '.git')}",
    ]
    listing = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(  # noqa: S603 - git itself, with fixed words
            [*command, *listing],
            env=_GIT_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0 or len(done.stdout) > MAX_LISTING:
        return None
    return [os.fsdecode(name) for name in done.stdout.split(b"\0") if name]


def _remote_of(top: str) -> str | None:
    """Return the address of the checkout's `origin`, as its own configuration writes it: `example.com/team/app`."""
    config = Path(top, ".git", "config")
    try:
        if not config.is_file() or config.stat().st_size > _MAX_CONFIG:
            return None
        found = _REMOTE.search(config.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return normal_remote(found[1]) if found else None


def normal_remote(url: str) -> str:
    """Return a remote's address without scheme, user, password, `.git` and trailing slash; ssh and https look alike."""
    bare = re.sub(r"^[a-z+]+://", "", url)
    bare = bare.rpartition("@")[2] if "@" in bare.partition("/")[0] else bare
    host, colon, path = bare.partition(":")
    if colon and "/" not in host and not re.match(r"\d+(/|$)", path):
        bare = f"{host}/{path}"
    return bare.rstrip("/").removesuffix(".git")
