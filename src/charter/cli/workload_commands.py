"""Commands about workloads: the processes that charters name, and the remote machines that vouch for theirs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from charter.cli.context import Context, Json, Reason, context_of
from charter.cli.output import counted, print_json, say, table
from charter.core.clock import SystemClock
from charter.core.entropy import SystemEntropy
from charter.core.errors import ErrorCode, MalformedError

if TYPE_CHECKING:
    from charter.cli.node_agent import CharterLine

T = TypeVar("T")
MAX_TOKEN = 256
NodeName = Annotated[str, typer.Argument(metavar="NODE", help="The node's name, as in web-1.")]
Server = Annotated[
    str, typer.Argument(metavar="URL", help="Charter's public address, as in https://charter.example.com.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    workload = typer.Typer(
        help="See workloads: the processes that are principals, and their SVIDs.", no_args_is_help=True
    )
    workload.command("entries")(entries)
    workload.command("ls")(list_svids)
    workload.command("bundle")(bundle)
    workload.command("nodes")(list_nodes)
    workload.command("join-token")(new_join_token)
    workload.command("put-out")(put_out)
    workload.command("join")(join)
    workload.command("agent")(agent)
    app.add_typer(workload, name="workload")


def entries(
    context: typer.Context,
    principal: Annotated[str | None, typer.Argument(help="Only this principal's.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """List what charters say of the processes that are their principals.

    Example: charter workload entries refund-agent

    With --json: workloads. Each has principal, spiffe_id, standing, credential, credential_standing, selectors, trusts.
    """
    answer = context_of(context).control.get("/v1/workloads", principal=principal)
    if as_json:
        print_json(answer)
        return
    rows: list[list[object]] = [
        [w["principal"], w["standing"], _told(w["selectors"]), w["credential"], w["credential_standing"]]
        for w in answer["workloads"]
    ]
    table(["principal", "standing", "a process with", "credential", "of it"], rows)


def list_svids(context: typer.Context, as_json: Json = False) -> None:
    """List the SVIDs that were given out and have not ended, the newest first.

    Example: charter workload ls

    With --json: svids. Each has index, time, type, principal, spiffe_id, id, expires, audiences, seen.
    """
    answer = context_of(context).control.get("/v1/svids")
    if as_json:
        print_json(answer)
        return
    rows: list[list[object]] = [
        [s["time"][:19], s["type"], s["principal"] or s["spiffe_id"], s["expires"][:19], _told(s["seen"])]
        for s in answer["svids"]
    ]
    table(["given", "type", "principal", "ends", "to a process with"], rows)
    say(counted(len(rows), "SVID"), "dim")


def bundle(context: typer.Context, as_json: Json = False) -> None:
    """Print our trust bundle: another trust domain takes it to begin to trust this one.

    Example: charter workload bundle > charter.local.json

    With --json: trust_domain, bundle.
    """
    answer = context_of(context).control.get("/v1/bundle")
    print_json(answer if as_json else answer["bundle"])


def list_nodes(context: typer.Context, as_json: Json = False) -> None:
    """List the machines elsewhere that vouch for their processes.

    Example: charter workload nodes

    With --json: nodes. Each has node, key, standing, joined_at.
    """
    answer = context_of(context).control.get("/v1/nodes")
    if as_json:
        print_json(answer)
        return
    rows: list[list[object]] = [[n["node"], n["standing"], n["joined_at"][:19], n["key"]] for n in answer["nodes"]]
    table(["node", "standing", "joined", "key"], rows)


def new_join_token(
    context: typer.Context,
    node: NodeName,
    life: Annotated[str, typer.Option(help="How long it may be used: 30m, 1h, 2d; at most 7d.")] = "1h",
    reason: Reason = "a new node",
    as_json: Json = False,
) -> None:
    """Have a token made that lets one machine in, once, under this name. It is shown now and never again.

    Charters name the node in their selectors: its word counts for those alone.

    Example: charter workload join-token web-1 --life 30m

    With --json: node, token, expires, server.
    """
    here = context_of(context)
    body = {"node": node, "life": life, "actor": here.operator, "reason": reason}
    answer = here.control.post("/v1/nodes/join-token", body)
    if as_json:
        print_json(answer)
        return
    say(answer["token"], "bold")
    say(f"good once, until {answer['expires'][:19]}Z. On the node, with the token on standard input:", "dim")
    say(f"charter workload join {answer['server']} {node}", "dim")


def put_out(
    context: typer.Context, node: NodeName, reason: Reason = "it is needed no longer", as_json: Json = False
) -> None:
    """Believe a node no longer, at once. What its workloads hold ends by itself, within the hour.

    Example: charter workload put-out web-1 --reason "the machine was stolen"

    With --json: node, standing.
    """
    here = context_of(context)
    answer = here.control.post("/v1/nodes/put-out", {"node": node, "actor": here.operator, "reason": reason})
    if as_json:
        print_json(answer)
        return
    say(f"{node} is out: nothing it says is believed any more", "bold")


def join(context: typer.Context, server: Server, node: NodeName, as_json: Json = False) -> None:
    """Join as a node, by the one-time token on standard input. The node's key is made here and stays here.

    Example: charter workload join https://charter.example.com web-1 < token

    With --json: node, trust_domain.
    """
    token = sys.stdin.read(MAX_TOKEN + 1).strip()
    if not token or len(token) > MAX_TOKEN:
        raise MalformedError(
            ErrorCode.BAD_VALUE, "no join token came on standard input", help=f"charter workload join-token {node}"
        )

    async def work(line: CharterLine) -> dict[str, Any]:
        return await line.join(token)

    answer = _as_node(context_of(context), server, node, work)
    if as_json:
        print_json(answer)
        return
    say(f"{node} joined the trust domain {answer['trust_domain']}", "bold")
    say(f"serve its processes: charter workload agent {server} {node} --socket /run/charter/workload.sock", "dim")


def agent(
    context: typer.Context,
    server: Server,
    node: NodeName,
    socket: Annotated[Path, typer.Option(help="Where the Workload API listens; everyone may connect.")],
    as_json: Json = False,
) -> None:
    """Serve the SPIFFE Workload API to this machine's processes, for a Charter elsewhere, until it is stopped.

    Example: charter workload agent https://charter.example.com web-1 --socket /run/charter/workload.sock

    With --json: workload_api. Printed once it is up.
    """
    from charter.cli.log_lines import log_to_standard_error
    from charter.cli.node_agent import serve_node

    log_to_standard_error()
    address = f"unix://{socket.absolute()}"

    def up() -> None:
        if as_json:
            print_json({"workload_api": address})
        else:
            say(f"workload API: {address}")

    async def work(line: CharterLine) -> None:
        await serve_node(line, socket.absolute(), up)

    _as_node(context_of(context), server, node, work)


def _as_node(here: Context, server: str, node: str, work: Callable[[CharterLine], Coroutine[Any, Any, T]]) -> T:
    """Return what `work` returns, given a line to Charter as this node."""
    from charter.cli.node_agent import a_line, node_key

    server = server.rstrip("/")
    key = node_key(here.settings.key_folder, server, node)

    async def run() -> T:
        async with a_line(server, node, key, SystemClock(), SystemEntropy()) as line:
            return await work(line)

    return asyncio.run(run())


def _told(facts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value if name != 'sha256' else value[:12] + '…'}" for name, value in facts.items())
