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
MAX_ARGUMENTS = 256 * 1024
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
    size: int = 0
    given: Any = None

    def add(self, piece: object) -> None:
        if isinstance(piece, str) and self.size + len(piece) <= MAX_ARGUMENTS:
            self.text.append(piece)
            self.size += len(piece)

    def done(self) -> ProposedCall:
        text = "".join(self.text)
        return ProposedCall(self.name, _json(text) if text else self.given if self.given is not None else {})


class AnswerReader:
    """Looks at one answer on its way."""

    def __init__(self, *, is_stream: bool) -> None:
        self._is_stream = is_stream
        self._left = bytearray()
        self._lost = False
        self._drafts: dict[str, _Draft] = {}
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

    def _event(self, data: bytes) -> None:
        said = _json_bytes(data)
        if not isinstance(said, dict):
            return
        response = said.get("response")
        if isinstance(response, dict):  # OpenAI responses: the events that hold all of it so far
            self._note(response)
            if said.get("type") == "response.completed":
                self._whole(response)
            return
        message = said.get("message")
        self._note(message if isinstance(message, dict) else said)  # Anthropic's first event holds the message
        self._chunk(said)
        self._block(said)

    def _whole(self, said: Any) -> None:  # noqa: ANN401
        if not isinstance(said, dict):
            return
        self._note(said)
        for choice in _dicts(said.get("choices")):
            message = choice.get("message")
            for call in _dicts(message.get("tool_calls") if isinstance(message, dict) else None):
                self._function(f"{choice.get('index', 0)}/{len(self._drafts)}", call.get("function"))
        for item in _dicts(said.get("output")):
            if item.get("type") == "function_call":
                self._function(f"o/{item.get('id', len(self._drafts))}", item)
        for block in _dicts(said.get("content")):
            if block.get("type") == "tool_use":
                draft = self._draft(f"b/{block.get('id', len(self._drafts))}")
                draft.name, draft.given = str(block.get("name", ""))[:256], block.get("input")

    def _function(self, key: str, found: Any) -> None:  # noqa: ANN401
        if not isinstance(found, dict):
            return
        draft = self._draft(key)
        if isinstance(found.get("name"), str):
            draft.name = found["name"][:256]
        draft.add(found.get("arguments"))

    def _chunk(self, said: Mapping[str, Any]) -> None:
        """Take the pieces of calls in a chunk of OpenAI's chat."""
        for choice in _dicts(said.get("choices")):
            delta = choice.get("delta")
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
            self._drafts[key].add(delta.get("partial_json"))

    def _draft(self, key: str) -> _Draft:
        if key not in self._drafts and len(self._drafts) >= MAX_PROPOSED:
            return _Draft()
        return self._drafts.setdefault(key, _Draft())

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
