"""Verdicts: what was decided about one call, and why, in words a person understands.

`Verdict` is a closed union. A denial is a fact to be recorded and not an exception; only the edges turn it into an
error.
"""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import Any

import msgspec

from charter.core.values import Source
from charter.registry.window import Window


class Layer(StrEnum):
    """Which layer of control decided. Every denial says which."""

    STANDING = "standing"  # principal, credential, system or link may not act at all
    DELEGATION = "delegation"  # a chain that does not hold, or a delegation that does not cover the call
    SYSTEM = "system"  # the system or tool is unknown, or its definition is held
    GUARDRAIL = "guardrail"  # a central policy no grant can exceed
    CHARTER = "charter"  # the principal's own grants
    TOKEN = "token"  # noqa: S105 - what the token at hand was narrowed to (RFC 9396)
    LIMIT = "limit"  # a count or sum over a window
    APPROVAL = "approval"  # a person must say yes first
    OBLIGATION = "obligation"  # what an allow still asks for, and the caller cannot do
    POLICY_ERROR = "policy-error"  # a policy could not be evaluated, so nothing is allowed
    FRESHNESS = "freshness"  # the node cannot be sure that what it knows is current


class Reason(msgspec.Struct, frozen=True):
    """One reason: the rule that decided, where it stands, whose authority lacked, and what would make it allowed."""

    layer: Layer
    rule: str  # the policy's id: `refund-agent/grant-1`, `guardrail/no-night-writes`, `built-in/environment`
    text: str  # one sentence
    mend: str  # one sentence: what would make it allowed
    link: str  # the name of the link of the chain that lacked (or held) the right
    source: Source | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the reason as it stands in evidence and answers."""
        return {
            "layer": self.layer.value,
            "rule": self.rule,
            "text": self.text,
            "mend": self.mend,
            "link": self.link,
            "source": str(self.source) if self.source else None,
        }


class LimitDue(msgspec.Struct, frozen=True):
    """A limit an allowed call must be counted against: `key` names the counter, `amount` what to add.

    Counts are calls; sums are in 1/10,000 of the unit.
    """

    key: str  # `<rule>/limit-1`
    window: Window
    amount: int
    ceiling: int
    text: str  # `50 calls per day`
    source: Source | None = None
    argument: str | None = None  # that is summed; None: calls are counted

    @property
    def counter(self) -> str:
        """The name of its counters: one limit whose window changed counts anew."""
        return self.key + self.window.tag


class LinkLimits(msgspec.Struct, frozen=True):
    """The limits of another link of the chain: all of one option must have room."""

    owner: str  # under which they are counted
    name: str
    options: tuple[tuple[LimitDue, ...], ...]


class Allow(msgspec.Struct, frozen=True):
    """The call is allowed by these rules, if the limits have room: all of `limits`, or else all of one alternative.

    Under delegation, every other link's must have room too.
    """

    reasons: tuple[Reason, ...]
    limits: tuple[LimitDue, ...] = ()
    approvals_used: tuple[str, ...] = ()  # roles whose approval the allow rests on
    alternatives: tuple[tuple[LimitDue, ...], ...] = ()  # limits of the other rules that allow it, to be tried in order
    further: tuple[LinkLimits, ...] = ()  # of the chain's other links


class Deny(msgspec.Struct, frozen=True):
    """The call is denied."""

    reasons: tuple[Reason, ...]


class Escalate(msgspec.Struct, frozen=True):
    """The call would be allowed once someone says yes at each seat in `approvers`, each another person."""

    reasons: tuple[Reason, ...]
    approvers: tuple[str, ...]  # seats of roles (registry/seat.py)
    within: dt.timedelta | None = None  # how long they have; None: as long as questions wait


Verdict = Allow | Deny | Escalate


def word(verdict: Verdict) -> str:
    """Return `allow`, `deny` or `escalate`."""
    match verdict:
        case Allow():
            return "allow"
        case Deny():
            return "deny"
        case Escalate():
            return "escalate"
