"""May this act now? The one question that every path which could grant anything asks.

Issuance, introspection, key registration, decisions, open streams and approvals call `refusal`. It puts `may_act` to
the principal (with the epoch of the token in hand), to the key that proved it, and to the system; and it knows the
tokens that were taken back one by one.

Where an enforcement point asks about a principal, `refusal` asks for the point too, by its own token.

A token under delegation rests on more than its caller: on every party, every delegation and every lending key of its
chain. `refusal` asks for each, from the initiator on, so the first link that broke is the one that is named.

INVARIANT: what is not known is refused: no principal, no key, no system, no delegation means no.
INVARIANT: nothing here is remembered from one question to the next.
"""

from __future__ import annotations

import datetime as dt

from charter.identity.bearer import Attested, Bearer, Client, Vouched, Workload
from charter.registry.charter import CredentialType
from charter.registry.declared import SECRET
from charter.registry.delegation import Chain, Link, is_person
from charter.registry.principal import ClientKey, LiveEstate, Principal, SystemRecord
from charter.registry.rotation import over_at
from charter.registry.standing import Refusal, Standing, Subject, may_act

BINDING = "ask for it with a DPoP proof (RFC 9449) or a client certificate, or let the charter say `bearer: allowed`"
# A verified token, an authenticated client, a verified SVID, an attested process, or a principal's id without proof.
Holder = Bearer | Client | Workload | Attested | str


def refusal(live: LiveEstate, holder: Holder, system: SystemRecord | None, *, at: dt.datetime) -> Refusal | None:
    """Return None if `holder` may act at `at` (on `system`, if one is given), else why not, and what would mend it."""
    stopped = _bearer_refusal(live, holder, at) if isinstance(holder, Bearer) else _other_refusal(live, holder, at)
    if stopped is None and system is not None:
        stopped = may_act(system.subject, at=at)
    return stopped


def _bearer_refusal(live: LiveEstate, holder: Bearer, at: dt.datetime) -> Refusal | None:
    """Return why whoever presents a token may not act; a point's word alone has no key and no token of its own."""
    principal = live.principals.get(holder.principal_id)
    if principal is None:
        return _unknown(holder.principal_name)
    stopped = may_act(principal.subject, at=at, epoch=holder.epoch)
    is_word_alone = False
    if stopped is None and isinstance(holder, Vouched):
        is_word_alone = not holder.is_proved
        stopped = refusal(live, holder.point, None, at=at)
    if stopped is None and not is_word_alone:
        stopped = _credential_refusal(live, holder.credential, principal, at, is_past=holder.is_past)
        stopped = stopped or _token_refusal(live, holder, principal)
    if stopped is None and holder.delegation is not None:
        stopped = _delegation_refusal(live, holder, principal, at)
    return stopped


def _other_refusal(live: LiveEstate, holder: Client | Workload | Attested | str, at: dt.datetime) -> Refusal | None:
    """Return why a client, a workload, a process, or a principal of which there is no proof, may not act."""
    principal_id = holder if isinstance(holder, str) else holder.principal_id
    principal = live.principals.get(principal_id)
    if principal is None:
        return _unknown(holder.principal_name if isinstance(holder, Workload) else principal_id)
    stopped = may_act(principal.subject, at=at, epoch=holder.epoch if isinstance(holder, Workload) else None)
    if stopped is None and not isinstance(holder, str):
        stopped = _credential_refusal(live, holder.credential, principal, at)
    return stopped


def _unknown(name: str) -> Refusal:
    return Refusal(name, f"`{name[:80]}` is not registered", "register it: charter plan, then charter apply")


def chain_refusal(live: LiveEstate, chain: Chain, *, at: dt.datetime) -> Refusal | None:
    """Return None if every link of `chain` may be used at `at`, else why the first of them may not.

    The caller, with whom the chain ends, is asked for by `refusal`.
    """
    return next((stopped for link in chain.links if (stopped := _link_refusal(live, link, at))), None)


def _link_refusal(live: LiveEstate, link: Link, at: dt.datetime) -> Refusal | None:
    stopped = _person_refusal(live, link) if is_person(link.lender) else _lender_refusal(live, link, at)
    lender, borrower = _name(live, link.lender), _name(live, link.borrower)
    if stopped is None:
        ends = dt.datetime.fromtimestamp(link.expires_at, dt.UTC)
        lent = f"from `{lender}` to `{borrower}`"
        stopped = may_act(Subject(link.id, link.standing, ends, lent=lent), at=at)
    if stopped is None and link.is_switched_off:
        mend = f"a person with authority can run: charter delegations switch {lender} {borrower} --on"
        stopped = Refusal(link.id, f"delegation from `{lender}` to `{borrower}` is switched off", mend)
    return stopped


def _person_refusal(live: LiveEstate, link: Link) -> Refusal | None:
    if not live.directory.has_left(link.lender):
        return None
    text = f"`{link.lender}` left, as the directory has it, and what they lent does not count any more"
    return Refusal(link.lender, text, "someone who is still there can delegate: charter delegate")


def _lender_refusal(live: LiveEstate, link: Link, at: dt.datetime) -> Refusal | None:
    """Return why a principal cannot stand behind what it lent: as if it asked now, with the credential of then."""
    lender = live.principals.get(link.lender)
    if lender is None or link.lender_epoch is None or link.lender_credential is None:
        return Refusal(link.lender, f"`{link.lender[:80]}` is not registered", "register it: charter plan, then apply")
    stopped = may_act(lender.subject, at=at, epoch=link.lender_epoch)
    return stopped or _credential_refusal(live, link.lender_credential, lender, at, is_past=True)


def _token_refusal(live: LiveEstate, holder: Bearer, principal: Principal) -> Refusal | None:
    """Return why a token may not be used, its principal, key and chain apart: taken back, or not bound."""
    name = principal.name
    if holder.token_id in live.revoked_tokens:
        return Refusal(name, f"the token of `{name}` was revoked", "ask for a new token")
    if holder.bound_to is None and not principal.terms.may_bear:
        return Refusal(name, f"the token of `{name}` is bound to no key, and its charter asks for one that is", BINDING)
    return None


def _delegation_refusal(live: LiveEstate, holder: Bearer, principal: Principal, at: dt.datetime) -> Refusal | None:
    """Return why the chain that a token (or a point's word) rests on may not be used."""
    name = principal.name
    chain = live.delegations.chain_of(holder.delegation)
    if chain is None or (chain.initiator, chain.caller) != (holder.initiator, holder.principal_id):
        text = f"the delegation that the token of `{name}` rests on is not known"
        return Refusal(name, text, "whoever lent it can delegate again: charter delegate")
    return chain_refusal(live, chain, at=at)


def _name(live: LiveEstate, party: str) -> str:
    found = live.principals.get(party)
    return found.name if found else party


def _credential_refusal(
    live: LiveEstate, thumbprint: str, principal: Principal, at: dt.datetime, *, is_past: bool = False
) -> Refusal | None:
    """Return why a credential does not count; `is_past`: for what was done with it, not for what is done now.

    What a credential did lives on when another takes its place, and dies when it is revoked.
    """
    key, name = live.keys.get(thumbprint), principal.name
    if key is None or key.principal_id != principal.id:
        return Refusal(
            name, f"the key behind this is not one of `{name}`", f"register one: charter token {name} SYSTEM"
        )
    if key.jwk.get("kty") == SECRET and principal.terms.type is not CredentialType.LEGACY_SECRET:
        return Refusal(name, f"the charter of `{name}` no longer allows a shared secret", "use a key: charter run")
    if is_past and key.standing is Standing.RETIRED:
        return None
    over = None if is_past else over_at(key, principal.terms)
    if over is not None and at >= over and key.standing is Standing.ACTIVE:
        return _over(key, name, over)
    return may_act(Subject(f"{name}'s key {key.id}", key.standing), at=at)


def _over(key: ClientKey, name: str, over: dt.datetime) -> Refusal:
    when = over.isoformat(timespec="seconds").replace("+00:00", "Z")
    if key.ends_at == over:
        return Refusal(name, f"`{name}`'s key {key.id} was replaced, and counted until {when}", "use its successor")
    text = f"`{name}`'s key {key.id} is overdue: its charter lets it count until {when}"
    return Refusal(name, text, f"have it replaced: charter rotate key {name}")
