"""What must fail at the console: strangers, forms from elsewhere, reused links, hostile text, oversized input."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from typing import Any
from urllib.parse import quote, unquote, urlencode

import pytest
from fastapi.routing import APIRoute
from hypothesis import given, settings
from hypothesis import strategies as st

from charter.console.door import HEADERS, MAX_BODY
from charter.reports.session import Graph
from desks import SESSION, Caller, FakeDesk, a_lease, an_approval
from pictures_made import small

KILL = "/principals/refund-agent/kill"
KILL_FORM = {"name": "refund-agent", "reason": "because"}
PUBLIC = {
    "/sign-in",
    "/sign-in/{token}",
    "/approve/{token}",
    "/sign-in/sso",
    "/sign-in/sso/callback",
    "/sign-in/terminal",
    "/sign-in/terminal/collect",
    "/sign-in/passkey",
    "/sign-in/passkey/begin",
    "/static/{name}",
}
EXAMPLES = {
    "session_id": SESSION,
    "name": "refund-agent",
    "passkey_id": "psk_00000000000000000000000001",
    "move": "kill",
    "token": "abc",
    "verdict_id": "vrd_00000000000000000000000001",
    "approval_id": "apr_00000000000000000000000001",
    "repeat_id": "rpt_00000000000000000000000001",
    "digest": "sha256:" + "5" * 64,
    "delegation_id": "del_00000000000000000000000001",
    "finding_id": "fnd_00000000000000000000000001",
}


@pytest.fixture
def caller() -> Caller:
    return Caller().sign_in()


def routes() -> list[tuple[str, str]]:
    """Return each method and path the console's application knows, whatever module they come from."""
    found = [
        (method, route.path)
        for route in _all_routes(Caller().app.app.routes)
        for method in sorted(route.methods - {"HEAD"})
    ]
    assert len(found) > 12, "the routes were not found"
    return found


def _all_routes(routes: list[Any]) -> Iterator[APIRoute]:
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        else:
            yield from _all_routes(getattr(route, "routes", None) or route.original_router.routes)


def filled(path: str) -> str:
    return path.format(**{**EXAMPLES, **({"name": "console.css"} if path.startswith("/static") else {})})


# --- nobody ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), [r for r in routes() if r[1] not in PUBLIC])
def test_no_page_serves_someone_who_is_not_signed_in(method: str, path: str) -> None:
    caller = Caller()

    answer = caller.send(method, filled(path), headers=caller.own_form(), body="a=b" if method == "POST" else None)

    assert (answer.status_code, answer.headers["location"], answer.content) == (303, "/sign-in", b"")
    assert caller.desk.asked == []


def test_the_pages_that_need_nobody_are_exactly_these() -> None:
    assert {path for _, path in routes()} >= PUBLIC
    assert {path for _, path in routes() if path.startswith(("/sign-in", "/static", "/approve"))} == PUBLIC


@pytest.mark.parametrize(
    "cookie", ["charter=", "charter=guess", "charter=a; charter=b", "__Host-charter=x", "CHARTER=x"]
)
def test_a_made_up_session_is_nobodys(cookie: str) -> None:
    assert Caller().get("/", cookie=cookie).status_code == 303


def test_a_page_that_updates_itself_is_sent_to_the_sign_in_page_whole() -> None:
    answer = Caller().get("/verdicts/new?after=1", **{"hx-request": "true"})

    assert (answer.status_code, answer.headers["hx-redirect"], answer.content) == (401, "/sign-in", b"")


def test_an_unknown_path_tells_a_stranger_nothing() -> None:
    assert Caller().get("/no/such/page").headers["location"] == "/sign-in"


# --- links and sessions ----------------------------------------------------------------------------------------------


def test_a_used_link_is_worthless() -> None:
    caller = Caller()
    link = caller.signin.link()
    caller.sign_in(link)
    thief = Caller()
    thief.signin, thief.app = caller.signin, caller.app

    answer = thief.post(link.removeprefix(caller.signin.address.origin))

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_two_at_once_with_one_link_open_one_session() -> None:
    caller = Caller()
    path = caller.signin.link().removeprefix(caller.signin.address.origin)

    answers = [caller.post(path) for _ in range(5)]

    assert [a.status_code for a in answers] == [303, 403, 403, 403, 403]


def test_guessing_links_is_slowed_down_and_tells_nothing() -> None:
    caller = Caller()

    answers = [caller.post(f"/sign-in/guess-{n}") for n in range(12)]

    assert [a.status_code for a in answers] == [403] * 10 + [429, 429]
    assert answers[-1].headers["retry-after"] == "60"


def test_a_session_id_planted_beforehand_is_not_adopted() -> None:
    caller = Caller()
    path = caller.signin.link().removeprefix(caller.signin.address.origin)

    answer = caller.send("POST", path, headers=caller.own_form() | {"cookie": "charter=planted"})

    assert answer.status_code == 303
    assert "charter=planted" not in answer.headers["set-cookie"]
    assert caller.get("/", cookie="charter=planted").status_code == 303


def test_signing_in_again_kills_the_session_the_browser_brought() -> None:
    caller = Caller().sign_in()
    old = caller.cookie
    path = caller.signin.link().removeprefix(caller.signin.address.origin)

    caller.send("POST", path, headers=caller.own_form())

    assert caller.get("/", cookie=f"charter={old}").headers["location"] == "/sign-in"


def test_a_link_in_the_address_is_never_sent_on_as_a_referrer() -> None:
    caller = Caller()
    page = caller.get(caller.signin.link().removeprefix(caller.signin.address.origin))

    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"


def test_a_cookie_of_another_console_is_nobody_here() -> None:
    elsewhere = Caller().sign_in()
    elsewhere_id = "x" + str(elsewhere.cookie)

    assert Caller().get("/", cookie=f"charter={elsewhere_id}").status_code == 303


# --- forged forms ----------------------------------------------------------------------------------------------------

FORM = "application/x-www-form-urlencoded"
FOREIGN: list[dict[str, str]] = [
    {},
    {"origin": "null"},
    {"origin": "https://evil.example"},
    {"origin": "https://evil.example", "sec-fetch-site": "same-origin"},
    {"origin": "http://127.0.0.1:8421"},
    {"origin": "http://localhost:8420"},
    {"origin": "https://127.0.0.1:8420"},
    {"origin": "http://127.0.0.1:8420.evil.example"},
    {"origin": "http://127.0.0.1:8420", "sec-fetch-site": "cross-site"},
    {"origin": "http://127.0.0.1:8420", "sec-fetch-site": "same-site"},
    {"origin": "null", "sec-fetch-site": "cross-site"},
    {"origin": "null", "sec-fetch-site": "none"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": ""},
    {"origin": ""},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_a_form_from_elsewhere_does_nothing(caller: Caller, headers: dict[str, str]) -> None:
    body = urlencode(KILL_FORM | {"form_token": caller.form_token()})

    answer = caller.send("POST", KILL, headers={"content-type": FORM} | headers, body=body)

    assert answer.status_code == 403
    assert "not sent from the console" in answer.text
    assert caller.desk.asked == []


@pytest.mark.parametrize("headers", FOREIGN)
def test_a_sign_in_from_elsewhere_spends_no_link(headers: dict[str, str]) -> None:
    caller = Caller()
    link = caller.signin.link()

    answer = caller.send(
        "POST", link.removeprefix(caller.signin.address.origin), headers={"content-type": FORM} | headers
    )

    assert answer.status_code == 403
    assert caller.sign_in(link).get("/").status_code == 200


@pytest.mark.parametrize(("method", "path"), [r for r in routes() if r[0] == "POST" and r[1] not in PUBLIC])
@pytest.mark.parametrize("token", ["", "wrong", "x" * 43, None, "é"])
def test_every_form_needs_the_sessions_own_token(caller: Caller, method: str, path: str, token: str | None) -> None:
    fields = KILL_FORM | {"answer": "approve", "person": "lena@example.com"}
    fields |= {} if token is None else {"form_token": token}

    answer = caller.send(method, filled(path), headers=caller.own_form(), body=urlencode(fields))

    assert answer.status_code == 403
    assert "belongs to another session" in answer.text
    assert caller.desk.asked == []
    assert caller.get("/").status_code == 200  # not even signed out


def test_the_form_token_of_another_session_does_not_fit(caller: Caller) -> None:
    stolen = caller.form_token()
    caller.sign_in()

    answer = caller.post(KILL, **KILL_FORM, form_token=stolen)

    assert answer.status_code == 403


@pytest.mark.parametrize("path", [KILL, KILL + "?name=refund-agent&reason=because"])
def test_opening_a_page_changes_nothing(caller: Caller, path: str) -> None:
    caller.get(path)

    assert caller.desk.asked == []


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "application/json", "text/plain", ""])
def test_only_real_forms_are_taken(caller: Caller, kind: str) -> None:
    body = urlencode(KILL_FORM | {"form_token": caller.form_token()})

    answer = caller.send("POST", KILL, headers=caller.own_form() | {"content-type": kind}, body=body)

    assert answer.status_code == 415
    assert caller.desk.asked == []


def test_a_field_that_comes_twice_is_refused(caller: Caller) -> None:
    body = urlencode([*KILL_FORM.items(), ("form_token", caller.form_token()), ("name", "repo-helper")])

    assert caller.send("POST", KILL, headers=caller.own_form(), body=body).status_code == 400
    assert caller.desk.asked == []


# --- another host ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8420", "127.0.0.1", "127.0.0.1:8421", "localhost.evil.example:8420", ""]
)
def test_a_foreign_name_for_this_machine_gets_nothing(caller: Caller, host: str) -> None:
    answer = caller.get("/", host=host)

    assert answer.status_code == 421
    assert "refund-agent" not in answer.text


@pytest.mark.parametrize("host", ["localhost:8420", "[::1]:8420", "LOCALHOST:8420"])
def test_loopback_has_more_than_one_name(caller: Caller, host: str) -> None:
    assert caller.get("/", host=host).status_code == 200


# --- headers ---------------------------------------------------------------------------------------------------------


def everything() -> Iterator[tuple[str, Any]]:
    """Every kind of answer the console gives: each route with and without a session, and each refusal."""
    for signed_in in (False, True):
        caller = Caller().sign_in() if signed_in else Caller()
        for method, path in routes():
            body = "a=b" if method == "POST" else None
            yield (
                f"{method} {path} {signed_in}",
                caller.send(method, filled(path), headers=caller.own_form(), body=body),
            )
            caller = Caller().sign_in() if signed_in else caller
        yield "404", caller.get("/nothing")
        yield "404 static", caller.get("/static/nothing.js")
        yield "405", caller.send("DELETE", "/")
        yield "414", caller.get("/" + "x" * 600)
        yield "421", caller.get("/", host="evil.example")
        yield "413", caller.send("POST", KILL, headers=caller.own_form(), body="x" * (MAX_BODY + 1))
        caller.desk.broken = ValueError("x")
        yield "500", caller.get("/")


def test_every_answer_carries_every_header() -> None:
    answers = list(everything())

    assert {a.status_code for _, a in answers} >= {200, 303, 400, 403, 404, 405, 413, 414, 421, 500}
    for what, answer in answers:
        for name, value in HEADERS:
            assert answer.headers.get_list(name.decode()) == [value.decode()], (what, name)


def test_the_policy_allows_nothing_but_the_consoles_own_files() -> None:
    policy = dict(HEADERS)[b"content-security-policy"].decode()

    assert policy == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
    assert "unsafe" not in policy


def test_no_page_may_be_framed(caller: Caller) -> None:
    page = caller.get(KILL)

    assert page.headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]


def test_no_page_holds_inline_script_style_or_foreign_addresses() -> None:
    for _, page in everything():
        if "text/html" in page.headers.get("content-type", ""):
            Seen(page.text).check()


# --- hostile text ----------------------------------------------------------------------------------------------------

HOSTILE = (
    '"><script>alert(1)</script>',
    "'><img src=x onerror=alert(1)>",
    "</textarea></pre></code><svg onload=alert(1)>",
    "javascript:alert(1)",
    "{{ 7*7 }}{% raw %}",
    "<!--<template><tbody hx-get=/sign-out hx-trigger=load>",
    "\u202egnp.exe\u200b\x1b[2J\x00\ud800",
    "A" * 20_000,
)
_KEPT = {
    "name",
    "id",
    "standing",
    "expires",
    "review",
    "on",
    "state",
    "verdict",
    "verdict_id",
    "time",
    "days",
    "columns",
}


def poisoned(value: Any, text: str, key: str = "") -> Any:
    """Return `value` with every text in it replaced, save what the house itself guarantees the form of."""
    if isinstance(value, dict):
        return {k: poisoned(v, text, k) for k, v in value.items()}
    if isinstance(value, list):
        return value if key in _KEPT else [poisoned(v, text, key) for v in value]
    return text if isinstance(value, str) and key not in _KEPT else value


OVERDUE = [a_lease(state="revoking", overdue=True, error="it does not answer")]


class HostileDesk(FakeDesk):
    """A desk whose every answer is full of one hostile text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.add_verdict("deny")
        self.leases = OVERDUE

    def inventory(self, filters: Any) -> Any:
        return poisoned(super().inventory(filters), self.text)

    def dossier(self, name: str) -> Any:
        return poisoned(super().dossier(name), self.text)

    def stand_ins(self) -> Any:
        return poisoned(super().stand_ins(), self.text)

    def rules(self) -> Any:
        return poisoned(super().rules(), self.text)

    def sinks(self) -> Any:
        return poisoned(super().sinks(), self.text)

    def verdicts(self, *args: Any, **filters: Any) -> Any:
        return poisoned(super().verdicts(*args, **filters), self.text)

    def story(self, verdict_id: str) -> Any:
        return poisoned(super().story(verdict_id), self.text)

    def sessions(self, name: str) -> Any:
        return poisoned(super().sessions(name), self.text)

    def session(self, name: str, session_id: str) -> Any:
        found, graph = super().session(name, session_id)
        nodes = tuple(replace(each, label=self.text, note=self.text) for each in graph.nodes)
        edges = tuple(replace(each, label=self.text) for each in graph.edges)
        return poisoned(found, self.text), Graph(self.text, nodes, edges)

    def why(self, verdict_id: str) -> Any:
        return poisoned(super().why(verdict_id), self.text)

    def approvals(self, every: bool) -> Any:
        found = poisoned(super().approvals(every), self.text)
        return [a | {"call": a["call"] | {"arguments": {self.text: self.text}}} for a in found]

    def delegations(self, wanted: Any) -> Any:
        return poisoned(super().delegations(wanted), self.text)

    def delegation(self, delegation_id: str) -> Any:
        return poisoned(super().delegation(delegation_id), self.text)

    def findings(self) -> Any:
        return [poisoned(each, self.text) | {"state": each["state"]} for each in super().findings()]

    def finding(self, finding_id: str) -> Any:
        found = poisoned(super().finding(finding_id), self.text)
        return found | {"entries": [each | {"lines": [self.text]} for each in found["entries"]]}

    def right_size(self, name: str) -> Any:
        return poisoned(super().right_size(name), self.text)

    async def split(self, name: str, *, since: str | None, by: list[str]) -> Any:
        return poisoned(await super().split(name, since=since, by=by), self.text)

    async def review(self, wanted: Any) -> Any:
        return poisoned(await super().review(wanted), self.text)

    async def pictures(self, wanted: Any) -> Any:
        await super().pictures(wanted)
        return small(self.text, self.text, self.text)

    def status(self) -> Any:
        return poisoned(super().status(), self.text)


class Seen(HTMLParser):
    """What a browser would make of a page: the tags and their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[tuple[str, tuple[str, ...]]] = set()
        self.values: list[tuple[str, str]] = []
        self.scripts = 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add((tag, tuple(sorted(name for name, _ in attrs))))
        self.values += [(name, value or "") for name, value in attrs]
        self.scripts += tag == "script"

    def check(self) -> None:
        assert self.scripts in (0, 2, 3)  # the third is that of passkeys, on their own pages
        assert not [name for name, _ in self.values if name.startswith("on") or name == "style"]
        linked = [value for name, value in self.values if name in ("href", "src", "action", "hx-get")]
        assert all(value.startswith(("/", "#")) and not value.startswith("//") for value in linked), linked


PAGES = (
    "/",
    "/principals/refund-agent",
    KILL,
    "/verdicts",
    "/verdicts/new?after=0",
    "/verdicts/vrd_00000000000000000000000004",
    "/verdicts/vrd_00000000000000000000000004/why",
    "/principals/refund-agent/sessions",
    f"/principals/refund-agent/sessions/{SESSION}",
    "/approvals",
    "/plans",
    "/principals/refund-agent/right-size",
    "/delegations",
    "/delegations/del_00000000000000000000000002",
    "/delegations/withdraw?purpose=dispute-handling",
    "/review",
    "/pictures",
    "/credentials",
    "/stand-ins",
    "/rules",
    "/sinks",
    "/evidence",
    "/findings",
    "/findings?all=1",
    "/findings/fnd_00000000000000000000000001",
    "/principals/refund-agent/split",
)


@pytest.mark.parametrize("path", PAGES)
def test_hostile_text_in_every_field_never_becomes_markup(path: str) -> None:
    desk = FakeDesk()
    desk.leases = OVERDUE
    benign = Seen(Caller(desk).sign_in().get(path).text)

    for text in HOSTILE:
        page = Caller(HostileDesk(text)).sign_in().get(path)
        seen = Seen(page.text)
        assert page.status_code == 200
        seen.check()
        assert {t for t, _ in seen.tags} <= {t for t, _ in benign.tags} | {"span", "bdi"}, path
        assert not [c for c in page.text if not (c.isprintable() or c in "\n\t")], path


@given(text=st.text(alphabet=st.characters(), max_size=60))
@settings(max_examples=15)
def test_any_text_in_a_call_is_shown_harmlessly(text: str) -> None:
    caller = Caller(HostileDesk(text)).sign_in()

    for path in ("/approvals", "/verdicts"):
        page = caller.get(path)
        assert page.status_code == 200
        Seen(page.text).check()
        assert not [c for c in page.text if not (c.isprintable() or c in "\n\t")]


@pytest.mark.parametrize("text", HOSTILE[:6])
def test_what_a_person_types_comes_back_as_text(caller: Caller, text: str) -> None:
    pages = [
        caller.post(KILL, name=text, reason=text),
        caller.get("/?text=" + quote(text)),
        caller.post("/approvals/apr_00000000000000000000000001", answer="approve", person=text, reason=text),
    ]

    for page in pages:
        Seen(page.text).check()
        assert "<script>alert" not in page.text
        assert "<img" not in page.text


def test_a_forged_fragment_cannot_swap_rows(caller: Caller) -> None:
    caller.desk.add_verdict("deny", tool='<tbody hx-swap-oob="innerHTML:#main"><tr><td>x</td></tr></tbody>')

    fragment = caller.get("/verdicts/new?after=12").text

    assert fragment.count("hx-swap-oob=") - fragment.count("hx-swap-oob=&#34;") == 2


# --- paths and sizes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/static/../pages.py",
        "/static/..%2fpages.py",
        "/static/%2e%2e/templates/base.html",
        "/static//etc/passwd",
        "/static/htmx.LICENSE",
        "/static/",
        "/static/console.css%00",
        "/principals/../sign-out",
        "/principals/..%2f..%2fetc",
        "/principals/refund-agent%00",
        "/principals/Refund-Agent",
        "/principals/refund-agent/KILL",
        "/principals/refund-agent/kill/",
        "/principals/%D1%80efund-agent",
        "/verdicts/..%2Fnew",
        "//evil.example/",
    ],
)
def test_tricks_with_paths_find_nothing(caller: Caller, path: str) -> None:
    answer = asyncio.run(_raw(caller, _nothing, "GET", unquote(path)))

    assert answer[0]["status"] == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/" + "x" * 512, 414),
        ("/?text=" + "x" * 2048, 414),
        ("/?" + "&".join(f"f{n}=1" for n in range(17)), 400),
        ("/?text=a&text=b", 400),
        ("/?text=%ff", 400),
        ("/?text", 400),
    ],
)
def test_oversized_and_twofold_addresses_are_refused(caller: Caller, path: str, status: int) -> None:
    assert caller.get(path).status_code == status


def test_too_many_cookies_are_refused(caller: Caller) -> None:
    assert caller.get("/", cookie="a=" + "b" * 9000).status_code == 431


@pytest.mark.parametrize("claimed", [None, "10", "99999999999999999999", "-1", "x"])
def test_an_oversized_form_is_refused_whatever_it_claims(caller: Caller, claimed: str | None) -> None:
    headers = caller.own_form() | ({"content-length": claimed} if claimed else {})

    answer = caller.send("POST", KILL, headers=headers, body=b"reason=" + b"x" * MAX_BODY)

    assert answer.status_code in (400, 413)
    assert caller.desk.asked == []


def test_a_form_that_never_ends_is_cut_off() -> None:
    caller = Caller().sign_in()
    sent = 0

    async def endless() -> dict[str, Any]:
        nonlocal sent
        sent += 1024
        return {"type": "http.request", "body": b"x" * 1024, "more_body": True}

    answers = asyncio.run(_raw(caller, endless))

    assert answers[0]["status"] == 413
    assert sent <= MAX_BODY + 2048


def test_a_form_that_never_comes_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charter.console.door.BODY_SECONDS", 0.05)
    caller = Caller().sign_in()

    async def silent() -> dict[str, Any]:
        await asyncio.sleep(60)
        raise AssertionError

    assert asyncio.run(_raw(caller, silent))[0]["status"] == 408


async def _nothing() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _raw(caller: Caller, receive: Any, method: str = "POST", path: str = KILL) -> list[dict[str, Any]]:
    """Ask for exactly this path, as no client would send it; return the messages of the answer."""
    headers = {**caller.own_form(), "host": "127.0.0.1:8420", "cookie": f"charter={caller.cookie}"}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
    }
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await caller.app(scope, receive, send)
    return sent


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "HEAD", "BREW"])
def test_other_methods_are_refused(caller: Caller, method: str) -> None:
    assert caller.send(method, "/").status_code == 405


def test_a_websocket_is_closed() -> None:
    sent: list[Any] = []

    async def run() -> None:
        async def send(message: Any) -> None:
            sent.append(message)

        await Caller().app({"type": "websocket", "path": "/"}, send, send)

    asyncio.run(run())

    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_a_thousand_waiting_calls_make_a_page_of_bounded_size(caller: Caller) -> None:
    caller.desk.waiting = {a["id"]: a for a in (an_approval(n) for n in range(1000))}

    page = caller.get("/approvals").text

    assert page.count('<article class="card"') == 20
    assert "980 more" in page


# --- what is vendored ------------------------------------------------------------------------------------------------


def test_the_vendored_script_is_the_one_the_note_beside_it_names() -> None:
    folder = resources.files("charter.console") / "static"

    digest = hashlib.sha256((folder / "htmx.min.js").read_bytes()).hexdigest()

    assert f"| 2.0.11 | 0BSD (`htmx.LICENSE`) | `{digest}` |" in (folder / "VENDORED.md").read_text()


def test_the_vendored_script_may_neither_evaluate_text_nor_write_styles(caller: Caller) -> None:
    found = re.search(r"<meta name=\"htmx-config\" content='([^']+)'>", caller.get("/").text)

    assert found
    config = json.loads(found[1])
    assert {name: config[name] for name in ("allowEval", "allowScriptTags", "includeIndicatorStyles")} == dict.fromkeys(
        ("allowEval", "allowScriptTags", "includeIndicatorStyles"), False
    )
    assert config["selfRequestsOnly"] is True
    assert config["historyCacheSize"] == 0  # or pages would be kept in the browser's storage
