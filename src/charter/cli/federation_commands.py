"""Commands about federation with other trust domains."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from charter.cli.context import Json, Reason, context_of
from charter.cli.output import counted, print_json, say, table
from charter.core.errors import ErrorCode, MalformedError

MAX_FILE = 512 * 1024
Domain = Annotated[str, typer.Argument(metavar="NAME", help="The trust domain's name, as in partner.example.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    federation = typer.Typer(help="Federate with other SPIFFE trust domains.", no_args_is_help=True)
    federation.command("ls")(list_federations)
    federation.command("add")(add)
    federation.command("refresh")(refresh)
    federation.command("remove")(remove)
    app.add_typer(federation, name="federation")


def list_federations(context: typer.Context, as_json: Json = False) -> None:
    """List the trust domains we federate with, and how each stands.

    Example: charter federation ls

    With --json: federations. Each has trust_domain, url, profile, endpoint_id, networks, added_at, added_by,
    refreshed_at, next_at, failure, is_trusted, sequence, x509_authorities, jwt_authorities.
    """
    answer = context_of(context).control.get("/v1/federations")
    if as_json:
        print_json(answer)
        return
    rows: list[list[object]] = [
        [f["trust_domain"], "yes" if f["is_trusted"] else "no", f["profile"], f["url"], f["sequence"], _state(f)]
        for f in answer["federations"]
    ]
    table(["trust domain", "trusted", "profile", "bundle endpoint", "number", "state"], rows)


def add(
    context: typer.Context,
    name: Domain,
    url: Annotated[str, typer.Option(help="Its bundle endpoint: https://…")],
    profile: Annotated[
        Literal["https_web", "https_spiffe"], typer.Option(help="How the endpoint is authenticated.")
    ] = ("https_web"),
    endpoint_id: Annotated[
        str | None, typer.Option(help="Of https_spiffe: the endpoint's SPIFFE ID.", show_default=False)
    ] = None,
    first: Annotated[
        Path | None, typer.Option("--bundle", help="A file with its bundle, had by other means.", show_default=False)
    ] = None,
    network: Annotated[
        list[str] | None, typer.Option(help="A network, not public, in which the endpoint may be: 10.20.0.0/16.")
    ] = None,
    reason: Reason = "agreed with its operator",
    as_json: Json = False,
) -> None:
    """Begin to trust another trust domain: its SVIDs are then believed by the workloads whose charters name it.

    Name, address and profile are told to each other by the two operators; none is inferred from another.

    Example: charter federation add partner.example --url https://spiffe.partner.example/bundle.json

    With --json: trust_domain, url, profile, endpoint_id, networks, added_at, added_by, refreshed_at, next_at, failure,
    is_trusted, sequence, x509_authorities, jwt_authorities.
    """
    here = context_of(context)
    body: dict[str, Any] = {"trust_domain": name, "url": url, "profile": profile, "endpoint_id": endpoint_id}
    body |= {"networks": network or [], "bundle": _read(first) if first else None}
    answer = here.control.post("/v1/federations", body | {"actor": here.operator, "reason": reason})
    if as_json:
        print_json(answer)
        return
    _tell(answer)


def refresh(context: typer.Context, name: Domain, as_json: Json = False) -> None:
    """Ask a trust domain's bundle endpoint now.

    Example: charter federation refresh partner.example

    With --json: trust_domain, url, profile, endpoint_id, networks, added_at, added_by, refreshed_at, next_at, failure,
    is_trusted, sequence, x509_authorities, jwt_authorities.
    """
    answer = context_of(context).control.post("/v1/federations/refresh", {"trust_domain": name})
    if as_json:
        print_json(answer)
        return
    _tell(answer)


def remove(
    context: typer.Context, name: Domain, reason: Reason = "the relationship has ended", as_json: Json = False
) -> None:
    """Trust a trust domain no longer; workloads are told at once.

    Example: charter federation remove partner.example --reason "contract ended"

    With --json: trust_domain, removed.
    """
    here = context_of(context)
    body = {"trust_domain": name, "actor": here.operator, "reason": reason}
    answer = here.control.post("/v1/federations/remove", body)
    if as_json:
        print_json(answer)
        return
    say(f"{name} is trusted no longer", "bold")


def _tell(federation: dict[str, Any]) -> None:
    name = federation["trust_domain"]
    if federation["failure"]:
        say(f"{name}: {federation['failure']}", "yellow")
        say("it is asked again; see charter federation ls", "dim")
    if federation["is_trusted"]:
        x509, jwt = federation["x509_authorities"], federation["jwt_authorities"]
        say(f"{name} is trusted: {counted(x509, 'X.509 authority', 'X.509 authorities')}, {counted(jwt, 'JWT key')}")
        say(f"name it in the charters of workloads that shall believe it: trusts: [{name}]", "dim")


def _state(federation: dict[str, Any]) -> str:
    if federation["failure"]:
        return str(federation["failure"])
    return f"as of {federation['refreshed_at'][:19]}" if federation["refreshed_at"] else "not asked yet"


def _read(file: Path) -> str:
    from charter.adapters.whole_file import read_named

    try:
        return read_named(file, MAX_FILE, f"{MAX_FILE >> 10} KiB").decode()
    except UnicodeDecodeError as err:
        raise MalformedError(
            ErrorCode.BAD_VALUE, f"`{file}` cannot be read as text", help="charter workload bundle writes one there"
        ) from err
