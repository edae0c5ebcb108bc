"""What charters say of the processes that are their principals, held against each other.

One credential, one principal: two charters that some one process could match are a problem in the files, before
anything is applied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from charter.registry.apart import Conditions, meetings
from charter.registry.charter import Charter, CredentialType
from charter.registry.estate import Sourced
from charter.registry.problem import Problem


def problems_of_workloads(charters: Mapping[str, Sourced[Charter]]) -> Iterator[Problem]:
    """Yield the pairs of charters that one process could match."""
    for one, other in meetings(_all(charters)):
        part, index = other.of
        text = f"one process could be both `{one.holder}` and `{other.holder}`"
        mend = "name a selector in both whose values differ: one credential, one principal"
        yield Problem.at(part.source_of(f"credential.workloads.{index}"), text, mend)


def warnings_of_workloads(charters: Mapping[str, Sourced[Charter]]) -> Iterator[Problem]:
    """Yield what is worth a look: a principal whose credential is SPIFFE, of which no process could get an SVID."""
    for part in charters.values():
        credential = part.value.credential
        if credential.type is CredentialType.SPIFFE and not credential.workloads:
            text = "this names no workloads, so no process gets an SVID from Charter"
            yield Problem.at(part.source_of("credential"), text, "name them: `workloads: [{uid: 1001}]`")


def _all(charters: Mapping[str, Sourced[Charter]]) -> Iterator[Conditions[tuple[Sourced[Charter], int]]]:
    for part in charters.values():
        for index, workload in enumerate(part.value.credential.workloads or ()):
            yield Conditions(part.value.principal, workload.conditions, (part, index))
