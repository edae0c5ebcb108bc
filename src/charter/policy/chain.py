"""Whole-chain authority: a call under delegation is decided for each link, and allowed only by all of them.

    each link    a party with its own slice: grants, guardrails and built-in rules that concern it
    each loan    what the delegation between two of them covers at most
    together     any denial denies, and names the link that lacked the right; what any link still asks for is owed;
                 the limits of every link are reserved

A guardrail that concerns several parties is asked for each: one that binds a lender alone must not be got round by
lending to somebody whom it does not name. What it says is told once.

INVARIANT: `decide_chain` allows no call that `decide` would not allow each party by itself, with the same approvals.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from charter.policy.decide import Evaluator, decide
from charter.policy.request import Asker, Request
from charter.policy.slice import Slice
from charter.policy.verdict import Allow, Deny, Escalate, Layer, LinkLimits, Reason, Verdict
from charter.registry.lent_scope import Scope

MAX_REASONS = 16


class Party(msgspec.Struct, frozen=True):
    """One party of a chain before its own policy."""

    owner: str  # under which its limits are counted
    asker: Asker
    bound: Slice
    only: frozenset[str] | None = None  # ids of the grants that may allow; None: any of its own


class Loan(msgspec.Struct, frozen=True):
    """What one party lent the next at most."""

    id: str  # of the delegation
    lender: str  # names
    borrower: str
    scope: Scope


class ChainCase(msgspec.Struct, frozen=True):
    """A chain before policy: those parties of whom any policy speaks, and all loans, from the initiator on."""

    parties: tuple[Party, ...]  # the caller last
    loans: tuple[Loan, ...] = msgspec.field(default_factory=tuple)


def decide_chain(case: ChainCase, request: Request, evaluator: Evaluator) -> Verdict:
    """Return the verdict on `request` by all links of `case`."""
    verdicts = [
        decide(each.bound, replace(request, asker=each.asker), evaluator, only=each.only) for each in case.parties
    ]
    if len(verdicts) == 1 and not case.loans and not isinstance(verdicts[0], Deny):
        return verdicts[0]  # it acts by itself
    outside = [_outside(loan, request) for loan in case.loans if not _covers(loan.scope, request)]
    if outside or any(isinstance(verdict, Deny) for verdict in verdicts):
        denials = [reason for verdict in verdicts if isinstance(verdict, Deny) for reason in verdict.reasons]
        return Deny(_told_once([*outside, *denials]))
    if len(verdicts) == 1:
        return verdicts[0]
    return _held(verdicts) if any(isinstance(verdict, Escalate) for verdict in verdicts) else _allowed(case, verdicts)


def shared_actions(case: ChainCase, system: str) -> tuple[frozenset[str], str]:
    """Return the actions on `system` that no link rules out, and the party with whom the last of them was lost."""
    left: frozenset[str] | None = None
    for party in case.parties:
        own = party.bound.actions_on(system)
        left = own if left is None else left & own
        if not left:
            return left, party.asker.name
    for loan in case.loans:
        left = frozenset(action for action in left or () if loan.scope.allows_action(system, action))
        if not left:
            return left, loan.borrower
    return left or frozenset(), case.parties[-1].asker.name


def _covers(scope: Scope, request: Request) -> bool:
    return scope.allows(request.system, request.action, request.object)


def _outside(loan: Loan, request: Request) -> Reason:
    what = f"`{request.action}` on `{request.system}`"
    whole = loan.scope.allows_action(request.system, request.action)
    text = f"`{loan.lender}` lent `{loan.borrower}` {what} for other objects" if whole else ""
    text = text or f"`{loan.lender}` did not lend `{loan.borrower}` {what}"
    mend = f"`{loan.lender}` can delegate again, with a scope that covers it"
    return Reason(Layer.DELEGATION, loan.id, text, mend, loan.borrower)


def _told_once(reasons: Sequence[Reason]) -> tuple[Reason, ...]:
    """Return the reasons without repetitions: a guardrail may stop several links with the same words."""
    told: dict[tuple[str, str], Reason] = {}
    for reason in reasons:
        told.setdefault((reason.rule, reason.text), reason)
    return tuple(told.values())[:MAX_REASONS]


def _held(verdicts: Sequence[Verdict]) -> Escalate:
    """Return whom the call waits for: everyone that any link needs, those included who said yes already."""
    roles: set[str] = set()
    waits: list[dt.timedelta] = []
    reasons: list[Reason] = []
    for verdict in verdicts:
        match verdict:
            case Allow():
                roles.update(verdict.approvals_used)
            case Escalate():
                roles.update(verdict.approvers)
                waits += [verdict.within] if verdict.within else []
                reasons += verdict.reasons
            case Deny():
                raise RuntimeError("a chain with a denial is not held")
    return Escalate(_told_once(reasons), tuple(sorted(roles)), min(waits, default=None))


def _allowed(case: ChainCase, verdicts: Sequence[Verdict]) -> Allow:
    allows = [verdict for verdict in verdicts if isinstance(verdict, Allow)]
    own = allows[-1]
    further = [
        LinkLimits(party.owner, party.asker.name, (allow.limits, *allow.alternatives))
        for party, allow in zip(case.parties[:-1], allows[:-1], strict=True)
        if allow.limits
    ]
    return Allow(
        reasons=_told_once([reason for allow in allows for reason in allow.reasons]),
        limits=own.limits,
        approvals_used=tuple(sorted({role for allow in allows for role in allow.approvals_used})),
        alternatives=own.alternatives,
        further=tuple(further),
    )
