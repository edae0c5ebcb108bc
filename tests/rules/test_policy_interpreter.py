"""Compiled policy, evaluated by Cedar, and a direct reading of charters give the same answers."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import Any

from hypothesis import given, note, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from builders import PAYMENTS_SYSTEM, a_charter, a_system
from charter.policy.central import central_guardrails
from charter.policy.decide import decide
from charter.policy.request import NO_CHAIN, ChainFacts, FlowFacts, build_request
from charter.policy.verdict import Allow, Deny, Escalate, Layer, word
from charter.policy.vocabulary import question_of
from charter.registry.central import Central, read_central
from charter.registry.charter import Charter, ModelUse
from charter.registry.sourced import TextFile
from charter.registry.system import System
from interpreter import Ask, Frozen, Laid, allowing_grants, allows, matches, verdict_of
from policies import ENGINE, an_asker, bound, guards

SOME_FRIDAY = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
CHRISTMAS_EVE = dt.datetime(2026, 12, 24, tzinfo=dt.UTC)
CLOCKS_CHANGE = dt.datetime(2027, 3, 27, 18, tzinfo=dt.UTC)  # Berlin's, on the next morning
ROLES = ("payments-lead", "risk", "owner")
SYSTEM: dict[str, Any] = PAYMENTS_SYSTEM | {
    "actions": PAYMENTS_SYSTEM["actions"]
    | {
        "note.add": {"tool": "add_note", "effect": "write", "object": "note/{charge_id}", "data": []},
        "report": {"tool": "report", "effect": "read", "object": "reports"},
        "upload": {
            "tool": "upload",
            "effect": "write",
            "object": "reports",
            "data": [],
            "amounts": {
                "amount": {"value": "order.cents", "unit": "currency", "per_unit": 100},
                "size": {"value": "bytes", "given_in": "B"},
            },
        },
        "merge": {
            "tool": "merge",
            "effect": "write",
            "object": "reports",
            "data": ["customer-pii", "other"],
            "data_flow": {"read": ["other"]},
        },
    }
}
SYSTEM["groups"] = {
    "small": {"objects": ["charge/c*"], "under": ["note"]},
    "large": {"groups": ["small"], "under": ["charge/d"]},
}
ACTIONS = tuple(SYSTEM["actions"])

numbers = st.sampled_from([-5, 0, 0.1, 5, 5.0, 99.9999, 100, 100.0001, 200, "200.00"])
values = st.one_of(
    numbers,
    st.sampled_from(["a", "ab", "SELECT 1", "DROP", "", "true", "5"]),
    st.sampled_from([["a"], ["a", "ab"], ["a", "b", 5], ["b"], ["a", "\ud800"]]),
    st.sampled_from([True, False, None, [], {}, 0.1 + 0.2, float("nan"), 10**13, "1e2", "\ud800"]),
)
scalars = st.sampled_from(["a", "ab", "5", "true", 5, 0, True, False])
patterns = st.sampled_from(["*", "a*", "*b", "charge/*", "charge/c*", "note/c1", "SELECT *", "*T*", "reports"])


units = st.sampled_from([" EUR", " EUR", " EUR", "", " USD"])
sizes = st.builds(
    lambda bound, size: {bound: size},
    st.sampled_from(["max", "over"]),
    st.sampled_from(["5 kB", "0.005 MB", "1 GB", "5000 B", "5"]),
)
bounds = st.builds(
    lambda bound, number, unit: {bound: number + unit},
    st.sampled_from(["max", "min", "over", "under"]),
    st.sampled_from(["5", "100", "200", "0"]),
    units,
)
choices = st.one_of(
    scalars.map(lambda value: {"equals": value}),
    st.lists(scalars, min_size=1, max_size=3).map(lambda some: {"one_of": some}),
)
likes = patterns.map(lambda text: {"like": text})
mixed = st.builds(dict.__or__, choices, st.one_of(likes, choices))
between = st.builds(
    lambda low, high, unit: {"min": low + unit, "under": high + unit},
    st.sampled_from(["0", "5"]),
    st.sampled_from(["100", "200"]),
    units,
)
lists = st.sampled_from([{"max_items": 1}, {"max_length": 2}, {"each_of": ["a", "ab"]}, {"each_like": "a*"}])
conditions = st.one_of(bounds, bounds, between, choices, likes, mixed, lists)
names = st.sampled_from(["amount", "note", "x y", "order.cents"])
hours = st.sampled_from(
    [
        "08:00-18:00 Europe/Berlin",
        "22:00-06:00 Europe/Berlin",
        "00:00-24:00 UTC",
        "24:00-06:00 UTC",
        "02:00-03:00 Europe/Berlin",
        "09:00-21:00 Asia/Kathmandu",
    ]
)
whens = st.builds(
    dict.__or__,
    st.fixed_dictionaries(
        {},
        optional={
            "hours": hours,
            "days": st.sampled_from(["mon-fri", "sat", "sun,wed"]),
            "workdays": st.sampled_from(["DE-BE", "FR"]),
        },
    ),
    st.one_of(
        st.dictionaries(names, conditions, max_size=2),
        st.builds(lambda size, more: {"size": size} | more, sizes, st.dictionaries(names, conditions, max_size=1)),
    ),
)
limits = st.lists(
    st.sampled_from([{"count": 3, "per": "day"}, {"sum": "amount", "max": "150 EUR", "per": "hour"}]), max_size=2
)
delegated = st.fixed_dictionaries(
    {},
    optional={
        "by": st.lists(st.sampled_from(["humans", "triage"]), min_size=1),
        "roles": st.lists(st.sampled_from(ROLES), min_size=1, max_size=5),
        "purposes": st.lists(st.sampled_from(["disputes", "audit"]), min_size=1),
        "max_depth": st.integers(1, 3),
    },
)
chains = st.one_of(
    st.just(NO_CHAIN),
    st.builds(
        lambda depth, purpose, who, roles: ChainFacts(
            depth, purpose, who, "@" in who, roles if "@" in who else frozenset(), (who, "refund-agent")
        ),
        st.integers(1, 4),
        st.sampled_from(["disputes", "audit", ""]),
        st.sampled_from(["maria@example.com", "triage", "humans"]),
        st.frozensets(st.sampled_from(ROLES)),
    ),
)
approvals = st.builds(
    lambda role, count, when: {"by": role, "when": when} | count,
    st.sampled_from(ROLES[:2]),
    st.sampled_from([{}, {}, {"count": 1}, {"count": 2}]),
    st.dictionaries(names, conditions, max_size=2),
)
grants = st.fixed_dictionaries(
    {
        "system": st.just("payments"),
        "actions": st.one_of(st.just(["*"]), st.lists(st.sampled_from(ACTIONS), min_size=1)),
    },
    optional={
        "objects": st.lists(patterns, min_size=1, max_size=2),
        "under": st.lists(
            st.sampled_from(["charge", "charge/d", "charge/c1", "note", "reports"]), min_size=1, max_size=2
        ),
        "groups": st.lists(st.sampled_from(["small", "large"]), min_size=1, max_size=2),
        "when": whens,
        "delegated": delegated,
        "limit": limits,
        "approval": approvals,
    },
)
classes = st.sampled_from([[], ["customer-pii"], ["other"], ["customer-pii", "other"]])
flows = st.fixed_dictionaries({}, optional={"read": classes, "write": classes, "send": classes})
charters = st.builds(
    lambda grants, data, flow: a_charter(grants=grants, data=data, data_flow=flow),
    st.lists(grants, min_size=1, max_size=3),
    st.sampled_from([["customer-pii"], ["customer-pii", "other"], ["other"]]),
    st.one_of(st.none(), flows),
)
calls = st.tuples(
    st.sampled_from(ACTIONS),
    st.fixed_dictionaries(
        {"charge_id": st.sampled_from(["c1", "d/e"])},
        optional={
            "amount": st.one_of(numbers, values),
            "currency": st.sampled_from(["EUR", "EUR", "USD", "usd", 5]),
            "order": st.sampled_from([{}, {"cents": 100}, {"cents": 10000}, {"cents": 1}, {"cents": "9"}, 5]),
            "order.cents": numbers,
            "bytes": st.sampled_from([1, 5000, 5001, 10**9, 10**12, 0.5]),
            "note": values,
            "x y": values,
        },
    ),
    st.one_of(
        st.integers(0, 11 * 24 * 60).map(lambda minutes: SOME_FRIDAY + dt.timedelta(minutes=minutes)),
        st.integers(0, 5 * 24 * 60).map(lambda minutes: CHRISTMAS_EVE + dt.timedelta(minutes=minutes)),
        st.integers(0, 2 * 24 * 60).map(lambda minutes: CLOCKS_CHANGE + dt.timedelta(minutes=minutes)),
    ),
    st.frozensets(st.sampled_from([*ROLES, "payments-lead/2", "risk/2"]), max_size=3),
    st.booleans(),
    chains,
)


freezes = st.builds(
    lambda start, hours, effects, fits, approval: Frozen(
        start, start + dt.timedelta(hours=hours), effects, dict(fits), approval
    ),
    st.integers(0, 3 * 24).map(lambda hours: SOME_FRIDAY + dt.timedelta(hours=hours)),
    st.sampled_from([60, 24 * 12, 24 * 150]),
    st.frozensets(st.sampled_from(["read", "write", "irreversible"]), min_size=1),
    st.sampled_from(
        [
            (),
            (),
            (("kind", "agent"),),
            (("kind", "copilot"),),
            (("environment", "production"), ("team", "payments-ops")),
        ]
    ),
    st.sampled_from([None, "risk", "security"]),
)
plain = st.builds(
    lambda data: a_charter(grants=[{"system": "payments", "actions": ["*"]}], data=data),
    st.sampled_from([["customer-pii", "other"], ["customer-pii"]]),
)
laid_down = st.builds(
    Laid,
    st.lists(freezes, max_size=2).map(tuple),
    st.dictionaries(
        st.sampled_from(["customer-pii", "other"]),
        st.sampled_from([(), ("anthropic",), ("openai",), ("anthropic", "openai")]),
    ),
)


def central_of(laid: Laid) -> Central:
    """Return the central files that say the same."""
    frozen = [
        {
            "id": f"freeze-{index}",
            "from": each.start.isoformat(),
            "until": each.until.isoformat(),
            "effects": sorted(each.effects),
            "for": {f"{name}s": [wanted] for name, wanted in each.fits.items()},
        }
        | ({"approval": each.approval} if each.approval else {})
        for index, each in enumerate(laid.freezes)
    ]
    classes = {name: {"level": "internal", "providers": list(them)} for name, them in laid.providers.items()}
    files = {
        "calendars.yaml": {"charter": "v1", "freezes": frozen},
        "data.yaml": {"charter": "v1", "classes": classes},
    }
    return read_central([TextFile(path, json.dumps(body)) for path, body in files.items()])


@settings(max_examples=80)
@given(
    st.one_of(plain, charters),
    laid_down,
    st.sampled_from(["anthropic", "openai"]),
    st.sampled_from(["", "", "openai", "mistral"]),
    st.lists(st.tuples(calls, classes.map(frozenset)), min_size=3, max_size=6),
)
def test_what_the_organisation_lays_down_and_a_direct_reading_agree(
    charter: Any, laid: Laid, provider: str, sold_by: str, calls: Any
) -> None:
    """Freezes with scopes and approvals; classes of data to models of providers, by reading, sending and session."""
    charter = charter.model_copy(update={"model": ModelUse(provider=provider, name="m-1")})
    given = {"kind": "model", "upstream": None, "provider": sold_by} if sold_by else {}
    system, central = a_system(**SYSTEM | given), central_of(laid)
    slice_ = bound(charter, system=system, guardrails=central_guardrails(central, ENGINE), central=central)
    for call, session in calls:
        ask, request = asked(charter, system, call)
        ask = dataclasses.replace(ask, laid=laid, session=session)
        request = replace(request, flow=FlowFacts(data=session))
        verdict, opinion = decide(slice_, request, ENGINE), verdict_of(ask, request.approvals)
        note(f"{call} {session} {verdict} {opinion}")
        if isinstance(verdict, Deny) and verdict.reasons[0].layer is Layer.LIMIT:
            continue
        assert word(verdict) == opinion.word
        if isinstance(verdict, Escalate):
            assert len(verdict.approvers) == opinion.fewest


def asked(charter: Charter, system: System, call: Any) -> tuple[Ask, Any]:
    action, arguments, at, roles, restrained, chain = call
    request = build_request(an_asker(charter, restrained=restrained), system, action, arguments, at, roles)
    request = replace(request, chain=chain)
    return Ask(charter, system, action, arguments, request.object, at, restrained, chain), request


@settings(max_examples=250)
@given(
    charters,
    st.sampled_from(["production", "production", "production", "staging"]),
    st.sampled_from(["mcp", "mcp", "model"]),
    st.lists(calls, min_size=4, max_size=8),
)
def test_cedar_and_a_direct_reading_agree(charter: Any, environment: Any, kind: str, calls: Any) -> None:
    given = {"environment": environment, "kind": kind} | ({"upstream": None} if kind == "model" else {})
    system = a_system(**SYSTEM | given)
    slice_ = bound(charter, system=system)
    note(slice_.text)
    for call in calls:
        ask, request = asked(charter, system, call)
        verdict, opinion = decide(slice_, request, ENGINE), verdict_of(ask, request.approvals)
        note(f"{call} {verdict} {opinion}")
        if isinstance(verdict, Deny) and verdict.reasons[0].layer is Layer.LIMIT:
            assert opinion.word != "deny"  # allowed or held, but for a limit that one call alone is over
            continue
        assert word(verdict) == opinion.word
        if isinstance(verdict, Allow):
            used = frozenset(verdict.approvals_used)
            assert {reason.rule for reason in verdict.reasons} <= allowing_grants(ask, used)
            assert allowing_grants(ask, used)
            assert not any(allowing_grants(ask, used - {role}) for role in used)
        if isinstance(verdict, Escalate):
            assert len(verdict.approvers) == opinion.fewest
            assert allowing_grants(ask, frozenset(verdict.approvers))


@settings(max_examples=150)
@given(charters, st.lists(calls, min_size=3, max_size=6))
def test_the_conditions_an_explanation_blames_are_those_that_fail(charter: Any, calls: Any) -> None:
    system = a_system(**SYSTEM)
    slice_ = bound(charter, system=system)
    note(slice_.text)
    for call in calls:
        ask, request = asked(charter, system, call)
        question = question_of(request, slice_.words)
        for grant in slice_.covering("payments", request.action):
            own = charter.grants[int(grant.id.rpartition("-")[2]) - 1]
            is_held = grant.approval is not None and grant.approval.is_needed(question)
            roles = frozenset(grant.approval.seats) if grant.approval else frozenset()
            assert (not grant.failures(question)) == allows(own, ask, roles)
            assert (not grant.failures(question) and not is_held) == allows(own, ask, frozenset())


@settings(max_examples=80)
@given(charters, st.lists(calls, min_size=3, max_size=6))
def test_no_call_is_ever_allowed_outside_its_environment(charter: Any, calls: Any) -> None:
    system = a_system(**SYSTEM | {"environment": "sandbox"})
    slice_ = bound(charter, system=system)
    for call in calls:
        verdict = decide(slice_, asked(charter, system, call)[1], ENGINE)
        assert isinstance(verdict, Deny)


CONDITIONS = (
    "",
    'unless { principal.kind == "agent" }',
    'unless { context.approvals.contains("risk") }',
    "when { resource.sensitive }",
    """unless { context.arguments has amount.quantity
             && context.arguments.amount.quantity.value.lessThan(decimal("100.0")) }""",
    'when { context.arguments has note.text && context.arguments.note.text like "D*" }',
    'when { context.local["America/New_York"].minute < 300 }',
    'when { resource.path like "charge/d*" } unless { context.approvals.containsAny(["owner", "payments-lead"]) }',
)
SCOPES = ("action", 'action in Charter::Action::"irreversible"', 'action == Charter::Action::"payments/note.add"')
guardrails = st.builds(
    "forbid (principal, {}, resource) {};".format, st.sampled_from(SCOPES), st.sampled_from(CONDITIONS)
)


@settings(max_examples=150)
@given(charters, st.lists(guardrails, min_size=1, max_size=3), st.lists(calls, min_size=3, max_size=6))
def test_a_guardrail_never_allows_more(charter: Any, texts: Any, calls: Any) -> None:
    system = a_system(**SYSTEM)
    free, guarded = bound(charter, system=system), bound(charter, system=system, guardrails=guards("\n".join(texts)))
    strength = {"deny": 0, "escalate": 1, "allow": 2}
    for call in calls:
        _, request = asked(charter, system, call)
        note(str(call))
        before, after = decide(free, request, ENGINE), decide(guarded, request, ENGINE)
        assert strength[word(after)] <= strength[word(before)]


def test_the_direct_reading_matches_patterns_as_people_do() -> None:
    assert matches("charge/1", "charge/*")
    assert matches("", "*")
    assert matches("abcbd", "a*b*d")
    assert not matches("charge", "charge/*")
