"""A house that serves the Workload API, for clients in this process and in children.

with a_workload_stage(agent={"uid": os.getuid()}) as stage:
    client = stage.client()          # the stock SPIFFE client
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import queue
import threading
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from spiffe import WorkloadApiClient

from builders import PAYMENTS_SYSTEM, REFUND_CHARTER
from charter.bootstrap import authority, estate
from charter.bootstrap.building import build
from charter.bootstrap.house import House
from charter.bootstrap.workload import Workloads
from charter.config import Settings
from charter.core.canonical import canonical
from charter.core.clock import SystemClock
from charter.registry.standing import Move
from charter.server.workload_door import workload_door
from charter.server.workload_rpc import WorkloadServer
from houses import TEAMS, put_tables_of
from workloads import an_open_folder

T = TypeVar("T")
ME = {"uid": os.getuid()}
LAST_DAY = dt.date(2099, 12, 31)


class ShiftedClock(SystemClock):
    """The machine's clock, ahead or behind: the stock client reads the machine's own."""

    def __init__(self) -> None:
        self.ahead = dt.timedelta()

    def now(self) -> dt.datetime:
        return super().now() + self.ahead

    def move_to(self, at: dt.datetime) -> None:
        self.ahead = at - super().now()


def spiffe_files(expires: dt.date = LAST_DAY, trusts: tuple[str, ...] = (), **workloads: Any) -> dict[str, str]:
    """Return the files of an estate whose principals are the given workloads: `refund_agent={"uid": 0}`."""
    files = {
        "teams.yaml": canonical(TEAMS).decode(),
        "systems/payments.yaml": canonical(PAYMENTS_SYSTEM).decode(),
    }
    for name, selectors in workloads.items():
        principal = name.replace("_", "-")
        entries = selectors if isinstance(selectors, list) else [selectors]
        credential: dict[str, Any] = {"type": "spiffe", "workloads": entries}
        credential |= {"trusts": list(trusts)} if trusts else {}
        changed = {"principal": principal, "credential": credential, "expires": expires.isoformat()}
        files[f"principals/{principal}.yaml"] = canonical(REFUND_CHARTER | {"grants": []} | changed).decode()
    return files


class Listener:
    """Gathers what a stock client's stream brings."""

    def __init__(self) -> None:
        self.heard: queue.Queue[Any] = queue.Queue()
        self.error = threading.Event()
        self.said = ""

    def success(self, update: Any) -> None:
        self.heard.put(update)

    def failure(self, error: Exception) -> None:
        self.said = str(error)
        self.error.set()

    def next(self) -> Any:
        return self.heard.get(timeout=20)


@dataclass
class WorkloadStage:
    """A serving house, whose event loop runs on a thread of its own."""

    house: House
    clock: ShiftedClock
    path: Path
    server: WorkloadServer
    loop: asyncio.AbstractEventLoop
    _open: ExitStack

    @property
    def address(self) -> str:
        return f"unix://{self.path}"

    def client(self) -> WorkloadApiClient:
        """Return a stock client, which is closed with the stage."""
        client = WorkloadApiClient(socket_path=self.address, default_timeout=20)
        self._open.callback(client.close)
        return client

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine where the house runs."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def move(self, name: str, to: Move) -> None:
        self.run(authority.move(self.house, name, to, actor="test@example.com", reason="a test"))

    def apply(self, files: dict[str, str]) -> None:
        self.run(estate.apply(self.house, files, plan_digest=None, actor="test@example.com", reason="a test"))

    def entries(self, kind: str) -> list[dict[str, Any]]:
        from charter.bootstrap import evidence

        found = evidence.listing(self.house, {"kind": kind}, after=None, newest=None, limit=1000)
        return list(found["entries"])


@contextmanager
def a_workload_stage(
    *,
    expires: dt.date = LAST_DAY,
    trusts: tuple[str, ...] = (),
    at: dt.datetime | None = None,
    trust_domain: str = "charter.local",
    port: int = 8440,
    **workloads: Any,
) -> Iterator[WorkloadStage]:
    """Serve the Workload API of a house with these principals; refund-agent is this process if none are given."""
    clock = ShiftedClock()
    if at is not None:
        clock.move_to(at)
    with an_open_folder() as folder, _a_loop() as loop:
        path = folder / "workload.sock"
        settings = Settings(estate=folder, workload_socket=path, trust_domain=trust_domain, port=port)
        put_tables_of(settings)
        house = build(settings, operator="test@example.com", clock=clock)
        door = workload_door(Workloads(house), settings.workload_path)
        server = asyncio.run_coroutine_threadsafe(door.__aenter__(), loop).result(30)
        with ExitStack() as inner:
            stage = WorkloadStage(house, clock, settings.workload_path, server, loop, inner)
            try:
                stage.apply(spiffe_files(expires, trusts, **(workloads or {"refund_agent": ME})))
                yield stage
            finally:
                inner.close()
                asyncio.run_coroutine_threadsafe(door.__aexit__(None, None, None), loop).result(30)
                asyncio.run_coroutine_threadsafe(house.aclose(), loop).result(30)


@contextmanager
def _a_loop() -> Iterator[asyncio.AbstractEventLoop]:
    runner = asyncio.Runner()
    loop = runner.get_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        runner.close()  # with what is under way, which would be found unclosed at any later time
