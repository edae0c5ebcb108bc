"""Attacks on the witnessing of exported packs, before an auditor with the verifier and witnesses' keys."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest

from charter.core.keys import Ed25519Signer
from charter.evidence.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from charter.evidence.cosignature import Witness, cosign
from charter.evidence.entry import Draft, EntryKind
from databases import SIGNER, a_database
from packs import Auditor, a_pack

AT = dt.datetime(2026, 11, 27, tzinfo=dt.UTC)
EYES = tuple(Ed25519Signer.from_seed(bytes([each]) * 32) for each in (21, 22, 23))
WITNESSES = tuple(Witness(f"example.com/witness/{i}", each.public) for i, each in enumerate(EYES))


def cosigned(head: Checkpoint, *who: int) -> str:
    lines = [cosign(head, WITNESSES[each].name, EYES[each], AT) for each in who]
    return replace(head, signatures=(*head.signatures, *lines)).to_note()


@pytest.fixture
def packed(tmp_path: Path) -> tuple[Auditor, bytes, Checkpoint, Path]:
    with a_database(tmp_path) as database:
        for number in range(5):
            database.write(lambda tx, n=number: tx.record(Draft(EntryKind.OBSERVED, "charter", None, {"n": n})))
        head = parse_checkpoint(database.head.note)
        return Auditor(tmp_path), a_pack(database), head, tmp_path / "cosigned"


def asked(kept: Path, *, quorum: int = 2) -> list[str]:
    keys = [word for each in WITNESSES for word in ("--witness", str(each))]
    return [*keys, "--quorum", str(quorum), "--cosigned", str(kept)]


def test_a_pack_that_a_quorum_cosigned_verifies_and_one_fewer_does_not(
    packed: tuple[Auditor, bytes, Checkpoint, Path],
) -> None:
    auditor, pack, head, kept = packed
    kept.write_text(cosigned(head, 0, 2))
    code, said = auditor.verify(pack, *asked(kept))
    assert code == 0, said
    assert "WITNESSED: 2" in said
    kept.write_text(cosigned(head, 2))
    code, said = auditor.verify(pack, *asked(kept))
    assert code == 1
    assert "1 of the 3 trusted witnesses" in said


def test_a_branch_that_witnesses_did_not_see_is_named(packed: tuple[Auditor, bytes, Checkpoint, Path]) -> None:
    auditor, pack, head, kept = packed
    kept.write_text(cosigned(sign_checkpoint(head.origin, head.size, bytes(32), SIGNER), 0, 1))
    code, said = auditor.verify(pack, *asked(kept))
    assert code == 1
    assert f"not the one that witnesses cosigned at {head.size} entries" in said


def test_entries_after_the_cosigned_head_are_named(packed: tuple[Auditor, bytes, Checkpoint, Path]) -> None:
    auditor, pack, head, kept = packed
    kept.write_text(cosigned(sign_checkpoint(head.origin, head.size - 1, bytes(32), SIGNER), 0, 1))
    code, said = auditor.verify(pack, *asked(kept))
    assert code == 1
    assert "came after the checkpoint" in said


def test_a_cosignature_moved_from_another_head_counts_for_nobody(
    packed: tuple[Auditor, bytes, Checkpoint, Path],
) -> None:
    auditor, pack, head, kept = packed
    other = sign_checkpoint(head.origin, head.size + 1, bytes(32), SIGNER)
    lines = [cosign(other, each.name, eye, AT) for each, eye in zip(WITNESSES, EYES, strict=True)]
    kept.write_text(replace(head, signatures=(*head.signatures, *lines)).to_note())
    code, said = auditor.verify(pack, *asked(kept, quorum=1))
    assert code == 1
    assert "0 of the 3 trusted witnesses" in said


def test_a_pack_without_cosignatures_is_not_witnessed(packed: tuple[Auditor, bytes, Checkpoint, Path]) -> None:
    auditor, pack, _, _ = packed
    code, said = auditor.verify(pack, "--witness", str(WITNESSES[0]))
    assert code == 1
    assert "0 of the 1 trusted witnesses" in said
