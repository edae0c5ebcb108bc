"""Behaviour: what a principal usually does is learned in bounded memory, and what is unlike it is told in bits."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from behaviour_stage import MONDAY, Watched, a_call, features, working_days
from charter.behaviour.acceptance import Accepted, check_acceptance, covers_key
from charter.behaviour.act import Answer, Call, Proof, act_of, network_of
from charter.behaviour.baseline import MAX_KEPT, Baseline, baseline_from
from charter.behaviour.bits import MOST, bits
from charter.behaviour.known import Known
from charter.behaviour.peers import Peers
from charter.behaviour.signal import Feature
from charter.behaviour.spread import Spread, Usual, spread_from
from charter.behaviour.watch import Thresholds, learn, weigh
from charter.core.errors import MalformedError
from charter.evidence.entry import Draft, EntryKind, place

LATER = MONDAY + dt.timedelta(days=43, hours=2)


@pytest.fixture(scope="module")
def known() -> Baseline:
    """Six weeks of a refund agent."""
    watched = Watched()
    assert [each for each in watched.sees(working_days(42)) if each.signal] == []
    return watched.own


def came_to(known: Baseline, call: Call) -> dict[Feature, float]:
    copy = baseline_from(json.loads(json.dumps(known.to_json())))
    return {each.feature: each.bits for each in weigh(call, copy, Peers()).contributions}


def test_what_it_always_does_comes_to_nothing(known: Baseline) -> None:
    assert sum(came_to(known, a_call(LATER, session="new")).values()) < 2


def test_an_object_never_seen_counts_the_more_the_fewer_it_meets(known: Baseline) -> None:
    folder = came_to(known, a_call(LATER, session="new", object="customer/9"))[Feature.OBJECT]
    another = came_to(known, a_call(LATER, session="new", object="charge/never"))
    assert folder > 6
    assert another.get(Feature.OBJECT, 0) < 2  # it meets a new charge in each session


def test_a_step_that_never_followed_is_a_surprise(known: Baseline) -> None:
    call = a_call(LATER, session="new", action="payout.create", effect="irreversible", object="payout/1")
    assert came_to(known, call)[Feature.SEQUENCE] > 12


def test_a_new_system_is_told_once(known: Baseline) -> None:
    found = came_to(known, a_call(LATER, session="new", system="mail", action="send", object="to/x"))
    assert Feature.COUNTERPARTY in found
    assert Feature.OBJECT not in found


def test_a_run_of_refusals_adds_up() -> None:
    watched = Watched()
    watched.sees(working_days(30))
    refused = [a_call(LATER + dt.timedelta(seconds=n), session="s", verdict="deny", layer="limit") for n in range(6)]
    found = watched.sees(refused)
    assert [Feature.DENIALS in features(each) for each in found] == [False, False, True, True, True, True]
    bits_told = [sum(one.bits for one in each.contributions) for each in found]
    assert bits_told[5] > bits_told[2] > 8


@pytest.mark.parametrize(
    ("changed", "feature"),
    [
        ({"at": LATER.replace(hour=3)}, Feature.HOURS),
        ({"network": "9.9.9.0/24"}, Feature.GEOGRAPHY),
        ({"data": ("customer-pii",)}, Feature.DATA),
        ({"initiator": "eve@example.com"}, Feature.COUNTERPARTY),
        ({"verdict": "deny", "layer": "charter", "action": "refund.all"}, Feature.PURPOSE),
    ],
)
def test_each_feature_is_told_when_it_alone_is_unusual(
    known: Baseline, changed: dict[str, object], feature: Feature
) -> None:
    assert came_to(known, replace(a_call(LATER, session="new"), **changed)).get(feature, 0) > 3  # type: ignore[arg-type]


def test_a_flood_of_calls_is_told_by_its_rate(known: Baseline) -> None:
    watched = Watched(own=baseline_from(known.to_json()))
    found = watched.sees(a_call(LATER + dt.timedelta(seconds=n), session="flood") for n in range(300))
    assert Feature.RATE in features(found[-1])
    assert max(each.score for each in found) > 16


def test_an_answer_far_larger_than_usual_is_told(known: Baseline) -> None:
    large = Answer(1, LATER, "prn_1", "payments/charge.read", 40_000_000, None, "vrd_1")
    usual = replace(large, bytes=1_000)
    assert weigh(large, known, Peers()).score > 16
    assert weigh(usual, known, Peers()).score == 0


def test_what_a_purpose_never_asked_for_is_told() -> None:
    watched = Watched(thresholds=Thresholds(act=1e9, session=1e9))  # two tasks, one after the other: both are learned
    watched.sees(working_days(20, purpose="dispute-handling"))
    watched.sees(working_days(20, start=MONDAY + dt.timedelta(days=21), action="charge.list", purpose="reports"))
    found = weigh(a_call(LATER, action="charge.list", purpose="dispute-handling"), watched.own, Peers())
    assert Feature.PURPOSE in features(found)


def test_what_raised_a_signal_is_not_learned() -> None:
    """Nobody makes an attack usual by going on with it; who says that it is normal does."""
    watched = Watched()
    watched.sees(working_days(42))
    odd = a_call(LATER, session="new", action="payout.create", effect="irreversible", object="payout/1")
    first = watched.see(odd)
    assert first.signal is not None
    for number in range(50):
        again = watched.see(replace(odd, at=LATER + dt.timedelta(hours=number), session=f"s{number}"))
    assert again.signal is not None
    until = LATER + dt.timedelta(days=30)
    watched.accepted = (
        Accepted("acc_1", "prn_1", Feature.SEQUENCE, "(start) > *", until, "m@x.y", "a new task", LATER),
    )
    quiet = watched.see(replace(odd, session="after"))
    assert quiet.signal is None
    assert quiet.accepted
    assert "payments/payout.create" in watched.own.deeds


def test_many_small_surprises_of_one_session_become_a_signal(known: Baseline) -> None:
    watched = Watched(own=baseline_from(known.to_json()), thresholds=Thresholds(act=16.0))
    calls = [
        a_call(LATER + dt.timedelta(seconds=n), session="slow", object=f"customer{n}/1", network="10.0.0.0/24")
        for n in range(9)
    ]
    found = watched.sees(calls)
    assert all(each.score < 16 for each in found)
    signal = next(each.signal for each in found if each.signal is not None)
    assert signal.by_session
    assert len(signal.contributions) > 3


def test_who_is_told_of_often_is_told_of_less_and_after_a_while_as_before() -> None:
    own = Baseline()
    assert own.weariness(LATER) == 0
    for number in range(20):
        own.tell(LATER + dt.timedelta(minutes=number))
    after = [own.weariness(LATER + dt.timedelta(days=days)) for days in (1, 7, 30, 365)]
    assert 3 < after[0] < 5
    assert after == sorted(after, reverse=True)
    assert after[3] < 0.01


def test_a_young_principal_is_held_to_its_peers() -> None:
    """Cold start: what peers do is no surprise of a newcomer, and what none of them ever did is one at once."""
    peer = Baseline()
    old = Watched()
    for act in working_days(42):
        learn(old.see(act), Baseline(), (peer,))
    peers = Peers(frozenset({"payments/charge.read", "payments/refund.create"}), "agents", peer)
    fresh = Watched(peers=peers)
    usual = fresh.see(a_call(LATER, session="n"))
    odd = fresh.see(a_call(LATER, session="m", system="mail", action="send", object="to/x"))
    assert usual.score < 4
    assert odd.score > 12
    alone = Watched().see(a_call(LATER, session="m", system="mail", action="send", object="to/x"))
    assert alone.score < odd.score


def test_a_charter_says_what_to_expect_before_anything_is_known() -> None:
    granted = Peers(frozenset({"payments/charge.read"}))
    call = a_call(LATER, session="n")
    assert weigh(call, Baseline(), granted).score < weigh(replace(call, action="x"), Baseline(), granted).score


# --- memory is bounded, and survives ---


_word = st.text(max_size=300)
_calls = st.builds(
    a_call,
    at=st.datetimes(dt.datetime(2026, 1, 1), dt.datetime(2027, 1, 1), timezones=st.just(dt.UTC)),  # noqa: DTZ001
    session=_word,
    system=_word,
    action=_word,
    object=_word,
    verdict=st.sampled_from(["allow", "deny", "escalate"]),
    layer=st.sampled_from(["charter", "limit"]),
    purpose=_word,
    initiator=_word,
    network=_word,
    data=st.lists(_word, max_size=3).map(tuple),
)


@settings(max_examples=40)
@given(st.lists(_calls, max_size=12))
def test_any_acts_are_weighed_and_what_is_learned_survives_being_kept(calls: list[Call]) -> None:
    watched = Watched()
    for each in watched.sees(calls):
        assert 0 <= each.score < 11 * MOST + 1
        assert all(0 < one.bits <= MOST for one in each.contributions)
    kept = json.loads(json.dumps(watched.own.to_json()))
    assert baseline_from(kept).to_json() == watched.own.to_json()


def test_the_fullest_baseline_is_bounded() -> None:
    own = Baseline()
    for number in range(3_000):
        name = f"{number:04}" + "x" * 196
        call = a_call(
            MONDAY + dt.timedelta(minutes=number),
            session=name,
            system=name,
            action=name,
            object=f"{name[:90]}/{name}",
            purpose=name,
            initiator=name,
            network=name,
            data=(name,),
        )
        learn(weigh(call, own, Peers()), own)
        learn(weigh(Answer(number, call.at, "p", name, 10_000, 0.5, ""), own, Peers()), own)
    assert len(json.dumps(own.to_json())) < MAX_KEPT


@given(st.dictionaries(st.text(max_size=8), st.one_of(st.none(), st.integers(), st.text(), st.lists(st.integers()))))
def test_what_is_no_baseline_is_refused(told: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="baseline"):
        baseline_from(told)


@given(st.lists(st.floats(1, 1e9), min_size=1, max_size=60))
def test_a_spread_survives_being_kept(amounts: list[float]) -> None:
    spread = Spread()
    for each in amounts:
        spread.see(each)
    kept = spread_from(spread.to_json())
    prior = Usual(5.0, 1.0)
    assert kept.tail(1_000, prior) == pytest.approx(spread.tail(1_000, prior), abs=1e-4)
    assert 0 <= spread.tail(1e12, prior) <= spread.tail(1.0, prior) <= 1


def test_names_beyond_the_room_make_new_ones_less_surprising() -> None:
    small = Known(4)
    for number in range(400):
        small.meet(f"n{number % 8}")
    assert len(small.names) == 4
    assert bits(small.newness(0.5)) < 1


# --- acts, read from evidence ---


def entry(kind: EntryKind, body: dict[str, object], principal: str | None = "prn_1") -> bytes:
    return place(Draft(kind, "prn_1", principal, body), node="nod_1", index=7, at=MONDAY).data


def test_a_verdict_is_a_call() -> None:
    body = {"verdict": "deny", "system": "payments", "tool": "t", "action": None, "object": "charge/1"}
    chain = {"purpose": "disputes", "initiator": "maria@example.com"}
    found = act_of(entry(EntryKind.VERDICT, body | {"chain": chain, "reasons": [{"layer": "charter"}]}))
    assert isinstance(found, Call)
    assert (found.deed, found.is_outside, found.purpose, found.index) == ("payments/t", True, "disputes", 7)


def test_an_outcome_is_an_answer_and_a_token_a_proof() -> None:
    used = {"cost": "0.25", "bytes": 9}
    answer = act_of(entry(EntryKind.OUTCOME, {"system": "models", "tool": "chat", "bytes": 9, "used": used}))
    assert isinstance(answer, Answer)
    assert answer.cost == 0.25
    proof = act_of(entry(EntryKind.AUTHENTICATION, {"outcome": "issued", "source": "203.0.113.9"}))
    assert isinstance(proof, Proof)
    assert proof.network == "203.0.113.0/24"
    assert act_of(entry(EntryKind.AUTHENTICATION, {"outcome": "refused", "source": "203.0.113.9"})) is None


@given(st.binary(max_size=200))
def test_what_is_no_entry_is_no_act(data: bytes) -> None:
    assert act_of(data) is None


@given(st.text(max_size=60))
def test_any_address_is_some_network(address: str) -> None:
    assert len(network_of(address)) <= 250


def test_addresses_of_one_network_are_one_place() -> None:
    assert network_of("203.0.113.9") == network_of("203.0.113.77") == "203.0.113.0/24"
    assert network_of("2001:db8:1::1") == network_of("[2001:db8:1:ffff::2]") == "2001:db8:1::/48"


# --- what is accepted ---


def test_a_key_covers_itself_and_what_begins_alike() -> None:
    assert covers_key("payments: charge/*", "payments: charge/*")
    assert covers_key("payments: *", "payments: charge/ch_1")
    assert not covers_key("payments: charge", "payments: charge/ch_1")
    assert covers_key("*", "anything")


@pytest.mark.parametrize(
    ("feature", "key", "days", "text"),
    [
        ("objects", "x", 10, "no feature"),
        ("object", "", 10, "1 to 200"),
        ("object", "x\u0000", 10, "print"),
        ("object", "x", 366, "365 days"),
        ("object", "*", 32, "31 days"),
        ("object", "x", -1, "until a moment"),
    ],
)
def test_what_cannot_be_accepted_says_why(feature: str, key: str, days: int, text: str) -> None:
    with pytest.raises(MalformedError, match=text):
        check_acceptance(feature, key, MONDAY + dt.timedelta(days=days), MONDAY)
