"""`charter right-size`: a narrower charter from what was used, looked at, taken, dismissed, or kept from."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from charter.adapters import whole_file
from charter.cli.context import Context, Json, context_of
from charter.cli.output import NO, print_json, say
from charter.core.errors import ConflictError, ErrorCode
from charter.core.values import parse_name


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("right-size")(right_size)


def right_size(
    context: typer.Context,
    principal: Annotated[str, typer.Argument(help="The principal's name.")],
    since: Annotated[
        str | None, typer.Option(help="Used from this time on: 90d, 2026-08-01.", show_default="90d")
    ] = None,
    accept: Annotated[bool, typer.Option("--accept", help="Take it, if that is safe; writes its file.")] = False,
    dismiss: Annotated[bool, typer.Option("--dismiss", help="Do not propose this again for a while.")] = False,
    keep: Annotated[str | None, typer.Option("--keep", metavar="KEY", help="Keep one piece that is not used.")] = None,
    until: Annotated[str | None, typer.Option(help="Kept or dismissed until then.", show_default="90d")] = None,
    person: Annotated[str | None, typer.Option("--as", help="Who says it.", show_default="the operator")] = None,
    proposal: Annotated[
        str | None, typer.Option(metavar="DIGEST", help="With --accept: only if it is the one that was looked at.")
    ] = None,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; it stands in the evidence.")] = "",
    as_json: Json = False,
) -> None:
    """Propose a narrower charter from observed use: provably narrower, and put to every call of the period.

    Exit 1 if nothing is offered although something is unused: it is not proven, or a recorded call would be refused.

    Example: charter right-size refund-agent --since 90d

    Example: charter right-size refund-agent --accept --reason "as used since August"

    Example: charter right-size refund-agent --keep action:payments/refund.void --until 2027-06-30 -r "break glass"

    With --json: principal, since, until, charter, managed_by, accepted, excluded, narrowings, kept, cautions, calls,
    narrower, not_proven, replayed, changed, untold, left_out, untouched, safe, proposal, file, diff, text,
    comments_kept.
    """
    from charter.registry.manifest import read_files

    here = context_of(context)
    name = parse_name(principal)
    asked: dict[str, Any] = {"principal": name, "since": since}
    who = {"person": person or here.operator, "reason": reason}
    if keep is not None or dismiss:
        word = "keep" if keep is not None else "dismiss"
        body = asked | who | {"until": until} | ({"key": keep} if keep is not None else {})
        done = here.control.post(f"/v1/right-size/{word}", body)
        if as_json:
            print_json(done)
        else:
            say(f"{', '.join(done['keys'])}: not proposed until {done['until'][:10]}", "green")
        return
    asked |= {"text": read_files(here.settings.estate).get(f"principals/{name}.yaml")}
    told = here.control.post("/v1/right-size", asked)
    if accept and told["proposal"]:
        if proposal not in (None, told["proposal"]):
            text = f"what is proposed for `{name}` now is not {proposal[:80]!a}"
            raise ConflictError(ErrorCode.STALE, text, help="look at it again, without --accept")
        told = here.control.post("/v1/right-size/accept", asked | who | {"proposal": told["proposal"]})
        _write(here, told)
    if as_json:
        print_json(told)
    else:
        show(told)
    if told["narrowings"] and not told["safe"]:
        raise typer.Exit(NO)


def _write(here: Context, told: dict[str, Any]) -> None:
    """Write the charter's file where it is there: what was changed by hand is written back, too."""
    file = here.settings.estate / "principals" / f"{told['principal']}.yaml"
    if file.is_file() and not file.is_symlink():
        whole_file.replace(file, told["text"].encode(), file.stat().st_mode & 0o777)


def show(told: dict[str, Any]) -> None:
    """Print a proposal as a person reads it."""
    if told["excluded"]:
        say(f"nothing is proposed for {told['principal']}: {told['excluded']}", "yellow")
        return
    for each in told["kept"]:
        say(f"= {each['key']} stays: {each['why']}", "dim")
    if not told["narrowings"]:
        say(f"nothing is proposed for {told['principal']}: it uses what it is granted, or it is kept", "green")
        return
    for step in told["narrowings"]:
        say(f"- {step['piece']} {step['system']}: {step['was']} → {step['becomes']}", "yellow")
        idle = step["unused_days"]
        used = f"unused for {idle} days; " if idle is not None else ""
        say(f"    {used}{step['why']}   ({step['key']})")
    for each in told["untouched"]:
        say(f"= {each['action']} on {each['system']} is not drawn closer: {_apart(each['calls'])}", "dim")
    for line in told["cautions"]:
        say(f"! {line}", "magenta")
    for line in told["diff"].splitlines():
        say(line, {"+": "green", "-": "red"}.get(line[:1]))
    _show_proof(told)


def _apart(calls: int) -> str:
    return f"{calls} calls of it cannot be decided again, so its grants stay as they are"


def _show_proof(told: dict[str, Any]) -> None:
    refused = sum(each["count"] for each in told["changed"])
    say(f"{told['replayed']} calls replayed, {refused or 'none'} refused", "red" if refused else "green")
    for each in told["untold"]:
        say(f"    {each['count']} calls cannot be decided again: {each['why']}", "magenta")
    say("provably no wider" if told["narrower"] else "that it is no wider is not proven", "dim")
    for line in told["not_proven"]:
        say(f"    {line}", "magenta")
    if "applied" in told:
        rest = "it is in force" if told["applied"] else f"{told['file']} is written; look at it with charter plan"
        say(f"accepted by {told['person']}; {rest}", "green")
    elif told["accepted"]:
        say(f"accepted by {told['accepted']['by']} on {told['accepted']['at'][:10]}; apply its file", "green")
    else:
        yes = f"safe to take: --accept --proposal {told['proposal']} --reason …"
        say(yes if told["safe"] else "not offered", "green" if told["safe"] else "red")
