"""People, groups and who may provision them: rows <-> values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from charter.adapters import tables as t
from charter.core.canonical import canonical
from charter.core.clock import parse_rfc3339, rfc3339
from charter.registry.directory import Directory, Group, Person
from charter.registry.provisioner import Provisioner
from charter.registry.standing import Standing

_ACTIVE, _INACTIVE, _DELETED = "active", "inactive", "deleted"
_BATCH = 1000


class SqlDirectory:
    """What the directory provisioned, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def load(self) -> Directory:
        """Return the directory as kept."""
        found = Directory.of(self._people(), self._groups())
        found.provisioners = {digest: each for each in self.provisioners() for digest in each.digests}
        gone = sa.select(t.person.c.email).where(t.person.c.state == _DELETED, t.person.c.email.is_not(None))
        for email in self._connection.execute(gone).scalars():
            found.note_left(email)
        return found

    def add_person(self, person: Person) -> None:
        """Keep a new person."""
        self._connection.execute(t.person.insert(), _person_row(person))

    def update_person(self, person: Person) -> None:
        """Replace the one with the same id."""
        row = _person_row(person)
        self._connection.execute(t.person.update().where(t.person.c.id == row.pop("id")), row)

    def delete_person(self, person_id: str) -> None:
        """Forget all of a person but that somebody with this address left."""
        c = t.person.c
        nothing = {"name_key": None, "user_name": "", "display_name": "", "external_id": None, "body": "{}"}
        self._connection.execute(t.group_member.delete().where(t.group_member.c.person_id == person_id))
        self._connection.execute(t.person.update().where(c.id == person_id), nothing | {"state": _DELETED})

    def add_group(self, group: Group) -> None:
        """Keep a new group."""
        self._connection.execute(t.person_group.insert(), _group_row(group))
        self._put_members(group)

    def update_group(self, group: Group) -> None:
        """Replace the one with the same id."""
        row = _group_row(group)
        self._connection.execute(t.person_group.update().where(t.person_group.c.id == row.pop("id")), row)
        self._connection.execute(t.group_member.delete().where(t.group_member.c.group_id == group.id))
        self._put_members(group)

    def delete_group(self, group_id: str) -> None:
        """Forget a group."""
        self._connection.execute(t.group_member.delete().where(t.group_member.c.group_id == group_id))
        self._connection.execute(t.person_group.delete().where(t.person_group.c.id == group_id))

    def add_provisioner(self, provisioner: Provisioner) -> None:
        """Keep a new provisioner."""
        self._connection.execute(t.provisioner.insert(), _provisioner_row(provisioner))

    def update_provisioner(self, provisioner: Provisioner) -> None:
        """Replace the one with the same id."""
        row = _provisioner_row(provisioner)
        self._connection.execute(t.provisioner.update().where(t.provisioner.c.id == row.pop("id")), row)

    def provisioners(self) -> list[Provisioner]:
        """Return all there ever were, by name."""
        query = sa.select(t.provisioner).order_by(t.provisioner.c.name)
        return [_provisioner(row) for row in self._connection.execute(query)]

    def _people(self) -> Iterator[Person]:
        for row in self._connection.execute(sa.select(t.person).where(t.person.c.state != _DELETED)):
            yield _person(row)

    def _groups(self) -> Iterator[Group]:
        members: dict[str, set[str]] = {}
        for row in self._connection.execute(sa.select(t.group_member)):
            members.setdefault(row.group_id, set()).add(row.person_id)
        for row in self._connection.execute(sa.select(t.person_group)):
            yield _group(row, frozenset(members.get(row.id, ())))

    def _put_members(self, group: Group) -> None:
        rows = [{"group_id": group.id, "person_id": each} for each in sorted(group.members)]
        for start in range(0, len(rows), _BATCH):
            self._connection.execute(t.group_member.insert(), rows[start : start + _BATCH])


def _person_row(person: Person) -> dict[str, object]:
    return {
        "id": person.id,
        "name_key": person.name_key,
        "user_name": person.user_name,
        "email": person.email,
        "display_name": person.display_name,
        "external_id": person.external_id,
        "state": _ACTIVE if person.is_active else _INACTIVE,
        "body": canonical(dict(person.body)).decode(),
        "created_at": person.created_at,
        "changed_at": person.changed_at,
    }


def _person(row: sa.Row[Any]) -> Person:
    return Person(
        id=row.id,
        user_name=row.user_name,
        email=row.email,
        display_name=row.display_name,
        external_id=row.external_id,
        is_active=row.state == _ACTIVE,
        body=json.loads(row.body),
        created_at=row.created_at,
        changed_at=row.changed_at,
    )


def _group_row(group: Group) -> dict[str, object]:
    return {
        "id": group.id,
        "name_key": group.name_key,
        "display_name": group.display_name,
        "external_id": group.external_id,
        "body": canonical(dict(group.body)).decode(),
        "created_at": group.created_at,
        "changed_at": group.changed_at,
    }


def _group(row: sa.Row[Any], members: frozenset[str]) -> Group:
    return Group(
        id=row.id,
        display_name=row.display_name,
        external_id=row.external_id,
        members=members,
        body=json.loads(row.body),
        created_at=row.created_at,
        changed_at=row.changed_at,
    )


def _provisioner_row(provisioner: Provisioner) -> dict[str, object]:
    return {
        "id": provisioner.id,
        "name": provisioner.name,
        "token_digest": provisioner.token_digest,
        "standing": provisioner.standing.value,
        "made_by": provisioner.made_by,
        "made_at": rfc3339(provisioner.made_at),
        "since": rfc3339(provisioner.since) if provisioner.since else None,
        "before_digest": provisioner.before_digest,
        "before_until": rfc3339(provisioner.before_until) if provisioner.before_until else None,
    }


def _provisioner(row: sa.Row[Any]) -> Provisioner:
    return Provisioner(
        id=row.id,
        name=row.name,
        token_digest=row.token_digest,
        standing=Standing(row.standing),
        made_by=row.made_by,
        made_at=parse_rfc3339(row.made_at),
        since=parse_rfc3339(row.since) if row.since else None,
        before_digest=row.before_digest,
        before_until=parse_rfc3339(row.before_until) if row.before_until else None,
    )
