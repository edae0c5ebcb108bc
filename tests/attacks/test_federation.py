"""Bundle endpoints that lie, lead elsewhere or answer too much: nothing they say is taken over, and it is told why."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.adapters.bundle_fetch import BundleFetcher
from charter.bootstrap import federation
from charter.core.errors import CharterError, ConflictError, MalformedError
from charter.identity.bundle import MAX_DOCUMENT
from charter.identity.federation import MAX_SILENCE, Profile, plan_federation
from fakes import FixedClock
from houses import Stage, a_house
from tls_server import TlsServer, WebAuthority, a_tls_server
from trust_domains import ForeignDomain, Signed, certificate, x509_entry

T = TypeVar("T")
WEB = WebAuthority.fresh()
NOW = dt.datetime.now(dt.UTC)
PARTNER = ForeignDomain("partner.example", at=NOW)
ENDPOINT = "spiffe://partner.example/bundle-endpoint"
LOOPBACK = ("127.0.0.0/8",)
ACTOR = "test@example.com"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with a_house(tmp_path) as found:
        found.house.bundle_fetcher = BundleFetcher(WEB.trusting)
        yield found


@contextmanager
def an_endpoint(document: Any = None, chain: list[Signed] | None = None) -> Iterator[TlsServer]:
    body = PARTNER.document() if document is None else document
    reply = body if callable(body) else lambda: (200, {"content-type": "application/json"}, body)
    with a_tls_server({"/bundle": reply, "/elsewhere": reply}, chain or WEB.server()) as server:
        yield server


def run(going: Coroutine[Any, Any, T], settles: float = 0.02) -> T:
    """Run what asks an endpoint, and let its connection be closed before the loop is."""

    async def to_its_end() -> T:
        try:
            return await going
        finally:
            await asyncio.sleep(settles)

    return asyncio.run(to_its_end())


def add(stage: Stage, url: str, name: str = "partner.example", **given: Any) -> dict[str, Any]:
    parameters = {"url": url, "profile": "https_web", "networks": LOOPBACK} | given
    return run(federation.add(stage.house, name, parameters, actor=ACTOR, reason="a test"))


def ask(stage: Stage, name: str = "partner.example") -> dict[str, Any]:
    return run(federation.refresh(stage.house, name))


def held(stage: Stage, name: str = "partner.example") -> int | None:
    found = stage.house.trust.bundles.get(name)
    return found.sequence if found else None


# --- where the endpoint is ---


def test_an_endpoint_on_a_private_address_is_not_asked_unless_that_was_named(stage: Stage) -> None:
    with an_endpoint() as server:
        found = add(stage, server.url("/bundle"), networks=())
        assert "without an address that may be asked" in found["failure"]
        assert server.asked == []
        assert held(stage) is None


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "[::]", "224.0.0.1", "10.0.0.1", "[::1]"]
)
def test_metadata_services_and_the_like_are_never_asked(stage: Stage, host: str) -> None:
    networks = ("169.254.0.0/16", "fe80::/10", "::/128", "224.0.0.0/4")
    found = add(stage, f"https://{host}/bundle", networks=networks)
    assert "without an address that may be asked" in found["failure"]


@pytest.mark.parametrize("target", ["http://169.254.169.254/latest", "https://127.0.0.1:1/", "/elsewhere"])
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_an_endpoint_that_sends_elsewhere_is_not_followed(stage: Stage, target: str, status: int) -> None:
    with an_endpoint(lambda: (status, {"location": target}, b"")) as server:
        found = add(stage, server.url("/bundle"))
        assert f"answered with status {status}" in found["failure"]
        assert server.asked == ["/bundle"]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/bundle",
        "https://user@partner.example/",
        "https://user:pass@partner.example/",
        "https://partner.example/#x",
        "https:///bundle",
        "file:///etc/passwd",
        "https://partner.example/\n",
        "https://p\u0430rtner.example/",
        "https://partner.example:99999/",
        "https://[::1/",
        "unix:///tmp/x",
        "https://partner.example/" + "a" * 2048,
        "",
    ],
)
def test_an_address_that_is_none_is_refused_when_it_is_given(stage: Stage, url: str) -> None:
    with pytest.raises(MalformedError, match="no address of a bundle endpoint"):
        add(stage, url)
    assert federation.listing(stage.house) == []


@given(st.text(max_size=60))
def test_no_address_breaks_the_check(url: str) -> None:
    try:
        plan_federation("a", url, Profile.HTTPS_WEB, endpoint_id=None, networks=(), by="x", at=NOW)
    except MalformedError:
        return
    assert url.startswith(("https://", "HTTPS://")) or url.lower().startswith("https://")


@pytest.mark.parametrize("network", ["10.0.0.1/8", "all", "10.0.0.0/33", "::/129", ""])
def test_a_network_that_is_none_is_refused(stage: Stage, network: str) -> None:
    with pytest.raises(MalformedError, match="no network"):
        add(stage, "https://partner.example/", networks=(network,))


# --- who the endpoint is ---


def test_an_authority_of_the_web_that_nobody_knows_counts_for_nothing(stage: Stage) -> None:
    with an_endpoint(chain=WebAuthority.fresh().server()) as server:
        assert "could not be reached" in add(stage, server.url("/bundle"))["failure"]
        assert held(stage) is None


def test_a_web_certificate_for_another_host_counts_for_nothing(stage: Stage) -> None:
    with an_endpoint(chain=WEB.server("127.0.0.2")) as server:
        assert "could not be reached" in add(stage, server.url("/bundle"))["failure"]


def spiffe(stage: Stage, url: str, **given: Any) -> dict[str, Any]:
    first = PARTNER.document().decode()
    return add(stage, url, **{"profile": "https_spiffe", "endpoint_id": ENDPOINT, "bundle": first} | given)


def test_an_endpoint_with_the_right_svid_is_believed(stage: Stage) -> None:
    newer = PARTNER.document(spiffe_sequence=2)
    with an_endpoint(newer, [PARTNER.leaf("/bundle-endpoint"), PARTNER.intermediate]) as server:
        found = spiffe(stage, server.url("/bundle"))
        assert (found["failure"], held(stage)) == (None, 2)


IMPOSTORS: dict[str, list[Signed]] = {
    "another workload of that domain": [PARTNER.leaf("/billing"), PARTNER.intermediate],
    "an authority of the web": WEB.server(),
    "another domain": [ForeignDomain("stranger.example", at=NOW).leaf("/bundle-endpoint")],
    "the right name, signed by itself": [certificate(uris=(ENDPOINT,), at=NOW, name="self")],
    "expired": [
        PARTNER.leaf("/bundle-endpoint", valid=(dt.timedelta(hours=-2), dt.timedelta(hours=-1))),
        PARTNER.intermediate,
    ],
    "two names": [PARTNER.leaf(uris=(ENDPOINT, "spiffe://partner.example/b")), PARTNER.intermediate],
    "an authority's own certificate": [PARTNER.intermediate],
}


@pytest.mark.parametrize("chain", IMPOSTORS.values(), ids=IMPOSTORS)
def test_an_endpoint_with_another_certificate_is_not_believed(stage: Stage, chain: list[Signed]) -> None:
    with an_endpoint(PARTNER.document(spiffe_sequence=2), chain) as server:
        found = spiffe(stage, server.url("/bundle"))
        assert found["failure"]
        assert held(stage) == 1


def test_https_spiffe_needs_something_to_begin_with(stage: Stage) -> None:
    with pytest.raises(MalformedError, match="nothing authenticates the endpoint"):
        spiffe(stage, "https://partner.example/", bundle=None)
    with pytest.raises(MalformedError, match="goes with the profile https_spiffe"):
        add(stage, "https://partner.example/", profile="https_spiffe")
    with pytest.raises(MalformedError, match="goes with the profile https_spiffe"):
        add(stage, "https://partner.example/", endpoint_id=ENDPOINT)
    with pytest.raises(MalformedError, match="names a trust domain and no endpoint"):
        spiffe(stage, "https://partner.example/", endpoint_id="spiffe://partner.example")


# --- what it says ---


def test_our_own_name_cannot_be_federated_with(stage: Stage) -> None:
    """Whoever could be believed for our own trust domain could be any of our principals."""
    with pytest.raises(ConflictError, match="is our own trust domain"):
        add(stage, "https://evil.example/", name="charter.local")


def test_a_domain_is_federated_with_once(stage: Stage) -> None:
    with an_endpoint() as server:
        add(stage, server.url("/bundle"))
        with pytest.raises(ConflictError, match="already"):
            add(stage, "https://evil.example/")


def test_a_bundle_with_another_domains_authority_is_not_taken(stage: Stage) -> None:
    """The partner's endpoint serves an authority that says it is ours."""
    ours = certificate(uris=("spiffe://charter.local",), ca=True, name="evil root", at=NOW)
    with an_endpoint(PARTNER.document(keys=[*PARTNER.entries(), x509_entry(ours)])) as server:
        assert "another trust domain's" in add(stage, server.url("/bundle"))["failure"]
        assert held(stage) is None
        assert stage.house.trust.own.trust_domain == "charter.local"


BAD: dict[str, Any] = {
    "huge": lambda: (200, {"content-type": "application/json"}, b" " * (MAX_DOCUMENT + 1)),
    "huge and compressed": lambda: (200, {"content-type": "application/json", "content-encoding": "gzip"}, b"x"),
    "no JSON by its type": lambda: (200, {"content-type": "text/html"}, PARTNER.document()),
    "no JSON": b"<html>",
    "a list": b"[]",
    "repeated": b'{"keys": [], "keys": []}',
    "deep": b'{"keys": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "too many keys": json.dumps({"keys": [{}] * 200}).encode(),
    "not there": lambda: (404, {}, b""),
    "broken": lambda: (500, {}, b""),
    "no content": lambda: (204, {}, b""),
}


@pytest.mark.parametrize("document", BAD.values(), ids=BAD)
def test_an_answer_that_is_no_bundle_changes_nothing(stage: Stage, document: Any) -> None:
    good = PARTNER.document()
    answers = [lambda: (200, {"content-type": "application/json"}, good), document]

    def reply() -> Any:
        found = answers.pop(0)
        return found() if callable(found) else (200, {"content-type": "application/json"}, found)

    with an_endpoint(reply) as server:
        assert add(stage, server.url("/bundle"))["failure"] is None
        assert ask(stage)["failure"]
        assert held(stage) == 1
        (entry,) = stage.entries("federation.failed")
        assert entry["body"]["trust_domain"] == "partner.example"


def numbers(stage: Stage, *documents: bytes) -> list[tuple[int | None, bool]]:
    """Return which number is held, and whether it failed, after each document."""
    rest = list(documents)
    with an_endpoint(lambda: (200, {"content-type": "application/json"}, rest.pop(0))) as server:
        found = [add(stage, server.url("/bundle"))]
        states = [(held(stage), bool(found[-1]["failure"]))]
        for _ in documents[1:]:
            found.append(ask(stage))
            states.append((held(stage), bool(found[-1]["failure"])))
    return states


def test_an_older_bundle_is_not_taken(stage: Stage) -> None:
    """What was withdrawn since would be trusted again."""
    old, new = PARTNER.document(spiffe_sequence=4), PARTNER.document(spiffe_sequence=5)
    assert numbers(stage, new, old, new) == [(5, False), (5, True), (5, False)]


def test_a_bundle_without_a_number_is_not_taken_where_there_was_one(stage: Stage) -> None:
    none = PARTNER.document(spiffe_sequence=None)
    assert numbers(stage, PARTNER.document(), none) == [(1, False), (1, True)]


def test_a_domain_that_never_counts_is_taken_as_it_comes(stage: Stage) -> None:
    none = PARTNER.document(spiffe_sequence=None)
    assert numbers(stage, none, none) == [(None, False), (None, False)]
    assert "partner.example" in stage.house.trust.bundles


def test_an_emptied_bundle_withdraws_everything(stage: Stage) -> None:
    empty = PARTNER.document(spiffe_sequence=2, keys=[])
    assert numbers(stage, PARTNER.document(), empty) == [(1, False), (2, False)]
    assert stage.house.trust.bundles["partner.example"].x509_authorities == ()


# --- when it is asked ---


def test_an_endpoint_is_asked_by_its_own_hint_and_never_in_a_rush(stage: Stage) -> None:
    clock: FixedClock = stage.clock
    with an_endpoint(PARTNER.document(spiffe_refresh_hint=0)) as server:
        add(stage, server.url("/bundle"))
        assert run(federation.ask_those_due(stage.house)) == 0
        clock.advance(seconds=31)
        assert run(federation.ask_those_due(stage.house)) == 1
        assert len(server.asked) == 2


def test_an_endpoint_that_fails_is_asked_again_in_time_and_not_before(stage: Stage) -> None:
    with an_endpoint(lambda: (500, {}, b"")) as server:
        add(stage, server.url("/bundle"))
        for _ in range(5):
            run(federation.ask_those_due(stage.house))
        assert len(server.asked) == 1
        stage.clock.advance(minutes=6)
        assert run(federation.ask_those_due(stage.house)) == 1
        assert len(stage.entries("federation.failed")) == 1  # a failure that goes on is told once


def test_a_domain_that_is_silent_for_a_week_is_trusted_no_longer(stage: Stage) -> None:
    answers = [(200, {"content-type": "application/json"}, PARTNER.document())]
    with an_endpoint(lambda: answers.pop() if answers else (503, {}, b"")) as server:
        add(stage, server.url("/bundle"))
        stage.clock.advance(seconds=MAX_SILENCE.total_seconds() - 60)
        ask(stage)
        assert held(stage) == 1
        stage.clock.advance(minutes=2)
        ask(stage)
        assert held(stage) is None
        answers.append((200, {"content-type": "application/json"}, PARTNER.document()))
        assert ask(stage)["is_trusted"]


def test_a_slow_endpoint_is_given_up(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    from charter.adapters import bundle_fetch

    monkeypatch.setattr(bundle_fetch, "SECONDS", 0.1)

    def slow() -> Any:
        time.sleep(0.4)
        return 200, {}, b""

    with an_endpoint(slow) as server:
        given = {"url": server.url("/bundle"), "profile": "https_web", "networks": LOOPBACK}
        adding = federation.add(stage.house, "partner.example", given, actor=ACTOR, reason="a test")
        assert "did not answer within" in run(adding, settles=0.6)["failure"]


def test_a_relationship_that_ended_while_it_was_asked_stays_ended(stage: Stage) -> None:
    """The answer comes after the removal: it must not bring the trust back."""
    with an_endpoint() as server:
        add(stage, server.url("/bundle"))
        kept = stage.house.database.read(lambda tx: tx.trust.federation("partner.example"))
        assert kept is not None
        run(federation.remove(stage.house, "partner.example", actor=ACTOR, reason="a test"))
        run(federation._ask(stage.house, kept))
        assert held(stage) is None
        assert federation.listing(stage.house) == []
        with pytest.raises(CharterError, match="no relationship"):
            ask(stage)
