"""Amend: one charter changed by hand, through the console or the API, without its file.

What is amended is a charter like any other: checked against the systems and teams that are registered, a new immutable
version, signed, recorded with who and why. What differs is who manages it from then on. Where files managed it before,
the next plan shows the amendment as drift, and the file wins.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Protocol

from charter.core.entropy import Entropy
from charter.core.errors import AbsentError, ConflictError, ErrorCode
from charter.core.keys import Signer
from charter.core.values import Source
from charter.core.work import Transaction
from charter.evidence.entry import Draft, EntryKind
from charter.registry.apply import next_version, told
from charter.registry.charter import Charter
from charter.registry.crosscheck import CrossCheck
from charter.registry.declared import Declared, check_alone, declare
from charter.registry.difference import differences
from charter.registry.dsse import seal_charter
from charter.registry.estate import Sourced
from charter.registry.inventory import inventory_of
from charter.registry.plan import Change, ChangeKind, What
from charter.registry.principal import LiveEstate, Principal
from charter.registry.problem import EstateError, Problem
from charter.registry.record import CharterVersion, ManagedBy
from charter.registry.standing import Standing
from charter.registry.team import Teams

CONSOLE = Source("(console)", 1)  # what has no file has no line


class Registry(Protocol):
    """What amending asks of the registry's store."""

    def principals_named(self, names: Sequence[str]) -> dict[str, Principal]:
        """Return those of the named principals that there are."""
        ...

    def charter_version(self, principal_id: str, version: int) -> CharterVersion:
        """Return one version of a charter."""
        ...

    def teams(self) -> Teams:
        """Return teams.yaml as applied."""
        ...

    def update_principals(self, principals: Sequence[Principal], managed_by: ManagedBy | None = None) -> None:
        """Replace principals."""
        ...

    def put_declared(self, declared: Declared) -> None:
        """Keep declared credentials, new and changed."""
        ...

    def add_versions(self, versions: Sequence[CharterVersion]) -> None:
        """Keep new charter versions."""
        ...


class AmendWork(Transaction, Protocol):
    """The slice of the work that amending needs."""

    @property
    def live(self) -> LiveEstate:
        """The estate in memory."""
        ...

    @property
    def registry(self) -> Registry:
        """The registry's store."""
        ...


def amend(
    charter: Charter, tx: AmendWork, *, expected: str, signer: Signer, entropy: Entropy, by: tuple[str, str]
) -> Principal:
    """Make `charter` the next version of the principal it names; return the principal.

    Args:
        charter: the whole charter as it shall be.
        tx: the transaction.
        expected: the digest of the version that was looked at.
        signer: signs the new version.
        entropy: makes ids.
        by: the person who changes it, and why.

    Raises:
        AbsentError: there is no such principal.
        ConflictError: it is retired, someone changed its charter since, or one token could prove two principals.
        EstateError: the charter names what is not registered, or would change kind or environment.
    """
    known = _found(charter, tx.registry)
    if known.digest != expected:
        raise ConflictError(
            ErrorCode.STALE, f"the charter of `{known.name}` changed meanwhile", help="look at it again"
        )
    _check(charter, known, tx)
    if charter.digest == known.digest:
        return known
    check_alone(tx.live, known, charter)
    actor, reason = by
    principal = next_version(known, charter)
    version = CharterVersion(
        principal_id=principal.id,
        version=principal.version,
        digest=principal.digest,
        charter=charter,
        sources={"": CONSOLE},
        envelope=seal_charter(charter, signer),
        applied_at=tx.at,
        applied_by=actor,
        reason=reason,
    )
    change = _change(tx.registry.charter_version(known.id, known.version).charter, charter, tx)
    tx.registry.update_principals([principal], ManagedBy.CONSOLE)
    tx.registry.add_versions([version])
    body = told(change, principal.version, principal) | {"managed_by": ManagedBy.CONSOLE.value, "reason": reason}
    tx.record(Draft(EntryKind.CHARTER_APPLIED, actor, principal.id, body))
    tx.changed("principal", principal.id, actor=actor, reason=reason)
    declared = declare(tx, principal, charter, change.differences, entropy=entropy, by=by)
    tx.registry.put_declared(declared)

    def show() -> None:
        tx.live.principals[principal.id] = principal
        for key in declared.keys:
            tx.live.put_key(key)

    tx.after_commit(show)
    return principal


def _found(charter: Charter, registry: Registry) -> Principal:
    known = registry.principals_named([charter.principal]).get(charter.principal)
    if known is None:
        raise AbsentError(
            ErrorCode.UNKNOWN_PRINCIPAL,
            f"there is no principal `{charter.principal}`",
            help="write its file and apply it; an identity begins with a file",
        )
    if known.standing is Standing.RETIRED:
        raise ConflictError(ErrorCode.BAD_MOVE, f"`{known.name}` is retired", help="retired is final")
    return known


def _check(charter: Charter, known: Principal, tx: AmendWork) -> None:
    """Raise EstateError where the charter contradicts what is registered."""
    problems = [
        Problem.at(CONSOLE, f"`{known.name}` keeps its {field} `{was}` for life", "give the new thing its own name")
        for field, was, becomes in (
            ("kind", known.kind.value, charter.kind.value),
            ("environment", known.environment.value, charter.environment.value),
        )
        if was != becomes
    ]
    places = {"": CONSOLE}
    checks = CrossCheck(
        charters={charter.principal: Sourced(charter, places)},
        systems={
            name: Sourced(record.system, places)
            for name, record in tx.live.systems.items()
            if record.standing is not Standing.RETIRED
        },
        teams=Sourced(tx.registry.teams(), places),
        issuers=Sourced(tx.live.issuers, places),
        patterns={},
        central=tx.live.central,
        trials=(),
        properties=(),
        broken=frozenset(f"principals/{name}.yaml" for name in tx.live.ids),  # they are there, and not looked into
        today=tx.at.astimezone(dt.UTC).date(),
        is_alone=True,
    )
    checks.run()
    problems += checks.problems
    if problems:
        raise EstateError(problems)


def _change(before: Charter, after: Charter, tx: AmendWork) -> Change:
    systems = {name: record.system for name, record in tx.live.systems.items()}
    return Change(
        change=ChangeKind.CHANGE,
        what=What.PRINCIPAL,
        name=after.principal,
        before=before.digest,
        after=after.digest,
        differences=differences(before.to_json(), after.to_json()),
        inventory=inventory_of(after, systems),
    )
