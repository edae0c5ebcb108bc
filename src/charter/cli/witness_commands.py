"""Commands about witnesses: who cosigns this node's heads, and whose heads it cosigns."""

from __future__ import annotations

from typing import Annotated

import typer

from charter.cli.context import Json, context_of
from charter.cli.output import NO, counted, print_json, say, table
from charter.cli.story_page import one_line

Reason = Annotated[str, typer.Option(help="Why, for the evidence.")]


def add_to(group: typer.Typer) -> None:
    """Add the commands to those about evidence."""
    group.command("witnesses")(witnesses)
    group.command("watch-log")(watch_log)
    group.command("unwatch-log")(unwatch_log)
    group.command("log-key")(log_key)
    group.command("witness-key")(witness_key)


def witnesses(
    context: typer.Context,
    ask: Annotated[bool, typer.Option("--ask", help="Have them cosign the newest head now.")] = False,
    as_json: Json = False,
) -> None:
    """Show who cosigns this node's heads and how far, where they are kept, and whose heads it cosigns.

    Witnesses are named by the setting CHARTER_WITNESSES, folders by CHARTER_CHECKPOINTS (docs/evidence.md). Exit 1 if
    the quorum is not had, or the newest head is not kept.

    Example: charter evidence witnesses --ask

    With --json: size, quorum, cosigned, checkpoint, cosigned_by, backlog, settled, missed_seconds, witnesses, kept,
    watched, log_key, witness_key.
    """
    control = context_of(context).control
    if ask:
        control.post("/v1/evidence/witnesses/ask")
    found = control.get("/v1/evidence/witnesses")
    is_missing = bool(found["witnesses"]) and not found["settled"]
    is_lost = any(each["error"] for each in found["kept"])
    if as_json:
        print_json(found)
    else:
        rows = [
            [one_line(each["name"]), each["url"], each["size"], (each["at"] or "")[:19], one_line(each["error"])]
            for each in found["witnesses"]
        ]
        if rows:
            table(["witness", "asked at", "cosigned", "at", "error"], rows)
            told = f"{found['cosigned_by']} of {found['quorum']} needed cosigned {found['cosigned']} entries"
            say(f"{told}; {counted(found['backlog'], 'entry', 'entries')} wait", "red" if is_missing else "green")
        else:
            say("nobody cosigns this node's heads: set CHARTER_WITNESSES", "dim")
        watched = [[one_line(each["origin"]), each["size"], (each["seen_at"] or "")[:19]] for each in found["watched"]]
        for each in found["kept"]:
            if each["error"]:
                say(f"the newest head is not kept in {one_line(each['folder'])}: {one_line(each['error'])}", "red")
            else:
                say(f"the head of {counted(each['size'], 'entry', 'entries')} is kept in {one_line(each['folder'])}")
        if watched:
            table(["watched log", "cosigned", "at"], watched)
    if is_missing or is_lost:
        raise typer.Exit(NO)


def watch_log(
    context: typer.Context,
    key: Annotated[str, typer.Argument(help="The log's key, as `charter evidence log-key` prints it there.")],
    as_json: Json = False,
) -> None:
    """Cosign the heads of another node's log from now on: be its witness, at /witness of this server.

    Example: charter evidence watch-log example.com/log/nod_1+0a1b2c3d+AbCd…

    With --json: origin, key, size, seen_at.
    """
    here = context_of(context)
    answer = here.control.post("/v1/evidence/watched-logs", {"key": key, "actor": here.operator})
    if as_json:
        print_json(answer)
        return
    keys = here.control.get("/v1/evidence/witnesses")
    say(f"this node is a witness of `{answer['origin']}` now", "green")
    say(f"there, set CHARTER_WITNESSES to: {keys['witness_key']} {here.settings.issuer}/witness")


def unwatch_log(
    context: typer.Context,
    origin: Annotated[str, typer.Argument(help="The log's name.")],
    reason: Reason = "asked for by the operator",
    as_json: Json = False,
) -> None:
    """Cosign the heads of a log no more, and forget what was seen of it.

    Example: charter evidence unwatch-log example.com/log/nod_1

    With --json: origin, key, size, seen_at.
    """
    here = context_of(context)
    told = {"origin": origin, "actor": here.operator, "reason": reason}
    answer = here.control.post("/v1/evidence/watched-logs/remove", told)
    if as_json:
        print_json(answer)
    else:
        say(f"this node is no witness of `{answer['origin']}` any more", "green")


def log_key(context: typer.Context, as_json: Json = False) -> None:
    """Print the key of this node's log, as other nodes and tools take it.

    Example: charter evidence log-key

    With --json: log_key.
    """
    _key(context, "log_key", as_json=as_json)


def witness_key(context: typer.Context, as_json: Json = False) -> None:
    """Print the key with which this node cosigns, as the verifier and other nodes take it.

    Example: charter evidence witness-key

    With --json: witness_key.
    """
    _key(context, "witness_key", as_json=as_json)


def _key(context: typer.Context, name: str, *, as_json: bool) -> None:
    key = context_of(context).control.get("/v1/evidence/witnesses")[name]
    if as_json:
        print_json({name: key})
    else:
        typer.echo(key)
