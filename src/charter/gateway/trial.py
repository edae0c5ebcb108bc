"""An estate's table tests, run through the very decision that the gateway makes, for every link of a chain.

A case without a time is asked at DEFAULT_MOMENT, a Tuesday at noon UTC, so that it passes tonight if it passed today.
Limits over a window are not counted here (a case is one call, and there were none before it), save where one call alone
is more than a limit holds. A case that names a principal, system or action that there is none of fails, whatever it
expects: a misspelt denial would else prove nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from charter.core.errors import AbsentError, MalformedError
from charter.core.values import Source
from charter.gateway.hypothetical import Supposed, SupposedChain, supposed_case
from charter.gateway.replay import World
from charter.gateway.reserve import owed
from charter.policy.chain import decide_chain
from charter.policy.coverage import Point, touched_by
from charter.policy.request import NO_FLOW, read_flow
from charter.policy.verdict import Allow, Deny, Escalate, Layer, Reason, Verdict, word
from charter.registry.seat import taken, told
from charter.registry.sourced import Sourced
from charter.registry.trial import SupposedCall, TrialCase

DEFAULT_MOMENT = dt.datetime(2026, 11, 24, 12, 0, tzinfo=dt.UTC)


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
    touched: frozenset[Point] = field(default_factory=frozenset)

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


def supposed_of(call: SupposedCall, at: dt.datetime) -> Supposed:
    """Return a call as a file or a request writes it; one without a time is made `at`."""
    chain = call.chain
    supposed = None
    if chain is not None:
        supposed = SupposedChain(chain.initiator, chain.through, chain.roles, chain.purpose or "", chain.depth)
    asked = (call.principal, call.system, call.action, call.at or at)
    flow = read_flow(call.flow.model_dump()) if call.flow is not None else NO_FLOW
    return Supposed(*asked, call.arguments, call.object, call.approvals, supposed, flow)


def run_trials(trials: Iterable[Sourced[TrialCase]], world: World) -> tuple[TrialResult, ...]:
    """Return the results of cases put to an estate, in their order."""
    return tuple(_run(each, world) for each in trials)


def _run(trial: Sourced[TrialCase], world: World) -> TrialResult:
    case = trial.value
    try:
        found = supposed_case(supposed_of(case, DEFAULT_MOMENT), world)
    except AbsentError as err:
        return _result(trial, passed=False, got="nothing", why=f"{err.detail}; {err.help}" if err.help else err.detail)
    except MalformedError as err:
        reason = Reason(
            Layer.CHARTER, "built-in/arguments", err.detail, err.help or "mend the arguments", case.principal
        )
        return _judged(trial, Deny((reason,)), frozenset())
    verdict = decide_chain(found.case, found.request, world.evaluator)
    return _judged(trial, verdict, touched_by(found.case, found.request, verdict))


def _judged(trial: Sourced[TrialCase], verdict: Verdict, touched: frozenset[Point]) -> TrialResult:
    wrong = _mismatch(trial.value, verdict)
    first = verdict.reasons[0]
    why = wrong or f"{first.text} ({first.rule})"
    rules = tuple(dict.fromkeys(reason.rule for reason in verdict.reasons))
    return _result(trial, passed=wrong is None, got=word(verdict), why=why, rules=rules, touched=touched)


def _result(trial: Sourced[TrialCase], *, passed: bool, got: str, why: str, **more: Any) -> TrialResult:  # noqa: ANN401
    case = trial.value
    given = {"rules": ()} | more
    return TrialResult(case.name, trial.source_of(""), passed, case.expect.value, got, why, **given)


def _mismatch(case: TrialCase, verdict: Verdict) -> str | None:
    """Return how the verdict differs from what the case says of it."""
    first, got = verdict.reasons[0], word(verdict)
    if got != case.expect.value:
        return f"{first.text} ({first.rule}); {first.mend}"
    return next(_other_reasons(case, verdict), None) or _owed_otherwise(case, verdict)


def _other_reasons(case: TrialCase, verdict: Verdict) -> Iterator[str]:
    """Yield how the reasons differ."""
    reasons, first = verdict.reasons, verdict.reasons[0]
    if case.because and not any(case.because in reason.text for reason in reasons):
        yield f"no reason says `{case.because}`: {'; '.join(reason.text for reason in reasons)}"
    if case.rule and case.rule not in {reason.rule for reason in reasons}:
        yield f"`{case.rule}` did not decide, but {', '.join(f'`{reason.rule}`' for reason in reasons)}"
    if case.layer and case.layer.value != first.layer.value:
        yield f"the layer `{first.layer.value}` decided, not `{case.layer.value}`: {first.text}"
    if case.mend and not any(case.mend in reason.mend for reason in reasons):
        yield f"nothing that would mend it says `{case.mend}`: {'; '.join(reason.mend for reason in reasons)}"
    if case.link and case.link not in {reason.link for reason in reasons}:
        yield f"the link `{first.link}` decided, not `{case.link}`: {first.text}"


def _owed_otherwise(case: TrialCase, verdict: Verdict) -> str | None:
    """Return how what an allow or an escalation still asks for differs from what the case says."""
    if case.approvers is not None:
        seats = set(verdict.approvers) if isinstance(verdict, Escalate) else set[str]()
        if seats != taken(case.approvers):
            asked = told(sorted(seats)) if seats else "nobody"
            return f"the yes of {asked} is asked for, not that of {told(sorted(taken(case.approvers))) or 'nobody'}"
    if case.limits is not None:
        links = owed("", case.principal, verdict) if isinstance(verdict, Allow) else ()
        counted = [due.text for link in links for due in (link.options[0] if link.options else ())]
        if sorted(counted) != sorted(case.limits):
            said, meant = " and ".join(counted) or "no limit", " and ".join(case.limits) or "any"
            return f"it is counted against {said}, not {meant}"
    return None
