"""Recorded sessions as JSON lines: what a person asked for, what was called, what came back.

    {"session": {"principal": "support-agent", "request": "Answer ticket 7", "at": "2026-11-24T09:30:00Z"}}
    {"said": "and mail ana@example.com a summary"}
    {"call": {"system": "tickets", "action": "ticket.read", "arguments": {"ticket_id": "7"}}, "result": {"body": "…"}}
    {"call": {"system": "mail", "tool": "send_message", "arguments": {…}}, "approve": true, "expect": "escalate"}

A session lasts until the next one begins. A call names an action, or the tool that performs it. `result` is any JSON
value, or what an MCP server answered (`{"content": […]}`); it comes back only if the call is allowed. `approve` is what
a person would say if they were asked; without it nobody answers. `expect` makes the file a test.

Parsing is strict: what is not described here is a fault, told with its line.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from charter.core.clock import parse_rfc3339
from charter.core.errors import CharterError, ErrorCode, MalformedError
from charter.gateway.mcp_json import parse_json

MAX_LINE = 4 * 1024 * 1024
MAX_LINES = 1_000_000
MAX_WORDS = 32_768
_VERDICTS = ("allow", "deny", "escalate")
_SESSION = {"principal", "request", "at", "run"}
_CALL = {"system", "action", "tool", "arguments"}
_LINE = {"call", "result", "approve", "expect"}


@dataclass(frozen=True, slots=True)
class RecordedStep:
    """One call of a session, with what it answered."""

    line: int
    system: str
    action: str | None
    tool: str | None
    arguments: dict[str, Any]
    result: Any  # a JSON value; of a program that replays, also a function that gives it if the call is made
    approve: bool | None = None  # what a person says if asked; None: nobody answers
    expect: str | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """What the person said in the course of a session."""

    line: int
    text: str


@dataclass(slots=True)
class RecordedSession:
    """One session, in its order."""

    line: int
    principal: str
    request: str | None
    run: str | None
    at: dt.datetime | None
    steps: list[RecordedStep | Said] = field(default_factory=list)


def read_sessions(lines: Iterable[bytes]) -> list[RecordedSession]:
    """Return the sessions that a file's lines tell of.

    Raises:
        MalformedError: a line is none of those described above; told with its number.
    """
    sessions: list[RecordedSession] = []
    for number, raw in enumerate(lines, start=1):
        if number > MAX_LINES:
            raise _wrong(number, f"there are more than {MAX_LINES} lines")
        if not raw.strip():
            continue
        if len(raw) > MAX_LINE:
            raise _wrong(number, f"the line is longer than {MAX_LINE} bytes")
        try:
            said = parse_json(raw)
        except CharterError as err:
            raise _wrong(number, err.detail) from err
        if not isinstance(said, dict):
            raise _wrong(number, "the line is no JSON object")
        if "session" in said:
            sessions.append(_session(said, number))
        elif not sessions:
            raise _wrong(number, "no session has begun; the first line says `session`")
        else:
            sessions[-1].steps.append(_step(said, number))
    return sessions


def _session(said: dict[str, Any], line: int) -> RecordedSession:
    inner = _inner(said, "session", {"session"}, _SESSION, line)
    at = inner.get("at")
    try:
        moment = parse_rfc3339(at) if isinstance(at, str) else None
    except ValueError as err:
        raise _wrong(line, "`at` is no time as in 2026-11-24T09:30:00Z") from err
    if at is not None and moment is None:
        raise _wrong(line, "`at` is no time as in 2026-11-24T09:30:00Z")
    principal = _text(inner, "principal", line)
    if principal is None:
        raise _wrong(line, "`principal` is missing: whose session it is")
    return RecordedSession(line, principal, _text(inner, "request", line), _text(inner, "run", line, 128), moment)


def _step(said: dict[str, Any], line: int) -> RecordedStep | Said:
    if "said" in said:
        if set(said) != {"said"}:
            raise _wrong(line, "a line with `said` says nothing else")
        return Said(line, _text(said, "said", line) or "")
    inner = _inner(said, "call", _LINE, _CALL, line)
    system, action, tool = (_text(inner, name, line, 256) for name in ("system", "action", "tool"))
    arguments, approve, expect = inner.get("arguments", {}), said.get("approve"), said.get("expect")
    if system is None or (action is None) == (tool is None):
        raise _wrong(line, "a call names its `system`, and either its `action` or its `tool`")
    if not isinstance(arguments, dict):
        raise _wrong(line, "`arguments` are no object")
    if approve is not None and not isinstance(approve, bool):
        raise _wrong(line, "`approve` is neither true nor false")
    if expect is not None and expect not in _VERDICTS:
        raise _wrong(line, f"`expect` is none of {', '.join(_VERDICTS)}")
    return RecordedStep(line, system, action, tool, arguments, said.get("result"), approve, expect)


def _inner(said: dict[str, Any], name: str, outer: set[str], known: set[str], line: int) -> dict[str, Any]:
    inner = said.get(name)
    if not isinstance(inner, dict):
        raise _wrong(line, f"the line holds none of `session`, `said` and `call`, or `{name}` is no object")
    strange = sorted((set(said) - outer) | (set(inner) - known))
    if strange:
        raise _wrong(line, f"`{strange[0][:40]}` means nothing here")
    return inner


def _text(said: dict[str, Any], name: str, line: int, most: int = MAX_WORDS) -> str | None:
    found = said.get(name)
    if found is not None and (not isinstance(found, str) or not found or len(found) > most):
        raise _wrong(line, f"`{name}` is no text of 1 to {most} characters")
    return found


def _wrong(line: int, text: str) -> MalformedError:
    return MalformedError(ErrorCode.BAD_VALUE, f"line {line}: {text}", help="docs/data-flow.md describes the lines")
