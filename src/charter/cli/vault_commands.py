"""Commands about the vault: secrets that Charter holds for upstream systems, so that agents do not."""

from __future__ import annotations

import base64
import sys
from typing import Annotated

import typer

from charter.cli.context import Context, Json, Reason, context_of, segment
from charter.cli.output import print_json, say, table, warn
from charter.core.errors import ErrorCode, MalformedError

Name = Annotated[str, typer.Argument(help="The secret's name, as `vault:NAME` names it in a system's file.")]
For = Annotated[list[str], typer.Option("--for", help="A system that may use it; repeat for several.")]
MAX_READ = 16_384 + 2  # a line end may follow


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(help="Keep secrets for upstream systems, sealed; agents never see them.", no_args_is_help=True)
    group.command("ls")(list_vault)
    group.command("set")(put)
    group.command("bind")(bind)
    group.command("rm")(remove)
    group.command("connect")(connect)
    group.command("disconnect")(disconnect)
    app.add_typer(group, name="vault")


def list_vault(context: typer.Context, as_json: Json = False) -> None:
    """List what the vault holds (never a secret), what systems still need, and who is connected.

    Example: charter vault ls

    With --json: secrets, missing, connections.
    """
    answer = context_of(context).control.get("/v1/vault")
    if as_json:
        print_json(answer)
        return
    table(
        ["secret", "version", "for", "used by", "changed", "by"],
        [
            [
                s["name"],
                s["version"],
                ", ".join(s["systems"]),
                ", ".join(s["used_by"]),
                s["changed_at"][:10],
                s["changed_by"],
            ]
            for s in answer["secrets"]
        ],
    )
    for secret in answer["secrets"]:
        for system in secret["moved"]:
            warn(
                f"`{system}` leads elsewhere than when `{secret['name']}` was bound to it: check it, then bind it anew"
            )
    for each in answer["missing"]:
        warn(f"`{each['system']}` needs `{each['name']}`: charter vault set {each['name']} --for {each['system']}")
    if answer["connections"]:
        rows: list[list[object]] = [
            [c["system"], c["person"], c["scope"], c["since"][:10]] for c in answer["connections"]
        ]
        table(["system", "person", "scope", "since"], rows, title="\nconnected people")


def put(context: typer.Context, name: Name, systems: For = [], as_json: Json = False) -> None:  # noqa: B006 - Typer's way
    """Put a secret into the vault, from standard input; one of the same name is replaced.

    The secret is used for the systems named with --for, as long as they lead where they lead now. One line end at its
    end is left out.

    Example: charter vault set payments-token --for payments < token.txt

    With --json: name, version, systems, changed_by.
    """
    here = context_of(context)
    put_from_stdin(here, name, systems, as_json=as_json)


def put_from_stdin(here: Context, name: str, systems: list[str], *, as_json: bool) -> None:
    """Put what standard input gives into the vault.

    Raises:
        MalformedError: that is nothing.
    """
    if sys.stdin.isatty():
        import getpass

        secret = getpass.getpass(f"{name}: ").encode()
    else:
        secret = sys.stdin.buffer.read(MAX_READ + 1)
        secret = secret.removesuffix(b"\n").removesuffix(b"\r")
    if not secret:
        raise MalformedError(
            ErrorCode.BAD_VALUE, "there is no secret on standard input", help=f"charter vault set {name} < FILE"
        )
    body = {"value": base64.b64encode(secret).decode(), "systems": systems, "actor": here.operator}
    answer = here.control.post(f"/v1/vault/secrets/{segment(name)}", body)
    if as_json:
        print_json(answer)
        return
    say(f"{name} is in the vault, version {answer['version']}, for {_places(answer['systems'])}", "green")


def bind(context: typer.Context, name: Name, systems: For, as_json: Json = False) -> None:
    """Say which systems a secret is for, as they lead now, and no others.

    Example: charter vault bind payments-token --for payments --for refunds

    With --json: name, version, systems, changed_by.
    """
    here = context_of(context)
    answer = here.control.post(f"/v1/vault/secrets/{segment(name)}/bind", {"systems": systems, "actor": here.operator})
    if as_json:
        print_json(answer)
        return
    say(f"{name} is for {_places(answer['systems'])}", "green")


def remove(context: typer.Context, name: Name, reason: Reason, as_json: Json = False) -> None:
    """Forget a secret. What needs it fails from now on.

    Example: charter vault rm payments-token --reason "rotated away"

    With --json: name, version, systems, changed_by.
    """
    here = context_of(context)
    answer = here.control.post(f"/v1/vault/secrets/{segment(name)}/remove", {"actor": here.operator, "reason": reason})
    if as_json:
        print_json(answer)
        return
    say(f"{name} is forgotten", "green")


def connect(
    context: typer.Context,
    system: Annotated[str, typer.Argument(help="The system to connect to.")],
    person: Annotated[str | None, typer.Option(help="Who connects.", show_default="you")] = None,
    as_json: Json = False,
) -> None:
    """Sign in at SYSTEM in your browser, so that Charter may act for you there when you delegate to an agent.

    Example: charter vault connect calendar

    With --json: system, person, scope.
    """
    from charter.cli.connecting import connected

    here = context_of(context)
    answer = connected(here, system, person or here.operator)
    if as_json:
        print_json(answer)
        return
    say(f"Charter may act for {answer['person']} at {answer['system']}, for what they delegate", "green")


def disconnect(
    context: typer.Context,
    system: Annotated[str, typer.Argument(help="The system.")],
    reason: Reason,
    person: Annotated[str | None, typer.Option(help="Whose connection ends.", show_default="yours")] = None,
    as_json: Json = False,
) -> None:
    """End a connection: Charter acts for that person at SYSTEM no more.

    Example: charter vault disconnect calendar --reason "no longer needed"

    With --json: system, person.
    """
    here = context_of(context)
    who = person or here.operator
    answer = here.control.post(
        f"/v1/vault/connections/{segment(system)}/{segment(who)}/end", {"actor": here.operator, "reason": reason}
    )
    if as_json:
        print_json(answer)
        return
    say(f"Charter acts for {answer['person']} at {answer['system']} no more", "green")


def _places(systems: dict[str, str]) -> str:
    return ", ".join(f"{name} ({place})" for name, place in systems.items())
