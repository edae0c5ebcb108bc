"""What must not get out through the forward proxy: under another name, to another place, as somebody else, any more."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
import sys
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charter.bootstrap import authority
from charter.bootstrap.tending import MISHOSTED, MISNAMED
from charter.cli.egress_relay import EgressRelay
from charter.core.errors import ErrorCode, UnavailableError
from charter.registry.standing import Move
from egress_stage import AGENT, Proxied, a_proxy, credentials, outcome, said


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    with a_proxy(tmp_path_factory.mktemp("egress")) as site:
        yield site


def dial(proxied: Proxied) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxied.port), timeout=20)


def ask(proxied: Proxied, text: str, *, token: str | None = None) -> bytes:
    """Return what the proxy answers to a request that ends at once."""
    own = credentials(token or proxied.token())
    with dial(proxied) as connection:
        connection.sendall(text.replace("AUTH", own).encode("latin-1"))
        connection.shutdown(socket.SHUT_WR)
        return said(connection)


def tunnel(proxied: Proxied, target: str) -> socket.socket:
    """Return an open tunnel."""
    connection = dial(proxied)
    connection.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{credentials(proxied.token())}\r\n".encode())
    answer = connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 200"), answer
    return connection


# --- under another name ---


@pytest.mark.parametrize("name", ["evil.example", "localhost.evil.example", None])
def test_a_tunnel_is_for_the_host_that_was_asked_for(proxied: Proxied, name: str | None) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    seen = len(proxied.secure.seen)
    with tunnel(proxied, f"localhost:{proxied.secure.port}") as raw, pytest.raises((ssl.SSLError, OSError)):
        context.wrap_socket(raw, server_hostname=name).sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert len(proxied.secure.seen) == seen
    outcome(proxied)
    (finding,) = proxied.stage.house.database.read(lambda tx: tx.registry.findings.of_kinds((MISNAMED,)))
    assert finding.principal_id == proxied.stage.house.principal(AGENT).id
    assert f"asked for `localhost:{proxied.secure.port}`" in finding.title
    opened = [each["body"] for each in proxied.stage.entries("finding.opened") if each["body"]["kind"] == MISNAMED]
    assert [each["finding"] for each in opened] == [finding.id]  # one, however many names are tried


def test_a_tunnel_holds_tls_and_nothing_else(proxied: Proxied) -> None:
    seen = len(proxied.clear.seen)
    with tunnel(proxied, f"localhost:{proxied.clear.port}") as raw:
        raw.sendall(b"GET /page.html HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert said(raw) == b""
    assert len(proxied.clear.seen) == seen


# --- to another place ---


@pytest.mark.parametrize(
    "target",
    [
        "127.0.0.1:PORT",
        "LOCALHOST.:PORT",
        "localhost.:PORT",
        "0x7f000001:PORT",
        "127.1:PORT",
        "2130706433:PORT",
        "[::ffff:127.0.0.1]:PORT",
        "user@localhost:PORT",
        "localhost:PORT:1",
        "localhost:0PORT",
        "localhost:",
        "localhost",
        "169.254.169.254:80",
        "localhost:PORT/",
    ],
)
def test_no_other_spelling_of_a_host_is_let_through(proxied: Proxied, target: str) -> None:
    target = target.replace("PORT", str(proxied.secure.port))
    answer = ask(proxied, f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nAUTH\r\n")
    assert answer.split(b" ")[1] in (b"400", b"403"), answer


def test_an_address_that_not_everyone_reaches_is_refused_unless_its_network_is_named(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with a_proxy(tmp_path_factory.mktemp("private"), private=[]) as proxied:
        target = f"localhost:{proxied.secure.port}"
        answer = ask(proxied, f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nAUTH\r\n")
        assert answer.startswith(b"HTTP/1.1 502")
        assert b"not everyone reaches" in answer


@pytest.mark.parametrize(
    "head",
    [
        "GET http://localhost:PORT/ HTTP/1.1\r\nHost: evil.example\r\nAUTH\r\n",
        "GET http://localhost:PORT/ HTTP/1.1\r\nHost: localhost:PORT\r\nHost: evil.example\r\nAUTH\r\n",
        "GET / HTTP/1.1\r\nHost: localhost:PORT\r\nAUTH\r\n",
        "GET https://localhost:PORT/ HTTP/1.1\r\nHost: localhost:PORT\r\nAUTH\r\n",
        "GET ftp://localhost/ HTTP/1.1\r\nHost: localhost\r\nAUTH\r\n",
        "GET http://user:pass@localhost:PORT/ HTTP/1.1\r\nHost: localhost:PORT\r\nAUTH\r\n",
        "GET http://localhost:PORT/\x01 HTTP/1.1\r\nHost: localhost:PORT\r\nAUTH\r\n",
        "CONNECT localhost:PORT HTTP/1.1\r\nHost: evil.example:PORT\r\nAUTH\r\n",
        "GET http://localhost:PORT/ HTTP/1.1\r\nHost: localhost:PORT\r\nAUTHAUTH\r\n",
        "POST http://localhost:PORT/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
)
def test_a_request_that_says_two_things_goes_nowhere(proxied: Proxied, head: str) -> None:
    seen = len(proxied.clear.seen)
    answer = ask(proxied, head.replace("PORT", str(proxied.clear.port)))
    assert answer.split(b" ")[1:2] in ([b"400"], []), answer
    assert len(proxied.clear.seen) == seen


def test_a_request_whose_host_is_another_than_its_target_is_a_finding(proxied: Proxied) -> None:
    """One, whatever is named: names are the client's, and nobody's screen is theirs."""
    for named in ("evil.example", "evil.example:1", "ev\xadilevil"):
        head = f"GET http://localhost:{proxied.clear.port}/ HTTP/1.1\r\nHost: {named}\r\nAUTH\r\n"
        assert ask(proxied, head).split(b" ")[1:2] in ([b"400"], [])
    ends = time.monotonic() + 10
    while not (found := proxied.stage.house.database.read(lambda tx: tx.registry.findings.of_kinds((MISHOSTED,)))):
        assert time.monotonic() < ends
        time.sleep(0.02)
    (finding,) = [each for each in found if f"asked the proxy for `localhost:{proxied.clear.port}`" in each.title]
    assert finding.principal_id == proxied.stage.house.principal(AGENT).id
    assert finding.title.isprintable()


def test_a_second_request_does_not_follow_the_first(proxied: Proxied) -> None:
    (proxied.clear.folder / "a.html").write_text("a", encoding="utf-8")
    one = (
        f"GET http://localhost:{proxied.clear.port}/a.html HTTP/1.1\r\nHost: localhost:{proxied.clear.port}\r\nAUTH\r\n"
    )
    seen = len(proxied.clear.seen)
    answer = ask(proxied, one + one.replace("a.html", "b.html"))
    assert answer.count(b"HTTP/1.1 ") == 1
    assert len(proxied.clear.seen) == seen + 1


def test_a_length_beside_chunks_is_not_passed_on(proxied: Proxied) -> None:
    head = f"POST http://localhost:{proxied.clear.port}/x HTTP/1.1\r\nHost: localhost:{proxied.clear.port}\r\nAUTH"
    body = "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"
    ask(proxied, head + body)
    assert not any("smuggled" in path for _, path, _, _ in proxied.clear.seen)


# --- as somebody else, any more ---


def test_nobody_gets_out_without_a_token_of_theirs_for_this(proxied: Proxied) -> None:
    target = f"localhost:{proxied.secure.port}"
    head = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"
    assert ask(proxied, head + "\r\n").startswith(b"HTTP/1.1 407")
    for value in ("Basic !!!", "Basic " + base64.b64encode(b"charter:x").decode(), "Digest x", "Bearer a.b.c", "Basic"):
        answer = ask(proxied, f"{head}Proxy-Authorization: {value}\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 407"), (value, answer)
        assert b"proxy-authenticate" in answer.lower()


def test_a_token_bound_to_a_key_is_no_password(proxied: Proxied) -> None:
    bound = str(asyncio.run(proxied.tokens.fetch(proxied.resource))["access_token"])
    target = f"localhost:{proxied.secure.port}"
    answer = ask(proxied, f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nAUTH\r\n", token=bound)
    assert answer.startswith(b"HTTP/1.1 407")


def test_a_tool_call_does_not_open_a_connection(proxied: Proxied) -> None:
    from charter.gateway.egress import Destination, tunnel_call

    call = tunnel_call("web", Destination("localhost", proxied.secure.port), "egr_guess")
    bearer = proxied.stage.bearer(AGENT)
    with pytest.raises(Exception, match="through the forward proxy"):
        proxied.stage.submit(bearer, call)


@pytest.mark.parametrize("size", [0, 1, 100, 40_000])
def test_what_is_no_request_is_answered_or_dropped(proxied: Proxied, size: int) -> None:
    with dial(proxied) as connection:
        connection.sendall(b"\x16\x03\x01" * size)
        connection.shutdown(socket.SHUT_WR)
        assert said(connection).split(b" ")[1:2] in ([], [b"400"])


def test_nothing_sent_breaks_it(proxied: Proxied) -> None:
    line = st.sampled_from(["CONNECT localhost:443 HTTP/1.1", "GET http://localhost/ HTTP/1.1", "GET / HTTP/1.0", ""])
    header = st.sampled_from(
        ["Host: localhost:443", "Proxy-Authorization: Basic eDp4", "Upgrade: h2c", "Expect: 100-continue"]
    )

    @settings(max_examples=60, suppress_health_check=list(HealthCheck))
    @given(line, st.lists(header | st.binary(max_size=40).map(lambda b: b.decode("latin-1")), max_size=5), st.binary())
    def attempt(first: str, headers: list[str], body: bytes) -> None:
        with dial(proxied) as connection:
            connection.sendall("\r\n".join([first, *headers, "", ""]).encode("latin-1") + body)
            connection.shutdown(socket.SHUT_WR)
            answer = said(connection)
        assert answer == b"" or answer.split(b" ")[1] in (b"400", b"407", b"429", b"431"), answer

    attempt()
    proxied.stage.clock.advance(seconds=120)  # so that failures are forgotten


def test_nothing_sent_to_the_proxy_of_charter_run_breaks_it(proxied: Proxied) -> None:
    async def go() -> None:
        async def nothing(_method: str, _resource: str, _url: str) -> dict[str, str]:
            raise UnavailableError(ErrorCode.NOT_RUNNING, "no Charter answers", help="start it")

        relay = EgressRelay(
            "http://127.0.0.1:9",
            proxied.url,
            proxied.resource,
            "secret",
            nothing,
            lambda _: None,
            lambda _: False,
            "a-run",
        )
        async with relay.serving() as address:
            port = int(address.rpartition(":")[2])
            own = "Proxy-Authorization: Basic " + base64.b64encode(b"charter:secret").decode()
            wrong = "CONNECT x:1 HTTP/1.1\r\nProxy-Authorization: Basic x\r\n\r\n"
            for text in ("", "\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", wrong):
                assert await _asked(port, text.encode()) in (b"", b"407")
            for line in (
                "CONNECT x:1 HTTP/1.1",
                "CONNECT \xff HTTP/1.1",
                "GET http://x/ HTTP/1.1",
                "x",
                "GET / HTTP/1.1",
            ):
                head = f"{line}\r\n{own}\r\n\r\n".encode("latin-1")
                assert await _asked(port, head) in (b"400", b"502", b"503")
            assert await _asked(port, b"A" * 100_000) in (b"", b"400")

    asyncio.run(go())


ASKS = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20) as asked:
    asked.sendall(b"CONNECT x:1 HTTP/1.1\\r\\n" + sys.argv[2].encode() + b"\\r\\n")
    print(asked.makefile("rb").readline().split()[1].decode())
"""


def test_without_its_password_only_what_charter_run_started_uses_its_proxy(proxied: Proxied) -> None:
    """Browsers leave the password out. Another program of the same user is told to give it, and so is a wrong one."""
    child: list[asyncio.subprocess.Process] = []

    async def nothing(_method: str, _resource: str, _url: str) -> dict[str, str]:
        raise UnavailableError(ErrorCode.NOT_RUNNING, "no Charter answers", help="start it")

    async def started(*words: str) -> tuple[str, bytes]:
        process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
        child.append(process)
        return words[0], (await process.communicate())[0].strip()

    async def go() -> None:
        relay = EgressRelay(
            "http://127.0.0.1:9", proxied.url, proxied.resource, "secret", nothing, print, bool, "a-run"
        )
        relay.started = lambda: child[-1].pid if child else None
        async with relay.serving() as address:
            port = address.rpartition(":")[2]
            asks = (sys.executable, "-c", ASKS, port)
            assert (await started(*asks, ""))[1] == b"400"  # let in, and then there is no Charter to be asked
            below = ("sh", "-c", '"$0" "$@"; true', *asks)
            assert (await started(*below, ""))[1] == b"400"
            assert (await started(*asks, "Proxy-Authorization: Basic x\r\n"))[1] == b"407"
            relay.started = lambda: child[0].pid  # which ended: whoever asks now is another's
            assert (await started(*asks, ""))[1] == b"407"

    asyncio.run(go())


async def _asked(port: int, data: bytes) -> bytes:
    """Return the status of what comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        writer.write_eof()
        found = await asyncio.wait_for(reader.read(), 20)
        return found.split(b" ")[1] if found else b""
    except ConnectionError:
        return b""
    finally:
        writer.close()


def test_a_kill_closes_tunnels_and_nothing_beside_them(tmp_path_factory: pytest.TempPathFactory) -> None:
    with a_proxy(tmp_path_factory.mktemp("killed")) as proxied:
        (proxied.secure.folder / "page.html").write_text("x", encoding="utf-8")
        context = ssl.create_default_context(cafile=str(proxied.secure.ca))
        raw = tunnel(proxied, f"localhost:{proxied.secure.port}")
        with context.wrap_socket(raw, server_hostname="localhost") as secure:
            secure.sendall(b"GET /page.html HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert secure.recv(4096).startswith(b"HTTP/1.1 200")
            killed = authority.move(proxied.stage.house, AGENT, Move.KILL, actor="op@example.com", reason="a drill")
            began = time.monotonic()
            asyncio.run(killed)
            rest = b""
            try:
                while data := secure.recv(4096):
                    rest += data
            except OSError:
                pass
            assert time.monotonic() - began < 15
        assert outcome(proxied)["outcome"] == "withdrawn"
