"""Sessions of callers that speak the handshake's versions (2025-11-25 and before).

INVARIANT: a session belongs to the principal and system it was opened for, and to the delegation it was opened under.
To anyone else, and to the same principal when it acts for another, its id is as unknown as one that never was. A
session carries no authority: each request still brings its own token.
INVARIANT: sessions are bounded: idle ones end, and a principal that opens too many loses its oldest.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from charter.core.clock import Clock
from charter.core.entropy import Entropy
from charter.core.errors import AbsentError, ErrorCode
from charter.gateway.mcp_answers import RequestId
from charter.gateway.mcp_asking import Ability
from charter.gateway.mcp_logs import USUAL_LEVEL

IDLE_SECONDS = 3600.0
MAX_PER_PRINCIPAL = 100
MAX_SESSIONS = 20_000


@dataclass(frozen=True, slots=True)
class Watched:
    """A resource that a caller wants to hear of: whose it is, what it is called there, how often it had changed."""

    system: str
    uri: str
    count: int


@dataclass(slots=True, eq=False)
class Session:
    """One caller's session with one system."""

    id: str
    principal_id: str
    delegation: str | None
    system: str
    version: str
    used: float  # monotonic
    client: str | None = None  # what the caller's program says that it is
    logs: str = USUAL_LEVEL  # the least level of what servers log that its caller is told
    abilities: frozenset[Ability] = frozenset()  # what its client can be asked for
    watched: dict[str, Watched] = field(default_factory=dict)  # resources it wants to hear of, as it calls them
    running: dict[RequestId | None, Callable[[], None]] = field(default_factory=dict)  # how to cancel what is under way
    waiting: dict[RequestId, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)  # asked, and unanswered
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _asked: int = 0

    @property
    def label(self) -> str:
        """What evidence calls the session: tells it apart, and is no use to anyone who wants to join it."""
        return "ses_" + hashlib.sha256(self.id.encode()).hexdigest()[:26]

    def cancel(self, request_id: object) -> None:
        """Cancel one of its requests, if that is still under way."""
        if isinstance(request_id, str | int) and not isinstance(request_id, bool) and request_id in self.running:
            self.running[request_id]()

    def expect(self) -> tuple[RequestId, asyncio.Future[dict[str, Any]]]:
        """Return the id of a new request to the client, and what will hold its answer."""
        self._asked += 1
        request_id = f"charter-{self._asked}"
        self.waiting[request_id] = answer = asyncio.get_running_loop().create_future()
        return request_id, answer

    def answered(self, request_id: object, body: dict[str, Any]) -> bool:
        """Take the client's answer to a request of ours; return whether one waited for it."""
        answer = self.waiting.pop(request_id, None) if isinstance(request_id, str) else None
        if answer is None or answer.done():
            return False
        answer.set_result(body)
        return True


class Sessions:
    """The sessions that are open, least recently used first."""

    def __init__(self, clock: Clock, entropy: Entropy) -> None:
        self._clock = clock
        self._entropy = entropy
        self._open: OrderedDict[str, Session] = OrderedDict()
        self._of: dict[str, OrderedDict[str, None]] = {}  # ids by principal, least recently used first

    def open(self, principal_id: str, system: str, version: str, *, delegation: str | None = None) -> Session:
        """Return a new session; the oldest make room if there are too many."""
        now = self._clock.monotonic()
        while self._open:
            oldest = next(iter(self._open.values()))
            if len(self._open) < MAX_SESSIONS and now - oldest.used < IDLE_SECONDS:
                break
            self.end(oldest)
        own = self._of.setdefault(principal_id, OrderedDict())
        while len(own) >= MAX_PER_PRINCIPAL:
            self.end(self._open[next(iter(own))])
            own = self._of.setdefault(principal_id, OrderedDict())
        session = Session(self._entropy.token(32), principal_id, delegation, system, version, now)
        self._open[session.id] = session
        own[session.id] = None
        return session

    def get(self, session_id: str, principal_id: str, system: str, *, delegation: str | None = None) -> Session:
        """Return the session of that id.

        Raises:
            AbsentError: there is none, it ended, or it is another principal's, delegation's or system's.
        """
        wanted = (principal_id, delegation, system)
        session, now = self._open.get(session_id), self._clock.monotonic()
        if session is not None and now - session.used >= IDLE_SECONDS:
            self.end(session)
            session = None
        if session is None or (session.principal_id, session.delegation, session.system) != wanted:
            raise AbsentError(ErrorCode.BAD_REQUEST, "there is no such session", help="send `initialize` again")
        session.used = now
        self._open.move_to_end(session_id)
        self._of[principal_id].move_to_end(session_id)
        return session

    def end(self, session: Session) -> None:
        """End a session: its listening streams close, and what it has under way is cancelled."""
        self._open.pop(session.id, None)
        own = self._of.get(session.principal_id)
        if own is not None:
            own.pop(session.id, None)
            if not own:
                del self._of[session.principal_id]
        session.ended.set()
        for stop in list(session.running.values()):
            stop()

    def __len__(self) -> int:
        return len(self._open)
