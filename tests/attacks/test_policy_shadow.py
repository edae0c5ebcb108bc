"""The compiled form of policies lies, or is led astray: what Cedar says beside it stops the call."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from charter.adapters.cedar import CedarEngine
from charter.bootstrap.policy_watch import hear_disagreement
from charter.gateway.pipeline import Refused
from charter.policy.decide import Answer, decide
from charter.policy.expression import NAMES
from charter.policy.program import Program
from charter.policy.shadow import FIRST, CompiledEngine, Disagreement
from charter.policy.slice import bind_slice
from charter.policy.verdict import Allow, Deny, Layer, word
from charter.policy.vocabulary import Words, question_of
from charter.registry.central import NOTHING
from houses import a_house, estate_files
from policies import a_charter, a_request, a_system, guards

WIDE = {"grants": [{"system": "payments", "actions": ["*"]}]}
NARROW = {"grants": [{"system": "payments", "actions": ["*"], "objects": ["x*y*z"]}]}  # asked by `is_like`


def an_engine(**given: Any) -> tuple[CompiledEngine, list[Disagreement]]:
    told: list[Disagreement] = []
    return CompiledEngine(CedarEngine(), told.append, **given), told


def a_slice(engine: CompiledEngine, charter: Any, guardrails: str = "") -> Any:
    return bind_slice(charter, {}, {"payments": a_system()}, guards(guardrails) if guardrails else (), engine, NOTHING)


def test_a_compiled_form_that_allows_too_much_is_found_before_its_first_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, told = an_engine()
    charter = a_charter(**NARROW)
    slice_, request = a_slice(engine, charter), a_request(charter=charter)
    with monkeypatch.context() as planted:
        planted.setitem(NAMES, "is_like", lambda _text, _parts: True)
        verdict = decide(slice_, request, engine)
    assert isinstance(verdict, Deny)
    assert verdict.reasons[0].layer is Layer.POLICY_ERROR
    assert "do not agree" in verdict.reasons[0].text
    (found,) = told
    assert (found.principal, found.action) == ("refund-agent", "payments/refund.create")
    assert found.compiled.allowed is True
    assert found.reference.allowed is False


def test_a_compiled_form_that_denies_too_much_is_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, told = an_engine()
    charter = a_charter(grants=[{"system": "payments", "actions": ["*"], "objects": ["c*ge*1"]}])
    slice_, request = a_slice(engine, charter), a_request(charter=charter)
    monkeypatch.setitem(NAMES, "is_like", lambda _text, _parts: False)
    assert isinstance(decide(slice_, request, engine), Deny)
    assert told
    assert isinstance(decide(slice_, request, engine), Allow)  # by Cedar, from now on


def test_after_one_disagreement_no_compiled_policy_of_any_slice_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, told = an_engine()
    wide, narrow = a_charter(**WIDE), a_charter(**NARROW)
    first, second = a_slice(engine, wide), a_slice(engine, narrow)
    monkeypatch.setitem(NAMES, "is_like", lambda _text, _parts: True)
    decide(second, a_request(charter=narrow), engine)
    assert not engine.is_trusted
    monkeypatch.setattr(Program, "find", lambda *_: pytest.fail("a compiled policy was evaluated"))
    assert isinstance(decide(first, a_request(charter=wide), engine), Allow)
    for _ in range(3):
        assert isinstance(decide(second, a_request(charter=narrow), engine), Deny)
    assert len(told) == 1


def test_a_fault_that_shows_itself_late_is_found_by_sampling(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, told = an_engine(every=50)
    charter = a_charter(**NARROW)
    slice_, request = a_slice(engine, charter), a_request(charter=charter)
    for _ in range(FIRST):
        decide(slice_, request, engine)
    monkeypatch.setitem(NAMES, "is_like", lambda _text, _parts: True)
    words = [word(decide(slice_, request, engine)) for _ in range(60)]
    assert "allow" in words  # what sampling means: some may pass before it
    assert told
    assert words[-1] == "deny"


def test_an_error_is_never_the_compiled_forms_word_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the code raises, Cedar is asked; if Cedar sees no error, the two disagree and the call is denied."""
    engine, told = an_engine()
    charter = a_charter(**NARROW)
    slice_, request = a_slice(engine, charter), a_request(charter=charter)

    def boom(_text: str, _parts: Any) -> bool:
        raise ZeroDivisionError

    monkeypatch.setitem(NAMES, "is_like", boom)
    assert isinstance(decide(slice_, request, engine), Deny)
    assert told


def test_a_policy_that_errs_denies_with_the_words_of_cedar() -> None:
    """Its slice was validated, so nothing can err; should something err after all, both sides say so."""
    engine, told = an_engine()
    charter = a_charter(**WIDE)
    slice_, request = a_slice(engine, charter), a_request(charter=charter)
    policies = engine.parse("permit (principal, action, resource) when { context.approvals.missing == 1 };")
    program = engine.bind({"x": policies[0]}, {"payments/refund.create": "irreversible"})
    broken = replace(slice_, authority=replace(slice_.authority, program=program))
    verdict = decide(broken, request, engine)
    assert isinstance(verdict, Deny)
    assert verdict.reasons[0].layer is Layer.POLICY_ERROR
    assert not told


def test_what_is_not_modelled_is_decided_by_cedar() -> None:
    engine, told = an_engine()
    charter = a_charter(**WIDE)
    rail = 'forbid (principal, action, resource) when { {a: resource.path}.a == "charge/ch_1" };'
    slice_ = a_slice(engine, charter, rail)
    assert slice_.program.program is None
    assert isinstance(decide(slice_, a_request(charter=charter), engine), Deny)
    free = a_request(charter=charter, arguments={"charge_id": "ch_2"})
    assert isinstance(decide(slice_, free, engine), Allow)
    assert not told


def test_a_question_about_an_action_that_the_slice_has_none_of_is_put_to_cedar() -> None:
    engine, _ = an_engine()
    charter = a_charter(grants=[{"system": "payments", "actions": ["charge.read"]}])
    slice_ = a_slice(engine, charter)
    question = question_of(a_request(charter=charter), Words())
    assert engine.evaluate(slice_.program, question, frozenset()).allowed is False


def test_policies_bound_by_another_engine_are_refused() -> None:
    engine, _ = an_engine()
    with pytest.raises(Exception, match="another engine"):
        engine.evaluate(object(), None, frozenset())  # type: ignore[arg-type]


def test_a_call_that_the_two_disagree_about_is_denied_recorded_and_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = {"system": "payments", "actions": ["charge.read"], "objects": ["x*y*z"]}
    with a_house(tmp_path, files=estate_files(grants=[grant])) as stage:
        bearer, call = stage.bearer(), stage.make("get_charge", {"charge_id": "ch_1"})
        monkeypatch.setitem(NAMES, "is_like", lambda _text, _parts: True)
        answer, _ = stage.submit(bearer, call)
        assert isinstance(answer, Refused)
        assert answer.verdict.reasons[0].layer is Layer.POLICY_ERROR
        stage.house.database.write(lambda _tx: None)  # behind the finding
        findings = stage.house.database.read(lambda tx: tx.registry.findings.in_states())
        (found,) = [each for each in findings if each.kind == "policy-disagreement"]
        assert (found.body["compiled"]["allowed"], found.body["cedar"]["allowed"]) == (True, False)
        (entry,) = [each for each in stage.entries("finding.opened") if each["body"]["finding"] == found.id]
        assert entry["body"]["principal"] == "refund-agent"
        assert stage.upstream.calls == []


def test_a_disagreement_outside_any_loop_is_recorded_too(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        ours, theirs = Answer(True, ("refund-agent/grant-1",), ()), Answer(False, (), ())
        hear_disagreement(stage.house, Disagreement("refund-agent", "payments/refund.create", ours, theirs))
        assert stage.entries("finding.opened")
