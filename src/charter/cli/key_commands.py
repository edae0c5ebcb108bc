"""Commands about Charter's own keys: the master key, data keys, signing keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import typer

from charter.cli.context import Context, Json, Reason, context_of
from charter.cli.output import err, print_json, say
from charter.core.errors import ErrorCode, MalformedError


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("rotate")(rotate)


def rotate(
    context: typer.Context,
    use: Annotated[
        Literal["token", "evidence", "charter", "jwt-svid", "x509-root", "x509-intermediate", "master", "data"],
        typer.Argument(help="What the key signs; or master, or data."),
    ] = "token",
    to: Annotated[
        str | None,
        typer.Option(help="Of the master: where the new one is, as CHARTER_MASTER says it.", show_default=False),
    ] = None,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="Of x509-root, if it was stolen: what it signed is worthless now.")
    ] = False,
    reason: Reason = "asked for by the operator",
    as_json: Json = False,
) -> None:
    """Rotate a key while everything runs.

    Signing keys (token, evidence, charter, jwt-svid) and authorities (x509-root, x509-intermediate): what the old one
    signed stays valid until it expires.

    The master key wraps the data keys; without --to there will be a new one in the same file.

    The data key is what secrets in the database are sealed under; what is sealed already is moved to the new one.

    Example: charter rotate master --to aws-kms:alias/charter

    With --json: use, key_id, state. Of the master: before, after, data_keys, setting. Of the data key: data_key,
    resealed, left.
    """
    here = context_of(context)
    if to and use != "master":
        raise MalformedError(ErrorCode.BAD_VALUE, "--to is for the master", help="charter rotate master --to PLACE")
    match use:
        case "master":
            _rotate_master(here, to, reason, as_json=as_json)
        case "data":
            _rotate_data(here, reason, as_json=as_json)
        case _:
            _rotate_signing(here, use, (reason, at_once), as_json=as_json)


def _rotate_signing(here: Context, use: str, why: tuple[str, bool], *, as_json: bool) -> None:
    reason, at_once = why
    body = {"use": use, "actor": here.operator, "reason": reason, "at_once": at_once}
    answer = here.control.post("/v1/keys/rotate", body)
    if as_json:
        print_json(answer)
        return
    rest = "what the one before signed is worthless" if at_once else "what the one before signed holds until it expires"
    say(f"new {use} key {answer['key_id']}; {rest}", "green")


def _rotate_master(here: Context, to: str | None, reason: str, *, as_json: bool) -> None:
    body = {"to": to, "actor": here.operator, "reason": reason}
    answer = here.control.post("/v1/keys/rotate/master", body)
    if as_json:
        print_json(answer)
        return
    before, after = answer["before"], answer["after"]
    say(f"{answer['data_keys']} data keys are wrapped under {after['where']}, `{after['name']}`, from now on", "green")
    say(f"backups of the database made before now still need `{before['name']}`: keep it with them")
    if to:
        say(f"say so in the settings too: CHARTER_MASTER='{answer['setting']}'", "yellow")


def _rotate_data(here: Context, reason: str, *, as_json: bool) -> None:
    from rich.progress import Progress

    answer = here.control.post("/v1/keys/rotate/data", {"actor": here.operator, "reason": reason})
    total = left = answer["left"]
    with Progress(console=err, transient=True, disable=as_json) as progress:
        task = progress.add_task("sealing anew", total=total)
        for left in _resealed(here, total):
            progress.update(task, completed=total - left)
    if as_json:
        print_json({"data_key": answer["data_key"], "resealed": total - left, "left": left})
        return
    say(f"new data key {answer['data_key']}; {total - left} sealed values moved to it", "green")
    if left:
        say(f"{left} were sealed meanwhile under another; the server moves them by itself", "yellow")


def _resealed(here: Context, left: int) -> Iterator[int]:
    """Move what is sealed under older keys, and yield how much is left, until nothing is or nothing moves."""
    while left:
        before, left = left, here.control.post("/v1/keys/reseal")["left"]
        yield left
        if left >= before:
            return
