"""Commands about approvals: what waits for a person, and their yes or no."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

import typer

from charter.cli.context import Json, context_of, segment
from charter.cli.output import print_json, say, table
from charter.registry.repeat import MOST
from charter.registry.seat import told

Id = Annotated[str, typer.Argument(help="The approval's id: apr_…")]
As = Annotated[str | None, typer.Option("--as", help="The person who answers.", show_default="the operator")]
Why = Annotated[str, typer.Option("--reason", "-r", help="Why; it stands in the evidence.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(help="See and answer calls that wait for a person.", no_args_is_help=True)
    group.command("ls")(list_approvals)
    group.command("show")(show)
    group.command("approve")(approve)
    group.command("refuse")(refuse)
    group.command("repeats")(list_repeats)
    group.command("end-repeat")(end_repeat)
    group.command("notices")(list_notices)
    group.command("stand-in")(name_stand_in)
    group.command("stand-ins")(list_stand_ins)
    group.command("back")(end_stand_in)
    app.add_typer(group, name="approvals")


def list_approvals(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="The answered ones too.")] = False,
    as_json: Json = False,
) -> None:
    """List the calls that wait for a person.

    Example: charter approvals ls --all

    With --json: approvals.
    """
    answer = context_of(context).control.get("/v1/approvals", all=every or None)
    if as_json:
        print_json(answer)
        return
    rows: list[list[object]] = [
        [a["id"], a["state"], a["call"]["principal"], a["call"]["system"], a["call"]["tool"], told(a["roles"])]
        for a in answer["approvals"]
    ]
    table(["id", "state", "principal", "system", "tool", "must say yes"], rows)
    if not rows:
        say("nothing waits", "dim")


def name_stand_in(
    context: typer.Context,
    by: Annotated[str, typer.Argument(help="Who answers in your roles: an address that teams.yaml names.")],
    until: Annotated[dt.datetime, typer.Option("--until", formats=["%Y-%m-%d"], help="The last day of it.")],
    reason: Why,
    person: As = None,
    as_json: Json = False,
) -> None:
    """Name who answers in your roles while you are away; whoever did so before does no more.

    Their yes counts as theirs, and never beside yours. What you own, they cannot approve in your stead.

    Example: charter approvals stand-in lena@example.com --until 2026-12-05 --reason "on leave"

    With --json: person, by, until, last_day, reason.
    """
    found = context_of(context)
    body = {"person": person or found.operator, "by": by, "until": f"{until:%Y-%m-%d}", "reason": reason}
    answer = found.control.post("/v1/stand-ins", body)
    if as_json:
        print_json(answer)
    else:
        say(f"{answer['by']} answers in the roles of {answer['person']} until the end of {answer['last_day']}", "green")


def list_stand_ins(context: typer.Context, as_json: Json = False) -> None:
    """List who answers in whose roles now.

    Example: charter approvals stand-ins

    With --json: stand_ins.
    """
    answer = context_of(context).control.get("/v1/stand-ins")
    if as_json:
        print_json(answer)
        return
    rows: list[list[object]] = [[s["person"], s["by"], s["last_day"], s["reason"]] for s in answer["stand_ins"]]
    table(["away", "answers in their roles", "until the end of", "reason"], rows)


def end_stand_in(context: typer.Context, reason: Why, person: As = None, as_json: Json = False) -> None:
    """Say that you are back: nobody answers in your roles any more.

    Example: charter approvals back --reason "back from leave"

    With --json: person, by.
    """
    found = context_of(context)
    answer = found.control.post("/v1/stand-ins/end", {"person": person or found.operator, "reason": reason})
    if as_json:
        print_json(answer)
    else:
        say(f"nobody answers in the roles of {answer['person']} any more", "green")


def list_notices(
    context: typer.Context,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many, the newest first.")] = 100,
    as_json: Json = False,
) -> None:
    """List who was told of calls that wait, by mail or in the chat, and what could not be sent.

    Example: charter approvals notices --limit 20

    With --json: backlog, notices.
    """
    answer = context_of(context).control.get("/v1/notices", limit=limit)
    if as_json:
        print_json(answer)
        return
    rows: list[list[object]] = [
        [n["approval"], n["kind"], n["to"], n["state"], n["tries"], n["error"]] for n in answer["notices"]
    ]
    table(["approval", "kind", "to", "state", "tries", "error"], rows)
    backlog = answer["backlog"]
    say(f"{backlog['due']} to be sent, {backlog['failed']} given up", "dim")


def show(context: typer.Context, approval_id: Id, as_json: Json = False) -> None:
    """Show exactly what would be allowed: the call with its arguments, and why it waits.

    Example: charter approvals show apr_01k…

    It says what is different from what the principal was let do in the last 30 days. What looks like a credential is
    masked, with the beginning of its digest.

    With --json: id, state, call, roles, given, missing, asked_at, expires_at, verdict_id, card.
    """
    answer = context_of(context).control.get(f"/v1/approvals/{segment(approval_id)}")
    if as_json:
        print_json(answer)
        return
    _card(answer)


def approve(
    context: typer.Context,
    approval_id: Id,
    person: As = None,
    reason: Why = "",
    further: Annotated[
        int | None, typer.Option("--next", min=1, max=MOST, help="And so many further calls like it.")
    ] = None,
    minutes: Annotated[int, typer.Option("--for", min=1, max=480, help="For so many minutes.")] = 60,
    vary: Annotated[
        list[str] | None, typer.Option("--vary", help="An argument that may be another in each of them.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Let exactly this call through once: same principal, same tool, same arguments.

    Example: charter approvals approve apr_01k… --as lena@example.com

    With --next, further calls like it need nobody's yes for a while: of the same principal by the same tool, with the
    same arguments but those that --vary names, and numbers no larger. Each is decided, limited and recorded as always.

    Example: charter approvals approve apr_01k… --next 10 --for 60 --vary charge_id --reason "today's disputes"

    With --json: id, state, call, roles, given, missing, asked_at, expires_at, verdict_id, denied, further.
    """
    if further is None:
        if vary:
            raise typer.BadParameter("it says something of further calls: say --next too", param_hint="--vary")
        _answer(context, approval_id, "approve", person, reason, as_json=as_json)
        return
    more = {"further": {"count": further, "minutes": minutes, "vary": vary or []}}
    _answer(context, approval_id, "approve", person, reason, as_json=as_json, more=more)


def list_repeats(context: typer.Context, as_json: Json = False) -> None:
    """List which calls like ones that were approved need nobody's yes for a while.

    Example: charter approvals repeats

    With --json: repeats.
    """
    answer = context_of(context).control.get("/v1/repeats")
    if as_json:
        print_json(answer)
        return
    rows: list[list[object]] = [
        [
            r["repeat"],
            r["principal"],
            f"{r['system']} / {r['tool']}",
            ", ".join(r["vary"]) or "nothing",
            r["left"],
            r["until"][:19],
            ", ".join(r["given"].values()),
        ]
        for r in answer["repeats"]
    ]
    table(["id", "principal", "call", "may vary", "left", "until", "given by"], rows)


def end_repeat(
    context: typer.Context,
    repeat_id: Annotated[str, typer.Argument(help="Its id: rpt_…")],
    reason: Why,
    person: As = None,
    as_json: Json = False,
) -> None:
    """Take a yes to further calls back: each is asked about again.

    Example: charter approvals end-repeat rpt_01k… --reason "enough for today"

    With --json: repeat, approval, system, tool, delegation, vary, given, left, until.
    """
    found = context_of(context)
    body = {"person": person or found.operator, "reason": reason}
    answer = found.control.post(f"/v1/repeats/{segment(repeat_id)}/end", body)
    if as_json:
        print_json(answer)
    else:
        say(f"{answer['repeat']} is over; {answer['left']} calls were left of it", "green")


def refuse(context: typer.Context, approval_id: Id, person: As = None, reason: Why = "", as_json: Json = False) -> None:
    """Say no to this call.

    Example: charter approvals refuse apr_01k… --as lena@example.com --reason "no receipt"

    With --json: id, state, call, roles, given, missing, asked_at, expires_at, verdict_id.
    """
    _answer(context, approval_id, "refuse", person, reason, as_json=as_json)


def _answer(
    context: typer.Context,
    approval_id: str,
    word: str,
    person: str | None,
    reason: str,
    *,
    as_json: bool,
    more: dict[str, Any] | None = None,
) -> None:
    here = context_of(context)
    body = {"person": person or here.operator, "reason": reason} | (more or {})
    answer = here.control.post(f"/v1/approvals/{segment(approval_id)}/{word}", body)
    if as_json:
        print_json(answer)
        return
    _card(answer)
    if answer.get("denied"):
        say(f"the yes is kept, and changes nothing as things are: {answer['denied']}", "red")
    elif answer["state"] == "approved":
        say(f"approved: the principal can repeat the call until {answer['expires_at'][:19]} UTC", "green")
        if further := answer.get("further"):
            until = further["until"][:19]
            say(f"and {further['left']} further calls like it until {until} UTC ({further['repeat']})", "green")
    elif answer["missing"]:
        say(f"still missing: {told(answer['missing'])}", "yellow")


def _card(a: dict[str, Any]) -> None:
    call, card = a["call"], a.get("card")
    say(f"{a['id']}  {a['state']}", "bold")
    rows: list[list[object]] = [
        ["principal", call["principal"]],
        ["call", f"{call['system']} / {call['tool']} ({call['action']}, {call['effect']})"],
        ["object", call["object"]],
        *(card_rows(card) if card else ([f"  {name}", value] for name, value in call["arguments"].items())),
        *([f"  it says: {name}", value] for name, value in call.get("said", {}).items()),
        ["why it waits", "; ".join(call["why"])],
        ["must say yes", told(a["roles"])],
        ["said yes", ", ".join(f"{who} as {told([role])}" for role, who in a["given"].items()) or "nobody yet"],
    ]
    if card:
        if card["denied"]:
            say(f"a yes would change nothing: {card['denied']}", "red")
        who = card["asks"]
        rows[1:1] = [["owner", who["owner"] or "nobody known"], ["on behalf of", _behalf(who)]]
        rows += [["unlike usual", each["text"]] for each in card["unusual"]] or [["unlike usual", "nothing"]]
        rows.append(["", card["usual"]])
    if "point" in call:
        rows.insert(1, ["asked by", f"the enforcement point {call['point']}"])
    table(["", ""], rows)


def card_rows(card: dict[str, Any]) -> list[list[object]]:
    """Return the arguments of a call as its card tells them."""
    rows: list[list[object]] = []
    for each in card["arguments"]:
        rows.append([f"  {each['name']}", each["value"]])
        rows += [["", f"that is {each['amount']}"]] if "amount" in each else []
        rows += [["", f"look closely: it {each['note']}"]] if "note" in each else []
    return rows


def _behalf(who: dict[str, Any]) -> str:
    return str(who["chain"]) + (f", for {who['purpose']}" if who["purpose"] else "")
