"""`charter rules`: what the organisation lays down for everyone, as it is in force."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from charter.cli.context import Context, Json, context_of
from charter.cli.output import counted, print_json, say, table
from charter.reports.rule_words import answering, terms_of


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("rules")(rules)


def rules(
    context: typer.Context,
    answers: Annotated[str | None, typer.Option(help="Only those that answer this: ASI03, LLM06, GOVERN.")] = None,
    files: Annotated[
        bool, typer.Option("--files", help="Those in the estate's folder, not those that are registered.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the organisation's rules: on charters, calls, shared credentials, behaviour, in freezes; what each answers.

    Example: charter rules --answers ASI03

    Example: charter rules --files

    With --json: rules.
    """
    here = context_of(context)
    found = _in_files(here) if files else here.control.get("/v1/rules")["rules"]
    found = answering(found, answers or "")
    if as_json:
        print_json({"rules": found})
        return
    rows: list[list[object]] = [
        [
            each["name"],
            each["on"],
            each["force"],
            "\n".join(terms_of(each)),
            each["reason"],
            "\n".join(each["answers"]),
            each["source"],
        ]
        for each in found
    ]
    table(["rule", "on", "force", "for whom, asking what, lifted by whom", "why", "answers", "stands in"], rows)
    say(counted(len(found), "rule"), "dim")
    if not found and not answers and not files:
        say("nothing is registered yet; `charter rules --files` lists what the files here lay down", "dim")


def _in_files(here: Context) -> list[dict[str, Any]]:
    from charter.bootstrap.rules import listing_in

    return listing_in(here.settings.estate)
