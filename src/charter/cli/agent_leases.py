"""The leases of `charter run --lease`: asked for before the agent starts, renewed while it runs, given back after.

The agent finds its credential as the system's own clients look for it: `DATABASE_URL` and `PG…` for PostgreSQL; for AWS
a profile whose `credential_process` gives the newest session, so that SDKs follow renewals by themselves. With several
systems of one kind each has its own, under `CHARTER_LEASE_<SYSTEM>`: a file of JSON.

INVARIANT: what the agent inherits of such variables is taken away: it acts with the lease or not at all.
INVARIANT: files with credentials are readable by this account alone, and gone when the agent is.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import os
import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from charter.cli.agent_keys import AgentTokens
from charter.cli.output import warn
from charter.core.clock import parse_rfc3339
from charter.core.errors import CharterError, ErrorCode, UnavailableError

HTTP_SECONDS = 90.0
LEAST_PAUSE, LONGEST_PAUSE = 5.0, 60.0  # seconds between attempts to renew
_OF_KIND = {  # the variables by which a kind's clients find a credential, or that of somebody else
    "postgres": ("PG", "DATABASE_URL"),
    "aws": ("AWS_",),
}
_NO_CREDENTIAL = ("AWS_CA_BUNDLE", "AWS_ENDPOINT_URL", "PGSSLROOTCERT")  # where and whom to trust, by their beginning


@dataclass(slots=True)
class HeldLease:
    """One lease of the agent's."""

    system: str
    id: str
    kind: str
    variables: dict[str, str] = field(repr=False)
    expires_at: dt.datetime
    ends_at: dt.datetime
    renew_at: dt.datetime  # when a third of its time is left

    def is_due(self, now: dt.datetime) -> bool:
        """Whether it is time to renew it, and there is time to be had."""
        return self.renew_at <= now < self.expires_at < self.ends_at

    def put_off(self, now: dt.datetime) -> None:
        """Try again when a third of what is left has passed."""
        self.renew_at = now + max((self.expires_at - now) / 3, dt.timedelta(seconds=LEAST_PAUSE))


@dataclass(slots=True)
class LeaseClient:
    """Asks for leases, renews them and gives them back, as one principal."""

    tokens: AgentTokens

    async def ask(self, system: str) -> HeldLease:
        """Return a lease on everything the charter grants on `system`.

        Raises:
            CharterError: it was refused; the message says why.
        """
        return _held(system, await self._send("POST", system, "", {}), self.tokens.clock.now())

    async def renew(self, lease: HeldLease) -> HeldLease:
        """Return the lease, renewed; what its credential keeps is as before."""
        answer = await self._send("POST", lease.system, f"/{lease.id}/renew", None)
        found = _held(lease.system, answer, self.tokens.clock.now())
        found.variables = lease.variables | found.variables
        return found

    async def give_back(self, lease: HeldLease) -> None:
        """End the lease."""
        await self._send("DELETE", lease.system, f"/{lease.id}", None)

    async def _send(self, method: str, system: str, path: str, body: object) -> dict[str, Any]:
        tokens = self.tokens
        resource, url = f"{tokens.issuer}/mcp/{system}", f"{tokens.issuer}/lease/{system}{path}"
        status, found, nonce = await _exchange(method, url, await tokens.headers(method, resource, url), body)
        if tokens.learn(nonce) and status == httpx.codes.UNAUTHORIZED:  # the server asked for its nonce
            status, found, _ = await _exchange(method, url, await tokens.headers(method, resource, url), body)
        if status in (httpx.codes.OK, httpx.codes.CREATED):
            return found
        if status == httpx.codes.UNAUTHORIZED:
            tokens.forget(resource)
        from charter.server.problems import error_from_problem

        raise error_from_problem(status, found)


async def _exchange(
    method: str, url: str, headers: Mapping[str, str], body: object
) -> tuple[int, dict[str, Any], str | None]:
    """Return status, body and nonce of one request."""
    direct = not url.startswith("https:")  # what stays on this machine goes through no proxy
    options: dict[str, Any] = {} if body is None else {"json": body}
    try:
        async with httpx.AsyncClient(timeout=HTTP_SECONDS, trust_env=not direct) as client:
            answer = await client.request(method, url, headers=dict(headers), **options)
            found = answer.json() if answer.content else {}
    except (httpx.HTTPError, ValueError) as err:
        text = f"no Charter answers at {url}"
        raise UnavailableError(ErrorCode.NOT_RUNNING, text, help="start it: charter up") from err
    return answer.status_code, found if isinstance(found, dict) else {}, answer.headers.get("dpop-nonce")


def _held(system: str, answer: Mapping[str, Any], now: dt.datetime) -> HeldLease:
    lease, credential = answer["lease"], answer["credential"]
    expires_at, ends_at = parse_rfc3339(lease["expires_at"]), parse_rfc3339(lease["ends_at"])
    renew_at = now + (expires_at - now) * 2 / 3
    return HeldLease(
        system, lease["id"], credential["type"], dict(credential["variables"]), expires_at, ends_at, renew_at
    )


@asynccontextmanager
async def leased(
    client: LeaseClient, systems: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> AsyncIterator[dict[str, str]]:
    """Hold leases on `systems` for as long as the context lasts; yield the environment of an agent that uses them.

    Raises:
        CharterError: one was refused; those asked for before are given back.
    """
    held: dict[str, HeldLease] = {}
    try:
        for system in systems:
            held[system] = await client.ask(system)
            _write(held[system], folder)
        keeper = asyncio.create_task(_keep(client, held, folder))
        try:
            leases = list(held.values())
            yield without_others(environment, {lease.kind for lease in leases}) | variables_of(leases, folder)
        finally:
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeper
    finally:
        for lease in held.values():
            with contextlib.suppress(CharterError):  # it ends by itself, soon
                await client.give_back(lease)


def variables_of(held: Sequence[HeldLease], folder: Path) -> dict[str, str]:
    """Return what the agent finds in its environment."""
    found = {f"CHARTER_LEASE_{_upper(lease.system)}": str(_file(lease, folder)) for lease in held}
    for kind in _OF_KIND:
        of_kind = [lease for lease in held if lease.kind == kind]
        if len(of_kind) == 1:
            found |= _plain(of_kind[0]) if kind != "aws" else _aws_profile(of_kind[0], folder)
    return found


def without_others(environment: Mapping[str, str], kinds: AbstractSet[str]) -> dict[str, str]:
    """Return `environment` without what would let an agent with leases of `kinds` act with something else."""
    taken = tuple(prefix for kind in kinds for prefix in _OF_KIND.get(kind, ()))
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(taken) or name.startswith(_NO_CREDENTIAL)
    }


async def _keep(client: LeaseClient, held: dict[str, HeldLease], folder: Path) -> None:
    """Renew each lease when a third of its time is left, until it is at its end."""
    while True:
        now = client.tokens.clock.now()
        soonest = min((lease.renew_at - now).total_seconds() for lease in held.values())
        await asyncio.sleep(min(max(soonest, LEAST_PAUSE), LONGEST_PAUSE))  # clocks are set, and machines sleep
        now = client.tokens.clock.now()
        for system, lease in list(held.items()):
            if not lease.is_due(now):
                continue
            try:
                held[system] = await client.renew(lease)
                _write(held[system], folder)
            except CharterError as err:
                lease.put_off(now)
                warn(f"the lease on {system} could not be renewed: {err.detail}")


def _plain(lease: HeldLease) -> dict[str, str]:
    return dict(lease.variables)


def _aws_profile(lease: HeldLease, folder: Path) -> dict[str, str]:
    """Return the variables of a profile that asks a file for the newest session."""
    config = folder / "aws-config"
    region = lease.variables["AWS_REGION"]
    process = f"cat {shlex.quote(str(_file(lease, folder)))}"
    _private(config, f"[default]\nregion = {region}\ncredential_process = {process}\n")
    none = str(folder / "no-aws-credentials")
    nowhere_else = {"AWS_SHARED_CREDENTIALS_FILE": none, "AWS_EC2_METADATA_DISABLED": "true"}
    return {"AWS_CONFIG_FILE": str(config), "AWS_REGION": region} | nowhere_else


def _write(lease: HeldLease, folder: Path) -> None:
    """Put the newest credential where the agent finds it: in AWS' own form, or as its variables."""
    body: dict[str, Any] = {"type": lease.kind, "variables": lease.variables}
    if lease.kind == "aws":
        body = {
            "Version": 1,
            "AccessKeyId": lease.variables["AWS_ACCESS_KEY_ID"],
            "SecretAccessKey": lease.variables["AWS_SECRET_ACCESS_KEY"],
            "SessionToken": lease.variables["AWS_SESSION_TOKEN"],
            "Expiration": lease.expires_at.isoformat(),
        }
    _private(_file(lease, folder), json.dumps(body))


def _file(lease: HeldLease, folder: Path) -> Path:
    return folder / f"lease-{lease.system}.json"


def _private(path: Path, text: str) -> None:
    """Write a file whole that this account alone can read."""
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(path)


def _upper(system: str) -> str:
    return system.upper().replace("-", "_")
