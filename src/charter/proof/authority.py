"""What a slice allows of one action, as terms: the same answer that `policy/decide.py` gives, for all calls at once.

    allowed   =  no policy errs, none forbids, and a lane is open
    a lane    =  a grant or an own permit that is satisfied, with no amount beyond what its limits hold for one call

Approvals are among the unknowns, so what needs a yes is allowed where the yes is given, and not where it is not.

INVARIANT: `allowed`, evaluated at a call, is true exactly where `decide` allows it with the approvals of that call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from charter.policy.builtin import BUILT_IN
from charter.policy.engine import Engine, Json
from charter.policy.grant import GrantRule, LimitRule
from charter.policy.own import OwnPermit
from charter.policy.slice import Authority, Slice, parsed_grants
from charter.policy.vocabulary import action_id
from charter.proof.cedar import Rule, rule_of
from charter.proof.setting import Setting, setting_of
from charter.proof.term import FALSE, Term, below, every, implied, negated, parts_of, rewritten, some, value
from charter.registry.system import System


@dataclass(frozen=True, slots=True)
class Lane:
    """One rule by which the action may be allowed."""

    rule: str
    open: Term
    limits: tuple[LimitRule, ...]


@dataclass(frozen=True, slots=True)
class Reach:
    """What a slice allows of one action."""

    setting: Setting | None  # None: there is no such action, or nothing grants it
    lanes: tuple[Lane, ...] = ()
    forbids: Mapping[str, Term] = field(default_factory=dict)  # by id
    errs: Term = FALSE

    @property
    def stopped(self) -> Term:
        """That a policy forbids the call, or errs."""
        return some((*self.forbids.values(), self.errs))

    @property
    def granted(self) -> Term:
        """That a lane is open, whatever forbids the call."""
        return some(lane.open for lane in self.lanes)

    @property
    def allowed(self) -> Term:
        """That the call is allowed with the approvals that it has."""
        return every((negated(self.stopped), self.granted))

    @property
    def allowed_unasked(self) -> Term:
        """That the call is allowed without anybody's yes."""
        return _with_approvals(self.allowed, is_given=False)

    @property
    def allowed_at_most(self) -> Term:
        """That the call is allowed if everyone says yes."""
        return _with_approvals(self.allowed, is_given=True)


def _with_approvals(term: Term, *, is_given: bool) -> Term:
    """Return what is left of a term where everyone has said yes, or nobody."""
    change = {}
    for each in parts_of([term]):
        if each.op in ("has", "within") and each.data[0] == "approvals":
            change[each] = value(is_given is (each.op == "has"))
    return rewritten(term, change)


NOTHING = Reach(None)


def reach_of(bound: Slice | None, systems: Mapping[str, System], action: tuple[str, str], engine: Engine) -> Reach:
    """Return what a slice allows of an action, given as system and name; None is a slice that allows nothing.

    Raises:
        NotModelledError: a policy that concerns it is outside what is proven.
    """
    system = systems.get(action[0])
    if bound is None or system is None or action[1] not in system.actions:
        return NOTHING
    if action_id(*action) not in bound.granted:
        return NOTHING
    setting = setting_of(bound, system, action[1])
    rules = {name: (policy, _rule(policy, setting)) for name, policy in policies_of(bound, engine).items()}
    allowing: list[GrantRule | OwnPermit] = [*bound.grants, *bound.permits.values()]
    lanes = [
        Lane(each.id, every((rules[each.id][1].satisfied, _within(each, setting))), _limits(each))
        for each in allowing
        if rules[each.id][1].satisfied is not FALSE
    ]
    forbids = {
        name: rule.satisfied
        for name, (policy, rule) in rules.items()
        if policy["effect"] == "forbid" and rule.satisfied is not FALSE
    }
    return Reach(setting, tuple(lanes), forbids, some(rule.errs for _, rule in rules.values()))


def _rule(policy: Json, setting: Setting) -> Rule:
    return rule_of(policy, setting.variables)


def _limits(rule: GrantRule | OwnPermit) -> tuple[LimitRule, ...]:
    return rule.limits if isinstance(rule, GrantRule) else ()


def _within(rule: GrantRule | OwnPermit, setting: Setting) -> Term:
    """Return that a call alone is no more than the sums that its grant allows."""
    arguments = {each.name: each for each in setting.arguments}
    found = []
    for each in _limits(rule):
        argument = arguments.get(each.limit.sum or "")
        if argument is not None:
            over = below(value(each.ceiling), argument.quantity)
            found.append(implied(every((argument.presence, argument.has_quantity)), negated(over)))
    return every(found)


def policies_of(bound: Slice, engine: Engine) -> dict[str, Json]:
    """Return every policy of a slice under its id, in Cedar's JSON."""
    policies = _built_in(engine)
    for each in bound.guardrails.values():
        policies |= each.policies
    grants = _grants(bound.authority, engine)
    own = {name if bound.authority.party else bound.principal + name: policy for name, policy in grants.items()}
    return policies | own | {each.id: each.policy for each in bound.permits.values()}


def _built_in(engine: Engine) -> dict[str, Json]:
    if not _BUILT_IN:
        _BUILT_IN.update(zip(BUILT_IN, engine.parse("\n".join(BUILT_IN.values())), strict=True))
    return dict(_BUILT_IN)


_BUILT_IN: dict[str, Json] = {}  # the same text for everybody, parsed once
_PARSED: dict[int, tuple[Authority, dict[str, Json]]] = {}
MAX_PARSED = 256


def _grants(authority: Authority, engine: Engine) -> dict[str, Json]:
    """Return the parsed grants of an authority; the last few are remembered, for each action asks."""
    known = _PARSED.get(id(authority))
    if known is None or known[0] is not authority:
        if len(_PARSED) >= MAX_PARSED:
            _PARSED.clear()
        known = _PARSED[id(authority)] = (authority, parsed_grants(engine, authority.grants))
    return known[1]
