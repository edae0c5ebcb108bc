"""Commands about evidence: read it, prove it, verify it, take it away."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

import typer

from charter.cli import erasure_commands, integration_commands, witness_commands
from charter.cli.context import Json, context_of
from charter.cli.output import NO, clock_told, counted, print_json, say, show_progress, table, warn
from charter.cli.story_page import one_line
from charter.core.errors import AbsentError, ErrorCode
from charter.core.values import parse_name
from charter.evidence.neutral import readable_json

FOLLOW_SECONDS = 0.5
AT_ONCE = 200  # decisions of one request
Since = Annotated[str | None, typer.Option(help="From this time on: 2026-11-24, 2026-11-24T09:30Z, or 7d ago as 7d.")]
Until = Annotated[str | None, typer.Option(help="Before this time.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(help="Read, prove and verify what happened.", no_args_is_help=True)
    group.command("tail")(tail)
    group.command("query")(query)
    group.command("prove")(prove)
    group.command("receipt")(receipt)
    group.command("verify")(verify)
    group.command("export")(export)
    group.command("reconcile")(reconcile)
    group.command("seal")(seal)
    group.command("take-spool")(take_spool)
    integration_commands.add_to(group)
    witness_commands.add_to(group)
    erasure_commands.add_to(group)
    app.add_typer(group, name="evidence")


def tail(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more until interrupted.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=1000, help="How many to begin with.")] = 20,
    as_json: Json = False,
) -> None:
    """Show the newest entries.

    Example: charter evidence tail -f

    With --json: entries. With --follow too, one JSON entry a line, for as long as it runs.
    """
    control = context_of(context).control
    if not follow:
        _print(control.get("/v1/evidence", newest=lines)["entries"], as_json=as_json)
        return
    control.must_run()
    answer = control.get("/v1/evidence", newest=lines)
    while True:
        for entry in answer["entries"]:
            _print_line(entry, as_json=as_json)
        position = answer["next"]
        while not (answer := control.get("/v1/evidence", after=position, limit=1000))["entries"]:
            time.sleep(FOLLOW_SECONDS)


def take_spool(
    context: typer.Context,
    principal: Annotated[str, typer.Argument(help="Whose program it was.")],
    folder: Annotated[Path | None, typer.Argument(help="The spool.", show_default="that of charter run")] = None,
    as_json: Json = False,
) -> None:
    """Record what a program decided by itself and left on this machine's disk, where none will open it again.

    A program that runs keeps its file. What was recorded before is not recorded twice.

    Example: charter evidence take-spool assistant /var/lib/assistant/spool

    With --json: principal, folder, spools, decisions.
    """
    from charter.adapters.spool import Spool
    from charter.cli.agent_keys import key_path
    from charter.core.entropy import SystemEntropy

    here, name = context_of(context), parse_name(principal)
    place = folder or key_path(here.settings.key_folder, here.settings.issuer, name).with_suffix(".spool")
    if not place.is_dir():
        raise AbsentError(ErrorCode.UNKNOWN_ENTRY, f"there is no spool `{place}`", help="name its folder")
    spool, taken = Spool(place, SystemEntropy()), 0
    spools: set[str] = set()
    try:
        while (found := spool.waiting(AT_ONCE)) is not None:
            file, first, lines = found
            body = {"principal": name, "spool": file, "first": first, "decisions": lines, "actor": here.operator}
            told = here.control.post("/v1/evidence/decisions", body)
            spool.reported(file, told["through"])
            taken, spools = taken + len(lines), spools | {file}
    finally:
        spool.close()
    if as_json:
        print_json({"principal": name, "folder": str(place), "spools": sorted(spools), "decisions": taken})
    else:
        say(f"{counted(taken, 'decision')} of {name} recorded, from {counted(len(spools), 'file')}", "green")


def query(
    context: typer.Context,
    principal: Annotated[str | None, typer.Option(help="Only what is about this principal.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only entries of this kind: verdict, outcome, …")] = None,
    verdict: Annotated[
        Literal["allow", "deny", "escalate"] | None, typer.Option(help="Only verdicts of this word.")
    ] = None,
    since: Since = None,
    until: Until = None,
    text: Annotated[str | None, typer.Option(help="Only entries that hold this text.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 100,
    as_json: Json = False,
) -> None:
    """Find entries.

    Example: charter evidence query --principal refund-agent --verdict deny --since 7d

    With --json: entries.
    """
    answer = context_of(context).control.get(
        "/v1/evidence",
        principal=principal,
        kind="verdict" if verdict else kind,
        verdict=verdict,
        since=since,
        until=until,
        text=text,
        limit=limit,
    )
    _print(answer["entries"], as_json=as_json)


def prove(
    context: typer.Context,
    index: Annotated[int, typer.Argument(min=0, help="The entry's index.")],
    as_text: Annotated[bool, typer.Option("--text", help="The proof alone, for a file (C2SP tlog-proof).")] = False,
    as_json: Json = False,
) -> None:
    """Print the proof that entry INDEX stands in the log under its signed checkpoint.

    Hold a receipt against it: charter_verify.py --proof FILE --receipt FILE --key KEY

    Example: charter evidence prove 41

    With --json: index, size, entry, path, checkpoint, proof.
    """
    answer = context_of(context).control.get(f"/v1/evidence/{index}/proof")
    if as_json:
        print_json(answer)
        return
    if as_text:
        typer.echo(answer["proof"], nl=False)
        return
    say(f"entry {index} of {answer['size']} stands under this checkpoint:", "bold")
    say(answer["checkpoint"])
    table(["level", "hash"], [[level, digest] for level, digest in enumerate(answer["path"])])


def receipt(
    context: typer.Context,
    entry: Annotated[str, typer.Argument(help="The entry's index, or the id of a verdict: vrd_…")],
    as_json: Json = False,
) -> None:
    """Print the signed receipt of an entry: whoever keeps it can show later if the entry was dropped.

    Every answer of Charter's doors bears its verdict's id, and that finds the entry (docs/evidence.md).

    Check it with a pack: python3 charter_verify.py PACK --key KEY --receipt FILE

    Example: charter evidence receipt 41 > call.receipt

    With --json: index, time, receipt.
    """
    answer = context_of(context).control.get(f"/v1/evidence/{quote(entry, safe='')}/receipt")
    if as_json:
        print_json(answer)
    else:
        typer.echo(answer["receipt"], nl=False)


def verify(
    context: typer.Context,
    newest: Annotated[
        int | None, typer.Option(min=1, max=50_000, help="That many of the newest entries alone.", show_default="all")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check the whole log: every hash, the tree, the signed head, each outcome's verdict. Exit 1 names the fault.

    Some ten thousand entries a second; Ctrl-C ends it.

    Example: charter evidence verify

    With --json: ok, size, checked, root, payloads, erased, clock, problems.
    """
    control, body = context_of(context).control, {"newest": newest}
    answer = control.stream("/v1/evidence/verify", body, show_progress(as_json=as_json))
    if as_json:
        print_json(answer)
    elif answer["ok"]:
        which = "" if newest is None else f"the newest {answer['checked']} of "
        say(f"the log verifies: {which}{answer['size']} entries under root {answer['root']}", "green")
        say(f"{answer['payloads']} payloads are what their entries commit to, {answer['erased']} were erased", "dim")
        if told := clock_told(answer["clock"]):
            warn(f"{told}: no pack shows all of a period across that")
    else:
        for problem in answer["problems"]:
            say(problem, "red")
    if not answer["ok"]:
        raise typer.Exit(NO)


def export(
    context: typer.Context,
    target: Annotated[Path, typer.Argument(help="The pack's file, new.")],
    since: Annotated[
        str | None, typer.Option(help="All from this time on: 2026-11-01, or 30d for 30 days ago.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="And before this time, a minute ago at least.")] = None,
    as_json: Json = False,
) -> None:
    """Write the log to one file, whole or what shows all of a period, with the stand-alone verifier beside it.

    Check it anywhere, without Charter: python3 charter_verify.py PACK --key KEY

    Example: charter evidence export march.pack --since 2026-03-01 --until 2026-04-01

    With --json: pack, verifier, key, entries, origin, witnesses, since, until.
    """
    here = context_of(context)
    body = {"path": str(target.resolve()), "actor": here.operator, "since": since, "until": until}
    wanted = {name: value for name, value in body.items() if value is not None}
    answer = here.control.stream("/v1/evidence/export", wanted, show_progress(as_json=as_json))
    if as_json:
        print_json(answer)
        return
    say(f"wrote {counted(answer['entries'], 'entry', 'entries')} to {answer['pack']}", "green")
    trusted = "".join(f" --witness {key}" for key in answer["witnesses"])
    asked = f" --from {answer['since']} --until {answer['until']}" if answer["until"] else ""
    say(f"verify them anywhere: python3 {answer['verifier']} {answer['pack']} --key {answer['key']}{trusted}{asked}")


def reconcile(
    context: typer.Context,
    since: Since = "24h",
    until: Until = None,
    principal: Annotated[str | None, typer.Option(help="Only what is about this principal.")] = None,
    as_json: Json = False,
) -> None:
    """Hold each verdict against what happened: it agrees, disagrees, or is unknown. Exit 1 if any disagrees.

    What happened is told by outcomes, and by the logs of vendors and platforms (charter evidence ingest).

    Example: charter evidence reconcile --since 7d

    With --json: since, until, entries, is_whole, verdicts, observed, not_governed, counts, grounds, disagreements,
    unknown, unlisted.
    """
    query = {"since": since, "until": until, "principal": principal}
    answer = context_of(context).control.get("/v1/reconciliation", **query)
    if as_json:
        print_json(answer)
    else:
        _show_reconciled(answer)
    if answer["counts"]["disagrees"]:
        raise typer.Exit(NO)


def _show_reconciled(answer: dict[str, Any]) -> None:
    rows: list[list[object]] = [
        [each["index"], (each["at"] or "")[:19], each["principal"], f"{each['system']}/{each['action']}", each["text"]]
        for each in answer["disagreements"]
    ]
    if rows:
        table(["entry", "at", "principal", "action", "disagrees"], [[*map(one_line, row)] for row in rows])
    for ground, count in answer["grounds"].items():
        say(f"{count:>8}  {ground}", "dim")
    counts = answer["counts"]
    told = f"{counted(answer['verdicts'], 'verdict')} and {counted(answer['observed'], 'observed effect')}"
    words = ", ".join(f"{counts[word]} {word}" for word in ("agrees", "disagrees", "unknown"))
    say(f"{told}: {words}", "red" if counts["disagrees"] else "green")
    if answer["not_governed"]:
        text = "told of what no system's file speaks of, or of nobody who is a principal: not judged"
        say(f"{counted(answer['not_governed'], 'observation')} {text}", "dim")
    if not answer["is_whole"]:
        say("the period holds more entries than are looked at in one go; ask for a shorter one", "red")


def seal(
    context: typer.Context,
    again: Annotated[
        bool, typer.Option("--again", help="Remove what is sealed and make it again from the log.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write what is new in the log to Parquet, by day, for analytics. A server does so by itself.

    Example: charter evidence seal

    With --json: sealed, compacted_days, entries, newest, bytes, folder.
    """
    told = context_of(context).control.post("/v1/evidence/seal", {"again": again})
    if as_json:
        print_json(told)
        return
    say(f"sealed {counted(told['sealed'], 'entry', 'entries')}; {told['entries']} are sealed now", "green")
    say(f"{told['bytes']} bytes in {told['folder']}")


def _print(entries: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json({"entries": entries})
        return
    for entry in entries:
        _print_line(entry, as_json=False)


def _print_line(entry: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(readable_json(entry))
    else:
        style = {"deny": "red", "escalate": "yellow"}.get(entry.get("verdict") or "", "")
        say(f"{entry['index']:>7}  {entry['time'][:23]}  {entry['kind']:<22} {entry['line']}", style)
