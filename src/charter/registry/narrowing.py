"""What one token is narrowed to (RFC 9396): some of what its principal may do, less than its charter, never more.

    [{"type": "charter_grant", "system": "payments", "actions": ["refund.create"], "objects": ["charge/ch_1"],
      "grants": ["refund-agent/grant-1"], "limits": [{"count": 3}, {"sum": "amount", "max": "100 EUR"}]}]

A call has to fit one of the details, and its limits count for as long as the token lives. What is not named is not
narrowed: without `actions` every action of the charter, without `grants` every grant.

INVARIANT: a narrowing is only ever asked *after* the charter, and takes away. Nothing here can allow anything.
INVARIANT: details that are not understood to the last member are refused (RFC 9396 section 5).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from pydantic import ValidationError

from charter.core.canonical import canonical
from charter.core.errors import CharterError, ErrorCode, MalformedError
from charter.registry.field import Quantity
from charter.registry.lent_scope import Scope, ScopePart, parse_scope

TYPE = "charter_grant"
MAX_TEXT = 8192  # characters of `authorization_details`
MAX_BYTES = 4096  # of the canonical JSON: a token holds it
MAX_DETAILS = 8
MAX_LIMITS = 8
MAX_GRANTS = 32
MAX_COUNT = 1_000_000_000
_MEMBERS = frozenset({"type", "locations", "system", "actions", "objects", "grants", "limits"})
_GRANT = re.compile(r"[a-z0-9-]{1,63}/(grant-[1-9][0-9]{0,3}|policy/[A-Za-z0-9_.-]{1,63})")
_ARGUMENT = re.compile(r"[^\x00-\x1f\x7f]{1,128}")
_HELP = 'send [{"type": "charter_grant", "actions": ["charge.read"], "objects": ["charge/ch_1"]}]'


@dataclass(frozen=True, slots=True)
class TokenLimit:
    """At most `count` calls, or at most `max` of the argument `sum`, by one token."""

    count: int | None = None
    sum: str | None = None
    max: Quantity | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the limit as plain JSON."""
        return {"count": self.count} if self.count is not None else {"sum": self.sum, "max": str(self.max)}


@dataclass(frozen=True, slots=True)
class Detail:
    """One of the details: a call fits it, or not."""

    part: ScopePart
    grants: tuple[str, ...] | None = None  # ids of grants and own permits that may allow the call; None: any
    limits: tuple[TokenLimit, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the detail as it stands in a token."""
        found: dict[str, Any] = {"type": TYPE} | self.part.to_json()
        if self.grants is not None:
            found["grants"] = list(self.grants)
        if self.limits:
            found["limits"] = [limit.to_json() for limit in self.limits]
        return found


@dataclass(frozen=True, slots=True)
class Narrowing:
    """All details of one token."""

    details: tuple[Detail, ...]

    def allows_action(self, system: str, action: str) -> bool:
        """Whether some detail covers an action, on some object."""
        return any(each.part.system == system and each.part.allows_action(action) for each in self.details)

    @property
    def scope(self) -> Scope | None:
        """What may be lent by such a token; None if it is narrowed in ways that a delegation cannot be."""
        if any(each.grants is not None or each.limits for each in self.details):
            return None
        return Scope(tuple(each.part for each in self.details))

    def to_json(self) -> list[dict[str, Any]]:
        """Return `authorization_details`."""
        return [each.to_json() for each in self.details]


def read_narrowing(text: str, *, system: str, location: str) -> Narrowing:
    """Return the narrowing that the request parameter `authorization_details` spells, for a token for `system`.

    Raises:
        MalformedError: it spells none.
    """
    try:
        value = json.loads(text, object_pairs_hook=_object) if len(text) <= MAX_TEXT else None
    except (ValueError, RecursionError) as err:
        raise _refusal("are no JSON, or repeat a member") from err
    if not isinstance(value, list):
        _refuse(f"are no list, or longer than {MAX_TEXT} characters")
    for each in value:
        if isinstance(each, Mapping) and each.get("locations", [location]) != [location]:
            _refuse("name another location than the resource")
        if isinstance(each, Mapping) and each.get("system", system) != system:
            _refuse("name another system than the resource")
    return parse_narrowing([{"system": system} | dict(each) if isinstance(each, Mapping) else each for each in value])


def parse_narrowing(value: object) -> Narrowing:
    """Return the narrowing that plain JSON spells: a list of details that each name their system.

    Raises:
        MalformedError: it spells none; the message says why.
    """
    if not isinstance(value, list | tuple) or not 0 < len(value) <= MAX_DETAILS:
        _refuse(f"are no list of 1 to {MAX_DETAILS}")
    found = Narrowing(tuple(_detail(each) for each in value))
    if len(canonical(found.to_json())) > MAX_BYTES:
        _refuse(f"are longer than {MAX_BYTES} bytes")
    return found


def _detail(value: object) -> Detail:
    if not isinstance(value, Mapping) or value.get("type") != TYPE:
        _refuse(f"hold one that is not of the type `{TYPE}`")
    unknown = sorted(str(name)[:40] for name in value.keys() - _MEMBERS)
    if unknown:
        _refuse(f"hold the member {unknown[0]!a}, which means nothing here")
    try:
        (part,) = parse_scope([{k: v for k, v in value.items() if k in ("system", "actions", "objects")}]).parts or ()
    except CharterError as err:
        raise _refusal(f"are not understood: {err.detail}") from err
    return Detail(part, _grants(value.get("grants")), _limits(value.get("limits", [])))


def _grants(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not 0 < len(value) <= MAX_GRANTS:
        _refuse(f"have `grants` that are no list of 1 to {MAX_GRANTS}")
    if not all(isinstance(each, str) and _GRANT.fullmatch(each) for each in value):
        _refuse("have a grant that is not written as in refund-agent/grant-1")
    return tuple(dict.fromkeys(value))


def _limits(value: object) -> tuple[TokenLimit, ...]:
    if not isinstance(value, list) or len(value) > MAX_LIMITS:
        _refuse(f"have `limits` that are no list of at most {MAX_LIMITS}")
    return tuple(_limit(each) for each in value)


def _limit(value: object) -> TokenLimit:
    if isinstance(value, Mapping) and value.keys() == {"count"}:
        count = value["count"]
        if type(count) is int and 0 < count <= MAX_COUNT:
            return TokenLimit(count=count)
    if isinstance(value, Mapping) and value.keys() == {"sum", "max"}:
        name, most = value["sum"], value["max"]
        if isinstance(name, str) and _ARGUMENT.fullmatch(name) and isinstance(most, str):
            try:
                return TokenLimit(sum=name, max=Quantity.model_validate(most))
            except ValidationError as err:
                raise _refusal("have a limit whose `max` is no quantity") from err
    return _refuse('have a limit that is neither {"count": 3} nor {"sum": "amount", "max": "100 EUR"}')


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member is repeated")
    return found


def _refuse(why: str) -> NoReturn:
    raise _refusal(why)


def _refusal(why: str) -> MalformedError:
    return MalformedError(ErrorCode.BAD_DETAILS, f"the `authorization_details` {why}", help=_HELP)
