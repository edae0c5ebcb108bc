"""Spans of applications that Charter does not proxy, by the official exporter, in protobuf and JSON."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Status, StatusCode

from charter.bootstrap import authority, discovery, evidence, observing, span_sources
from charter.cli.agent import SPANS, Ways, _relay_of
from charter.cli.agent_keys import AgentTokens, agent_key
from charter.cli.relay import relaying
from charter.core.clock import SystemClock
from charter.core.entropy import SystemEntropy
from charter.evidence.ocsf import event_of
from charter.identity.resource import spans_of
from doors import Doors, open_doors, run

OPERATOR = "test@example.com"
PROMPT = "a prompt nobody may keep"


def at_the_door(test: Callable[[Doors], Awaitable[None]]) -> Callable[[Path], None]:
    """Return a test that opens the door for `test`."""

    def opened(tmp_path: Path) -> None:
        async def go() -> None:
            async with open_doors(tmp_path) as doors:
                await test(doors)

        run(go())

    return opened


def export(doors: Doors, key: str, base: str = "", **attributes: Any) -> None:
    """Let the official exporter send one span of a chat and one that is not about AI."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    exporter = OTLPSpanExporter(f"{base or doors.issuer + '/otlp'}/v1/traces", headers=headers)
    provider = TracerProvider(resource=Resource.create({"service.name": "chat-frontend"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    said = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5",
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.input.messages": PROMPT,
    }
    with tracer.start_as_current_span("chat gpt-5", attributes=said | attributes) as span:
        span.set_status(Status(StatusCode.ERROR))
    with tracer.start_as_current_span("GET /health"):
        pass
    provider.shutdown()


def observed(doors: Doors) -> list[dict[str, Any]]:
    found = evidence.listing(doors.house, {"kind": "observed"}, after=None, newest=None, limit=100)
    return list(found["entries"])


@at_the_door
async def test_an_application_with_a_key_tells_of_its_models(doors: Doors) -> None:
    made = await span_sources.add(doors.house, "chat", actor=OPERATOR)
    asked = {"server.address": "api.openai.com", "client.address": "192.0.2.7"}
    await asyncio.to_thread(export, doors, made["key"], **asked)
    (entry,) = observed(doors)
    body = entry["body"]
    assert body["source"]["sender"] == "chat"
    (row,) = doors.house.database.read_log(lambda log: log.entries(entry["index"] - 1, 1))
    event = event_of(row)
    assert (event["src_endpoint"], event["dst_endpoint"]) == ({"ip": "192.0.2.7"}, {"name": "api.openai.com"})
    assert body["model"] == {"provider": "openai", "name": "gpt-5"}
    assert body["used"] == {"input_tokens": 12, "output_tokens": 3}
    assert (body["action"], body["outcome"], body["who"]["name"]) == ("chat", "failure", "chat-frontend")
    assert PROMPT not in json.dumps(entry)
    assert [each["kind"] for each in discovery.listing(doors.house)] == ["shadow-ai"]


@at_the_door
async def test_a_principal_tells_with_its_own_token(doors: Doors) -> None:
    agent = await doors.agent("refund-agent")
    form = {
        "grant_type": "client_credentials",
        "resource": f"{doors.issuer}/otlp",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": agent.assertion(),
    }
    token = (await doors.request("POST", "/oauth/token", form=form)).json["access_token"]
    await asyncio.to_thread(export, doors, token, **{"gen_ai.agent.name": "somebody-else"})
    (entry,) = observed(doors)
    assert (entry["principal"], entry["body"]["known_by"]) == ("refund-agent", "token")
    assert discovery.listing(doors.house) == []
    details = json.dumps([{"type": "charter_grant", "actions": ["charge.read"]}])
    again = form | {"client_assertion": agent.assertion(), "authorization_details": details}
    narrowed = await doors.request("POST", "/oauth/token", form=again)
    assert (narrowed.status, narrowed.json["error"]) == (400, "invalid_authorization_details")
    # that token opens nothing else, and a token for a system does not open this door
    assert (await doors.request("POST", "/mcp/payments", b"{}", headers=_bearer(token))).status == 401
    refused = await post(doors, agent.token, b"{}")
    assert refused.status == 401


@at_the_door
async def test_an_agent_is_who_a_person_says_beside_the_application_that_names_it_alone(doors: Doors) -> None:
    keys = [(await span_sources.add(doors.house, name, actor=OPERATOR))["key"] for name in ("chat", "other")]
    for key in keys:
        await asyncio.to_thread(export, doors, key)
    actors = sorted(each["body"]["actor"] for each in discovery.listing(doors.house))
    assert actors == ["chat/chat-frontend", "other/chat-frontend"]
    await observing.identify(
        doors.house, "otlp", "chat/chat-frontend", "refund-agent", by=OPERATOR, reason="the team said so"
    )
    for key in keys:
        await asyncio.to_thread(export, doors, key)
    assert [entry["principal"] for entry in observed(doors)] == [None, None, "refund-agent", None]


@at_the_door
async def test_under_charter_run_a_principal_is_proved_by_its_key(doors: Doors) -> None:
    """What the relay adds is a bound token and a proof for each request, which no exporter could make."""
    folder = doors.house.settings.data_folder
    key = agent_key(folder / "keys", doors.issuer, "refund-agent")
    await authority.register_key(doors.house, "refund-agent", key.jwk, actor=OPERATOR, reason="a test")
    client = doors.house.principal("refund-agent").id
    tokens = AgentTokens(key, doors.issuer, client, SystemClock(), SystemEntropy())
    relay = _relay_of({SPANS: spans_of(doors.issuer)}, "s3cret", tokens, Ways([], [], [], "", False, {}, {}, {}))
    async with relaying(relay) as base:
        await asyncio.to_thread(export, doors, "", f"{base}/s3cret/{SPANS}")
    (entry,) = observed(doors)
    assert (entry["principal"], entry["body"]["known_by"]) == ("refund-agent", "token")


@at_the_door
async def test_json_is_taken_as_protobuf_is_and_again_adds_nothing(doors: Doors) -> None:
    made = await span_sources.add(doors.house, "chat", actor=OPERATOR)
    body = json.dumps(a_request(a_span("1" * 16))).encode()
    first = await post(doors, made["key"], body)
    again = await post(doors, made["key"], gzip.compress(body), **{"content-encoding": "gzip"})
    assert (first.status, first.json) == (again.status, again.json) == (200, {})
    assert len(observed(doors)) == 1


@at_the_door
async def test_spans_that_cannot_be_taken_are_counted_in_the_answer(doors: Doors) -> None:
    made = await span_sources.add(doors.house, "chat", actor=OPERATOR)
    body = a_request(a_span("1" * 16), a_span("0" * 16), a_span("zz"), a_span("2" * 16, start="0"))
    answer = await post(doors, made["key"], json.dumps(body).encode())
    assert answer.status == 200
    assert answer.json["partialSuccess"]["rejectedSpans"] == "3"
    assert len(observed(doors)) == 1


@at_the_door
async def test_nobody_else_is_heard(doors: Doors) -> None:
    made = await span_sources.add(doors.house, "chat", actor=OPERATOR)
    for key in ("", "cds_x", "nonsense", made["key"] + "x"):
        assert (await post(doors, key, b"{}")).status == 401
    await span_sources.revoke(doors.house, "chat", actor=OPERATOR, reason="a test")
    assert (await post(doors, made["key"], b"{}")).status == 401
    assert observed(doors) == []
    assert made["key"] not in json.dumps(evidence.listing(doors.house, {}, after=-1, newest=None, limit=1000))


@at_the_door
async def test_the_door_is_bounded(doors: Doors) -> None:
    made = await span_sources.add(doors.house, "chat", actor=OPERATOR)
    bomb = gzip.compress(b"\0" * (40 * 1024 * 1024))
    assert (await post(doors, made["key"], bomb, **{"content-encoding": "gzip"})).status == 413
    assert (await post(doors, made["key"], b"{", **{"content-type": "text/plain"})).status == 415
    assert (await post(doors, made["key"], b"\xff", **{"content-type": "application/x-protobuf"})).status == 400
    assert (await post(doors, made["key"], b"{}", path="/otlp/v1/metrics")).status == 404


def a_span(span: str, start: str = "1795510800000000000") -> dict[str, Any]:
    said = [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}]
    return {"traceId": "a" * 32, "spanId": span, "name": "chat", "startTimeUnixNano": start, "attributes": said}


def a_request(*spans: dict[str, Any]) -> dict[str, Any]:
    return {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"spans": list(spans)}]}]}


def _bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}", "content-type": "application/json"}


async def post(doors: Doors, key: str, body: bytes, path: str = "/otlp/v1/traces", **headers: str) -> Any:
    return await doors.request("POST", path, body, headers=_bearer(key) | headers)
