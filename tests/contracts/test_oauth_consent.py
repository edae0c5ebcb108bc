"""People lend an assistant authority: by its browser request, its device's code, and as long as they want."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from mcp.client.auth import OAuthClientProvider, TokenStorage
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from playwright.sync_api import sync_playwright

from charter.bootstrap import delegation
from consent_stage import CALLBACK, Person, Site, a_site, claims_of, sent
from document_server import a_document_server

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with a_site(tmp_path) as site:
        yield site


def test_the_metadata_tells_of_the_flows(site: Site) -> None:
    told = httpx.get(f"{site.origin}/.well-known/oauth-authorization-server").json()
    assert told["response_types_supported"] == ["code"]
    assert told["code_challenge_methods_supported"] == ["S256"]
    assert told["authorization_response_iss_parameter_supported"] is True
    assert told["client_id_metadata_document_supported"] is True
    assert told["authorization_endpoint"] == f"{site.origin}/oauth/authorize"
    assert told["device_authorization_endpoint"] == f"{site.origin}/oauth/device"
    assert told["registration_endpoint"] == f"{site.origin}/oauth/register"
    wanted = {"authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"}
    assert wanted <= set(told["grant_types_supported"])
    assert "none" in told["token_endpoint_auth_methods_supported"]


def test_a_code_obtains_a_token_that_stands_for_the_person(site: Site) -> None:
    client_id = site.client_id()
    back = Person(site).consent(site.query(client_id))
    assert back["state"] == "xyz"
    assert back["iss"] == site.origin
    answer = site.redeem(client_id, back["code"])
    assert answer.status_code == 200, answer.text
    body = answer.json()
    claims = claims_of(body["access_token"])
    assert claims["sub"] == "lena@example.com"
    assert claims["act"]["name"] == "desk-assistant"
    assert claims["aud"] == site.resource
    assert site.call(body["access_token"]) == 200
    made = site.stage.entries("delegation.made")[-1]["body"]
    assert (made["lender"], made["borrower"], made["purpose"], made["door"]) == (
        "lena@example.com",
        "desk-assistant",
        "dispute-handling",
        "browser",
    )


def test_a_person_who_says_no_lends_nothing(site: Site) -> None:
    client_id = site.client_id()
    person = Person(site)
    back = sent(person.answer(person.look(site.query(client_id)), yes=False))
    assert (back["error"], back["state"], back["iss"]) == ("access_denied", "xyz", site.origin)
    assert site.stage.entries("delegation.made") == []


def test_a_refresh_token_is_replaced_at_every_use(site: Site) -> None:
    client_id, first = site.granted()
    second = site.refresh(client_id, first["refresh_token"])
    assert second.status_code == 200, second.text
    assert second.json()["refresh_token"] != first["refresh_token"]
    assert claims_of(second.json()["access_token"])["sub"] == "lena@example.com"
    third = site.refresh(client_id, second.json()["refresh_token"], resource=site.resource)
    assert third.status_code == 200


def test_a_token_under_a_consent_can_be_narrowed(site: Site) -> None:
    client_id, first = site.granted()
    details = [{"type": "charter_grant", "system": "payments", "actions": ["charge.read"], "objects": ["charge/ch_1"]}]
    answer = site.refresh(client_id, first["refresh_token"], authorization_details=json.dumps(details))
    assert answer.status_code == 200, answer.text
    assert answer.json()["authorization_details"] == details
    assert claims_of(answer.json()["access_token"])["authorization_details"] == details
    second = answer.json()["refresh_token"]
    wide = site.refresh(
        client_id, second, authorization_details=json.dumps([details[0] | {"actions": ["refund.create"]}])
    )
    assert (wide.status_code, wide.json()["error"]) == (400, "invalid_authorization_details")
    assert site.refresh(client_id, second).status_code == 200  # what was asked wrongly took nothing


def test_a_person_takes_back_what_they_lent(site: Site) -> None:
    client_id, first = site.granted()
    wanted = {"person": "lena@example.com"}
    asyncio.run(delegation.withdraw(site.stage.house, wanted, actor="lena@example.com", reason="enough"))
    assert site.call(first["access_token"]) == 401
    answer = site.refresh(client_id, first["refresh_token"])
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


def test_a_device_shows_a_code_and_its_person_says_yes(site: Site) -> None:
    client_id = site.client_id()
    asked = httpx.post(f"{site.origin}/oauth/device", data={"client_id": client_id, "resource": site.resource})
    assert asked.status_code == 200, asked.text
    told = asked.json()
    poll = {"client_id": client_id, "device_code": told["device_code"]}
    poll["grant_type"] = "urn:ietf:params:oauth:grant-type:device_code"
    assert site.token(**poll).json()["error"] == "authorization_pending"
    assert site.token(**poll).json()["error"] == "slow_down"
    person = Person(site)
    page = person.http.get("/device", params={"code": told["user_code"]})
    assert told["user_code"] in page.text
    assert "Done" in person.answer(page).text
    site.stage.clock.advance(seconds=6)
    answer = site.token(**poll)
    assert answer.status_code == 200, answer.text
    assert claims_of(answer.json()["access_token"])["sub"] == "lena@example.com"
    assert site.token(**poll).json()["error"] == "expired_token"
    assert site.refresh(client_id, answer.json()["refresh_token"]).status_code == 200


def test_a_device_whose_person_says_no_is_told_so(site: Site) -> None:
    client_id = site.client_id()
    told = httpx.post(f"{site.origin}/oauth/device", data={"client_id": client_id, "resource": site.resource}).json()
    person = Person(site)
    person.answer(person.http.get("/device", params={"code": told["user_code"]}), yes=False)
    poll = {"client_id": client_id, "device_code": told["device_code"]}
    answer = site.token(grant_type="urn:ietf:params:oauth:grant-type:device_code", **poll)
    assert answer.json()["error"] == "access_denied"


def test_a_client_goes_by_the_address_of_its_metadata(tmp_path: Path) -> None:
    documents: dict[str, Any] = {}
    with a_document_server(documents) as server:
        address = server.url("/client.json")
        documents["/client.json"] = {
            "client_id": address,
            "client_name": "Desk",
            "redirect_uris": [CALLBACK, "https://elsewhere.example/cb"],
            "token_endpoint_auth_method": "none",
        }
        with a_site(tmp_path, client=address, registration=None) as site:
            code = Person(site).consent(site.query(address))["code"]
            answer = site.redeem(address, code)
            assert answer.status_code == 200, answer.text
            assert claims_of(answer.json()["access_token"])["act"]["name"] == "desk-assistant"
            elsewhere = Person(site).look(site.query(address, redirect_uri="https://elsewhere.example/cb"))
            assert elsewhere.status_code == 400  # the document names it, the charter does not
            assert "is not one of" in elsewhere.text


def test_someone_who_is_not_signed_in_comes_back_to_the_request(site: Site) -> None:
    client_id = site.client_id()
    with httpx.Client(base_url=site.origin) as http:
        where = http.get("/oauth/authorize", params=site.query(client_id))
        assert (where.status_code, where.headers["location"]) == (303, "/sign-in")
        link = site.signin.link().removeprefix(site.origin)
        own = {"origin": site.origin, "sec-fetch-site": "same-origin"}
        done = http.post(link, headers=own | {"content-type": "application/x-www-form-urlencoded"})
        assert done.status_code == 303
        assert done.headers["location"].startswith("/oauth/authorize?")
        assert "Let <bdi>desk-assistant</bdi> act for you?" in http.get(done.headers["location"]).text


def test_a_link_from_elsewhere_asks_again_before_it_believes_nobody_is_signed_in(site: Site) -> None:
    foreign = {"sec-fetch-site": "cross-site"}
    page = httpx.get(f"{site.origin}/oauth/authorize", params={"client_id": "x"}, headers=foreign)
    assert page.status_code == 200
    assert "/oauth/authorize?client_id=x" in page.text


# --- the official MCP client, with a real browser ---


class Kept(TokenStorage):
    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


class Callback:
    """The client's own end on loopback, which the browser comes back to."""

    def __init__(self) -> None:
        self.query: dict[str, list[str]] = {}
        self.came = threading.Event()
        callback = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                if parts.path == "/callback":
                    callback.query = parse_qs(parts.query)
                    callback.came.set()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"You can close this page.")

            def log_message(self, *_: Any) -> None:
                return None

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/callback"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def in_chromium(site: Site, url: str) -> None:
    """Be the person: sign in by the link, come back to the request, say yes."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "Chromium is not installed: python3 tools/prepare.py test"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page = browser.new_page()
        page.goto(url)
        page.goto(site.signin.link())
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="Yes, act as").click()
        page.get_by_text("You can close this page.").wait_for(timeout=10_000)
        browser.close()


def test_the_official_mcp_client_registers_asks_the_person_and_works(site: Site) -> None:
    from mcp import Client

    callback, kept = Callback(), Kept()
    from mcp.client.auth.oauth2 import AuthorizationCodeResult

    async def redirect(url: str) -> None:
        await asyncio.to_thread(in_chromium, site, url)

    async def came_back() -> AuthorizationCodeResult:
        await asyncio.to_thread(callback.came.wait, 20)
        query = {name: values[0] for name, values in callback.query.items()}
        return AuthorizationCodeResult(code=query["code"], state=query.get("state"), iss=query.get("iss"))

    provider = OAuthClientProvider(
        server_url=site.resource,
        client_metadata=OAuthClientMetadata(
            client_name="Stock client", redirect_uris=[callback.address], token_endpoint_auth_method="none"
        ),
        storage=kept,
        redirect_handler=redirect,
        callback_handler=came_back,
    )

    async def work() -> None:
        import httpx2

        async with httpx2.AsyncClient(auth=provider, timeout=30) as http:
            transport = streamable_http_client(site.resource, http_client=http)
            async with Client(transport):
                return  # it has said hello by now; nobody answers behind this small house

    try:
        asyncio.run(work())
    finally:
        callback.close()
    assert kept.tokens is not None
    assert kept.tokens.refresh_token
    assert claims_of(kept.tokens.access_token)["sub"] == "op@example.com"
    assert site.call(kept.tokens.access_token) == 200
