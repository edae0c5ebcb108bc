"""What the SCIM service says of itself: its configuration, its resource types, their schemas (RFC 7644 section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scim2_models import (
    AuthenticationScheme,
    Bulk,
    ChangePassword,
    Context,
    EnterpriseUser,
    ETag,
    Filter,
    Group,
    Patch,
    ResourceType,
    Schema,
    ServiceProviderConfig,
    Sort,
    User,
)

from charter.core.errors import AbsentError, ErrorCode
from charter.server.scim_kinds import KINDS

MAX_PAGE = 200
_LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"


def resource_types() -> list[ResourceType]:
    """Return the kinds of resource there are."""
    return [ResourceType.from_resource(kind.model) for kind in KINDS.values()]


def schemas() -> list[Schema]:
    """Return the schemas of all resources and their extensions."""
    return [User.to_schema(), EnterpriseUser.to_schema(), Group.to_schema()]


def described(found: Sequence[Any], rest: str, base: str) -> dict[str, Any]:
    """Return the list of what was `found`, or the one whose id is `rest`; `base` is the list's address.

    Raises:
        AbsentError: there is no such one.
    """
    shown = []
    for each in found:
        said = each.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE)
        said["meta"] = {"resourceType": base.rpartition("/")[2].rstrip("s"), "location": f"{base}/{said['id']}"}
        shown.append(said)
    if not rest:
        return {
            "schemas": [_LIST],
            "totalResults": len(shown),
            "startIndex": 1,
            "itemsPerPage": len(shown),
            "Resources": shown,
        }
    one = next((each for each in shown if each["id"] == rest), None)
    if one is None:
        raise AbsentError(ErrorCode.BAD_REQUEST, "there is nothing here")
    return dict(one)


def service_config(base: str) -> dict[str, Any]:
    """Return what the service can do (RFC 7643 section 5)."""
    config = ServiceProviderConfig(
        documentation_uri="https://www.rfc-editor.org/rfc/rfc7644",
        patch=Patch(supported=True),
        bulk=Bulk(supported=False, max_operations=0, max_payload_size=0),
        filter=Filter(supported=True, max_results=MAX_PAGE),
        change_password=ChangePassword(supported=False),
        sort=Sort(supported=False),
        etag=ETag(supported=False),
        authentication_schemes=[
            AuthenticationScheme(
                type=AuthenticationScheme.Type.oauthbearertoken,
                name="OAuth Bearer Token",
                description="A provisioner's token, made by Charter's operator",
                spec_uri="https://www.rfc-editor.org/info/rfc6750",
                primary=True,
            )
        ],
    )
    said: dict[str, Any] = config.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE)
    return said | {"meta": {"resourceType": "ServiceProviderConfig", "location": f"{base}/ServiceProviderConfig"}}
