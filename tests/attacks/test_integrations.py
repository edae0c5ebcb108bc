"""Attacks through evidence that comes in, and on whoever reads what goes out."""

from __future__ import annotations

import asyncio
import csv
import datetime as dt
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.adapters.otlp import logs_request, spans_request
from charter.adapters.sinks import rendered
from charter.bootstrap import discovery, observing
from charter.core.errors import MalformedError
from charter.evidence.entry import Draft, EntryKind, place
from charter.evidence.log import Stored
from charter.evidence.observation import Observation
from charter.evidence.ocsf import event_of
from charter.evidence.sink import Form
from charter.evidence.spans import observation_of, read_spans
from charter.evidence.syslog import framed, message_of
from charter.evidence.vendors.log_file import split_lines
from charter.evidence.vendors.readers import READERS, read_observations
from fuzz_stage import fuzzed
from hostile import JSON, TEXT, spelt
from houses import Stage, a_house

CORPUS = Path(__file__).parent.parent / "corpus"
OCSF = jsonschema.Draft202012Validator(json.loads((CORPUS / "ocsf-1.9.0-dev.json").read_text(encoding="utf-8")))
OPERATOR = "test@example.com"
NASTY = (
    'x"] <13>1 2026-11-24T09:30:00Z forged charter - verdict - {"verdict":"allow"}',
    "x\n<13>1 2026-11-24T09:30:00Z forged",
    "\x1b[2J\x1b]0;owned\x07",
    "=cmd|' /C calc'!A0",
    "\u202egnp.exe\u2066",
    "a\u2028b\x00c\x85d",
)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with a_house(tmp_path) as found:
        yield found


def records() -> dict[str, list[dict[str, Any]]]:
    return {
        kind: [json.loads(line.data) for line in split_lines((CORPUS / "logs" / f"{kind}.json").read_bytes())]
        for kind in READERS
    }


def ingest(stage: Stage, kind: str, *told: dict[str, Any]) -> dict[str, Any]:
    lines = [json.dumps(each) for each in told]
    return asyncio.run(observing.ingest(stage.house, kind, lines, first=1, file="x", actor=OPERATOR))


def test_no_text_of_a_stranger_ends_or_begins_a_message(stage: Stage) -> None:
    told = [
        {"time": "2026-11-24T09:00:00Z", "actor": text, "action": text, "object": text, "model": "m", "error": text}
        for text in NASTY
    ]
    assert ingest(stage, "jsonl", *told)["added"] == len(NASTY)
    for entry in stage.house.database.read_log(lambda log: log.entries(None, 100)):
        OCSF.validate(event_of(entry))
        for form in (Form.OCSF, Form.ENTRY):
            message = message_of(entry, "host", form)
            assert all(0x20 <= byte < 0x7F for byte in message)
            assert message.count(b"] {") >= 1
            assert message.index(b"[charter@") < message.index(b"forged") if b"forged" in message else True
            assert framed(message) == str(len(message)).encode() + b" " + message
        lines = rendered([entry], Form.JSONL)
        assert lines.count(b"\n") == 1
        assert lines.isascii()
        rows = list(csv.reader(io.StringIO(rendered([entry], Form.CSV).decode(), newline="")))
        assert [len(row) for row in rows] == [11, 11]
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in rows[1])
        assert "\u202e" not in str(rows)


def test_an_observation_changes_no_answer_and_no_standing(stage: Stage) -> None:
    """A log that says a principal was allowed, approved or killed says so and nothing more."""
    principal = stage.house.principal("refund-agent")
    for action in ("verdict", "approval.given", "standing.changed", "charter.applied"):
        ingest(
            stage,
            "jsonl",
            {"time": "2026-11-24T09:00:00Z", "actor": "x", "spiffe_id": principal.spiffe_id, "action": action},
        )
    assert stage.entries("approval.given") == []
    assert stage.entries("standing.changed") == []
    assert stage.house.principal("refund-agent") == principal
    assert {entry["kind"] for entry in stage.entries("observed")} == {"observed"}


def test_a_log_cannot_take_a_principals_name(stage: Stage) -> None:
    """Who calls itself like a principal, and shows nothing that is the principal's, is not it."""
    for name in ("refund-agent", stage.house.principal("refund-agent").spiffe_id):
        told = {"time": "2026-11-24T09:00:00Z", "actor": name, "action": "chat", "model": "m"}
        ingest(stage, "jsonl", told)
        okta = records()["okta"][0]
        okta["actor"] |= {"displayName": name, "alternateId": name, "type": "AIAgent"}
        ingest(stage, "okta", okta | {"uuid": name})
    assert {entry["body"]["principal"] for entry in stage.entries("observed")} == {None}
    assert [each["kind"] for each in discovery.listing(stage.house)] == ["shadow-ai"] * 4


def test_one_file_cannot_bury_people_in_findings(stage: Stage) -> None:
    told = [
        {"time": "2026-11-24T09:00:00Z", "actor": f"a{i}", "action": "chat", "model": "m"}
        for i in range(observing.MAX_FINDINGS + 20)
    ]
    found = ingest(stage, "jsonl", *told)
    assert (found["added"], found["findings"]) == (len(told), observing.MAX_FINDINGS)


def test_a_sender_cannot_be_first_with_anothers_span() -> None:
    span = read_spans(
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"%b","spanId":"%b","startTimeUnixNano":'
        b'"1795510800000000000","attributes":[{"key":"gen_ai.x","value":{"intValue":"1"}}]}]}]}]}'
        % (b"a" * 32, b"b" * 16)
    )[0]
    assert observation_of(span, "src_1", "a").identity != observation_of(span, "src_2", "b").identity


@pytest.mark.parametrize(
    "kind",
    [kind if kind in ("cloudtrail", "jsonl") else pytest.param(kind, marks=pytest.mark.slow) for kind in READERS],
)
def test_a_record_is_read_or_refused_whatever_stands_in_it(kind: str) -> None:
    known = records()[kind]

    @fuzzed(12)
    @given(st.sampled_from(known), st.lists(st.tuples(st.integers(0, 40), JSON | TEXT), max_size=4))
    def attempt(record: dict[str, Any], changes: list[tuple[int, Any]]) -> None:
        changed = json.loads(json.dumps(record))
        for number, value in changes:
            places = [(holder, key) for holder, key in _places(changed)]
            holder, key = places[number % len(places)]
            holder[key] = value
        try:
            told = read_observations(spelt(changed), kind)
        except MalformedError:
            return
        for found in told:
            _check(found)

    attempt()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in list(pairs):
        yield value, key
        yield from _places(each)


def _check(found: Observation) -> None:
    draft = found.draft(None, "", {"file": "x", "by": OPERATOR})
    entry = {
        "v": 1,
        "node": "nod_1",
        "index": 0,
        "time": "2026-11-24T09:30:00.000000Z",
        "kind": draft.kind.value,
        "actor": draft.actor,
        "principal": draft.principal,
        "body": draft.body,
    }
    stored = Stored("nod_1", 0, entry["time"], draft.kind.value, None, json.dumps(entry).encode())  # type: ignore[arg-type]
    assert len(stored.data) < 40_000
    OCSF.validate(event_of(stored))


def test_an_entry_is_a_valid_event_whatever_stands_in_it() -> None:
    names = st.sampled_from(["principal", "reasons", "chain", "source", "charter", "who", "model", "object", "title"])
    usual = {"principal": "refund-agent", "charter": {"digest": "sha256:00", "version": 3}, "source": "x"}

    def check(kind: EntryKind, body: dict[str, Any], principal: str | None) -> None:
        draft = Draft(kind, "actor", principal, body)
        try:
            entry = place(draft, node="nod_1", index=1, at=dt.datetime(2026, 11, 24, tzinfo=dt.UTC))
        except MalformedError:
            return
        stored = Stored("nod_1", 1, "2026-11-24T00:00:00.000000Z", kind.value, principal, entry.data)
        OCSF.validate(event_of(stored))
        message_of(stored, "host")
        rendered([stored], Form.CSV)
        logs_request([stored], Form.OCSF)
        spans_request([stored])

    @fuzzed(60)
    @given(st.sampled_from(EntryKind), st.dictionaries(names | TEXT, JSON, max_size=6), st.none() | TEXT)
    def attempt(kind: EntryKind, body: dict[str, Any], principal: str | None) -> None:
        check(kind, body, principal)

    for kind in EntryKind:
        check(kind, usual, "prn_1")
    attempt()
