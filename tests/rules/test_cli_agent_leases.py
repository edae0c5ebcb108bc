"""The leases of a running agent: renewed while a third of their time is left, by a clock that anybody can read."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from charter.cli import agent_leases
from charter.cli.agent_leases import HeldLease, leased
from charter.core.errors import ErrorCode, UnavailableError
from fakes import FixedClock

START = dt.datetime(2026, 11, 24, 9, 30, tzinfo=dt.UTC)
MINUTES = dt.timedelta(minutes=1)


def a_lease(**changed: Any) -> HeldLease:
    given: dict[str, Any] = {
        "system": "reports",
        "id": "lea_1",
        "kind": "aws",
        "variables": {
            "AWS_ACCESS_KEY_ID": "one",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_SESSION_TOKEN": "token",
            "AWS_REGION": "eu-central-1",
        },
        "expires_at": START + 15 * MINUTES,
        "ends_at": START + 60 * MINUTES,
        "renew_at": START + 10 * MINUTES,
    }
    return HeldLease(**given | changed)


@pytest.mark.parametrize(
    ("lease", "minutes", "due"),
    [
        (a_lease(), 9, False),
        (a_lease(), 10, True),
        (a_lease(), 14, True),
        (a_lease(), 15, False),  # it is over: nothing renews it
        (a_lease(ends_at=START + 15 * MINUTES), 12, False),  # it is at its end
    ],
)
def test_a_lease_is_due_when_a_third_of_its_time_is_left(lease: HeldLease, minutes: int, due: bool) -> None:
    assert lease.is_due(START + minutes * MINUTES) is due


def test_what_could_not_be_renewed_is_tried_again_in_time() -> None:
    lease = a_lease()
    now = START + 10 * MINUTES
    tries = []
    while lease.is_due(now):
        tries.append(now)
        lease.put_off(now)
        now = lease.renew_at
    assert 5 <= len(tries) <= 15
    assert lease.expires_at - tries[-1] < MINUTES


@dataclass
class Tokens:
    clock: FixedClock


@dataclass
class Client:
    """Charter, as a client of leases sees it: time passes with each answer."""

    tokens: Tokens = field(default_factory=lambda: Tokens(FixedClock(START)))
    fails: int = 0
    deeds: list[str] = field(default_factory=list)
    renewed: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, system: str) -> HeldLease:
        self.tokens.clock.advance(minutes=11)
        return a_lease(system=system)

    async def renew(self, lease: HeldLease) -> HeldLease:
        self.deeds.append("renew")
        if self.fails:
            self.fails -= 1
            self.tokens.clock.advance(minutes=2)
            raise UnavailableError(ErrorCode.NOT_RUNNING, "nobody answers")
        now = self.tokens.clock.now()
        self.renewed.set()
        renewed = lease.variables | {"AWS_ACCESS_KEY_ID": "two"}
        return replace(lease, variables=renewed, expires_at=now + 15 * MINUTES, renew_at=now + 10 * MINUTES)

    async def give_back(self, lease: HeldLease) -> None:
        self.deeds.append(f"give back {lease.variables['AWS_ACCESS_KEY_ID']}")


def _session(environment: dict[str, str]) -> Any:
    """Return what the profile that the agent finds gives its SDK."""
    file = environment["CHARTER_LEASE_REPORTS"]
    assert f"credential_process = cat {file}" in Path(environment["AWS_CONFIG_FILE"]).read_text(encoding="utf-8")
    return json.loads(Path(file).read_text(encoding="utf-8"))


@pytest.mark.parametrize("fails", [0, 1])
def test_the_agent_finds_the_renewed_credential_where_the_first_one_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fails: int
) -> None:
    monkeypatch.setattr(agent_leases, "LEAST_PAUSE", 0.01)
    monkeypatch.setattr(agent_leases, "LONGEST_PAUSE", 0.01)
    client = Client(fails=fails)

    async def go() -> None:
        async with leased(client, ["reports"], tmp_path, {"AWS_PROFILE": "admin"}) as environment:  # type: ignore[arg-type]
            assert "AWS_PROFILE" not in environment
            assert _session(environment)["AccessKeyId"] == "one"
            async with asyncio.timeout(30):
                await client.renewed.wait()
            assert _session(environment)["AccessKeyId"] == "two"
            assert _session(environment)["Expiration"] > (START + 20 * MINUTES).isoformat()

    asyncio.run(go())
    assert client.deeds == ["renew"] * (fails + 1) + ["give back two"]
    assert ("could not be renewed: nobody answers" in capsys.readouterr().err) is bool(fails)
