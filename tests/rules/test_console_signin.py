"""One-time links, sessions, and the addresses the console answers to."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charter.console.address import Address
from charter.console.signin import MAX_FAILURES, MAX_LINKS, MAX_SESSIONS, MAX_SOURCES, SignIn, form_token
from charter.core.entropy import SystemEntropy
from charter.core.errors import MalformedError, ThrottledError, UnauthenticatedError
from fakes import CountingEntropy, FixedClock


def a_signin() -> tuple[SignIn, FixedClock]:
    clock = FixedClock()
    return SignIn(clock, CountingEntropy(), "maria@example.com", issuer="http://127.0.0.1:8420"), clock


def token_of(link: str) -> str:
    return link.rpartition("/")[2]


def test_a_link_opens_a_session_of_the_operator() -> None:
    signin, _ = a_signin()

    session_id = signin.redeem(token_of(signin.link()), source="127.0.0.1")

    session = signin.session(session_id)
    assert session is not None
    assert session.person == "maria@example.com"


def test_a_link_stands_under_the_consoles_own_address() -> None:
    signin, _ = a_signin()

    assert signin.link().startswith("http://127.0.0.1:8420/sign-in/")


def test_a_token_holds_256_bits() -> None:
    signin = SignIn(FixedClock(), SystemEntropy(), "maria", issuer="http://127.0.0.1:8420")

    assert len(token_of(signin.link())) == 43  # 32 bytes, base64url


def test_a_link_works_once() -> None:
    signin, _ = a_signin()
    token = token_of(signin.link())
    signin.redeem(token, source="127.0.0.1")

    with pytest.raises(UnauthenticatedError) as refused:
        signin.redeem(token, source="127.0.0.1")

    assert refused.value.detail == "this link has been used already, or is older than ten minutes"
    assert refused.value.help == "run `charter console`; it prints a new one"


def test_looking_at_a_link_does_not_spend_it() -> None:
    signin, _ = a_signin()
    token = token_of(signin.link())

    assert all(signin.is_open(token) for _ in range(3))
    assert signin.redeem(token, source="127.0.0.1")
    assert not signin.is_open(token)


@pytest.mark.parametrize(("seconds", "works"), [(599, True), (600, False), (3600, False)])
def test_a_link_lives_ten_minutes(seconds: int, works: bool) -> None:
    signin, clock = a_signin()
    token = token_of(signin.link())

    clock.advance(seconds=seconds)

    assert signin.is_open(token) is works
    if not works:
        with pytest.raises(UnauthenticatedError):
            signin.redeem(token, source="127.0.0.1")


@given(token=st.text(max_size=100))
@settings(max_examples=60)
def test_no_other_text_opens_anything(token: str) -> None:
    signin, _ = a_signin()
    good = token_of(signin.link())

    if token != good:
        assert not signin.is_open(token)
        assert signin.session(token) is None
        with pytest.raises(UnauthenticatedError):
            signin.redeem(token, source="127.0.0.1")
    assert signin.is_open(good)


def test_only_the_newest_links_are_kept() -> None:
    signin, _ = a_signin()

    tokens = [token_of(signin.link()) for _ in range(MAX_LINKS + 1)]

    assert [signin.is_open(t) for t in tokens] == [False] + [True] * MAX_LINKS


def test_memory_holds_no_token_and_no_session_id() -> None:
    signin, _ = a_signin()
    token, spent = token_of(signin.link()), token_of(signin.link())
    session_id = signin.redeem(spent, source="127.0.0.1")

    dump = repr(vars(signin))

    assert not [secret for secret in (token, spent, session_id, form_token(session_id)) if secret in dump]


@pytest.mark.parametrize(("minutes", "lives"), [(29, True), (30, False)])
def test_a_session_ends_after_thirty_idle_minutes(minutes: int, lives: bool) -> None:
    signin, clock = a_signin()
    session_id = signin.redeem(token_of(signin.link()), source="127.0.0.1")

    clock.advance(minutes=minutes)

    assert (signin.session(session_id) is not None) is lives


def test_a_page_that_updates_itself_does_not_keep_a_session_alive() -> None:
    signin, clock = a_signin()
    session_id = signin.redeem(token_of(signin.link()), source="127.0.0.1")

    for _ in range(29):
        clock.advance(minutes=1)
        assert signin.session(session_id, deed=False)
    clock.advance(minutes=1)

    assert signin.session(session_id, deed=False) is None


def test_a_session_ends_after_eight_hours_however_busy() -> None:
    signin, clock = a_signin()
    session_id = signin.redeem(token_of(signin.link()), source="127.0.0.1")

    for _ in range(8 * 4 - 1):
        clock.advance(minutes=15)
        assert signin.session(session_id)
    clock.advance(minutes=15)

    assert signin.session(session_id) is None


def test_signing_out_ends_the_session() -> None:
    signin, _ = a_signin()
    session_id = signin.redeem(token_of(signin.link()), source="127.0.0.1")

    signin.end(session_id)

    assert signin.session(session_id) is None


def test_signing_in_again_ends_the_session_the_browser_had() -> None:
    signin, _ = a_signin()
    first = signin.redeem(token_of(signin.link()), source="127.0.0.1")

    second = signin.redeem(token_of(signin.link()), source="127.0.0.1", replaces=first)

    assert signin.session(first) is None
    assert signin.session(second)


def test_the_session_unused_for_longest_gives_way() -> None:
    signin, clock = a_signin()
    ids = []
    for _ in range(MAX_SESSIONS):
        ids.append(signin.redeem(token_of(signin.link()), source="127.0.0.1"))
        clock.advance(seconds=1)
    signin.session(ids[0])  # used just now

    signin.redeem(token_of(signin.link()), source="127.0.0.1")

    assert signin.session(ids[0])
    assert signin.session(ids[1]) is None


def test_many_failed_sign_ins_are_told_to_wait() -> None:
    signin, clock = a_signin()
    for _ in range(MAX_FAILURES):
        with pytest.raises(UnauthenticatedError):
            signin.redeem("wrong", source="10.0.0.9")

    with pytest.raises(ThrottledError) as refused:
        signin.redeem("wrong", source="10.0.0.9")
    with pytest.raises(UnauthenticatedError):
        signin.redeem("wrong", source="10.0.0.10")
    clock.advance(seconds=61)
    with pytest.raises(UnauthenticatedError):
        signin.redeem("wrong", source="10.0.0.9")

    assert refused.value.retry_after_seconds == 60


def test_failures_never_lock_out_who_holds_a_link() -> None:
    signin, _ = a_signin()
    token = token_of(signin.link())
    for _ in range(MAX_FAILURES * 3):
        with pytest.raises((UnauthenticatedError, ThrottledError)):
            signin.redeem("wrong", source="127.0.0.1")

    assert signin.redeem(token, source="127.0.0.1")


def test_the_memory_of_failures_is_bounded() -> None:
    signin, _ = a_signin()

    for number in range(MAX_SOURCES + 50):
        with pytest.raises(UnauthenticatedError):
            signin.redeem("wrong", source=f"10.0.{number // 256}.{number % 256}")

    assert len(signin._failures) == MAX_SOURCES


def test_each_session_has_a_form_token_of_its_own() -> None:
    assert form_token("a") == form_token("a")
    assert form_token("a") != form_token("b")


@pytest.mark.parametrize(
    ("issuer", "origin", "hosts"),
    [
        (
            "http://127.0.0.1:8420",
            "http://127.0.0.1:8420",
            {"127.0.0.1:8420", "localhost:8420", "[::1]:8420"},
        ),
        ("http://localhost", "http://localhost", {"localhost", "127.0.0.1", "[::1]"}),
        ("http://0.0.0.0:8420", "http://127.0.0.1:8420", {"127.0.0.1:8420", "localhost:8420", "[::1]:8420"}),
        ("http://[::1]:9", "http://[::1]:9", {"[::1]:9", "127.0.0.1:9", "localhost:9"}),
        ("https://charter.example.com", "https://charter.example.com", {"charter.example.com"}),
        ("https://charter.example.com:443", "https://charter.example.com", {"charter.example.com"}),
        ("https://Charter.Example.com:8443/", "https://charter.example.com:8443", {"charter.example.com:8443"}),
        ("http://10.1.2.3:8420", "http://10.1.2.3:8420", {"10.1.2.3:8420"}),
    ],
)
def test_the_console_answers_to_its_own_names_alone(issuer: str, origin: str, hosts: set[str]) -> None:
    address = Address.parse(issuer)

    assert address.origin == origin
    assert address.hosts == hosts


@pytest.mark.parametrize("issuer", ["", "charter.example.com", "ftp://x", "https://", "http://[::1", "http://x:port"])
def test_what_is_no_address_is_refused(issuer: str) -> None:
    with pytest.raises(MalformedError) as refused:
        Address.parse(issuer)

    assert refused.value.detail == "the issuer is no http or https URL"


def test_over_https_the_cookie_is_secure_and_bound_to_the_host() -> None:
    address = Address.parse("https://charter.example.com")

    assert address.set_cookie("id") == ("__Host-charter=id; Path=/; Max-Age=28800; HttpOnly; SameSite=Strict; Secure")


def test_over_plain_http_the_cookie_has_neither_prefix_nor_secure() -> None:
    address = Address.parse("http://127.0.0.1:8420")

    assert address.set_cookie("id") == "charter=id; Path=/; Max-Age=28800; HttpOnly; SameSite=Strict"
    assert address.drop_cookie() == "charter=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"


@pytest.mark.parametrize(
    ("issuer", "exposed"),
    [
        ("http://127.0.0.1:1", False),
        ("http://localhost:1", False),
        ("http://0.0.0.0:1", False),
        ("https://charter.example.com", False),
        ("http://charter.example.com", True),
        ("http://10.1.2.3", True),
    ],
)
def test_plain_http_on_a_network_is_called_exposed(issuer: str, exposed: bool) -> None:
    assert Address.parse(issuer).is_exposed is exposed


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        (["charter=abc"], "abc"),
        (["a=b; charter=abc; c=d"], "abc"),
        (["a=b", "charter=abc"], "abc"),
        (["xcharter=abc"], None),
        (["charter=abc; charter=def"], None),
        (["charter=abc", "charter=abc"], None),
        (["charter"], ""),
        ([], None),
    ],
)
def test_two_session_cookies_count_as_none(headers: list[str], found: str | None) -> None:
    assert Address.parse("http://127.0.0.1").cookie_of(headers) == found
