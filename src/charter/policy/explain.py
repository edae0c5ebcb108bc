"""Reasons a person understands: which rule decided, where it stands, whose authority lacked, what would mend it.

Nothing here decides. Where no grant allowed a call, the nearest one is told of: the one that covers the action and has
the fewest conditions that the call does not satisfy.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec.structs import replace

from charter.policy.builtin import DATA, ENVIRONMENT, RESTRAINED, RESTRAINED_ROLE
from charter.policy.condition import ArgumentRule, Condition, SumRule
from charter.policy.grant import SCALE, ApprovalNeed, GrantRule
from charter.policy.guardrail import UNREADABLE
from charter.policy.own import OwnPermit
from charter.policy.phrase import amount_text, asked, given, phrase_of, widened, words
from charter.policy.request import DOUBTS, Request
from charter.policy.slice import Slice
from charter.policy.verdict import Layer, LimitDue, Reason
from charter.policy.vocabulary import Question
from charter.registry.problem import nearest
from charter.registry.seat import role_of, told

MAX_REASONS = 8  # of one grant
_THROUGH = "through plan and apply"
_ORDER = (ENVIRONMENT, DATA)  # of built-in rules, before guardrails; the restraint comes last


# --- no policy to ask -------------------------------------------------------------------------------------------------


def no_policy(principal: str) -> Reason:
    """Tell that no policy is loaded."""
    text = f"no policy is loaded for {principal}, so nothing is allowed"
    return Reason(Layer.POLICY_ERROR, "built-in/policy", text, "apply an estate that holds its charter", principal)


def other_policy(principal: str, found: str) -> Reason:
    """Tell that the policy at hand is not the asker's."""
    text = f"the policy loaded for {principal} is that of {found}, or of another charter, so nothing is allowed"
    return Reason(Layer.POLICY_ERROR, "built-in/policy", text, "apply the estate again", principal)


def policy_error(bound: Slice, rule: str, said: str) -> Reason:
    """Tell that a policy could not be evaluated."""
    grant, guardrail = bound.grant(rule), bound.guardrail(rule)
    source = grant.source if grant else guardrail.source if guardrail else None
    which = f"the policy `{rule}`" if rule != "?" else f"the policies of {bound.principal}"
    text = f"{which} could not be evaluated ({_one_line(said)}), so nothing is allowed"
    mend = f"mend it at {source}: charter validate tells how" if source else "charter validate tells how to mend it"
    rule_id = rule if rule != "?" else "built-in/policy"
    return Reason(Layer.POLICY_ERROR, rule_id, text, mend, bound.principal, source)


def _one_line(said: str) -> str:
    return " ".join(said.split())[:160]


def not_granted(bound: Slice, request: Request) -> Reason:
    """Tell that no grant names the action, with the nearest one that does."""
    who, system, action = bound.principal, request.system, request.action
    source = bound.place("grants")
    where = f"to {source}" if source else "to its charter"
    if system not in bound.systems:
        near = nearest(system, bound.systems)
        text = f"{who} has no grant on `{system}`"
        mend = f"add a grant for `{system}` {where} {_THROUGH}"
    else:
        actions = bound.actions_on(system)
        near = nearest(action, sorted(actions))
        source = next(bound.place(f"{grant.place}.actions") for grant in bound.grants if grant.system == system)
        where = f"to `actions` at {source}" if source else "to its charter"
        text = f"{who} has no grant for `{action}` on `{system}`"
        mend = f"add `{action}` {where} {_THROUGH}"
    rule = f"{who}/grants"
    return Reason(Layer.CHARTER, rule, text, f"did you mean `{near}`? Or {mend}" if near else mend, who, source)


# --- allowed ----------------------------------------------------------------------------------------------------------


def allowed(bound: Slice, grant: GrantRule | OwnPermit) -> Reason:
    """Tell which grant, or permit of the Cedar beside the charter, allows."""
    rule, source = grant.id, grant.source
    text = f"allowed by {rule} ({source})" if source else f"allowed by {rule}"
    return Reason(Layer.CHARTER, rule, text, "nothing more is needed", bound.principal, source)


def only_others(bound: Slice, rules: Sequence[str]) -> Reason:
    """Tell that a call is allowed, but by none of the grants that the token is narrowed to."""
    who = bound.principal
    text = f"this token of `{who}` is narrowed to other grants than {', '.join(f'`{rule}`' for rule in rules[:3])}"
    mend = "ask for a token without, or with wider `authorization_details`"
    return Reason(Layer.TOKEN, "token/authorization_details", text, mend, who)


def over_limit(bound: Slice, request: Request, due: LimitDue) -> Reason:
    """Tell that one call alone is more than a limit holds."""
    asks, most = amount_text(due.amount, SCALE, due.text), amount_text(due.ceiling, SCALE, due.text)
    text = f"{_may(bound, request)} within {due.text}; this call alone asks {asks}"
    mend = f"ask for at most {most}, or {widened('raise', 'max', due.source)}"
    return Reason(Layer.LIMIT, due.key, text, mend, bound.principal, due.source)


# --- denied -----------------------------------------------------------------------------------------------------------


def denied(
    bound: Slice,
    request: Request,
    question: Question,
    rules: Sequence[str],
    unmoved: Collection[str] = (),
) -> tuple[Reason, ...]:
    """Return why the call is denied, the firmest reason first.

    That is: the rules that forbid it and that nothing lifts, then what the nearest grant lacks if none would allow it,
    then the rules that a person's yes would lift. `unmoved`: rules that forbid this call whatever people say.
    """
    fired = [rule for rule in rules if not bound.may_allow(rule)]
    told = [rule for rule in fired if not (rule.endswith(UNREADABLE) and rule.removesuffix(UNREADABLE) in fired)]
    firm = [rule for rule in told if not bound.roles_lifting(rule)]
    liftable = [rule for rule in told if rule not in firm]
    reasons = [_forbidden(bound, request, rule) for rule in sorted(firm, key=_rank)]
    reasons += _lacking(bound, request, question, is_forbidden=bool(fired))
    reasons += [
        _unasked(bound, request, rule) if rule in unmoved else _forbidden(bound, request, rule)
        for rule in sorted(liftable, key=_rank)
    ]
    if not reasons:
        return (policy_error(bound, "?", "it denied the call by no rule that is known"),)
    return tuple(reasons)


def _rank(rule: str) -> tuple[int, str]:
    if rule in _ORDER:
        return (_ORDER.index(rule), rule)
    return (len(_ORDER) + (rule == RESTRAINED), rule)


def _forbidden(bound: Slice, request: Request, rule: str) -> Reason:
    who = bound.principal
    if rule == ENVIRONMENT:
        here, there = bound.environment.value, request.system_environment.value
        text = f"{who} runs in `{here}` and `{request.system}` is in `{there}`; environments are kept apart"
        mend = f"use a system in `{here}`, or a principal of its own in `{there}`"
        return Reason(Layer.GUARDRAIL, rule, text, mend, who, bound.place("environment"))
    if rule == DATA:
        return _outside_data(bound, request)
    if rule == RESTRAINED:
        return _restrained(bound)
    return _guarded(bound, request, rule)


def _outside_data(bound: Slice, request: Request) -> Reason:
    touched = request.touched
    flows = (("reads", "read", touched.reads), ("writes", "write", touched.writes), ("sends", "send", touched.sends))
    for verb, field, classes in flows:
        outside = sorted(classes.difference(getattr(bound.flow, field) or ()))
        if outside:
            return _outside_flow(bound, request, (verb, field, outside))
    return policy_error(bound, DATA, "it forbade the call, and all data of it are covered")


def _outside_flow(bound: Slice, request: Request, way: tuple[str, str, list[str]]) -> Reason:
    verb, field, outside = way
    unknown = [each for each in outside if each not in bound.data]
    missing = words(unknown or outside, last=" and ")
    place = "data" if unknown else f"data_flow.{field}"
    source = bound.place(place)
    where = f"`{request.action}` on `{request.system}`"
    to = " to a model provider" if field == "send" else ""
    text = f"{where} {verb} {missing}{to}, which the charter of {bound.principal} does not cover"
    mend = f"add {missing} to `{place}` {f'at {source}' if source else 'in its charter'} {_THROUGH}"
    return Reason(Layer.CHARTER, DATA, text, mend, bound.principal, source)


def _restrained(bound: Slice) -> Reason:
    who = bound.principal
    text = f"{who} is restrained, so each call that changes something needs the yes of `{RESTRAINED_ROLE}`"
    mend = f"someone with the role `{RESTRAINED_ROLE}` can approve exactly this call, or run: charter resume {who}"
    return Reason(Layer.APPROVAL, RESTRAINED, text, mend, who)


def _guarded(bound: Slice, request: Request, rule: str) -> Reason:
    guardrail = bound.guardrail(rule)
    if guardrail is None:
        return policy_error(bound, rule, "it forbade the call, and is not known")
    if rule.endswith(UNREADABLE):
        names = words([name for name, forms in sorted(guardrail.mentions.arguments.items()) if forms], last=" or ")
        text = f"`{guardrail.id}` reads {names}, and this call gives it in a form that cannot be compared"
        mend = f"send {names} as plain text, a number with at most 4 decimals, true or false"
        return Reason(_layer(rule), rule, text, mend, bound.principal, guardrail.source)
    reads = [name for name in ("tired", *DOUBTS) if f"context.flow.{name}" in guardrail.text]
    told = [*(request.flow.told if set(reads).intersection(DOUBTS) else ())]
    told += (
        ["people were asked as often as they may be within the hour"] if request.flow.tired and "tired" in reads else []
    )
    text = f"{guardrail.reason}: {'; '.join(told)}" if told else guardrail.reason
    return Reason(_layer(rule), rule, text, guardrail.mend, bound.principal, guardrail.source)


def _unasked(bound: Slice, request: Request, rule: str) -> Reason:
    """Tell of a rule that asks people in other cases, and of what would mend the call while it asks nobody."""
    told, guardrail = _forbidden(bound, request, rule), bound.guardrail(rule)
    if guardrail is None or "context.flow" not in guardrail.text:
        return told
    other = "leave the data out" if "context.flow.data" in guardrail.text else "let the person's own request name it"
    is_worn = request.flow.tired and "context.flow.tired" in guardrail.text
    when = "until some of the questions are an hour old" if is_worn else "about such a call"
    return replace(told, mend=f"{other}: nobody is asked {when} (docs/data-flow.md)")


def _layer(rule: str) -> Layer:
    """Return whose rule it is: one beside the charter is the charter's."""
    return Layer.CHARTER if "/policy/" in rule else Layer.GUARDRAIL


def _lacking(bound: Slice, request: Request, question: Question, *, is_forbidden: bool) -> list[Reason]:
    """Return what would have to be so for some grant or own permit to allow the call.

    Whether an own permit's conditions hold is Cedar's to say. Where a rule forbids, it may be that one does, and
    nothing is told of it; where none does, no permit did.
    """
    own = bound.permitting(request.system, request.action)
    if own and is_forbidden:
        return []
    if bound.covering(request.system, request.action):
        return _nearest_grant(bound, request, question)
    return [_unmet(bound, request, own[0])]


def _unmet(bound: Slice, request: Request, permit: OwnPermit) -> Reason:
    what = f"{bound.principal} may do `{request.action}` on `{request.system}` only as `{permit.id}` says"
    text = f"{what}: {permit.reason}" if permit.reason else f"{what}, and this call is not so"
    return Reason(Layer.CHARTER, permit.id, text, permit.mend, bound.principal, permit.source)


def _nearest_grant(bound: Slice, request: Request, question: Question) -> list[Reason]:
    """Return what the call lacks for the nearest grant; nothing if some grant has all it asks."""
    candidates = [
        (grant, grant.failures(question), _missing_role(grant, request, question))
        for grant in bound.covering(request.system, request.action)
    ]
    grant, failures, need = min(candidates, key=lambda each: (len(each[1]), each[2] is not None))
    if failures or need is None:
        return [_failed(bound, grant, each, (request, question)) for each in _distinct(failures)[:MAX_REASONS]]
    return [_unapproved(bound, grant, need, (request, question))]


def _missing_role(grant: GrantRule, request: Request, question: Question) -> ApprovalNeed | None:
    need = grant.approval
    return need if need and not request.approvals.issuperset(need.seats) and need.is_needed(question) else None


def _distinct(failures: Sequence[Condition]) -> list[Condition]:
    """Return the failures, less those of sums whose argument has failed another condition."""
    failed = {each.test.argument for each in failures if isinstance(each, ArgumentRule)}
    return [each for each in failures if not (isinstance(each, SumRule) and each.argument in failed)]


def _failed(bound: Slice, grant: GrantRule, condition: Condition, call: tuple[Request, Question]) -> Reason:
    phrase = phrase_of(condition, *call)
    text = f"{_may(bound, call[0])} {phrase.allowed}; {phrase.given}"
    return Reason(Layer.CHARTER, grant.id, text, phrase.mend, bound.principal, phrase.source or grant.source)


def _may(bound: Slice, request: Request) -> str:
    return f"{bound.principal} may do `{request.action}` on `{request.system}`"


# --- held for approval ------------------------------------------------------------------------------------------------


def held(
    bound: Slice,
    request: Request,
    question: Question,
    decided: tuple[Sequence[str], Sequence[GrantRule | OwnPermit], frozenset[str]],
) -> tuple[Reason, ...]:
    """Return whom the call waits for and why.

    `decided`: the rules that forbade it, the grants that allow it once approved, and the roles that must say yes.
    """
    fired, grants, roles = decided
    reasons = []
    for grant in grants:
        if isinstance(grant, OwnPermit):
            reasons += [_own_unapproved(bound, request, grant, roles)] if grant.roles & roles else []
            continue
        need = grant.approval
        if need and not roles.isdisjoint(need.seats) and need.is_needed(question):
            reasons.append(_unapproved(bound, grant, need, (request, question)))
    guards = [
        _restrained(bound) if rule == RESTRAINED else _guarded_until(bound, request, rule, roles) for rule in fired
    ]
    return (*reasons, *guards)


def _unapproved(
    bound: Slice,
    grant: GrantRule,
    need: ApprovalNeed,
    call: tuple[Request, Question],
) -> Reason:
    request, question = call
    rules = [rule for rule in need.rules if not rule.is_free(question)]
    under = " and ".join(asked(rule.test) for rule in rules)
    conditions = f" with {under}" if under else ""
    seen = "; " + given(rules[0].test, question.argument(rules[0].test.argument)) if rules else ""
    role, is_one = role_of(need.seats[0]), len(need.seats) == 1
    who = f"`{role}` says yes" if is_one else f"{told(need.seats)} say yes"
    text = f"{_may(bound, request)}{conditions} only once {who}{seen}"
    mend = f"{'someone' if is_one else 'people'} with the role `{role}` can approve exactly this call"
    return Reason(Layer.APPROVAL, grant.id, text, mend, bound.principal, need.source or grant.source)


def _own_unapproved(bound: Slice, request: Request, permit: OwnPermit, roles: frozenset[str]) -> Reason:
    who = told(sorted(permit.roles & roles))
    text = f"{_may(bound, request)} by `{permit.id}` only once {who} says yes"
    mend = f"someone with the role {who} can approve exactly this call"
    return Reason(Layer.APPROVAL, permit.id, text, mend, bound.principal, permit.source)


def _guarded_until(bound: Slice, request: Request, rule: str, roles: frozenset[str]) -> Reason:
    reason = _guarded(bound, request, rule)
    guardrail = bound.guardrail(rule)
    who = told(sorted(roles & guardrail.roles if guardrail else roles))
    mend = f"someone with the role {who} can approve exactly this call"
    return Reason(Layer.APPROVAL, rule, reason.text, mend, bound.principal, reason.source)
