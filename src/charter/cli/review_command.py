"""`charter review`: the five questions, answered from the evidence."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from charter.cli.context import Json, context_of
from charter.cli.output import print_json, say
from charter.registry.charter import Kind


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("review")(review)


def review(
    context: typer.Context,
    since: Annotated[str | None, typer.Option(help="From this time on: 30d, 2026-11-01.", show_default="90d")] = None,
    until: Annotated[str | None, typer.Option(help="Before this time.", show_default="now")] = None,
    team: Annotated[str | None, typer.Option(help="Only this team's principals.")] = None,
    kind: Annotated[Kind | None, typer.Option(help="Only this kind of principal.")] = None,
    system: Annotated[str | None, typer.Option(help="Only calls to this system.")] = None,
    sql: Annotated[bool, typer.Option("--sql", help="Show each question as SQL.")] = False,
    as_json: Json = False,
) -> None:
    """Answer the five questions: most active; sensitive systems; refusals; unused permissions; outside the pattern.

    Example: charter review --since 30d --team payments-ops

    With --json: since, until, questions.
    """
    answer = context_of(context).control.get(
        "/v1/review", since=since, until=until, team=team, kind=kind, system=system
    )
    if as_json:
        print_json(answer)
        return
    say(f"{answer['since'][:19]} to {answer['until'][:19]} UTC", "dim")
    for question in answer["questions"]:
        say("")
        say(question["question"], "bold")
        place = question["columns"].index("sentence")
        for row in question["rows"]:
            say(f"  {row[place]}")
        say(question["sentence"] if not question["rows"] else _counted(question), "dim")
        if sql:
            say(question["sql"], "dim")


def _counted(question: dict[str, Any]) -> str:
    shown = len(question["rows"])
    more = f"; the first {shown} of {question['total']}, narrow it with --team, --kind, --system or --since"
    return f"{question['meaning']}{more if question['total'] > shown else ''}"
