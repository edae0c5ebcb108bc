"""A whole house for tests: the real parts, on SQLite in a temporary folder, with an upstream that answers at once.

with a_house(tmp_path) as stage:
answer = stage.call("charge.read", charge_id="1")
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from builders import PAYMENTS_SYSTEM, REFUND_CHARTER
from charter.bootstrap import authority, estate
from charter.bootstrap.building import build
from charter.bootstrap.house import House
from charter.config import Settings
from charter.core.canonical import canonical, digest_of
from charter.core.clock import Deadline
from charter.core.entropy import SystemEntropy
from charter.gateway.call import Bearer, Call
from charter.gateway.permit import Permit, PermitLedger
from charter.gateway.pins import ToolDefinition
from charter.gateway.pipeline import Admitted, Refused
from charter.identity.bearer import Binding, Confirmation
from charter.identity.keys import p256_jwk
from charter.registry.principal import SystemRecord
from databases import put_tables
from fakes import FixedClock

BEARING = {"type": "private-key-jwt", "bearer": "allowed"}
PIN = "sha256:" + "1" * 64
TEAMS: dict[str, Any] = {
    "charter": "v1",
    "teams": {
        "payments-ops": {"lead": "maria@example.com", "members": ["jo@example.com"]},
        "payments-platform": {"lead": "pia@example.com", "members": ["alex@example.com", "lena@example.com"]},
    },
    "roles": {"payments-risk": ["alex@example.com"], "payments-lead": ["lena@example.com", "maria@example.com"]},
}


@dataclass
class InstantUpstream:
    """Keeps the port's promise (the permit is spent first) and answers at once, or when `gate` opens."""

    permits: PermitLedger
    calls: list[Call] = field(default_factory=list)
    gate: asyncio.Event | None = None

    async def tools(self, _record: SystemRecord, _deadline: Deadline) -> tuple[ToolDefinition, ...]:
        return ()

    async def call(self, permit: Permit, call: Call, _deadline: Deadline) -> AsyncGenerator[dict[str, Any]]:
        self.permits.redeem(permit, call)
        self.calls.append(call)
        yield {"method": "notifications/progress", "params": {"progress": 1}}
        if self.gate is not None:
            await self.gate.wait()
        yield {"result": {"content": [{"type": "text", "text": "done"}]}}

    async def aclose(self) -> None:
        return None


def estate_files(*, bearing: bool = False, **changed: Any) -> dict[str, str]:
    """Return the files of a small estate: two principals on one pinned system. `changed` changes the refund agent.

    With `bearing`, the tokens of both may be used without the key they are bound to.
    """
    if bearing:
        changed = {"credential": BEARING} | changed
    actions = {name: action | {"pin": PIN} for name, action in PAYMENTS_SYSTEM["actions"].items()}
    grants = [REFUND_CHARTER["grants"][0] | {"when": {"amount": {"max": "200 EUR"}}}]
    reading = {"system": "payments", "actions": ["charge.read"]}
    refunds = REFUND_CHARTER | {"grants": [reading, grants[0] | {"actions": ["refund.create"]}]} | changed
    other = (
        REFUND_CHARTER
        | {"principal": "charge-reader", "grants": [reading]}
        | ({"credential": BEARING} if bearing else {})
    )
    return {
        "teams.yaml": canonical(TEAMS).decode(),
        "systems/payments.yaml": canonical(PAYMENTS_SYSTEM | {"actions": actions}).decode(),
        "principals/refund-agent.yaml": canonical(refunds).decode(),
        "principals/charge-reader.yaml": canonical(other).decode(),
    }


@dataclass
class Stage:
    """A house and what tests do with it."""

    house: House
    clock: FixedClock
    upstream: InstantUpstream

    def apply(self, files: dict[str, str]) -> dict[str, Any]:
        return asyncio.run(estate.apply(self.house, files, plan_digest=None, actor="test@example.com", reason="a test"))

    def bearer(self, name: str = "refund-agent") -> Bearer:
        """Return a bearer as a verified token of `name` yields it, its key registered."""
        principal = self.house.principal(name)
        keys = self.house.live.keys_of(principal.id)
        if not keys:
            jwk = p256_jwk(ec.generate_private_key(ec.SECP256R1()))
            asyncio.run(authority.register_key(self.house, name, jwk, actor="test@example.com", reason="a test"))
            keys = self.house.live.keys_of(principal.id)
        shown = Confirmation(Binding.JKT, keys[0].thumbprint)
        return Bearer(principal.id, name, principal.epoch, principal.digest, "tok_1", shown.thumbprint, 2**31, shown)

    def make(self, tool: str, arguments: dict[str, Any], pin: str | None = PIN) -> Call:
        digest = digest_of({"system": "payments", "tool": tool, "arguments": arguments})
        return Call("payments", tool, arguments, digest, pin)

    def submit(self, bearer: Bearer, call: Call) -> tuple[Admitted | Refused, list[dict[str, Any]]]:
        """Run one call through the pipeline to its end."""

        async def run() -> tuple[Admitted | Refused, list[dict[str, Any]]]:
            pipeline = self.house.pipeline
            found = await pipeline.submit(bearer, call, Deadline.after(self.clock, 5), source="test")
            messages = [m async for m in found.messages] if isinstance(found, Admitted) else []
            await pipeline.settled()
            return found, messages

        return asyncio.run(run())

    def entries(self, kind: str) -> list[dict[str, Any]]:
        from charter.bootstrap import evidence

        found = evidence.listing(self.house, {"kind": kind}, after=None, newest=None, limit=1000)
        return list(found["entries"])


@contextmanager
def a_house(
    folder: Path,
    *,
    files: dict[str, str] | None = None,
    apply: bool = True,
    clock: FixedClock | None = None,
    **settings: Any,
) -> Iterator[Stage]:
    """Build a house, apply an estate, give it the instant upstream; close it at the end."""
    clock = clock or FixedClock()
    told = Settings(estate=folder, **settings)
    put_tables_of(told)
    house = build(told, operator="test@example.com", clock=clock, entropy=SystemEntropy())
    upstream = InstantUpstream(house.pipeline.permits)
    house.pipeline.upstream = upstream
    stage = Stage(house, clock, upstream)
    try:
        if apply:
            stage.apply(files or estate_files())
        yield stage
    finally:
        asyncio.run(house.aclose())


def put_tables_of(told: Settings) -> None:
    """Put the database of a house, where it is SQLite, into its data folder: with its tables, before it is built."""
    if told.database is None:
        told.data_folder.mkdir(mode=0o700, exist_ok=True)
        put_tables(told.data_folder / "charter.db")
