"""`charter test` on real estates: tables, properties proven and searched, what tests touch, and JUnit's XML."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from charter.bootstrap import trials, why, worlds
from charter.bootstrap.estate import check_texts
from charter.cli.junit import junit
from charter.core.clock import parse_rfc3339
from charter.gateway.hypothetical import Supposed, SupposedChain
from charter.policy.property import Party, claims_of
from charter.policy.property_search import Search
from charter.policy.slice import bind_slice
from charter.registry.manifest import parse_estate
from estates import another_principal, estate_files
from fakes import FixedClock

TODAY = FixedClock().now().date()


def a_file(text: str) -> dict[str, str]:
    return {"tests/p.yaml": "charter: v1\n" + text}


def ran(files: dict[str, str], tests: str) -> trials.TestReport:
    own = {path: text for path, text in files.items() if not path.startswith("tests/")}
    return trials.run(check_texts(own | a_file(tests), TODAY), FixedClock())


def held(files: dict[str, str], *said: str) -> list[trials.PropertyResult]:
    """Return what is known of properties, each written as the part behind its name."""
    lines = "".join(f"  - name: p{number}\n    {each}\n" for number, each in enumerate(said))
    return list(ran(files, f"properties:\n{lines}").properties)


ESTATE = estate_files() | another_principal("night-agent", **{"kind: agent": "kind: workflow"})


@pytest.mark.parametrize(
    "said",
    [
        "never: {actions: refund.create, when: {amount: {over: 200 EUR}}}",
        "never: {actions: refund.create, when: {amount: {over: 100 EUR}}, unapproved: true}",
        "never: {principals: {environment: sandbox, name: refund-agent}, systems: {environment: production}}",
        "never: {actions: payments/refund.create, objects: invoice/*}",
        "only: {name: [refund-agent, night-agent]}\n    may: {effects: irreversible}",
        "always: {actions: refund.create, when: {amount: {over: 100 EUR}}}\n    approved_by: payments-lead",
        "never: {actions: charge.read, when: {hours: '19:00-07:00 Europe/Berlin'}}",
        "always: {actions: charge.read, when: {hours: '09:00-17:00 Europe/Berlin', days: mon, amount: {max: 9 EUR}}}",
    ],
)
def test_a_property_that_holds_of_all_calls_is_proven_or_speaks_of_nothing(said: str) -> None:
    (found,) = held(ESTATE, said)
    assert found.state in ("holds", "empty"), found.why
    assert found.counterexample is None
    assert found.passed


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ("never: {actions: refund.create, when: {amount: {over: 199 EUR}}}", "allow"),
        ("never: {actions: refund.create, when: {amount: {over: 99 EUR}}, unapproved: true}", "allow"),
        ("never: {principals: {environment: production}, effects: read}", "allow"),
        ("only: {name: refund-agent}\n    may: {effects: irreversible}", "allow"),
        ("only: {kind: agent}\n    may: {actions: payments/charge.read}", "allow"),
        ("always: {actions: refund.create}\n    approved_by: payments-lead", "allow"),
        ("always: {principals: {name: refund-agent}, actions: charge.read}", "deny"),
        ("always: {principals: {name: refund-agent}, actions: refund.create, when: {amount: {max: 150 EUR}}}", None),
    ],
)
def test_a_property_that_fails_shows_one_call_that_the_engine_decides_so(said: str, verdict: str | None) -> None:
    (found,) = held(ESTATE, said)
    assert found.state == "fails", found.why
    call = found.counterexample
    assert call is not None
    assert verdict in (None, call["verdict"])
    again = asked(call)
    assert again["verdict"] == call["verdict"]
    assert again["reasons"][0]["rule"] == call["rule"]


def asked(call: dict[str, Any]) -> dict[str, Any]:
    """Return what `charter why --files` says of a counterexample, which holds exactly what that command takes."""
    chain = call.get("chain")
    supposed = Supposed(
        call["principal"],
        call["system"],
        call["action"],
        parse_rfc3339(call["at"]),
        call["arguments"],
        approvals=tuple(call.get("approvals", ())),
        chain=SupposedChain(chain["initiator"], (), tuple(chain["roles"]), chain["purpose"]) if chain else None,
    )
    pin = f"pin: sha256:{'1' * 64}"
    system = ESTATE["systems/payments.yaml"].replace("tool: get_charge", f"{pin}, tool: get_charge")
    system = system.replace("tool: create_refund", f"tool: create_refund\n    {pin}")
    return why.supposed_in(ESTATE | {"systems/payments.yaml": system}, supposed, TODAY)


def test_a_property_that_means_nothing_here_says_so() -> None:
    (found,) = held(ESTATE, "never: {principals: {environment: sandbox}, systems: {environment: production}}")
    assert (found.state, found.passed) == ("empty", True)
    assert "no principal and action of this estate is meant" in found.why


def test_what_cannot_be_proven_is_searched_and_never_said_to_hold() -> None:
    """A rule outside what is proven: the search still finds what speaks against a property, and claims nothing else."""
    odd = 'forbid (principal, action, resource) when { ip("10.0.0.1").isLoopback() };'
    files = ESTATE | {"guardrails/odd.cedar": odd}
    safe, unsafe = held(
        files,
        "never: {actions: refund.create, when: {amount: {over: 200 EUR}}}",
        "never: {actions: refund.create, when: {amount: {over: 150 EUR}}}",
    )
    assert safe.state == "searched"
    assert safe.why.startswith("searched, not proven: ")
    assert safe.calls > 10
    assert unsafe.state == "fails"
    assert unsafe.counterexample is not None
    assert unsafe.counterexample["verdict"] == "allow"


def test_the_search_alone_finds_what_the_proof_finds() -> None:
    said = "{name: p, never: {actions: refund.create, when: {amount: {over: 199 EUR}}}}"
    own = {path: text for path, text in ESTATE.items() if not path.startswith("tests/")}
    estate = parse_estate(own | a_file(f"properties: [{said}]"))
    by = worlds.engine()
    systems = {name: part.value for name, part in estate.systems.items()}
    part = estate.charters["refund-agent"]
    bound = bind_slice(part.value, part.sources, systems, (), by, estate.central)
    (claim,) = claims_of(estate.properties[0].value, [Party(part.value, bound)], systems).claims
    with_class = bind_slice(part.value, part.sources, systems, [claim.rule(by)], by, estate.central)
    found = Search(claim, Party(part.value, bound), with_class, systems["payments"], by, FixedClock().now()).run()
    assert found.found is not None
    assert 199 < float(found.found.request.arguments["amount"]) <= 200


# --- tables -----------------------------------------------------------------------------------------------------------

CASE = "  - {{name: c, principal: refund-agent, system: payments, action: refund.create, {0}}}\n"
SMALL = "arguments: {charge_id: ch_1, amount: 80, currency: EUR}, at: '2026-11-24T10:00:00+01:00'"
LARGE = "arguments: {charge_id: ch_1, amount: 150, currency: EUR}, at: '2026-11-24T10:00:00+01:00'"


@pytest.mark.parametrize(
    ("said", "passes"),
    [
        (f"{SMALL}, expect: allow, rule: refund-agent/grant-1", True),
        (f"{SMALL}, expect: allow, limits: [50 calls per day, 2000 EUR of `amount` per day]", True),
        (f"{SMALL}, expect: allow, limits: [50 calls per day]", False),
        (f"{SMALL}, expect: deny", False),
        (f"{LARGE}, expect: escalate, approvers: [payments-lead], link: refund-agent", True),
        (f"{LARGE}, expect: escalate, approvers: [payments-risk]", False),
        (f"{LARGE}, expect: escalate, approvers: []", False),
        (f"{LARGE}, approvals: [payments-lead], expect: allow, approvers: []", True),
        ("arguments: {charge_id: ch_1}, expect: deny, because: this call gives no `amount`, mend: send `amount`", True),
        ("arguments: {charge_id: ch_1}, expect: deny, mend: pay more", False),
        ("arguments: {charge_id: '../x'}, expect: deny, layer: charter, rule: built-in/arguments", True),
        (f"{SMALL}, chain: {{initiator: maria@example.com, purpose: dispute-handling}}, expect: allow", True),
        (f"{SMALL}, chain: {{initiator: night-agent, depth: 1}}, expect: allow", True),
        (f"{SMALL}, chain: {{initiator: night-agent}}, expect: deny, link: night-agent", False),
    ],
)
def test_a_case_says_as_much_of_the_answer_as_it_cares_about(said: str, passes: bool) -> None:
    (result,) = ran(ESTATE, "tests:\n" + CASE.format(said)).results
    assert result.passed is passes, result.why


def test_every_link_of_a_chain_is_asked() -> None:
    written = estate_files()["principals/refund-agent.yaml"]
    head, _, rest = written.partition("grants:\n")
    reads = "  - {system: payments, actions: [charge.read]}\n"
    reader = head.replace("refund-agent", "charge-reader") + "grants:\n" + reads + rest.partition("payments-lead}\n")[2]
    files = estate_files() | {"principals/charge-reader.yaml": reader}
    denied = "expect: deny, link: charge-reader"
    said = f"{SMALL}, chain: {{initiator: charge-reader}}, {denied}, because: has no grant for"
    through = f"{SMALL}, chain: {{initiator: maria@example.com, through: [charge-reader]}}, {denied}"
    for each in (said, through):
        (result,) = ran(files, "tests:\n" + CASE.format(each)).results
        assert result.passed, result.why


# --- coverage ---------------------------------------------------------------------------------------------------------


def test_coverage_counts_what_each_rule_can_do_and_names_what_no_case_shows() -> None:
    nothing = ran(estate_files({"tests/refunds.yaml": None}), "properties: [{name: p, never: {effects: write}}]")
    some = ran(estate_files(), "tests:\n" + CASE.format(f"{LARGE}, expect: escalate"))
    assert nothing.coverage.percent == 0
    assert 0 < some.coverage.percent < 100
    missing = {str(each.what) for each in some.coverage.missing if each.rule == "refund-agent/grant-1"}
    assert "objects like `charge/*`: stops" in missing
    assert "`amount` up to 200 EUR: stops" in missing
    assert "a call waits for its approval" not in missing
    told = some.to_json()["coverage"]
    assert told["touched"] + len(told["missing"]) == told["of"]


# --- JUnit ------------------------------------------------------------------------------------------------------------

ATTRIBUTES = {  # of the strict schema that Jenkins reads by (junit-10.xsd)
    "testsuites": {"name", "time", "tests", "failures", "errors"},
    "testsuite": {
        "name", "tests", "failures", "errors", "group", "time", "skipped", "timestamp", "hostname", "id", "package",
        "file", "log", "url", "version",
    },
    "testcase": {"name", "time", "classname", "group"},
    "failure": {"type", "message"},
    "system-out": set(),
}  # fmt: skip
CHILDREN = {"testsuites": {"testsuite"}, "testsuite": {"testcase"}, "testcase": {"failure", "system-out"}}


def test_junit_holds_every_case_and_property_and_nothing_that_the_strict_schema_has_not() -> None:
    cases = CASE.format(f"{SMALL}, expect: deny") + CASE.format(f"{SMALL}, expect: allow").replace("name: c", "name: d")
    report = ran(ESTATE, f"tests:\n{cases}properties: [{{name: q, never: {{effects: read}}}}]")
    root = ET.fromstring(junit(report.to_json(), 1.5))  # noqa: S314 - our own bytes
    for each in root.iter():
        assert set(each.attrib) <= ATTRIBUTES[each.tag], each.tag
        assert {child.tag for child in each} <= CHILDREN.get(each.tag, set())
    assert root.attrib == {"name": "charter test", "tests": "3", "failures": "2", "errors": "0", "time": "1.500"}
    suites = {suite.get("name"): suite for suite in root}
    assert set(suites) == {"tests/p.yaml"}
    failures = [each.get("message") or "" for each in suites["tests/p.yaml"].iter("failure")]
    assert failures[0].startswith("expected deny, got allow: ")
    assert "is allowed by" in failures[1]
    assert sum(int(suite.get("tests") or 0) for suite in root) == 3


@pytest.mark.parametrize("name", ["a\x00b\x1bc", "<script>&amp;", "quote \" and ' ", "\ud800 lone", "emoji 🎉", "]]>"])
def test_junit_is_well_formed_whatever_a_name_holds(name: str) -> None:
    result = {"name": name, "source": f"tests/{name}.yaml:3:1", "passed": False, "why": name}
    result |= {"expected": "allow", "got": name}
    told = {"results": [result], "properties": [], "passed": 0, "failed": 1}
    (case,) = ET.fromstring(junit(told, 0)).iter("testcase")  # noqa: S314
    assert case.get("name")
    assert json.dumps(case.get("name"))
