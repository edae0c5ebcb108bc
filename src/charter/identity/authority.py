"""May this act now? The one question that every path which could grant anything asks.

Issuance, introspection, key registration, decisions, open streams and approvals call `refusal`. It puts `may_act` to
the principal (with the epoch of the token in hand), to the key that proved it, and to the system; and it knows the
tokens that were taken back one by one.

INVARIANT: what is not known is refused: no principal, no key, no system means no.
INVARIANT: nothing here is remembered from one question to the next.
"""

from __future__ import annotations

import datetime as dt

from charter.identity.bearer import Bearer, Client, Workload
from charter.registry.principal import LiveEstate, Principal, SystemRecord
from charter.registry.standing import Refusal, Subject, may_act

BINDING = "ask for it with a DPoP proof (RFC 9449) or a client certificate, or let the charter say `bearer: allowed`"
# A verified token, an authenticated client, a verified SVID, or a principal's id where no proof is at hand.
Holder = Bearer | Client | Workload | str


def refusal(live: LiveEstate, holder: Holder, system: SystemRecord | None, *, at: dt.datetime) -> Refusal | None:
    """Return None if `holder` may act at `at` (on `system`, if one is given), else why not, and what would mend it."""
    principal_id = holder if isinstance(holder, str) else holder.principal_id
    principal = live.principals.get(principal_id)
    if principal is None:
        name = holder.principal_name if isinstance(holder, Bearer | Workload) else principal_id
        return Refusal(name, f"`{name[:80]}` is not registered", "register it: charter plan, then charter apply")
    epoch = holder.epoch if isinstance(holder, Bearer | Workload) else None
    stopped = may_act(principal.subject, at=at, epoch=epoch)
    if stopped is None and isinstance(holder, Bearer | Client):
        stopped = _credential_refusal(live, holder, principal.name, at)
    if stopped is None and isinstance(holder, Bearer):
        stopped = _token_refusal(live, holder, principal)
    if stopped is None and system is not None:
        stopped = may_act(system.subject, at=at)
    return stopped


def _token_refusal(live: LiveEstate, bearer: Bearer, principal: Principal) -> Refusal | None:
    name = principal.name
    if bearer.token_id in live.revoked_tokens:
        return Refusal(name, f"the token of `{name}` was revoked", "ask for a new token")
    if bearer.bound_to is None and not principal.terms.may_bear:
        return Refusal(name, f"the token of `{name}` is bound to no key, and its charter asks for one that is", BINDING)
    return None


def _credential_refusal(live: LiveEstate, holder: Bearer | Client, name: str, at: dt.datetime) -> Refusal | None:
    key = live.keys.get(holder.credential)
    if key is None or key.principal_id != holder.principal_id:
        return Refusal(
            name, f"the key behind this is not one of `{name}`", f"register one: charter token {name} SYSTEM"
        )
    return may_act(Subject(f"{name}'s key {key.id}", key.standing), at=at)
