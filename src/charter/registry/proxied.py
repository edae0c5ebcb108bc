"""An HTTP API behind a proxy of the organisation's own (nginx, Envoy), which asks Charter about every request.

    enforcement:
      proxy:
        base: https://records.example.com
        routes:
          - {request: "GET /records/{record_id}", action: record.read}
          - {request: "POST /records", action: record.write, query: [dry_run]}

INVARIANT: a request is for one action at most: two routes that one request could take are refused when they are
written, and a request that no route takes, or with a query that its route does not list, is no action at all.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from charter.core.values import trusted_address
from charter.registry.field import ActionName, Model
from charter.registry.problem import PlacedError

MAX_ROUTES = 500
RESERVED = "asked"  # under which policies find what enforcement points say
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]{0,63})\}")
_PLAIN = re.compile(r"[A-Za-z0-9._~!$&'()*+,=:@-]+")

Query = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")]


def _request(text: str) -> str:
    """Return `text`, which must be a method and a path: `GET /records/{record_id}`."""
    method, _, path = text.partition(" ")
    if method not in _METHODS:
        raise ValueError(f"`{text[:80]}` begins with no method; write one of {', '.join(_METHODS)}, then the path")
    if not path.startswith("/"):
        raise ValueError(f"`{text[:80]}` has no path; write it from its first slash, as in GET /records/{{record_id}}")
    names = [_name_of(part, text) for part in path[1:].split("/")] if path != "/" else []
    given = [name for name in names if name is not None]
    if len(set(given)) < len(given):
        raise ValueError(f"`{text[:80]}` names one part twice; give each another name")
    if RESERVED in given:
        raise ValueError(f"`{text[:80]}` names a part `{RESERVED}`, which means something else; give it another name")
    return text


def _name_of(part: str, text: str) -> str | None:
    found = _PARAMETER.fullmatch(part)
    if found is None and (not _PLAIN.fullmatch(part) or not part.strip(".")):
        raise ValueError(f"`{text[:80]}`: `{part[:40]}` is neither plain nor a `{{name}}` for a segment")
    return found[1] if found else None


Request = Annotated[str, StringConstraints(strict=True, max_length=1024), AfterValidator(_request)]


def _base(text: str) -> str:
    """Return `text`, which must be the address that callers see, without a path."""
    base = trusted_address(text)
    if base.count("/") != 2:  # noqa: PLR2004 - those before the host
        raise ValueError(f"`{text[:80]}` has a path; routes have theirs, so write the address up to the host alone")
    return base


class HttpRoute(Model):
    """Which action a request is: its method and path, whose `{names}` become arguments, and some of its query's."""

    request: Request
    action: ActionName
    query: Annotated[tuple[Query, ...], Field(max_length=32)] = ()

    @model_validator(mode="after")
    def _said_once(self) -> HttpRoute:
        for name in self.query:
            if name in self.parameters or self.query.count(name) > 1 or name == RESERVED:
                raise PlacedError(("query",), f"`{name}` is taken already; keep one of them")
        return self

    @property
    def method(self) -> str:
        """The request's method."""
        return self.request.partition(" ")[0]

    @property
    def segments(self) -> tuple[str, ...]:
        """The path's parts; those in braces stand for one segment each."""
        return segments_of(self.request.partition(" ")[2])

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names in braces."""
        return tuple(_PARAMETER.findall(self.request))

    def may_be(self, other: HttpRoute) -> bool:
        """Whether one request could be both."""
        mine, others = self.segments, other.segments
        return (
            self.method == other.method
            and len(mine) == len(others)
            and all(a == b or is_parameter(a) or is_parameter(b) for a, b in zip(mine, others, strict=True))
        )


class Proxied(Model):
    """The proxy's view of a system: the address that callers know, and which requests are which actions."""

    base: Annotated[str, StringConstraints(strict=True, max_length=2048), AfterValidator(_base)]
    routes: Annotated[tuple[HttpRoute, ...], Field(min_length=1, max_length=MAX_ROUTES)]

    @model_validator(mode="after")
    def _apart(self) -> Proxied:
        seen: dict[tuple[str, int], list[HttpRoute]] = {}
        for index, route in enumerate(self.routes):
            alike = seen.setdefault((route.method, len(route.segments)), [])
            other = next((each for each in alike if each.may_be(route)), None)
            if other is not None:
                text = f"a request could be both `{other.request}` and `{route.request}`; make their paths differ"
                raise PlacedError(("routes", index, "request"), text)
            alike.append(route)
        return self


def segments_of(path: str) -> tuple[str, ...]:
    """Return the parts of a path that begins with a slash."""
    return tuple(path[1:].split("/")) if path != "/" else ()


def is_parameter(segment: str) -> bool:
    """Whether a route's segment stands for any one."""
    return segment.startswith("{")
