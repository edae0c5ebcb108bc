"""agent-governance-toolkit's policy engine, timed in its own environment.

    .venv-peers/bin/python benchmarks/_agt_peer.py < requests.json

Ten rules say, in its language, what the ten policies of a slice say (it has no prefixes and no sets, so those are
plain equalities); with audit, every decision is written to its AuditLog, which it keeps in memory. Other agents'
policies are loaded beside them, as many as asked for.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

from agentmesh.governance.audit import AuditLog
from agentmesh.governance.policy import Policy, PolicyEngine, PolicyRule

GRANT_1 = """action in ['charge.read', 'refund.create'] and resource.folder == 'charge' and context.minute >= 420
 and context.minute < 1080 and context.day in ['mon', 'tue', 'wed', 'thu', 'fri'] and context.amount <= 200
 and context.unit in ['EUR', '']""".replace("\n", "")
RULES = (
    ("environment", "deny", "principal.environment != 'production'"),
    ("data", "deny", "resource.outside_data"),
    ("restrained", "deny", "principal.restrained and effect in ['write', 'irreversible']"),
    ("night", "deny", "context.minute < 300 and effect in ['write', 'irreversible']"),
    ("frozen", "deny", "resource.folder == 'charge/frozen'"),
    (
        "copilots",
        "deny",
        "principal.kind in ['copilot', 'browser-agent'] and resource.sensitive and action == 'refund.create'",
    ),
    (
        "grant-1",
        "allow",
        GRANT_1,
    ),
    ("grant-2", "allow", "action == 'note.add' and context.begins == '7'"),
    ("grant-3", "allow", "action == 'contact.read' and resource.folder == 'contact'"),
    ("grant-4", "allow", "action == 'contact.update' and context.field in ['phone', 'mail']"),
)


def engine_of(others: int) -> PolicyEngine:
    engine = PolicyEngine(conflict_strategy="deny_overrides")
    for number in range(others + 1):
        rules = [PolicyRule(name=name, action=action, condition=condition) for name, action, condition in RULES]
        engine.load_policy(Policy(name=f"agent-{number}", agent=f"agent-{number}", rules=rules))
    return engine


def timed(engine: PolicyEngine, requests: list[dict[str, Any]], audit: AuditLog | None) -> dict[str, Any]:
    """Return the microseconds of each decision by the clock, and on the processor on average."""
    took, words = [], {"allow": 0, "deny": 0}
    before = time.thread_time()
    for context in requests:
        started = time.perf_counter_ns()
        decision = engine.evaluate("agent-0", dict(context))
        if audit is not None:
            audit.log(
                "policy", "agent-0", context["action"], resource=context["resource"]["path"], outcome=decision.action
            )
        took.append((time.perf_counter_ns() - started) / 1000)
        words["allow" if decision.allowed else "deny"] += 1
    return {"each": took, "processor": (time.thread_time() - before) / len(requests) * 1e6, "words": words}


def main() -> None:
    logging.disable(logging.CRITICAL)
    requests = json.load(sys.stdin)
    alone, crowded = engine_of(0), engine_of(999)
    found: dict[str, list[Any]] = {"alone": [], "with audit": [], "among 1,000": []}
    for _ in range(5):
        found["alone"].append(timed(alone, requests, None))
        found["with audit"].append(timed(alone, requests, AuditLog()))
        found["among 1,000"].append(timed(crowded, requests, None))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
