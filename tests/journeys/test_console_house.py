"""The console of a running Charter in real Chromium: what it shows and does is what the terminal says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from terminal import Terminal

READ = {"system": "notes", "tool": "read_note", "arguments": {"id": "welcome"}}
DROP = {"system": "notes", "tool": "drop_note", "arguments": {"id": "welcome"}}
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "Chromium is not installed: python3 tools/prepare.py test"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.mark.long
def test_a_person_at_the_console_approves_a_call_and_kills_the_agent(running: Terminal, chromium: Browser) -> None:
    running.agent("note-keeper", DROP)
    link = running.ask("console")["url"]
    page = chromium.new_context().new_page()
    page.set_default_timeout(30_000)
    page.goto(link)
    page.get_by_role("button", name="Sign in").click()

    expect(page.get_by_role("link", name="note-keeper")).to_be_visible()
    expect(page.get_by_text("9 of 9 principals").or_(page.get_by_text("9 principals")).first).to_be_visible()
    page.get_by_role("link", name="Approvals").click()
    card = page.get_by_role("article")
    expect(card).to_contain_text("drop_note")
    card.get_by_label("Person who answers").fill("sam@example.com")
    card.get_by_label("Reason").fill("it is old")
    card.get_by_role("button", name="Approve", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("The call is approved")
    assert [answer["ok"] for answer in running.agent("note-keeper", DROP, DROP)] == [True, False]

    page.goto(link.split("/sign-in")[0] + "/principals/note-keeper")
    expect(page.get_by_role("heading", level=1)).to_contain_text("active")
    page.get_by_role("link", name="Kill", exact=True).click()
    page.get_by_label("Reason").fill("it drops too much")
    page.get_by_label("Type note-keeper to confirm").fill("note-keeper")
    page.get_by_role("button", name="Kill note-keeper").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("note-keeper is revoked")

    assert running.agent("note-keeper", READ, expect=3) == []
    (entry,) = running.ask("evidence", "query", "--kind", "standing.changed")["entries"]
    assert (entry["body"]["after"], entry["body"]["reason"]) == ("revoked", "it drops too much")
    assert entry["actor"] == "operator@example.com"
    stranger = chromium.new_context().new_page()
    stranger.goto(link)
    expect(stranger.get_by_text("This link has been used already")).to_be_visible()


@pytest.mark.slow
def test_a_person_at_the_console_reviews_what_an_agent_is_made_of(running: Terminal, chromium: Browser) -> None:
    file = running.folder / "principals" / "note-keeper.yaml"
    charter = file.read_text(encoding="utf-8")
    for model in ("claude-haiku-4-5", "claude-opus-4-5"):
        file.write_text(charter + f"composition: {{model: {model}, tools: granted}}\n", encoding="utf-8")
        running.charter("apply", "--yes", "--reason", f"it asks {model}")
    page = chromium.new_context().new_page()
    page.set_default_timeout(30_000)
    link = running.ask("console")["url"]
    page.goto(link)
    page.get_by_role("button", name="Sign in").click()

    page.get_by_role("link", name="what they are made of").click()
    page.get_by_role("row", name="note-keeper").get_by_role("link", name="model").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("restrained")
    changed = page.get_by_role("table", name="What is not what was accepted")
    expect(changed).to_contain_text("anthropic/claude-haiku-4-5")
    expect(changed).to_contain_text("anthropic/claude-opus-4-5")
    expect(changed).to_contain_text("applied by operator@example.com")
    page.get_by_label("Person who accepts").fill("rita@example.com")
    page.get_by_label("Reason").fill("mine")
    page.get_by_role("button", name="Accept what it is now").click()
    expect(page.get_by_role("alert")).to_contain_text("does not hold the role")
    page.get_by_label("Person who accepts").fill("sam@example.com")
    page.get_by_role("button", name="Accept what it is now").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("note-keeper is active")

    (entry,) = running.ask("evidence", "query", "--kind", "composition.reviewed")["entries"]
    assert (entry["actor"], entry["body"]["reason"]) == ("sam@example.com", "mine")
    assert running.ask("show", "note-keeper")["standing"] == "active"
