"""The Cedar beside a charter, `principals/NAME.cedar`: what its grants cannot say, for this principal alone.

    @id("drafts-of-the-night")
    @reason("drafts may wait in the box over night")
    permit (
      principal,
      action == Charter::Action::"mail/message.draft",
      resource in Charter::System::"mail"
    )
    when { context.local["Europe/Berlin"].minute >= 1200 && !(context.arguments has to) };

It stands under the same schema, guardrails and built-in rules as everything else: a permit widens the grants, and what
forbids it forbids it still; a forbid narrows them. Limits are for grants to say.

INVARIANT: a permit names its actions in its scope, so that the inventory, the tier of risk and reviews count them.
INVARIANT: a permit that reads an argument allows nothing where the call gives the argument in none of the forms it
reads; a forbid denies there, as a guardrail does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from charter.core.values import Source
from charter.policy.engine import Engine, Json
from charter.policy.guardrail import Guardrail, annotations_of, own_schema, parse_one, rule_of, unreadable_text
from charter.policy.guardrail_fault import fault_problems
from charter.policy.mention import Mentions, mentions_of
from charter.policy.statement import Statement, split_statements
from charter.policy.verdict import LimitDue
from charter.policy.vocabulary import GROUPS, Question
from charter.registry.problem import EstateError, Problem

KINDS = ("id", "reason", "mend", "approval")  # of annotations


@dataclass(frozen=True, slots=True)
class OwnPermit:
    """One permit of a principal's own Cedar. It stands where a grant may stand: for an allow, without limits."""

    id: str  # `refund-agent/policy/drafts-of-the-night`
    source: Source
    reason: str | None
    mend: str
    actions: tuple[str, ...]  # ids
    text: str
    policy: Json
    mentions: Mentions
    statement: Statement
    approval: None = None

    @property
    def roles(self) -> frozenset[str]:
        """The seats whose yes it asks for."""
        return self.mentions.roles

    def dues(self, _question: Question) -> tuple[LimitDue, ...]:
        """Return what an allowed call must be counted against: nothing."""
        return ()


@dataclass(frozen=True, slots=True)
class OwnPolicies:
    """The policies beside one charter."""

    permits: Mapping[str, OwnPermit]  # by id
    forbids: tuple[Guardrail, ...] = ()

    @property
    def all(self) -> tuple[OwnPermit | Guardrail, ...]:
        """Both."""
        return (*self.permits.values(), *self.forbids)


def path_of(principal: str) -> str:
    """Return the file of a principal's own policies."""
    return f"principals/{principal}.cedar"


def parse_own(principal: str, text: str, engine: Engine) -> OwnPolicies:
    """Return the policies that stand beside the charter of `principal`; an empty text is none.

    Raises:
        EstateError: the text is no Cedar, is about another principal, names no action where it permits, or does not
        validate strictly; all problems, each with its line and column.
    """
    permits: dict[str, OwnPermit] = {}
    forbids: list[Guardrail] = []
    problems: list[Problem] = []
    taken: dict[str, Source] = {}
    for number, statement in enumerate(split_statements(path_of(principal), text), start=1):
        try:
            found = _policy(principal, statement, number, engine)
        except EstateError as err:
            problems += err.problems
            continue
        other = taken.setdefault(found.id, found.source)
        if other is not found.source:
            problems.append(Problem.at(found.source, f"the id of `{found.id}` is taken", f"by the one at {other}"))
        elif isinstance(found, OwnPermit):
            permits[found.id] = found
        else:
            forbids.append(found)
    if problems:
        raise EstateError(problems)
    return OwnPolicies(permits, tuple(forbids))


def _policy(principal: str, statement: Statement, number: int, engine: Engine) -> OwnPermit | Guardrail:
    policy = parse_one(statement, engine)
    mentions = mentions_of(policy)
    annotations = annotations_of(statement, policy, mentions, KINDS)
    problems = [*_scope_problems(principal, statement, policy)]
    if policy["effect"] == "permit":
        problems += _action_problems(statement, policy)
    if problems:
        raise EstateError(problems)
    rule_id = f"{principal}/policy/{annotations.get('id') or number}"
    if policy["effect"] == "forbid":
        return rule_of(statement, policy, mentions, rule_id, engine)
    text = _guarded(statement, mentions)
    faults = engine.faults(text, own_schema(mentions))
    if faults:
        raise EstateError(fault_problems(statement, [said for _, said in faults], mentions.arguments))
    return OwnPermit(
        id=rule_id,
        source=statement.source,
        reason=annotations.get("reason"),
        mend=annotations.get("mend") or f"change it at {statement.source} through plan and apply",
        actions=tuple(each["id"] for each in _entities(policy["action"])),
        text=text,
        policy=engine.parse(text)[0],
        mentions=mentions,
        statement=statement,
    )


def _guarded(statement: Statement, mentions: Mentions) -> str:
    """Return the permit's text, told to allow nothing where it could not read what it asks."""
    terms = unreadable_text(mentions)
    body = statement.text.rstrip().removesuffix(";")
    return f"{body}\nunless {{ {terms} }};\n" if terms else f"{body};\n"


def _entities(constraint: Json) -> list[Json]:
    if constraint["op"] == "==":
        return [constraint["entity"]]
    return list(constraint.get("entities") or [constraint["entity"]]) if constraint["op"] == "in" else []


def _scope_problems(principal: str, statement: Statement, policy: Json) -> Iterator[Problem]:
    scope = policy["principal"]
    if scope["op"] in ("All", "is") and "in" not in scope:
        return
    if scope["op"] == "==" and scope["entity"] == {"type": "Charter::Principal", "id": principal}:
        return
    text = f"what stands beside the charter of `{principal}` is about `{principal}` alone"
    yield Problem.at(statement.source, text, "write `principal`, and rules for others into their own files")


def _action_problems(statement: Statement, policy: Json) -> Iterator[Problem]:
    named = _entities(policy["action"])
    if not named or any(each["id"] in GROUPS for each in named):
        text = "a permit names its actions, so that everyone can see what the principal may do"
        help = 'write `action == Charter::Action::"mail/message.draft"`, or `action in [...]` with each of them'
        yield Problem.at(statement.source, text, help)
