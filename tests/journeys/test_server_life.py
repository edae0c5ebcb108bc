"""`charter up`, from start to end: alone on its folder, stopped in order, killed in the middle of its work."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from terminal import AS_OWNER, Terminal


@pytest.mark.slow
def test_a_second_server_on_one_folder_is_refused_and_harms_nothing(estate: Terminal) -> None:
    with estate.up() as server:
        error = estate.refused("up", expect=5)

        assert error["detail"].startswith(f"process {server.process.pid} is using the data folder `")
        assert estate.ask("kill", "note-keeper", "--reason", "the first one still obeys")["after"] == "revoked"


@pytest.mark.slow
def test_the_data_folder_may_stand_deeper_than_a_socket_may_be_named(tmp_path: Path) -> None:
    deep = Terminal.at(tmp_path).but("--data", "/".join(["a-folder-with-a-long-name" * 2] * 3))

    with deep.up() as server:
        assert deep.ask("console")["url"].startswith(f"{server.url}/sign-in/")  # the running server alone can say it


@pytest.mark.slow
def test_a_port_that_is_taken_is_told_before_anything_is_done(tmp_path: Path) -> None:
    terminal = Terminal.at(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        error = terminal.refused("up", "--port", str(port), expect=5)

    assert error["detail"] == f"cannot listen on 127.0.0.1:{port}: address already in use"
    assert not (tmp_path / ".charter").exists()
    unknown = terminal.refused("up", "--host", "no-such-host.invalid", expect=2)
    assert unknown["help"] == "choose another --host or --port"


@pytest.mark.slow
def test_a_data_folder_that_cannot_be_written_to_stops_everything_and_loses_nothing(estate: Terminal) -> None:
    data = estate.folder / ".charter"
    person = estate.but(before=AS_OWNER)
    data.chmod(0o500)
    try:
        for words in (("up",), ("ls",), ("kill", "note-reader", "--reason", "x")):
            error = person.refused(*words, expect=6)
            assert error["error"] == "store_failed"
            assert "let Charter's user write to the data folder" in error["help"]
    finally:
        data.chmod(0o700)
    assert person.ask("evidence", "verify")["ok"]
    assert person.ask("show", "note-reader")["standing"] == "active"


@pytest.mark.long
def test_a_server_killed_in_the_middle_of_calls_loses_nothing_it_acknowledged(estate: Terminal) -> None:
    calls = [
        {"system": "notes", "tool": "write_note", "arguments": {"id": f"n{number}", "text": "x"}}
        for number in range(400)
    ]
    acknowledged = []
    with estate.up() as server:
        with estate.begin_agent("note-keeper", calls) as agent:
            assert agent.stdout is not None
            for line in agent.stdout:
                acknowledged.append(json.loads(line))
                if len(acknowledged) == 25:
                    estate.charter("suspend", "note-reader", "--reason", "at the last moment")
                    server.process.kill()
                if not acknowledged[-1]["ok"]:
                    agent.terminate()
                    break
        server.process.wait()

    with estate.up():
        assert estate.ask("evidence", "verify")["ok"]
        assert estate.ask("show", "note-reader")["standing"] == "suspended"
        entries = estate.ask("evidence", "query", "--principal", "note-keeper", "--limit", "10000")["entries"]
        allowed = {e["body"]["object"] for e in entries if e["verdict"] == "allow"}
        done = {e["body"]["verdict_id"] for e in entries if e["kind"] == "outcome"}
        verdicts = {e["body"]["verdict_id"] for e in entries if e["kind"] == "verdict"}
        answered = [f"n{number}" for number, answer in enumerate(acknowledged) if answer["ok"]]
        assert len(answered) >= 25
        assert set(answered) <= allowed
        assert done <= verdicts
        assert len(done) >= len(answered)
        assert estate.agent("note-keeper", calls[-1])[0]["ok"]  # and it works again
        assert estate.agent("note-reader", expect=3) == []
