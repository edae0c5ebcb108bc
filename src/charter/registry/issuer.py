"""`issuers.yaml`: whose tokens prove a workload's identity, and what tells one workload of a platform from others.

A platform signs for all its customers: its signature says *some* workload of it, and only the claims say which. So a
charter that trusts an issuer names exact claims, and each platform has claims that must be among them, or whoever else
uses the platform could pass for the principal.

INVARIANT: conditions are compared character for character. What looks like a pattern is refused when it is written,
with the reason, and never quietly matches nothing or too much.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from charter.core.values import trusted_address
from charter.registry.charter import Duration, Model, Name
from charter.registry.problem import PlacedError, suggestion

MAX_ISSUERS = 200
MAX_CLAIMS = 16
Claim = str | bool | int


class Platform(StrEnum):
    """Who signs: the platforms whose claims are known by name, any OIDC issuer, AWS, the organisation's own."""

    GITHUB = "github-actions"
    GITLAB = "gitlab"
    KUBERNETES = "kubernetes"
    GOOGLE = "google"
    AZURE = "azure"
    AWS = "aws"
    OIDC = "oidc"
    IDENTITY_PROVIDER = "identity-provider"  # signs for people, not for workloads


@dataclass(frozen=True, slots=True)
class Pin:
    """Claims of which one must be named, and what could happen without."""

    claims: tuple[str, ...]
    otherwise: str


@dataclass(frozen=True, slots=True)
class PlatformRule:
    """What is known of one platform: its issuer, the paths of its claims where they are nested, its pins and forms."""

    issuer: str | None
    pins: tuple[Pin, ...]
    paths: Mapping[str, tuple[str, ...]]  # a condition's name -> where the claim stands in the token
    forms: Mapping[str, str]  # a claim -> the form its value must have, as a regular expression


_SUBJECT = Pin(("sub",), "every workload that this issuer signs for could pass for it")
_SEGMENT = r"[\w.-]+"
_KUBERNETES = "kubernetes.io"

PLATFORMS: Mapping[Platform, PlatformRule] = {
    Platform.GITHUB: PlatformRule(
        "https://token.actions.githubusercontent.com",
        (
            Pin(("repository_id", "repository", "sub"), "every repository on GitHub could pass for it"),
            Pin(
                ("environment", "ref", "job_workflow_ref", "workflow_ref", "sub"),
                "every branch and pull request of the repository could pass for it",
            ),
        ),
        {},
        {
            "repository": rf"{_SEGMENT}/{_SEGMENT}",
            "repository_owner": _SEGMENT,
            "repository_id": r"\d+",
            "repository_owner_id": r"\d+",
            "sub": rf"repo:{_SEGMENT}/{_SEGMENT}:(?!pull_request$).+",
        },
    ),
    Platform.GITLAB: PlatformRule(
        "https://gitlab.com",
        (
            Pin(("project_id", "project_path", "sub"), "every project on the instance could pass for it"),
            Pin(("ref", "environment", "ci_config_ref_uri", "sub"), "every branch of the project could pass for it"),
        ),
        {},
        {"project_path": rf"{_SEGMENT}(/{_SEGMENT})+", "project_id": r"\d+"},
    ),
    Platform.KUBERNETES: PlatformRule(
        None,
        (
            Pin(("namespace",), "a service account of the same name in another namespace could pass for it"),
            Pin(("service_account",), "every pod in the namespace could pass for it"),
        ),
        {
            "namespace": (_KUBERNETES, "namespace"),
            "service_account": (_KUBERNETES, "serviceaccount", "name"),
            "service_account_uid": (_KUBERNETES, "serviceaccount", "uid"),
            "pod": (_KUBERNETES, "pod", "name"),
            "node": (_KUBERNETES, "node", "name"),
        },
        {"namespace": r"[a-z0-9-]{1,63}", "service_account": r"[a-z0-9.-]{1,253}"},
    ),
    Platform.GOOGLE: PlatformRule(
        "https://accounts.google.com",
        (Pin(("sub",), "an e-mail address can be given to another account later; `sub`, its number, cannot"),),
        {},
        {"sub": r"\d+"},
    ),
    Platform.AZURE: PlatformRule(
        None,
        (
            Pin(("tid",), "every tenant could pass for it"),
            Pin(("oid", "sub"), "every workload of the tenant could pass for it"),
        ),
        {},
        {"tid": r"[0-9a-f-]{36}", "oid": r"[0-9a-f-]{36}"},
    ),
    Platform.AWS: PlatformRule(
        None,
        (
            Pin(("account",), "a role of the same name in another account could pass for it"),
            Pin(("role", "role_id", "arn"), "every identity of the account could pass for it"),
        ),
        {},
        {"account": r"\d{12}", "role": r"[\w+=,.@-]{1,64}", "role_id": r"A[A-Z0-9]{15,127}"},
    ),
    Platform.OIDC: PlatformRule(None, (_SUBJECT,), {}, {}),
    Platform.IDENTITY_PROVIDER: PlatformRule(None, (), {}, {}),
}
AWS_CLAIMS = ("account", "arn", "role", "role_id", "session")
_FRAME = frozenset({"iss", "aud", "exp", "nbf", "iat", "jti"})
_PATTERN_SIGNS = re.compile(r"[*?|^$()\[\]{}\\]|\.\*|^/|/$|:$")


Address = Annotated[str, StringConstraints(strict=True, max_length=2048), AfterValidator(trusted_address)]


class TrustedIssuer(Model):
    """One issuer whose tokens count. `keys_url` and `keys` spare the look-up of its keys by OIDC discovery."""

    platform: Platform
    issuer: Address | None = None
    keys_url: Address | None = None
    keys: tuple[dict[str, Any], ...] = Field(default=(), max_length=20)  # public JWKs, for issuers out of reach
    audience: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=2048)] | None = None
    max_age: Duration | None = None  # the longest life of a token that is accepted; an hour where nothing is said
    sts: Address | None = None  # aws: the regional endpoint of its Security Token Service

    @model_validator(mode="after")
    def _whole(self) -> TrustedIssuer:
        is_aws = self.platform is Platform.AWS
        if is_aws and self.sts is None:
            raise PlacedError((), "an issuer of the platform aws needs `sts`: https://sts.eu-central-1.amazonaws.com")
        if is_aws and (self.issuer or self.keys_url or self.keys):
            raise PlacedError((), "aws proves identities by a signed request, and has no `issuer` and no keys")
        if not is_aws and self.sts is not None:
            raise PlacedError(("sts",), "only an issuer of the platform aws has an `sts`")
        if not is_aws and self.address is None:
            raise PlacedError((), f"an issuer of the platform {self.platform.value} needs `issuer`, its address")
        if self.keys and self.keys_url:
            raise PlacedError(("keys_url",), "either the keys stand here or they are fetched, not both")
        return self

    @property
    def address(self) -> str | None:
        """What its tokens say in `iss`."""
        return self.issuer or PLATFORMS[self.platform].issuer


class Issuers(Model):
    """`issuers.yaml`, version 1 of the format."""

    charter: Literal["v1"]
    issuers: dict[Name, TrustedIssuer] = Field(default_factory=dict, max_length=MAX_ISSUERS)

    def to_json(self) -> dict[str, Any]:
        """Return the file as plain JSON."""
        return self.model_dump(mode="json", exclude_none=True)

    @model_validator(mode="after")
    def _told_apart(self) -> Issuers:
        seen: dict[str, str] = {}
        for name, issuer in self.issuers.items():
            address = issuer.address or issuer.sts or ""
            if address in seen:
                raise PlacedError((name,), f"`{name}` and `{seen[address]}` are the same issuer; a token must mean one")
            seen[address] = name
        return self


def faults_of(issuer: TrustedIssuer, claims: Mapping[str, Claim]) -> Iterator[tuple[str | None, str, str]]:
    """Yield what is wrong with the conditions of a charter that trusts `issuer`: (claim or None, what, how to mend)."""
    rule = PLATFORMS[issuer.platform]
    if issuer.platform is Platform.IDENTITY_PROVIDER:
        yield None, "it signs for people, not for workloads", "name an issuer of the platform the workload runs on"
        return
    for name, value in claims.items():
        yield from _faults_of_claim(issuer, rule, name, value)
    for pin in rule.pins:
        if not any(name in claims for name in pin.claims):
            words = " or ".join(f"`{name}`" for name in pin.claims)
            yield None, f"without {words} {pin.otherwise}", f"name {words} under `claims`"


def _faults_of_claim(
    issuer: TrustedIssuer, rule: PlatformRule, name: str, value: Claim
) -> Iterator[tuple[str | None, str, str]]:
    if name in _FRAME:
        yield name, f"`{name}` is checked on every token and is no condition", "leave it out"
    elif issuer.platform is Platform.AWS and name not in AWS_CLAIMS:
        yield name, f"`{name}` is nothing that AWS says of a caller", suggestion(name, AWS_CLAIMS)
    elif issuer.platform is Platform.KUBERNETES and name not in rule.paths:
        yield name, f"`{name}` is nothing that Kubernetes says of a pod", suggestion(name, rule.paths)
    elif isinstance(value, str) and _PATTERN_SIGNS.search(value):
        why = f"`{value[:80]}` looks like a pattern, which would let others in beside the one that is meant"
        yield name, why, "conditions are compared character for character: write the whole value"
    elif name in rule.forms and not (isinstance(value, str) and re.fullmatch(rule.forms[name], value)):
        yield name, f"`{str(value)[:80]}` is no `{name}` as {issuer.platform.value} writes it", _form_help(name, value)


def _form_help(name: str, value: Claim) -> str:
    if name == "sub" and str(value).endswith(":pull_request"):
        return "whoever can open a pull request could pass for it; name a branch or an environment"
    if name == "repository":
        return "write owner/name, both in full"
    if name == "sub" and str(value).isascii() and "@" in str(value):
        return "an e-mail address can be given to another account later; write the account's number"
    return "write it as the platform's own tokens have it"


def told(issuer: TrustedIssuer, claims: Mapping[str, Any], name: str) -> object:
    """Return what a token's `claims` say for the condition `name`; None if nothing."""
    found: object = claims
    for step in PLATFORMS[issuer.platform].paths.get(name, (name,)):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def are_disjoint(one: Mapping[str, Claim], other: Mapping[str, Claim]) -> bool:
    """Return whether no token could satisfy both sets of conditions: a claim is in both, with different values."""
    both = ((one[name], other[name]) for name in one.keys() & other.keys())
    return any((type(this), this) != (type(that), that) for this, that in both)
