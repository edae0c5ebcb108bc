"""`charter test`: an estate's tables, its properties, and how much of its rules they touch. Needs no registry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from charter.bootstrap import worlds
from charter.bootstrap.proofs import means_of
from charter.core.clock import Clock
from charter.core.errors import ErrorCode, IntegrityError
from charter.core.values import Source
from charter.gateway.trial import DEFAULT_MOMENT, TrialResult, run_trials
from charter.policy.check import bind_slices, read_guardrails, systems_of
from charter.policy.coverage import Coverage, points_of
from charter.policy.guardrail import Guardrail
from charter.policy.property import Claim, Party, claims_of
from charter.policy.property_search import Counterexample, Search
from charter.policy.shadow import CompiledEngine
from charter.policy.slice import Slice, bind_slice
from charter.policy.verdict import Verdict, word
from charter.proof.property_claim import against
from charter.proof.search import Means, Shown
from charter.registry.estate import Estate
from charter.registry.property import Property
from charter.registry.sourced import Sourced
from charter.registry.system import System

HOLDS, FAILS, SEARCHED, EMPTY = "holds", "fails", "searched", "empty"


@dataclass(frozen=True, slots=True)
class PropertyResult:
    """What is known of one property: it holds of all calls, fails, was searched and not proven, or means nothing."""

    name: str
    source: Source
    state: str
    why: str
    counterexample: dict[str, Any] | None = None  # one call, as `charter why` reads it
    calls: int = 0  # that were tried where nothing was proven

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against it."""
        return self.state != FAILS

    def to_json(self) -> dict[str, Any]:
        """Return the result as programs read it."""
        return {
            "name": self.name,
            "source": str(self.source),
            "passed": self.passed,
            "state": self.state,
            "why": self.why,
            "counterexample": self.counterexample,
            "calls": self.calls,
        }


@dataclass(frozen=True, slots=True)
class TestReport:
    """What the tests of an estate come to."""

    results: tuple[TrialResult, ...]
    properties: tuple[PropertyResult, ...]
    coverage: Coverage
    untested: tuple[str, ...]  # rules that no case rests on
    seconds: float

    @property
    def failed(self) -> int:
        """How many cases and properties fail."""
        cases = sum(not each.passed for each in self.results)
        return cases + sum(not each.passed for each in self.properties)

    def to_json(self) -> dict[str, Any]:
        """Return the report as programs read it."""
        whole = len(self.results) + len(self.properties)
        return {
            "passed": whole - self.failed,
            "failed": self.failed,
            "results": [each.to_json() for each in self.results],
            "properties": [each.to_json() for each in self.properties],
            "coverage": {
                "percent": self.coverage.percent,
                "touched": len(self.coverage.points) - len(self.coverage.missing),
                "of": len(self.coverage.points),
                "missing": [{"rule": p.rule, "what": p.what, "source": _told(p.source)} for p in self.coverage.missing],
            },
            "untested": list(self.untested),
        }


def _told(source: Source | None) -> str | None:
    return str(source) if source else None


def run(estate: Estate, clock: Clock) -> TestReport:
    """Return what the tests of `estate`, which was checked, come to.

    Raises:
        EstateError: something in the estate cannot be bound.
    """
    started = clock.monotonic()
    by = worlds.engine()
    results = run_trials(estate.trials, worlds.of_files(estate, by))
    slices = bind_slices(estate, by)
    guardrails, _ = read_guardrails(estate, by)
    points = points_of(slices, guardrails)
    touched = frozenset(point for each in results for point in each.touched)
    deciding = {rule.removesuffix("/unreadable") for each in results for rule in each.rules}
    rules = dict.fromkeys(point.rule for point in points)
    means = replace(means_of(clock), engine=by, evaluator=by)
    properties = tuple(_Checks(estate, by, slices, guardrails, means).results())
    untested = tuple(rule for rule in rules if rule not in deciding)
    return TestReport(results, properties, Coverage(points, touched), untested, clock.monotonic() - started)


@dataclass(frozen=True, slots=True)
class _InVain:
    """A search that found nothing, and why there had to be one."""

    calls: int
    why: str


@dataclass(slots=True)
class _Checks:
    """The properties of one estate, checked one after the other."""

    estate: Estate
    by: CompiledEngine
    slices: dict[str, Slice]
    guardrails: list[Guardrail]
    means: Means
    systems: dict[str, System] = field(init=False)

    def __post_init__(self) -> None:
        self.systems = systems_of(self.estate)

    def results(self) -> Iterator[PropertyResult]:
        """Yield what is known of each property."""
        parties = [Party(part.value, self.slices[name]) for name, part in sorted(self.estate.charters.items())]
        for part in self.estate.properties:
            found = claims_of(part.value, parties, self.systems)
            if found.empty:
                yield _result(part, EMPTY, "no principal and action of this estate is meant, so it says nothing here")
            else:
                yield self._of(part, found.claims, found.aside, {each.charter.principal: each for each in parties})

    def _of(
        self, part: Sourced[Property], claims: tuple[Claim, ...], aside: int, parties: dict[str, Party]
    ) -> PropertyResult:
        gaps: list[_InVain] = []
        for claim in claims:
            outcome = self._one(claim, parties[claim.principal])
            if isinstance(outcome, dict):
                return _result(part, FAILS, _why_failed(outcome), counterexample=outcome)
            if outcome is not None:
                gaps.append(outcome)
        what = f"{len(claims)} of {len(claims) + aside} pairs of principal and action are granted"
        if not gaps:
            return _result(part, HOLDS, f"proven for all calls: {what}")
        tried = sum(each.calls for each in gaps)
        why = f"searched, not proven: {what}; {tried} calls tried, none against it; {gaps[0].why}"
        return _result(part, SEARCHED, why, calls=tried)

    def _one(self, claim: Claim, party: Party) -> dict[str, Any] | _InVain | None:
        """Return a counterexample; or what was tried in vain; or None if it is proven that there is none."""
        if not party.bound.actions_on(claim.system) or claim.action not in party.bound.actions_on(claim.system):
            return _ungranted(claim, party)
        part = self.estate.charters[claim.principal]
        guardrails = [*self.guardrails, claim.rule(self.by)]
        with_class = bind_slice(part.value, part.sources, self.systems, guardrails, self.by, self.estate.central)
        proof = against(claim, party.bound, with_class, self.systems, self.means)
        if proof is None:
            return None
        if isinstance(proof, Shown):
            return _shown(claim, proof)
        search = Search(claim, party, with_class, self.systems[claim.system], self.by, DEFAULT_MOMENT)
        found = search.run()
        if found.found is None:
            return _InVain(found.calls, proof.why)
        return _found(claim, found.found)


def _shown(claim: Claim, proof: Shown) -> dict[str, Any]:
    """Return the call that a proof shows, with what the engine said of it."""
    replayed = proof.replayed[0]
    if replayed is None:
        raise IntegrityError(ErrorCode.BAD_ESTATE, f"`{claim.action}` was proven about and is not there")
    return {"principal": claim.principal} | proof.example.to_json() | _decided(replayed.verdict)


def _found(claim: Claim, found: Counterexample) -> dict[str, Any]:
    """Return the call that a search found, as a proof tells one."""
    request = found.request
    call = {
        "principal": claim.principal,
        "system": claim.system,
        "action": claim.action,
        "object": request.object,
        "arguments": request.arguments,
        "at": request.at.isoformat(),
    }
    if request.approvals:
        call["approvals"] = sorted(request.approvals)
    if request.chain.depth:
        chain = request.chain
        call["chain"] = {"initiator": chain.initiator, "purpose": chain.purpose, "roles": sorted(chain.initiator_roles)}
    return call | _decided(found.verdict)


def _ungranted(claim: Claim, party: Party) -> dict[str, Any]:
    text = f"{claim.principal} has no grant for `{claim.action}` on `{claim.system}`"
    call = {"principal": claim.principal, "system": claim.system, "action": claim.action}
    return call | {"verdict": "deny", "rule": f"{party.charter.principal}/grants", "text": text, "source": None}


def _decided(verdict: Verdict) -> dict[str, Any]:
    first = verdict.reasons[0]
    source = str(first.source) if first.source else None
    return {"verdict": word(verdict), "rule": first.rule, "text": first.text, "source": source}


def _why_failed(call: dict[str, Any]) -> str:
    decided = {"allow": "is allowed", "deny": "is denied", "escalate": "waits for a person"}[call["verdict"]]
    approvals = f" once {', '.join(call['approvals'])} said yes" if call.get("approvals") else ""
    at = f" at {call['at'][:16]}" if "at" in call else ""
    where = f" ({call['source']})" if call["source"] else ""
    what = f"`{call['action']}` on `{call['system']}` by `{call['principal']}`"
    given = f" with {_given(call['arguments'])}" if call.get("arguments") else ""
    because = "" if call["verdict"] == "allow" else f": {call['text']}"
    return f"{what}{given}{at} {decided}{approvals} by `{call['rule']}`{where}{because}"


def _given(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in sorted(arguments.items()))[:300]


def _result(part: Sourced[Property], state: str, why: str, **more: Any) -> PropertyResult:  # noqa: ANN401
    return PropertyResult(part.value.name, part.source_of(""), state, why, **more)
