"""`charter split`: one shared account becomes a proposal of several principals."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from charter.cli.context import Json, context_of
from charter.cli.estate_files import put_new
from charter.cli.output import NO, print_json, say, table, warn
from charter.core.errors import ConflictError, ErrorCode


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("split")(split)


def split(
    context: typer.Context,
    principal: Annotated[str, typer.Argument(help="The principal that several use as one.")],
    since: Annotated[str | None, typer.Option(help="From this time on: 30d, 2026-11-01.", show_default="30d")] = None,
    until: Annotated[str | None, typer.Option(help="Before this time.", show_default="now")] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(help="What to tell them apart by: workload, credential, key, initiator, client, place, hours."),
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Write the proposed charters into principals/.")] = False,
    as_json: Json = False,
) -> None:
    """Tell apart who is behind one shared account, and propose a charter for each, with what it used.

    Nothing is applied. Exits 1 if nothing tells its senders apart.

    Example: charter split integration-account --since 30d

    Example: charter split integration-account --by client --by place --write

    With --json: principal, standing, since, until, calls, by, confidence, considered, proposals, rest, unused,
    problems, plan, written.
    """
    here = context_of(context)
    path = f"/v1/principals/{quote(principal, safe='')}/split"
    answer = here.control.get(path, since=since, until=until, by=",".join(by or ()) or None)
    written = _write(here.settings.estate, answer) if write else []
    if as_json:
        print_json(answer | {"written": written})
    else:
        _show(answer, written)
    if not answer["proposals"]:
        raise typer.Exit(NO)


def _write(estate: Any, answer: dict[str, Any]) -> list[str]:  # noqa: ANN401 - a Path
    """Write the proposed charters: all of them, or none if one is there already."""
    for each in answer["proposals"]:
        if (estate / each["path"]).exists():
            raise ConflictError(
                ErrorCode.EXISTS, f"`{each['path']}` exists already", help="move it away, or leave --write out"
            )
    for each in answer["proposals"]:
        put_new(estate / each["path"], each["text"], mend="move it away, or leave --write out")
    return [each["path"] for each in answer["proposals"]]


def _show(answer: dict[str, Any], written: list[str]) -> None:
    say(f"{answer['principal']}: {answer['calls']} calls, {answer['since'][:10]} to {answer['until'][:10]}", "bold")
    rows: list[list[object]] = [
        [", ".join(each["by"]), each["groups"], f"{each['confidence']} %", each["word"], f"{each['coverage']} %"]
        for each in answer["considered"]
    ]
    table(["told apart by", "groups", "confidence", "", "known of"], rows)
    if not answer["proposals"]:
        say("nothing tells its senders apart: as far as the evidence goes, there is one", "yellow")
        return
    say(f"by {' and '.join(answer['by'])}, confidence {answer['confidence']['word']}:", "bold")
    for each in answer["proposals"]:
        say("")
        values = ", ".join(f"{name} {value}" for name, value in each["values"].items())
        say(f"{each['principal']}: {each['calls']} calls by {values}, at {each['hours']} UTC", "green")
        for did in each["did"]:
            say(f"  {did['system']}/{did['action']}: {did['calls']}")
        for note in each["notes"]:
            say(f"  {note}", "yellow")
    if answer["rest"]:
        say(f"{answer['rest']} calls belong to no group", "yellow")
    for problem in answer["problems"]:
        warn(problem)
    say("")
    for number, step in enumerate(answer["plan"], 1):
        say(f"{number}. {step}")
    for path in written:
        say(f"wrote {path}", "green")
    if not written:
        say("write the charters: --write", "dim")
