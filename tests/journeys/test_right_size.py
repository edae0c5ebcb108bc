"""Nothing is taken from a newcomer, however little it did; from whom two months are known, with one command."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from charter.cli.main import app
from charter.registry.pattern import write_yaml
from fakes import FixedClock
from houses import a_house, estate_files
from terminal import Terminal

FILE = "principals/refund-agent.yaml"


@pytest.mark.slow
def test_nothing_is_proposed_on_an_hour_of_history(running: Terminal) -> None:
    calls = [{"system": "notes", "tool": "read_note", "arguments": {"id": "welcome"}}]
    assert running.agent("note-keeper", *calls)[0]["ok"]
    told = running.ask("right-size", "note-keeper")
    assert "registered 0 days ago; nothing is proposed before 30 days" in told["excluded"]
    said = running.say("right-size", "note-keeper", "--accept", "--reason", "as used")
    assert "nothing is proposed for note-keeper" in said
    assert running.agent("note-keeper", *calls)[0]["ok"]


def test_a_narrower_charter_is_looked_at_taken_and_applied(tmp_path: Path) -> None:
    """Two months of calls, then the commands as an owner types them; the file keeps its comments."""
    made = estate_files(grants=[{"system": "payments", "actions": ["refund.create", "charge.read"]}])
    files = {path: text.replace("2026-11-02", "2025-11-02") for path, text in made.items()}  # approved before the calls
    value = YAML(typ="safe", pure=True).load(files[FILE])
    files[FILE] = write_yaml(value).replace("grants:", "# who may refund\ngrants:")
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    clock = FixedClock(dt.datetime.now(dt.UTC) - dt.timedelta(days=41))
    with a_house(tmp_path, files=files, clock=clock) as stage:
        for _ in range(40):
            stage.submit(
                stage.bearer(), stage.make("create_refund", {"charge_id": "c", "amount": 5, "currency": "EUR"})
            )
            clock.advance(days=1)

    def charter(*words: str, expect: int = 0) -> str:
        done = CliRunner().invoke(app, ["-C", str(tmp_path), *words])
        assert done.exit_code == expect, done.output
        return done.output

    told = json.loads(charter("right-size", "refund-agent", "--json"))
    assert "action:payments/charge.read" in [each["key"] for each in told["narrowings"]]
    yes = ("right-size", "refund-agent", "--accept", "--as", "maria@example.com", "-r", "as used")
    refused = CliRunner().invoke(app, ["-C", str(tmp_path), *yes, "--proposal", "sha256:of-another-day"])
    assert refused.exit_code != 0
    said = charter(*yes, "--proposal", told["proposal"])
    assert f"accepted by maria@example.com; {FILE} is written" in said.replace("\n", " ")
    text = (tmp_path / FILE).read_text()
    assert "# who may refund" in text
    assert "charge.read" not in text
    assert "accepted by maria@example.com" in charter("right-size", "refund-agent").replace("\n", " ")
    charter("apply", "--yes", "--reason", "as accepted")
    kept = json.loads(charter("show", "refund-agent", "--json"))
    assert "charge.read" not in json.dumps(kept.get("charter", kept).get("grants", kept))
