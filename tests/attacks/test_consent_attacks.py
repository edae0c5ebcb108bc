"""What must fail where people lend to clients: stolen codes and tokens, other addresses, clients and sessions."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey

from charter.bootstrap import authority
from charter.registry.client_address import is_redirect_within, redirect_address
from charter.registry.standing import Move
from consent_stage import ASSISTANT, CALLBACK, Person, Site, a_site, sent

REFUSED = ("invalid_grant", "invalid_client", "unauthorized_client")
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with a_site(tmp_path_factory.mktemp("site")) as site:
        yield site


def error_of(answer: httpx.Response) -> str:
    assert answer.status_code in (400, 401), answer.text
    return str(answer.json()["error"])


def a_code(site: Site, client_id: str) -> str:
    return Person(site).consent(site.query(client_id))["code"]


# --- codes ---


def test_a_code_that_comes_twice_ends_what_it_stood_for(site: Site) -> None:
    client_id = site.client_id()
    code = a_code(site, client_id)
    first = site.redeem(client_id, code).json()
    assert site.call(first["access_token"]) == 200
    assert error_of(site.redeem(client_id, code)) == "invalid_grant"
    assert site.call(first["access_token"]) == 401
    assert error_of(site.refresh(client_id, first["refresh_token"])) == "invalid_grant"


@pytest.mark.parametrize(
    "changed",
    [
        {"code_verifier": None},
        {"code_verifier": "w" * 43},
        {"code_verifier": "v" * 42},
        {"code_verifier": "v" * 44},
        {"redirect_uri": None},
        {"redirect_uri": "http://127.0.0.1:43124/callback"},
        {"redirect_uri": "https://evil.example/callback"},
        {"resource": "https://elsewhere.example/mcp/payments"},
    ],
)
def test_a_stolen_code_opens_nothing_and_stays_good_for_its_owner(site: Site, changed: dict[str, str | None]) -> None:
    client_id = site.client_id()
    code = a_code(site, client_id)
    assert error_of(site.redeem(client_id, code, **changed)) in ("invalid_grant", "invalid_target")
    assert site.redeem(client_id, code).status_code == 200


@pytest.mark.parametrize("shown", ["none", "another's"])
def test_a_code_that_names_a_key_is_no_use_without_a_proof_by_it(site: Site, shown: str) -> None:
    own, others = ECKey.generate_key("P-256"), ECKey.generate_key("P-256")
    client_id = site.client_id()
    code = Person(site).consent(site.query(client_id, dpop_jkt=own.thumbprint()))["code"]
    stolen = site.redeem(client_id, code, key=None if shown == "none" else others)
    assert error_of(stolen) == "invalid_grant"
    assert "another key" in stolen.json()["error_description"]
    assert site.redeem(client_id, code, key=own).status_code == 200


def test_what_is_no_thumbprint_is_told_before_anyone_is_asked(site: Site) -> None:
    back = sent(Person(site).look(site.query(site.client_id(), dpop_jkt="x" * 42)))
    assert (back["error"], back["state"]) == ("invalid_request", "xyz")


def test_a_code_is_too_old_after_a_minute(site: Site) -> None:
    client_id = site.client_id()
    code = a_code(site, client_id)
    site.stage.clock.advance(seconds=61)
    assert error_of(site.redeem(client_id, code)) == "invalid_grant"


def test_a_code_is_no_use_to_a_client_of_another_principal(site: Site) -> None:
    code = a_code(site, site.client_id())
    for other in ("refund-agent", site.stage.house.principal("refund-agent").id, "dcl_nobody", ""):
        assert error_of(site.redeem(other, code)) in ("invalid_client", "invalid_request")


# --- refresh tokens ---


def test_a_refresh_token_in_two_hands_ends_the_family(site: Site) -> None:
    client_id, first = site.granted()
    second = site.refresh(client_id, first["refresh_token"]).json()
    assert error_of(site.refresh(client_id, first["refresh_token"])) == "invalid_grant"
    assert error_of(site.refresh(client_id, second["refresh_token"])) == "invalid_grant"
    assert site.call(second["access_token"]) == 401
    told = [entry["body"] for entry in site.stage.entries("delegation.withdrawn")]
    assert any("replaced" in str(body) for body in told)


def test_a_refresh_token_leads_to_no_other_system(site: Site) -> None:
    client_id, first = site.granted()
    elsewhere = f"{site.origin}/mcp/elsewhere"
    assert error_of(site.refresh(client_id, first["refresh_token"], resource=elsewhere)) == "invalid_target"
    assert site.refresh(client_id, first["refresh_token"]).status_code == 200


def test_a_revoked_refresh_token_takes_the_consent_along(site: Site) -> None:
    client_id, first = site.granted()
    given = {"client_id": client_id, "token": first["refresh_token"]}
    assert httpx.post(f"{site.origin}/oauth/revoke", data=given).status_code == 200
    assert site.call(first["access_token"]) == 401


def test_a_public_client_obtains_nothing_of_its_own(site: Site) -> None:
    client_id = site.client_id()
    for grant in ("client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"):
        assert error_of(site.token(grant_type=grant, client_id=client_id, resource=site.resource)) == "invalid_client"
    assert httpx.post(f"{site.origin}/oauth/introspect", data={"client_id": client_id, "token": "x"}).status_code == 401


# --- the person's browser ---


@pytest.mark.parametrize(
    "redirect",
    [
        "https://evil.example/callback",
        "http://127.0.0.1:43123/other",
        "http://127.0.0.1:43123/callback?next=x",
        "http://127.0.0.1:43123/callback#x",
        "http://127.0.0.1@evil.example/callback",
        "http://user@127.0.0.1:43123/callback",
        "http://127.0.0.1.evil.example/callback",
        "http://127.0.0.1:43123\\@evil.example/callback",
        "http://[::1]:43123/callback",
        "javascript:alert(1)",
        "data:text/html,x",
        "//evil.example/callback",
        "http://127.0.0.1:43123/callback\r\nlocation: https://evil.example",
    ],
)
def test_nobody_is_sent_to_an_address_that_is_not_the_clients(site: Site, redirect: str) -> None:
    page = Person(site).look(site.query(site.client_id(), redirect_uri=redirect))
    assert page.status_code in (400, 403, 404)
    assert "http-equiv" not in page.text
    assert "location" not in page.headers


@given(st.text(max_size=60))
def test_only_the_ports_of_loopback_addresses_vary(tail: str) -> None:
    known = "http://127.0.0.1/callback"
    asked = f"http://127.0.0.1{tail}"
    if is_redirect_within(asked, known):
        host = httpx.URL(asked)
        assert (host.scheme, host.host, host.path, host.query) == ("http", "127.0.0.1", "/callback", b"")
    try:
        taken = redirect_address(asked)
    except ValueError:
        return
    assert httpx.URL(taken).host.startswith("127.0.0.1")


@pytest.mark.parametrize(
    "changed", [{"code_challenge": None}, {"code_challenge_method": "plain"}, {"response_type": "token"}]
)
def test_a_request_without_its_proof_goes_back_with_an_error_and_the_issuer(
    site: Site, changed: dict[str, str | None]
) -> None:
    page = Person(site).look(site.query(site.client_id(), **changed))
    assert "error=" in page.text
    assert "iss=" in page.text
    assert "Yes" not in page.text


def test_one_person_cannot_answer_what_another_was_asked(site: Site) -> None:
    one, other = Person(site), Person(site, "alex@example.com")
    asked = one.look(site.query(site.client_id()))
    own = other.look(site.query(site.client_id()))
    name = re.search(r'name="name" value="([^"]+)"', asked.text)
    assert name
    assert other.answer(own, name=name[1]).status_code == 404


def test_an_answer_counts_once(site: Site) -> None:
    person = Person(site)
    asked = person.look(site.query(site.client_id()))
    assert "code=" in person.answer(asked).text
    assert person.answer(asked).status_code == 404


def test_a_form_from_elsewhere_lends_nothing(site: Site) -> None:
    person = Person(site)
    asked = person.look(site.query(site.client_id()))
    person.http.headers["origin"] = "https://evil.example"
    assert person.answer(asked).status_code == 403
    person.http.headers["origin"] = site.origin
    assert person.answer(asked, form_token="x").status_code == 403


def test_the_page_asking_cannot_be_framed(site: Site) -> None:
    page = Person(site).look(site.query(site.client_id()))
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]


def test_what_a_client_calls_itself_is_text(site: Site) -> None:
    answer = site.register(client_name="<script>alert(1)</script> your bank")
    page = Person(site).look(site.query(answer.json()["client_id"]))
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;alert(1)" in page.text


# --- registration ---


@pytest.mark.parametrize(
    "changed",
    [
        {"redirect_uris": ["https://evil.example/callback"]},
        {"redirect_uris": [CALLBACK, "https://evil.example/callback"]},
        {"redirect_uris": []},
        {"redirect_uris": "http://127.0.0.1/callback"},
        {"redirect_uris": [CALLBACK] * 51},
        {"redirect_uris": ["javascript:alert(1)"]},
        {"redirect_uris": None},
        {"client_name": "a\x00b"},
        {"client_name": "a" * 121},
        {"client_name": ["x"]},
        {"token_endpoint_auth_method": "client_secret_post"},
        {"grant_types": ["client_credentials"]},
        {"grant_types": "authorization_code"},
        {"grant_types": [["x"]]},
    ],
)
def test_a_registration_that_asks_for_more_is_refused(site: Site, changed: dict[str, Any]) -> None:
    assert error_of(site.register(**changed)) in (
        "invalid_redirect_uri",
        "invalid_client_metadata",
        "unauthorized_client",
    )


def test_where_no_charter_allows_it_nobody_registers(tmp_path: Path) -> None:
    with a_site(tmp_path, registration=None, client="https://desk.example/client.json") as site:
        assert site.register().status_code in (400, 403)


@settings(max_examples=30)
@given(
    st.dictionaries(
        st.sampled_from(["client_name", "redirect_uris", "grant_types", "token_endpoint_auth_method"]),
        st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=20), st.lists, max_leaves=5),
    )
)
def test_no_registration_fails_the_server(site: Site, said: dict[str, Any]) -> None:
    assert site.register(**said).status_code in (201, 400, 401, 403, 413, 429)


# --- standing ---


def test_no_consent_helps_a_killed_client(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        client_id, first = site.granted()
        code = a_code(site, client_id)
        wish = {"client_id": client_id, "resource": site.resource}
        device = httpx.post(f"{site.origin}/oauth/device", data=wish).json()
        person = Person(site)
        person.answer(person.http.get("/device", params={"code": device["user_code"]}))
        page = person.look(site.query(client_id))
        house = site.stage.house
        asyncio.run(authority.move(house, ASSISTANT, Move.KILL, actor="test@example.com", reason="a test"))
        assert site.call(first["access_token"]) == 401
        assert error_of(site.redeem(client_id, code)) in REFUSED
        assert error_of(site.refresh(client_id, first["refresh_token"])) in REFUSED
        poll = {"client_id": client_id, "device_code": device["device_code"], "grant_type": DEVICE}
        assert error_of(site.token(**poll)) in REFUSED
        assert "code=" not in person.answer(page).text
        assert "Yes, act as" not in person.look(site.query(client_id)).text


# --- devices ---


def test_a_device_code_is_no_use_to_another_and_none_can_be_guessed(site: Site) -> None:
    client_id = site.client_id()
    told = httpx.post(f"{site.origin}/oauth/device", data={"client_id": client_id, "resource": site.resource}).json()
    person = Person(site)
    person.answer(person.http.get("/device", params={"code": told["user_code"]}))
    for secret in (told["user_code"], "x", told["device_code"][:-1], told["device_code"] + "A"):
        poll = {"client_id": client_id, "device_code": secret, "grant_type": DEVICE}
        assert error_of(site.token(**poll)) == "expired_token"


def test_a_device_asks_in_vain_after_ten_minutes(site: Site) -> None:
    client_id = site.client_id()
    told = httpx.post(f"{site.origin}/oauth/device", data={"client_id": client_id, "resource": site.resource}).json()
    site.stage.clock.advance(seconds=601)
    assert "answer" not in Person(site).http.get("/device", params={"code": told["user_code"]}).text.split("<form")[0]
    poll = {"client_id": client_id, "device_code": told["device_code"], "grant_type": DEVICE}
    assert error_of(site.token(**poll)) == "expired_token"


def test_devices_that_ask_are_bounded(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        given = {"client_id": site.client_id(), "resource": site.resource}
        with httpx.Client(base_url=site.origin) as http:
            statuses = [http.post("/oauth/device", data=given).status_code for _ in range(260)]
    assert set(statuses[:200]) == {200}
    assert statuses[-1] in (400, 429, 503)
