"""Tool arguments that travel as `Mcp-Param-*` headers too (`x-mcp-header`), and the check that both say the same.

INVARIANT: no one between caller and tool may act on a header value that the body does not carry. A declared header and
its argument are there together and equal, or absent together.

Source: 2026-07-28 basic/transports/streamable-http "Custom Headers from Tool Parameters", server/tools "x-mcp-header".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from charter.core.errors import ErrorCode, MalformedError
from charter.gateway.mcp_protocol import PARAM_HEADER_PREFIX, decode_header, encode_header

_ANNOTATION = "x-mcp-header"
_DATA_KEYWORDS = frozenset({"default", "examples", "const", "enum", _ANNOTATION})  # hold values, not schemas
_TYPES = frozenset({"string", "integer", "boolean"})
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,100}")
_DECIMAL = re.compile(r"(-?[0-9]{1,20})(?:\.0{1,20})?")
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ParamHeader:
    """One argument that is mirrored: where it stands in the arguments, and in which header."""

    path: Path
    header: str  # lower case
    is_integer: bool


def declared_headers(schema: Any) -> tuple[ParamHeader, ...]:  # noqa: ANN401 - an upstream's input schema
    """Return the headers that an input schema declares, in no particular order.

    Raises:
        MalformedError: an annotation breaks a rule of the specification, so the tool must not be offered.
    """
    found: dict[str, ParamHeader] = {}
    for path, node in _positions(schema):
        if _ANNOTATION not in node:
            continue
        token, kind = node[_ANNOTATION], node.get("type")
        if not path:
            raise _invalid("stands where no chain of `properties` leads")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise _invalid(f"of `{'.'.join(path)[:80]}` is no header token")
        if not isinstance(kind, str) or kind not in _TYPES:
            raise _invalid(f"of `{'.'.join(path)[:80]}` is on no string, integer or boolean")
        header = PARAM_HEADER_PREFIX + token.lower()
        if header in found:
            raise _invalid(f"`{token}` is declared twice")
        found[header] = ParamHeader(path, header, kind == "integer")
    return tuple(found.values())


def mirrored(declared: Sequence[ParamHeader], arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers to send along with `arguments`."""
    texts = ((each.header, _rendered(_at(arguments, each.path))) for each in declared)
    return {header: encode_header(text) for header, text in texts if text is not None}


def check_mirrored(declared: Sequence[ParamHeader], arguments: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    """Check that `headers` (names in lower case) say what `arguments` say.

    Raises:
        MalformedError: one is missing, says otherwise, or stands for an argument that is not there.
    """
    for each in declared:
        text, received = _rendered(_at(arguments, each.path)), headers.get(each.header)
        if text is None and received is None:
            continue
        if text is None or received is None:
            which = "is there but its argument is not" if text is None else "is missing but its argument is there"
            raise _mismatch(each, which)
        if not _same(each, text, decode_header(received)):
            raise _mismatch(each, "does not match its argument")


def _positions(schema: Any) -> Iterator[tuple[Path | None, dict[str, Any]]]:  # noqa: ANN401
    """Yield every object in `schema` with the chain of `properties` that leads to it, None off such a chain."""
    stack: list[tuple[Path | None, Any]] = [((), schema)]
    while stack:
        path, node = stack.pop()
        if isinstance(node, list):
            stack.extend((None, item) for item in node)
        if not isinstance(node, dict):
            continue
        yield path, node
        for key, value in node.items():
            if key == "properties" and isinstance(value, dict):
                stack.extend(((*path, name) if path is not None else None, sub) for name, sub in value.items())
            elif key not in _DATA_KEYWORDS:
                stack.append((None, value))


def _at(arguments: Any, path: Path) -> Any:  # noqa: ANN401
    for key in path:
        if not isinstance(arguments, Mapping):
            return None
        arguments = arguments.get(key)
    return arguments


def _rendered(value: Any) -> str | None:  # noqa: ANN401
    """Return how a value is written in a header, None if it is not."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def _same(declared: ParamHeader, text: str, received: str) -> bool:
    if declared.is_integer:
        ours, theirs = _DECIMAL.fullmatch(text), _DECIMAL.fullmatch(received)
        if ours and theirs:
            return int(ours[1]) == int(theirs[1])
    return text == received


def _invalid(why: str) -> MalformedError:
    return MalformedError(ErrorCode.BAD_VALUE, f"an `{_ANNOTATION}` {why}")


def _mismatch(declared: ParamHeader, why: str) -> MalformedError:
    return MalformedError(
        ErrorCode.BAD_REQUEST, f"the header `{declared.header}` {why}", help="list the tools again, then call"
    )
