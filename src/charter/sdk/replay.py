"""What an estate would say of an agent's calls, one after another, without a server: for evaluations and tests.

    with Replay("estate") as replay:
        session = replay.session("assistant", request="Write eva@example.com what came in")
        mail = session.call("mail", tool="read_message", arguments={"message_id": "m1"}, result=read_it)
        sent = session.call("mail", tool="send_message", arguments={"to": ["sam@example.com"]}, approve=True)
        assert sent.verdict == "escalate"

Each call goes through the real pipeline, as with `charter replay FILE`, in a house that is gone afterwards. `result` is
a JSON value, or a function that is called only if the call is made: so a benchmark's own world can answer. Everything
here waits; a program with an event loop calls it in a thread, one call at a time.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from charter.bootstrap.replays import Played, ReplayedCall, Stage, replay, staged
from charter.bootstrap.tools import known_choices
from charter.core.clock import parse_rfc3339
from charter.core.errors import ErrorCode, MalformedError
from charter.gateway.session_file import RecordedSession, RecordedStep, read_sessions
from charter.registry.manifest import read_files

__all__ = ["Replay", "ReplayedCall", "Session", "replay_lines"]


@dataclass(slots=True)
class Replay:
    """A house of the estate in `folder`, between `with` and its end."""

    folder: Path | str
    _stage: Stage | None = None
    _open: ExitStack = field(default_factory=ExitStack)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __enter__(self) -> Self:
        """Build the house.

        Raises:
            EstateError: the files are not valid.
        """
        root = Path(self.folder)
        self._stage = self._open.enter_context(staged(read_files(root), known_choices(root)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take it down."""
        self._stage = None
        self._open.__exit__(kind, error, trace)

    def session(
        self, principal: str, request: str | None = None, *, run: str | None = None, at: dt.datetime | str | None = None
    ) -> Session:
        """Begin a session of `principal`, with what the person asked it for, `at` a moment (now; text as in RFC 3339).

        Raises:
            AbsentError: there is no such principal.
            MalformedError: `at` is no moment, or does not say in which time zone it is.
        """
        if self._stage is None:
            raise RuntimeError("a replay is used within `with Replay(folder) as replay`")
        recorded = RecordedSession(next(self._numbers), principal, request, run, _moment(at))
        return Session(self._stage, self._stage.run(self._stage.replay.begin(recorded)))


def _moment(at: dt.datetime | str | None) -> dt.datetime | None:
    try:
        found = parse_rfc3339(at) if isinstance(at, str) else at
    except ValueError:
        found = None
    if at is not None and (found is None or found.tzinfo is None):
        help = "say it as in 2026-11-24T09:30:00Z, or as a datetime with a time zone"
        raise MalformedError(ErrorCode.BAD_VALUE, f"`at` is no moment: {str(at)[:80]!a}", help=help)
    return found


@dataclass(slots=True)
class Session:
    """One session of a principal."""

    _stage: Stage
    _played: Played
    _calls: int = 0

    def said(self, words: str) -> None:
        """Take in more of the person's words."""
        self._stage.replay.hear(self._played, words)

    def call(
        self,
        system: str,
        *,
        action: str | None = None,
        tool: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        result: Any | Callable[[], Any] = None,  # noqa: ANN401 - any JSON value
        approve: bool | None = None,
    ) -> ReplayedCall:
        """Return what becomes of a call of `action`, or of the `tool` that performs it.

        `result` comes back only if the call is made, and counts as read by the session then; `approve`: what people say
        if they are asked; None: nobody answers. What `result` raises is the caller's.

        Raises:
            MalformedError: both are named, or none.
        """
        if (action is None) == (tool is None):
            raise MalformedError(
                ErrorCode.BAD_VALUE, "a call names either its `action` or its `tool`", help="give one of them"
            )
        self._calls += 1
        step = RecordedStep(self._calls, system, action, tool, dict(arguments or {}), result, approve)
        return self._stage.run(self._stage.replay.step(self._played, step))


def replay_lines(folder: Path | str, lines: Iterable[bytes | str]) -> Iterator[ReplayedCall]:
    """Yield what becomes of each call of recorded sessions, as `charter replay` does of a file's lines.

    Raises:
        MalformedError: a line is none of those that docs/data-flow.md describes.
        EstateError: the files are not valid.
        AbsentError: a session is of a principal that there is none of.
    """
    root = Path(folder)
    told = (line.encode() if isinstance(line, str) else line for line in lines)
    return replay(read_files(root), read_sessions(told), known_choices(root))
