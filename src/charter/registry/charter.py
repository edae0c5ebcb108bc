"""The charter as a value: what one principal is, who answers for it, and what it may do, until when.

A charter is immutable. Its identity is the digest of its canonical JSON, so the same charter written twice is the same
version, and tokens, verdicts and evidence can name what they acted under. The models are strict: unknown fields, wrong
types and out-of-range values are refused, never guessed. Positions in files are kept apart (registry/manifest.py).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, StrictBool, StrictInt, StringConstraints, model_validator
from typing_extensions import override

from charter.core.canonical import digest_of
from charter.registry.certificate import CertificateName
from charter.registry.client_address import client_address, redirect_address
from charter.registry.composition import Pinned
from charter.registry.data_class import DataFlow
from charter.registry.duration import parse_duration, write_duration
from charter.registry.field import (
    DAYS,
    EVERY_ACTION,
    MINUTES_A_DAY,
    ActionName,
    DataClass,
    Day,
    Days,
    Duration,
    Email,
    Hours,
    Model,
    Moment,
    Name,
    Pattern,
    Quantity,
    Role,
    SpiffeIdText,
    SystemName,
    TeamName,
    Text,
    parse_day,
    printable,
)
from charter.registry.flow import FlowTerms
from charter.registry.grant import ApprovalRule, ArgumentCondition, Grant, Limit, Per, Scalar, When
from charter.registry.kind import Environment, Kind
from charter.registry.own_policy import MAX_POLICY, permitted
from charter.registry.place import PlaceText
from charter.registry.problem import PlacedError
from charter.registry.workload import TrustDomainName, Workload

__all__ = [
    "DAYS",
    "EVERY_ACTION",
    "MINUTES_A_DAY",
    "ActionName",
    "ApprovalRule",
    "Approved",
    "ArgumentCondition",
    "Charter",
    "Credential",
    "CredentialType",
    "DataClass",
    "Day",
    "Days",
    "DelegationTerms",
    "Duration",
    "Effect",
    "Email",
    "Environment",
    "Grant",
    "Hours",
    "Kind",
    "Limit",
    "Model",
    "ModelUse",
    "Moment",
    "Name",
    "Owner",
    "Pattern",
    "Per",
    "Quantity",
    "Role",
    "RuleException",
    "Scalar",
    "SystemName",
    "TeamName",
    "Text",
    "When",
    "parse_day",
    "parse_duration",
    "write_duration",
]


class Effect(StrEnum):
    """What an action does to the world. `write` can be undone, `irreversible` cannot."""

    READ = "read"
    WRITE = "write"
    IRREVERSIBLE = "irreversible"


class CredentialType(StrEnum):
    """How a principal's identity is proved. `vendor-managed` obtains no tokens from Charter."""

    PRIVATE_KEY_JWT = "private-key-jwt"
    MUTUAL_TLS = "mutual-tls"
    SPIFFE = "spiffe"
    FEDERATED = "federated"
    SHARED_SECRET = "shared-secret"  # noqa: S105 - a kind, no secret; one that others made
    LEGACY_SECRET = "legacy-secret"  # noqa: S105 - one that Charter made, for what can do no better
    PUBLIC_CLIENT = "public-client"  # runs on people's own machines, and can keep no secret
    VENDOR_MANAGED = "vendor-managed"


class Sharing(StrEnum):
    """What follows at once when a credential turns out to be shared, least firm first."""

    REPORT = "report"  # a finding, and nothing else
    RESTRAIN = "restrain"  # … and every state-changing call needs a person
    SUSPEND = "suspend"  # … and nothing goes on until a person resumes it


# --- the charter ------------------------------------------------------------------------------------------------------


class Owner(Model):
    """Who answers for the principal."""

    person: Email
    team: TeamName


class ModelUse(Model):
    """The model the principal calls; `name` may end in `*`."""

    provider: Name
    name: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=128), AfterValidator(printable)]


class Approved(Model):
    """The person and human role that approved the charter."""

    by: Email
    role: Role
    on: Day


ClaimValue = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=512)] | StrictBool | StrictInt
_ONLY_OF: dict[str, CredentialType] = {  # fields that say something of one type alone
    "issuer": CredentialType.FEDERATED,
    "claims": CredentialType.FEDERATED,
    "certificate": CredentialType.MUTUAL_TLS,
    "workloads": CredentialType.SPIFFE,
    "trusts": CredentialType.SPIFFE,
    "spiffe_id": CredentialType.SPIFFE,
    "client": CredentialType.PUBLIC_CLIENT,
    "redirects": CredentialType.PUBLIC_CLIENT,
    "registration": CredentialType.PUBLIC_CLIENT,
}
MAX_TOKEN_LIFE = dt.timedelta(minutes=15)
MIN_ROTATE = dt.timedelta(minutes=1)
_REGISTERED = (CredentialType.PRIVATE_KEY_JWT, CredentialType.MUTUAL_TLS, CredentialType.LEGACY_SECRET)


ClientAddress = Annotated[str, StringConstraints(strict=True, max_length=2048), AfterValidator(client_address)]
RedirectAddress = Annotated[str, StringConstraints(strict=True, max_length=2048), AfterValidator(redirect_address)]


class Credential(Model):
    """How the principal's identity is proved.

    `federated`: by a token of a trusted `issuer` (issuers.yaml) whose claims are exactly `claims`.
    `mutual-tls`: by a certificate that an authority of the organisation issued to the name `certificate`; without a
    name, by one of the registered keys.
    `spiffe`: by an SVID that the Workload API gives to a process matching one of `workloads`, together with the bundles
    of the trust domains that it `trusts`; or by one for `spiffe_id`, of a trust domain that is federated with.
    `public-client`: by nothing of its own: a person lends it authority each time. It is known by the address of its
    metadata document, `client`, or registers itself where `registration` is allowed; answers go to `redirects` alone.
    `places` and `instances` say where and by how many it is used; what contradicts them is a finding.
    """

    type: CredentialType
    issuer: Name | None = None
    claims: Annotated[dict[str, ClaimValue], Field(min_length=1, max_length=16)] | None = None
    certificate: CertificateName | None = None
    workloads: Annotated[tuple[Workload, ...], Field(min_length=1, max_length=16)] | None = None
    trusts: Annotated[tuple[TrustDomainName, ...], Field(min_length=1, max_length=64)] | None = None
    spiffe_id: SpiffeIdText | None = None
    client: ClientAddress | None = None
    redirects: Annotated[tuple[RedirectAddress, ...], Field(min_length=1, max_length=16)] | None = None
    registration: Literal["allowed"] | None = None  # for clients of older MCP specifications, which know no other way
    bearer: Literal["allowed"] | None = None  # its tokens may be used without the key they are bound to
    tokens: Duration | None = None  # how long they live at most
    places: Annotated[tuple[PlaceText, ...], Field(min_length=1, max_length=32)] | None = None  # where it is used
    instances: Annotated[StrictInt, Field(ge=1, le=1000)] | None = None  # how many use it at a time
    sharing: Sharing | None = None  # what follows when it is used otherwise
    rotate: Duration | None = None  # how old a registered key, certificate or secret may become
    grace: Duration | None = None  # how long an older one counts on; None: until it is replaced

    @model_validator(mode="after")
    def _of_its_type(self) -> Credential:
        for name in self.model_fields_set & _ONLY_OF.keys():
            if _ONLY_OF[name] is not self.type:
                raise PlacedError((name,), f"`{name}` belongs to a credential of the type {_ONLY_OF[name].value}")
        if self.type is CredentialType.FEDERATED and (self.issuer is None) != (self.claims is None):
            raise PlacedError((), "`issuer` and `claims` go together: whose token, and what it must say")
        if self.type is CredentialType.PUBLIC_CLIENT and self.client is None and self.registration is None:
            raise PlacedError((), "a public client needs `client`, where its metadata is, or `registration: allowed`")
        if self.registration is not None and self.redirects is None:
            raise PlacedError((), "where clients register themselves, `redirects` must say where answers may go")
        if self.tokens is not None and self.tokens > MAX_TOKEN_LIFE:
            raise PlacedError(("tokens",), f"tokens live for at most {write_duration(MAX_TOKEN_LIFE)}")
        return self

    @model_validator(mode="after")
    def _rotates(self) -> Credential:
        if self.rotate is None:
            if self.grace is not None:
                raise PlacedError(("grace",), "`grace` says how long a credential counts that `rotate` makes due")
            return self
        if self.type not in _REGISTERED or self.certificate is not None:
            raise PlacedError(("rotate",), "`rotate` is for keys, certificates and secrets that are registered here")
        if self.rotate < MIN_ROTATE:
            raise PlacedError(("rotate",), f"`rotate` is at least {write_duration(MIN_ROTATE)}")
        return self


class DelegationTerms(Model):
    """What authority others may lend the principal, and to whom it may lend its own or pass that on.

    Without `purposes`, for any purpose that the other side agrees to. `max_depth` counts the delegations of a whole
    chain in which the principal has a part. `ceiling` is the most that a person's authority is taken to be where the
    organisation's directory says nothing of what people may do; without it, that is what the principal itself may do.
    """

    source: Annotated[tuple[Name, ...], Field(alias="from", max_length=200)] = ()  # `humans`, principals
    to: Annotated[tuple[Name, ...], Field(max_length=200)] = ()  # principals
    purposes: Annotated[tuple[Name, ...], Field(max_length=200)] = ()
    max_ttl: Duration = dt.timedelta(hours=1)
    max_depth: StrictInt = Field(default=1, ge=1, le=8)
    ceiling: Annotated[tuple[Grant, ...], Field(max_length=50)] | None = None

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @model_validator(mode="after")
    def _somebody(self) -> DelegationTerms:
        if not self.source and not self.to:
            raise ValueError(
                "names nobody; write who may lend it authority under `from`, or whom it lends to under `to`"
            )
        return self


class RuleException(Model):
    """A default of the organisation that a charter does not follow, and why; `until` is the last day, UTC."""

    rule: Name
    reason: Text
    until: Day | None = None


class Charter(Model):
    """One principal's charter, version 1 of the format."""

    charter: Literal["v1"]
    principal: Name
    kind: Kind
    environment: Environment
    owner: Owner
    purpose: Text
    model: ModelUse
    data: tuple[DataClass, ...] = ()
    data_flow: DataFlow | None = None  # narrower than `data`, each way of its own
    composition: Pinned | None = None  # what it is made of; a change lowers its standing until it is reviewed
    approved: Approved
    credential: Credential
    grants: Annotated[tuple[Grant, ...], Field(max_length=200)] = ()
    delegation: DelegationTerms | None = None
    flow: FlowTerms | None = None  # towards calls whose values nobody vouches for; None: as flow.yaml says
    exceptions: Annotated[tuple[RuleException, ...], Field(min_length=1, max_length=50)] | None = None
    policy: Annotated[str, StringConstraints(strict=True, max_length=MAX_POLICY)] | None = None  # the Cedar beside it
    review: Duration
    expires: Day

    def to_json(self) -> dict[str, Any]:
        """Return the charter as plain JSON, in the shape of its file."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    @cached_property
    def digest(self) -> str:
        """The digest of the canonical JSON: the version's identity."""
        return digest_of(self.to_json())

    @override
    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy, some of it changed: another version, which does not take this one's digest along."""
        found = super().model_copy(update=update, deep=deep)
        found.__dict__.pop("digest", None)  # where `cached_property` keeps it
        return found

    @property
    def data_ways(self) -> DataFlow:
        """What it may read, write and send to a model provider, each in full."""
        own = self.data_flow or DataFlow()
        return DataFlow(
            read=self.data if own.read is None else own.read,
            write=self.data if own.write is None else own.write,
            send=self.data if own.send is None else own.send,
        )

    @property
    def reviewer(self) -> str:
        """The human role that reviews changes of its composition."""
        own = self.composition.accepted_by if self.composition else None
        return own or self.approved.role

    @property
    def systems(self) -> tuple[str, ...]:
        """The downstream systems touched, derived from the grants and the Cedar beside, in order of first mention."""
        own = (system for system, _ in self.policy_actions)
        return tuple(dict.fromkeys([*(grant.system for grant in self.grants), *own]))

    @property
    def policy_actions(self) -> tuple[tuple[str, str], ...]:
        """The actions that the Cedar beside it permits, each as (system, action)."""
        return permitted(self.policy) if self.policy else ()
