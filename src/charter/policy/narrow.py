"""A token's narrowing, asked after the charter: the verdict on a call is the narrower of the two (RFC 9396).

    the charter (and its chain) denies   → deny, with its reasons
    no detail covers the call            → deny
    a detail covers it                   → what the charter says by the grants that the detail names, under its limits

INVARIANT: `decide_narrowed` allows no call that `decide_chain` would not allow: it asks `decide_chain`, and then takes
away. A limit that cannot be counted, because the amount is missing, in another unit or not exact, denies.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec
from msgspec.structs import replace

from charter.policy.chain import ChainCase, decide_chain
from charter.policy.decide import Evaluator
from charter.policy.grant import SCALE
from charter.policy.request import Request
from charter.policy.verdict import Allow, Deny, Layer, LimitDue, LinkLimits, Reason, Verdict
from charter.policy.vocabulary import record_of
from charter.registry.narrowing import Detail, Narrowing, TokenLimit
from charter.registry.unit import normal
from charter.registry.window import Window

RULE = "token/authorization_details"
_WIDER = "ask for a token without, or with wider `authorization_details`"


class Narrowed(msgspec.Struct, frozen=True):
    """The narrowing of the token at hand. Its limits are counted until it expires."""

    narrowing: Narrowing
    token_id: str
    expires_at: int  # seconds since 1970


def decide_narrowed(case: ChainCase, request: Request, evaluator: Evaluator, narrowed: Narrowed | None) -> Verdict:
    """Return the verdict on `request` by all links of `case`, and by the token's narrowing if it has one."""
    if narrowed is None:
        return decide_chain(case, request, evaluator)
    fitting = [
        (index, detail)
        for index, detail in enumerate(narrowed.narrowing.details)
        if detail.part.system == request.system and detail.part.allows(request.action, request.object)
    ]
    if not fitting:
        verdict = decide_chain(case, request, evaluator)  # why the charter says no is the better answer
        return verdict if isinstance(verdict, Deny) else Deny((_outside(case, request),))
    verdicts = [_by(case, request, evaluator, narrowed, index) for index, _ in fitting]
    return next((verdict for verdict in verdicts if not isinstance(verdict, Deny)), verdicts[0])


def _by(case: ChainCase, request: Request, evaluator: Evaluator, narrowed: Narrowed, index: int) -> Verdict:
    """Return the verdict by one detail that covers the call."""
    detail = narrowed.narrowing.details[index]
    verdict = decide_chain(_only(case, detail), request, evaluator)
    if isinstance(verdict, Deny) or not detail.limits:
        return verdict
    life = Window(until=narrowed.expires_at)
    dues = [
        _due(limit, request, life, f"token/{narrowed.token_id}/{index}.{n}") for n, limit in enumerate(detail.limits)
    ]
    counted = [due for due in dues if due is not None]
    over = next((due for due in counted if due.amount > due.ceiling), None)
    if over is not None or len(counted) < len(dues):
        return Deny((_beyond(case, over),))
    return _under(case, verdict, counted) if isinstance(verdict, Allow) else verdict


def _only(case: ChainCase, detail: Detail) -> ChainCase:
    """Return the case in which the caller's own grants are only those that the detail names."""
    if detail.grants is None:
        return case
    caller = replace(case.parties[-1], only=frozenset(detail.grants))
    return replace(case, parties=(*case.parties[:-1], caller))


def _under(case: ChainCase, verdict: Allow, dues: Sequence[LimitDue]) -> Allow:
    caller = case.parties[-1]
    own = LinkLimits(caller.owner, f"this token of {caller.asker.name}", (tuple(dues),))
    return replace(verdict, further=(*verdict.further, own))


def _due(limit: TokenLimit, request: Request, life: Window, key: str) -> LimitDue | None:
    """Return what a call counts for; None if nobody can say."""
    if limit.count is not None:
        calls = f"{limit.count} call{'s' if limit.count != 1 else ''}"
        return LimitDue(key, life, 1, limit.count, calls)
    if limit.sum is None or limit.max is None:
        return None
    most, unit = normal(limit.max.value, limit.max.unit)
    quantity = (record_of(request, limit.sum) or {}).get("quantity")
    if quantity is None or quantity["unit"] != (unit or "") or int(quantity["value"]) < 0:
        return None
    return LimitDue(key, life, int(quantity["value"]), _scaled(most), f"{limit.max} of `{limit.sum}`", None, limit.sum)


def _scaled(value: Decimal) -> int:
    return int(value * SCALE)


def _outside(case: ChainCase, request: Request) -> Reason:
    who = case.parties[-1].asker.name
    text = f"this token of `{who}` is narrowed, and does not cover `{request.action}` on `{request.object}`"
    return Reason(Layer.TOKEN, RULE, text, _WIDER, who)


def _beyond(case: ChainCase, over: LimitDue | None) -> Reason:
    who = case.parties[-1].asker.name
    what = f"at most {over.text}, and this call alone is more" if over else "an amount that this call does not give so"
    return Reason(Layer.TOKEN, over.key if over else RULE, f"this token of `{who}` is narrowed to {what}", _WIDER, who)
