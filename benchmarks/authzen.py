"""The decision API over loopback HTTP, beside Cerbos' own AuthZEN endpoints: the same requests to both.

Charter is the product's own: an estate applied by `charter apply`, `charter up`, an enforcement point with a token.
Each of its decisions is authenticated, asked of the one pipeline, counted, and durable in the evidence before it is
answered; Cerbos authenticates nobody and keeps nothing. A batch is measured by the decision. A search looks at each of
AGENTS principals, and its page is recorded. Contenders take turns.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _engines import CERBOS
from _served import PRINCIPAL, TEAMS, charter, connect, fetch, processes, start, up

from charter.bootstrap import authority, estate
from charter.bootstrap.building import build
from charter.cli.agent_keys import agent_key
from charter.config import Settings
from charter.gateway.call import Bearer
from charter.gateway.decisions import Answered
from charter.gateway.evaluation import parse_evaluation
from charter.gateway.vouching import Asking, Points, Understood, Vouching
from charter.server.access_answers import decision
from charter.server.gateway_http import encode

if TYPE_CHECKING:
    from collections.abc import Iterator

AGENTS = 500
CALLERS = (1, 16)
BATCHES = (10, 50, 100)
ROUNDS = 5
POINT = "bench-gateway"
SYSTEM = """charter: v1
system: records
kind: http
environment: sandbox
owner: {person: ops@example.com, team: bench}
actions: {read: {effect: read}, write: {effect: write}, delete: {effect: irreversible}}
enforcement:
  points: [bench-gateway]
  vouching: allowed
  subjects: {types: [user]}
  resources: {record: {}}
"""
GRANTS = """grants:
  - {system: records, actions: [read]}
  - {system: records, actions: [write], when: {asked.resource.status: {equals: active}}}
  - {system: records, actions: [delete], when: {soft: {equals: true}}, objects: ["record-*"]}
"""
CERBOS_POLICY = """apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: record
  version: default
  rules:
    - {actions: [read], effect: EFFECT_ALLOW, roles: [user]}
    - {actions: [write], effect: EFFECT_ALLOW, roles: [user], condition: {match: {expr: "R.attr.status == 'active'"}}}
    - {actions: [delete], effect: EFFECT_ALLOW, roles: [user], condition: {match: {expr: "R.id.startsWith('record-')"}}}
"""


@dataclass(frozen=True)
class Contender:
    """Where decisions are asked for."""

    name: str
    url: str
    authorization: str = ""

    def request(self, path: str, body: Any) -> bytes:
        """Return one request as it goes over the wire."""
        content = json.dumps(body).encode()
        host = self.url.removeprefix("http://")
        lines = [f"POST /access/v1/{path} HTTP/1.1", f"Host: {host}", "Content-Type: application/json"]
        lines += [f"Authorization: Bearer {self.authorization}"] if self.authorization else []
        return "\r\n".join([*lines, f"Content-Length: {len(content)}", "", ""]).encode() + content


def question(number: int) -> dict[str, Any]:
    """Return one question: reads and writes of active and archived records, two of three allowed."""
    status = "archived" if number % 3 == 0 else "active"
    return {
        "subject": {"type": "user", "id": f"agent-{number % AGENTS}"},
        "action": {"name": "write" if number % 3 < 2 else "read"},
        "resource": {"type": "record", "id": f"record-{number}", "properties": {"status": status}},
    }


def batch(size: int, number: int) -> dict[str, Any]:
    return {"evaluations": [question(number + at) for at in range(size)]}


def search(number: int) -> dict[str, Any]:
    return {
        "subject": {"type": "user"},
        "action": {"name": "read"},
        "resource": {"type": "record", "id": f"record-{number}"},
        "page": {"limit": AGENTS},
    }


async def turn(
    contender: Contender, path: str, body: Callable[[int], Any], callers: int, seconds: float
) -> tuple[list[float], float]:
    """Return the seconds that each request took, and requests a second; every answer is looked at."""
    sent = [contender.request(path, body(number)) for number in range(300)]
    took: list[float] = []
    ends = time.perf_counter() + seconds

    async def work(first: int) -> None:
        caller = await connect(contender.url)
        at = first
        while (started := time.perf_counter()) < ends:
            answer = await caller.call(sent[at % len(sent)])
            took.append(time.perf_counter() - started)
            assert b'"decision":' in answer or b'"results":' in answer, answer[:300]
            at += callers
        caller.close()

    began = time.perf_counter()
    await asyncio.gather(*(work(first) for first in range(callers)))
    return took, len(took) / (time.perf_counter() - began)


async def agreeing(contenders: list[Contender]) -> int:
    """Return on how many of 300 questions all contenders say the same."""
    said = []
    for each in contenders:
        caller = await connect(each.url)
        answers = [json.loads(await caller.call(each.request("evaluation", question(n)))) for n in range(300)]
        said.append([answer["decision"] for answer in answers])
        caller.close()
    return sum(len(set(each)) == 1 for each in zip(*said, strict=True))


@contextmanager
def standing(folder: Path, notes: list[str]) -> Iterator[list[Contender]]:
    with processes() as started:
        contenders = [Contender("Charter, durable", *a_charter(started, folder / "estate"))]
        if CERBOS.exists():
            (folder / "policies").mkdir()
            (folder / "policies" / "record.yaml").write_text(CERBOS_POLICY)
            words = [str(CERBOS), "server", f"--set=storage.disk.directory={folder}/policies", "--log-level=ERROR"]
            words.append(f"--set=server.grpcListenAddr=unix:{folder}/grpc")
            port = start(started, words, last="--set=server.httpListenAddr=127.0.0.1:{}")
            contenders.append(Contender("Cerbos 0.55, AuthZEN", f"http://127.0.0.1:{port}"))
            notes.append(f"both say the same of {asyncio.run(agreeing(contenders))} of 300 questions")
        else:
            notes.append("no Cerbos: `make bench` installs it in .venv-peers where node is present")
        yield contenders


def a_charter(started: list[Any], folder: Path) -> tuple[str, str]:
    """Start Charter with AGENTS principals; return its address and the point's token."""
    for path, text in _files().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    charter(folder, "apply", "--yes")
    served = up(started, folder, [POINT])
    return served.issuer, fetch(served.agents[POINT], f"{served.issuer}/access/v1")


def _files() -> dict[str, str]:
    begins, _, ends = PRINCIPAL.partition("grants:\n")
    ends = ends.partition("\n")[2]
    files = {"teams.yaml": TEAMS, "systems/records.yaml": SYSTEM}
    files[f"principals/{POINT}.yaml"] = (begins + ends).replace("NAME", POINT).replace("kind: agent", "kind: workflow")
    charters = {f"agent-{number}": begins + GRANTS + ends for number in range(AGENTS)}
    return files | {f"principals/{name}.yaml": text.replace("NAME", name) for name, text in charters.items()}


def run(seconds: float) -> dict[str, Any]:
    """Measure for about `seconds`; see the module's docstring."""
    notes = ["microseconds, medians of the turns; a batch's are those of one of its decisions"]
    with tempfile.TemporaryDirectory() as folder, standing(Path(folder), notes) as contenders:
        cases: list[tuple[str, str, Callable[[int], Any], int, int]] = [
            ("evaluation", "evaluation", question, callers, 1) for callers in CALLERS
        ]
        cases += [(f"batch of {size}", "evaluations", partial(batch, size), 1, size) for size in BATCHES]
        each = seconds / ((len(cases) * len(contenders) + 1) * ROUNDS)
        rows: list[list[Any]] = []
        for what, path, body, callers, size in cases:
            turns: dict[str, list[tuple[float, float, float]]] = {c.name: [] for c in contenders}
            for _ in range(ROUNDS):
                for contender in contenders:
                    took, rate = asyncio.run(turn(contender, path, body, callers, max(0.2, each)))
                    turns[contender.name].append(_figures(took, rate, size))
            ours = statistics.median(figures[0] for figures in turns[contenders[0].name])
            rows += [_row(what, callers, name, found, ours) for name, found in turns.items()]
        found = [asyncio.run(turn(contenders[0], "search/subject", search, 1, max(0.2, each))) for _ in range(ROUNDS)]
        searched = [_figures(took, rate, 1) for took, rate in found]
        rows.append(_row(f"search of {AGENTS} subjects", 1, contenders[0].name, searched, 0.0))
        split = steps(Path(folder) / "in-process")
    return {
        "title": "authzen: decisions over loopback HTTP, durable, beside Cerbos",
        "columns": ["what", "callers", "who", "p50 us", "p99 us", "decisions/s", "x Charter's p50"],
        "rows": rows,
        "notes": notes,
        "and": [split],
    }


def steps(folder: Path) -> dict[str, Any]:
    """Return what each step of one evaluation costs the processor, the record and its commit left out."""
    folder.mkdir()
    house = build(Settings(estate=folder), operator="ops@example.com")
    try:
        asyncio.run(estate.apply(house, _files(), plan_digest=None, actor="ops@example.com", reason="bench"))
        point, key = house.principal(POINT), agent_key(folder / "keys", house.settings.issuer, POINT)
        made = asyncio.run(authority.register_key(house, POINT, key.jwk, actor="ops@example.com", reason="bench"))
        bearer = Bearer(point.id, POINT, point.epoch, point.digest, "tok_1", made["thumbprint"], 2**40)
        found = Points(house.live).of(POINT)
        assert found is not None
        asking, at = Asking(found, bearer), house.clock.now()
        vouching = Vouching(house.live, house.tokens, house.settings.issuer)
        body = json.dumps(question(2)).encode()
        asked = parse_evaluation(body)
        meant = vouching.understood(asking, asked, at)
        assert isinstance(meant, Understood)
        facts, verdict = house.pipeline.would(meant.bearer, meant.call, at)
        assert facts is not None, verdict
        answered = Answered("vrd_" + "0" * 26, verdict, at, 1, asked, meant)
        timed: list[tuple[str, Callable[[], Any]]] = [
            ("read the question", lambda: parse_evaluation(body)),
            ("understand it: subject, object, arguments", lambda: vouching.understood(asking, asked, at)),
            ("resolve and decide", lambda: house.pipeline.would(meant.bearer, meant.call, at)),
            ("write the answer", lambda: encode(decision(answered))),
        ]
        return {
            "title": "… step by step, in process; what is left is HTTP, the record and its commit",
            "columns": ["step", "processor us"],
            "rows": [[what, round(_processor(step), 1)] for what, step in timed],
            "notes": [f"one fdatasync on this disk took {_flush(folder):.0f} us, in the median, just now"],
        }
    finally:
        asyncio.run(house.aclose())


def _processor(step: Callable[[], Any], times: int = 1000) -> float:
    """Return the microseconds on the processor, of the best of five rounds."""
    best = []
    for _ in range(ROUNDS):
        started = time.thread_time()
        for _ in range(times):
            step()
        best.append((time.thread_time() - started) / times * 1e6)
    return min(best)


def _flush(folder: Path) -> float:
    """Return what one flush to the disk takes: nothing durable is faster."""
    took = []
    with (folder / "flushed").open("wb", buffering=0) as file:
        for _ in range(100):
            file.write(b"x" * 512)
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - started) * 1e6)
    return statistics.median(took)


def _figures(took: list[float], rate: float, size: int) -> tuple[float, float, float]:
    ordered = sorted(took)
    p50, p99 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    return p50 / size * 1e6, p99 / size * 1e6, rate * size


def _row(what: str, callers: int, name: str, turns: list[tuple[float, float, float]], ours: float) -> list[Any]:
    p50, p99, rate = (statistics.median(each) for each in zip(*turns, strict=True))
    return [what, callers, name, round(p50), round(p99), round(rate), round(p50 / ours, 2) if ours else ""]


if __name__ == "__main__":
    print(json.dumps(run(float(sys.argv[1]) if len(sys.argv) > 1 else 20.0)))
