"""Client authentication by an SVID (draft-ietf-oauth-spiffe-client-auth-01): charters of the type `spiffe`.

    spiffe_jwt    a JWT-SVID as `client_assertion`, made out to this issuer alone
    spiffe_x509   an X.509-SVID as the certificate of the connection; the request names its client

The SVID names the principal's own SPIFFE ID, or the one that its charter gives as `spiffe_id`, of a trust domain that
is federated with. An SVID may be shown again until it expires: what it obtains is bound to a key, like any token.

INVARIANT: an SVID of our own trust domain is believed only in the epoch it was issued in, and what it obtains rests on
the credential it was issued under: it outlives a kill by minutes, those do not.
INVARIANT: which principals there are is told to nobody whose SVID does not verify.
"""

from __future__ import annotations

from charter.core.errors import ErrorCode, UnauthenticatedError
from charter.identity.bearer import Client
from charter.identity.clients import client_named
from charter.identity.composition import PROGRAM
from charter.identity.spiffe import JwtSvid, X509Svid, verify_jwt_svid, verify_x509_svid, workload_of
from charter.registry.declared import SPIFFE, declared_key, spiffe_id_of
from charter.registry.principal import Principal
from charter.server.oauth_clients import Asked, has_secret
from charter.server.oauth_mtls import claimed_by, principal_of, rests_on_certificate
from charter.server.oauth_parts import Parts

JWT, X509 = "spiffe_jwt", "spiffe_x509"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"


class SpiffeJwt:
    """`spiffe_jwt`."""

    name = JWT
    signing_algorithms: tuple[str, ...] = ()  # what a trust domain signs with is no choice of its workloads

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def fits(self, asked: Asked) -> bool:
        """Return whether the request has a JWT-SVID, and no secret."""
        is_one = asked.form.get("client_assertion_type") == ASSERTION_TYPE and "client_assertion" in asked.form
        return is_one and not has_secret(asked)

    def claimed(self, asked: Asked) -> str:
        """Return the id of the principal that `client_id` names, if there is one."""
        return claimed_by(self._parts, asked)

    async def authenticate(self, asked: Asked) -> Client:
        """Return the client whose SVID it is.

        Raises:
            UnauthenticatedError: it is nobody's; the message says why.
        """
        parts = self._parts
        token, at = asked.form["client_assertion"], parts.clock.now()
        try:
            svid = verify_jwt_svid(token, audience=parts.issuer, bundles=parts.bundles(), at=at)
        except UnauthenticatedError as err:
            raise _refusal(err.detail, err.help) from err
        if svid.audiences != (parts.issuer,):
            raise _refusal(f"the JWT-SVID must be made out to `{parts.issuer}`, and to nobody else")
        return _client(parts, asked, svid, self.name)


class SpiffeX509:
    """`spiffe_x509`."""

    name = X509
    signing_algorithms: tuple[str, ...] = ()

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def fits(self, asked: Asked) -> bool:
        """Return whether the request rests on its certificate, and its principal proves itself by SVIDs."""
        principal = principal_of(self._parts, asked)
        if principal is None or not rests_on_certificate(asked):
            return False
        return declared_key(self._parts.live, principal, SPIFFE) is not None

    def claimed(self, asked: Asked) -> str:
        """Return the id of the principal that `client_id` names, if there is one."""
        return claimed_by(self._parts, asked)

    async def authenticate(self, asked: Asked) -> Client:
        """Return the client whose SVID the certificate is.

        Raises:
            UnauthenticatedError: it is none, or another's.
        """
        parts = self._parts
        chain = (asked.head.certificate or b"", *asked.head.intermediates)
        try:
            svid = verify_x509_svid(chain, bundles=parts.bundles(), at=parts.clock.now())
        except UnauthenticatedError as err:
            raise _refusal(err.detail, err.help) from err
        return _client(parts, asked, svid, self.name)


def _client(parts: Parts, asked: Asked, svid: JwtSvid | X509Svid, method: str) -> Client:
    """Return the client that a verified SVID proves, if it is the one that the request names."""
    principal = _named_by(parts, str(svid.spiffe_id))
    key = declared_key(parts.live, principal, SPIFFE) if principal else None
    named = asked.form.get("client_id", str(svid.spiffe_id))
    if principal is None or key is None or named not in (principal.id, principal.spiffe_id, str(svid.spiffe_id)):
        raise _refusal(f"`{svid.spiffe_id}` proves no such client: its charter has to say so")
    if svid.spiffe_id.trust_domain != parts.trust_domain:
        return Client(principal.id, method, key.thumbprint)
    # one of ours was issued to a process whose program was looked at, where that must be (identity/svid.py); an SVID
    # from before its charter asked for it is of an earlier epoch
    credential = _own_credential(parts, principal, svid)
    return Client(principal.id, method, credential, vouched=frozenset({PROGRAM}))


def _own_credential(parts: Parts, principal: Principal, svid: JwtSvid | X509Svid) -> str:
    """Return the credential that an SVID of ours was issued under, if that was in this epoch."""
    try:
        workload = workload_of(parts.live, svid)
    except UnauthenticatedError as err:
        raise _refusal(err.detail, err.help) from err
    if workload.principal_id != principal.id:
        raise _refusal(f"`{svid.spiffe_id}` is another principal's, whatever a charter says")
    if workload.epoch != principal.epoch:
        raise _refusal(f"the SVID of `{principal.name}` is from before its authority was last withdrawn")
    return workload.credential


def _named_by(parts: Parts, spiffe_id: str) -> Principal | None:
    """Return the principal whose charter is proved by SVIDs of that id."""
    principal = client_named(parts.live, spiffe_id)
    key = declared_key(parts.live, principal, SPIFFE) if principal else None
    return principal if principal and key and spiffe_id_of(principal, key) == spiffe_id else None


def _refusal(detail: str, help: str | None = None) -> UnauthenticatedError:
    return UnauthenticatedError(ErrorCode.BAD_CLIENT, detail, help=help or "ask the Workload API for a fresh SVID")
