"""An estate's table tests, run through the very decision that the gateway makes.

A case without a time is asked at DEFAULT_MOMENT, a Tuesday at noon UTC, so that it passes tonight if it passed today.
Limits over a window are not counted here (a case is one call, and there were none before it), save where one call alone
is more than a limit holds. A case that names a principal, system or action that there is none of fails, whatever it
expects: a misspelt denial would else prove nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from charter.core.errors import MalformedError
from charter.core.values import Source
from charter.policy.check import bind_slices, check_estate, estate_schema, read_guardrails, rules_of, systems_of
from charter.policy.decide import Evaluator, decide
from charter.policy.engine import Engine
from charter.policy.guardrail import UNREADABLE
from charter.policy.request import Asker, ChainFacts, build_request
from charter.policy.slice import Slice
from charter.policy.verdict import Deny, Layer, Reason, Verdict, word
from charter.registry.charter import Charter
from charter.registry.delegation import Role, is_person, role_of
from charter.registry.estate import Estate, Sourced
from charter.registry.problem import suggestion
from charter.registry.seat import taken
from charter.registry.system import System
from charter.registry.trial import TrialCase, TrialChain

__all__ = ["DEFAULT_MOMENT", "TrialReport", "TrialResult", "check_estate", "estate_schema", "run_trials"]

DEFAULT_MOMENT = dt.datetime(2026, 11, 24, 12, 0, tzinfo=dt.UTC)


class TrialEngine(Engine, Evaluator, Protocol):
    """A Cedar implementation that also evaluates what it bound."""


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What became of one case."""

    name: str
    source: Source
    passed: bool
    expected: str
    got: str
    why: str
    rules: tuple[str, ...]  # that the verdict rests on

    def to_json(self) -> dict[str, Any]:
        """Return the result as programs read it."""
        return {
            "name": self.name,
            "source": str(self.source),
            "passed": self.passed,
            "expected": self.expected,
            "got": self.got,
            "why": self.why,
            "rules": list(self.rules),
        }


class TrialReport(NamedTuple):
    """The results in the files' order, and the rules that no case touches."""

    results: tuple[TrialResult, ...]
    untested: tuple[str, ...]


def run_trials(estate: Estate, engine: TrialEngine) -> TrialReport:
    """Return the results of all cases of `estate`, and the grants and guardrails that none of them rests on.

    Raises:
        EstateError: something in the estate cannot be bound.
    """
    slices, systems = bind_slices(estate, engine), systems_of(estate)
    charters = {name: part.value for name, part in estate.charters.items()}
    results = tuple(_run(each, charters, systems, (slices, engine)) for each in estate.trials)
    touched = {rule.removesuffix(UNREADABLE) for each in results for rule in each.rules}
    guardrails, _ = read_guardrails(estate, engine)
    return TrialReport(results, tuple(rule for rule in rules_of(slices, guardrails) if rule not in touched))


def _run(
    trial: Sourced[TrialCase],
    charters: Mapping[str, Charter],
    systems: Mapping[str, System],
    means: tuple[Mapping[str, Slice], Evaluator],
) -> TrialResult:
    case, (slices, evaluator) = trial.value, means
    unknown = _unknown(case, charters, systems)
    if unknown:
        return _result(trial, passed=False, got="nothing", why=unknown)
    verdict = _decided(case, charters[case.principal], systems[case.system], slices[case.principal], evaluator)
    wrong = _mismatch(case, verdict)
    first = verdict.reasons[0]
    why = wrong or f"{first.text} ({first.rule})"
    rules = tuple(dict.fromkeys(reason.rule for reason in verdict.reasons))
    return _result(trial, passed=wrong is None, got=word(verdict), why=why, rules=rules)


def _result(trial: Sourced[TrialCase], *, passed: bool, got: str, why: str, rules: tuple[str, ...] = ()) -> TrialResult:
    case = trial.value
    return TrialResult(case.name, trial.source_of(""), passed, case.expect.value, got, why, rules)


def _unknown(case: TrialCase, charters: Mapping[str, Charter], systems: Mapping[str, System]) -> str | None:
    """Return which word of the case names nothing."""
    if case.principal not in charters:
        return f"there is no principal `{case.principal}`; {suggestion(case.principal, charters)}"
    if case.system not in systems:
        return f"there is no system `{case.system}`; {suggestion(case.system, systems)}"
    actions = systems[case.system].actions
    if case.action not in actions:
        return f"`{case.action}` is no action of the system `{case.system}`; {suggestion(case.action, actions)}"
    return None


def _decided(case: TrialCase, charter: Charter, system: System, bound: Slice, evaluator: Evaluator) -> Verdict:
    name = charter.principal
    asker = Asker(f"trial:{name}", name, charter.kind.value, charter.environment, charter.owner.team)
    at = case.at or DEFAULT_MOMENT
    try:
        request = build_request(
            asker, system, case.action, case.arguments, at, taken(case.approvals), object=case.object
        )
        if case.chain:
            request = replace(request, chain=_chain(case.chain, charter))
    except MalformedError as err:
        return Deny((Reason(Layer.CHARTER, "built-in/arguments", err.detail, err.help or "mend the arguments", name),))
    return decide(bound, request, evaluator)


def _chain(chain: TrialChain, charter: Charter) -> ChainFacts:
    own = charter.principal
    return ChainFacts(
        depth=chain.depth or 1,
        purpose=chain.purpose or "",
        initiator=chain.initiator,
        by_person=is_person(chain.initiator),
        initiator_roles=frozenset(chain.roles),
        parties=(chain.initiator, own),
        deciders=(own,) if role_of(charter.kind) is Role.DECIDER else (),
    )


def _mismatch(case: TrialCase, verdict: Verdict) -> str | None:
    """Return how the verdict differs from what the case says of it."""
    first, got = verdict.reasons[0], word(verdict)
    if got != case.expect.value:
        return f"{first.text} ({first.rule}); {first.mend}"
    if case.because and not any(case.because in reason.text for reason in verdict.reasons):
        return f"no reason says `{case.because}`: {'; '.join(reason.text for reason in verdict.reasons)}"
    if case.rule and case.rule not in {reason.rule for reason in verdict.reasons}:
        return f"`{case.rule}` did not decide, but {', '.join(f'`{reason.rule}`' for reason in verdict.reasons)}"
    if case.layer and case.layer.value != first.layer.value:
        return f"the layer `{first.layer.value}` decided, not `{case.layer.value}`: {first.text}"
    return None
