"""What a charter that trusts an issuer's tokens may say, held against `issuers.yaml` and the other charters.

One credential, one principal: two charters whose conditions some one token could satisfy are a problem in the files,
before anything is applied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from charter.registry.apart import Conditions, meetings
from charter.registry.charter import Charter, CredentialType
from charter.registry.estate import Sourced
from charter.registry.issuer import Claim, Issuers, faults_of
from charter.registry.problem import Problem, suggestion

ISSUERS = "issuers.yaml"


def problems_of_federated(charters: Mapping[str, Sourced[Charter]], issuers: Issuers) -> Iterator[Problem]:
    """Yield what is wrong with the charters that are proved by tokens of trusted issuers."""
    by_issuer: dict[str, list[Sourced[Charter]]] = {}
    for part in charters.values():
        name = part.value.credential.issuer
        if name is None:
            continue
        if name not in issuers.issuers:
            text = f"`{name}` is no issuer in {ISSUERS}"
            yield Problem.at(part.source_of("credential.issuer"), text, suggestion(name, issuers.issuers))
            continue
        by_issuer.setdefault(name, []).append(part)
        for claim, what, mend in faults_of(issuers.issuers[name], _claims_of(part)):
            yield Problem.at(part.source_of(f"credential.claims.{claim}" if claim else "credential.claims"), what, mend)
    for parts in by_issuer.values():
        yield from _shared(parts)


def warnings_of_federated(charters: Mapping[str, Sourced[Charter]]) -> Iterator[Problem]:
    """Yield what is worth a look: a federated principal that names no issuer obtains no tokens."""
    for part in charters.values():
        credential = part.value.credential
        if credential.type is CredentialType.FEDERATED and credential.issuer is None:
            text = "this names no issuer, so the principal obtains no tokens from Charter"
            yield Problem.at(part.source_of("credential"), text, f"name one of {ISSUERS}, and the claims it must say")


def _shared(parts: list[Sourced[Charter]]) -> Iterator[Problem]:
    """Yield the pairs of charters of one issuer that one token could satisfy."""
    for one, other in meetings(Conditions(part.value.principal, _claims_of(part), part) for part in parts):
        text = f"one token could prove both `{one.holder}` and `{other.holder}`"
        mend = "name a claim in both whose values differ: one credential, one principal"
        yield Problem.at(other.of.source_of("credential.claims"), text, mend)


def _claims_of(part: Sourced[Charter]) -> Mapping[str, Claim]:
    return part.value.credential.claims or {}
