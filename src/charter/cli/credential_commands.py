"""Commands about a principal's credentials: register a key or certificate, have a secret made, revoke one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from charter.cli.context import Json, context_of, segment
from charter.cli.output import print_json, say, table

Name = Annotated[str, typer.Argument(help="The principal's name.")]
Why = Annotated[str, typer.Option("--reason", "-r", help="Why; it stands in the evidence.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(help="A principal's credentials: keys, certificates, secrets.", no_args_is_help=True)
    group.command("ls")(list_keys)
    group.command("add")(add)
    group.command("secret")(secret)
    group.command("revoke")(revoke)
    app.add_typer(group, name="key")


def list_keys(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """List what NAME proves itself by, in use or not.

    Example: charter key ls refund-agent

    With --json: principal, keys.
    """
    keys = context_of(context).control.get(f"/v1/principals/{segment(name)}")["keys"]
    if as_json:
        print_json({"principal": name, "keys": keys})
        return
    rows: list[list[object]] = [
        [k["id"], k["type"], k["standing"], k["registered_at"][:10], _next(k), k["thumbprint"]] for k in keys
    ]
    table(["id", "what", "standing", "since", "next", "thumbprint"], rows)


def _next(key: dict[str, Any]) -> str:
    """Return what comes next for a credential: when it is due, or until when it counts."""
    if key["standing"] != "active":
        return ""
    if key["replaced_by"] is not None:
        return f"counts until {(key['ends'] or '')[:16].replace('T', ' ')}"
    late = f", counts until {key['ends'][:10]}" if key["ends"] else ""
    return f"due {key['due'][:10]}{late}" if key["due"] else ""


def add(
    context: typer.Context,
    name: Name,
    file: Annotated[Path, typer.Argument(help="A certificate or public key in PEM, or a public JWK.", exists=True)],
    reason: Why = "registered by hand",
    as_json: Json = False,
) -> None:
    """Register the public key, or the client certificate, that NAME will prove itself by.

    Example: charter key add refund-agent refund-agent.pem

    With --json: principal, client_id, key, thumbprint.
    """
    from charter.adapters.whole_file import read_named
    from charter.cli.key_files import MAX_FILE, key_in

    here = context_of(context)
    body = key_in(read_named(file, MAX_FILE, f"{MAX_FILE >> 10} KiB")) | {"actor": here.operator, "reason": reason}
    answer = here.control.post(f"/v1/principals/{segment(name)}/keys", body)
    if as_json:
        print_json(answer)
        return
    say(f"{name} proves itself by {answer['key']} from now on; its client_id is {answer['client_id']}", "green")


def secret(context: typer.Context, name: Name, reason: Why = "asked for", as_json: Json = False) -> None:
    """Have a secret made for NAME, whose charter says legacy-secret. It is shown once, and kept nowhere.

    The one before stays good until it is revoked, so that a client can change over.

    Example: charter key secret old-bot

    With --json: principal, client_id, key, secret.
    """
    here = context_of(context)
    answer = here.control.post(f"/v1/principals/{segment(name)}/secret", {"actor": here.operator, "reason": reason})
    if as_json:
        print_json(answer)
        return
    say(f"client_id      {answer['client_id']}")
    say(f"client_secret  {answer['secret']}")
    say("it is not shown again; a key is better: charter run makes one", "yellow")


def revoke(
    context: typer.Context,
    name: Name,
    key: Annotated[str, typer.Argument(help="The credential's id: crd_…")],
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; it stands in the evidence.")],
    as_json: Json = False,
) -> None:
    """Revoke one credential of NAME. What it obtained is dead at once; the identity stays.

    Example: charter key revoke refund-agent crd_01k… --reason "laptop lost"

    With --json: principal, key, standing.
    """
    here = context_of(context)
    answer = here.control.delete(
        f"/v1/principals/{segment(name)}/keys/{segment(key)}", {"person": here.operator, "reason": reason}
    )
    if as_json:
        print_json(answer)
        return
    say(f"{answer['key']} of {name} is {answer['standing']}", "bold")
