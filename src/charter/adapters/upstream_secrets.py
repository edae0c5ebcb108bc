"""What proves Charter to each upstream: headers for HTTP, variables for children. Callers see none of it.

INVARIANT: a secret of the vault goes to a system it is bound to, and there alone; a person's token is used for calls
that this person's delegation led to, and for no others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from charter.adapters.oauth_tokens import Answer, OAuthTokens
from charter.adapters.upstream_wire import Proving
from charter.core.errors import CharterError, ErrorCode
from charter.core.values import Secret
from charter.gateway.pins import UpstreamError
from charter.identity.connection import Connection, Connections
from charter.identity.vault import Vault
from charter.registry.principal import SystemRecord
from charter.registry.upstream import HttpUpstream, StdioUpstream
from charter.registry.upstream_credential import (
    BearerCredential,
    ClientCredential,
    HeaderCredential,
    PersonCredential,
    UpstreamCredential,
    vault_name,
)

Variable = Callable[[str], str | None]


class Proof(Protocol):
    """What proves Charter, or a person it acts for, to one upstream."""

    @property
    def edition(self) -> object:
        """What is no longer equal once `variables` would give something else."""
        ...

    def headers(self) -> Proving:
        """Return the headers of a request, or what obtains them where a server has to be asked.

        Raises:
            UpstreamError: there is no such proof; nothing was sent.
        """
        ...

    def refused(self) -> None:
        """Take note that the upstream did not take what `headers` gave."""
        ...

    def variables(self) -> Mapping[str, str]:
        """Return the variables with secrets that a child gets. Raises as `headers` does."""
        ...


@dataclass(frozen=True, slots=True)
class PlainProof:
    """Secrets from Charter's own environment alone: what an import has that looks at a server nobody knows yet."""

    config: HttpUpstream | StdioUpstream
    variable: Variable

    @property
    def edition(self) -> object:
        """Nothing that changes."""
        return None

    def headers(self) -> Proving:
        """Return the headers of a static credential."""
        return static_headers(credential_of(self.config), self._secret)

    def refused(self) -> None:
        """Take note of nothing: nothing is kept."""

    def variables(self) -> Mapping[str, str]:
        """Return the variables of `secrets`."""
        return {name: text_of(self._secret(each), name) for name, each in secrets_of(self.config).items()}

    def _secret(self, reference: str) -> Secret:
        if vault_name(reference) is not None:
            raise _no_proof(
                f"`{reference}` can be used by the running server alone",
                "apply the system's file, start charter up, then ask again",
            )
        return from_environment(self.variable, reference)


@dataclass(frozen=True, slots=True)
class Broker:
    """Makes proofs from the vault, the environment, and upstreams' authorization servers."""

    vault: Vault
    connections: Connections
    tokens: OAuthTokens
    variable: Variable
    exchanged: Callable[[Connection, Secret], object]  # makes an exchanged refresh token durable; blocks

    def proof(self, record: SystemRecord, person: str | None) -> BrokeredProof:
        """Return what proves Charter, or `person`, to a system."""
        return BrokeredProof(self, record, person)

    def secret(self, record: SystemRecord, reference: str) -> Secret:
        """Return the secret that a system's file names.

        Raises:
            CharterError: there is none, or not for this system.
        """
        name = vault_name(reference)
        return self.vault.use(name, record) if name is not None else from_environment(self.variable, reference)


@dataclass(frozen=True, slots=True)
class BrokeredProof:
    """What proves Charter, or a person, to one registered system. Satisfies Proof."""

    broker: Broker
    record: SystemRecord
    person: str | None

    @property
    def edition(self) -> object:
        """The versions of the vault's secrets that a child is given."""
        named = secrets_of(self.record.system.upstream)
        if not named:
            return ()
        names = map(vault_name, named.values())
        return tuple(self.broker.vault.generation(name) for name in names if name is not None)

    def headers(self) -> Proving:
        """Return the headers of a request, or what obtains them."""
        match credential_of(self.record.system.upstream):
            case None:
                return {}
            case ClientCredential() as credential:
                return self._obtained(self._client_token(credential))
            case PersonCredential() as credential:
                return self._obtained(self._person_token(credential))
            case credential:
                with _as_upstream_error():
                    return static_headers(credential, self._secret)

    async def _obtained(self, token: Awaitable[Secret]) -> Mapping[str, str]:
        with _as_upstream_error():
            return _bearer(await token)

    def refused(self) -> None:
        """Obtain another access token the next time."""
        self.broker.tokens.forget((self.record.name, self.person or ""))

    def variables(self) -> Mapping[str, str]:
        """Return the variables of `secrets`."""
        with _as_upstream_error():
            named = secrets_of(self.record.system.upstream)
            return {name: text_of(self._secret(each), name) for name, each in named.items()}

    def _secret(self, reference: str) -> Secret:
        return self.broker.secret(self.record, reference)

    async def _client_token(self, credential: ClientCredential) -> Secret:
        tokens, secret = self.broker.tokens, self._secret(credential.secret)

        async def obtain() -> Answer:
            return await tokens.by_client(self.record, credential, secret)

        return await tokens.token((self.record.name, ""), (credential, secret), obtain)

    async def _person_token(self, credential: PersonCredential) -> Secret:
        record, person = self.record, self.person
        if person is None:
            raise _no_proof(
                f"`{record.name}` is called on behalf of a person, and nobody delegated this call",
                "let a person who connected delegate to the agent: charter delegate",
            )
        secret = self._secret(credential.secret) if credential.secret else None
        connections, tokens = self.broker.connections, self.broker.tokens

        async def obtain() -> Answer:
            before, refresh = connections.kept(record, person), connections.token(record, person)
            answer = await tokens.by_refresh(record, credential, secret, refresh)
            if answer.refresh is not None and answer.refresh != refresh:
                await asyncio.to_thread(self.broker.exchanged, before, answer.refresh)
            return answer

        # Asked also when an access token is at hand: an ended connection ends its use.
        edition = (credential, secret, connections.kept(record, person).created_at)
        return await tokens.token((record.name, person), edition, obtain)


@contextmanager
def _as_upstream_error() -> Iterator[None]:
    """Let whatever stands in the way of a proof be an error of the call: nothing was sent."""
    try:
        yield
    except UpstreamError:
        raise
    except CharterError as err:
        raise UpstreamError(err.code, err.detail, sent=False, help=err.help) from err


def secrets_of(config: HttpUpstream | StdioUpstream | None) -> Mapping[str, str]:
    """Return the variables that a child finds secrets in, and which."""
    return (config.secrets or {}) if isinstance(config, StdioUpstream) else {}


def credential_of(config: HttpUpstream | StdioUpstream | None) -> UpstreamCredential | None:
    """Return how Charter proves itself to an upstream over HTTP; `token_env` is short for a bearer token."""
    if not isinstance(config, HttpUpstream):
        return None
    if config.token_env is not None:
        return BearerCredential(type="bearer", secret=f"env:{config.token_env}")
    return config.credential


def static_headers(credential: UpstreamCredential | None, secret_of: Callable[[str], Secret]) -> dict[str, str]:
    """Return the headers of a credential that is one secret.

    Raises:
        UpstreamError: it is not.
    """
    match credential:
        case None:
            return {}
        case BearerCredential():
            return _bearer(secret_of(credential.secret))
        case HeaderCredential():
            return {credential.header: text_of(secret_of(credential.secret), credential.header)}
        case _:
            raise _no_proof(
                f"a credential of the type {credential.type} can be used by the running server alone",
                "start charter up, then ask again",
            )


def from_environment(variable: Variable, reference: str) -> Secret:
    """Return the secret in the variable that `reference` (`env:NAME`) names.

    Raises:
        UpstreamError: it is not set, or is Charter's own.
    """
    name = reference.removeprefix("env:")
    try:
        value = variable(name)
    except CharterError as err:
        raise UpstreamError(err.code, err.detail, sent=False, help=err.help) from err
    if not value:
        raise _no_proof(
            f"the variable `{name}`, which holds the upstream's token, is not set", f"set `{name}` where Charter runs"
        )
    return Secret(value.encode())


def text_of(secret: Secret, what: str) -> str:
    """Return a secret as text, for a header or variable called `what`.

    Raises:
        UpstreamError: it is no text that could stand there.
    """
    try:
        text = secret.reveal().decode("utf-8")
    except UnicodeDecodeError:
        text = "\x00"
    if "\x00" in text or not text:
        raise _no_proof(f"the secret for `{what}` is no text", "put it in anew, as text")
    return text


def _bearer(token: Secret) -> dict[str, str]:
    return {"Authorization": f"Bearer {text_of(token, 'Authorization')}"}


def _no_proof(detail: str, help: str) -> UpstreamError:
    return UpstreamError(ErrorCode.UPSTREAM_FAILED, detail, sent=False, help=help)
