"""Whatever is sent to the console, signed in or not: a page, soon, without a trace or a secret.

The routes are the application's own, and the words of queries and forms those that stand in its code, so that none can
be added that is not tried here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from hypothesis import given
from hypothesis import strategies as st

from charter.bootstrap.desk import HouseDesk
from charter.console.door import SELF_UPDATING, _is_public
from charter.console.pages import console_app
from charter.console.signin import form_token
from fuzz_stage import World, a_world, check, fuzzed, words_of
from hostile import TEXT
from houses import Stage

WORDS = [word for word in words_of("console/*.py") if len(word) < 40]
FORM = "application/x-www-form-urlencoded"
SEGMENT = (
    st.sampled_from(["refund-agent", "charge-reader", "kill", "restrain", "suspend", "resume", "console.css"]) | TEXT
)


def test_the_words_are_those_of_the_code() -> None:
    assert {"reason", "person", "answer", "form_token", "after", "principal", "page", "text", "all"} <= set(WORDS)


def routes(world: World) -> list[tuple[str, str]]:
    """Return the method and path of every page."""
    app: Any = console_app(HouseDesk(world.house), world.signin).app
    found = [(method.upper(), path) for path, each in app.openapi()["paths"].items() for method in each]
    assert ("POST", "/approvals/{approval_id}") in found
    return found


def escaped(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


@st.composite
def requests(draw: st.DrawFn, path: str, known: tuple[str, ...]) -> tuple[str, bytes, bool]:
    """Return an address, a form, and whether the form carries its session's token."""
    while "{" in path:
        start, end = path.index("{"), path.index("}")
        path = path[:start] + (escaped(draw(st.sampled_from(known) | SEGMENT)[:700]) or "%20") + path[end + 1 :]
    values = (
        st.sampled_from(
            [
                "approve",
                "refuse",
                "lena@example.com",
                "refund-agent",
                "-1",
                "1",
                "a reason",
                "on",
                "humans",
                "30m",
                *known,
            ]
        )
        | TEXT
    )
    pairs = draw(st.lists(st.tuples(st.sampled_from(WORDS) | TEXT, values), max_size=5))
    query = draw(st.lists(st.tuples(st.sampled_from(WORDS) | TEXT, values), max_size=3))
    text = "&".join(f"{escaped(name)}={escaped(value[:4000])}" for name, value in query)
    body = "&".join(f"{escaped(name)}={escaped(value)}" for name, value in pairs).encode()
    body = draw(st.sampled_from([body] * 6 + [body + b"&%", b"\xff", body + b"&" + body]))
    return (f"{path}?{text}" if text else path), body, draw(st.integers(0, 5)) > 0


def a_question(stage: Stage) -> tuple[str, ...]:
    """Let a call be held; return its verdict and its approval."""
    call = stage.make("create_refund", {"charge_id": "ch_1", "amount": 150, "currency": "EUR"})
    held: Any = stage.submit(stage.bearer(), call)[0]
    return held.verdict_id, held.approval_id


def fuzz(world: World, method: str, path: str, *, signed_in: bool) -> None:
    known = a_question(world.stage)

    @fuzzed(10)
    @given(requests(path, known))
    def attempt(asked: tuple[str, bytes, bool]) -> None:
        address, body, with_token = asked
        world.forgive()
        session = world.signin.redeem(world.signin.link().rpartition("/")[2], source="127.0.0.1")
        world.secrets[-1] = session
        headers = {"host": world.issuer.removeprefix("http://")}
        headers |= {"cookie": f"charter={session}"} if signed_in else {}
        if method == "POST":
            headers |= {"content-type": FORM, "origin": world.issuer}
            token = f"form_token={form_token(session)}&".encode() if with_token else b""
            body = (token + body)[: 16 * 1024]
        answer = world.ask(world.doors, method, address, content=body if method == "POST" else None, headers=headers)
        if signed_in or _is_public(httpx.URL(address).path):
            check(world, answer)
        else:
            assert answer.status_code in (303, 400, 414) or answer.headers.get("HX-Redirect") == "/sign-in"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")

    world.secrets.append("")
    attempt()


def test_nothing_sent_to_any_page_by_someone_signed_in_breaks_it(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        for method, path in routes(world):
            fuzz(world, method, path, signed_in=True)
        assert world.house.database.healthy


def test_nothing_sent_to_any_page_by_a_stranger_gives_anything(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        for method, path in routes(world):
            if path != SELF_UPDATING:
                fuzz(world, method, path, signed_in=False)
        assert world.stage.entries("standing.changed") == []
        assert world.stage.entries("approval.given") == []
