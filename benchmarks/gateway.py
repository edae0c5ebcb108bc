"""What one governed MCP call costs over a direct one to the same upstream, with 1, 16 and 64 callers, and why.

Everything is the product's own: an estate applied by `charter apply`, the server started by `charter up`, tokens from
its token endpoint; policy decides each call, and its verdict is durable before it is forwarded. The upstream is as thin
as an MCP server can be, so that the difference is the gateway's. Callers are raw sockets that check every answer. All
contenders take turns, so that a noisy machine is noisy for all of them.
The endpoint where all systems of an agent are together, `/mcp`, is what fastmcp's proxy is alike most.

The split by step comes from a second server with a stopwatch at each step (`_timed.py`), and one caller. fastmcp's
proxy and ContextForge take turns too where `make bench` has installed them.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from _contextforge import PROGRAM, TOOL, contextforge
from _contextforge import VERSION as FORGE_VERSION
from _served import CALL, VERSION, connect, fetch, processes, request, serve, start, thin_upstream

CALLERS = (1, 16, 64)
PACE = 250  # calls a second of 64 callers together, who do not wait for each other: most fleets are like that
ROUNDS = 3
HERE = Path(__file__).resolve().parent
PEERS = HERE.parent / ".venv-peers" / "bin" / "python"
DIRECT, PEER_NAME, FORGE_NAME = "direct", "fastmcp proxy", "ContextForge"
ONE_NAME, ALL_NAME = "governed, bearer", "governed, bearer, all systems"
STEADY = (DIRECT, ONE_NAME, ALL_NAME)  # what can keep PACE
Turn = tuple[float, float, float, float]  # p50 and p99 in seconds, calls a second, seconds of a processor per call
STEPS = ("authenticate", "resolve", "decide", "settle and record", "forward", "outcome")
PEER = """
import sys
from fastmcp.server import create_proxy
create_proxy(sys.argv[1]).run(transport="http", host="127.0.0.1", port=int(sys.argv[2]), path="/mcp",
                              stateless_http=True, json_response=True, show_banner=False, log_level="ERROR")
"""


@dataclass(frozen=True)
class Contender:
    """Where to send calls, and with which headers: a fresh list for each turn, used in order."""

    name: str
    url: str
    headers: Callable[[int], list[str]]
    tool: str = "act"
    version: str = VERSION
    server: int | None = None  # the process whose processor time is told

    def used(self) -> float:
        """Return the seconds of a processor that the server has had."""
        if self.server is None:
            return 0.0
        told = Path(f"/proc/{self.server}/stat").read_text().rpartition(")")[2].split()
        return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


async def turn(contender: Contender, callers: int, seconds: float, most: int, pace: float = 0.0) -> list[float]:
    """Return the seconds each call took, in one turn of at most `seconds` and `most` calls.

    Each caller makes its next call when it has its answer; at a `pace`, in calls a second of all of them together, when
    it is due, and a call that is made late counts from when it was due.
    """
    headers = await asyncio.to_thread(contender.headers, most)  # it may run a loop of its own
    body = CALL.replace(b'"act"', json.dumps(contender.tool).encode())
    requests = iter(
        [request(contender.url, body, each, tool=contender.tool, version=contender.version) for each in headers]
    )
    took: list[float] = []
    ends = time.perf_counter() + seconds

    async def work(number: int) -> None:
        caller = await connect(contender.url)
        dues = count(time.perf_counter() + number / pace, callers / pace) if pace else None
        try:
            while (started := await due(dues, ends)) < ends and (sent := next(requests, None)) is not None:
                answer = await caller.call(sent)
                took.append(time.perf_counter() - started)
                result = json.loads(answer).get("result", {})
                assert result.get("content"), answer
                assert not result.get("isError"), answer
        finally:
            caller.close()

    await asyncio.gather(*(work(number) for number in range(callers)))
    return took


async def due(dues: Iterator[float] | None, ends: float) -> float:
    """Return when the next call is due, once it is or nothing is to be called any more: now, or the next of `dues`."""
    if dues is None:
        return time.perf_counter()
    at = next(dues)
    await asyncio.sleep(min(at, ends) - time.perf_counter())
    return at


def run(seconds: float) -> dict[str, Any]:
    """Measure for about `seconds`; see the module's docstring."""
    notes = [
        "p50 and p99 in microseconds, medians of the turns; added = p50 over the direct call's",
        "processor: microseconds of one core that the server spends on a call",
        f"{PACE}/s: callers who call when they are due, together so often, and not as soon as they have an answer",
    ]
    with tempfile.TemporaryDirectory() as folder, standing(Path(folder), notes) as contenders:
        turn_seconds = max(0.2, seconds / (len(CALLERS) * ROUNDS * len(contenders)))
        for contender in contenders:
            asyncio.run(turn(contender, 4, 0.5, 400))  # warm
        rows: list[list[Any]] = []
        for callers in CALLERS:
            turns = by_turns(contenders, callers, turn_seconds)
            rows += [row(name, callers, found, turns[DIRECT]) for name, found in turns.items()]
            notes += ratios(callers, turns)
        steady = by_turns([each for each in contenders if each.name in STEADY], CALLERS[-1], 4 * turn_seconds, PACE)
        rows += [row(name, f"{CALLERS[-1]}, {PACE}/s", found, steady[DIRECT]) for name, found in steady.items()]
        direct = rows[0][2]
    columns = ["contender", "callers", "p50", "p99", "lowest - highest", "calls/s", "added", "of direct", "processor"]
    found = {"title": "One governed MCP call over a direct one", "columns": columns, "rows": rows, "notes": notes}
    return found | {"and": [split(max(1.0, seconds / 6), direct)]}


def by_turns(contenders: list[Contender], callers: int, seconds: float, pace: float = 0.0) -> dict[str, list[Turn]]:
    """Let contenders take turns; return each one's."""
    turns: dict[str, list[Turn]] = {each.name: [] for each in contenders}
    for _ in range(ROUNDS):
        for contender in contenders:
            started, before = time.perf_counter(), contender.used()
            took = sorted(asyncio.run(turn(contender, callers, seconds, 20_000, pace)))
            rate = len(took) / (time.perf_counter() - started)
            cost = (contender.used() - before) / len(took)
            turns[contender.name].append((took[len(took) // 2], took[int(len(took) * 0.99)], rate, cost))
    return turns


def row(name: str, callers: int | str, turns: list[Turn], direct: list[Turn]) -> list[Any]:
    p50, p99, rate, cost = (statistics.median(column) for column in zip(*turns, strict=True))
    floor = statistics.median(each[0] for each in direct)
    added = "" if turns is direct else round((p50 - floor) * 1e6)
    middles = [each[0] * 1e6 for each in turns]
    spread = f"{min(middles):.0f} - {max(middles):.0f}"
    spent = round(cost * 1e6) or ""
    return [name, callers, round(p50 * 1e6), round(p99 * 1e6), spread, round(rate), added, f"{p50 / floor:.1f}x", spent]


def ratios(callers: int, turns: dict[str, list[Turn]]) -> list[str]:
    """Return how the peer compares with our endpoint of the same kind, turn by turn: medians, and the spread."""
    floor = statistics.median(each[0] for each in turns[DIRECT])
    found = []
    for name in (each for each in (PEER_NAME, FORGE_NAME) if each in turns):
        pairs = list(zip(turns[name], turns[ALL_NAME], strict=True))
        added = [(peer[0] - floor) / (ours[0] - floor) for peer, ours in pairs]
        rate = [ours[2] / peer[2] for peer, ours in pairs]
        told = [
            f"{statistics.median(each):.0f} ({min(each):.0f} - {max(each):.0f}) times {what}"
            for each, what in ((added, "our added latency"), (rate, "fewer calls"))
        ]
        found.append(f"{callers} callers: {name} against {ALL_NAME}: {', '.join(told)}")
    return found


def split(seconds: float, direct: float) -> dict[str, Any]:
    """Return where one call's time goes in the gateway, with one caller."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "steps.json"
        os.environ["BENCH_STEPS"] = str(file)
        with processes() as started:
            program = [sys.executable, str(HERE / "_timed.py"), "-C", f"{folder}/estate"]
            served = serve(started, Path(folder) / "estate", thin_upstream(started), ["agent"], program=program)
            token = fetch(served.agents["agent"], served.url)
            contender = Contender("timed", served.url, lambda count: [f"Authorization: Bearer {token}"] * count)
            asyncio.run(turn(contender, 1, 0.5, 400))
            took = asyncio.run(turn(contender, 1, seconds, 20_000))
        found: dict[str, list[float]] = json.loads(file.read_text())
    whole = statistics.median(found["in the gateway, all"])
    rows = [step_row(name, found[name], whole) for name in STEPS]
    waited = sum(each[1] for each in rows if each[0] != "outcome")  # nobody waits for the outcome to be recorded
    rows.append(
        [
            "rest: HTTP, MCP frames, the tool's definition",
            round(whole - waited, 1),
            "",
            "",
            round(1 - waited / whole, 2),
        ]
    )
    rows.append(step_row("all, within the gateway", found["in the gateway, all"], whole))
    seen = statistics.median(took) * 1e6
    return {
        "title": "… of which, step by step, one caller",
        "columns": ["step", "p50 us", "p99 us", "middle half", "of all"],
        "rows": rows,
        "notes": [
            f"the caller saw {seen:.0f} us; beside what the gateway did, that is sockets and the HTTP server",
            f"forward holds the whole call to the upstream, {direct} us when called directly",
            "the outcome is recorded after the answer has left; settle and record waits for the disk",
        ],
    }


def step_row(name: str, took: list[float], whole: float) -> list[Any]:
    ordered = sorted(took)
    quarter, middle, high = (ordered[int(len(ordered) * part)] for part in (0.25, 0.5, 0.75))
    p99 = ordered[int(len(ordered) * 0.99)]
    return [name, round(middle, 1), round(p99, 1), f"{quarter:.1f} - {high:.1f}", round(middle / whole, 2)]


@contextmanager
def standing(folder: Path, notes: list[str]) -> Iterator[list[Contender]]:
    """Give the contenders, all of them up."""
    with processes() as started:
        upstream = thin_upstream(started)
        contenders = [Contender(DIRECT, upstream, lambda count: ["X-Nothing: 1"] * count)]
        contenders += governed(started, folder / "estate", upstream)
        if PEERS.exists():
            port = start(started, [str(PEERS), "-c", PEER, upstream])
            contenders.append(Contender(PEER_NAME, f"http://127.0.0.1:{port}/mcp", contenders[0].headers))
        else:
            notes.append("no fastmcp: `make bench` installs it in .venv-peers")
        if PROGRAM.exists():
            address, token = contextforge(started, folder / "contextforge", upstream)
            told = f"Authorization: Bearer {token}"
            contenders.append(Contender(FORGE_NAME, address, lambda count: [told] * count, TOOL, FORGE_VERSION))
        else:
            notes.append("no ContextForge: `make bench` installs it in .venv-contextforge")
        yield contenders


def governed(started: list[subprocess.Popen[bytes]], folder: Path, upstream: str) -> list[Contender]:
    """Return Charter's own contenders: with a plain bearer token, and with a token bound to the agent's key."""
    served = serve(started, folder, upstream, ["agent"])
    tokens, server = served.agents["agent"], started[-1].pid

    def plain(count: int) -> list[str]:
        return [f"Authorization: Bearer {fetch(tokens, served.url)}"] * count

    def bound(count: int) -> list[str]:
        token = asyncio.run(tokens.fetch(served.url))["access_token"]  # it learns the server's nonce, too
        return [
            f"Authorization: DPoP {token}\nDPoP: {tokens.proof('POST', served.url, token)}"
            for _ in range(min(count, 4000))
        ]

    def of_all(count: int) -> list[str]:
        return [f"Authorization: Bearer {fetch(tokens, served.all_url)}"] * count

    return [
        Contender(ONE_NAME, served.url, plain, server=server),
        Contender("governed, DPoP", served.url, bound, server=server),
        Contender(ALL_NAME, served.all_url, of_all, tool="bench__act", server=server),
    ]


if __name__ == "__main__":
    print(json.dumps(run(float(sys.argv[1]) if len(sys.argv) > 1 else 20.0), indent=1))
