"""The last chapter of the demo's story: kill in mid-call, verify the evidence, answer the review questions."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from charter.cli.demo.teller import Teller, call
from charter.cli.output import say
from charter.core.canonical import canonical
from charter.core.errors import CharterError
from charter.evidence.log import verify_proof

_COUNTING = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x<90000000) SELECT count(*) FROM c"
_LONG = {"query": f"SELECT * FROM ({_COUNTING})"}  # noqa: S608 - many seconds of work, for the server that is asked


def prove(teller: Teller, witness: str) -> None:
    """Kill in mid-call, verify the evidence, tamper with a copy, answer the review questions, draw, erase.

    `witness`: the key of who cosigns this log's heads.
    """
    _again(teller)
    _kill(teller)
    _evidence(teller, witness)
    teller.step("The five review questions")
    answer = teller.ask("review")
    teller.claim(len(answer["questions"]) == 5, "five questions answered from the evidence")  # noqa: PLR2004 - the five
    teller.claim(any("repo-helper" in json.dumps(q["rows"]) for q in answer["questions"]), "and they name who did what")
    say(teller.charter("review"))
    _pictures(teller)
    _erase(teller)


def _again(teller: Teller) -> None:
    """Explain one denial by what held then, and put all recorded calls to a narrower charter that is not applied."""
    teller.step("Why was it denied? And what would a narrower charter have stopped?")
    entries = teller.ask("evidence", "query", "--principal", "repo-helper", "--verdict", "deny")["entries"]
    denied = next(entry for entry in entries if "`max_count` up to 20" in entry["line"])
    told = teller.ask("why", str(denied["index"]))
    say(f"    {told['sentence']}", "dim")
    teller.claim(told["agrees"], "decided again by what held then: denied by the same rule, with its file and line")
    same = teller.ask("what-if", "--since", "1d")
    teller.claim(not same["changes"], f"{same['replayed']} recorded calls, decided again by these files: no difference")
    charter = teller.stage.estate / "principals" / "repo-helper.yaml"
    text = charter.read_text(encoding="utf-8")
    charter.write_text(text.replace("max_count: {max: 20}", "max_count: {max: 3}"), encoding="utf-8")
    narrower = teller.ask("what-if", "--since", "1d", "--principal", "repo-helper", expect=1)
    charter.write_text(text, encoding="utf-8")
    stopped = [each["count"] for each in narrower["changes"] if "`max_count` up to 3" in each["text"]]
    teller.claim(
        sum(stopped) > 0, f"a bound of 3 entries would have denied {sum(stopped)} of them; nothing was applied"
    )


def _kill(teller: Teller) -> None:
    teller.step("Kill the ledger agent in mid-call; the helper keeps working")
    before = _allowed_reads(teller)
    working = teller.begin_agent("ledger-agent", [call("ledger", "read_query", **_LONG)])
    done = teller.stage.root / "killed"
    status = call("git", "git_status", repo_path=str(teller.stage.app))
    helper = teller.begin_agent("repo-helper", [status | {"until": str(done)}])
    _await_open_call(teller, before)
    killed = teller.ask("kill", "ledger-agent", "--reason", "demonstration")
    done.touch()
    ended = teller.end_agent(working)
    for step in killed["steps"]:
        say(f"    {step['ms']:>8.2f} ms  {step['what']}")
    for line in teller.charter("evidence", "query", "--principal", "ledger-agent", "--kind", "outcome").splitlines()[
        -1:
    ]:
        say(f"    {line}", "dim")
    has_ended = len(ended) == 1 and not ended[0]["ok"] and "was withdrawn" in ended[0]["error"]
    teller.claim(has_ended, f"its open call ended: {ended[0].get('error') if ended else 'it was not made'}")
    after = teller.charter("token", "ledger-agent", "ledger", expect=3)
    teller.claim(not after, "it gets no token any more")
    answers = teller.end_agent(helper)
    went_on = bool(answers) and all(answer["ok"] for answer in answers)
    teller.claim(went_on, f"all {len(answers)} calls of the helper went through, before and after")


def _evidence(teller: Teller, witness: str) -> None:
    teller.step("The evidence verifies; a tampered copy does not")
    checked = teller.ask("evidence", "verify")
    teller.claim(checked["ok"], f"{checked['size']} entries verify against the signed head")
    exported = teller.ask("evidence", "export", str(teller.stage.root / "evidence.pack"))
    receipt = teller.stage.root / "entry-3.receipt"
    receipt.write_text(teller.ask("evidence", "receipt", "3")["receipt"], encoding="utf-8")
    seen = teller.ask("evidence", "witnesses", "--ask")
    teller.claim(seen["cosigned_by"] == 1, f"the witness cosigned a head of {seen['cosigned']} entries")
    proof = teller.ask("evidence", "prove", "3")
    teller.claim(_is_proved(proof, exported), f"entry 3 is proved by {len(proof['path'])} hashes under the signed head")
    options = ("--witness", witness, "--quorum", "1", "--receipt", str(receipt))
    agreed = _verify(exported, exported["pack"], *options) == 0
    teller.claim(agreed, "the stand-alone verifier agrees, without Charter: head, witness, and the receipt of entry 3")
    pack = Path(exported["pack"]).read_bytes()
    tampered = pack.replace(b'\\"verdict\\":\\"deny\\"', b'\\"verdict\\":\\"allow\\"', 1)
    if tampered == pack:
        tampered = pack.replace(b'"verdict":"deny"', b'"verdict":"allow"', 1)
    copy = teller.stage.root / "tampered.pack"
    copy.write_bytes(tampered)
    teller.claim(tampered != pack and _verify(exported, str(copy)) != 0, "one denial turned into an allow is found")


def _pictures(teller: Teller) -> None:
    teller.step("The same, drawn in the terminal")
    drawn = teller.charter("review", "refused", "--since", "7d", "--plot")
    say(drawn)
    teller.claim("sent to a person; most by" in drawn, "refusals by rule and day")


def _erase(teller: Teller) -> None:
    teller.step("What is personal can be erased, unless it is held; the log verifies all the same")
    teller.ask("evidence", "hold", "add", "--principal", "repo-helper", "--reason", "case 12")
    gone = teller.ask("evidence", "erase", "--system", "ledger", "--reason", "a request", "--yes")
    teller.claim(gone["erased"] > 0, f"{gone['erased']} payloads are erased; the log says by whom, and why")
    teller.claim(gone["held"] > 0, f"{gone['held']} that are held stay")
    checked = teller.ask("evidence", "verify")
    whole = checked["ok"] and checked["erased"] >= gone["erased"]
    teller.claim(whole, f"all {checked['size']} entries verify, {checked['erased']} of them without what was erased")


def _is_proved(proof: dict[str, Any], exported: dict[str, Any]) -> bool:
    """Return whether a proof holds, by the log's public key."""
    try:
        key = base64.b64decode(exported["key"])
        verify_proof(proof["proof"], canonical(proof["entry"]), exported["origin"], key)
    except CharterError:
        return False
    return True


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


def _verify(exported: dict[str, Any], pack: str, *options: str) -> int:
    done = subprocess.run(
        [sys.executable, "-I", exported["verifier"], pack, "--key", exported["key"], *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    for line in (done.stdout + done.stderr).strip().splitlines()[:4]:
        say(f"    {line}", "dim")
    return done.returncode
