"""The bundle endpoint by the profile https_spiffe: a TLS door that shows our own X.509-SVID (section 5.2.2.3).

INVARIANT: the SVID's private half is in memory alone; it is renewed at half its life, and at once when our bundle no
longer leads to it. No client is asked for a certificate.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from charter.core.errors import CharterError
from charter.identity.keys import new_p256_secret, p256_key
from charter.identity.svid import X509Planned, plan_own

if TYPE_CHECKING:
    from charter.bootstrap.house import House

ENDPOINT_PATH = "/charter/bundle-endpoint"
LOOK_SECONDS = 5.0


class BundleTls:
    """The TLS context of the door, with an SVID that is renewed as time goes by."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._planned: X509Planned | None = None
        self._context: ssl.SSLContext | None = None

    async def context(self) -> ssl.SSLContext:
        """Return the context of the door. Handshakes use the newest SVID, whichever context they began with.

        Raises:
            CharterError: no SVID can be had.
        """
        await self.renew()
        door = _context()
        door.sni_callback = self._before_handshake
        return door

    async def keep(self, stop: asyncio.Event) -> None:
        """Renew the SVID in time, until `stop`."""
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LOOK_SECONDS)
            with suppress(CharterError):  # the store: the SVID at hand serves until it can be had again
                await self.renew()

    async def renew(self) -> None:
        """Take another SVID if the one at hand is past half its life, or leads to no root of our bundle."""
        if self._planned is not None and self._is_good(self._planned):
            return
        house = self._house
        key = p256_key(new_p256_secret(house.entropy))
        planned = await house.database.awrite(
            lambda tx: plan_own(tx, ENDPOINT_PATH, key.public_key(), house.trust, house.entropy)
        )
        self._context, self._planned = _context(planned.sign(), key), planned

    def _is_good(self, planned: X509Planned) -> bool:
        roots = {each.subject for each in self._house.trust.own.x509_authorities}
        half = planned.plan.begins + (planned.plan.ends - planned.plan.begins) / 2
        return self._house.clock.now() < half and planned.issuer.certificate.issuer in roots

    def _before_handshake(self, shaking: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _door: Any) -> None:  # noqa: ANN401 - as ssl has it
        """Let the handshake go on with the newest SVID. OpenSSL calls this with or without a name."""
        assert self._context is not None  # noqa: S101 - `context` made one first
        shaking.context = self._context


def _context(chain: tuple[bytes, ...] = (), key: ec.EllipticCurvePrivateKey | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    if key is not None:
        _load(context, chain, key)
    return context


def _load(context: ssl.SSLContext, chain: tuple[bytes, ...], key: ec.EllipticCurvePrivateKey) -> None:
    """Give a context its certificates and key. It takes files alone, so they are put into one that is only memory."""
    pem = [x509.load_der_x509_certificate(each).public_bytes(Encoding.PEM) for each in chain]
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    descriptor = os.memfd_create("svid", os.MFD_CLOEXEC)
    try:
        _write_all(lambda data: os.write(descriptor, data), private + b"".join(pem))
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _write_all(write: Callable[[bytes], int], data: bytes) -> None:
    while data:
        data = data[write(data) :]
