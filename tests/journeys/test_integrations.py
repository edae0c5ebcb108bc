"""Evidence in and out from the terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from charter.cli.main import app
from charter.registry.starter import init
from sinks_stage import a_receiver
from terminal import Terminal

LOGS = Path(__file__).parent.parent / "corpus" / "logs"


def run(folder: Path, *words: str, expect: int = 0) -> str:
    done = CliRunner().invoke(app, ["-C", str(folder), *words])
    assert done.exit_code == expect, done.output
    return done.output


def test_a_log_is_taken_once_and_what_cannot_be_read_is_set_aside(tmp_path: Path) -> None:
    estate = tmp_path / "estate"
    init(estate)
    log = tmp_path / "kubernetes.log"
    log.write_bytes((LOGS / "kubernetes.json").read_bytes() + b"{not json\n\xff\xfe\n")
    told = run(estate, "evidence", "ingest", "--from", "kubernetes", str(log), expect=1)
    assert "2 events added" in told
    assert "2 lines set aside" in told
    aside = [json.loads(line) for line in (tmp_path / "kubernetes.log.aside.jsonl").read_text().splitlines()]
    assert [(each["line"], each["why"]) for each in aside] == [(3, "it is no JSON"), (4, "it is no UTF-8")]
    run(estate, "evidence", "sink", "lake", "--to", f"file://{tmp_path}/lake")
    (sink,) = json.loads(run(estate, "evidence", "sinks", "--json"))["sinks"]
    assert (sink["form"], sink["backlog"]) == ("parquet", sink["backlog"])
    assert sink["backlog"] > 0
    run(estate, "evidence", "remove-sink", "lake", "--reason", "a test")


@pytest.mark.slow
def test_a_server_delivers_and_doctor_tells_of_a_sink_that_does_not_take(running: Terminal) -> None:
    with a_receiver() as receiver:
        receiver.status = 500
        running.say("evidence", "sink", "siem", "--to", receiver.url)
        while running.ask("evidence", "sinks")["sinks"][0]["state"] != "failing":
            pass
        found = {check["name"]: check for check in running.ask("doctor", expect=1)["checks"]}
        assert "status 500" in found["sinks"]["found"]
        receiver.status = 200
        while running.ask("evidence", "sinks")["sinks"][0]["backlog"]:
            pass
    assert receiver.bodies
