"""Access tokens for upstreams, obtained from a certified authorization server that others wrote (oidc-provider)."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authorization_server import CLIENT, SECRET, AuthorizationServer, authorization_server
from builders import PAYMENTS_SYSTEM
from charter.adapters import tables as t
from charter.adapters.oauth_tokens import _answer
from charter.bootstrap import vault
from charter.core.canonical import canonical
from charter.core.errors import DeniedError
from charter.core.values import Secret
from charter.gateway.pins import UpstreamError
from houses import PIN, Stage, a_house, estate_files

MARIA, JO = "maria@example.com", "jo@example.com"
RESOURCE = "https://api.example.com/mcp"
BACK = "http://127.0.0.1:5555/back"
WHO = "operator@example.com"


@pytest.fixture(scope="module")
def server() -> Iterator[AuthorizationServer]:
    with authorization_server() as running:
        yield running


def files(credential: dict[str, Any]) -> dict[str, str]:
    actions = {name: action | {"pin": PIN} for name, action in PAYMENTS_SYSTEM["actions"].items()}
    upstream = {"transport": "http", "url": "https://payments.example.com/mcp", "credential": credential}
    payments = PAYMENTS_SYSTEM | {"actions": actions, "upstream": upstream}
    return estate_files() | {"systems/payments.yaml": canonical(payments).decode()}


def for_itself(server: AuthorizationServer, **changed: Any) -> dict[str, Any]:
    given = {"type": "oauth-client", "token_url": server.token_url, "client_id": CLIENT, "secret": "vault:client"}
    return given | {"scope": ["api:read"], "resource": RESOURCE} | changed


def for_people(server: AuthorizationServer, **changed: Any) -> dict[str, Any]:
    given = {"type": "oauth-person", "token_url": server.token_url, "authorize_url": server.authorize_url}
    return given | {"client_id": CLIENT, "secret": "vault:client", "scope": ["api:read"]} | changed


@contextmanager
def a_stage(folder: Path, credential: dict[str, Any], secret: str = SECRET) -> Iterator[Stage]:
    with a_house(folder, files=files(credential)) as stage:
        if credential.get("secret"):
            asyncio.run(vault.put(stage.house, "client", Secret(secret.encode()), ["payments"], actor=WHO))
        yield stage


async def token(stage: Stage, person: str | None = None) -> str:
    record = stage.house.live.systems["payments"]
    headers = await stage.house.broker.proof(record, person).headers()
    return headers["Authorization"].removeprefix("Bearer ")


def connect(stage: Stage, server: AuthorizationServer, person: str) -> dict[str, Any]:
    begun = vault.begin_connection(stage.house, "payments", person, BACK)
    back = server.sign_in(begun["url"], account=person)
    assert back["state"] == begun["state"]
    return asyncio.run(vault.finish_connection(stage.house, back["state"], back["code"], actor=person))


# --- for Charter itself ---


@pytest.mark.parametrize(
    ("changed", "secret"),
    [({}, SECRET), ({"client_id": "charter-post", "auth": "post"}, "another-secret")],
    ids=["basic", "post"],
)
def test_a_token_is_obtained_for_charter_itself_and_kept(
    tmp_path: Path, server: AuthorizationServer, changed: dict[str, Any], secret: str
) -> None:
    async def go() -> None:
        first = await token(stage)
        said = server.introspect(first)
        assert (said["active"], said["aud"], said["scope"]) == (True, RESOURCE, "api:read")
        assert {await token(stage) for _ in range(3)} == {first}
        stage.clock.advance(seconds=109)  # of 120, less a margin of 12
        assert await token(stage) != first

    with a_stage(tmp_path, for_itself(server, **changed), secret) as stage:
        asyncio.run(go())


def test_many_calls_at_once_share_one_request(tmp_path: Path, server: AuthorizationServer) -> None:
    async def go() -> set[str]:
        return set(await asyncio.gather(*(token(stage) for _ in range(20))))

    with a_stage(tmp_path, for_itself(server)) as stage:
        assert len(asyncio.run(go())) == 1


def test_a_token_that_the_upstream_refused_is_obtained_anew(tmp_path: Path, server: AuthorizationServer) -> None:
    async def go() -> None:
        first = await token(stage)
        stage.house.broker.proof(stage.house.live.systems["payments"], None).refused()
        assert await token(stage) != first

    with a_stage(tmp_path, for_itself(server)) as stage:
        asyncio.run(go())


def test_a_wrong_client_secret_is_told_without_being_shown(tmp_path: Path, server: AuthorizationServer) -> None:
    with a_stage(tmp_path, for_itself(server), "a-wrong-secret") as stage:
        with pytest.raises(UpstreamError, match="refuses: invalid_client") as caught:
            asyncio.run(token(stage))
        assert "a-wrong-secret" not in f"{caught.value} {caught.value.help}"
        assert not caught.value.sent
        asyncio.run(vault.put(stage.house, "client", Secret(SECRET.encode()), [], actor=WHO))
        assert server.introspect(asyncio.run(token(stage)))["active"]


def test_a_server_out_of_reach_is_told(tmp_path: Path, server: AuthorizationServer) -> None:
    nowhere = for_itself(server, token_url="http://127.0.0.1:9/token")
    with a_stage(tmp_path, nowhere) as stage, pytest.raises(UpstreamError, match="could not be reached"):
        asyncio.run(token(stage))


def test_a_client_secret_goes_nowhere_else(tmp_path: Path, server: AuthorizationServer) -> None:
    with a_stage(tmp_path, for_itself(server)) as stage:
        stage.apply(files(for_itself(server, token_url="https://evil.example.com/token")))
        with pytest.raises(UpstreamError, match="leads elsewhere"):
            asyncio.run(token(stage))


# --- for people ---


@pytest.mark.parametrize("changed", [{}, {"client_id": "charter-public", "secret": None}], ids=["secret", "public"])
def test_a_person_connects_once_and_is_acted_for_as_long_as_they_like(
    tmp_path: Path, server: AuthorizationServer, changed: dict[str, Any]
) -> None:
    credential = {k: v for k, v in for_people(server, **changed).items() if v is not None}
    with a_stage(tmp_path, credential) as stage:
        assert connect(stage, server, MARIA)["person"] == MARIA
        first = asyncio.run(token(stage, MARIA))
        assert server.introspect(first)["sub"] == MARIA
        for _ in range(3):  # each time the refresh token is exchanged for another
            stage.clock.advance(seconds=200)
            assert server.introspect(asyncio.run(token(stage, MARIA)))["sub"] == MARIA
    with a_house(tmp_path, files=files(credential)) as stage:  # and the newest one was kept
        assert server.introspect(asyncio.run(token(stage, MARIA)))["active"]


def test_nobody_is_acted_for_who_did_not_delegate_or_connect(tmp_path: Path, server: AuthorizationServer) -> None:
    with a_stage(tmp_path, for_people(server)) as stage:
        connect(stage, server, MARIA)
        with pytest.raises(UpstreamError, match="nobody delegated this call"):
            asyncio.run(token(stage, None))
        with pytest.raises(UpstreamError, match=r"`jo@example\.com` did not let Charter act for them") as caught:
            asyncio.run(token(stage, JO))
        assert caught.value.help == "jo@example.com can connect: charter vault connect payments"


def test_people_are_never_mixed_up(tmp_path: Path, server: AuthorizationServer) -> None:
    async def go() -> None:
        for _ in range(3):
            got = await asyncio.gather(token(stage, MARIA), token(stage, JO))
            assert [server.introspect(each)["sub"] for each in got] == [MARIA, JO]
            stage.clock.advance(seconds=200)

    with a_stage(tmp_path, for_people(server)) as stage:
        connect(stage, server, MARIA)
        connect(stage, server, JO)
        asyncio.run(go())


def test_a_connection_that_ended_is_used_no_more_even_with_a_token_at_hand(
    tmp_path: Path, server: AuthorizationServer
) -> None:
    with a_stage(tmp_path, for_people(server)) as stage:
        connect(stage, server, MARIA)
        asyncio.run(token(stage, MARIA))
        asyncio.run(vault.end_connection(stage.house, "payments", MARIA, actor=MARIA, reason="enough"))
        with pytest.raises(UpstreamError, match="did not let Charter act for them"):
            asyncio.run(token(stage, MARIA))
        told = [entry["body"]["what"] for entry in stage.entries("person.connected")]
    assert told == ["connected", "ended"]


def test_consent_that_was_withdrawn_there_asks_the_person_to_connect_again(
    tmp_path: Path, server: AuthorizationServer
) -> None:
    with a_stage(tmp_path, for_people(server)) as stage:
        connect(stage, server, MARIA)
        record = stage.house.live.systems["payments"]
        server.revoke(stage.house.broker.connections.token(record, MARIA).reveal().decode())
        with pytest.raises(UpstreamError, match="refuses: invalid_grant") as caught:
            asyncio.run(token(stage, MARIA))
        assert caught.value.help == "connect again: charter vault connect payments"
        connect(stage, server, MARIA)
        assert server.introspect(asyncio.run(token(stage, MARIA)))["active"]


def test_refresh_tokens_swapped_between_people_do_not_open(tmp_path: Path, server: AuthorizationServer) -> None:
    with a_stage(tmp_path, for_people(server)) as stage:
        connect(stage, server, MARIA)
        connect(stage, server, JO)
        c = t.person_connection.c

        def swap(tx: Any) -> None:
            (jos,) = [each.sealed for each in tx.connections.all() if each.person == JO]
            tx.connection.execute(t.person_connection.update().where(c.person == MARIA).values(sealed=jos))

        stage.house.database.write(swap)
        broker = stage.house.broker
        broker.connections.open(stage.house.database.read(lambda tx: tx.connections.all()))
        with pytest.raises(UpstreamError, match="was altered where it is kept"):
            asyncio.run(token(stage, MARIA))
        assert server.introspect(asyncio.run(token(stage, JO)))["sub"] == JO


def test_a_sign_in_comes_back_once_in_time_and_only_where_it_was_begun(
    tmp_path: Path, server: AuthorizationServer
) -> None:
    with a_stage(tmp_path, for_people(server)) as stage:
        begun = vault.begin_connection(stage.house, "payments", MARIA, BACK)
        back = server.sign_in(begun["url"], account=MARIA)

        def finish(state: str) -> Any:
            return asyncio.run(vault.finish_connection(stage.house, state, back["code"], actor=MARIA))

        with pytest.raises(DeniedError, match="was not begun here"):
            finish("made-up")
        stage.clock.advance(seconds=601)
        with pytest.raises(DeniedError, match="took too long"):
            finish(back["state"])
        begun = vault.begin_connection(stage.house, "payments", MARIA, BACK)
        back = server.sign_in(begun["url"], account=MARIA)
        finish(back["state"])
        with pytest.raises(DeniedError, match="was not begun here"):
            finish(back["state"])


def test_no_refresh_token_stands_in_the_clear(tmp_path: Path, server: AuthorizationServer) -> None:
    with a_stage(tmp_path, for_people(server)) as stage:
        connect(stage, server, MARIA)
        record = stage.house.live.systems["payments"]
        secret = stage.house.broker.connections.token(record, MARIA).reveal()
        shown = (
            repr(stage.house.broker) + json.dumps(vault.listing(stage.house)) + repr(stage.entries("person.connected"))
        )
    assert secret.decode() not in shown
    assert secret not in b"".join(path.read_bytes() for path in (tmp_path / ".charter").glob("charter.db*"))


# --- what an authorization server may say ---


@asynccontextmanager
async def answering(status: int, body: bytes, kind: str = "application/json") -> AsyncIterator[str]:
    """Serve one answer to everything."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        size = next(int(line[16:]) for line in asked.lower().split(b"\r\n") if line.startswith(b"content-length: "))
        await reader.readexactly(size)
        head = (
            f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    running = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with running:
        yield f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}/token"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"{}"),
        (200, b"[]"),
        (200, b"no json"),
        (200, b'{"access_token": "a", "token_type": "mac"}'),
        (200, b'{"access_token": "", "token_type": "bearer"}'),
        (200, b'{"access_token": "a\\r\\nX-Evil: 1", "token_type": "bearer"}'),
        (200, b'{"access_token": 5, "token_type": "bearer"}'),
        (200, b'{"access_token": "a", "token_type": "bearer", "expires_in": -1}'),
        (200, b'{"access_token": "a", "token_type": "bearer", "expires_in": "60"}'),
        (200, b'{"access_token": "a", "token_type": "bearer", "refresh_token": 1}'),
        (200, b"[" * 100_000),
        (302, b"{}"),
        (500, b"{}"),
        (400, b'{"error": "<script>"}'),
        (400, b'{"error": "invalid_request", "error_description": "you sent s3cr3t"}'),
    ],
)
def test_an_answer_that_is_none_is_refused_and_not_repeated(tmp_path: Path, status: int, body: bytes) -> None:
    async def go() -> None:
        async with answering(status, body) as url:
            credential = {"type": "oauth-client", "token_url": url, "client_id": CLIENT, "secret": "vault:client"}
            with a_stage_in_loop(tmp_path, credential) as stage:
                await vault.put(stage.house, "client", Secret(b"s3cr3t"), ["payments"], actor=WHO)
                with pytest.raises(UpstreamError) as caught:
                    await token(stage)
                shown = f"{caught.value} {caught.value.help}"
                assert "s3cr3t" not in shown
                assert "script" not in shown
                assert "X-Evil" not in shown
                await stage.house.aclose()

    asyncio.run(go())


@contextmanager
def a_stage_in_loop(folder: Path, credential: dict[str, Any]) -> Iterator[Stage]:
    """A house whose making and closing are left to the running event loop."""
    from charter.bootstrap import estate
    from charter.bootstrap.building import build
    from charter.config import Settings
    from fakes import FixedClock

    clock = FixedClock()
    house = build(Settings(estate=folder), clock=clock)
    found = estate.check_files(files(credential), clock)

    def work(tx: Any) -> None:
        from charter.registry import plan as planning
        from charter.registry.apply import apply

        made = planning.plan(found, tx.registry.registered(found))
        apply(
            made, found, tx, signer=house.ring.signer("charter"), entropy=house.entropy,
            trust_domain="charter.local", actor=WHO, reason="a test",
        )  # fmt: skip

    house.database.write(work)
    yield Stage(house, clock, None)  # type: ignore[arg-type] # nothing is called here


@given(
    st.dictionaries(
        st.sampled_from(["access_token", "token_type", "refresh_token", "scope", "expires_in"]),
        st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.lists(st.text(max_size=3), max_size=2),
    )
)
def test_any_object_is_a_token_response_or_none(said: dict[str, Any]) -> None:
    found = _answer(said)
    if found is not None:
        assert str(said["token_type"]).lower() == "bearer"
        assert found.access.reveal().decode("ascii").isprintable()
        assert 0 < found.seconds <= dt.timedelta(days=1).total_seconds()
