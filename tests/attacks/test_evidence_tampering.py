"""Who can write to the database, or hands on a pack, cannot change one entry unseen: it is detected and named."""

from __future__ import annotations

import asyncio
import base64
import io
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from charter.adapters import tables as t
from charter.adapters.engine import open_engines
from charter.bootstrap import evidence
from charter.core.canonical import canonical
from charter.core.errors import IntegrityError
from charter.core.keys import Ed25519Signer
from charter.evidence.charter_verify import FORMAT, verify_pack
from charter.evidence.charter_verify import parse_checkpoint as parse_alone
from charter.evidence.check import LogReport, check_log
from charter.evidence.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from charter.evidence.entry import EntryKind
from charter.evidence.tile import Edge
from charter.evidence.tree import leaf_hash
from databases import ORIGIN, SIGNER, a_database, a_draft
from houses import a_house
from packs import Auditor, a_pack

SIZE = 601
entry, tile, head, kept = t.evidence_entry, t.evidence_tile, t.evidence_head, t.evidence_checkpoint
Deed = Callable[[sa.Connection], None]


@pytest.fixture
def filled(tmp_path: Path, database_url: str) -> str:
    """Give the URL of a closed database whose log has 601 entries."""
    with a_database(tmp_path, url=database_url) as database:
        for _ in range(6):
            database.write(lambda tx: [tx.record(a_draft(text="paid 100 EUR")) for _ in range(100)])
    return database_url


def found_after(url: str, tmp_path: Path, deed: Deed, held: Checkpoint | None = None) -> LogReport:
    """Open the log, do the deed behind its back, and verify."""
    with a_database(tmp_path, url=url) as database:
        do(url, deed)
        return database.read_log(lambda log: check_log(log, SIGNER.public, held=held))


def do_beside(database: Any, deed: Deed) -> None:
    do(database._engine.url.render_as_string(hide_password=False), deed)


def do(url: str, deed: Deed) -> None:
    engine, reader = open_engines(url)
    with engine.begin() as connection:
        deed(connection)
    engine.dispose()
    reader.dispose()


def faults_after(url: str, tmp_path: Path, deed: Deed) -> list[str]:
    return [fault.text for fault in found_after(url, tmp_path, deed).faults]


def data_of(connection: sa.Connection, index: int) -> bytes:
    return bytes(connection.execute(sa.select(entry.c.data).where(entry.c.index == index)).scalar_one())


def put(connection: sa.Connection, index: int, data: bytes) -> None:
    connection.execute(entry.update().where(entry.c.index == index).values(data=data))


@pytest.mark.parametrize("index", [0, 41, 599, 600])
def test_a_changed_entry_is_named(filled: str, tmp_path: Path, index: int) -> None:
    seen: list[bytes] = []

    def change(connection: sa.Connection) -> None:
        data = data_of(connection, index)
        seen.extend((data.replace(b'"v":1', b'"v":2'), data))
        put(connection, index, seen[0])

    found = faults_after(filled, tmp_path, change)
    hashes = f"(leaf hash {leaf_hash(seen[0]).hex()}, expected {leaf_hash(seen[1]).hex()})"
    assert found == [f"entry {index}: its bytes are not what was recorded {hashes}"]


@pytest.mark.parametrize("index", [0, 42, 255, 256, 600])
def test_a_removed_entry_is_named(filled: str, tmp_path: Path, index: int) -> None:
    def remove(connection: sa.Connection) -> None:
        connection.execute(entry.delete().where(entry.c.index == index))

    assert faults_after(filled, tmp_path, remove) == [f"entry {index} is missing"]


def test_a_removed_entry_whose_gap_was_closed_is_named(filled: str, tmp_path: Path) -> None:
    def remove(connection: sa.Connection) -> None:
        connection.execute(entry.delete().where(entry.c.index == 598))
        for index in (599, 600):
            connection.execute(entry.update().where(entry.c.index == index).values(index=index - 1))

    filed = "is filed under another index, time, kind or principal than it says"
    assert faults_after(filled, tmp_path, remove) == [
        f"entry 598 {filed}",
        f"entry 599 {filed}",
        "entry 598 is missing",
    ]


def test_entries_in_each_others_place_are_named(filled: str, tmp_path: Path) -> None:
    def swap(connection: sa.Connection) -> None:
        seven, eight = data_of(connection, 7), data_of(connection, 8)
        put(connection, 7, eight)
        put(connection, 8, seven)

    assert "entries 7 and 8 stand in each other's place" in faults_after(filled, tmp_path, swap)


def test_an_inserted_entry_is_named(filled: str, tmp_path: Path) -> None:
    def insert(connection: sa.Connection) -> None:
        row = connection.execute(sa.select(entry).where(entry.c.index == 600)).mappings().one()
        connection.execute(entry.insert(), dict(row) | {"index": 601, "data": b'{"index":601}'})

    (fault, filing) = faults_after(filled, tmp_path, insert)[::-1]
    assert fault.startswith("an entry that was never recorded stands after the last entry, 600")
    assert filing.startswith("entry 601 is filed under another")


def test_an_entry_filed_where_no_query_finds_it_is_named(filled: str, tmp_path: Path) -> None:
    def hide(connection: sa.Connection) -> None:
        connection.execute(entry.update().where(entry.c.index == 9).values(principal_id="prn_other"))

    said = "entry 9 is filed under another index, time, kind or principal than it says"
    assert faults_after(filled, tmp_path, hide) == [said]


def test_an_index_by_which_queries_would_miss_entries_is_named(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        bearer = stage.bearer()
        stage.submit(bearer, stage.make("get_charge", {"charge_id": "ch_1"}))
        (file,) = tmp_path.rglob("charter.db")
        with sqlite3.connect(file, isolation_level=None) as raw:
            names = ("ix_evidence_entry_time", "ix_evidence_entry_kind")
            roots = dict(raw.execute("SELECT name, rootpage FROM sqlite_master WHERE name IN (?, ?)", names))
            raw.execute("PRAGMA writable_schema=ON")
            for name, other in (names, names[::-1]):
                raw.execute("UPDATE sqlite_master SET rootpage = ? WHERE name = ?", (roots[other], name))
            (version,) = raw.execute("PRAGMA schema_version").fetchone()
            raw.execute(f"PRAGMA schema_version={version + 1}")
        report = asyncio.run(evidence.verify(stage.house))
    assert not report["ok"]
    assert "queries may miss entries" in report["problems"][-1]


def test_changed_hashes_do_not_make_sound_entries_suspect(filled: str, tmp_path: Path) -> None:
    def change(connection: sa.Connection) -> None:
        where = (tile.c.level == 0, tile.c.index == 1)
        hashes = bytes(connection.execute(sa.select(tile.c.hashes).where(*where)).scalar_one())
        connection.execute(tile.update().where(*where).values(hashes=bytes(32) + hashes[32:]))

    found = faults_after(filled, tmp_path, change)
    assert found[-1] == "leaf hashes in the tiles were changed; the entries are what the checkpoint signs"
    assert "tile 0 of level 1 is not made of the tiles below it, so proofs would fail" in found


def test_a_missing_tile_is_noticed(filled: str, tmp_path: Path) -> None:
    def remove(connection: sa.Connection) -> None:
        connection.execute(tile.delete().where(tile.c.level == 1))

    assert (
        faults_after(filled, tmp_path, remove)
        == ["tile 0 of level 1 is not made of the tiles below it, so proofs would fail"] * 2
    )


def rewrite(connection: sa.Connection, index: int, data: bytes) -> Edge:
    """Change an entry and everything that can be computed from it: all hashes, all tiles, the frontier."""
    put(connection, index, data)
    rows = connection.execute(sa.select(entry.c.data).order_by(entry.c.index)).scalars()
    edge, tiles = Edge().extend([leaf_hash(bytes(row)) for row in rows])
    for one in tiles:
        where = (tile.c.level == one.level, tile.c.index == one.index)
        connection.execute(tile.update().where(*where).values(hashes=one.hashes))
    connection.execute(head.update().values(frontier=b"".join(edge.frontier.roots)))
    return edge


def test_a_log_rewritten_in_all_its_parts_lacks_only_the_signature(filled: str, tmp_path: Path) -> None:
    found = faults_after(filled, tmp_path, lambda connection: rewrite(connection, 350, b'{"index":350}') and None)
    assert "neither the entries nor their hashes are what the log's head signs" in found
    # The checkpoint kept at 301 entries still holds, the one at 601 does not: the wrong entry lies between them.
    stretches = [text for text in found if "are not what was signed when" in text]
    assert stretches == ["the first 601 entries are not what was signed when the log had 601"]


def test_a_log_signed_anew_with_another_key_is_refused(filled: str, tmp_path: Path) -> None:
    def forge(connection: sa.Connection) -> None:
        edge = rewrite(connection, 350, b'{"index":350}')
        thief = Ed25519Signer.from_seed(b"\x07" * 32)
        note = sign_checkpoint(ORIGIN, edge.size, edge.frontier.root, thief).to_note()
        connection.execute(head.update().values(checkpoint=note))

    assert "the log's head: the checkpoint bears 0 signatures of the log's key, not one" in faults_after(
        filled, tmp_path, forge
    )


def cut_to_400(connection: sa.Connection) -> None:
    """Take the log back to the state that an old checkpoint signs, as a restored backup would."""
    row = connection.execute(sa.select(kept).where(kept.c.size == 301)).one()
    connection.execute(entry.delete().where(entry.c.index >= 301))
    connection.execute(kept.delete().where(kept.c.size > 301))
    connection.execute(tile.delete())
    rows = connection.execute(sa.select(entry.c.data).order_by(entry.c.index)).scalars()
    edge, tiles = Edge().extend([leaf_hash(bytes(data)) for data in rows])
    for one in tiles:
        connection.execute(
            tile.insert(), {"node": row.node, "level": one.level, "index": one.index, "hashes": one.hashes}
        )
    new = {"size": 301, "frontier": b"".join(edge.frontier.roots), "checkpoint": row.checkpoint}
    connection.execute(head.update().values(**new))


def test_a_log_that_was_cut_is_shorter_than_the_checkpoint_somebody_holds(filled: str, tmp_path: Path) -> None:
    with a_database(tmp_path, url=filled) as database:
        held = parse_checkpoint(database.head.note)
    report = found_after(filled, tmp_path, cut_to_400, held)
    assert [fault.text for fault in report.faults] == [
        "the log was cut: 301 entries now, 601 when the held checkpoint was signed"
    ]


def test_a_log_that_was_cut_but_kept_a_newer_checkpoint_gives_itself_away(filled: str, tmp_path: Path) -> None:
    def cut(connection: sa.Connection) -> None:
        later = connection.execute(sa.select(kept).where(kept.c.size == SIZE)).mappings().one()
        cut_to_400(connection)
        connection.execute(kept.insert(), dict(later))

    said = "the log was cut: 301 entries, but a checkpoint of 601 is kept"
    assert faults_after(filled, tmp_path, cut) == [said]
    with pytest.raises(IntegrityError, match="the log was cut"), a_database(tmp_path, url=filled):
        pass


def test_a_head_or_kept_checkpoint_that_was_damaged_is_named(filled: str, tmp_path: Path) -> None:
    def damage(connection: sa.Connection) -> None:
        row = connection.execute(sa.select(kept).where(kept.c.size == 301)).one()
        connection.execute(kept.update().where(kept.c.size == 301).values(checkpoint="none"))
        connection.execute(kept.insert(), {"node": row.node, "size": 302, "checkpoint": row.checkpoint})
        connection.execute(
            kept.insert(), {"node": row.node, "size": 400, "checkpoint": row.checkpoint.replace("\n301\n", "\n400\n")}
        )

    found = faults_after(filled, tmp_path, damage)
    no_note = "the checkpoint is no signed note: text, an empty line, signature lines"
    assert f"the checkpoint kept at 301 entries: {no_note}" in found
    assert "the checkpoint kept at 302 entries is of 301" in found
    assert "the checkpoint kept at 400 entries: the signature of the checkpoint does not verify" in found
    with a_database(tmp_path, url=filled) as database:
        do_beside(database, set_head(checkpoint="none"))
        (fault,) = database.read_log(lambda log: check_log(log, SIGNER.public)).faults
    assert fault.text == f"the log's head: {no_note}"


def test_bytes_that_are_no_entry_at_all_are_named(filled: str, tmp_path: Path) -> None:
    def garble(connection: sa.Connection) -> None:
        put(connection, 5, b"\xff\x00")
        put(connection, 6, b"[]")

    found = faults_after(filled, tmp_path, garble)
    assert [text.split(" (")[0] for text in found] == [
        "entry 5: its bytes are not what was recorded",
        "entry 6: its bytes are not what was recorded",
    ]


def test_another_history_than_the_one_somebody_holds_is_noticed(tmp_path: Path, database_url: str) -> None:
    with a_database(tmp_path, url=database_url) as database:
        database.write(lambda tx: [tx.record(a_draft()) for _ in range(20)])
        forked = sign_checkpoint(ORIGIN, 10, bytes(32), SIGNER)
        empty = sign_checkpoint(ORIGIN, 0, bytes(32), SIGNER)
        strange = sign_checkpoint("example.com/other", 10, bytes(32), SIGNER)
        found = [
            [
                fault.text
                for fault in database.read_log(lambda log, h=held: check_log(log, SIGNER.public, held=h)).faults
            ]
            for held in (forked, empty, strange)
        ]
    rewritten = "the log is not the one that was signed at 10 entries: its past was rewritten"
    other = f"the checkpoint held from earlier: the checkpoint is of the log 'example.com/other', not of {ORIGIN!r}"
    assert found == [[rewritten], ["the checkpoint held from earlier is of no empty log"], [other, rewritten]]


def test_a_head_that_claims_endless_entries_does_not_hang_the_check(filled: str, tmp_path: Path) -> None:
    def claim(connection: sa.Connection) -> None:
        note = sign_checkpoint(ORIGIN, 10**17, bytes(32), SIGNER).to_note()
        connection.execute(head.update().values(checkpoint=note))

    found = faults_after(filled, tmp_path, claim)
    assert f"entries 601 to {10**17 - 1} are missing" in found


def set_head(**values: Any) -> Deed:
    return lambda connection: connection.execute(head.update().values(**values)) and None


def signed(signer: Ed25519Signer) -> str:
    return sign_checkpoint(ORIGIN, SIZE, bytes(32), signer).to_note()


START_CHECKS: dict[str, tuple[Deed, str]] = {
    "entry changed": (lambda c: put(c, 600, b"{}"), "entry 600 is not what was recorded"),
    "entry removed": (lambda c: remove_rows(c, entry, entry.c.index == 600), "601 entries, but the newest is 599"),
    "entry removed before the last": (lambda c: remove_rows(c, entry, entry.c.index == 599), "entry 599 is missing"),
    "frontier changed": (set_head(frontier=bytes(64)), "do not agree"),
    "tiles removed": (lambda c: remove_rows(c, tile), "holds 0 hashes"),
    "head removed": (lambda c: remove_rows(c, head), "the log has no head"),
    "head damaged": (set_head(checkpoint="none"), "the log's head: the checkpoint is no signed note"),
    "another root": (set_head(checkpoint=signed(SIGNER)), "the signed checkpoint is of"),
    "another key": (set_head(checkpoint=signed(Ed25519Signer.from_seed(bytes(32)))), "bears 0 signatures"),
}


def remove_rows(connection: sa.Connection, table: sa.Table, *where: Any) -> None:
    connection.execute(table.delete().where(*where))


@pytest.mark.parametrize("how", START_CHECKS)
def test_a_node_does_not_start_on_a_log_it_cannot_trust(filled: str, tmp_path: Path, how: str) -> None:
    deed, said = START_CHECKS[how]
    do(filled, deed)
    with pytest.raises(IntegrityError, match=said), a_database(tmp_path, url=filled):
        pass


def test_a_second_writer_stops_the_first(tmp_path: Path) -> None:
    with a_database(tmp_path) as first, a_database(tmp_path) as second:
        second.write(lambda tx: tx.record(a_draft()))
        with pytest.raises(IntegrityError, match="another process wrote to this node's log"):
            first.write(lambda tx: tx.record(a_draft()))
        with pytest.raises(IntegrityError, match="this node stopped writing"):
            first.write(lambda tx: tx.record(a_draft()))
        assert second.write(lambda tx: tx.record(a_draft())) == 2
        report = second.read_log(lambda log: check_log(log, SIGNER.public))
    assert report.is_verified


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    with a_database(tmp_path_factory.mktemp("log")) as database:
        database.write(lambda tx: [tx.record(a_draft(text="paid 100 EUR")) for _ in range(20)])
        return a_pack(database)


@pytest.fixture(scope="module")
def auditor(tmp_path_factory: pytest.TempPathFactory) -> Auditor:
    return Auditor(tmp_path_factory.mktemp("auditor"))


def entries_of(pack: bytes) -> tuple[list[bytes], list[bytes]]:
    lines = pack.splitlines(keepends=True)
    return lines[:2], lines[2:]


def with_entries(pack: bytes, change: Callable[[list[bytes]], Any]) -> bytes:
    first, entries = entries_of(pack)
    change(entries)
    return b"".join(first + entries)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda e: e.__setitem__(7, e[7].replace(b"100", b"900")), "entry 7: its bytes are not what was recorded"),
        (lambda e: e.pop(7), "entry 7 is missing"),
        (lambda e: e.insert(7, e[3].replace(b"100", b"900")), "never recorded stands before entry 7"),
        (lambda e: e.insert(7, e.pop(8)), "entries 7 and 8 stand in each other's place"),
        (lambda e: e.append(e[20]), "entry 20 stands there twice"),
        (lambda e: e.pop(), "entry 20 is missing"),
    ],
)
def test_an_auditor_without_charter_is_told_which_entry_was_tampered_with(
    pack: bytes, auditor: Auditor, change: Callable[[list[bytes]], Any], said: str
) -> None:
    code, text = auditor.verify(with_entries(pack, change))
    assert code == 1
    assert "NOT VERIFIED: 1 fault\n" in text
    assert said in text


def faults_in(pack: bytes, key: bytes = SIGNER.public) -> list[str]:
    return [fault.text for fault in verify_pack(io.BytesIO(pack), key).faults]


def test_a_pack_cannot_vouch_for_its_own_key(pack: bytes) -> None:
    other = Ed25519Signer.from_seed(b"\x09" * 32)
    assert faults_in(pack, other.public) == ["the checkpoint is not signed with the given key"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"/log\\n21\\n", b"/lox\\n21\\n", "the checkpoint is not signed with the given key"),
        (b"/log\\n21\\n", b"/log\\n021\\n", "its origin, size or root were changed"),
    ],
)
def test_a_pack_with_a_changed_checkpoint_fails_its_signature(pack: bytes, old: bytes, new: bytes, said: str) -> None:
    assert old in pack
    (fault,) = faults_in(pack.replace(old, new, 1))
    assert said in fault


def test_a_pack_with_other_hashes_does_not_make_sound_entries_suspect(pack: bytes) -> None:
    first, rest = entries_of(pack)
    first[1] = b"AAAA" + first[1][4:]
    assert faults_in(b"".join(first + rest)) == [
        "the leaf hashes in the pack were changed; the entries are what the checkpoint signs"
    ]


def test_a_pack_whose_hashes_were_made_to_fit_does_not_fit_the_checkpoint(pack: bytes) -> None:
    first, rest = entries_of(pack)
    forged = rest[7].replace(b"100", b"900")
    hashes = base64.b64decode(first[1])
    hashes = hashes[: 7 * 32] + leaf_hash(forged.rstrip(b"\n")) + hashes[8 * 32 :]
    first[1] = base64.b64encode(hashes) + b"\n"
    rest[7] = forged
    assert faults_in(b"".join(first + rest)) == [
        "the leaf hashes in the pack do not have the root that the checkpoint signs"
    ]


def test_a_shorter_or_forked_log_is_caught_by_a_held_checkpoint(tmp_path: Path) -> None:
    def log_of(text: str, count: int) -> tuple[bytes, str]:
        folder = tmp_path / f"{text}{count}"
        folder.mkdir()
        with a_database(folder) as database:
            database.write(lambda tx: [tx.record(a_draft(text=text)) for _ in range(count)])
            return a_pack(database), database.head.note

    short, _ = log_of("one", 5)
    other, _ = log_of("other", 9)
    _, note = log_of("one", 7)
    held = parse_alone(note)
    assert [f.text for f in verify_pack(io.BytesIO(short), SIGNER.public, held).faults] == [
        "the log was cut: 6 entries now, 8 when the held checkpoint was signed"
    ]
    assert [f.text for f in verify_pack(io.BytesIO(other), SIGNER.public, held).faults] == [
        "the log is not the one that was signed at 8 entries: its past was rewritten"
    ]


def test_a_held_checkpoint_of_another_log_or_key_vouches_for_nothing(pack: bytes) -> None:
    strange = parse_alone(sign_checkpoint("example.com/other", 10, bytes(32), SIGNER).to_note())
    thief = Ed25519Signer.from_seed(b"\x07" * 32)
    forged = parse_alone(sign_checkpoint(ORIGIN, 10, bytes(32), thief).to_note())
    (other,) = verify_pack(io.BytesIO(pack), SIGNER.public, strange).faults
    assert other.text == "the checkpoint held from earlier is of another log, 'example.com/other'"
    unsigned, _ = verify_pack(io.BytesIO(pack), SIGNER.public, forged).faults
    assert unsigned.text == "the checkpoint held from earlier: the checkpoint is not signed with the given key"


def test_an_outcome_that_no_verdict_allowed_is_named(tmp_path: Path, database_url: str) -> None:
    """What a dishonest operator could sign: the hashes are right, the story is not."""
    with a_database(tmp_path, url=database_url) as database:
        database.write(lambda tx: tx.record(a_draft(EntryKind.OUTCOME, verdict_id="vrd_1")))
        report = database.read_log(lambda log: check_log(log, SIGNER.public))
        in_pack = faults_in(a_pack(database))
    said = "entry 1: an outcome without an allowing verdict before it ('vrd_1')"
    assert [fault.text for fault in report.faults] == in_pack == [said]


def test_a_pack_that_names_another_node_than_its_entries_is_refused(pack: bytes, auditor: Auditor) -> None:
    """The header is not signed; whose log it is, only the entries say."""
    code, text = auditor.verify(re.sub(rb'"node":"nod_[0-9a-z]+"', b'"node":"nod_other"', pack, count=1))
    assert code == 1
    assert "entry 0 of node 'nod_other' says that it is entry 0 of node 'nod_" in text


@pytest.mark.parametrize("said", [{"index": 1, "node": "nod_1"}, {"index": 0, "node": "nod_2"}, {"index": True}, {}])
def test_a_signed_entry_that_tells_of_another_place_is_named(said: dict[str, Any]) -> None:
    """As if who has the log's key took an entry over from another log, or from elsewhere in this one."""
    entry = canonical(said)
    head = sign_checkpoint(ORIGIN, 1, leaf_hash(entry), SIGNER).to_note()
    header = {"pack": FORMAT, "node": "nod_1", "start": 0, "end": 1, "checkpoint": head, "left": [], "right": []}
    made = b"\n".join([canonical(header), base64.b64encode(leaf_hash(entry)), entry, b""])
    (fault,) = verify_pack(io.BytesIO(made), SIGNER.public).faults
    assert fault.index == 0
    assert "entry 0 of node 'nod_1' says that it is entry" in fault.text
