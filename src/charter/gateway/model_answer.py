"""What a model provider's answer says that matters here: what was used, and which calls the model proposes.

Answers are passed on as they come; this looks at them on the way, within bounds, and is never in the way: what it
cannot read it does not know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from charter.gateway.mcp_json import parse_json

MAX_LOOKED_AT = 8 * 1024 * 1024  # bytes of an answer, or of one event of a stream
MAX_PROPOSED = 128  # calls of one answer
MAX_ARGUMENTS = 1024 * 1024  # characters of all calls of one answer
MAX_TRIES = 64  # to read a call's arguments before the answer says that they are whole
_ENDS = ("content_block_stop", "message_stop", "response.output_item.done", "response.completed")
_INPUT = ("input_tokens", "prompt_tokens")
_OUTPUT = ("output_tokens", "completion_tokens")


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a call took."""

    input: int
    output: int
    cached: int = 0

    def to_json(self) -> dict[str, int]:
        """Return it as it stands in evidence."""
        return {"input_tokens": self.input, "output_tokens": self.output, "cached_tokens": self.cached}


@dataclass(frozen=True, slots=True)
class ProposedCall:
    """A call that a model proposes."""

    name: str
    arguments: Any  # a JSON value; None: it cannot be read


@dataclass(slots=True)
class _Draft:
    name: str = ""
    text: list[str] = field(default_factory=list)
    given: Any = None
    tries: int = 0
    is_whole: bool = False
    is_told: bool = False

    def done(self) -> ProposedCall:
        text = "".join(self.text)
        return ProposedCall(self.name, _json(text) if text else self.given if self.given is not None else {})

    def try_whole(self) -> None:
        """See whether the arguments are whole already, as callers do that act before the answer's end."""
        if not self.is_whole and self.tries < MAX_TRIES and self.text and self.text[-1].rstrip().endswith("}"):
            self.tries += 1
            self.is_whole = isinstance(_json("".join(self.text)), dict)


class AnswerReader:
    """Looks at one answer on its way."""

    def __init__(self, *, is_stream: bool) -> None:
        self._is_stream = is_stream
        self._left = bytearray()
        self._lost = False
        self._drafts: dict[str, _Draft] = {}
        self._room = MAX_ARGUMENTS
        self._usage: dict[str, int] = {}
        self.id: str | None = None
        self.model: str | None = None

    @property
    def usage(self) -> Usage | None:
        """What was used; None if the answer does not say."""
        if "input" not in self._usage and "output" not in self._usage:
            return None
        return Usage(self._usage.get("input", 0), self._usage.get("output", 0), self._usage.get("cached", 0))

    @property
    def proposed(self) -> tuple[ProposedCall, ...]:
        """The calls that are proposed."""
        return tuple(each.done() for each in self._drafts.values() if each.name)

    def ready(self) -> tuple[ProposedCall, ...]:
        """Return the calls that became whole since this was last asked: a caller can act on them from now on."""
        fresh = [each for each in self._drafts.values() if each.is_whole and each.name and not each.is_told]
        for each in fresh:
            each.is_told = True
        return tuple(each.done() for each in fresh)

    def feed(self, data: bytes) -> None:
        """Look at the next bytes."""
        if self._lost:
            return
        self._left += data
        if self._is_stream:
            while (end := self._left.find(b"\n")) >= 0:
                line = bytes(self._left[:end])
                del self._left[: end + 1]
                if line.startswith(b"data:"):
                    self._event(line[5:].strip())
        if len(self._left) > MAX_LOOKED_AT:
            self._lost = True
            self._left.clear()

    def end(self) -> None:
        """Look at what is whole only now."""
        if not self._is_stream and not self._lost:
            self._whole(_json_bytes(bytes(self._left)))
        self._left.clear()
        self._all_whole()

    def _event(self, data: bytes) -> None:
        said = _json_bytes(data)
        if not isinstance(said, dict):
            return
        response = said.get("response")
        if isinstance(response, dict):  # OpenAI responses: the events that hold all of it so far
            self._whole(response)
        else:
            message = said.get("message")
            self._note(message if isinstance(message, dict) else said)  # Anthropic's first event holds the message
            self._chunk(said)
            self._block(said)
            self._item(said.get("item"))
            self._arguments(said)
        if said.get("type") in _ENDS:
            self._all_whole()

    def _all_whole(self) -> None:
        for each in self._drafts.values():
            each.is_whole = True

    def _whole(self, said: Any) -> None:  # noqa: ANN401
        if not isinstance(said, dict):
            return
        self._note(said)
        for choice in _dicts(said.get("choices")):
            message = choice.get("message")
            for call in _dicts(message.get("tool_calls") if isinstance(message, dict) else None):
                self._function(f"{choice.get('index', 0)}/{len(self._drafts)}", call.get("function"))
        for item in _dicts(said.get("output")):
            self._item(item)
        for block in _dicts(said.get("content")):
            if block.get("type") == "tool_use":
                draft = self._draft(f"b/{block.get('id', len(self._drafts))}")
                draft.name, draft.given = str(block.get("name", ""))[:256], block.get("input")

    def _item(self, item: object) -> None:
        """Take an item of OpenAI's responses, which comes when it begins, when it ends, and in the whole answer."""
        if isinstance(item, dict) and item.get("type") == "function_call":
            draft = self._draft(f"o/{item.get('id', len(self._drafts))}")
            if isinstance(item.get("name"), str):
                draft.name = item["name"][:256]
            self._give(draft, item.get("arguments"))

    def _arguments(self, said: Mapping[str, Any]) -> None:
        """Take the event of OpenAI's responses that holds all arguments of an item."""
        draft = self._drafts.get(f"o/{said.get('item_id')}")
        if draft is not None and said.get("type") == "response.function_call_arguments.done":
            self._give(draft, said.get("arguments"))
            draft.is_whole = True

    def _give(self, draft: _Draft, arguments: object) -> None:
        if isinstance(arguments, str) and arguments and not draft.is_told:
            draft.text.clear()
            self._add(draft, arguments)

    def _function(self, key: str, found: Any) -> None:  # noqa: ANN401
        if not isinstance(found, dict):
            return
        draft = self._draft(key)
        if isinstance(found.get("name"), str):
            draft.name = found["name"][:256]
        self._add(draft, found.get("arguments"))

    def _chunk(self, said: Mapping[str, Any]) -> None:
        """Take the pieces of calls in a chunk of OpenAI's chat."""
        for choice in _dicts(said.get("choices")):
            delta = choice.get("delta")
            if choice.get("finish_reason") is not None:
                self._all_whole()
            for call in _dicts(delta.get("tool_calls") if isinstance(delta, dict) else None):
                self._function(f"{choice.get('index', 0)}/{call.get('index', 0)}", call.get("function"))

    def _block(self, said: Mapping[str, Any]) -> None:
        """Take the pieces of calls in an event of Anthropic's messages."""
        key = f"e/{said.get('index', 0)}"
        begun, delta = said.get("content_block"), said.get("delta")
        if isinstance(begun, dict) and begun.get("type") == "tool_use":
            draft = self._draft(key)
            draft.name, draft.given = str(begun.get("name", ""))[:256], begun.get("input")
        if isinstance(delta, dict) and delta.get("type") == "input_json_delta" and key in self._drafts:
            self._add(self._drafts[key], delta.get("partial_json"))

    def _draft(self, key: str) -> _Draft:
        if key not in self._drafts and len(self._drafts) >= MAX_PROPOSED:
            return _Draft()
        return self._drafts.setdefault(key, _Draft())

    def _add(self, draft: _Draft, piece: object) -> None:
        if isinstance(piece, str) and len(piece) <= self._room:
            self._room -= len(piece)
            draft.text.append(piece)
            draft.try_whole()

    def _note(self, said: Mapping[str, Any]) -> None:
        for name in ("id", "model"):
            if isinstance(said.get(name), str) and said[name]:
                setattr(self, name, said[name][:200])
        usage = said.get("usage")
        if isinstance(usage, dict):
            for into, names in (("input", _INPUT), ("output", _OUTPUT)):
                found = next((usage[name] for name in names if _is_count(usage.get(name))), None)
                if found is not None:
                    self._usage[into] = found
            details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
            cached = details.get("cached_tokens") if isinstance(details, dict) else usage.get("cache_read_input_tokens")
            if isinstance(cached, int) and _is_count(cached):
                self._usage["cached"] = cached


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= 10**12


def _dicts(found: object) -> Iterator[dict[str, Any]]:
    return (each for each in found if isinstance(each, dict)) if isinstance(found, list) else iter(())


def _json(text: str) -> Any:  # noqa: ANN401 - any JSON value
    return _json_bytes(text.encode(errors="replace"))


def _json_bytes(data: bytes) -> Any:  # noqa: ANN401
    try:
        return parse_json(data)
    except Exception:  # noqa: BLE001 - whatever is wrong with an answer that is only looked at
        return None
