"""Evidence on its way out: each kind of sink takes real entries, once the cursor moves only over what it took."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import csv
import hashlib
import hmac
import io
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from certificates import a_server_certificate, an_authority
from charter.adapters import sinks as adapter
from charter.adapters.sinks import Senders
from charter.bootstrap import observing, sinks
from charter.bootstrap.sinks import NewSink
from charter.core.errors import CharterError, ConflictError, MalformedError
from charter.evidence.log import Stored
from charter.evidence.sink import parse_target
from houses import Stage, a_house
from mcp_stage import until
from sinks_stage import a_receiver, a_syslog

SCHEMA = json.loads((Path(__file__).parent.parent / "corpus" / "ocsf-1.9.0-dev.json").read_text(encoding="utf-8"))
OCSF = jsonschema.Draft202012Validator(SCHEMA)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with a_house(tmp_path_factory.mktemp("house")) as found:
        bearer = found.bearer()
        found.submit(bearer, found.make("get_charge", {"charge_id": "ch_1"}))
        found.submit(bearer, found.make("create_refund", {"charge_id": "ch_1", "amount": "900.00", "currency": "EUR"}))
        yield found


@pytest.fixture
def stage(house: Stage) -> Iterator[Stage]:
    """A house without sinks, in whose log others may have left entries."""
    senders = house.house.sinks.senders
    yield house
    house.house.sinks.senders = senders
    for name in [each["name"] for each in sinks.listing(house.house)]:
        asyncio.run(sinks.remove(house.house, name, actor="test@example.com", reason="a test is over"))


def add(stage: Stage, to: str, **more: Any) -> None:
    asyncio.run(sinks.add(stage.house, NewSink("siem", to, **more), actor="test@example.com"))


def deliver(stage: Stage) -> int:
    """Deliver until nothing waits; return how many entries went."""
    room, sent = stage.house.sinks, 0
    room.linger = 0
    while moved := asyncio.run(room.step(room.sinks["siem"])):
        sent += moved
    return sent


def shown(stage: Stage) -> dict[str, Any]:
    return sinks.listing(stage.house)[0]


def entries(stage: Stage) -> list[Stored]:
    return list(stage.house.database.read_log(lambda log: log.entries(None, 1000)))


def test_a_webhook_gets_every_entry_as_valid_ocsf_that_can_be_proved(stage: Stage) -> None:
    with a_receiver() as receiver:
        add(stage, f"{receiver.url}/in")
        deliver(stage)
    events = [event for body in receiver.bodies for event in json.loads(body)]
    kept = entries(stage)
    assert [event["metadata"]["sequence"] for event in events] == list(range(len(kept)))
    for event, entry in zip(events, kept, strict=True):
        OCSF.validate(event)
        assert event["raw_data"].encode() == entry.data
        assert event["raw_data_hash"]["value"] == hashlib.sha256(entry.data).hexdigest()
        assert event["unmapped"] == entry.to_json()["body"]
    applied = next(event for event in events if event["metadata"]["event_code"] == "charter.applied")
    assert applied["ai_agent"]["charter"]["hashes"][0]["value"] in applied["raw_data"]
    denied = next(event for event in events if event.get("disposition") == "Blocked")
    principal = stage.house.principal("refund-agent")
    agent = denied["ai_agent"]
    assert (agent["uid"], agent["name"]) == (principal.id, "refund-agent")
    assert agent["charter"]["hashes"][0]["value"] == principal.digest.removeprefix("sha256:")
    assert shown(stage) | {"oldest": None} == shown(stage)
    assert (shown(stage)["backlog"], shown(stage)["state"]) == (0, "ok")


def test_a_webhook_is_signed_as_standard_webhooks_are(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    key = b"a secret of the sink's own......"
    monkeypatch.setenv("SIEM_SECRET", "whsec_" + base64.b64encode(key).decode())
    with a_receiver() as receiver:
        add(stage, receiver.url, form="entry", secret_env="SIEM_SECRET")
        deliver(stage)
    said, body = receiver.headers[0], receiver.bodies[0]
    signed = f"{said['webhook-id']}.{said['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert said["webhook-signature"] == f"v1,{expected}"
    assert json.loads(body)[0] == entries(stage)[0].to_json()


def test_a_dead_sink_keeps_its_place_and_costs_nobody_anything(stage: Stage) -> None:
    with a_receiver() as receiver:
        add(stage, receiver.url)
        receiver.status = 503
        with pytest.raises(CharterError, match="answered with status 503"):
            deliver(stage)
        backlog = shown(stage)["backlog"]
        assert backlog == len(entries(stage))
        stage.submit(stage.bearer(), stage.make("get_charge", {"charge_id": "ch_2"}))
        assert shown(stage)["backlog"] > backlog
        receiver.status = 200
        assert deliver(stage) == len(entries(stage))


def test_what_a_sink_took_is_not_sent_again_and_what_it_may_have_taken_is(stage: Stage) -> None:
    with a_receiver() as receiver:
        add(stage, receiver.url)
        deliver(stage)
        assert deliver(stage) == 0
        stage.house.database.write(lambda tx: tx.sinks.move("siem", stage.house.database.node, 2, "x" * 27))
        deliver(stage)
    assert receiver.headers[1]["webhook-id"].split(".")[1].startswith("2-")


@pytest.mark.parametrize("kind", ["udp", "tcp", "tls"])
def test_syslog_takes_every_entry_in_rfc_5424(stage: Stage, tmp_path: Path, kind: str) -> None:
    authority = an_authority()
    certificate, key = a_server_certificate(by=authority).write(tmp_path / "tls", "server")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    trusted = ssl.create_default_context(cadata=authority.pem)
    stage.house.sinks.senders = Senders(stage.house.clock, lambda _name: None, lambda: trusted)
    with a_syslog(kind, server if kind == "tls" else None) as syslog:
        add(stage, f"syslog+{kind}://127.0.0.1:{syslog.port}")
        deliver(stage)
    assert len(syslog.messages) == len(entries(stage))
    for message, entry in zip(syslog.messages, entries(stage), strict=True):
        head, _, event = message.partition(b"] ")
        assert head.startswith(b"<1")
        assert f" {entry.time} charter charter - {entry.kind} ".encode() in head
        assert f'index="{entry.index}"'.encode() in head
        OCSF.validate(json.loads(event))


def test_a_syslog_batch_that_broke_off_is_sent_again_whole(stage: Stage) -> None:
    with a_syslog("tcp") as syslog:
        add(stage, f"syslog+tcp://127.0.0.1:{syslog.port}")
        syslog.breaks_after = 3000
        with pytest.raises(CharterError, match="did not take a batch"):
            deliver(stage)
        assert shown(stage)["next"] == 0
        deliver(stage)
    assert len(syslog.messages) == len(entries(stage))
    assert syslog.connections == 2


def test_a_receiver_that_takes_too_long_is_told_so(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as door:  # it never reads, and never closes
        add(stage, f"syslog+tcp://127.0.0.1:{door.getsockname()[1]}")
        with pytest.raises(CharterError, match="did not take a batch: it took longer than 0 seconds"):
            deliver(stage)


@pytest.mark.parametrize(
    ("to", "secret_env", "said"),
    [
        ("syslog+udp://192.0.2.1:514", None, "goes in the clear"),
        ("syslog+tcp://siem.example.com", None, "goes in the clear"),
        ("syslog+tcp://127.0.0.1:601", None, None),
        ("syslog+tls://siem.example.com", None, None),
        ("https://siem.example.com/in", "A_SECRET_THAT_IS_NOT_SET", "`A_SECRET_THAT_IS_NOT_SET` is not set here"),
        ("https://siem.example.com/in", "PATH", None),
    ],
)
def test_what_was_hardly_meant_is_said_when_a_sink_is_added_and_ever_after(
    stage: Stage, to: str, secret_env: str | None, said: str | None
) -> None:
    told = asyncio.run(sinks.add(stage.house, NewSink("siem", to, secret_env=secret_env), actor="test@example.com"))
    assert told["warnings"] == shown(stage)["warnings"]
    assert len(told["warnings"]) == (said is not None)
    assert said is None or said in told["warnings"][0]


def test_a_receiver_that_talks_without_end_took_nothing(stage: Stage) -> None:
    def talk(door: socket.socket) -> None:
        peer, _ = door.accept()
        with peer, contextlib.suppress(OSError):
            while True:
                peer.sendall(b"x" * 4096)

    with socket.create_server(("127.0.0.1", 0)) as door:
        talking = threading.Thread(target=talk, args=(door,))
        talking.start()
        add(stage, f"syslog+tcp://127.0.0.1:{door.getsockname()[1]}")
        with pytest.raises(CharterError, match="did not take a batch"):
            deliver(stage)
        talking.join()
    assert shown(stage)["next"] == 0


def test_a_collector_takes_log_records(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLECTOR_TOKEN", "abc")
    with a_receiver() as receiver:
        add(stage, f"otlp+{receiver.url}", secret_env="COLLECTOR_TOKEN")
        deliver(stage)
    request = ExportLogsServiceRequest.FromString(receiver.bodies[0])
    records = request.resource_logs[0].scope_logs[0].log_records
    assert receiver.paths == ["/v1/logs"]
    assert receiver.headers[0]["authorization"] == "Bearer abc"
    assert [record.event_name for record in records] == [f"charter.{entry.kind}" for entry in entries(stage)]
    for record in records:
        OCSF.validate(json.loads(record.body.string_value))
    denied = next(record for record in records if record.severity_text == "WARN")
    told = {each.key: each.value.string_value for each in denied.attributes}
    assert told["gen_ai.agent.name"] == "refund-agent"
    assert told["charter.verdict"] == "deny"


def test_a_collector_takes_calls_as_spans(stage: Stage) -> None:
    with a_receiver() as receiver:
        add(stage, f"otlp+{receiver.url}", form="spans")
        deliver(stage)
    request = ExportTraceServiceRequest.FromString(receiver.bodies[0])
    made, denied = request.resource_spans[0].scope_spans[0].spans[:2]
    assert receiver.paths == ["/v1/traces"]
    assert (made.name, denied.name) == ("execute_tool get_charge", "execute_tool create_refund")
    assert (made.status.code, denied.status.code) == (0, 2)
    assert denied.status.message
    told = {each.key: each.value.string_value for each in denied.attributes}
    assert (told["gen_ai.agent.name"], told["charter.verdict"]) == ("refund-agent", "deny")
    assert told["gen_ai.conversation.id"].startswith("ses_")
    of_made = {each.key: each.value.string_value for each in made.attributes}
    assert of_made["gen_ai.conversation.id"] == told["gen_ai.conversation.id"]
    assert shown(stage)["backlog"] == 0


def test_files_hold_each_entry_once_however_often_they_are_written(stage: Stage, tmp_path: Path) -> None:
    import duckdb

    add(stage, f"file://{tmp_path}/out")
    deliver(stage)
    stage.submit(stage.bearer(), stage.make("get_charge", {"charge_id": "ch_2"}))
    stage.house.database.write(lambda tx: tx.sinks.move("siem", stage.house.database.node, 0, "x" * 27))
    deliver(stage)
    with duckdb.connect() as duck:
        rows = duck.read_parquet(f"{tmp_path}/out/*/*.parquet").project("index, entry").order("index").fetchall()
    assert [(row[0], row[1].encode()) for row in rows] == [(each.index, each.data) for each in entries(stage)]


def test_csv_holds_no_formula(stage: Stage, tmp_path: Path) -> None:
    hostile = '=HYPERLINK("http://evil.example","x")'
    stage.house.database.write(lambda tx: tx.registry)  # the writer is alive
    asyncio.run(sinks.add(stage.house, NewSink("siem", f"file://{tmp_path}/out", "csv"), actor=hostile))
    deliver(stage)
    text = next(iter((tmp_path / "out").rglob("*.csv"))).read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == len(entries(stage))
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for cell in row.values())
    assert rows[-1]["actor"] == f"'{hostile}"


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("http://siem.example.com/in", "in the clear"),
        ("otlp+http://collector.example.com:4318", "in the clear"),
        ("ftp://siem.example.com", "begins with none of"),
        ("https://user:pass@siem.example.com", "names a user"),
        ("file://../x", "names no folder"),
        ("syslog+tls://", "names no host"),
        ("syslog+tcp://h/a", "has a path"),
    ],
)
def test_an_address_that_is_none_is_refused(to: str, why: str) -> None:
    with pytest.raises(MalformedError, match=why):
        parse_target(to)


def test_a_sink_has_one_name_and_no_secret_of_charters(stage: Stage) -> None:
    add(stage, "https://siem.example.com")
    with pytest.raises(ConflictError, match="there is a sink"):
        add(stage, "https://siem.example.com")
    with pytest.raises(MalformedError, match="for Charter alone"):
        add(stage, "https://siem.example.com", secret_env="CHARTER_MASTER_KEY")
    asyncio.run(sinks.remove(stage.house, "siem", actor="test@example.com", reason="a test"))
    assert sinks.listing(stage.house) == []
    assert [each["body"]["change"] for each in stage.entries("sink.changed")][-2:] == ["added", "removed"]


def test_a_batch_that_is_refused_comes_smaller_until_one_entry_is_left_to_blame(stage: Stage) -> None:
    room = stage.house.sinks
    with a_receiver() as receiver:
        add(stage, receiver.url)
        receiver.status = 413
        for _ in range(10):
            with pytest.raises(CharterError, match="413"):
                deliver(stage)
            room._failed(room.sinks["siem"], "413")
        assert room.health["siem"].batch == 1
        receiver.status = 200
        deliver(stage)
    sizes = [len(json.loads(body)) for body in receiver.bodies]
    assert sizes[:3] == [1, 2, 4]
    assert sum(sizes) == len(entries(stage))


def test_a_serving_house_delivers_while_another_sink_is_dead(stage: Stage) -> None:
    async def go() -> None:
        over = asyncio.Event()

        async def say_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await over.wait()
            writer.close()

        silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        async with stage.house.serving():
            await sinks.add(stage.house, NewSink("dead", f"syslog+tcp://127.0.0.1:{port}"), actor="test@example.com")
            await sinks.add(stage.house, NewSink("siem", receiver.url), actor="test@example.com")
            await until(lambda: shown_as("siem")["backlog"] == 0)
            assert shown_as("dead")["backlog"] > 0
            await sinks.remove(stage.house, "siem", actor="test@example.com", reason="a test")
            assert "siem" not in stage.house.sinks.sinks
        over.set()  # the house has stopped, though `dead` never answered
        silent.close()
        await silent.wait_closed()

    def shown_as(name: str) -> dict[str, Any]:
        return next(each for each in sinks.listing(stage.house) if each["name"] == name)

    with a_receiver() as receiver:
        asyncio.run(asyncio.wait_for(go(), 10))


@pytest.mark.postgres
def test_cursors_and_observations_are_kept_in_postgresql_too(tmp_path: Path, postgres_url: str) -> None:
    with a_house(tmp_path, database=postgres_url) as stage, a_receiver() as receiver:
        add(stage, receiver.url, from_now=True)
        told = ['{"time":"2026-11-24T09:00:00Z","actor":"a","action":"chat","model":"m"}'] * 2
        found = asyncio.run(observing.ingest(stage.house, "jsonl", told, first=1, file="x", actor="test@example.com"))
        assert (found["added"], found["repeated"], found["findings"]) == (1, 1, 1)
        assert deliver(stage) == 3  # the sink itself, the observation, and its finding
        asyncio.run(
            observing.identify(stage.house, "jsonl", "a", "refund-agent", by="test@example.com", reason="a test")
        )
        assert deliver(stage) == 2
        assert shown(stage)["backlog"] == 0
