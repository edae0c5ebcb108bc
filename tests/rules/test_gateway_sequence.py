"""Steps are counted by session, and parents are told as far as they are known."""

from __future__ import annotations

import datetime as dt

import pytest

from charter.gateway.flow import IDLE, SessionKey
from charter.gateway.sequence import MAX_OF_ONE, KnownBy, Parent, Sequences
from delegations import MARIA, a_chain
from fakes import FixedClock

AT = FixedClock().now()
RUN = "ticket-7"


def test_each_session_counts_its_own_steps() -> None:
    found = Sequences()
    one, other = SessionKey("prn_a", None, "1"), SessionKey("prn_a", None, "2")

    steps = [found.step(key, AT) for key in (one, one, other, one)]

    assert [each.number for each in steps] == [1, 2, 1, 3]
    assert {each.session for each in steps} == {one.id, other.id}
    assert steps[0].to_json() == {"session": one.id, "since": "2026-11-24T09:30:00.000000Z", "step": 1, "run": "1"}


def test_a_session_that_was_idle_begins_again_and_says_since_when() -> None:
    found, key, later = Sequences(), SessionKey("prn_a"), AT + IDLE + dt.timedelta(seconds=1)

    found.step(key, AT)
    again = found.step(key, later)

    assert (again.number, again.since) == (1, later)


def test_nobody_makes_the_steps_of_others_forgotten_by_having_many_sessions() -> None:
    found, mine = Sequences(), SessionKey("prn_mine")
    found.step(mine, AT)

    for number in range(MAX_OF_ONE + 10):
        found.step(SessionKey("prn_greedy", None, str(number)), AT)

    assert found.step(mine, AT).number == 2
    assert found.step(SessionKey("prn_greedy", None, "0"), AT).number == 1  # its own oldest went
    assert len(found._counts) == MAX_OF_ONE + 1


def test_the_one_call_that_a_lender_has_under_way_is_the_parent_of_what_is_done_for_it() -> None:
    found, chain = Sequences(), a_chain("prn_boss", "prn_helper")
    boss = SessionKey("prn_boss", None, RUN)
    found.step(boss, AT)
    found.began(boss, "vrd_1")

    assert found.lender(chain, RUN, AT) == Parent(KnownBy.DELEGATION, boss.id, "vrd_1")
    assert found.lender(chain, "another-run", AT) == Parent(KnownBy.DELEGATION, boss.id, "vrd_1")

    found.began(SessionKey("prn_boss", None, "b"), "vrd_2")
    found.began(SessionKey("prn_boss", "del_other", RUN), "vrd_3")  # under authority of another kind: none of it
    assert found.lender(chain, RUN, AT) == Parent(KnownBy.DELEGATION, boss.id, "vrd_1")  # of the same run
    assert found.lender(chain, None, AT) is None  # either may be it, and no session is known: nothing is guessed

    found.ended("vrd_1")
    found.ended("vrd_2")
    assert found.lender(chain, RUN, AT) == Parent(KnownBy.DELEGATION, boss.id)
    assert found.lender(chain, RUN, AT + IDLE * 2) is None


def test_two_calls_of_one_run_leave_only_the_session_as_the_parent() -> None:
    found, chain, boss = Sequences(), a_chain(MARIA, "prn_boss", "prn_helper"), SessionKey("prn_boss", "", RUN)
    boss = SessionKey("prn_boss", chain.links[0].id, RUN)
    found.step(boss, AT)
    for verdict in ("vrd_1", "vrd_2"):
        found.began(boss, verdict)

    assert found.lender(chain, RUN, AT) == Parent(KnownBy.DELEGATION, boss.id)


@pytest.mark.parametrize("chain", [None, a_chain(MARIA, "prn_helper")])
def test_whoever_acts_by_itself_or_for_a_person_has_no_lending_principal(chain: object) -> None:
    assert Sequences().lender(chain, RUN, AT) is None  # type: ignore[arg-type]


def test_what_never_ends_is_forgotten_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charter.gateway.sequence.MAX_UNDER_WAY", 3)
    found, key = Sequences(), SessionKey("prn_a")

    for number in range(10):
        found.began(key, f"vrd_{number}")

    assert list(found._under_way) == ["vrd_7", "vrd_8", "vrd_9"]
    assert len(found._open_of["prn_a", None]) == 3
    for number in range(10):
        found.ended(f"vrd_{number}")
    assert not found._open_of
