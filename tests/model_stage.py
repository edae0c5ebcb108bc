"""A house with a model gateway open, and a provider that speaks both APIs as far as their official clients need."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import uvicorn

from builders import REFUND_CHARTER
from charter.bootstrap import authority
from charter.cli.agent_keys import AgentTokens, agent_key
from charter.console.signin import SignIn
from charter.core.canonical import canonical
from charter.core.clock import SystemClock
from charter.core.entropy import SystemEntropy
from charter.server.app import public_app
from charter.server.oauth import ASSERTION_TYPE
from houses import BEARING, Stage, a_house, estate_files
from serving import listening

AGENT, OTHER = "assistant", "writer"
PROVIDER_KEY = "sk-provider-key-that-nobody-may-see-0123456789"
TOOL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "mail__send", "arguments": '{"to": "ana@example.com"}'},
}


@dataclass
class Seen:
    """What reached the provider."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else None


class Provider(http.server.BaseHTTPRequestHandler):
    """Answers as providers do; what it does otherwise is asked for by the model's name."""

    protocol_version = "HTTP/1.1"
    seen: list[Seen]
    gate: threading.Event

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its parent's word
        pass

    def do_GET(self) -> None:
        self._note(b"")
        names = ("small-1", "small-2", "big-1")
        self._json(
            {
                "object": "list",
                "data": [{"id": each, "object": "model", "created": 1, "owned_by": "x"} for each in names],
            }
        )

    def do_POST(self) -> None:
        self._note(self.rfile.read(int(self.headers.get("content-length", 0))))
        asked = self.seen[-1].json
        match asked["model"]:
            case "small-redirect":
                self.send_response(302)
                self.send_header("location", "http://169.254.169.254/latest")
                self.send_header("content-length", "0")
                self.end_headers()
            case "small-limited":
                self._json({"error": {"message": "slow down", "type": "rate_limit_error"}}, 429)
            case "small-endless":
                self._endless()
            case "small-refused":
                self._json({"error": {"message": f"bad key {PROVIDER_KEY}"}}, 401)
            case _:
                self._answer(asked)

    def _endless(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self.close_connection = True
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(b"data: " + b"x" * 60_000 + b"\n\n")

    def _answer(self, asked: dict[str, Any]) -> None:
        stream = asked.get("stream")
        if self.path.endswith("/embeddings"):
            self._json(
                {
                    "object": "list",
                    "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
                    "model": asked["model"],
                    "usage": {"prompt_tokens": 3, "total_tokens": 3},
                }
            )
        elif self.path.endswith("/count_tokens"):
            self._json({"input_tokens": 7})
        elif self.path.endswith("/messages"):
            self._events(_anthropic_events(asked)) if stream else self._json(_message(asked))
        elif self.path.endswith("/responses"):
            self._events(_response_events(asked)) if stream else self._json(_response(asked))
        else:
            self._events(_chat_events(asked)) if stream else self._json(_chat(asked))

    def _events(self, events: list[tuple[str | None, Any]]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for number, (name, data) in enumerate(events):
            text = f"event: {name}\n" if name else ""
            text += f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n"
            piece = text.encode()
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.flush()
            if self.seen[-1].json["model"] in (f"small-slow-{number}", "small-slow" if number == 1 else ""):
                self.gate.wait(20)
        self.wfile.write(b"0\r\n\r\n")

    def _note(self, body: bytes) -> None:
        self.seen.append(Seen(self.path, {k.lower(): v for k, v in self.headers.items()}, body))

    def _json(self, value: Any, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("x-request-id", "req_1")
        self.end_headers()
        self.wfile.write(body)


USAGE = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}


def _chat(asked: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "hello"}
    if asked.get("tools"):
        message = {"role": "assistant", "content": None, "tool_calls": [TOOL]}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": asked["model"],
        "choices": [choice],
        "usage": USAGE,
    }


def _chat_events(asked: dict[str, Any]) -> list[tuple[str | None, Any]]:
    def chunk(delta: dict[str, Any], **more: Any) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        return {
            "id": "chatcmpl-2",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": asked["model"],
            "choices": [choice],
        } | more

    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "hel"}, {"content": "lo"}]
    if asked.get("tools"):
        first, second = (
            {
                "index": 0,
                "id": "call_1",
                "type": "function",
                "function": {"name": "mail__send", "arguments": '{"to": "an'},
            },
            {"index": 0, "function": {"arguments": 'a@example.com"}'}},
        )
        deltas = [{"tool_calls": [first]}, {"tool_calls": [second]}]
    return [*((None, chunk(each)) for each in deltas), (None, chunk({}, choices=[], usage=USAGE)), (None, "[DONE]")]


def _response(asked: dict[str, Any]) -> dict[str, Any]:
    text = {"type": "output_text", "text": "hello", "annotations": []}
    output: list[dict[str, Any]] = [
        {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
    ]
    if asked.get("tools"):
        output = [
            {
                "id": "fc_1",
                "type": "function_call",
                "call_id": "c1",
                "name": "mail__send",
                "arguments": '{"to": "ana@example.com"}',
                "status": "completed",
            }
        ]
    usage = {
        "input_tokens": 11,
        "output_tokens": 5,
        "total_tokens": 16,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": asked["model"],
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage,
    }


def _response_events(asked: dict[str, Any]) -> list[tuple[str | None, Any]]:
    whole = _response(asked)
    begun = whole | {"status": "in_progress", "output": [], "usage": None}
    delta = {
        "type": "response.output_text.delta",
        "item_id": "msg_1",
        "output_index": 0,
        "content_index": 0,
        "delta": "hello",
        "sequence_number": 1,
        "logprobs": [],
    }
    events: list[tuple[str | None, Any]] = [("response.output_text.delta", delta)]
    if asked.get("tools"):
        item = whole["output"][0]
        place = {"output_index": 0, "sequence_number": 1}
        empty = item | {"arguments": "", "status": "in_progress"}
        given = {"item_id": item["id"], "name": item["name"], "arguments": item["arguments"]}
        events = [
            (name, {"type": name} | place | more)
            for name, more in (
                ("response.output_item.added", {"item": empty}),
                ("response.function_call_arguments.done", given),
                ("response.output_item.done", {"item": item}),
            )
        ]
    return [
        ("response.created", {"type": "response.created", "response": begun, "sequence_number": 0}),
        *events,
        ("response.completed", {"type": "response.completed", "response": whole, "sequence_number": 2}),
    ]


def _message(asked: dict[str, Any]) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": "hello"}]
    if asked.get("tools"):
        content = [{"type": "tool_use", "id": "tu_1", "name": "mail__send", "input": {"to": "ana@example.com"}}]
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": asked["model"],
        "content": content,
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 11, "output_tokens": 5},
    }


def _anthropic_events(asked: dict[str, Any]) -> list[tuple[str | None, Any]]:
    start = _message(asked) | {"content": [], "stop_reason": None, "usage": {"input_tokens": 11, "output_tokens": 1}}
    block: dict[str, Any] = {"type": "text", "text": ""}
    deltas: list[dict[str, Any]] = [{"type": "text_delta", "text": "hello"}]
    if asked.get("tools"):
        block = {"type": "tool_use", "id": "tu_1", "name": "mail__send", "input": {}}
        deltas = [{"type": "input_json_delta", "partial_json": each} for each in ('{"to": "an', 'a@example.com"}')]
    return [
        ("message_start", {"type": "message_start", "message": start}),
        ("content_block_start", {"type": "content_block_start", "index": 0, "content_block": block}),
        *(("content_block_delta", {"type": "content_block_delta", "index": 0, "delta": each}) for each in deltas),
        ("content_block_stop", {"type": "content_block_stop", "index": 0}),
        (
            "message_delta",
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": {"output_tokens": 5},
            },
        ),
        ("message_stop", {"type": "message_stop"}),
    ]


def models(url: str) -> dict[str, Any]:
    return {
        "charter": "v1",
        "system": "models",
        "kind": "model",
        "provider": "acme",
        "environment": "production",
        "owner": {"person": "pia@example.com", "team": "payments-platform"},
        "upstream": {
            "transport": "http",
            "url": f"{url}/v1",
            "credential": {"type": "header", "header": "X-Provider-Key", "secret": "env:PROVIDER_KEY"},
        },
        "prices": {"small-*": {"input": "100 USD", "output": "1000 USD"}},
        "actions": {
            "chat": {"tool": "chat.completions", "effect": "read"},
            "responses": {"tool": "responses", "effect": "read"},
            "embed": {"tool": "embeddings", "effect": "read"},
            "messages": {"tool": "messages", "effect": "read"},
            "count": {"tool": "count_tokens", "effect": "read"},
            "list": {"tool": "models", "effect": "read"},
        },
    }


GRANTS: list[dict[str, Any]] = [
    {"system": "models", "actions": ["chat", "responses", "embed", "messages", "count"], "objects": ["model/small-*"]},
    {"system": "models", "actions": ["list"]},
]


@dataclass
class Gateway:
    """What tests do with the model gateway."""

    stage: Stage
    url: str
    tokens: AgentTokens
    clients: contextlib.ExitStack
    seen: list[Seen] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    @property
    def base(self) -> str:
        return f"{self.url}/model/models"

    def token(self) -> str:
        self.stage.clock.at = SystemClock().now()  # however long the tests before took, assertions are made now
        form = {
            "grant_type": "client_credentials",
            "resource": f"{self.url}/mcp/models",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self.tokens.assertion(),
        }
        return str(httpx.post(f"{self.url}/oauth/token", data=form, timeout=20).json()["access_token"])

    def openai(self, token: str | None = None) -> openai.OpenAI:
        client = openai.OpenAI(base_url=f"{self.base}/v1", api_key=token or self.token(), max_retries=0)
        return self.clients.enter_context(client)

    def anthropic(self, token: str | None = None) -> anthropic.Anthropic:
        client = anthropic.Anthropic(base_url=self.base, api_key=token or self.token(), max_retries=0)
        return self.clients.enter_context(client)

    def ended(self, count: int) -> list[dict[str, Any]]:
        """Return the outcomes, once there are so many."""
        for _ in range(200):
            found = self.stage.entries("outcome")
            if len(found) >= count:
                return [each["body"] for each in found]
            time.sleep(0.02)
        raise AssertionError("the outcome is not recorded")

    def verdicts(self) -> list[dict[str, Any]]:
        return [entry["body"] for entry in self.stage.entries("verdict")]


@contextmanager
def a_gateway(folder: Path, grants: list[dict[str, Any]] | None = None, **more: str) -> Iterator[Gateway]:
    """Serve a house with its model gateway, and the provider."""
    seen: list[Seen] = []
    gate = threading.Event()
    handler = type("Handler", (Provider,), {"seen": seen, "gate": gate})
    provider = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    provider.daemon_threads = True
    threading.Thread(target=provider.serve_forever, args=(0.05,), daemon=True).start()
    charter = REFUND_CHARTER | {"principal": AGENT, "grants": grants or GRANTS, "credential": BEARING}
    files = estate_files() | {
        "systems/models.yaml": canonical(models(f"http://127.0.0.1:{provider.server_address[1]}")).decode(),
        f"principals/{AGENT}.yaml": canonical(charter).decode(),
        f"principals/{OTHER}.yaml": canonical(charter | {"principal": OTHER, "grants": GRANTS[1:]}).decode(),
    }
    listener = uvicorn.Config("", port=0, log_level="error").bind_socket()
    port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    try:
        with a_house(folder, files=files | more, public_url=url, port=port) as stage:
            stage.clock.at = SystemClock().now()
            stage.house.pipeline.upstream = stage.house.reach
            signin = SignIn(SystemClock(), SystemEntropy(), "op@example.com", issuer=url)
            tokens = _enrolled(stage, folder, url, AGENT)
            app = public_app(stage.house, signin)

            async def closing(scope: Any, receive: Any, send: Any) -> None:
                await app(scope, receive, send)
                if scope["type"] == "lifespan":  # the house is closed on another loop than the server's
                    stage.house.reach.models.close()

            with listening(closing, listener), contextlib.ExitStack() as clients:
                yield Gateway(stage, url, tokens, clients, seen, gate)
    finally:
        gate.set()
        provider.shutdown()
        provider.server_close()


def _enrolled(stage: Stage, folder: Path, url: str, name: str) -> AgentTokens:
    key = agent_key(folder / "keys", url, name)
    asyncio.run(authority.register_key(stage.house, name, key.jwk, actor="t@example.com", reason="a test"))
    return AgentTokens(key, url, stage.house.principal(name).id, SystemClock(), SystemEntropy())
