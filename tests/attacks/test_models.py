"""The model gateway under attack: requests that mean two things, keys that would leak, answers that never end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charter.bootstrap import authority
from charter.core.errors import CharterError
from charter.gateway.model_answer import MAX_LOOKED_AT, AnswerReader, ProposedCall
from charter.gateway.model_request import parse_model_request
from charter.registry.standing import Move
from model_stage import AGENT, PROVIDER_KEY, Gateway, a_gateway
from serving import holds, let_go, until_full


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with pytest.MonkeyPatch.context() as patch, a_gateway(tmp_path_factory.mktemp("models")) as found:
        patch.setenv("PROVIDER_KEY", PROVIDER_KEY)
        yield found


def post(gateway: Gateway, body: bytes, path: str = "/v1/chat/completions", **headers: str) -> httpx.Response:
    told = {"authorization": f"Bearer {gateway.token()}", "content-type": "application/json"} | headers
    return httpx.post(gateway.base + path, content=body, headers=told, timeout=20)


ASK = {"model": "small-1", "messages": [{"role": "user", "content": "hello"}]}


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "small-1", "model": "big-1", "messages": []}',
        b'{"model": "small-1", "mod\\u0065l": "big-1", "messages": []}',
        b'{"model": "small-1", "messages": [], "max_tokens": 5, "max_tokens": 500000}',
        b'{"model": ["small-1"], "messages": []}',
        b'{"model": "small-1/../big-1", "messages": []}',
        b'{"model": "", "messages": []}',
        b'{"model": "small-1", "max_tokens": -1}',
        b'{"model": "small-1", "max_tokens": 1e3}',
        b'{"model": "small-1", "max_tokens": "5"}',
        b'{"model": "small-1", "n": 1000000}',
        b'{"model": "small-1", "tools": {"a": 1}}',
        b'{"model": "small-1", "tools": [{"type": "function"}]}',
        b"[" * 100_000,
        b'{"model": "small-1"} {"model": "big-1"}',
        b"\xff\xfe",
        b"",
        b"null",
    ],
)
def test_what_could_be_read_in_two_ways_is_not_forwarded(gateway: Gateway, body: bytes) -> None:
    before = len(gateway.seen)
    assert post(gateway, body).status_code == 400
    assert len(gateway.seen) == before


def test_what_is_forwarded_is_what_was_decided(gateway: Gateway) -> None:
    body = json.dumps(ASK, indent=3).encode()
    assert post(gateway, body).status_code == 200
    assert gateway.seen[-1].body == body


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-encoding": "gzip"}, 415),
        ({"content-type": "text/plain"}, 415),
        ({"host": "evil.example.org"}, 421),
        ({"origin": "https://evil.example.org"}, 403),
        ({"authorization": "Bearer x"}, 401),
        ({"authorization": ""}, 401),
        ({"charter-session": "a b"}, 400),
    ],
)
def test_a_head_that_is_not_in_order_goes_nowhere(gateway: Gateway, headers: dict[str, str], status: int) -> None:
    before = len(gateway.seen)
    assert post(gateway, json.dumps(ASK).encode(), **headers).status_code == status
    assert len(gateway.seen) == before


def test_headers_of_the_caller_do_not_reach_the_provider(gateway: Gateway) -> None:
    more = {"x-provider-key": "mine", "cookie": "a=b", "x-forwarded-for": "10.0.0.1", "openai-organization": "other"}
    assert post(gateway, json.dumps(ASK).encode(), **more).status_code == 200
    headers = gateway.seen[-1].headers
    assert headers["x-provider-key"] == PROVIDER_KEY
    assert headers.keys().isdisjoint({"cookie", "x-forwarded-for", "openai-organization", "authorization"})


@pytest.mark.parametrize("model", ["small-redirect", "small-refused"])
def test_a_provider_that_redirects_or_refuses_our_key_gives_neither_away(gateway: Gateway, model: str) -> None:
    answer = post(gateway, json.dumps(ASK | {"model": model}).encode())
    assert answer.status_code == 502
    assert PROVIDER_KEY not in answer.text
    assert "169.254" not in answer.text


def test_a_providers_own_limit_is_told_as_it_came(gateway: Gateway) -> None:
    answer = post(gateway, json.dumps(ASK | {"model": "small-limited"}).encode())
    assert (answer.status_code, answer.json()["error"]["message"]) == (429, "slow down")


def test_a_token_for_another_system_opens_nothing(gateway: Gateway) -> None:
    answer = httpx.post(
        f"{gateway.url}/model/payments/v1/chat/completions",
        json=ASK,
        headers={"authorization": f"Bearer {gateway.token()}"},
        timeout=20,
    )
    assert answer.status_code in (401, 403, 404)


@pytest.mark.parametrize(
    "path", ["/v1/files", "/v1/../v1/models", "/v1/fine_tuning/jobs", "/", "", "/v1/chat/completions/"]
)
def test_nothing_else_of_the_providers_api_is_reached(gateway: Gateway, path: str) -> None:
    before = len(gateway.seen)
    assert post(gateway, json.dumps(ASK).encode(), path).status_code in (400, 404, 405)
    assert len(gateway.seen) == before


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(["model", "messages", "input", "tools", "n", "max_tokens", "stream", "role", "content", "type"])


@settings(max_examples=60)
@given(st.dictionaries(NAMES, JSON, max_size=6) | st.binary(max_size=300))
def test_nothing_sent_to_the_model_gateway_breaks_it(gateway: Gateway, body: dict[str, Any] | bytes) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = post(gateway, data)
    assert answer.status_code in (200, 400, 403, 413, 415, 429), answer.text
    answer.json()


@given(st.binary(max_size=500))
def test_any_bytes_are_a_request_or_none(data: bytes) -> None:
    with contextlib.suppress(CharterError):
        assert parse_model_request(data).model


@given(st.lists(st.binary(max_size=200), max_size=6), st.booleans())
def test_whatever_a_provider_answers_it_is_only_looked_at(pieces: list[bytes], is_stream: bool) -> None:
    reader = AnswerReader(is_stream=is_stream)
    for piece in pieces:
        reader.feed(piece)
    reader.end()
    assert isinstance(reader.proposed, tuple)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "id",
                "model",
                "choices",
                "output",
                "content",
                "usage",
                "response",
                "delta",
                "message",
                "content_block",
                "index",
                "type",
            ]
        ),
        JSON,
    )
)
def test_whatever_an_event_holds_it_is_only_looked_at(event: dict[str, Any]) -> None:
    for is_stream in (True, False):
        reader = AnswerReader(is_stream=is_stream)
        reader.feed((b"data: " if is_stream else b"") + json.dumps(event).encode() + b"\n\n")
        reader.end()
        assert reader.usage is None or reader.usage.input >= 0
        assert all(isinstance(each, ProposedCall) for each in reader.proposed)


def test_an_answer_without_an_end_does_not_grow_in_memory() -> None:
    reader = AnswerReader(is_stream=True)
    for _ in range(40):
        reader.feed(b"x" * (MAX_LOOKED_AT // 16))
    assert len(reader._left) <= MAX_LOOKED_AT + MAX_LOOKED_AT // 16


def test_a_kill_closes_a_stream_that_nobody_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ends of it: a client that takes nothing keeps neither its connection nor the provider's."""
    monkeypatch.setenv("PROVIDER_KEY", PROVIDER_KEY)
    with a_gateway(tmp_path) as gateway:
        body = b'{"model": "small-endless", "messages": [], "stream": true}'
        head = f"POST /model/models/v1/chat/completions HTTP/1.1\r\nHost: {gateway.url.removeprefix('http://')}\r\n"
        head += f"Authorization: Bearer {gateway.token()}\r\nContent-Type: application/json\r\n"
        port = int(gateway.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            assert client.recv(100).startswith(b"HTTP/1.1 200")
            assert holds(client)
            until_full(client)
            asyncio.run(authority.move(gateway.stage.house, AGENT, Move.KILL, actor="op@example.com", reason="a drill"))
            assert let_go(client)
        assert gateway.ended(1)[0]["outcome"] == "withdrawn"


def test_the_gateway_is_quiet_about_secrets(gateway: Gateway, capfd: pytest.CaptureFixture[str]) -> None:
    post(gateway, json.dumps(ASK | {"model": "small-refused"}).encode())
    said = capfd.readouterr()
    kept = json.dumps([gateway.stage.entries(kind) for kind in ("verdict", "outcome", "authentication")])
    for text in (said.out, said.err, kept):
        assert PROVIDER_KEY not in text


def test_files_of_models_are_held_to_what_is_known() -> None:
    from pydantic import ValidationError

    from charter.registry.system import System
    from model_stage import models

    good = models("https://api.example.com")
    assert System.model_validate(good).actions["chat"].object == "model/{model}"
    wrong: list[dict[str, Any]] = [
        {"upstream": {"transport": "stdio", "command": ["x"]}},
        {"actions": {"chat": {"tool": "chat", "effect": "read"}}},
        {"prices": {"a": {"input": "1 USD", "output": "1 EUR"}}},
        {"prices": {"a": {"input": "1", "output": "1 EUR"}}},
        {"kind": "mcp"},
    ]
    for change in wrong:
        with pytest.raises(ValidationError):
            System.model_validate(good | change)
