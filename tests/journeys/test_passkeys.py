"""The local operator signs in with a passkey, in a real browser with a virtual authenticator."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import BrowserContext, CDPSession, Page, expect, sync_playwright

from charter.bootstrap.desk import HouseDesk
from charter.console.challenges import Challenges
from charter.console.pages import console_app
from charter.console.signin import SignIn
from charter.core.clock import SystemClock
from charter.core.entropy import SystemEntropy
from charter.core.errors import CharterError, UnauthenticatedError
from charter.identity.passkey import challenge_in
from fakes import FixedClock
from houses import House, a_house
from serving import listening

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
KIND = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
}


class Site:
    def __init__(self, stage: House, signin: SignIn, port: int) -> None:
        self.stage, self.signin, self.origin = stage, signin, f"http://localhost:{port}"

    def link(self) -> str:
        return self.signin.link().replace("127.0.0.1", "localhost")

    def told(self) -> list[str]:
        return [entry["body"]["what"] for entry in self.stage.entries("passkey.changed")]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    socket = uvicorn.Config("", port=0, log_level="error").bind_socket()
    port = socket.getsockname()[1]
    with a_house(tmp_path) as stage:
        signin = SignIn(SystemClock(), SystemEntropy(), "op@example.com", issuer=f"http://127.0.0.1:{port}")
        with listening(console_app(HouseDesk(stage.house), signin), socket):
            yield Site(stage, signin, port)


@pytest.fixture
def context() -> Iterator[BrowserContext]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "Chromium is not installed: python3 tools/prepare.py test"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        made = browser.new_context()
        made.set_default_timeout(10_000)
        yield made
        browser.close()


def a_device(context: BrowserContext, page: Page) -> tuple[CDPSession, str]:
    wire = context.new_cdp_session(page)
    wire.send("WebAuthn.enable")
    made = wire.send("WebAuthn.addVirtualAuthenticator", {"options": KIND})
    return wire, str(made["authenticatorId"])


def come_in_by_link(site: Site, page: Page) -> None:
    page.goto(site.link())
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Inventory")


def add(site: Site, page: Page, name: str = "my laptop") -> None:
    page.goto(f"{site.origin}/passkeys")
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_role("heading", level=2)).to_contain_text(name)


def come_in_by_passkey(site: Site, page: Page) -> None:
    page.goto(f"{site.origin}/sign-in")
    page.get_by_role("button", name="Use a passkey").click()


def test_a_passkey_is_added_used_and_removed(site: Site, context: BrowserContext) -> None:
    page = context.new_page()
    a_device(context, page)
    come_in_by_link(site, page)
    add(site, page)
    page.get_by_role("button", name="Sign out").click()
    come_in_by_passkey(site, page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Inventory")
    expect(page.locator(".who")).to_have_text("op@example.com")
    doors = [entry["body"]["door"] for entry in site.stage.entries("operator.signed-in")]
    assert doors == ["console", "console, by passkey"]
    page.goto(f"{site.origin}/passkeys")
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("heading", level=2)).to_contain_text("revoked")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    expect(page.get_by_role("button", name="Use a passkey")).to_have_count(0)
    assert site.told() == ["added", "removed"]


@pytest.mark.slow
def test_a_copied_passkey_is_noticed_and_revoked(site: Site, context: BrowserContext) -> None:
    page = context.new_page()
    wire, device = a_device(context, page)
    come_in_by_link(site, page)
    add(site, page)
    page.get_by_role("button", name="Sign out").click()
    come_in_by_passkey(site, page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Inventory")
    held: dict[str, Any] = wire.send("WebAuthn.getCredentials", {"authenticatorId": device})["credentials"][0]
    wire.send("WebAuthn.removeCredential", {"authenticatorId": device, "credentialId": held["credentialId"]})
    copy = held | {"signCount": 0}
    wire.send("WebAuthn.addCredential", {"authenticatorId": device, "credential": copy})
    page.get_by_role("button", name="Sign out").click()
    come_in_by_passkey(site, page)
    expect(page.locator("main")).to_contain_text("This passkey opens nothing here")
    assert site.told() == ["added", "revoked: a copy of it was used"]


@pytest.mark.slow
def test_a_device_that_did_not_verify_its_user_opens_nothing(site: Site, context: BrowserContext) -> None:
    page = context.new_page()
    wire, device = a_device(context, page)
    come_in_by_link(site, page)
    add(site, page)
    page.get_by_role("button", name="Sign out").click()
    wire.send("WebAuthn.setUserVerified", {"authenticatorId": device, "isUserVerified": False})
    come_in_by_passkey(site, page)
    expect(page.locator("[data-said]")).to_contain_text("The device said no")
    page.goto(site.origin)
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_an_answer_is_taken_once_and_for_its_own_ceremony(site: Site, context: BrowserContext) -> None:
    page = context.new_page()
    a_device(context, page)
    come_in_by_link(site, page)
    add(site, page)
    page.get_by_role("button", name="Sign out").click()
    forms: list[str] = []
    page.on("request", lambda r: forms.append(r.post_data or "") if r.url.endswith("/sign-in/passkey") else None)
    come_in_by_passkey(site, page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Inventory")
    page.get_by_role("button", name="Sign out").click()
    again = page.evaluate(
        "body => fetch('/sign-in/passkey', {method: 'POST', body: new URLSearchParams(body)}).then(a => a.status)",
        forms[0],
    )
    assert again == 403


# --- rules ---


def test_challenges_are_taken_once_in_time_and_for_what_they_were_made() -> None:
    clock = FixedClock()
    challenges = Challenges(clock, SystemEntropy())
    one, two, three = (challenges.make("a") for _ in range(3))
    assert challenges.take(one, "a") == one
    for wrong, purpose in ((one, "a"), (two, "b"), (b"x", "a")):
        with pytest.raises(UnauthenticatedError):
            challenges.take(wrong, purpose)
    clock.advance(minutes=5)
    with pytest.raises(UnauthenticatedError):
        challenges.take(three, "a")


@given(st.text(max_size=60) | st.dictionaries(st.text(max_size=9), st.text(max_size=9)).map(json.dumps))
def test_any_text_is_an_answer_or_a_clear_refusal(text: str) -> None:
    with pytest.raises(CharterError, match="cannot be read"):
        challenge_in(text)
