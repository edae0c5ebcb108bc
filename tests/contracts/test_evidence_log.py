"""Reading the log on SQLite and PostgreSQL: pages, proofs, growth, and the check of the whole."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from charter.adapters.database import Database
from charter.core.errors import AbsentError, IntegrityError, MalformedError
from charter.evidence.check import check_log
from charter.evidence.checkpoint import parse_checkpoint
from charter.evidence.entry import EntryKind
from charter.evidence.log import (
    Page,
    Query,
    entry_at,
    prove_consistency,
    prove_inclusion,
    query,
    tail,
    verify_proof,
)
from charter.evidence.tree import verify_consistency
from databases import ORIGIN, SIGNER, a_database, a_draft
from fakes import FixedClock

START = FixedClock().at


@pytest.fixture
def database(tmp_path: Path, database_url: str) -> Iterator[Database[Any]]:
    """Hold a log of 21 entries: its opening, then one a minute, of two principals and three kinds in turn."""
    clock = FixedClock()
    kinds = (EntryKind.VERDICT, EntryKind.OUTCOME, EntryKind.STANDING_CHANGED)
    with a_database(tmp_path, url=database_url, clock=clock) as opened:
        for i in range(1, 21):
            clock.advance(minutes=1)
            draft = a_draft(
                kinds[i % 3], principal=f"prn_{i % 2}", note=f"number {i}.", verdict_id=f"v{i}", text='say "ü"\n'
            )
            opened.write(lambda tx, draft=draft: tx.record(draft))
        yield opened


def indexes(database: Database[Any], **wanted: Any) -> list[int]:
    page: Page = database.read_log(lambda log: query(log, Query(**wanted)))
    return [entry.index for entry in page.entries]


def test_a_query_gives_the_newest_first(database: Database[Any]) -> None:
    assert indexes(database, limit=4) == [20, 19, 18, 17]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"principal": "prn_1", "limit": 3}, [19, 17, 15]),
        ({"kinds": (EntryKind.STANDING_CHANGED,), "limit": 3}, [20, 17, 14]),
        ({"kinds": (EntryKind.STANDING_CHANGED, EntryKind.VERDICT), "limit": 3}, [20, 18, 17]),
        ({"since": START + dt.timedelta(minutes=18)}, [20, 19, 18]),
        ({"until": START + dt.timedelta(minutes=2)}, [1, 0]),
        ({"text": "number 7."}, [7]),
        ({"text": 'say "ü"\n', "limit": 2}, [20, 19]),
        ({"text": "100%_"}, []),
        ({"principal": "prn_0", "kinds": (EntryKind.VERDICT,), "text": "number 1"}, [18, 12]),
        ({"principal": "nobody"}, []),
    ],
)
def test_a_query_gives_what_holds_in_all_its_parts(
    database: Database[Any], wanted: dict[str, Any], expected: list[int]
) -> None:
    assert indexes(database, **wanted) == expected


def test_pages_follow_each_other_without_gap_or_repeat(database: Database[Any]) -> None:
    seen, cursor = [], None
    while True:
        page = database.read_log(lambda log, cursor=cursor: query(log, Query(limit=4, cursor=cursor)))
        seen += [entry.index for entry in page.entries]
        cursor = page.cursor
        if cursor is None:
            break
        database.write(lambda tx: tx.record(a_draft()))  # a growing log does not shift the pages
    assert seen == list(range(20, -1, -1))


def test_entries_of_one_instant_page_in_the_order_of_the_log(tmp_path: Path, database_url: str) -> None:
    with a_database(tmp_path, url=database_url) as opened:
        opened.write(lambda tx: [tx.record(a_draft()) for _ in range(9)])
        first = opened.read_log(lambda log: query(log, Query(limit=4)))
        then = opened.read_log(lambda log: query(log, Query(limit=10, cursor=first.cursor)))
    assert [e.index for e in first.entries + then.entries] == list(range(9, -1, -1))


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"limit": 0}, "a page has 1 to 1000 entries"),
        ({"limit": 1001}, "a page has 1 to 1000 entries"),
        ({"text": ""}, "1 to 256 characters"),
        ({"text": "x" * 257}, "1 to 256 characters"),
        ({"cursor": "tomorrow"}, "is no cursor"),
        ({"cursor": "2026-11-24T09:30:00.000000Z.-1"}, "is no cursor"),
    ],
)
def test_a_query_out_of_bounds_is_refused(tmp_path: Path, wanted: dict[str, Any], said: str) -> None:
    with a_database(tmp_path) as opened, pytest.raises(MalformedError, match=said):
        indexes(opened, **wanted)


def test_the_tail_follows_the_log(database: Database[Any]) -> None:
    assert [e.index for e in database.read_log(lambda log: tail(log, None, 3))] == [18, 19, 20]
    assert database.read_log(lambda log: tail(log, 20)) == ()
    database.write(lambda tx: tx.record(a_draft()))
    assert [e.index for e in database.read_log(lambda log: tail(log, 20))] == [21]


def test_every_entry_is_proved_to_whoever_has_the_key(database: Database[Any]) -> None:
    for index in range(21):
        proof = database.read_log(lambda log, index=index: prove_inclusion(log, index))
        checkpoint = verify_proof(proof.to_text(), proof.data, ORIGIN, SIGNER.public)
        assert (proof.index, checkpoint.size) == (index, 21)


def test_a_proof_is_laid_out_as_c2sp_says(database: Database[Any]) -> None:
    proof = database.read_log(lambda log: prove_inclusion(log, 6))
    head, note = proof.to_text().split("\n\n", 1)
    first, index, *path = head.split("\n")
    assert (first, index) == ("c2sp.org/tlog-proof@v1", "index 6")
    assert [base64.b64decode(line) for line in path] == list(proof.path)
    assert note == database.head.note


def test_a_proof_of_something_else_is_refused(database: Database[Any]) -> None:
    proof = database.read_log(lambda log: prove_inclusion(log, 6))
    text = proof.to_text()
    with pytest.raises(IntegrityError, match="does not lead to the checkpoint's root"):
        verify_proof(text, b"forged", ORIGIN, SIGNER.public)
    with pytest.raises(IntegrityError, match="does not lead"):
        verify_proof(text.replace("index 6", "index 7"), proof.data, ORIGIN, SIGNER.public)
    with pytest.raises(IntegrityError, match="is of the log"):
        verify_proof(text, proof.data, "example.com/other", SIGNER.public)
    for broken in ("", "x", text.replace("@v1", "@v2"), text.replace("index 6", "index six"), text[:60]):
        with pytest.raises(MalformedError):
            verify_proof(broken, proof.data, ORIGIN, SIGNER.public)


def test_an_entry_that_is_not_there_cannot_be_proved(database: Database[Any]) -> None:
    for index in (-1, 21, 10**30):
        with pytest.raises(AbsentError, match="the log has no entry"):
            database.read_log(lambda log, index=index: prove_inclusion(log, index))
    assert database.read_log(lambda log: entry_at(log, 20)).index == 20


def test_the_log_is_proved_to_continue_each_older_one(tmp_path: Path, database_url: str) -> None:
    notes = []
    with a_database(tmp_path, url=database_url) as opened:
        for _ in range(6):
            opened.write(lambda tx: [tx.record(a_draft()) for _ in range(90)])
            notes.append(parse_checkpoint(opened.head.note))
        now = notes[-1]
        for older in notes:
            path = opened.read_log(lambda log, older=older: prove_consistency(log, older.size, now.size))
            verify_consistency(older.size, now.size, (older.root, now.root), path)
        with pytest.raises(MalformedError, match="the log has 541 entries, not 600"):
            opened.read_log(lambda log: prove_consistency(log, 1, 600))


def test_a_sound_log_verifies_and_tells_how_far_it_is(tmp_path: Path, database_url: str) -> None:
    told: list[tuple[int, int]] = []
    with a_database(tmp_path, url=database_url) as opened:
        held = parse_checkpoint(opened.head.note)
        for _ in range(8):
            opened.write(lambda tx: [tx.record(a_draft()) for _ in range(130)])
        report = opened.read_log(
            lambda log: check_log(log, SIGNER.public, held=held, progress=lambda *done: told.append(done))
        )
    assert (report.faults, report.entries) == ((), 1041)
    assert report.checkpoint is not None
    assert report.checkpoint.size == 1041
    assert told == [(512, 1041), (1024, 1041), (1041, 1041)]
