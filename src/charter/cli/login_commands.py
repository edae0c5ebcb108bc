"""Commands that sign this terminal in to a Charter on another machine, and out again."""

from __future__ import annotations

from typing import Annotated

import typer

from charter.cli.context import Json, context_of
from charter.cli.output import print_json, say, warn

Server = Annotated[str | None, typer.Argument(help="Its address.", show_default="CHARTER_SERVER")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("login")(login)
    app.command("logout")(logout)


def login(context: typer.Context, server: Server = None, as_json: Json = False) -> None:
    """Sign this terminal in to a Charter elsewhere: a person says yes to it in the console there.

    Afterwards commands work there: charter --server https://charter.example ls, or set CHARTER_SERVER.

    Example: charter login https://charter.example

    With --json: server, signed_in.
    """
    from charter.cli.login import sign_in

    settings = context_of(context).settings

    def tell(url: str, code: str) -> None:
        warn(f"open this page, and say yes if it shows the code {code}:")
        warn(url)

    origin = sign_in(_named(server, settings.server), settings.logins, tell)
    if as_json:
        print_json({"server": origin, "signed_in": True})
    else:
        say(f"signed in at {origin}, for 8 hours, or until it is idle for 30 minutes", "green")


def logout(context: typer.Context, server: Server = None, as_json: Json = False) -> None:
    """Forget what this terminal was given at a Charter elsewhere.

    Example: charter logout https://charter.example

    With --json: signed_out.
    """
    from charter.cli.login import forget

    settings = context_of(context).settings
    was = forget(settings.logins, _named(server, settings.server))
    if as_json:
        print_json({"signed_out": was})
    else:
        say("signed out" if was else "it was not signed in", "green" if was else "dim")


def _named(given: str | None, setting: str | None) -> str:
    if given or setting:
        return str(given or setting)
    raise typer.BadParameter("name the server: charter login https://charter.example")
