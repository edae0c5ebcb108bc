"""The decision API: OpenID AuthZEN Authorization API 1.0 over HTTP (section 10), for enforcement points.

    POST /access/v1/evaluation               one question                         section 6
    POST /access/v1/evaluations              several                              section 7
    POST /access/v1/search/subject|resource|action                                section 8
    GET  /access/v1/carried, POST /access/v1/decisions   for programs that decide by themselves (access_carried.py)
    GET  /.well-known/authzen-configuration  what is offered here, signed besides  section 9

It is one more door of the one pipeline. Who asks is a principal that a system's file names, with a token made out to
`<issuer>/access/v1`, bound to a key like any other. A decision is a 200, whatever it says; an error is about the
request, in plain text. What was sent as `X-Request-ID` comes back, with errors too.

INVARIANT: nobody is answered who is not an enforcement point now; a stranger costs no more than a look at the head.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from charter.core.errors import CharterError, ErrorCode, MalformedError, ThrottledError, UnavailableError
from charter.gateway.access_profiles import OBLIGATION_TYPES, Profile
from charter.gateway.access_request import DenialTokens, RequestProblem
from charter.gateway.access_search import Hit, Searching
from charter.gateway.coaz import MAPPING, mapping_of
from charter.gateway.decisions import Answered, Decisions
from charter.gateway.evaluation import Evaluations, parse_evaluation, parse_evaluations, parse_search
from charter.gateway.reported import MAX_REPORT
from charter.gateway.vouching import Asking, Points, Vouching
from charter.identity.resource import DECISION_PATH, decisions_of
from charter.policy.verdict import Allow
from charter.registry.system import SystemKind
from charter.server.access_answers import Body, decision, malformed, search_results
from charter.server.access_carried import CARRIED_PATH, DECISIONS_PATH, CarriedDoor
from charter.server.access_metadata import Metadata
from charter.server.access_requests import PROBLEM_TYPE, STATUS, AccessRequests
from charter.server.access_tasks import REQUESTS_PATH, RETRY_SECONDS, requestable, rested_on
from charter.server.callers import Callers, Resource, words
from charter.server.gateway import GatewayApp, Watch
from charter.server.gateway_http import Head, HttpRefusal, Receive, Scope, Send, encode, read_body, read_head
from charter.server.problems import problem_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from charter.bootstrap.house import House

WELL_KNOWN = "/.well-known/authzen-configuration"
RESOURCE_METADATA = f"/.well-known/oauth-protected-resource{DECISION_PATH}"
MAPPINGS_PATH = f"{DECISION_PATH}/mappings"
MAX_BODY = 1024 * 1024
MAX_REQUESTS_PER_POINT = 256
MAX_STREAMS_PER_POINT = 256  # of policies to be carried
WATCHED_AS = "decisions"  # where a token is used, to whoever notices that one is shared
MAX_SEARCHES = 4  # under way at a time, for all
_JSON = (b"content-type", b"application/json")
_TEXT = (b"content-type", b"text/plain; charset=utf-8")
_PROBLEM = (b"content-type", b"application/problem+json")
_RETRY = ((b"retry-after", str(RETRY_SECONDS).encode()),)
_NO_STORE = (b"cache-control", b"no-store")
_REQUEST_ID = "x-request-id"
_log = logging.getLogger("charter.access")
Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of an enforcement point."""

    asking: Asking
    head: Head
    data: bytes
    rest: str = ""  # of the path


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    body: Body
    status: int = 200
    headers: Headers = ()
    content_type: tuple[bytes, bytes] = _JSON


@dataclass(slots=True)
class AccessApp:
    """The ASGI application."""

    callers: Callers
    resource: Resource
    points: Points
    decisions: Decisions
    searching: Searching
    metadata: Metadata
    requests: AccessRequests | None = None  # None: the profile is off
    carried: CarriedDoor | None = None
    shows_mappings: bool = False
    watch: Watch | None = None
    _under_way: Counter[str] = field(default_factory=Counter)
    _methods: dict[str, Callable[[Asked], Awaitable[Answer]]] = field(init=False)

    def __post_init__(self) -> None:
        self._methods = {
            f"{DECISION_PATH}/evaluation": self._evaluation,
            f"{DECISION_PATH}/evaluations": self._evaluations,
            f"{DECISION_PATH}/search/subject": self._search,
            f"{DECISION_PATH}/search/resource": self._search,
            f"{DECISION_PATH}/search/action": self._search,
        }
        if self.requests is not None:
            self._methods[REQUESTS_PATH] = self._submit
        if self.carried is not None:
            self._methods[DECISIONS_PATH] = self._report

    @property
    def paths(self) -> tuple[str, ...]:
        """What can be asked here."""
        return tuple(self._methods)

    @classmethod
    def of(cls, house: House, gateway: GatewayApp) -> Self:
        """Return the decision API of a house, at the door that `gateway` is seen through."""
        issuer, base = house.settings.issuer, gateway.callers.base
        profiles = frozenset(house.settings.authzen_profiles)
        vouching = Vouching(house.live, house.tokens, issuer, coaz=Profile.COAZ_MCP in profiles)
        return cls(
            callers=gateway.callers,
            resource=Resource(decisions_of(issuer), issuer + RESOURCE_METADATA),
            points=Points(house.live),
            decisions=Decisions(
                pipeline=house.pipeline,
                vouching=vouching,
                writer=house.database,
                clock=house.clock,
                entropy=house.entropy,
                seconds=house.settings.call_seconds,
                obligations=frozenset(OBLIGATION_TYPES) if Profile.OBLIGATIONS in profiles else frozenset(),
                asks=Profile.ACCESS_REQUEST not in profiles,
            ),
            searching=Searching(
                house.pipeline,
                vouching,
                house.database,
                lambda question: house.database.read(lambda tx: question(tx.limits)),
                house.clock,
                house.entropy,
            ),
            carried=CarriedDoor(house, vouching),
            requests=_requests(house, vouching, base) if Profile.ACCESS_REQUEST in profiles else None,
            metadata=Metadata(house.ring, issuer, base, profiles, house.clock),
            shows_mappings=Profile.COAZ_MCP in profiles,
            watch=gateway.watch,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        echo: Headers = ()
        try:
            echo = _echo(scope)
            head = read_head(scope)
            if head.path in (WELL_KNOWN, RESOURCE_METADATA):
                self.callers.check_head(head, "GET")
                told = self.metadata.of(head.path == WELL_KNOWN)
                await _send(send, told.status, encode(told.body), _JSON, *told.headers, *echo)
                return
            if head.path == CARRIED_PATH and self.carried is not None:
                await self._carry(self.carried, head, receive, send, echo)
                return
            answer = await self._answer(head, receive)
            headers = (*answer.headers, *self.callers.nonce_for(head), *echo, _NO_STORE)
            await _send(send, answer.status, encode(answer.body), answer.content_type, *headers)
        except RequestProblem as problem:
            status = STATUS[problem.problem]
            said = {"type": PROBLEM_TYPE + problem.problem, "title": problem.problem.value.replace("_", " ")}
            body = encode(said | {"status": status, "detail": problem.detail})
            await _send(send, status, body, _PROBLEM, *echo, _NO_STORE)
        except HttpRefusal as refusal:
            await _send(send, refusal.status, refusal.detail.encode(), _TEXT, *refusal.headers, *echo, _NO_STORE)
        except CharterError as err:
            after: Headers = ()
            if isinstance(err, ThrottledError | UnavailableError):
                after = ((b"retry-after", str(err.retry_after_seconds).encode()),)
            await _send(send, problem_of(err)[0], words(err).encode(), _TEXT, *after, *echo, _NO_STORE)
        except Exception:  # noqa: BLE001 - the edge of a request: a bug becomes a bare 500
            _log.exception("a request to the decision API failed")
            await _send(send, 500, b"the decision API failed", _TEXT, *echo, _NO_STORE)

    async def _answer(self, head: Head, receive: Receive) -> Answer:
        method = self._methods.get(head.path)
        if method is None and self.requests is not None and head.path.startswith(f"{REQUESTS_PATH}/"):
            return await self._task(head, receive, self.requests)
        if method is None and self.shows_mappings and head.path.startswith(f"{MAPPINGS_PATH}/"):
            return await self._mappings(head)
        if method is None:
            raise HttpRefusal(404, "there is nothing here: see " + WELL_KNOWN)
        self.callers.check_head(head, "POST")
        asking = await self._asking(head)
        _check_json(head)
        with self._place(asking.point.name):
            data = await read_body(head, receive, MAX_REPORT if method == self._report else MAX_BODY)
            return await method(Asked(asking, head, data))

    async def _carry(self, door: CarriedDoor, head: Head, receive: Receive, send: Send, echo: Headers) -> None:
        """Push the policies that the asking principal may decide by."""
        self.callers.check_head(head, "GET")
        asking = await self._asking(head)
        with self._place(f"{asking.point.name} carried", MAX_STREAMS_PER_POINT):
            await door.stream(asking, receive, send, [*self.callers.nonce_for(head), *echo])

    async def _report(self, asked: Asked) -> Answer:
        assert self.carried is not None  # noqa: S101 - it has no path otherwise
        return Answer(await self.carried.report(asked.asking, asked.data))

    async def _task(self, head: Head, receive: Receive, requests: AccessRequests) -> Answer:
        """Answer about one task of an access request."""
        self.callers.check_head(head, "GET", "POST", "DELETE")
        asking = await self._asking(head)
        name, slash, deed = head.path.removeprefix(f"{REQUESTS_PATH}/").partition("/")
        with self._place(asking.point.name):
            match head.method, slash + deed:
                case "GET", "":
                    body = requests.status(asking, name)
                    is_pending = body["task"]["status"] == "pending"
                    return Answer(body, headers=_RETRY if is_pending else ())
                case "POST" | "DELETE", "/cancel":
                    data = await read_body(head, receive, MAX_BODY)
                    return Answer(await requests.cancelled(asking, name, data))
                case _:
                    raise HttpRefusal(404, "there is nothing here: a task is read by GET, and cancelled at /cancel")

    async def _mappings(self, head: Head) -> Answer:
        """Return the declared mappings of an MCP system's tools, for its server to show (COAZ-MCP)."""
        self.callers.check_head(head, "GET")
        asking = await self._asking(head)
        named = head.path.removeprefix(f"{MAPPINGS_PATH}/")
        record = next((each for each in asking.point.records if each.name == named), None)
        if record is None or record.system.kind is not SystemKind.MCP:
            raise HttpRefusal(404, "there is no MCP system of that name which this point enforces")
        system = record.system
        tools = {action.tool: {MAPPING: mapping_of(system, name)} for name, action in system.actions.items()}
        return Answer({"system": named, "tools": tools})

    async def _submit(self, asked: Asked) -> Answer:
        assert self.requests is not None  # noqa: S101 - it has no path otherwise
        key = asked.head.headers.get("idempotency-key")
        body = await self.requests.submit(asked.asking, asked.data, key)
        place = (b"location", body["task"]["status_endpoint"].encode())
        return Answer(body, 202, (place, *_RETRY))

    async def _asking(self, head: Head) -> Asking:
        """Return who asks.

        Raises:
            HttpRefusal: nobody that may.
        """
        bearer = self.callers.caller(head, self.resource)
        point = self.points.of(bearer.principal_name)
        if point is None:
            detail = f"no system names `{bearer.principal_name}` as an enforcement point"
            raise HttpRefusal(403, f"{detail}; name it under `enforcement.points` in a system's file")
        if self.watch is not None and (found := self.watch.called(bearer, head.source, WATCHED_AS)):
            await self.watch.tell(found)
        return Asking(point, bearer, head.headers.get(_REQUEST_ID))

    @contextmanager
    def _place(self, who: str, most: int = MAX_REQUESTS_PER_POINT) -> Iterator[None]:
        """Count a request under way.

        Raises:
            ThrottledError: there are too many already.
        """
        if self._under_way[who] >= most:
            detail = f"more than {most} requests are under way at a time"
            raise ThrottledError(ErrorCode.TOO_MANY, detail, help="wait for answers")
        self._under_way[who] += 1
        try:
            yield
        finally:
            self._under_way[who] -= 1
            if not self._under_way[who]:
                del self._under_way[who]

    async def _evaluation(self, asked: Asked) -> Answer:
        question = parse_evaluation(asked.data)
        return Answer(self._decision(await self.decisions.one(asked.asking, question)))

    async def _evaluations(self, asked: Asked) -> Answer:
        questions = parse_evaluations(asked.data)
        if not isinstance(questions, Evaluations):
            return Answer(self._decision(await self.decisions.one(asked.asking, questions)))
        answers = await self.decisions.several(asked.asking, questions)
        told = [malformed(each) if isinstance(each, MalformedError) else self._decision(each) for each in answers]
        return Answer({"evaluations": told})

    async def _search(self, asked: Asked) -> Answer:
        search = parse_search(asked.data, asked.head.path.rpartition("/")[2])
        fulfils = self.decisions.fulfils(search.context)
        with self._place("/search", MAX_SEARCHES):
            found = await self.searching.page(asked.asking, search, fulfils)
        results = [hit.told | self._owed(hit) for hit in found.hits]
        is_paged = search.page.token is not None or search.page.limit is not None
        return Answer(search_results(found, results, asked_for_page=is_paged))

    def _owed(self, hit: Hit) -> Body:
        """Return the obligations that go with one result (Obligations Profile, searches)."""
        enforcement = hit.facts.record.system.enforcement
        if not self.decisions.obligations or enforcement is None:
            return {}
        told = [rule.told(hit.facts.principal.name) for rule in enforcement.due(hit.facts.action, "allow")]
        return {"obligations": told} if told else {}

    def _decision(self, answered: Answered) -> Body:
        body = decision(answered, self._obligations(answered))
        if self.requests is not None:
            named = answered.question.context.get("approval")
            if isinstance(named, dict):
                body["context"] |= rested_on(answered, self.requests.find(named.get("id")))
            body["context"] |= requestable(answered, self.requests.tokens, self.requests.base)
        return body

    def _obligations(self, answered: Answered) -> list[Body]:
        """Return the obligations that go with an answer: those of an allow, and those of a denial that can be told."""
        found = answered.understood
        if found is None or not self.decisions.obligations:
            return []
        action = found.place.record.system.action_of_tool(found.call.tool)
        if action is None:
            return []
        is_permit = isinstance(answered.verdict, Allow)
        due = found.place.enforcement.due(action, "allow" if is_permit else "deny")
        can = found.call.fulfils or frozenset()
        return [rule.told(found.bearer.principal_name) for rule in due if is_permit or rule.type in can]


def _requests(house: House, vouching: Vouching, base: str) -> AccessRequests:
    return AccessRequests(
        pipeline=house.pipeline,
        vouching=vouching,
        writer=house.database,
        kept=lambda approval_id: house.database.read(lambda tx: tx.approvals.get(approval_id)),
        tokens=DenialTokens(house.ring, house.settings.issuer, base + REQUESTS_PATH, house.entropy),
        base=base,
        clock=house.clock,
        seconds=house.settings.call_seconds,
    )


def _check_json(head: Head) -> None:
    kind, _, parameters = head.headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if kind.strip().lower() != "application/json" or charset not in ("", "utf-8"):
        raise HttpRefusal(400, "the header `Content-Type` must be `application/json`")
    if head.headers.get("content-encoding", "identity").lower() != "identity":
        raise HttpRefusal(400, "the body must not be compressed")


def _echo(scope: Scope) -> Headers:
    """Return the header that names the request, as it was sent (section 10.1.3)."""
    sent = next((value for name, value in scope["headers"] if name == _REQUEST_ID.encode()), None)
    return () if sent is None else ((_REQUEST_ID.encode(), sent),)


async def _send(send: Send, status: int, body: bytes, kind: tuple[bytes, bytes], *headers: tuple[bytes, bytes]) -> None:
    head = [*headers, kind, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})
