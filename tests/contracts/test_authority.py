"""What is permitted as a table: a change of a charter, a standing, a system or a clock makes again what it touches."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
import sqlalchemy as sa

from builders import PAYMENTS_SYSTEM, REFUND_CHARTER
from charter.adapters import authority as module
from charter.adapters.applied_charters import Charters, charters_of
from charter.adapters.authority import Authority
from charter.adapters.authority_table import table_of
from charter.core.canonical import canonical
from charter.registry.standing import Standing
from charter.reports.facts import AUTHORITY
from charter.reports.permissions import Aspect, Reach
from houses import Stage, a_house, estate_files
from review_entries import a_permission

BERLIN = estate_files(grants=REFUND_CHARTER["grants"])  # 08:00-18:00 Europe/Berlin


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with a_house(tmp_path, files=BERLIN) as found:
        found.clock.advance(seconds=1)
        yield found


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return whose charters were read, each time that some were."""
    found: list[list[str]] = []

    def spied(connection: sa.Connection, principals: Sequence[str]) -> Charters:
        charters = charters_of(connection, principals)
        found.append(sorted({version[0] for version in charters.versions}))
        return charters

    monkeypatch.setattr(module, "charters_of", spied)
    return found


def asked(stage: Stage, authority: Authority, days: int = 30) -> pa.Table:
    """Ask for what was permitted at the end of the last `days`."""
    now = stage.clock.now()
    return stage.house.database.read(lambda tx: authority.table(tx.connection, now - dt.timedelta(days=days), now))


def made(stage: Stage) -> pa.Table:
    """Make it, keeping nothing."""
    return asked(stage, Authority())


def hours(table: pa.Table) -> set[int]:
    """Return the hours of the one whose charter names some."""
    return {row["hour"] for row in table.to_pylist() if (row["principal"], row["aspect"]) == ("refund-agent", "hours")}


def test_it_is_made_once_as_long_as_nothing_changes(stage: Stage, read: list[list[str]]) -> None:
    authority = Authority()
    first = asked(stage, authority)
    stage.clock.advance(days=1)
    stage.submit(stage.bearer("refund-agent"), stage.make("get_charge", {"charge_id": "ch_1"}))

    assert asked(stage, authority, days=20).equals(first)
    assert read == [["charge-reader", "refund-agent"]]
    assert first.equals(made(stage))
    assert {"refund-agent", "charge-reader"} == set(first["principal"].to_pylist())


def test_a_charter_that_changes_is_in_the_next_table(stage: Stage) -> None:
    authority = Authority()
    before = asked(stage, authority)
    stage.clock.advance(days=1)
    stage.apply(BERLIN | {"principals/refund-agent.yaml": canonical(REFUND_CHARTER | {"data": []}).decode()})
    stage.clock.advance(seconds=1)

    after = asked(stage, authority)

    assert after.equals(made(stage))
    assert "data" in before["aspect"].to_pylist()
    refund = [row["aspect"] for row in after.to_pylist() if row["principal"] == "refund-agent"]
    assert "data" not in refund


def test_who_may_no_longer_act_is_gone_from_it_and_comes_back(stage: Stage) -> None:
    authority = Authority()
    before = asked(stage, authority)
    refund = stage.house.principal("refund-agent")

    for standing, present in ((Standing.SUSPENDED, False), (Standing.RESTRAINED, True), (Standing.REVOKED, False)):
        changed = refund.chosen_to_be(standing)
        stage.house.database.write(lambda tx: tx.registry.update_principals([changed]))  # noqa: B023

        assert ("refund-agent" in set(asked(stage, authority)["principal"].to_pylist())) is present
    stage.house.database.write(lambda tx: tx.registry.update_principals([refund]))
    assert asked(stage, authority).equals(before)


def test_a_system_that_loses_an_action_is_in_the_next_table(stage: Stage) -> None:
    authority = Authority()
    assert "refund.create" in set(asked(stage, authority)["action"].to_pylist())
    stage.house.database.write(lambda tx: tx.registry.retire_system("payments"))

    assert set(asked(stage, authority)["action"].to_pylist()) == {""}
    assert asked(stage, authority).equals(made(stage))


def test_a_clock_that_is_put_back_moves_the_hours(stage: Stage) -> None:
    authority = Authority()
    stage.clock.at = dt.datetime(2027, 1, 20, tzinfo=dt.UTC)
    winter = asked(stage, authority)
    assert hours(winter) == set(range(7, 17))

    stage.clock.at = dt.datetime(2027, 6, 20, tzinfo=dt.UTC)
    assert hours(asked(stage, authority)) == set(range(6, 16))
    assert hours(asked(stage, authority, days=150)) == set(range(7, 16))  # open by the clocks of both ends


def test_periods_that_end_by_other_clocks_are_kept_by_turns(stage: Stage, read: list[list[str]]) -> None:
    authority = Authority()
    stage.clock.at = dt.datetime(2027, 6, 20, tzinfo=dt.UTC)

    for _ in range(3):
        assert hours(asked(stage, authority)) == set(range(6, 16))
        assert hours(asked(stage, authority, days=150)) == set(range(7, 16))

    assert len(read) == 2


def test_a_period_that_ends_before_the_newest_charter_has_those_of_its_time(
    stage: Stage, read: list[list[str]]
) -> None:
    authority = Authority()
    asked(stage, authority)
    before = stage.clock.now()
    stage.clock.advance(days=1)
    stage.apply(BERLIN | {"principals/refund-agent.yaml": canonical(REFUND_CHARTER | {"data": []}).decode()})
    stage.clock.advance(seconds=1)
    now = asked(stage, authority)

    since = before - dt.timedelta(days=30)
    then = stage.house.database.read(lambda tx: authority.table(tx.connection, since, before))

    assert then.num_rows == now.num_rows + 1
    often = len(read)
    assert asked(stage, authority).equals(now)
    assert len(read) == often


def test_what_there_is_no_room_for_is_made_each_time(
    stage: Stage, read: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", 1)
    whole = made(stage)
    monkeypatch.setattr(module, "KEPT_BYTES", whole.nbytes - 1)
    authority = Authority()
    read.clear()

    for _ in range(3):
        assert asked(stage, authority).equals(whole)

    assert sorted(map(read.count, (["charge-reader"], ["refund-agent"]))) == [1, 3]  # for one of them there is


def test_room_is_given_back_by_what_changed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 1)
    monkeypatch.setattr(module, "KEPT_BYTES", made(stage).nbytes)
    authority = Authority()

    for data in ([], ["customer-pii"], []):
        asked(stage, authority)
        stage.clock.advance(days=1)
        stage.apply(BERLIN | {"principals/refund-agent.yaml": canonical(REFUND_CHARTER | {"data": data}).decode()})
        stage.clock.advance(seconds=1)

    assert asked(stage, authority).equals(made(stage))
    kept = [each for blocks in authority._kept.values() for each in blocks]
    assert sum(each.nbytes for each in kept) == authority._bytes <= module.KEPT_BYTES


def test_a_change_makes_again_the_block_that_it_touches(
    stage: Stage, read: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", 1)
    authority = Authority()
    asked(stage, authority)
    assert sorted(read) == [["charge-reader"], ["refund-agent"]]
    stage.clock.advance(days=1)
    stage.apply(BERLIN | {"principals/refund-agent.yaml": canonical(REFUND_CHARTER | {"data": []}).decode()})
    stage.clock.advance(seconds=1)
    read.clear()

    after = asked(stage, authority)

    assert read == [["refund-agent"]]
    assert after.equals(made(stage))


def test_a_new_principal_and_another_system_make_nothing_again(
    stage: Stage, read: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", 1)
    authority = Authority()
    asked(stage, authority)
    read.clear()
    other = canonical(PAYMENTS_SYSTEM | {"system": "other"}).decode()
    third = canonical(REFUND_CHARTER | {"principal": "third-agent"}).decode()
    stage.clock.advance(days=1)
    stage.apply(BERLIN | {"systems/other.yaml": other, "principals/third-agent.yaml": third})
    stage.clock.advance(seconds=1)

    after = asked(stage, authority)

    assert read == [["third-agent"]]
    assert "third-agent" in after["principal"].to_pylist()


@pytest.mark.parametrize(
    ("narrowed", "looked_at"),
    [
        ({"principal": "refund-agent"}, [["refund-agent"]]),
        ({"principal": "refund-agent", "system": "payments", "team": None}, [["refund-agent"]]),
        ({"principal": "refund-agent", "kind": "copilot"}, []),
        ({"team": "no-such-team"}, []),
        ({"system": "payments"}, [["charge-reader"], ["refund-agent"]]),
    ],
)
def test_narrowed_to_some_it_is_made_of_theirs_alone(
    stage: Stage,
    read: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    narrowed: dict[str, str | None],
    looked_at: list[list[str]],
) -> None:
    monkeypatch.setattr(module, "BLOCK", 1)
    now = stage.clock.now()

    table = stage.house.database.read(lambda tx: Authority().table(tx.connection, now, now, narrowed))

    assert sorted(read) == looked_at
    assert table.schema.equals(table_of(()).schema)


def test_a_table_says_what_the_permissions_say(stage: Stage) -> None:
    now = stage.clock.now()
    reach = Reach(Aspect.OBJECTS, "payments", "a*b", "a", suffix="b")

    table = table_of([a_permission(), a_permission("", reach=reach)])
    everyone = [stage.house.principal(name).id for name in ("charge-reader", "refund-agent")]
    permitted = stage.house.database.read(lambda tx: list(charters_of(tx.connection, everyone).permissions((now, now))))

    assert table.column_names == list(AUTHORITY)
    first, second = table.to_pylist()
    assert (first["principal"], first["action"], first["aspect"], first["hour"]) == (
        "refund-agent", "charge.read", "action", -1,
    )  # fmt: skip
    assert (second["what"], second["prefix"], second["suffix"], second["is_open"]) == ("a*b", "a", "b", True)
    assert first["granted"] == dt.datetime(2026, 8, 1)  # noqa: DTZ001 - UTC without a zone
    assert table_of(permitted).equals(made(stage))
    assert table_of(()).schema.equals(table.schema)
