"""Decisions within the program: reads that its own policies allow, without asking anybody first.

    charter = Charter(in_process=True)     # under `charter run`; elsewhere in_process="/var/lib/assistant/spool"

The policies are pushed by Charter and count for a second after it last said that they are in force. Whatever they do
not plainly allow is asked as always, and so is everything once nothing was heard for a second, too much waits to be
reported, or the disk takes nothing more. What is decided here stands on this machine's disk before it is acted on, and
in the evidence soon after.

INVARIANT: nothing is allowed here by what was in force more than a second ago. The clock is the pipeline's, told with
each line and never taken to be earlier than it can be, so that lines that were long under way count for nothing.
INVARIANT: an answer that brings data of a class, or strangers' words, into the session is given here only while Charter
knows that the session has them: it is asked first, and again every 20 minutes.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec

from charter.adapters.spool import Spool, SpoolFullError
from charter.core.canonical import canonical
from charter.core.clock import parse_rfc3339, rfc3339
from charter.core.entropy import SystemEntropy
from charter.core.errors import CharterError
from charter.gateway.carried import MAX_ARGUMENTS, MAX_FORM, Deed, Local, read_carried
from charter.policy.shadow import CompiledEngine, Disagreement
from charter.sdk.answer import Allowed, Question

MAX_FRESH = 1.0  # seconds; a line that says more is not believed
JUMP = 0.05  # seconds by which a line may seem to come before its time: clocks run at rates of their own
MAX_LATE = 10.0  # seconds after which a line is no news, and another connection is tried
CONNECT_SECONDS = 5.0
REPORT_SECONDS = 0.2  # between two looks at what is to be reported
REPORTED_AT_ONCE = 200
MAX_AGE = 30.0  # of what is not reported yet, in seconds; older, and nothing more is decided here
LABELLED_FOR = 20 * 60.0  # seconds for which an answer of Charter's keeps what it brought in the session
FLUSH_SECONDS = 2.0
_PAUSES = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0)  # before the next attempt to connect
_log = logging.getLogger("charter.sdk")
Headers = Callable[[str, str], Mapping[str, str]]


class _Line(msgspec.Struct, frozen=True):
    """One line of the stream."""

    at: str
    digest: str
    fresh_seconds: float
    policies: msgspec.Raw = msgspec.Raw()


@dataclass(frozen=True, slots=True)
class _InForce:
    """Policies that were said to be in force."""

    local: Local
    digest: str
    until: float  # by our clock, in seconds: nothing is decided by them later
    offset: float  # from our clock to the pipeline's, at least


def seconds() -> float:
    """Return seconds that never run backwards, those in which the machine slept among them where they can be had."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class InProcess:
    """Decides what it can; asks nobody. Its threads follow the policies, and report."""

    def __init__(
        self, url: str, principal: str, spool: Path, headers: Headers | None, *, clock: Callable[[], float] = seconds
    ) -> None:
        """`url` is the decision API's, `headers` what proves the program at each request.

        Raises:
            OSError: the spool cannot be kept there.
        """
        from charter.adapters.cedar import CedarEngine

        self._url, self._principal, self._headers, self._clock = url, principal, headers, clock
        self._entropy = SystemEntropy()
        self._spool = Spool(spool, self._entropy)
        self._engine = CompiledEngine(CedarEngine(), self._disagreed)
        self._in_force: _InForce | None = None
        self._bound: Local | None = None
        self._asked: dict[str, float] = {}  # actions whose answers are labelled: when Charter last answered
        self._unreported_since: float | None = None
        self._is_off = False
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._pid = os.getpid()
        self._threads = [
            threading.Thread(target=each, name=f"charter-{each.__name__}", daemon=True)
            for each in (self._follow, self._report)
        ]
        for each in self._threads:
            each.start()

    @property
    def is_fresh(self) -> bool:
        """Whether anything could be decided here now."""
        found = self._in_force
        return found is not None and self._clock() < found.until

    def allowed(self, question: Question) -> Allowed | None:
        """Return the allow, if this call may be decided here and now; None: ask."""
        found, now = self._in_force, self._clock()
        if found is None or now >= found.until or not self._is_ready(now):
            return None
        deed = Deed(question.system, question.action, question.object, question.arguments)
        is_known = now - self._asked.get(deed.id, -LABELLED_FOR) < LABELLED_FOR
        is_other = question.subject != self._principal or set(question.context) - {"supported_obligations"}
        if is_other or (found.local.is_labelled(deed) and not is_known):
            return None
        at = dt.datetime.fromtimestamp(now + found.offset, dt.UTC)
        try:
            if len(canonical(dict(question.arguments))) > MAX_ARGUMENTS or not found.local.allowed(deed, at):
                return None
            return self._kept(deed, found, at)
        except CharterError:
            return None  # its arguments are nothing that can be recorded: Charter says why

    def _is_ready(self, now: float) -> bool:
        """Whether what is decided here is reported in time, by this process."""
        since = self._unreported_since
        is_late = since is not None and now - since > MAX_AGE
        return not (self._is_off or is_late) and os.getpid() == self._pid

    def _kept(self, deed: Deed, found: _InForce, at: dt.datetime) -> Allowed | None:
        verdict = self._entropy.identifier("vrd")
        try:
            self._spool.add({"id": verdict, "at": rfc3339(at), "policies": found.digest} | deed.to_json())
        except (OSError, SpoolFullError) as err:
            _log.warning("nothing is decided in the program: %s", err)
            return None
        if self._unreported_since is None:
            self._unreported_since = self._clock()
        self._wake.set()
        # the disk may have taken its time: what is in force has to be in force now
        return Allowed(verdict) if self._clock() < found.until else None

    def answered(self, question: Question) -> None:
        """Note that Charter itself allowed a call: what it answers is in the session now."""
        self._asked[f"{question.system}/{question.action}"] = self._clock()

    def close(self) -> None:
        """Stop, once what was decided is reported or two seconds have passed."""
        self._stop.set()
        self._wake.set()
        for each in self._threads:
            each.join(FLUSH_SECONDS)
        self._spool.close()

    def _disagreed(self, found: Disagreement) -> None:
        self._is_off = True
        _log.error("policies and Cedar disagree on %s: nothing more is decided in the program", found.action)

    def _follow(self) -> None:
        """Keep what is in force, until the end."""
        failures = 0
        while not self._stop.is_set():
            try:
                for _ in self._lines():
                    failures = 0
                    if self._stop.is_set():
                        return
            except (httpx.HTTPError, CharterError, msgspec.MsgspecError, ValueError, RecursionError) as err:
                _log.info("the policies are not pushed just now: %s", err)
                failures += 1
            finally:
                self._in_force = None
            self._stop.wait(_PAUSES[min(failures, len(_PAUSES) - 1)])

    def _lines(self) -> Iterator[None]:
        """Take in one stream's lines."""
        url, bound = f"{self._url}/carried", None
        timeout = httpx.Timeout(CONNECT_SECONDS, read=CONNECT_SECONDS)
        with httpx.Client(timeout=timeout, trust_env=False) as client:
            proof = dict(self._headers("GET", url)) if self._headers is not None else {}
            sent = self._clock()
            with client.stream("GET", url, headers=proof) as answer:
                if answer.status_code != httpx.codes.OK:
                    raise ValueError(f"the decision API answered {answer.status_code}")
                offset: float | None = None
                for data in _split(answer.iter_raw()):
                    line = msgspec.json.decode(data, type=_Line)
                    at = parse_rfc3339(line.at).timestamp()
                    # The line was written after the request was sent. So the pipeline's clock shows at most this now.
                    offset = at - sent if offset is None else offset
                    age = self._clock() - (at - offset)
                    if not -JUMP < age < MAX_LATE:
                        raise ValueError("the pipeline's clock was set, or its lines take long")
                    bound = self._taken(line, bound)
                    fresh = min(max(line.fresh_seconds, 0.0), MAX_FRESH)
                    self._in_force = _InForce(bound, line.digest, at - offset + fresh, offset)
                    yield

    def _taken(self, line: _Line, bound: Local | None) -> Local:
        """Return the policies that a line says are in force."""
        if line.policies:
            carried = read_carried(bytes(line.policies))
            if carried.digest != line.digest or carried.form.principal.get("name") != self._principal:
                raise ValueError("these are not the policies that they say they are")
            return Local(carried, self._engine, self._engine)
        if bound is None or bound.carried.digest != line.digest:
            raise ValueError("a line speaks of policies that were not sent")
        return bound

    def _report(self) -> None:
        """Report what was decided, until the end."""
        failures, ends = 0, float("inf")
        with httpx.Client(timeout=CONNECT_SECONDS, trust_env=False) as client:
            while True:
                if self._stop.is_set():
                    ends = min(ends, self._clock() + FLUSH_SECONDS)
                found = self._spool.waiting(REPORTED_AT_ONCE)
                if found is None:
                    self._unreported_since = None
                    if self._stop.is_set():
                        return
                    self._wake.wait()
                    self._wake.clear()
                    self._stop.wait(REPORT_SECONDS / 10)  # so that several go together
                    continue
                name, first, lines = found
                try:
                    through = self._reported(client, {"spool": name, "first": first, "decisions": lines})
                    self._spool.reported(name, through)
                    failures = 0
                    self._unreported_since = None if self._spool.waiting(1) is None else self._clock()
                except (httpx.HTTPError, ValueError, KeyError, TypeError) as err:
                    _log.info("what was decided is not reported yet: %s", err)
                    failures += 1
                    if self._clock() >= ends:
                        return
                    self._stop.wait(_PAUSES[min(failures, len(_PAUSES) - 1)])

    def _reported(self, client: httpx.Client, report: dict[str, Any]) -> int:
        url = f"{self._url}/decisions"
        proof = dict(self._headers("POST", url)) if self._headers is not None else {}
        answer = client.post(url, json=report, headers=proof)
        if answer.status_code != httpx.codes.OK:
            raise ValueError(f"the decision API answered {answer.status_code}: {answer.text[:200]}")
        return int(answer.json()["through"])


def _split(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the lines of a stream, none longer than policies can be."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
        if len(rest) > MAX_FORM + 1024:
            raise ValueError("a line is longer than policies can be")
