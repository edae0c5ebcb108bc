"""Names, SPIFFE IDs and secrets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.entropy import SystemEntropy, encode_base32
from charter.core.errors import MalformedError
from charter.core.values import Secret, SpiffeId, parse_action, parse_name


@pytest.mark.parametrize("name", ["a", "refund-agent", "a1", "9-lives", "x" * 63])
def test_a_good_name_is_itself(name: str) -> None:
    assert parse_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "-a", "a-", "A", "a_b", "a b", "a\n", "a\u200b", "p\u0430ypal", "ﬁ", "a/b", "x" * 64, "..", "a%2f"],
)
def test_a_bad_or_deceptive_name_is_refused(name: str) -> None:
    with pytest.raises(MalformedError):
        parse_name(name)


def test_the_message_names_the_deceptive_letter() -> None:
    with pytest.raises(MalformedError, match=r"\\u0430"):
        parse_name("p\u0430ypal")


@given(st.text(max_size=80))
def test_a_name_that_passes_is_plain_ascii(text: str) -> None:
    try:
        name = parse_name(text)
    except MalformedError:
        return
    assert name == text
    assert name.isascii()
    assert name == name.lower()


@given(st.text(max_size=140))
def test_an_action_that_passes_holds_no_space_or_quote(text: str) -> None:
    try:
        action = parse_action(text)
    except MalformedError:
        return
    assert not set(action) & set(" \"'\\\n{}")


def test_a_spiffe_id_says_domain_environment_kind_and_name() -> None:
    found = str(SpiffeId.of_principal("example.org", "production", "agent", "refund-agent"))
    assert found == "spiffe://example.org/production/agent/refund-agent"


@pytest.mark.parametrize("domain", ["", "Example.org", "a/b", "a b", "user@host"])
def test_a_bad_trust_domain_is_refused(domain: str) -> None:
    with pytest.raises(MalformedError):
        SpiffeId.of_principal(domain, "production", "agent", "a")


def test_a_secret_never_shows_itself() -> None:
    secret = Secret(b"hunter2")
    assert f"{secret} {secret!r} {[secret]}" == "*** *** [***]"
    assert secret == Secret(b"hunter2")
    assert secret != Secret(b"hunter3")


def test_identifiers_are_distinct_and_sort_by_time() -> None:
    entropy = SystemEntropy()
    made = [entropy.identifier("prn") for _ in range(1000)]
    assert len(set(made)) == 1000
    assert all(m.startswith("prn_") and len(m) == 30 for m in made)
    assert encode_base32(1 << 80) > encode_base32((1 << 80) - 1)
