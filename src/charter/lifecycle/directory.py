"""People and groups come, change and leave, as the directory says. Each deed is one work.

INVARIANT: whoever becomes inactive or is deleted has lost what they could do before the directory is answered: `then`
ends their sessions; what they lent is withdrawn, and their connections to upstreams end, in the same transaction.
INVARIANT: a principal whose owner left is a finding at once; its authority is for a person to decide about.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from charter.core.canonical import digest_of
from charter.core.clock import rfc3339
from charter.core.entropy import Entropy
from charter.core.errors import AbsentError, ConflictError, ErrorCode
from charter.evidence.entry import Draft, EntryKind
from charter.identity.connection import ConnectionWork
from charter.identity.delegation import LendingWork, Wanted
from charter.identity.noting import note
from charter.identity.withdrawal import Ended, withdraw
from charter.registry.directory import Directory, Group, Person, fold
from charter.registry.principal import Principal
from charter.registry.provisioner import PREFIX, Provisioner, token_digest
from charter.registry.record import Finding
from charter.registry.standing import Standing

OWNER_LEFT = "owner-left"
MAX_PEOPLE = 1_000_000
MAX_MEMBERS = 50_000  # of one group


class DirectoryStore(Protocol):
    """The people and groups kept."""

    def add_person(self, person: Person) -> None:
        """Keep a new person."""
        ...

    def update_person(self, person: Person) -> None:
        """Replace the one with the same id."""
        ...

    def delete_person(self, person_id: str) -> None:
        """Forget all of a person but that they left."""
        ...

    def add_group(self, group: Group) -> None:
        """Keep a new group."""
        ...

    def update_group(self, group: Group) -> None:
        """Replace the one with the same id."""
        ...

    def delete_group(self, group_id: str) -> None:
        """Forget a group."""
        ...

    def add_provisioner(self, provisioner: Provisioner) -> None:
        """Keep a new provisioner."""
        ...

    def update_provisioner(self, provisioner: Provisioner) -> None:
        """Replace the one with the same id."""
        ...

    def provisioners(self) -> list[Provisioner]:
        """Return all there ever were."""
        ...


class DirectoryWork(LendingWork, ConnectionWork, Protocol):
    """The slice of the work that the directory needs."""

    @property
    def directory(self) -> DirectoryStore:
        """The people and groups kept."""
        ...


@dataclass(frozen=True, slots=True)
class Hand:
    """By whom a change is made, and what has to end when a person leaves."""

    actor: str  # the provisioner's name
    entropy: Entropy
    then: Callable[[Person], None] = lambda _person: None  # ends their sessions; after the commit
    disconnect: Callable[[ConnectionWork, str, str], None] = lambda _tx, _email, _why: (
        None
    )  # from upstreams; in the work
    ended: Ended = lambda _delegations: None  # ends what is under way on what they lent; after the commit


def add_person(tx: DirectoryWork, person: Person, hand: Hand) -> Person:
    """Keep a new person. A work.

    Raises:
        ConflictError: the user name or the address is somebody else's, or there are too many.
    """
    if len(tx.live.directory) >= MAX_PEOPLE:
        raise ConflictError(ErrorCode.TOO_MANY, f"the directory has {MAX_PEOPLE:,} people already")
    _check_person(tx.live.directory, person)
    tx.directory.add_person(person)
    _tell_person(tx, person, hand, "added")
    tx.after_commit(lambda: tx.live.directory.put_person(person))
    return person


def change_person(tx: DirectoryWork, person: Person, hand: Hand) -> Person:
    """Replace a person by what the directory says of them now. A work.

    Raises:
        AbsentError: there is no such person.
        ConflictError: the user name or the address is somebody else's.
    """
    before = person_of(tx.live.directory, person.id)
    _check_person(tx.live.directory, person)
    changed = replace(person, created_at=before.created_at, changed_at=rfc3339(tx.at))
    tx.directory.update_person(changed)
    has_left = before.is_active and not changed.is_active
    _tell_person(tx, changed, hand, "made inactive" if has_left else "changed")
    if has_left:
        _leave(tx, before, hand)
    tx.after_commit(lambda: tx.live.directory.put_person(changed))
    if has_left:
        tx.after_commit(lambda: hand.then(changed))
    return changed


def delete_person(tx: DirectoryWork, person_id: str, hand: Hand) -> None:
    """Take a person out. A work.

    Raises:
        AbsentError: there is no such person.
    """
    person = person_of(tx.live.directory, person_id)
    tx.directory.delete_person(person_id)
    _tell_person(tx, person, hand, "deleted")
    _leave(tx, person, hand)

    def show() -> None:
        for group in tx.live.directory.groups_of(person_id):
            tx.live.directory.put_group(replace(group, members=group.members - {person_id}))
        tx.live.directory.drop_person(person_id)
        hand.then(person)

    tx.after_commit(show)


def add_group(tx: DirectoryWork, group: Group, hand: Hand) -> Group:
    """Keep a new group. A work.

    Raises:
        ConflictError: the name is another group's, or it has too many members.
        AbsentError: a member is nobody.
    """
    _check_group(tx.live.directory, group)
    tx.directory.add_group(group)
    _tell_group(tx, group, hand, "added")
    tx.after_commit(lambda: tx.live.directory.put_group(group))
    return group


def change_group(tx: DirectoryWork, group: Group, hand: Hand) -> Group:
    """Replace a group. A work.

    Raises:
        ConflictError: the name is another group's, or it has too many members.
        AbsentError: there is no such group, or a member is nobody.
    """
    before = group_of(tx.live.directory, group.id)
    _check_group(tx.live.directory, group)
    changed = replace(group, created_at=before.created_at, changed_at=rfc3339(tx.at))
    tx.directory.update_group(changed)
    _tell_group(tx, changed, hand, "changed")
    tx.after_commit(lambda: tx.live.directory.put_group(changed))
    return changed


def delete_group(tx: DirectoryWork, group_id: str, hand: Hand) -> None:
    """Take a group out; its members stay. A work.

    Raises:
        AbsentError: there is no such group.
    """
    group = group_of(tx.live.directory, group_id)
    tx.directory.delete_group(group_id)
    _tell_group(tx, group, hand, "deleted")
    tx.after_commit(lambda: tx.live.directory.drop_group(group_id))


def person_of(directory: Directory, person_id: str) -> Person:
    """Return the person with that id.

    Raises:
        AbsentError: there is none.
    """
    try:
        return directory.people[person_id]
    except KeyError:
        raise AbsentError(ErrorCode.UNKNOWN_PERSON, f"there is no person {person_id[:64]!a}") from None


def group_of(directory: Directory, group_id: str) -> Group:
    """Return the group with that id.

    Raises:
        AbsentError: there is none.
    """
    try:
        return directory.groups[group_id]
    except KeyError:
        raise group_absent(group_id) from None


def group_absent(name: str, help: str | None = None) -> AbsentError:
    """Return the error of a group that there is not."""
    return AbsentError(ErrorCode.UNKNOWN_PERSON, f"there is no group {name[:64]!a}", help=help)


# --- who may provision ------------------------------------------------------------------------------------------------


def add_provisioner(tx: DirectoryWork, name: str, *, actor: str, entropy: Entropy) -> tuple[Provisioner, str]:
    """Let a directory provision; return it with its token, which is shown this once. A work.

    Raises:
        ConflictError: one of that name was made before.
    """
    if any(each.name == name for each in tx.directory.provisioners()):
        raise ConflictError(ErrorCode.EXISTS, f"there is a provisioner `{name}` already", help="choose another name")
    token = PREFIX + entropy.bytes(32).hex()
    made = Provisioner(entropy.identifier("prv"), name, token_digest(token), Standing.ACTIVE, actor, tx.at)
    tx.directory.add_provisioner(made)
    _tell_provisioner(tx, made, actor, "made")
    tx.after_commit(lambda: tx.live.directory.provisioners.update({made.token_digest: made}))
    return made, token


def revoke_provisioner(tx: DirectoryWork, name: str, *, actor: str) -> Provisioner:
    """Let a directory provision no more. A work.

    Raises:
        AbsentError: there is none of that name that may.
    """
    revoked = replace(_provisioner_named(tx, name), standing=Standing.REVOKED)
    tx.directory.update_provisioner(revoked)
    _tell_provisioner(tx, revoked, actor, "revoked")
    tx.after_commit(lambda: tx.live.directory.provisioners.update(dict.fromkeys(revoked.digests, revoked)))
    return revoked


def rotate_provisioner(
    tx: DirectoryWork, name: str, overlap: dt.timedelta | None, *, actor: str, entropy: Entropy
) -> tuple[Provisioner, str]:
    """Make a provisioner another token; return it with that, shown this once. A work.

    The token before counts for `overlap` more, or, without one, no more from now on; that before it does not any more.

    Raises:
        AbsentError: there is none of that name that may provision.
    """
    found, token = _provisioner_named(tx, name), PREFIX + entropy.bytes(32).hex()
    made = replace(
        found,
        token_digest=token_digest(token),
        since=tx.at,
        before_digest=found.token_digest if overlap else None,
        before_until=tx.at + overlap if overlap else None,
    )
    tx.directory.update_provisioner(made)
    _tell_provisioner(tx, made, actor, "given another token" if overlap else "given another token at once")

    def show() -> None:
        for gone in set(found.digests) - set(made.digests):
            tx.live.directory.provisioners.pop(gone, None)
        tx.live.directory.provisioners.update(dict.fromkeys(made.digests, made))

    tx.after_commit(show)
    return made, token


def _provisioner_named(tx: DirectoryWork, name: str) -> Provisioner:
    found = next((p for p in tx.directory.provisioners() if p.name == name and p.standing is Standing.ACTIVE), None)
    if found is None:
        raise AbsentError(
            ErrorCode.UNKNOWN_PERSON, f"no provisioner {name[:64]!a} may provision", help="charter people provisioners"
        )
    return found


# --- what all of them share -------------------------------------------------------------------------------------------


def _check_person(directory: Directory, person: Person) -> None:
    named = directory.named(person.user_name)
    if named is not None and named.id != person.id:
        raise ConflictError(ErrorCode.EXISTS, f"the user name `{person.user_name}` is another person's")
    other = directory.with_email(person.email) if person.email and person.is_active else None
    if other is not None and other.id != person.id:
        raise ConflictError(ErrorCode.EXISTS, f"the address `{person.email}` is another active person's")


def _check_group(directory: Directory, group: Group) -> None:
    named = directory.group_named(group.display_name)
    if named is not None and named.id != group.id:
        raise ConflictError(ErrorCode.EXISTS, f"the name `{group.display_name}` is another group's")
    if len(group.members) > MAX_MEMBERS:
        raise ConflictError(ErrorCode.TOO_MANY, f"a group has at most {MAX_MEMBERS:,} members")
    for member in sorted(group.members):
        person_of(directory, member)


def _leave(tx: DirectoryWork, person: Person, hand: Hand) -> None:
    """Withdraw what a person lent, end their connections, and notice what they owned."""
    if person.email is None:
        return
    hand.disconnect(tx, person.email, f"{person.user_name} left")
    with suppress(AbsentError):  # they had lent nothing
        withdraw(tx, Wanted(person=person.email), actor=hand.actor, reason=f"{person.user_name} left", then=hand.ended)
    key = fold(person.email)
    for principal in list(tx.live.principals.values()):
        if fold(principal.owner_person) == key and principal.standing is not Standing.RETIRED:
            _notice(tx, principal, person.email, hand)


def _notice(tx: DirectoryWork, principal: Principal, email: str, hand: Hand) -> None:
    finding = Finding.noticed(
        hand.entropy.identifier("fnd"),
        OWNER_LEFT,
        digest_of({"kind": OWNER_LEFT, "principal": principal.id, "owner": email}),
        title=f"{principal.name} has no owner any more: {email} left",
        body={"principal": principal.name, "owner": email, "team": principal.owner_team},
        at=tx.at,
        principal_id=principal.id,
    )
    note(tx, finding, actor=hand.actor)


def _tell_person(tx: DirectoryWork, person: Person, hand: Hand, what: str) -> None:
    body = {"person": person.id, "user_name": person.user_name, "is_active": person.is_active, "what": what}
    tx.record(Draft(EntryKind.PERSON_CHANGED, hand.actor, None, body))
    tx.changed("person", person.id, actor=hand.actor, reason=what)


def _tell_group(tx: DirectoryWork, group: Group, hand: Hand, what: str) -> None:
    body = {"group": group.id, "name": group.display_name, "members": len(group.members), "what": what}
    tx.record(Draft(EntryKind.GROUP_CHANGED, hand.actor, None, body))
    tx.changed("group", group.id, actor=hand.actor, reason=what)


def _tell_provisioner(tx: DirectoryWork, provisioner: Provisioner, actor: str, what: str) -> None:
    body = {"provisioner": provisioner.id, "name": provisioner.name, "what": what}
    tx.record(Draft(EntryKind.PROVISIONER_CHANGED, actor, None, body))
    tx.changed("provisioner", provisioner.id, actor=actor, reason=what)
