"""Signing in to the console: one-time links and the sessions they open.

1. A link holds a token of 256 random bits. It opens one session, within ten minutes, once. Looking at it spends
   nothing (link previews and prefetching browsers look); only the button's POST redeems it.
2. Tokens and session ids are kept as SHA-256 digests and compared in constant time: what memory or a dump shows opens
   nothing.
3. A session id is made when a link is redeemed and never taken from the browser, so none can be planted beforehand. A
   session ends 8 hours after it began, after 30 minutes without a deed of the person (a page that updates itself is
   none), at sign-out, or when the 256 places are taken and it is the one unused for longest.
4. Failed attempts are counted per source and answered 429 beyond ten a minute. A good link is never refused for them:
   guessing 256 bits is hopeless at any rate, and a counter that could lock the operator out would help an attacker
   during a kill.

Calls come from the event loop's thread, so each method is one step that nothing interrupts; only `end_all_of` may come
from the database writer's, when somebody left.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from charter.console.address import Address
from charter.core.clock import Clock
from charter.core.entropy import Entropy
from charter.core.errors import ErrorCode, ThrottledError, UnauthenticatedError
from charter.registry.access import Access

LINK_LIFE = dt.timedelta(minutes=10)
SESSION_LIFE = dt.timedelta(hours=8)
IDLE_LIFE = dt.timedelta(minutes=30)
MAX_LINKS = 16
MAX_SESSIONS = 256
MAX_FAILURES = 10  # per source and minute
MAX_SOURCES = 256
_MINUTE = dt.timedelta(minutes=1)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Session:
    """A person's open session. `digest` is that of its id; the id itself is known to the browser alone."""

    digest: bytes
    person: str
    access: Access
    is_terminal: bool  # a command line's, which is no browser's cookie
    is_local: bool  # the operator at this machine, who may answer in the name of people that stand beside them
    began: dt.datetime
    used: dt.datetime

    def has_ended(self, at: dt.datetime) -> bool:
        """Whether its 8 hours, or 30 minutes without use, are over."""
        return at >= self.began + SESSION_LIFE or at >= self.used + IDLE_LIFE


class SignIn:
    """The links given out to the local operator and the sessions open, in memory: a restart signs everybody out."""

    def __init__(self, clock: Clock, entropy: Entropy, operator: str, *, issuer: str) -> None:
        self.clock = clock
        self.operator = operator
        self.address = Address.parse(issuer)
        self.entropy = entropy
        self._links: OrderedDict[bytes, dt.datetime] = OrderedDict()  # digest of a token -> until when
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()  # by digest of the id, longest unused first
        self._failures: OrderedDict[str, deque[dt.datetime]] = OrderedDict()  # by source

    def link(self) -> str:
        """Return a new link that signs the operator in, once, within ten minutes."""
        token = self.entropy.token(32)
        self._links[_digest(token)] = self.clock.now() + LINK_LIFE
        while len(self._links) > MAX_LINKS:
            self._links.popitem(last=False)
        return f"{self.address.origin}/sign-in/{token}"

    def is_open(self, token: str) -> bool:
        """Whether the link that holds `token` can still be redeemed. Spends nothing."""
        until = _lookup(self._links, _digest(token))
        return until is not None and self.clock.now() < until

    def redeem(self, token: str, *, source: str, replaces: str | None = None) -> str:
        """Spend the link that holds `token`; return the id of the session it opens.

        `source` is the caller's address, `replaces` the session id its browser holds already, which ends.

        Raises:
            UnauthenticatedError: the link is unknown, spent or too old.
            ThrottledError: so it is, and more than ten attempts of this source failed within a minute.
        """
        usable = self.is_open(token)
        self._links.pop(_digest(token), None)
        if not usable:
            self._fail(source)
        return self.open(self.operator, Access.ADMIN, is_local=True, replaces=replaces)

    def open(
        self,
        person: str,
        access: Access,
        *,
        is_terminal: bool = False,
        is_local: bool = False,
        replaces: str | None = None,
    ) -> str:
        """Open a session of somebody who has proved themselves; return its id."""
        if replaces is not None:
            self.end(replaces)
        session_id = self.entropy.token(32)
        now = self.clock.now()
        session = Session(_digest(session_id), person, access, is_terminal, is_local, now, now)
        self._sessions[session.digest] = session
        self._drop_sessions(now)
        return session_id

    def end_all_of(self, person: str) -> int:
        """Sign a person out everywhere; return how many sessions that were."""
        ended = [session.digest for session in self._sessions.values() if session.person.lower() == person.lower()]
        for digest in ended:
            self._sessions.pop(digest, None)
        return len(ended)

    def session(self, session_id: str, *, deed: bool = True) -> Session | None:
        """Return the open session with this id, if there is one. `deed` says that a person did something just now."""
        now = self.clock.now()
        found = _lookup(self._sessions, _digest(session_id))
        if found is None:
            return None
        if found.has_ended(now):
            del self._sessions[found.digest]
            return None
        if deed:
            found = replace(found, used=now)
            self._sessions[found.digest] = found
            self._sessions.move_to_end(found.digest)
        return found

    def end(self, session_id: str) -> None:
        """Sign out."""
        self._sessions.pop(_digest(session_id), None)

    def _drop_sessions(self, now: dt.datetime) -> None:
        for digest in [s.digest for s in self._sessions.values() if s.has_ended(now)]:
            del self._sessions[digest]
        while len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)

    def _fail(self, source: str) -> None:
        now = self.clock.now()
        failures = self._failures.setdefault(source, deque(maxlen=MAX_FAILURES + 1))
        self._failures.move_to_end(source)
        while len(self._failures) > MAX_SOURCES:
            self._failures.popitem(last=False)
        failures.append(now)
        if len([at for at in failures if now - at < _MINUTE]) > MAX_FAILURES:
            raise ThrottledError(
                ErrorCode.NOT_SIGNED_IN,
                "too many sign-ins failed",
                help="wait a minute, then open a link that `charter console` prints",
                retry_after_seconds=60,
            )
        raise UnauthenticatedError(
            ErrorCode.NOT_SIGNED_IN,
            "this link has been used already, or is older than ten minutes",
            help="run `charter console`; it prints a new one",
        )


def form_token(session_id: str) -> str:
    """Return what each form of a session must carry, derived from its id: whoever lacks the cookie lacks it too."""
    mac = hmac.new(session_id.encode(), b"charter console form", hashlib.sha256).digest()
    return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _lookup(kept: Mapping[bytes, T], digest: bytes) -> T | None:
    """Return what is kept under `digest`, having looked at all there is: the time taken tells nothing."""
    found = None
    for key, value in kept.items():
        if hmac.compare_digest(key, digest):
            found = value
    return found
