"""A dropped entry is shown by its receipt, and a pack that leaves out a part of a period is no proof of it."""

from __future__ import annotations

import base64
import datetime as dt
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charter.adapters.database import Database
from charter.core.keys import Ed25519Signer
from charter.evidence.charter_verify import UnreadableError, parse_proof, parse_receipt, verify_receipt
from charter.evidence.checkpoint import parse_checkpoint
from charter.evidence.cosignature import Witness, cosign
from charter.evidence.entry import Draft, EntryKind
from charter.evidence.log import Stored, entry_at, prove_inclusion
from charter.evidence.receipt import sign_receipt
from databases import SIGNER, a_database
from fakes import FixedClock
from packs import KEY, Auditor, a_pack

EYE = Ed25519Signer.from_seed(b"5" * 32)
WITNESS = Witness("example.com/witness/1", EYE.public)


@contextmanager
def a_log(folder: Path, *, hours: int = 6) -> Iterator[tuple[Database[Any], FixedClock]]:
    """Open a log with an entry at 09:30 of 24 November 2026, and one in each of the hours after it."""
    clock = FixedClock()
    folder.mkdir(exist_ok=True)
    with a_database(folder, clock=clock) as database:
        for number in range(hours):
            clock.advance(hours=1)
            database.write(lambda tx, n=number: tx.record(Draft(EntryKind.OBSERVED, "charter", None, {"n": n})))
        yield database, clock


def receipt_of(database: Database[Any], index: int) -> str:
    entry = database.read_log(lambda log: entry_at(log, index))
    return sign_receipt(database.origin, entry, SIGNER)


def verified(folder: Path, pack: bytes, *words: str) -> tuple[int, str]:
    count = len(list(folder.iterdir()))
    (folder / str(count)).mkdir()
    return Auditor(folder / str(count)).verify(pack, *words)


def kept(folder: Path, text: str) -> str:
    (folder / "receipt").write_text(text)
    return str(folder / "receipt")


def test_a_receipt_is_had_at_once_and_its_entry_is_in_every_later_pack(tmp_path: Path) -> None:
    with a_log(tmp_path) as (database, _):
        began = time.monotonic()
        index = database.write(lambda tx: tx.record(Draft(EntryKind.OBSERVED, "charter", None, {"n": 99})))
        text = receipt_of(database, index)
        assert parse_checkpoint(database.head.note).size > index  # it is under the signed head already
        assert time.monotonic() - began < 1
        code, said = verified(tmp_path, a_pack(database), "--receipt", kept(tmp_path, text))
    assert code == 0, said
    assert f"RECEIPT: entry {index} stands where it was promised" in said


def test_an_entry_that_was_dropped_or_replaced_is_shown_by_its_receipt(tmp_path: Path) -> None:
    with a_log(tmp_path / "one") as (database, _):
        text = receipt_of(database, 6)
    with a_log(tmp_path / "two", hours=3) as (database, _):
        code, said = verified(tmp_path, a_pack(database), "--receipt", kept(tmp_path, text))
        assert code == 1
        assert "so it was cut" in said
        for number in range(5):
            database.write(lambda tx, n=number: tx.record(Draft(EntryKind.OBSERVED, "charter", None, {"x": n})))
        code, said = verified(tmp_path, a_pack(database), "--receipt", kept(tmp_path, text))
    assert code == 1
    assert "the promised one was dropped" in said


@pytest.mark.parametrize("word", ["charter.receipt/2", "observed", ""])
def test_a_receipt_that_the_log_did_not_sign_accuses_nobody(tmp_path: Path, word: str) -> None:
    with a_log(tmp_path) as (database, _):
        text = receipt_of(database, 2)
        forged = text.replace("\n2\n", "\n3\n") if word == "observed" else text.replace("charter.receipt/1", word)
        code, said = verified(tmp_path, a_pack(database), "--receipt", kept(tmp_path, forged))
    assert code == 1
    assert "is not signed by this log's key" in said or "none of the form" in said


# --- a receipt without a pack -----------------------------------------------------------------------------------------


def proof_of(database: Database[Any], index: int) -> str:
    return database.read_log(lambda log: prove_inclusion(log, index)).to_text()


def held_against(folder: Path, receipt: str, proof: str, *words: str, key: str = KEY) -> tuple[int, str]:
    """Hold a receipt against the checkpoint of a proof, as an auditor does who has no pack."""
    count = len(list(folder.iterdir()))
    (folder / str(count)).mkdir()
    (folder / "proof").write_text(proof)
    files = ("--proof", str(folder / "proof"), "--receipt", kept(folder, receipt))
    return Auditor(folder / str(count)).run(*files, "--key", key, *words)


def test_a_receipt_is_held_against_a_bare_checkpoint_without_a_pack(tmp_path: Path) -> None:
    with a_log(tmp_path) as (database, _):
        receipt = receipt_of(database, 4)
        database.write(lambda tx: tx.record(Draft(EntryKind.OBSERVED, "charter", None, {"n": 99})))
        code, said = held_against(tmp_path, receipt, proof_of(database, 4))
    assert code == 0, said
    assert said.splitlines() == [
        f"log         {database.origin!a}",
        f"checkpoint  8 entries, root {database.head.note.splitlines()[2]}",
        "VERIFIED: receipt and checkpoint are signed by the given key",
        "RECEIPT: entry 4 stands where it was promised",
    ]


def test_each_entry_of_logs_of_any_size_has_a_way_to_its_root(tmp_path: Path) -> None:
    with a_log(tmp_path, hours=0) as (database, _):
        for size in range(1, 19):
            for index in range(size):
                receipt, proof = parse_receipt(receipt_of(database, index)), parse_proof(proof_of(database, index))
                assert verify_receipt(receipt, proof, SIGNER.public) == []
                if size > 1:  # another leaf, a shorter or a longer way, another place: none leads there
                    for wrong in (
                        replace(proof, path=proof.path[1:]),
                        replace(proof, path=(*proof.path, proof.path[0])),
                        replace(proof, path=(bytes(32), *proof.path[1:])),
                    ):
                        assert verify_receipt(receipt, wrong, SIGNER.public)
                    assert verify_receipt(replace(receipt, leaf=bytes(32)), proof, SIGNER.public)
                    other = (index + 1) % size
                    moved = replace(receipt, index=other)
                    assert verify_receipt(moved, replace(proof, index=other), SIGNER.public)
            database.write(lambda tx, n=size: tx.record(Draft(EntryKind.OBSERVED, "charter", None, {"n": n})))


def test_without_a_pack_too_a_dropped_entry_is_shown_by_its_receipt(tmp_path: Path) -> None:
    with a_log(tmp_path / "one") as (database, _):
        receipt, own = receipt_of(database, 6), proof_of(database, 6)
        code, said = held_against(tmp_path, receipt, proof_of(database, 5))
        assert (code, "the proof is of entry 5" in said) == (1, True), said
    with a_log(tmp_path / "two", hours=3) as (database, _):
        code, said = held_against(tmp_path, receipt, proof_of(database, 2))
        assert (code, "so it was cut, or this head is older" in said) == (1, True), said
        for number in range(5):
            database.write(lambda tx, n=number: tx.record(Draft(EntryKind.OBSERVED, "charter", None, {"x": n})))
        head = own.partition("\n\n")[0] + "\n\n" + database.head.note
        for proof in (proof_of(database, 6), head):
            code, said = held_against(tmp_path, receipt, proof)
            assert (code, "another entry stands there" in said) == (1, True), said


def test_a_receipt_or_head_that_the_log_did_not_sign_shows_nothing_without_a_pack(tmp_path: Path) -> None:
    with a_log(tmp_path) as (database, _):
        receipt, proof = receipt_of(database, 2), proof_of(database, 2)
    others = base64.b64encode(EYE.public).decode()
    code, said = held_against(tmp_path, receipt, proof, key=others)
    assert (code, said.count("not signed")) == (1, 2), said
    for true, false in (("11:30", "12:30"), ("\n2\n", "\n1\n")):
        assert true in receipt
        code, said = held_against(tmp_path, receipt.replace(true, false), proof)
        assert (code, "is not signed by this log's key" in said) == (1, True), said
    lines = proof.splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if line == "7\n")
    code, said = held_against(tmp_path, receipt, "".join([*lines[:at], "8\n", *lines[at + 1 :]]))
    assert (code, "the checkpoint's signature does not verify" in said) == (1, True), said


def test_witnesses_count_without_a_pack_where_they_signed_the_head_of_the_proof(tmp_path: Path) -> None:
    with a_log(tmp_path) as (database, clock):
        older = cosigned(database, clock)
        receipt = receipt_of(database, 2)
        witness = ("--witness", str(WITNESS), "--cosigned", str(tmp_path / "cosigned"))
        (tmp_path / "cosigned").write_text(older)
        code, said = held_against(tmp_path, receipt, proof_of(database, 2), *witness)
        assert (code, "WITNESSED: 1 or more" in said) == (0, True), said
        code, said = held_against(tmp_path, receipt, proof_of(database, 2), "--witness", str(WITNESS))
        assert (code, "0 of the 1 trusted witnesses" in said) == (1, True), said
        database.write(lambda tx: tx.record(Draft(EntryKind.OBSERVED, "charter", None, {"n": 99})))
        code, said = held_against(tmp_path, receipt, proof_of(database, 2), *witness)
        assert (code, "ask for a proof that leads there" in said) == (1, True), said
        seen = parse_checkpoint(older)
        leading = database.read_log(lambda log: prove_inclusion(log, 2, seen)).to_text()
        code, said = held_against(tmp_path, receipt, leading, *witness)
        assert (code, "WITNESSED: 1 or more" in said) == (0, True), said


def cosigned(database: Database[Any], clock: FixedClock) -> str:
    """Return the log's head with the line of a witness."""
    head = parse_checkpoint(database.head.note)
    return replace(head, signatures=(*head.signatures, cosign(head, WITNESS.name, EYE, clock.now()))).to_note()


def test_what_cannot_be_checked_without_a_pack_is_refused(tmp_path: Path) -> None:
    with a_log(tmp_path) as (database, _):
        receipt, proof = receipt_of(database, 2), proof_of(database, 2)
    (tmp_path / "proof").write_text(proof)
    files = ("--proof", str(tmp_path / "proof"), "--receipt", kept(tmp_path, receipt), "--key", KEY)
    (tmp_path / "large").write_bytes(b"x" * 2_000_000)
    (tmp_path / "auditor").mkdir()
    auditor = Auditor(tmp_path / "auditor")
    for words, fault in (
        (files[:2] + files[4:], "name a pack"),
        (files[2:], "name a pack"),
        ((str(tmp_path / "proof"), *files), "name a pack"),
        ((*files, "--receipt", str(tmp_path / "receipt")), "name a pack"),
        ((*files, "--from", "2026-11-24T09:00:00Z"), "need a pack"),
        ((*files, "--held", str(tmp_path / "proof")), "need a pack"),
        (("--proof", str(tmp_path / "large"), *files[2:]), "is larger than"),
        (("--proof", str(tmp_path / "receipt"), *files[2:]), "none of the form c2sp.org/tlog-proof@v1"),
    ):
        code, said = auditor.run(*words)
        assert (code, fault in said) == (1, True), (words, said)


def period(since: str, until: str) -> tuple[str, ...]:
    return ("--from", f"2026-11-24T{since}:00Z", "--until", f"2026-11-24T{until}:00Z")


def test_a_pack_with_neighbours_on_both_sides_has_the_whole_period(tmp_path: Path) -> None:
    with a_log(tmp_path) as (database, _):  # entries at 09:30, 10:30, … 15:30
        for pack in (a_pack(database), a_pack(database, start=1, end=5)):
            code, said = verified(tmp_path, pack, *period("11:00", "13:00"))
            assert code == 0, said
            assert "PERIOD: 2 entries" in said


@pytest.mark.parametrize(("start", "end", "fault"), [(2, 6, "may stand before entry 2"), (0, 4, "nothing shows")])
def test_a_pack_that_could_lack_entries_of_the_period_is_no_proof(
    tmp_path: Path, start: int, end: int, fault: str
) -> None:
    with a_log(tmp_path) as (database, _):
        code, said = verified(tmp_path, a_pack(database, start=start, end=end), *period("11:00", "13:00"))
    assert code == 1
    assert fault in said


def test_a_period_at_the_end_of_the_log_needs_a_witness_who_signed_after_it(tmp_path: Path) -> None:
    with a_log(tmp_path) as (database, _):
        pack, head = a_pack(database), parse_checkpoint(database.head.note)
        until = period("11:00", "16:00")
        assert "nothing shows that the period was over" in verified(tmp_path, pack, *until)[1]
        for hour, code in ((15, 1), (17, 0)):
            line = cosign(head, WITNESS.name, EYE, dt.datetime(2026, 11, 24, hour, tzinfo=dt.UTC))
            noted = replace(head, signatures=(*head.signatures, line)).to_note()
            (tmp_path / "cosigned").write_text(noted)
            asked = ("--witness", str(WITNESS), "--cosigned", str(tmp_path / "cosigned"), *until)
            assert verified(tmp_path, pack, *asked)[0] == code


def test_a_clock_that_was_set_back_within_the_pack_is_named(tmp_path: Path) -> None:
    with a_log(tmp_path) as (database, clock):
        clock.advance(hours=-3)
        for _ in range(3):
            database.write(lambda tx: tx.record(Draft(EntryKind.OBSERVED, "charter", None, {"n": 7})))
        clock.advance(hours=9)
        database.write(lambda tx: tx.record(Draft(EntryKind.OBSERVED, "charter", None, {"n": 8})))
        code, said = verified(tmp_path, a_pack(database), *period("11:00", "13:00"))
        assert code == 1
        assert "the clock was set back at entry 7" in said
        assert said.count("was set back") == 1  # and not for each entry until it is where it was
        assert verified(tmp_path, a_pack(database))[0] == 0  # the log itself is whole


def test_forwarded_calls_without_an_outcome_are_named(tmp_path: Path) -> None:
    with a_log(tmp_path) as (database, clock):
        allowed = {"verdict": "allow"}
        for body in ({"verdict_id": "vrd_1"}, {"verdict_id": "vrd_2"}, {"verdict_id": "vrd_3", "asked_by": {}}):
            database.write(lambda tx, b=body: tx.record(Draft(EntryKind.VERDICT, "a", None, allowed | b)))
        database.write(lambda tx: tx.record(Draft(EntryKind.OUTCOME, "a", None, {"verdict_id": "vrd_1"})))
        clock.advance(hours=2)
        later = allowed | {"verdict_id": "vrd_4"}  # a call after the period, which may be under way
        database.write(lambda tx: tx.record(Draft(EntryKind.VERDICT, "a", None, later)))
        code, said = verified(tmp_path, a_pack(database), *period("09:00", "17:00"))
    assert code == 0, said
    assert "OUTCOMES: none of the calls allowed by entries 8\n" in said


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_whatever_is_no_receipt_is_refused_in_one_way(data: st.DataObject) -> None:
    entry = Stored("nod_1", 4812, "2026-11-24T09:30:00.000000Z", "observed", None, b"{}")
    good = sign_receipt("charter.example/log", entry, SIGNER)
    assert parse_receipt(good).index == 4812
    cut = data.draw(st.integers(0, len(good)))
    pieces = ["", "\n", "\n\n", "\u2014 ", "9" * 30, "\x00", "\ud800", "=", good]
    piece = data.draw(st.sampled_from(pieces) | st.text(max_size=40))
    text = good[:cut] + piece + good[data.draw(st.integers(0, len(good))) :]
    with suppress(UnreadableError):
        found = parse_receipt(text)
        assert found.index < 10**19
        assert len(found.leaf) == 32
