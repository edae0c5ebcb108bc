"""`charter rules`: what the organisation lays down for everyone, as it is in force."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from charter.cli.context import Json, context_of
from charter.cli.output import counted, print_json, say, table


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("rules")(rules)


def rules(
    context: typer.Context,
    answers: Annotated[str | None, typer.Option(help="Only those that answer this: ASI03, LLM06, GOVERN.")] = None,
    as_json: Json = False,
) -> None:
    """List the organisation's rules: on charters, calls, shared credentials, behaviour, in freezes; what each answers.

    Example: charter rules --answers ASI03

    With --json: rules.
    """
    found = context_of(context).control.get("/v1/rules")["rules"]
    if answers:
        found = [each for each in found if any(answers.lower() in item.lower() for item in each["answers"])]
    if as_json:
        print_json({"rules": found})
        return
    rows: list[list[object]] = [
        [
            each["name"],
            each["on"],
            each["force"],
            _whom(each),
            each["reason"],
            "\n".join(each["answers"]),
            each["source"],
        ]
        for each in found
    ]
    table(["rule", "on", "force", "for, and who lifts it", "why", "answers", "stands in"], rows)
    say(counted(len(found), "rule"), "dim")


def _whom(rule: dict[str, Any]) -> str:
    scope = [f"{name}: {', '.join(words)}" for name, words in rule["for"].items()]
    lines = scope or ["everyone" if rule["on"] in ("charters", "sharing", "behaviour") else ""]
    if rule["lifted_by"]:
        lines.append(f"lifted by {', '.join(rule['lifted_by'])}")
    if rule["set_aside_by"]:
        lines.append(f"set aside by {', '.join(rule['set_aside_by'])}")
    return "\n".join(line for line in lines if line)
