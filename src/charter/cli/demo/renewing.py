"""The demo's chapter about rotation: keys are replaced while agents work, and everything that counted still does."""

from __future__ import annotations

from charter.cli.demo.teller import Teller, call


def renew(teller: Teller) -> None:
    """Replace an agent's key and two of Charter's own."""
    teller.step("Replace keys while everything runs")
    before = teller.ask("show", "repo-helper")
    done = teller.ask("rotate", "key", "repo-helper", "--reason", "a month old")
    for own in ("token", "evidence"):
        teller.ask("rotate", own, "--reason", "due")
    (status,) = teller.agent("repo-helper", [call("git", "git_status", repo_path=str(teller.stage.app))])
    after = teller.ask("show", "repo-helper")
    kept = all(before[name] == after[name] for name in ("id", "spiffe_id", "digest", "standing"))
    is_new = done["state"] == "replaced" and len(after["keys"]) == len(before["keys"]) + 1
    teller.claim(status["ok"] and kept and is_new, "the agent goes on under a new key, as the same identity")
    verified = teller.ask("evidence", "verify")
    teller.claim(verified["ok"], "and the whole log verifies across the change of its own key")
