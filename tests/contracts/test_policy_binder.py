"""Charters bound once for all who hold them alike decide and explain as each would by itself."""

from __future__ import annotations

import random
from dataclasses import fields
from typing import Any

import pytest

from builders import REFUND_CHARTER
from cedar_dice import SYSTEM, a_call, a_grant, some_guardrails
from charter.adapters.cedar import CedarEngine
from charter.core.canonical import canonical
from charter.policy.binder import OWN, Binder, Surroundings
from charter.policy.decide import decide
from charter.policy.grant import GrantRule
from charter.policy.held import Held, located
from charter.policy.request import build_request
from charter.policy.shadow import CompiledEngine
from charter.policy.slice import Slice, bind_slice
from charter.policy.verdict import word
from charter.registry.central import NOTHING
from charter.registry.charter import Charter
from charter.registry.document import read_document
from charter.registry.problem import EstateError
from charter.registry.record import KeptCharter
from charter.registry.system import System
from policies import an_asker, guards

PAYMENTS = System.model_validate(SYSTEM)


def an_engine() -> CompiledEngine:
    return CompiledEngine(CedarEngine(), lambda found: pytest.fail(str(found)), every=10)


def kept(given: dict[str, Any], name: str) -> KeptCharter:
    """Return a charter as it is kept once its file was applied."""
    document = read_document(canonical(given | {"principal": name}), f"principals/{name}.yaml")
    charter = Charter.model_validate(document.value)
    return KeptCharter(charter.digest, canonical(charter.to_json()).decode(), document.sources())


def by_itself(given: KeptCharter, engine: Any, guardrails: Any = ()) -> Slice:
    return bind_slice(given.charter, given.sources, {"payments": PAYMENTS}, guardrails, engine, NOTHING)


def binder(engine: Any, guardrails: Any = ()) -> Binder:
    return Binder(Surroundings({"payments": PAYMENTS}, guardrails, engine, NOTHING))


def test_a_shared_authority_decides_and_explains_as_each_holders_own_charter_does() -> None:
    dice = random.Random(5)  # noqa: S311 - the same every time
    engine, seen = an_engine(), {"allow": 0, "deny": 0, "escalate": 0}
    for _ in range(60):
        given = REFUND_CHARTER | {"grants": [a_grant(dice) for _ in range(dice.randrange(1, 4))]}
        guardrails = some_guardrails(dice)
        shared = binder(engine, guardrails)
        first = shared.slice("first-agent", "payments-ops", kept(given, "first-agent"))
        second_kept = kept(given, "second-agent")
        second = shared.slice("second-agent", "payments-ops", second_kept)
        assert second.authority is first.authority
        alone = bind_slice(
            second_kept.charter, second_kept.sources, {"payments": PAYMENTS}, guardrails, engine, NOTHING
        )
        for _ in range(20):
            action, arguments, at, roles, restrained = a_call(dice)
            asker = an_asker(second_kept.charter, restrained=restrained)
            request = build_request(asker, PAYMENTS, action, arguments, at, roles)
            verdict = decide(second, request, engine)
            assert verdict == decide(alone, request, engine)
            seen[word(verdict)] += 1
    assert min(seen.values()) > 20, seen


def test_a_held_grant_is_its_holders_own_in_every_part() -> None:
    given = kept(REFUND_CHARTER, "other-agent")
    held = binder(an_engine()).slice("other-agent", "payments-ops", given)
    (alone,) = by_itself(given, an_engine()).grants
    (grant,) = held.grants
    assert isinstance(grant, Held)
    parts = {each.name for each in fields(GrantRule)} - {"text", "approval"}
    for name in parts | {"zones", "arguments", "calendars", "alike"}:
        assert getattr(grant, name) == getattr(alone, name), name
    assert grant.approval is not None
    assert located(grant.approval, given.sources) == alone.approval
    assert grant.source is not None
    assert grant.source.path == "principals/other-agent.yaml"
    with pytest.raises(RuntimeError, match="by itself"):
        _ = grant.text


def test_an_argument_called_like_a_field_keeps_its_place_under_its_heading() -> None:
    when = {"hours": "08:00-18:00 UTC", "arguments": {"hours": {"max": "5"}, "amount": {"max": "200 EUR"}}}
    given = kept(REFUND_CHARTER | {"grants": [{"system": "payments", "actions": ["*"], "when": when}]}, "other-agent")
    (grant,) = binder(an_engine()).slice("other-agent", "payments-ops", given).grants
    (alone,) = by_itself(given, an_engine()).grants
    assert grant.conditions == alone.conditions


@pytest.mark.parametrize(
    "changed",
    [
        {"environment": "staging"},
        {"kind": "copilot"},
        {"data": ["other"]},
        {"model": {"provider": "openai", "name": "gpt-*"}},
        {"grants": []},
        {"delegation": None},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_charters_that_policy_tells_apart_share_nothing(changed: dict[str, Any]) -> None:
    shared = binder(an_engine())
    other = {name: value for name, value in (REFUND_CHARTER | changed).items() if value is not None}
    one = shared.slice("first-agent", "payments-ops", kept(REFUND_CHARTER, "first-agent"))
    assert shared.slice("second-agent", "payments-ops", kept(other, "second-agent")).authority is not one.authority


def test_what_may_differ_between_holders_is_named_and_nothing_else() -> None:
    """A field that is added to charters tells them apart until someone has thought about it."""
    assert Charter.model_fields.keys() >= OWN
    read_by_policy = {
        "kind",
        "environment",
        "model",
        "data",
        "data_flow",
        "grants",
        "delegation",
        "exceptions",
        "charter",
    }
    assert Charter.model_fields.keys() - OWN >= read_by_policy


def test_a_principal_that_a_guardrail_names_is_bound_by_itself() -> None:
    rail = guards('forbid (principal == Charter::Principal::"second-agent", action, resource);')
    engine = an_engine()
    shared = binder(engine, rail)
    slices = [
        shared.slice(name, "payments-ops", kept(REFUND_CHARTER, name)) for name in ("first-agent", "second-agent")
    ]
    assert slices[0].authority is not slices[1].authority
    assert [bool(each.guardrails) for each in slices] == [False, True]


def test_a_principal_with_cedar_of_its_own_is_bound_by_itself() -> None:
    own = 'forbid (principal, action, resource) when { resource.path like "charge/x*" };'
    shared = binder(an_engine())
    slices = [shared.slice(name, "payments-ops", kept(REFUND_CHARTER | {"policy": own}, name)) for name in ("a", "b")]
    assert slices[0].authority is not slices[1].authority
    assert [list(each.guardrails) for each in slices] == [["a/policy/1"], ["b/policy/1"]]


def test_what_cannot_be_bound_is_told_at_its_place_in_the_holders_own_file() -> None:
    given = kept(REFUND_CHARTER, "other-agent")
    elsewhere = Binder(Surroundings({}, (), an_engine(), NOTHING))
    with pytest.raises(EstateError, match=r"principals/other-agent\.yaml:1:"):
        elsewhere.slice("other-agent", "payments-ops", given)


def test_a_principal_called_guardrail_takes_no_guardrails_place() -> None:
    rail = guards('@id("grant-1") forbid (principal, action, resource);')
    given = kept(REFUND_CHARTER, "guardrail")
    with pytest.raises(Exception, match="share an id"):
        by_itself(given, an_engine(), rail)
    held = binder(an_engine(), rail).slice("guardrail", "payments-ops", given)  # its grants are called otherwise
    assert "guardrail/grant-1" in held.guardrails


def test_a_forgotten_authority_is_bound_anew() -> None:
    shared = binder(an_engine())
    one = shared.slice("first-agent", "payments-ops", kept(REFUND_CHARTER, "first-agent"))
    shared.forget(one.authority)
    shared.forget(one.authority)
    again = shared.slice("second-agent", "payments-ops", kept(REFUND_CHARTER, "second-agent"))
    assert again.authority is not one.authority
