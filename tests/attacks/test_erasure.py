"""Erasing payloads: what it may not hide, and what must not survive it."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest

from charter.adapters.database import Database
from charter.adapters.engine import sqlite_url
from charter.adapters.erasure_store import SqlErasures
from charter.adapters.payloads import Payloads
from charter.adapters.transaction import SqlTransaction
from charter.core.clock import SystemClock
from charter.core.entropy import SystemEntropy
from charter.core.errors import ConflictError
from charter.core.keys import Ed25519Signer
from charter.core.values import Secret
from charter.evidence.charter_verify import Report, verify_pack
from charter.evidence.check import check_log
from charter.evidence.entry import Draft, EntryKind
from charter.evidence.erasure import Cover, Erasing, Hold, erase, place_hold, release_hold
from charter.evidence.export import export_pack
from charter.evidence.log import Stored, entry_at, prove_inclusion, verify_proof

SIGNER = Ed25519Signer.from_seed(bytes(32))
ORDER = Erasing("dpo@example.com", "request 4711", "person")
ANN = "ann@example.com"


class Open:
    """Seals nothing: the keys of this test lie open."""

    def seal(self, secret: Secret, context: str) -> str:  # noqa: ARG002 - the port's
        return secret.reveal().hex()

    def unseal(self, sealed: str, context: str) -> Secret:  # noqa: ARG002 - the port's
        return Secret(bytes.fromhex(sealed))


class Work(SqlTransaction):
    """A transaction that erases."""

    @property
    def erasures(self) -> SqlErasures:
        return SqlErasures(self.connection)


def a_log(folder: Path) -> Database[Work]:
    """Return a log with three verdicts, one of them for Ann."""
    payloads = Payloads(Open(), SystemEntropy())

    def signer(connection: Any) -> Ed25519Signer:
        payloads.begin(connection, SystemClock().now())
        return SIGNER

    database: Database[Work] = Database(
        sqlite_url(folder / "charter.db"),
        clock=SystemClock(),
        entropy=SystemEntropy(),
        signer=signer,
        make_transaction=Work,
        node_origin="example.com/log/one",
        payloads=payloads,
    )
    if database.head.size == 1:
        for number, person in enumerate(("bob@example.com", ANN, "carl@example.com")):
            body = {
                "verdict_id": f"vrd_{number}",
                "verdict": "deny",
                "principal": "refund-agent",
                "system": "payments",
                "tool": "refund",
                "object": f"charge/secret-{number}",
                "chain": {"initiator": person, "parties": []},
                "reasons": [{"layer": "charter", "rule": "r1", "text": f"secret-{number} is not yours", "mend": None}],
            }
            database.write(lambda tx, said=body: tx.record(Draft(EntryKind.VERDICT, "prn_1", "prn_1", said)))
    return database


def stored(database: Database[Work], index: int) -> Stored:
    return database.read_log(lambda log: entry_at(log, index))


def erased(database: Database[Work], *indexes: int) -> int:
    some = [stored(database, index) for index in indexes]
    return database.write(lambda tx: erase(tx, some, ORDER))


def verified(database: Database[Work], forge: tuple[bytes, bytes] | None = None) -> Report:
    out = io.BytesIO()
    database.read_log(lambda log: export_pack(log, SIGNER.public, out))
    data = out.getvalue().replace(*forge) if forge else out.getvalue()
    return verify_pack(io.BytesIO(data), SIGNER.public)


def test_a_log_verifies_whatever_is_erased_of_it(tmp_path: Path) -> None:
    for chosen in ((), (1,), (2, 3), (1, 2, 3)):
        folder = tmp_path / f"of{len(chosen)}"
        folder.mkdir()
        database = a_log(folder)
        try:
            before = stored(database, 2).data
            assert erased(database, *chosen) == len(chosen)
            report = database.read_log(lambda log: check_log(log, SIGNER.public))
            assert (report.faults, report.erased, report.payloads) == ((), len(chosen), 3 - len(chosen))
            pack = verified(database)
            assert pack.is_verified
            assert sorted(pack.payloads.erased) == list(chosen)
            proof = database.read_log(lambda log: prove_inclusion(log, 2))
            assert stored(database, 2).data == before
            verify_proof(proof.to_text(), proof.data, "example.com/log/one", SIGNER.public)
        finally:
            database.close()


def test_an_erased_verdict_still_says_what_who_where_and_when(tmp_path: Path) -> None:
    database = a_log(tmp_path)
    try:
        erased(database, 2)
        entry = stored(database, 2).to_json()
        body = entry["body"]
        assert (body["verdict"], body["principal"], body["system"]) == ("deny", "refund-agent", "payments")
        assert (body["reasons"][0]["rule"], entry["time"], entry["actor"]) == ("r1", stored(database, 2).time, "prn_1")
        assert (body["object"], body["chain"]["initiator"]) == ("<erased>", "<erased>")
        told = stored(database, 4).to_json()
        assert (told["kind"], told["actor"], told["body"]["entries"]) == ("evidence.erased", ORDER.actor, [[2, 2]])
    finally:
        database.close()


def test_no_file_of_the_database_holds_what_was_erased(tmp_path: Path) -> None:
    database = a_log(tmp_path)
    salt, payload = database.read(
        lambda tx: tx.connection.exec_driver_sql('SELECT salt, payload FROM evidence_entry WHERE "index" = 2').one()
    )
    assert erased(database, 2) == 1
    database.settle_erasure()
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    database.close()
    assert salt not in files
    assert payload not in files
    assert b"secret-1" not in files


def test_a_held_payload_is_erased_by_nobody_until_the_hold_is_released(tmp_path: Path) -> None:
    database = a_log(tmp_path)
    try:
        hold = Hold("hld_1", Cover(person=ANN.upper()), "case 12", "legal@example.com", SystemClock().now())
        database.write(lambda tx: place_hold(tx, hold))
        with pytest.raises(ConflictError, match="entry 2 is held by `hld_1`"):
            erased(database, 1, 2)
        assert stored(database, 1).payload is not None
        database.write(lambda tx: release_hold(tx, "hld_1", "legal@example.com", "case 12 is closed"))
        assert erased(database, 1, 2) == 2
        kinds = [stored(database, index).kind for index in (4, 5, 6)]
        assert kinds == ["hold.placed", "hold.released", "evidence.erased"]
    finally:
        database.close()


def test_a_forged_payload_is_named(tmp_path: Path) -> None:
    database = a_log(tmp_path)
    try:
        report = verified(
            database, (b'\t{"/chain/initiator":"ann@example.com"', b'\t{"/chain/initiator":"eve@example.com"')
        )
        assert [str(fault.text) for fault in report.faults] == [
            "entry 2: what stands apart of it is not what it commits to"
        ]
    finally:
        database.close()


def test_a_payload_that_is_gone_without_a_record_is_named(tmp_path: Path) -> None:
    """As if somebody destroyed a key by hand, or a kill could come between the destruction and its record."""
    database = a_log(tmp_path)
    try:
        database.write(lambda tx: SqlErasures(tx.connection).empty(database.node, [2], 4))
        wanted = ["entry 2: what stands apart of it is missing, and no entry tells of an erasure"]
        assert [fault.text for fault in verified(database).faults] == wanted
        report = database.read_log(lambda log: check_log(log, SIGNER.public))
        assert [fault.text for fault in report.faults] == wanted
    finally:
        database.close()


def test_an_erasure_that_fails_before_it_is_told_of_destroys_nothing(tmp_path: Path) -> None:
    database = a_log(tmp_path)
    some = [stored(database, 2)]

    def dies(tx: Work) -> None:
        erase(tx, some, ORDER)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        database.write(dies)
    database.close()
    database = a_log(tmp_path)
    try:
        assert stored(database, 2).to_json()["body"]["object"] == "charge/secret-1"
        assert verified(database).is_verified
    finally:
        database.close()


def test_commitments_of_equal_payloads_differ_and_tell_nothing(tmp_path: Path) -> None:
    database = a_log(tmp_path)
    try:
        body = {"verdict": "deny", "object": "yes", "reasons": []}
        draft = Draft(EntryKind.VERDICT, "prn_1", "prn_1", body)
        first, second = (database.write(lambda tx: tx.record(draft)) for _ in range(2))
        said = [json.loads(stored(database, index).data)["apart"]["commitment"] for index in (first, second)]
        assert said[0] != said[1]
        assert b"yes" not in stored(database, first).data
        assert len(base64.b16decode(said[0].upper())) == 32
    finally:
        database.close()
