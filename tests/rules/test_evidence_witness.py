"""Cosignatures and what a witness says yes to (C2SP tlog-cosignature, tlog-witness)."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charter.core.errors import CharterError, IntegrityError, MalformedError
from charter.core.keys import Ed25519Signer
from charter.evidence import charter_verify
from charter.evidence.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint, verifier_key
from charter.evidence.cosignature import (
    Witness,
    cosign,
    cosigners,
    parse_witness,
    verify_cosignature,
    with_cosignatures,
)
from charter.evidence.key_change import line_of
from charter.evidence.tree import Frontier, consistency_path, leaf_hash, root_of
from charter.evidence.witness import (
    Fault,
    Refusal,
    Request,
    WitnessedLog,
    judge,
    parse_lines,
    parse_log_key,
    parse_request,
)

ORIGIN, NAME = "example.com/log/1", "example.com/witness/1"
LOG, OTHER, EYE = (Ed25519Signer.from_seed(bytes([each]) * 32) for each in (1, 2, 3))
WITNESS = Witness(NAME, EYE.public)
AT = dt.datetime(2026, 11, 27, tzinfo=dt.UTC)
FRESH = WitnessedLog(ORIGIN, LOG.public)


class Log:
    """A log of made-up entries, which can be of any size, and the heads it signs."""

    def __init__(self, word: str = "entry") -> None:
        self.leaves = [leaf_hash(f"{word} {i}".encode()) for i in range(40)]

    def node(self, level: int, index: int) -> bytes:
        first = index << level
        return Frontier().extend(self.leaves[first : first + (1 << level)], 64)[0].root

    def head(self, size: int, *signers: Ed25519Signer, extensions: tuple[str, ...] = ()) -> Checkpoint:
        return sign_checkpoint(ORIGIN, size, root_of(0, size, self.node), *(signers or (LOG,)), extensions=extensions)

    def asks(self, old: int, size: int) -> Request:
        return Request(old, consistency_path(old, size, self.node), self.head(size))


def seen(log: Log, size: int) -> WitnessedLog:
    kept = judge(FRESH, log.asks(0, size))
    assert isinstance(kept, WitnessedLog)
    return kept


def test_a_cosignature_is_found_with_its_time_by_charter_and_by_the_verifier() -> None:
    head = Log().head(7)
    line = cosign(head, NAME, EYE, AT)
    whole = with_cosignatures(head, parse_lines(line.to_line(), head).signatures, WITNESS)
    assert verify_cosignature(whole, WITNESS) == AT
    assert cosigners(whole, [WITNESS]) == (WITNESS,)
    read = charter_verify.parse_checkpoint(whole.to_note())
    assert charter_verify.parse_witness(str(WITNESS)) == (NAME, EYE.public)
    assert charter_verify.cosigners(read, ((NAME, EYE.public),)).keys() == {EYE.public}
    assert parse_witness(str(WITNESS)) == WITNESS


def test_the_cosigned_bytes_are_those_of_the_specification() -> None:
    head = Log().head(7)
    line = cosign(head, NAME, EYE, AT)
    time = int.from_bytes(line.signature[:8])
    assert time == int(AT.timestamp())
    assert line.signature[8:] == EYE.sign(b"cosignature/v1\ntime %d\n" % time + head.body)


@pytest.mark.parametrize("bend", ["root", "time", "key", "short", "name"])
def test_a_forged_cosignature_counts_for_nobody(bend: str) -> None:
    head = Log().head(7)
    line = cosign(head, NAME, OTHER if bend == "key" else EYE, AT)
    if bend == "key":  # another's signature under the witness's hint
        line = replace(line, key_id=WITNESS.key_id)
    elif bend == "time":
        line = replace(line, signature=bytes(8) + line.signature[8:])
    elif bend == "short":
        line = replace(line, signature=line.signature[:-1])
    elif bend == "name":
        line = replace(line, name="example.com/witness/2")
    target = Log("other").head(7) if bend == "root" else head
    forged = replace(target, signatures=(*target.signatures, line))
    assert cosigners(forged, [WITNESS]) == ()
    assert charter_verify.cosigners(charter_verify.parse_checkpoint(forged.to_note()), ((NAME, EYE.public),)) == {}
    with pytest.raises(IntegrityError):
        with_cosignatures(target, [line], WITNESS)


def test_one_key_counts_once_whatever_names_it_goes_by() -> None:
    head = Log().head(7)
    again = Witness("example.com/witness/2", EYE.public)
    lines = [cosign(head, each.name, EYE, AT) for each in (WITNESS, again)]
    both = replace(head, signatures=(*head.signatures, *lines))
    assert len(cosigners(both, [WITNESS, again])) == 1
    read = charter_verify.parse_checkpoint(both.to_note())
    assert len(charter_verify.cosigners(read, ((NAME, EYE.public), (again.name, EYE.public)))) == 1


@pytest.mark.parametrize("text", ["", NAME, str(WITNESS)[:-1], str(WITNESS).upper(), verifier_key(NAME, EYE.public)])
def test_what_is_no_witness_key_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_witness(text)
    with pytest.raises(charter_verify.UnreadableError):
        charter_verify.parse_witness(text)


def test_a_log_that_grows_is_cosigned_head_after_head() -> None:
    log, kept = Log(), FRESH
    for size in (1, 2, 7, 7, 8, 31, 40):
        now = judge(kept, parse_request(log.asks(kept.size, size).to_text().encode()))
        assert isinstance(now, WitnessedLog)
        assert (now.size, now.note) == (size, log.head(size).to_note())
        kept = now


def test_a_fork_is_cosigned_by_no_witness_that_saw_the_other_branch() -> None:
    one, two = Log(), Log("other")
    first, second = seen(one, 9), seen(two, 9)  # two witnesses, a branch shown to each
    for kept, log in ((first, two), (second, one)):
        same = judge(kept, log.asks(9, 9))
        assert isinstance(same, Refusal)
        assert (same.status, same.fault) == (409, Fault.FORK)
        grown = judge(kept, log.asks(9, 12))
        assert isinstance(grown, Refusal)
        assert (grown.status, grown.fault) == (422, Fault.UNPROVEN)


def test_a_log_restored_from_an_old_backup_is_told_how_far_it_was() -> None:
    log = Log()
    refused = judge(seen(log, 30), log.asks(0, 20))
    assert isinstance(refused, Refusal)
    assert (refused.status, refused.text, refused.fault, refused.is_size) == (409, "30\n", Fault.BEHIND, True)
    grown = judge(seen(log, 30), log.asks(20, 35))  # it went on meanwhile, and thinks the witness is where it was
    assert isinstance(grown, Refusal)
    assert (grown.status, grown.text, grown.fault) == (409, "30\n", None)


def test_a_request_with_an_old_size_is_told_the_size_and_changes_nothing() -> None:
    log = Log()
    refused = judge(seen(log, 8), log.asks(0, 12))
    assert refused == Refusal(409, "8\n", None, is_size=True)


def test_strangers_are_not_cosigned() -> None:
    assert judge(None, Log().asks(0, 3)) == Refusal(404, "this witness does not know the log\n")
    by_another = replace(Log().asks(0, 3), checkpoint=Log().head(3, OTHER))
    refused = judge(FRESH, by_another)
    assert isinstance(refused, Refusal)
    assert refused.status == 403


def test_a_log_whose_key_changes_is_followed_and_the_old_key_counts_no_more() -> None:
    log, line = Log(), line_of(ORIGIN, LOG.public, OTHER.public)
    change = Request(5, consistency_path(5, 6, log.node), log.head(6, LOG, OTHER, extensions=(line,)))
    kept = judge(seen(log, 5), change)
    assert isinstance(kept, WitnessedLog)
    assert kept.public == OTHER.public
    refused = judge(kept, log.asks(6, 9))
    assert isinstance(refused, Refusal)
    assert refused.status == 403


def test_a_log_key_is_read_back() -> None:
    assert parse_log_key(FRESH.key) == FRESH
    with pytest.raises(MalformedError):
        parse_log_key(str(WITNESS))


ASKED = Log().asks(3, 9).to_text().encode()


@given(st.binary(max_size=300) | st.integers(0, 400).map(lambda cut: ASKED[:cut]))
@settings(max_examples=60, deadline=None)
def test_no_bytes_upset_the_parser(body: bytes) -> None:
    try:
        asked = parse_request(body)
    except CharterError:
        return
    assert asked.old <= asked.checkpoint.size
    assert parse_checkpoint(asked.checkpoint.to_note()) == asked.checkpoint
