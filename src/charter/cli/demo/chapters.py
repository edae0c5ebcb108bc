"""The chapters of the demo's story, in order: discover, govern, act, prove."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from charter.cli.demo.stage import CHECKOUT
from charter.cli.demo.teller import Teller
from charter.cli.output import say

_READ_REFUNDS = {"query": "SELECT id, amount, state FROM refunds"}
_SETTLE = {"query": "UPDATE refunds SET state='paid' WHERE id=1"}
_COUNTING = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x<90000000) SELECT count(*) FROM c"
_LONG = {"query": f"SELECT * FROM ({_COUNTING})"}  # noqa: S608 - many seconds of work, for the server that is asked


def call(system: str, tool: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - a tool's arguments
    """Return one call for the demo's agent."""
    return {"system": system, "tool": tool, "arguments": arguments}


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
    workflow = next(f for f in found["findings"] if ".github/workflows" in f["where"])
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
    teller.charter("ls")


def act(teller: Teller) -> None:
    """Let agents work through the gateway: allowed, denied for each dimension, escalated and approved."""
    teller.step("Agents work through the gateway, with the official MCP client")
    listed, status, log = teller.agent(
        "repo-helper",
        [{"system": "git", "list": True}, call("git", "git_status", repo_path=str(teller.stage.app)), _log(teller, 5)],
    )
    teller.claim("git_reset" in listed["text"] or "git_status" in listed["text"], "each principal sees its own tools")
    teller.claim("git_commit" not in listed["text"], "a tool nobody granted is not even listed")
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
    helper = [
        ("limit", call("git", "git_create_branch", repo_path=repo, branch_name="helper-3"), "limit"),
        ("argument", _log(teller, 500), "charter"),
        ("object", call("git", "git_create_branch", repo_path=repo, branch_name="main-2"), "charter"),
        ("hours", call("git", "git_reset", repo_path=repo), "charter"),
        ("unknown tool", call("git", "git_push", repo_path=repo), "system"),
        ("action", call("git", "git_show_everything", repo_path=repo), "system"),
        ("data class", call("ledger", "read_query", query="SELECT 1"), "charter"),
        ("environment", call("ledger-copy", "list_tables"), "charter"),
    ]
    answers = teller.agent("repo-helper", [*branches, *(c for _, c, _ in helper)])
    teller.claim(all(made["ok"] for made in answers[:2]), "2 branches a day are made")
    answers = answers[2:]
    for (dimension, _, _layer), answer in zip(helper, answers, strict=True):
        teller.claim(not answer["ok"] and bool(answer.get("error")), f"{dimension}: denied, and it says why")
    ledger = [
        ("action", call("ledger", "append_insight", insight="x")),
        ("object", call("ledger", "describe_table", table_name="customers")),
        ("guardrail", call("ledger", "create_table", query="CREATE TABLE t (x)")),
        ("argument", call("ledger", "write_query", query="DELETE FROM refunds")),
    ]
    for (dimension, _), answer in zip(ledger, teller.agent("ledger-agent", [c for _, c in ledger]), strict=True):
        teller.claim(not answer["ok"] and bool(answer.get("error")), f"{dimension}: denied, and it says why")


def _escalation(teller: Teller) -> None:
    teller.step("Escalated, approved by a person, let through once")
    (asked,) = teller.agent("ledger-agent", [call("ledger", "write_query", **_SETTLE)])
    approval = str((asked.get("data") or {}).get("approval", ""))
    teller.claim(not asked["ok"] and bool(approval), "settling a dispute waits for a person, and says for whom")
    said = teller.charter("approvals", "approve", approval, "--as", "maria@example.com", expect=3)
    teller.claim("approved:" not in said, "the agent's own owner cannot approve it")
    teller.charter("approvals", "approve", approval, "--as", "lena@example.com", "--reason", "receipt seen")
    other = {"query": "UPDATE refunds SET state='paid' WHERE id=2"}
    changed, through, again = teller.agent(
        "ledger-agent",
        [call("ledger", "write_query", **other), *[call("ledger", "write_query", **_SETTLE)] * 2],
    )
    teller.claim(not changed["ok"], "another refund is not covered by that yes")
    teller.claim(through["ok"], "the approved call goes through")
    teller.claim(not again["ok"], "and only once")


def _stolen_token(teller: Teller) -> None:
    teller.step("A stolen token is worth nothing to another principal")
    stolen = teller.ask("token", "ledger-agent", "ledger")
    for what, url, scheme in (
        ("on the ledger, without the ledger agent's key", stolen["resource"], "Bearer"),
        ("on the ledger, posing as its owner's client", stolen["resource"], "DPoP"),
        ("on another system", stolen["resource"].replace("/ledger", "/git"), "Bearer"),
    ):
        status = _present(url, f"{scheme} {stolen['access_token']}")
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
    teller.claim(status["ok"] and not branch["ok"], "it still reads, and cannot change anything by itself")
    teller.charter("resume", "repo-helper", "--reason", "explained")


def prove(teller: Teller) -> None:
    """Kill in mid-call, verify the evidence, tamper with a copy, answer the review questions."""
    _kill(teller)
    _evidence(teller)
    teller.step("The five review questions")
    answer = teller.ask("review")
    teller.claim(len(answer["questions"]) == 5, "five questions answered from the evidence")  # noqa: PLR2004 - the five
    teller.claim(any("repo-helper" in json.dumps(q["rows"]) for q in answer["questions"]), "and they name who did what")
    say(teller.charter("review"))


def _kill(teller: Teller) -> None:
    teller.step("Kill the ledger agent in mid-call; the helper keeps working")
    before = _allowed_reads(teller)
    working = teller.begin_agent("ledger-agent", [call("ledger", "read_query", **_LONG)])
    helper = teller.begin_agent(
        "repo-helper", [call("git", "git_status", repo_path=str(teller.stage.app)) for _ in range(12)]
    )
    _await_open_call(teller, before)
    killed = teller.ask("kill", "ledger-agent", "--reason", "demonstration")
    said, _ = working.communicate(timeout=30)
    ended = json.loads(said.splitlines()[0])
    for step in killed["steps"]:
        say(f"    {step['ms']:>8.2f} ms  {step['what']}")
    for line in teller.charter("evidence", "query", "--principal", "ledger-agent", "--kind", "outcome").splitlines()[
        -1:
    ]:
        say(f"    {line}", "dim")
    teller.claim(not ended["ok"], f"its open call ended: {ended.get('error')}")
    after = teller.charter("token", "ledger-agent", "ledger", expect=3)
    teller.claim(not after, "it gets no token any more")
    answers = [json.loads(line) for line in helper.communicate(timeout=60)[0].splitlines() if line.startswith("{")]
    teller.claim(len(answers) == 12 and all(a["ok"] for a in answers), "all 12 calls of the helper went through")  # noqa: PLR2004 - as begun


def _evidence(teller: Teller) -> None:
    teller.step("The evidence verifies; a tampered copy does not")
    checked = teller.ask("evidence", "verify")
    teller.claim(checked["ok"], f"{checked['size']} entries verify against the signed head")
    proof = teller.ask("evidence", "prove", "3")
    teller.claim(bool(proof["path"]), f"entry 3 is proved by {len(proof['path'])} hashes")
    exported = teller.ask("evidence", "export", str(teller.stage.root / "evidence.pack"))
    teller.claim(_verify(exported, exported["pack"]) == 0, "the stand-alone verifier agrees, without Charter")
    pack = Path(exported["pack"]).read_bytes()
    tampered = pack.replace(b'\\"verdict\\":\\"deny\\"', b'\\"verdict\\":\\"allow\\"', 1)
    if tampered == pack:
        tampered = pack.replace(b'"verdict":"deny"', b'"verdict":"allow"', 1)
    copy = teller.stage.root / "tampered.pack"
    copy.write_bytes(tampered)
    teller.claim(tampered != pack and _verify(exported, str(copy)) != 0, "one denial turned into an allow is found")


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


def _present(url: str, authorization: str) -> int:
    """Present a token as a thief would; return the HTTP status."""
    import httpx

    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    headers = {"authorization": authorization, "accept": "application/json, text/event-stream"}
    answer = httpx.post(url, json=body, headers=headers, timeout=10)
    say(f"    {answer.status_code}  {answer.headers.get('www-authenticate', '')[:120]}", "dim")
    return answer.status_code


def _allowed_reads(teller: Teller) -> int:
    """Return how many reads of the ledger were allowed so far: a verdict stands in the evidence before its call."""
    found = teller.ask("evidence", "query", "--principal", "ledger-agent", "--verdict", "allow")
    return sum("read_query" in entry["line"] for entry in found["entries"])


def _await_open_call(teller: Teller, before: int) -> None:
    """Wait until the ledger agent's long read is under way."""
    deadline = time.monotonic() + 30
    while _allowed_reads(teller) == before and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(0.3)


def _verify(exported: dict[str, Any], pack: str) -> int:
    done = subprocess.run(
        [sys.executable, "-I", exported["verifier"], pack, "--key", exported["key"]],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    for line in (done.stdout + done.stderr).strip().splitlines()[:4]:
        say(f"    {line}", "dim")
    return done.returncode
