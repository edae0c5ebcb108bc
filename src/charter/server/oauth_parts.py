"""What the OAuth endpoints, their client authentication and their flows share of the house."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

from cryptography import x509

from charter.core.clock import Clock
from charter.core.entropy import Entropy
from charter.core.work import Writer
from charter.identity.asking import Consents
from charter.identity.aws_caller import SignedRequest
from charter.identity.bearer import Client
from charter.identity.bundle import Bundle
from charter.identity.claims import TOKEN_SECONDS
from charter.identity.consent import ConsentStore
from charter.identity.dpop import ProofMemory
from charter.identity.failures import Failures
from charter.identity.foreign import ForeignKey
from charter.identity.keys import KeyRing
from charter.identity.pace import Pace
from charter.identity.status_list import StatusLists
from charter.identity.tokens import AccessTokens
from charter.identity.use import Contradiction
from charter.identity.work import IdentityWork
from charter.registry.charter import DelegationTerms
from charter.registry.issuer import TrustedIssuer
from charter.registry.principal import LiveEstate, Principal
from charter.server.client_tls import read_authorities

T = TypeVar("T")
Contradictions = tuple[Contradiction, ...]
TOKEN_PATH = "/oauth/token"  # noqa: S105 - a path


class BoundSlice(Protocol):
    """A party's policy, as far as issuing asks it."""

    @property
    def delegation(self) -> DelegationTerms | None:
        """What its charter says of lending and borrowing."""
        ...

    def actions_on(self, system: str) -> frozenset[str]:
        """Return the actions it grants on `system`; nothing if it grants none."""
        ...

    def rules_on(self, system: str) -> frozenset[str]:
        """Return the ids of its grants on `system`."""
        ...


class Slices(Protocol):
    """Where principals' policies come from."""

    def of(self, principal: Principal) -> BoundSlice:
        """Return the policy of the charter version `principal` acts under.

        Raises:
            CharterError: it cannot be bound.
        """
        ...

    def of_person(self, person: str, borrower: Principal) -> BoundSlice | None:
        """Return the policy of what `person` may do when `borrower` acts for them; None if nothing is said of that.

        Raises:
            CharterError: it cannot be bound.
        """
        ...


class KeySource(Protocol):
    """Where the keys of trusted issuers come from."""

    async def of(self, issuer: TrustedIssuer, key_id: str | None) -> tuple[ForeignKey, ...]:
        """Return the issuer's keys.

        Raises:
            UnavailableError: they cannot be had.
        """
        ...


class CallerSource(Protocol):
    """Who signed a request to AWS."""

    async def of(self, issuer: TrustedIssuer, request: SignedRequest) -> dict[str, str]:
        """Return what AWS says of the caller.

        Raises:
            UnauthenticatedError: AWS does not accept the signature.
            UnavailableError: AWS cannot be asked.
        """
        ...


class ConsentReader(Protocol):
    """Asks what is kept of consents, outside a work; the work asks again."""

    def __call__(self, question: Callable[[ConsentStore], T], /) -> T:
        """Return the answer to `question`."""
        ...


class Watch(Protocol):
    """Notices credentials that are shared."""

    def issued(self, client: Client, marks: tuple[str, ...], *, source: str, token: str, entry: int) -> Contradictions:
        """Return what it contradicts that a token was issued to whoever showed `marks`."""
        ...

    async def tell(self, found: Contradictions) -> object:
        """Keep what was noticed."""
        ...


class Observer(Protocol):
    """Takes note of what a platform tells of a principal's composition."""

    async def __call__(self, principal_id: str, told: Mapping[str, str], *, by: str) -> None:
        """Return once what that changes is in force.

        Raises:
            UnavailableError: it could not be made durable; then nothing may be given on it.
        """
        ...


class House(Protocol):
    """The house, as far as the endpoints know it."""

    settings: Any
    live: LiveEstate
    ring: KeyRing
    tokens: AccessTokens
    failures: Failures
    proofs: ProofMemory
    issuer_keys: Any
    aws_callers: Any
    database: Any
    slices: Any
    trust: Any
    consents: Any
    statuses: StatusLists
    pace: Pace
    sharing: Any
    clock: Clock
    entropy: Entropy

    async def saw(self, principal_id: str, told: Mapping[str, str], *, by: str) -> None:
        """Take note of what `by` tells of a principal's composition."""
        ...


@dataclass(slots=True)
class Parts:
    """What each of them is built on. `issuer` comes from the settings alone."""

    issuer: str
    live: LiveEstate
    ring: KeyRing
    tokens: AccessTokens
    failures: Failures
    proofs: ProofMemory
    issuer_keys: KeySource
    aws_callers: CallerSource
    writer: Writer[IdentityWork]
    slices: Slices
    consents: Consents  # of people who are asked for devices
    consents_kept: ConsentReader
    saw: Observer
    actor_proofs: Callable[[str], list[str | None]]  # of the chain that a delegation ends, newest first
    statuses: StatusLists
    pace: Pace  # of each client
    clock: Clock
    entropy: Entropy
    token_seconds: int = TOKEN_SECONDS
    mtls_url: str | None = None  # where clients with certificates connect, if they can
    trust_domain: str = ""
    bundles: Callable[[], Mapping[str, Bundle]] = dict  # those that are trusted, by trust domain
    base: str = ""  # where these endpoints are seen at: the issuer, or `mtls_url`
    takes_certificates: bool = False  # whether they, or a proxy that is trusted, can show certificates
    client_authorities: tuple[x509.Certificate, ...] = ()  # who issues client certificates
    watch: Watch | None = None

    def __post_init__(self) -> None:
        self.base = self.base or self.issuer

    @property
    def token_endpoints(self) -> tuple[str, ...]:
        """The addresses of the token endpoint."""
        return tuple(base + TOKEN_PATH for base in (self.issuer, self.mtls_url) if base)

    @classmethod
    def of(cls, house: House) -> Self:
        """Return the parts of a house."""
        return cls(
            issuer=house.settings.issuer,
            live=house.live,
            ring=house.ring,
            tokens=house.tokens,
            failures=house.failures,
            proofs=house.proofs,
            issuer_keys=house.issuer_keys,
            aws_callers=house.aws_callers,
            writer=house.database,
            slices=house.slices,
            consents=house.consents,
            consents_kept=lambda question: house.database.read(lambda tx: question(tx.consents)),
            saw=house.saw,
            actor_proofs=lambda last: house.database.read(lambda tx: tx.delegations.proofs(last)),
            statuses=house.statuses,
            pace=house.pace,
            clock=house.clock,
            entropy=house.entropy,
            token_seconds=house.settings.token_seconds,
            mtls_url=house.settings.mtls_url,
            trust_domain=house.trust.trust_domain,
            bundles=lambda: house.trust.bundles,
            takes_certificates=bool(house.settings.mtls_url or house.settings.trusted_proxies),
            client_authorities=read_authorities(house.settings.client_ca),
            watch=house.sharing,
        )
