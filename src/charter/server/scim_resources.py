"""SCIM resources and the directory's people and groups: one form into the other (RFC 7643).

INVARIANT: a password that a directory sends is dropped before anything is kept: people sign in at their own provider.
INVARIANT: what the directory said of a person comes back as it said it; `id`, `meta`, `groups` are ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError
from scim2_models import Context, EnterpriseUser, Group, PatchOp, SCIMException, User

from charter.core.errors import ErrorCode, MalformedError
from charter.registry.directory import Directory, Person
from charter.registry.directory import Group as DirectoryGroup

PersonResource = User[EnterpriseUser]
USERS, GROUPS = "/Users", "/Groups"
_OURS = frozenset({"id", "meta", "groups", "password"})
_DISPLAYS = "memberDisplays"  # in a group's body: what its members are called there, by id
_MAX_TEXT = 256
_MAX_EMAIL = 254
_FIRST_WORDS = 3  # of what was wrong: a client's log holds the rest


def person_from(resource: User[EnterpriseUser], person_id: str, at: str) -> Person:
    """Return the person that a resource describes.

    Raises:
        MalformedError: it names nobody, or says too much.
    """
    user_name = _bounded("userName", resource.user_name)
    if not user_name:
        raise MalformedError(ErrorCode.BAD_VALUE, "`userName` is missing", help="send it")
    return Person(
        id=person_id,
        user_name=user_name,
        email=_email_of(resource, user_name),
        display_name=_bounded("displayName", resource.display_name) or _formatted(resource) or user_name,
        external_id=_bounded("externalId", resource.external_id) or None,
        is_active=resource.active is not False,
        body=_body_of(resource),
        created_at=at,
        changed_at=at,
    )


def group_from(resource: Group, group_id: str, at: str) -> DirectoryGroup:
    """Return the group that a resource describes.

    Raises:
        MalformedError: it has no name.
    """
    name = _bounded("displayName", resource.display_name)
    if not name:
        raise MalformedError(ErrorCode.BAD_VALUE, "`displayName` is missing", help="send it")
    members = frozenset(str(member.value) for member in resource.members or () if member.value)
    displays = {str(member.value): member.display for member in resource.members or () if member.display}
    body = {key: value for key, value in _body_of(resource).items() if key != "members"}
    body |= {_DISPLAYS: displays} if displays else {}
    return DirectoryGroup(group_id, name, _bounded("externalId", resource.external_id) or None, members, body, at, at)


def person_resource(person: Person, directory: Directory, base: str) -> User[EnterpriseUser]:
    """Return the resource that a person is; `base` is the address of the service."""
    groups = [
        {"value": group.id, "display": group.display_name, "$ref": f"{base}{GROUPS}/{group.id}", "type": "direct"}
        for group in directory.groups_of(person.id)
    ]
    ours = {"id": person.id, "meta": _meta("User", USERS, person, base)}
    return PersonResource.model_validate(dict(person.body) | ours | ({"groups": groups} if groups else {}))


def group_resource(group: DirectoryGroup, directory: Directory, base: str) -> Group:
    """Return the resource that a group is."""
    displays = group.body.get(_DISPLAYS, {})
    members = [
        {
            "value": each,
            "$ref": f"{base}{USERS}/{each}",
            "type": "User",
            "display": displays.get(each, directory.people[each].display_name),
        }
        for each in sorted(group.members)
        if each in directory.people
    ]
    said = {key: value for key, value in group.body.items() if key != _DISPLAYS}
    ours = {"id": group.id, "meta": _meta("Group", GROUPS, group, base)}
    return Group.model_validate(said | ours | ({"members": members} if members else {}))


def patched(resource: Any, payload: Mapping[str, Any]) -> Any:  # noqa: ANN401 - the resource's own type, either of two
    """Return `resource` with a patch carried out (RFC 7644 section 3.5.2).

    Raises:
        SCIMException: the patch cannot be carried out.
        ValidationError: it is no patch.
    """
    of_its_kind: Any = PatchOp[User[EnterpriseUser]] if isinstance(resource, User) else PatchOp[Group]
    patch = of_its_kind.model_validate(dict(payload), scim_ctx=Context.RESOURCE_PATCH_REQUEST)
    patch.patch(resource)
    return resource


def told(err: ValidationError | SCIMException) -> str:
    """Return what was wrong with a request, without repeating what it said."""
    if isinstance(err, SCIMException):
        return err.detail
    errors: Iterable[Mapping[str, Any]] = err.errors(include_input=False, include_url=False, include_context=False)
    found = [f"`{'.'.join(str(step) for step in each['loc'])}`: {each['msg']}" for each in errors]
    return "; ".join(found[:_FIRST_WORDS])


def _body_of(resource: User[EnterpriseUser] | Group) -> dict[str, Any]:
    said = resource.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE)
    return {key: value for key, value in said.items() if key not in _OURS}


def _email_of(resource: User[EnterpriseUser], user_name: str) -> str | None:
    emails = [email for email in resource.emails or () if email.value]
    primary = next((email for email in emails if email.primary), emails[0] if emails else None)
    found = str(primary.value) if primary else user_name if "@" in user_name else None
    if found is not None and len(found) > _MAX_EMAIL:
        raise MalformedError(ErrorCode.BAD_VALUE, f"an e-mail address has at most {_MAX_EMAIL} characters")
    return found


def _formatted(resource: User[EnterpriseUser]) -> str:
    return _bounded("name.formatted", resource.name.formatted if resource.name else None)


def _bounded(name: str, text: str | None) -> str:
    found = (text or "").strip()
    if len(found) > _MAX_TEXT or not found.isprintable():
        raise MalformedError(
            ErrorCode.BAD_VALUE, f"`{name}` has more than {_MAX_TEXT} characters, or one that cannot be printed"
        )
    return found


def _meta(kind: str, endpoint: str, thing: Person | DirectoryGroup, base: str) -> dict[str, str]:
    return {
        "resourceType": kind,
        "created": thing.created_at,
        "lastModified": thing.changed_at,
        "location": f"{base}{endpoint}/{thing.id}",
        "version": f'W/"{thing.version}"',
    }
