"""A stage for tests of identity: a real database with principals, systems, signing keys, and clients with keys.

with a_stage(tmp_path) as stage:
    key = stage.client("refund-agent")
    assertion = key.assertion(at=stage.clock.now())
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joserfc.jwk import ECKey, OKPKey
from joserfc.jws import JWSRegistry

from builders import a_system
from charter.adapters.custody import NodeCustody
from charter.adapters.database import Database
from charter.adapters.identity_store import SqlIdentity
from charter.adapters.master_place import Surroundings
from charter.adapters.seal_store import SqlDataKeys, SqlSeals
from charter.bootstrap.transaction import HouseTransaction
from charter.core.canonical import canonical
from charter.core.entropy import Entropy
from charter.core.keys import Signer
from charter.identity.credential import register_key, required
from charter.identity.envelope import Envelope
from charter.identity.failures import Failures
from charter.identity.jose import encode_base64url, thumbprint_of
from charter.identity.keys import KeyRing
from charter.identity.tokens import AccessTokens
from charter.registry.charter import CredentialType, Environment, Kind
from charter.registry.principal import LiveEstate, Principal, SystemRecord
from charter.registry.record import ManagedBy
from charter.registry.standing import Standing
from charter.registry.terms import Bearing, Terms
from databases import ORIGIN, a_database
from fakes import CountingEntropy, FixedClock

ISSUER = "http://127.0.0.1:8420"
TOKEN_ENDPOINT = f"{ISSUER}/oauth/token"
PAYMENTS = f"{ISSUER}/mcp/payments"
LEDGER = f"{ISSUER}/mcp/ledger"


def a_principal(name: str = "refund-agent", **changed: Any) -> Principal:
    """Return a principal in good standing, with some fields changed."""
    given: dict[str, Any] = {
        "id": f"prn_{name}",
        "name": name,
        "spiffe_id": f"spiffe://charter.local/production/agent/{name}",
        "kind": Kind.AGENT,
        "environment": Environment.PRODUCTION,
        "owner_person": "maria@example.com",
        "owner_team": "payments-ops",
        "standing": Standing.ACTIVE,
        "epoch": 0,
        "version": 1,
        "digest": "sha256:" + "1" * 64,
        "expires": dt.date(2027, 11, 2),
        "terms": Terms(CredentialType.PRIVATE_KEY_JWT, Bearing.ALLOWED),
    }
    return Principal(**given | changed)


def a_record(name: str, standing: Standing = Standing.ACTIVE) -> SystemRecord:
    """Return a registered system."""
    system = a_system(system=name)
    return SystemRecord(name, 1, system.digest, standing, system)


@dataclass(slots=True)
class ClientKeyPair:
    """A client's own key, and what it can say with it: valid assertions, or ones with something changed."""

    client_id: str
    private: ECKey | OKPKey
    algorithm: str = "ES256"
    serial: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    def fresh(cls, client_id: str, algorithm: str = "ES256") -> ClientKeyPair:
        make = ECKey.generate_key("P-256") if algorithm == "ES256" else OKPKey.generate_key("Ed25519")
        return cls(client_id, make, algorithm)

    @property
    def jwk(self) -> dict[str, Any]:
        return dict(self.private.as_dict(private=False))

    @property
    def thumbprint(self) -> str:
        return thumbprint_of({k: v for k, v in self.jwk.items() if k in ("crv", "kty", "x", "y")})

    def claims(self, at: dt.datetime, **changed: Any) -> dict[str, Any]:
        now = int(at.timestamp())
        given = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": TOKEN_ENDPOINT,
            "exp": now + 60,
            "iat": now,
            "jti": f"assertion-{next(self.serial)}",
        }
        return {name: value for name, value in (given | changed).items() if value is not None}

    def assertion(self, at: dt.datetime, header: Mapping[str, Any] | None = None, **changed: Any) -> str:
        """Return a signed assertion; None leaves a claim out, `header` adds to or changes the header."""
        return self.signed(canonical(self.claims(at, **changed)), header)

    def signed(self, payload: bytes, header: Mapping[str, Any] | None = None) -> str:
        """Return any payload signed under any header."""
        head = {"alg": self.algorithm, "typ": "JWT"} | dict(header or {})
        text = canonical({k: v for k, v in head.items() if v is not None})
        return self.framed(text, payload)

    def framed(self, header: bytes, payload: bytes) -> str:
        """Return exactly these header and payload bytes, signed."""
        signed = f"{encode_base64url(header)}.{encode_base64url(payload)}"
        name = "ES256" if self.algorithm == "ES256" else "EdDSA"
        signature = JWSRegistry.algorithms[name].sign(signed.encode(), self.private)
        return f"{signed}.{encode_base64url(signature)}"


@dataclass(slots=True)
class Stage:
    """Everything identity stands on, in one folder."""

    database: Database[HouseTransaction]
    live: LiveEstate
    ring: KeyRing
    envelope: Envelope
    clock: FixedClock
    entropy: Entropy
    failures: Failures
    tokens: AccessTokens

    def add(self, *principals: Principal) -> None:
        """Register principals."""

        def work(tx: HouseTransaction) -> None:
            tx.registry.add_principals(principals, ManagedBy.GIT, tx.at)

        self.database.write(work)
        for each in principals:
            self.show(each)

    def show(self, principal: Principal) -> None:
        """Show a principal in memory, as it is or changed."""
        self.live.principals[principal.id] = principal
        self.live.ids[principal.name] = principal.id

    def client(self, name: str, algorithm: str = "ES256") -> ClientKeyPair:
        """Return a key pair registered for the principal `name`."""
        principal = self.live.principal_named(name)
        assert principal is not None
        pair = ClientKeyPair.fresh(principal.id, algorithm)

        def work(tx: HouseTransaction) -> Any:
            return register_key(tx, principal, pair.jwk, actor="maria@example.com", reason="new", entropy=self.entropy)

        required(self.database.write(work))
        return pair

    def entries(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Return the evidence entries, or those of one kind."""
        found = [row.to_json() for row in self.database.read_log(lambda log: log.entries(None, 1000))]
        return [entry for entry in found if kind in (None, entry["kind"])]


def an_envelope(folder: Path, entropy: Entropy, master: str | None = None) -> Envelope:
    """Return an envelope whose master is in `folder`, or where `master` says; nothing is opened yet."""
    return Envelope(NodeCustody(master, Surroundings(folder, lambda _name: None, entropy)), entropy)


@contextmanager
def a_stage(
    folder: Path,
    *names: str,
    url: str | None = None,
    clock: FixedClock | None = None,
    entropy: Entropy | None = None,
) -> Iterator[Stage]:
    """Open a stage with principals called `names` (refund-agent and ledger-agent if none) and two systems."""
    clock, entropy, live = clock or FixedClock(), entropy or CountingEntropy(), LiveEstate()
    envelope = an_envelope(folder, entropy)
    ring = KeyRing(envelope, entropy)

    def signer(connection: Any) -> Signer:
        envelope.begin(SqlDataKeys(connection), SqlSeals(connection), clock.now())
        return ring.begin(SqlIdentity(connection), ORIGIN, clock.now())

    with a_database(
        folder,
        url=url,
        clock=clock,
        entropy=entropy,
        make_transaction=lambda frame: HouseTransaction(frame, live),
        signer=signer,
    ) as database:
        database.write(ring.ensure)
        live.systems |= {name: a_record(name) for name in ("payments", "ledger")}
        tokens = AccessTokens(ring, ISSUER)
        stage = Stage(database, live, ring, envelope, clock, entropy, Failures(clock), tokens)
        stage.add(*(a_principal(name) for name in names or ("refund-agent", "ledger-agent")))
        yield stage
