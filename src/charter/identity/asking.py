"""What people are asked to consent to, while they are asked: by a browser's request, or by a device that shows a code.

INVARIANT: what the person answers is what they were shown: the request is kept here, under a random name that belongs
to their session, and nothing of it comes back from the browser but that name.
"""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from dataclasses import dataclass, field, replace

from charter.core.clock import Clock
from charter.core.entropy import Entropy
from charter.core.errors import AbsentError, ErrorCode, ThrottledError
from charter.identity.shown_code import fresh_code, secret_digest, typed_code

ASKED_LIFE = dt.timedelta(minutes=10)
MAX_ASKED = 512
MAX_DEVICES = 256
POLL_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client wants a person to lend: its principal, for one system, for a purpose or none in particular."""

    principal_id: str
    resource: str
    purpose: str | None
    calls_itself: str | None


@dataclass(frozen=True, slots=True)
class WayBack:
    """How the answer to a browser's request goes back, and what must come with the code that it holds."""

    redirect_uri: str
    challenge: str  # of the verifier (RFC 7636)
    proof_key: str | None  # thumbprint of the key whose proof must come too (`dpop_jkt`, RFC 9449 section 10)


@dataclass(frozen=True, slots=True)
class BrowserRequest:
    """A request that came by the person's browser, and how its answer goes back."""

    wish: Wish
    session: str
    until: dt.datetime
    state: str | None
    back: WayBack


@dataclass(frozen=True, slots=True)
class Device:
    """A device that asks, and what became of it."""

    wish: Wish
    code: str  # BCDF-GHJK, which it shows
    until: dt.datetime
    asked_at: dt.datetime | None = None  # when it last asked
    refused: bool = False
    granted: bool = False


@dataclass(slots=True)
class Consents:
    """Requests and devices that wait for a person, in memory."""

    clock: Clock
    entropy: Entropy
    _requests: OrderedDict[str, BrowserRequest] = field(default_factory=OrderedDict)
    _devices: OrderedDict[bytes, Device] = field(default_factory=OrderedDict)  # by the digest of their secret

    @property
    def ends(self) -> dt.datetime:
        """Until when a request that comes now can be answered."""
        return self.clock.now() + ASKED_LIFE

    def ask(self, request: BrowserRequest) -> str:
        """Keep a request while its person reads; return its name."""
        name = self.entropy.token(16)
        self._requests[name] = request
        while len(self._requests) > MAX_ASKED:
            self._requests.popitem(last=False)
        return name

    def take(self, name: str, session: str) -> BrowserRequest:
        """Return the request of that name, once.

        Raises:
            AbsentError: this session was asked no such thing, or too long ago.
        """
        found = self._requests.pop(name, None)
        if found is None or found.session != session or self.clock.now() >= found.until:
            raise AbsentError(
                ErrorCode.BAD_REQUEST, "nothing like this was asked here", help="begin again at the client"
            )
        return found

    # --- devices (RFC 8628) ---

    def begin_device(self, wish: Wish) -> tuple[str, Device]:
        """Return the secret of a device that asks, and what it shows.

        Raises:
            ThrottledError: too many ask already.
        """
        self._forget()
        if len(self._devices) >= MAX_DEVICES:
            raise ThrottledError(ErrorCode.TOO_MANY, "too many devices ask already", retry_after_seconds=60)
        device = Device(wish, fresh_code(self.entropy), self.ends)
        secret = self.entropy.token(32)
        self._devices[secret_digest(secret)] = device
        return secret, device

    def shown(self, code: str) -> Device | None:
        """Return the device that shows `code` and waits for an answer."""
        self._forget()
        wanted = typed_code(code)
        waiting = (each for each in self._devices.values() if not (each.granted or each.refused))
        return next((each for each in waiting if each.code == wanted), None)

    def answer_device(self, device: Device, *, yes: bool) -> bytes:
        """Record a person's answer; return the digest of the device's secret, by which it picks the consent up.

        Raises:
            AbsentError: it does not wait any more.
        """
        key = next((key for key, each in self._devices.items() if each is device), None)
        if key is None:
            raise AbsentError(ErrorCode.BAD_REQUEST, "no device shows this code", help="begin again at the device")
        self._devices[key] = replace(device, granted=yes, refused=not yes)
        return key

    def poll(self, secret: str) -> tuple[Device | None, bool]:
        """Return the device that holds `secret`, if it is known, and whether it asks too often."""
        self._forget()
        key, now = secret_digest(secret), self.clock.now()
        found = self._devices.get(key)
        if found is None:
            return None, False
        is_hasty = found.asked_at is not None and now < found.asked_at + dt.timedelta(seconds=POLL_SECONDS)
        if found.refused:
            del self._devices[key]
        else:
            self._devices[key] = replace(found, asked_at=now)
        return found, is_hasty

    def end_device(self, secret: str) -> None:
        """Forget a device that picked its consent up."""
        self._devices.pop(secret_digest(secret), None)

    def _forget(self) -> None:
        now = self.clock.now()
        for key in [key for key, each in self._devices.items() if now >= each.until]:
            del self._devices[key]
