"""Decisions within the program, against a real Charter: pushed, stale after a second, on the disk, in the evidence."""

from __future__ import annotations

import asyncio
import datetime as dt
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from charter.bootstrap import authority
from charter.bootstrap.carrying import Carrying
from charter.cli.relay import Relay, relaying
from charter.core.clock import SystemClock, parse_rfc3339, rfc3339
from charter.core.entropy import SystemEntropy
from charter.gateway.reported import parse_report
from charter.lifecycle.emergency import Move
from charter.sdk import Allowed, AsyncCharter, Charter, CharterUnavailable, Denied, Held
from charter.sdk.in_process import InProcess
from mcp_stage import Background
from sdk_stage import AGENT, TOOLS, Sdk, an_sdk

PROGRAM = """
import os, signal, sys, time
from charter.sdk import Charter
url, token, folder = sys.argv[1:]
proof = {"authorization": f"Bearer {token}"}
charter = Charter(url, principal="assistant", headers=lambda method, url: proof, in_process=folder)
charter._own._reported = None  # whatever is reported fails, as if Charter could not be reached
question = charter.question("tools", "read_record", "record/9", {"id": "9"})
while (found := charter._own.allowed(question)) is None:
    time.sleep(0.01)
print(found.verdict, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sdk]:
    with an_sdk(tmp_path_factory.mktemp("sdk")) as found:
        running(found)
        yield found


def running(sdk: Sdk) -> None:
    """Let the house's clock run, as a server's does."""
    clock = SystemClock()
    for name in ("now", "monotonic"):
        setattr(sdk.stage.clock, name, getattr(clock, name))


def until(holds: Callable[[], object], what: str) -> None:
    ends = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < ends, f"never {what}"
        time.sleep(0.02)


def deciding(charter: Charter) -> Charter:
    until(lambda: charter.decides_in_process, "in force")
    return charter


def in_process(sdk: Sdk) -> list[dict[str, Any]]:
    """Return the verdicts that programs reached by themselves, oldest first."""
    found = [each["body"] for each in sdk.stage.entries("verdict") if each["body"]["door"] == "in-process"]
    return sorted(found, key=lambda body: body["in_process"]["at"])


def of(sdk: Sdk, verdict: str) -> dict[str, Any]:
    return next(each for each in in_process(sdk) if each["verdict_id"] == verdict)


def read(charter: Charter, number: int = 1) -> str:
    """Return the verdict of a read, once one was decided in the program."""
    own, question = charter._own, charter.question("tools", "read_record", f"record/{number}", {"id": str(number)})
    assert own is not None
    found: list[Allowed | None] = []
    until(lambda: found.append(own.allowed(question)) or found[-1], "decided here")
    assert found[-1] is not None
    return found[-1].verdict


def test_a_plain_read_is_decided_here_and_stands_in_the_evidence_soon_after(sdk: Sdk, tmp_path: Path) -> None:
    asked: list[httpx.Request] = []
    with sdk.client(in_process=tmp_path) as charter:
        charter._client.event_hooks["request"] = [asked.append]
        until(lambda: decided_unasked(charter, asked), "decided without asking")
        verdict = read(charter)
    body = of(sdk, verdict)
    assert (body["verdict"], body["object"], body["reasons"][0]["rule"]) == ("allow", "record/1", "assistant/grant-1")
    assert body["in_process"]["borne_out_by"] == "then"
    assert list(tmp_path.iterdir()) == []  # what is recorded is kept nowhere else


def decided_unasked(charter: Charter, asked: list[httpx.Request]) -> bool:
    asked.clear()
    allowed = charter.check("tools", "read_record", "record/1", {"id": "1"})
    return isinstance(allowed, Allowed) and not asked


def test_everything_else_is_asked(sdk: Sdk, tmp_path: Path) -> None:
    with sdk.client(in_process=tmp_path, obligations={"notification": lambda _said: None}) as charter:
        deciding(charter)
        known = len(in_process(sdk))
        assert isinstance(charter.check("tools", "drop_record", "record/1"), Denied)
        assert isinstance(charter.check("tools", "write_record", "record/1", {"text": "in process"}), Held)
        assert isinstance(charter.check("tools", "mark_record", "record/1"), Allowed)
        assert isinstance(charter.check("tools", "read_record", "a/../b"), Denied)
    assert len(in_process(sdk)) == known


def test_a_kill_ends_it_before_it_is_answered_and_a_resume_begins_it_again(sdk: Sdk, tmp_path: Path) -> None:
    with sdk.client(in_process=tmp_path) as charter:
        read(charter)
        move(sdk, Move.SUSPEND)
        until(lambda: not charter.decides_in_process, "stale")
        with pytest.raises(CharterUnavailable):
            charter.check("tools", "read_record", "record/1", {"id": "1"})
        move(sdk, Move.RESUME)


def move(sdk: Sdk, to: Move) -> None:
    asyncio.run(authority.move(sdk.stage.house, AGENT, to, actor="t@example.com", reason="a test"))
    if to is Move.RESUME:
        sdk.renew()


def test_what_a_program_left_is_recorded_though_its_principal_may_do_nothing_any_more(sdk: Sdk, tmp_path: Path) -> None:
    """By the person who has its disk, as often as they like: nothing that was acted on is lost, nothing is twice."""
    tmp_path.chmod(0o700)
    with sdk.client(in_process=tmp_path) as charter:
        own = charter._own
        assert own is not None
        own._reported = none_of_it  # type: ignore[method-assign]
        verdict = read(charter, 7)
        own._spool._left = []
        (path,) = tmp_path.glob("*.jsonl")
        kept = path.read_bytes()
    path.write_bytes(kept)  # as after a kill
    move(sdk, Move.SUSPEND)
    try:
        (line,) = [json.loads(each) for each in kept.splitlines() if verdict in each.decode()]
        number = [json.loads(each)["id"] for each in kept.splitlines()].index(verdict) + 1
        report = parse_report(json.dumps({"spool": path.stem, "first": number, "decisions": [line]}).encode())
        carrying = sdk.stage.house.carrying
        for _ in range(2):
            through = asyncio.run(carrying.take_left(AGENT, report, actor="ops@example.com"))
            assert through == number
    finally:
        move(sdk, Move.RESUME)
    (body,) = [each for each in in_process(sdk) if each["verdict_id"] == verdict]
    assert (body["in_process"]["taken_by"], body["in_process"]["borne_out_by"]) == ("ops@example.com", "then")
    assert body["verdict"] == "allow"


def none_of_it(*_: object) -> int:
    raise ValueError("Charter cannot be reached")


def test_a_restrained_principal_decides_nothing_by_itself(sdk: Sdk, tmp_path: Path) -> None:
    with sdk.client(in_process=tmp_path) as charter:
        read(charter)
        move(sdk, Move.RESTRAIN)
        own = charter._own
        assert own is not None
        until(lambda: own._in_force is not None and not own._in_force.local.carried.decides, "told of it")
        known = len(in_process(sdk))
        assert isinstance(charter.check("tools", "read_record", "record/1", {"id": "1"}), Allowed)  # asked
        assert len(in_process(sdk)) == known
        move(sdk, Move.RESUME)
        until(lambda: own._in_force is not None and own._in_force.local.carried.decides, "told of it")


def test_what_was_not_heard_of_for_a_second_counts_for_nothing(sdk: Sdk, tmp_path: Path) -> None:
    late = [0.0]
    headers = sdk.headers
    own = InProcess(f"{sdk.url}/access/v1", AGENT, tmp_path, headers, clock=lambda: time.monotonic() + late[0])
    with sdk.client() as charter:
        question = charter.question("tools", "read_record", "record/1", {"id": "1"})
    try:
        until(lambda: own.allowed(question), "in force")
        late[0] = 1.01
        assert own._in_force is None or own.allowed(question) is None
    finally:
        own.close()


def test_lines_that_were_long_under_way_count_for_nothing(sdk: Sdk, tmp_path: Path) -> None:
    """As when a program was stopped for a while: what lies in its buffer was in force a while ago."""
    with httpx.stream("GET", f"{sdk.url}/access/v1/carried", headers=sdk.headers("", ""), timeout=20) as answer:
        first = json.loads(next(answer.iter_lines()))
    go_on = threading.Event()
    later = {"at": rfc3339(parse_rfc3339(first["at"]) + dt.timedelta(seconds=0.25)), "digest": first["digest"]}
    lines = [first, later | {"fresh_seconds": 1.0}, later | {"fresh_seconds": 3600.0}]
    late = [0.0]
    with saying(lines, go_on) as url, sdk.client() as charter:
        own = InProcess(url, AGENT, tmp_path, None, clock=lambda: time.monotonic() + late[0])
        question = charter.question("tools", "read_record", "record/1", {"id": "1"})
        until(lambda: own.allowed(question), "in force")
        before = own._in_force
        late[0] = 5.0
        assert own.allowed(question) is None
        go_on.set()
        until(lambda: own._in_force is not before, "told more")
        for _ in range(20):
            assert own.allowed(question) is None
            time.sleep(0.01)
        own._stop.set()
        own.close()


@contextmanager
def saying(lines: list[Any], go_on: threading.Event) -> Iterator[str]:
    """Run a decision API that says the first line, and the others once it may; each connection hears that once."""
    heard: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if heard:  # later connections hear nothing
                return self.send_error(503)
            heard.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(lines[0]).encode() + b"\n")
            go_on.wait(30)
            for line in lines[1:]:
                self.wfile.write(json.dumps(line).encode() + b"\n")
            self.wfile.flush()
            time.sleep(0.3)
            return None

        def do_POST(self) -> None:
            self.send_error(503)

        def log_message(self, *_args: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_program_that_is_killed_leaves_what_it_decided_to_the_next_one(sdk: Sdk, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, f"{sdk.url}/access/v1", sdk.token, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert ran.returncode == -signal.SIGKILL
    verdict = ran.stdout.strip()
    assert verdict not in [each["verdict_id"] for each in in_process(sdk)]
    with sdk.client(in_process=tmp_path) as charter:
        read(charter)
    assert of(sdk, verdict)["object"] == "record/9"
    assert list(tmp_path.iterdir()) == []


def test_many_threads_and_tasks_decide_at_once_and_each_decision_is_recorded_once(sdk: Sdk, tmp_path: Path) -> None:
    with sdk.client(in_process=tmp_path) as charter:
        deciding(charter)
        found: list[str] = []
        threads = [threading.Thread(target=lambda: found.extend(read(charter, n) for n in range(20))) for _ in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert len(found) == len(set(found)) == 160
    recorded = [each["verdict_id"] for each in in_process(sdk)]
    assert sorted(set(found) & set(recorded)) == sorted(found)
    assert len(recorded) == len(set(recorded))


def test_without_blocking(sdk: Sdk, tmp_path: Path) -> None:
    async def go() -> list[str]:
        where = f"{sdk.url}/access/v1"
        async with AsyncCharter(where, principal=AGENT, headers=sdk.headers, in_process=tmp_path) as charter:
            verdicts: list[str] = []
            for number in range(200):
                allowed = await charter.check("tools", "read_record", "record/3", {"id": str(number)})
                assert isinstance(allowed, Allowed)
                verdicts.append(allowed.verdict)
                await asyncio.sleep(0.01)
            return verdicts

    verdicts = asyncio.run(go())
    assert set(verdicts) & {each["verdict_id"] for each in in_process(sdk)}


def test_under_charter_run_the_relay_hands_on_what_is_pushed(
    sdk: Sdk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    background, resource = Background(), f"{sdk.url}/access/v1"

    async def credentials(method: str, _resource: str, _at: str | None) -> dict[str, str]:
        return sdk.headers(method, "")

    places = {"_decisions": resource}
    relay = Relay(places, "s3cret", credentials, forget=lambda _: None, learn=lambda _: False, models=places)
    try:
        base = background.enter(relaying(relay))
        told = {"DECISIONS_URL": f"{base}/s3cret/_decisions", "PRINCIPAL": AGENT, "SPOOL": str(tmp_path)}
        for name, said in told.items():
            monkeypatch.setenv(f"CHARTER_{name}", said)
        with Charter(in_process=True) as charter:
            verdict = read(charter, 5)
    finally:
        background.close()
    assert of(sdk, verdict)["object"] == "record/5"


def a_decision(sdk: Sdk, number: int, **changed: Any) -> dict[str, Any]:
    house = sdk.stage.house
    carried = house.carrying.of(house.principal(AGENT))
    return {
        "id": SystemEntropy().identifier("vrd"),
        "at": rfc3339(SystemClock().now()),
        "policies": carried.digest,
        "system": "tools",
        "action": "read_record",
        "object": f"record/{number}",
        "arguments": {"id": str(number)},
    } | changed


def report(sdk: Sdk, body: object) -> httpx.Response:
    return httpx.post(f"{sdk.url}/access/v1/decisions", json=body, headers=sdk.headers("", ""), timeout=20)


def test_what_is_reported_twice_is_recorded_once_and_a_gap_shows(sdk: Sdk) -> None:
    spool = SystemEntropy().identifier("spl")
    decisions = [a_decision(sdk, number) for number in range(3)]
    for _ in range(2):
        assert report(sdk, {"spool": spool, "first": 1, "decisions": decisions}).json()["through"] == 3
    late = a_decision(sdk, 9)
    assert report(sdk, {"spool": spool, "first": 8, "decisions": [late]}).json()["through"] == 8
    mine = [each for each in in_process(sdk) if each["in_process"]["spool"] == spool]
    assert sorted(each["in_process"]["number"] for each in mine) == [1, 2, 3, 8]
    assert of(sdk, late["id"])["in_process"]["missing_before"] == 4


def test_after_a_restart_present_policies_bear_out_what_was_decided_by_such_as_nobody_remembers(sdk: Sdk) -> None:
    sdk.stage.house.carrying._sent.clear()
    spool, made = SystemEntropy().identifier("spl"), a_decision(sdk, 1)
    report(sdk, {"spool": spool, "first": 1, "decisions": [made]})
    assert of(sdk, made["id"])["in_process"]["borne_out_by"] == "now"


def test_they_do_so_when_the_program_has_heard_of_the_same_policies_since(sdk: Sdk, tmp_path: Path) -> None:
    before = rfc3339(SystemClock().now() - dt.timedelta(minutes=1))
    made, house = a_decision(sdk, 1, at=before), sdk.stage.house
    house.carrying = Carrying(house, SystemClock().now())
    with sdk.client(in_process=tmp_path) as charter:
        read(charter)
    report(sdk, {"spool": SystemEntropy().identifier("spl"), "first": 1, "decisions": [made]})
    assert of(sdk, made["id"])["in_process"]["borne_out_by"] == "now"


@pytest.mark.parametrize(
    "changed",
    [
        {"action": "drop_record"},
        {"action": "write_record"},
        {"action": "nothing-known"},
        {"object": "a/../b"},
        {"system": "payments", "action": "charge.read"},
    ],
)
def test_what_a_program_let_itself_do_and_nothing_bears_out_is_a_finding(sdk: Sdk, changed: dict[str, Any]) -> None:
    made = a_decision(sdk, 1, **changed)
    report(sdk, {"spool": SystemEntropy().identifier("spl"), "first": 1, "decisions": [made]})
    body = of(sdk, made["id"])
    assert body["verdict"] != "allow"
    assert body["in_process"]["borne_out_by"] == "nothing"
    kinds = ("decided-otherwise",)
    found = sdk.stage.house.database.read(lambda tx: tx.registry.findings.of_kinds(kinds))
    assert any(made["action"] in each.title for each in found)


def test_what_was_in_force_another_time_bears_out_nothing(sdk: Sdk, tmp_path: Path) -> None:
    with sdk.client(in_process=tmp_path) as charter:
        read(charter)  # so that these policies are remembered
    sdk.stage.house.carrying.began -= dt.timedelta(days=1)
    ago = rfc3339(SystemClock().now() - dt.timedelta(hours=1))
    made = a_decision(sdk, 1, at=ago)
    report(sdk, {"spool": SystemEntropy().identifier("spl"), "first": 1, "decisions": [made]})
    assert of(sdk, made["id"])["in_process"]["borne_out_by"] == "nothing"


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"spool": "x", "first": 1, "decisions": []},
        {"spool": "spl_" + "0" * 26, "first": 0, "decisions": [{}]},
        {"spool": "spl_" + "0" * 26, "first": 1, "decisions": []},
        {"spool": "spl_" + "0" * 26, "first": 1, "decisions": [{"id": 5}]},
    ],
)
def test_what_is_no_report_is_refused_with_the_reason(sdk: Sdk, body: object) -> None:
    answer = report(sdk, body)
    assert answer.status_code == 400
    assert "this is no report" in answer.text


def test_strangers_and_others_are_pushed_nothing(sdk: Sdk) -> None:
    for path, method in (("carried", "GET"), ("decisions", "POST")):
        where = f"{sdk.url}/access/v1/{path}"
        json = {"content-type": "application/json"}
        assert httpx.request(method, where, headers=json, timeout=20).status_code == 401
        assert httpx.request("PUT", where, headers=sdk.headers("", ""), timeout=20).status_code == 405


def test_an_answer_that_brings_labels_is_asked_for_first(tmp_path: Path) -> None:
    tools = TOOLS | {"data": ["customer-pii"]}
    (tmp_path / "house").mkdir()
    with an_sdk(tmp_path / "house", tools=tools) as sdk:
        running(sdk)
        with sdk.client(in_process=tmp_path / "spool") as charter:
            deciding(charter)
            first = charter.check("tools", "read_record", "record/1", {"id": "1"})
            second = read(charter)
        assert isinstance(first, Allowed)
        assert first.verdict != second
        assert [each["verdict_id"] for each in in_process(sdk)] == [second]
        changes = sdk.stage.entries("context.changed")
        assert changes[0]["body"]["data"] == ["customer-pii"]


def test_without_a_place_for_the_spool_nothing_begins(sdk: Sdk, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv("CHARTER_SPOOL", raising=False)
    with pytest.raises(CharterUnavailable, match="CHARTER_SPOOL is not set"):
        sdk.client(in_process=True)
    tmp_path.chmod(0o755)
    with pytest.raises(CharterUnavailable, match="others may read or write"):
        sdk.client(in_process=tmp_path)
