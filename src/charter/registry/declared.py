"""Credentials that a charter itself declares: no key is registered, the applied file says what proves the principal.

Each is kept like any credential, so that it has an id, a standing of its own, can be revoked by itself, and is asked
about on every path.

INVARIANT: what the applied charter no longer declares is revoked with that apply. What a person revoked comes back only
when the charter's credential section changes, which is reviewed, and never by a change elsewhere in it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from charter.core.canonical import canonical
from charter.core.entropy import Entropy
from charter.core.errors import ConflictError, ErrorCode
from charter.core.work import Transaction
from charter.evidence.entry import Draft, EntryKind
from charter.registry.charter import Charter, CredentialType
from charter.registry.difference import Difference
from charter.registry.issuer import Claim, are_disjoint
from charter.registry.principal import ClientKey, LiveEstate, Principal
from charter.registry.standing import Standing

# The `kty` of a declared credential's members:
FEDERATED = "federated"  # a token of a trusted issuer, with exact claims
CERTIFICATE = "certificate-name"  # a certificate that bears a name, from an authority of the organisation
SPIFFE = "spiffe"  # an SVID for the principal's own SPIFFE ID
PUBLIC_CLIENT = "public-client"  # nothing: a program on people's machines, told by the address of its metadata
WORKLOAD = "workload"  # a process that matches selectors: the Workload API gives it such an SVID
KINDS = (FEDERATED, CERTIFICATE, SPIFFE, WORKLOAD)
SECRET = "secret"  # noqa: S105 - a kind; one that Charter made, which is declared only as far as it is allowed
_CONDITIONS = {FEDERATED: "claims", WORKLOAD: "selectors"}  # the member that says what must be so
_SECTION = "credential"


@dataclass(frozen=True, slots=True)
class Declared:
    """What one apply does to a principal's declared credentials."""

    added: tuple[ClientKey, ...] = ()
    changed: tuple[ClientKey, ...] = ()

    @property
    def keys(self) -> tuple[ClientKey, ...]:
        """All of them."""
        return (*self.added, *self.changed)


def declared_key(live: LiveEstate, principal: Principal, kind: str) -> ClientKey | None:
    """Return the credential of that kind which the charter in force declares, if it is in use."""
    found = (key for key in live.keys_of(principal.id) if key.jwk.get("kty") == kind)
    return next((key for key in found if key.standing is Standing.ACTIVE), None)


def spiffe_id_of(principal: Principal, key: ClientKey) -> str:
    """Return the SPIFFE ID whose SVIDs a declared credential is proved by."""
    return key.jwk.get("id", principal.spiffe_id)


def federated_thumbprint(principal_id: str, charter: Charter) -> str | None:
    """Return the name of the credential that the charter's trust in an issuer is, if it trusts one."""
    found = (_thumbprint(principal_id, each) for each in _members(charter) if each["kty"] == FEDERATED)
    return next(found, None)


class DeclaringWork(Transaction, Protocol):
    """The slice of the work that declaring needs."""

    @property
    def live(self) -> LiveEstate:
        """The estate in memory."""
        ...


def declare(
    tx: DeclaringWork,
    principal: Principal,
    charter: Charter,
    differences: Iterable[Difference],
    *,
    entropy: Entropy,
    by: tuple[str, str],
) -> Declared:
    """Return how the principal's declared credentials change under `charter`, with the evidence recorded.

    `by` is who applies it, and why.
    """
    wanted = {_thumbprint(principal.id, each): each for each in _members(charter)}
    known = {key.thumbprint: key for key in tx.live.keys_of(principal.id) if key.jwk.get("kty") in KINDS}
    changed = [
        replace(key, standing=Standing.REVOKED)
        for key in known.values()
        if key.standing is Standing.ACTIVE and key.thumbprint not in wanted
    ]
    if _is_about_it(differences):
        dead = (known[each] for each in wanted if each in known and known[each].standing is not Standing.ACTIVE)
        changed += [replace(key, standing=Standing.ACTIVE) for key in dead]
    added = [
        ClientKey(entropy.identifier("crd"), principal.id, thumbprint, members, Standing.ACTIVE, tx.at)
        for thumbprint, members in wanted.items()
        if thumbprint not in known
    ]
    for key in (*added, *changed):
        _tell(tx, principal, key, by)
    return Declared(tuple(added), tuple(changed))


def _tell(tx: DeclaringWork, principal: Principal, key: ClientKey, by: tuple[str, str]) -> None:
    actor, reason = by
    is_active = key.standing is Standing.ACTIVE
    kind = EntryKind.CREDENTIAL_REGISTERED if is_active else EntryKind.CREDENTIAL_REVOKED
    body = {"principal": principal.name, "key": key.id, "thumbprint": key.thumbprint, "type": key.jwk["kty"]}
    body |= {name: value for name, value in key.jwk.items() if name != "kty"}
    tx.record(Draft(kind, actor, principal.id, body | {"reason": reason}))
    tx.changed("key", key.id, actor=actor, reason=reason)


def check_alone(live: LiveEstate, principal: Principal, charter: Charter) -> None:
    """Check that no other principal's declared credential could be proved by what proves this one.

    Files are held against each other when they are read (registry/federated.py, registry/workloads.py); this is for one
    charter by itself.

    Raises:
        ConflictError: one could.
    """
    credential = charter.credential
    if credential.certificate is not None:
        _check_name(live, principal, str(credential.certificate))
    for members in _members(charter):
        if members["kty"] not in _CONDITIONS:
            continue
        for holder, conditions in _others(live, principal.id, members):
            if not are_disjoint(conditions, conditions_of(members)):
                what = "process" if members["kty"] == WORKLOAD else "token"
                raise ConflictError(
                    ErrorCode.SHARED_CREDENTIAL,
                    f"one {what} could prove both `{holder}` and `{principal.name}`",
                    help="name something in both whose values differ: one credential, one principal",
                )
    other = live.principals.get(live.spiffe_holders.get(credential.spiffe_id or "", ""))
    if other is not None and other.id != principal.id:
        raise ConflictError(
            ErrorCode.SHARED_CREDENTIAL,
            f"`{credential.spiffe_id}` proves `{other.name}` already",
            help="one credential, one principal",
        )


def _check_name(live: LiveEstate, principal: Principal, name: str) -> None:
    for key in live.keys.values():
        is_alike = key.jwk.get("kty") == CERTIFICATE and key.jwk.get("name") == name
        if is_alike and key.principal_id != principal.id and key.standing is Standing.ACTIVE:
            holder = live.principals[key.principal_id].name
            raise ConflictError(
                ErrorCode.SHARED_CREDENTIAL,
                f"the certificate `{name}` is `{holder}`'s already",
                help="one credential, one principal",
            )


def conditions_of(members: Mapping[str, str]) -> dict[str, Claim]:
    """Return what must be so of whatever proves a declared credential."""
    found: dict[str, Claim] = json.loads(members[_CONDITIONS[members["kty"]]])
    return found


def _others(
    live: LiveEstate, principal_id: str, members: Mapping[str, str]
) -> Iterator[tuple[str, Mapping[str, Claim]]]:
    """Yield the names and conditions of other principals' credentials of the same kind and issuer."""
    alike = (members["kty"], members.get("issuer"))
    for key in live.keys.values():
        is_other = key.principal_id != principal_id and key.standing is Standing.ACTIVE
        if is_other and (key.jwk.get("kty"), key.jwk.get("issuer")) == alike:
            yield live.principals[key.principal_id].name, conditions_of(key.jwk)


def _members(charter: Charter) -> list[dict[str, str]]:
    credential = charter.credential
    found = [{"kty": WORKLOAD, "selectors": canonical(each.conditions).decode()} for each in credential.workloads or ()]
    if credential.issuer is not None and credential.claims is not None:
        claims = canonical(credential.claims).decode()
        found.append({"kty": FEDERATED, "issuer": credential.issuer, "claims": claims})
    if credential.certificate is not None:
        found.append({"kty": CERTIFICATE, "name": str(credential.certificate)})
    if credential.type is CredentialType.PUBLIC_CLIENT:
        found.append(
            {
                "kty": PUBLIC_CLIENT,
                "client": credential.client or "",
                "redirects": canonical(list(credential.redirects or ())).decode(),
                "registration": credential.registration or "",
            }
        )
    if credential.type is CredentialType.SPIFFE:
        found.append({"kty": SPIFFE} | ({"id": credential.spiffe_id} if credential.spiffe_id else {}))
    return found


def _thumbprint(principal_id: str, members: dict[str, str]) -> str:
    """Return the SHA-256, in base64url, of what the credential is and whose: it never stands for two principals."""
    raw = hashlib.sha256(canonical(members | {"principal": principal_id})).digest()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _is_about_it(differences: Iterable[Difference]) -> bool:
    return any(each.path.partition(".")[0] == _SECTION for each in differences)
