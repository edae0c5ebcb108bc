"""Charters that change alike are told together; each one's evidence says what its change came to, and who said yes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from charter.adapters.evidence_store import entries_of
from charter.bootstrap import estate
from charter.evidence.entry import EntryKind
from estates import TEAMS, another_principal, estate_files
from houses import a_house

REVIEWED = TEAMS + "changes: {reviewed: required, central: payments-lead}\n"


def files(amount: str) -> dict[str, str]:
    changed = {"teams.yaml": REVIEWED, "tests/refunds.yaml": None}
    both = another_principal("alike-1") | another_principal("alike-2")
    return estate_files(changed | {path: text.replace("200 EUR", amount) for path, text in both.items()})


def test_the_evidence_of_each_says_what_its_change_came_to_and_who_said_yes(tmp_path: Path) -> None:
    wider = files("300 EUR")
    with a_house(tmp_path, files=files("200 EUR")) as stage:
        plan = estate.plan(stage.house, wider)
        assert [(each["principal"], each["others"]) for each in plan["effects"]] == [("alike-1", ["alike-2"])]
        saying = {"plan_digest": plan["digest"], "person": "alex@example.com", "reason": "agreed"}
        asyncio.run(estate.approve(stage.house, wider, **saying))
        stage.apply(wider)
        kind = EntryKind.CHARTER_APPLIED.value
        entries = stage.house.database.read(lambda tx: list(entries_of(tx.connection, kind, "", tx.payloads)))
    last = {each["body"]["name"]: each["body"].get("review") for each in entries}
    for name in ("alike-1", "alike-2"):
        assert last[name]["conclusion"] == "widens"
        assert last[name]["approved_by"] == ["alex@example.com"]
        assert "amount 201" in last[name]["examples"][0]
