"""Failed authentications: counted, told once a minute, and slowed down without harming bystanders."""

from __future__ import annotations

import pytest

from charter.core.canonical import canonical
from charter.core.errors import ErrorCode, ThrottledError
from charter.evidence.entry import MAX_ENTRY_BYTES
from charter.identity import failures
from charter.identity.failures import MAX_NAMED, PER_CLIENT, PER_SOURCE, Failures, source_of
from fakes import FixedClock


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def counted(clock: FixedClock) -> Failures:
    return Failures(clock)


def fail(counted: Failures, times: int, source: str = "192.0.2.7", client: str = "") -> None:
    for _ in range(times):
        counted.failed(source, ErrorCode.BAD_CLIENT, client)


def is_throttled(counted: Failures, source: str = "192.0.2.7", client: str = "") -> bool:
    try:
        counted.check(source, client)
    except ThrottledError as err:
        return 1 <= err.retry_after_seconds <= 61
    return False


def test_a_minutes_failures_are_one_entry_however_many(counted: Failures, clock: FixedClock) -> None:
    fail(counted, 5000)
    fail(counted, 2, source="198.51.100.1")
    assert counted.drain() == []
    clock.advance(seconds=60)
    (draft,) = counted.drain()
    assert counted.drain() == []
    assert (draft.kind.value, draft.actor, draft.principal) == ("authentication.failures", "charter", None)
    assert (draft.body["count"], draft.body["sources"]) == (5002, 2)
    assert draft.body["worst"] == [
        {"source": "192.0.2.7", "count": 5000, "codes": {"bad_client": 5000}},
        {"source": "198.51.100.1", "count": 2, "codes": {"bad_client": 2}},
    ]


def test_a_quiet_minute_is_no_entry(counted: Failures, clock: FixedClock) -> None:
    for _ in range(5):
        clock.advance(minutes=1)
        assert counted.drain() == []


def test_what_was_counted_before_the_end_is_told_at_the_end(counted: Failures) -> None:
    fail(counted, 3)
    (draft,) = counted.drain(early=True)
    assert draft.body["count"] == 3


@pytest.mark.parametrize(("client", "limit"), [("prn_1", PER_CLIENT), ("", PER_SOURCE)])
def test_too_many_failures_within_a_minute_are_slowed_down(
    counted: Failures, clock: FixedClock, client: str, limit: int
) -> None:
    fail(counted, limit - 1, client=client)
    assert not is_throttled(counted, client=client)
    fail(counted, 1, client=client)
    assert is_throttled(counted, client=client)
    clock.advance(seconds=60)
    assert not is_throttled(counted, client=client)


@pytest.mark.parametrize(
    ("source", "client"), [("192.0.2.7", "prn_2"), ("192.0.2.7", ""), ("198.51.100.1", "prn_1"), ("198.51.100.1", "")]
)
def test_nobody_else_is_slowed_down(counted: Failures, source: str, client: str) -> None:
    fail(counted, 1000, client="prn_1")
    assert not is_throttled(counted, source, client)


def test_addresses_without_end_stay_within_bounds(
    counted: Failures, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "MAX_COUNTED", 200)
    for number in range(2000):
        counted.failed(f"10.{number >> 8}.{number & 255}.1", ErrorCode.BAD_TOKEN)
    assert len(counted._window.sources) <= 201
    assert len(counted._window.pairs) <= 201
    assert is_throttled(counted, "10.200.1.1")
    clock.advance(minutes=1)
    (draft,) = counted.drain()
    assert draft.body["count"] == 2000
    assert len(draft.body["worst"]) == MAX_NAMED
    assert len(canonical(draft.body)) < MAX_ENTRY_BYTES / 2


def test_the_largest_entry_there_can_be_fits_into_the_log(counted: Failures, clock: FixedClock) -> None:
    for number in range(MAX_NAMED):
        for code in ErrorCode:
            counted.failed(f"2001:db8:{number:x}::1", code)
    clock.advance(minutes=1)
    (draft,) = counted.drain()
    assert len(canonical(draft.body)) < MAX_ENTRY_BYTES


def test_entries_that_nobody_takes_are_bounded(counted: Failures, clock: FixedClock) -> None:
    for _ in range(500):
        fail(counted, 1)
        clock.advance(minutes=1)
    assert len(counted.drain()) == failures.MAX_UNTOLD


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::1", "::/64"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("?", "?"),
        ("x" * 500, "x" * 64),
    ],
)
def test_a_source_is_what_one_stranger_has_at_least(address: str, source: str) -> None:
    assert source_of(address) == source
