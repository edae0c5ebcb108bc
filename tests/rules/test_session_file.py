"""Recorded sessions: each line is read strictly, and a fault is told with its number."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.errors import MalformedError
from charter.gateway.session_file import RecordedStep, Said, read_sessions

SESSION = {"session": {"principal": "agent", "request": "do it", "at": "2026-11-24T09:30:00Z", "run": "r"}}
CALL: dict[str, Any] = {"call": {"system": "mail", "action": "message.read", "arguments": {"id": "1"}}, "result": [1]}


def lines(*said: Any) -> list[bytes]:
    return [each if isinstance(each, bytes) else json.dumps(each).encode() for each in said]


def test_a_session_is_read_with_its_steps() -> None:
    (session,) = read_sessions(lines(SESSION, CALL, b"", {"said": "more"}, CALL | {"approve": True, "expect": "deny"}))
    first, said, second = session.steps
    assert (session.principal, session.request, session.run) == ("agent", "do it", "r")
    assert isinstance(first, RecordedStep)
    assert (first.line, first.system, first.action, first.arguments, first.result) == (
        2,
        "mail",
        "message.read",
        {"id": "1"},
        [1],
    )
    assert said == Said(4, "more")
    assert isinstance(second, RecordedStep)
    assert (second.approve, second.expect) == (True, "deny")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ([CALL], "line 1: no session has begun"),
        ([SESSION, b"{"], "line 2"),
        ([SESSION, []], "line 2: the line is no JSON object"),
        ([SESSION, b'{"said": "a", "said": "b"}'], "line 2"),
        ([SESSION, {}], "line 2: the line holds none of"),
        ([{"session": {}}], "line 1: `principal` is missing"),
        ([{"session": {"principal": "a", "who": 1}}], "`who` means nothing here"),
        ([{"session": {"principal": "a", "at": "soon"}}], "`at` is no time"),
        ([{"session": {"principal": "a", "at": 7}}], "`at` is no time"),
        ([{"session": {"principal": ""}}], "`principal` is no text"),
        ([SESSION, {"said": "a", "more": 1}], "says nothing else"),
        ([SESSION, CALL | {"expect": "maybe"}], "`expect` is none of"),
        ([SESSION, CALL | {"approve": "yes"}], "`approve` is neither"),
        ([SESSION, CALL | {"why": "x"}], "`why` means nothing here"),
        ([SESSION, {"call": {"system": "mail"}}], "either its `action` or its `tool`"),
        ([SESSION, {"call": {"system": "mail", "action": "a", "tool": "t"}}], "either its `action` or its `tool`"),
        ([SESSION, {"call": {"system": "mail", "action": "a", "arguments": []}}], "`arguments` are no object"),
    ],
)
def test_a_fault_is_told_with_its_line(said: list[Any], told: str) -> None:
    with pytest.raises(MalformedError) as err:
        read_sessions(lines(*said))
    assert told in err.value.detail
    assert "docs/data-flow.md" in (err.value.help or "")


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_whatever_the_bytes_they_are_sessions_or_a_fault(raw: list[bytes]) -> None:
    with contextlib.suppress(MalformedError):
        assert all(each.principal for each in read_sessions(raw))
