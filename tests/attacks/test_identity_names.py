"""Nobody passes for another by a name that looks, or compares, like theirs."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charter.bootstrap import authority
from charter.core.canonical import canonical
from charter.core.errors import CharterError, MalformedError
from charter.core.values import SpiffeId, parse_name
from charter.registry.standing import Move
from fuzz_stage import World, a_world
from houses import estate_files
from identity_stage import ClientKeyPair

LOOK_ALIKE = (
    "Refund-Agent",
    "REFUND-AGENT",
    "refund-agent ",
    " refund-agent",
    "refund_agent",
    "refund-agent.",
    "refund-agent\n",
    "refund-agent\x00",
    "refund-agent/",
    "refund‐agent",  # noqa: RUF001 - U+2010
    "refund−agent",  # noqa: RUF001 - U+2212
    "refund-аgent",  # noqa: RUF001 - Cyrillic a
    "ｒefund-agent",  # noqa: RUF001 - full width
    "refund-ａgent",  # noqa: RUF001
    "refund\u00adagent",
    "refund-agent\u200b",
    "\u202etnega-dnufer",
    "réfund-agent",
    "re\u0301fund-agent",
    "refund-%61gent",
    "-refund-agent",
    "refund-agent-",
    "",
    "x" * 64,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with a_world(tmp_path_factory.mktemp("names")) as found:
        yield found


@pytest.mark.parametrize("name", LOOK_ALIKE)
def test_a_look_alike_is_no_name(name: str) -> None:
    with pytest.raises(MalformedError):
        parse_name(name)


@settings(max_examples=300)
@given(st.text(max_size=70))
def test_a_name_has_one_spelling_only(text: str) -> None:
    """What is a name is the same in small letters, in every normal form of Unicode, and in a URL."""
    try:
        name = parse_name(text)
    except MalformedError:
        return
    forms = {unicodedata.normalize(form, name) for form in ("NFC", "NFD", "NFKC", "NFKD")}
    assert forms == {name} == {name.lower(), name.casefold(), name.strip()}
    assert name.isascii()
    assert len(name) <= 63


@pytest.mark.parametrize("name", LOOK_ALIKE)
def test_no_look_alike_is_applied_beside_the_real_one(world: World, name: str) -> None:
    files = estate_files(bearing=True)
    twin = files["principals/refund-agent.yaml"].replace('"refund-agent"', canonical(name).decode())
    before = dict(world.house.live.ids)
    with pytest.raises(CharterError):
        world.stage.apply(files | {"principals/twin.yaml": twin})
    assert world.house.live.ids == before


@pytest.mark.parametrize("name", LOOK_ALIKE)
def test_a_look_alike_reaches_nobody_through_the_control_api(world: World, name: str) -> None:
    with pytest.raises(CharterError):
        asyncio.run(authority.move(world.house, name, Move.KILL, actor="a@example.com", reason="a test"))
    jwk = ClientKeyPair.fresh("x").jwk
    with pytest.raises(CharterError):
        asyncio.run(authority.register_key(world.house, name, jwk, actor="a@example.com", reason="a test"))


def clients(world: World) -> list[str]:
    principal = world.house.principal("refund-agent")
    spiffe, name = principal.spiffe_id, principal.name
    return [
        principal.id.upper(),
        principal.id + " ",
        name,
        spiffe.replace("spiffe://", "SPIFFE://"),
        spiffe.replace("spiffe://", "https://"),
        spiffe.upper(),
        spiffe + "/",
        spiffe + "?x",
        spiffe + "#x",
        spiffe.replace("refund", "%72efund"),
        spiffe.replace("/agent/", "/agent//"),
        spiffe.replace("/agent/", "/../agent/"),
        spiffe.replace("production", "sandbox"),
        spiffe.replace("charter.local", "charter.local.evil.example"),
        spiffe.replace("charter.local", "evil@charter.local"),
        spiffe.replace("charter.local", "charter.local:443"),
        *(spiffe.replace(name, each) for each in LOOK_ALIKE if each),
        *LOOK_ALIKE,
    ]


def test_no_other_spelling_of_a_client_is_that_client(world: World) -> None:
    """Each assertion is signed with the real client's own key; only what it calls itself is another spelling."""
    for spelt in clients(world):
        world.forgive()
        claims = world.claims() | {"iss": spelt, "sub": spelt}
        form = {"grant_type": "client_credentials", "resource": world.resource}
        form |= {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}
        form |= {"client_assertion": world.pair.framed(b'{"alg":"ES256","typ":"JWT"}', canonical(claims))}
        answer = world.ask(world.doors, "POST", "/oauth/token", form=form)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), spelt


@pytest.mark.parametrize(
    "domain", ["", "Charter.local", "charter.local/x", "charter local", "évil.example", "a" * 300, "x@y", "x:1"]
)
def test_a_trust_domain_has_one_spelling_too(domain: str) -> None:
    with pytest.raises(MalformedError):
        SpiffeId.of_principal(domain, "production", "agent", "refund-agent")


@pytest.mark.parametrize(
    "given", [{"owner": {"person": "m@example.com\u200b", "team": "payments-ops"}}, {"purpose": "x\u202ey"}]
)
def test_text_that_hides_something_is_not_applied(world: World, given: dict[str, Any]) -> None:
    with pytest.raises(CharterError):
        world.stage.apply(estate_files(bearing=True, **given))
