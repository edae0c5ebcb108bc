"""A chapter of the demo: a person lends a workflow, the workflow an agent; no hop widens; one link is withdrawn."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from charter.cli.demo.teller import Teller
from charter.cli.output import say

MARIA, LENA = "maria@example.com", "lena@example.com"
FLOW, AGENT, PURPOSE = "dispute-flow", "ledger-agent", "dispute-handling"
_READ = {"system": "ledger", "tool": "read_query", "arguments": {"query": "SELECT id, amount, state FROM refunds"}}
_WRITE = {
    "system": "ledger",
    "tool": "write_query",
    "arguments": {"query": "UPDATE refunds SET state='paid' WHERE id=2"},
}
_LIST = {"system": "ledger", "list": True}


def lend(teller: Teller) -> None:
    """Let authority go from a person to a workflow to an agent, and take one link back."""
    teller.step("A person lends a workflow authority; the workflow hands it on to an agent")
    loan = _delegate(teller, MARIA)
    passed = _token_of_flow(teller, loan)
    claims = _claims(passed)
    teller.claim(claims["sub"] == MARIA and claims["act"]["name"] == FLOW, "the workflow's token says on whose behalf")
    listed, read, write = teller.agent(AGENT, [_LIST, _READ, _WRITE], behalf=f"@{passed}")
    teller.claim(read["ok"] and "disputed" in read["text"], "the agent reads the refunds on maria's behalf")
    teller.claim("write_query" not in listed["text"], "and is not even shown what maria did not lend")
    link = (write.get("data") or {}).get("link")
    teller.claim(not write["ok"] and bool(link), f"what was not lent is denied, and the denial names the link: {link}")

    teller.step("A hop that would widen the chain is refused; proofs of the chain verify without a server")
    again = _token_of_flow(teller, loan)
    said = teller.charter("token", AGENT, "ledger", "--on-behalf-of", f"@{again}", "--action", "rows.write", expect=3)
    teller.claim(not said, "the agent cannot get more than the workflow was lent")
    chain = _last(teller)
    shown = teller.ask("delegations", "show", chain)
    file = teller.stage.root / "chain.json"
    file.write_text(json.dumps(shown), encoding="utf-8")
    verified = teller.ask("delegations", "verify", str(file))
    teller.claim(verified["ok"] and verified["proofs"] == 2, f"signed by each actor: {' → '.join(verified['actors'])}")  # noqa: PLR2004 - workflow and agent
    shown["proofs"].reverse()
    file.write_text(json.dumps(shown), encoding="utf-8")
    teller.claim(not teller.ask("delegations", "verify", str(file), expect=1)["ok"], "turned round, they do not verify")
    _withdraw(teller, loan, chain)


def _withdraw(teller: Teller, loan: str, chain: str) -> None:
    teller.step("Withdraw one link: what is beneath it stops, nothing beside it")
    other = _delegate(teller, LENA)
    done = teller.ask("delegations", "withdraw", chain, "--reason", "the agent is done")
    teller.claim(done["count"] == 1, "the link from the workflow to the agent is withdrawn")
    (stopped,) = teller.agent(AGENT, [_READ], behalf=chain)
    teller.claim(not stopped["ok"], "the agent acts for maria no more")
    (going,) = teller.agent(FLOW, [_READ], behalf=loan)
    (beside,) = teller.agent(FLOW, [_READ], behalf=other)
    teller.claim(going["ok"] and beside["ok"], "the workflow still does, and what lena lent is untouched")
    say(teller.charter("graph", "--delegations"))


def _delegate(teller: Teller, person: str) -> str:
    """Let a person lend the workflow reading; return the delegation's id."""
    what = ["--system", "ledger", "--action", "rows.read", "--action", "tables.list"]
    made = teller.ask("delegate", FLOW, "--purpose", PURPOSE, "--for", "30m", *what, "--as", person)
    teller.claim(made["usable"] and not made["accepted"], f"{person} lends {FLOW} reading for 30 minutes")
    return str(made["id"])


def _token_of_flow(teller: Teller, loan: str) -> Path:
    """Let the workflow get a token that the agent may exchange; return the file it lies in."""
    answer = teller.ask("token", FLOW, "ledger", "--on-behalf-of", loan, "--may-act", AGENT)
    file = teller.stage.root / "flow.token"
    file.touch(mode=stat.S_IRUSR | stat.S_IWUSR)
    file.write_text(answer["access_token"], encoding="ascii")
    return file


def _claims(token: Path) -> dict[str, Any]:
    from charter.identity.jose import decode_base64url

    return dict(json.loads(decode_base64url(token.read_text(encoding="ascii").split(".")[1])))


def _last(teller: Teller) -> str:
    """Return the newest delegation to the agent."""
    found = teller.ask("delegations", "ls", "--agent", AGENT)["delegations"]
    return next(str(each["id"]) for each in found if each["borrower"] == AGENT)
