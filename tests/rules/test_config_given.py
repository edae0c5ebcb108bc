"""What `charter run` gives to an agent is no setting, so commands that the agent starts are not refused for it."""

from __future__ import annotations

import re

from charter.cli import agent
from charter.config import settings_from
from fuzz_stage import SOURCE


def test_whatever_an_agent_is_given_is_known_to_be_no_setting() -> None:
    given: set[str] = set()
    for file in ("agent.py", "agent_leases.py", "agent_lending.py"):
        text = (SOURCE / "cli" / file).read_text(encoding="utf-8")
        given |= set(re.findall(r'"(CHARTER_[A-Z_]+)"\]? (?:=|:)', text))
        given |= {name + "X" for name in re.findall(r'f"(CHARTER_[A-Z_]+_)\{', text)}
    assert {"CHARTER_DECISIONS_URL", "CHARTER_SPANS_URL", "CHARTER_MODEL_URL_X"} <= given
    assert agent.SPANS
    settings_from(dict.fromkeys(given, "x"))
