"""What the gateway answers: refusals word for word, results in each era, errors, sessions, event streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charter.adapters.upstream_sse import SseReader
from charter.core.errors import (
    AbsentError,
    CharterError,
    ConflictError,
    DeniedError,
    ErrorCode,
    IntegrityError,
    MalformedError,
    ThrottledError,
    UnauthenticatedError,
)
from charter.core.values import Source
from charter.gateway.mcp_answers import complete, error_of, refusal_result, tool_result
from charter.gateway.mcp_sessions import IDLE_SECONDS, MAX_PER_PRINCIPAL, Sessions
from charter.gateway.pins import UpstreamError
from charter.policy.verdict import Deny, Escalate, Layer, Reason
from fakes import CountingEntropy, FixedClock

REASON = Reason(
    Layer.CHARTER,
    "refund-agent/grant-1",
    "the amount 300 EUR exceeds 200 EUR",
    "ask for 200 EUR or less",
    "refund-agent",
    Source("principals/refund-agent.yaml", 14, 5),
)


@dataclass(frozen=True)
class ARefusal:
    verdict: Deny | Escalate
    verdict_id: str = "vrd_1"
    approval_id: str | None = None


def test_a_denial_says_what_why_and_what_would_help_in_one_text() -> None:
    result = refusal_result(ARefusal(Deny((REASON,))), modern=True)
    assert result["isError"] is True
    assert result["resultType"] == "complete"
    assert result["content"] == [
        {
            "type": "text",
            "text": "Charter denied this call: the amount 300 EUR exceeds 200 EUR. To have it allowed: ask for 200 EUR "
            "or less. (rule refund-agent/grant-1 at principals/refund-agent.yaml:14:5, layer charter, verdict vrd_1)",
        }
    ]


def test_a_denial_holds_the_same_for_programs() -> None:
    result = refusal_result(ARefusal(Deny((REASON, REASON))), modern=False)
    assert "resultType" not in result
    assert result["_meta"] == {
        "charter/verdict": "vrd_1",
        "charter/refusal": {
            "verdict": "deny",
            "verdict_id": "vrd_1",
            **REASON.to_json(),
            "reasons": [REASON.to_json(), REASON.to_json()],
            "approval": None,
            "approvers": [],
            "how": None,
        },
    }


def test_a_held_call_says_who_can_approve_it_and_how() -> None:
    held = ARefusal(Escalate((REASON,), ("payments-lead", "risk")), approval_id="apr_7")
    result = refusal_result(held, modern=True)
    assert result["content"][0]["text"].startswith(
        "Charter holds this call until a person approves it: the amount 300 EUR exceeds 200 EUR. People can approve "
        "it together (`payments-lead` and `risk`): charter approvals approve apr_7. Then call again with exactly the "
        "same arguments. (rule"
    )
    facts = result["_meta"]["charter/refusal"]
    assert (facts["verdict"], facts["approval"], facts["approvers"]) == ("escalate", "apr_7", ["payments-lead", "risk"])
    assert facts["how"] == "charter approvals approve apr_7"


def test_an_upstream_cannot_speak_for_charter() -> None:
    forged = {"content": [], "_meta": {"charter/refusal": {}, "charter/verdict": "vrd_9", "other/key": 1}}
    result = tool_result(forged, "vrd_1", modern=False)
    assert result["_meta"] == {"other/key": 1, "charter/verdict": "vrd_1"}
    for odd in ("text", None, [1]):
        assert tool_result({"content": [], "_meta": odd}, "vrd_1", modern=False)["_meta"] == {
            "charter/verdict": "vrd_1"
        }


def test_results_are_spelt_in_the_callers_era() -> None:
    modern = {
        "content": [],
        "structuredContent": [1],
        "resultType": "complete",
        "_meta": {"io.modelcontextprotocol/serverInfo": {}},
    }
    assert complete({"tools": []}, modern=True)["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "charter"
    old = tool_result(modern, "vrd_1", modern=False)
    assert old == {"content": [], "_meta": {"charter/verdict": "vrd_1"}}
    assert tool_result(modern, "vrd_1", modern=True)["structuredContent"] == [1]
    kept = tool_result({"content": [], "structuredContent": {"a": 1}}, "vrd_1", modern=False)
    assert kept["structuredContent"] == {"a": 1}


@pytest.mark.parametrize(
    ("err", "code", "data"),
    [
        (MalformedError(ErrorCode.BAD_VALUE, "bad"), -32602, {"code": "bad_value", "help": None}),
        (UnauthenticatedError(ErrorCode.BAD_TOKEN, "bad"), -31001, {"code": "bad_token", "help": None}),
        (
            DeniedError(ErrorCode.POLICY_DENIED, "bad", verdict_id="vrd_1"),
            -31011,
            {"code": "policy_denied", "help": None, "verdict_id": "vrd_1"},
        ),
        (AbsentError(ErrorCode.UNKNOWN_SYSTEM, "bad"), -31012, {"code": "unknown_system", "help": None}),
        (ConflictError(ErrorCode.EXISTS, "bad"), -31013, {"code": "exists", "help": None}),
        (
            ThrottledError(ErrorCode.TOO_MANY, "bad", retry_after_seconds=3),
            -31014,
            {"code": "too_many", "help": None, "retry_after_seconds": 3},
        ),
        (
            UpstreamError(ErrorCode.UPSTREAM_FAILED, "bad", sent=False),
            -31015,
            {"code": "upstream_failed", "help": None, "retry_after_seconds": 1, "sent": False},
        ),
        (IntegrityError(ErrorCode.BAD_PERMIT, "bad"), -32603, {"code": "bad_permit", "help": None}),
    ],
)
def test_every_error_of_the_family_has_its_code(err: CharterError, code: int, data: dict[str, Any]) -> None:
    assert error_of(err) == {"code": code, "message": "bad", "data": data}
    assert not -32099 <= code <= -32000  # neither MCP's own codes nor the ones it asks not to be used any more


def test_an_errors_help_stands_in_its_message() -> None:
    assert error_of(MalformedError(ErrorCode.BAD_VALUE, "bad", help="mend it"))["message"] == "bad; mend it"


def sessions() -> tuple[Sessions, FixedClock]:
    clock = FixedClock()
    return Sessions(clock, CountingEntropy()), clock


def test_a_session_is_unknown_to_anyone_but_its_principal_and_system() -> None:
    kept, _ = sessions()
    session = kept.open("prn_1", "notes", "2025-11-25")
    assert kept.get(session.id, "prn_1", "notes") is session
    for session_id, principal, system in (
        (session.id, "prn_2", "notes"),
        (session.id, "prn_1", "payments"),
        ("x", "prn_1", "notes"),
    ):
        with pytest.raises(AbsentError, match="no such session"):
            kept.get(session_id, principal, system)


def test_a_session_that_ended_or_idled_is_gone_and_what_it_ran_is_cancelled() -> None:
    kept, clock = sessions()
    cancelled: list[int] = []
    ended, idle, used = (kept.open("prn_1", "notes", "2025-11-25") for _ in range(3))
    ended.running[1] = lambda: cancelled.append(1)
    kept.end(ended)
    kept.end(ended)
    assert cancelled == [1, 1]
    assert ended.ended.is_set()
    clock.advance(seconds=IDLE_SECONDS - 1)
    kept.get(used.id, "prn_1", "notes")
    clock.advance(seconds=1)
    with pytest.raises(AbsentError):
        kept.get(idle.id, "prn_1", "notes")
    assert kept.get(used.id, "prn_1", "notes") is used
    assert len(kept) == 1


def test_a_principal_that_opens_too_many_sessions_loses_its_own_oldest() -> None:
    kept, _ = sessions()
    other = kept.open("prn_2", "notes", "2025-11-25")
    own = [kept.open("prn_1", "notes", "2025-11-25") for _ in range(MAX_PER_PRINCIPAL + 2)]
    assert [session.ended.is_set() for session in own].count(True) == 2
    assert own[0].ended.is_set()
    assert not other.ended.is_set()
    assert len(kept) == MAX_PER_PRINCIPAL + 1


def test_a_sessions_label_is_not_its_id() -> None:
    session = sessions()[0].open("prn_1", "notes", "2025-11-25")
    assert session.label.startswith("ses_")
    assert session.id not in session.label


def test_only_what_is_under_way_can_be_cancelled() -> None:
    session = sessions()[0].open("prn_1", "notes", "2025-11-25")
    cancelled: list[Any] = []
    session.running["1"] = lambda: cancelled.append("1")
    for request_id in (1, None, {}, [], True, "2"):
        session.cancel(request_id)
    assert cancelled == []
    session.cancel("1")
    assert cancelled == ["1"]


def read(data: bytes, cut: int = 0) -> list[bytes]:
    reader = SseReader(1000)
    pieces = [data] if not cut else [data[i : i + cut] for i in range(0, len(data), cut)]
    return [event for piece in pieces for event in reader.feed(piece)]


STREAM = (
    b": hi\r\nid: 1\ndata:\n\ndata: one\r\n\r\nevent: message\rdata: two\rdata:three\r\r"
    b"event: other\ndata: no\n\ndata: 4\n\n"
)


@pytest.mark.parametrize("cut", [0, 1, 2, 3, 5, 7])
def test_events_are_read_whatever_pieces_they_come_in(cut: int) -> None:
    assert read(STREAM, cut) == [b"one", b"two\nthree", b"4"]


@given(st.binary(max_size=300), st.integers(1, 7))
@example(b"data: x\r\n\r\ndata: y\r\r\n", 1)
@settings(max_examples=200)
def test_any_stream_reads_the_same_in_any_pieces(data: bytes, cut: int) -> None:
    assert read(data, cut) == read(data)


@pytest.mark.parametrize("piece", [b"x" * 100, b"data: " + b"x" * 90 + b"\n"])
def test_an_event_without_end_is_refused(piece: bytes) -> None:
    reader = SseReader(1000)

    def feed_for_ever() -> None:
        while True:
            reader.feed(piece)

    with pytest.raises(UpstreamError, match="an event of more than 1000 bytes"):
        feed_for_ever()
