"""Commands about behaviour: what principals usually do, what was noticed, what is normal; and previewing responses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from charter.adapters.whole_file import read_named
from charter.cli.context import Json, Reason, context_of, segment
from charter.cli.output import counted, print_json, say, table

Name = Annotated[str, typer.Argument(help="The principal's name.")]
Since = Annotated[str, typer.Option(help="From when on: 1d, 12h, 2026-11-24.")]
_HOURS_SHOWN = 0.1


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(help="See what principals usually do, and what was unlike them.", no_args_is_help=True)
    group.command("show")(show)
    group.command("signals")(signals)
    group.command("accept")(accept)
    group.command("withdraw")(withdraw)
    app.add_typer(group, name="behaviour")
    rules = typer.Typer(help="What follows at once when a principal behaves unlike itself.", no_args_is_help=True)
    rules.command("preview")(preview)
    app.add_typer(rules, name="responses")


def show(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Show what a principal usually does, what was noticed of it, what is accepted, and what is in force.

    Example: charter behaviour show refund-agent

    With --json: principal, owner, standing, is_young, needs, peers, thresholds, baseline, signals, accepted, responses.
    """
    answer = context_of(context).control.get(f"/v1/behaviour/{segment(name)}")
    if as_json:
        print_json(answer)
        return
    _card(answer)


def signals(
    context: typer.Context,
    principal: Annotated[str | None, typer.Option(help="Of one principal.")] = None,
    since: Since = "7d",
    limit: Annotated[int, typer.Option(help="At most so many.")] = 50,
    as_json: Json = False,
) -> None:
    """List what was noticed, newest first: each with its score and why.

    Example: charter behaviour signals --since 1d

    With --json: signals, watch.
    """
    answer = context_of(context).control.get("/v1/behaviour", principal=principal, since=since, limit=limit)
    if as_json:
        print_json(answer)
        return
    _signals(answer["signals"], with_name=True)
    watch = answer["watch"]
    if watch["failure"]:
        say(f"behaviour is not watched right now: {watch['failure']}", "red")
    if watch["backlog"]:
        say(f"{watch['backlog']} entries of the log wait to be weighed", "dim")
    say(counted(len(answer["signals"]), "signal"), "dim")


def accept(
    context: typer.Context,
    name: Name,
    feature: Annotated[
        str, typer.Argument(help="What it is about: object, sequence, hours, …, as the signal names it.")
    ],
    key: Annotated[str, typer.Argument(help="The key that the signal names, or its beginning and *.")],
    reason: Reason,
    until: Annotated[str, typer.Option(help="How long it is normal: 30d, or a day.")] = "90d",
    as_json: Json = False,
) -> None:
    """Say that something is normal for a principal, until a day; what a rule took because of it comes back.

    It silences signals and allows nothing: what policy refuses stays refused.

    Example: charter behaviour accept refund-agent object "payments: dispute/*" --until 30d --reason "new task"

    With --json: id, principal, feature, key, until, by, reason, at, settled, standing, signals, nearest.
    """
    here = context_of(context)
    body = {"feature": feature, "key": key, "until": until, "actor": here.operator, "reason": reason}
    answer = here.control.post(f"/v1/behaviour/{segment(name)}/accept", body)
    if as_json:
        print_json(answer)
        return
    say(f"{name}: {answer['feature']} `{answer['key']}` is normal until {answer['until'][:16]} UTC", "green")
    for finding in answer["settled"]:
        say(f"  {finding} is accepted")
    if not answer["signals"]:
        close = f"; one names `{answer['nearest']}`" if answer["nearest"] else ""
        say(f"no signal of it names such a key of {answer['feature']} so far{close}", "yellow")
        say(f"if it is misspelt: charter behaviour withdraw {name} {answer['id']} --reason …", "dim")
    say(f"{name} is {answer['standing']}", "dim")


def withdraw(
    context: typer.Context,
    name: Name,
    accepted: Annotated[str, typer.Argument(help="Which, by its id: acc_…")],
    reason: Reason,
    as_json: Json = False,
) -> None:
    """Say that something is normal no more; it is told of again.

    Example: charter behaviour withdraw refund-agent acc_01 --reason "the task is over"

    With --json: id, principal, feature, key, until, by, reason, at.
    """
    here = context_of(context)
    body = {"accepted": accepted, "actor": here.operator, "reason": reason}
    answer = here.control.post(f"/v1/behaviour/{segment(name)}/withdraw", body)
    if as_json:
        print_json(answer)
        return
    say(f"{name}: {answer['feature']} `{answer['key']}` is told of again", "green")


def preview(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Option(help="A responses.yaml to try.", show_default="the estate's own, else what is in force"),
    ] = None,
    rule: Annotated[str | None, typer.Option(help="One rule alone, by its id.")] = None,
    since: Since = "1d",
    in_force: Annotated[bool, typer.Option("--in-force", help="Try the rules that are in force.")] = False,
    as_json: Json = False,
) -> None:
    """Show what rules would have done: whom they are for, what rests on these, and which calls they would have stopped.

    Nothing changes. Signals of the period are played back; each that a rule fits begins its response then and there.

    Example: charter responses preview --since 7d

    With --json: since, in_force, signals, rules.
    """
    from charter.registry.document import MAX_FILE_BYTES, read_text
    from charter.registry.response import RESPONSES

    here, told = context_of(context), f"{MAX_FILE_BYTES >> 10} KiB"
    chosen = file
    if chosen is None and not in_force and not here.settings.server:
        own = here.settings.estate / RESPONSES
        chosen = own if own.is_file() else None
    text = read_text(read_named(chosen, MAX_FILE_BYTES, told), str(chosen)) if chosen is not None else None
    answer = here.control.post("/v1/responses/preview", {"text": text, "since": since, "rule": rule})
    if as_json:
        print_json(answer)
        return
    where = f"of {chosen}" if chosen is not None else "in force"
    say(f"the rules {where}, over {counted(answer['signals'], 'signal')} since {answer['since'][:16]} UTC", "bold")
    if not answer["rules"]:
        say(f"there are none; write {RESPONSES} (docs/behaviour.md)", "dim")
    for each in answer["rules"]:
        _previewed(each)


def _previewed(rule: dict[str, Any]) -> None:
    ends = f", which ends {rule['ends']}" if rule["ends"] else ""
    say(f"\n{rule['rule']}: {rule['then']}{ends}  ({rule['source']})", "bold")
    covers = rule["covers"]
    names = ", ".join(covers["names"][:8]) + (" …" if covers["count"] > 8 else "")  # noqa: PLR2004
    say(f"  is for {counted(covers['count'], 'principal')}: {names or 'nobody'}")
    say(f"  {counted(rule['delegations'], 'delegation')} rest on them now")
    if not rule["would_have"]:
        say("  it would have done nothing", "dim")
        return
    rows: list[list[object]] = [
        [
            each["principal"],
            each["owner"],
            each["signals"],
            each["first"][:19],
            _stopped(each),
            len(each["delegations"]),
        ]
        for each in rule["would_have"]
    ]
    table(["principal", "owner", "signals", "first (UTC)", "calls stopped", "delegations beneath"], rows)


def _stopped(each: dict[str, Any]) -> str:
    others = f", {each['by_others']} by those it lent to" if each["by_others"] else ""
    sample = ", ".join(dict.fromkeys(one["deed"] for one in each["sample"]))
    return f"{each['calls']}{others}" + (f": {sample}" if sample else "")


def _card(b: dict[str, Any]) -> None:
    own = b["baseline"]
    say(f"{b['principal']}  {b['standing']}", "bold")
    if not own["calls"]:
        say("it did nothing yet that could be told as usual", "dim")
    elif b["is_young"]:
        peers = f"{b['peers']['group']} ({b['peers']['calls']} calls)" if b["peers"]["group"] else "its charter alone"
        say(f"young: {b['needs']} calls more until it is known by what it does; until then by {peers}", "dim")
    rows: list[list[object]] = [
        ["watched since", f"{own['since'][:16]} UTC, {own['calls']} calls" if own["since"] else "not yet"],
        ["does", _names(own["deeds"])],
        ["in", _names(own["places"])],
        ["with", _names(own["parties"])],
        ["from", _names(own["networks"]) or "nowhere told"],
        ["data", _names(own["data"]) or "none"],
        ["for", _names(own["purposes"]) or "no purpose told"],
        ["works at", _hours(own)],
        ["refused", f"{own['refused_of_100']} of 100"],
        ["in ten minutes", f"{own['calls_in_ten_minutes']} calls" if own["calls_in_ten_minutes"] else "not known"],
        ["new objects", f"{own['objects']['new_of_100']} of 100, {own['objects']['known']} known"],
        ["a call costs", own["cost"] or "nothing told"],
    ]
    table(["usually", ""], [row for row in rows if row[1]])
    for each in b["responses"]:
        until = f"until {each['until'][:16]} UTC" if each["until"] else "until a person settles the finding"
        say(f"in force: {each['does']} by the rule {each['rule']}, {until} ({each['finding']})", "bold")
    if b["signals"]:
        say("\nnoticed", "bold")
        _signals(b["signals"], with_name=False)
        lead = b["signals"][0]["contributions"][0]
        what = f'{b["principal"]} {lead["feature"]} "{lead["key"]}"'
        say(f'if that is normal: charter behaviour accept {what} --reason "…"', "dim")
    else:
        say("nothing was noticed", "dim")
    for each in b["accepted"]:
        said = f"{each['feature']} `{each['key']}` until {each['until'][:10]}, by {each['by']}: {each['reason']}"
        say(f"normal: {said} ({each['id']})")


def _signals(found: list[dict[str, Any]], *, with_name: bool) -> None:
    rows: list[list[object]] = []
    for each in found:
        why = "\n".join(f"{one['bits']} bits, {one['feature']}: {one['sentence']}" for one in each["contributions"])
        what = each["deed"] + (f", {each['count']} times" if each["count"] > 1 else "")
        what += "\n(the session as a whole)" if each["by_session"] else ""
        start: list[object] = [each["at"][:19]] + ([each["principal"]] if with_name else [])
        rows.append([*start, what, each["score"], why, each["finding"]])
    head = ["when (UTC)", *(["principal"] if with_name else []), "what", "bits", "why", "finding"]
    table(head, rows)


def _names(found: list[list[Any]]) -> str:
    return "\n".join(f"{name}  ({count})" for name, count in found[:6])


def _hours(own: dict[str, Any]) -> str:
    told = []
    for kind, hours, days in zip(("working days", "weekends"), own["hours"], own["days"], strict=True):
        worked = [f"{hour:02}" for hour, count in enumerate(hours) if count > _HOURS_SHOWN]
        if worked:
            told.append(f"{kind} ({days}): {' '.join(worked)} UTC")
    return "\n".join(told)
