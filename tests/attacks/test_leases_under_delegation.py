"""Leases held on somebody's behalf: no wider than the chain, no longer, and gone with any link of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from builders import REFUND_CHARTER
from charter.bootstrap import delegation, estate, leasing
from charter.bootstrap.leasing import Given, NotGiven
from charter.core.canonical import canonical
from charter.core.errors import AbsentError
from charter.gateway.call import Bearer
from charter.identity.delegation import keep
from charter.lifecycle import directory
from charter.registry.delegation import Chain, Delegation
from charter.registry.directory import Person
from charter.registry.lease import LeaseState
from charter.registry.standing import Move
from delegations import MARIA, a_link
from fakes import FakeProvider
from houses import a_house
from leasing_stage import READ_ORDERS, WHO, LeaseStage, Orders, lease_files, orders_system

JO = "jo@example.com"
PURPOSE = "dispute-handling"
TERMS: dict[str, Any] = {"purposes": [PURPOSE], "max_ttl": "30m", "max_depth": 2}
READ_ALL = {"system": "orders-db", "actions": ["read"]}


def files(*flow_grants: Any) -> dict[str, str]:
    """Return the estate: a workflow that people lend to, and the agent that it lends to, which may read more."""
    flow = {"principal": "order-flow", "kind": "workflow", "grants": list(flow_grants)}
    flow |= {"delegation": TERMS | {"from": ["humans"], "to": ["order-agent"]}}
    agent = {"principal": "order-agent", "grants": [READ_ALL], "delegation": TERMS | {"from": ["order-flow"]}}
    return lease_files(orders_system(Orders("", "broker", "orders", "/nowhere"))) | {
        "principals/order-flow.yaml": canonical(REFUND_CHARTER | flow).decode(),
        "principals/order-agent.yaml": canonical(REFUND_CHARTER | agent).decode(),
    }


@dataclass
class Lent:
    """A house whose agent holds leases for people, through the workflow."""

    stage: LeaseStage
    provider: FakeProvider

    @property
    def house(self) -> Any:
        return self.stage.house

    def chain(self, person: str) -> str:
        """Let `person` lend to the workflow and that to the agent; return the last delegation's id."""
        house, live = self.house, self.house.live
        asked = delegation.Lending(person, "order-flow", PURPOSE)
        root = self.stage.run(delegation.make(house, asked, actor=person, door="cli", reason="a test"))["id"]
        flow, agent = self.stage.bearer("order-flow"), house.principal("order-agent")
        now = int(house.clock.now().timestamp())
        link = a_link(
            flow.principal_id,
            agent.id,
            entropy=house.entropy,
            made_at=now,
            expires_at=now + 1200,
            lender_epoch=flow.epoch,
            lender_credential=flow.credential,
        )
        chain = Chain((*live.delegations.chain_of(root).links, link))
        made = Delegation(link, root, person, flow.principal_id, "exchange")
        house.database.write(lambda tx: keep(tx, made, chain))
        return link.id

    def bearer(self, link: str | None, person: str | None) -> Bearer:
        return replace(self.stage.bearer("order-agent"), delegation=link, initiator=person)

    def ask(self, bearer: Bearer, wanted: Any = None) -> Given | NotGiven:
        return self.stage.run(leasing.request(self.house.leasing, bearer, "orders-db", wanted, None))

    def lease(self, bearer: Bearer) -> str:
        given = self.ask(bearer)
        assert isinstance(given, Given), given
        return given.lease.id

    def left(self) -> set[str]:
        """Return the leases whose credentials are there."""
        return {name.removeprefix("fake-") for name in self.provider.made}


@pytest.fixture
def lent(tmp_path: Path) -> Iterator[Lent]:
    with a_house(tmp_path, files=files(READ_ORDERS)) as inner:
        stage, provider = LeaseStage(inner), FakeProvider()
        stage.house.pipeline.upstream = stage.house.reach
        stage.house.leasing.providers = {"postgres": lambda: provider}
        try:
            yield Lent(stage, provider)
        finally:
            stage.run(stage.house.pipeline.settled())
            stage.runner.close()


def test_a_lease_holds_what_every_link_may_do_and_no_more(lent: Lent) -> None:
    bearer = lent.bearer(lent.chain(MARIA), MARIA)
    given = lent.ask(bearer)
    assert isinstance(given, Given)
    assert [(right.action, right.on) for right in given.lease.rights] == [("read", "public.orders")]
    wider = lent.ask(bearer, {"read": ["public.orders", "public.items"]})
    assert isinstance(wider, NotGiven)
    assert [(on, refused.verdict.reasons[0].link) for _, on, refused in wider.refusals] == [
        ("public.items", "order-flow")
    ]
    own = lent.ask(lent.bearer(None, None))
    assert isinstance(own, Given)
    assert len(own.lease.rights) == 3


def test_a_lease_ends_with_what_was_lent_at_the_latest(lent: Lent) -> None:
    given = lent.ask(lent.bearer(lent.chain(MARIA), MARIA))
    assert isinstance(given, Given)
    assert given.lease.ends_at == lent.house.clock.now() + dt.timedelta(seconds=1200)
    assert given.lease.expires_at <= given.lease.ends_at


def test_a_lease_for_one_initiator_is_neither_renewed_nor_given_back_for_another(lent: Lent) -> None:
    marias, jos = (lent.bearer(lent.chain(who), who) for who in (MARIA, JO))
    lease = lent.lease(marias)
    lent.stage.inner.clock.advance(minutes=5)
    for thief in (jos, lent.bearer(None, None)):
        with pytest.raises(AbsentError):
            lent.stage.run(leasing.renew(lent.house.leasing, lease, thief))
        with pytest.raises(AbsentError):
            lent.stage.run(leasing.give_back(lent.house.leasing, lease, thief, 1))
    assert isinstance(lent.stage.run(leasing.renew(lent.house.leasing, lease, marias)), Given)
    assert lent.left() == {lease}


def _withdrawn(lent: Lent, _link: str) -> None:
    deed = delegation.withdraw(lent.house, {"person": MARIA}, actor=WHO, reason="a test")
    assert lent.stage.run(deed)["leases_revoked"] == 1


def _link_withdrawn(lent: Lent, link: str) -> None:
    lent.stage.run(delegation.withdraw(lent.house, {"link": link}, actor=WHO, reason="a test"))


@pytest.mark.parametrize("deed", [_withdrawn, _link_withdrawn], ids=["by person", "by link"])
def test_with_a_delegation_end_its_leases_before_that_is_answered_and_no_others(
    lent: Lent, deed: Callable[[Lent, str], None]
) -> None:
    link = lent.chain(MARIA)
    marias = lent.lease(lent.bearer(link, MARIA))
    others = {lent.lease(lent.bearer(lent.chain(JO), JO)), lent.lease(lent.bearer(None, None))}
    assert lent.left() == {marias, *others}
    deed(lent, link)
    assert lent.left() == others
    lent.stage.look()
    assert lent.left() == others


def test_with_a_lender_killed_end_the_leases_of_those_it_lent_to(lent: Lent) -> None:
    lent.lease(lent.bearer(lent.chain(MARIA), MARIA))
    own = lent.lease(lent.bearer(None, None))
    assert "1 of 1 leases revoked" in lent.stage.move(Move.KILL, "order-flow")
    assert lent.left() == {own}


def test_with_someone_who_leaves_go_the_leases_of_those_they_lent_to(lent: Lent) -> None:
    house, at = lent.house, "2026-11-24T09:30:00Z"
    maria = Person("psn_maria", MARIA, MARIA, MARIA, None, True, {}, at, at)
    house.database.write(lambda tx: directory.add_person(tx, maria, house.hand(WHO)))
    lent.lease(lent.bearer(lent.chain(MARIA), MARIA))
    beside = lent.lease(lent.bearer(lent.chain(JO), JO))
    house.database.write(lambda tx: directory.change_person(tx, replace(maria, is_active=False), house.hand(WHO)))
    states = {lease.id: lease.state for lease in house.leasing.book.open.values()}
    assert [state for lease, state in states.items() if lease != beside] == [LeaseState.REVOKING]
    lent.stage.look()
    assert lent.left() == {beside}


def test_with_an_edge_switched_off_end_the_leases_that_rest_on_it(lent: Lent) -> None:
    lent.lease(lent.bearer(lent.chain(MARIA), MARIA))
    own = lent.lease(lent.bearer(None, None))
    switched = delegation.switch(lent.house, "order-flow", "order-agent", is_on=False, actor=WHO, reason="a test")
    lent.stage.run(switched)
    assert lent.left() == {own}


def test_a_lease_ends_when_the_lenders_charter_does_not_grant_it_any_more(lent: Lent) -> None:
    lease = lent.lease(lent.bearer(lent.chain(MARIA), MARIA))
    lent.stage.look()
    assert lent.left() == {lease}
    changed = files(READ_ORDERS | {"objects": ["public.items"]})
    lent.stage.run(estate.apply(lent.house, changed, plan_digest=None, actor=WHO, reason="a test"))
    lent.stage.look()
    assert lent.left() == set()
