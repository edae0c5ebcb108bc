"""Who, what or which: searches of enforcement points, answered by asking the pipeline of each candidate.

    subjects     every registered principal whose grants name the action
    resources    the objects that can be listed: those the system's file knows, and those that grants name without a `*`
    actions      those of the system that the subject's grants, and every link of its chain, leave

A page looks at candidates in a settled order until it is full, or its time is up; its token says where the next begins.
So a page may be short, even empty, and still have a next. Principals that act only under a delegation are found where
the question names one.

INVARIANT: whatever is found would be allowed at this moment by the same pipeline, limits with room included; nothing is
counted, nobody is asked, and nothing is found by a token of another search.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import msgspec
from msgspec import structs

from charter.core.canonical import digest_of
from charter.core.clock import Clock
from charter.core.entropy import Entropy
from charter.core.errors import CharterError, ErrorCode, MalformedError, UnauthenticatedError, UnavailableError
from charter.core.work import Transaction, Writer
from charter.evidence.entry import Draft, EntryKind
from charter.gateway.chain import read_chain
from charter.gateway.evaluation import MAX_LIMIT, Deed, Entity, Evaluation, Json, Search
from charter.gateway.facts import Facts
from charter.gateway.pipeline import Pipeline
from charter.gateway.reserve import LimitStore, owed, with_room
from charter.gateway.vouching import Asking, Place, Vouching
from charter.identity.bearer import Proof, Vouched
from charter.policy.chain import shared_actions
from charter.policy.condition import ObjectRule
from charter.policy.verdict import Allow, Deny
from charter.policy.vocabulary import action_id
from charter.registry.principal import Principal

DEFAULT_LIMIT = 100
TURN_SECONDS = 0.002  # after which others have their turn on the loop
PAGE_SECONDS = 0.5  # that one page may take
MAX_PATTERNS_TOLD = 50
MAX_TOLD = 256  # characters of each word that evidence keeps
_MARK = 22  # characters of the digest that binds a token to its search


class LimitReader(Protocol):
    """Reads counters of limits, outside a work."""

    def __call__(self, question: Callable[[LimitStore], list[bool]], /) -> list[bool]:
        """Return the answer to `question`, from one consistent snapshot."""
        ...


@dataclass(frozen=True, slots=True)
class Hit:
    """One result, with what it rests on."""

    told: Json
    facts: Facts
    allow: Allow


@dataclass(frozen=True, slots=True)
class Found:
    """One page."""

    id: str  # sea_…
    hits: tuple[Hit, ...]
    next: str  # the token of the next page; empty: there is none
    looked_at: int
    unlisted: tuple[str, ...] = ()  # patterns of objects that cannot be listed


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a search looks at, one after the other, and how."""

    items: Sequence[str]
    look: Callable[[str], Hit | None]
    unlisted: tuple[str, ...] = ()


_NOTHING = _Plan((), lambda _: None)


class Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a page begins, how long it is, and which search it is one of."""

    start: int
    limit: int
    mark: str


@dataclass(slots=True)
class Searching:
    """Answers searches."""

    pipeline: Pipeline
    vouching: Vouching
    writer: Writer[Transaction]
    limits: LimitReader
    clock: Clock
    entropy: Entropy

    async def page(self, asking: Asking, search: Search, fulfils: frozenset[str] | None) -> Found:
        """Return one page of what a search finds; `fulfils`: the types of obligations that the point can carry out.

        Raises:
            MalformedError: the page's token is none of this search.
            UnavailableError: it could not be recorded.
        """
        mark = digest_of({"point": asking.point.name, "for": search.looks_for} | search.to_json())[-_MARK:]
        start, limit = _place_of(search.page.token, search.page.limit, mark)
        plan = self._plan(_Looking(self, asking, search, fulfils, self.clock.now()))
        hits, at = await self._look(plan, start, limit)
        following = _written(Token(at, limit, mark)) if at < len(plan.items) else ""
        found = Found(self.entropy.identifier("sea"), hits, following, at - start, plan.unlisted)
        draft = _draft(asking, search, found)
        await self.writer.awrite(lambda tx: tx.record(draft))
        return found

    async def _look(self, plan: _Plan, start: int, limit: int) -> tuple[tuple[Hit, ...], int]:
        """Return what is found from `start` on, and where the next page begins; others have their turn meanwhile."""
        began = turn = self.clock.monotonic()
        at, hits = start, list[Hit]()
        while at < len(plan.items) and len(hits) < limit:
            hit = plan.look(plan.items[at])
            at += 1
            if hit is not None:
                hits.append(hit)
            now = self.clock.monotonic()
            if now - began > PAGE_SECONDS:
                break
            if now - turn > TURN_SECONDS:
                await asyncio.sleep(0)
                turn = self.clock.monotonic()
        return self._with_room(hits), at

    def _with_room(self, hits: list[Hit]) -> tuple[Hit, ...]:
        """Return the hits whose limits have room now."""
        links = [owed(hit.facts.principal.id, hit.facts.principal.name, hit.allow) for hit in hits]
        counted = [at for at, each in enumerate(links) if any(any(link.options) for link in each)]
        if not counted:
            return tuple(hits)

        def rooms(limits: LimitStore) -> list[bool]:
            told = ((links[at], hits[at].facts) for at in counted)
            found = (with_room(limits, owing, facts.record.name, facts.request.at) for owing, facts in told)
            return [not isinstance(each, Deny) for each in found]

        full = {at for at, room in zip(counted, self.limits(rooms), strict=True) if not room}
        return tuple(hit for at, hit in enumerate(hits) if at not in full)

    def _plan(self, looking: _Looking) -> _Plan:
        match looking.search.looks_for:
            case "subject":
                return looking.subjects()
            case "resource":
                return looking.resources()
            case _:
                return looking.actions()


@dataclass(frozen=True, slots=True)
class _Looking:
    """One search, with all that its candidates have in common."""

    by: Searching
    asking: Asking
    search: Search
    fulfils: frozenset[str] | None
    at: dt.datetime

    def subjects(self) -> _Plan:
        """Look at every registered principal, in the order in which they were registered."""
        place, search = self._place(), self.search
        if place is None or not place.calls_principals(search.subject.type):
            return _NOTHING
        live = self.by.pipeline.live
        wanted = action_id(place.record.name, place.action(Evaluation(search.subject, search.action, search.resource)))

        def look(principal_id: str) -> Hit | None:
            principal = live.principals[principal_id]
            if wanted not in self._granted(principal):
                return None
            bearer = self.by.vouching.vouched(self.asking, principal, proof=Proof.SUPPOSED)
            subject = Entity(search.subject.type, principal.name, search.subject.properties)
            question = Evaluation(subject, search.action, search.resource, search.context)
            return None if isinstance(bearer, Deny) else self._hit(place, bearer, question, subject.named())

        return _Plan(tuple(live.principals), look)

    def resources(self) -> _Plan:
        """Look at the objects that can be listed: those the system's file knows, then those that grants name."""
        place, search = self._place(), self.search
        bearer = None if place is None else self._subject(place)
        if place is None or bearer is None:
            return _NOTHING
        patterns = tuple(self._patterns(place, bearer))
        named = (place.id_of(each) for each in patterns if "*" not in each)
        ids = tuple(dict.fromkeys((*place.words.known, *(each for each in named if each is not None))))

        def look(named: str) -> Hit | None:
            resource = Entity(search.resource.type, named, search.resource.properties)
            question = Evaluation(search.subject, search.action, resource, search.context)
            return self._hit(place, bearer, question, resource.named())

        return _Plan(ids, look, tuple(each for each in patterns if "*" in each)[:MAX_PATTERNS_TOLD])

    def actions(self) -> _Plan:
        """Look at the system's actions that the subject's chain leaves, in the order of the system's file."""
        place, search = self._place(), self.search
        bearer = None if place is None else self._subject(place)
        principal = None if bearer is None else self.by.pipeline.live.principals.get(bearer.principal_id)
        if place is None or bearer is None or principal is None:
            return _NOTHING
        chain = read_chain(self.by.pipeline.live, self.by.pipeline.slices, bearer, principal)
        if isinstance(chain, Deny):
            return _NOTHING
        left, _ = shared_actions(chain.case, place.record.name)

        def look(name: str) -> Hit | None:
            question = Evaluation(search.subject, Deed(name), search.resource, search.context)
            return self._hit(place, bearer, question, {"name": name})

        return _Plan(tuple(name for name in place.record.system.actions if name in left), look)

    def _place(self) -> Place | None:
        search = self.search
        about = Evaluation(search.subject, search.action, search.resource, search.context)
        found = self.by.vouching.place(self.asking, about)
        return None if isinstance(found, Deny) else found

    def _subject(self, place: Place) -> Vouched | None:
        """Return the principal that is meant, proved by a token or supposed; None if it is nobody's name."""
        search = self.search
        try:
            found = self.by.vouching.subject(self.asking, place, search.subject, search.context, self.at)
        except UnauthenticatedError:
            return None
        if isinstance(found, Deny):
            return None
        return found if found.is_proved else replace(found, proof=Proof.SUPPOSED)

    def _granted(self, principal: Principal) -> frozenset[str]:
        try:
            return self.by.pipeline.slices.of(principal).granted
        except UnavailableError:
            raise
        except CharterError:  # its policies cannot be bound, so that it may do nothing
            return frozenset()

    def _patterns(self, place: Place, bearer: Vouched) -> Iterator[str]:
        """Yield the patterns of objects in the subject's grants of the action."""
        principal = self.by.pipeline.live.principals.get(bearer.principal_id)
        if principal is None or not self._granted(principal):
            return
        for grant in self.by.pipeline.slices.of(principal).covering(place.record.name, self.search.action.name):
            rules = [each for each in grant.conditions if isinstance(each, ObjectRule)]
            yield from (pattern for rule in rules for pattern in rule.patterns)

    def _hit(self, place: Place, bearer: Vouched, question: Evaluation, told: Json) -> Hit | None:
        """Return a candidate as found, if it would be allowed."""
        try:
            call = self.by.vouching.call(self.asking, place, question, bearer.principal_name)
        except MalformedError:  # a name that nobody can ask about
            return None
        facts, verdict = self.by.pipeline.would(bearer, structs.replace(call, fulfils=self.fulfils), self.at)
        return Hit(told, facts, verdict) if facts is not None and isinstance(verdict, Allow) else None


def _place_of(token: str | None, limit: int | None, mark: str) -> tuple[int, int]:
    """Return where a page begins and how long it is.

    Raises:
        MalformedError: the token is none of this search, or the limit is another than the first page's.
    """
    if token is None:
        return 0, min(DEFAULT_LIMIT if limit is None else limit, MAX_LIMIT)
    try:
        padded = token + "=" * (-len(token) % 4)
        found = msgspec.json.decode(urlsafe_b64decode(padded.encode()), type=Token)
    except (ValueError, msgspec.MsgspecError) as err:
        raise _strange() from err
    same = limit is None or min(limit, MAX_LIMIT) == found.limit
    if found.mark != mark or not same or found.start < 0 or not 0 <= found.limit <= MAX_LIMIT:
        raise _strange()
    return found.start, found.limit


def _written(token: Token) -> str:
    return urlsafe_b64encode(msgspec.json.encode(token)).rstrip(b"=").decode()


def _strange() -> MalformedError:
    text = "`page.token` is none of this search; what is looked for, and the limit, stay the same from page to page"
    return MalformedError(ErrorCode.BAD_REQUEST, text, help="search again from the start")


def _draft(asking: Asking, search: Search, found: Found) -> Draft:
    body: dict[str, Any] = {
        "search": found.id,
        "point": asking.point.name,
        "request": asking.request_id,
        "for": search.looks_for,
        "subject": [search.subject.type[:MAX_TOLD], search.subject.id[:MAX_TOLD]],
        "action": search.action.name[:MAX_TOLD] or None,
        "resource": [search.resource.type[:MAX_TOLD], search.resource.id[:MAX_TOLD]],
        "looked_at": found.looked_at,
        "found": len(found.hits),
    }
    point = asking.bearer.principal_id
    return Draft(EntryKind.QUESTION_SEARCHED, point, point, body)
