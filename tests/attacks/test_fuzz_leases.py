"""Whatever is sent to the leases' endpoint, by a stranger or with a good token: a clear answer, and no lease.

Bodies that reach a system that gives leases are tried in contracts/test_leases_http.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz_stage import World, a_world, check, fuzzed, words_of
from hostile import BROKEN_JSON, JSON, TEXT, spelt

WORDS = words_of("server/leases.py", "registry/lease*.py")
METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"]
PART = st.sampled_from(["payments", "orders-db", "lea_x", "renew", "", ".."]) | TEXT


def quoted(text: str) -> str:
    return quote(text[:700].encode("utf-8", "surrogatepass"), safe="").replace(".", "%2e")


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, bytes, dict[str, bytes]]:
    path = "/".join(["/lease", *(quoted(part) for part in draw(st.lists(PART, min_size=1, max_size=4)))])
    body = draw(BROKEN_JSON | st.dictionaries(st.sampled_from(WORDS) | TEXT, JSON, max_size=4).map(spelt))
    headers: dict[str, Any] = {"content-type": draw(st.sampled_from(["application/json"] * 5 + ["text/plain", ""]))}
    if draw(st.integers(0, 3)) == 0:
        headers["dpop"] = draw(TEXT)
    return (
        draw(st.sampled_from(METHODS)),
        path,
        body,
        {name: value.encode("latin-1", "ignore") for name, value in headers.items()},
    )


@pytest.mark.parametrize("who", ["a stranger", "a principal"])
def test_nothing_sent_to_the_leases_breaks_it_or_makes_one(tmp_path: Path, who: str) -> None:
    with a_world(tmp_path) as world:

        @fuzzed(60)
        @given(requests())
        def attempt(asked: tuple[str, str, bytes, dict[str, bytes]]) -> None:
            method, path, body, headers = asked
            token = world.token if who == "a principal" else "x" * 40
            answer = ask(world, method, path, body, headers | {"authorization": f"Bearer {token}".encode()})
            check(world, answer)
            assert answer.status_code >= 400
            if who == "a stranger":
                assert answer.status_code in (400, 401, 404, 405, 413, 415)

        attempt()
        assert world.stage.entries("lease.recorded") == []


def ask(world: World, method: str, path: str, body: bytes, headers: dict[str, bytes]) -> Any:
    world.forgive()
    return world.ask(world.doors, method, path, content=body, headers=headers)
