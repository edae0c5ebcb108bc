"""Commands about Charter's own keys: the master key, data keys, signing keys."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from charter.cli.context import Context, Json, context_of
from charter.cli.output import err, print_json, say
from charter.core.errors import ErrorCode, MalformedError

SIGNING = ("token", "evidence", "charter")
AT_REST = ("master", "data")


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("rotate")(rotate)


def rotate(
    context: typer.Context,
    use: Annotated[str, typer.Argument(help="Which key: token, evidence, charter, master or data.")] = "token",
    to: Annotated[
        str | None,
        typer.Option(
            "--to", help="Of the master: where the new one is, as CHARTER_MASTER says it.", show_default=False
        ),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; it stands in the evidence.")] = "asked for",
    as_json: Json = False,
) -> None:
    """Rotate a key while everything runs.

    token, evidence, charter: signing keys. What the old one signed stays valid until it expires.
    master: the key that wraps the data keys; without --to, a new one in the same file.
    data: the key that secrets in the database are sealed under; moves what is sealed already, and shows how far it is.

    Example: charter rotate master --to aws-kms:alias/charter
    """
    here = context_of(context)
    if use not in (*SIGNING, *AT_REST) or (to and use != "master"):
        raise MalformedError(
            ErrorCode.BAD_VALUE,
            f"there is no key {use[:40]!a} to rotate" if use not in (*SIGNING, *AT_REST) else "--to is for the master",
            help=f"one of: {', '.join((*SIGNING, *AT_REST))}",
        )
    match use:
        case "master":
            _rotate_master(here, to, reason, as_json=as_json)
        case "data":
            _rotate_data(here, reason, as_json=as_json)
        case _:
            _rotate_signing(here, use, as_json=as_json)


def _rotate_signing(here: Context, use: str, *, as_json: bool) -> None:
    answer = here.control.post("/v1/keys/rotate", {"use": use, "actor": here.operator})
    if as_json:
        print_json(answer)
        return
    say(f"new {use} key {answer['key_id']}; the one before verifies until what it signed has expired", "green")


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
    answer = here.control.post("/v1/keys/rotate/data", {"actor": here.operator, "reason": reason})
    moved = _reseal(here, answer["left"])
    if as_json:
        print_json(answer | {"left": moved["left"], "resealed": answer["left"] - moved["left"]})
        return
    say(f"new data key {answer['data_key']}; {answer['left'] - moved['left']} sealed values moved to it", "green")
    if moved["left"]:
        say(f"{moved['left']} were sealed meanwhile under another; the server moves them by itself", "yellow")


def _reseal(here: Context, total: int) -> dict[str, Any]:
    """Move what is sealed under older keys, and show how far it is; return the last answer."""
    from rich.progress import Progress

    answer: dict[str, Any] = {"left": total}
    with Progress(console=err, transient=True) as progress:
        task = progress.add_task("sealing anew", total=total)
        while answer["left"]:
            before = answer["left"]
            answer = here.control.post("/v1/keys/reseal")
            progress.update(task, completed=total - answer["left"])
            if answer["left"] >= before:
                break
    return answer
