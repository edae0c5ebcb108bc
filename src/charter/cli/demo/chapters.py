"""The first chapters of the demo's story, in order: discover, govern, act. The last one stands in prove.py."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from charter.cli.agent_keys import AgentTokens, agent_key
from charter.cli.demo.stage import CHECKOUT
from charter.cli.demo.teller import Teller, Untrue, call
from charter.cli.output import say
from charter.core.clock import SystemClock
from charter.core.entropy import SystemEntropy

_READ_REFUNDS = {"query": "SELECT id, amount, state FROM refunds"}
_SETTLE = {"query": "UPDATE refunds SET state='paid' WHERE id=1"}


def discover(teller: Teller) -> None:
    """Find AI nobody registered, and draft a charter for it."""
    stage = teller.stage
    teller.step("Scan a checkout for AI nobody registered")
    found = teller.ask("scan", str(stage.app))
    for finding in found["findings"]:
        say(f"    {finding['suggests']:<20} {finding['title'][:70]}  ({finding['where']})")
    text = json.dumps(found)
    leaked = _leaked_key(stage.app / "src" / "triage.py")
    teller.claim(len(found["findings"]) >= 4, f"{len(found['findings'])} AI systems found in the disputes checkout")  # noqa: PLR2004 - what the application holds
    teller.claim(leaked not in text, "the model key in its code is reported, and never shown")
    if (CHECKOUT / ".git").exists():
        own = teller.ask("scan", str(CHECKOUT))
        teller.claim(bool(own["counts"]["files"]), f"Charter's own checkout: {own['counts']['files']} files read")
        teller.ask("scan", str(stage.app))

    teller.step("Adopt one: a draft charter that says what is still missing")
    workflow = next((f for f in found["findings"] if ".github/workflows" in f["where"]), None)
    if workflow is None:
        raise Untrue("the pipeline that runs a model is among the findings")
    draft = teller.ask("adopt", workflow["id"])
    missing = [line for line in draft["text"].splitlines() if "MISSING" in line]
    teller.claim(bool(missing), f"the draft asks a person for {len(missing)} things")
    said = teller.charter("validate", expect=2)
    teller.claim(not said, "and does not validate before someone answers")
    _fill_in(stage.estate / "principals" / f"{draft['principal']}.yaml")


def govern(teller: Teller) -> None:
    """Import tools, check, plan and apply."""
    teller.step("Import the tools of public MCP servers: each definition is pinned")
    systems = ["git", "ledger", "ledger-copy", "clock", *(["files"] if teller.stage.servers.files else [])]
    for system in systems:
        answer = teller.ask("systems", "import", system, "--accept")
        teller.claim(answer["tools"] > 0, f"{system}: {answer['tools']} tool definitions pinned")

    teller.step("Validate, test, plan and apply the estate")
    counts = teller.ask("validate")
    teller.claim(counts["ok"], f"valid: {counts['principals']} principals, {counts['systems']} systems")
    tests = teller.ask("test")
    teller.claim(tests["failed"] == 0, f"{tests['passed']} table tests pass")
    planned = teller.ask("plan")
    teller.claim(len(planned["changes"]) > 0, f"{len(planned['changes'])} changes planned, none made yet")
    applied = teller.ask("apply", "--yes", "--reason", "first estate")
    teller.claim(len(applied["applied"]) > 0, f"{len(applied['applied'])} changes applied as one")
    again = teller.ask("plan")
    teller.claim(not again["changes"], "applying again would change nothing")
    _wider(teller)
    teller.charter("ls")


def _wider(teller: Teller) -> None:
    """Plan a wider charter, look at the call that it would let through, and leave it."""
    file = teller.stage.estate / "principals" / "repo-helper.yaml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("max_count: {max: 20}", "max_count: {max: 50}"), encoding="utf-8")
    (effect,) = teller.ask("plan")["effects"]
    file.write_text(text, encoding="utf-8")
    (gain,) = effect["gains"]
    count = gain["call"]["arguments"]["max_count"]
    is_shown = (gain["was"]["verdict"], gain["becomes"]["verdict"], count) == ("deny", "allow", 21)
    teller.claim(is_shown, f"a wider charter is planned: a log of {count} entries, refused today, would be allowed")
    seat = effect["route"]["seat"]
    teller.claim(bool(seat), f"proven over all calls, and shown to whoever must say yes: {seat}")


def act(teller: Teller) -> None:
    """Let agents work through the gateway: allowed, denied for each dimension, escalated and approved."""
    teller.step("Agents work through the gateway, with the official MCP client")
    listed, status, log = teller.agent(
        "repo-helper",
        [{"system": "git", "list": True}, call("git", "git_status", repo_path=str(teller.stage.app)), _log(teller, 5)],
    )
    tools = set(listed["text"].split(", "))
    granted = {"git_status", "git_show", "git_log", "git_create_branch", "git_reset"}
    teller.claim(tools == granted, f"of the server's tools it sees the {len(granted)} it was granted, and no other")
    teller.claim(status["ok"] and log["ok"], "granted calls go through")
    (rows,) = teller.agent("ledger-agent", [call("ledger", "read_query", **_READ_REFUNDS)])
    teller.claim(rows["ok"] and "disputed" in rows["text"], "the ledger agent reads the refunds")
    _refusals(teller)
    _escalation(teller)
    _stolen_token(teller)
    _restraint(teller)


def _refusals(teller: Teller) -> None:
    teller.step("Denied, for each dimension of policy, with the rule and what would make it allowed")
    repo = str(teller.stage.app)
    branches = [call("git", "git_create_branch", repo_path=repo, branch_name=f"helper-{number}") for number in (1, 2)]
    closed = re.search(r"hours: \"(\S+)", (teller.stage.estate / "principals" / "repo-helper.yaml").read_text())
    helper = [
        (
            "limit",
            call("git", "git_create_branch", repo_path=repo, branch_name="helper-3"),
            "the limit of 2 calls per day",
        ),
        ("argument", _log(teller, 500), "`max_count` up to 20"),
        ("object", call("git", "git_create_branch", repo_path=repo, branch_name="main-2"), "only for objects like"),
        ("hours", call("git", "git_reset", repo_path=repo), f"only {closed[1] if closed else '?'} UTC"),
        ("unknown tool", call("git", "git_push", repo_path=repo), "has no tool `git_push` that anyone accepted"),
        ("action", call("git", "git_add", repo_path=repo, files=["README.md"]), "has no grant for"),
        (
            "data class",
            call("ledger", "read_query", query="SELECT 1"),
            "`customer-pii`, which the charter of repo-helper does not cover",
        ),
        ("environment", call("ledger-copy", "list_tables"), "environments are kept apart"),
    ]
    answers = teller.agent("repo-helper", [*branches, *(asked for _, asked, _ in helper)])
    teller.claim(all(made["ok"] for made in answers[:2]), "2 branches a day are made")
    _claim_denied(teller, helper, answers[2:])
    ledger = [
        ("action", call("ledger", "append_insight", insight="x"), "has no grant for `insight.append`"),
        ("object", call("ledger", "describe_table", table_name="customers"), "this call is for `table/customers`"),
        ("guardrail", call("ledger", "create_table", query="CREATE TABLE t (x)"), "rule guardrail/no-new-tables"),
        ("argument", call("ledger", "write_query", query="DELETE FROM refunds"), "`query` like `UPDATE refunds *`"),
    ]
    _claim_denied(teller, ledger, teller.agent("ledger-agent", [asked for _, asked, _ in ledger]))


def _claim_denied(teller: Teller, asked: list[tuple[str, dict[str, Any], str]], answers: list[dict[str, Any]]) -> None:
    """Claim that each call was denied by policy, for the very reason it was made for."""
    for (dimension, _, reason), answer in zip(asked, answers, strict=True):
        data = answer.get("data") or {}
        is_denied = not answer["ok"] and data.get("verdict") == "deny" and "To have it allowed: " in answer["error"]
        teller.claim(is_denied and reason in answer["error"], f"{dimension}: denied, and it says why")


def _escalation(teller: Teller) -> None:
    teller.step("Escalated, approved by a person, let through once")
    (asked,) = teller.agent("ledger-agent", [call("ledger", "write_query", **_SETTLE)])
    approval = str((asked.get("data") or {}).get("approval", ""))
    waits = not asked["ok"] and bool(approval) and "payments-lead" in asked["error"]
    teller.claim(waits, "settling a dispute waits for a person, and says for whom")
    said = teller.charter("approvals", "approve", approval, "--as", "maria@example.com", expect=3)
    teller.claim("approved:" not in said, "the agent's own owner cannot approve it")
    teller.charter("approvals", "approve", approval, "--as", "lena@example.com", "--reason", "receipt seen")
    other = {"query": "UPDATE refunds SET state='paid' WHERE id=2"}
    changed, through, again = teller.agent(
        "ledger-agent",
        [call("ledger", "write_query", **other), *[call("ledger", "write_query", **_SETTLE)] * 2],
    )
    teller.claim(_is_held(changed), "another refund is not covered by that yes")
    teller.claim(through["ok"], "the approved call goes through")
    teller.claim(_is_held(again), "and only once")


def _stolen_token(teller: Teller) -> None:
    teller.step("A stolen token is worth nothing to another principal")
    stolen = teller.ask("token", "ledger-agent", "ledger")
    ledger, token = stolen["resource"], stolen["access_token"]
    issuer = ledger.removesuffix("/mcp/ledger")
    key = agent_key(teller.stage.keys, issuer, "repo-helper")
    thief = AgentTokens(key, issuer, "repo-helper", SystemClock(), SystemEntropy())
    for what, url, headers in (
        ("on the ledger, as it is", ledger, {"authorization": f"Bearer {token}"}),
        ("on the ledger, without a proof", ledger, {"authorization": f"DPoP {token}"}),
        ("on the ledger, with a proof by the helper's key", ledger, _proved(thief, ledger, token)),
        ("on another system", issuer + "/mcp/git", _proved(thief, issuer + "/mcp/git", token)),
    ):
        status = _present(url, headers)
        teller.claim(status == 401, f"{what}: refused ({status})")  # noqa: PLR2004 - HTTP's Unauthorized


def _restraint(teller: Teller) -> None:
    teller.step("Restrain: every state-changing call of the helper now needs a person")
    teller.charter("restrain", "repo-helper", "--reason", "odd branches")
    status, branch = teller.agent(
        "repo-helper",
        [
            call("git", "git_status", repo_path=str(teller.stage.app)),
            call("git", "git_create_branch", repo_path=str(teller.stage.app), branch_name="helper-9"),
        ],
    )
    teller.claim(status["ok"] and _is_held(branch), "it still reads, and cannot change anything by itself")
    teller.charter("resume", "repo-helper", "--reason", "explained")


def _log(teller: Teller, count: int) -> dict[str, Any]:
    return call("git", "git_log", repo_path=str(teller.stage.app), max_count=count)


def _leaked_key(code: Path) -> str:
    return next(part for part in code.read_text(encoding="utf-8").split('"') if part.startswith("sk-ant-"))


_ANSWERS = {
    "environment": "environment: production",
    "owner": "owner: {person: rita@example.com, team: platform}",
    "purpose": "purpose: Review pull requests of the disputes repository",
    "model": "model: {provider: anthropic, name: claude-*}",
    "approved": "approved: {by: sam@example.com, role: platform-lead, on: 2026-11-20}",
    "expires": "expires: 2028-11-02",
}


def _fill_in(draft: Path) -> None:
    """Answer what the draft asks, as its new owner would, and grant it what it needs."""
    lines = []
    for line in draft.read_text(encoding="utf-8").splitlines():
        asked = line.removeprefix("# MISSING: ").partition(":")[0] if line.startswith("# MISSING: ") else ""
        lines.append(_ANSWERS.get(asked, line))
    text = "\n".join(lines) + "\n"
    granted = "grants:\n  - system: git\n    actions: [repo.log, repo.show]"
    draft.write_text(re.sub(r"^grants: \[\].*$", granted, text, flags=re.MULTILINE), encoding="utf-8")


def _is_held(answer: dict[str, Any]) -> bool:
    """Return whether a call waits for a person, and for no other reason failed."""
    return not answer["ok"] and (answer.get("data") or {}).get("verdict") == "escalate"


def _proved(tokens: AgentTokens, url: str, token: str) -> dict[str, str]:
    return {"authorization": f"DPoP {token}", "dpop": tokens.proof("POST", url, token)}


def _present(url: str, proof: dict[str, str]) -> int:
    """Present a token as a thief would; return the HTTP status."""
    import httpx

    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    headers = proof | {"accept": "application/json, text/event-stream"}
    answer = httpx.post(url, json=body, headers=headers, timeout=10)
    say(f"    {answer.status_code}  {answer.headers.get('www-authenticate', '')[:120]}", "dim")
    return answer.status_code
