"""Whatever is sent to the trust domain's public paths: a clear answer, no trace and no secret, and nothing changed."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from charter.config import BUNDLE_PATH
from fuzz_stage import World, a_world, check, fuzzed
from hostile import BROKEN_JSON, JSON, TEXT, spelt

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
BODY = BROKEN_JSON | JSON.map(spelt)


def quoted(text: str) -> str:
    return quote(text[:700].encode("utf-8", "surrogatepass"), safe="/?=&")


def test_nothing_sent_to_the_bundle_endpoint_breaks_it_or_changes_the_bundle(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        before = bundle(world)

        @fuzzed(60)
        @given(st.sampled_from(METHODS), st.just("") | TEXT.map(quoted), BODY)
        def attempt(method: str, beyond: str, body: bytes) -> None:
            answer = world.ask(world.doors, method, BUNDLE_PATH + beyond, content=body)
            if method != "HEAD":  # whose answers have no body that could tell
                check(world, answer)
            assert answer.status_code in (200, 404, 405)

        attempt()
        assert bundle(world) == before


def bundle(world: World) -> str:
    return world.ask(world.doors, "GET", BUNDLE_PATH).text
