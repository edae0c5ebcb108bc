"""The engines that decisions stand beside: Cerbos over loopback HTTP, and agent-governance-toolkit in its own process.

Neither speaks Cedar, so their rules are ours translated by hand, ten for ten: read them as what such a question costs
there, not as one policy in three languages. `make bench` installs both in .venv-peers; what is not there is left out,
and said so.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _population import PATTERNS, bearer_of, calls
from _served import connect, processes, start

from charter.gateway.call import Bearer, Call

HERE = Path(__file__).resolve().parent
PEERS = HERE.parent / ".venv-peers"
CERBOS = PEERS / "npm-bench" / "node_modules" / "@cerbos" / "cerbos-linux-x64" / "cerbos-linux-x64"
ASKED = 300
ROUNDS = 5
CALLERS = (1, 16)
EFFECTS = {
    "get_charge": "read",
    "create_refund": "irreversible",
    "add_note": "write",
    "get_contact": "read",
    "update_contact": "write",
}
ACTIONS = {
    "get_charge": "charge.read",
    "create_refund": "refund.create",
    "add_note": "note.add",
    "get_contact": "contact.read",
    "update_contact": "contact.update",
}
# A decision by Charter behind the barest of HTTP handlers: what its own decision API will cost at least.
HANDLER = """
import sys
sys.path.insert(0, sys.argv[1])
import json, uvicorn
from _population import NOON, an_engine, bearer_of, calls, deciding
from charter.gateway.call import Call
from charter.policy.verdict import word
house = deciding(int(sys.argv[2]), an_engine())
async def app(scope, receive, send):
    asked = json.loads((await receive())["body"])
    verdict = house.verdict(bearer_of(asked["number"]), Call(**asked["call"]))
    told = {"verdict": word(verdict), "reasons": [reason.to_json() for reason in verdict.reasons]}
    body = json.dumps(told).encode()
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[3]), log_level="error", access_log=False)
"""
RULE = """
    - actions: [{actions}]
      effect: EFFECT_{effect}
      roles: [agent]
      condition: {{match: {{all: {{of: [{conditions}]}}}}}}"""


def cerbos_policies() -> dict[str, str]:
    """Return what the ten policies of a slice say, in Cerbos' language."""
    deny = [
        ("*", "P.attr.environment != R.attr.environment"),
        ("*", "!R.attr.data.all(each, each in P.attr.data)"),
        ("*", "P.attr.restrained && R.attr.effect in ['write', 'irreversible']"),
        ("*", "R.attr.minute < 300 && R.attr.effect in ['write', 'irreversible']"),
        ("*", "R.attr.path.startsWith('charge/frozen/')"),
        ("refund.create", "P.attr.kind in ['copilot', 'browser-agent'] && R.attr.sensitive"),
    ]
    allow = [
        (
            "charge.read, refund.create",
            "R.attr.path.startsWith('charge/')",
            "R.attr.minute >= P.attr.start && R.attr.minute < 1080",
            "R.attr.day in ['mon', 'tue', 'wed', 'thu', 'fri']",
            "!has(R.attr.amount) || (R.attr.unit == 'EUR' && R.attr.amount <= P.attr.most && R.attr.amount >= 0.0)",
            "!has(R.attr.amount) || R.attr.amount <= P.attr.asking",
        ),
        ("note.add", "has(R.attr.text) && R.attr.text.startsWith(P.attr.begins)"),
        ("contact.read", "R.attr.path.startsWith('contact/')"),
        ("contact.update", "has(R.attr.field) && R.attr.field in ['phone', 'mail']", "has(R.attr.value)"),
    ]
    rules = [rule("DENY", *each) for each in deny] + [rule("ALLOW", *each) for each in allow]
    return {
        f"{system}.yaml": "apiVersion: api.cerbos.dev/v1\nresourcePolicy:\n"
        f"  resource: {system}\n  version: default\n  rules:{''.join(rules)}\n"
        for system in ("payments", "crm")
    }


def rule(effect: str, actions: str, *conditions: str) -> str:
    listed = ", ".join(f'"{each.strip()}"' for each in actions.split(","))
    wanted = ", ".join(f"{{expr: {json.dumps(each)}}}" for each in conditions)
    return RULE.format(actions=listed, effect=effect, conditions=wanted)


def plain(number: int, call: Call) -> dict[str, Any]:
    """Return one call in the plain words that both peers are asked in."""
    pattern, given = number % PATTERNS, call.arguments
    path = f"charge/{given['charge_id']}" if "charge_id" in given else f"contact/{given['id']}"
    context = {
        "minute": 13 * 60,
        "day": "tue",
        "begins": str(given.get("text", ""))[:1],
        "field": given.get("field", ""),
    }
    context |= {"amount": float(given.get("amount", 0)), "unit": given.get("currency", "")}
    return {
        "action": ACTIONS[call.tool],
        "effect": EFFECTS[call.tool],
        "principal": {"kind": "agent", "environment": "production", "restrained": False, "pattern": pattern},
        "resource": {"path": path, "folder": path.partition("/")[0], "sensitive": call.system == "payments"},
        "context": context,
    }


def check(number: int, call: Call) -> bytes:
    """Return one call as Cerbos is asked it."""
    words = plain(number, call)
    pattern = number % PATTERNS
    held = {
        "start": (6 + pattern % 3) * 60,
        "most": 200 + 50 * pattern,
        "asking": 100 + 20 * pattern,
        "begins": str(pattern),
    }
    attributes = words["resource"] | {"environment": "production", "effect": words["effect"], "data": ["customer-pii"]}
    attributes |= {each: words["context"][each] for each in ("minute", "day")}
    attributes |= {each: call.arguments[each] for each in ("text", "field", "value") if each in call.arguments}
    if "amount" in call.arguments:
        attributes |= {"amount": float(call.arguments["amount"]), "unit": call.arguments["currency"]}
    principal = words["principal"] | held | {"data": ["customer-pii", "contacts"]}
    resource = {"kind": call.system, "id": attributes["path"], "attr": attributes}
    return json.dumps(
        {
            "requestId": "1",
            "principal": {"id": f"agent-{number}", "roles": ["agent"], "attr": principal},
            "resources": [{"resource": resource, "actions": [words["action"]]}],
        }
    ).encode()


def asked(dice: random.Random) -> list[tuple[int, Bearer, Call]]:
    stream = calls(dice)
    numbers = [dice.randrange(1_000) for _ in range(ASKED)]
    return [(number, bearer_of(number), next(stream)) for number in numbers]


def asking(url: str, body: bytes) -> bytes:
    """Return one question as it goes over the wire."""
    host, _, path = url.removeprefix("http://").partition("/")
    head = f"POST /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def words_of(url: str, bodies: Sequence[bytes]) -> list[bool]:
    """Return whether each question is answered with an allow."""

    async def all_of_them() -> list[bytes]:
        caller = await connect(url)
        answers = [await caller.call(asking(url, body)) for body in bodies]
        caller.close()
        return answers

    return [b"EFFECT_ALLOW" in each or b'"verdict": "allow"' in each for each in asyncio.run(all_of_them())]


def over_http(url: str, bodies: Sequence[bytes], callers: int, seconds: float) -> tuple[list[float], float]:
    """Return the seconds that each question took, and questions a second."""
    took: list[float] = []
    ends = time.perf_counter() + seconds
    sent = [asking(url, body) for body in bodies]

    async def work(first: int) -> None:
        caller = await connect(url)
        at = first
        while (started := time.perf_counter()) < ends:
            await caller.call(sent[at % len(sent)])
            took.append(time.perf_counter() - started)
            at += callers
        caller.close()

    async def all_of_them() -> None:
        await asyncio.gather(*(work(first) for first in range(callers)))

    began = time.perf_counter()
    asyncio.run(all_of_them())
    return took, len(took) / (time.perf_counter() - began)


def beside_http(seconds: float) -> dict[str, Any]:
    """Return the table of decisions over loopback HTTP."""
    some, notes = asked(random.Random(3)), []
    ours = [json.dumps({"number": number, "call": call_json(call)}).encode() for number, _, call in some]
    rows: list[list[Any]] = []
    with tempfile.TemporaryDirectory() as folder, processes() as started:
        port = start(started, [sys.executable, "-c", HANDLER, str(HERE), "1000"])
        contenders = [("Charter, behind a bare handler", f"http://127.0.0.1:{port}/", ours)]
        if CERBOS.exists():
            (Path(folder) / "policies").mkdir()
            for name, text in cerbos_policies().items():
                (Path(folder) / "policies" / name).write_text(text)
            cerbos = [
                str(CERBOS),
                "server",
                f"--set=storage.disk.directory={folder}/policies",
                f"--set=server.grpcListenAddr=unix:{folder}/grpc",
            ]
            port = start(started, [*cerbos, "--log-level=ERROR"], last="--set=server.httpListenAddr=127.0.0.1:{}")
            url = f"http://127.0.0.1:{port}/api/check/resources"
            contenders.append(("Cerbos 0.55", url, [check(number, call) for number, _, call in some]))
        else:
            notes.append("no Cerbos: `make bench` installs it in .venv-peers where node is present")
        said = {name: words_of(url, bodies) for name, url, bodies in contenders}  # binds every slice, too
        ours_said = said[contenders[0][0]]
        for name, theirs in list(said.items())[1:]:
            alike = sum(one == other for one, other in zip(ours_said, theirs, strict=True))
            notes.append(f"{name} and Charter agree on {alike} of {ASKED} questions, {sum(ours_said)} of them allowed")
            assert sum(theirs) > ASKED / 4, "what is measured are refusals"
        for callers in CALLERS:
            turns: dict[str, list[tuple[float, float, float]]] = {name: [] for name, _, _ in contenders}
            for _ in range(ROUNDS):
                for name, url, bodies in contenders:
                    took, rate = over_http(url, bodies, callers, seconds / (ROUNDS * len(contenders) * 2))
                    ordered = sorted(took)
                    turns[name].append((ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)], rate))
            ours_p50 = statistics.median(turn[0] for turn in turns[contenders[0][0]])
            rows += [http_row(name, callers, found, ours_p50) for name, found in turns.items()]
    return {
        "title": "… beside a policy decision point, over loopback HTTP",
        "columns": ["what", "callers", "p50 us", "p99 us", "lowest - highest", "per second", "x Charter"],
        "rows": rows,
        "notes": [*notes, "an approval that would lift a denial counts as a denial; Cerbos has no such thing"],
    }


def http_row(name: str, callers: int, turns: list[tuple[float, float, float]], ours: float) -> list[Any]:
    p50, p99, rate = (statistics.median(column) for column in zip(*turns, strict=True))
    middles = [turn[0] * 1e6 for turn in turns]
    spread = f"{min(middles):.0f} - {max(middles):.0f}"
    return [name, callers, round(p50 * 1e6), round(p99 * 1e6), spread, round(rate), round(p50 / ours, 2)]


def call_json(call: Call) -> dict[str, Any]:
    names = ("system", "tool", "arguments", "digest", "tool_pin")
    return {name: getattr(call, name) for name in names}


def agt() -> dict[str, Any] | None:
    """Return what agent-governance-toolkit took, or None where it is not installed."""
    python = PEERS / "bin" / "python"
    if not python.exists():
        return None
    requests = json.dumps([plain(number, call) for number, _, call in asked(random.Random(3))])
    words = [str(python), str(HERE / "_agt_peer.py")]
    done = subprocess.run(words, input=requests, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found
