"""Folders outside a node's data that keep the newest signed head of its log, each a file `<origin>.checkpoint`.

Where the folder is part of a git working tree, each head is a commit of that one file, pushed if the branch has an
upstream: then whoever cannot rewrite that repository's history cannot make the log forget either. Several nodes may
keep theirs on one branch: what others pushed there meanwhile is fetched, and our commits are put after it.

INVARIANT: git is asked about the one file, and nothing of anybody else's is committed.
INVARIANT: no commit of ours is dropped because the upstream dropped it: it is put there again, or the conflict is told.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from charter.adapters import whole_file

MAX_BYTES = 64 * 1024
GIT_SECONDS = 30.0
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_log = logging.getLogger("charter.heads")


@dataclass(frozen=True, slots=True)
class HeadFolder:
    """One folder."""

    path: Path

    def file_of(self, origin: str) -> Path:
        """Return the file that holds the head of the log `origin`."""
        return self.path / f"{_UNSAFE.sub('_', origin)}.checkpoint"

    def read(self, origin: str) -> str | None:
        """Return the head that is kept here; None: none.

        Raises:
            OSError: the folder cannot be read.
            ValueError: what is there is no text of a head's size.
        """
        if not self.path.is_dir():
            raise NotADirectoryError(f"there is no folder {self.path}")
        try:
            with self.file_of(origin).open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return None
        if len(data) > MAX_BYTES:
            raise ValueError("the file is larger than a head can be")
        return data.decode()

    def keep(self, origin: str, note: str) -> None:
        """Keep a head in place of the one before.

        Raises:
            OSError: it cannot be kept here.
        """
        whole_file.replace(self.file_of(origin), note.encode(), whole_file.SHARED)

    def commit(self, origin: str, size: int) -> None:
        """Commit the kept head, and push it, where the folder is in a git working tree.

        Raises:
            OSError: git would not.
        """
        file = self.file_of(origin)
        if self._git("rev-parse", "--is-inside-work-tree")[0]:
            return  # no git here
        code, said = self._git("add", "--", file.name)
        if not code and self._git("diff", "--cached", "--quiet", "--", file.name)[0]:
            code, said = self._git("commit", "-q", "-m", f"Keep the head of {size} entries", "--", file.name)
        if not code and not self._git("rev-parse", "--abbrev-ref", "@{upstream}")[0]:
            code, said = self._git("push", "-q")
            if code and not self._git("fetch", "-q")[0]:
                code, said = self._put_after_upstream()
        if code:
            raise OSError(_short(said) or "git failed")

    def _put_after_upstream(self) -> tuple[int, str]:
        """Put our commits after those that others pushed meanwhile, and push."""
        code, said = self._git("rebase", "-q", "--no-fork-point", "@{upstream}")
        if code:
            self._git("rebase", "--abort")
            return code, said
        return self._git("push", "-q")

    def _git(self, *words: str) -> tuple[int, str]:
        quiet = {"GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": "ssh -oBatchMode=yes", "LC_ALL": "C"}
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "SSH_AUTH_SOCK") if name in os.environ}  # noqa: TID251 - of a command, no setting
        who = ("-c", "user.name=charter", "-c", "user.email=charter@localhost", "-c", "commit.gpgsign=false")
        try:
            done = subprocess.run(  # noqa: S603 - this machine's git, with words that are ours
                ["git", *who, *words],  # noqa: S607
                cwd=self.path,
                env=kept | quiet,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=GIT_SECONDS,
                check=False,
                text=True,
                errors="replace",
            )
        except (OSError, subprocess.TimeoutExpired) as err:
            return 1, str(err)
        return done.returncode, done.stdout


def _short(said: str) -> str:
    """Return what git said in one line, without its hints."""
    lines = (line.strip() for line in said.splitlines())
    return "; ".join(line for line in lines if line and not line.startswith("hint:"))[:300]
