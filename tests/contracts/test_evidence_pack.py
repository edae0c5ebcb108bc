"""A pack verifies for somebody without Charter, whatever stretch of the log it holds."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charter.adapters.database import Database
from charter.core.errors import MalformedError
from charter.evidence.charter_verify import UnreadableError, main, parse_checkpoint, verify_pack
from charter.evidence.checkpoint import verifier_key
from charter.evidence.entry import EntryKind
from charter.evidence.export import export_pack
from databases import ORIGIN, SIGNER, a_database, a_draft
from packs import KEY, Auditor, a_pack


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database[Any]]:
    """Hold a log of 601 entries: its opening, then allowing verdicts and their outcomes."""
    with a_database(tmp_path_factory.mktemp("log")) as opened:
        for i in range(300):
            verdict = a_draft(EntryKind.VERDICT, verdict="allow", verdict_id=f"vrd_{i}", text="naïve \u2028")
            outcome = a_draft(EntryKind.OUTCOME, verdict_id=f"vrd_{i}")
            opened.write(lambda tx, both=(verdict, outcome): [tx.record(draft) for draft in both])
        yield opened


@pytest.fixture(scope="module")
def auditor(tmp_path_factory: pytest.TempPathFactory) -> Auditor:
    return Auditor(tmp_path_factory.mktemp("auditor"))


def test_a_whole_log_verifies_without_charter(database: Database[Any], auditor: Auditor) -> None:
    code, said = auditor.verify(a_pack(database))
    assert code == 0
    assert said.splitlines()[-1] == (
        "VERIFIED: signed by the given key; no entry was changed, removed, reordered or added"
    )
    assert "entries 0 to 600 of 601" in said


def test_the_verifier_takes_the_key_in_the_form_other_tools_use(database: Database[Any], auditor: Auditor) -> None:
    code, _ = auditor.verify(a_pack(database), key=verifier_key(ORIGIN, SIGNER.public))
    assert code == 0


@pytest.mark.parametrize(("start", "end"), [(0, 0), (0, 1), (1, 256), (255, 257), (256, 512), (300, 601), (600, 601)])
def test_any_stretch_verifies(database: Database[Any], start: int, end: int) -> None:
    pack = a_pack(database, start=start, end=end)
    report = verify_pack(io.BytesIO(pack), SIGNER.public)
    assert (report.faults, report.start, report.end, report.size) == ([], start, end, 601)
    begins_with_outcome = start > 0 and start % 2 == 0 and end > start  # whose verdict comes from elsewhere
    assert pack.count(b"\n") == 1 + -(-(end - start) // 256) + (end - start) + begins_with_outcome


@settings(max_examples=25)
@given(st.integers(1, 40), st.data())
def test_any_stretch_of_any_log_verifies(
    tmp_path_factory: pytest.TempPathFactory, size: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, size))
    end = data.draw(st.integers(start, size))
    with a_database(tmp_path_factory.mktemp("log")) as opened:
        if size > 1:
            opened.write(lambda tx: [tx.record(a_draft()) for _ in range(size - 1)])
        report = verify_pack(io.BytesIO(a_pack(opened, start=start, end=end)), SIGNER.public)
    assert report.faults == []


def test_a_range_outside_the_log_is_refused(database: Database[Any]) -> None:
    for start, end in ((0, 602), (-1, 5), (5, 4), (700, None)):
        with pytest.raises(MalformedError, match="the log has 601 entries, so none from"):
            database.read_log(
                lambda log, start=start, end=end: export_pack(log, SIGNER.public, io.BytesIO(), start=start, end=end)
            )


def test_a_checkpoint_held_from_earlier_is_compared(tmp_path: Path) -> None:
    with a_database(tmp_path) as opened:
        opened.write(lambda tx: [tx.record(a_draft()) for _ in range(9)])
        held = parse_checkpoint(opened.head.note)
        opened.write(lambda tx: [tx.record(a_draft()) for _ in range(9)])
        whole, late = a_pack(opened), a_pack(opened, start=15)
        now = parse_checkpoint(opened.head.note)
    assert verify_pack(io.BytesIO(whole), SIGNER.public, held).faults == []
    assert verify_pack(io.BytesIO(late), SIGNER.public, now).faults == []
    (fault,) = verify_pack(io.BytesIO(late), SIGNER.public, held).faults
    assert fault.text == "the held checkpoint of 10 entries lies outside this pack and cannot be compared"


@settings(max_examples=120)
@given(st.data())
def test_no_bytes_upset_the_verifier_or_pass_for_a_pack(database: Database[Any], data: st.DataObject) -> None:
    pack = a_pack(database, end=12)
    how = data.draw(st.sampled_from(["flip", "cut", "insert", "noise"]))
    at = data.draw(st.integers(0, len(pack) - 1))
    if how == "flip":
        wrong = pack[:at] + bytes([pack[at] ^ 1 << data.draw(st.integers(0, 7))]) + pack[at + 1 :]
    elif how == "cut":
        wrong = pack[:at]
    elif how == "insert":
        wrong = pack[:at] + data.draw(st.binary(min_size=1, max_size=40)) + pack[at:]
    else:
        wrong = data.draw(st.binary(max_size=200))
    try:
        report = verify_pack(io.BytesIO(wrong), SIGNER.public)
    except UnreadableError:
        return
    if report.is_verified:  # what the header says beside the signed checkpoint, or the very last line's end
        assert wrong.split(b"\n")[1:13] == pack.split(b"\n")[1:13]
        assert (report.origin, report.size, report.root) == (ORIGIN, 601, verify_pack_root(pack))


def verify_pack_root(pack: bytes) -> bytes:
    return verify_pack(io.BytesIO(pack), SIGNER.public).root


@pytest.mark.parametrize(
    ("pack", "said"),
    [
        (b"", "this is no pack of the form charter.evidence/3"),
        (b"[1]\n", "this is no pack"),
        (b"[" * 100_000 + b"\n", "this is no pack"),
        (b"x" * 200_000, "line 1 is longer than 131072 bytes"),
        (b'{"pack":"charter.evidence/1"}\n', "names no range"),
        (b'{"pack":"charter.evidence/1","start":0,"end":99999999999}\n', "names no range of at most 50000000 entries"),
        (b'{"pack":"charter.evidence/1","start":0,"end":1}\n', "lacks its checkpoint"),
    ],
)
def test_what_is_no_pack_is_said_to_be_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], pack: bytes, said: str
) -> None:
    (tmp_path / "pack").write_bytes(pack)
    assert main([str(tmp_path / "pack"), "--key", KEY]) == 1
    assert said in capsys.readouterr().out


def test_a_missing_file_or_a_key_that_is_none_is_said_clearly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "nothing"), "--key", KEY]) == 1
    assert "No such file" in capsys.readouterr().out
    (tmp_path / "pack").write_bytes(b"")
    assert main([str(tmp_path / "pack"), "--key", "c2hvcnQ="]) == 1
    assert "the key is missing or has the wrong length" in capsys.readouterr().out
