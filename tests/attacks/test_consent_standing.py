"""What a person let a client have is nothing any more once person, client or loan is gone, whichever way it asks.

Each way to a token that begins with a person (code, refresh token, device, the word of the organisation's provider) is
tried after each withdrawal; all of them give one before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from charter.bootstrap import authority, delegation
from charter.bootstrap.house import House
from charter.core.errors import CharterError
from charter.identity.asserted import GRANT_TYPE, TYPE
from charter.lifecycle import directory
from charter.registry.directory import Person as Listed
from charter.registry.standing import Move
from consent_stage import ASSISTANT, Person, Site, a_site
from delegations import MARIA
from identity_stage import ISSUER, PAYMENTS
from lending_stage import Lending, a_lending_with
from oauth_door import Answer
from platforms import LocalIssuer, a_local_issuer

AGENT, LENA = "refund-agent", "lena@example.com"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
AT = "2026-11-24T09:30:00.000000Z"


@dataclass
class Sides:
    """Who lent what to whom, for those who take it away."""

    house: House
    person: str
    client: str

    def move(self, *moves: Move) -> None:
        for move in moves:
            asyncio.run(authority.move(self.house, self.client, move, actor="pia@example.com", reason="a test"))

    def withdraw(self, **wanted: str) -> None:
        asyncio.run(delegation.withdraw(self.house, wanted, actor="pia@example.com", reason="a test"))

    def switch_off(self, lender: str) -> None:
        deed = delegation.switch(self.house, lender, self.client, is_on=False, actor="pia@example.com", reason="x")
        asyncio.run(deed)

    def leave(self) -> None:
        given: dict[str, Any] = dict.fromkeys(("user_name", "email", "display_name"), self.person)
        given |= {"id": "psn_1", "external_id": None, "is_active": True, "body": {"userName": self.person}}
        person, hand = Listed(**given, created_at=AT, changed_at=AT), self.house.hand("okta")
        self.house.database.write(lambda tx: directory.add_person(tx, person, hand))
        self.house.database.write(lambda tx: directory.delete_person(tx, person.id, hand))


@dataclass
class Lent:
    """All that a client can hold of a person's consent, none of it used."""

    site: Site
    client_id: str
    code: str
    refresh: str
    token: str
    device: str

    @property
    def sides(self) -> Sides:
        return Sides(self.site.stage.house, LENA, ASSISTANT)

    def redeem(self) -> httpx.Response:
        return self.site.redeem(self.client_id, self.code)

    def renew(self) -> httpx.Response:
        return self.site.refresh(self.client_id, self.refresh)

    def poll(self) -> httpx.Response:
        return self.site.token(grant_type=DEVICE, client_id=self.client_id, device_code=self.device)


WAYS: dict[str, Callable[[Lent], httpx.Response]] = {"code": Lent.redeem, "refresh": Lent.renew, "device": Lent.poll}


@pytest.fixture
def lent(tmp_path: Path) -> Iterator[Lent]:
    with a_site(tmp_path) as site:
        client_id, first = site.granted()
        code = Person(site).consent(site.query(client_id))["code"]
        asked = httpx.post(f"{site.origin}/oauth/device", data={"client_id": client_id, "resource": site.resource})
        person = Person(site)
        assert "Done" in person.answer(person.http.get("/device", params={"code": asked.json()["user_code"]})).text
        yield Lent(site, client_id, code, first["refresh_token"], first["access_token"], asked.json()["device_code"])


GONE: dict[str, Callable[[Sides], None]] = {  # for good, or as long as it lasts: nothing can be lent at all
    "the client killed": lambda sides: sides.move(Move.KILL),
    "the client suspended": lambda sides: sides.move(Move.SUSPEND),
    "people's edge switched off": lambda sides: sides.switch_off("humans"),
    "the person's edge switched off": lambda sides: sides.switch_off(sides.person),
    "the person left": Sides.leave,
}
WITHDRAWALS: dict[str, Callable[[Sides], None]] = GONE | {
    "the person's loans withdrawn": lambda sides: sides.withdraw(person=sides.person),
    "the client's loans withdrawn": lambda sides: sides.withdraw(agent=sides.client),
}


def test_each_way_gives_a_token_while_all_is_well(lent: Lent) -> None:
    """Else the tests below would pass for ways that give nothing to anyone."""
    for way in WAYS.values():
        answer = way(lent)
        assert answer.status_code == 200, answer.text
        assert lent.site.call(answer.json()["access_token"]) == 200
    assert lent.site.call(lent.token) == 200


@pytest.mark.parametrize("name", WITHDRAWALS)
def test_no_way_gives_anything_once_one_side_is_gone(lent: Lent, name: str) -> None:
    WITHDRAWALS[name](lent.sides)
    made = len(lent.site.stage.upstream.calls)
    answers = {way: ask(lent) for way, ask in WAYS.items()}
    assert {way: answer.status_code for way, answer in answers.items()} == dict.fromkeys(WAYS, 400), name
    assert all("access_token" not in answer.text for answer in answers.values())
    assert lent.site.call(lent.token) == 401
    assert len(lent.site.stage.upstream.calls) == made


def test_a_resumed_client_begins_again_with_a_fresh_token(lent: Lent) -> None:
    """A suspension ends what was handed out, and not what was lent."""
    lent.sides.move(Move.SUSPEND, Move.RESUME)
    assert lent.site.call(lent.token) == 401
    assert lent.site.call(lent.renew().json()["access_token"]) == 200


# --- the provider's word ---


@pytest.fixture(scope="module")
def provider() -> Iterator[LocalIssuer]:
    with a_local_issuer() as issuer:
        yield issuer


@pytest.fixture
def lending(tmp_path: Path, provider: LocalIssuer) -> Iterator[Lending]:
    with a_lending_with(tmp_path, provider.address) as lending:
        yield lending


def ask_by_assertion(lending: Lending, provider: LocalIssuer) -> Answer:
    now = int(lending.stage.clock.now().timestamp())
    claims = {"iss": provider.address, "aud": ISSUER, "sub": "00u1", "email": MARIA, "email_verified": True}
    claims |= {"client_id": lending.id(AGENT), "resource": PAYMENTS, "iat": now, "exp": now + 300}
    assertion = provider.sign(claims | {"jti": f"jag-{len(lending.stage.entries('authentication'))}"}, typ=TYPE)
    return lending.door.post("/oauth/token", grant_type=GRANT_TYPE, assertion=assertion, **lending.client(AGENT))


@pytest.mark.parametrize("name", GONE)
def test_a_providers_word_gives_nothing_once_one_side_is_gone(
    lending: Lending, provider: LocalIssuer, name: str
) -> None:
    answer = ask_by_assertion(lending, provider)
    assert answer.status == 200, answer.body
    GONE[name](Sides(lending.stage.house, MARIA, AGENT))
    assert ask_by_assertion(lending, provider).status in (400, 401)
    with pytest.raises(CharterError):
        lending.bearer(str(answer.body["access_token"]))
