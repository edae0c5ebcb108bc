"""What a condition that a call satisfies asks, and what the call brought: the other half of `phrase.py`.

As there, the text of an argument is not told.
"""

from __future__ import annotations

from zoneinfo import ZoneInfo

from charter.policy.argument_tests import ChoiceTest, QuantityTest, SizeTest
from charter.policy.condition import ArgumentRule, Condition, DelegatedRule, ObjectRule, SumRule, WindowRule
from charter.policy.phrase import MAX_OBJECT, asked, days_text, given, words
from charter.policy.request import Request
from charter.policy.vocabulary import Question


def asked_of(condition: Condition) -> str:
    """Return what `condition` asks of a call."""
    match condition:
        case ObjectRule():
            return f"objects like {', '.join(condition.told[:8])}"
        case WindowRule():
            return _window(condition)
        case DelegatedRule():
            wanted = condition.delegated
            parts = [f"begun by {words(wanted.by)}"] if wanted.by else []
            parts += [f"by a person with the role {words(wanted.roles)}"] if wanted.roles else []
            parts += [f"for {words(wanted.purposes)}"] if wanted.purposes else []
            parts += [f"at most {wanted.max_depth} deep"] if wanted.max_depth else []
            return f"a delegation {', '.join(parts)}".rstrip()
        case ArgumentRule():
            return asked(condition.test)
        case SumRule():
            return f"`{condition.argument}` in {condition.unit or 'no unit'}, not below zero, which its limit counts"


def brought(condition: Condition, request: Request, question: Question) -> str:
    """Return what a call brought that satisfies `condition`."""
    match condition:
        case ObjectRule():
            return f"this call is for `{question.path[:MAX_OBJECT]}`"
        case WindowRule():
            return f"it is {request.at.astimezone(ZoneInfo(condition.zone)):%a %Y-%m-%d %H:%M} there"
        case DelegatedRule():
            chain = question.chain
            return f"begun by `{chain['initiator']}` for `{chain['purpose']}`, {chain['depth']} deep"
        case ArgumentRule():
            return _argument(condition, question)
        case SumRule():
            argument = question.argument(condition.argument)
            if argument is None or argument.quantity is None:
                return "this call has none, and needs none"
            return f"this call asks {argument.quantity[0].normalize():f} {argument.quantity[1]}".rstrip()


def _argument(rule: ArgumentRule, question: Question) -> str:
    argument, test = question.argument(rule.test.argument), rule.test
    if argument is None:
        return "this call only reads and has none"
    is_told = isinstance(test, QuantityTest | SizeTest) or (isinstance(test, ChoiceTest) and argument.text is None)
    return given(test, argument) if is_told else "this call's is so"


def _window(rule: WindowRule) -> str:
    parts = [str(rule.hours)] if rule.hours else []
    parts += [f"on {days_text(rule.days)}"] if rule.days is not None else []
    parts += [f"on working days of `{rule.workdays}`"] if rule.workdays else []
    return " ".join(parts)
