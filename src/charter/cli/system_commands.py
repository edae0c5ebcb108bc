"""Commands about systems: what principals reach, and importing an MCP server's tools as actions."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from charter.cli.context import Json, context_of, segment
from charter.cli.output import counted, print_json, say, table
from charter.core.errors import ErrorCode, MalformedError
from charter.registry.kind import Environment


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    told = "See systems, and what their servers say; import an MCP server's tools, or draft a file for a list of tools."
    group = typer.Typer(help=told, no_args_is_help=True)
    group.command("ls")(list_systems)
    group.command("log")(show_log)
    group.command("import")(import_system)
    group.command("draft")(draft_system)
    app.add_typer(group, name="systems")


def list_systems(context: typer.Context, as_json: Json = False) -> None:
    """List the systems principals may reach.

    Example: charter systems ls

    With --json: systems.
    """
    answer = context_of(context).control.get("/v1/systems")
    if as_json:
        print_json(answer)
        return
    rows: list[list[object]] = [
        [s["system"], s["kind"], s["environment"], len(s["actions"]), s["pinned"], s["standing"]]
        for s in answer["systems"]
    ]
    table(["system", "kind", "environment", "actions", "tools pinned", "standing"], rows)


def show_log(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The system's name.")],
    as_json: Json = False,
) -> None:
    """Show what the MCP server that Charter started for a system wrote last to standard error, and how it ended.

    The last 200 lines since Charter was started. They are the server's own, and may hold anything.

    Example: charter systems log git

    With --json: lines.
    """
    context_of(context).control.must_run()
    answer = context_of(context).control.get(f"/v1/logs/{segment(name)}")
    if as_json:
        print_json(answer)
        return
    for line in answer["lines"]:
        say(line)
    if not answer["lines"]:
        say(f"no server that Charter started for `{name}` has said anything")


def import_system(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The system's name; its file is systems/NAME.yaml.")],
    command: Annotated[
        list[str] | None, typer.Argument(help="After --: the command that starts the MCP server.", show_default=False)
    ] = None,
    url: Annotated[str | None, typer.Option(help="The MCP server's URL, in place of a command.")] = None,
    environment: Annotated[Environment, typer.Option(help="Where it lives.")] = Environment.SANDBOX,
    person: Annotated[str | None, typer.Option("--owner", help="Who answers for it.", show_default="operator")] = None,
    team: Annotated[str | None, typer.Option(help="The team that owns it.", show_default="the estate's first")] = None,
    accept: Annotated[bool, typer.Option("--accept", help="Write the file, accepting what changed.")] = False,
    as_json: Json = False,
) -> None:
    """Ask an MCP server for its tools and write systems/NAME.yaml, each definition pinned by its digest.

    For a system that has a file already, shows which definitions changed; --accept writes the new pins.

    Example: charter systems import git -- uvx mcp-server-git --repository .

    With --json: system, path, tools, features, changes, written. Features are resources, prompts and completions.
    """
    from charter.bootstrap.tools import ImportAsked, import_tools

    here = context_of(context)
    if command and url:
        raise MalformedError(ErrorCode.BAD_VALUE, "give a command or --url, not both")
    owner = person or here.operator
    asked = ImportAsked(name, tuple(command or ()), url, environment, owner, team, accept)

    def brokered(system: str) -> list[dict[str, Any]]:
        return list(here.control.get(f"/v1/systems/{system}/tools")["tools"])

    answer = asyncio.run(import_tools(here.settings, asked, brokered))
    if as_json:
        print_json(answer)
        return
    for line in answer["changes"]:
        say(line)
    if answer["written"]:
        path = Path(answer["path"])
        pinned = ", ".join([counted(answer["tools"], "tool"), *answer["features"]])
        say(f"wrote {path}: {pinned} pinned", "green")
        say("look through the effects it guessed, then: charter plan && charter apply")
    elif answer["changes"]:
        say("nothing was written; accept the new definitions with --accept", "yellow")
    else:
        say("nothing changed", "green")


def draft_system(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The system's name; its file is systems/NAME.yaml.")],
    file: Annotated[Path, typer.Argument(help="The tools' definitions as JSON: of MCP, OpenAI or Anthropic.")],
    environment: Annotated[Environment, typer.Option(help="Where it lives.")] = Environment.SANDBOX,
    person: Annotated[str | None, typer.Option("--owner", help="Who answers for it.", show_default="operator")] = None,
    team: Annotated[str | None, typer.Option(help="The team that owns it.", show_default="the estate's first")] = None,
    write: Annotated[bool, typer.Option("--write/--print", help="Write the file, or only print it.")] = True,
    as_json: Json = False,
) -> None:
    """Draft systems/NAME.yaml for tools that are listed in a file, with labels for data flow guessed from their names.

    No server is asked. Effects, who may write what it answers, which arguments are text and by which words people ask
    for a tool: all of it is to be looked through (docs/data-flow.md). A file that is there already is never replaced.

    Example: charter systems draft shop tools.json

    With --json: system, path, tools, text, written.
    """
    from charter.bootstrap.tools import DraftAsked, draft_tools

    here = context_of(context)
    asked = DraftAsked(name, file, environment, person or here.operator, team, write=write)
    answer = draft_tools(here.settings, asked)
    if as_json:
        print_json(answer)
    elif not answer["written"]:
        typer.echo(answer["text"], nl=False)
    else:
        say(f"wrote {answer['path']}: {counted(answer['tools'], 'tool')}, with their definitions beside it", "green")
        say("look through each label; grant its actions to a principal; then: charter validate && charter replay FILE")
