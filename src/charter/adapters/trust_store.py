"""Authorities of our trust domain, bundles of all, and relationships with others: rows <-> values."""

from __future__ import annotations

import base64
import json
from typing import Any

import sqlalchemy as sa

from charter.adapters import tables as t
from charter.core.canonical import canonical
from charter.core.clock import parse_rfc3339, rfc3339
from charter.identity.federation import Federation, Profile
from charter.identity.keys import KeyState
from charter.identity.trust import KeptBundle
from charter.identity.x509_authority import Authority, AuthorityRole


class SqlTrust:
    """What trust rests on, on one connection. Satisfies identity.federation.FederationStore."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    # --- authorities ---

    def authorities(self, trust_domain: str) -> list[Authority]:
        """Return the authorities of a trust domain of ours, oldest first."""
        c = t.x509_authority.c
        query = sa.select(t.x509_authority).where(c.trust_domain == trust_domain).order_by(c.created_at, c.id)
        return [authority_of(row) for row in self._connection.execute(query)]

    def add_authority(self, authority: Authority) -> None:
        """Keep a new authority."""
        self._connection.execute(t.x509_authority.insert(), _authority_row(authority))

    def update_authority(self, authority: Authority) -> None:
        """Keep an authority's new state and seal."""
        row = _authority_row(authority)
        self._connection.execute(t.x509_authority.update().where(t.x509_authority.c.id == row.pop("id")), row)

    # --- bundles ---

    def bundles(self) -> list[KeptBundle]:
        """Return every bundle: our own and others'."""
        query = sa.select(t.trust_bundle).order_by(t.trust_bundle.c.trust_domain)
        return [_bundle(row) for row in self._connection.execute(query)]

    def bundle(self, trust_domain: str) -> KeptBundle | None:
        """Return the bundle of one trust domain."""
        query = sa.select(t.trust_bundle).where(t.trust_bundle.c.trust_domain == trust_domain)
        row = self._connection.execute(query).first()
        return _bundle(row) if row else None

    def put_bundle(self, bundle: KeptBundle) -> None:
        """Keep the bundle of a trust domain in place of the one before."""
        self.drop_bundle(bundle.trust_domain)
        row = {
            "trust_domain": bundle.trust_domain,
            "sequence": bundle.sequence,
            "digest": bundle.digest,
            "body": bundle.body,
            "taken_at": rfc3339(bundle.taken_at),
        }
        self._connection.execute(t.trust_bundle.insert(), row)

    def drop_bundle(self, trust_domain: str) -> None:
        """Forget the bundle of a trust domain."""
        self._connection.execute(t.trust_bundle.delete().where(t.trust_bundle.c.trust_domain == trust_domain))

    # --- federation ---

    def federations(self) -> list[Federation]:
        """Return every relationship, by trust domain."""
        query = sa.select(t.federation).order_by(t.federation.c.trust_domain)
        return [_federation(row) for row in self._connection.execute(query)]

    def federated(self) -> list[str]:
        """Return the trust domains that we federate with."""
        return list(self._connection.scalars(sa.select(t.federation.c.trust_domain)))

    def federation(self, trust_domain: str) -> Federation | None:
        """Return the relationship with a trust domain."""
        query = sa.select(t.federation).where(t.federation.c.trust_domain == trust_domain)
        row = self._connection.execute(query).first()
        return _federation(row) if row else None

    def put_federation(self, federation: Federation) -> None:
        """Keep a relationship in place of the one before."""
        self.drop_federation(federation.trust_domain)
        self._connection.execute(t.federation.insert(), _federation_row(federation))

    def drop_federation(self, trust_domain: str) -> None:
        """Forget a relationship."""
        self._connection.execute(t.federation.delete().where(t.federation.c.trust_domain == trust_domain))


def _authority_row(authority: Authority) -> dict[str, object]:
    return {
        "id": authority.id,
        "trust_domain": authority.trust_domain,
        "role": authority.role.value,
        "certificate": base64.b64encode(authority.certificate).decode(),
        "sealed": authority.sealed,
        "state": authority.state.value,
        "created_at": rfc3339(authority.created_at),
        "signs_from": rfc3339(authority.signs_from) if authority.signs_from else None,
        "retire_after": rfc3339(authority.retire_after) if authority.retire_after else None,
    }


def authority_of(row: sa.Row[Any]) -> Authority:
    """Return the authority that a row is."""
    return Authority(
        id=row.id,
        trust_domain=row.trust_domain,
        role=AuthorityRole(row.role),
        certificate=base64.b64decode(row.certificate),
        sealed=row.sealed,
        state=KeyState(row.state),
        created_at=parse_rfc3339(row.created_at),
        signs_from=parse_rfc3339(row.signs_from) if row.signs_from else None,
        retire_after=parse_rfc3339(row.retire_after) if row.retire_after else None,
    )


def _bundle(row: sa.Row[Any]) -> KeptBundle:
    return KeptBundle(row.trust_domain, row.sequence, row.digest, bytes(row.body), parse_rfc3339(row.taken_at))


def _federation_row(federation: Federation) -> dict[str, object]:
    return {
        "trust_domain": federation.trust_domain,
        "url": federation.url,
        "profile": federation.profile.value,
        "endpoint_id": federation.endpoint_id,
        "networks": canonical(federation.networks).decode(),
        "added_at": rfc3339(federation.added_at),
        "added_by": federation.added_by,
        "asked_at": rfc3339(federation.asked_at) if federation.asked_at else None,
        "refreshed_at": rfc3339(federation.refreshed_at) if federation.refreshed_at else None,
        "failure": federation.failure,
    }


def _federation(row: sa.Row[Any]) -> Federation:
    return Federation(
        trust_domain=row.trust_domain,
        url=row.url,
        profile=Profile(row.profile),
        endpoint_id=row.endpoint_id,
        networks=tuple(json.loads(row.networks)),
        added_at=parse_rfc3339(row.added_at),
        added_by=row.added_by,
        asked_at=parse_rfc3339(row.asked_at) if row.asked_at else None,
        refreshed_at=parse_rfc3339(row.refreshed_at) if row.refreshed_at else None,
        failure=row.failure,
    )
