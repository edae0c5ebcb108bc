"""One tampered entry is named, whatever was done to it; and no tampering at all goes unnoticed."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charter.core.canonical import canonical
from charter.evidence.charter_verify import Comparison, Fault, Pairing, leaf_hash


def an_entry(index: int, text: str = "recorded") -> bytes:
    return canonical({"index": index, "body": {"text": text}})


COUNT = 12
ENTRIES = [an_entry(i) for i in range(COUNT)]
HASHES = [leaf_hash(entry) for entry in ENTRIES]
FORGED = an_entry(5, "forged")


def faults_of(entries: list[bytes]) -> list[Fault]:
    comparison = Comparison(lambda i: HASHES[i], 0, COUNT)
    for entry in entries:
        comparison.add(entry)
    return comparison.finish()


def named(entries: list[bytes]) -> list[str]:
    return [fault.text for fault in faults_of(entries)]


def without(*indexes: int) -> list[bytes]:
    return [entry for i, entry in enumerate(ENTRIES) if i not in indexes]


def swapped(one: int, other: int) -> list[bytes]:
    entries = list(ENTRIES)
    entries[one], entries[other] = entries[other], entries[one]
    return entries


def moved(index: int, place: int) -> list[bytes]:
    entries = without(index)
    entries.insert(place, ENTRIES[index])
    return entries


def test_the_recorded_entries_have_no_faults() -> None:
    assert faults_of(ENTRIES) == []


@pytest.mark.parametrize("index", [0, 5, 11])
def test_a_changed_entry_is_named_with_both_hashes(index: int) -> None:
    changed = [*ENTRIES[:index], FORGED, *ENTRIES[index + 1 :]]
    said = f"its bytes are not what was recorded (leaf hash {leaf_hash(FORGED).hex()}, expected {HASHES[index].hex()})"
    assert faults_of(changed) == [Fault(f"entry {index}: {said}", index)]


@pytest.mark.parametrize("index", [0, 5, 10, 11])
def test_a_removed_entry_is_named(index: int) -> None:
    assert named(without(index)) == [f"entry {index} is missing"]


def test_a_removed_stretch_is_named() -> None:
    assert named(without(3, 4, 5)) == ["entries 3 to 5 are missing"]
    assert named(without(9, 10, 11)) == ["entries 9 to 11 are missing"]
    assert named(without(2, 7)) == ["entry 2 is missing", "entry 7 is missing"]


@pytest.mark.parametrize(("one", "other"), [(0, 1), (7, 8), (10, 11), (2, 9), (0, 11), (4, 6)])
def test_swapped_entries_are_named(one: int, other: int) -> None:
    assert named(swapped(one, other)) == [f"entries {one} and {other} stand in each other's place"]


def test_a_moved_entry_is_named() -> None:
    assert named(moved(3, 8)) == ["entry 3 stands after entry 8, out of its order"]
    assert named(moved(9, 2)) == ["entry 9 stands before entry 2, out of its order"]
    assert named(moved(0, 11)) == ["entry 0 stands after entry 11, out of its order"]


@pytest.mark.parametrize("place", [0, 6, 11])
def test_an_inserted_entry_is_named(place: int) -> None:
    said = f"an entry that was never recorded stands before entry {place} (leaf hash {leaf_hash(FORGED).hex()})"
    assert named([*ENTRIES[:place], FORGED, *ENTRIES[place:]]) == [said]


def test_an_entry_added_at_the_end_is_named() -> None:
    said = f"an entry that was never recorded stands after the last entry, 11 (leaf hash {leaf_hash(FORGED).hex()})"
    assert named([*ENTRIES, FORGED]) == [said]
    assert len(named([*ENTRIES, FORGED, FORGED])) == 2


def test_a_repeated_entry_is_named() -> None:
    assert named([*ENTRIES[:6], ENTRIES[2], *ENTRIES[6:]]) == ["entry 2 stands there twice, again after entry 5"]
    assert named([*ENTRIES, ENTRIES[11]]) == ["entry 11 stands there twice, again after entry 11"]


def test_an_entry_overwritten_by_another_is_named() -> None:
    overwritten = list(ENTRIES)
    overwritten[3] = ENTRIES[8]
    assert named(overwritten) == ["entry 8 stands in the place of entry 3"]


def test_an_empty_log_where_entries_were_is_named() -> None:
    assert named([]) == ["entries 0 to 11 are missing"]


@settings(max_examples=300)
@given(st.lists(st.one_of(st.integers(0, COUNT - 1), st.just(-1)), max_size=16), st.randoms(use_true_random=False))
def test_no_other_sequence_passes(picks: list[int], dice: random.Random) -> None:
    entries = [FORGED if pick < 0 else ENTRIES[pick] for pick in picks]
    if dice.random() < 0.5:
        entries = list(ENTRIES)
        dice.shuffle(entries)
    assert (faults_of(entries) == []) == (entries == ENTRIES)


@settings(max_examples=150)
@given(st.lists(st.one_of(st.binary(max_size=30), st.sampled_from([b"[]", b'{"index": 1e400}', b'{"index": true}']))))
def test_no_bytes_upset_the_comparison(entries: list[bytes]) -> None:
    assert faults_of(entries) != []


def test_another_log_altogether_is_not_compared_to_its_end() -> None:
    comparison = Comparison(lambda _: bytes(32), 0, 10_000)
    for index in range(5_000):
        comparison.add(an_entry(index))
    assert len(comparison.finish()) == 1_000


def test_an_outcome_needs_an_allowing_verdict_before_it_and_closes_it_once() -> None:
    def said(kind: str, **body: str) -> dict[str, object]:
        return {"index": 3, "kind": kind, "body": {"verdict_id": "vrd_1"} | body}

    pairing = Pairing()
    unpaired = [Fault("entry 3: an outcome without an allowing verdict before it ('vrd_1')", 3)]
    pairing.add(said("verdict", verdict="deny"))
    pairing.add(said("outcome"))
    assert pairing.faults == unpaired
    pairing.add(said("verdict", verdict="allow"))
    pairing.add(said("outcome"))
    assert pairing.faults == unpaired
    pairing.add(said("outcome"))
    assert pairing.faults == unpaired * 2


def test_a_verdict_from_before_the_range_is_of_one_outcome_alone() -> None:
    def said(index: int, kind: str, **body: str) -> dict[str, object]:
        return {"index": index, "kind": kind, "body": {"verdict_id": "vrd_1"} | body}

    pairing = Pairing()
    pairing.add(said(7, "outcome"))
    pairing.add(said(8, "outcome"))
    for no_verdict in (said(2, "verdict", verdict="deny"), said(9, "verdict", verdict="allow"), said(2, "outcome")):
        pairing.recall(no_verdict)
        assert [fault.index for fault in pairing.faults] == [7, 8]
    pairing.recall(said(2, "verdict", verdict="allow"))
    assert [fault.index for fault in pairing.faults] == [8]
