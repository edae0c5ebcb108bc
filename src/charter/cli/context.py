"""What every command is given: the settings and the way to the control API, made when first asked for."""

from __future__ import annotations

import getpass
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from charter.config import Settings, child_environment, read_settings
from charter.core.errors import ErrorCode, MalformedError

if TYPE_CHECKING:
    from charter.cli.control import Control

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for programs.")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; it stands in the evidence.")]


@dataclass
class Context:
    """The options that stand before the command."""

    estate: str | None = None
    data: str | None = None
    database: str | None = None
    server: str | None = None

    @cached_property
    def settings(self) -> Settings:
        """What this command is told, by its options and the environment."""
        estate = Path(self.estate) if self.estate else None
        return read_settings(estate=estate, data=self.data, database=self.database, server=self.server)

    @cached_property
    def control(self) -> Control:
        """The control API."""
        from charter.cli.control import Control

        return Control(self.settings)

    @cached_property
    def operator(self) -> str:
        """The person at this machine: signed in at the server, else as set, as git has it, or the login name."""
        if self.settings.server:
            return str(self.control.get("/v1/whoami")["person"])
        if self.settings.operator:
            return self.settings.operator
        try:
            found = subprocess.run(
                ["git", "config", "user.email"],  # noqa: S607 - the operator's own git
                capture_output=True,
                text=True,
                timeout=5,
                check=False,
                env=child_environment(),
                cwd=self.settings.estate if self.settings.estate.is_dir() else None,
            )
            email = found.stdout.strip()
        except (OSError, subprocess.TimeoutExpired):
            email = ""
        return email or f"{getpass.getuser()}@localhost"


def context_of(context: typer.Context) -> Context:
    """Return what the options before the command said."""
    found = context.obj
    return found if isinstance(found, Context) else Context()


def segment(name: str) -> str:
    """Return `name` as one segment of a path.

    Raises:
        MalformedError: no name is like this.
    """
    if not name.strip(".") or not name.isprintable() or "/" in name:
        raise MalformedError(ErrorCode.BAD_VALUE, f"{name[:80]!a} is no name", help="names hold a-z, 0-9 and hyphens")
    return quote(name, safe="")
