"""What a principal may decide by itself is never more than the pipeline would have said, and no less where it could."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import a_charter
from carried_stage import OWN, a_flow, a_principal, a_record, a_side, an_own_system, policies_in, some_deeds
from charter.core.errors import MalformedError
from charter.gateway.carried import Carried, Deed, Form, Local, carried_of, read_carried
from charter.policy.assumed import MAX_DEPTH, assumed, reads_flow
from charter.policy.request import NO_FLOW
from charter.policy.verdict import Allow
from charter.registry.standing import Standing
from policies import ENGINE, TUESDAY_NOON, bound

by_dice = random.Random
READ = Deed("payments", "charge.read", "charge/c1", {"charge_id": "c1"})


@pytest.mark.parametrize("seed", range(12))
def test_what_is_allowed_in_the_program_the_pipeline_allows_whatever_the_session_has_read(seed: int) -> None:
    dice = by_dice(seed)
    side, allowed = a_side(dice), 0
    for deed, at, flow in some_deeds(dice, 30):
        rules = side.local.allowed(deed, at)
        if not rules:
            continue
        allowed += 1
        verdict = side.decided(deed, at, flow)
        assert isinstance(verdict, Allow), (deed, flow, verdict)
        assert verdict.limits == ()
        assert verdict.approvals_used == ()
        assert set(rules) <= {reason.rule for reason in verdict.reasons}
        assert side.system.actions[deed.action].effect == "read"


def test_dice_find_calls_that_are_allowed_in_the_program_and_such_as_are_not() -> None:
    allowed = refused = strict = 0
    for seed in range(16):
        dice = by_dice(seed)
        side = a_side(dice)
        for deed, at, flow in some_deeds(dice, 30):
            is_read = side.system.actions[deed.action].effect == "read"
            try:
                verdict = side.decided(deed, at, flow)
            except MalformedError:
                continue
            is_plain = isinstance(verdict, Allow) and not verdict.limits and is_read
            is_local = bool(side.local.allowed(deed, at))
            allowed += is_local
            refused += not is_local and not is_plain
            strict += is_plain and not is_local
            if is_plain and not is_local:  # then some policy that reads the flow stands in the way, and nothing else
                assert any(reads_flow(policy["conditions"]) for policy in policies_in(side.bound).values())
    assert min(allowed, refused, strict) > 10


@pytest.mark.parametrize(
    ("condition", "meant"),
    [
        ("resource.external && context.flow.exposed", "resource.external && true"),
        ("!(context.flow.exposed)", "!(false)"),
        ("!(context.flow.exposed && resource.external)", "!(false && resource.external)"),
        ("if context.flow.exposed then resource.external else false", "true"),
        ("context has flow", "true"),
        ("[context].contains(context)", "true"),
        ('context.local["UTC"].minute > 3', 'context.local["UTC"].minute > 3'),
        ('context.arguments has flow && context.arguments.flow.text == "flow"', None),
    ],
)
def test_a_forbid_forbids_wherever_some_flow_would_make_it(condition: str, meant: str | None) -> None:
    (policy,) = ENGINE.parse(f"forbid (principal, action, resource) when {{ {condition} }};")
    (wanted,) = ENGINE.parse(f"forbid (principal, action, resource) when {{ {meant or condition} }};")
    assert assumed(policy)["conditions"] == wanted["conditions"]
    assert not reads_flow(assumed(policy)["conditions"])


def test_a_permit_permits_only_where_every_flow_would_and_unless_is_the_other_way_round() -> None:
    (permit,) = ENGINE.parse(
        "permit (principal, action, resource) when { context.flow.known } unless { context.flow.tired };"
    )
    assert [each["body"] for each in assumed(permit)["conditions"]] == [{"Value": False}, {"Value": True}]
    (forbid,) = ENGINE.parse("forbid (principal, action, resource) unless { context.flow.known };")
    assert [each["body"] for each in assumed(forbid)["conditions"]] == [{"Value": False}]


def test_a_policy_that_nests_too_deep_is_not_guessed_at() -> None:
    body: dict[str, Any] = {"Var": "context"}
    for _ in range(MAX_DEPTH + 2):
        body = {"!": {"arg": body}}
    with pytest.raises(RecursionError):
        assumed({"effect": "forbid", "conditions": [{"kind": "when", "body": body}]})


def of_system(**changed: Any) -> Carried:
    system = an_own_system(**changed)
    charter = a_charter(grants=[{"system": "payments", "actions": ["*"]}])
    found = bound(charter, system=system)
    return carried_of(a_principal(charter), found, policies_in(found), {"payments": a_record(system)})


def test_reads_of_a_system_that_lets_the_principal_vouch_for_itself_are_carried_and_nothing_else() -> None:
    carried = of_system()
    assert set(carried.form.groups.values()) == {"read"}
    assert Local(carried, ENGINE, ENGINE).allowed(READ, TUESDAY_NOON) == ("refund-agent/grant-1",)


@pytest.mark.parametrize(
    "changed",
    [
        {"enforcement": {"points": ["another"], "vouching": "allowed"}},
        {"enforcement": {"points": ["refund-agent"]}},
        {"enforcement": OWN | {"context": ["ip"]}},
        {"enforcement": OWN | {"subjects": {"known": {"refund-agent": {"level": 1}}}}},
        {"enforcement": OWN | {"resources": {"charge": {"object": "charge/{id}"}}}},
        {"enforcement": OWN | {"obligations": [{"id": "tell", "type": "notification", "to": "a", "body": "b"}]}},
    ],
)
def test_where_more_is_to_be_known_or_done_nothing_is_decided_in_the_program(changed: dict[str, Any]) -> None:
    carried = of_system(**changed)
    assert not carried.decides
    assert carried.form.policies == {}
    assert Local(carried, ENGINE, ENGINE).allowed(READ, TUESDAY_NOON) == ()


@pytest.mark.parametrize("standing", [each for each in Standing if each is not Standing.ACTIVE])
def test_whoever_is_not_active_carries_nothing(standing: Standing) -> None:
    system = an_own_system()
    charter = a_charter(grants=[{"system": "payments", "actions": ["*"]}])
    found = bound(charter, system=system)
    parts = policies_in(found)
    assert not carried_of(a_principal(charter, standing), found, parts, {"payments": a_record(system)}).decides
    assert not carried_of(a_principal(charter), found, parts, {"payments": a_record(system, standing)}).decides


def test_nothing_is_allowed_after_the_charter_ended() -> None:
    local = Local(of_system(), ENGINE, ENGINE)
    end = dt.datetime.combine(a_charter().expires, dt.time(), dt.UTC) + dt.timedelta(days=1)
    assert local.allowed(READ, end - dt.timedelta(seconds=1))
    assert local.allowed(READ, end) == ()


def test_what_answers_with_labels_is_told_apart() -> None:
    plain = of_system(data=[])
    assert plain.form.labelled == []
    assert of_system(data=[], untrusted=True).form.labelled == ["payments/charge.read", "payments/report"]
    assert "payments/charge.read" in of_system(data=["customer-pii"]).form.labelled


def test_an_argument_that_speaks_for_the_point_is_never_decided_by_it() -> None:
    deed = replace(READ, arguments={"asked": {"resource": {"status": "open"}}})
    assert Local(of_system(), ENGINE, ENGINE).allowed(deed, TUESDAY_NOON) == ()


@given(st.binary(max_size=300))
def test_bytes_are_no_policies_or_are_refused_as_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        read_carried(data)


@given(st.data())
def test_policies_that_were_tampered_with_are_refused_or_decide_without_an_accident(data: st.DataObject) -> None:
    form: Any = msgspec.to_builtins(of_system().form)
    part = data.draw(st.sampled_from(sorted(form)))
    form[part] = data.draw(
        st.sampled_from([{}, [], "", {"x": "y"}, ["x"], [["UTC", "eu", {"weekend": 5}]], {"payments": {}}, None, 5])
    )
    try:
        local = Local(Carried(msgspec.convert(form, Form)), ENGINE, ENGINE)
    except (MalformedError, msgspec.ValidationError):
        return
    local.allowed(READ, TUESDAY_NOON)
    assert local.allowed(READ, TUESDAY_NOON) in {(), ("refund-agent/grant-1",)}


def test_the_flow_of_dice_is_not_always_empty() -> None:
    assert any(a_flow(by_dice(seed)) != NO_FLOW for seed in range(3))
