"""The bytes others verify: a pack and a proof written once must verify for ever, so they may not change unseen."""

from __future__ import annotations

import io
from pathlib import Path

from charter.evidence.charter_verify import verify_pack
from charter.evidence.entry import EntryKind
from charter.evidence.log import prove_inclusion, verify_proof
from databases import ORIGIN, SIGNER, a_database, a_draft
from packs import a_pack

HERE = Path(__file__).parent
PACK = (HERE / "evidence_pack.jsonl").read_bytes()
PROOF = (HERE / "evidence_entry_1.tlog-proof").read_text(encoding="utf-8")


def test_a_log_gives_the_recorded_pack_and_proof(tmp_path: Path) -> None:
    verdict = a_draft(verdict="allow", verdict_id="vrd_1")
    outcome = a_draft(EntryKind.OUTCOME, verdict_id="vrd_1")
    with a_database(tmp_path) as database:
        database.write(lambda tx: [tx.record(verdict), tx.record(outcome)])
        assert a_pack(database) == PACK
        assert database.read_log(lambda log: prove_inclusion(log, 1)).to_text() == PROOF


def test_the_recorded_pack_and_proof_verify() -> None:
    assert verify_pack(io.BytesIO(PACK), SIGNER.public).faults == []
    assert verify_proof(PROOF, PACK.splitlines()[3], ORIGIN, SIGNER.public).size == 3
