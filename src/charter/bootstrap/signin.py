"""Who may come in at the console and the control API, once their provider vouches for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from charter.core.errors import DeniedError, ErrorCode
from charter.evidence.entry import Draft, EntryKind
from charter.registry.access import Access, access_of

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.identity.single_signon import Identity

PASSED, REFUSED = "signed in", "refused"


async def admit(house: House, identity: Identity, *, source: str, door: str) -> Access:
    """Return the access of a person whose provider vouches for them, with the sign-in recorded.

    A directory that provisions is the authority on who belongs here: whoever it does not know as active stays outside.

    Raises:
        DeniedError: they may not come in; that is recorded too.
        UnavailableError: it could not be recorded; then nobody comes in.
    """
    directory = house.live.directory
    person = directory.with_email(identity.email)
    known = directory.groups_of(person.id) if person else ()
    groups = {*identity.groups, *(group.display_name for group in known)}
    teams = house.database.read(lambda tx: tx.registry.teams())
    access = access_of(teams, groups)
    is_unknown = directory.has_left(identity.email) or (len(directory) > 0 and person is None)
    body: dict[str, object] = {"person": identity.email, "source": source, "door": door, "issuer": identity.issuer}
    body |= {"subject": identity.subject, "access": access.word if access else None}
    body["outcome"] = REFUSED if is_unknown or access is None else PASSED
    draft = Draft(EntryKind.OPERATOR_SIGNED_IN, identity.email, None, body)
    await house.database.awrite(lambda tx: tx.record(draft))
    if is_unknown:
        raise DeniedError(
            ErrorCode.POLICY_DENIED,
            f"`{identity.email}` is nobody that the directory knows as active",
            help="ask whoever runs the directory",
        )
    if access is None:
        raise DeniedError(
            ErrorCode.POLICY_DENIED,
            f"none of the groups of `{identity.email}` gives access to Charter",
            help="ask whoever keeps `access` in teams.yaml",
        )
    return access
