"""What a request to a model provider asks for, read strictly: the facts that policy and limits rest on.

INVARIANT: what is forwarded is the very bytes that were read here; their digest is one of the call's arguments, so that
a permit and an approval are for exactly them.
INVARIANT: the person's words are those of `user` messages that no tool wrote: results of tools come in messages and
blocks of their own, and are never taken for the person's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from charter.core.canonical import digest_of
from charter.core.errors import ErrorCode, MalformedError
from charter.gateway.call import Call
from charter.gateway.mcp_json import parse_json
from charter.registry.model_api import Prices

DEFAULT_OUTPUT = 4096  # tokens that an answer may have where the request says nothing
BYTES_A_TOKEN = 3  # of a request, at the least: an estimate that errs upwards
MAX_MODEL = 200
MAX_TOOLS = 512
MAX_SHOWN_WORDS = 1000
MAX_TOKENS = 10_000_000
_OUTPUT = ("max_completion_tokens", "max_output_tokens", "max_tokens")


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One request, as far as it matters."""

    model: str
    input_tokens: int  # estimated
    output_tokens: int  # at most
    stream: bool
    tools: tuple[str, ...]  # names of functions, and types of what the provider runs itself
    images: int
    words: tuple[str, ...]  # what the person said, in order
    body: str  # digest of the bytes

    @property
    def tokens(self) -> int:
        """How many tokens it may take, both ways."""
        return self.input_tokens + self.output_tokens


def parse_model_request(data: bytes) -> ModelRequest:
    """Return what the body of a request asks for.

    Raises:
        MalformedError: it is no JSON object that everyone reads alike, or names no model.
    """
    said = parse_json(data)
    if not isinstance(said, dict):
        raise _wrong("the body is no JSON object")
    model = said.get("model")
    if not isinstance(model, str) or not 1 <= len(model) <= MAX_MODEL or not model.isprintable():
        raise _wrong("`model` names no model")
    if "/../" in f"/{model}/" or "//" in model or model.startswith("/") or model.endswith("/"):
        raise _wrong("`model` is no model's name")
    return ModelRequest(
        model=model,
        input_tokens=len(data) // BYTES_A_TOKEN + 1,
        output_tokens=_output(said),
        stream=said.get("stream") is True,
        tools=_tools(said.get("tools")),
        images=sum(_is_image(each) for each in _blocks(said)),
        words=tuple(_words(said)),
        body="sha256:" + hashlib.sha256(data).hexdigest(),
    )


def _output(said: dict[str, Any]) -> int:
    for name in _OUTPUT:
        value = said.get(name)
        if value is None:
            continue
        if type(value) is not int or not 0 < value <= MAX_TOKENS:
            raise _wrong(f"`{name}` is no whole number from 1 to {MAX_TOKENS}")
        return value * _times(said)
    return DEFAULT_OUTPUT * _times(said)


def _times(said: dict[str, Any]) -> int:
    count = said.get("n", 1)
    if count is None:
        return 1
    if type(count) is not int or not 0 < count <= 128:  # noqa: PLR2004 - what providers take at most
        raise _wrong("`n` is no whole number from 1 to 128")
    return count


def _tools(found: Any) -> tuple[str, ...]:  # noqa: ANN401 - any JSON value
    if found is None:
        return ()
    if not isinstance(found, list) or len(found) > MAX_TOOLS:
        raise _wrong(f"`tools` is no list of at most {MAX_TOOLS}")
    return tuple(dict.fromkeys(map(_tool, found)))


def _tool(each: Any) -> str:  # noqa: ANN401
    if not isinstance(each, dict):
        raise _wrong("an entry of `tools` is no object")
    function = each.get("function")
    name = function.get("name") if isinstance(function, dict) else each.get("name")
    kind = each.get("type")
    is_own = kind in (None, "function", "custom")  # else the provider runs it, wherever that reaches
    told = name if is_own else kind
    if not isinstance(told, str) or not 1 <= len(told) <= 128:  # noqa: PLR2004
        raise _wrong("an entry of `tools` has no name")
    return told


def _blocks(said: dict[str, Any]) -> Iterator[Any]:
    for message in _messages(said):
        content = message.get("content")
        yield from content if isinstance(content, list) else ()


def _messages(said: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name in ("messages", "input"):
        found = said.get(name)
        yield from (each for each in found if isinstance(each, dict)) if isinstance(found, list) else ()


def _is_image(block: Any) -> bool:  # noqa: ANN401
    return isinstance(block, dict) and block.get("type") in ("image", "image_url", "input_image")


def _words(said: dict[str, Any]) -> Iterator[str]:
    if isinstance(said.get("input"), str):
        yield said["input"]
    for message in _messages(said):
        if message.get("role") != "user":
            continue
        content = message.get("content")
        if isinstance(content, str):
            yield content
        for block in content if isinstance(content, list) else ():
            is_text = isinstance(block, dict) and block.get("type") in ("text", "input_text")
            if is_text and isinstance(block.get("text"), str):
                yield block["text"]


def model_call(system: str, operation: str, asked: ModelRequest | None, prices: Prices | None, **more: Any) -> Call:  # noqa: ANN401 - the call's other fields
    """Return the call that a request to a provider is; without `asked`, one that asks no model."""
    arguments: dict[str, Any] = {}
    if asked is not None:
        arguments = {
            "model": asked.model,
            "input_tokens": asked.input_tokens,
            "max_tokens": asked.output_tokens,
            "tokens": asked.tokens,
            "stream": asked.stream,
            "tools": list(asked.tools),
            "images": asked.images,
            "body": asked.body,
        }
        if asked.words:
            arguments["asked"] = asked.words[-1][:MAX_SHOWN_WORDS]
        if prices is not None:
            arguments["cost"] = cost_text(prices.cost(asked.input_tokens, asked.output_tokens))
    arguments |= {name: value for name, value in more.pop("said", {}).items() if value is not None}
    digest = digest_of({"system": system, "tool": operation, "arguments": arguments})
    return Call(system, operation, arguments, digest, tool_pin=None, **more)


def cost_text(cost: Decimal) -> str:
    """Return a cost as an exact amount of four decimals, rounded up."""
    return f"{cost.quantize(Decimal('0.0001'), rounding='ROUND_UP'):f}"


def _wrong(text: str) -> MalformedError:
    return MalformedError(ErrorCode.BAD_REQUEST, text, help="send what the provider's API describes")
