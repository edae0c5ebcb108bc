"""Whatever is sent to the OAuth endpoints: a clear answer, soon, without a trace or a secret, and no token for nothing.

The routes are the application's own, and the words of the forms are those that stand in its code, so that none can be
added that is not tried here.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.identity.rotation_request import PROOF_TYPE, TYPE
from charter.server.oauth import ASSERTION_TYPE, OAuthApp
from charter.server.oauth_rotation import ROTATE_PATH
from consent_stage import ASSISTANT, CALLBACK, VERIFIER
from fuzz_stage import World, a_world, check, fuzzed, words_of
from hostile import BROKEN_JSON, JSON, TEXT, spelt
from identity_stage import ClientKeyPair
from rotation_stage import bare

WORDS = words_of("server/oauth*.py", "identity/foreign*.py")
FORM = "application/x-www-form-urlencoded"
HEADERS = (
    ("authorization", "Basic e30="),
    ("authorization", "Bearer x"),
    ("content-type", "text/plain"),
    ("content-type", f"{FORM}; charset=utf-16"),
    ("content-encoding", "gzip"),
    ("content-length", "²"),
    ("x-forwarded-host", "evil.example"),
    ("host", "evil.example"),
    ("accept", "\x7f"),
)


def test_the_words_are_those_of_the_code() -> None:
    assert {"client_assertion", "grant_type", "resource", "token", "client_credentials"} <= set(WORDS)


def escaped(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(spelt(value)).rstrip(b"=").decode()


NAMES = ("alg", "typ", "kid", "jwk", "jku", "crit", "x5c", "iss", "sub", "aud", "exp", "nbf", "iat", "jti", "cnf")
OBJECT = st.dictionaries(st.sampled_from(NAMES), JSON, max_size=4)
COMPACT = st.builds(
    lambda header, claims, end: f"{part(header)}.{part(claims)}.{end}",
    OBJECT,
    OBJECT,
    st.sampled_from(["", "AAAA", "x=="]),
)
COMPACT |= st.sampled_from(["..", "a.b.c", "e30.e30.e30", "." * 9000, "e30." * 3000])


@st.composite
def assertions(draw: st.DrawFn, world: World) -> str:
    """Return an assertion by the client's own key: as it should be, or with a claim or the header changed."""
    claims: dict[str, Any] = world.claims()
    changed = draw(st.dictionaries(st.sampled_from([*claims, "nbf", "x"]), JSON, max_size=2))
    header = draw(st.just({}) | st.dictionaries(st.sampled_from(["typ", "kid", "alg", "crit"]), JSON, max_size=2))
    return world.pair.framed(spelt({"alg": "ES256", "typ": "JWT"} | header), spelt(claims | changed))


@st.composite
def proofs(draw: st.DrawFn, world: World, method: str, url: str) -> str:
    """Return a DPoP proof by a stranger's own key: its signature is good, and what it says may be anything."""
    at = world.stage.clock.now()
    claims: dict[str, Any] = {"htm": method, "htu": url, "iat": int(at.timestamp()), "jti": "x"}
    claims |= {"nonce": world.nonce(at)}
    claims |= draw(st.dictionaries(st.sampled_from([*claims, "ath", "nonce"]), JSON, max_size=2))
    pair = ClientKeyPair.fresh("stranger")
    header = {"alg": "ES256", "typ": "dpop+jwt", "jwk": pair.jwk} | draw(
        st.dictionaries(st.sampled_from(["typ", "jwk"]), JSON, max_size=1)
    )
    return pair.framed(spelt(header), spelt(claims))


@st.composite
def rotations(draw: st.DrawFn, world: World) -> str:
    """Return a request by the client's own key to go by another: as it should be, or with anything changed."""
    at, new = world.stage.clock.now(), ClientKeyPair.fresh(world.pair.client_id)
    names = st.sampled_from(["iss", "sub", "aud", "iat", "exp", "jti", "new", "old", "certificate", "x"])
    changed = [draw(st.dictionaries(names, JSON | COMPACT, max_size=2)) for _ in range(2)]
    headers = [draw(st.dictionaries(st.sampled_from(NAMES[:7]), JSON, max_size=1)) for _ in range(2)]
    own = {"iss": world.pair.client_id, "sub": world.pair.client_id, "aud": f"{world.issuer}/oauth/rotate"}
    both = own | {"iat": int(at.timestamp()), "exp": int(at.timestamp()) + 60}
    inner = spelt(both | {"old": world.pair.thumbprint} | changed[0])
    proof = new.framed(spelt({"alg": "ES256", "typ": PROOF_TYPE, "jwk": bare(new)} | headers[0]), inner)
    outer = spelt(both | {"jti": draw(st.text("abc", min_size=16, max_size=20)), "new": proof} | changed[1])
    return world.pair.framed(spelt({"alg": "ES256", "typ": TYPE} | headers[1]), outer)


@st.composite
def requests(draw: st.DrawFn, world: World, method: str, path: str) -> tuple[dict[str, bytes], bytes]:
    known = (world.token, ASSERTION_TYPE, world.resource, world.issuer, "client_credentials")
    known += (world.house.principal(ASSISTANT).id, CALLBACK, VERIFIER)
    values = st.sampled_from(known) | st.sampled_from(WORDS) | TEXT | COMPACT | assertions(world)
    form = {
        "grant_type": "client_credentials",
        "resource": world.resource,
        "token": world.token,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": draw(assertions(world)),
    }
    if path == ROTATE_PATH:
        form["rotation"] = draw(rotations(world) | values)
    form |= draw(st.dictionaries(st.sampled_from(WORDS), values, max_size=4))
    pairs = "&".join(f"{escaped(name)}={escaped(value)}" for name, value in form.items()).encode()
    body = draw(
        st.sampled_from([pairs] * 8 + [pairs + b"&" + pairs, pairs + b"&a=%", b"&&=", b"\xff"]) | st.binary(max_size=9)
    )
    headers = {"content-type": FORM}
    if path == "/oauth/register" and draw(st.integers(0, 9)):
        headers["content-type"] = "application/json"
        body = draw(
            BROKEN_JSON | st.dictionaries(st.sampled_from(WORDS), JSON | st.lists(values), max_size=6).map(spelt)
        )
    if draw(st.integers(0, 2)) == 0:
        headers["dpop"] = draw(proofs(world, method, world.issuer + path) | COMPACT | TEXT)
    if draw(st.integers(0, 4)) == 0:
        headers.update([draw(st.sampled_from(HEADERS))])
    return {name: value.encode("latin-1", "ignore") for name, value in headers.items()}, body


def test_nothing_sent_to_any_endpoint_breaks_it(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        endpoints = OAuthApp.of(world.house).endpoints
        assert {"/oauth/token", "/oauth/introspect", "/oauth/revoke"} <= {each.path for each in endpoints}
        for endpoint in endpoints:
            for method in endpoint.methods:
                fuzz(world, method, endpoint.path)


def fuzz(world: World, method: str, path: str) -> None:
    @fuzzed(40)
    @given(requests(world, method, path))
    def attempt(asked: tuple[dict[str, bytes], bytes]) -> None:
        headers, body = asked
        world.forgive()
        check(world, world.ask(world.doors, method, path, content=body, headers=headers))

    attempt()


@pytest.mark.parametrize(
    "path", ["/oauth/", "/oauth/token/", "/oauth/Token", "/oauth/token%00", "/oauth//token", "/.well-known/"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS", "TRACE", "HEAD"])
def test_what_is_not_there_is_said(tmp_path: Path, method: str, path: str) -> None:
    with a_world(tmp_path) as world:
        answer = world.ask(world.doors, method, path)
        assert answer.status_code == 404
        if method != "HEAD":
            check(world, answer)


def test_only_a_proper_assertion_ever_gets_a_token(tmp_path: Path) -> None:
    """Of all that is tried above, what is answered with a token was asked for by the client itself, unchanged."""
    with a_world(tmp_path) as world:

        @fuzzed(60)
        @given(OBJECT, COMPACT | TEXT)
        def attempt(changed: dict[str, Any], forged: str) -> None:
            world.forgive()
            claims = world.claims()
            for assertion in (forged, ClientKeyPair.fresh(claims["sub"]).signed(spelt(claims | changed))):
                form = {"grant_type": "client_credentials", "resource": world.resource}
                form |= {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
                body = "&".join(f"{escaped(name)}={escaped(value)}" for name, value in form.items()).encode()
                answer = world.ask(world.doors, "POST", "/oauth/token", content=body, headers={"content-type": FORM})
                check(world, answer)
                assert answer.status_code in (400, 401, 413)

        attempt()
        assert [entry for entry in world.stage.entries("authentication") if entry["body"]["outcome"] == "issued"][
            1:
        ] == []
