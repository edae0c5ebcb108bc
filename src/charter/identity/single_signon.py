"""Signing in through the organisation's own provider (OpenID Connect Core, authorization code with PKCE).

1. `begin` makes a state, a nonce and a PKCE verifier, and a secret for the browser's cookie: whoever brings an answer
   back must be the browser that asked.
2. The provider's answer is taken once, within ten minutes, with the state it was asked with and, where it names its
   issuer (RFC 9207), from the provider that was asked.
3. What the provider says of the person is verified by the `Provider`; whether they may come in is the desk's to say.

INVARIANT: nothing is opened for an answer that nobody asked for: an attacker's own code, slipped to somebody else's
browser, finds no state that belongs to it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import NoReturn, Protocol

from charter.core.clock import Clock
from charter.core.entropy import Entropy
from charter.core.errors import ErrorCode, UnauthenticatedError

PENDING_LIFE = dt.timedelta(minutes=10)
MAX_PENDING = 1024
COOKIE_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Identity:
    """A person, as their provider vouches for them."""

    issuer: str
    subject: str
    email: str  # verified by the provider
    groups: tuple[str, ...]


class Provider(Protocol):
    """The organisation's OpenID provider."""

    @property
    def label(self) -> str:
        """What the button says."""
        ...

    @property
    def issuer(self) -> str:
        """Who it is."""
        ...

    async def address(self, *, state: str, nonce: str, verifier: str) -> str:
        """Return where the browser goes to sign in.

        Raises:
            UnavailableError: the provider cannot be asked.
        """
        ...

    async def identity(self, code: str, *, nonce: str, verifier: str) -> Identity:
        """Return whom the provider's `code` stands for.

        Raises:
            UnauthenticatedError: for nobody, or for somebody who did not ask.
            UnavailableError: the provider cannot be asked.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Pending:
    nonce: str
    verifier: str
    browser: bytes  # digest of the browser's secret
    until: dt.datetime


@dataclass(slots=True)
class SingleSignOn:
    """Sign-ins under way at one provider, in memory."""

    provider: Provider
    clock: Clock
    entropy: Entropy
    _pending: OrderedDict[str, _Pending] = field(default_factory=OrderedDict)

    async def begin(self) -> tuple[str, str]:
        """Return where the browser goes, and the secret its cookie must bring back.

        Raises:
            UnavailableError: the provider cannot be asked.
        """
        state, nonce, browser = (self.entropy.token(32) for _ in range(3))
        verifier = self.entropy.token(32)
        where = await self.provider.address(state=state, nonce=nonce, verifier=verifier)
        self._pending[state] = _Pending(nonce, verifier, _digest(browser), self.clock.now() + PENDING_LIFE)
        while len(self._pending) > MAX_PENDING:
            self._pending.popitem(last=False)
        return where, browser

    async def finish(self, answer: dict[str, str], browser: str | None) -> Identity:
        """Return whom the provider's `answer` stands for; `browser` is the secret that its cookie brought.

        Raises:
            UnauthenticatedError: nobody asked for it, or the provider refused.
            UnavailableError: the provider cannot be asked.
        """
        pending = self._pending.pop(answer.get("state", ""), None)
        if pending is None or self.clock.now() >= pending.until:
            _refuse("nobody here asked for this sign-in, or it took longer than ten minutes")
        if browser is None or not hmac.compare_digest(_digest(browser), pending.browser):
            _refuse("this sign-in was begun in another browser")
        if answer.get("iss", self.provider.issuer) != self.provider.issuer:
            _refuse("the answer comes from another provider than the one that was asked")
        if "error" in answer or not answer.get("code"):
            _refuse("the provider signed nobody in")
        return await self.provider.identity(answer["code"], nonce=pending.nonce, verifier=pending.verifier)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _refuse(why: str) -> NoReturn:
    raise UnauthenticatedError(ErrorCode.NOT_SIGNED_IN, why, help="begin again at the sign-in page")
