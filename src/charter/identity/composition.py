"""Compositions where identities are proved: what must be attested first, and what tokens say of it.

INVARIANT: where a charter wants a part attested, a credential that proves the principal without attesting the part
obtains nothing: no token and no SVID. That something else than what was accepted was attested is no matter of this
room; it lowers the standing (lifecycle/composition.py), which every path asks.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from charter.registry.composition import Part, system_of_part
from charter.registry.principal import LiveEstate, Principal
from charter.registry.standing import Refusal

PROGRAM = Part.PROGRAM.value


def unattested(live: LiveEstate, principal: Principal, vouched: Collection[str]) -> Refusal | None:
    """Return why a principal obtains nothing by a credential that vouches for these parts; None if it may."""
    composed = live.compositions.get(principal.id)
    missing = [part for part in composed.terms.attested if part not in vouched] if composed else []
    if not missing:
        return None
    return Refusal(
        principal.name,
        f"the charter of `{principal.name}` wants `{missing[0]}` attested, and what proved it does not tell it",
        f"see what attests it: charter composition show {principal.name}",
    )


def composition_claim(live: LiveEstate, principal: Principal) -> dict[str, Any] | None:
    """Return what a token says of what acts with it; None where nothing is pinned.

    `digest` is of the composition as it is now, `accepted` whether a person accepted exactly that, `attested` which
    parts something beside the charter tells. Tools are not among these: the gateway tells them on every call.
    """
    composed = live.compositions.get(principal.id)
    if composed is None:
        return None
    attested = [
        part for part in composed.seen if system_of_part(part) is None and composed.attested_by(part) is not None
    ]
    return {"digest": composed.digest_now, "accepted": not composed.changes, "attested": attested}
