"""Plans are pure: what changes, field by field, what drifted, and what is refused."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from builders import a_charter, a_system
from charter.registry.difference import differences
from charter.registry.estate import Estate
from charter.registry.inventory import inventory_of
from charter.registry.plan import Plan, parts_of, plan
from charter.registry.principal import Principal, SystemRecord
from charter.registry.problem import EstateError
from charter.registry.record import ManagedBy, RegisteredEstate, RegisteredPrincipal, RegisteredSystem
from charter.registry.standing import Standing
from charter.registry.terms import terms_of
from estates import GUARDRAIL, PRINCIPAL, SYSTEM, TEAMS, an_estate, another_principal

P, S, T, G = "principals/refund-agent.yaml", "systems/payments.yaml", "teams.yaml", "guardrails/environments.cedar"


def registered(estate: Estate, compared: Estate | None = None) -> RegisteredEstate:
    """Return what is registered once `estate` was applied, as a store that compares with `compared` reads it."""
    wanted = {n: part.value.digest for n, part in compared.charters.items()} if compared else {}
    principals: dict[str, RegisteredPrincipal] = {}
    for name, part in estate.charters.items():
        c = part.value
        principal = Principal(
            f"prn_{name}", name, f"spiffe://x/{name}", c.kind, c.environment, c.owner.person, c.owner.team,
            Standing.ACTIVE, 1, 1, c.digest, c.expires, terms_of(c.credential),
        )  # fmt: skip
        body = None if wanted.get(name) == c.digest else c.to_json()
        principals[name] = RegisteredPrincipal(principal, ManagedBy.GIT, c.digest, charter=body)
    systems = {
        name: RegisteredSystem(
            name, 1, part.value.digest, False, ManagedBy.GIT, part.value.digest, True,
            SystemRecord(name, 1, part.value.digest, Standing.ACTIVE, part.value),
        )
        for name, part in estate.systems.items()
    }  # fmt: skip
    return RegisteredEstate(principals, systems, parts_of(estate))


def planned(changed: dict[str, str | None], **current: Any) -> Plan:
    """Return the plan from the small estate to it with some files `changed`."""
    after = an_estate(changed)
    return plan(after, replace(registered(an_estate(), after), **current))


def principals_with(**changed: Any) -> dict[str, RegisteredPrincipal]:
    """Return the refund agent as registered, with some of what is known about it changed."""
    known = registered(an_estate()).principals["refund-agent"]
    principal = replace(known.principal, **{k: v for k, v in changed.items() if hasattr(known.principal, k)})
    rest = {k: v for k, v in changed.items() if not hasattr(known.principal, k)}
    return {"refund-agent": replace(known, principal=principal, **rest)}


def test_what_nobody_registered_is_created() -> None:
    found = plan(an_estate(), RegisteredEstate())
    assert [(c.change.value, c.what.value, c.name) for c in found.changes] == [
        ("create", "teams", "teams.yaml"),
        ("create", "system", "payments"),
        ("create", "guardrail", "guardrails/environments.cedar"),
        ("create", "pattern", "patterns/small-refunds.yaml"),
        ("create", "principal", "refund-agent"),
    ]
    assert found.counts == {"create": 5, "change": 0, "drift": 0, "withdraw": 0, "unchanged": 0}


def test_what_is_as_registered_is_unchanged() -> None:
    found = planned({})
    assert found.changes == ()
    assert found.counts["unchanged"] == 5


def test_a_changed_charter_is_told_field_by_field() -> None:
    (change,) = planned({P: PRINCIPAL.replace("200 EUR", "300 EUR").replace("mon-fri", "mon-sat")}).changes
    assert [(d.path, d.before, d.after) for d in change.differences] == [
        ("grants.0.when.days", ["mon", "tue", "wed", "thu", "fri"], ["mon", "tue", "wed", "thu", "fri", "sat"]),
        ("grants.0.when.amount.max", "200 EUR", "300 EUR"),
    ]


def test_a_plan_shows_what_a_principal_will_reach() -> None:
    (change,) = planned({P: PRINCIPAL.replace("200 EUR", "300 EUR")}).changes
    assert change.inventory is not None
    assert change.inventory.to_json() == {
        "systems": ["payments"],
        "data": ["customer-pii"],
        "state_changing": True,
        "irreversible": True,
        "sensitive": ["payments"],
    }
    assert "changes state: irreversibly" in change.notes


def test_a_principal_whose_file_is_gone_is_withdrawn() -> None:
    (change,) = planned({P: None, "tests/refunds.yaml": None}).changes
    assert (change.change.value, change.name, change.after) == ("withdraw", "refund-agent", None)


def test_a_changed_system_names_whom_it_touches() -> None:
    (change,) = planned({S: SYSTEM.replace("effect: read", "effect: write")}).changes
    assert [(d.path, d.before, d.after) for d in change.differences] == [
        ("actions.charge.read.effect", "read", "write")
    ]
    assert change.notes == ("reached by refund-agent",)


def test_a_changed_system_tells_whose_risk_it_moves() -> None:
    (change,) = planned({S: SYSTEM.replace("sensitive: true", "sensitive: true\nuntrusted: true")}).changes
    assert change.notes == (
        "reached by refund-agent",
        "the risk of refund-agent becomes critical; it was high",
    )


def test_values_of_environment_variables_are_not_shown() -> None:
    stdio = "upstream: {transport: stdio, command: [x], env: {KEY: %s}}"
    before, after = (
        an_estate({S: SYSTEM.replace('upstream: {transport: http, url: "http://127.0.0.1:9/mcp"}', stdio % value)})
        for value in ("hunter2", "hunter3")
    )
    (change,) = plan(after, registered(before, after)).changes
    assert [(d.path, d.before, d.after) for d in change.differences] == [
        ("upstream.env.KEY", "(not shown)", "(not shown)")
    ]
    (change,) = plan(after, registered(an_estate(), after)).changes
    assert [d.path for d in change.differences] == [
        "upstream.transport", "upstream.command", "upstream.env", "upstream.pass_env", "upstream.url"
    ]  # fmt: skip
    assert "hunter" not in json.dumps(plan(after, registered(an_estate(), after)).to_json())


def test_a_changed_guardrail_shows_its_lines() -> None:
    (change,) = planned({G: GUARDRAIL.replace('irreversible"', 'write"')}).changes
    assert [note for note in change.notes if note.startswith(("-", "+"))] == [
        '-forbid (principal, action in Charter::Action::"irreversible", resource)',
        '+forbid (principal, action in Charter::Action::"write", resource)',
    ]


def test_changed_roles_are_told_field_by_field() -> None:
    (change,) = planned({T: TEAMS.replace("payments-lead: [lena@", "payments-lead: [alex@")}).changes
    assert [(d.path, d.before, d.after) for d in change.differences] == [
        ("roles.payments-lead", ["lena@example.com"], ["alex@example.com"])
    ]


# --- drift ---


@pytest.mark.parametrize(
    ("changed", "note"),
    [
        ({"managed_by": ManagedBy.CONSOLE}, "changed in the console since files were last applied; the file wins"),
        ({"applied_digest": "sha256:other"}, "changed by hand since files were last applied; the file wins"),
        (
            {"is_intact": False, "charter": {}},
            "what is registered was altered in the database: it is not what its digest says; the file wins",
        ),
    ],
)
def test_a_charter_changed_by_hand_is_drift_even_where_it_says_the_same(changed: dict[str, Any], note: str) -> None:
    (change,) = planned({}, principals=principals_with(**changed)).changes
    assert change.change.value == "drift"
    assert change.notes[0] == note


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        ({"owner_team": "nobody"}, "owner.team"),
        ({"owner_person": "eve@example.com"}, "owner.person"),
        ({"expires": dt.date(2099, 1, 1)}, "expires"),
    ],
)
def test_a_registered_principal_that_contradicts_its_charter_is_drift(changed: dict[str, Any], path: str) -> None:
    (change,) = planned({}, principals=principals_with(**changed, charter=None)).changes
    assert change.change.value == "drift"
    assert [d.path for d in change.differences] == [path]


def test_a_system_that_cannot_be_read_any_more_is_drift() -> None:
    known = registered(an_estate()).systems["payments"]
    (change,) = planned({}, systems={"payments": replace(known, is_intact=False, record=None)}).changes
    assert (change.change.value, change.before) == ("drift", change.after)


def test_a_guardrail_changed_by_hand_is_drift() -> None:
    parts = parts_of(an_estate())
    altered = replace(parts[G], body="// gone", is_intact=False)
    (change,) = planned({}, parts=parts | {G: altered}).changes
    assert change.change.value == "drift"
    assert "-// gone" in change.notes


def test_what_files_never_managed_is_left_alone() -> None:
    made_in_console = principals_with(managed_by=ManagedBy.CONSOLE, applied_digest=None)
    assert planned({P: None, "tests/refunds.yaml": None}, principals=made_in_console).changes == ()


def test_a_file_takes_over_what_was_made_in_the_console() -> None:
    made_in_console = principals_with(managed_by=ManagedBy.CONSOLE, applied_digest=None)
    (change,) = planned({}, principals=made_in_console).changes
    assert change.change.value == "drift"


# --- identities ---


def test_a_retired_name_is_never_used_again() -> None:
    with pytest.raises(EstateError) as caught:
        planned({}, principals=principals_with(standing=Standing.RETIRED))
    assert [str(problem) for problem in caught.value.problems] == [
        ("principals/refund-agent.yaml:2:12: `refund-agent` is retired, and a retired name is never used again; "
        "choose a new name, such as refund-agent-2")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [("kind: agent", "kind: copilot", "3:7"), ("environment: production", "environment: staging", "4:14")],
)
def test_an_identity_keeps_its_kind_and_environment(old: str, new: str, where: str) -> None:
    with pytest.raises(EstateError) as caught:
        planned({P: PRINCIPAL.replace(old, new)})
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"{P}:{where}: `refund-agent` is registered with the ")
    assert problem.help == "give the new thing a name of its own"


def test_a_retired_principal_without_a_file_is_not_withdrawn_again() -> None:
    gone = principals_with(standing=Standing.RETIRED)
    assert planned({P: None, "tests/refunds.yaml": None}, principals=gone).changes == ()


def test_a_killed_principal_says_that_applying_does_not_bring_it_back() -> None:
    killed = principals_with(standing=Standing.REVOKED)
    (change,) = planned({P: PRINCIPAL.replace("200 EUR", "300 EUR")}, principals=killed).changes
    assert "it is revoked, and stays so: applying a charter changes no standing" in change.notes


# --- the plan itself ---


def test_a_plan_is_the_same_json_and_digest_each_time() -> None:
    one, other = (planned({P: PRINCIPAL.replace("200 EUR", "300 EUR")}) for _ in range(2))
    assert json.dumps(one.to_json()) == json.dumps(other.to_json())
    assert one.digest == other.digest


def test_a_plan_rests_on_what_is_registered() -> None:
    newer = principals_with(version=2)
    assert planned({}).digest != planned({}, principals=newer).digest


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from(["a", "b", "c", "d"]), unique=True),
    st.lists(st.sampled_from(["a", "b", "c", "d"]), unique=True),
    st.integers(1, 9),
)
def test_a_plan_creates_and_withdraws_exactly_what_differs(before: list[str], after: list[str], amount: int) -> None:
    def estate(names: list[str], most: int) -> Estate:
        files: dict[str, str | None] = {}
        for name in names:
            files |= another_principal(name, **{"200 EUR": f"{most}00 EUR"})
        return an_estate(files)

    found = plan(estate(after, amount), registered(estate(before, 2), estate(after, amount)))
    told = {(c.change.value, c.name) for c in found.changes}
    kept = set(before) & set(after) if amount != 2 else set()
    assert told == (
        {("create", n) for n in set(after) - set(before)}
        | {("withdraw", n) for n in set(before) - set(after)}
        | {("change", n) for n in kept}
    )


_JSON = st.recursive(
    st.one_of(st.booleans(), st.integers(0, 3), st.sampled_from("ab")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
)


@settings(max_examples=100)
@example({"x": [True]}, {"x": [1]})
@given(st.dictionaries(st.sampled_from("xyz"), _JSON), st.dictionaries(st.sampled_from("xyz"), _JSON))
def test_values_differ_exactly_where_a_difference_is_told(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert bool(differences(before, after)) == (json.dumps(before, sort_keys=True) != json.dumps(after, sort_keys=True))


def test_what_a_charter_reaches_is_derived_from_its_grants() -> None:
    charter = a_charter(grants=[{"system": "payments", "actions": ["charge.read"]}])
    reader = inventory_of(charter, {"payments": a_system()})
    assert (reader.is_state_changing, reader.is_irreversible) == (False, False)
    assert reader.lines() == ("systems: payments (sensitive)", "data: customer-pii", "changes state: no")
    assert inventory_of(charter, {}).systems == ("payments",)
