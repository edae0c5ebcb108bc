"""`charter review`: the five questions, answered from the evidence."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from charter.cli.context import Json, context_of
from charter.cli.output import print_json, say
from charter.cli.plot import Plot, Plotting, draw
from charter.registry.kind import Kind
from charter.reports.answer import MAX_ROWS, NAMES
from charter.reports.picture import read_picture
from charter.reports.tables import csv_of

PICTURES = {"most-active": "activity", "refused": "denials", "unused": "grants"}


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("review", cls=Plotting)(review)


def review(
    context: typer.Context,
    question: Annotated[str | None, typer.Argument(help=f"One question alone: {', '.join(NAMES)}.")] = None,
    since: Annotated[str | None, typer.Option(help="From this time on: 30d, 2026-11-01.", show_default="90d")] = None,
    until: Annotated[str | None, typer.Option(help="Before this time.", show_default="now")] = None,
    team: Annotated[str | None, typer.Option(help="Only this team's principals.")] = None,
    kind: Annotated[Kind | None, typer.Option(help="Only this kind of principal.")] = None,
    system: Annotated[str | None, typer.Option(help="Only calls to this system.")] = None,
    principal: Annotated[str | None, typer.Option(help="Only this principal.")] = None,
    rows: Annotated[int | None, typer.Option(min=1, max=MAX_ROWS, help="At most so many of each.")] = None,
    sql: Annotated[bool, typer.Option("--sql", help="Show each question as SQL.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="One question as CSV, safe to open in a spreadsheet.")] = False,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Answer the five questions: most active; sensitive systems; refusals; unused permissions; outside the pattern.

    Example: charter review --since 30d --team payments-ops

    Example: charter review unused --system payments --rows 500 --csv > unused.csv

    Example: charter review --since 30d --plot

    Example: charter review refused --team payments-ops --plot refused.svg

    A number of days begins with the first of them, UTC. Pictures there are of most-active, refused and unused.

    With --json: since, until, narrowed, notes, questions. With --plot: pictures.
    """
    if as_csv and question is None:
        raise typer.BadParameter(f"CSV holds one question: {', '.join(NAMES)}", param_hint="QUESTION")
    narrowed = {"team": team, "kind": kind, "system": system, "principal": principal}
    if plot is not None:
        _plot(context, question, {"since": since, "until": until} | narrowed, plot, as_json=as_json)
        return
    answer = context_of(context).control.get(
        "/v1/review", since=since, until=until, question=question, rows=rows, **narrowed
    )
    if as_csv:
        (one,) = answer["questions"]
        sys.stdout.write(csv_of(one["columns"], one["rows"]))
        return
    if as_json:
        print_json(answer)
        return
    say(f"{answer['since'][:19]} to {answer['until'][:19]} UTC", "dim")
    for note in answer["notes"]:
        say(note, "yellow")
    for told in answer["questions"]:
        say("")
        say(told["question"], "bold")
        place = told["columns"].index("sentence")
        for row in told["rows"]:
            say(f"  {row[place]}")
        say(told["sentence"] if not told["rows"] else _counted(told), "dim")
        if sql:
            say(told["sql"], "dim")


def _plot(
    context: typer.Context, question: str | None, asked: dict[str, str | None], plot: str, *, as_json: bool
) -> None:
    if question is not None and question not in PICTURES:
        raise typer.BadParameter(f"pictures there are of {', '.join(PICTURES)}", param_hint="QUESTION")
    names = [PICTURES[question]] if question else list(PICTURES.values())
    told = [context_of(context).control.get(f"/v1/pictures/{name}", **asked) for name in names]
    if as_json:
        print_json({"pictures": told})
    else:
        draw([read_picture(each) for each in told], plot)


def _counted(question: dict[str, Any]) -> str:
    shown = len(question["rows"])
    more = (
        f"; the first {shown} of {question['total']}, narrow it with --team, --kind, --system, --since, or write --rows"
    )
    return f"{question['meaning']}{more if question['total'] > shown else ''}"
