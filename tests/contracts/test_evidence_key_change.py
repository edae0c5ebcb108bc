"""The key of a log follows another, and whoever trusts either can prove it: here, by a pack, after a kill."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from charter.bootstrap import authority, evidence
from charter.bootstrap.building import build
from charter.bootstrap.house import House
from charter.cli.context import Context
from charter.cli.key_rotation import rotate_signing
from charter.config import Settings
from charter.core.entropy import SystemEntropy
from charter.core.keys import Ed25519Signer, Signer
from charter.evidence.charter_verify import Checkpoint as HeldAlone
from charter.evidence.charter_verify import parse_checkpoint as parse_alone
from charter.evidence.charter_verify import parse_receipt, verify_pack
from charter.evidence.check import check_log
from charter.evidence.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from charter.evidence.entry import Draft, EntryKind
from charter.evidence.export import export_pack
from charter.evidence.key_change import line_of
from charter.evidence.log import entry_at
from charter.evidence.receipt import sign_receipt
from charter.identity.keys import KeyUse
from houses import a_house
from packs import Auditor

WHO = {"actor": "maria@example.com", "reason": "due"}
EVIL = Ed25519Signer.from_seed(b"e" * 32)


def rotate(house: House, **how: Any) -> None:
    asyncio.run(authority.rotate(house, "evidence", **WHO, **how))


def fill(house: House, count: int) -> None:
    drafts = [Draft(EntryKind.FINDING_CHANGED, "charter", None, {"n": n}) for n in range(count)]
    house.database.write(lambda tx: [tx.record(draft) for draft in drafts])


def faults(house: House, held: Checkpoint | None = None) -> list[str]:
    report = house.database.read(lambda tx: check_log(evidence.log_of(house, tx), house.evidence_key, held=held))
    return [fault.text for fault in report.faults]


def a_pack(house: House, **stretch: int) -> bytes:
    out = io.BytesIO()
    house.database.read(lambda tx: export_pack(evidence.log_of(house, tx), house.evidence_key, out, **stretch))
    return out.getvalue()


def found(pack: bytes, key: bytes, held: HeldAlone | None = None) -> list[str]:
    return [fault.text for fault in verify_pack(io.BytesIO(pack), key, held).faults]


def test_a_log_whose_key_changed_often_verifies_with_any_of_its_keys(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        house, keys, notes = stage.house, [stage.house.evidence_key], [stage.house.database.head.note]
        for size in (3, 300, 0, 700):
            fill(house, size) if size else None
            rotate(house, at_once=size == 0)
            keys.append(house.evidence_key)
            notes.append(house.database.head.note)
        fill(house, 5)
        assert len(set(keys)) == 5
        assert faults(house) == []
        pack, late = a_pack(house), a_pack(house, start=900)
        for key in keys:
            assert found(pack, key) == []
            assert found(late, key) == []
        for note in notes:
            assert faults(house, parse_checkpoint(note)) == []
            assert found(pack, keys[0], parse_alone(note)) == []
            assert found(pack, keys[-1], parse_alone(note)) == []
        code, said = Auditor(tmp_path).verify(pack, key=base64.b64encode(keys[0]).decode())
    assert (code, said.splitlines()[-1].startswith("VERIFIED")) == (0, True)


def test_each_change_is_in_the_log_and_in_a_checkpoint_that_both_keys_signed(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        before = stage.house.evidence_key
        rotate(stage.house)
        note = parse_checkpoint(stage.house.database.head.note)
        (told,) = [e["body"] for e in stage.entries("key.rotated") if e["body"]["use"] == "evidence"]
        assert note.extensions == (line_of(note.origin, before, stage.house.evidence_key),)
        assert len(note.signatures) == 2
        assert told["public"]["x"] == base64.urlsafe_b64encode(stage.house.evidence_key).rstrip(b"=").decode()


@pytest.mark.parametrize("more", [0, 1])
def test_a_node_starts_again_whenever_it_stopped_after_its_key_changed(tmp_path: Path, more: int) -> None:
    with a_house(tmp_path) as stage:
        rotate(stage.house)
        fill(stage.house, more) if more else None
        key = stage.house.evidence_key
    with a_house(tmp_path, apply=False) as stage:
        assert stage.house.evidence_key == key
        assert faults(stage.house) == []


CHANGING = """
import asyncio, sys
from pathlib import Path
from charter.bootstrap import authority
from charter.bootstrap.building import build
from charter.config import Settings
house = build(Settings(estate=Path(sys.argv[1])))
print("up", flush=True)
while True:
    asyncio.run(authority.rotate(house, "evidence", actor="maria@example.com", reason="due"))
    print("turned", flush=True)
"""


def test_kill_9_while_the_logs_key_changes_leaves_a_log_that_verifies_and_goes_on(tmp_path: Path) -> None:
    first, turns = None, 0
    for round_ in range(4):
        child = subprocess.Popen([sys.executable, "-c", CHANGING, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for _ in range(3 + 2 * round_):
            turns += child.stdout.readline() == "turned\n"
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        house = build(Settings(estate=tmp_path), entropy=SystemEntropy())
        try:
            first = first or house.evidence_key
            assert faults(house) == []
            assert found(a_pack(house), first) == []
        finally:
            house.database.close()
            house.folder.close()
    assert turns >= 8


# --- what no change is ---


def changed_header(pack: bytes, **members: Any) -> bytes:
    first, _, rest = pack.partition(b"\n")
    return json.dumps(json.loads(first) | members).encode() + b"\n" + rest


def note_of(house: House, signers: Sequence[Ed25519Signer], line: str) -> str:
    """Return the head of the house's log, signed by others, with a line of their choice."""
    head = parse_checkpoint(house.database.head.note)
    return sign_checkpoint(head.origin, head.size, head.root, *signers, extensions=(line,)).to_note()


def test_a_key_cannot_appoint_itself(tmp_path: Path) -> None:
    """A pack under a stranger's key, with changes made up to lead there from the key that an auditor holds."""
    with a_house(tmp_path) as stage:
        house, true = stage.house, stage.house.evidence_key
        origin = house.database.origin
        pack, genuine = a_pack(house), house.database.head.note
        line = line_of(origin, true, EVIL.public)
        forged = note_of(house, [EVIL], line)
        stolen_line = genuine.partition("\n\n")[2]  # the true key's signature, of another body
        for change in (forged, forged + stolen_line):
            wrong = found(changed_header(pack, checkpoint=forged, key_changes=[change]), true)
            assert "the change of the log's key at" in wrong[0]
            assert any("not signed with the given key" in text for text in wrong)
        led_away = changed_header(
            pack, checkpoint=note_of(house, [EVIL], "x"), key_changes=[note_of(house, [EVIL], "x")]
        )
        with pytest.raises(Exception, match="names no two keys of the log"):
            found(led_away, true)
        elsewhere = Ed25519Signer.from_seed(b"f" * 32)
        unrelated = note_of(house, [elsewhere, EVIL], line_of(origin, elsewhere.public, EVIL.public))
        wrong = found(changed_header(pack, checkpoint=unrelated, key_changes=[unrelated]), true)
        assert wrong == ["the checkpoint is not signed with the given key"]


def test_a_key_that_was_replaced_signs_nothing_that_counts(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        house = stage.house
        old_signer = house.ring.active_signer("evidence", house.database.origin)  # type: ignore[arg-type]
        old = house.evidence_key
        rotate(house, at_once=True)
        fill(house, 3)
        head = parse_checkpoint(house.database.head.note)
        assert old_signer.public == old
        forged = sign_checkpoint(head.origin, head.size, head.root, old_signer).to_note()
        assert found(changed_header(a_pack(house), checkpoint=forged), old) == [
            "the checkpoint is not signed with the given key"
        ]
        assert any("bears 0 signatures" in text for text in faults(house, parse_checkpoint(forged)))


def test_a_change_that_was_taken_out_or_altered_is_named(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        house, old = stage.house, stage.house.evidence_key
        rotate(house)
        change = house.database.head.note
        fill(house, 2)
        pack = a_pack(house)
        assert found(changed_header(pack, key_changes=[]), old) == ["the checkpoint is not signed with the given key"]
        wrong = change.replace(change.splitlines()[2], base64.b64encode(b"r" * 32).decode())
        told = found(changed_header(pack, key_changes=[wrong]), old)
        assert any("its origin, size or root were changed" in text for text in told)


def test_a_key_that_was_replaced_promises_nothing_that_was_recorded_later(tmp_path: Path) -> None:
    """Who stole it could accuse the log of having dropped what never stood there."""
    with a_house(tmp_path) as stage:
        house, origin, first = stage.house, stage.house.database.origin, stage.house.evidence_key
        fill(house, 3)
        stolen = house.ring.active_signer(KeyUse.EVIDENCE, origin)
        rotate(house, at_once=True)
        changed = house.database.head.size
        fill(house, 3)

        def shown(index: int, signer: Signer) -> list[str]:
            entry = house.database.read(lambda tx: entry_at(evidence.log_of(house, tx), index))
            receipt = parse_receipt(sign_receipt(origin, entry, signer))
            report = verify_pack(io.BytesIO(a_pack(house)), first, receipts=(receipt,))
            return [fault.text for fault in report.faults]

        present = house.ring.active_signer(KeyUse.EVIDENCE, origin)
        assert shown(changed - 1, stolen) == []
        assert shown(changed - 1, present) == []
        assert shown(changed, present) == []
        (told,) = shown(changed, stolen)
    assert "is not signed by this log's key, so it shows nothing" in told


@pytest.mark.parametrize("at_once", [False, True])
def test_whoever_replaces_the_logs_key_is_not_told_that_its_past_expires(
    at_once: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    here = SimpleNamespace(operator="a@x", control=SimpleNamespace(post=lambda _path, _body: {"key_id": "k2"}))
    rotate_signing(cast("Context", here), "evidence", ("due", at_once), as_json=False)
    said = capsys.readouterr().out
    assert "signs nothing any more, and what it signed stays valid" in said
    assert "charter evidence log-key" in said
