"""Commands about people: who the organisation's directory says is there, and whose directory may say so."""

from __future__ import annotations

from typing import Annotated

import typer

from charter.cli.context import Json, context_of
from charter.cli.output import print_json, say, table

Name = Annotated[str, typer.Argument(help="The provisioner's name: okta, entra, …")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(help="See people; let a directory provision them (SCIM).", no_args_is_help=True)
    group.command("ls")(list_people)
    group.command("provisioner")(provisioner)
    group.command("provisioners")(provisioners)
    group.command("revoke-provisioner")(revoke_provisioner)
    app.add_typer(group, name="people")


def list_people(
    context: typer.Context,
    group: Annotated[str | None, typer.Option(help="Only the members of this group.")] = None,
    as_json: Json = False,
) -> None:
    """List the people the directory provisioned, and their groups.

    Example: charter people ls --group payments-ops

    With --json: people, total, groups.
    """
    answer = context_of(context).control.get("/v1/people", group=group)
    if as_json:
        print_json(answer)
        return
    rows: list[list[object]] = [
        [p["user_name"], p["display_name"], "active" if p["is_active"] else "left", ", ".join(p["groups"])]
        for p in answer["people"]
    ]
    table(["user name", "name", "", "groups"], rows)
    if len(rows) < answer["total"]:
        say(f"the first {len(rows)} of {answer['total']}", "dim")
    if not rows:
        say("nobody yet: let your directory provision with charter people provisioner NAME", "dim")


def provisioner(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Let a directory provision people and groups. Prints its bearer token, this once.

    Example: charter people provisioner okta

    With --json: id, name, standing, made_by, made_at, url, token.
    """
    here = context_of(context)
    answer = here.control.post("/v1/people/provisioners", {"name": name, "actor": here.operator})
    if as_json:
        print_json(answer)
        return
    say(f"give your directory this address and this token, which is not shown again ({answer['id']}):", "green")
    typer.echo(answer["url"])
    typer.echo(answer["token"])


def provisioners(context: typer.Context, as_json: Json = False) -> None:
    """List whose directories may provision.

    Example: charter people provisioners

    With --json: provisioners.
    """
    answer = context_of(context).control.get("/v1/people/provisioners")
    if as_json:
        print_json(answer)
        return
    rows: list[list[object]] = [
        [p["name"], p["standing"], p["made_by"], p["made_at"][:10]] for p in answer["provisioners"]
    ]
    table(["name", "standing", "made by", "on"], rows)


def revoke_provisioner(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Let a directory provision no more, from the next request on. What it provisioned stays.

    Example: charter people revoke-provisioner okta

    With --json: id, name, standing, made_by, made_at.
    """
    here = context_of(context)
    answer = here.control.post("/v1/people/provisioners/revoke", {"name": name, "actor": here.operator})
    if as_json:
        print_json(answer)
    else:
        say(f"`{name}` can provision no more", "green")
