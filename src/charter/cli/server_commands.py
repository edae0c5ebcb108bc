"""Commands that start things: the server, an agent under its identity, the demo, the benchmarks."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from charter.cli.context import Json, context_of
from charter.cli.output import NO, print_json, say, table


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("demo")(demo)
    app.command("up")(up)
    app.command("console")(console)
    app.command("doctor")(doctor)
    app.command("token")(token)
    app.command("run", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})(run)
    app.command("rotate")(rotate)
    app.command("bench")(bench)


def up(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Where to listen.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Where to listen; 0 takes a free one.", show_default="8420")] = None,
    public_url: Annotated[str | None, typer.Option(help="What clients see; the issuer of tokens.")] = None,
) -> None:
    """Start the server: token endpoint, MCP gateway, console, and the control socket.

    Prints a one-time link that signs you in to the console. Example: charter up --port 8420
    """
    from charter.config import read_settings
    from charter.server.app import serve

    here = context_of(context)
    settings = read_settings(
        estate=Path(here.estate) if here.estate else None,
        data=here.data,
        database=here.database,
        host=host,
        port=port,
        public_url=public_url,
    )
    asyncio.run(serve(settings, operator=here.operator))


def console(context: typer.Context, as_json: Json = False) -> None:
    """Print a new one-time link to the console of the running server; it is good for ten minutes."""
    answer = context_of(context).control.post("/v1/console/link")
    if as_json:
        print_json(answer)
    else:
        typer.echo(answer["url"])


def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Check that everything Charter depends on is in order, and say how to mend what is not."""
    from charter.cli.doctor import examine

    checks = examine(context_of(context))
    bad = [c for c in checks if not c.ok]
    if as_json:
        print_json({"ok": not bad, "checks": [c.to_json() for c in checks]})
    else:
        table(["", "check", "what was found"], [["ok" if c.ok else "fail", c.name, c.found] for c in checks])
        for check in bad:
            say(f"→ {check.name}: {check.mend}", "yellow")
    if bad:
        raise typer.Exit(NO)


def token(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The principal's name.")],
    system: Annotated[str, typer.Argument(help="The system the token is for.")],
    as_json: Json = False,
) -> None:
    """Get a five-minute access token for NAME on SYSTEM. Makes NAME's key on this machine the first time."""
    from charter.cli.agent import obtain_token

    answer = obtain_token(context_of(context), name, system)
    if as_json:
        print_json(answer)
    else:
        typer.echo(answer["access_token"])


def run(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The principal's name.")],
) -> None:
    """Run a command as principal NAME: it gets NAME's identity and its MCP endpoints, without a change to its code.

    The command finds in its environment CHARTER_MCP_URL_<SYSTEM> for each granted system, and CHARTER_MCP_CONFIG, a
    file in the `mcpServers` form most MCP clients read. The endpoints are on this machine, for this command alone, and
    add a fresh token to each request.

    Example: charter run refund-agent -- python my_agent.py
    """
    from charter.cli.agent import run_agent

    raise typer.Exit(run_agent(context_of(context), name, context.args))


def rotate(
    context: typer.Context,
    use: Annotated[str, typer.Argument(help="Which signing key: token, evidence or charter.")] = "token",
    as_json: Json = False,
) -> None:
    """Rotate a signing key. What the old one signed stays valid until it expires."""
    here = context_of(context)
    answer = here.control.post("/v1/keys/rotate", {"use": use, "actor": here.operator})
    if as_json:
        print_json(answer)
        return
    say(f"new {use} key {answer['key_id']}; the one before verifies until what it signed has expired", "green")


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running, with the console's address.")] = False,
    folder: Annotated[
        Path | None, typer.Option(help="Where to put the demo's estate.", show_default="a new temporary folder")
    ] = None,
    servers: Annotated[Path | None, typer.Option(help="The folder of the public MCP servers.")] = None,
) -> None:
    """Show the whole job on real parts, unattended: scan, adopt, apply, govern, escalate, prove, kill, review."""
    from charter.cli.demo.story import tell

    raise typer.Exit(tell(keep=keep, folder=folder, servers=servers))


def bench(
    seconds: Annotated[float, typer.Option(help="How long each measurement may take.", min=0.2)] = 3.0,
    only: Annotated[
        str | None, typer.Option(help="Only this one: decision, gateway, evidence, kill, memory, tokens.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run the benchmarks, side by side with their floors and peers. Needs a checkout: they live in benchmarks/."""
    from charter.cli.benchmarks import run_benchmarks

    run_benchmarks(seconds=seconds, only=only, as_json=as_json)
