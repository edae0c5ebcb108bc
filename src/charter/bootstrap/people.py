"""People as the house knows them: whose directory may provision, what ends when someone leaves, who is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from charter.core.clock import rfc3339
from charter.lifecycle import directory as deeds
from charter.registry.directory import Directory, Person
from charter.registry.problem import suggestion
from charter.registry.provisioner import Provisioner

if TYPE_CHECKING:
    from charter.bootstrap.house import House

MAX_LISTED = 1000


async def add_provisioner(house: House, name: str, *, actor: str) -> dict[str, Any]:
    """Let a directory provision; return it with its token, which is shown this once.

    Raises:
        ConflictError: one of that name was made before.
    """
    made, token = await house.database.awrite(
        lambda tx: deeds.add_provisioner(tx, name, actor=actor, entropy=house.entropy)
    )
    return provisioner_view(made) | {"token": token, "url": f"{house.settings.issuer}/scim/v2"}


async def revoke_provisioner(house: House, name: str, *, actor: str) -> dict[str, Any]:
    """Let a directory provision no more.

    Raises:
        AbsentError: there is none of that name that may.
    """
    return provisioner_view(await house.database.awrite(lambda tx: deeds.revoke_provisioner(tx, name, actor=actor)))


def provisioners(house: House) -> list[dict[str, Any]]:
    """Return all there ever were, by name."""
    found = sorted(house.live.directory.provisioners.values(), key=lambda each: each.name)
    return [provisioner_view(each) for each in found]


def listing(house: House, group: str | None) -> dict[str, Any]:
    """Return the people there are, or those in a group; by user name, at most MAX_LISTED of them.

    Raises:
        AbsentError: there is no such group.
    """
    directory = house.live.directory
    people = list(directory.people.values())
    if group is not None:
        found = directory.group_named(group)
        if found is None:
            names = [each.display_name for each in directory.groups.values()]
            raise deeds.group_absent(group, suggestion(group[:80], names))
        people = [person for person in people if person.id in found.members]
    people.sort(key=lambda person: person.name_key)
    shown = [person_view(directory, person) for person in people[:MAX_LISTED]]
    return {"people": shown, "total": len(people), "groups": len(directory.groups)}


def person_view(directory: Directory, person: Person) -> dict[str, Any]:
    """Return a person as plain JSON."""
    return {
        "id": person.id,
        "user_name": person.user_name,
        "email": person.email,
        "display_name": person.display_name,
        "is_active": person.is_active,
        "groups": [group.display_name for group in directory.groups_of(person.id)],
        "changed_at": person.changed_at,
    }


def provisioner_view(provisioner: Provisioner) -> dict[str, Any]:
    """Return a provisioner as plain JSON, without anything of its token."""
    return {
        "id": provisioner.id,
        "name": provisioner.name,
        "standing": provisioner.standing.value,
        "made_by": provisioner.made_by,
        "made_at": rfc3339(provisioner.made_at),
    }
