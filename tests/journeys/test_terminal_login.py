"""A terminal on another machine: a person says yes to it in the console, and it goes as far as they may."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from playwright.sync_api import expect, sync_playwright

from charter.console.signin import SignIn
from charter.core.clock import SystemClock
from charter.core.entropy import SystemEntropy
from charter.registry.access import Access
from charter.server.app import public_app
from houses import House, a_house, estate_files
from serving import listening

CHARTER = Path(sys.executable).with_name("charter")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
DONE, NOT_ALLOWED, BAD = 0, 3, 2


class Site:
    def __init__(self, stage: House, signin: SignIn, home: Path) -> None:
        self.stage, self.signin, self.home = stage, signin, home

    @property
    def origin(self) -> str:
        return self.signin.address.origin

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CHARTER_")}
        return kept | {"CHARTER_KEYS": str(self.home / "charter" / "keys"), "CHARTER_SERVER": self.origin}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [str(CHARTER), *words]
        return subprocess.run(
            command, capture_output=True, text=True, env=self.environment(), timeout=60, check=False, cwd=self.home
        )

    def keep_login(self, access: Access, person: str = "vera@example.com") -> str:
        """Sign the terminal in without a browser, as the page does."""
        token = self.signin.open(person, access, is_terminal=True)
        file = self.home / "charter" / "logins.json"
        file.parent.mkdir(mode=0o700, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(json.dumps({self.origin: token}))
        return token


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    socket = uvicorn.Config("", port=0, log_level="error").bind_socket()
    port = socket.getsockname()[1]
    origin = f"http://127.0.0.1:{port}"
    home = tmp_path / "home"
    home.mkdir()
    with a_house(tmp_path, files=estate_files(), public_url=origin, port=port) as stage:
        signin = SignIn(SystemClock(), SystemEntropy(), "op@example.com", issuer=origin)
        with listening(public_app(stage.house, signin), socket):
            yield Site(stage, signin, home)


@pytest.mark.slow
def test_a_person_says_yes_in_the_console_and_the_terminal_acts_as_them(site: Site) -> None:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "Chromium is not installed: python3 tools/prepare.py test"
    command = [str(CHARTER), "login"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=site.environment(), cwd=site.home
    ) as login:
        assert login.stderr is not None
        code, url = told(login.stderr)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
            page = browser.new_page()
            page.goto(site.signin.link())
            page.get_by_role("button", name="Sign in").click()
            page.goto(url)
            expect(page.locator("main")).to_contain_text(code)
            expect(page.locator("main")).to_contain_text("op@example.com")
            page.get_by_role("button", name="Yes, it is mine").click()
            expect(page.get_by_role("heading", level=1)).to_have_text("Signed in")
            browser.close()
        assert login.wait(30) == DONE
    listed = site.run("ls", "--json")
    assert [p["name"] for p in json.loads(listed.stdout)["principals"]] == ["charge-reader", "refund-agent"]
    assert site.run("restrain", "charge-reader", "--reason", "from afar").returncode == DONE
    assert site.stage.entries("standing.changed")[-1]["actor"] == "op@example.com"
    assert [e["body"]["door"] for e in site.stage.entries("operator.signed-in")] == ["console", "terminal"]
    assert oct((site.home / "charter" / "logins.json").stat().st_mode & 0o777) == "0o600"
    assert site.run("logout").returncode == DONE
    assert site.run("ls").returncode == NOT_ALLOWED


def told(stream: Any) -> tuple[str, str]:
    text = ""
    while "/terminal?code=" not in text or not text.endswith("\n"):
        text += stream.readline()
    code = re.search(r"code ([A-Z]{4}-[A-Z]{4})", text)
    url = re.search(r"http\S+/terminal\?code=\S+", text)
    assert code, text
    assert url, text
    return code[1], url[0]


@pytest.mark.slow
def test_a_viewers_terminal_looks_and_changes_nothing(site: Site) -> None:
    site.keep_login(Access.VIEWER)
    assert site.run("show", "refund-agent", "--json").returncode == DONE
    answer = site.run("kill", "refund-agent", "--reason", "no")
    assert answer.returncode == NOT_ALLOWED, answer.stderr
    assert "takes the access `operator`" in answer.stderr
    assert site.stage.house.principal("refund-agent").standing.value == "active"


def test_whoever_left_has_no_terminal_any_more(site: Site) -> None:
    site.keep_login(Access.ADMIN)
    assert site.run("ls").returncode == DONE
    site.signin.end_all_of("VERA@example.com")
    answer = site.run("ls")
    assert answer.returncode == NOT_ALLOWED
    assert "charter login" in answer.stderr


# --- what must fail ---


def ask(site: Site, method: str, path: str, token: str, **more: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"} | more.pop("headers", {})
    return httpx.request(method, site.origin + path, headers=headers, timeout=30, **more)


def test_nobody_acts_in_another_name(site: Site) -> None:
    token = site.keep_login(Access.ADMIN)
    body = {"move": "suspend", "actor": "sam@example.com", "reason": "not me"}
    answer = ask(site, "POST", "/v1/principals/refund-agent/move", token, json=body)
    assert (answer.status_code, answer.json()["code"]) == (403, "policy_denied")
    twice = b'{"move": "suspend", "actor": "vera@example.com", "actor": "sam@example.com", "reason": "x"}'
    kind = {"content-type": "application/json"}
    assert ask(site, "POST", "/v1/principals/refund-agent/move", token, content=twice, headers=kind).status_code == 400
    form = {"content-type": "text/plain"}
    assert ask(site, "POST", "/v1/principals/refund-agent/move", token, content=twice, headers=form).status_code == 415
    assert site.stage.house.principal("refund-agent").standing.value == "active"
    body["actor"] = "VERA@example.com"
    assert ask(site, "POST", "/v1/principals/refund-agent/move", token, json=body).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/console/link"), ("POST", "/v1/evidence/export"), ("POST", "/v1/keys/rotate/master")],
)
def test_what_means_charters_own_machine_cannot_be_asked_from_elsewhere(site: Site, method: str, path: str) -> None:
    token = site.keep_login(Access.ADMIN)
    assert ask(site, method, path, token, json={}).status_code == 403


def test_what_nobody_listed_takes_the_most(site: Site) -> None:
    token = site.keep_login(Access.OPERATOR)
    for path in ("/v1/apply", "/v1/keys/rotate", "/v1/people/provisioners", "/v1/anything"):
        assert ask(site, "POST", path, token, json={}).status_code == 403


def test_a_browsers_session_is_no_terminals_and_the_other_way_round(site: Site) -> None:
    terminal = site.keep_login(Access.ADMIN)
    browser = site.signin.open("vera@example.com", Access.ADMIN)
    assert ask(site, "GET", "/v1/principals", browser).status_code == 401
    cookie = {"cookie": f"{site.signin.address.cookie}={terminal}"}
    page = httpx.get(site.origin, headers=cookie, follow_redirects=False)
    assert (page.status_code, page.headers["location"]) == (303, "/sign-in")
    for more in ({"cookie": "a=b"}, {"origin": "https://evil.example"}, {"origin": site.origin}):
        assert ask(site, "GET", "/v1/principals", terminal, headers=more).status_code == 403


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer x", "Basic abc", "Bearer " + "a" * 5000])
def test_strangers_are_told_nothing(site: Site, given: str) -> None:
    answer = httpx.get(f"{site.origin}/v1/principals", headers={"authorization": given} if given else {})
    assert answer.status_code == 401
    assert "refund" not in answer.text


def test_a_code_alone_is_worth_nothing(site: Site) -> None:
    own = {"content-type": "application/x-www-form-urlencoded", "origin": site.origin, "sec-fetch-site": "same-origin"}
    asked = httpx.post(f"{site.origin}/sign-in/terminal", data={"machine": "laptop"}, headers=own).json()
    collected = httpx.post(f"{site.origin}/sign-in/terminal/collect", data={"secret": asked["code"]}, headers=own)
    assert collected.status_code == 404
    waiting = httpx.post(f"{site.origin}/sign-in/terminal/collect", data={"secret": asked["secret"]}, headers=own)
    assert waiting.json() == {"session": None}
    page = httpx.get(asked["url"], follow_redirects=False)
    assert (page.status_code, page.headers["location"]) == (303, "/sign-in")


def test_terminals_that_ask_are_few(site: Site) -> None:
    own = {"content-type": "application/x-www-form-urlencoded", "origin": site.origin, "sec-fetch-site": "same-origin"}

    async def all_at_once() -> set[int]:
        async with httpx.AsyncClient(headers=own) as client:
            asks = (client.post(f"{site.origin}/sign-in/terminal", data={"machine": "x"}) for _ in range(80))
            return {answer.status_code for answer in await asyncio.gather(*asks)}

    assert asyncio.run(all_at_once()) == {200, 429}


def test_a_login_file_that_others_could_read_is_refused(site: Site) -> None:
    site.keep_login(Access.ADMIN)
    (site.home / "charter" / "logins.json").chmod(0o644)
    answer = site.run("ls")
    assert answer.returncode == 7
    assert "others can read or write" in answer.stderr


def test_only_https_or_this_machine_is_signed_in_at(site: Site) -> None:
    answer = site.run("login", "http://charter.example")
    assert answer.returncode == BAD
    assert "neither https nor on this machine" in answer.stderr
