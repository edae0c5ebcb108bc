"""Commands about what principals are made of: see it, and review what changed."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from charter.cli.card_commands import check_card
from charter.cli.context import Json, Reason, context_of, segment
from charter.cli.output import counted, print_json, say, table

Name = Annotated[str, typer.Argument(help="The principal's name.")]
As = Annotated[str | None, typer.Option("--as", help="The person who reviews.", show_default="the operator")]
Change = Annotated[str, typer.Argument(help="The change you looked at: what `show` prints, or its first 12 digits.")]
_SHOWN = 19  # of a digest: `sha256:` and 12 digits, which name a change


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(help="See what principals are made of, and review changes.", no_args_is_help=True)
    group.command("ls")(list_compositions)
    group.command("show")(show)
    group.command("accept")(accept)
    group.command("card")(check_card)
    app.add_typer(group, name="composition")


def list_compositions(context: typer.Context, as_json: Json = False) -> None:
    """List the principals whose charters pin what they are made of; those that wait for a review first.

    Example: charter composition ls

    With --json: compositions.
    """
    answer = context_of(context).control.get("/v1/compositions")
    if as_json:
        print_json(answer)
        return
    found = answer["compositions"]
    rows: list[list[object]] = [
        [c["principal"], c["standing"], ", ".join(c["kinds"]), ", ".join(c["attested"]) or "nothing", _waits(c)]
        for c in found
    ]
    table(["principal", "standing", "pinned", "attested", "waits for a review"], rows)
    say(counted(len(found), "composition"), "dim")


def show(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Show what a principal is made of: what was accepted, who attests it, and what changed since.

    Example: charter composition show refund-agent

    With --json: principal, standing, digest, accepted_by, accepted_at, on_change, reviewer, reviewers, parts, change,
    now, changes, finding.
    """
    answer = context_of(context).control.get(f"/v1/compositions/{segment(name)}")
    if as_json:
        print_json(answer)
        return
    _card(answer)


def accept(
    context: typer.Context, name: Name, change: Change, reason: Reason, person: As = None, as_json: Json = False
) -> None:
    """Accept what a principal is made of now; it gets back the standing that the change took, and no other.

    Example: charter composition accept refund-agent sha256:4f1c09ab22de --as alex@example.com --reason "release 2.4"

    With --json: principal, standing, before, index, digest, accepted_by, accepted_at, on_change, reviewer, reviewers,
    parts, change, now, changes, finding.
    """
    here = context_of(context)
    body = {"change": change, "person": person or here.operator, "reason": reason}
    answer = here.control.post(f"/v1/compositions/{segment(name)}/accept", body)
    if as_json:
        print_json(answer)
        return
    say(f"{name}: {answer['before']} → {answer['standing']}", "bold")
    say(f"accepted by {answer['accepted_by']}: {answer['digest']}")


def _card(c: dict[str, Any]) -> None:
    say(f"{c['principal']}  {c['standing']}", "bold")
    facts: list[list[object]] = [
        ["composition", c["digest"]],
        ["accepted", f"by {c['accepted_by']} on {c['accepted_at'][:10]}"],
        ["on change", f"{c['on_change']}, until someone with the role {c['reviewer']} reviews it"],
    ]
    table(["", ""], facts)
    rows: list[list[object]] = [[p["part"], _values(p["accepted"]), attested_text(p)] for p in c["parts"]]
    table(["part", "accepted", "attested by"], rows)
    if c["change"] is None:
        say("nothing waits for a review", "dim")
        return
    rows = [[d["part"], _values(d["was"]), _now(d), d["told_by"], d["at"][:19]] for d in c["changes"]]
    table(["changed", "was", "is", "told by", "since (UTC)"], rows, title="\nwaits for a review")
    who = ", ".join(c["reviewers"]) or f"nobody yet: someone must hold the role {c['reviewer']}"
    say(f"may be accepted by: {who}")
    short = c["change"][:_SHOWN]
    say(f'charter composition accept {c["principal"]} {short} --as PERSON --reason "…"', "dim")


def attested_text(part: dict[str, Any]) -> str:
    """Return who attests a part, in a person's words."""
    who = part["attested_by"]
    if who == "declared":
        missing = " (and must be attested)" if part["must_be_attested"] else ""
        return f"declared, by its charter alone{missing}"
    return f"{who}, {part['seen']['at'][:19]}" if part["seen"] else f"{who}, on every call"


def _values(values: list[str]) -> str:
    return "\n".join(values) or "nothing"


def _now(d: dict[str, Any]) -> str:
    return _values(d["now"]) + ("\n(back as it was)" if d["is_back"] else "")


def _waits(c: dict[str, Any]) -> str:
    return f"{', '.join(c['changed'][:3])}: {c['change'][:_SHOWN]}" if c["change"] else "no"
