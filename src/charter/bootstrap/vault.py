"""What can be done with the vault: put secrets in, bind them, remove them, and let people connect to upstreams."""

from __future__ import annotations

import base64
import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from charter.core.clock import rfc3339
from charter.core.entropy import Entropy
from charter.core.errors import AbsentError, DeniedError, ErrorCode, MalformedError
from charter.core.values import Secret
from charter.identity.vault import VaultSecret
from charter.registry.destination import destination_of, vault_names_of
from charter.registry.problem import suggestion
from charter.registry.upstream import HttpUpstream
from charter.registry.upstream_credential import PersonCredential

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.registry.principal import SystemRecord

MAX_PENDING = 1000
PENDING_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class _Pending:
    """A person who was sent to an upstream's sign-in and is not back yet."""

    system: str
    person: str
    verifier: Secret
    redirect_uri: str
    until: float


@dataclass(slots=True)
class PendingConnections:
    """Who was sent away and is not back yet, by `state`. In memory: who comes back after a restart starts again."""

    _now: OrderedDict[str, _Pending] = field(default_factory=OrderedDict)

    def add(self, entropy: Entropy, pending: _Pending) -> str:
        """Keep one; return its `state`."""
        state = entropy.token(24)
        self._now[state] = pending
        while len(self._now) > MAX_PENDING:
            self._now.popitem(last=False)
        return state

    def take(self, state: str, now: float) -> _Pending:
        """Return the one of `state`, once.

        Raises:
            DeniedError: there is none, or it took too long.
        """
        found = self._now.pop(state, None)
        if found is None or now >= found.until:
            raise DeniedError(
                ErrorCode.BAD_GRANT, "this sign-in was not begun here, or took too long", help="begin it again"
            )
        return found


def listing(house: House) -> dict[str, Any]:
    """Return what the vault holds, without a secret: names, what they are for, who uses them, who is connected."""
    kept = house.database.read(lambda tx: tx.vault.all())
    used = {name: vault_names_of(record.system) for name, record in house.live.systems.items()}
    names = {secret.name for secret in kept}
    wanted = sorted({(each, system) for system, each_names in used.items() for each in each_names if each not in names})
    return {
        "secrets": [_view(house, secret, used) for secret in kept],
        "missing": [{"name": name, "system": system} for name, system in wanted],
        "connections": [
            {"system": each.system, "person": each.person, "scope": each.scope, "since": rfc3339(each.created_at)}
            for each in house.broker.connections.all()
        ],
    }


def _view(house: House, secret: VaultSecret, used: dict[str, frozenset[str]]) -> dict[str, Any]:
    moved = [
        name
        for name, bound in secret.bindings.items()
        if (record := house.live.systems.get(name)) is None or destination_of(record.system) != bound
    ]
    return secret.to_json() | {
        "used_by": sorted(system for system, names in used.items() if secret.name in names),
        "moved": sorted(moved),
        "changed_at": rfc3339(secret.changed_at),
    }


async def put(house: House, name: str, secret: Secret, systems: list[str], *, actor: str) -> dict[str, Any]:
    """Put a secret in; return what may be told of it."""
    vault = house.broker.vault
    kept = await house.database.awrite(lambda tx: vault.put(tx, name, secret, systems, actor=actor))
    return kept.to_json()


async def bind(house: House, name: str, systems: list[str], *, actor: str) -> dict[str, Any]:
    """Let a secret be for `systems`, as they lead now."""
    kept = await house.database.awrite(lambda tx: house.broker.vault.bind(tx, name, systems, actor=actor))
    return kept.to_json()


async def remove(house: House, name: str, *, actor: str, reason: str) -> dict[str, Any]:
    """Forget a secret."""
    gone = await house.database.awrite(lambda tx: house.broker.vault.remove(tx, name, actor=actor, reason=reason))
    return gone.to_json()


def begin_connection(house: House, system: str, person: str, redirect_uri: str) -> dict[str, Any]:
    """Return where `person` signs in, to let Charter act for them at `system` (RFC 6749 section 4.1.1, RFC 7636).

    Raises:
        AbsentError: there is no such system.
        MalformedError: it is not called on behalf of people.
    """
    record = _record(house, system)
    credential = _credential(record)
    verifier = house.entropy.token(48)
    pending = _Pending(
        system, person, Secret(verifier.encode()), redirect_uri, house.clock.monotonic() + PENDING_SECONDS
    )
    state = house.pending.add(house.entropy, pending)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "response_type": "code",
        "client_id": credential.client_id,
        "redirect_uri": redirect_uri,
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    query |= {"scope": " ".join(credential.scope)} if credential.scope else {}
    query |= {"resource": credential.resource} if credential.resource else {}
    joint = "&" if "?" in credential.authorize_url else "?"
    return {"url": f"{credential.authorize_url}{joint}{urlencode(query)}", "state": state}


async def finish_connection(house: House, state: str, code: str, *, actor: str) -> dict[str, Any]:
    """Exchange the code that the sign-in gave for a refresh token, and keep that for the person.

    Raises:
        DeniedError: the sign-in was not begun here, or the upstream gives no refresh token.
        UnavailableError: its authorization server cannot be reached, or refuses.
    """
    pending = house.pending.take(state, house.clock.monotonic())
    record = _record(house, pending.system)
    credential = _credential(record)
    broker = house.broker
    secret = broker.secret(record, credential.secret) if credential.secret else None
    form = {
        "code": code,
        "redirect_uri": pending.redirect_uri,
        "code_verifier": pending.verifier.reveal().decode(),
    }
    answer = await broker.tokens.by_code(record, credential, secret, form)
    token = answer.refresh
    if token is None:
        raise DeniedError(
            ErrorCode.NOT_CONNECTED,
            f"the authorization server of `{record.name}` gave no refresh token",
            help="let it: many need `offline_access` in `credential.scope`, or prompt=consent in `authorize_url`",
        )
    kept = await house.database.awrite(
        lambda tx: broker.connections.connect(tx, record, pending.person, token, answer.scope, actor=actor)
    )
    broker.tokens.forget((record.name, pending.person))
    return {"system": kept.system, "person": kept.person, "scope": kept.scope}


async def end_connection(house: House, system: str, person: str, *, actor: str, reason: str) -> dict[str, Any]:
    """Act for a person at an upstream no more."""
    connections = house.broker.connections
    gone = await house.database.awrite(lambda tx: connections.end(tx, system, person, actor=actor, why=reason))
    house.broker.tokens.forget((system, person))
    return {"system": gone.system, "person": gone.person}


def _record(house: House, system: str) -> SystemRecord:
    record = house.live.systems.get(system)
    if record is None:
        raise AbsentError(
            ErrorCode.UNKNOWN_SYSTEM,
            f"there is no system {system[:80]!a}",
            help=suggestion(system[:80], house.live.systems),
        )
    return record


def _credential(record: SystemRecord) -> PersonCredential:
    upstream = record.system.upstream
    if isinstance(upstream, HttpUpstream) and isinstance(upstream.credential, PersonCredential):
        return upstream.credential
    raise MalformedError(
        ErrorCode.BAD_VALUE,
        f"`{record.name}` is not called on behalf of people",
        help="its file would say `credential: {type: oauth-person, …}`",
    )
