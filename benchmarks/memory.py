"""What 100,000 principals cost: memory of one process, and the time to be ready to decide.

A database is filled with as many principals, charters and keys as `charter apply` leaves there. A fresh process then
does what `charter up` does, and reads its own resident memory after each step: the libraries, the estate in memory, the
policies of every principal bound, some decisions made.
"""

from __future__ import annotations

import gc
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

COUNT = 100_000


def resident() -> float:
    """Return this process's resident memory in MB."""
    gc.collect()
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def fill(file: Path) -> None:
    """Make the database: principals and their keys."""
    from _population import NOON, SYSTEMS, digest_of_charter, key_of, principal_of, system_of, version_row

    from charter.adapters.engine import open_engines, sqlite_url
    from charter.adapters.identity_store import SqlIdentity
    from charter.adapters.migrations import migrate
    from charter.adapters.registry_store import RegistryStore
    from charter.adapters.tables import charter_version
    from charter.registry.principal import SystemRecord
    from charter.registry.record import ManagedBy
    from charter.registry.standing import Standing

    engine, reader = open_engines(sqlite_url(file))
    migrate(engine)
    with engine.begin() as connection:
        store = RegistryStore(connection)
        store.add_principals(
            [principal_of(number, digest_of_charter(number)) for number in range(COUNT)], ManagedBy.GIT, NOON
        )
        for start in range(0, COUNT, 2_000):
            connection.execute(charter_version.insert(), [version_row(n) for n in range(start, start + 2_000)])
        identity = SqlIdentity(connection)
        for number in range(COUNT):
            identity.add_key(key_of(number))
        for name in SYSTEMS:
            system = system_of(name)
            store.put_system(SystemRecord(name, 1, system.digest, Standing.ACTIVE, system), {}, ManagedBy.GIT, NOON)
    engine.dispose()
    reader.dispose()


def child(file: Path) -> dict[str, Any]:
    """Load, bind and measure, in a fresh process."""
    from _population import Deciding, an_engine, bearer_of, calls, slices_of

    from charter.adapters.engine import open_engines, sqlite_url
    from charter.adapters.registry_store import RegistryStore, load_live
    from charter.core.clock import Deadline, SystemClock

    steps = [("libraries", resident(), 0.0, 1)]
    engine, reader = open_engines(sqlite_url(file))
    started = time.thread_time()
    with reader.connect() as connection:
        live = load_live(connection)
    steps.append(("the estate in memory, read from SQLite", resident(), time.thread_time() - started, COUNT))
    live.policy_generation = 1
    decider = an_engine()
    slices = slices_of(live, decider)
    started = time.thread_time()
    with reader.connect() as connection:
        deadline = Deadline.after(SystemClock(), 3600)
        bound = slices.prepare(RegistryStore(connection).kept_charters(), deadline=deadline)
    assert bound == COUNT
    steps.append(("a slice of ten policies bound for each", resident(), time.thread_time() - started, COUNT))
    dice = random.Random(1)
    stream = calls(dice)
    asked = [(bearer_of(number), next(stream)) for number in dice.sample(range(COUNT), COUNT // 10)]
    house = Deciding(live, slices, decider)
    started = time.thread_time()
    for bearer, call in asked:
        house.verdict(bearer, call)
    steps.append(("a tenth of them decided about", resident(), time.thread_time() - started, len(asked)))
    engine.dispose()
    reader.dispose()
    return {"steps": steps}


def run(seconds: float) -> dict[str, Any]:  # noqa: ARG001 - it is done once, however long that takes
    """Measure once, in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "charter.db"
        fill(file)
        words = [sys.executable, __file__, "child", str(file)]
        steps = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)["steps"]
    rows, before = [], 0.0
    for name, memory, took, each in steps:
        grown = memory - before
        per = f"{grown * 1024 / each:.2f}" if each > 1 else ""
        rows.append([name, round(memory, 1), round(grown, 1), per, round(took, 2), f"{took / each * 1e6:.0f}"])
        before = memory
    return {
        "title": f"{COUNT:,} principals in memory",
        "columns": ["step", "resident MB", "grown MB", "kB each", "processor seconds", "us each"],
        "rows": rows,
        "notes": ["one process; each principal has one key and is of one of twenty patterns"],
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        print(json.dumps(child(Path(sys.argv[2]))))
    else:
        print(json.dumps(run(0), indent=1))
