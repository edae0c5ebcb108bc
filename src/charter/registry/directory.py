"""People and groups, as the organisation's directory keeps them: who may sign in, lend authority, approve, own.

A person who leaves is made inactive or taken out by the directory. From then on they sign in nowhere, nothing they
lent counts, no approval of theirs is taken, and each principal they own is a finding.

INVARIANT: a user name is one person's, whatever its letters' case; so is an e-mail address among active people.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from charter.core.canonical import digest_of
from charter.registry.provisioner import Provisioner


@dataclass(frozen=True, slots=True)
class Person:
    """One person. `body` is all the directory said of them, in SCIM's words, without passwords."""

    id: str  # psn_…
    user_name: str
    email: str | None
    display_name: str
    external_id: str | None
    is_active: bool
    body: Mapping[str, Any] = field(repr=False)
    created_at: str  # RFC 3339
    changed_at: str

    @property
    def name_key(self) -> str:
        """What tells user names apart."""
        return fold(self.user_name)

    @property
    def version(self) -> str:
        """Changes whenever the person does."""
        return digest_of([dict(self.body), self.is_active])[7:23]


@dataclass(frozen=True, slots=True)
class Group:
    """A group of people."""

    id: str  # grp_…
    display_name: str
    external_id: str | None
    members: frozenset[str]  # ids of people
    body: Mapping[str, Any] = field(repr=False)
    created_at: str
    changed_at: str

    @property
    def name_key(self) -> str:
        """What tells groups' names apart."""
        return fold(self.display_name)

    @property
    def version(self) -> str:
        """Changes whenever the group does."""
        return digest_of([dict(self.body), sorted(self.members)])[7:23]


def fold(text: str) -> str:
    """Return `text` as names are compared."""
    return text.casefold()


@dataclass(slots=True)
class Directory:
    """The people and groups there are, in memory. Only the database writer changes it, after its commit."""

    people: dict[str, Person] = field(default_factory=dict)  # by id
    groups: dict[str, Group] = field(default_factory=dict)  # by id
    provisioners: dict[str, Provisioner] = field(default_factory=dict)  # by the digest of their token
    _by_name: dict[str, str] = field(default_factory=dict)
    _by_email: dict[str, str] = field(default_factory=dict)
    _by_external_id: dict[str, frozenset[str]] = field(default_factory=dict)  # a client may repeat one
    _left: set[str] = field(default_factory=set)  # addresses that nobody active has any more, or once had
    _group_names: dict[str, str] = field(default_factory=dict)
    _memberships: dict[str, frozenset[str]] = field(default_factory=dict)  # person -> groups

    @classmethod
    def of(cls, people: Iterable[Person], groups: Iterable[Group]) -> Directory:
        """Return the directory of these."""
        found = cls()
        for person in people:
            found.put_person(person)
        for group in groups:
            found.put_group(group)
        return found

    def __len__(self) -> int:
        return len(self.people)

    def put_person(self, person: Person) -> None:
        """Show a person, new or changed."""
        self._forget_names(self.people.get(person.id))
        self.people[person.id] = person
        self._by_name[person.name_key] = person.id
        if person.external_id is not None:
            same = self._by_external_id.get(person.external_id, frozenset())
            self._by_external_id[person.external_id] = same | {person.id}
        if person.email is not None and person.is_active:
            self._by_email[fold(person.email)] = person.id
        elif person.email is not None:
            self.note_left(person.email)

    def drop_person(self, person_id: str) -> None:
        """Show a person no more, nor as anyone's member; remember that they left."""
        person = self.people.pop(person_id, None)
        self._forget_names(person)
        if person is not None and person.email is not None:
            self.note_left(person.email)
        self._memberships.pop(person_id, None)

    def put_group(self, group: Group) -> None:
        """Show a group, new or changed."""
        self.drop_group(group.id)
        self.groups[group.id] = group
        self._group_names[group.name_key] = group.id
        for person_id in group.members:
            self._memberships[person_id] = self._memberships.get(person_id, frozenset()) | {group.id}

    def drop_group(self, group_id: str) -> None:
        """Show a group no more."""
        group = self.groups.pop(group_id, None)
        if group is None:
            return
        self._group_names.pop(group.name_key, None)
        for person_id in group.members:
            left = self._memberships.get(person_id, frozenset()) - {group_id}
            if left:
                self._memberships[person_id] = left
            else:
                self._memberships.pop(person_id, None)

    def named(self, user_name: str) -> Person | None:
        """Return the person of that user name."""
        found = self._by_name.get(fold(user_name))
        return self.people.get(found) if found else None

    def with_email(self, email: str) -> Person | None:
        """Return the active person of that address."""
        found = self._by_email.get(fold(email))
        return self.people.get(found) if found else None

    def with_external_id(self, external_id: str) -> tuple[Person, ...]:
        """Return the people whom the directory's own system calls that: one at most, if it is in order."""
        found = self._by_external_id.get(external_id, frozenset())
        return tuple(self.people[each] for each in sorted(found))

    def group_named(self, display_name: str) -> Group | None:
        """Return the group of that name."""
        found = self._group_names.get(fold(display_name))
        return self.groups.get(found) if found else None

    def groups_of(self, person_id: str) -> tuple[Group, ...]:
        """Return the groups that a person is in, by name."""
        found = (self.groups[each] for each in self._memberships.get(person_id, frozenset()))
        return tuple(sorted(found, key=lambda group: group.name_key))

    def note_left(self, email: str) -> None:
        """Remember that whoever had this address left."""
        self._left.add(fold(email))

    def has_left(self, email: str) -> bool:
        """Return whether the directory knew this address, and nobody active has it.

        Who was never in the directory has not left it: an estate may name people before a directory is connected.
        """
        key = fold(email)
        return key in self._left and key not in self._by_email

    def _forget_names(self, person: Person | None) -> None:
        if person is None:
            return
        self._by_name.pop(person.name_key, None)
        if person.email is not None and self._by_email.get(fold(person.email)) == person.id:
            del self._by_email[fold(person.email)]
        if person.external_id is not None:
            left = self._by_external_id.get(person.external_id, frozenset()) - {person.id}
            if left:
                self._by_external_id[person.external_id] = left
            else:
                self._by_external_id.pop(person.external_id, None)
