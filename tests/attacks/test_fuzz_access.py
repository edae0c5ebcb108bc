"""Whatever is sent to the decision API, by a stranger or a point: a clear answer, and no wrong allow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access_stage import POINT, Access, an_access, question
from charter.gateway.access_profiles import Profile
from fuzz_stage import fuzzed, words_of
from hostile import BROKEN_JSON, JSON, TEXT, spelt

PATHS = ("evaluation", "evaluations", "search/subject", "search/resource", "search/action", "requests")
WORDS = words_of("gateway/evaluation.py", "gateway/vouching.py", "gateway/decisions.py", "server/access*.py")
LEAKS = ("Traceback", 'File "', "site-packages", "Error(", "set_int_max", "sqlalchemy", "msgspec", "pydantic")
NAMES = (
    st.sampled_from(
        [
            "identity",
            "tool",
            "mcp_server",
            "tools/call",
            "alice",
            "bob",
            "user",
            "principal",
            "record",
            "records",
            "record-1",
            "read",
            "write",
        ]
    )
    | TEXT
)
PROPERTIES = st.dictionaries(st.sampled_from(["status", "role", "soft", "asked", "a.b"]) | TEXT, JSON, max_size=3)
ENTITY = st.fixed_dictionaries({"type": NAMES, "id": NAMES}, optional={"properties": PROPERTIES | JSON})
ACTION = st.fixed_dictionaries({"name": NAMES}, optional={"properties": PROPERTIES | JSON})
CONTEXT = st.dictionaries(
    st.sampled_from(["access_token", "delegation", "approval", "supported_obligations", "time"]) | TEXT,
    JSON,
    max_size=3,
)
QUESTION: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {}, optional={"subject": ENTITY | JSON, "action": ACTION | JSON, "resource": ENTITY | JSON, "context": CONTEXT}
)
PAGE = st.fixed_dictionaries({}, optional={"token": TEXT | JSON, "limit": JSON})
OPTIONS = st.fixed_dictionaries(
    {}, optional={"evaluations_semantic": st.sampled_from(["execute_all", "deny_on_first_deny", ""]) | JSON}
)
DENIAL = st.fixed_dictionaries({}, optional={"binding_token": TEXT, "expires_at": TEXT | JSON})
BODY = st.builds(
    lambda asked, more: asked | more,
    QUESTION,
    st.fixed_dictionaries(
        {},
        optional={
            "denial": DENIAL | JSON,
            "items": st.lists(JSON, max_size=3),
            "client": JSON,
            "evaluations": st.lists(QUESTION | JSON, max_size=4) | JSON,
            "page": PAGE,
            "options": OPTIONS,
        },
    ),
)


@pytest.fixture(scope="module")
def access(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Access]:
    with an_access(tmp_path_factory.mktemp("access"), authzen_profiles=tuple(Profile)) as found:
        found.token(POINT)
        yield found


def check(access: Access, answer: Any) -> None:
    assert answer.status_code < 500, answer.text[:2000]
    for sign in (*LEAKS, access.token(POINT)):
        assert sign not in answer.text, answer.text[:2000]
    if answer.status_code != 200:
        assert answer.text
        assert answer.headers["content-type"].startswith(("text/plain", "application/problem+json"))


def test_the_words_are_those_of_the_code() -> None:
    assert {"subject", "evaluations", "access_token", "supported_obligations"} <= set(WORDS)


@pytest.mark.parametrize("path", PATHS)
def test_nothing_that_a_point_sends_breaks_it_or_is_allowed_but_what_the_estate_allows(
    access: Access, path: str
) -> None:
    @fuzzed(60)
    @given(BODY.map(spelt) | BROKEN_JSON)
    def attempt(body: bytes) -> None:
        answer = access.ask(path, body)
        check(access, answer)
        if answer.status_code != 200:
            return
        told = answer.json()
        for each in told.get("evaluations", [told] if "decision" in told else []):
            assert type(each["decision"]) is bool
            if each["decision"]:
                entry = next(
                    entry
                    for entry in reversed(access.stage.entries("verdict"))
                    if entry["body"]["verdict_id"] == each["context"]["evaluation_id"]
                )
                assert entry["body"]["principal"] in ("alice", "bob")
                assert entry["body"]["verdict"] == "allow"

    attempt()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS"])
def test_nothing_that_a_stranger_sends_is_answered(access: Access, method: str) -> None:
    words = st.sampled_from(["authorization", "dpop", "x-request-id", "content-type", "host"])
    latin = TEXT.map(lambda text: "".join(ch for ch in text if " " < ch < "\x7f"))

    @fuzzed(40)
    @given(st.sampled_from(PATHS) | st.just("requests"), BODY.map(spelt), st.dictionaries(words, latin, max_size=3))
    def attempt(path: str, body: bytes, headers: dict[str, str]) -> None:
        access.stage.clock._monotonic += 61  # the minute in which failures are counted
        answer = access.send(method, f"/access/v1/{path}", content=body, headers=headers)
        check(access, answer)
        assert answer.status_code in (400, 401, 403, 404, 405, 421, 431)

    attempt()


def test_a_request_id_of_any_kind_comes_back_as_it_was(access: Access) -> None:
    printable = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=400)

    @fuzzed(30)
    @given(printable)
    def attempt(named: str) -> None:
        body = json.dumps(question("alice", "read", "record-1")).encode()
        answer = access.ask("evaluation", body, **{"x-request-id": named})
        assert answer.status_code == 200
        assert answer.headers["x-request-id"] == named
        assert access.ask("evaluation", b"{", **{"x-request-id": named}).headers["x-request-id"] == named

    attempt()
