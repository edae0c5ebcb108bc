"""Commands that start things: the server, an agent under its identity, the demo, the benchmarks."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charter.cli.context import Json, context_of
from charter.cli.output import NO, print_json, say, table
from charter.config import variables

if TYPE_CHECKING:
    from charter.server.app import Addresses

OnBehalfOf = Annotated[
    str | None, typer.Option(help="Act for a person, under a delegation (del_…), or for the token in @FILE.")
]
Purpose = Annotated[str | None, typer.Option(help="What for; one of the charter's purposes.")]
Lasts = Annotated[str | None, typer.Option("--for", help="How long a person lends: 30m, 8h.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("demo")(demo)
    app.command("up", epilog=f"Settings from the environment (docs/operating.md): {', '.join(variables())}.")(up)
    app.command("console")(console)
    app.command("doctor")(doctor)
    app.command("token")(token)
    app.command("run", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})(run)
    app.command("mcp")(mcp)
    app.command("bench")(bench)


def up(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Where to listen.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Where to listen; 0 takes a free one.", show_default="8420")] = None,
    public_url: Annotated[str | None, typer.Option(help="What clients see; the issuer of tokens.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Open a TLS door for clients with certificates: PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The key of --tls-cert: PEM.")] = None,
    tls_port: Annotated[int | None, typer.Option(help="Where that door listens.", show_default="8421")] = None,
    tls_url: Annotated[str | None, typer.Option(help="What clients see of that door.")] = None,
    client_ca: Annotated[Path | None, typer.Option(help="The authorities that issue client certificates: PEM.")] = None,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(
            help="Address or network of a proxy whose word on clients is believed: their address and certificate."
        ),
    ] = None,
    egress_port: Annotated[
        int | None, typer.Option(help="Open the forward proxy here, for systems of the kind egress; 0: any port.")
    ] = None,
    egress_tls_port: Annotated[
        int | None, typer.Option(help="Open the forward proxy over TLS here, with that certificate; 0: any port.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Start the server: token endpoint, MCP gateway, console, and the control socket.

    Prints a one-time link that signs you in to the console. Stops on Ctrl-C or SIGTERM, once the calls under way have
    ended; asked twice, it waits for none.

    Example: charter up --port 8420

    With --json: url, console, workload_api, pid. Printed once it is up.
    """
    from charter.cli.log_lines import log_to_standard_error
    from charter.config import read_settings
    from charter.server.app import new_event_loop, serve

    log_to_standard_error()
    here = context_of(context)
    settings = read_settings(
        estate=Path(here.estate) if here.estate else None,
        data=here.data,
        database=here.database,
        host=host,
        port=port,
        public_url=public_url,
        tls_cert=tls_cert,
        tls_key=tls_key,
        tls_port=tls_port,
        tls_url=tls_url,
        client_ca=client_ca,
        trusted_proxies=trusted_proxy or None,
        egress_port=egress_port,
        egress_tls_port=egress_tls_port,
    )
    announce = _tell_program if as_json else _tell_person
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve(settings, operator=here.operator, announce=announce))


def _tell_person(at: Addresses) -> None:
    say(f"charter is up at {at.url}")
    say(f"console: {at.console}")
    if at.mtls:
        say(f"clients with certificates: {at.mtls}")
    if at.bundle:
        say(f"trust bundle, shown with our SVID: {at.bundle}")
    if at.egress:
        say(f"forward proxy: {at.egress}")
    say(f"workload API: {at.workload_api}")
    say("stop it with Ctrl-C")


def _tell_program(at: Addresses) -> None:
    told = {"url": at.url, "console": at.console, "workload_api": at.workload_api, "pid": os.getpid()}
    doors = {"mtls": at.mtls, "bundle": at.bundle, "egress": at.egress}
    print_json(told | {name: url for name, url in doors.items() if url})


def console(context: typer.Context, as_json: Json = False) -> None:
    """Print a new one-time link to the console of the running server; it is good for ten minutes.

    Example: charter console

    With --json: url.
    """
    answer = context_of(context).control.post("/v1/console/link")
    if as_json:
        print_json(answer)
    else:
        typer.echo(answer["url"])


def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Check that everything Charter depends on is in order, and say how to mend what is not. Exit 1 if anything is.

    Example: charter doctor

    With --json: ok, checks.
    """
    from charter.cli.doctor import examine

    checks = examine(context_of(context))
    bad = [c for c in checks if not c.ok]
    if as_json:
        print_json({"ok": not bad, "checks": [c.to_json() for c in checks]})
    else:
        table(["", "check", "what was found"], [["ok" if c.ok else "fail", c.name, c.found] for c in checks])
        for check in bad:
            say(f"→ {check.name}: {check.mend}", "yellow")
    if bad:
        raise typer.Exit(NO)


def token(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The principal's name.")],
    system: Annotated[str | None, typer.Argument(help="The system the token is for.", show_default=False)] = None,
    on_behalf_of: OnBehalfOf = None,
    purpose: Purpose = None,
    lasts: Lasts = None,
    may_act: Annotated[
        str | None, typer.Option(help="The principal that may exchange the token, to act for NAME.")
    ] = None,
    action: Annotated[list[str] | None, typer.Option(help="Of @FILE, take this action only; may be repeated.")] = None,
    object: Annotated[list[str] | None, typer.Option(help="Of @FILE, take these objects only.")] = None,  # noqa: A002
    decisions: Annotated[bool, typer.Option("--decisions", help="For the decision API, not for a system.")] = False,
    unbound: Annotated[
        bool, typer.Option("--unbound", help="Usable without the key, where the charter says `bearer: allowed`.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Get a five-minute access token for NAME on SYSTEM. Makes NAME's key on this machine the first time.

    Example: charter token refund-agent payments

    Example: charter token records-gateway --decisions

    Example: charter token my-agent models --unbound

    Example: charter token triage-flow payments --may-act refund-agent --purpose dispute-handling

    With --json: access_token, token_type, expires_in, resource, principal, client_id. On another's behalf also
    delegation.
    """
    from charter.cli.agent import Behalf, obtain_token

    narrowed = ({"actions": action} if action else {}) | ({"objects": object} if object else {})
    behalf = Behalf(on_behalf_of, purpose, lasts, may_act, narrowed)
    answer = obtain_token(context_of(context), name, system, behalf, decisions=decisions, unbound=unbound)
    if as_json:
        print_json(answer)
    else:
        typer.echo(answer["access_token"])


def run(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The principal's name.")],
    on_behalf_of: OnBehalfOf = None,
    purpose: Purpose = None,
    lasts: Lasts = None,
    lease: Annotated[
        list[str] | None,
        typer.Option(help="Give it a lease on this system (postgres, aws); repeat for several.", show_default=False),
    ] = None,
    request: Annotated[
        str | None, typer.Option("--request", help="What a person asked for, in their words.", show_default=False)
    ] = None,
) -> None:
    """Run a command as principal NAME: it gets NAME's identity and its MCP endpoints, without a change to its code.

    It finds in its environment CHARTER_MCP_URL_<SYSTEM> for each granted MCP system, CHARTER_MCP_URL for all of
    them at one address, and CHARTER_MCP_CONFIG, a file in the `mcpServers` form most MCP clients read; OPENAI_BASE_URL
    and ANTHROPIC_BASE_URL for models, HTTPS_PROXY for what goes outside, CHARTER_API_URL_<SYSTEM> for APIs behind nginx
    or Envoy. The endpoints are on this machine, for this command alone, and add a fresh token to each request.

    With --on-behalf-of it acts for somebody: for a person, who lends it authority for --purpose and --for; under a
    delegation that is there (del_…); or for the principal whose token, made with --may-act, is in @FILE.

    With --lease it also finds a credential of its own on that system, for what the charter grants there and for as long
    as it runs: DATABASE_URL and PG… for a database, an AWS profile for AWS.

    All its calls are one session. With --request Charter knows what was asked for, and can tell values that the person
    named from those that only strangers did (docs/data-flow.md).

    Example: charter run refund-agent -- python my_agent.py

    Example: charter run refund-agent --on-behalf-of maria@example.com --purpose dispute-handling -- python my_agent.py

    Standard output and the exit code are the command's own.
    """
    from charter.cli.agent import Behalf, run_agent

    raise typer.Exit(
        run_agent(context_of(context), name, context.args, Behalf(on_behalf_of, purpose, lasts), lease or (), request)
    )


def mcp(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The principal's name.")],
    system: Annotated[
        str | None, typer.Argument(help="One system; without it all of them together.", show_default=False)
    ] = None,
    on_behalf_of: OnBehalfOf = None,
    purpose: Purpose = None,
    lasts: Lasts = None,
    request: Annotated[
        str | None, typer.Option("--request", help="What a person asked for, in their words.", show_default=False)
    ] = None,
) -> None:
    """Serve MCP on standard input and output as principal NAME, for hosts that only start servers.

    Such a host (Claude Desktop, Cursor, VS Code) starts this command, and finds there what NAME's charter allows on
    SYSTEM, or on all its systems with tools named SYSTEM__TOOL. Each message goes to the gateway with a fresh token of
    NAME's; none stands in the host's configuration (docs/recipes.md).

    Example: charter mcp coding-assistant

    Example: charter mcp refund-agent payments

    Standard output holds MCP messages alone, one a line. It ends with standard input.
    """
    from charter.cli.agent import Behalf, serve_mcp

    serve_mcp(context_of(context), name, system, Behalf(on_behalf_of, purpose, lasts), request)


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running, with the console's address.")] = False,
    folder: Annotated[
        Path | None, typer.Option(help="Where to put the demo's estate.", show_default="a new temporary folder")
    ] = None,
    servers: Annotated[Path | None, typer.Option(help="The folder of the public MCP servers.")] = None,
) -> None:
    """Show the whole job on real parts, unattended: scan, adopt, apply, govern, escalate, prove, kill, review.

    Exits with 1 at the first step that does not do what it claims.

    Example: charter demo --keep
    """
    from charter.cli.demo.story import tell

    raise typer.Exit(tell(keep=keep, folder=folder, servers=servers))


def bench(
    seconds: Annotated[float, typer.Option(help="How long each measurement may take.", min=0.2)] = 3.0,
    only: Annotated[
        str | None, typer.Option(help="Only this one: decision, gateway, evidence, kill, memory, tokens.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run the benchmarks, side by side with their floors and peers. Needs a checkout: they live in benchmarks/.

    Example: charter bench --only gateway

    With --json: machine, results.
    """
    from charter.cli.benchmarks import run_benchmarks

    run_benchmarks(seconds=seconds, only=only, as_json=as_json)
