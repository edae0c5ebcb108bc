"""`charter review`: the five questions, answered from the evidence; `right-size`: what was never used, taken out."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from charter.cli.context import Json, context_of
from charter.cli.output import NO, print_json, say
from charter.registry.charter import Kind
from charter.reports.answer import MAX_ROWS, NAMES
from charter.reports.tables import csv_of


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("review")(review)
    app.command("right-size")(right_size)


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
    as_json: Json = False,
) -> None:
    """Answer the five questions: most active; sensitive systems; refusals; unused permissions; outside the pattern.

    Example: charter review --since 30d --team payments-ops

    Example: charter review unused --system payments --rows 500 --csv > unused.csv

    A number of days begins with the first of them, UTC.

    With --json: since, until, narrowed, questions.
    """
    if as_csv and question is None:
        raise typer.BadParameter(f"CSV holds one question: {', '.join(NAMES)}", param_hint="QUESTION")
    narrowed = {"team": team, "kind": kind, "system": system, "principal": principal}
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
    for told in answer["questions"]:
        say("")
        say(told["question"], "bold")
        place = told["columns"].index("sentence")
        for row in told["rows"]:
            say(f"  {row[place]}")
        say(told["sentence"] if not told["rows"] else _counted(told), "dim")
        if sql:
            say(told["sql"], "dim")


def right_size(
    context: typer.Context,
    principal: Annotated[str, typer.Argument(help="The principal's name.")],
    since: Annotated[
        str | None, typer.Option(help="Used from this time on: 30d, 2026-11-01.", show_default="90d")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Write its file, if that is safe.")] = False,
    as_json: Json = False,
) -> None:
    """Propose a charter without what was never used: provably narrower, and put to every call of the period.

    Exit 1 if a recorded call would be decided otherwise, or cannot be decided again.

    Example: charter right-size refund-agent --since 90d

    With --json: principal, since, used, removed, charter, open_ended, narrower, replayed, changed, untold, safe.
    """
    from charter.registry.manifest import read_files

    here = context_of(context)
    body = {"files": read_files(here.settings.estate), "principal": principal, "since": since}
    told = here.control.post("/v1/right-size", body)
    if write and told["safe"] and told["removed"]:
        (here.settings.estate / "principals" / f"{told['principal']}.yaml").write_text(
            told["charter"], encoding="utf-8"
        )
    if as_json:
        print_json(told)
    else:
        _show_size(told, is_written=write)
    if not told["safe"]:
        raise typer.Exit(NO)


def _show_size(told: dict[str, Any], *, is_written: bool) -> None:
    if not told["removed"]:
        say(f"{told['principal']} used all that it is granted since {told['since'][:10]}", "green")
        return
    for each in told["removed"]:
        say(f"- {each} was not used since {told['since'][:10]}", "yellow")
    say("the rest is provably no wider" if told["narrower"] else "that the rest is no wider is not proven", "dim")
    say(f"{told['replayed']} recorded calls were decided again, {len(told['changed'])} otherwise")
    for change in told["changed"]:
        say(f"    {change['count']} of {change['system']}/{change['action']}: {change['text']}", "red")
    for each in told["untold"]:
        say(f"    {each['count']} calls cannot be decided again: {each['why']}", "magenta")
    say("safe to take" if told["safe"] else "not safe to take as it stands", "green" if told["safe"] else "red")
    if told["safe"] and is_written:
        say(f"wrote principals/{told['principal']}.yaml; look at it with charter plan", "green")


def _counted(question: dict[str, Any]) -> str:
    shown = len(question["rows"])
    more = (
        f"; the first {shown} of {question['total']}, narrow it with --team, --kind, --system, --since, or write --rows"
    )
    return f"{question['meaning']}{more if question['total'] > shown else ''}"
