"""Why a call is decided as it is: every rule that could have had a say, with each of its conditions as the call met it.

    the verdict     what `decide` says, in one sentence that names the deciding rule and where it stands
    each link       whose authority was asked, and whether it had the right
    each rule       grants, the Cedar beside a charter, guardrails and built-in rules: whether it allowed or forbade,
                    and if not, which condition failed, with the value that it met
    the mend        what would make it allowed

Rules on other systems or other actions are left out: they were never asked.

INVARIANT: nothing here decides. The verdict is `decide`'s, and a condition holds where the engine that decides says so,
or, of a grant, where its second tongue does, which property tests hold equal to it (condition.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from charter.policy.builtin import BUILT_IN
from charter.policy.chain import ChainCase, Party
from charter.policy.clause import Asking, Clause, WhyEngine, clauses_of
from charter.policy.condition import Condition
from charter.policy.engine import Json
from charter.policy.entitlement import PERSON
from charter.policy.grant import GrantRule
from charter.policy.guardrail import UNREADABLE, Guardrail
from charter.policy.narrow import Narrowed, decide_narrowed
from charter.policy.own import OwnPermit
from charter.policy.passed import asked_of, brought
from charter.policy.phrase import asked, given, phrase_of
from charter.policy.request import Request
from charter.policy.statement import split_statements
from charter.policy.verdict import Allow, Deny, Escalate, Verdict, word
from charter.policy.vocabulary import Question, action_id, question_of
from charter.registry.seat import told

MAX_RULES = 200  # told of one link; the deciding ones always are


@dataclass(frozen=True, slots=True)
class Look:
    """One condition of a rule, as the call met it."""

    text: str
    met: bool | None  # None: not asked, one before it had decided
    given: str  # what the call brought

    def to_json(self) -> dict[str, Any]:
        """Return the condition as programs read it."""
        return {"condition": self.text, "met": self.met, "given": self.given}


@dataclass(frozen=True, slots=True)
class RuleLook:
    """One rule, as the call met it."""

    rule: str
    kind: str  # grant | permit | guardrail | built-in
    link: str
    source: str | None
    outcome: str  # allows | needs approval | forbids | does not apply
    needs: tuple[str, ...]  # seats whose yes it asks for
    conditions: tuple[Look, ...]
    decided: bool

    def to_json(self) -> dict[str, Any]:
        """Return the rule as programs read it."""
        return {
            "rule": self.rule,
            "kind": self.kind,
            "link": self.link,
            "source": self.source,
            "outcome": self.outcome,
            "needs": list(self.needs),
            "decided": self.decided,
            "conditions": [each.to_json() for each in self.conditions],
        }


@dataclass(frozen=True, slots=True)
class Why:
    """A verdict, and all that led to it."""

    verdict: Verdict
    sentence: str
    lacking: str | None  # the link that lacked the right
    rules: tuple[RuleLook, ...] = field(default_factory=tuple)
    unlisted: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return it as programs read it."""
        verdict = self.verdict
        return {
            "verdict": word(verdict),
            "sentence": self.sentence,
            "lacking": self.lacking,
            "reasons": [each.to_json() for each in verdict.reasons],
            "mend": list(dict.fromkeys(each.mend for each in verdict.reasons if each.mend)),
            "approvers": list(verdict.approvers) if isinstance(verdict, Escalate) else [],
            "limits": [each.text for each in verdict.limits] if isinstance(verdict, Allow) else [],
            "rules": [each.to_json() for each in self.rules],
            "unlisted": self.unlisted,
        }


def why(case: ChainCase, request: Request, engine: WhyEngine, narrowed: Narrowed | None = None) -> Why:
    """Return why `request` is decided as it is by all links of `case`."""
    verdict = decide_narrowed(case, request, engine, narrowed)
    deciding = {reason.rule for reason in verdict.reasons}
    looks = [look for party in case.parties for look in _looks(party, request, engine, deciding)]
    shown = [each for each in looks if each.decided] + [each for each in looks if not each.decided]
    return Why(
        verdict, sentence(verdict, request), _lacking(verdict, case), tuple(shown[:MAX_RULES]), len(shown[MAX_RULES:])
    )


def without_policy(verdict: Verdict, request_told: str) -> Why:
    """Return why a call that no policy was asked about is decided as it is."""
    first = verdict.reasons[0]
    return Why(verdict, _sentence(word(verdict), request_told, first.text, first.rule, first.source), first.link)


def sentence(verdict: Verdict, request: Request) -> str:
    """Return the verdict in one sentence that names the deciding rule and where it stands."""
    first = verdict.reasons[0]
    what = f"`{request.action}` on `{request.system}` by `{request.asker.name}`"
    return _sentence(word(verdict), what, first.text, first.rule, first.source)


_DECIDED = {"allow": "is allowed", "deny": "is denied", "escalate": "waits for a person"}


def _sentence(verdict: str, what: str, text: str, rule: str, source: object) -> str:
    return put(verdict, f"{what} {_DECIDED[verdict]}", text, rule, source)


def put(verdict: str, decided: str, text: str, rule: str, source: object) -> str:
    """Return by which rule, where it stands, and why something was decided; `decided` says what, and how."""
    where = f" ({source})" if source else ""
    told = f"{decided} by `{rule}`{where}"
    return told if verdict == "allow" else f"{told}: {text}"  # an allow's text names the rule and no more


def _lacking(verdict: Verdict, case: ChainCase) -> str | None:
    if isinstance(verdict, Deny) and len(case.parties) + len(case.loans) > 1:
        return verdict.reasons[0].link
    return None


# --- rules ------------------------------------------------------------------------------------------------------------


def _looks(party: Party, request: Request, engine: WhyEngine, deciding: set[str]) -> Iterator[RuleLook]:
    bound, request = party.bound, replace(request, asker=party.asker)
    action = {action_id(request.system, request.action): request.effect.value}
    question = question_of(request, bound.words)
    asking = Asking(question, request.effect.value, request.approvals, engine)
    told_by = (deciding, party.asker.name)
    for grant in bound.covering(request.system, request.action):
        yield _grant(grant, request, asking, told_by)
    for permit in bound.permitting(request.system, request.action):
        yield _permit(permit, asking, told_by)
    for guardrail in bound.guardrails.values():
        if guardrail.concerns(bound.principal, action):
            yield _guardrail(guardrail, asking, told_by)
    if bound.kind != PERSON:  # a person's slice holds none
        yield from _built_in(asking, told_by)


def _grant(grant: GrantRule, request: Request, asking: Asking, told_by: tuple[set[str], str]) -> RuleLook:
    deciding, link = told_by
    failed = grant.failures(asking.question)
    looks = []
    for condition in grant.conditions:
        holds = condition.holds(asking.question)
        call = (request, asking.question)
        looks.append(Look(asked_of(condition), holds, (brought if holds else _missed)(condition, *call)))
    need = grant.approval
    needs: tuple[str, ...] = ()
    if need is not None and need.is_needed(asking.question):
        needs = tuple(seat for seat in need.seats if seat not in asking.approvals)
        for rule in need.rules:
            argument = asking.question.argument(rule.test.argument)
            looks.append(Look(f"a yes with {asked(rule.test)}", not needs, given(rule.test, argument)))
        if not need.rules:
            looks.append(Look(f"the yes of {told(need.seats)}", not needs, _approvals(asking.approvals)))
    outcome = "does not apply" if failed else "needs approval" if needs else "allows"
    source = str(grant.source) if grant.source else None
    is_deciding = grant.id in deciding or any(rule.startswith(f"{grant.id}/") for rule in deciding)
    return RuleLook(grant.id, "grant", link, source, outcome, needs, tuple(looks), is_deciding)


def _missed(condition: Condition, request: Request, question: Question) -> str:
    return phrase_of(condition, request, question).given


def _approvals(approvals: frozenset[str]) -> str:
    return told(sorted(approvals)) + " said yes" if approvals else "nobody said yes"


def _permit(permit: OwnPermit, asking: Asking, told_by: tuple[set[str], str]) -> RuleLook:
    deciding, link = told_by
    applies = bool(asking.put(permit.id, permit.policy).allowed)
    needs = tuple(sorted(permit.roles - asking.approvals)) if not applies else ()
    looks = _clauses(clauses_of(permit.policy, permit.statement, asking))
    outcome = "allows" if applies else "does not apply"
    return RuleLook(permit.id, "permit", link, str(permit.source), outcome, needs, looks, permit.id in deciding)


def _guardrail(guardrail: Guardrail, asking: Asking, told_by: tuple[set[str], str]) -> RuleLook:
    deciding, link = told_by
    fired = [name for name, policy in guardrail.policies.items() if name in asking.put(name, policy).rules]
    looks = list(_clauses(clauses_of(guardrail.policies[guardrail.id], guardrail.statement, asking)))
    if fired and guardrail.id not in fired:
        names = ", ".join(f"`{name}`" for name in sorted(guardrail.mentions.arguments))
        looks.append(Look(f"{names} in a form that cannot be compared", True, "so the call is stopped"))  # noqa: FBT003
    needs = tuple(sorted(guardrail.roles)) if fired else ()
    kind = "permit" if "/policy/" in guardrail.id else "guardrail"
    is_deciding = guardrail.id in deciding or guardrail.id + UNREADABLE in deciding
    outcome = "forbids" if fired else "does not apply"
    return RuleLook(guardrail.id, kind, link, str(guardrail.source), outcome, needs, tuple(looks), is_deciding)


def _built_in(asking: Asking, told_by: tuple[set[str], str]) -> Iterator[RuleLook]:
    """Yield the rules that every principal's slice holds."""
    deciding, link = told_by
    for name, text in BUILT_IN.items():
        policy = _parsed(text, asking)
        fired = name in asking.put(name, policy).rules
        looks = _clauses(clauses_of(policy, split_statements(name, text)[0], asking))
        outcome = "forbids" if fired else "does not apply"
        yield RuleLook(name, "built-in", link, None, outcome, (), looks, name in deciding)


def _parsed(text: str, asking: Asking) -> Json:
    return asking.engine.parse(text)[0]


def _clauses(clauses: Sequence[Clause]) -> tuple[Look, ...]:
    return tuple(
        Look(
            f"{'when' if each.wants else 'unless'} {each.text}",
            each.is_met,
            "; ".join(f"{path} is {value}" for path, value in each.values.items()),
        )
        for each in clauses
    )
