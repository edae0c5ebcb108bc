"""A step of the demo: an agent asks a model without a provider's key; what the model proposes is told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from charter.cli.demo.provider import TOKENS, Provider
from charter.cli.demo.teller import Teller, call

_KEY = "the-provider's-own-key"
_ASKED = {"messages": [{"role": "user", "content": "What changed lately?"}], "tools": [{"name": "git_log"}]}


def ask_a_model(teller: Teller, provider: Provider) -> None:
    """Ask through the model gateway: within the charter, for another model, and beyond the limit."""
    teller.step("An agent asks a model: no provider's key, a limit on tokens, and who decided the call that follows")
    teller.charter("vault", "set", "models-key", "--for", "models", stdin=_KEY)
    steps: dict[str, Any] = {"repo_path": str(teller.stage.app), "max_count": 3}
    provider.proposes = {"name": "git_log", "input": steps}
    good, other, much = teller.run(
        "repo-helper",
        Path(__file__).with_name("asker.py"),
        [
            _ASKED | {"model": "claude-sonnet-4-5", "max_tokens": 200},
            _ASKED | {"model": "claude-opus-4-5", "max_tokens": 200},
            _ASKED | {"model": "claude-sonnet-4-5", "max_tokens": 4000},
        ],
    )
    is_answered = good["status"] == 200 and provider.keys == [_KEY]  # noqa: PLR2004 - HTTP's
    teller.claim(is_answered, "the model answers; its provider saw Charter's key, and the agent never did")
    teller.claim(other["status"] == 403, "another model is refused: nobody accepted it")  # noqa: PLR2004
    teller.claim(much["status"] == 429, "so is what would take more tokens than a day allows")  # noqa: PLR2004
    used = teller.ask("evidence", "query", "--principal", "repo-helper", "--kind", "outcome")["entries"][-1]["body"]
    tokens = {name: used["used"].get(name) for name in TOKENS}
    teller.claim(tokens == TOKENS, f"what it took is in the evidence: {sum(TOKENS.values())} tokens")

    proposed, other = teller.agent(
        "repo-helper", [call("git", "git_log", **steps), call("git", "git_status", repo_path=str(teller.stage.app))]
    )
    teller.claim(proposed["ok"] and other["ok"], "it makes the call that the model proposed, and one of its own")
    verdicts = teller.ask("evidence", "query", "--principal", "repo-helper", "--kind", "verdict")["entries"][-2:]
    decided = [each["body"].get("decided_by") for each in verdicts]
    is_linked = decided[0] is not None and decided[0]["response"] == "msg_1" and decided[1] is None
    teller.claim(is_linked, "the first is linked to the answer that proposed it, the second to none")
