"""Erasing in a whole house: real calls, then what every reader says of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from charter.adapters.evidence_store import entries_of
from charter.behaviour.signal import Contribution, Feature
from charter.bootstrap import call_story, erasing, evidence, observing, review, verdicts
from charter.core.clock import rfc3339
from charter.core.errors import AbsentError, MalformedError
from charter.evidence.charter_verify import parse_receipt
from charter.evidence.entry import Draft, EntryKind
from charter.evidence.log import entry_at, tail
from charter.evidence.ocsf import event_of
from charter.evidence.tree import leaf_hash
from charter.gateway.pipeline import Admitted
from charter.identity.noting import note
from charter.identity.use import Deed, Use
from charter.registry.record import Finding
from erasing_stage import ANN, put, verified
from houses import Stage, a_house


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with a_house(tmp_path) as found:
        yield found


def erased(stage: Stage, *, really: bool = True, **wanted: Any) -> dict[str, Any]:
    asked = erasing.erase_evidence(stage.house, wanted, actor="dpo@example.com", reason="request 4711", really=really)
    return asyncio.run(asked)


def test_an_erased_call_is_told_plainly_by_every_reader(stage: Stage) -> None:
    for name in ("ch_1", "ch_2"):
        stage.submit(stage.bearer("refund-agent"), stage.make("get_charge", {"charge_id": name}))
    stage.house.sealing.seal()
    stage.clock.advance(seconds=1)

    assert erased(stage, really=False, principal="refund-agent")["erased"] == 0
    told = erased(stage, principal="refund-agent")

    assert told["erased"] == told["found"] > 0
    assert erased(stage, principal="refund-agent")["erased"] == 0
    checked = asyncio.run(evidence.verify(stage.house))
    assert (checked["ok"], checked["problems"], checked["erased"]) == (True, [], told["erased"])
    found = evidence.listing(stage.house, {"kind": "verdict"}, after=None, newest=None, limit=10)["entries"]
    assert {each["body"]["object"] for each in found} == {"<erased>"}
    assert all("erased_by" in each for each in found)
    assert "ch_1" not in str(evidence.listing(stage.house, {"text": "ch_1"}, after=None, newest=None, limit=10))
    call_story.tell(stage.house, found[0]["body"]["verdict_id"])
    events = [event_of(each) for each in stage.house.database.read_log(lambda log: tail(log, None, 100))]
    assert "ch_1" not in str(events)
    assert len(stage.house.sealing.sealed.manifest.erased) == 1
    stage.clock.advance(seconds=1)
    answer = asyncio.run(review.answers(stage.house, review.Review()))
    assert "ch_1" not in str(answer)
    assert "<erased>" not in str([q["rows"] for q in answer["questions"] if q["name"] == "most-active"])


def sealed_files(stage: Stage) -> dict[str, set[Path]]:
    """Return the sealed files by day."""
    found: dict[str, set[Path]] = {}
    for path in stage.house.sealing.sealed.folder.glob("*/day=*/*.parquet"):
        found.setdefault(path.parent.name, set()).add(path)
    return found


def test_an_erasure_makes_the_sealed_days_anew_that_had_it_and_no_others(stage: Stage) -> None:
    for _ in range(4):
        stage.submit(stage.bearer("refund-agent"), stage.make("get_charge", {"charge_id": "ch_1"}))
        stage.clock.advance(days=1)
    stage.house.sealing.seal()
    before = sealed_files(stage)
    days = sorted(before)
    second = days[1].removeprefix("day=")

    assert erased(stage, since=f"{second}T00:00:00Z", before=f"{days[2].removeprefix('day=')}T00:00:00Z")["erased"] > 0

    after = sealed_files(stage)
    assert [day for day in days if before[day] != after[day]] == [days[1]]
    assert not before[days[1]] & after[days[1]]
    asked = review.Review(question="sensitive", since="30d")
    (answer,) = asyncio.run(review.answers(stage.house, asked))["questions"]
    rows = [dict(zip(answer["columns"], row, strict=True)) for row in answer["rows"]]
    assert [(row["calls"], row["objects"]) for row in rows] == [(4, 2)]  # the charge, and what was erased
    assert stage.house.sealing.seal()["sealed"] <= 1  # what tells of the erasure
    assert sealed_files(stage)[days[0]] == before[days[0]]


def test_sealed_evidence_that_follows_erasures_the_log_does_not_tell_of_is_made_again(stage: Stage) -> None:
    """As after an older backup of the database was restored beside newer sealed files."""
    stage.submit(stage.bearer("refund-agent"), stage.make("get_charge", {"charge_id": "ch_1"}))
    stage.house.sealing.seal()
    before, sealed = sealed_files(stage), stage.house.sealing.sealed
    sealed.follow({stage.house.database.node: 9_999})

    stage.house.sealing.ready()

    assert sealed.manifest.erased == {}
    assert sealed.manifest.nodes[stage.house.database.node].next == stage.house.database.head.size
    assert {day: len(paths) for day, paths in sealed_files(stage).items()} == {d: len(p) for d, p in before.items()}


def test_the_receipt_of_a_call_is_had_by_the_id_that_its_answer_bore(stage: Stage) -> None:
    answer, _ = stage.submit(stage.bearer("refund-agent"), stage.make("get_charge", {"charge_id": "ch_1"}))
    assert isinstance(answer, Admitted)
    told = verdicts.receipt(stage.house, answer.verdict_id)
    assert told == verdicts.receipt(stage.house, str(told["index"]))
    found = parse_receipt(told["receipt"])
    entry = stage.house.database.read_log(lambda log: entry_at(log, told["index"]))
    assert (found.index, found.leaf) == (entry.index, leaf_hash(entry.data))
    for wrong in ("vrd_00000000000000000000000000", "99999"):
        with pytest.raises(AbsentError):
            verdicts.receipt(stage.house, wrong)
    with pytest.raises(MalformedError):
        verdicts.receipt(stage.house, "-1")


def test_what_people_typed_of_keys_plans_and_findings_can_be_erased(stage: Stage) -> None:
    refused = {"plan": "sha256:00", "seats": [], "reason": "ann says no"}
    drafts = [
        Draft(EntryKind.CREDENTIAL_REVOKED, "a@example.com", None, {"key": "crd_1", "reason": "ann lost it"}),
        Draft(EntryKind.PLAN_REFUSED, "a@example.com", None, refused),
        Draft(EntryKind.FINDING_OPENED, "charter", None, {"finding": "fnd_1", "kind": "leaver", "title": "ann left"}),
        Draft(EntryKind.AUTHENTICATION, "prn_1", None, {"outcome": "issued", "source": "203.0.113.7"}),
    ]
    stage.house.database.write(lambda tx: [tx.record(each) for each in drafts])
    for kind, field in (("credential.revoked", "reason"), ("plan.refused", "reason"), ("finding.opened", "title")):
        assert "ann" in stage.entries(kind)[-1]["body"][field]
        read = stage.house.database.read(lambda tx, kind=kind: list(entries_of(tx.connection, kind, "", tx.payloads)))
        assert "ann" in read[-1]["body"][field]
    stage.clock.advance(seconds=1)
    erased(stage, before=rfc3339(stage.clock.now()))
    assert verified(stage).is_verified
    hashed = b"".join(each.data for each in stage.house.database.read_log(lambda log: log.entries(None, 1000)))
    for gone in (b"ann lost", b"ann says", b"ann left", b"203.0.113.7"):
        assert gone not in hashed
    assert stage.entries("finding.opened")[-1]["body"]["title"] == "<erased>"


def test_whom_a_finding_is_about_can_be_erased_from_the_log(stage: Stage) -> None:
    line = {"time": "2026-11-24T09:00:00Z", "actor": ANN, "action": "InvokeModel", "model": "claude-sonnet-4"}
    taken = observing.ingest(stage.house, "jsonl", [json.dumps(line)], first=1, file="x", actor="a@example.com")
    assert asyncio.run(taken)["findings"] == 1
    use = Use("prn_1", "thumb", Deed.CALL, stage.clock.now(), source="203.0.113.7")
    why = Contribution(Feature.COUNTERPARTY, f"person: {ANN}", 9.0, f"it never worked for {ANN}")
    bodies: list[dict[str, Any]] = [
        {"uses": [use.to_json()]},
        {"contributions": [why.to_json()], "key": why.key},
        {"owner": ANN, "offered_by": ANN},
    ]
    findings = [
        Finding.noticed(f"fnd_{number}", "k", f"f{number}", title="", body=body, at=stage.clock.now())
        for number, body in enumerate(bodies)
    ]
    stage.house.database.write(lambda tx: [note(tx, each, actor="charter") for each in findings])
    assert ANN in str(stage.entries("finding.opened"))
    assert ANN in evidence.line_of(stage.entries("observed")[-1])
    hashed = b"".join(each.data for each in stage.house.database.read_log(lambda log: log.entries(None, 1000)))
    assert b'"finding.opened"' in hashed
    assert ANN.encode() not in hashed
    assert b"203.0.113.7" not in hashed
    assert erased(stage, person=ANN)["erased"] >= 3
    assert verified(stage).is_verified
    observed = stage.house.database.read_log(lambda log: tail(log, None, 100))
    told = [event_of(each) for each in observed if each.kind in ("observed", "finding.opened")]
    assert len(told) == 5
    assert ANN not in str(told)
    assert evidence.line_of(stage.entries("observed")[-1]) == "unknown  somebody: InvokeModel, as jsonl tells"


def test_a_person_is_found_as_a_whole_address_alone(stage: Stage) -> None:
    put(stage, [f"jo{ANN}", f"{ANN}.au", f"x-{ANN}", f"because {ANN}, and others, asked"])
    assert erased(stage, person=ANN)["erased"] == 1


@pytest.mark.postgres
def test_each_node_on_a_shared_database_erases_in_its_own_log_what_was_ordered_at_one(
    tmp_path: Path, postgres_url: str
) -> None:
    """One node has PostgreSQL at a time; the other finds the order when it takes over."""
    at = {"apply": False, "database": postgres_url, "master": f"file:{tmp_path / 'master.key'}"}
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with a_house(tmp_path / "a", **at) as a:
        put(a, [ANN, "bob@example.com"])
        origin = a.house.database.origin
    with a_house(tmp_path / "b", **at) as b:
        assert b.house.database.origin != origin
        put(b, [ANN])
        seen = erased(b, really=False, person=ANN)
        assert (seen["found"], seen["elsewhere"]) == (2, [{"log": origin, "found": 1, "held": 0}])
        assert [each.get("log") for each in seen["entries"]] == [None, origin]
        assert b.house.retaining.listing()["elsewhere"] == []
        told = erased(b, person=ANN)
        assert (told["erased"], told["elsewhere"]) == (1, seen["elsewhere"])
        listed = b.house.retaining.listing()
        assert (listed["under_way"], listed["elsewhere"]) == (0, [{"log": origin, "orders": 1}])
        assert verified(b).is_verified
    with a_house(tmp_path / "a", **at) as a:
        assert a.house.retaining.listing()["under_way"] == 1
        a.house.retaining.tend()
        assert (a.house.retaining.listing()["under_way"], a.house.retaining.listing()["elsewhere"]) == (0, [])
        report = verified(a)
        assert (report.is_verified, len(report.payloads.erased)) == (True, 1)
        assert [each["actor"] for each in report.payloads.erasures] == ["dpo@example.com"]
        gone = a.house.database.read(
            lambda tx: [n for log in evidence.logs_of(a.house, tx) for n in log.entries(None, 99)]
        )
        assert ANN not in str([each.to_json() for each in gone])
