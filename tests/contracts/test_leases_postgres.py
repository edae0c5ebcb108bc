"""Leases on a real PostgreSQL: the role that is made, what it may do, and how it ends."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from charter.bootstrap import leasing
from charter.bootstrap.leasing import Given, NotGiven
from charter.core.errors import AbsentError, ConflictError, MalformedError
from charter.gateway.pins import UpstreamError
from charter.registry.lease import Lease, LeaseState
from charter.registry.standing import Move
from leasing_stage import READ_AND_WRITE, READ_ORDERS, LeaseStage, Orders, a_lease_house, an_orders_database

pytestmark = pytest.mark.postgres


@pytest.fixture
def orders(postgres_url: str) -> Iterator[Orders]:
    with an_orders_database(postgres_url) as made:
        yield made


@pytest.fixture
def stage(tmp_path: Path, orders: Orders) -> Iterator[LeaseStage]:
    with a_lease_house(tmp_path, orders) as made:
        yield made


def denied(connection: Any, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement)


def test_a_lease_reads_what_was_granted_and_nothing_else(stage: LeaseStage) -> None:
    given = stage.lease()
    assert [(r.action, r.on, r.verbs) for r in given.lease.rights] == [("read", "public.orders", ("select",))]
    with stage.connect(given) as connection:
        assert connection.execute("SELECT customer FROM public.orders ORDER BY id").fetchall() == [("ada",), ("bob",)]
        for statement in (
            "INSERT INTO public.orders (customer) VALUES ('eve')",
            "UPDATE public.orders SET amount = 0",
            "DELETE FROM public.orders",
            "TRUNCATE public.orders",
            "SELECT * FROM public.items",
            "SELECT * FROM public.secrets",
            "SELECT * FROM sales.leads",
            "CREATE TABLE public.mine (a int)",
            "CREATE SCHEMA mine",
            "CREATE ROLE another",
            "SELECT pg_read_file('/etc/passwd')",
            "SET ROLE postgres",
        ):
            denied(connection, statement)


def test_verbs_are_granted_one_by_one_and_inserting_brings_its_sequence(tmp_path: Path, orders: Orders) -> None:
    with a_lease_house(tmp_path, orders, [READ_AND_WRITE]) as stage:
        given = stage.lease(wanted={"write": ["public.orders", "sales.leads"]})
        with stage.connect(given) as connection:
            connection.execute("INSERT INTO public.orders (customer) VALUES ('eve')")
            connection.execute("INSERT INTO sales.leads (name) VALUES ('eve')")
            denied(connection, "SELECT * FROM public.orders")
            denied(connection, "DELETE FROM public.orders")
            denied(connection, "SELECT setval('public.orders_id_seq', 1)")
        both = stage.lease()
        with stage.connect(both) as connection:
            connection.execute("UPDATE public.orders SET amount = 1 WHERE customer = 'eve'")
            assert len(connection.execute("SELECT * FROM public.orders").fetchall()) == 3


def test_the_role_is_of_no_other_use(stage: LeaseStage, orders: Orders) -> None:
    role = stage.lease().lease.handle["role"]
    query = """
        SELECT rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolconnlimit, rolcanlogin
        FROM pg_roles WHERE rolname = %s
    """
    assert orders.ask(query, role) == [(False, False, False, False, False, False, 20, True)]
    stored = orders.ask("SELECT rolpassword FROM pg_authid WHERE rolname = %s", role)
    assert stored[0][0].startswith("SCRAM-SHA-256$")


def test_a_wrong_password_opens_nothing(stage: LeaseStage) -> None:
    given = stage.lease()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        stage.connect(given, password="guessed")


def test_the_variables_are_those_that_libpq_reads(stage: LeaseStage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in stage.lease().credential.variables.items():
        monkeypatch.setenv(name, value.reveal().decode())
    with psycopg.connect(autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM public.orders").fetchone() == (2,)


def test_two_leases_of_one_agent_are_two_roles_and_end_singly(stage: LeaseStage, orders: Orders) -> None:
    one, other = stage.lease(), stage.lease()
    assert one.lease.handle["role"] != other.lease.handle["role"]
    from charter.bootstrap import lease_keeping

    ended = stage.run(lease_keeping.end(stage.house.leasing, one.lease.id, why="a test", actor="me", seconds=10))
    assert ended.state is LeaseState.REVOKED
    with pytest.raises(psycopg.OperationalError):
        stage.connect(one)
    with stage.connect(other) as connection:
        connection.execute("SELECT 1 FROM public.orders")
    assert orders.roles() == [other.lease.handle["role"]]


def test_a_lease_ends_with_its_time_and_takes_open_sessions_with_it(stage: LeaseStage, orders: Orders) -> None:
    given = stage.lease(ttl=60)
    connection = stage.connect(given)
    connection.execute("BEGIN")
    connection.execute("SELECT * FROM public.orders")
    stage.inner.clock.advance(seconds=59)
    stage.look()
    connection.execute("SELECT 1")
    stage.inner.clock.advance(seconds=1)
    stage.look()
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    connection.close()
    kept = stage.kept(given.lease)
    assert (kept.state, kept.why) == (LeaseState.REVOKED, "its time is over")
    assert orders.roles() == []


def test_the_database_itself_refuses_to_open_a_session_after_the_time(stage: LeaseStage, orders: Orders) -> None:
    """Also when Charter is down: VALID UNTIL."""
    stage.inner.clock.at = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=58)
    given = stage.lease(ttl=60)
    (until,) = orders.ask("SELECT rolvaliduntil FROM pg_roles WHERE rolname = %s", given.lease.handle["role"])[0]
    assert until == given.lease.expires_at
    import time

    time.sleep(max(0.0, (until - dt.datetime.now(dt.UTC)).total_seconds()) + 0.05)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        stage.connect(given)


@pytest.mark.parametrize("move", [Move.KILL, Move.SUSPEND, Move.RETIRE])
def test_a_withdrawal_ends_every_lease_before_it_is_answered(stage: LeaseStage, orders: Orders, move: Move) -> None:
    given, again = stage.lease(), stage.lease()
    bystander = stage.lease("other-agent")
    connection = stage.connect(given)
    steps = stage.move(move)
    assert "2 of 2 leases revoked" in steps
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    connection.close()
    assert {stage.kept(each.lease).state for each in (given, again)} == {LeaseState.REVOKED}
    assert orders.roles() == [bystander.lease.handle["role"]]
    stage.connect(bystander).close()


def test_what_a_role_came_to_own_is_taken_over_and_the_role_dropped(stage: LeaseStage, orders: Orders) -> None:
    """Someone gave it more meanwhile, and it made things, in this database and in another."""
    given = stage.lease()
    role = given.lease.handle["role"]
    elsewhere = f"{orders.dbname}_elsewhere"
    orders.run(f'GRANT CREATE ON SCHEMA sales TO "{role}"', f'CREATE DATABASE "{elsewhere}" OWNER "{orders.broker}"')
    try:
        with stage.connect(given) as connection:
            connection.execute("CREATE TABLE sales.mine (a int)")
        with psycopg.connect(orders.url.replace(f"/{orders.dbname}?", f"/{elsewhere}?"), autocommit=True) as other:
            other.execute(f'CREATE SCHEMA theirs AUTHORIZATION "{role}"'.encode())
        assert stage.move(Move.KILL)[-1] == "1 of 1 leases revoked"
        assert orders.roles() == []
        owner = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'mine'"
        assert orders.ask(owner) == [(orders.broker,)]
    finally:
        orders.run(f'DROP DATABASE "{elsewhere}" WITH (FORCE)')


def test_a_lease_is_renewed_within_its_end(stage: LeaseStage, orders: Orders) -> None:
    given = stage.lease()
    stage.inner.clock.advance(minutes=10)
    fresh = stage.renew(given.lease)
    assert not isinstance(fresh, NotGiven)
    assert (fresh.lease.state, fresh.lease.renewals) == (LeaseState.RENEWED, 1)
    assert fresh.lease.expires_at == given.lease.expires_at + dt.timedelta(minutes=10)
    (until,) = orders.ask("SELECT rolvaliduntil FROM pg_roles WHERE rolname = %s", given.lease.handle["role"])[0]
    assert until == fresh.lease.expires_at
    stage.connect(given).close()  # with the password of before
    for _ in range(4):
        stage.inner.clock.advance(minutes=11)
        last = stage.renew(given.lease)
        assert not isinstance(last, NotGiven)
    assert last.lease.expires_at == given.lease.ends_at
    with pytest.raises(ConflictError, match="is at its end"):
        stage.renew(given.lease)


def test_an_operator_renews_a_lease_and_policy_is_asked_all_the_same(tmp_path: Path, orders: Orders) -> None:
    with a_lease_house(tmp_path, orders, [READ_ORDERS | {"limit": [{"count": 2, "within": "1d"}]}]) as stage:
        given = stage.lease()
        stage.inner.clock.advance(minutes=5)
        assert not isinstance(stage.renew(given.lease, None), NotGiven)
        stage.inner.clock.advance(minutes=5)
        refused = stage.renew(given.lease, None)
        assert isinstance(refused, NotGiven)
        assert "limit of 2 calls within 1d" in refused.refusals[0][2].verdict.reasons[0].text


def test_what_is_asked_for_is_decided_like_any_call_and_all_of_it_or_nothing(tmp_path: Path, orders: Orders) -> None:
    limited = READ_ORDERS | {"limit": [{"count": 5, "per": "day"}]}
    with a_lease_house(tmp_path, orders, [limited]) as stage:
        refused = stage.ask(wanted={"read": ["public.orders", "public.items"]})
        assert isinstance(refused, NotGiven)
        assert [(action, on) for action, on, _ in refused.refusals] == [("read", "public.items")]
        stage.run(stage.house.pipeline.settled())
        outcomes = [entry["body"] for entry in stage.inner.entries("outcome")]
        assert [(each["outcome"], each["sent"]) for each in outcomes] == [("given-up", False)]
        for _ in range(5):  # what was given up did not count
            stage.lease()
        verdicts = [entry["body"]["verdict"] for entry in stage.inner.entries("verdict")]
    assert verdicts == ["allow", "deny"] + ["allow"] * 5


def test_the_evidence_tells_each_step_in_order(stage: LeaseStage) -> None:
    given = stage.lease()
    stage.inner.clock.advance(minutes=1)
    stage.renew(given.lease)
    stage.move(Move.KILL)
    stage.run(stage.house.pipeline.settled())
    from charter.bootstrap import evidence

    found = evidence.listing(stage.house, {}, after=None, newest=None, limit=1000)["entries"]
    mine = [
        e for e in found if e["kind"].startswith("lease.") or e["kind"] in ("verdict", "outcome", "standing.changed")
    ]
    assert [e["kind"] for e in mine] == [
        *("verdict", "lease.recorded", "lease.issued", "outcome"),
        *("verdict", "lease.renewed", "outcome"),
        *("standing.changed", "lease.ending", "lease.revoked"),
    ]
    recorded = mine[1]["body"]
    assert recorded["rights"][0]["verdict_id"] == mine[0]["body"]["verdict_id"]
    assert recorded["handle"]["role"] == given.lease.handle["role"]


def test_no_password_stands_in_evidence_database_or_listing(stage: LeaseStage, tmp_path: Path) -> None:
    from charter.bootstrap import lease_views

    given = stage.lease()
    password = given.credential.variables["PGPASSWORD"].reveal()
    shown = repr(given) + repr(lease_views.listing(stage.house, every=True)) + repr(stage.house.leasing)
    stored = b"".join(path.read_bytes() for path in (tmp_path / ".charter").glob("charter.db*"))
    assert password not in stored
    assert password.decode() not in shown


@pytest.mark.parametrize(
    ("wanted", "ttl", "error"),
    [
        ({"read": ["public.secrets"]}, None, AbsentError),
        ({"read": ['public.orders"; DROP TABLE public.orders; --']}, None, AbsentError),
        (None, 59, MalformedError),
        (None, 3601, MalformedError),
    ],
)
def test_what_the_system_does_not_lease_is_refused(stage: LeaseStage, wanted: Any, ttl: Any, error: Any) -> None:
    with pytest.raises(error):
        stage.ask(wanted=wanted, ttl=ttl)


def test_an_unknown_action_is_denied_and_recorded(stage: LeaseStage) -> None:
    refused = stage.ask(wanted={"drop": ["public.orders"]})
    assert isinstance(refused, NotGiven)
    assert "has no tool `drop`" in refused.refusals[0][2].verdict.reasons[0].text


def test_a_table_that_is_gone_is_told_and_leaves_nothing(stage: LeaseStage, orders: Orders) -> None:
    orders.run("DROP TABLE public.orders")
    with pytest.raises(UpstreamError, match=r"the database has no table `public\.orders`") as caught:
        stage.lease()
    assert not caught.value.sent
    assert orders.roles() == []
    assert [entry["body"]["state"] for entry in stage.inner.entries("lease.failed")] == ["failed"]


def test_a_maker_that_may_not_grant_is_told(stage: LeaseStage, orders: Orders) -> None:
    """GRANT by who may not grant is a mere warning."""
    orders.run("ALTER TABLE public.orders OWNER TO postgres", f'GRANT SELECT ON public.orders TO "{orders.broker}"')
    with pytest.raises(UpstreamError, match=r"may not grant select on `public\.orders`"):
        stage.lease()
    assert orders.roles() == []


def test_a_wrong_password_of_the_maker_is_told_without_being_shown(stage: LeaseStage, orders: Orders) -> None:
    orders.run(f"ALTER ROLE \"{orders.broker}\" PASSWORD 'changed'")
    with pytest.raises(UpstreamError, match="the database cannot be reached") as caught:
        stage.lease()
    assert "the-brokers-own-password" not in f"{caught.value} {caught.value.help}"


def test_many_leases_made_and_revoked_at_once_do_not_stand_in_each_others_way(
    stage: LeaseStage, orders: Orders
) -> None:
    room, bearer = stage.house.leasing, stage.bearer()

    async def make() -> list[Given | NotGiven]:
        return await asyncio.gather(*(leasing.request(room, bearer, "orders-db", None, None) for _ in range(12)))

    async def give_back(given: list[Given]) -> list[Lease]:
        return await asyncio.gather(*(leasing.give_back(room, one.lease.id, bearer, 60) for one in given))

    made = [given for given in stage.run(make()) if isinstance(given, Given)]
    assert len(made) == 12
    assert orders.roles() == sorted(given.lease.handle["role"] for given in made)
    ended = stage.run(give_back(made))
    assert {lease.state for lease in ended} == {LeaseState.REVOKED}
    assert orders.roles() == []
