"""A house whose log holds verdicts about people, to be erased; and what shows whether anything of them is left.

Run as a program, it erases a person in a house of its own, slowly enough to be killed in the middle of it.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from charter.bootstrap import erasing, retaining
from charter.evidence.charter_verify import Report, verify_pack
from charter.evidence.entry import Draft, EntryKind
from charter.evidence.export import export_pack
from houses import Stage, a_house
from review_entries import a_refusal

ANN = "ann@example.com"
SLOW = {"erasing": 4, "retaining": 4}  # payloads told of by one entry, so that there are many steps


def put(stage: Stage, people: Sequence[str], *, data: Sequence[str] = ("customer-pii",)) -> list[int]:
    """Record one refusal for each person; return their places in the log."""

    def work(tx: Any) -> list[int]:
        found = []
        for number, person in enumerate(people):
            body = json.loads(a_refusal("2026-11-02T09:30", object=f"charge/{person}", data=list(data)))["body"]
            body |= {"chain": {"initiator": person, "parties": []}, "verdict_id": f"vrd_{number}"}
            found.append(tx.record(Draft(EntryKind.VERDICT, "prn_1", "prn_1", body)))
        return found

    return list(stage.house.database.write(work))


def erase(stage: Stage, *, really: bool = True, **wanted: Any) -> dict[str, Any]:
    asked = erasing.erase_evidence(stage.house, wanted, actor="dpo@example.com", reason="request 4711", really=really)
    return asyncio.run(asked)


def verified(stage: Stage) -> Report:
    """Export the log and verify it as an auditor would."""
    out = io.BytesIO()
    stage.house.database.read_log(lambda log: export_pack(log, stage.house.evidence_key, out))
    return verify_pack(io.BytesIO(out.getvalue()), stage.house.evidence_key)


def left_of(folder: Path, texts: Sequence[str]) -> list[str]:
    """Return which of the texts still stand in a file of the data folder, in the clear or in sealed evidence."""
    data = b""
    for path in folder.rglob("*"):
        if path.suffix == ".parquet":
            data += str(pq.read_table(path).to_pylist()).encode()
        elif path.is_file():
            data += path.read_bytes()
    return [text for text in texts if text.encode() in data]


@contextmanager
def slow_steps() -> Any:
    """Let one entry tell of few payloads, so that an erasure has many steps."""
    before = erasing.MAX_ERASED, retaining.MAX_ERASED
    erasing.MAX_ERASED, retaining.MAX_ERASED = SLOW["erasing"], SLOW["retaining"]
    try:
        yield
    finally:
        erasing.MAX_ERASED, retaining.MAX_ERASED = before


def main(folder: Path, settings: dict[str, Any]) -> None:
    """Erase Ann, and say each step before it becomes durable."""
    with a_house(folder, apply=False, **settings) as stage, slow_steps():
        step = erasing._step

        def told(*given: Any) -> int:
            os.write(1, b".")
            return step(*given)

        erasing._step = told
        erase(stage, person=ANN)
        os.write(1, b"!")


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
