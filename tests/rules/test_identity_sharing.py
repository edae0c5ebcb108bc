"""Uses held against each other: one sender is never two, whatever it does; two are, whatever they do."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from charter.identity.bearer import Bearer, Binding, Confirmation
from charter.identity.sharing import AGAIN_SECONDS, MAX_FOLLOWED, MAX_TOLD, Uses
from charter.identity.trail import HANDOVER_SECONDS
from charter.identity.use import Deed, Sharing, Use
from charter.registry.charter import CredentialType
from charter.registry.principal import ClientKey, LiveEstate
from charter.registry.standing import Standing
from charter.registry.terms import Bearing, Terms, Usage
from fakes import FixedClock
from identity_stage import a_principal

AT = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
OFFICE, ABROAD = "8.8.8.8", "9.9.9.9"


class World:
    """A principal with a key, and what is noticed of its uses."""

    def __init__(self, **usage: Any) -> None:
        self.clock, self.live = FixedClock(), LiveEstate()
        terms = Terms(CredentialType.PRIVATE_KEY_JWT, Bearing.ALLOWED, usage=Usage(**usage))
        for number, name in enumerate(("agent", "other")):
            principal = a_principal(name, terms=terms)
            self.live.principals[principal.id] = principal
            self.live.put_key(ClientKey(f"crd_{number}", principal.id, f"key-{name}", {}, Standing.ACTIVE, AT))
        self.uses = Uses(self.live, self.clock)
        self.tokens = 0

    def bearer(self, key: str | None = None, token: str | None = None, name: str = "agent") -> Bearer:
        self.tokens += token is None
        bound = Confirmation(Binding.JKT, key) if key else None
        return Bearer(
            f"prn_{name}", name, 0, "sha256:0", token or f"tok_{self.tokens}", f"key-{name}", 2**31, bound_to=bound
        )

    def called(self, source: str, bearer: Bearer | None = None, *, after: float = 0) -> list[Sharing]:
        self.clock.advance(seconds=after)
        return [each.kind for each in self.uses.called(bearer or self.bearer(), source, "payments")]

    def issued(self, name: str, *marks: str, source: str = OFFICE) -> list[Sharing]:
        use = Use(f"prn_{name}", f"key-{name}", Deed.TOKEN, self.clock.now(), source=source, token="t", entry=1)
        return [each.kind for each in self.uses.issued(use, marks)]


# one host: the addresses of its NAT's pool, in both families, however they are spelled
_ONE_HOST = st.sampled_from(
    ["8.8.8.8", "8.8.8.9", "::ffff:8.8.8.10", "2a00:1450:4001:1::a", "2A00:1450:4001:2::B", "2a00:1450:4001::1%eth0"]
)


@given(st.lists(st.tuples(_ONE_HOST, st.floats(0, 400), st.booleans()), max_size=60), st.booleans())
def test_one_sender_is_never_told_as_two(uses: Sequence[tuple[str, float, bool]], bound: bool) -> None:
    """It is behind NAT, has both kinds of address, fetches tokens and rotates its key as it likes."""
    world = World(instances=1 if bound else None)
    keys, bearer = 0, world.bearer("k0" if bound else None)
    for source, pause, rotates in uses:
        if rotates:
            keys += 1
            bearer = world.bearer(f"k{keys}" if bound else None)
            assert world.issued("agent", f"k{keys}", source=source) == []
        assert world.called(source, bearer, after=pause) == []


@given(st.lists(st.tuples(st.booleans(), st.floats(0.01, 200)), max_size=60))
def test_two_who_use_one_credential_are_found_however_they_alternate(uses: Sequence[tuple[bool, float]]) -> None:
    world, found = World(), set()
    for is_thief, pause in [(False, 1), (True, 1), *uses, (False, 1), (False, HANDOVER_SECONDS)]:
        found.update(world.called(ABROAD if is_thief else OFFICE, world.bearer("k"), after=pause))
    # the thief came after the owner was there, and the owner is there again at the end
    last_thief = max(n for n, (is_thief, _) in enumerate([(False, 1), (True, 1), *uses]) if is_thief)
    away = sum(pause for _, pause in [(False, 1), (True, 1), *uses][last_thief + 1 :])
    owner_was_there = sum(pause for _, pause in [(True, 1.0), *uses]) < 300
    if away + 1 < 270 and owner_was_there:
        assert Sharing.PLACES in found


def test_the_owner_who_was_there_first_is_the_earlier_use() -> None:
    world = World()
    world.called(OFFICE, world.bearer("k"))
    world.called(ABROAD, world.bearer("k"), after=1)
    world.clock.advance(seconds=HANDOVER_SECONDS)
    (found,) = world.uses.called(world.bearer("k"), OFFICE, "payments")
    earlier, later = found.uses
    assert (earlier.source, later.source) == (ABROAD, OFFICE)
    assert earlier.until is not None
    assert later.at - earlier.until == dt.timedelta(seconds=HANDOVER_SECONDS)


def test_the_same_is_told_once_a_minute_with_how_often() -> None:
    world = World(places=("10.0.0.0/8",))
    counts: list[int] = []
    for _ in range(13):
        world.clock.advance(seconds=AGAIN_SECONDS / 4)
        found = world.uses.called(world.bearer("k"), OFFICE, "payments")
        world.uses.called(world.bearer("k"), "10.0.0.1", "payments")
        counts += [each.times for each in found if each.kind is Sharing.OUTSIDE]
    assert counts[:4] == [1, 4, 4, 4]


def test_what_a_charter_says_counts_from_its_next_version_on() -> None:
    world, bearer = World(), None
    assert world.called(OFFICE) == []
    principal = world.live.principals["prn_agent"]
    terms = replace(principal.terms, usage=Usage(places=("10.0.0.0/8",)))
    world.live.principals["prn_agent"] = replace(principal, terms=terms)
    assert world.called(OFFICE, bearer) == [Sharing.OUTSIDE]


def test_a_key_of_one_that_was_retired_is_anothers_to_use() -> None:
    world = World()
    assert world.issued("agent", "k") == []
    agent = world.live.principals["prn_agent"]
    world.live.principals["prn_agent"] = replace(agent, standing=Standing.RETIRED)
    assert world.uses.holder_of("k") is None
    assert world.issued("other", "k") == []
    assert world.uses.holder_of("k") == "prn_other"


@given(st.lists(st.tuples(st.sampled_from(["agent", "other"]), st.sampled_from("abc")), max_size=30))
def test_a_key_is_whose_showed_it_first(shown: Sequence[tuple[str, str]]) -> None:
    world, first = World(), {}
    for name, mark in shown:
        world.clock.advance(seconds=AGAIN_SECONDS + 1)
        found = world.issued(name, mark)
        assert (Sharing.PRINCIPALS in found) is (first.setdefault(mark, name) != name)
        assert world.uses.holder_of(mark) == f"prn_{first[mark]}"


def test_a_principal_that_shows_keys_without_end_forgets_its_own() -> None:
    world = World()
    world.issued("other", "theirs")
    for number in range(5_000):
        world.issued("agent", f"k{number}")
    assert world.uses.holder_of("theirs") == "prn_other"
    assert len(world.uses._marks) <= 1_001


def test_memory_is_bounded_whoever_comes_from_wherever() -> None:
    world = World()
    for number in range(3 * MAX_TOLD):
        world.uses.called(world.bearer(token=f"t{number}"), f"8.{number % 250}.{number // 250 % 250}.1", "payments")
    assert len(world.uses._tokens) <= 2 * MAX_FOLLOWED
    assert len(world.uses._told) <= 2 * MAX_TOLD


@given(st.text(max_size=60))
def test_whatever_stands_for_an_address_is_taken(source: str) -> None:
    world = World(places=("10.0.0.0/8",), instances=1)
    assert world.called(source) in ([], [Sharing.OUTSIDE])
