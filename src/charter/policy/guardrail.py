"""Guardrails: central policies, in Cedar, that no grant can exceed.

    @id("no-night-writes")
    @reason("nobody writes to production at night")
    @mend("wait until six, or ask the platform lead")
    @approval("platform-lead")
    @force("ceiling")
    @answers("OWASP ASI02, NIST AI RMF MANAGE 2.4")
    forbid (principal, action in Charter::Action::"write", resource)
    when { context.local["Europe/Berlin"].minute < 360 }
    unless { context.approvals.contains("platform-lead") };

Guardrails narrow: only `forbid` is accepted. Each must validate strictly, so none can err when it is asked. Its force
is `hard` (nobody lifts it), `ceiling` (a person's yes may, where its text says so; what is not marked is this), or
`default` (a charter may set it aside, by name and with a reason).

INVARIANT: a guardrail that reads an argument denies where the call gives the argument in none of the forms it reads.
Such a value would slip past the comparison; a companion `forbid` of the same scope stops it (`…/unreadable`).
INVARIANT: every role whose yes a guardrail accepts is written out in it, so that Charter knows whom to ask.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from charter.core.errors import MalformedError
from charter.core.values import Source, parse_name
from charter.policy.cedar_text import annotation, any_of, attribute, key
from charter.policy.cedar_text import moment as cedar_moment
from charter.policy.engine import Engine, Json, PolicyTextError
from charter.policy.guardrail_fault import fault_problems, is_zone, zone_problem
from charter.policy.mention import Mentions, mentions_of
from charter.policy.statement import Statement, split_statements, syntax_problem
from charter.policy.vocabulary import FORMS, NO_ACTIONS, schema_text
from charter.registry.problem import EstateError, Problem, nearest, suggestion
from charter.registry.rule import Force

ANNOTATIONS = ("id", "reason", "mend", "approval", "force", "answers")
UNREADABLE = "/unreadable"
PREFIX = "guardrail/"


@dataclass(frozen=True, slots=True)
class Guardrail:
    """One guardrail, parsed and validated, with its companion if it reads arguments."""

    id: str  # `guardrail/no-night-writes`
    source: Source
    reason: str
    mend: str
    texts: tuple[str, ...]  # Cedar: its own, and its companion's
    policies: Mapping[str, Json]  # by id
    mentions: Mentions
    statement: Statement
    force: Force = Force.CEILING
    answers: tuple[str, ...] = ()  # items of catalogues: `OWASP ASI02`

    @property
    def name(self) -> str:
        """Its id as charters name it in `exceptions`."""
        return self.id.removeprefix(PREFIX)

    @property
    def text(self) -> str:
        """Its Cedar, companion included."""
        return "".join(self.texts)

    @property
    def roles(self) -> frozenset[str]:
        """The roles whose yes it accepts."""
        return self.mentions.roles

    def concerns(self, principal: str, actions: Mapping[str, str]) -> bool:
        """Whether it could ever forbid one of `actions` (id -> group) to `principal`, by its scope."""
        scope = self.policies[self.id]
        systems = {action.partition("/")[0] for action in actions}
        return (
            _scope_ids(scope["principal"], "Charter::Principal") in (None, {principal})
            and _covers_action(scope["action"], actions)
            and _covers_system(scope["resource"], systems)
        )


def _scope_ids(constraint: Json, kind: str) -> set[str] | None:
    """Return the ids that a scope's constraint allows; None for any."""
    if constraint["op"] not in ("==", "in"):
        return None
    entities = constraint.get("entities") or [constraint["entity"]]
    return {each["id"] for each in entities if each["type"] == kind}


def _covers_action(constraint: Json, actions: Mapping[str, str]) -> bool:
    allowed = _scope_ids(constraint, "Charter::Action")
    return allowed is None or not allowed.isdisjoint(actions.keys() | set(actions.values()))


def _covers_system(constraint: Json, systems: set[str]) -> bool:
    if constraint["op"] not in ("==", "in"):
        return constraint.get("in") is None or constraint["in"]["entity"]["id"] in systems
    return str(constraint["entity"]["id"]).partition("/")[0] in systems


def parse_guardrails(path: str, text: str, engine: Engine) -> tuple[Guardrail, ...]:
    """Return the guardrails of one file.

    Raises:
        EstateError: the text is no Cedar, widens, is a template, does not validate strictly, or names no zone; all
        problems, each with its line and column.
    """
    problems: list[Problem] = []
    guardrails: list[Guardrail] = []
    for number, statement in enumerate(split_statements(path, text), start=1):
        try:
            guardrails.append(_guardrail(statement, number, engine))
        except EstateError as err:
            problems += err.problems
    problems += _twice(guardrails)
    if problems:
        raise EstateError(problems)
    return tuple(guardrails)


def _twice(guardrails: list[Guardrail]) -> list[Problem]:
    first: dict[str, Guardrail] = {}
    return [
        Problem.at(
            each.source, f"the id of `{each.id}` is taken", f"by the one at {first[each.id].source}; choose another"
        )
        for each in guardrails
        if first.setdefault(each.id, each) is not each
    ]


def _guardrail(statement: Statement, number: int, engine: Engine) -> Guardrail:
    policy = parse_one(statement, engine)
    mentions = mentions_of(policy)
    annotations = annotations_of(statement, policy, mentions, ANNOTATIONS)
    problems = [*_form_problems(statement, policy), *_force_problems(statement, annotations, mentions)]
    if problems:
        raise EstateError(problems)
    rule_id = PREFIX + (annotations.get("id") or _default_id(statement.path, number))
    return rule_of(statement, policy, mentions, rule_id, engine)


def rule_of(statement: Statement, policy: Json, mentions: Mentions, rule_id: str, engine: Engine) -> Guardrail:
    """Return the rule that a forbidding statement is, with its companion.

    Raises:
        EstateError: it does not validate strictly.
    """
    annotations = _annotations(policy)
    texts, policies = [statement.text + "\n"], {rule_id: policy}
    companion = _companion(statement, rule_id, mentions)
    if companion:
        policies[rule_id + UNREADABLE] = engine.parse(companion)[0]
        texts.append(companion)
    faults = engine.faults(statement.text, own_schema(mentions))
    if faults:
        raise EstateError(fault_problems(statement, [said for _, said in faults], mentions.arguments))
    return Guardrail(
        id=rule_id,
        source=statement.source,
        reason=annotations.get("reason") or f"the rule `{rule_id.removeprefix(PREFIX)}` forbids it",
        mend=annotations.get("mend") or f"ask whoever keeps {statement.path}",
        texts=tuple(texts),
        policies=policies,
        mentions=mentions,
        statement=statement,
        force=Force(annotations.get("force", Force.CEILING)),
        answers=tuple(part.strip() for part in annotations.get("answers", "").split(",") if part.strip()),
    )


def annotations_of(statement: Statement, policy: Json, mentions: Mentions, known: tuple[str, ...]) -> dict[str, str]:
    """Return the annotations of a policy, once they and the words that no schema checks make sense.

    Raises:
        EstateError: they do not.
    """
    annotations = _annotations(policy)
    problems = [*_annotation_problems(statement, annotations, mentions, known)]
    problems += [zone_problem(statement, zone) for zone in sorted(mentions.zones) if not is_zone(zone)]
    if problems:
        raise EstateError(problems)
    return annotations


def _annotations(policy: Json) -> dict[str, str]:
    return {name: str(text or "") for name, text in policy.get("annotations", {}).items()}


def written_guardrail(rule_id: str, text: str, source: Source, engine: Engine) -> Guardrail:
    """Return a guardrail whose `text` Charter wrote for what stands at `source`, under the id `rule_id`."""
    (statement,) = split_statements(source.path, text)
    found = _guardrail(statement, 1, engine)
    policies = {rule_id + name.removeprefix(found.id): policy for name, policy in found.policies.items()}
    texts = (f"{annotation('id', rule_id)}\n{found.texts[0]}", *found.texts[1:])
    return replace(found, id=rule_id, source=source, policies=policies, texts=texts)


def until(guardrail: Guardrail, moment: dt.datetime, engine: Engine) -> Guardrail:
    """Return `guardrail` as it stands for whom it does not hold before `moment`."""
    clause = f"\nwhen {{ context.now >= {cedar_moment(moment)} }};\n"
    texts = [f"{part.rstrip().removesuffix(';')}{clause}" for part in guardrail.texts]
    policies = [engine.parse(text)[0] for text in texts]
    return replace(guardrail, texts=tuple(texts), policies=dict(zip(guardrail.policies, policies, strict=True)))


def own_schema(mentions: Mentions) -> str:
    """Return the smallest schema that a policy with these mentions can be validated against, whatever the estate."""
    actions = NO_ACTIONS | dict.fromkeys(mentions.actions, "write")
    return schema_text(actions, mentions.zones, mentions.arguments)


def parse_one(statement: Statement, engine: Engine) -> Json:
    """Return the one policy that a statement is; EstateError tells where it is none."""

    def fault(text: str) -> str | None:
        try:
            engine.parse(text)
        except PolicyTextError as err:
            return err.detail
        return None

    if any(token.text == "?" for token in statement.tokens):
        slot = next(token for token in statement.tokens if token.text == "?")
        problem = Problem.at(statement.source_of(slot), "templates are not accepted", "write the name itself")
        raise EstateError([problem])
    if statement.tokens[-1].text != ";":
        raise EstateError([syntax_problem(statement, "unexpected end of input", fault)])
    try:
        policies = engine.parse(statement.text)
    except PolicyTextError as err:
        raise EstateError([syntax_problem(statement, err.detail, fault)]) from err
    if len(policies) != 1:
        raise EstateError([Problem.at(statement.source, "this is no single policy", "write one `forbid (…) … ;`")])
    return policies[0]


def _form_problems(statement: Statement, policy: Json) -> Iterator[Problem]:
    if policy["effect"] != "forbid":
        text = "a guardrail narrows, and a `permit` would widen"
        yield Problem.at(statement.source, text, "write `forbid`; what is allowed stands in charters' grants")


def _annotation_problems(
    statement: Statement, annotations: Mapping[str, str], mentions: Mentions, known: tuple[str, ...]
) -> Iterator[Problem]:
    for name in annotations:
        near = None if name in known else nearest(name, known)
        if near:
            token = statement.find(name) or statement.tokens[0]
            yield Problem.at(statement.source_of(token), f"`@{name}` means nothing here", f"did you mean `@{near}`?")
    if "id" in annotations:
        try:
            parse_name(annotations["id"], "guardrail's id")
        except MalformedError as err:
            yield Problem.at(statement.source_of(statement.find("id") or statement.tokens[0]), err.detail, err.help)
    role = annotations.get("approval")
    if role is not None and role not in mentions.roles:
        token = statement.find("approval") or statement.tokens[0]
        help = f'add `unless {{ context.approvals.contains("{role[:63]}") }}`'
        yield Problem.at(statement.source_of(token), f"the rule never asks for the approval of `{role[:63]}`", help)
    if mentions.has_loose_approvals:
        token = statement.find("approvals") or statement.tokens[0]
        text = "approvals can only be asked for by a role that is written out"
        yield Problem.at(statement.source_of(token), text, 'write `context.approvals.contains("platform-lead")`')


def _force_problems(statement: Statement, annotations: Mapping[str, str], mentions: Mentions) -> Iterator[Problem]:
    force = annotations.get("force", Force.CEILING.value)
    token = statement.find("force") or statement.tokens[0]
    if force not in tuple(Force):
        words = tuple(each.value for each in Force)
        yield Problem.at(statement.source_of(token), f"`{force[:63]}` is no force", suggestion(force, words))
    elif force == Force.HARD and mentions.roles:
        text = "what is hard nobody lifts, and yet this asks for an approval"
        yield Problem.at(statement.source_of(token), text, 'remove the approval, or write `@force("ceiling")`')


def _default_id(path: str, number: int) -> str:
    stem = re.sub(r"[^a-z0-9]+", "-", PurePosixPath(path).stem.lower()).strip("-")[:50].strip("-")
    return f"{stem or 'guardrail'}-{number}"


def _companion(statement: Statement, rule_id: str, mentions: Mentions) -> str | None:
    """Return the policy that denies what the guardrail reads but cannot, None if it reads no argument."""
    terms = unreadable_text(mentions)
    if terms is None:
        return None
    return f"{annotation('id', rule_id + UNREADABLE)}\nforbid {statement.scope()}\nwhen {{ {terms} }};\n"


def unreadable_text(mentions: Mentions) -> str | None:
    """Return, in Cedar, that the call gives an argument in none of the forms that are read; None if none is read."""
    terms = []
    for name, forms in sorted(mentions.arguments.items()):
        read = sorted(forms & frozenset(FORMS))
        if read:
            base = attribute("context.arguments", name)
            missing = " && ".join(f"!({base} has {form})" for form in read)
            terms.append(f"(context.arguments has {key(name)} && {missing})")
    return any_of(terms) if terms else None
