"""What an allow still asks of an enforcement point: told to who can do it, and otherwise no allow.

INVARIANT: a call that is allowed under an obligation is denied to whoever does not say that it can fulfil that type of
obligation. Silence is no yes: a point that knows nothing of obligations would let the call through all the same.
"""

from __future__ import annotations

from charter.gateway.call import Call
from charter.gateway.facts import Facts
from charter.policy.verdict import Allow, Deny, Layer, Reason, Verdict

_SWITCH = "that counts where CHARTER_AUTHZEN_PROFILES has obligations:1"


def held_to_obligations(verdict: Verdict, facts: Facts, call: Call) -> Verdict:
    """Return `verdict`, or a denial where it would be an allow whose obligations the caller cannot fulfil."""
    enforcement = facts.record.system.enforcement
    if not isinstance(verdict, Allow) or enforcement is None:
        return verdict
    can = call.fulfils or frozenset()
    lacking = [rule for rule in enforcement.due(facts.action, "allow") if rule.type not in can]
    return (
        Deny(tuple(_reason(facts, rule.id, rule.type, told=call.fulfils is not None) for rule in lacking))
        if lacking
        else verdict
    )


def _reason(facts: Facts, rule: str, kind: str, *, told: bool) -> Reason:
    name, system = facts.action, facts.record.name
    why = "which the caller cannot fulfil" if told else "and the caller does not say what it can fulfil"
    text = f"`{name}` on `{system}` is allowed under the obligation `{rule}` of the type {kind} alone, {why}"
    mend = f"let the point say {kind} in `context.supported_obligations`, and fulfil it; {_SWITCH}"
    return Reason(Layer.OBLIGATION, f"{system}/obligation/{rule}", text, mend, facts.principal.name)
