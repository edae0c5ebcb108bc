"""SVIDs: issued by the house behind the Workload API, beside the bare cost of the signatures they need.

An X.509-SVID is a key of its own, a certificate, and evidence that is durable before it leaves; a JWT-SVID a signature
and the same evidence. What the kernel says of a process is looked at before (tests and docs/spiffe.md), and the gRPC
frame is the caller's: neither is measured here. All take turns.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from _served import PRINCIPAL, TEAMS
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from charter.bootstrap import estate
from charter.bootstrap.building import build
from charter.bootstrap.workload import Workloads
from charter.config import Settings
from charter.identity.bearer import Attested

CLIENTS = 400  # so that none is given more than its pace
ROUNDS = 5
AT_ONCE = (1, 16, 64)
AUDIENCES = ("https://ledger.example",)
SYSTEM = """charter: v1
system: bench
kind: mcp
environment: sandbox
owner: {person: ops@example.com, team: bench}
actions: {act: {tool: act, effect: read}}
"""
Issue = Callable[[Attested], Awaitable[Any]]


class Bench:
    """A house, principals whose processes are known to it, and the bare cryptography."""

    def __init__(self, folder: Path) -> None:
        self.house = build(Settings(estate=folder), operator="ops@example.com")
        asyncio.run(estate.apply(self.house, _files(), plan_digest=None, actor="ops@example.com", reason="bench"))
        keys = self.house.live.keys.values()
        self.known = itertools.cycle([Attested(key.principal_id, key.thumbprint, {"uid": 1001}) for key in keys])
        self.workloads = Workloads(self.house)
        self.key = ec.generate_private_key(ec.SECP256R1())

    def issue(self, how: Issue, at_once: int, seconds: float) -> float:
        """Return the seconds that one took, `at_once` being asked for at a time."""
        return asyncio.run(self._issue(how, at_once, seconds))

    async def _issue(self, how: Issue, at_once: int, seconds: float) -> float:
        done, started = 0, time.perf_counter()

        async def ask() -> None:
            nonlocal done
            while time.perf_counter() - started < seconds:
                await how(next(self.known))
                done += 1

        await asyncio.gather(*(ask() for _ in range(at_once)))
        return (time.perf_counter() - started) / done

    async def x509(self, known: Attested) -> None:
        """Have one X.509-SVID."""
        await self.workloads.x509(known)

    async def jwt(self, known: Attested) -> None:
        """Have one JWT-SVID."""
        await self.workloads.jwt(known, AUDIENCES)

    def signature(self, seconds: float) -> float:
        """Return what one signature costs."""
        message, algorithm = b"x" * 480, ec.ECDSA(hashes.SHA256())
        return _each(lambda: self.key.sign(message, algorithm), seconds)

    def key_and_signature(self, seconds: float) -> float:
        """Return what a fresh key and one signature cost: what an X.509-SVID cannot cost less than."""
        message, algorithm = b"x" * 480, ec.ECDSA(hashes.SHA256())

        def once() -> None:
            ec.generate_private_key(ec.SECP256R1())
            self.key.sign(message, algorithm)

        return _each(once, seconds)

    def certificate(self, seconds: float) -> float:
        """Return what a certificate with two extensions costs, built and signed by the library."""
        name, public, now = x509.Name([]), self.key.public_key(), dt.datetime.now(dt.UTC)
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://charter.local/bench")])
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(public).serial_number(7)
        builder = builder.not_valid_before(now).not_valid_after(now + dt.timedelta(hours=1))
        builder = builder.add_extension(names, critical=True)
        leaf = x509.BasicConstraints(ca=False, path_length=None)

        def once() -> None:
            made = builder.add_extension(leaf, critical=True).sign(self.key, hashes.SHA256())
            made.public_bytes(Encoding.DER)

        return _each(once, seconds)

    def close(self) -> None:
        """Let all go."""
        asyncio.run(self.house.aclose())


def _files() -> dict[str, str]:
    old = next(line for line in PRINCIPAL.splitlines() if line.startswith("credential:"))
    files = {"teams.yaml": TEAMS, "systems/bench.yaml": SYSTEM}
    for number in range(CLIENTS):
        own = f"credential: {{type: spiffe, workloads: [{{uid: {10_000 + number}}}]}}"
        name = f"agent-{number}"
        files[f"principals/{name}.yaml"] = PRINCIPAL.replace("NAME", name).replace(old, own)
    return files


def _each(once: Callable[[], Any], seconds: float) -> float:
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        for _ in range(20):
            once()
        done += 20
    return (time.perf_counter() - started) / done


def run(seconds: float) -> dict[str, Any]:
    """Measure for about `seconds`; return rows of medians over the rounds, with spread."""
    with tempfile.TemporaryDirectory(prefix=".charter-bench-", dir=Path.cwd()) as folder:  # a real disk, no tmpfs
        bench = Bench(Path(folder))
        ways: dict[str, Callable[[float], float]] = {
            "bare: a P-256 key and a signature": bench.key_and_signature,
            "the library's: a certificate with two extensions": bench.certificate,
            **{f"X.509-SVID, {n} at once": partial(bench.issue, bench.x509, n) for n in AT_ONCE},
            "bare: a signature": bench.signature,
            **{f"JWT-SVID, {n} at once": partial(bench.issue, bench.jwt, n) for n in AT_ONCE},
        }
        slot = seconds / (ROUNDS * len(ways))
        turns: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                turns[name].append(way(slot))
        bench.close()
    rows, bare = [], 1.0
    for name, each in turns.items():
        median = statistics.median(each)
        bare = median if name.startswith("bare") else bare
        spread = f"{min(each) * 1e6:.0f} - {max(each) * 1e6:.0f}"
        rows.append([name, round(median * 1e6, 1), spread, round(1 / median), round(median / bare, 1)])
    return {
        "title": "SVIDs",
        "columns": ["what", "us each", "lowest - highest", "per second", "x bare"],
        "rows": rows,
        "notes": [
            f"one process, {CLIENTS:,} principals, {ROUNDS} rounds; each was signed after its evidence was durable",
            "a bare row is what the rows after it are compared with",
        ],
    }


if __name__ == "__main__":
    import json

    print(json.dumps(run(float(sys.argv[1]) if len(sys.argv) > 1 else 20.0), indent=1))
