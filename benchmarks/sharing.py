"""What it costs a call that shared credentials are noticed, beside what it costs to find out whose token it is.

The floor is `Pipeline.authenticate` of a plain bearer token whose signature was verified before: what each call pays
anyway. Rows say what is added to it by the sender as it usually is, and by senders as they rarely are; all take turns.
Memory is that of 50,000 credentials, each with a token of its own, followed at a time.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import json
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from charter.bootstrap.building import build
from charter.bootstrap.house import House
from charter.config import Settings
from charter.core.clock import SystemClock
from charter.identity.bearer import Bearer, Binding, Confirmation
from charter.identity.claims import TokenContent, claims_of
from charter.identity.sharing import Uses
from charter.registry.charter import CredentialType, Environment, Kind
from charter.registry.principal import ClientKey, LiveEstate, Principal
from charter.registry.standing import Standing
from charter.registry.terms import Bearing, Terms, Usage

BATCH = 2_000
FOLLOWED = 50_000
RESOURCE = "http://127.0.0.1:8420/mcp/payments"
KEY = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def a_token(house: House) -> str:
    """Return an access token of an agent that is registered in memory."""
    now = house.clock.now()
    agent = Principal(
        id="prn_agent",
        name="agent",
        spiffe_id="spiffe://charter.local/production/agent/agent",
        kind=Kind.AGENT,
        environment=Environment.PRODUCTION,
        owner_person="ops@example.com",
        owner_team="bench",
        standing=Standing.ACTIVE,
        epoch=0,
        version=1,
        digest="sha256:" + "1" * 64,
        expires=now.date() + dt.timedelta(days=1),
        terms=Terms(CredentialType.PRIVATE_KEY_JWT, Bearing.ALLOWED),
    )
    house.live.principals[agent.id] = agent
    house.live.put_key(ClientKey("crd_1", agent.id, KEY, {}, Standing.ACTIVE, now))
    content = TokenContent(agent, RESOURCE, "tok_1", KEY)
    issuer, moment = house.settings.issuer, int(now.timestamp())
    return house.tokens.sign(claims_of(content, issuer=issuer, now=moment, seconds=900))


def with_usage(live: LiveEstate, usage: Usage) -> LiveEstate:
    """Return an estate in which the charter says that of its credential."""
    found = LiveEstate(keys=live.keys)
    found.principals = {
        each.id: replace(each, terms=replace(each.terms, usage=usage)) for each in live.principals.values()
    }
    return found


def contenders(house: House, token: str) -> dict[str, Callable[[], Any]]:
    """Return what takes turns, each one call."""
    at = house.clock.now()
    bearer = house.pipeline.authenticate(token, audience=RESOURCE, at=at)
    bound = replace(bearer, bound_to=Confirmation(Binding.JKT, "k"))

    def uses(usage: Usage | None = None) -> Uses:
        return Uses(house.live if usage is None else with_usage(house.live, usage), SystemClock())

    def called(who: Bearer, sources: Iterator[str], usage: Usage | None = None) -> Callable[[], Any]:
        kept = uses(usage)
        return lambda: kept.called(who, next(sources), "payments")

    home, turns = itertools.repeat("10.1.2.3"), itertools.cycle(["10.1.2.3", "8.8.8.8"])
    return {
        "whose token it is (what each call pays anyway)": lambda: house.pipeline.authenticate(
            token, audience=RESOURCE, at=at
        ),
        "the same sender as before, token bound to a key": called(bound, home),
        "the same sender as before, bearer token": called(bearer, home),
        "… whose charter states its places": called(bound, home, Usage(places=("10.0.0.0/8",))),
        "… and how many instances": called(bound, home, Usage(places=("10.0.0.0/8",), instances=2)),
        "two places by turns": called(bound, turns),
    }


def measured(found: dict[str, Callable[[], Any]], seconds: float) -> dict[str, list[float]]:
    """Return microseconds a call, a figure for each turn."""
    took: dict[str, list[float]] = {name: [] for name in found}
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends or len(next(iter(took.values()))) < 3:
        for name, call in found.items():
            started = time.process_time()
            for _ in range(BATCH):
                call()
            took[name].append((time.process_time() - started) / BATCH * 1e6)
    return took


def memory(house: House, token: str) -> int:
    """Return bytes for each credential that is followed, with a token of its own."""
    bearer = house.pipeline.authenticate(token, audience=RESOURCE, at=house.clock.now())
    kept = Uses(house.live, SystemClock())
    tracemalloc.start()
    for number in range(FOLLOWED):
        kept.called(
            replace(bearer, credential=f"credential-{number:06}", token_id=f"tok_{number:026}"), "10.1.2.3", "x"
        )
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held // FOLLOWED


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    with tempfile.TemporaryDirectory() as folder:
        house = build(Settings(estate=Path(folder), port=8420), operator="ops@example.com")
        token = a_token(house)
        took = measured(contenders(house, token), seconds)
        size = memory(house, token)
        asyncio.run(house.aclose())
    floor = statistics.median(next(iter(took.values())))
    rows = [
        [
            name,
            f"{statistics.median(turns):.2f}",
            f"{min(turns):.2f} to {max(turns):.2f}",
            f"{statistics.median(turns) / floor:.2f}",
        ]
        for name, turns in took.items()
    ]
    print(
        json.dumps(
            {
                "title": "noticing shared credentials, microseconds on the processor a call",
                "columns": ["what", "median", "least to most", "of what is paid anyway"],
                "rows": rows,
                "notes": [f"{size} bytes for each of {FOLLOWED:,} credentials followed at a time, with a token each"],
            }
        )
    )


if __name__ == "__main__":
    main()
