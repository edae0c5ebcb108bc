"""Where Cedar itself would let a broken policy vanish, or could not decide: Charter denies, and names the policy.

Cedar skips a policy whose evaluation errs. A `forbid` that reads an attribute which is not there is then as if it had
never been written, and the call is allowed. Each test that rests on this puts the same policies to raw cedarpy first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cedarpy
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from builders import a_charter, a_system
from charter.adapters.cedar import CedarEngine
from charter.adapters.tables import estate_part
from charter.bootstrap.house import House
from charter.core.canonical import digest
from charter.core.errors import CharterError, ErrorCode, UnavailableError
from charter.gateway.pipeline import Admitted, Refused
from charter.policy.builtin import BUILT_IN
from charter.policy.decide import Answer, Evaluator, decide
from charter.policy.shadow import CompiledEngine
from charter.policy.slice import Slice, bind_slice
from charter.policy.verdict import Allow, Deny, Layer
from charter.policy.vocabulary import Question
from charter.registry.central import NOTHING
from charter.registry.problem import EstateError
from houses import Stage, a_house, estate_files
from policies import REFUND, a_request, bound, guards

READ = {"charge_id": "ch_1"}
PERMIT = "permit (principal, action, resource);"
# A forbid that errs on this question, in each of the ways in which Cedar can err.
ERRING = {
    "an attribute that is missing": "context.arguments.nothing.number > 100",
    "an attribute of a missing record": "resource.owner.team == principal.team",
    "a comparison of two kinds": 'principal.team > 100 || principal.team == "x"',
    "an overflow": "9223372036854775807 + principal.team.size == 0",
    "a number that is none": 'decimal("not a number").lessThan(decimal("1.0"))',
    "an entity that is not there": 'Charter::Principal::"nobody".team == "x"',
}


@pytest.fixture(params=["cedar", "compiled"])
def engine(request: pytest.FixtureRequest) -> Any:
    return CedarEngine() if request.param == "cedar" else CompiledEngine(CedarEngine(), lambda _: None)


def rebound(slice_: Slice, engine: Any, *forbids: str) -> Slice:
    """Return a slice whose program holds policies that were never validated beside its own grants."""
    grants = {each.id: engine.parse(each.text)[0] for each in slice_.grants}
    added = {f"broken-{number}": engine.parse(text)[0] for number, text in enumerate(forbids)}
    program = engine.bind(grants | added, dict.fromkeys(slice_.granted, "irreversible"))
    return replace(slice_, authority=replace(slice_.authority, program=program))


def plain_slice(engine: Any) -> Slice:
    """Return a slice that allows the refund of `policies.REFUND` without more ado."""
    charter = a_charter(grants=[{"system": "payments", "actions": ["charge.read", "refund.create"]}])
    system = a_system()
    return bind_slice(charter, {}, {"payments": system}, (), engine, NOTHING)


def ask(slice_: Slice, engine: Any) -> Allow | Deny | Any:
    charter = a_charter(grants=[{"system": "payments", "actions": ["charge.read", "refund.create"]}])
    return decide(slice_, a_request("refund.create", REFUND, charter=charter), engine)


def raw(policies: str, question: dict[str, Any]) -> Any:
    """Return what cedarpy itself says."""
    entities = [
        {"uid": {"type": "Charter::Principal", "id": "refund-agent"}, "attrs": {"team": "payments-ops"}, "parents": []},
        {"uid": {"type": "Charter::Object", "id": "payments/charge/ch_1"}, "attrs": {}, "parents": []},
    ]
    return cedarpy.is_authorized(question, policies, entities)


QUESTION = {
    "principal": 'Charter::Principal::"refund-agent"',
    "action": 'Charter::Action::"payments/refund.create"',
    "resource": 'Charter::Object::"payments/charge/ch_1"',
    "context": {"arguments": {}},
}


@pytest.mark.parametrize("name", ERRING)
def test_a_forbid_that_errs_denies_though_cedar_itself_allows(engine: Any, name: str) -> None:
    forbid = f"forbid (principal, action, resource) when {{ {ERRING[name]} }};"
    alone = raw(PERMIT + forbid, QUESTION)
    assert alone.decision is cedarpy.Decision.Allow
    assert alone.diagnostics.errors

    slice_ = plain_slice(engine)
    assert isinstance(ask(slice_, engine), Allow)
    verdict = ask(rebound(slice_, engine, forbid), engine)
    assert isinstance(verdict, Deny)
    assert verdict.reasons[0].layer is Layer.POLICY_ERROR
    assert "broken-0" in verdict.reasons[0].text + verdict.reasons[0].rule


def test_a_permit_that_errs_denies_too(engine: Any) -> None:
    """Cedar would allow by the grant that does not err; nothing may rest on a set that cannot be evaluated whole."""
    broken = "permit (principal, action, resource) when { context.arguments.nothing.number > 1 };"
    assert raw(PERMIT + broken, QUESTION).decision is cedarpy.Decision.Allow
    verdict = ask(rebound(plain_slice(engine), engine, broken), engine)
    assert isinstance(verdict, Deny)
    assert verdict.reasons[0].layer is Layer.POLICY_ERROR


def test_a_policy_that_no_grant_of_the_charter_is_allows_nothing(engine: Any) -> None:
    """A permit that got into the set by another way than a grant is no ground for an allow."""
    whole = plain_slice(engine)
    bare = replace(whole, authority=replace(whole.authority, grants=()))
    verdict = ask(rebound(bare, engine, PERMIT), engine)
    assert isinstance(verdict, Deny)
    assert "by no grant of this charter" in verdict.reasons[0].text


def test_no_policy_denies() -> None:
    verdict = decide(None, a_request(), CedarEngine())
    assert isinstance(verdict, Deny)
    assert verdict.reasons[0].layer is Layer.POLICY_ERROR or "no policy" in verdict.reasons[0].text


def test_a_slice_of_another_principal_denies(engine: Any) -> None:
    slice_ = plain_slice(engine)
    other = a_charter(principal="charge-reader")
    for charter in (other, a_charter(environment="sandbox"), a_charter(owner={"person": "a@b.example", "team": "x"})):
        assert isinstance(decide(slice_, a_request(charter=charter), engine), Deny)


class Speaks:
    """An evaluator that says one thing, whatever it is asked."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def evaluate(self, program: object, question: Question, approvals: frozenset[str]) -> Answer:  # noqa: ARG002
        return self.answer


@pytest.mark.parametrize(
    "answer",
    [
        Answer(None, (), ()),
        Answer(None, (), ("Cedar made no decision",)),
        Answer(None, ("refund-agent/grant-1",), ()),
        Answer(True, (), ()),
        Answer(True, ("policy0",), ()),
        Answer(True, ("refund-agent/grant-1",), ("error while evaluating policy `x`",)),
        Answer(True, ("refund-agent/grant-1", "guardrail/x"), ()),
    ],
)
def test_an_answer_that_is_not_clearly_yes_denies(answer: Answer) -> None:
    evaluator: Evaluator = Speaks(answer)
    assert isinstance(decide(plain_slice(CedarEngine()), a_request(charter=a_charter()), evaluator), Deny)


@settings(max_examples=100)
@given(
    st.sampled_from([True, False, None]), st.lists(st.sampled_from(["refund-agent/grant-1", "x"])), st.lists(st.text())
)
def test_nothing_but_a_clean_yes_by_a_grant_allows(allowed: bool | None, rules: list[str], errors: list[str]) -> None:
    evaluator: Evaluator = Speaks(Answer(allowed, tuple(rules), tuple(errors)))
    charter = a_charter(grants=[{"system": "payments", "actions": ["charge.read", "refund.create"]}])
    verdict = decide(plain_slice(CedarEngine()), a_request("refund.create", REFUND, charter=charter), evaluator)
    clean = allowed is True and not errors and rules != [] and set(rules) == {"refund-agent/grant-1"}
    assert isinstance(verdict, Allow) == clean


def test_where_cedar_makes_no_decision_the_call_is_denied() -> None:
    """A request that Cedar cannot read is its third decision; half a surrogate pair in an id is one."""
    assert raw("permit (", QUESTION).decision is cedarpy.Decision.NoDecision
    engine = CedarEngine()
    slice_ = plain_slice(engine)
    charter = a_charter(grants=[{"system": "payments", "actions": ["charge.read", "refund.create"]}])
    asked = structs.replace(a_request("refund.create", REFUND, charter=charter), object="charge/\ud800")
    with pytest.raises(UnicodeEncodeError):
        asked.object.encode()
    assert isinstance(decide(slice_, asked, engine), Deny)


# --- policies that must not come to be ---

SMUGGLED = {
    "a permit": "permit (principal, action, resource);",
    "a permit behind a comment": "// forbid\npermit (principal, action, resource);",
    "a permit behind a forbid": "forbid (principal, action, resource); permit (principal, action, resource);",
    "a template": "forbid (principal == ?principal, action, resource);",
    "a forbid without its end": "forbid (principal, action, resource)",
    "a type that is not there": 'forbid (principal == User::"x", action, resource);',
    "an attribute that is not there": "forbid (principal, action, resource) when { principal.salary > 1 };",
    "a comparison of two kinds": "forbid (principal, action, resource) when { principal.team > 1 };",
    "a condition that is no condition": "forbid (principal, action, resource) when { principal.team };",
    "an id that breaks": '@id("x\\") permit (principal, action, resource);//")\nforbid (principal, action, resource);',
    "an id of a grant": '@id("refund-agent/grant-1") forbid (principal, action, resource);',
    "two of one id": '@id("x") forbid (principal, action, resource); @id("x") forbid (principal, action, resource);',
    "letters that only look right": "fоrbid (principal, action, resource);",  # noqa: RUF001 - a Cyrillic o
    "a hidden character": "forbid (principal, action, resource)\u200b;",
    "text read backwards": 'forbid (principal, action, resource) when { principal.team == "\u202e" };',
    "depth without end": f"forbid (principal, action, resource) when {{ {'(' * 5000}true{')' * 5000} }};",
    "negation without end": f"forbid (principal, action, resource) when {{ {'!' * 5000}true }};",
    "approvals that nobody could name": 'forbid (principal, action, resource) unless { context.approvals == ["x"] };',
    "no policy at all": "this is no policy",
    "a zone that is none": 'forbid (principal, action, resource) when { context.local["Mars/Base"].minute < 5 };',
    "a system that is not there": 'forbid (principal, action, resource in Charter::System::"paymemts");',
    "an action that is not there": 'forbid (principal, action == Charter::Action::"payments/refund.make", resource);',
    "a principal that is not there": 'forbid (principal == Charter::Principal::"refund-agemt", action, resource);',
    "a role that is not there": 'forbid (principal, action, resource) unless { context.approvals.contains("boss") };',
}


@pytest.fixture(scope="module")
def house_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with a_house(tmp_path_factory.mktemp("house")) as stage:
        yield stage


@pytest.mark.parametrize("name", SMUGGLED)
def test_a_guardrail_that_does_not_hold_is_never_applied(house_stage: Stage, name: str) -> None:
    """It is refused with its place, and what was in force stays in force: nothing is half applied."""
    stage = house_stage
    before = (stage.house.live.policy_generation, len(stage.entries("guardrails.applied")))
    with pytest.raises(EstateError) as refused:
        stage.apply(estate_files() | {"guardrails/x.cedar": SMUGGLED[name]})
    assert all(problem.path == "guardrails/x.cedar" and problem.line >= 1 for problem in refused.value.problems)
    assert before == (stage.house.live.policy_generation, len(stage.entries("guardrails.applied")))
    assert isinstance(stage.submit(stage.bearer(), stage.make("get_charge", READ))[0], Admitted)


GOOD = "forbid (principal, action, resource) when { context.arguments has amount };"


INVALID = "forbid (principal, action, resource) when { principal.pay > 1 };"


# Who can write digests too can leave a guardrail out altogether: the log still holds that it was applied.
@pytest.mark.parametrize(
    ("kept", "digest_too"),
    [("", False), *((text, digest_too) for text in ("forbid (", PERMIT, INVALID) for digest_too in (False, True))],
)
def test_a_guardrail_that_was_changed_where_it_is_kept_denies_everyone(
    tmp_path: Path, kept: str, digest_too: bool
) -> None:
    """Someone with the database's file puts another text in its place: nothing, what breaks, or what would widen."""
    with a_house(tmp_path, files=estate_files() | {"guardrails/x.cedar": GOOD}) as stage:
        for changed in (False, True):
            if changed:
                rewrite_guardrail(stage.house, kept, digest_too=digest_too)
                stage.house.live.policy_generation += 1  # so that it is read again
            for tool, arguments in (("create_refund", REFUND), ("get_charge", READ)):
                found, _ = stage.submit(stage.bearer(), stage.make(tool, arguments))
                if changed:
                    assert isinstance(found, Refused)
                    assert found.verdict.reasons[0].layer is Layer.POLICY_ERROR
        assert [call.tool for call in stage.upstream.calls] == ["get_charge"]


def rewrite_guardrail(house: House, text: str, *, digest_too: bool) -> None:
    values = {"body": text} | ({"digest": digest(text.encode())} if digest_too else {})

    def work(tx: Any) -> None:
        tx.connection.execute(sa.update(estate_part).where(estate_part.c.kind == "guardrail").values(**values))

    house.database.write(work)


def test_a_store_that_cannot_give_the_charter_denies(tmp_path: Path) -> None:
    def broken(_: Any) -> Any:
        raise UnavailableError(ErrorCode.STORE_FAILED, "the charter cannot be read")

    with a_house(tmp_path) as stage:
        bearer = stage.bearer()
        stage.house.slices._load = broken
        found, _ = stage.submit(bearer, stage.make("get_charge", READ))
        assert isinstance(found, Refused)
        assert found.verdict.reasons[0].layer is Layer.POLICY_ERROR
        assert stage.upstream.calls == []


# --- text that would become policy ---

TEXTS = st.text(
    alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Zl", "Zp"]), min_size=1, max_size=30
) | st.sampled_from(
    [
        '" || true || "',
        '*" }; permit (principal, action, resource); //',
        "\\",
        '\\"',
        "*/ permit(principal,action,resource);",
        '@id("x")',
        "'; --",
        "${x}",
        "\\u{0}",
    ]
)


@settings(max_examples=60)
@given(pattern=TEXTS, value=TEXTS, name=TEXTS)
def test_no_text_of_a_charter_becomes_policy(pattern: str, value: str, name: str) -> None:
    """Whatever stands in objects and conditions: the grant reads back as one policy, and allows what it says alone."""
    when = {"arguments": {name: {"equals": value}}}
    grant = {"system": "payments", "actions": ["refund.create"], "objects": [pattern], "when": when}
    try:
        charter = a_charter(grants=[grant])
        slice_ = bound(charter)
    except (ValueError, CharterError):
        return  # refused before it could become policy
    effects = [each["effect"] for each in CedarEngine().parse(slice_.text)]
    assert effects == ["forbid"] * len(BUILT_IN) + ["permit"]
    elsewhere = a_request("refund.create", {"charge_id": "elsewhere", name: f"not {value}"}, charter=charter)
    assert isinstance(decide(slice_, elsewhere, CedarEngine()), Deny)


@settings(max_examples=60)
@given(arguments=st.dictionaries(TEXTS, TEXTS | st.integers() | st.booleans(), max_size=4))
def test_no_argument_of_a_call_becomes_policy(arguments: dict[str, Any]) -> None:
    charter = a_charter(grants=[{"system": "payments", "actions": ["refund.create"], "objects": ["charge/ch_1"]}])
    slice_ = bound(charter)
    asked = a_request(
        "refund.create",
        {"charge_id": "ch_2"} | {k: v for k, v in arguments.items() if k != "charge_id"},
        charter=charter,
    )
    assert isinstance(decide(slice_, asked, CedarEngine()), Deny)


def test_a_guardrail_wins_over_every_grant() -> None:
    stop = guards("forbid (principal, action, resource);")
    for grants in (
        [{"system": "payments", "actions": ["*"]}],
        [{"system": "payments", "actions": ["refund.create"]}] * 3,
    ):
        charter = a_charter(grants=grants)
        verdict = decide(bound(charter, guardrails=stop), a_request(charter=charter), CedarEngine())
        assert isinstance(verdict, Deny)
        assert verdict.reasons[0].layer is Layer.GUARDRAIL
