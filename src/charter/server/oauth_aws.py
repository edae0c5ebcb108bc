"""A workload on AWS proves itself by a signed request for its caller identity (identity/aws_caller.py)."""

from __future__ import annotations

import json

from charter.core.errors import ErrorCode, UnauthenticatedError
from charter.identity.aws_caller import ASSERTION_TYPE, read_signed_request
from charter.identity.bearer import Client
from charter.identity.clients import client_named
from charter.identity.foreign import check_claims
from charter.identity.marks import subject_marks
from charter.registry.issuer import Platform
from charter.server.oauth_clients import Asked
from charter.server.oauth_federated import declared_of
from charter.server.oauth_parts import Parts

METHOD = "aws_caller_identity"


class AwsCallerIdentity:
    """`aws_caller_identity`: AWS says who signed."""

    name = METHOD
    signing_algorithms: tuple[str, ...] = ()

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def fits(self, asked: Asked) -> bool:
        """Return whether the request's assertion is a signed request."""
        return asked.form.get("client_assertion_type") == ASSERTION_TYPE and "client_assertion" in asked.form

    def claimed(self, asked: Asked) -> str:
        """Return the id of the principal that `client_id` names, if there is one."""
        principal = client_named(self._parts.live, asked.form.get("client_id", ""))
        return principal.id if principal else ""

    async def authenticate(self, asked: Asked) -> Client:
        """Return the client whose charter trusts the caller.

        Raises:
            UnauthenticatedError: it proves none.
            UnavailableError: AWS cannot be asked.
        """
        parts = self._parts
        request = read_signed_request(asked.form["client_assertion"], audience=parts.issuer, at=parts.clock.now())
        principal = client_named(parts.live, asked.form.get("client_id", ""))
        found = declared_of(parts.live, principal) if principal else None
        if found is None or found[1].platform is not Platform.AWS:
            raise UnauthenticatedError(
                ErrorCode.BAD_CLIENT,
                "there is no such client, or its charter does not trust this account",
                help="name the principal as `client_id`: charter show NAME",
            )
        key, issuer = found
        claims = await parts.aws_callers.of(issuer, request)
        check_claims(issuer, claims, json.loads(key.jwk["claims"]))
        role = claims.get("role_id") or claims["arn"]
        return Client(key.principal_id, METHOD, key.thumbprint, request.used, subject_marks("aws", role))
