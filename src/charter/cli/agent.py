"""`charter token` and `charter run`: act as a principal from this machine."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
import stat
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charter.cli.agent_keys import AgentKey, AgentTokens, OwnAuthority, agent_key, key_path
from charter.cli.agent_leases import LeaseClient, leased
from charter.cli.agent_rotation import next_key, replace_when_due, settle, take_place
from charter.cli.context import Context, segment
from charter.cli.output import warn
from charter.config import child_environment
from charter.core.clock import SystemClock
from charter.core.entropy import SystemEntropy
from charter.core.errors import AbsentError, DeniedError, ErrorCode, MalformedError, UnavailableError
from charter.identity.jose import thumbprint_of
from charter.identity.resource import all_of, decisions_of, spans_of

if TYPE_CHECKING:
    from charter.cli.relay import Relay

MAX_REQUEST_HEADER = 8192
ALL_ENDPOINT, DECISIONS, SPANS = "_all", "_decisions", "_spans"  # of the relay: no system is called so


@dataclass(frozen=True, slots=True)
class Behalf:
    """On whose behalf an agent shall act: a person, a delegation's id, or `@FILE` with a lender's token."""

    whom: str | None = None  # None: nobody's but its own
    purpose: str | None = None
    lasts: str | None = None
    may_act: str | None = None  # who may exchange its token in turn
    narrowed: dict[str, list[str]] = field(
        default_factory=dict
    )  # `actions`, `objects`: what is asked of a token at most


@dataclass(frozen=True, slots=True)
class Ways:
    """How an agent reaches its systems: by MCP, with leases, and through the forward proxy."""

    systems: list[str]
    lease: list[str]
    outside: list[str]
    proxy: str | None
    all: bool  # whether it also gets the endpoint where all are together: what is lent is for one system each
    models: dict[str, str]  # model systems, each with its provider
    apis: dict[str, str]  # APIs behind proxies that ask Charter about each request, each with its address
    says: dict[str, str]  # headers that tell which run it is, and what the person asked for


@dataclass(slots=True)
class Started:
    """The command, once it runs."""

    pid: int | None = None


def obtain_token(
    context: Context, name: str, system: str | None, behalf: Behalf, *, decisions: bool = False, unbound: bool = False
) -> dict[str, Any]:
    """Return a token for `name` on `system`, or for `decisions`, registering this machine's key the first time.

    One that is `unbound` can be used without the key, by programs that only take a token.

    Raises:
        MalformedError: it is for neither, for both, or for decisions on another's behalf.
        CharterError: there is none to be had; the message says why.
    """
    if (system is None) is not decisions:
        text = "a token is for a system or for decisions"
        raise MalformedError(
            ErrorCode.BAD_VALUE, text, help="charter token NAME SYSTEM, or charter token NAME --decisions"
        )
    if decisions and behalf != Behalf():
        text = "a token for decisions is on nobody's behalf"
        raise MalformedError(ErrorCode.BAD_VALUE, text, help="charter token NAME --decisions")
    principal, tokens = _agent(context, name)
    tokens.is_bound = not unbound
    resource = decisions_of(tokens.issuer) if system is None else f"{tokens.issuer}/mcp/{system}"
    if system is not None:
        _on_behalf(context, principal, tokens, behalf, only=[system])
    answer = asyncio.run(tokens.fetch(resource))
    return answer | {"resource": resource, "principal": principal["name"], "client_id": principal["id"]}


def run_agent(
    context: Context,
    name: str,
    command: list[str],
    behalf: Behalf,
    lease: Sequence[str] = (),
    request: str | None = None,
) -> int:
    """Run `command` as principal `name`, with leases on the systems `lease`; return its exit code.

    `request` is what a person asked for, in their words.

    Raises:
        MalformedError: there is no command.
        CharterError: the principal may not act.
    """
    words = command[1:] if command[:1] == ["--"] else command
    if not words:
        raise MalformedError(ErrorCode.BAD_VALUE, "there is no command to run", help="charter run NAME -- COMMAND …")
    principal, tokens = _agent(context, name)
    _must_act(principal)
    reached = _on_behalf(context, principal, tokens, behalf)
    known = {*principal["mcp"], *principal["models"], *principal["apis"]}
    systems = [system for system in reached if system in known]
    outside = [system for system in reached if system in principal["outside"]] if principal["proxy"] else []
    models = {system: provider for system, provider in principal["models"].items() if system in reached}
    apis = {system: base for system, base in principal["apis"].items() if system in reached}
    ways = Ways(
        systems,
        list(dict.fromkeys(lease)),
        outside,
        principal["proxy"],
        behalf == Behalf(),
        models,
        apis,
        _says(tokens, request),
    )
    return asyncio.run(_run(principal["name"], tokens, words, ways))


def serve_mcp(context: Context, name: str, system: str | None, behalf: Behalf, request: str | None = None) -> None:
    """Serve MCP on standard input and output as principal `name`: of `system`, or of all its systems together.

    Raises:
        MalformedError: all of them are asked for on somebody's behalf.
        CharterError: the principal may not act, or reaches no such system.
    """
    if system is None and behalf != Behalf():
        text = "what is lent is for one system each"
        raise MalformedError(ErrorCode.BAD_VALUE, text, help="name it: charter mcp NAME SYSTEM")
    principal, tokens = _agent(context, name)
    _must_act(principal)
    reached = _on_behalf(context, principal, tokens, behalf, only=None if system is None else [system])
    if system is not None and system not in reached:
        raise AbsentError(
            ErrorCode.UNKNOWN_SYSTEM,
            f"`{name}` reaches no system `{system}`",
            help="see what it may do: charter show NAME",
        )
    resource = all_of(tokens.issuer) if system is None else f"{tokens.issuer}/mcp/{system}"
    asyncio.run(_serve_mcp(resource, tokens, _says(tokens, request)))


async def _serve_mcp(resource: str, tokens: AgentTokens, says: dict[str, str]) -> None:
    """Pass messages on until standard input ends, or this process is told to."""
    from charter.cli.mcp_bridge import Bridge
    from charter.cli.mcp_endpoint import Endpoint, web_session
    from charter.cli.mcp_pipes import Output, lines_of
    from charter.cli.relay import MAX_BODY_BYTES

    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine runs in a task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    output = await Output.to(sys.stdout.buffer)
    async with web_session() as web:
        bridge = Bridge(Endpoint(resource, tokens, web, says), output.line)
        try:
            async for line in lines_of(sys.stdin.buffer, MAX_BODY_BYTES):
                await bridge.take(line)
            await bridge.settle()
        except asyncio.CancelledError:
            if task.uncancel():
                raise
        finally:
            await bridge.close()


def own_key(context: Context, name: str, key_id: str | None = None) -> AgentKey | None:
    """Return the key of `name` on this machine, if it is here, in use, and the one called `key_id` (None: whichever).

    Raises:
        CharterError: it cannot be used, or Charter cannot be asked.
    """
    issuer = context.control.get("/v1/status")["issuer"]
    if not key_path(context.settings.key_folder, issuer, name).exists():
        return None
    key = agent_key(context.settings.key_folder, issuer, name)
    known = context.control.get(f"/v1/principals/{segment(name)}")["keys"]
    settle(key, [each["jwk"] for each in known if each["standing"] == "active"])
    found = next((each for each in known if each["jwk"] == key.jwk and each["standing"] == "active"), None)
    is_meant = found is not None and key_id in (None, found["id"], found["thumbprint"])
    return key if is_meant else None


def rotate_own_key(context: Context, name: str, key: AgentKey, asked: dict[str, Any]) -> dict[str, Any]:
    """Replace the key of `name` on this machine, as `asked` of the control API; return what that answers.

    Raises:
        CharterError: it cannot be done; both keys stay as they are, and asking again goes on with the same.
    """
    try:
        following = next_key(key)
        body = asked | {"key": thumbprint_of(key.jwk), "jwk": following.jwk}
        answer: dict[str, Any] = context.control.post(f"/v1/principals/{segment(name)}/rotate/key", body)
        take_place(key, following)
    except OSError as err:
        why = (err.strerror or str(err)).lower()
        raise UnavailableError(ErrorCode.STORE_FAILED, f"the key of `{name}` cannot be replaced: {why}") from err
    return answer


def _agent(context: Context, name: str) -> tuple[dict[str, Any], AgentTokens]:
    """Return what is registered of `name`, and the way to its tokens; its key is made and registered if need be."""
    control = context.control
    control.must_run()
    principal = control.get(f"/v1/principals/{segment(name)}")
    systems = control.get("/v1/systems")["systems"]
    principal["leased"] = [each["system"] for each in systems if "lease" in each]
    principal["outside"] = [each["system"] for each in systems if each["kind"] == "egress"]
    principal["mcp"] = [each["system"] for each in systems if each["kind"] == "mcp"]
    principal["apis"] = {each["system"]: proxy["base"] for each in systems if (proxy := _proxy_of(each))}
    principal["models"] = {each["system"]: each.get("provider", "") for each in systems if each["kind"] == "model"}
    status = control.get("/v1/status")
    principal["proxy"], issuer = status["egress"], status["issuer"]
    key = agent_key(context.settings.key_folder, issuer, name)
    in_use = [known["jwk"] for known in principal["keys"] if known["standing"] == "active"]
    settle(key, in_use)
    if key.jwk not in in_use:
        body = {"jwk": key.jwk, "actor": context.operator, "reason": "first use on this machine"}
        control.post(f"/v1/principals/{segment(name)}/keys", body)
    tokens = AgentTokens(key, issuer, principal["id"], SystemClock(), SystemEntropy(), when_due=replace_when_due)
    return principal, tokens


def _must_act(principal: dict[str, Any]) -> None:
    if principal["standing"] not in ("active", "restrained"):
        text = f"`{principal['name']}` is {principal['standing']}"
        raise DeniedError(ErrorCode.NOT_STANDING, text, help="it has no authority to act")


def _on_behalf(
    context: Context, principal: dict[str, Any], tokens: AgentTokens, behalf: Behalf, *, only: list[str] | None = None
) -> list[str]:
    """Let `tokens` be asked for on somebody's behalf; return the systems that can be reached so.

    Raises:
        CharterError: it cannot be; the message says why.
    """
    systems: list[str] = principal["systems"]
    if behalf.whom is None:
        tokens.authority = OwnAuthority(behalf.may_act, behalf.purpose if behalf.may_act else None)
        return systems
    from charter.cli.agent_lending import Side, borrowed, exchanging, read_token

    side = Side(tokens.key, tokens.client_id, tokens.issuer, only or systems, tokens.clock, tokens.entropy)
    if behalf.whom.startswith("@"):
        tokens.authority, systems = exchanging(side, read_token(behalf.whom[1:]), behalf.may_act, behalf.narrowed)
        return systems
    delegation = behalf.whom if behalf.whom.startswith("del_") else _lend(context, principal["name"], behalf)
    tokens.authority, systems = borrowed(context.control, side, delegation, behalf.may_act)
    return systems


def _lend(context: Context, name: str, behalf: Behalf) -> str:
    """Let the person lend what the agent is about to use; return the delegation's id."""
    if behalf.purpose is None:
        raise MalformedError(
            ErrorCode.BAD_VALUE, "nothing says what it is lent for", help="name one of the charter's: --purpose NAME"
        )
    body = {
        "person": behalf.whom,
        "borrower": name,
        "purpose": behalf.purpose,
        "lasts": behalf.lasts,
        "actor": context.operator,
        "reason": "charter run",
    }
    return str(context.control.post("/v1/delegations", body)["id"])


def _says(tokens: AgentTokens, request: str | None) -> dict[str, str]:
    """Return the headers that make all calls of this run one session.

    Raises:
        MalformedError: the request is too long.
    """
    from charter.gateway.mcp import REQUEST_HEADER, RUN_HEADER

    if request is None:
        return {RUN_HEADER: tokens.entropy.token(18)}
    told = base64.b64encode(request.encode()).decode()
    if len(told) > MAX_REQUEST_HEADER:
        most = MAX_REQUEST_HEADER * 3 // 4
        raise MalformedError(ErrorCode.TOO_LARGE, f"the request is longer than {most} bytes", help="say it shorter")
    return {RUN_HEADER: tokens.entropy.token(18), REQUEST_HEADER: told}


async def _run(name: str, tokens: AgentTokens, command: list[str], ways: Ways) -> int:
    from charter.cli.relay import relaying

    endpoints = {system: f"{tokens.issuer}/mcp/{system}" for system in ways.systems}
    endpoints |= {ALL_ENDPOINT: all_of(tokens.issuer)} if ways.all else {}
    endpoints |= {DECISIONS: decisions_of(tokens.issuer), SPANS: spans_of(tokens.issuer)}
    secret = tokens.entropy.token(24)
    async with relaying(_relay_of(endpoints, secret, tokens, ways)) as base:
        urls = {system: f"{base}/{secret}/{system}" for system in ways.systems if system not in ways.models | ways.apis}
        models = {system: f"{base}/{secret}/{system}" for system in ways.models}
        async with contextlib.AsyncExitStack() as undo:
            folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="charter-run-")))
            environment = _environment(name, urls, folder)
            if ways.all:
                environment["CHARTER_MCP_URL"] = f"{base}/{secret}/{ALL_ENDPOINT}"
            environment["CHARTER_DECISIONS_URL"] = f"{base}/{secret}/{DECISIONS}"
            environment["CHARTER_SPANS_URL"] = f"{base}/{secret}/{SPANS}"
            environment["CHARTER_SPOOL"] = str(tokens.key.path.with_suffix(".spool"))
            started = Started()
            relays = {each: _relay(tokens, each, ways, started) for each in ways.outside}
            proxies = {each: await undo.enter_async_context(relay) for each, relay in relays.items()}
            environment |= _proxied(proxies) | _modelled(models, ways.models)
            environment |= {f"CHARTER_API_URL_{_variable(each)}": f"{base}/{secret}/{each}" for each in ways.apis}
            if ways.lease:
                environment = await undo.enter_async_context(
                    leased(LeaseClient(tokens), ways.lease, folder, environment)
                )
            return await _child(command, environment, started)


def _relay_of(endpoints: dict[str, str], secret: str, tokens: AgentTokens, ways: Ways) -> Relay:
    from charter.cli.relay import Relay

    models = {system: f"{tokens.issuer}/model/{system}" for system in ways.models}
    models |= {DECISIONS: decisions_of(tokens.issuer), SPANS: spans_of(tokens.issuer)}
    return Relay(
        endpoints,
        secret,
        tokens.headers,
        forget=tokens.forget,
        learn=tokens.learn,
        says=ways.says,
        models=models,
        apis=ways.apis,
    )


def _proxy_of(system: dict[str, Any]) -> dict[str, Any] | None:
    return (system.get("enforcement") or {}).get("proxy")


def _variable(system: str) -> str:
    return system.upper().replace("-", "_")


def _relay(tokens: AgentTokens, system: str, ways: Ways, started: Started) -> AbstractAsyncContextManager[str]:
    """Return the forward proxy on this machine that leads to one system."""
    from charter.cli.egress_relay import EgressRelay
    from charter.gateway.mcp import RUN_HEADER

    return EgressRelay(
        proxy=str(ways.proxy),
        issuer=tokens.issuer,
        resource=f"{tokens.issuer}/mcp/{system}",
        password=tokens.entropy.token(24),
        credentials=tokens.headers,
        forget=tokens.forget,
        learn=tokens.learn,
        run=ways.says[RUN_HEADER],
        started=lambda: started.pid,
    ).serving()


def _modelled(urls: dict[str, str], providers: dict[str, str]) -> dict[str, str]:
    """Return the variables that models' clients find their addresses in; the usual ones where one system is meant."""
    named = {f"CHARTER_MODEL_URL_{_variable(system)}": url for system, url in urls.items()}
    anthropic = [system for system in urls if providers[system] == "anthropic"]
    others = [system for system in urls if providers[system] != "anthropic"]
    key = "charter-run"  # clients want some key; the relay puts the token in its place
    if len(anthropic) == 1:
        named |= {"ANTHROPIC_BASE_URL": urls[anthropic[0]], "ANTHROPIC_API_KEY": key}
    if len(others) == 1:
        named |= {"OPENAI_BASE_URL": f"{urls[others[0]]}/v1", "OPENAI_API_KEY": key}
    return named


def _proxied(proxies: dict[str, str]) -> dict[str, str]:
    """Return the variables that programs find their proxy in: the usual ones where there is one system alone."""
    named = {f"CHARTER_PROXY_{_variable(system)}": url for system, url in proxies.items()}
    if len(proxies) != 1:
        return named
    (url,) = proxies.values()
    usual = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
    here = "127.0.0.1,localhost,::1"  # where the relay of charter run is, which needs no proxy
    return named | dict.fromkeys(usual, url) | {"NO_PROXY": here, "no_proxy": here}


def _environment(name: str, urls: dict[str, str], folder: Path) -> dict[str, str]:
    config = folder / "mcp.json"
    servers = {system: {"type": "http", "url": url} for system, url in urls.items()}
    config.touch(mode=stat.S_IRUSR | stat.S_IWUSR)
    config.write_text(json.dumps({"mcpServers": servers}, indent=2), encoding="utf-8")
    named = {f"CHARTER_MCP_URL_{_variable(system)}": url for system, url in urls.items()}
    return child_environment(CHARTER_PRINCIPAL=name, CHARTER_MCP_CONFIG=str(config), **named)


async def _child(command: list[str], environment: dict[str, str], started: Started) -> int:
    """Run the agent; signals that end this process end it too."""
    try:
        child = await asyncio.create_subprocess_exec(*command, env=environment)
    except OSError as err:
        raise MalformedError(
            ErrorCode.BAD_VALUE, f"cannot run `{command[0]}`: {os.strerror(err.errno or 0)}", help="check the command"
        ) from err
    started.pid = child.pid
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _pass_on, child, number)
    code = await child.wait()
    if code < 0:
        warn(f"the agent was ended by signal {-code}")
        return 128 - code
    return code


def _pass_on(child: asyncio.subprocess.Process, number: int) -> None:
    if child.returncode is None:
        child.send_signal(number)
