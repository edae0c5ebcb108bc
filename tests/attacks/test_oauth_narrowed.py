"""Narrowed tokens (RFC 9396) under attack, in a whole house: widened, exchanged, replayed past their limits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from charter.core.errors import ErrorCode, UnauthenticatedError
from charter.gateway.pins import ToolDefinition
from charter.gateway.pipeline import Admitted, Refused
from charter.policy.verdict import Deny, Layer
from identity_stage import ISSUER, PAYMENTS
from lending_stage import Lending, a_lending

READ = "refund-agent/grant-1"
LEND = "may_act"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Lending]:
    with a_lending(tmp_path) as found:
        yield found


def details(*given: dict[str, Any]) -> str:
    return json.dumps([{"type": "charter_grant"} | each for each in given])


def a_token(stage: Lending, *given: dict[str, Any], **more: str) -> str:
    return stage.own_token("refund-agent", authorization_details=details(*given), **more)


def why(found: Admitted | Refused) -> Layer:
    assert isinstance(found, Refused)
    assert isinstance(found.verdict, Deny)
    return found.verdict.reasons[0].layer


def test_a_narrowed_token_reads_and_does_not_refund(stage: Lending) -> None:
    token = a_token(stage, {"actions": ["charge.read"]})
    assert isinstance(stage.call(token), Admitted)
    assert why(stage.refund(token)) is Layer.TOKEN
    assert isinstance(stage.refund(stage.own_token("refund-agent")), Admitted)


def test_it_is_told_in_the_answer_the_token_introspection_and_both_kinds_of_evidence(stage: Lending) -> None:
    answer = stage.ask_own("refund-agent", authorization_details=details({"actions": ["charge.read"]}))
    wanted = [{"type": "charter_grant", "system": "payments", "actions": ["charge.read"], "objects": ["*"]}]
    token = answer.body["access_token"]
    stage.refund(token)
    (issued,) = stage.stage.entries("authentication")
    (verdict,) = stage.stage.entries("verdict")
    told = stage.introspected("refund-agent", token)
    assert answer.body["authorization_details"] == stage.claims(token)["authorization_details"] == wanted
    assert told["authorization_details"] == issued["body"]["narrowed_to"] == verdict["body"]["narrowed_to"] == wanted


@pytest.mark.parametrize(
    "given",
    [
        [{"actions": ["refund.delete"]}],
        [{"grants": ["charge-tool/grant-1"]}],
        [{"grants": ["refund-agent/grant-9"]}],
        [{"system": "ledger"}],
        [{"locations": [f"{ISSUER}/mcp/ledger"]}],
        [{"type": "charter_scope"}],
        [{"type": "account_information"}],
        [{"actions": ["charge.read"], "privileges": ["admin"]}],
        [],
    ],
)
def test_what_the_charter_does_not_grant_or_nobody_understands_is_invalid_authorization_details(
    stage: Lending, given: list[dict[str, Any]]
) -> None:
    answer = stage.ask_own("refund-agent", authorization_details=details(*given))
    assert (answer.status, answer.body["error"]) == (400, "invalid_authorization_details")


def test_a_narrowing_lets_nothing_through_that_the_charter_forbids(stage: Lending) -> None:
    stage.stage.apply(stage.files_with("refund-agent", grants=[{"system": "payments", "actions": ["charge.read"]}]))
    token = a_token(stage, {"actions": ["*"], "objects": ["*"]})
    assert why(stage.refund(token)) is Layer.CHARTER


def test_a_charter_that_shrinks_later_shrinks_the_token_too(stage: Lending) -> None:
    token = a_token(stage, {"actions": ["refund.create"]})
    assert isinstance(stage.refund(token), Admitted)
    stage.stage.apply(stage.files_with("refund-agent", grants=[{"system": "payments", "actions": ["charge.read"]}]))
    assert isinstance(stage.refund(token), Refused)


@pytest.mark.parametrize("charge", ["ch_2", "CH_1", "ch_10", "ch_1/..", "../ch_1", "ch_1%2f", "\uff43h_1"])
def test_no_spelling_of_another_object_is_the_one_it_is_narrowed_to(stage: Lending, charge: str) -> None:
    token = a_token(stage, {"objects": ["charge/ch_1"]})
    assert isinstance(stage.call(token), Admitted)
    assert isinstance(stage.call(token, charge_id=charge), Refused)


def test_its_limits_are_used_up_for_good_and_a_new_token_has_its_own(stage: Lending) -> None:
    limits = [{"count": 3}, {"sum": "amount", "max": "25 EUR"}]
    token = a_token(stage, {"actions": ["refund.create"], "limits": limits})
    first, second, third = (stage.refund(token, 10) for _ in range(3))
    assert isinstance(first, Admitted)
    assert isinstance(second, Admitted)
    assert why(third) is Layer.LIMIT
    assert isinstance(stage.refund(token, 5), Admitted)
    assert why(stage.refund(token, 1)) is Layer.LIMIT
    assert isinstance(stage.refund(a_token(stage, {"limits": limits}), 10), Admitted)


def test_an_amount_that_cannot_be_counted_is_not_let_through(stage: Lending) -> None:
    token = a_token(stage, {"limits": [{"sum": "amount", "max": "25 EUR"}]})
    assert isinstance(stage.call(token, "create_refund", amount=10, currency="USD"), Refused)
    assert isinstance(stage.call(token, "create_refund", amount="ten", currency="EUR"), Refused)


def test_tools_that_it_cannot_call_are_not_shown(stage: Lending) -> None:
    house = stage.stage.house
    actions = house.live.systems["payments"].system.actions
    tools = [ToolDefinition(a.tool, {"name": a.tool}, a.pin or "") for a in actions.values()]
    narrow, wide = (
        stage.bearer(each) for each in (a_token(stage, {"actions": ["charge.read"]}), stage.own_token("refund-agent"))
    )
    assert [tool.name for tool in house.pipeline.visible(narrow, "payments", tools)[0]] == ["get_charge"]
    assert len(house.pipeline.visible(wide, "payments", tools)[0]) == 2


# --- lending a narrowed token on ---


def test_exchange_does_not_widen_what_the_subject_token_was_narrowed_to(stage: Lending) -> None:
    token = a_token(stage, {"actions": ["charge.read"]}, may_act="charge-tool", purpose="dispute-handling")
    borrowed = stage.exchange("charge-tool", token)
    assert isinstance(stage.call(borrowed), Admitted)
    assert isinstance(stage.refund(borrowed), Refused)


def test_exchange_for_more_than_the_subject_token_has_is_refused(stage: Lending) -> None:
    token = a_token(stage, {"actions": ["charge.read"]}, may_act="charge-tool", purpose="dispute-handling")
    wider = json.dumps([{"type": "charter_scope", "system": "payments", "actions": ["refund.create"]}])
    answer = stage.ask_exchange("charge-tool", token, authorization_details=wider)
    assert (answer.status, answer.body["error"]) == (400, "invalid_request")
    assert "cannot lend" in answer.body["error_description"]


@pytest.mark.parametrize("given", [{"grants": [READ]}, {"limits": [{"count": 1}]}])
def test_a_token_narrowed_as_no_delegation_can_be_is_not_exchanged(stage: Lending, given: dict[str, Any]) -> None:
    token = a_token(stage, given, may_act="charge-tool", purpose="dispute-handling")
    answer = stage.ask_exchange("charge-tool", token)
    assert (answer.status, answer.body["error"]) == (400, "invalid_request")
    assert "a delegation cannot be" in answer.body["error_description"]


@pytest.mark.parametrize(
    "claim",
    [
        "everything",
        {},
        [],
        [{"type": "charter_grant", "system": "payments", "actions": ["charge.read"], "x": 1}],
        [{"type": "openid_credential"}],
        [{"type": "charter_grant", "system": "payments"}] * 50,
    ],
)
def test_a_token_whose_details_are_not_understood_is_no_token(stage: Lending, claim: object) -> None:
    house = stage.stage.house
    claims = stage.claims(stage.own_token("refund-agent")) | {"authorization_details": claim}
    with pytest.raises(UnauthenticatedError) as caught:
        house.tokens.verify(house.tokens.sign(claims), audience=PAYMENTS, at=stage.stage.clock.now())
    assert caught.value.code is ErrorCode.BAD_TOKEN
