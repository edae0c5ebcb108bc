"""Proof under attack: nothing is called safe by contradiction, overflow, endless patterns, lies, forged proofs."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from builders import a_charter, a_system
from charter.adapters.proof_cache import VERSION, ProofFile
from charter.adapters.z3_solver import Z3Solver
from charter.core.errors import IntegrityError
from charter.policy.decide import Answer
from charter.proof.authority import reach_of
from charter.proof.effect import Effect, Side, effect_of
from charter.proof.inspection import inspect, read_inspection
from charter.proof.prover import Found, Model, Prover
from charter.proof.search import Means, find_call
from charter.proof.term import TRUE, Term
from charter.registry.charter import Charter
from policies import ENGINE, bound, guards
from proof_stage import Helpless, means

SYSTEM = a_system()
GRANT: dict[str, Any] = {"system": "payments", "actions": ["charge.read"], "objects": ["charge/*"]}


def side(charter: Charter, guardrail: str = "") -> Side:
    guardrails = guards(guardrail) if guardrail else ()
    return Side(bound(charter, guardrails=guardrails, system=SYSTEM), {"payments": SYSTEM})


def read_only(**changed: Any) -> Charter:
    return a_charter(grants=[GRANT | changed])


def test_a_solver_that_lies_about_a_call_is_caught_by_the_engine() -> None:
    """What a solver calls a counterexample is decided before it is shown; one that is none is not shown."""

    class Liar:
        def solve(self, claim: Term, wishes: object) -> Found:
            del claim, wishes
            return Model({"restrained": False})

    found = effect_of(side(read_only()), side(read_only(objects=["charge/*", "dispute/*"])), means(Liar()))
    assert not found.gains
    narrow, wide = side(read_only(objects=["charge/a*"])), side(read_only())
    lied = effect_of(narrow, wide, means(Liar()))
    for gain in lied.gains:
        assert gain.becomes is not None
        assert gain.was is not None
        assert gain.answers[0] != gain.answers[1]


def test_an_engine_that_decides_otherwise_than_the_proof_stops_everything() -> None:
    """The same question, two answers: one of them is wrong, and neither is shown."""

    class Contrary:
        def evaluate(self, program: object, question: object, approvals: frozenset[str]) -> Answer:
            found = ENGINE.evaluate(program, question, approvals)  # type: ignore[arg-type]
            return Answer(not found.allowed, ("refund-agent/grant-1",), ())

    wide = side(read_only())
    reach = reach_of(wide.bound, wide.systems, ("payments", "charge.read"), ENGINE)
    honest = means()
    with pytest.raises(IntegrityError, match="proof and decision differ"):
        find_call(reach.allowed, (reach,), Means(honest.prover, ENGINE, Contrary(), honest.start, honest.noon))


@pytest.mark.parametrize(
    "condition",
    [
        "context.arguments has note.number && context.arguments.note.number + 9223372036854775807 > 0",
        "context.arguments has note.number && context.arguments.note.number * 9223372036854775807 != 3",
        'context.now.offset(duration("9223372036854775807ms")) > context.now',
    ],
)
def test_a_guardrail_that_overflows_denies_in_the_proof_as_it_does_in_the_engine(condition: str) -> None:
    """An error in any policy denies. A proof that let the sum go round would call the calls beyond it allowed."""
    guarded = side(read_only(), f"forbid (principal, action, resource) when {{ {condition} && false }};")
    reach = reach_of(guarded.bound, guarded.systems, ("payments", "charge.read"), ENGINE)
    assert reach.errs is not TRUE
    lost = effect_of(side(read_only()), guarded, means())
    assert lost.losses
    assert not lost.gains
    found = find_call(reach.errs, (reach,), means())
    assert found is not None  # shown as denied by the engine, or left unproven: never called impossible


@pytest.mark.timeout(60)
def test_patterns_without_end_end_in_time_and_are_never_called_safe() -> None:
    many = [f"*{a}*{b}*{c}*" for a in "stuvwxyz" for b in "zyxwvuts" for c in "stuv"][:180]
    other = [each[::-1] for each in many]
    started = time.monotonic()
    found = effect_of(side(read_only(objects=many)), side(read_only(objects=other)), means(Z3Solver(seconds=0.5)))
    assert time.monotonic() - started < 40
    assert found.gains or found.gaps


def test_guardrails_that_contradict_each_other_allow_nothing_and_nothing_is_called_gained() -> None:
    both = (
        'forbid (principal, action, resource) when { resource.path like "charge/*" };'
        'forbid (principal, action, resource) unless { resource.path like "charge/*" };'
    )
    assert effect_of(side(read_only(), both), side(read_only(objects=["*"]), both), means()) == Effect()


def test_a_proof_that_is_not_made_is_never_kept(tmp_path: Path) -> None:
    kept = ProofFile(tmp_path)
    guarded = side(read_only(), 'forbid (principal, action, resource) when { resource.path like "charge/x*" };')
    found = inspect(guarded, means(Helpless()))
    assert found.gaps
    with pytest.raises(ValueError, match="not proven"):
        read_inspection(found.to_json())
    kept.write({"key": inspect(guarded, means()).to_json()})
    assert read_inspection(kept.read()["key"]).stops
    assert (tmp_path / "proofs.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        json.dumps({"version": VERSION + 1, "proofs": {}}),
        json.dumps({"version": VERSION}),
        "\xff",
    ],
)
def test_a_file_of_proofs_that_is_none_proves_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "proofs.json").write_text(text, encoding="latin-1")
    assert ProofFile(tmp_path).read() == {}


def test_a_file_of_proofs_that_others_can_write_proves_nothing(tmp_path: Path) -> None:
    ProofFile(tmp_path).write({"key": {}})
    assert ProofFile(tmp_path).read() == {"key": {}}
    os.chmod(tmp_path / "proofs.json", 0o666)  # noqa: S103, PTH101 - the deed
    assert ProofFile(tmp_path).read() == {}


def test_without_a_folder_nothing_is_kept() -> None:
    nowhere = ProofFile(None)
    nowhere.write({"key": {}})
    assert nowhere.read() == {}


def test_texts_that_a_solver_would_read_as_something_else_stay_what_they_are() -> None:
    r"""`\u{41}` in a pattern is six characters, and no `A`: a solver that unescaped it would prove the wrong thing."""
    odd = side(read_only(objects=["charge/\\u{41}*"]))
    plain = side(read_only(objects=["charge/A*"]))
    found = effect_of(odd, plain, means())
    assert [each.shown.example.object[:8] for each in found.gains] == ["charge/A"]
    assert found.losses or found.unknown_losses
    assert isinstance(Prover(Z3Solver()).find(TRUE), Model)
