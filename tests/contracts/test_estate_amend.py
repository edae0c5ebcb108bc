"""A charter changed by hand: a version like any other, which the next plan shows as drift."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from charter.adapters import tables as t
from charter.core.errors import AbsentError, CharterError, ConflictError
from charter.registry.amend import amend
from charter.registry.charter import Charter
from charter.registry.dsse import verify_envelope
from charter.registry.principal import Principal
from charter.registry.problem import EstateError
from databases import SIGNER
from estates import PRINCIPAL, Registry, a_registry, an_estate, another_principal

P = "principals/refund-agent.yaml"


def changed(old: str, new: str) -> Charter:
    return an_estate({P: PRINCIPAL.replace(old, new)}).charters["refund-agent"].value


WIDER = changed("max: 200 EUR", "max: 900 EUR")


def by_hand(house: Registry, charter: Charter, **given: Any) -> Principal:
    known = house.live.principal_named(charter.principal)
    expected = given.get("expected") or (known.digest if known else "")
    by = ("pia@example.com", "the queue is long")
    return house.database.write(
        lambda tx: amend(charter, tx, expected=expected, signer=SIGNER, entropy=house.entropy, by=by)
    )


def test_an_amended_charter_is_in_force_at_once_as_a_signed_version(tmp_path: Path, database_url: str) -> None:
    with a_registry(tmp_path, database_url) as house:
        house.apply(an_estate())
        agent = by_hand(house, WIDER)
        assert house.live.principal_named("refund-agent") == agent
        kept = house.database.read(lambda tx: tx.registry.charter_version(agent.id, 2))
    assert (kept.charter, kept.applied_by, kept.reason) == (WIDER, "pia@example.com", "the queue is long")
    verify_envelope(kept.envelope, WIDER, {SIGNER.key_id: SIGNER.public})


def test_an_amendment_is_drift_and_the_file_wins(tmp_path: Path, database_url: str) -> None:
    with a_registry(tmp_path, database_url) as house:
        house.apply(an_estate())
        by_hand(house, WIDER)
        (change,) = house.plan(an_estate()).changes
        assert change.change.value == "drift"
        assert change.notes[0] == "changed in the console since files were last applied; the file wins"
        assert [(d.path, d.before, d.after) for d in change.differences] == [
            ("grants.0.when.amount.max", "900 EUR", "200 EUR")
        ]
        house.apply(an_estate())
        assert house.plan(an_estate()).changes == ()


def test_evidence_tells_who_amended_what_and_why(tmp_path: Path) -> None:
    with a_registry(tmp_path) as house:
        house.apply(an_estate())
        by_hand(house, WIDER)
        entry = json.loads(house.rows(t.evidence_entry)[-1].data)
    assert (entry["kind"], entry["actor"]) == ("charter.applied", "pia@example.com")
    assert (entry["body"]["managed_by"], entry["body"]["reason"]) == ("console", "the queue is long")
    assert entry["body"]["differences"][0]["path"] == "grants.0.when.amount.max"


def test_an_amendment_that_changes_nothing_records_nothing(tmp_path: Path) -> None:
    with a_registry(tmp_path) as house:
        house.apply(an_estate())
        before = house.rows(t.evidence_entry)
        by_hand(house, an_estate().charters["refund-agent"].value)
        assert house.rows(t.evidence_entry) == before


def test_an_amendment_of_a_version_that_was_replaced_is_refused(tmp_path: Path) -> None:
    with a_registry(tmp_path) as house:
        house.apply(an_estate())
        seen = house.live.principal_named("refund-agent")
        assert seen is not None
        by_hand(house, WIDER)
        with pytest.raises(ConflictError, match="changed meanwhile"):
            by_hand(house, changed("max: 200 EUR", "max: 5 EUR"), expected=seen.digest)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("kind: agent", "kind: copilot", "keeps its kind `agent` for life"),
        ("environment: production", "environment: sandbox", "keeps its environment `production` for life"),
    ],
)
def test_an_amendment_cannot_change_what_an_identity_is(tmp_path: Path, old: str, new: str, said: str) -> None:
    with a_registry(tmp_path) as house:
        house.apply(an_estate())
        with pytest.raises(EstateError, match=said):
            by_hand(house, changed(old, new))


def test_an_amendment_cannot_name_what_is_not_registered(tmp_path: Path) -> None:
    written = WIDER.to_json()
    written["grants"][0]["system"] = "paymants"
    written["approved"]["by"] = written["owner"]["person"]
    with a_registry(tmp_path) as house:
        house.apply(an_estate())
        with pytest.raises(EstateError) as caught:
            by_hand(house, Charter.model_validate(written))
    assert [problem.text for problem in caught.value.problems] == [
        "`maria@example.com` owns `refund-agent` and cannot approve its charter too",
        "`paymants` is no system",
    ]


def test_an_identity_begins_with_a_file_and_ends_for_good(tmp_path: Path) -> None:
    stranger = an_estate(another_principal("stranger")).charters["stranger"].value
    with a_registry(tmp_path) as house:
        house.apply(an_estate())
        with pytest.raises(AbsentError, match="there is no principal `stranger`"):
            by_hand(house, stranger)
        house.apply(an_estate({P: None, "tests/refunds.yaml": None}))
        with pytest.raises(ConflictError, match="is retired"):
            by_hand(house, WIDER)


def test_an_amendment_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with a_registry(tmp_path) as house:
        house.apply(an_estate())
        before = [house.rows(table) for table in (t.principal, t.charter_version, t.evidence_entry, t.feed)]
        house.sql(t.charter_version.update().values(charter="{}"))
        with pytest.raises(CharterError):
            by_hand(house, WIDER)
        after = [house.rows(table) for table in (t.principal, t.evidence_entry, t.feed)]
        assert after == [before[0], before[2], before[3]]
