"""Identity assertions of the organisation's provider: its word, by its policy, lets a client act for a person."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from charter.bootstrap import authority
from charter.gateway.pipeline import Admitted, Refused
from charter.identity.asserted import GRANT_TYPE, TYPE
from charter.registry.directory import Person
from charter.registry.standing import Move
from delegations import MARIA
from identity_stage import ISSUER, PAYMENTS
from lending_stage import PURPOSE, Lending, a_lending_with
from oauth_door import Answer
from platforms import LocalIssuer, a_local_issuer


@pytest.fixture(scope="module")
def provider() -> Iterator[LocalIssuer]:
    with a_local_issuer() as issuer:
        yield issuer


@pytest.fixture
def lending(tmp_path: Path, provider: LocalIssuer) -> Iterator[Lending]:
    with a_lending_with(tmp_path, provider.address) as lending:
        yield lending


def an_assertion(lending: Lending, provider: LocalIssuer, name: str = "refund-agent", **changed: Any) -> str:
    """Return an assertion as the provider makes it, some claims changed."""
    now = int(lending.stage.clock.now().timestamp())
    claims = {
        "iss": provider.address,
        "aud": ISSUER,
        "sub": "00u1",
        "email": MARIA,
        "email_verified": True,
        "client_id": lending.id(name),
        "resource": PAYMENTS,
        "iat": now,
        "exp": now + 300,
        "jti": f"jag-{id(object())}-{now}",
    }
    header = changed.pop("header", {"typ": TYPE})
    return provider.sign({k: v for k, v in (claims | changed).items() if v is not None}, **header)


def ask(lending: Lending, assertion: str, name: str = "refund-agent", **form: str) -> Answer:
    given = {"grant_type": GRANT_TYPE, "assertion": assertion} | lending.client(name) | form
    return lending.door.post("/oauth/token", **{k: v for k, v in given.items() if v})


def test_an_assertion_obtains_a_token_that_stands_for_the_person(lending: Lending, provider: LocalIssuer) -> None:
    answer = ask(lending, an_assertion(lending, provider))
    assert answer.status == 200, answer.body
    assert "refresh_token" not in answer.body
    token = str(answer.body["access_token"])
    claims = lending.claims(token)
    assert claims["sub"] == MARIA
    assert claims["act"]["name"] == "refund-agent"
    assert claims["chain"]["purpose"] == PURPOSE
    assert isinstance(lending.call(token), Admitted)
    (made,) = lending.stage.entries("delegation.made")
    assert made["body"]["control_plane"] == provider.address
    assert made["body"]["door"] == "identity-provider"


def test_the_scope_that_the_provider_names_is_all_there_is(lending: Lending, provider: LocalIssuer) -> None:
    answer = ask(lending, an_assertion(lending, provider, scope="charge.read"))
    token = str(answer.body["access_token"])
    assert isinstance(lending.call(token), Admitted)
    assert isinstance(lending.refund(token), Refused)


def test_what_was_lent_by_assertion_is_withdrawn_like_anything_else(lending: Lending, provider: LocalIssuer) -> None:
    token = str(ask(lending, an_assertion(lending, provider)).body["access_token"])
    lending.withdraw(person=MARIA)
    assert lending.introspected("refund-agent", token) == {"active": False}


def test_the_metadata_names_the_profile(lending: Lending) -> None:
    told = lending.door.request("GET", "/.well-known/oauth-authorization-server").body
    assert GRANT_TYPE in told["grant_types_supported"]
    assert told["authorization_grant_profiles_supported"] == ["urn:ietf:params:oauth:grant-profile:id-jag"]


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"header": {"typ": "JWT"}}, "invalid_grant"),
        ({"header": {"typ": None}}, "invalid_grant"),
        ({"aud": "https://elsewhere.example"}, "invalid_grant"),
        ({"aud": [ISSUER, "https://elsewhere.example"]}, "invalid_grant"),
        ({"iss": "https://elsewhere.example"}, "invalid_grant"),
        ({"exp": 1}, "invalid_grant"),
        ({"jti": None}, "invalid_grant"),
        ({"jti": "a b"}, "invalid_grant"),
        ({"client_id": None}, "invalid_grant"),
        ({"client_id": "prn_nobody"}, "invalid_grant"),
        ({"client_id": 7}, "invalid_grant"),
        ({"email": None}, "invalid_grant"),
        ({"email": "nobody"}, "invalid_grant"),
        ({"email_verified": False}, "invalid_grant"),
        ({"email_verified": "true"}, "invalid_grant"),
        ({"resource": 7}, "invalid_grant"),
        ({"resource": f"{ISSUER}/mcp/elsewhere"}, "invalid_target"),
        ({"scope": "everything"}, "invalid_scope"),
        ({"scope": ["charge.read"]}, "invalid_grant"),
        ({"authorization_details": []}, "invalid_grant"),
    ],
)
def test_an_assertion_that_says_something_else_is_refused(
    lending: Lending, provider: LocalIssuer, changed: dict[str, Any], error: str
) -> None:
    answer = ask(lending, an_assertion(lending, provider, **changed))
    assert (answer.status, answer.body["error"]) == (400, error), answer.body
    assert lending.stage.entries("delegation.made") == []


def a_person(number: int, email: str, external_id: str) -> Person:
    body = {"userName": email, "externalId": external_id}
    return Person(f"psn_{number}", email, email, "Maria", external_id, True, body, "2026-11-24", "2026-11-24")


def test_the_directory_says_whom_a_subject_without_an_address_means(lending: Lending, provider: LocalIssuer) -> None:
    directory = lending.stage.house.live.directory
    directory.put_person(a_person(1, MARIA, "00u1"))
    answer = ask(lending, an_assertion(lending, provider, email=None))
    assert lending.claims(str(answer.body["access_token"]))["sub"] == MARIA

    directory.put_person(a_person(2, "mario@example.com", "00u1"))
    both = ask(lending, an_assertion(lending, provider, email=None))
    assert (both.status, both.body["error"]) == (400, "invalid_grant")
    assert "more than one person" in both.body["error_description"]

    directory.put_person(a_person(2, "mario@example.com", "00u2"))
    assert ask(lending, an_assertion(lending, provider, email=None)).status == 200
    directory.drop_person("psn_1")
    gone = ask(lending, an_assertion(lending, provider, email=None))
    assert (gone.status, gone.body["error"]) == (400, "invalid_grant")


def test_an_assertion_counts_once_and_for_its_client_alone(lending: Lending, provider: LocalIssuer) -> None:
    assertion = an_assertion(lending, provider)
    assert ask(lending, assertion, "triage-flow").body["error"] == "invalid_grant"
    assert ask(lending, assertion).status == 200
    assert ask(lending, assertion).body["error"] == "invalid_grant"
    other = an_assertion(lending, provider)
    assert ask(lending, other, resource=f"{ISSUER}/mcp/elsewhere").body["error"] == "invalid_target"


def test_charters_bound_what_a_provider_asserts(lending: Lending, provider: LocalIssuer) -> None:
    assertion = an_assertion(lending, provider, "charge-tool")  # it borrows from the agent, and from no person
    assert ask(lending, assertion, "charge-tool").body["error"] == "invalid_grant"
    purpose = ask(lending, an_assertion(lending, provider), purpose="something-else")
    assert purpose.body["error"] == "invalid_grant"


def test_nobody_who_proves_nothing_uses_an_assertion(lending: Lending, provider: LocalIssuer) -> None:
    form = {
        "grant_type": GRANT_TYPE,
        "assertion": an_assertion(lending, provider),
        "client_id": lending.id("refund-agent"),
    }
    assert lending.door.post("/oauth/token", **form).body["error"] == "invalid_client"


def test_no_assertion_helps_a_killed_client(lending: Lending, provider: LocalIssuer) -> None:
    assertion = an_assertion(lending, provider)
    lending.pair("refund-agent")
    house = lending.stage.house
    asyncio.run(authority.move(house, "refund-agent", Move.KILL, actor="test@example.com", reason="a test"))
    assert ask(lending, assertion).body["error"] in ("invalid_client", "unauthorized_client")
    assert lending.stage.entries("delegation.made") == []
