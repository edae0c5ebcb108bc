"""From a request that a proxy asks about to the call it is: which action of the system, with which arguments.

INVARIANT: a path that the API could read otherwise than Charter does is no request: no empty segments, dots, encoded
slashes, backslashes, control characters, or text that is encoded twice.
INVARIANT: every argument is text as the URL has it; a name that is given twice is refused, since one of the two would
be judged and the other might be done; and so is one that the route does not list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from charter.core.canonical import digest_of
from charter.core.errors import ErrorCode, MalformedError
from charter.gateway.call import Call
from charter.registry.proxied import HttpRoute, Proxied, is_parameter, segments_of
from charter.registry.system import System

MAX_TARGET = 8192  # characters of a request's path and query
MAX_PAIRS = 64
_ENCODED = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NEVER = re.compile("[\x00-\x1f\x7f-\x9f\\\\/%\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is for: its path's segments, decoded, and its query."""

    segments: tuple[str, ...]
    query: Mapping[str, str]


def parse_target(text: str) -> Target:
    """Return the segments and the query of a request's target in origin form (RFC 9112 section 3.2.1).

    Raises:
        MalformedError: it is none, or can be read in two ways.
    """
    if not text.startswith("/") or len(text) > MAX_TARGET or "#" in text or not text.isascii():
        raise _wrong("is no path and query in ASCII, from its first slash")
    path, _, query = text.partition("?")
    segments = tuple(_decoded(part) for part in segments_of(path))
    if any(not part.strip(".") or ";" in part for part in segments):
        raise _wrong("has an empty segment, one of dots, or one with `;`")
    return Target(segments, _pairs(query))


def _pairs(query: str) -> dict[str, str]:
    parts = [part for part in query.split("&") if part]
    if len(parts) > MAX_PAIRS:
        raise _wrong(f"has more than {MAX_PAIRS} query parameters")
    found: dict[str, str] = {}
    for part in parts:
        name, _, value = part.partition("=")
        name, value = _text(name.replace("+", " ")), _text(value.replace("+", " "))
        if name in found:
            raise _wrong("gives one query parameter twice")
        found[name] = value
    return found


def _decoded(part: str) -> str:
    text = _text(part)
    if _NEVER.search(text):
        raise _wrong("has a segment with an encoded slash, a percent sign or a control character")
    return text


def _text(part: str) -> str:
    if _ENCODED.search(part):
        raise _wrong("has a `%` without two hexadecimal digits")
    try:
        return unquote_to_bytes(part).decode()
    except UnicodeDecodeError as err:
        raise _wrong("is not UTF-8 once decoded") from err


def _wrong(what: str) -> MalformedError:
    return MalformedError(ErrorCode.BAD_REQUEST, f"the request's target {what}", help="write it plainly")


def route_of(proxied: Proxied, method: str, target: Target) -> tuple[HttpRoute, dict[str, str]] | None:
    """Return the one route that a request takes and what it says under the route's names; None if there is none."""
    for route in proxied.routes:
        segments = route.segments
        if route.method != method or len(segments) != len(target.segments):
            continue
        pairs = list(zip(segments, target.segments, strict=True))
        if all(is_parameter(own) or own == given for own, given in pairs):
            said = {own[1:-1]: given for own, given in pairs if is_parameter(own)}
            unknown = target.query.keys() - set(route.query)  # which nobody could judge, and the API might heed
            return None if unknown else (route, said | dict(target.query))
    return None


def call_of(system: System, proxied: Proxied, method: str, target: Target) -> Call:
    """Return the call that a request is. One that no route takes is of a tool that the system does not have."""
    found = route_of(proxied, method, target)
    if found is None:
        query = f"?{'&'.join(target.query)}" if target.query else ""
        tool, arguments = f"{method} /{'/'.join(target.segments)}{query}"[:256], {}
    else:
        tool, arguments = system.actions[found[0].action].tool or found[0].action, found[1]
    named = {"system": system.system, "tool": tool, "arguments": arguments, "by": "proxy"}
    return Call(system.system, tool, dict(arguments), digest_of(named), tool_pin=None, by_proxy=True)
