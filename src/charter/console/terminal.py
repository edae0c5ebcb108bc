"""Signing a terminal in: a person who is signed in to the console lets one command line act as them (after RFC 8628).

1. The terminal asks, and is given a secret of 256 random bits and a short code to show.
2. The person opens the page that holds the code, sees which machine asks, and says yes or no.
3. The terminal, which has been asking, is given a session of its own: as long as the console's, and ended with it when
   the person leaves.

INVARIANT: the short code opens nothing: it is good for ten minutes, for somebody who is signed in, and what it leads
to is given to whoever holds the long secret alone, once.
"""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from dataclasses import dataclass, field, replace

from charter.console.signin import SignIn
from charter.core.errors import AbsentError, ErrorCode, ThrottledError
from charter.identity.shown_code import fresh_code, secret_digest, typed_code
from charter.registry.access import Access

ASKING_LIFE = dt.timedelta(minutes=10)
MAX_ASKING = 64
POLL_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Asking:
    """One terminal that asks to be signed in."""

    code: str  # BCDF-GHJK
    machine: str  # what it says it is called
    source: str  # the address it asks from
    until: dt.datetime
    session_id: str | None = None  # once somebody said yes
    refused: bool = False


@dataclass(slots=True)
class Terminals:
    """The terminals that ask, in memory."""

    signin: SignIn
    _asking: OrderedDict[bytes, Asking] = field(default_factory=OrderedDict)  # by the digest of the secret

    def ask(self, machine: str, source: str) -> tuple[str, str]:
        """Return the secret and the code of a terminal that asks.

        Raises:
            ThrottledError: too many ask already.
        """
        self._forget()
        if len(self._asking) >= MAX_ASKING:
            raise ThrottledError(ErrorCode.TOO_MANY, "too many terminals ask to be signed in", retry_after_seconds=60)
        entropy = self.signin.entropy
        secret = entropy.token(32)
        code = fresh_code(entropy)
        self._asking[secret_digest(secret)] = Asking(code, machine, source, self.signin.clock.now() + ASKING_LIFE)
        return secret, code

    def shown(self, code: str) -> Asking | None:
        """Return the terminal that shows `code` and waits for an answer."""
        self._forget()
        wanted = typed_code(code)
        waiting = (each for each in self._asking.values() if each.session_id is None and not each.refused)
        return next((each for each in waiting if each.code == wanted), None)

    def answer(self, code: str, *, yes: bool, person: str, access: Access) -> Asking:
        """Record a signed-in person's answer.

        Raises:
            AbsentError: no terminal shows this code any more.
        """
        found = self.shown(code)
        if found is None:
            raise AbsentError(
                ErrorCode.NOT_SIGNED_IN, "no terminal shows this code", help="run charter login again, and compare"
            )
        key = next(key for key, each in self._asking.items() if each is found)
        session = self.signin.open(person, access, is_terminal=True) if yes else None
        self._asking[key] = replace(found, session_id=session, refused=not yes)
        return found

    def collect(self, secret: str) -> str | None:
        """Return the session of the terminal that holds `secret`, once; None while nobody answered.

        Raises:
            AbsentError: nobody knows the secret: it was refused, collected, or older than ten minutes.
        """
        self._forget()
        key = secret_digest(secret)
        found = self._asking.get(key)
        if found is None or found.refused:
            self._asking.pop(key, None)
            raise AbsentError(
                ErrorCode.NOT_SIGNED_IN, "this sign-in was refused, or took too long", help="run charter login again"
            )
        if found.session_id is not None:
            del self._asking[key]
        return found.session_id

    def _forget(self) -> None:
        now = self.signin.clock.now()
        for key in [key for key, each in self._asking.items() if now >= each.until]:
            del self._asking[key]
