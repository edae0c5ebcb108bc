"""Commands that erase payloads of evidence, hold them, and tell how long they are kept."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from charter.cli.context import Json, context_of
from charter.cli.output import NO, counted, print_json, say, table

Reason = Annotated[str, typer.Option(help="Why; it stays in the log, so do not name the person.")]
About = Annotated[str | None, typer.Option("--person", help="What names this mail address.")]
Principal = Annotated[str | None, typer.Option(help="What is about this principal.")]
System = Annotated[str | None, typer.Option(help="Calls on this system.")]
Since = Annotated[str | None, typer.Option(help="From this time on: 2026-11-24, 2026-11-24T09:30Z, or 7d ago as 7d.")]
Before = Annotated[str | None, typer.Option(help="Before this time.")]


def add_to(group: typer.Typer) -> None:
    """Add the commands to `group`."""
    group.command("erase")(erase)
    holds = typer.Typer(help="Keep payloads from being erased.", no_args_is_help=True)
    holds.command("add")(add_hold)
    holds.command("ls")(list_holds)
    holds.command("release")(release_hold)
    group.add_typer(holds, name="hold")
    retention = typer.Typer(help="How long payloads are kept (CHARTER_RETENTION).", no_args_is_help=True)
    retention.command("ls")(list_retention)
    retention.command("preview")(preview_retention)
    retention.command("run")(run_retention)
    group.add_typer(retention, name="retention")


def erase(
    context: typer.Context,
    reason: Reason,
    entry: Annotated[int | None, typer.Argument(min=0, help="The entry's index.")] = None,
    person: About = None,
    principal: Principal = None,
    system: System = None,
    since: Since = None,
    before: Before = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without this, it is only said what would be erased.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Erase what stands apart of entries: objects, arguments, people, reasons. The log still verifies.

    Example: charter evidence erase --person ann@example.com --reason "request 4711"

    In logs of other nodes (`elsewhere`) it is done by these, when they next run.

    Exit 1: it was to be done, and nothing was erased.

    With --json: found, held, erased, done, entries, elsewhere.
    """
    here = context_of(context)
    body = _named(person, principal, system, since, before) | {"actor": here.operator, "reason": reason, "really": yes}
    told = here.control.post("/v1/evidence/erase", body | ({"entry": entry} if entry is not None else {}))
    if as_json:
        print_json(told)
    else:
        _tell_erased(told)
    if told["done"] and not told["erased"] and not told["elsewhere"]:
        raise typer.Exit(NO)


def _tell_erased(told: dict[str, Any]) -> None:
    if told["entries"]:
        where = bool(told["elsewhere"])
        rows = [
            [each["index"], each["time"], each["kind"], *[each.get("log", "this")] * where] for each in told["entries"]
        ]
        table(["entry", "time", "kind", *["log"] * where], rows)
    if told["held"]:
        say(f"{counted(told['held'], 'payload')} held: charter evidence hold ls", "yellow")
    if told["done"]:
        if told["erased"]:
            say(f"erased {counted(told['erased'], 'payload')}; the log tells of it", "green")
        else:
            say("nothing was erased in this log", "yellow")
        for each in told["elsewhere"]:
            say(f"{counted(each['found'], 'payload')} in the log {each['log']} go when its node next runs", "yellow")
    else:
        say(f"{counted(told['found'], 'payload')} would be erased for ever; add --yes to do it")


def add_hold(
    context: typer.Context,
    reason: Reason,
    person: About = None,
    principal: Principal = None,
    system: System = None,
    since: Since = None,
    before: Before = None,
    as_json: Json = False,
) -> None:
    """Hold payloads: nobody and no rule may erase them until the hold is released.

    Example: charter evidence hold add --principal refund-agent --reason "case 12"

    With --json: id, reason, placed_by, placed_at.
    """
    here = context_of(context)
    body = _named(person, principal, system, since, before) | {"actor": here.operator, "reason": reason}
    told = here.control.post("/v1/evidence/holds", body)
    if as_json:
        print_json(told)
    else:
        say(f"{told['id']} holds what it covers", "green")


def list_holds(context: typer.Context, as_json: Json = False) -> None:
    """List the holds that stand.

    Example: charter evidence hold ls

    With --json: holds.
    """
    told = context_of(context).control.get("/v1/evidence/holds")
    if as_json:
        print_json(told)
    elif told["holds"]:
        rows = [[each["id"], _covered(each), each["placed_by"], each["reason"]] for each in told["holds"]]
        table(["hold", "covers", "placed by", "reason"], rows)
    else:
        say("nothing is held")


def release_hold(
    context: typer.Context,
    hold: Annotated[str, typer.Argument(help="The hold's id.")],
    reason: Reason,
    as_json: Json = False,
) -> None:
    """Release a hold; what it covered may be erased again.

    Example: charter evidence hold release hld_… --reason "case 12 is closed"

    With --json: id, reason, placed_by, placed_at.
    """
    here = context_of(context)
    told = here.control.post(f"/v1/evidence/holds/{hold}/release", {"actor": here.operator, "reason": reason})
    if as_json:
        print_json(told)
    else:
        say(f"{told['id']} is released", "green")


def list_retention(context: typer.Context, as_json: Json = False) -> None:
    """List how long payloads are kept, by class, and how far that is carried out.

    Example: charter evidence retention ls

    Orders that wait for other nodes to run are told as `elsewhere`.

    With --json: rules, under_way, elsewhere, holds.
    """
    told = context_of(context).control.get("/v1/evidence/retention")
    if as_json:
        print_json(told)
        return
    if told["rules"]:
        rows = [[each["rule"], each["period"], each["before"], each["swept_at"] or "never"] for each in told["rules"]]
        table(["for", "kept", "erased before", "last swept"], rows)
    else:
        say("no rule says how long payloads are kept, so all are: CHARTER_RETENTION=default=400d,customer-pii=90d")
    if told["under_way"]:
        say(f"{counted(told['under_way'], 'erasure')} under way: what is left of them follows by itself", "yellow")
    for each in told["elsewhere"]:
        say(f"{counted(each['orders'], 'erasure')} in the log {each['log']} wait for its node to run", "yellow")


def preview_retention(
    context: typer.Context,
    rules: Annotated[
        str | None, typer.Argument(help="Other rules than those in force, as default=400d,customer-pii=90d.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what retention would erase now, and what holds keep of that. Nothing is changed.

    Example: charter evidence retention preview default=400d,customer-pii=90d

    With --json: rules. Each: rule, period, before, found, held, entries.
    """
    told = context_of(context).control.post("/v1/evidence/retention/preview", {"rules": rules} if rules else {})
    if as_json:
        print_json(told)
    else:
        _say_rules(told["rules"], "found", "would go")


def run_retention(context: typer.Context, reason: Reason, as_json: Json = False) -> None:
    """Erase what is over its time now, instead of at the next daily sweep.

    Example: charter evidence retention run --reason "before the audit"

    With --json: rules. Each: rule, period, before, found, held, erased, entries.
    """
    here = context_of(context)
    told = here.control.post("/v1/evidence/retention/run", {"actor": here.operator, "reason": reason})
    if as_json:
        print_json(told)
    else:
        _say_rules(told["rules"], "erased", "erased")


def _say_rules(rules: list[dict[str, Any]], count: str, title: str) -> None:
    if not rules:
        say("no rule says how long payloads are kept, so all are")
        return
    rows = [[each["rule"], each["period"], each["before"], str(each[count]), str(each["held"])] for each in rules]
    table(["for", "kept", "older than", title, "held"], rows)


def _named(
    person: str | None, principal: str | None, system: str | None, since: str | None, before: str | None
) -> dict[str, Any]:
    given = {"about": person, "principal": principal, "system": system, "since": since, "before": before}
    return {name: value for name, value in given.items() if value is not None}


def _covered(hold: dict[str, Any]) -> str:
    names = ("principal", "system", "person", "since", "until")
    return ", ".join(f"{name} {hold[name]}" for name in names if name in hold)
