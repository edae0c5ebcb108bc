"""A charter is cut down to what was used, proven narrower, and applied."""

from __future__ import annotations

import pytest

from terminal import Terminal


@pytest.mark.slow
def test_what_was_never_used_is_taken_out_and_the_agent_goes_on(running: Terminal) -> None:
    calls = [{"system": "notes", "tool": "read_note", "arguments": {"id": "welcome"}}]
    assert running.agent("note-keeper", *calls)[0]["ok"]
    told = running.ask("right-size", "note-keeper", "--since", "1d")
    assert (told["narrower"], told["safe"]) == (True, True)
    assert told["used"] == ["notes/read_note"]
    assert told["removed"]
    said = running.say("right-size", "note-keeper", "--since", "1d", "--write")
    assert "principals/note-keeper.yaml" in said
    (effect,) = running.ask("plan")["effects"]
    assert (effect["principal"], effect["conclusion"]) == ("note-keeper", "narrows")
    running.charter("apply", "--yes", "--reason", "to what it uses")
    assert running.agent("note-keeper", *calls)[0]["ok"]
