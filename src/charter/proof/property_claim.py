"""Whether any call at all speaks against a property: for one principal and one action, over all calls.

    never     is there a call of the class that is allowed?
    always    is there a call of the class that is not?

The class is a guardrail that is bound beside the slice's own rules, only so that what it reads is known; it forbids
nothing here. A call that is found was put to the real engine before it is shown (`witness.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

from charter.policy.expression import NotModelledError
from charter.policy.property import Claim
from charter.policy.slice import Slice
from charter.proof.authority import reach_of
from charter.proof.search import Means, Shown, Unproven, find_call
from charter.proof.term import FALSE, every, negated
from charter.registry.system import System


def against(
    claim: Claim, own: Slice, with_class: Slice, systems: Mapping[str, System], means: Means
) -> Shown | Unproven | None:
    """Return a call that speaks against `claim`; None is the proof that there is none.

    Args:
        claim: of a principal whose slice is `own`, with the class bound beside it in `with_class`.
        own: what decides.
        with_class: the same with the class as one more guardrail.
        systems: all systems of the estate.
        means: what proofs are made with.
    """
    action = (claim.system, claim.action)
    try:
        decides = reach_of(own, systems, action, means.engine)
        meant = reach_of(with_class, systems, action, means.engine)
    except NotModelledError as err:
        return Unproven(f"a rule is outside what is proven: {err}")
    allowed = negated(decides.allowed) if claim.must_allow else decides.allowed
    return find_call(every((allowed, meant.forbids.get(claim.id, FALSE))), [decides, meant], means)
