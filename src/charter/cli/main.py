"""The command line: parse, ask the control API, print for people or as --json.

Errors of Charter's own family become one clear message and a documented exit code (cli/output.py), and so do files that
cannot be read or written. Anything else is a bug and shows itself as one.
"""

from __future__ import annotations

import gc
import sys
from typing import Annotated, NoReturn

import typer

from charter import __version__
from charter.cli import (
    approval_commands,
    behaviour_commands,
    check_commands,
    composition_commands,
    credential_commands,
    delegation_commands,
    discovery_commands,
    estate_commands,
    evidence_commands,
    federation_commands,
    lease_commands,
    login_commands,
    people_commands,
    principal_commands,
    replay_command,
    review_command,
    right_size_command,
    rotation_commands,
    rule_commands,
    server_commands,
    session_commands,
    split_command,
    system_commands,
    test_command,
    vault_commands,
    why_commands,
    workload_commands,
)
from charter.cli.context import Context
from charter.cli.output import INTERRUPTED, NO, fail, misused
from charter.core.errors import CharterError, ErrorCode, UnavailableError

app = typer.Typer(
    name="charter",
    help="Identity governance for AI systems: who acts, under what authority, on what, with what evidence.",
    epilog="Exit codes: 0 done, 1 the answer is no, 2 wrong input, 3 not allowed, 4 absent, 5 conflict, "
    "6 unavailable, 7 integrity broken, 130 interrupted. "
    "With --json an error is one document too: error, detail, help, exit, and problems where files are wrong.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for commands in (
    server_commands,
    split_command,
    discovery_commands,
    estate_commands,
    test_command,
    check_commands,
    principal_commands,
    credential_commands,
    system_commands,
    rule_commands,
    vault_commands,
    approval_commands,
    composition_commands,
    behaviour_commands,
    review_command,
    right_size_command,
    delegation_commands,
    people_commands,
    login_commands,
    evidence_commands,
    why_commands,
    session_commands,
    replay_command,
    rotation_commands,
    workload_commands,
    federation_commands,
    lease_commands,
):
    commands.register(app)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"charter {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    estate: Annotated[
        str | None, typer.Option("--estate", "-C", help="The estate's folder.", show_default="this folder")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="The data folder: keys, database, socket.", show_default=".charter")
    ] = None,
    database: Annotated[
        str | None, typer.Option("--database", help="postgresql://… in place of SQLite.", show_default=False)
    ] = None,
    server: Annotated[
        str | None, typer.Option("--server", help="A Charter elsewhere: first charter login.", show_default=False)
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version and leave.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Read what every command needs."""
    context.obj = Context(estate=estate, data=data, database=database, server=server)


def main() -> None:
    """Run one command; the console script's entry."""
    gc.set_threshold(50_000, 20, 50)  # loading code makes hundreds of thousands of objects, and no garbage
    try:
        _run()
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(0) from None
    except OSError as error:  # standard output itself cannot be written
        fail(_unusable(error), as_json=False)


def _run() -> NoReturn:
    own, _, _ = " ".join(sys.argv[1:]).partition(" -- ")  # what follows is another program's
    as_json = "--json" in own.split()
    try:
        raise SystemExit(app(standalone_mode=False))
    except CharterError as error:
        fail(error, as_json=as_json)
    except typer.TyperException as error:
        misused(error, as_json=as_json)
    except typer.Abort:
        raise SystemExit(NO) from None
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except OSError as error:
        if error.filename is None:
            raise
        fail(_unusable(error), as_json=as_json)


def _unusable(error: OSError) -> UnavailableError:
    """Return what to say of a file or folder that cannot be read or written."""
    why = (error.strerror or type(error).__name__).lower()
    return UnavailableError(
        ErrorCode.STORE_FAILED,
        f"`{error.filename}`: {why}" if error.filename else why,
        help="check that it is there, that you may use it, and that the disk has free space",
    )


if __name__ == "__main__":
    main()
