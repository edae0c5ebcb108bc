"""`build(settings)` wires one house by hand."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import sqlalchemy as sa

from charter.adapters.aws_callers import AwsCallers
from charter.adapters.aws_leases import AwsLeases
from charter.adapters.cedar import CedarEngine
from charter.adapters.client_metadata import ClientMetadata
from charter.adapters.custody import NodeCustody
from charter.adapters.database import Database
from charter.adapters.datafolder import DataFolder
from charter.adapters.document_fetch import DocumentFetcher
from charter.adapters.egress import Egress
from charter.adapters.engine import sqlite_url
from charter.adapters.identity_store import SqlIdentity
from charter.adapters.issuer_keys import IssuerKeys
from charter.adapters.lease_upstream import Upstreams
from charter.adapters.master_place import Surroundings
from charter.adapters.model_api import ModelApis
from charter.adapters.oauth_tokens import OAuthTokens
from charter.adapters.payloads import Payloads
from charter.adapters.registry_store import load_live
from charter.adapters.seal_store import SqlDataKeys, SqlSeals
from charter.adapters.transaction import Frame
from charter.adapters.upstream import McpUpstreams, UpstreamSettings
from charter.adapters.upstream_address import public_addresses, usual_addresses
from charter.adapters.upstream_secrets import Broker
from charter.bootstrap.behaviour import BehaviourRoom
from charter.bootstrap.carrying import Carrying
from charter.bootstrap.heads import Heads, check_kept
from charter.bootstrap.house import House
from charter.bootstrap.keys import Keys
from charter.bootstrap.lease_room import LeaseRoom
from charter.bootstrap.policy_watch import hear_disagreement
from charter.bootstrap.retaining import Retaining
from charter.bootstrap.sealing import Sealing
from charter.bootstrap.sharing import SharingWatch
from charter.bootstrap.sinks import SinkRoom
from charter.bootstrap.slices import SliceCache
from charter.bootstrap.tending import hear_model, hear_tools
from charter.bootstrap.transaction import HouseTransaction
from charter.bootstrap.upgrading import catch_up
from charter.bootstrap.witnesses import Witnesses, check_seen
from charter.config import Settings, own_variable, variable
from charter.core.clock import Clock, SystemClock, parse_rfc3339, rfc3339
from charter.core.entropy import Entropy, SystemEntropy
from charter.core.errors import ErrorCode, IntegrityError, MalformedError
from charter.core.keys import Signer
from charter.core.values import Secret, is_loopback
from charter.evidence.entry import EntryKind
from charter.evidence.log import Stored
from charter.gateway.broker import Provider
from charter.gateway.flow import LOOKED_BACK, TIRING, Flows, SessionKey
from charter.gateway.permit import PermitLedger
from charter.gateway.pins import ToolList
from charter.gateway.pipeline import Pipeline
from charter.gateway.proposals import Proposals
from charter.gateway.streams import OpenStreams
from charter.identity.asking import Consents
from charter.identity.connection import Connection, Connections
from charter.identity.dpop import ProofMemory
from charter.identity.envelope import Envelope
from charter.identity.failures import Failures
from charter.identity.nonce import Nonces
from charter.identity.pace import of_tokens
from charter.identity.status_list import StatusLists
from charter.identity.tokens import AccessTokens
from charter.identity.trust import Trust
from charter.identity.vault import Vault
from charter.identity.x509_authority import Authorities
from charter.lifecycle.leases import LeaseBook, orphaned
from charter.policy.shadow import CompiledEngine
from charter.registry.directory import Person
from charter.registry.estate import TextFile
from charter.registry.principal import LiveEstate, Principal, SystemRecord
from charter.registry.record import KeptCharter
from charter.registry.team import Teams

if TYPE_CHECKING:
    from charter.adapters.oidc_provider import OidcProvider

_NODE = re.compile(r"nod_[0-9a-z]{26}")


def build(
    settings: Settings,
    *,
    operator: str = "operator@localhost",
    clock: Clock | None = None,
    entropy: Entropy | None = None,
) -> House:
    """Return the house that `settings` describe; tests pass their own clock and dice.

    Raises:
        MalformedError: there is no such folder to be an estate.
        ConflictError: another process holds the data folder or the database.
        UnavailableError: the folder or the database cannot be used.
        IntegrityError: a key or the log cannot be trusted.
    """
    if not settings.estate.is_dir():
        raise MalformedError(
            ErrorCode.BAD_VALUE, f"there is no folder `{settings.estate}`", help="name the estate's folder with -C"
        )
    clock, entropy = clock or SystemClock(), entropy or SystemEntropy()
    with contextlib.ExitStack() as undo:
        folder = undo.enter_context(DataFolder.open(settings.data_folder))
        custody = NodeCustody(settings.master, Surroundings(folder.path, own_variable, entropy))
        keys = Keys(custody, Envelope(custody, entropy), clock, entropy, settings.rotate)
        authorities = Authorities(settings.trust_domain, keys.envelope, entropy, settings.rotate)
        trust = Trust(settings.trust_domain, keys.ring, authorities)
        live = LiveEstate()
        database = _database(settings, folder, keys, live, clock, entropy)
        undo.callback(database.close)
        _check_heads(settings, database, keys)
        database.write(keys.ensure)
        keys.forward(database)
        database.write(trust.open)
        _fill(live, database, clock)
        broker = _broker(database, keys, clock)
        catch_up(database, live, entropy)
        house = _house(settings, operator, clock, entropy, folder, database, live, keys, trust, broker)
        undo.pop_all()
        return house


def _check_heads(settings: Settings, database: Database[HouseTransaction], keys: Keys) -> None:
    """Check that the log continues what is kept of it elsewhere."""
    publics = keys.ring.head_publics(database.origin)
    if settings.checkpoints:
        database.read_log(lambda log: check_kept(log, settings.checkpoints, publics))
    if settings.witnesses:
        check_seen(database, publics, settings.witnesses)


def _database(
    settings: Settings, folder: DataFolder, keys: Keys, live: LiveEstate, clock: Clock, entropy: Entropy
) -> Database[HouseTransaction]:
    origin = f"{settings.trust_domain}/log/{_node_name(folder, entropy)}"

    payloads = Payloads(keys.envelope, entropy)

    def signer(connection: sa.Connection) -> Signer:
        keys.envelope.begin(SqlDataKeys(connection), SqlSeals(connection), clock.now())
        payloads.begin(connection, clock.now())
        return keys.ring.begin(SqlIdentity(connection), origin, clock.now())

    def transaction(frame: Frame) -> HouseTransaction:
        return HouseTransaction(frame, live)

    return Database(
        settings.database or sqlite_url(folder.file("charter.db")),
        clock=clock,
        entropy=entropy,
        signer=signer,
        make_transaction=transaction,
        node_origin=origin,
        payloads=payloads,
        alone=True,  # what this process knows of the estate stands in its memory: nobody else may change it
    )


def _node_name(folder: DataFolder, entropy: Entropy) -> str:
    """Return the name of this data folder's node, made on first use: it stands in the log's origin for ever.

    Raises:
        IntegrityError: the file holds something else, under which another log would begin.
    """
    name = folder.keep("node", lambda: entropy.identifier("nod"))
    if not _NODE.fullmatch(name):
        raise IntegrityError(
            ErrorCode.EVIDENCE_BROKEN,
            f"`{folder.file('node')}` does not hold this node's name",
            help="put it back from your backup; the first line of the log's checkpoints ends with it",
        )
    return name


def _fill(live: LiveEstate, database: Database[HouseTransaction], clock: Clock) -> None:
    """Let `live` show what the database holds."""
    found = database.read(lambda tx: load_live(tx.connection, int(clock.now().timestamp())))
    for name in LiveEstate.__slots__:
        setattr(live, name, getattr(found, name))


def _broker(database: Database[HouseTransaction], keys: Keys, clock: Clock) -> Broker:
    """Return what proves Charter to upstreams: the vault and people's connections, opened."""
    vault, connections = Vault(keys.envelope), Connections(keys.envelope)
    vault.open(database.read(lambda tx: tx.vault.all()))
    connections.open(database.read(lambda tx: tx.connections.all()))

    def exchanged(before: Connection, token: Secret) -> None:
        database.write(lambda tx: connections.exchanged(tx, before, token))

    return Broker(vault, connections, OAuthTokens(DocumentFetcher(), clock), variable, exchanged)


def _house(  # noqa: PLR0913, PLR0917 - the parts that were just made
    settings: Settings,
    operator: str,
    clock: Clock,
    entropy: Entropy,
    folder: DataFolder,
    database: Database[HouseTransaction],
    live: LiveEstate,
    keys: Keys,
    trust: Trust,
    broker: Broker,
) -> House:
    engine = CompiledEngine(CedarEngine(), lambda found: hear_disagreement(house, found))
    permits, tokens = PermitLedger(clock), AccessTokens(keys.ring, settings.issuer)
    proofs = ProofMemory(Nonces(keys.ring, clock.now()))
    slices = SliceCache(
        live,
        engine,
        load=_charter_loader(database),
        guardrails=lambda: database.read(_guardrails),
        teams=lambda: database.read(_teams),
    )

    def hear(record: SystemRecord, found: ToolList) -> None:
        hear_tools(house, record, found)

    upstreams = McpUpstreams(
        live, permits, clock, UpstreamSettings(settings.estate.resolve(), variable, proof_of=broker.proof), hear
    )
    everything = Upstreams(upstreams, live, permits, Egress(), ModelApis(broker.proof))
    pipeline = Pipeline(
        live=live,
        slices=slices,
        evaluator=engine,
        verifier=tokens,
        proofs=proofs,
        writer=database,
        upstream=everything,
        permits=permits,
        streams=OpenStreams(),
        clock=clock,
        entropy=entropy,
        issuer=settings.issuer,
        flows=_flows(database, clock),
        proposals=Proposals(),
        noticed=lambda principal_id, model, system: hear_model(house, principal_id, model, system),
    )
    house = House(
        settings=settings,
        operator=operator,
        clock=clock,
        entropy=entropy,
        folder=folder,
        database=database,
        live=live,
        keys=keys,
        ring=keys.ring,
        trust=trust,
        broker=broker,
        reach=everything,
        tokens=tokens,
        statuses=_statuses(settings, database, live, keys),
        failures=Failures(clock),
        pace=of_tokens(clock),
        proofs=proofs,
        issuer_keys=IssuerKeys(DocumentFetcher(), clock),
        aws_callers=AwsCallers(DocumentFetcher()),
        client_metadata=ClientMetadata(_fetcher_for_strangers(settings), clock),
        consents=Consents(clock, entropy),
        slices=slices,
        upstreams=upstreams,
        pipeline=pipeline,
        provider=_provider(settings, clock),
    )
    house.farewells.append(lambda person: _end_what_they_lent(pipeline, person))
    _furnish(house)
    return house


def _furnish(house: House) -> None:
    """Give the house the parts that need all of it."""
    house.leasing = _leasing(house)
    house.sharing = SharingWatch(house)
    house.sinks = SinkRoom.of(house)
    house.behaviour = BehaviourRoom(house)
    house.carrying = Carrying(house, house.clock.now())
    house.heads = Heads(house)
    house.witnesses = Witnesses.of(house)
    house.sealing = Sealing(house)
    house.retaining = Retaining(house)


def _statuses(settings: Settings, database: Database[HouseTransaction], live: LiveEstate, keys: Keys) -> StatusLists:
    def issued_since(after: int | None, since: dt.datetime) -> Sequence[Stored]:
        kind = EntryKind.AUTHENTICATION.value
        return database.read_log(lambda log: log.of_kind(kind, after=after, since=rfc3339(since)))

    return StatusLists(keys.ring, live, issued_since, issuer=settings.issuer, node=database.node)


def _flows(database: Database[HouseTransaction], clock: Clock) -> Flows:
    """Return the sessions, with what evidence says of those that were under way when the process before ended."""
    flows, now = Flows(), clock.now()

    def told(kind: EntryKind, since: dt.datetime) -> Iterator[tuple[SessionKey, Mapping[str, Any], dt.datetime]]:
        for stored in database.read_log(lambda log: log.of_kind(kind.value, after=None, since=rfc3339(since))):
            entry = stored.to_json()
            said = entry["body"]
            key = SessionKey(str(entry["principal"]), said.get("delegation"), said.get("run"))
            yield key, said, parse_rfc3339(entry["time"])

    for key, said, at in told(EntryKind.APPROVAL_ASKED, now - TIRING):
        flows.asked(key, str(said["approval"]), at)
    for key, said, _ in told(EntryKind.CONTEXT_CHANGED, now - LOOKED_BACK):
        flows.found_again(key, said, now)
    return flows


def _end_what_they_lent(pipeline: Pipeline, person: Person) -> None:
    if person.email is not None:
        pipeline.withdrawn(person.email.lower(), f"`{person.email}` left, as the directory has it")


def _leasing(house: House) -> LeaseRoom:
    """Return the leases of the house, as the database has them; what a process that died was making is ended."""
    book = LeaseBook()
    for lease in house.database.read(lambda tx: tx.leases.alive()):
        book.show(lease)
    house.database.write(lambda tx: orphaned(tx, book))

    @cache
    def postgres() -> Provider:
        from charter.adapters.postgres_leases import PostgresLeases

        return PostgresLeases(house.broker.secret, house.entropy)

    aws = AwsLeases(house.broker.secret)
    return LeaseRoom(house, {"postgres": postgres, "aws": lambda: aws}, book)


def _fetcher_for_strangers(settings: Settings) -> DocumentFetcher:
    """Return who fetches what strangers name: from public addresses, unless we are on this machine alone."""
    is_here = is_loopback(urlsplit(settings.issuer).hostname or "")
    return DocumentFetcher(usual_addresses if is_here else public_addresses)


def _provider(settings: Settings, clock: Clock) -> OidcProvider | None:
    """Return the organisation's sign-in provider, if one is set."""
    if settings.oidc_issuer is None or settings.oidc_client_id is None:
        return None
    from charter.adapters.oidc_provider import OidcProvider

    secret = own_variable("CHARTER_OIDC_SECRET")
    return OidcProvider(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        secret=Secret(secret.encode()) if secret else None,
        redirect_uri=f"{settings.issuer}/sign-in/sso/callback",
        label=settings.oidc_label,
        groups_claim=settings.oidc_groups,
        fetcher=DocumentFetcher(),
        keys=IssuerKeys(DocumentFetcher(), clock),
        clock=clock,
    )


def _charter_loader(database: Database[HouseTransaction]) -> Callable[[Principal], KeptCharter]:
    def load(principal: Principal) -> KeptCharter:
        return database.read(lambda tx: tx.registry.kept_charter(principal.id, principal.version))

    return load


def _teams(tx: HouseTransaction) -> Teams:
    return tx.registry.teams()


def _guardrails(tx: HouseTransaction) -> tuple[TextFile, ...]:
    return tx.registry.guardrails()
