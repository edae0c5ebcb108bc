"""Destinations and TLS handshakes are read strictly, and alike however they come."""

from __future__ import annotations

import contextlib
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from charter.core.errors import MalformedError
from charter.gateway.egress import Destination, parse_absolute, parse_destination, read_client_hello
from charter.registry.system import System


def hello(name: str | None) -> bytes:
    """Return the first bytes of a real TLS client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.check_hostname = False
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("pypi.org:443", "pypi.org", 443),
        ("PyPI.org:443", "pypi.org", 443),
        ("a_b.example:1", "a_b.example", 1),
        ("93.184.216.34:80", "93.184.216.34", 80),
        ("[2606:2800::1]:443", "2606:2800::1", 443),
        ("localhost:65535", "localhost", 65_535),
    ],
)
def test_a_destination_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    found = parse_destination(text)
    assert found == Destination(host, port)
    assert parse_destination(found.authority) == found


WRONG = [
    ":443",
    "x:",
    "x:0",
    "x:65536",
    "x:+1",
    "x:0443",
    "x:443:1",
    "-x:1",
    "x-:1",
    "x..y:1",
    ".x:1",
    "x.:1",
    "1.2.3:1",
    "0x7f.1:1",
    "127.1:1",
    "0177.0.0.1:1",
    "2130706433:1",
    "[127.0.0.1]:1",
    "[::1:1",
    "::1:1",
    "[::1]x:1",
    "[0:0:0:0:0:0:0:1]:1",
    "[::ffff:1.2.3.4]:1",
    "[fe80::1%eth0]:1",
    "a/b:1",
    "a@b:1",
    "*:1",
    "a%2e:1",
    "bücher.example:1",
    "\uff45vil.example:1",
]


@pytest.mark.parametrize("text", [*WRONG, "", "a b:1", "x\r\ny:1", "x" * 64 + ":1"])
def test_what_two_could_read_in_two_ways_is_no_destination(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_destination(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://a.example", ("a.example:80", "/")),
        ("http://a.example:8080/x?y=1", ("a.example:8080", "/x?y=1")),
        ("http://a.example?y", ("a.example:80", "/?y")),
    ],
)
def test_a_request_in_the_clear_has_a_destination_and_a_path(text: str, expected: tuple[str, str]) -> None:
    to, path = parse_absolute(text, "GET")
    assert (to.authority, path) == expected


@pytest.mark.parametrize(
    "text",
    ["/x", "https://a.example/", "http:///x", "http://a@b/", "http://a.example/#x", "http://a.example/ x", "*", ""],
)
def test_other_requests_are_none(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_absolute(text, "GET")


@pytest.mark.parametrize("name", ["pypi.org", "a" * 60 + ".example", "xn--bcher-kva.example"])
def test_the_name_of_a_handshake_is_found_wherever_its_bytes_are_cut(name: str) -> None:
    data = hello(name)
    assert read_client_hello(data) == name
    for cut in range(len(data)):
        assert read_client_hello(data[:cut]) is None
    body = data[5:]
    records = b"".join(b"\x16\x03\x01" + len(part).to_bytes(2) + part for part in (body[:7], body[7:90], body[90:]))
    assert read_client_hello(records) == name


def test_a_client_that_names_nobody_names_nobody() -> None:
    assert read_client_hello(hello(None)) == ""


def test_two_names_are_too_many() -> None:
    data = bytearray(hello("aa.example"))
    at = data.index(b"aa.example")
    data[at - 2 : at] = (3).to_bytes(2)  # one of three letters, and what follows is another
    with pytest.raises(MalformedError):
        read_client_hello(bytes(data))


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n", b"\x15\x03\x01\0\2\2\x28", b"SSH-2.0-x\r\n", b"\x16\2\1\0\5hello"]
)
def test_what_is_no_handshake_is_told_from_its_first_bytes(data: bytes) -> None:
    with pytest.raises(MalformedError, match="no TLS handshake"):
        read_client_hello(data)


@given(st.binary(max_size=300))
def test_no_bytes_break_it(data: bytes) -> None:
    for whole in (data, b"\x16\x03\x01" + len(data).to_bytes(2) + data):
        try:
            found = read_client_hello(whole)
        except MalformedError:
            continue
        assert found is None or isinstance(found, str)


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_handshake_with_a_byte_changed_is_read_or_refused(at: int, value: int) -> None:
    data = bytearray(HELLO)
    data[at % len(data)] = value
    with contextlib.suppress(MalformedError):
        read_client_hello(bytes(data))


HELLO = hello("pypi.org")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"actions": {"get": {"effect": "read"}}}, "tunnel and request"),
        ({"actions": {"tunnel": {"effect": "read", "object": "{host}"}}}, "the object of such an action"),
        ({"egress": {"private": ["10.0.0.1/8"]}}, "is no network"),
        ({"egress": {"plain": [0]}}, "greater than"),
        ({"kind": "http", "actions": {}}, "says what holds"),
        ({"upstream": {"transport": "http", "url": "https://a.example"}}, "through Charter's proxy"),
    ],
)
def test_a_system_that_cannot_be_is_refused(changed: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        System.model_validate(WEB | changed)


WEB = {
    "charter": "v1",
    "system": "web",
    "kind": "egress",
    "environment": "production",
    "owner": {"person": "pia@example.com", "team": "platform"},
    "egress": {"plain": [22]},
    "actions": {"tunnel": {"effect": "write"}, "request": {"effect": "write"}},
}


def test_a_systems_actions_are_filled_in() -> None:
    found = System.model_validate(WEB)
    assert {(a.tool, a.object) for a in found.actions.values()} == {
        ("tunnel", "{host}:{port}"),
        ("request", "{host}:{port}"),
    }
    assert not found.has_pins
