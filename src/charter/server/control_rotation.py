"""The control API's part about credentials that are replaced: their ages, and having one replaced now.

INVARIANT: a secret or token that is made here is in its answer alone.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field

from charter.bootstrap import credential_ages
from charter.bootstrap import rotation as deeds
from charter.bootstrap.rotation import Wish
from charter.core.errors import ErrorCode, MalformedError
from charter.registry.duration import parse_duration, write_duration
from charter.registry.rotation import LONGEST_OVERLAP
from charter.server.control_shape import Command, Person, Reason, house_of

rotation = APIRouter()


class Replace(Command):
    """Have something replaced: with overlap, or at once."""

    at_once: bool = False
    overlap: Annotated[str, Field(pattern=r"^[0-9]{1,6}[smhdw]$")] | None = None
    actor: Person
    reason: Reason = "asked for by the operator"

    def wish(self) -> Wish:
        """Return how it is wanted.

        Raises:
            MalformedError: it shall be both, or overlap for too long.
        """
        overlap = None if self.overlap is None else _overlap(self.overlap)
        if self.at_once and overlap is not None:
            raise MalformedError(
                ErrorCode.BAD_VALUE, "what goes at once overlaps with nothing", help="leave out one of the two"
            )
        return Wish(self.actor, self.reason, self.at_once, overlap)


class ReplaceKey(Replace):
    """Have a key replaced, by `jwk` or by the certificate's; without either, by its client."""

    key: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    jwk: dict[str, Any] | None = None
    certificate: Annotated[str, Field(max_length=32_768)] | None = None


@rotation.get("/credentials")
async def list_ages(request: Request) -> dict[str, Any]:
    """Every credential with its age, and when it is replaced next."""
    return credential_ages.ages(house_of(request))


@rotation.post("/principals/{name}/rotate/key")
async def rotate_key(request: Request, name: str, body: ReplaceKey) -> dict[str, Any]:
    """Have a principal's key replaced."""
    offered = body.certificate if body.certificate is not None else body.jwk
    return await deeds.rotate_key(house_of(request), name, body.key, offered, body.wish())


@rotation.post("/principals/{name}/rotate/secret")
async def rotate_secret(request: Request, name: str, body: Replace) -> dict[str, Any]:
    """Make a principal another secret; it is in this answer alone."""
    return await deeds.rotate_secret(house_of(request), name, body.wish())


@rotation.post("/people/provisioners/{name}/rotate")
async def rotate_provisioner(request: Request, name: str, body: Replace) -> dict[str, Any]:
    """Make a directory another token; it is in this answer alone."""
    return await deeds.rotate_provisioner(house_of(request), name, body.wish())


@rotation.post("/nodes/{name}/rotate")
async def rotate_node(request: Request, name: str, body: Replace) -> dict[str, Any]:
    """Have a node replace its key; at once, put it out."""
    return await deeds.rotate_node(house_of(request), name, body.wish())


def _overlap(text: str) -> dt.timedelta:
    try:
        overlap = parse_duration(text)
    except ValueError as err:
        raise MalformedError(ErrorCode.BAD_VALUE, str(err), help="write 1h, 2d") from err
    if overlap > LONGEST_OVERLAP:
        most = write_duration(LONGEST_OVERLAP)
        raise MalformedError(ErrorCode.BAD_VALUE, f"an overlap is at most {most}", help="write 1h, 2d")
    return overlap
