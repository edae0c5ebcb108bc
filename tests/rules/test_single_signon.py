"""A sign-in at the provider belongs to the browser that began it, is taken once, in time, from the provider asked."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.entropy import SystemEntropy
from charter.core.errors import UnauthenticatedError
from charter.identity.single_signon import MAX_PENDING, Identity, SingleSignOn
from charter.registry.access import Access, access_of
from charter.registry.team import Teams
from fakes import FixedClock


class OneProvider:
    label = "Example Corp"
    issuer = "https://idp.example.com"

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []

    async def address(self, *, state: str, nonce: str, verifier: str) -> str:
        return f"{self.issuer}/authorize?state={state}&nonce={nonce}&verifier={len(verifier)}"

    async def identity(self, code: str, *, nonce: str, verifier: str) -> Identity:
        self.asked.append((code, nonce, verifier))
        return Identity(self.issuer, "sub", "maria@example.com", ())


def begun() -> tuple[SingleSignOn, OneProvider, FixedClock, str, str]:
    provider, clock = OneProvider(), FixedClock()
    signon = SingleSignOn(provider, clock, SystemEntropy())
    where, browser = asyncio.run(signon.begin())
    return signon, provider, clock, parse_qs(urlsplit(where).query)["state"][0], browser


def test_the_right_answer_in_the_right_browser_is_taken_once() -> None:
    signon, provider, _, state, browser = begun()
    answer = {"state": state, "code": "c", "iss": provider.issuer}
    assert asyncio.run(signon.finish(answer, browser)).email == "maria@example.com"
    with pytest.raises(UnauthenticatedError, match="nobody here asked"):
        asyncio.run(signon.finish(answer, browser))
    assert len(provider.asked) == 1


@pytest.mark.parametrize(
    ("answer", "other_browser", "late", "why"),
    [
        ({"code": "c"}, False, False, "nobody here asked"),
        ({"state": "x", "code": "c"}, False, False, "nobody here asked"),
        ({"state": None, "code": "c"}, True, False, "another browser"),
        ({"state": None, "code": "c"}, False, True, "longer than ten minutes"),
        ({"state": None, "code": "c", "iss": "https://evil.example"}, False, False, "another provider"),
        ({"state": None, "error": "access_denied"}, False, False, "signed nobody in"),
        ({"state": None, "error": "x", "code": "c"}, False, False, "signed nobody in"),
        ({"state": None}, False, False, "signed nobody in"),
        ({"state": None, "code": ""}, False, False, "signed nobody in"),
    ],
)
def test_any_other_answer_opens_nothing(answer: dict[str, str], other_browser: bool, late: bool, why: str) -> None:
    signon, provider, clock, state, browser = begun()
    told = {name: state if value is None else value for name, value in answer.items()}
    if late:
        clock.advance(minutes=10)
    with pytest.raises(UnauthenticatedError, match=why):
        asyncio.run(signon.finish(told, "x" if other_browser else browser))
    assert provider.asked == []


def test_strangers_cannot_fill_the_memory() -> None:
    signon, *_ = begun()
    for _ in range(MAX_PENDING + 50):
        asyncio.run(signon.begin())
    assert len(signon._pending) == MAX_PENDING


names = st.sampled_from(["a", "A", "b", "everyone", ""])


@given(st.lists(names), st.lists(names), st.lists(names), st.lists(names))
def test_access_is_the_most_that_a_persons_groups_give(
    viewer: list[str], operator: list[str], admin: list[str], mine: list[str]
) -> None:
    lists = {"viewer": viewer, "operator": operator, "admin": admin}
    named = {step: [each for each in groups if each] for step, groups in lists.items()}
    found = access_of(Teams.model_validate({"charter": "v1", "access": named}), mine)
    have = {each.lower() for each in mine if each}
    given_ = [step for step, groups in named.items() if have & {group.lower() for group in groups}]
    assert (found.word if found else None) == (given_[-1] if given_ else None)


def test_without_access_in_teams_nobody_comes_in() -> None:
    assert access_of(Teams(charter="v1"), ["everyone"]) is None
    assert Access.VIEWER < Access.OPERATOR < Access.ADMIN
