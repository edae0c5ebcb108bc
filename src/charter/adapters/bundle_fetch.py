"""Ask another trust domain's bundle endpoint, as its relationship says (SPIFFE Federation, section 5.2).

INVARIANT: the endpoint's addresses are public ones, or in a network that the operator named for this relationship;
those of metadata services never. Redirects are not followed: the address that was configured is the one that is asked.
INVARIANT: with https_spiffe no authority of the web counts, and with https_web no bundle.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.serialization import Encoding
from typing_extensions import override

from charter.adapters.document_fetch import DocumentFetcher, FetchError
from charter.adapters.upstream_address import Address, public_addresses, usual_addresses
from charter.core.errors import ErrorCode, UnauthenticatedError
from charter.core.values import SpiffeId
from charter.identity.bundle import MAX_DOCUMENT, Bundle
from charter.identity.federation import Federation
from charter.identity.spiffe import check_svid_leaf

SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class BundleFetcher:
    """Asks bundle endpoints. `web` gives the context of https_web: that of this machine's authorities."""

    web: Callable[[], ssl.SSLContext] = ssl.create_default_context

    async def fetch(self, asked: Federation, bundles: Mapping[str, Bundle]) -> bytes:
        """Return what the endpoint of a relationship answers.

        Raises:
            FetchError: it could not be had; the message says why.
            UnauthenticatedError: the endpoint shows another SVID than it should.
        """
        refusals: list[UnauthenticatedError] = []
        tls = self.web
        if asked.endpoint_id is not None:
            context = _spiffe_context(bundles.get(asked.endpoint_domain), asked.endpoint_domain)
            context.sslobject_class = _only(SpiffeId.parse(asked.endpoint_id), refusals)
            tls = lambda: context  # noqa: E731 - one context, for one question
        try:
            fetched = await DocumentFetcher(_rule(asked.networks), tls).fetch(
                asked.url, limit=MAX_DOCUMENT, seconds=SECONDS
            )
        except FetchError as err:
            raise (refusals[0] if refusals else err) from err
        return fetched.body


def _only(expected: SpiffeId, refusals: list[UnauthenticatedError]) -> type[ssl.SSLObject]:
    """Return the class of connections whose handshake fails unless the server shows an X.509-SVID for `expected`.

    Nothing is said to a server before that is known; why it is not is kept in `refusals`.
    """

    class Checked(ssl.SSLObject):
        @override
        def do_handshake(self) -> None:
            super().do_handshake()
            try:
                check_svid_leaf(self.getpeercert(binary_form=True) or b"", expected)
            except UnauthenticatedError as err:
                refusals.append(err)
                raise ssl.SSLCertVerificationError(err.detail) from err

    return Checked


def _rule(networks: tuple[str, ...]) -> Callable[[Address], bool]:
    named = [ipaddress.ip_network(each) for each in networks]

    def may_be_asked(address: Address) -> bool:
        return usual_addresses(address) and (public_addresses(address) or any(address in each for each in named))

    return may_be_asked


def _spiffe_context(bundle: Bundle | None, trust_domain: str) -> ssl.SSLContext:
    """Return a context that believes the X.509 authorities of one trust domain, and names nobody by a host's name."""
    if bundle is None or not bundle.x509_authorities:
        raise FetchError(
            ErrorCode.UNTRUSTED_DOMAIN,
            f"no X.509 authority of `{trust_domain}` is held, so nothing authenticates the bundle endpoint",
            help="give one: charter federation add … --bundle FILE",
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the SPIFFE ID is checked instead (`_only`)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=b"".join(each.public_bytes(Encoding.DER) for each in bundle.x509_authorities))
    return context
