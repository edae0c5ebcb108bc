"""Client authentication by the certificate of the connection (RFC 8705 section 2).

    tls_client_auth               the certificate bears the name that the charter names, and one of the organisation's
                                  authorities issued it
    self_signed_tls_client_auth   the certificate holds one of the principal's registered keys, whoever signed it

The charter decides which: `credential: {type: mutual-tls, certificate: {san_dns: …}}` is the first, any registered key
without such a name the second. The request names the principal as `client_id`, and proves itself in no other way.

INVARIANT: before a certificate is found to be the principal's, every failure that would tell which principals and
credentials exist reads the same.
"""

from __future__ import annotations

from charter.core.errors import CharterError, ErrorCode, UnauthenticatedError
from charter.identity.bearer import Client
from charter.identity.certificate import Certificate, read_certificate, verify_issued
from charter.identity.clients import client_named
from charter.registry.declared import CERTIFICATE, SPIFFE, declared_key
from charter.registry.principal import ClientKey, Principal
from charter.server.oauth_clients import Asked, has_secret
from charter.server.oauth_parts import Parts

PKI, SELF_SIGNED = "tls_client_auth", "self_signed_tls_client_auth"


class TlsClientAuth:
    """`tls_client_auth`: a certificate with a name, from an authority of the organisation (RFC 8705 section 2.1)."""

    name = PKI
    signing_algorithms: tuple[str, ...] = ()

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def fits(self, asked: Asked) -> bool:
        """Return whether the request rests on its certificate, and its principal's charter names one."""
        return rests_on_certificate(asked) and self._key(asked) is not None

    def claimed(self, asked: Asked) -> str:
        """Return the id of the principal that `client_id` names."""
        return claimed_by(self._parts, asked)

    async def authenticate(self, asked: Asked) -> Client:
        """Return the client whose charter names the certificate.

        Raises:
            UnauthenticatedError: it bears another name, or nobody trusted issued it.
        """
        certificate, key = certificate_of(asked), self._key(asked)
        verify_issued(certificate, self._parts.client_authorities, at=self._parts.clock.now())
        if key is None or key.jwk["name"] not in certificate.names:
            raise not_its_own()
        return Client(key.principal_id, self.name, key.thumbprint)

    def _key(self, asked: Asked) -> ClientKey | None:
        principal = principal_of(self._parts, asked)
        return declared_key(self._parts.live, principal, CERTIFICATE) if principal else None


class SelfSignedTlsClientAuth:
    """`self_signed_tls_client_auth`: a certificate that holds a registered key (RFC 8705 section 2.2)."""

    name = SELF_SIGNED
    signing_algorithms: tuple[str, ...] = ()

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def fits(self, asked: Asked) -> bool:
        """Return whether the request rests on its certificate, and its principal declares no other way to."""
        principal = principal_of(self._parts, asked)
        return rests_on_certificate(asked) and (principal is None or not self._declares(principal))

    def claimed(self, asked: Asked) -> str:
        """Return the id of the principal that `client_id` names, if there is one."""
        return claimed_by(self._parts, asked)

    async def authenticate(self, asked: Asked) -> Client:
        """Return the client whose registered key the certificate holds.

        Raises:
            UnauthenticatedError: the principal has no such key, or the certificate has expired.
        """
        certificate, principal = certificate_of(asked), principal_of(self._parts, asked)
        key = self._parts.live.keys.get(certificate.key or "")
        if principal is None or key is None or key.principal_id != principal.id:
            raise not_its_own()
        if not certificate.is_valid(self._parts.clock.now()):
            raise UnauthenticatedError(
                ErrorCode.BAD_CLIENT,
                "the client certificate has expired, or is not valid yet",
                help="make one for the same key, and register it: charter key add NAME FILE",
            )
        return Client(principal.id, self.name, key.thumbprint)

    def _declares(self, principal: Principal) -> bool:
        return any(declared_key(self._parts.live, principal, kind) is not None for kind in (CERTIFICATE, SPIFFE))


def rests_on_certificate(asked: Asked) -> bool:
    """Return whether the request has a certificate and a `client_id`, and no other proof of its client."""
    has_other = "client_assertion" in asked.form or has_secret(asked)
    return asked.head.certificate is not None and "client_id" in asked.form and not has_other


def principal_of(parts: Parts, asked: Asked) -> Principal | None:
    """Return the principal that the request names."""
    return client_named(parts.live, asked.form.get("client_id", ""))


def claimed_by(parts: Parts, asked: Asked) -> str:
    """Return the id of the principal that the request names, or nothing."""
    principal = principal_of(parts, asked)
    return principal.id if principal else ""


def certificate_of(asked: Asked) -> Certificate:
    """Return the certificate of the request's connection.

    Raises:
        UnauthenticatedError: there is none, or it cannot be read.
    """
    try:
        return read_certificate(asked.head.certificate or b"")
    except CharterError as err:
        raise UnauthenticatedError(ErrorCode.BAD_CLIENT, err.detail, help=err.help) from err


def not_its_own() -> UnauthenticatedError:
    """Return the error of a certificate that is not the principal's, whether or not there is such a principal."""
    return UnauthenticatedError(
        ErrorCode.BAD_CLIENT,
        "there is no such client, or the certificate is not its own",
        help="charter show NAME tells what a principal proves itself by",
    )
