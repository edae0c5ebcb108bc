"""Nothing is taken from a newcomer, however little it did."""

from __future__ import annotations

import pytest

from terminal import Terminal


@pytest.mark.slow
def test_nothing_is_proposed_on_an_hour_of_history(running: Terminal) -> None:
    calls = [{"system": "notes", "tool": "read_note", "arguments": {"id": "welcome"}}]
    assert running.agent("note-keeper", *calls)[0]["ok"]
    told = running.ask("right-size", "note-keeper")
    assert "registered 0 days ago; nothing is proposed before 30 days" in told["excluded"]
    said = running.say("right-size", "note-keeper", "--accept", "--reason", "as used")
    assert "nothing is proposed for note-keeper" in said
    assert running.agent("note-keeper", *calls)[0]["ok"]
