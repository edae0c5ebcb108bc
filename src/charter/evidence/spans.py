"""Spans of GenAI applications (OpenTelemetry's semantic conventions) as observations, and OTLP's JSON form read.

What is taken: spans with an attribute `gen_ai.…`. Of those the operation, the provider and model, the tokens, the
agent, the tool, the conversation; never messages, instructions, tool arguments or results, whatever holds them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from charter.core.errors import ErrorCode, MalformedError
from charter.evidence.observation import Observation, Used, Who, count_of, digest_of_record, text_of, time_of

SOURCE = "otlp"
MAX_SPANS = 10_000  # of one request
MAX_ATTRIBUTES = 256  # of one span that are looked at
_ID = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}")
_ERROR = 2  # STATUS_CODE_ERROR
Value = str | int | bool | float


@dataclass(frozen=True, slots=True)
class Span:
    """A span as far as it is looked at, of either wire."""

    trace: str  # hex
    id: str  # hex
    parent: str
    name: str
    start_ns: int
    end_ns: int
    is_error: bool
    attributes: Mapping[str, Value] = field(default_factory=dict)
    resource: Mapping[str, Value] = field(default_factory=dict)

    @property
    def is_about_ai(self) -> bool:
        """Whether it tells of AI in use."""
        return any(name.startswith("gen_ai.") for name in self.attributes)


def observation_of(span: Span, sender: str, name: str) -> Observation:
    """Return what a span tells of, as sent by `sender`: the id of a principal or of a source, called `name`.

    Raises:
        MalformedError: its ids or its times are none.
    """
    if not (_ID.fullmatch(span.trace) and _ID.fullmatch(span.id)) or not int(span.trace, 16) or not int(span.id, 16):
        raise MalformedError(ErrorCode.BAD_VALUE, "a span's ids are not hex of 16 and 8 bytes")
    said = span.attributes
    operation, tool = _said(said, "gen_ai.operation.name"), _said(said, "gen_ai.tool.name")
    model = _said(said, "gen_ai.response.model", "gen_ai.request.model")
    provider = _said(said, "gen_ai.provider.name", "gen_ai.system")
    agent, service = _said(said, "gen_ai.agent.name", "gen_ai.agent.id"), _said(span.resource, "service.name")
    more = {
        "trace": span.trace,
        "span": span.id,
        "parent": span.parent if _ID.fullmatch(span.parent) else "",
        "session": _said(said, "gen_ai.conversation.id", "session.id"),
        "application": service,
        "server": _said(said, "server.address"),
        "step": text_of(span.name, 128),
        "duration_ms": str(max(0, span.end_ns - span.start_ns) // 1_000_000),
    }
    return Observation(
        source=SOURCE,
        event=f"{sender}/{span.trace}/{span.id}",
        digest=digest_of_record([span.trace, span.id, span.start_ns, span.end_ns, dict(said), dict(span.resource)]),
        at=time_of(span.start_ns),
        who=Who(
            agent or service or "unknown",
            id=_said(said, "gen_ai.agent.id"),
            kind="agent" if agent else "service",
        ),
        action=f"{operation or 'span'}{f' {tool}' if tool else ''}",
        effect="other",
        service=provider,
        object=tool or model,
        outcome="failure" if span.is_error or "error.type" in said else "success",
        error=_said(said, "error.type"),
        address=_said(said, "client.address"),
        used=Used(
            provider,
            model,
            count_of(said.get("gen_ai.usage.input_tokens")),
            count_of(said.get("gen_ai.usage.output_tokens")),
        )
        if model
        else None,
        uses_ai=True,
        more={key: value for key, value in more.items() if value},
        teller=name,
    )


def _said(attributes: Mapping[str, Value], *names: str) -> str:
    return next((found for name in names if (found := text_of(attributes.get(name), 256))), "")


# --- OTLP in JSON (opentelemetry-proto, "JSON Protobuf Encoding") -----------------------------------------------------


class _Value(msgspec.Struct, rename="camel"):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: str | int | None = None
    double_value: float | str | None = None


class _Attribute(msgspec.Struct):
    key: str = ""
    value: _Value = msgspec.field(default_factory=_Value)


class _Status(msgspec.Struct):
    code: int | str = 0


class _Span(msgspec.Struct, rename="camel"):
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str = ""
    name: str = ""
    start_time_unix_nano: str | int = 0
    end_time_unix_nano: str | int = 0
    attributes: list[_Attribute] = []
    status: _Status = msgspec.field(default_factory=_Status)


class _Scope(msgspec.Struct):
    spans: list[_Span] = []


class _Resource(msgspec.Struct):
    attributes: list[_Attribute] = []


class _Group(msgspec.Struct, rename="camel"):
    resource: _Resource = msgspec.field(default_factory=_Resource)
    scope_spans: list[_Scope] = []


class _Request(msgspec.Struct, rename="camel"):
    resource_spans: list[_Group] = []


_decode = msgspec.json.Decoder(_Request).decode


def read_spans(data: bytes) -> list[Span]:
    """Return the spans of an export request in JSON.

    Raises:
        MalformedError: it is none, or holds more than MAX_SPANS spans.
    """
    try:
        request = _decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as err:
        raise MalformedError(ErrorCode.BAD_REQUEST, "the body is no export request of OTLP in JSON") from err
    return bounded(_spans(request))


def bounded(spans: Iterator[Span]) -> list[Span]:
    """Return the spans, if they are no more than MAX_SPANS.

    Raises:
        MalformedError: they are more.
    """
    found: list[Span] = []
    for span in spans:
        if len(found) == MAX_SPANS:
            raise MalformedError(
                ErrorCode.TOO_MANY, f"a request holds at most {MAX_SPANS} spans", help="send smaller batches"
            )
        found.append(span)
    return found


def _spans(request: _Request) -> Iterator[Span]:
    for group in request.resource_spans:
        resource = _plain(group.resource.attributes)
        for scope in group.scope_spans:
            for each in scope.spans:
                yield Span(
                    each.trace_id.lower(),
                    each.span_id.lower(),
                    each.parent_span_id.lower(),
                    each.name,
                    count_of(each.start_time_unix_nano, 2**63) or 0,
                    count_of(each.end_time_unix_nano, 2**63) or 0,
                    each.status.code in (_ERROR, "STATUS_CODE_ERROR"),
                    _plain(each.attributes),
                    resource,
                )


def _plain(attributes: list[_Attribute]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for each in attributes[:MAX_ATTRIBUTES]:
        value = each.value
        if value.string_value is not None:
            found[each.key] = value.string_value
        elif value.bool_value is not None:
            found[each.key] = value.bool_value
        elif value.int_value is not None:
            found[each.key] = value.int_value
    return found
