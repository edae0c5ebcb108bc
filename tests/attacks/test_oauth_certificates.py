"""Certificates that lie: forged headers, other people's certificates, authorities of one's own, expired ones."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from certificates import Pair, a_certificate, an_authority
from charter.core.errors import ErrorCode, UnauthenticatedError
from charter.identity.bearer import Shown
from charter.identity.certificate import thumbprint_of_certificate
from charter.registry.charter import CredentialType
from charter.registry.declared import CERTIFICATE
from charter.registry.principal import ClientKey
from charter.registry.standing import Standing
from charter.registry.terms import Bearing, Terms
from charter.server.forwarded import Forwarded, parse_byte_sequence
from charter.server.gateway_http import CERTIFICATE as IN_SCOPE
from identity_stage import PAYMENTS, Stage, a_stage
from oauth_door import Answer, Door, a_door

NOW = dt.datetime(2026, 11, 24, 9, 30, tzinfo=dt.UTC)
NAME = "san_dns:refunds.example.com"
AGENT = "prn_refund-agent"
DNS = (x509.DNSName("refunds.example.com"),)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with a_stage(tmp_path) as found:
        found.show(
            replace(
                found.live.principals[AGENT],
                terms=Terms(CredentialType.MUTUAL_TLS, Bearing.BOUND, certificate=NAME),
            )
        )
        members = {"kty": CERTIFICATE, "name": NAME}
        found.live.put_key(ClientKey("crd_tls", AGENT, "declared-thumbprint", members, Standing.ACTIVE, NOW))
        yield found


@pytest.fixture(scope="module")
def ca() -> Pair:
    return an_authority(at=NOW, days=3650)


def door_of(stage: Stage, ca: Pair | None, shown: Pair | None = None) -> Door:
    door = a_door(stage, takes_certificates=True, client_authorities=(ca.certificate,) if ca else ())
    door.certificate = shown.der if shown else None
    return door


def ask(door: Door, client_id: str = AGENT, **more: str) -> Answer:
    form = {"grant_type": "client_credentials", "resource": PAYMENTS, "client_id": client_id}
    return door.post("/oauth/token", **form | more)


def test_the_right_certificate_gets_in(stage: Stage, ca: Pair) -> None:
    """Else the tests below would pass for a door that lets nobody in."""
    answer = ask(door_of(stage, ca, a_certificate(by=ca, names=DNS, at=NOW)))
    assert answer.status == 200, answer.body


LIES: dict[str, Any] = {
    "another name": lambda ca: a_certificate(by=ca, names=(x509.DNSName("other.example.com"),), at=NOW),
    "the name in the subject": lambda ca: a_certificate("refunds.example.com", by=ca, at=NOW),
    "a wildcard": lambda ca: a_certificate(by=ca, names=(x509.DNSName("*.example.com"),), at=NOW),
    "the name as another kind": lambda ca: a_certificate(
        by=ca, names=(x509.UniformResourceIdentifier("san_dns:refunds.example.com"),), at=NOW
    ),
    "a longer name": lambda ca: a_certificate(by=ca, names=(x509.DNSName("refunds.example.com.evil.example"),), at=NOW),
    "signed by itself": lambda _: a_certificate(names=DNS, at=NOW),
    "another authority": lambda _: a_certificate(by=an_authority("Evil CA", at=NOW), names=DNS, at=NOW),
    "an authority of the same name": lambda _: a_certificate(by=an_authority(at=NOW), names=DNS, at=NOW),
    "expired": lambda ca: a_certificate(by=ca, names=DNS, at=NOW - dt.timedelta(days=60)),
    "of tomorrow": lambda ca: a_certificate(by=ca, names=DNS, at=NOW + dt.timedelta(days=1)),
    "an authority itself": lambda ca: a_certificate(by=ca, names=DNS, at=NOW, ca=True),
    "issued by a client": lambda ca: a_certificate(by=a_certificate(by=ca, names=DNS, at=NOW), names=DNS, at=NOW),
    "garbage": lambda _: None,
}


@pytest.mark.parametrize("lie", LIES)
def test_a_certificate_that_lies_is_invalid_client(stage: Stage, ca: Pair, lie: str) -> None:
    door = door_of(stage, ca, LIES[lie](ca))
    if lie == "garbage":
        door.certificate = b"\x30\x82garbage"
    answer = ask(door)
    assert (answer.status, answer.body["error"]) == (401, "invalid_client")
    assert stage.entries("authentication") == []


def test_an_authority_of_a_clients_own_makes_it_nobody_else(stage: Stage, ca: Pair) -> None:
    """A registered certificate is accepted by the handshake; what it signs must still prove no name."""
    own = an_authority("ledger-agent", at=NOW)
    from charter.identity.certificate import read_certificate

    read = read_certificate(own.der)
    assert read.jwk is not None
    kept = base64.b64encode(own.der).decode()
    stage.live.put_key(
        ClientKey("crd_own", "prn_ledger-agent", str(read.key), read.jwk, Standing.ACTIVE, NOW, certificate=kept)
    )
    forged = a_certificate(by=own, names=DNS, at=NOW)
    assert ask(door_of(stage, ca, forged)).body["error"] == "invalid_client"
    assert ask(door_of(stage, ca, own)).body["error"] == "invalid_client"
    assert ask(door_of(stage, ca, own), "prn_ledger-agent").body["error"] == "invalid_target"  # that one is it itself


@pytest.mark.parametrize(
    "client_id",
    [
        "PRN_REFUND-AGENT",
        "prn_refund-agent ",
        " prn_refund-agent",
        "prn_refund\u2010agent",
        "\uff50rn_refund-agent",
        "prn_refund-agent\x00",
        "refund-agent",
        "spiffe://charter.local/production/agent/REFUND-AGENT",
        "spiffe://charter.local/production/agent/../agent/refund-agent",
        "spiffe://CHARTER.local/production/agent/refund-agent",
        "prn_refund-agent,prn_ledger-agent",
        "x" * 10_000,
    ],
)
def test_no_other_spelling_of_a_client_is_that_client(stage: Stage, ca: Pair, client_id: str) -> None:
    answer = ask(door_of(stage, ca, a_certificate(by=ca, names=DNS, at=NOW)), client_id)
    assert (answer.status, answer.body["error"]) == (401, "invalid_client")


def test_an_unknown_client_and_a_wrong_certificate_read_alike(stage: Stage, ca: Pair) -> None:
    shown = a_certificate(by=ca, names=(x509.DNSName("other.example.com"),), at=NOW)
    known, unknown = (ask(door_of(stage, ca, shown), who).body for who in (AGENT, "prn_nobody"))
    assert known == unknown


def test_without_a_trusted_authority_no_name_counts(stage: Stage, ca: Pair) -> None:
    answer = ask(door_of(stage, None, a_certificate(by=ca, names=DNS, at=NOW)))
    assert (answer.status, answer.body["error"]) == (401, "invalid_client")


def test_a_certificate_and_another_proof_at_once_are_one_too_many(stage: Stage, ca: Pair) -> None:
    door = door_of(stage, ca, a_certificate(by=ca, names=DNS, at=NOW))
    answer = ask(door, client_secret="chs_guess")
    assert (answer.status, answer.body["error"]) == (401, "invalid_client")


def test_a_revoked_name_is_unauthorized_client_and_its_tokens_are_dead(stage: Stage, ca: Pair) -> None:
    shown = a_certificate(by=ca, names=DNS, at=NOW)
    token = ask(door_of(stage, ca, shown)).body["access_token"]
    stage.live.put_key(replace(stage.live.keys["declared-thumbprint"], standing=Standing.REVOKED))
    answer = ask(door_of(stage, ca, shown))
    assert (answer.status, answer.body["error"]) == (401, "invalid_client")
    bearer = stage.tokens.read(token, at=NOW).bearer
    from charter.identity.authority import refusal

    assert refusal(stage.live, bearer, None, at=NOW) is not None


def test_a_token_bound_to_a_certificate_needs_that_one_and_no_proof(stage: Stage, ca: Pair) -> None:
    shown = a_certificate(by=ca, names=DNS, at=NOW)
    token = ask(door_of(stage, ca, shown)).body["access_token"]
    right = thumbprint_of_certificate(shown.der)
    stage.tokens.verify(token, audience=PAYMENTS, at=NOW, shown=Shown(None, right))
    for wrong in (Shown(), Shown(None, "x"), Shown(None, right[:-1]), Shown(right, None), Shown(right, right)):
        with pytest.raises(UnauthenticatedError) as caught:
            stage.tokens.verify(token, audience=PAYMENTS, at=NOW, shown=wrong)
        assert caught.value.code is ErrorCode.BAD_PROOF


@pytest.mark.parametrize(
    "cnf",
    [
        {"jkt": "a", "x5t#S256": "b"},
        {"x5t": "b"},
        {"x5t#S256": 1},
        {},
        "x5t#S256",
        ["x5t#S256"],
        {"jwk": {"kty": "EC"}},
    ],
)
def test_a_confirmation_that_is_not_exactly_one_key_makes_no_token(stage: Stage, cnf: object) -> None:
    now = int(NOW.timestamp())
    claims = {"iss": "http://127.0.0.1:8420", "sub": AGENT, "aud": PAYMENTS, "exp": now + 60, "iat": now, "jti": "t"}
    claims |= {"name": "x", "epoch": 0, "charter": {"version": 1, "digest": "d"}, "crd": "c", "cnf": cnf}
    with pytest.raises(UnauthenticatedError) as caught:
        stage.tokens.read(stage.tokens.sign(claims), at=NOW)
    assert caught.value.code is ErrorCode.BAD_TOKEN


# --- the header of a reverse proxy (RFC 9440) ---

PROXY = "10.0.0.5"


def through(door: Door, source: str, headers: Mapping[str, str]) -> Answer:
    """Send a token request through the reader of proxies' headers, from `source`."""
    door.source = source
    inner, door.app = door.app, Forwarded(door.app, (ipaddress.ip_network("10.0.0.0/24"),))  # type: ignore[assignment]  # an ASGI application
    form = {"grant_type": "client_credentials", "resource": PAYMENTS, "client_id": AGENT}
    given = {"content-type": "application/x-www-form-urlencoded"} | dict(headers)
    try:
        return asyncio.run(door.arequest("POST", "/oauth/token", urlencode(form).encode(), given))
    finally:
        door.app = inner


def header_of(pair: Pair) -> dict[str, str]:
    return {"client-cert": f":{base64.b64encode(pair.der).decode()}:"}


def test_a_trusted_proxys_word_counts(stage: Stage, ca: Pair) -> None:
    shown = a_certificate(by=ca, names=DNS, at=NOW)
    answer = through(door_of(stage, ca), PROXY, header_of(shown) | {"x-forwarded-for": "203.0.113.9, 10.0.0.6"})
    (entry,) = stage.entries("authentication")
    assert answer.status == 200
    assert entry["body"]["source"] == "203.0.113.9"
    assert entry["body"]["bound_to"] == thumbprint_of_certificate(shown.der)


@pytest.mark.parametrize("source", ["192.0.2.7", "10.0.1.5", "::1", "testclient", "10.0.0.5.evil.example"])
def test_a_forged_header_from_anyone_else_is_as_if_it_were_not_there(stage: Stage, ca: Pair, source: str) -> None:
    answer = through(door_of(stage, ca), source, header_of(a_certificate(by=ca, names=DNS, at=NOW)))
    assert (answer.status, answer.body["error"]) == (401, "invalid_client")
    assert "trusted proxy" in answer.body["error_description"]


def test_a_forged_address_is_not_believed(stage: Stage, ca: Pair) -> None:
    through(door_of(stage, ca), "192.0.2.7", {"x-forwarded-for": "203.0.113.9"})
    (draft,) = stage.failures.drain(early=True)
    assert [worst["source"] for worst in draft.body["worst"]] == ["192.0.2.7"]


def test_what_a_client_wrote_before_the_proxy_counts_for_nothing(stage: Stage, ca: Pair) -> None:
    through(door_of(stage, ca), PROXY, {"x-forwarded-for": "127.0.0.1, 198.51.100.4"})
    (draft,) = stage.failures.drain(early=True)
    assert [worst["source"] for worst in draft.body["worst"]] == ["198.51.100.4"]


@pytest.mark.parametrize("value", ["", ":", "::", ":!:", "AAAA", ":AAAA", ":AA:AA:", f":{'A' * 60_000}:"])
def test_a_trusted_proxys_nonsense_is_no_certificate(stage: Stage, ca: Pair, value: str) -> None:
    answer = through(door_of(stage, ca), PROXY, {"client-cert": value})
    assert answer.status in (401, 431)
    assert answer.body["error"] in ("invalid_client", "invalid_request")


def test_two_certificates_in_one_request_are_refused(stage: Stage, ca: Pair) -> None:
    door = door_of(stage, ca)
    value = header_of(a_certificate(by=ca, names=DNS, at=NOW))["client-cert"].encode()
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/oauth/token",
        "query_string": b"",
        "headers": [(b"client-cert", value), (b"client-cert", value)],
        "client": (PROXY, 1),
    }
    app = Forwarded(door.app, (ipaddress.ip_network(PROXY),))
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 400
    assert IN_SCOPE not in scope.get("extensions", {})  # type: ignore[operator]  # the scope is of our own making


@given(st.binary(max_size=300))
def test_a_byte_sequence_is_read_as_it_was_written(data: bytes) -> None:
    assert parse_byte_sequence(b":" + base64.b64encode(data) + b":") == (data or None)


@given(st.binary(max_size=300))
def test_any_header_value_is_bytes_or_nothing(value: bytes) -> None:
    found = parse_byte_sequence(value)
    assert found is None or isinstance(found, bytes)
