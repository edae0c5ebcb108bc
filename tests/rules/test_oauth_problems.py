"""The tables from errors to wires: complete, documented, and the same everywhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.cli.output import exit_code
from charter.core import errors
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
    UnavailableError,
)
from charter.gateway.mcp_answers import error_of
from charter.registry.problem import EstateError, Problem
from charter.server.problems import error_from_problem, oauth_error, problem_of

DOC = Path(__file__).parents[2] / "docs" / "error-codes.md"
FAMILY = [kind for kind in vars(errors).values() if isinstance(kind, type) and kind.__base__ is CharterError]
REGISTERED_OAUTH_ERRORS = {
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "unsupported_response_type",
    "invalid_scope",
    "invalid_target",
    "invalid_authorization_details",
    "invalid_dpop_proof",
    "use_dpop_nonce",
    "invalid_client_metadata",
    "invalid_redirect_uri",
    "authorization_pending",
    "slow_down",
    "expired_token",
    "access_denied",
    "temporarily_unavailable",
    "server_error",
}


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the tables of the document whose first heading is `heading`."""
    lines = DOC.read_text(encoding="utf-8").splitlines()
    found, inside = [], False
    for line in lines:
        inside = line.startswith("|") and (inside or line.startswith(f"| {heading} |"))
        if inside and not line.startswith((f"| {heading} |", "|---")):
            found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def test_every_code_has_exactly_one_row_in_the_document() -> None:
    documented = [cells[0].strip("`") for cells in rows("code")]
    assert sorted(documented) == sorted(code.value for code in ErrorCode)
    assert all(len(cells) == 3 and all(cells) for cells in rows("code"))


def test_the_document_says_of_each_family_what_the_tables_say() -> None:
    documented = {cells[0]: cells for cells in rows("family")}
    assert len(documented) == len(FAMILY) == 8
    for kind in FAMILY:
        error = kind(ErrorCode.BAD_VALUE, "it")
        status, problem = problem_of(error)
        cells = documented[problem["title"]]
        _, oauth = oauth_error(error)
        rpc = "HTTP 401" if kind is UnauthenticatedError else str(error_of(error)["code"])
        assert (cells[2], cells[3].strip("`"), cells[5]) == (str(status), oauth["error"], str(exit_code(error)))
        assert cells[4].startswith(rpc)


@pytest.mark.parametrize("kind", FAMILY)
@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_error_has_an_answer_on_every_wire(kind: type[CharterError], code: ErrorCode) -> None:
    error = kind(code, "what happened", help="what to do")
    status, problem = problem_of(error)
    oauth_status, body = oauth_error(error)
    assert 400 <= status < 600
    assert 400 <= oauth_status < 600
    assert problem["code"] == code.value
    assert body["error"] in REGISTERED_OAUTH_ERRORS
    assert body["error_description"] == "what happened; what to do"


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (MalformedError(ErrorCode.BAD_REQUEST, "x"), 400, "invalid_request"),
        (MalformedError(ErrorCode.UNSUPPORTED, "x"), 400, "unsupported_grant_type"),
        (MalformedError(ErrorCode.UNSUPPORTED_RESPONSE, "x"), 400, "unsupported_response_type"),
        (MalformedError(ErrorCode.BAD_SCOPE, "x"), 400, "invalid_scope"),
        (MalformedError(ErrorCode.BAD_TARGET, "x"), 400, "invalid_target"),
        (UnauthenticatedError(ErrorCode.BAD_CLIENT, "x"), 401, "invalid_client"),
        (UnauthenticatedError(ErrorCode.ASSERTION_REPLAYED, "x"), 401, "invalid_client"),
        (UnauthenticatedError(ErrorCode.BAD_PROOF, "x"), 400, "invalid_dpop_proof"),
        (DeniedError(ErrorCode.NOT_STANDING, "x"), 400, "unauthorized_client"),
        (DeniedError(ErrorCode.BAD_TARGET, "x"), 400, "invalid_target"),
        (DeniedError(ErrorCode.BAD_GRANT, "x"), 400, "invalid_grant"),
        (ThrottledError(ErrorCode.TOO_MANY, "x"), 429, "temporarily_unavailable"),
        (ConflictError(ErrorCode.STALE, "x"), 503, "temporarily_unavailable"),
        (UnavailableError(ErrorCode.STORE_FAILED, "x"), 503, "temporarily_unavailable"),
        (AbsentError(ErrorCode.UNKNOWN_SYSTEM, "x"), 400, "invalid_request"),
        (IntegrityError(ErrorCode.KEY_BROKEN, "x"), 500, "server_error"),
    ],
)
def test_each_oauth_error_has_its_own_name_and_status(error: CharterError, status: int, name: str) -> None:
    assert oauth_error(error) == (status, {"error": name, "error_description": "x"})


@given(st.text(max_size=600), st.none() | st.text(max_size=200))
def test_an_error_description_has_only_the_characters_it_may_have(detail: str, mend: str | None) -> None:
    _, body = oauth_error(MalformedError(ErrorCode.BAD_REQUEST, detail, help=mend))
    assert re.fullmatch(r"[\x20-\x21\x23-\x5b\x5d-\x7e]{0,500}", body["error_description"])


@given(
    st.sampled_from(FAMILY), st.sampled_from(list(ErrorCode)), st.text(max_size=50), st.none() | st.text(max_size=50)
)
def test_a_problem_document_tells_the_error_it_was_made_of(
    kind: type[CharterError], code: ErrorCode, detail: str, mend: str | None
) -> None:
    status, body = problem_of(kind(code, detail, help=mend))
    told = error_from_problem(status, body)
    assert (type(told), told.code, told.detail, told.help) == (kind, code, detail, mend)


def test_waiting_times_and_verdicts_are_told_too() -> None:
    throttled = error_from_problem(*problem_of(ThrottledError(ErrorCode.TOO_MANY, "x", retry_after_seconds=7)))
    denied = error_from_problem(*problem_of(DeniedError(ErrorCode.POLICY_DENIED, "x", verdict_id="vrd_1")))
    assert isinstance(throttled, ThrottledError)
    assert isinstance(denied, DeniedError)
    assert (throttled.retry_after_seconds, denied.verdict_id) == (7, "vrd_1")


def test_an_estates_problems_keep_their_places() -> None:
    problem = Problem("principals/a.yaml", 3, 7, "is no name", "use a-z")
    told = error_from_problem(*problem_of(EstateError([problem])))
    assert isinstance(told, EstateError)
    assert [(p.path, p.line, p.column, p.text, p.help) for p in told.problems] == [
        ("principals/a.yaml", 3, 7, "is no name", "use a-z")
    ]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (422, {"detail": [{"loc": ["body"]}]}, MalformedError),
        (500, {}, UnavailableError),
        (502, {"title": ["denied"]}, UnavailableError),
        (403, {"title": "denied", "code": "no such code"}, DeniedError),
        (200, {"title": "CharterError"}, UnavailableError),
    ],
)
def test_what_is_no_problem_document_is_still_an_error_someone_can_act_on(
    status: int, body: dict[str, object], kind: type[CharterError]
) -> None:
    assert type(error_from_problem(status, body)) is kind


def test_an_error_of_no_family_is_a_bug() -> None:
    with pytest.raises(RuntimeError, match="says not who must act"):
        problem_of(CharterError(ErrorCode.BAD_VALUE, "x"))
