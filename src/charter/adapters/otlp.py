"""OTLP's protobuf: spans read, log records made. The messages are those of `opentelemetry-proto`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from charter.core.clock import parse_rfc3339
from charter.core.errors import ErrorCode, MalformedError
from charter.evidence.entry import EntryKind
from charter.evidence.log import Stored
from charter.evidence.neutral import ascii_json, one_line
from charter.evidence.ocsf import event_of
from charter.evidence.sink import Form
from charter.evidence.spans import MAX_ATTRIBUTES, Span, Value, bounded

_SEVERITY = {"deny": (13, "WARN"), "escalate": (10, "INFO2")}
_INFO = (9, "INFO")
_TEXTS = ("verdict", "system", "tool", "action", "object", "session", "outcome")


def read_spans(data: bytes) -> list[Span]:
    """Return the spans of an export request in protobuf.

    Raises:
        MalformedError: it is none, or holds too many spans.
    """
    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(data)
    except (DecodeError, ValueError, RecursionError) as err:
        raise MalformedError(ErrorCode.BAD_REQUEST, "the body is no export request of OTLP in protobuf") from err
    return bounded(_spans(request))


def _spans(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for group in request.resource_spans:
        resource = _plain(group.resource.attributes)
        for scope in group.scope_spans:
            for each in scope.spans:
                yield Span(
                    each.trace_id.hex(),
                    each.span_id.hex(),
                    each.parent_span_id.hex(),
                    each.name,
                    each.start_time_unix_nano,
                    each.end_time_unix_nano,
                    each.status.code == Status.STATUS_CODE_ERROR,
                    _plain(each.attributes),
                    resource,
                )


def _plain(attributes: Any) -> dict[str, Value]:  # noqa: ANN401 - a repeated field
    found: dict[str, Value] = {}
    for each in attributes[:MAX_ATTRIBUTES]:
        kind = each.value.WhichOneof("value")
        if kind in ("string_value", "bool_value", "int_value"):
            found[each.key] = getattr(each.value, kind)
    return found


def trace_answer(rejected: int, why: str) -> bytes:
    """Return the answer to an export request in protobuf."""
    answer = ExportTraceServiceResponse()
    if rejected:
        answer.partial_success.rejected_spans = rejected
        answer.partial_success.error_message = why
    return bytes(answer.SerializeToString())


def logs_request(batch: Sequence[Stored], form: Form) -> bytes:
    """Return an export request with a log record for each entry: its body the event, its attributes the main facts."""
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add()
    _attribute(group.resource, "service.name", "charter")
    _attribute(group.resource, "service.instance.id", batch[0].node)
    scope = group.scope_logs.add()
    scope.scope.name = "charter.evidence"
    for stored in batch:
        _record(scope.log_records.add(), stored, form)
    return bytes(request.SerializeToString())


def spans_request(batch: Sequence[Stored]) -> bytes:
    """Return an export request with a span for each call in a batch; no bytes if there is none."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    _attribute(group.resource, "service.name", "charter")
    _attribute(group.resource, "service.instance.id", batch[0].node)
    scope = group.scope_spans.add()
    scope.scope.name = "charter.calls"
    for stored in batch:
        body = stored.to_json()["body"]
        is_over = stored.kind == EntryKind.OUTCOME
        if is_over or (stored.kind == EntryKind.VERDICT and body.get("verdict") != "allow"):
            _call(scope.spans.add(), stored, body)
    return bytes(request.SerializeToString()) if scope.spans else b""


def _call(span: Any, stored: Stored, body: Any) -> None:  # noqa: ANN401 - a protobuf message, and JSON
    """Fill in the span of one call, in the words of the semantic conventions for GenAI."""
    digest = hashlib.sha256(str(body.get("verdict_id")).encode()).digest()
    span.trace_id, span.span_id = digest[:16], digest[16:24]
    took = body.get("duration_ms")
    span.end_time_unix_nano = _nanoseconds(stored.time)
    span.start_time_unix_nano = span.end_time_unix_nano - (took if isinstance(took, int) else 0) * 1_000_000
    span.kind = SpanMessage.SPAN_KIND_CLIENT
    tool, used = str(body.get("tool")), body.get("used")
    operation = "chat" if isinstance(used, dict) else "execute_tool"
    span.name = one_line(f"{operation} {tool}", 128)
    said = {"gen_ai.operation.name": operation, "gen_ai.tool.name": tool, "gen_ai.agent.id": stored.principal or ""}
    said |= {"gen_ai.agent.name": str(body.get("principal")), "charter.node": stored.node}
    said |= {f"charter.{name}": body[name] for name in (*_TEXTS, "verdict_id") if isinstance(body.get(name), str)}
    session = (body.get("sequence") or body).get("session")
    if isinstance(session, str):
        said["gen_ai.conversation.id"] = session
    if isinstance(used, dict) and isinstance(used.get("model"), str):
        said["gen_ai.response.model"] = used["model"]
    for name, value in said.items():
        _attribute(span, name, value)
    span.attributes.add(key="charter.index").value.int_value = stored.index
    for name in ("input_tokens", "output_tokens"):
        if isinstance(used, dict) and isinstance(used.get(name), int):
            span.attributes.add(key=f"gen_ai.usage.{name}").value.int_value = used[name]
    if body.get("outcome") != "ok":
        reasons = body.get("reasons") or [{}]
        span.status.code = Status.STATUS_CODE_ERROR
        span.status.message = one_line(str(reasons[0].get("text") or body.get("outcome")), 256)


def _record(record: Any, stored: Stored, form: Form) -> None:  # noqa: ANN401 - a protobuf message
    entry = stored.to_json()
    body = entry["body"]
    record.time_unix_nano = record.observed_time_unix_nano = _nanoseconds(stored.time)
    number, record.severity_text = _SEVERITY.get(str(body.get("verdict")), _INFO)
    record.severity_number = number
    record.event_name = f"charter.{stored.kind}"
    record.body.string_value = ascii_json(entry if form is Form.ENTRY else event_of(stored)).decode()
    _attribute(record, "charter.node", stored.node)
    record.attributes.add(key="charter.index").value.int_value = stored.index
    if stored.principal:
        _attribute(record, "gen_ai.agent.id", stored.principal)
    if isinstance(body.get("principal"), str):
        _attribute(record, "gen_ai.agent.name", body["principal"])
    if isinstance(body.get("charter"), dict):
        _attribute(record, "charter.digest", str(body["charter"].get("digest")))
    for name in _TEXTS:
        if isinstance(body.get(name), str):
            _attribute(record, f"charter.{name}", body[name])


def _attribute(holder: Any, name: str, value: str) -> None:  # noqa: ANN401 - a protobuf message
    holder.attributes.add(key=name).value.string_value = one_line(value)


def _nanoseconds(time: str) -> int:
    return int(parse_rfc3339(time).timestamp() * 1_000_000) * 1000
