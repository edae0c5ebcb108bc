"""The compiled policies of one slice, put to questions.

A question is told in Cedar's values: the attributes of principal, resource and context as `vocabulary.py` names them.
The scope of actions is decided when policies are bound, since their actions are known then; a question about another
action is none that they can answer.

INVARIANT: every policy whose scope fits is evaluated, whatever the others say, so the answer holds all that determined
it and all that erred, as Cedar's does.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from charter.policy.cedar_value import Moment, Record, Uid
from charter.policy.compile import Compiled, Rule, compile_policy, in_scope
from charter.policy.engine import Json
from charter.policy.vocabulary import Question

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MILLISECOND = dt.timedelta(milliseconds=1)


Found = tuple[list[str], list[str], list[str]]  # ids of those that permit, forbid and err, each in their order
_Bound = tuple[str, bool, Rule, tuple[Any, ...]]  # id, whether it forbids, the function, its values


@dataclass(frozen=True, slots=True)
class _Action:
    """An action that can be asked about, and the policies whose scope of actions fits it."""

    uids: tuple[Uid, tuple[Uid, ...]]  # its own, and those it is in
    rules: tuple[_Bound, ...]
    reads_now: bool


@dataclass(frozen=True, slots=True)
class Program:
    """The compiled policies of one authority, by action."""

    actions: Mapping[str, _Action]

    def find(self, question: Question, approvals: frozenset[str]) -> Found | None:
        """Return what each policy says of the question; None if it is about an action that the slice has none of."""
        action = self.actions.get(question.action)
        if action is None:
            return None
        permits: list[str] = []
        forbids: list[str] = []
        errors: list[str] = []
        context: Record = {
            "local": question.local,
            "arguments": question.given,
            "approvals": approvals,
            "chain": question.chain,
            "flow": question.flow,
        }
        if action.reads_now:
            context["now"] = moment(question.now)
        principal, resource = question.principal, question.resource
        asker, touched = ("Charter::Principal", principal["name"]), ("Charter::Object", question.object)
        within = (touched, ("Charter::System", question.system))
        setting = (asker, (asker,), *action.uids, touched, within)
        for name, is_forbid, rule, values in action.rules:
            try:
                if rule(principal, resource, context, setting, values):
                    (forbids if is_forbid else permits).append(name)
            except Exception:  # noqa: BLE001 - whatever it is, the policy has no answer, and Cedar is asked (shadow.py)
                errors.append(name)
        return permits, forbids, errors


def program_of(policies: Mapping[str, Json], groups: Mapping[str, str]) -> Program:
    """Return policies compiled, for questions about these actions (each with its group).

    Raises:
        NotModelledError: one of them is left to Cedar.
    """
    compiled = {name: compile_policy(policy) for name, policy in sorted(policies.items())}
    return Program({action: _action(action, group, compiled) for action, group in groups.items()})


def _action(name: str, group: str, compiled: Mapping[str, Compiled]) -> _Action:
    uid = ("Charter::Action", name)
    within = (uid, ("Charter::Action", group))
    fitting = {rule: each for rule, each in compiled.items() if in_scope(each.action, uid, within)}
    rules = tuple((rule, each.forbids, each.rule, each.values) for rule, each in fitting.items())
    return _Action((uid, within), rules, any(each.reads_now for each in fitting.values()))


def moment(at: dt.datetime) -> Moment:
    """Return a time in whole milliseconds."""
    return Moment((at - _EPOCH) // _MILLISECOND)
