"""What a server asks of the person or the model behind a call: forms (elicitation), sampling, roots.

Passed on only where the system's file allows it (`upstream.asks`), the caller's client said that it can, and the call
that it is about is known for sure. Everything a server writes into a question is a stranger's word: it is kept as
untrusted in the session before anyone sees it, and the person is told whose it is.

INVARIANT: a question is rebuilt from the members that are known here; what is not is left out, addresses to open (URL
elicitation), tools, and the client's other context among it.
INVARIANT: questions are bounded in size and in number; an answer holds what its question may have, or is none.

Source: 2025-11-25 and 2026-07-28 client/elicitation, client/sampling, client/roots.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from charter.core.canonical import canonical
from charter.core.errors import ErrorCode, MalformedError
from charter.gateway.mcp_answers import Message

FORM, SAMPLING, ROOTS = "elicitation", "sampling", "roots"
METHODS = {"elicitation/create": FORM, "sampling/createMessage": SAMPLING, "roots/list": ROOTS}
MAX_QUESTIONS = 8  # of one call
MAX_BYTES = 65_536  # of one question, and of one answer
MAX_MESSAGE = 4096  # characters that a person is asked with
MAX_FIELDS = 32
MAX_MESSAGES = 32
MAX_TOKENS = 4096
MAX_ROOTS = 64
_FIELD = ("type", "title", "description", "minLength", "maxLength", "format", "minimum", "maximum", "default", "enum")
_FIELD_MORE = ("oneOf", "enumNames", "items", "minItems", "maxItems")
_SAMPLING = ("messages", "systemPrompt", "temperature", "stopSequences", "modelPreferences")
_PRIMITIVE = (str, int, float, bool)


@dataclass(slots=True, eq=False)
class Question:
    """One question, as the client is asked it; whoever asks puts the `answer` in, None if there was none."""

    what: str
    method: str
    params: Message
    answer: dict[str, Any] | None = None
    closed: asyncio.Event | None = field(default=None, repr=False)  # set when the call's authority is withdrawn

    @property
    def digest(self) -> str:
        """The digest of what was asked."""
        return "sha256:" + hashlib.sha256(canonical(self.params)).hexdigest()

    @property
    def text(self) -> str:
        """What whoever is asked reads."""
        return canonical(self.params).decode()

    def told(self) -> dict[str, Any]:
        """Return what evidence says of how it was answered, never with which words."""
        if self.answer is None:
            return {"what": self.what, "answer": "none"}
        word = self.answer.get("action", "given") if self.what == FORM else "given"
        data = canonical(self.answer)
        return {"what": self.what, "answer": word, "digest": "sha256:" + hashlib.sha256(data).hexdigest()}


Questions = dict[str, Question]  # asked at once, by their names


def read_question(params: object, *, system: str, method: str) -> Question:
    """Return what a server of `system` asks.

    Raises:
        MalformedError: it is no such question, too large, or asks for what is not passed on.
    """
    given = params if isinstance(params, dict) else {}
    what = METHODS.get(method)
    if what is None:
        raise _malformed("no such question is passed on")
    asked: Message = {}
    if what == FORM:
        asked = _form(system, given)
    elif what == SAMPLING:
        asked = _sampling(given)
    question = Question(what, method, asked | {"_meta": {"charter/system": system, "charter/origin": "untrusted"}})
    if len(canonical(question.params)) > MAX_BYTES:
        raise _malformed(f"a question is longer than {MAX_BYTES} bytes")
    return question


def take_answer(question: Question, result: object) -> None:
    """Put a client's answer into a question, as far as it is one: bounded, and of the form that was asked for."""
    given = result if isinstance(result, dict) else {}
    kept: dict[str, Any] | None = None
    match question.what:
        case "elicitation":
            kept = _filled_in(question, given)
        case "sampling":
            if given.get("role") in ("assistant", "user") and isinstance(given.get("content"), dict | list):
                kept = {key: given[key] for key in ("role", "content", "model", "stopReason") if key in given}
        case _:
            roots = given.get("roots")
            if isinstance(roots, list) and len(roots) <= MAX_ROOTS:
                kept = {"roots": [_root(each) for each in roots if isinstance(each, dict)]}
    try:
        is_small = kept is not None and len(canonical(kept)) <= MAX_BYTES
    except MalformedError:  # numbers that readers disagree about
        is_small = False
    question.answer = kept if is_small else None


def _form(system: str, given: Mapping[str, Any]) -> Message:
    if given.get("mode", "form") != "form":
        raise _malformed("addresses to open are not passed on")
    message, schema = given.get("message"), given.get("requestedSchema")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(message, str) or len(message) > MAX_MESSAGE or not isinstance(properties, dict):
        raise _malformed("a form has a message and a schema with properties")
    if len(properties) > MAX_FIELDS or not all(isinstance(each, dict) for each in properties.values()):
        raise _malformed(f"a form has at most {MAX_FIELDS} fields")
    fields = {
        name: {key: value for key, value in each.items() if key in (*_FIELD, *_FIELD_MORE)}
        for name, each in properties.items()
    }
    if any(each.get("type") not in ("string", "number", "integer", "boolean", "array") for each in fields.values()):
        raise _malformed("the fields of a form are texts, numbers, yes or no, and choices")
    required = schema.get("required") if isinstance(schema, dict) else None
    named = required if isinstance(required, list) else ()
    wanted = [name for name in named if isinstance(name, str) and name in fields]
    told = f"The server of `{system}` asks this; Charter passes it on and did not write it: {message}"
    shape: Message = {"type": "object", "properties": fields} | ({"required": wanted} if wanted else {})
    return {"mode": "form", "message": told, "requestedSchema": shape}


def _sampling(given: Mapping[str, Any]) -> Message:
    messages, most = given.get("messages"), given.get("maxTokens")
    if not isinstance(messages, list) or not 1 <= len(messages) <= MAX_MESSAGES or type(most) is not int or most < 1:
        raise _malformed(f"sampling has `maxTokens` and 1 to {MAX_MESSAGES} `messages`")
    if "tools" in given or "toolChoice" in given:
        raise _malformed("tools are not passed on")
    kept = {key: given[key] for key in _SAMPLING if key in given}
    return kept | {"maxTokens": min(most, MAX_TOKENS), "includeContext": "none"}


def _filled_in(question: Question, given: Mapping[str, Any]) -> dict[str, Any] | None:
    action, content = given.get("action"), given.get("content")
    if action in ("decline", "cancel"):
        return {"action": action}
    if action != "accept" or not isinstance(content, dict):
        return None
    fields = question.params["requestedSchema"]["properties"]
    kept = {name: value for name, value in content.items() if name in fields and _is_plain(value)}
    return {"action": "accept", "content": kept}


def _is_plain(value: object) -> bool:
    return isinstance(value, _PRIMITIVE) or (isinstance(value, list) and all(isinstance(each, str) for each in value))


def _root(given: Mapping[str, Any]) -> dict[str, str]:
    named = {key: given[key] for key in ("uri", "name") if isinstance(given.get(key), str)}
    return {key: value[:1024] for key, value in named.items()}


def _malformed(text: str) -> MalformedError:
    return MalformedError(ErrorCode.BAD_REQUEST, text)
