"""SCIM 2.0 (RFC 7643, 7644): the organisation's directory writes people and groups here.

    /scim/v2/Users, /scim/v2/Groups                   list, filter and search, create, read, replace, patch, delete
    /scim/v2/ServiceProviderConfig, ResourceTypes, Schemas    what there is

INVARIANT: every request but none of its answers is believed only after its bearer token is known: a provisioner's,
made by `charter people provisioner`. Failures are counted and slowed down per source like those of clients.
INVARIANT: requests are bounded: 256 KiB, filters of 1,000 characters, 200 resources an answer; a filter that is no
look-up by name or id is refused once there are more than 20,000 resources to try.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, Self
from urllib.parse import parse_qsl

from pydantic import ValidationError
from scim2_models import (
    Context,
    SCIMException,
)

from charter.core.clock import Clock, rfc3339
from charter.core.entropy import Entropy
from charter.core.errors import (
    AbsentError,
    CharterError,
    ConflictError,
    ErrorCode,
    MalformedError,
    ThrottledError,
    UnauthenticatedError,
    UnavailableError,
)
from charter.core.work import Writer
from charter.identity.failures import Failures
from charter.lifecycle.directory import DirectoryWork, Hand
from charter.registry.principal import LiveEstate
from charter.registry.provisioner import Provisioner, token_digest
from charter.server.gateway_http import Head, HttpRefusal, Receive, Scope, Send, encode, read_body, read_head
from charter.server.problems import problem_of
from charter.server.scim_kinds import KINDS, ResourceKind, looked_up
from charter.server.scim_resources import (
    patched,
    told,
)
from charter.server.scim_service import MAX_PAGE, described, resource_types, schemas, service_config

PREFIX = "/scim/v2"
MAX_BODY = 256 * 1024
MAX_FILTER = 1000  # characters
MAX_TRIED = 20_000  # resources that a filter is tried on
MAX_QUERY_FIELDS = 16
_ATTRIBUTES = {"attributes": "attributes", "excludedAttributes": "excluded_attributes"}
_LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
_ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
_JSONKINDS = frozenset({"application/scim+json", "application/json"})
_log = logging.getLogger("charter.scim")
Answer = tuple[int, dict[str, Any] | None]


class House(Protocol):
    """What the endpoints take from the house."""

    settings: Any
    live: LiveEstate
    failures: Failures
    database: Any
    clock: Clock
    entropy: Entropy

    def hand(self, actor: str) -> Hand:
        """Return whose hand changes people, and what has to end when one leaves."""
        ...


@dataclass(slots=True)
class ScimApp:
    """The ASGI application."""

    base: str  # the service's address
    live: LiveEstate
    failures: Failures
    writer: Writer[DirectoryWork]
    clock: Clock
    entropy: Entropy
    hand: Callable[[str], Hand]

    @classmethod
    def of(cls, house: House) -> Self:
        """Return the endpoints of a house."""
        return cls(
            base=house.settings.issuer + PREFIX,
            live=house.live,
            failures=house.failures,
            writer=house.database,
            clock=house.clock,
            entropy=house.entropy,
            hand=house.hand,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            head = read_head(scope)
            status, body = await self._answer(head, receive)
            headers: Sequence[tuple[bytes, bytes]] = ()
        except HttpRefusal as refusal:
            status, body, headers = refusal.status, _error(refusal.status, refusal.detail), refusal.headers
        except CharterError as err:
            status, body, headers = scim_error(err)
        except (ValidationError, SCIMException) as err:
            kind = err.scim_type if isinstance(err, SCIMException) else "invalidValue"
            status = err.status if isinstance(err, SCIMException) else 400
            body, headers = _error(status, told(err), kind), ()
        except Exception:  # noqa: BLE001 - the edge of a request: a bug becomes a bare 500
            _log.exception("a request to the SCIM endpoints failed")
            status, body, headers = 500, _error(500, "the server failed"), ()
        await _send(send, status, body, headers)

    async def _answer(self, head: Head, receive: Receive) -> Answer:
        provisioner = self._authenticated(head)
        endpoint, _, rest = head.path.removeprefix(PREFIX).removeprefix("/").partition("/")
        kind = KINDS.get(f"/{endpoint}")
        if head.method == "POST" and ".search" in (endpoint, rest):
            kinds = [kind] if kind else list(KINDS.values())
            return 200, self._listed(kinds, _searched(await _payload(head, receive)))
        if kind is None:
            return self._described(head, endpoint, rest)
        if rest:
            return await self._one(kind, rest, head, receive, self.hand(provisioner.name))
        match head.method:
            case "GET":
                return 200, self._listed([kind], _query(head))
            case "POST":
                return await self._add(kind, head, await _payload(head, receive), self.hand(provisioner.name))
            case _:
                raise HttpRefusal(405, "the method is not for this", headers=[(b"allow", b"GET, POST")])

    async def _one(self, kind: ResourceKind, one: str, head: Head, receive: Receive, hand: Hand) -> Answer:
        match head.method:
            case "GET":
                return 200, self._shown(kind, kind.get(self.live.directory, one), _query(head))
            case "PUT":
                return await self._write(kind, one, head, self._replace(kind, one, await _payload(head, receive), hand))
            case "PATCH":
                return await self._write(kind, one, head, self._patch(kind, one, await _payload(head, receive), hand))
            case "DELETE":
                await self.writer.awrite(lambda tx: kind.delete(tx, one, hand))
                return 204, None
            case _:
                allow = [(b"allow", b"GET, PUT, PATCH, DELETE")]
                raise HttpRefusal(405, "the method is not for this", headers=allow)

    def _authenticated(self, head: Head) -> Provisioner:
        self.failures.check(head.source)
        scheme, _, token = head.headers.get("authorization", "").partition(" ")
        shown = token_digest(token) if scheme.lower() == "bearer" else ""
        found = self.live.directory.provisioners.get(shown)
        if found is None or not found.is_shown_by(shown, self.clock.now()):
            self.failures.failed(head.source, ErrorCode.BAD_TOKEN)
            raise UnauthenticatedError(
                ErrorCode.BAD_TOKEN,
                "the bearer token is no provisioner's",
                help="make one: charter people provisioner NAME",
            )
        return found

    # --- resources ---

    async def _add(self, kind: ResourceKind, head: Head, payload: dict[str, Any], hand: Hand) -> Answer:
        asked = _query(head)
        resource = kind.model.model_validate(payload, scim_ctx=Context.RESOURCE_CREATION_REQUEST)
        if getattr(resource, "active", True) is None:
            resource.active = True  # a person who is added is active unless they are said not to be
        thing = kind.parse(resource, self.entropy.identifier(kind.id_prefix), rfc3339(self.clock.now()))
        made = await self.writer.awrite(lambda tx: kind.add(tx, thing, hand))
        return 201, self._shown(kind, made, asked)

    async def _write(self, kind: ResourceKind, one: str, head: Head, work: Callable[[DirectoryWork], Any]) -> Answer:
        asked = _query(head)
        kind.get(self.live.directory, one)
        return 200, self._shown(kind, await self.writer.awrite(work), asked)

    def _replace(
        self, kind: ResourceKind, one: str, payload: dict[str, Any], hand: Hand
    ) -> Callable[[DirectoryWork], Any]:
        resource = kind.model.model_validate(payload, scim_ctx=Context.RESOURCE_REPLACEMENT_REQUEST)
        thing = kind.parse(resource, one, rfc3339(self.clock.now()))
        return lambda tx: kind.change(tx, thing, hand)

    def _patch(
        self, kind: ResourceKind, one: str, payload: dict[str, Any], hand: Hand
    ) -> Callable[[DirectoryWork], Any]:
        """Patch what there is at the moment of writing: two patches at once both count."""
        at = rfc3339(self.clock.now())

        def work(tx: DirectoryWork) -> Any:  # noqa: ANN401 - a person or a group
            known = kind.get(tx.live.directory, one)
            resource = patched(kind.resource(known, tx.live.directory, self.base), payload)
            return kind.change(tx, kind.parse(resource, one, at), hand)

        return work

    def _shown(self, kind: ResourceKind, thing: Any, asked: dict[str, str]) -> dict[str, Any]:  # noqa: ANN401 - see kind
        """Return a resource with the attributes asked for (RFC 7644 section 3.9)."""
        wanted = {ours: asked[theirs] for theirs, ours in _ATTRIBUTES.items() if theirs in asked}
        chosen = kind.chosen(**wanted)
        resource = kind.resource(thing, self.live.directory, self.base)
        shown: dict[str, Any] = resource.model_dump(
            scim_ctx=Context.RESOURCE_QUERY_RESPONSE, response_parameters=chosen
        )
        return shown

    # --- lists ---

    def _listed(self, kinds: Sequence[ResourceKind], asked: dict[str, str]) -> dict[str, Any]:
        start, count = _whole(asked, "startIndex", 1), min(_whole(asked, "count", MAX_PAGE, least=0), MAX_PAGE)
        found = [(kind, each) for kind in kinds for each in self._found(kind, asked.get("filter"))]
        page = islice(found, max(start, 1) - 1, max(start, 1) - 1 + count)
        shown = [self._shown(kind, each, asked) for kind, each in page]
        return {
            "schemas": [_LIST],
            "totalResults": len(found),
            "startIndex": max(start, 1),
            "itemsPerPage": len(shown),
            "Resources": shown,
        }

    def _found(self, kind: ResourceKind, text: str | None) -> list[Any]:
        directory = self.live.directory
        everything = kind.all(directory)
        if text is None:
            return list(everything)
        if len(text) > MAX_FILTER:
            raise HttpRefusal(400, f"the filter is longer than {MAX_FILTER} characters")
        try:
            wanted = kind.filter(text)
        except RecursionError:
            raise HttpRefusal(400, "the filter nests too deeply") from None
        known = looked_up(kind, directory, text)
        candidates = list(everything) if known is None else known
        if len(candidates) > MAX_TRIED:
            raise HttpRefusal(400, f"the filter would be tried on more than {MAX_TRIED:,} resources; look up by name")
        return [each for each in candidates if wanted.match(kind.resource(each, directory, self.base))]

    # --- what there is ---

    def _described(self, head: Head, endpoint: str, rest: str) -> Answer:
        if head.method != "GET":
            raise HttpRefusal(405, "the method is not for this", headers=[(b"allow", b"GET")])
        if "filter" in _query(head):
            raise HttpRefusal(403, "what there is cannot be filtered (RFC 7644 section 4)")
        match endpoint:
            case "ServiceProviderConfig" if not rest:
                return 200, service_config(self.base)
            case "ResourceTypes":
                return 200, described(resource_types(), rest, f"{self.base}/ResourceTypes")
            case "Schemas":
                return 200, described(schemas(), rest, f"{self.base}/Schemas")
            case _:
                raise AbsentError(ErrorCode.BAD_REQUEST, "there is nothing here")


def _searched(payload: dict[str, Any]) -> dict[str, str]:
    """Return what a search by POST asks for (RFC 7644 section 3.4.3), in the words of a query."""
    asked: dict[str, str] = {}
    for name in ("filter", "startIndex", "count", "attributes", "excludedAttributes"):
        match payload.get(name):
            case None:
                continue
            case str(text):
                asked[name] = text
            case int(number) if not isinstance(number, bool):
                asked[name] = str(number)
            case list(names) if all(isinstance(each, str) for each in names):
                asked[name] = ",".join(names)
            case _:
                raise HttpRefusal(400, f"`{name}` has a value of another type")
    return asked


def _query(head: Head) -> dict[str, str]:
    try:
        pairs = parse_qsl(head.query.decode("ascii"), max_num_fields=MAX_QUERY_FIELDS, errors="strict")
    except ValueError:
        raise HttpRefusal(400, "the query cannot be read") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise HttpRefusal(400, "a query parameter is there more than once")
    return found


def _whole(asked: dict[str, str], name: str, default: int, *, least: int = -1_000_000) -> int:
    text = asked.get(name, "")
    if not text:
        return default
    if not text.removeprefix("-").isdecimal() or len(text) > 9:  # noqa: PLR2004 - digits
        raise HttpRefusal(400, f"the query parameter `{name}` is no number")
    return max(int(text), least)


async def _payload(head: Head, receive: Receive) -> dict[str, Any]:
    kind = head.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _JSONKINDS:
        raise HttpRefusal(415, "the body must be `application/scim+json`")
    try:
        found = json.loads(await read_body(head, receive, MAX_BODY))
    except (ValueError, RecursionError):
        raise SCIMException(detail="the body is no JSON") from None
    if not isinstance(found, dict):
        raise SCIMException(detail="the body is no JSON object")
    return found


def scim_error(err: CharterError) -> tuple[int, dict[str, Any], Sequence[tuple[bytes, bytes]]]:
    """Return the status, body and headers of an error (RFC 7644 section 3.12)."""
    status, _ = problem_of(err)
    said = f"{err.detail}; {err.help}" if err.help else err.detail
    match err:
        case MalformedError():
            return status, _error(status, said, "invalidValue"), ()
        case ConflictError() if err.code is ErrorCode.EXISTS:
            return status, _error(status, said, "uniqueness"), ()
        case UnauthenticatedError():
            return status, _error(status, said), [(b"www-authenticate", b'Bearer realm="charter"')]
        case ThrottledError() | UnavailableError():
            return status, _error(status, said), [(b"retry-after", str(err.retry_after_seconds).encode())]
        case _:
            return status, _error(status, said), ()


def _error(status: int, detail: str, kind: str = "") -> dict[str, Any]:
    said = {"schemas": [_ERROR], "status": str(status), "detail": detail}
    return said | ({"scimType": kind} if kind else {})


async def _send(send: Send, status: int, body: dict[str, Any] | None, headers: Sequence[tuple[bytes, bytes]]) -> None:
    data = b"" if body is None else encode(body)
    fixed = ((b"content-type", b"application/scim+json"), (b"content-length", str(len(data)).encode()))
    head = [*headers, *fixed, (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": data})
