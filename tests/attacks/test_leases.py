"""Leases under attack: privilege beyond the grant, roles that outlive their lease, systems that do not answer."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from charter.bootstrap import authority, inventory, lease_keeping, leasing, rotation, vault
from charter.bootstrap.leasing import Given, NotGiven
from charter.bootstrap.rotation import Wish
from charter.core.errors import AbsentError, ConflictError, ErrorCode, UnavailableError
from charter.gateway.pins import UpstreamError
from charter.identity.rotation import retire_ended
from charter.lifecycle import leases
from charter.registry.lease import LeaseState
from charter.registry.standing import Move
from fakes import FakeProvider
from identity_stage import ClientKeyPair
from leasing_stage import (
    READ_AND_WRITE,
    READ_ORDERS,
    WHO,
    LeaseStage,
    Orders,
    a_lease_house,
    an_orders_database,
    lease_files,
    orders_system,
)
from rotation_stage import bare

LEAK = """
CREATE FUNCTION public.leak() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER AS 'SELECT what FROM public.secrets'
"""
SHOWN = "CREATE VIEW public.shown AS SELECT * FROM public.secrets; GRANT SELECT ON public.shown TO PUBLIC"
NOWHERE = Orders("", "broker", "orders", "/nowhere")


@contextmanager
def a_fake_house(
    folder: Path, grants: Any = (READ_ORDERS,), **changed: Any
) -> Iterator[tuple[LeaseStage, FakeProvider]]:
    """A house whose system makes credentials in memory."""
    provider = FakeProvider()
    with a_lease_house(folder, NOWHERE, grants, **changed) as stage:
        stage.house.leasing.providers = {"postgres": lambda: provider}
        yield stage, provider


@pytest.fixture
def orders(postgres_url: str) -> Iterator[Orders]:
    with an_orders_database(postgres_url) as made:
        yield made


# --- privilege beyond the grant ---


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("public", "said"),
    [
        ("GRANT SELECT ON public.secrets TO PUBLIC", "SELECT on public.secrets"),
        ("GRANT SELECT (what) ON public.secrets TO PUBLIC", "SELECT on public.secrets"),
        ("GRANT UPDATE ON public.orders TO PUBLIC", "UPDATE on public.orders"),
        ("GRANT CREATE ON SCHEMA public TO PUBLIC", "CREATE in the schema public"),
        ("GRANT UPDATE ON SEQUENCE public.orders_id_seq TO PUBLIC", "UPDATE on the sequence public.orders_id_seq"),
        (LEAK, "EXECUTE public.leak, which runs as its owner"),
        ("SELECT lo_create(4711); GRANT SELECT ON LARGE OBJECT 4711 TO PUBLIC", "use of the large object 4711"),
        (
            "CREATE VIEW public.shown AS SELECT * FROM public.secrets; GRANT SELECT ON public.shown TO PUBLIC",
            "public.shown",
        ),
    ],
    ids=["table", "column", "verb", "schema", "sequence", "function", "large object", "view"],
)
def test_what_everyone_may_do_is_not_slipped_to_a_lease(tmp_path: Path, orders: Orders, public: str, said: str) -> None:
    """The defaults of the schema public, up to PostgreSQL 14, among them."""
    orders.run(*public.split("; "))
    with a_lease_house(tmp_path, orders) as stage:
        with pytest.raises(UpstreamError, match="could do more than it was granted") as caught:
            stage.lease()
        assert said in caught.value.detail
        assert caught.value.code == "excess_privilege"
        assert orders.roles() == []
        assert stage.house.leasing.book.open == {}


@pytest.mark.postgres
def test_what_reaches_no_data_is_told_and_not_held_against_the_lease(tmp_path: Path, orders: Orders) -> None:
    with a_lease_house(tmp_path, orders) as stage:
        given = stage.lease()
    assert "temporary tables" in given.lease.handle["public"]
    assert "signing in to the database postgres" in given.lease.handle["public"]


@pytest.mark.postgres
def test_a_table_whose_name_is_sql_is_a_table_and_nothing_else(tmp_path: Path, orders: Orders) -> None:
    """An estate cannot name such a table; whoever gets past that finds names quoted."""
    from charter.adapters.postgres_leases import PostgresLeases
    from charter.core.values import Secret
    from charter.registry.lease import Right
    from leasing_stage import PASSWORD

    name = 'orders"; DROP TABLE public.orders; --'
    quoted = '"' + name.replace('"', '""') + '"'
    orders.run(f"CREATE TABLE public.{quoted} (a int)", f'ALTER TABLE public.{quoted} OWNER TO "{orders.broker}"')
    with a_lease_house(tmp_path, orders) as stage:
        lease = stage.lease().lease
        record = stage.house.live.systems["orders-db"]
        odd = Right("read", f"public.{name}", ("select",), "vrd_1")
        from dataclasses import replace

        provider = PostgresLeases(lambda _record, _ref: Secret(PASSWORD.encode()), stage.house.entropy)
        handle = {"role": "charter_lea_" + 'x"; DROP TABLE public.orders; --'}
        strange = replace(lease, id="lea_strange", rights=(odd,), handle=handle)
        credential = provider.issue(record, strange)
        assert credential.variables["PGUSER"].reveal().decode() == handle["role"]
        assert orders.ask("SELECT count(*) FROM public.orders") == [(2,)]
        assert provider.revoke(record, strange) == "removed"
        assert orders.ask("SELECT count(*) FROM public.orders") == [(2,)]


@pytest.mark.postgres
def test_an_agent_cannot_give_away_or_keep_what_it_was_lent(tmp_path: Path, orders: Orders) -> None:
    with a_lease_house(tmp_path, orders, [READ_AND_WRITE]) as stage:
        one, other = stage.lease(), stage.lease("other-agent")
        with stage.connect(one) as connection:
            theirs = other.lease.handle["role"]
            for statement in (
                f"ALTER ROLE \"{one.lease.handle['role']}\" VALID UNTIL 'infinity'",
                f"ALTER ROLE \"{theirs}\" PASSWORD 'mine'",
                f'GRANT "{theirs}" TO "{one.lease.handle["role"]}"',
                f'SET ROLE "{theirs}"',
                "CREATE FUNCTION public.stay() RETURNS int LANGUAGE sql AS 'SELECT 1'",
                "COPY public.orders TO PROGRAM 'cat'",
                "ALTER SYSTEM SET log_statement = 'all'",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement.encode())
            connection.execute(f'GRANT SELECT ON public.orders TO "{theirs}"'.encode())  # no more than a warning
        acl = "SELECT has_table_privilege(%s, 'public.orders', 'INSERT')"
        assert orders.ask(acl, theirs) == [(False,)]


@pytest.mark.postgres
def test_an_agent_can_lengthen_no_password_of_its_own(tmp_path: Path, orders: Orders) -> None:
    """A role may change its own password; the lease's end is not the password's alone: the role is dropped."""
    with a_lease_house(tmp_path, orders) as stage:
        given = stage.lease()
        with stage.connect(given) as connection:
            connection.execute("ALTER ROLE CURRENT_USER PASSWORD 'my-own'")
        stage.connect(given, password="my-own").close()
        stage.inner.clock.advance(minutes=15)
        stage.look()
        with pytest.raises(psycopg.OperationalError):
            stage.connect(given, password="my-own")
        assert orders.roles() == []


# --- who may have one ---


def test_nobody_else_renews_or_gives_back_a_lease(tmp_path: Path) -> None:
    with a_fake_house(tmp_path) as (stage, _):
        lease = stage.lease().lease
        stage.inner.clock.advance(minutes=5)
        with pytest.raises(AbsentError):
            stage.renew(lease, "other-agent")
        with pytest.raises(AbsentError):
            stage.run(leasing.give_back(stage.house.leasing, lease.id, stage.bearer("other-agent"), 5))
        assert stage.kept(lease).state is LeaseState.ISSUED


def test_a_killed_agent_gets_no_lease_and_renews_none(tmp_path: Path) -> None:
    with a_fake_house(tmp_path) as (stage, provider):
        bearer, lease = stage.bearer(), stage.lease().lease
        stage.move(Move.KILL)
        found = stage.run(leasing.request(stage.house.leasing, bearer, "orders-db"))
        assert isinstance(found, NotGiven)
        assert "is revoked" in found.refusals[0][2].verdict.reasons[0].text
        with pytest.raises(AbsentError):
            stage.run(leasing.renew(stage.house.leasing, lease.id, bearer))
        assert provider.made == {}


@pytest.mark.parametrize(
    ("deed", "why"),
    [
        ("key", "is revoked|is not one of"),
        ("narrowed", "nothing on|does not grant|grants nothing|no grant"),
        ("retired", "is retired|is not registered|was withdrawn"),
        ("system", "was changed since the lease"),
        ("restrained", "restrained"),
        ("expired", "expired on"),
    ],
)
def test_whatever_ends_authority_ends_leases_too(tmp_path: Path, deed: str, why: str) -> None:
    with a_fake_house(tmp_path, [READ_AND_WRITE]) as (stage, provider):
        lease = stage.lease().lease
        house, principal = stage.house, stage.house.principal("order-agent")
        match deed:
            case "key":
                (key,) = house.live.keys_of(principal.id)
                stage.run(authority.revoke_key(house, "order-agent", key.id, actor=WHO, reason="lost"))
            case "narrowed":
                stage.inner.apply(lease_files(orders_system(NOWHERE), [{"system": "orders-db", "actions": ["write"]}]))
            case "retired":
                files = lease_files(orders_system(NOWHERE), [READ_AND_WRITE])
                stage.inner.apply({path: text for path, text in files.items() if "order-agent" not in path})
            case "system":
                stage.inner.apply(lease_files(orders_system(NOWHERE, title="Orders"), [READ_AND_WRITE]))
            case "restrained":
                stage.move(Move.RESTRAIN)
            case "expired":
                stage.inner.clock.at = dt.datetime(2027, 11, 3, tzinfo=dt.UTC)
                lease = stage.kept(lease)
                stage.house.leasing.book.open[lease.id] = _later(lease)
        stage.look()
        kept = stage.kept(lease)
        assert kept.state is LeaseState.REVOKED, kept
        import re

        assert re.search(why, kept.why), kept.why
        assert provider.made == {}


@pytest.mark.parametrize("at_once", [False, True])
def test_a_lease_outlives_the_key_that_was_replaced_and_dies_with_one_that_was_stolen(
    tmp_path: Path, at_once: bool
) -> None:
    with a_fake_house(tmp_path, [READ_AND_WRITE]) as (stage, provider):
        lease, house = stage.lease().lease, stage.house
        overlap = None if at_once else dt.timedelta(minutes=1)
        wish = Wish(WHO, "a test", at_once, overlap)
        stage.run(rotation.rotate_key(house, "order-agent", None, bare(ClientKeyPair.fresh("x")), wish))
        stage.inner.clock.advance(minutes=2)
        house.database.write(retire_ended)
        stage.look()
        assert stage.kept(lease).state is (LeaseState.REVOKED if at_once else LeaseState.ISSUED)
        assert (provider.made == {}) is at_once


def _later(lease: Any) -> Any:
    from dataclasses import replace

    return replace(lease, expires_at=dt.datetime(2028, 1, 1, tzinfo=dt.UTC))


def test_a_window_of_hours_that_closes_ends_the_lease(tmp_path: Path) -> None:
    grant = READ_ORDERS | {"when": {"hours": "08:00-18:00 UTC"}}
    with a_fake_house(tmp_path, [grant]) as (stage, _):
        stage.inner.clock.at = dt.datetime(2026, 11, 24, 17, 50, tzinfo=dt.UTC)
        lease = stage.lease().lease
        stage.inner.clock.advance(minutes=9)
        stage.look()
        assert stage.kept(lease).state is LeaseState.ISSUED
        stage.inner.clock.advance(minutes=2)
        stage.look()
        assert stage.kept(lease).state is LeaseState.REVOKED


def test_approved_rights_last_while_the_approval_is_spent_and_the_rest_asks(tmp_path: Path) -> None:
    grant = READ_ORDERS | {"approval": {"by": "payments-risk"}}
    with a_fake_house(tmp_path, [grant]) as (stage, _):
        waits = stage.ask()
        assert isinstance(waits, NotGiven)
        approval = waits.refusals[0][2].approval_id
        assert approval is not None
        stage.run(authority.answer(stage.house, approval, yes=True, person="alex@example.com", reason="fine"))
        lease = stage.lease().lease
        stage.inner.clock.advance(minutes=2)
        stage.look()
        assert stage.kept(lease).state is LeaseState.ISSUED
        again = stage.renew_after(lease)  # another approval is asked for
        assert isinstance(again, NotGiven)


def test_a_bound_on_leases_per_principal(tmp_path: Path) -> None:
    with a_fake_house(tmp_path) as (stage, _):
        for _ in range(leases.MAX_OPEN_PER_PRINCIPAL):
            stage.lease()
        with pytest.raises(ConflictError, match="has 32 leases already"):
            stage.lease()
        assert isinstance(stage.ask("other-agent"), Given)


# --- ended while it is made ---


def test_a_lease_that_is_killed_while_it_is_made_is_not_handed_over(tmp_path: Path) -> None:
    with a_fake_house(tmp_path) as (stage, provider):
        began, go_on = threading.Event(), threading.Event()
        real = provider.issue

        def slow(record: Any, lease: Any) -> Any:
            began.set()
            assert go_on.wait(10)
            return real(record, lease)

        provider.issue = slow  # type: ignore[method-assign]

        async def race() -> Any:
            asking = asyncio.ensure_future(leasing.request(stage.house.leasing, stage.bearer(), "orders-db"))
            await asyncio.to_thread(began.wait, 10)
            await authority.move(stage.house, "order-agent", Move.KILL, actor=WHO, reason="now")
            go_on.set()
            return (await asyncio.gather(asking, return_exceptions=True))[0]

        stage.bearer()
        found = stage.run(race())
        assert isinstance(found, UpstreamError), found
        stage.run(_until(lambda: not stage.house.leasing.busy))
        assert len(provider.made) == 1  # it came to be, and nobody has it
        stage.look()
        assert provider.made == {}
        assert stage.house.leasing.book.open == {}


async def _until(is_so: Any) -> None:
    for _ in range(500):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come about")


def test_an_answer_that_got_lost_is_looked_for_and_taken_back(tmp_path: Path) -> None:
    with a_fake_house(tmp_path) as (stage, provider):
        provider.lost_answer = True
        with pytest.raises(UpstreamError, match="the answer got lost") as caught:
            stage.lease()
        assert caught.value.sent
        assert len(provider.made) == 1
        stage.look()
        assert provider.made == {}
        assert [e["body"]["state"] for e in stage.inner.entries("lease.revoked")] == ["revoked"]


# --- systems that do not answer, processes that die ---


def test_a_system_that_is_down_while_a_lease_is_revoked_is_asked_again_and_never_forgotten(tmp_path: Path) -> None:
    with a_fake_house(tmp_path) as (stage, provider):
        lease = stage.lease().lease
        provider.down = "the database does not answer"
        steps = stage.move(Move.KILL)
        assert "0 of 1 leases revoked; the rest is tried again" in steps
        kept = stage.kept(lease)
        assert (kept.state, kept.attempts, kept.error) == (LeaseState.REVOKING, 1, "the database does not answer")
        assert stage.house.leasing.book.counts() == {"in_use": 0, "revoking": 1, "overdue": 1}
        assert inventory.status(stage.house)["leases"]["overdue"] == 1
        shown = inventory.dossier(stage.house, lease.holder.principal_name)["leases"]
        assert [(each["id"], each["overdue"], each["error"]) for each in shown] == [(lease.id, True, kept.error)]
        stage.look()  # too early
        assert provider.attempts == 1
        for attempt in range(2, 12):
            stage.inner.clock.advance(minutes=5)
            stage.look()
            assert stage.kept(lease).attempts == attempt
        told = [entry["body"]["attempts"] for entry in stage.inner.entries("lease.not-revoked")]
        assert told == [1, 2, 4, 8]  # the log does not grow with each
    with a_fake_house(tmp_path) as (stage, again):  # Charter was restarted meanwhile
        again.made = dict(provider.made)
        stage.inner.clock.advance(hours=2)  # the clock of before stood later
        stage.look()
        assert again.made == {}
        assert stage.kept(lease).state is LeaseState.REVOKED


@pytest.mark.postgres
def test_a_real_database_that_lets_nobody_in_is_asked_again(tmp_path: Path, orders: Orders) -> None:
    with a_lease_house(tmp_path, orders) as stage:
        given = stage.lease()
        orders.run(f'ALTER ROLE "{orders.broker}" NOLOGIN')
        stage.move(Move.KILL)
        kept = stage.kept(given.lease)
        assert (kept.state, kept.is_overdue) == (LeaseState.REVOKING, True)
        assert "cannot be reached" in kept.error
        orders.run(f'ALTER ROLE "{orders.broker}" LOGIN')
        stage.inner.clock.advance(seconds=2)
        stage.look()
        assert stage.kept(given.lease).state is LeaseState.REVOKED
        assert orders.roles() == []


def _never_confirms(patch: pytest.MonkeyPatch) -> None:
    """Let the process be gone, or the store, right after the credential was made."""

    def gone(*_: Any) -> Any:
        raise UnavailableError(ErrorCode.STORE_FAILED, "the disk is full")

    patch.setattr(leases, "confirm", gone)


@pytest.mark.postgres
def test_a_process_that_dies_between_making_and_telling_leaves_no_role(tmp_path: Path, orders: Orders) -> None:
    with a_lease_house(tmp_path, orders) as stage, pytest.MonkeyPatch.context() as patch:
        _never_confirms(patch)
        with pytest.raises(UnavailableError):
            stage.lease()
        assert len(orders.roles()) == 1
        (lease,) = stage.house.leasing.book.open.values()
        assert lease.state is LeaseState.RECORDED
    with a_lease_house(tmp_path, orders) as stage:
        kept = stage.kept(lease)
        assert (kept.state, kept.why) == (LeaseState.REVOKING, "Charter stopped while it was made")
        stage.look()
        assert stage.kept(lease).state is LeaseState.REVOKED
        assert orders.roles() == []


def test_a_store_that_fails_right_after_the_making_leaves_nothing_either(tmp_path: Path) -> None:
    with a_fake_house(tmp_path) as (stage, provider):
        with pytest.MonkeyPatch.context() as patch:
            _never_confirms(patch)
            with pytest.raises(UnavailableError):
                stage.lease()
        assert len(provider.made) == 1
        stage.look()
        assert provider.made == {}
        assert stage.house.leasing.book.open == {}


@pytest.mark.parametrize("deed", ["issue", "revoke"])
def test_a_fault_of_our_own_loses_no_lease(tmp_path: Path, deed: str) -> None:
    with a_fake_house(tmp_path) as (stage, provider):
        real = getattr(provider, deed)

        def faulty(record: Any, lease: Any) -> Any:
            if deed == "issue":
                real(record, lease)
            raise KeyError("Credentials")

        setattr(provider, deed, faulty)
        if deed == "issue":
            with pytest.raises(KeyError):
                stage.lease()
        else:
            stage.lease()
            stage.move(Move.KILL)
        (lease,) = stage.house.leasing.book.open.values()
        assert lease.state is LeaseState.REVOKING
        setattr(provider, deed, real)
        stage.inner.clock.advance(seconds=2)
        stage.look()
        assert provider.made == {}


def test_what_was_on_its_way_when_the_process_died_is_looked_for_twice(tmp_path: Path) -> None:
    """The system may finish what it was asked for after Charter is up again."""
    with a_fake_house(tmp_path) as (stage, provider):
        lease = stage.lease().lease

        def unsay(tx: Any) -> None:
            from dataclasses import replace

            tx.leases.update(replace(lease, state=LeaseState.RECORDED, issued_at=None))

        stage.house.database.write(unsay)
        late = dict(provider.made)
    with a_fake_house(tmp_path) as (stage, provider):
        stage.look()
        kept = stage.kept(lease)
        assert (kept.state, kept.seen_missing) == (LeaseState.REVOKING, 1)
        provider.made = late
        stage.inner.clock.advance(seconds=31)
        stage.look()
        assert provider.made == {}
        assert stage.kept(lease).state is LeaseState.REVOKED


def test_a_lease_is_revoked_once_however_often_it_is_asked(tmp_path: Path) -> None:
    with a_fake_house(tmp_path) as (stage, provider):
        lease = stage.lease().lease
        room = stage.house.leasing

        async def twice() -> list[Any]:
            ends = (lease_keeping.end(room, lease.id, why="a", actor=WHO, seconds=5) for _ in range(5))
            return await asyncio.gather(*ends, return_exceptions=True)

        found = stage.run(twice())
        assert all(isinstance(each, AbsentError) or each.id == lease.id for each in found)
        assert provider.attempts == 1
        assert len(stage.inner.entries("lease.ending")) == len(stage.inner.entries("lease.revoked")) == 1
        with pytest.raises(AbsentError):
            stage.run(lease_keeping.end(room, lease.id, why="a", actor=WHO, seconds=5))


def test_a_system_that_moved_is_revoked_where_it_was(tmp_path: Path) -> None:
    """Its file leads elsewhere now, and its secret is bound there; the lease knows where it was made."""
    with a_fake_house(tmp_path) as (stage, provider):
        lease = stage.lease().lease
        moved = orders_system(Orders("", "broker", "orders", "/elsewhere"))
        stage.inner.apply(lease_files(moved))
        seen: list[Any] = []
        real = provider.revoke
        provider.revoke = lambda record, each: (seen.append(record.system.postgres.host), real(record, each))[1]  # type: ignore[method-assign]
        stage.look()
        assert seen == ["/nowhere"]
        assert stage.kept(lease).state is LeaseState.REVOKED


def test_an_operator_may_say_that_it_was_removed_by_hand_after_charter_tried(tmp_path: Path) -> None:
    with a_fake_house(tmp_path) as (stage, provider):
        lease, room = stage.lease().lease, stage.house.leasing
        with pytest.raises(ConflictError, match="no attempt to revoke it has failed"):
            stage.run(lease_keeping.by_hand(room, lease.id, actor=WHO, reason="dropped"))
        provider.down = "gone for good"
        stage.run(lease_keeping.end(room, lease.id, why="a", actor=WHO, seconds=5))
        done = stage.run(lease_keeping.by_hand(room, lease.id, actor=WHO, reason="the server was scrapped"))
        assert done.state is LeaseState.REVOKED
        (entry,) = stage.inner.entries("lease.revoked")
        assert entry["body"]["how"] == f"by hand, says {WHO}: the server was scrapped"


def test_leases_go_on_while_the_keys_at_rest_are_changed(tmp_path: Path) -> None:
    with a_fake_house(tmp_path) as (stage, _):
        lease = stage.lease().lease
        keys, database = stage.house.keys, stage.house.database
        keys.rotate_master(database, None, actor=WHO, reason="due")
        keys.rotate_data(database, actor=WHO, reason="due")
        assert isinstance(stage.renew_after(lease), Given)


def test_the_keeper_ends_and_revokes_by_itself(tmp_path: Path) -> None:
    with a_fake_house(tmp_path) as (stage, provider):
        lease = stage.lease(ttl=60).lease

        async def serve() -> None:
            async with stage.house.serving():
                stage.inner.clock.advance(seconds=60)
                stage.house.leasing.wake.set()
                await _until(lambda: provider.made == {} and not stage.house.leasing.book.open)

        stage.run(serve())
        assert stage.kept(lease).state is LeaseState.REVOKED


def test_a_secret_that_is_not_there_stops_the_lease_before_anything_is_made(tmp_path: Path) -> None:
    with a_lease_house(tmp_path, NOWHERE) as stage:
        stage.run(vault.remove(stage.house, "orders", actor=WHO, reason="a test"))
        with pytest.raises(UpstreamError, match="the vault holds no secret 'orders'") as caught:
            stage.lease()
        assert not caught.value.sent
        assert stage.house.leasing.book.open == {}
