"""What an enforcement point asks, as values (OpenID AuthZEN Authorization API 1.0, sections 5 to 8).

Read strictly: a member that the specification names has its type, or the question is refused; members that it does not
name are passed over (section 10.1.1). Nothing here knows the estate.

INVARIANT: what an evaluation names (subject, action, resource) is what was sent, unchanged; equal JSON, equal values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NoReturn

from charter.core.errors import ErrorCode, MalformedError
from charter.gateway.mcp_json import parse_json

MAX_WORD = 1024  # characters of a type, an id or a name
MAX_EVALUATIONS = 256
MAX_LIMIT = 1000  # results of one page
_ENTITIES = ("subject", "action", "resource")
Json = dict[str, Any]


class Semantic(StrEnum):
    """How the evaluations of one request hang together (section 7.1.2.1)."""

    EXECUTE_ALL = "execute_all"
    DENY_ON_FIRST_DENY = "deny_on_first_deny"
    PERMIT_ON_FIRST_PERMIT = "permit_on_first_permit"


@dataclass(frozen=True, slots=True)
class Entity:
    """A subject or a resource."""

    type: str
    id: str
    properties: Json = field(default_factory=dict)

    def named(self) -> Json:
        """Return what it is called."""
        return {"type": self.type, "id": self.id}

    def to_json(self) -> Json:
        """Return it as it was sent."""
        told: Json = {"type": self.type, "id": self.id}
        return told | {"properties": self.properties} if self.properties else told


@dataclass(frozen=True, slots=True)
class Deed:
    """An action, as it is asked about."""

    name: str
    properties: Json = field(default_factory=dict)

    def to_json(self) -> Json:
        """Return it as it was sent."""
        return {"name": self.name, "properties": self.properties} if self.properties else {"name": self.name}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One question: may this subject do this to this resource?"""

    subject: Entity
    action: Deed
    resource: Entity
    context: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evaluations:
    """Several questions, those that are none among them; None for `single`: one alone, answered as such."""

    items: tuple[Evaluation | MalformedError, ...]
    semantic: Semantic


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of what is found."""

    token: str | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """A search: an evaluation that lacks what is looked for."""

    looks_for: str  # subject, resource or action
    subject: Entity  # without an id, if it is looked for
    action: Deed
    resource: Entity
    context: Json
    page: Page

    def to_json(self) -> Json:
        """Return what has to stay the same from page to page, and is recorded."""
        context = {name: said for name, said in self.context.items() if name != "access_token"}  # those are renewed
        told: Json = {"subject": self.subject.to_json(), "resource": self.resource.to_json(), "context": context}
        return told | ({} if self.looks_for == "action" else {"action": self.action.to_json()})


def parse_evaluation(data: bytes) -> Evaluation:
    """Return the question of an Access Evaluation request.

    Raises:
        MalformedError: it is none.
    """
    return _evaluation(_body(data))


def parse_evaluations(data: bytes) -> Evaluation | Evaluations:
    """Return the questions of an Access Evaluations request; without any in `evaluations`, the one that it is itself.

    Raises:
        MalformedError: it is none; what is wrong with one of several questions is its own matter.
    """
    body = _body(data)
    items = body.get("evaluations", [])
    if not isinstance(items, list):
        _refuse("`evaluations` is no array")
    semantic = _semantic(body.get("options", {}))
    if not items:
        return _evaluation(body)
    if len(items) > MAX_EVALUATIONS:
        raise MalformedError(
            ErrorCode.TOO_LARGE, f"there are more than {MAX_EVALUATIONS} evaluations", help="ask in several requests"
        )
    defaults = {name: body[name] for name in (*_ENTITIES, "context") if name in body}
    _check_defaults(defaults)
    return Evaluations(tuple(_item(defaults, each) for each in items), semantic)


def parse_search(data: bytes, looks_for: str) -> Search:
    """Return the search of a Subject, Resource or Action Search request (section 8).

    Raises:
        MalformedError: it is none.
    """
    body = _body(data)
    subject = _entity(body, "subject", needs_id=looks_for != "subject")
    resource = _entity(body, "resource", needs_id=looks_for != "resource")
    action = Deed("") if looks_for == "action" else _deed(body)
    return Search(looks_for, subject, action, resource, _object(body, "context"), _page(body))


def read_evaluation(value: object) -> Evaluation:
    """Return the question that a JSON value is.

    Raises:
        MalformedError: it is none.
    """
    if not isinstance(value, dict):
        _refuse("a question is an object")
    return _evaluation(value)


def _body(data: bytes) -> Json:
    value = parse_json(data)
    if not isinstance(value, dict):
        _refuse("the body is no object")
    return value


def _semantic(options: object) -> Semantic:
    if not isinstance(options, Mapping):
        _refuse("`options` is no object")
    try:
        return Semantic(options.get("evaluations_semantic", Semantic.EXECUTE_ALL))
    except ValueError:
        _refuse(f"`evaluations_semantic` is none of {', '.join(Semantic)}")


def _item(defaults: Json, item: object) -> Evaluation | MalformedError:
    """Return one of several questions; what it does not say itself is taken whole from `defaults` (section 7.1.1)."""
    try:
        if not isinstance(item, dict):
            _refuse("an evaluation is an object")
        return _evaluation(defaults | {name: item[name] for name in (*_ENTITIES, "context") if name in item})
    except MalformedError as err:
        return err


def _check_defaults(defaults: Json) -> None:
    for name in ("subject", "resource"):
        if name in defaults:
            _entity(defaults, name)
    if "action" in defaults:
        _deed(defaults)
    _object(defaults, "context")


def _evaluation(body: Mapping[str, Any]) -> Evaluation:
    return Evaluation(_entity(body, "subject"), _deed(body), _entity(body, "resource"), _object(body, "context"))


def _entity(body: Mapping[str, Any], name: str, *, needs_id: bool = True) -> Entity:
    found = _part(body, name)
    named = _text(found, f"{name}.id") if needs_id else ""
    return Entity(_text(found, f"{name}.type"), named, _object(found, "properties", name))


def _deed(body: Mapping[str, Any]) -> Deed:
    found = _part(body, "action")
    return Deed(_text(found, "action.name"), _object(found, "properties", "action"))


def _part(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    if name not in body:
        _refuse(f"`{name}` is missing")
    found = body[name]
    if not isinstance(found, dict):
        _refuse(f"`{name}` is no object")
    return found


def _text(found: Mapping[str, Any], dotted: str) -> str:
    value = found.get(dotted.rpartition(".")[2])
    if value is None:
        _refuse(f"`{dotted}` is missing")
    if not isinstance(value, str):
        _refuse(f"`{dotted}` is no text")
    if not value:
        _refuse(f"`{dotted}` is empty")
    if len(value) > MAX_WORD:
        _refuse(f"`{dotted}` is longer than {MAX_WORD} characters")
    return value


def _object(found: Mapping[str, Any], name: str, of: str = "") -> Json:
    value = found.get(name, {})
    if not isinstance(value, dict):
        _refuse(f"`{of + '.' if of else ''}{name}` is no object")
    return value


def _page(body: Mapping[str, Any]) -> Page:
    found = _object(body, "page")
    token, limit = found.get("token"), found.get("limit")
    if token is not None and not isinstance(token, str):
        _refuse("`page.token` is no text")
    if limit is not None and (type(limit) is not int or limit < 0):
        _refuse("`page.limit` is no whole number from 0")
    return Page(token or None, limit)


def _refuse(why: str) -> NoReturn:
    raise MalformedError(ErrorCode.BAD_REQUEST, why, help="see docs/decision-api.md")
