"""A person's path through the console, in real Chromium, by mouse, by keyboard, and without JavaScript.

Every test fails on any error in the browser's console: that is where violations of the content security policy show.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from charter.console.pages import console_app
from charter.console.signin import SignIn
from charter.core.entropy import SystemEntropy
from charter.registry.standing import Move
from desks import SESSION, START, FakeDesk, an_approval
from fakes import FixedClock

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LONG = "<b>\u202e" + "wide" * 400
PAGES = (
    "/",
    "/?text=nothing-like-it",
    "/principals/refund-agent",
    "/principals/price-watch",
    "/principals/refund-agent/kill",
    "/verdicts",
    "/verdicts/vrd_00000000000000000000000004",
    "/verdicts/vrd_00000000000000000000000004/why",
    "/approvals",
    "/plans",
    "/principals/refund-agent/right-size",
    "/approvals?all=1",
    "/delegations",
    "/delegations/del_00000000000000000000000002",
    "/delegations/withdraw?purpose=dispute-handling",
    "/compositions",
    "/compositions/price-watch",
    "/behaviour",
    "/behaviour/refund-agent",
    "/behaviour/price-watch",
    "/review",
    "/credentials",
    "/stand-ins",
    "/rules",
    "/rules?answers=asi02",
    "/sinks",
    "/evidence",
    "/findings",
    "/pictures",
    "/findings?all=1",
    "/findings/fnd_00000000000000000000000001",
    "/principals/refund-agent/split",
    "/principals/refund-agent/sessions",
    f"/principals/refund-agent/sessions/{SESSION}",
    "/passkeys",
    "/terminal",
)


@dataclass
class Site:
    """A console served on loopback."""

    desk: FakeDesk
    signin: SignIn
    clock: FixedClock
    errors: list[str] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return self.signin.address.origin

    def visit(self, context: BrowserContext) -> Page:
        """Return a page of someone who came in by a link, at the inventory."""
        page = context.new_page()
        page.on("console", lambda m: self.errors.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: self.errors.append(str(e)))
        page.goto(self.signin.link())
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Inventory")
        return page


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.fail("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def site() -> Iterator[Site]:
    desk, clock = FakeDesk(), FixedClock(START)
    desk.pin("price-watch")
    socket = uvicorn.Config("", port=0, log_level="error").bind_socket()
    signin = SignIn(clock, SystemEntropy(), "maria@example.com", issuer=f"http://127.0.0.1:{socket.getsockname()[1]}")
    app = console_app(desk, signin)
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="error", ws="none", lifespan="off", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
    thread.start()
    _until(lambda: server.started)
    found = Site(desk, signin, clock)
    yield found
    server.should_exit = True
    thread.join(10)
    socket.close()
    assert found.errors == []


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    made = chromium.new_context(viewport={"width": 1280, "height": 900})
    made.set_default_timeout(10_000)
    yield made
    made.close()


def _until(condition: Callable[[], Any], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


# --- journeys --------------------------------------------------------------------------------------------------------


def test_a_person_signs_in_by_link_and_finds_a_principal(site: Site, context: BrowserContext) -> None:
    page = site.visit(context)

    page.get_by_role("link", name="refund-agent").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("refund-agent active")
    expect(page.get_by_text("spiffe://charter.local/production/agent/refund-agent")).to_be_visible()
    page.get_by_text("The Cedar it compiles to").click()
    expect(page.get_by_text('principal == Charter::Principal::"refund-agent"')).to_be_visible()


def test_the_sign_in_cookie_is_out_of_reach_of_scripts(site: Site, context: BrowserContext) -> None:
    page = site.visit(context)

    (cookie,) = context.cookies()

    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == ("charter", True, "Strict", "/")
    assert page.evaluate("document.cookie") == ""
    page.wait_for_function("localStorage.length + sessionStorage.length > 0")  # htmx notes the page soon after it loads
    assert page.evaluate("[...Object.values(localStorage), ...Object.values(sessionStorage)]") == ["/"]  # htmx's own


def test_filters_narrow_the_table_as_one_types(site: Site, context: BrowserContext) -> None:
    page = site.visit(context)
    page.evaluate("window.stayed = true")

    page.get_by_label("Text").press_sequentially("ledger")

    expect(page.get_by_text("1 of 7 principals")).to_be_visible()
    expect(page).to_have_url(f"{site.origin}/?text=ledger&kind=&team=&environment=&standing=")
    page.get_by_label("Text").fill("")
    page.get_by_label("Standing").select_option("suspended")
    expect(page.get_by_role("row", name="invoice-workflow")).to_be_visible()
    expect(page.get_by_role("row", name="refund-agent")).to_have_count(0)
    assert page.evaluate("window.stayed") is True


def test_a_kill_is_confirmed_by_typing_the_name(site: Site, context: BrowserContext) -> None:
    page = site.visit(context)
    page.goto(site.origin + "/principals/refund-agent")

    page.get_by_role("link", name="Kill", exact=True).click()
    page.get_by_label("Reason").fill("paid the wrong account")
    page.get_by_label("Type refund-agent to confirm").fill("refund")
    page.get_by_role("button", name="Kill refund-agent").click()
    assert site.desk.asked == []  # the browser itself held the form back
    page.get_by_label("Type refund-agent to confirm").fill("refund-agent")
    page.get_by_role("button", name="Kill refund-agent").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("refund-agent is revoked")
    expect(page.get_by_role("row", name="0.77 ms 1 open stream ended")).to_be_visible()
    assert site.desk.asked == [("refund-agent", Move.KILL, "maria@example.com", "paid the wrong account")]
    page.get_by_role("link", name="Back to refund-agent").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("refund-agent revoked")
    expect(page.get_by_role("link", name="Kill", exact=True)).to_have_count(0)


def test_a_call_is_approved_from_a_mail_without_signing_in(site: Site, context: BrowserContext) -> None:
    page = context.new_page()
    page.goto(f"{site.origin}/approve/a-link")
    expect(page.get_by_text("You are asked as lena@example.com")).to_be_visible()
    page.get_by_label("Reason").fill("the customer called")
    page.get_by_role("button", name="Approve this one call").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Your answer is recorded")
    (approval,) = site.desk.waiting.values()
    assert approval["given"] == {"payments-lead": "lena@example.com"}
    page.goto(f"{site.origin}/approve/a-link")
    expect(page.get_by_role("heading", level=1)).to_have_text("This link was used")
    site.errors.clear()  # the browser tells of the 404


def test_a_kill_needs_no_mouse(site: Site, context: BrowserContext) -> None:
    page = site.visit(context)

    _tab_to(page, "Skip to the content")
    page.keyboard.press("Enter")
    _tab_to(page, "refund-agent")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("refund-agent")
    _tab_to(page, "Kill")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Kill refund-agent?")
    page.keyboard.type("at three in the morning")  # the reason has the focus
    page.keyboard.press("Tab")
    page.keyboard.type("refund-agent")
    page.keyboard.press("Tab")
    _is_focus_seen(page)
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", level=1)).to_have_text("refund-agent is revoked")
    assert [deed[:2] for deed in site.desk.asked] == [("refund-agent", Move.KILL)]


def test_a_live_verdict_appears_by_itself(site: Site, context: BrowserContext) -> None:
    page = site.visit(context)
    page.get_by_role("link", name="Verdicts").click()
    expect(page.locator("#rows tr")).to_have_count(5)

    site.desk.add_verdict("deny", tool="wire_money", why="guardrail no-wires forbids it")
    site.desk.add_verdict("allow", tool="get_charge")

    expect(page.locator("#rows tr").nth(1)).to_contain_text("wire_money")
    expect(page.locator("#rows tr")).to_have_count(7)
    expect(page.get_by_role("status")).to_contain_text("2 new: 1 deny, 1 allow")
    page.locator("#rows tr").nth(1).get_by_role("link", name="story").click()
    expect(page.get_by_text("guardrail no-wires forbids it", exact=True)).to_be_visible()


def test_the_live_page_can_be_held_still(site: Site, context: BrowserContext) -> None:
    page = site.visit(context)
    page.goto(site.origin + "/verdicts?verdict=deny")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#pulse")).to_have_text("paused")

    site.desk.add_verdict("deny", tool="while_paused")
    page.wait_for_timeout(2500)
    held = page.locator("#rows tr").count()
    page.get_by_role("button", name="Resume").click()

    expect(page.locator("#rows")).to_contain_text("while_paused")
    assert held == 1


def test_a_live_page_left_alone_signs_its_person_out(site: Site, context: BrowserContext) -> None:
    page = site.visit(context)
    page.goto(site.origin + "/verdicts")

    site.clock.advance(minutes=31)

    page.wait_for_url(site.origin + "/sign-in")
    assert [e for e in site.errors if "401" in e]  # the browser tells of the refused request
    site.errors.clear()


def test_a_call_is_approved_from_its_card(site: Site, context: BrowserContext) -> None:
    page = site.visit(context)
    page.get_by_role("link", name="Approvals").click()
    card = page.get_by_role("article")
    expect(card).to_contain_text("see ticket 8812")

    card.get_by_label("Reason").fill("checked the ticket")
    card.get_by_role("button", name="Approve", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("does not hold the role")
    page.get_by_label("Person who answers").fill("lena@example.com")
    page.get_by_role("button", name="Approve", exact=True).click()

    expect(page.get_by_role("heading", level=1)).to_have_text("The call is approved")
    assert site.desk.asked[0][1:] == (True, "lena@example.com", "checked the ticket")
    assert [e for e in site.errors if "403" in e]  # the first answer
    site.errors.clear()


def test_the_next_calls_like_one_are_approved_and_ended_there(site: Site, context: BrowserContext) -> None:
    page = site.visit(context)
    page.get_by_role("link", name="Approvals").click()
    card = page.get_by_role("article")
    card.get_by_label("Person who answers").fill("lena@example.com")
    card.get_by_label("Reason").fill("this morning's disputes")
    card.get_by_text("And the next calls like it").click()
    card.get_by_label("How many 0 to").fill("10")
    card.get_by_label("charge_id may be another").check()
    card.get_by_role("button", name="Approve", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("Besides, 10 calls like it need nobody's yes")

    page.get_by_role("link", name="Back to approvals").click()
    given = page.get_by_role("article", name="on payments")
    expect(given).to_contain_text("10 more until")
    expect(given).to_contain_text("charge_id may be another")
    given.get_by_label("Reason").fill("enough for today")
    given.get_by_role("button", name="End it now").click()
    expect(page.get_by_text("Approved beforehand")).to_have_count(0)
    assert site.desk.asked[-1] == ("rpt_1", "maria@example.com", "enough for today")


def test_a_change_is_found_compared_and_accepted(site: Site, context: BrowserContext) -> None:
    page = site.visit(context)
    page.get_by_role("link", name="what they are made of").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Compositions")
    page.get_by_role("row", name="price-watch").get_by_role("link", name="program").click()
    changed = page.get_by_role("table", name="What is not what was accepted").get_by_role("row", name="program")
    expect(changed).to_contain_text("sha256:" + "a" * 64)
    expect(changed).to_contain_text("sha256:" + "b" * 64)
    expect(page.get_by_text("nobody: declared by its charter").first).to_be_visible()

    page.get_by_label("Reason").fill("release 2.4")
    page.get_by_role("button", name="Accept what it is now").click()
    expect(page.get_by_role("alert")).to_contain_text("does not hold the role")
    page.get_by_label("Person who accepts").fill("alex@example.com")
    page.get_by_role("button", name="Accept what it is now").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("price-watch is active")
    assert [deed[0:2] for deed in site.desk.asked] == [("accept", "price-watch")]
    expect(page.get_by_text("Not what was approved any more")).to_have_count(0)
    assert [e for e in site.errors if "403" in e]  # the first answer
    site.errors.clear()


def test_everything_works_without_javascript(site: Site, chromium: Browser) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = site.visit(context)

    page.get_by_label("Team").select_option("support")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_text("2 of 7 principals")).to_be_visible()
    page.goto(site.origin + "/verdicts")
    expect(page.locator("noscript p")).to_be_visible()
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)
    expect(page.locator("#pulse")).to_be_hidden()
    page.goto(site.origin + "/principals/refund-agent/suspend")
    page.get_by_label("Reason").fill("looks odd")
    page.get_by_role("button", name="Suspend refund-agent").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("refund-agent is suspended")
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(site.origin + "/sign-in")
    context.close()


# --- looks -----------------------------------------------------------------------------------------------------------

CONTRASTS = """() => {
  const parse = c => (c.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] === 1) return c; if (c[3] > 0) return null; } return [255, 255, 255]; };
  const bad = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !e.checkVisibility() || e.closest('.unseen, .skip, noscript')) continue;
    const a = light(parse(getComputedStyle(e).color)), b = light(ground(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.push(`${walk.currentNode.data.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return bad;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_word_stands_out_from_its_ground(site: Site, chromium: Browser, scheme: Any) -> None:
    context = chromium.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 900})
    page = site.visit(context)
    site.desk.healthy = False

    grounds = set()
    for path in PAGES:
        page.goto(site.origin + path)
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert page.evaluate(CONTRASTS) == [], path

    assert grounds == {"rgb(245, 246, 246)" if scheme == "light" else "rgb(20, 24, 27)"}
    context.close()


@pytest.mark.parametrize("width", [1280, 768, 390])
def test_no_page_scrolls_sideways_even_with_hostile_text(site: Site, chromium: Browser, width: int) -> None:
    site.desk.add_verdict("deny", tool=LONG, why=LONG, rule=LONG, object=LONG, system=LONG, principal=LONG)
    site.desk.add_verdict("deny", tool=LONG, why=LONG, mend=LONG, object=LONG)
    hostile = an_approval(2)
    hostile["call"] |= {"arguments": {LONG: LONG, "n": 1}, "object": LONG}
    site.desk.waiting[hostile["id"]] = hostile
    site.desk.principals["refund-agent"]["purpose"] = LONG
    site.desk.lent[0] |= {"lender": LONG, "initiator": LONG, "borrower": LONG, "reason": LONG, "control_plane": LONG}
    site.desk.off = [{"lender": LONG, "borrower": LONG}]
    uses = [{"deed": "call", "at": LONG, "source": LONG, "key": LONG}] * 2
    body = {"uses": uses, "certainty": "seen", "answer": {LONG: "report"}}
    site.desk.found[0] |= {"title": LONG, "principals": [LONG], "body": body}
    site.desk.parted["proposals"][0] |= {"principal": LONG, "values": {"client": LONG}, "text": LONG, "notes": [LONG]}
    site.desk.parted |= {"plan": [LONG], "problems": [LONG]}
    context = chromium.new_context(viewport={"width": width, "height": 844}, has_touch=width < 500)
    page = site.visit(context)

    for path in PAGES:
        page.goto(site.origin + path)
        too_wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert too_wide <= 0, path
        assert page.locator("b").count() == 0
    context.close()


@pytest.mark.parametrize(("width", "most"), [(1280, 55), (390, 90)])
def test_the_menu_keeps_its_height_and_shows_where_one_is(site: Site, chromium: Browser, width: int, most: int) -> None:
    context = chromium.new_context(viewport={"width": width, "height": 844}, has_touch=width < 500)
    page = site.visit(context)

    for path in ("/", "/verdicts", "/approvals", "/review", "/evidence", "/findings"):
        page.goto(site.origin + path)
        assert page.locator(".top").bounding_box()["height"] < most, path  # type: ignore[index]
        expect(page.locator(".top nav [aria-current]")).to_be_in_viewport(ratio=0.9)
    context.close()


def test_each_page_has_one_heading_landmarks_and_labels(site: Site, context: BrowserContext) -> None:
    page = site.visit(context)

    for path in PAGES:
        page.goto(site.origin + path)
        assert page.locator("h1").count() == 1, path
        assert page.locator("main").count() == 1
        assert (
            page.evaluate(
                "[...document.querySelectorAll('input:not([type=hidden]), select, textarea')]"
                ".filter(e => !e.labels.length).length"
            )
            == 0
        ), path
        assert page.evaluate(
            "[...document.querySelectorAll('[id]')].length == new Set([...document.querySelectorAll('[id]')]"
            ".map(e => e.id)).size"
        ), path
        assert page.evaluate("document.documentElement.lang") == "en"


def test_pictures_are_narrowed_scrolled_and_read_as_tables_by_keyboard(site: Site, context: BrowserContext) -> None:
    page = site.visit(context)
    page.goto(f"{site.origin}/review")
    page.get_by_role("link", name="The same in pictures").click()
    page.get_by_label("Team").fill("payments-ops")
    page.keyboard.press("Enter")
    page.wait_for_url("**team=payments-ops**")
    assert site.desk.reviewed == {"team": "payments-ops"}

    assert page.get_by_role("img", name="Activity: calls of each principal by day").is_visible()
    numbers = page.get_by_text("The numbers").first
    numbers.focus()
    page.keyboard.press("Enter")
    table = page.get_by_role("region", name="Activity: calls of each principal by day: the numbers")
    expect(table.get_by_role("rowheader", name="refund-agent")).to_be_visible()

    wide = page.get_by_role("img", name="Activity: calls of each principal by day").bounding_box()
    page.set_viewport_size({"width": 390, "height": 844})
    narrow = page.get_by_role("img", name="Activity: calls of each principal by day").bounding_box()
    assert wide is not None
    assert narrow is not None
    assert (wide["width"], narrow["x"] + narrow["width"] <= 390) == (860, True)


# --- attacks a browser takes part in ---------------------------------------------------------------------------------


class _Evil(BaseHTTPRequestHandler):
    """Another loopback server, same site to a browser, that serves a page which attacks the console."""

    page = ""

    def do_GET(self) -> None:  # the name http.server asks for
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(self.page.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def evil() -> Iterator[tuple[str, type[_Evil]]]:
    server = HTTPServer(("127.0.0.1", 0), _Evil)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", _Evil
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_a_page_on_another_port_cannot_send_our_forms(
    site: Site, context: BrowserContext, evil: tuple[str, type[_Evil]]
) -> None:
    page = site.visit(context)
    token = page.locator("[name=form_token]").first.get_attribute("value")
    address, handler = evil
    handler.page = (
        f"<form method=post action='{site.origin}/principals/refund-agent/kill'><input name=name value=refund-agent>"
        f"<input name=reason value=x><input name=form_token value='{token}'><button>go</button></form>"
    )  # it even knows the token

    page.goto(address)
    page.get_by_role("button").click()

    expect(page.get_by_role("alert")).to_contain_text("not sent from the console")
    assert site.desk.asked == []
    site.errors.clear()


def test_a_page_on_another_port_cannot_frame_the_console(
    site: Site, context: BrowserContext, evil: tuple[str, type[_Evil]]
) -> None:
    page = site.visit(context)
    address, handler = evil
    handler.page = f"<iframe src='{site.origin}/principals/refund-agent/kill'></iframe>"

    page.goto(address)
    page.wait_for_timeout(300)

    assert all("refund-agent" not in frame.content() for frame in page.frames[1:])
    assert [e for e in site.errors if "frame" in e.lower()]
    site.errors.clear()


def _tab_to(page: Page, name: str) -> None:
    """Press Tab until what is called `name` has the focus; whatever has it on the way must show it."""
    page.wait_for_load_state()  # a heading is there before the style sheet is, and focus has another look until then
    for _ in range(80):
        page.keyboard.press("Tab")
        _is_focus_seen(page)
        if page.evaluate("document.activeElement.innerText.trim()") == name:
            return
    pytest.fail(f"no way to `{name}` by keyboard")


def _is_focus_seen(page: Page) -> None:
    width = page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)")
    assert width >= 2, page.evaluate("document.activeElement.outerHTML")


def test_a_shared_credential_is_looked_at_and_settled_by_keyboard(site: Site, context: BrowserContext) -> None:
    page = site.visit(context)
    page.get_by_role("link", name="Findings").press("Enter")
    page.get_by_role("link", name="one key stands behind both fraud-scoring and refund-agent").press("Enter")
    page.wait_for_url("**/findings/fnd_*")
    assert "10.1.2.3" in page.inner_text("main")

    page.get_by_label("Reason").fill("the second copy has a key of its own")
    page.get_by_role("button", name="It is gone").press("Enter")
    page.wait_for_selector("text=Open it again")

    (asked,) = site.desk.asked
    assert asked[2:] == ("resolved", "maria@example.com", "the second copy has a key of its own")


def test_an_account_is_told_apart_by_what_a_person_chooses(site: Site, context: BrowserContext) -> None:
    page = site.visit(context)
    page.goto(f"{site.origin}/principals/refund-agent")
    page.get_by_role("link", name="Is it one, or several?").click()
    page.get_by_role("checkbox", name="client").check()
    page.get_by_role("button", name="Look").click()
    page.wait_for_url("**client=1**")
    page.get_by_text("principals/refund-agent-reports.yaml", exact=True).first.click()

    assert "principal: refund-agent-reports" in page.inner_text("main")
    assert [each[3] for each in site.desk.asked] == [(), ("client",)]


def test_a_narrower_charter_is_taken_in_one_click(site: Site, context: BrowserContext) -> None:
    page = site.visit(context)
    page.goto(f"{site.origin}/principals/refund-agent")
    page.get_by_role("link", name="Is it the right size?").click()
    expect(page.get_by_text("120 calls replayed, none refused.")).to_be_visible()
    page.get_by_label("Reason").fill("as it is used")
    page.get_by_role("button", name="Accept the narrower charter").click()
    expect(page.get_by_role("status")).to_contain_text("Its file wins")
    assert site.desk.asked[-1][:2] == ("accept", "refund-agent")
