"""The kinds of SCIM resource there are, each with its deeds; and the look-ups that need no search."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from scim2_models import EnterpriseUser, Group, ResponseParameters, ScimFilter, User

from charter.lifecycle import directory as deeds
from charter.lifecycle.directory import DirectoryWork, Hand
from charter.registry.directory import Directory, fold
from charter.server.scim_resources import (
    GROUPS,
    USERS,
    PersonResource,
    group_from,
    group_resource,
    person_from,
    person_resource,
)


@dataclass(frozen=True, slots=True)
class ResourceKind:
    """One kind of resource."""

    endpoint: str
    model: Any
    filter: Callable[[str], Any]
    chosen: Callable[..., Any]  # the attributes that a request asks for
    all: Callable[[Directory], Iterable[Any]]
    resource: Callable[[Any, Directory, str], Any]
    parse: Callable[[Any, str, str], Any]
    get: Callable[[Directory, str], Any]
    named: Callable[[Directory, str], Any]
    id_prefix: str
    add: Callable[[DirectoryWork, Any, Hand], Any]
    change: Callable[[DirectoryWork, Any, Hand], Any]
    delete: Callable[[DirectoryWork, str, Hand], None]
    name: str  # the attribute that is looked up by index


KINDS = {
    USERS: ResourceKind(
        USERS,
        PersonResource,
        ScimFilter[User[EnterpriseUser]],
        ResponseParameters[User[EnterpriseUser]],
        lambda directory: directory.people.values(),
        person_resource,
        person_from,
        deeds.person_of,
        Directory.named,
        "psn",
        deeds.add_person,
        deeds.change_person,
        deeds.delete_person,
        "username",
    ),
    GROUPS: ResourceKind(
        GROUPS,
        Group,
        ScimFilter[Group],
        ResponseParameters[Group],
        lambda directory: directory.groups.values(),
        group_resource,
        group_from,
        deeds.group_of,
        Directory.group_named,
        "grp",
        deeds.add_group,
        deeds.change_group,
        deeds.delete_group,
        "displayname",
    ),
}


def looked_up(kind: ResourceKind, directory: Directory, text: str) -> list[Any] | None:
    """Return the candidates of a filter that asks for one name, id or address; None if it asks for anything else."""
    attribute, _, rest = text.strip().partition(" ")
    operator, _, value = rest.strip().partition(" ")
    if operator.lower() != "eq" or not (value.startswith('"') and value.endswith('"')) or '"' in value[1:-1]:
        return None
    try:
        wanted = json.loads(value)
    except ValueError:
        return None
    match attribute.lower():
        case "id":
            found = (directory.people if kind.endpoint == USERS else directory.groups).get(wanted)
        case name if name == kind.name:
            found = kind.named(directory, wanted)
        case "externalid":
            return [each for each in kind.all(directory) if each.external_id == wanted]
        case "emails.value" | "emails" if kind.endpoint == USERS:
            return [each for each in kind.all(directory) if each.email and fold(each.email) == fold(wanted)]
        case _:
            return None
    return [found] if found is not None else []
