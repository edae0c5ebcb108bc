"""What workloads get: who a process is, its SVIDs, the bundles it may trust, and when any of that changes.

The Workload API (server/workload.py) asks here; so do remote nodes for the processes they vouch for.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from charter.adapters.process import Peer
from charter.bootstrap import composition
from charter.core.errors import ConflictError, DeniedError, ErrorCode, UnauthenticatedError
from charter.core.values import Secret
from charter.identity import pace
from charter.identity.attestation import DIGEST, attest, candidates, needs_digest
from charter.identity.authority import refusal
from charter.identity.bearer import Attested
from charter.identity.bundle import Bundle, ec_jwk
from charter.identity.composition import PROGRAM, unattested
from charter.identity.jose import thumbprint_of
from charter.identity.keys import new_p256_secret, p256_key
from charter.identity.spiffe import JwtSvid, verify_jwt_svid
from charter.identity.svid import X509Planned, check_audiences, plan_jwt, plan_x509
from charter.identity.use import Sharing
from charter.registry.attester import KERNEL
from charter.registry.standing import Refusal

if TYPE_CHECKING:
    from charter.bootstrap.house import House

__all__ = ["Attested", "Bell", "IssuedX509", "Peer", "Workloads"]


@dataclass(frozen=True, slots=True)
class IssuedX509:
    """An X.509-SVID with its private half, as it goes to its workload and nowhere else."""

    spiffe_id: str
    hint: str  # the principal's name
    chain: tuple[bytes, ...]  # DER, the SVID first
    key: Secret  # PKCS #8, DER
    begins_at: float  # seconds since 1970
    ends_at: float
    basis: tuple[object, ...]  # what it rests on: another basis asks for another SVID


@dataclass(frozen=True, slots=True)
class IssuedJwt:
    """A JWT-SVID, as it goes to its workload and nowhere else."""

    spiffe_id: str
    hint: str
    token: str = field(repr=False)


class Bell:
    """Wakes whoever waits in an event loop when the estate changed. It may be rung from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    @property
    def next(self) -> asyncio.Event:
        """Set at the next change. Take it before looking at anything, so that no change goes unnoticed."""
        return self._event

    def ring(self) -> None:
        """Wake everyone."""
        try:
            self._loop.call_soon_threadsafe(self._ring)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    def _ring(self) -> None:
        event, self._event = self._event, asyncio.Event()
        event.set()


class Workloads:
    """What the Workload API serves of a house."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._pace = pace.of_svids(house.clock)

    @property
    def now(self) -> float:
        """Seconds since 1970."""
        return self._house.clock.now().timestamp()

    def visitor(self, connection: socket.socket) -> Peer:
        """Return the process that connected.

        Raises:
            UnauthenticatedError: it has ended, or cannot be looked at.
        """
        return Peer.of(connection)

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener`, from another thread, whenever the estate changed; return what ends that."""
        return self._house.database.listen(listener)

    async def attest(self, peer: Peer) -> Attested:
        """Return which principal the process is.

        Raises:
            UnauthenticatedError: it is none, or has ended.
            ConflictError: it is two.
        """
        found = await asyncio.to_thread(self._attest, peer)
        if found is None:
            raise UnauthenticatedError(
                ErrorCode.NOT_ATTESTED,
                f"no charter's workload matches this process (user {peer.uid}, group {peer.gid})",
                help="charter workload entries shows what charters ask for",
            )
        await self._house.sharing.notice(self._house.sharing.attested(found))
        await self.noted(found, by=KERNEL)
        return found

    async def noted(self, known: Attested, *, by: str) -> None:
        """Take note of the program that a principal was seen to be; a change is in force before it gets anything.

        Raises:
            UnavailableError: it could not be made durable.
        """
        if DIGEST in known.seen:
            told = {PROGRAM: f"sha256:{known.seen[DIGEST]}"}
            await composition.saw(self._house, known.principal_id, told, by=by)

    def entitled(self, known: Attested) -> None:
        """Check that the principal may have SVIDs and bundles now.

        Raises:
            DeniedError: it may not.
        """
        stopped = refusal(self._house.live, known, None, at=self._house.clock.now())
        if stopped is not None:
            raise _denied(stopped)
        vouched = {PROGRAM} if DIGEST in known.seen else set()
        stopped = unattested(self._house.live, self._house.live.principals[known.principal_id], vouched)
        if stopped is not None:
            raise DeniedError(ErrorCode.UNATTESTED, stopped.text, help=stopped.mend)

    def basis(self, known: Attested) -> tuple[object, ...]:
        """Return what an SVID of the principal rests on: as long as it is the same, an issued SVID stays good."""
        principal = self._house.live.principals[known.principal_id]
        return (principal.spiffe_id, principal.epoch, principal.expires, known.credential)

    def is_rooted(self, issued: IssuedX509) -> bool:
        """Return whether an issued SVID still leads to a root that is in our bundle."""
        roots = {each.subject for each in self._house.trust.own.x509_authorities}
        return x509.load_der_x509_certificate(issued.chain[-1]).issuer in roots

    async def x509(self, known: Attested) -> IssuedX509:
        """Return a new X.509-SVID with a key of its own, recorded.

        Raises:
            DeniedError: the principal may not have one.
            ThrottledError: it was given too many lately.
        """
        secret = new_p256_secret(self._house.entropy)
        key, basis = p256_key(secret), self.basis(known)
        planned = await self.planned_x509(known, key.public_key())
        der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        plan, name = planned.plan, self._house.live.principals[known.principal_id].name
        begins, ends = plan.begins.timestamp(), plan.ends.timestamp()
        return IssuedX509(str(plan.spiffe_id), name, planned.sign(), Secret(der), begins, ends, basis)

    async def planned_x509(
        self, known: Attested, public: ec.EllipticCurvePublicKey, source: str | None = None
    ) -> X509Planned:
        """Return a recorded X.509-SVID for the key `public`, yet to be signed.

        `source` is where it was asked for; None: the key was made here, for the process itself.

        Raises:
            ConflictError: the key is another principal's.
            DeniedError: the principal may not have one.
            ThrottledError: it was given too many lately.
        """
        self._pace.take(known.principal_id)
        house, mark = self._house, thumbprint_of(ec_jwk(public))
        found = house.sharing.asked_for(known, mark, source or "", is_made_here=source is None)
        await house.sharing.notice(found)
        if any(each.kind is Sharing.PRINCIPALS for each in found):
            raise ConflictError(
                ErrorCode.SHARED_CREDENTIAL, "the key of this SVID is another principal's", help="make a fresh key"
            )
        planned = await house.database.awrite(lambda tx: plan_x509(tx, known, public, house.trust, house.entropy))
        if isinstance(planned, Refusal):
            raise _denied(planned)
        return planned

    async def jwt(self, known: Attested, audiences: tuple[str, ...]) -> IssuedJwt:
        """Return a new JWT-SVID for `audiences`, recorded.

        Raises:
            MalformedError: the audiences are none, too many or no plain text.
            DeniedError: the principal may not have one.
        """
        check_audiences(audiences)
        self._pace.take(known.principal_id)
        house = self._house
        planned = await house.database.awrite(lambda tx: plan_jwt(tx, known, audiences, house.trust, house.entropy))
        if isinstance(planned, Refusal):
            raise _denied(planned)
        name = house.live.principals[known.principal_id].name
        return IssuedJwt(planned.claims["sub"], name, planned.sign())

    def bundles(self, known: Attested) -> Mapping[str, Bundle]:
        """Return the bundles that the principal may trust, our own first: those that its charter names."""
        trust = self._house.trust
        principal = self._house.live.principals[known.principal_id]
        chosen = (trust.trust_domain, *principal.terms.trusts)
        return {name: trust.bundles[name] for name in chosen if name in trust.bundles}

    def validate(self, known: Attested, token: str, audience: str) -> JwtSvid:
        """Return what a JWT-SVID says, if it is valid for `audience` by the bundles that the principal may trust.

        Raises:
            UnauthenticatedError: it is not.
        """
        at = self._house.clock.now()
        return verify_jwt_svid(token, audience=audience, bundles=self.bundles(known), at=at)

    def failed(self, peer: Peer | None, code: ErrorCode, known: Attested | None = None) -> None:
        """Count a refusal, per user: strangers cannot grow the log."""
        source = f"workload api, user {peer.uid}" if peer else "workload api"
        self._house.failures.failed(source, code, known.principal_id if known else "")

    def jitter(self) -> float:
        """Return a number between 0 and 1, so that not all workloads renew at once."""
        return int.from_bytes(self._house.entropy.bytes(4)) / 2**32

    def _attest(self, peer: Peer) -> Attested | None:
        process = peer.process()
        if needs_digest(self._house.live, candidates(self._house.live, process)):
            process = process.with_digest(peer.digest())
        return attest(self._house.live, process)


def _denied(stopped: Refusal) -> DeniedError:
    return DeniedError(ErrorCode.NOT_STANDING, stopped.text, help=stopped.mend)
