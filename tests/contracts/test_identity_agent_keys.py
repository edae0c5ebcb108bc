"""The agent's side: its key on disk, and what it sends to a real server."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from charter.cli.agent_keys import AgentTokens, agent_key, is_safe
from charter.core.clock import SystemClock
from charter.core.entropy import SystemEntropy
from charter.core.errors import (
    DeniedError,
    IntegrityError,
    MalformedError,
    UnauthenticatedError,
    UnavailableError,
)
from charter.identity.jose import parse_public_jwk
from identity_stage import ISSUER
from mcp_stage import serving

OTHER_ISSUER = "https://charter.example"


def a_key(folder: Path, principal: str = "refund-agent", issuer: str = ISSUER) -> Any:
    return agent_key(folder / "keys", issuer, principal)


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    first, again = a_key(tmp_path), a_key(tmp_path)
    assert first.jwk == again.jwk
    assert stat.S_IMODE(first.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(first.path.parent.stat().st_mode) == 0o700
    assert parse_public_jwk(first.jwk).algorithms == ("ES256",)
    assert [path.name for path in first.path.parent.iterdir()] == ["refund-agent.pem"]


def test_each_principal_and_each_issuer_has_a_key_of_its_own(tmp_path: Path) -> None:
    keys = [a_key(tmp_path), a_key(tmp_path, "ledger-agent"), a_key(tmp_path, issuer=OTHER_ISSUER)]
    assert len({json.dumps(key.jwk) for key in keys}) == 3


def test_many_who_begin_at_once_end_up_with_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: json.dumps(a_key(tmp_path).jwk), range(16)))
    assert len(set(keys)) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o620])
def test_a_key_that_others_could_use_is_refused(tmp_path: Path, mode: int) -> None:
    key = a_key(tmp_path)
    key.path.chmod(mode)
    with pytest.raises(IntegrityError, match=f"is open to others \\(mode {mode:04o}") as caught:
        a_key(tmp_path)
    assert caught.value.help


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o777])
def test_a_folder_in_which_others_could_put_a_key_is_refused(tmp_path: Path, mode: int) -> None:
    key = a_key(tmp_path)
    key.path.parent.chmod(mode)
    with pytest.raises(IntegrityError, match="is open to others"):
        a_key(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is no private key"),
        (b"not a key", "is no private key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "is no private key"),
        (b"x" * 100_000, "is no private key"),
    ],
)
def test_a_file_that_is_no_key_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    key = a_key(tmp_path)
    key.path.write_bytes(content)
    with pytest.raises(IntegrityError, match=said):
        a_key(tmp_path)


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = a_key(tmp_path)
    pem = ec.generate_private_key(ec.SECP384R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key.path.write_bytes(pem)
    with pytest.raises(IntegrityError, match="is no P-256 key"):
        a_key(tmp_path)


def test_a_link_or_a_pipe_in_the_keys_place_is_refused(tmp_path: Path) -> None:
    key = a_key(tmp_path)
    kept = key.path.rename(tmp_path / "elsewhere.pem")
    key.path.symlink_to(kept)
    with pytest.raises(UnavailableError, match="cannot be used"):
        a_key(tmp_path)
    key.path.unlink()
    os.mkfifo(key.path, 0o600)
    with pytest.raises((IntegrityError, UnavailableError)):
        a_key(tmp_path)


@pytest.mark.parametrize("name", ["../refund-agent", "a/b", "", "Refund-Agent", "x" * 64, "refund\u0430gent"])
def test_a_name_that_is_none_reaches_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(MalformedError):
        a_key(tmp_path, name)


def test_a_key_does_not_show_itself(tmp_path: Path) -> None:
    key = a_key(tmp_path)
    secret = key.path.read_text(encoding="ascii").splitlines()[1]
    assert secret not in repr(key)
    assert "_private" not in repr(key)


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://charter.example", True),
        ("http://127.0.0.1:8420", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:8420", True),
        ("http://localhost:8420", True),
        ("http://charter.example", False),
        ("http://10.0.0.1", False),
        ("http://127.0.0.1.evil.example", False),
        ("http://localhost.evil.example", False),
        ("http://127.0.0.1@evil.example", False),
        ("ftp://127.0.0.1", False),
        ("https://", False),
        ("127.0.0.1:8420", False),
    ],
)
def test_secrets_travel_over_tls_or_stay_on_the_machine(tmp_path: Path, url: str, *, safe: bool) -> None:
    assert is_safe(url) is safe
    if not safe:
        with pytest.raises(MalformedError, match="is neither https nor on this machine"):
            AgentTokens(a_key(tmp_path), url, "prn_1", SystemClock(), SystemEntropy())


# --- against a server that answers as told ---

Reply = Callable[[], tuple[int, bytes]]


class Endpoint:
    """A token endpoint that answers as told, and keeps what it was sent."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.bodies: list[str] = []
        self.headers: list[dict[str, str]] = []

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        self.bodies.append((await receive())["body"].decode())
        self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
        status, body = self.reply()
        await send(
            {"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]}
        )
        await send({"type": "http.response.body", "body": body})


def ask(tmp_path: Path, endpoint: Endpoint, use: Callable[[AgentTokens], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with serving(endpoint) as url:
            return await use(AgentTokens(a_key(tmp_path), url, "prn_1", SystemClock(), SystemEntropy()))

    return asyncio.run(run())


def good(expires_in: int = 300) -> Reply:
    numbers = iter(range(1000))
    return lambda: (200, json.dumps({"access_token": f"token-{next(numbers)}", "expires_in": expires_in}).encode())


def test_a_token_is_fetched_once_and_shown_with_a_fresh_proof_each_time(tmp_path: Path) -> None:
    endpoint = Endpoint(good())

    async def use(tokens: AgentTokens) -> list[dict[str, str]]:
        return list(await asyncio.gather(*(tokens.headers("POST", "http://x/mcp/a") for _ in range(5))))

    shown = ask(tmp_path, endpoint, use)
    assert {headers["authorization"] for headers in shown} == {"DPoP token-0"}
    assert len({headers["dpop"] for headers in shown}) == 5
    assert len(endpoint.bodies) == 1


def test_an_unbound_token_is_asked_for_without_a_proof(tmp_path: Path) -> None:
    endpoint = Endpoint(good())

    async def use(tokens: AgentTokens) -> None:
        await tokens.fetch("http://x/mcp/a")
        tokens.is_bound = False
        await tokens.fetch("http://x/mcp/a")

    ask(tmp_path, endpoint, use)
    assert ["dpop" in headers for headers in endpoint.headers] == [True, False]
    assert all("client_assertion" in body for body in endpoint.bodies)


def test_a_token_is_refreshed_before_it_expires_and_after_it_was_not_taken(tmp_path: Path) -> None:
    async def use(tokens: AgentTokens) -> list[str]:
        first = await tokens.headers("POST", "http://x/mcp/a")
        tokens.forget("http://x/mcp/a")
        second = await tokens.headers("POST", "http://x/mcp/a")
        return [first["authorization"], second["authorization"]]

    assert ask(tmp_path, Endpoint(good()), use) == ["DPoP token-0", "DPoP token-1"]

    async def again(tokens: AgentTokens) -> list[str]:
        return [(await tokens.headers("POST", "http://x/mcp/a"))["authorization"] for _ in range(2)]

    assert ask(tmp_path, Endpoint(good(expires_in=29)), again) == ["DPoP token-0", "DPoP token-1"]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, {"error": "invalid_client", "error_description": "no such client"}, UnauthenticatedError),
        (400, {"error": "invalid_dpop_proof"}, UnauthenticatedError),
        (400, {"error": "unauthorized_client", "error_description": "suspended"}, DeniedError),
        (400, {"error": "invalid_target"}, DeniedError),
        (429, {"error": "temporarily_unavailable"}, UnavailableError),
        (500, {"error": "server_error"}, UnavailableError),
        (400, {}, DeniedError),
        (200, {}, UnavailableError),
        (200, {"access_token": 7, "expires_in": 300}, UnavailableError),
        (200, {"access_token": "x", "expires_in": "soon"}, UnavailableError),
        (200, [], UnavailableError),
        (302, {}, DeniedError),
    ],
)
def test_each_answer_becomes_an_error_someone_can_act_on(
    tmp_path: Path, status: int, body: object, kind: type[Exception]
) -> None:
    endpoint = Endpoint(lambda: (status, json.dumps(body).encode()))
    with pytest.raises(kind):
        ask(tmp_path, endpoint, lambda tokens: tokens.fetch("http://x/mcp/a"))


def test_what_is_no_json_is_no_charter(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no Charter answers at"):
        ask(tmp_path, Endpoint(lambda: (200, b"<html>")), lambda tokens: tokens.fetch("http://x/mcp/a"))


def test_where_nothing_listens_nothing_is_sent(tmp_path: Path) -> None:
    tokens = AgentTokens(a_key(tmp_path), "http://127.0.0.1:9", "prn_1", SystemClock(), SystemEntropy())
    with pytest.raises(UnavailableError, match="no Charter answers at"):
        asyncio.run(tokens.fetch("http://127.0.0.1:9/mcp/a"))


def test_no_proxy_sees_what_stays_on_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    endpoint = Endpoint(good())
    assert ask(tmp_path, endpoint, lambda tokens: tokens.fetch("http://x/mcp/a"))["access_token"] == "token-0"


def test_the_private_key_never_leaves(tmp_path: Path) -> None:
    endpoint = Endpoint(good())
    ask(tmp_path, endpoint, lambda tokens: tokens.headers("POST", "http://x/mcp/a"))
    pem = a_key(tmp_path, issuer="http://127.0.0.1").path.parent.parent.rglob("*.pem")
    secrets = [line for path in pem for line in path.read_text(encoding="ascii").splitlines()[1:-1]]
    sent = json.dumps([endpoint.bodies, endpoint.headers])
    assert secrets
    assert all(secret not in sent for secret in secrets)
