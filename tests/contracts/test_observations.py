"""Evidence on its way in: logs of vendors and spans of others, each event once, matched to who it is known to be."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from charter.adapters import tables as t
from charter.bootstrap import discovery, observing
from charter.bootstrap.tending import OldEvents
from charter.core.errors import MalformedError
from charter.evidence.vendors.log_file import split_lines
from charter.evidence.vendors.readers import READERS
from charter.registry.lease import Holder, Lease, LeaseState
from houses import Stage, a_house, estate_files

LOGS = Path(__file__).parent.parent / "corpus" / "logs"
OPERATOR = "test@example.com"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with a_house(tmp_path) as found:
        yield found


def lines_of(kind: str) -> list[str]:
    return [line.data.decode() for line in split_lines((LOGS / f"{kind}.json").read_bytes())]


def ingest(stage: Stage, kind: str, lines: list[str]) -> dict[str, Any]:
    return asyncio.run(observing.ingest(stage.house, kind, lines, first=1, file=f"{kind}.json", actor=OPERATOR))


def test_a_vendors_log_becomes_evidence_once(stage: Stage) -> None:
    for kind in READERS:
        lines = lines_of(kind)
        first, second = ingest(stage, kind, lines), ingest(stage, kind, lines)
        assert (first["added"], first["repeated"], first["set_aside"]) == (len(lines), 0, [])
        assert (second["added"], second["repeated"], second["findings"]) == (0, len(lines), 0)
    told = [entry["body"] for entry in stage.entries("observed")]
    assert {body["source"]["kind"] for body in told} == set(READERS)
    for body in told:
        assert body["source"]["file"] == f"{body['source']['kind']}.json"
        assert body["source"]["digest"].startswith("sha256:")
        assert body["who"]["name"]
        assert body["outcome"] in ("success", "failure", "unknown")
        assert body["at"].startswith("2026-11-")


def test_that_an_event_was_told_is_forgotten_after_four_hundred_days_and_its_entry_is_not(stage: Stage) -> None:
    lines, old = lines_of("cloudtrail"), OldEvents()
    ingest(stage, "cloudtrail", lines)
    stage.clock.advance(days=399)
    assert asyncio.run(old.forget(stage.house)) == 0
    assert ingest(stage, "cloudtrail", lines)["repeated"] == len(lines)
    stage.clock.advance(days=2)
    assert asyncio.run(old.forget(stage.house)) == len(lines)
    with stage.house.database._engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(t.observed_event)).scalar() == 0
    assert len(stage.entries("observed")) == len(lines)
    asyncio.run(old.forget(stage.house))
    assert ingest(stage, "cloudtrail", lines)["added"] == len(lines)


def test_cloudtrail_tells_who_asked_which_model(stage: Stage) -> None:
    ingest(stage, "cloudtrail", lines_of("cloudtrail"))
    by_action = {entry["body"]["action"]: entry["body"] for entry in stage.entries("observed")}
    asked = by_action["InvokeModel"]
    assert asked["model"] == {"provider": "aws.bedrock", "name": "anthropic.claude-sonnet-4-20250514-v1:0"}
    assert asked["who"]["name"] == "arn:aws:sts::123456789012:assumed-role/research/notebook-7"
    assert asked["who"]["credential"] == "ASIAEXAMPLEKEY000001"
    assert by_action["Converse"]["used"] == {"input_tokens": 812, "output_tokens": 64}
    assert by_action["GetObject"]["outcome"] == "failure"
    assert "a prompt nobody may keep" not in json.dumps(stage.entries("observed"))


def test_an_unknown_actor_that_uses_ai_is_a_finding_once(stage: Stage) -> None:
    told = ingest(stage, "cloudtrail", lines_of("cloudtrail"))
    found = [each for each in discovery.listing(stage.house) if each["kind"] == "shadow-ai"]
    assert told["findings"] == len(found) == 1
    assert "notebook-7" in found[0]["title"]
    assert discovery.finding(stage.house, found[0]["id"])["entries"][0]["kind"] == "observed"


def test_an_actor_that_a_person_identified_is_that_principal(stage: Stage) -> None:
    lines = lines_of("cloudtrail")
    ingest(stage, "cloudtrail", lines[:1])
    actor = stage.entries("observed")[0]["body"]["who"]["name"]
    asyncio.run(
        observing.identify(stage.house, "cloudtrail", actor, "refund-agent", by=OPERATOR, reason="its own role")
    )
    found = next(each for each in discovery.listing(stage.house) if each["kind"] == "shadow-ai")
    assert found["state"] == "adopted"
    assert ingest(stage, "cloudtrail", lines[1:])["findings"] == 0
    later = stage.entries("observed")[-1]
    assert later["principal"] == "refund-agent"
    assert later["body"]["known_by"] == "a person's word"


def test_a_principal_is_known_by_its_spiffe_id(stage: Stage) -> None:
    principal = stage.house.principal("refund-agent")
    told = {"time": "2026-11-24T09:00:00Z", "actor": "x", "action": "GET /", "spiffe_id": principal.spiffe_id}
    ingest(stage, "jsonl", [json.dumps(told)])
    entry = stage.entries("observed")[0]
    assert entry["principal"] == "refund-agent"
    assert entry["body"]["known_by"] == "what jsonl makes sure of"


def test_a_federated_workload_is_known_by_its_claims(tmp_path: Path) -> None:
    subject = "system:serviceaccount:payments:refund-agent"
    claims = {"namespace": "payments", "service_account": "refund-agent"}
    issuers = {"charter": "v1", "issuers": {"cluster": {"issuer": "https://k8s.example.com", "platform": "kubernetes"}}}
    credential = {"type": "federated", "issuer": "cluster", "claims": claims, "bearer": "allowed"}
    files = estate_files(credential=credential) | {"issuers.yaml": json.dumps(issuers)}
    with a_house(tmp_path, files=files) as stage:
        ingest(stage, "kubernetes", lines_of("kubernetes"))
        known = {entry["body"]["who"]["name"]: entry["principal"] for entry in stage.entries("observed")}
    assert known[subject] == "refund-agent"


def test_an_aws_role_is_known_by_its_account_and_name(tmp_path: Path) -> None:
    issuers = {
        "charter": "v1",
        "issuers": {"aws": {"platform": "aws", "sts": "https://sts.eu-central-1.amazonaws.com"}},
    }
    claims = {"account": "123456789012", "role": "research"}
    credential = {"type": "federated", "issuer": "aws", "claims": claims, "bearer": "allowed"}
    files = estate_files(credential=credential) | {"issuers.yaml": json.dumps(issuers)}
    with a_house(tmp_path, files=files) as stage:
        told = ingest(stage, "cloudtrail", lines_of("cloudtrail"))
        known = {entry["body"]["action"]: entry["principal"] for entry in stage.entries("observed")}
    assert known == {"InvokeModel": "refund-agent", "GetObject": None, "Converse": "refund-agent"}
    assert told["findings"] == 0


def test_a_lease_is_known_by_the_id_that_aws_gave_its_session(stage: Stage) -> None:
    principal = stage.house.principal("refund-agent")
    lease = Lease(
        id="lea_00000000000000000000000001",
        system="ledger",
        kind="aws",
        system_body={},
        system_digest="sha256:1",
        holder=Holder(principal.id, principal.name, 0, principal.digest, "tok_1", "thumb", is_bound=True),
        rights=(),
        handle={"userid": "AROAEXAMPLE:charter-lea_00000000000000000000000001"},
        state=LeaseState.ISSUED,
        ttl_seconds=900,
        created_at=stage.clock.at,
        expires_at=stage.clock.at,
        ends_at=stage.clock.at,
        changed_at=stage.clock.at,
    )
    stage.house.database.write(lambda tx: tx.leases.add(lease))
    record = json.loads(lines_of("cloudtrail")[0])
    for number, role in enumerate(("AROAEXAMPLE", "AROASOMEONESELSES")):
        who = record["userIdentity"] | {"principalId": f"{role}:charter-{lease.id}"}
        ingest(stage, "cloudtrail", [json.dumps(record | {"userIdentity": who, "eventID": str(number)})])
    assert [entry["principal"] for entry in stage.entries("observed")] == ["refund-agent", None]


def test_lines_that_cannot_be_read_are_set_aside_and_the_others_taken(stage: Stage) -> None:
    good = lines_of("okta")[0]
    told = ingest(stage, "okta", ["{", good, "[]", '{"uuid":"1"}', "null", '{"published":1e400}'])
    assert told["added"] == 1
    assert [each["line"] for each in told["set_aside"]] == [1, 3, 4, 5, 6]
    assert all(each["why"] for each in told["set_aside"])


def test_an_event_that_is_told_otherwise_is_neither_added_nor_a_repetition(stage: Stage) -> None:
    record = json.loads(lines_of("okta")[0])
    told = ingest(stage, "okta", [json.dumps(record), json.dumps(record | {"eventType": "user.session.end"})])
    assert (told["added"], told["repeated"]) == (1, 0)
    assert "told otherwise before" in told["set_aside"][0]["why"]
    spaced = json.dumps(dict(reversed(record.items())), indent=1)
    assert ingest(stage, "okta", [spaced])["repeated"] == 1


def test_files_are_lines_or_documents_packed_or_not() -> None:
    records = [{"a": 1}, {"b": [2]}]
    lines = b"\n".join(json.dumps(each).encode() for each in records)
    document = json.dumps({"Records": records}).encode()
    for data in (lines, document, json.dumps(records).encode(), gzip.compress(lines), gzip.compress(document)):
        assert [json.loads(line.data) for line in split_lines(data)] == records
    with pytest.raises(MalformedError, match="gzipped, and broken"):
        list(split_lines(gzip.compress(document)[:-9]))


def test_there_is_no_other_kind_of_log(stage: Stage) -> None:
    with pytest.raises(MalformedError, match="is no kind of log"):
        ingest(stage, "splunk", [])
