"""What strangers and broken clients send to the Workload API: they get the standard's answer, or lose their connection.

After each, the API serves the next caller as if nothing had happened.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from grpclib.const import Status
from hypothesis import given, settings
from hypothesis import strategies as st

from charter.identity.pace import of_svids
from charter.server import workload, workload_rpc
from charter.server import workloadapi_pb2 as pb
from charter.server.workload_rpc import MAX_CALLS, MAX_MESSAGE, MAX_OF_USER
from h2_visitor import a_visitor, message
from workload_stage import WorkloadStage, a_workload_stage
from workloads import DIAL, LIBRARIES, a_child, hear

SVID = "/SpiffeWorkloadAPI/FetchX509SVID"
JWT = "/SpiffeWorkloadAPI/FetchJWTSVID"
VALIDATE = "/SpiffeWorkloadAPI/ValidateJWTSVID"
BUNDLES = "/SpiffeWorkloadAPI/FetchX509Bundles"
METHODS = [
    SVID,
    BUNDLES,
    JWT,
    "/SpiffeWorkloadAPI/FetchJWTBundles",
    VALIDATE,
]


@pytest.fixture(scope="module")
def stage() -> Iterator[WorkloadStage]:
    with a_workload_stage() as found:
        yield found


@pytest.fixture(autouse=True)
def it_serves_the_next_one(stage: WorkloadStage) -> Iterator[None]:
    yield
    with a_visitor(stage.path) as visitor:
        assert visitor.call(BUNDLES, message(b"")).data


# --- the security header ---


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "metadata",
    [(), (("workload.spiffe.io", "True"),), (("workload.spiffe.io", "1"),), (("workload-spiffe-io", "true"),)],
    ids=["missing", "capital", "one", "another"],
)
def test_without_the_security_header_nothing_is_answered(
    stage: WorkloadStage, method: str, metadata: tuple[tuple[str, str], ...]
) -> None:
    """A web page or a fetcher of addresses cannot send it (SPIFFE Workload Endpoint, section 3)."""
    with a_visitor(stage.path) as visitor:
        answer = visitor.call(method, message(b""), metadata)
    assert (answer.status, answer.data) == (Status.INVALID_ARGUMENT.value, b"")
    assert "workload.spiffe.io" in answer.text


# --- messages ---


@pytest.mark.parametrize(
    ("method", "body"),
    [
        (JWT, pb.JWTSVIDRequest()),
        (JWT, pb.JWTSVIDRequest(audience=[""])),
        (JWT, pb.JWTSVIDRequest(audience=["a"] * 9)),
        (JWT, pb.JWTSVIDRequest(audience=["a" * 513])),
        (JWT, pb.JWTSVIDRequest(audience=["a\nb"])),
        (VALIDATE, pb.ValidateJWTSVIDRequest(audience="a")),
        (VALIDATE, pb.ValidateJWTSVIDRequest(svid="a.b.c")),
        (VALIDATE, pb.ValidateJWTSVIDRequest(audience="a", svid="a.b.c")),
        (VALIDATE, pb.ValidateJWTSVIDRequest(audience="a", svid="x" * 60_000)),
    ],
    ids=range(9),
)
def test_a_mandatory_field_that_says_nothing_useful_is_refused(
    stage: WorkloadStage, method: str, body: pb.JWTSVIDRequest
) -> None:
    with a_visitor(stage.path) as visitor:
        answer = visitor.call(method, message(body.SerializeToString()))
    assert answer.status == Status.INVALID_ARGUMENT.value


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", Status.INVALID_ARGUMENT),
        (b"\x00\x00", Status.INVALID_ARGUMENT),
        (message(b"", size=10), Status.INVALID_ARGUMENT),
        (message(b"\x0a\xff\xff"), Status.INVALID_ARGUMENT),
        (message(b"\x0a\x02\xff\xfe"), Status.INVALID_ARGUMENT),
        (message(b"", flag=1), Status.UNIMPLEMENTED),
        (message(b"", flag=255), Status.UNIMPLEMENTED),
        (message(b"x", size=2**32 - 1), Status.RESOURCE_EXHAUSTED),
        (message(b"x", size=MAX_MESSAGE + 1), Status.RESOURCE_EXHAUSTED),
    ],
    ids=["none", "half a head", "cut off", "no message", "no text", "compressed", "odd flag", "4 GiB", "too large"],
)
def test_a_broken_message_is_told_so(stage: WorkloadStage, body: bytes, status: Status) -> None:
    with a_visitor(stage.path) as visitor:
        assert visitor.call(JWT, body).status == status.value


def test_no_more_of_a_message_is_held_than_is_allowed(stage: WorkloadStage) -> None:
    """A client that announces the largest message, and sends as long as it may, is stopped by flow control."""
    with a_visitor(stage.path) as visitor:
        number = visitor.start(JWT)
        visitor.h2.send_data(number, message(b"", size=2**32 - 1))
        room = visitor.h2.local_flow_control_window(number)
        assert room <= 65_535
        visitor.flush()
        assert visitor.hear(number).status == Status.RESOURCE_EXHAUSTED.value


def test_a_request_that_never_comes_is_given_up(stage: WorkloadStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workload_rpc, "REQUEST_SECONDS", 0.1)
    with a_visitor(stage.path) as visitor:
        assert visitor.hear(visitor.start(SVID)).status == Status.DEADLINE_EXCEEDED.value


def test_a_caller_that_reads_nothing_is_given_up(stage: WorkloadStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its flow control window stays shut: the call ends, and the rest of the API is not held up by it."""
    monkeypatch.setattr(workload, "SEND_SECONDS", 0.2)
    with a_visitor(stage.path) as visitor:
        visitor.h2.update_settings({4: 0})  # INITIAL_WINDOW_SIZE
        visitor.flush()
        number = visitor.start(SVID)
        visitor.h2.send_data(number, message(b""), end_stream=True)
        visitor.flush()
        assert visitor.hear(number).status == Status.UNAVAILABLE.value


# --- calls and frames ---


@pytest.mark.parametrize(
    "path", ["/", "/SpiffeWorkloadAPI/FetchWITSVID", "/spiffeworkloadapi/FetchX509SVID", "/grpc.health.v1.Health/Check"]
)
def test_a_method_that_is_not_there_is_unimplemented(stage: WorkloadStage, path: str) -> None:
    with a_visitor(stage.path) as visitor:
        assert visitor.call(path, message(b"")).status == Status.UNIMPLEMENTED.value


def head(**changed: str | None) -> list[tuple[str, str]]:
    given = {
        ":method": "POST",
        ":scheme": "http",
        ":path": SVID,
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
        "workload.spiffe.io": "true",
    }
    return [(k, v) for k, v in (given | {k.replace("__", ":"): v for k, v in changed.items()}).items() if v is not None]


@pytest.mark.parametrize(
    "headers",
    [
        head(__method=None),
        head(__path=None),
        head(__scheme=None),
        head(__method="GET"),
        head(te=None),
        [*head(), ("content-type", "text/html")],
        [*head(), (":path", SVID)],
        [*head(), ("UPPER", "x")],
        [*head(), ("x-bin", "%%%")],
        [*head(), ("x", "a\u00e9")],
        [*head(), ("x\x00y", "a")],
        [*head(), ("connection", "keep-alive")],
        [*head(), ("grpc-timeout", "soon")],
        [*head(), ("grpc-timeout", "999999999999999H")],
        [*head(), ("grpc-encoding", "gzip")],
        [*head(), *((f"x-{n}", "y" * 1000) for n in range(100))],
    ],
    ids=range(16),
)
def test_headers_that_no_client_sends_end_a_call_or_a_connection(
    stage: WorkloadStage, headers: list[tuple[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    with a_visitor(stage.path) as visitor:
        answer = visitor.call(SVID, message(b""), head=headers)
    assert (
        answer.is_closed
        or answer.is_reset
        or answer.status is not None
        or answer.http in ("400", "405", "415")
        or (answer.data)
    )
    assert not [each for each in caplog.records if each.exc_info]  # nothing went wrong within


FRAMES = {
    "unknown": b"\x00\x00\x04\xee\x00\x00\x00\x00\x00abcd",
    "priority update": b"\x00\x00\x06\x10\x00\x00\x00\x00\x00\x00\x00\x00\x01ab",
    "altsvc": b"\x00\x00\x06\x0a\x00\x00\x00\x00\x00\x00\x02ab\x00\x00",
    "huge": b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + b"x" * 100,
    "data on no stream": b"\x00\x00\x01\x00\x00\x00\x00\x00\x07x",
    "goaway": b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + b"\x00" * 8,
    "reset of nothing": b"\x00\x00\x04\x03\x00\x00\x00\x00\x09\x00\x00\x00\x08",
    "window overflow": b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x7f\xff\xff\xff" * 2,
    "bad settings": b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x01",
    "pings": b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + b"12345678",
    "push": b"\x00\x00\x05\x05\x04\x00\x00\x00\x01\x00\x00\x00\x02\x82",
    "continuation": b"\x00\x00\x01\x09\x04\x00\x00\x00\x01\x82",
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_frames_out_of_place_harm_nobody_else(
    stage: WorkloadStage, frame: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with a_visitor(stage.path) as visitor:
        visitor.line.sendall(frame * 20)
        with a_visitor(stage.path) as other:
            assert other.call(BUNDLES, message(b"")).data
    assert not [each for each in caplog.records if each.exc_info]


@settings(max_examples=60)
@given(st.binary(max_size=400), st.booleans())
def test_no_bytes_break_the_server(stage: WorkloadStage, data: bytes, greets: bool) -> None:
    with a_visitor(stage.path, greets=greets) as visitor:
        try:
            visitor.line.sendall(data)
            visitor.line.shutdown(socket.SHUT_WR)
            while visitor.line.recv(65_536):
                pass
        except (BrokenPipeError, ConnectionResetError):
            return


def test_rapid_resets_get_no_answer_any_more(stage: WorkloadStage) -> None:
    """CVE-2023-44487: calls opened and reset at once, each of which the server would begin to work on."""
    with a_visitor(stage.path) as visitor:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # too many, wherever the minute ends
            for _ in range(2 * MAX_CALLS + 50):
                number = visitor.start(SVID)
                visitor.h2.reset_stream(number)
            visitor.flush()
        answer = visitor.call(SVID, message(b""))
        assert answer.is_reset or answer.is_closed


# --- too many ---


def test_one_user_cannot_take_all_connections(stage: WorkloadStage) -> None:
    with ExitStack() as many:
        first = many.enter_context(a_visitor(stage.path))
        for _ in range(MAX_OF_USER - 1):  # each says something, so that it is known to be served
            assert many.enter_context(a_visitor(stage.path)).call(VALIDATE, message(b"")).status is not None
        assert first.call(BUNDLES, message(b"")).data
        late = many.enter_context(a_visitor(stage.path)).call(BUNDLES, message(b""))
        assert late.is_closed or late.status == Status.PERMISSION_DENIED.value
        assert len(stage.server.connections) <= MAX_OF_USER


def test_a_workload_that_asks_in_a_loop_is_slowed_down() -> None:
    """Each SVID is an entry in the evidence: a loop must not fill the log."""
    request = message(pb.JWTSVIDRequest(audience=["a"]).SerializeToString())
    with a_workload_stage() as looped, a_visitor(looped.path) as visitor:
        answers = (visitor.call(JWT, request) for _ in range(20 * int(of_svids(looped.clock).burst)))
        refused = next(each for each in answers if not each.data)
    assert refused.status == Status.UNAVAILABLE.value
    assert "too fast" in refused.text


def test_what_strangers_ask_for_is_counted_and_not_written_one_by_one(stage: WorkloadStage) -> None:
    """The stage's charter is moved to another user: this process is a stranger meanwhile."""
    from workload_stage import ME, spiffe_files

    before = len(stage.entries("svid.issued"))
    stage.apply(spiffe_files(refund_agent={"uid": os.getuid() + 1}))
    try:
        for _ in range(20):
            with a_visitor(stage.path) as visitor:
                answer = visitor.call(SVID, message(b""))
                assert answer.status == Status.PERMISSION_DENIED.value
        drafts = stage.house.failures.drain(early=True)
        (told,) = [each for each in drafts if "workload api" in str(each.body)]
        assert told.body["count"] >= 20
        assert len(stage.entries("svid.issued")) == before
    finally:
        stage.apply(spiffe_files(refund_agent=ME))


# --- whose connection it is ---


ORPHAN = """
sys.path.insert(0, sys.argv[2])
import time
from h2_visitor import Visitor, message
visitor = Visitor(s)
visitor.hello()
first = visitor.call('/SpiffeWorkloadAPI/FetchX509SVID', message(b''))
parent = os.getpid()
if os.fork():
    os._exit(0)
while os.getppid() == parent:
    time.sleep(0.01)
late = visitor.call('/SpiffeWorkloadAPI/FetchX509SVID', message(b''))
print(len(first.data), late.status, late.text, flush=True)
"""


def test_a_connection_outlives_its_process_for_nobody(stage: WorkloadStage) -> None:
    """The process that connected ends; its child keeps the socket, and asks on it."""
    with a_child(str(stage.path), str(Path(__file__).parents[1]), code=LIBRARIES + DIAL + ORPHAN) as child:
        size, status, text = hear(child).decode().split(" ", 2)
    assert int(size) > 500
    assert int(status) == Status.PERMISSION_DENIED.value
    assert "has ended" in text
