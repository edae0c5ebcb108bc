"""Findings of what the parts of a house notice at work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from charter.core.canonical import digest_of
from charter.identity.noting import note
from charter.registry.record import Finding

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction


def open_finding(  # noqa: PLR0913 - what a finding is made of
    house: House,
    tx: HouseTransaction,
    kind: str,
    *,
    title: str,
    body: Mapping[str, Any],
    same_as: Mapping[str, Any],
    principal_id: str | None,
) -> None:
    """Open a finding about a principal (None: about none), and record it if it is a new one. A work.

    `same_as` is what makes it the same finding when it is noticed again, besides its kind and the principal.
    """
    fingerprint = digest_of({"kind": kind, "principal": principal_id, **same_as})
    finding = Finding.noticed(
        house.entropy.identifier("fnd"), kind, fingerprint, title=title, body=body, at=tx.at, principal_id=principal_id
    )
    note(tx, finding, actor="charter")
