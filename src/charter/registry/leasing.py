"""Systems that are reached with a lease: a credential made for one principal, for a while, with just what it may do.

A `postgres` system names where its database is and the role that makes leases; each action names SQL verbs and the
tables they may be used on. An `aws` system names a role; each action names IAM actions and resources. The secret of the
role that makes leases is in the vault. Objects of such a system are tables (`public.orders`) or ARNs.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictInt, StringConstraints, WithJsonSchema, model_validator

from charter.registry.charter import Duration, Effect, Model, write_duration
from charter.registry.problem import PlacedError
from charter.registry.upstream_credential import SecretRef

SQL_VERBS = ("select", "insert", "update", "delete")
LEASE_ARGUMENT = "on"  # the argument of a lease's calls that names the table or resource
OBJECT = f"{{{LEASE_ARGUMENT}}}"
MAX_LEASE = dt.timedelta(hours=12)
MIN_AWS = dt.timedelta(minutes=15)  # what STS gives at least
_IDENTIFIER = r"[A-Za-z_][A-Za-z0-9_]{0,62}"
_TABLE = re.compile(rf"{_IDENTIFIER}\.{_IDENTIFIER}")
_SYSTEM_SCHEMA = re.compile(r"(?i:pg_.*|information_schema)\..*")
_IAM_ACTION = re.compile(r"[a-z0-9-]{2,63}:[A-Z][A-Za-z0-9]{1,127}")
_ARN = re.compile(r"arn:aws[a-z-]*:[a-z0-9-]{2,63}:[a-z0-9-]*:[0-9]*:[A-Za-z0-9_.+=,@:/*-]{1,512}|\*")
_READING = re.compile(r":(?:Get|List|Describe|Head|BatchGet|Query|Scan|Select|Lookup|View|Read|Search)")


def _of_form(pattern: str, why: str, most: int) -> tuple[StringConstraints, AfterValidator, WithJsonSchema]:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"`{text[:80]}` {why}")
        return text

    schema = WithJsonSchema({"type": "string", "pattern": f"^({pattern})$"})
    return StringConstraints(strict=True, max_length=most), AfterValidator(check), schema


Host = Annotated[
    str, *_of_form(r"/[A-Za-z0-9._/-]{1,100}|[A-Za-z0-9][A-Za-z0-9.-]{0,252}|[0-9a-f:]{2,45}", "is no host", 253)
]
DatabaseName = Annotated[str, *_of_form(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}", "is no name of a database or role", 63)]
Region = Annotated[str, *_of_form(r"[a-z]{2}(-[a-z]+)+-[0-9]", "is no region", 32)]
RoleArn = Annotated[
    str, *_of_form(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]{1,128}", "is no role's ARN", 256)
]
AccessKeyId = Annotated[str, *_of_form(r"[A-Z0-9]{16,128}", "is no access key's id", 128)]
ExternalId = Annotated[str, *_of_form(r"[A-Za-z0-9_+=,.@:/-]{2,255}", "is no external id", 255)]


class PostgresPlace(Model):
    """A database, and the role that makes leases there: it may create roles, and owns the tables or may grant."""

    host: Host  # or the folder of a unix socket
    port: StrictInt = Field(default=5432, ge=1, le=65_535)
    database: DatabaseName
    user: DatabaseName
    password: SecretRef | None = None
    tls: Literal["verify-full", "require", "disable"] = "verify-full"  # a unix socket has none
    ca: Annotated[str, *_of_form(r"/[A-Za-z0-9._/-]{1,250}", "is no absolute path", 251)] | None = (
        None  # or the system's
    )


class AwsPlace(Model):
    """An AWS role that leases assume, and who assumes it: an access key, or whoever boto3 finds that Charter is."""

    role: RoleArn
    region: Region
    external_id: ExternalId | None = None
    access_key: AccessKeyId | None = None
    secret: SecretRef | None = None  # of the access key

    @model_validator(mode="after")
    def _goes_together(self) -> AwsPlace:
        if (self.access_key is None) != (self.secret is None):
            raise PlacedError(
                (), "`access_key` and `secret` go together; without both, boto3 looks where it always does"
            )
        return self


class LeaseTerms(Model):
    """How long a lease lives: `ttl` at first and after each renewal, `max` in all."""

    ttl: Duration = dt.timedelta(minutes=15)
    max: Duration = dt.timedelta(hours=1)

    @model_validator(mode="after")
    def _within_bounds(self) -> LeaseTerms:
        if self.max > MAX_LEASE:
            raise PlacedError(("max",), f"a lease lives for at most {write_duration(MAX_LEASE)}")
        if self.ttl > self.max:
            raise PlacedError(("ttl",), "a lease cannot live longer at first than in all")
        return self


def fault_of_sql(verbs: tuple[str, ...], on: tuple[str, ...], effect: Effect) -> tuple[str, str] | None:
    """Return which field of a postgres action is wrong, and why."""
    unknown = next((verb for verb in verbs if verb not in SQL_VERBS), None)
    if unknown is not None:
        return "verbs", f"`{unknown[:40]}` is none of {', '.join(SQL_VERBS)}"
    if effect is Effect.READ and set(verbs) != {"select"}:
        return "effect", "an action whose effect is read may only select"
    table = next((each for each in on if not _TABLE.fullmatch(each) or _SYSTEM_SCHEMA.fullmatch(each)), None)
    if table is not None:
        return "on", f"{table[:80]!a} is no table; write schema.table, with letters, digits and _"
    return None


def fault_of_iam(verbs: tuple[str, ...], on: tuple[str, ...], effect: Effect) -> tuple[str, str] | None:
    """Return which field of an aws action is wrong, and why."""
    unknown = next((verb for verb in verbs if not _IAM_ACTION.fullmatch(verb)), None)
    if unknown is not None:
        return "verbs", f"`{unknown[:40]}` is no IAM action; write each out, as in s3:GetObject, without wildcards"
    if effect is Effect.READ and not all(_READING.search(verb) for verb in verbs):
        return "effect", "an action whose effect is read may only Get, List, Describe and the like"
    arn = next((each for each in on if not _ARN.fullmatch(each)), None)
    if arn is not None:
        return "on", f"{arn[:80]!a} is no resource; write an ARN, or `*` for actions that know no resources"
    return None
