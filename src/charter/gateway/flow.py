"""What each session has read, and what that makes of its next call.

A session is what one principal does under one delegation (or by itself) in one run, as far as its program names runs;
whatever a session has read stays with it, through whichever door.

    a result comes      its texts are kept by origin, in memory; that strangers' content or a class of data came in is
                        recorded with the verdict that let it in, and is found again after a restart
    a call is decided   each argument is traced (provenance.py); policies read the outcome as `context.flow`
    a person says yes   the values of that call are from then on the person's own words in this session

INVARIANT: a result is taken in before its caller sees it.
INVARIANT: a session whose texts were lost (a restart, too many sessions) knows that they were: what it read then may
have named any value, so none but the person's own words and the directory vouches for one. Where it had to be forgotten
altogether, each session of its principal that is not known counts as it, until it would have ended.
INVARIANT: nobody makes another principal's sessions forgotten by having many.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import msgspec
from msgspec.structs import replace

from charter.gateway.call import Bearer, Call
from charter.gateway.facts import Facts
from charter.gateway.pointing import Pointed
from charter.gateway.provenance import QUOTED, Found, Known, Texts, Use, leaves
from charter.policy.request import NO_FLOW, FlowFacts
from charter.registry.charter import Effect
from charter.registry.flow import Origin, Pointing
from charter.registry.system import Action, SystemKind

IDLE = dt.timedelta(hours=1)
TIRING = dt.timedelta(hours=1)  # the questions of so long tire whoever answers them
RENEWED = dt.timedelta(minutes=20)  # after which evidence says again what a session that goes on has read
LOOKED_BACK = IDLE + 3 * RENEWED  # at a start: all that is under way was told within it
MAX_SESSIONS = 4096
MAX_OF_ONE = 1024  # sessions of one principal
MAX_MARKS = 4096  # of one principal's sessions whose texts were let go of
MAX_HEARD = 32_768  # characters of one thing a person said
MAX_SAID = 4096  # things that a person said; what is more is kept, but said again it counts twice
MAX_TOLD = 8
_DOUBTFUL = (Found.UNTRUSTED, Found.NOWHERE)
_SAYS_NOTHING = frozenset({"get", "the", "to", "from", "by", "for", "in", "of", "and", "all", "do", "run", "call"})
_SUFFIXES = ("ing", "ed", "es", "s", "e")
_UNLIKE = {"sent": "send", "paid": "pay", "bought": "buy", "sold": "sell", "wrote": "write", "written": "write"} | {
    "cancelled": "cancel",
    "cancelling": "cancel",
}


class SessionKey(msgspec.Struct, frozen=True):
    """Whose session it is."""

    principal_id: str
    delegation: str | None = None
    run: str | None = None  # as the principal's program names it

    @property
    def id(self) -> str:
        """Under what evidence knows it."""
        return _id_of(self)


@lru_cache(maxsize=MAX_SESSIONS)
def _id_of(key: SessionKey) -> str:
    text = "\0".join((key.principal_id, key.delegation or "", key.run or ""))
    return "ses_" + hashlib.sha256(text.encode()).hexdigest()[:24]


def key_of(bearer: Bearer, call: Call) -> SessionKey:
    """Return the session that a call belongs to."""
    return SessionKey(bearer.principal_id, bearer.delegation, call.run)


@dataclass(slots=True)
class FlowSession:
    """What one session has read and heard."""

    used_at: dt.datetime
    known: Known = field(default_factory=Known)
    pointed: Pointed = field(default_factory=Pointed)
    exposed: bool = False
    told_at: dt.datetime | None = None  # when evidence last said what it has read
    heard: set[int] = field(default_factory=set)  # hashes of what the person said; none: their request is not known
    written: Texts = field(default_factory=Texts)  # what models wrote into calls: a task for another model, too
    data: set[str] = field(default_factory=set)
    stems: set[str] = field(default_factory=set)  # of the words of the person's request
    asked: deque[tuple[dt.datetime, str]] = field(
        default_factory=lambda: deque(maxlen=256)
    )  # when people were, by which question; a call that was refused and is asked about again is another

    def hear(self, text: str) -> None:
        """Keep what the person said; what strangers, or models, wrote is not theirs for standing in their place."""
        if hash(text) in self.heard:
            return  # programs say it again with each call
        if self.known.untrusted.holds_part_of(text) or self.written.holds_part_of(text):
            return
        if len(self.heard) < MAX_SAID:
            self.heard.add(hash(text))
        self.known.request.add(text[:MAX_HEARD])
        self.pointed.hear(text[:MAX_HEARD])
        self.stems |= stems_of(text[:MAX_HEARD])

    def lose(self) -> None:
        """Know that texts were lost."""
        self.known.untrusted.dropped = True

    def questions(self, since: dt.datetime) -> int:
        """Return how many questions people were asked since."""
        return sum(at >= since for at, _ in self.asked)


def stems_of(text: str) -> set[str]:
    """Return the words of a text without their endings."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return {_stem(word) for word in re.findall(r"[^\W\d_]{2,40}", spaced.casefold())}


def _stem(word: str) -> str:
    word = _UNLIKE.get(word, word)
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:  # noqa: PLR2004 - else nothing of it is left
            word = word.removesuffix(suffix)
            is_doubled = suffix in ("ing", "ed") and word[-1] == word[-2] and len(word) > 3  # noqa: PLR2004 - `logg`
            word = word[:-1] if is_doubled and word[-1] not in "lsz" else word
            break
    return f"{word[:-1]}y" if word.endswith("i") else word  # `copi` of copies and copied


@dataclass(frozen=True, slots=True)
class _Mark:
    """What stays of a session whose texts were let go of."""

    used_at: dt.datetime
    exposed: bool
    data: frozenset[str]

    def joined(self, other: _Mark) -> _Mark:
        """Return what holds of either."""
        return _Mark(max(self.used_at, other.used_at), self.exposed or other.exposed, self.data | other.data)


@dataclass(slots=True)
class Flows:
    """The sessions of a node."""

    _sessions: OrderedDict[SessionKey, FlowSession] = field(default_factory=OrderedDict)
    _of: dict[str, OrderedDict[SessionKey, None]] = field(default_factory=dict)  # by principal, least lately used first
    _marks: dict[str, OrderedDict[SessionKey, _Mark]] = field(default_factory=dict)  # by principal, the oldest first
    _forgotten: dict[str, _Mark] = field(default_factory=dict)  # by principal: of sessions that even have no mark more

    def __len__(self) -> int:
        return len(self._sessions)

    # --- what comes in ------------------------------------------------------------------------------------------------

    def hear(self, key: SessionKey, text: str, at: dt.datetime) -> None:
        """Keep what a person said to the principal in a session."""
        self._session(key, at).hear(text)

    def written(self, key: SessionKey, values: Iterable[Any], at: dt.datetime) -> None:
        """Keep what a model wrote into the calls that it proposes."""
        session = self._session(key, at)
        for _, value in (leaf for each in values for leaf in leaves(each)):
            if isinstance(value, str) and len(value) >= QUOTED:
                session.written.add(value)

    def vouch(self, key: SessionKey, call: Call, at: dt.datetime) -> None:
        """Take the values of a call that a person approved as the person's own words."""
        session = self._session(key, at)
        session.stems |= stems_of(call.tool)  # so is what is done: it is not asked again whether it was meant
        for _, value in leaves(call.arguments):
            if value is not None and not isinstance(value, bool):
                session.known.request.add(str(value))

    def asked(self, key: SessionKey, approval_id: str, at: dt.datetime) -> None:
        """Remember that people are asked; whoever calls again while the question waits asks nothing more."""
        asked = self._session(key, at).asked
        if all(each != approval_id for _, each in asked):
            asked.append((at, approval_id))

    def take_in(
        self, key: SessionKey, facts: Facts, result: Mapping[str, Any], at: dt.datetime, call: Call | None = None
    ) -> None:
        """Keep what an allowed call answered, before anybody sees it. `call` is given with the answer to it itself."""
        labels = facts.record.system.labels_of(facts.action)
        if labels is None:
            return
        session = self._session(key, at)
        session.data |= set(facts.request.touched.reads)
        if call is not None and not session.exposed:
            session.known.keep_earlier(call.arguments)
        for content in _contents(result):
            worst = labels.worst if isinstance(content, str) else labels.origin
            found = session.known.take_in(content, worst, labels.fields, labels.names)
            session.exposed = session.exposed or (bool(found) and labels.worst is Origin.UNTRUSTED)
        if call is not None and facts.request.effect is Effect.READ:
            session.pointed.take_in(facts.record.name, call.arguments, _contents(result))

    def take_in_question(self, key: SessionKey, text: str, at: dt.datetime) -> dict[str, Any] | None:
        """Keep what a server asks while it is called, as a stranger's; return what that changes of the labels.

        Whoever answers, person or model, reads it; so it counts whatever else the system's answers count as.
        """
        session = self._session(key, at)
        session.known.take_in(text, Origin.UNTRUSTED, {})
        if session.exposed:
            return None
        session.exposed = True
        told = {"session": key.id, "delegation": key.delegation, "run": key.run}
        return {**told, "exposed": True, "data": sorted(session.data), "added": {"exposed": True, "data": []}}

    def take_in_unseen(self, key: SessionKey, facts: Facts, at: dt.datetime) -> None:
        """Note that an allowed call is answered past us: whatever it answers may be in the session from now on."""
        labels = facts.record.system.labels_of(facts.action)
        is_tunnel = facts.record.system.kind is SystemKind.EGRESS
        if labels is None or (facts.request.effect is not Effect.READ and not is_tunnel):
            return
        session = self._session(key, at)
        session.data |= set(facts.request.touched.reads)
        if labels.worst is Origin.UNTRUSTED:
            session.exposed = True
            session.lose()

    def found_again(self, key: SessionKey, said: Mapping[str, Any], at: dt.datetime) -> None:
        """Put back what evidence says of a session; its texts are lost."""
        session = self._session(key, at)
        session.told_at = None  # so that the next call tells it again: this process may end soon too
        session.data |= set(map(str, said.get("data", ())))
        if said.get("exposed"):
            session.exposed = True
            session.lose()

    def _session(self, key: SessionKey, at: dt.datetime) -> FlowSession:
        session = self._sessions.get(key)
        if session is None or at - session.used_at > IDLE:
            session = self._sessions[key] = self._fresh(key, at)
        own = self._of.setdefault(key.principal_id, OrderedDict())
        own[key] = None
        own.move_to_end(key)
        session.used_at = at
        self._sessions.move_to_end(key)
        if len(own) > MAX_OF_ONE:
            self._forget(next(iter(own)), at)
        while len(self._sessions) > MAX_SESSIONS:
            self._forget(next(iter(self._sessions)), at)
        return session

    def _fresh(self, key: SessionKey, at: dt.datetime) -> FlowSession:
        """Return a session whose texts are not there: a new one, or one that had to be let go of."""
        session, mark = FlowSession(at), self._mark(key, at)
        if key.principal_id in self._marks:
            self._marks[key.principal_id].pop(key, None)
        if mark is not None:
            session.data |= mark.data
            session.exposed = mark.exposed
            session.lose()
        return session

    def _mark(self, key: SessionKey, at: dt.datetime) -> _Mark | None:
        """Return what is known of a session that was let go of: its own mark, or its principal's."""
        marks = self._marks.get(key.principal_id)
        own = marks.get(key) if marks is not None else None
        found = own if own is not None and at - own.used_at <= IDLE else self._forgotten.get(key.principal_id)
        return found if found is not None and at - found.used_at <= IDLE else None

    def _forget(self, key: SessionKey, at: dt.datetime) -> None:
        """Let go of a session's texts; that it had read something stays until it would have ended."""
        session = self._sessions.pop(key)
        own = self._of[key.principal_id]
        del own[key]
        if not own:
            del self._of[key.principal_id]
        if at - session.used_at > IDLE or not (session.exposed or session.data):
            return
        marks = self._marks.setdefault(key.principal_id, OrderedDict())
        marks[key] = _Mark(session.used_at, session.exposed, frozenset(session.data))
        while len(marks) > MAX_MARKS:
            _, oldest = marks.popitem(last=False)
            before = self._forgotten.get(key.principal_id)
            is_over = before is None or at - before.used_at > IDLE
            self._forgotten[key.principal_id] = oldest if is_over or before is None else before.joined(oldest)

    # --- what that makes of a call ------------------------------------------------------------------------------------

    def brings(self, key: SessionKey, facts: Facts, at: dt.datetime) -> dict[str, Any] | None:
        """Return what of a session's labels changes if a call is allowed, or is to be told again; None if neither."""
        labels = facts.record.system.labels_of(facts.action)
        session = self._known(key, at)
        exposed = session is not None and session.exposed
        data = session.data if session is not None else set()
        new = sorted(set(facts.request.touched.reads) - data) if labels is not None else []
        exposes = labels is not None and labels.worst is Origin.UNTRUSTED and not exposed
        is_due = session is not None and (session.told_at is None or at - session.told_at >= RENEWED)
        if not new and not exposes and not (is_due and (exposed or data)):
            return None
        parts = {"principal": facts.principal.name, "delegation": key.delegation, "run": key.run}
        added = {"exposed": exposes, "data": new}  # neither: it is only told again
        return {
            "session": key.id,
            **parts,
            "exposed": exposed or exposes,
            "data": sorted(data.union(new)),
            "added": added,
        }

    def told(self, key: SessionKey, at: dt.datetime) -> None:
        """Note that evidence says what a session has read."""
        self._session(key, at).told_at = at

    def _known(self, key: SessionKey, at: dt.datetime) -> FlowSession | None:
        """Return the session that goes on under a key; None if there is none of which anything is known."""
        session = self._sessions.get(key)
        if session is not None and at - session.used_at <= IDLE:
            return session
        return self._session(key, at) if self._mark(key, at) is not None else None

    def facts(self, key: SessionKey, call: Call, facts: Facts, at: dt.datetime) -> FlowFacts:
        """Return what policies may read of where the values of a call came from."""
        session = self._known(key, at)
        if session is None:
            return NO_FLOW
        action, watch = facts.record.system.actions[facts.action], facts.slice.authority.watch
        read = FlowFacts(
            exposed=session.exposed,
            known=bool(session.heard),
            spoken=_is_spoken(session, facts.action, action, facts.request.chain.purpose),
            tired=facts.approval is None and session.questions(at - TIRING) >= watch.questions,
            data=frozenset(session.data),
        )
        if not session.exposed or (facts.request.effect is Effect.READ and not facts.request.external):
            return read
        vouched = (*watch.own, *watch.named.get(facts.record.name, ()))
        pointed = session.pointed if watch.pointed is Pointing.LEADS else Pointed()
        doubts = _traced(session.known, pointed, call, action, facts, vouched)
        if facts.record.system.kind is SystemKind.EGRESS:  # people speak of where to go, and never of tunnels
            read = replace(read, spoken=read.spoken or not (doubts.untrusted or doubts.unseen))
        return replace(
            read,
            untrusted=frozenset(doubts.untrusted),
            unseen=frozenset(doubts.unseen),
            carried=frozenset(doubts.carried),
            pointed=frozenset(doubts.pointed),
            told=tuple(doubts.told[:MAX_TOLD]),
        )


def told_labels(facts: Facts) -> dict[str, Any]:
    """Return what an outcome says of its result: who could have written it, and the classes of data it brings."""
    labels = facts.record.system.labels_of(facts.action)
    data = sorted(facts.request.touched.reads) if labels is not None else []
    return {"origin": labels.worst.value if labels is not None else None, "data": data}


@dataclass(slots=True)
class _Doubts:
    untrusted: set[str] = field(default_factory=set)
    unseen: set[str] = field(default_factory=set)
    carried: set[str] = field(default_factory=set)
    pointed: set[str] = field(default_factory=set)
    told: list[str] = field(default_factory=list)

    def note(self, name: str, found: Found, *, is_carried: bool) -> None:
        """Keep where a value of an argument came from, and tell it once."""
        by_found = {Found.POINTED: self.pointed, Found.UNTRUSTED: self.untrusted, Found.NOWHERE: self.unseen}
        names = self.carried if is_carried else by_found[found]
        if name not in names:
            names.add(name)
            self.told.append(f"`{name}` {'names' if is_carried else 'is'} {_WHERE[found]}")


def _traced(known: Known, pointed: Pointed, call: Call, action: Action, facts: Facts, own: Iterable[str]) -> _Doubts:
    doubts, effect, system = _Doubts(), facts.request.effect, facts.record.name
    plain = (*call.choices, "port") if facts.record.system.kind is SystemKind.EGRESS else call.choices  # a host leads
    for name, given in call.arguments.items():
        if name in plain:
            continue
        is_carried = name in (action.carries or ())
        use = Use(name, reads=effect is Effect.READ, final=effect is Effect.IRREVERSIBLE)
        for _, value in leaves(given, name):
            found = known.carried(value, own) if is_carried else known.trace(value, use, own)
            if found is Found.UNTRUSTED and not is_carried and pointed.holds(value, name, system):
                found = Found.POINTED
            if found in _WHERE:
                doubts.note(name, found, is_carried=is_carried)
            if found in _DOUBTFUL:
                break
    return doubts


_WHERE = {
    Found.POINTED: "what stands alone in what the request points at",
    Found.UNTRUSTED: "what only content from outside named",
    Found.NOWHERE: "what neither the request nor any answer named",
}


def _is_spoken(session: FlowSession, name: str, action: Action, purpose: str) -> bool:
    """Whether the person's request, or the declared purpose, speaks of such an action."""
    said = session.stems | stems_of(purpose) if purpose else session.stems
    return bool(said) and not _stems_for(name, action.tool, action.asked_as or ()).isdisjoint(said)


@lru_cache(maxsize=4096)
def _stems_for(name: str, tool: str, asked_as: tuple[str, ...]) -> frozenset[str]:
    """Return the words by which people speak of an action, without their endings."""
    own = stems_of(f"{name} {tool}") - _SAYS_NOTHING
    return frozenset(own | {_stem(word.casefold()) for word in asked_as})


def _contents(result: Mapping[str, Any]) -> Iterable[Any]:
    """Yield what an MCP result says: its structured content, and its texts, read where they are JSON."""
    if result.get("structuredContent") is not None:
        yield result["structuredContent"]
    blocks = result.get("content")
    for block in blocks if isinstance(blocks, list) else ():
        if not isinstance(block, dict):
            continue
        resource = block.get("resource")
        text = block.get("text") if "text" in block else resource.get("text") if isinstance(resource, dict) else None
        if isinstance(text, str):
            yield _read(text)
    for name in ("messages", "contents"):  # of prompts and resources
        if result.get(name) is not None:
            yield result[name]


def _read(text: str) -> Any:  # noqa: ANN401 - any JSON value, or the text
    if text[:1] not in ("{", "["):
        return text
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text
