"""People sign in at their organisation's own provider, a certified one, in a real browser."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect, sync_playwright

from charter.adapters.document_fetch import DocumentFetcher
from charter.adapters.issuer_keys import IssuerKeys
from charter.adapters.oidc_provider import OidcProvider
from charter.bootstrap.desk import HouseDesk
from charter.console.pages import console_app
from charter.console.signin import SignIn
from charter.core.clock import SystemClock
from charter.core.entropy import SystemEntropy
from charter.core.values import Secret
from charter.identity.single_signon import SingleSignOn
from charter.lifecycle import directory as deeds
from charter.registry.directory import Person
from houses import House, a_house, estate_files
from serving import listening

PEERS = Path(__file__).parents[2] / ".venv-servers" / "npm-test"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
USERS = {
    "maria": {"email": "Maria@example.com", "email_verified": True, "groups": ["platform"]},
    "vera": {"email": "vera@example.com", "email_verified": True, "groups": ["everyone"]},
    "lee": {"email": "lee@example.com", "email_verified": True, "groups": ["everyone"]},
    "mallory": {"email": "maria@example.com", "email_verified": False, "groups": ["platform"]},
    "nobody": {"email": "nobody@example.com", "email_verified": True, "groups": []},
}
ACCESS = {"viewer": ["everyone"], "operator": ["Platform"]}


@contextmanager
def a_provider(redirect: str) -> Iterator[str]:
    node = shutil.which("node")
    assert node, "node is not installed: python3 tools/prepare.py test"
    script = Path(__file__).parents[1] / "openid_provider.mjs"
    command = [node, str(script), str(PEERS), redirect, json.dumps(USERS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        issuer = process.stdout.readline().strip()
        assert issuer, "the provider did not start: python3 tools/prepare.py test"
        yield issuer
        process.terminate()


class Site:
    def __init__(self, stage: House, origin: str, signin: SignIn) -> None:
        self.stage, self.origin, self.signin = stage, origin, signin


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    socket = uvicorn.Config("", port=0, log_level="error").bind_socket()
    origin = f"http://127.0.0.1:{socket.getsockname()[1]}"
    files = estate_files()
    files["teams.yaml"] = json.dumps(json.loads(files["teams.yaml"]) | {"access": ACCESS})
    callback = f"{origin}/sign-in/sso/callback"
    with a_house(tmp_path_factory.mktemp("house"), files=files) as stage, a_provider(callback) as issuer:
        clock = SystemClock()
        provider = OidcProvider(
            issuer=issuer,
            client_id="charter",
            secret=Secret(b"a-secret-of-charters-own"),
            redirect_uri=callback,
            label="Example Corp",
            groups_claim="groups",
            fetcher=DocumentFetcher(),
            keys=IssuerKeys(DocumentFetcher(), clock),
            clock=clock,
        )
        signin = SignIn(clock, SystemEntropy(), "op@example.com", issuer=origin)
        app = console_app(HouseDesk(stage.house), signin, SingleSignOn(provider, clock, SystemEntropy()))
        with listening(app, socket):
            yield Site(stage, origin, signin)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "Chromium is not installed: python3 tools/prepare.py test"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context()
    context.set_default_timeout(10_000)
    yield context.new_page()
    context.close()


def come_in(site: Site, page: Page, name: str) -> None:
    page.goto(f"{site.origin}/sign-in")
    page.get_by_role("link", name="Example Corp").click()
    page.locator('input[name="login"]').fill(name)
    page.locator('input[name="password"]').fill("any")
    page.get_by_role("button", name="Sign-in").click()
    page.get_by_role("button", name="Continue").click()


def signed_in(site: Site) -> list[tuple[object, object, object]]:
    entries = [e["body"] for e in site.stage.entries("operator.signed-in")]
    return [(body["person"], body["outcome"], body["access"]) for body in entries]


def test_a_person_comes_in_as_far_as_their_groups_let_them(site: Site, page: Page) -> None:
    come_in(site, page, "maria")
    expect(page.get_by_role("heading", level=1)).to_have_text("Inventory")
    expect(page.locator(".who")).to_have_text("maria@example.com")
    assert signed_in(site)[-1] == ("maria@example.com", "signed in", "operator")
    page.goto(f"{site.origin}/principals/charge-reader/restrain")
    page.get_by_label("Reason").fill("a look around")
    page.get_by_role("button", name="Restrain charge-reader").click()
    expect(page.locator("main")).to_contain_text("restrained")
    change = site.stage.entries("standing.changed")[-1]
    assert change["actor"] == "maria@example.com"


@pytest.mark.slow
def test_a_viewer_looks_and_changes_nothing(site: Site, page: Page) -> None:
    come_in(site, page, "vera")
    expect(page.get_by_role("heading", level=1)).to_have_text("Inventory")
    page.goto(f"{site.origin}/principals/refund-agent/suspend")
    page.get_by_label("Reason").fill("I would like to")
    page.get_by_role("button", name="Suspend refund-agent").click()
    expect(page.locator("main")).to_contain_text("This takes the access operator, and you have viewer")
    assert site.stage.house.principal("refund-agent").standing.value == "active"


def test_an_address_that_nobody_verified_is_nobodys(site: Site, page: Page) -> None:
    come_in(site, page, "mallory")
    expect(page.locator("main")).to_contain_text("did not verify the person's e-mail address")
    page.goto(site.origin)
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_whose_groups_give_no_access_stays_outside(site: Site, page: Page) -> None:
    come_in(site, page, "nobody")
    expect(page.locator("main")).to_contain_text("gives access to Charter")
    assert signed_in(site)[-1] == ("nobody@example.com", "refused", None)


def test_an_answer_that_another_browser_brings_opens_nothing(site: Site, page: Page) -> None:
    page.goto(f"{site.origin}/sign-in")
    page.get_by_role("link", name="Example Corp").click()
    page.locator('input[name="login"]').fill("vera")
    page.locator('input[name="password"]').fill("any")
    page.get_by_role("button", name="Sign-in").click()
    page.context.clear_cookies(name="charter-passing")  # as if the answer were slipped to somebody else
    page.get_by_role("button", name="Continue").click()
    expect(page.locator("main")).to_contain_text("begun in another browser")
    page.goto(site.origin)
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_an_answer_is_taken_once(site: Site, page: Page) -> None:
    callbacks: list[str] = []
    page.on("request", lambda request: callbacks.append(request.url) if "/callback" in request.url else None)
    come_in(site, page, "vera")
    expect(page.get_by_role("heading", level=1)).to_have_text("Inventory")
    page.goto(callbacks[0])
    expect(page.locator("main")).to_contain_text("Nobody here asked for this sign-in")


def test_whoever_leaves_is_signed_out_and_comes_in_no_more(site: Site, page: Page) -> None:
    at = "2026-11-24T09:30:00.000000Z"
    person = Person("psn_lee", "lee", "lee@example.com", "Lee", None, True, {}, at, at)
    site.stage.house.farewells.append(lambda left: site.signin.end_all_of(str(left.email)) and None)
    hand = site.stage.house.hand("okta")
    site.stage.house.database.write(lambda tx: deeds.add_person(tx, person, hand))
    come_in(site, page, "lee")
    expect(page.get_by_role("heading", level=1)).to_have_text("Inventory")
    site.stage.house.database.write(lambda tx: deeds.delete_person(tx, "psn_lee", hand))
    page.goto(site.origin)
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    page.get_by_role("link", name="Example Corp").click()  # the provider remembers them, and asks nothing
    expect(page.locator("main")).to_contain_text("nobody that the directory knows as active")
