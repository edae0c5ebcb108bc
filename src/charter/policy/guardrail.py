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
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from charter.core.errors import MalformedError
from charter.core.values import Source, parse_name
from charter.policy.cedar_text import annotation, any_of, attribute, key
from charter.policy.cedar_text import moment as cedar_moment
from charter.policy.engine import Engine, Json, PolicyTextError
from charter.policy.guardrail_fault import fault_problems, is_zone, zone_problem
from charter.policy.statement import Statement, split_statements, syntax_problem
from charter.policy.vocabulary import FORMS, GROUPS, NO_ACTIONS, schema_text
from charter.registry.problem import EstateError, Problem, nearest, suggestion
from charter.registry.rule import Force

ANNOTATIONS = ("id", "reason", "mend", "approval", "force", "answers")
UNREADABLE = "/unreadable"
PREFIX = "guardrail/"


@dataclass(frozen=True, slots=True)
class Mentions:
    """What a policy names, found in its parsed form."""

    entities: frozenset[tuple[str, str]] = frozenset()  # (type, id)
    zones: frozenset[str] = frozenset()
    arguments: Mapping[str, frozenset[str]] = field(
        default_factory=dict
    )  # argument -> forms read; none: asked for only
    roles: frozenset[str] = frozenset()
    has_loose_approvals: bool = False  # approvals are used otherwise than by `contains` of a role written out
    calendars: frozenset[tuple[str, str]] = frozenset()  # (zone of their days, name)
    comparisons: frozenset[tuple[str, str, str]] = frozenset()  # (variable, attribute, text it is compared with)

    @property
    def actions(self) -> frozenset[str]:
        """The ids of the actions named, groups left out."""
        return frozenset(name for kind, name in self.entities if kind == "Charter::Action" and name not in GROUPS)


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
    policy = _parsed(statement, engine)
    annotations = {name: str(text or "") for name, text in policy.get("annotations", {}).items()}
    mentions = mentions_of(policy)
    problems = [*_form_problems(statement, policy), *_annotation_problems(statement, annotations, mentions)]
    problems += [zone_problem(statement, zone) for zone in sorted(mentions.zones) if not is_zone(zone)]
    if problems:
        raise EstateError(problems)
    rule_id = PREFIX + (annotations.get("id") or _default_id(statement.path, number))
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
        reason=annotations.get("reason") or f"the guardrail `{rule_id.partition('/')[2]}` forbids it",
        mend=annotations.get("mend") or f"ask whoever keeps {statement.path}",
        texts=tuple(texts),
        policies=policies,
        mentions=mentions,
        statement=statement,
        force=Force(annotations.get("force", Force.CEILING)),
        answers=tuple(part.strip() for part in annotations.get("answers", "").split(",") if part.strip()),
    )


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


def _parsed(statement: Statement, engine: Engine) -> Json:
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


def _annotation_problems(statement: Statement, annotations: Mapping[str, str], mentions: Mentions) -> Iterator[Problem]:
    for name in annotations:
        near = None if name in ANNOTATIONS else nearest(name, ANNOTATIONS)
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
    yield from _force_problems(statement, annotations, mentions)
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
    terms = []
    for name, forms in sorted(mentions.arguments.items()):
        read = sorted(forms & frozenset(FORMS))
        if read:
            base = attribute("context.arguments", name)
            missing = " && ".join(f"!({base} has {form})" for form in read)
            terms.append(f"(context.arguments has {key(name)} && {missing})")
    if not terms:
        return None
    return f"{annotation('id', rule_id + UNREADABLE)}\nforbid {statement.scope()}\nwhen {{ {any_of(terms)} }};\n"


# --- what a policy mentions -------------------------------------------------------------------------------------------


def mentions_of(policy: Json) -> Mentions:
    """Return what `policy` names. Reads Cedar's JSON policy format."""
    found = _Finder()
    for place in ("principal", "action", "resource"):
        found.scope(policy[place])
    for condition in policy["conditions"]:
        found.walk(condition["body"])
    return Mentions(
        frozenset(found.entities),
        frozenset(found.zones),
        {name: frozenset(forms) for name, forms in found.arguments.items()},
        frozenset(found.roles),
        found.approvals > found.asked,
        frozenset(found.calendars),
        frozenset(found.comparisons),
    )


def _path(node: Any) -> tuple[str, ...]:  # noqa: ANN401 - any JSON value
    """Return `("context", "arguments", "amount")` for such a chain of accesses, () for anything else."""
    if not isinstance(node, dict) or len(node) != 1:
        return ()
    if "Var" in node:
        return (str(node["Var"]),)
    access = node.get(".")
    base = _path(access["left"]) if access else ()
    return (*base, str(access["attr"])) if base and access else ()


def _texts(node: Any) -> list[str] | None:  # noqa: ANN401
    """Return the string, or the strings of the set, that `node` writes out; None if it is anything else."""
    if not isinstance(node, dict):
        return None
    if isinstance(node.get("Value"), str):
        return [node["Value"]]
    if isinstance(node.get("Set"), list):
        inner = [_texts(each) for each in node["Set"]]
        return [text for each in inner if each for text in each] if all(inner) else None
    return None


@dataclass(slots=True)
class _Finder:
    entities: set[tuple[str, str]] = field(default_factory=set)
    zones: set[str] = field(default_factory=set)
    arguments: dict[str, set[str]] = field(default_factory=dict)
    roles: set[str] = field(default_factory=set)
    calendars: set[tuple[str, str]] = field(default_factory=set)
    comparisons: set[tuple[str, str, str]] = field(default_factory=set)
    approvals: int = 0  # how often they are read
    asked: int = 0  # … of which for roles written out

    def scope(self, constraint: Json) -> None:
        within = constraint.get("in") or {}
        for each in (constraint.get("entity"), within.get("entity"), *constraint.get("entities", ())):
            if each and "type" in each:
                self.entities.add((each["type"], each["id"]))

    def walk(self, root: Any) -> None:  # noqa: ANN401
        stack = [root]
        while stack:
            node = stack.pop()
            if isinstance(node, list):
                stack += node
            elif isinstance(node, dict) and isinstance(node.get("Record"), dict):
                stack += node["Record"].values()  # its keys are an author's words, not Cedar's
            elif isinstance(node, dict):
                self._see(node)
                stack += node.values()

    def _see(self, node: Json) -> None:
        if "__entity" in node:
            self.entities.add((node["__entity"]["type"], node["__entity"]["id"]))
        self._see_access(_path(node))
        if isinstance(node.get("has"), dict):
            self._see_has((*_path(node["has"]["left"]), str(node["has"]["attr"])))
        for operator in ("==", "contains", "containsAny", "containsAll"):
            if isinstance(node.get(operator), dict):
                self._see_comparison(operator, node[operator].get("left"), node[operator].get("right"))

    def _see_access(self, path: tuple[str, ...]) -> None:
        match path:
            case ("context", "local", zone):
                self.zones.add(zone)
            case ("context", "arguments", name):
                self.arguments.setdefault(name, set())
            case ("context", "arguments", name, form):
                self.arguments.setdefault(name, set()).add(form)
            case ("context", "approvals"):
                self.approvals += 1
            case _:
                pass

    def _see_has(self, path: tuple[str, ...]) -> None:
        match path:
            case ("context", "local", zone):
                self.zones.add(zone)
            case ("context", "arguments", name):
                self.arguments.setdefault(name, set())
            case _:
                pass

    def _see_comparison(self, operator: str, left: Any, right: Any) -> None:  # noqa: ANN401
        for one, other in ((left, right), (right, left)):
            path, texts = _path(one), _texts(other)
            if path == ("context", "approvals") and texts and one is left and operator != "==":
                self.asked += 1
                self.roles.update(texts)
            elif path[:2] == ("context", "local") and path[3:] in (("workdays",), ("before",)) and texts:
                self.calendars.update((path[2], text) for text in texts)
            elif len(path) == 2 and texts:  # noqa: PLR2004 - a variable and its attribute
                self.comparisons.update((path[0], path[1], text) for text in texts)
