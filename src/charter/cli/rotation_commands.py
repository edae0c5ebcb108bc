"""`charter rotate`: one command for every kind of credential, and the list of them all with their ages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from charter.cli.context import Context, Json, Reason, context_of, segment
from charter.cli.key_rotation import rotate_data, rotate_master, rotate_signing
from charter.cli.output import counted, print_json, say, table, warn
from charter.core.errors import ErrorCode, MalformedError

_NAMED = ("key", "secret", "vault", "provisioner", "node")
What = Literal[
    "token",
    "evidence",
    "charter",
    "jwt-svid",
    "witness",
    "x509-root",
    "x509-intermediate",
    "master",
    "data",
    "key",
    "secret",
    "vault",
    "provisioner",
    "node",
]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("rotate")(rotate)


def rotate(
    context: typer.Context,
    what: Annotated[
        What | None, typer.Argument(help="What to replace; without it, what there is and when it is due.")
    ] = None,
    name: Annotated[
        str | None, typer.Argument(help="Whose: of key, secret, vault, provisioner, node.", show_default=False)
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(help="Of the master: where the new one is, as CHARTER_MASTER says it.", show_default=False),
    ] = None,
    key: Annotated[str | None, typer.Option(help="Of a key: which, by its id: crd_…", show_default=False)] = None,
    file: Annotated[
        Path | None, typer.Option(help="Of a key: the new one's public half or certificate.", exists=True)
    ] = None,
    overlap: Annotated[
        str | None, typer.Option(help="How long the old one counts on, as 1h or 2d.", show_default=False)
    ] = None,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="The old one was stolen: it, and what it obtained, is worthless now.")
    ] = False,
    reason: Reason = "asked for by the operator",
    as_json: Json = False,
) -> None:
    """Replace a credential while everything runs; without WHAT, list all with their ages and when each is due.

    Charter's own signing keys (token, evidence, charter, jwt-svid, witness) and authorities (x509-root,
    x509-intermediate): what the old one signed stays valid until it expires. The master key wraps the data keys;
    without --to there will be a new one in the same file. The data key is what secrets in the database are sealed
    under; all are moved to the new one.

    The key of a principal NAME: made anew here if its private half is on this machine, else by --file, else its client
    is asked to with its next token. A secret, and the token of a directory (provisioner), are made and shown once. A
    vault secret is read from standard input. A remote node is asked to make itself another key.

    Example: charter rotate key refund-agent

    Example: charter rotate token --at-once --reason "seen in a log"

    With --json: credentials, principals, overdue. Of a signing key: use, key_id, state. Of the master: before, after,
    data_keys, setting. Of the data key: data_key, resealed, left. Of a key: principal, client_id, before, after, state,
    ends. Of a secret: principal, client_id, before, after, ends, secret. Of a vault secret: name, version, systems,
    changed_by. Of a provisioner: id, name, token, url, ends. Of a node: node, key, state.
    """
    here = context_of(context)
    _check(what, name, master=to, of_key=(key, file), overlap=overlap)
    body: dict[str, Any] = {"actor": here.operator, "reason": reason, "at_once": at_once, "overlap": overlap}
    match what:
        case None:
            _list(here, as_json=as_json)
        case "master":
            rotate_master(here, to, reason, as_json=as_json)
        case "data":
            rotate_data(here, reason, as_json=as_json)
        case "key":
            _key(here, name or "", body, (key, file), as_json=as_json)
        case "secret":
            _secret(here, name or "", body, as_json=as_json)
        case "provisioner":
            _provisioner(here, name or "", body, as_json=as_json)
        case "node":
            _node(here, name or "", body, as_json=as_json)
        case "vault":
            _vault(here, name or "", as_json=as_json)
        case _:
            rotate_signing(here, what, (reason, at_once), as_json=as_json)


def _check(
    what: str | None, name: str | None, *, master: str | None, of_key: tuple[object, object], overlap: str | None
) -> None:
    """Check that options go with what they are for.

    Raises:
        MalformedError: one does not.
    """
    if master and what != "master":
        raise MalformedError(ErrorCode.BAD_VALUE, "--to is for the master", help="charter rotate master --to PLACE")
    if any(of_key) and what != "key":
        raise MalformedError(ErrorCode.BAD_VALUE, "--key and --file are for a key", help="charter rotate key NAME")
    if overlap and what not in ("key", "secret", "provisioner"):
        raise MalformedError(
            ErrorCode.BAD_VALUE, "--overlap is for a key, a secret or a provisioner", help="leave it out"
        )
    if (what in _NAMED) is not (name is not None):
        said = "needs to know whose" if what in _NAMED else "is Charter's own and takes no name"
        raise MalformedError(
            ErrorCode.BAD_VALUE, f"`{what or 'the list'}` {said}", help="charter rotate key NAME, charter rotate token"
        )


def _list(here: Context, *, as_json: bool) -> None:
    answer = here.control.get("/v1/credentials")
    if as_json:
        print_json(answer)
        return
    rows: list[list[object]] = [
        [
            each["kind"],
            each["of"],
            each["id"][:30],
            f"{each['age_days']} d",
            "overdue" if each["overdue"] else (each["next"] or "when asked")[:16].replace("T", " "),
            each["by"],
        ]
        for each in answer["credentials"]
    ]
    table(["what", "of", "id", "age", "next", "by"], rows)
    say(f"{counted(answer['principals'], 'credential')} of principals; {answer['overdue']} overdue", "dim")


def _key(
    here: Context, name: str, body: dict[str, Any], of_key: tuple[str | None, Path | None], *, as_json: bool
) -> None:
    from charter.adapters.whole_file import read_named
    from charter.cli.agent import own_key, rotate_own_key
    from charter.cli.key_files import MAX_FILE, key_in

    key_id, file = of_key
    asked = body | {"key": key_id} | (key_in(read_named(file, MAX_FILE, f"{MAX_FILE >> 10} KiB")) if file else {})
    held = own_key(here, name, key_id) if file is None else None
    if held is not None:
        answer = rotate_own_key(here, name, held, asked)
    else:
        answer = here.control.post(f"/v1/principals/{segment(name)}/rotate/key", asked)
    if as_json:
        print_json(answer)
        return
    match answer["state"]:
        case "asked":
            say(f"{name} is told with its next token to replace {answer['before']}; a finding says so until then")
        case "revoked":
            rest = f"{answer['after']} took its place" if answer["after"] else "register another: charter key add"
            say(f"{answer['before']} of {name} is revoked, and what it obtained is dead; {rest}", "bold")
        case _:
            say(
                f"{name} goes by {answer['after']} from now on; {answer['before']} counts until {answer['ends']}",
                "green",
            )


def _secret(here: Context, name: str, body: dict[str, Any], *, as_json: bool) -> None:
    answer = here.control.post(f"/v1/principals/{segment(name)}/rotate/secret", body)
    if as_json:
        print_json(answer)
        return
    say(f"client_id      {answer['client_id']}")
    say(f"client_secret  {answer['secret']}")
    if answer["before"] and body["at_once"]:
        warn("the one before is revoked, and what it obtained is dead")
    elif answer["before"]:
        say(f"the one before counts until {answer['ends']}")
    say("it is not shown again; a key is better: charter run makes one", "yellow")


def _provisioner(here: Context, name: str, body: dict[str, Any], *, as_json: bool) -> None:
    answer = here.control.post(f"/v1/people/provisioners/{segment(name)}/rotate", body)
    if as_json:
        print_json(answer)
        return
    rest = f"the one before counts until {answer['ends']}" if answer["ends"] else "the one before counts no more"
    say(f"give your directory this token, which is not shown again; {rest}:", "green")
    typer.echo(answer["token"])


def _node(here: Context, name: str, body: dict[str, Any], *, as_json: bool) -> None:
    answer = here.control.post(f"/v1/nodes/{segment(name)}/rotate", body)
    if as_json:
        print_json(answer)
    elif body["at_once"]:
        say(f"{name} is put out; let it in again: charter workload join-token {name}", "bold")
    else:
        say(f"{name} is told to make itself another key when it asks next", "green")


def _vault(here: Context, name: str, *, as_json: bool) -> None:
    from charter.cli.vault_commands import put_from_stdin

    put_from_stdin(here, name, [], as_json=as_json)
