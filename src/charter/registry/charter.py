"""The charter as a value: what one principal is, who answers for it, and what it may do, until when.

A charter is immutable. Its identity is the digest of its canonical JSON, so the same charter written twice is the same
version, and tokens, verdicts and evidence can name what they acted under. The models are strict: unknown fields, wrong
types and out-of-range values are refused, never guessed. Positions in files are kept apart (registry/manifest.py).
"""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictBool,
    StrictInt,
    StringConstraints,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from typing_extensions import override

from charter.core.canonical import digest_of
from charter.core.errors import MalformedError
from charter.core.values import parse_action, parse_name
from charter.registry.certificate import CertificateName
from charter.registry.problem import PlacedError, suggestion


class Kind(StrEnum):
    """The seven kinds of AI principal."""

    COPILOT = "copilot"
    DEVELOPER_ASSISTANT = "developer-assistant"
    SAAS_FEATURE = "saas-feature"
    WORKFLOW = "workflow"
    AGENT = "agent"
    MODEL_INTEGRATION = "model-integration"
    BROWSER_AGENT = "browser-agent"


class Environment(StrEnum):
    """Where a principal runs and a system lives; the three are kept apart."""

    SANDBOX = "sandbox"
    STAGING = "staging"
    PRODUCTION = "production"


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
    VENDOR_MANAGED = "vendor-managed"


def _named(what: str) -> AfterValidator:
    def check(text: str) -> str:
        try:
            return parse_name(text, what)
        except MalformedError as err:
            raise ValueError(f"{err.detail}; {err.help}") from err

    return AfterValidator(check)


def _action(text: str) -> str:
    try:
        return parse_action(text)
    except MalformedError as err:
        raise ValueError(f"{err.detail}; {err.help}") from err


_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]*")


def _printable(text: str) -> str:
    if not _PRINTABLE.fullmatch(text):
        raise ValueError("holds a control, zero-width or direction-changing character")
    return text


# What editors are told (registry/schema.py); the validators are what counts.
_NAME_SCHEMA = WithJsonSchema({"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"})
_ACTION_SCHEMA = WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9_]([A-Za-z0-9_.:/-]{0,126}[A-Za-z0-9_])?$"})
_GRANTED_SCHEMA = WithJsonSchema(
    {"type": "string", "pattern": r"^(\*|[A-Za-z0-9_]([A-Za-z0-9_.:/-]{0,126}[A-Za-z0-9_])?)$"}
)

Name = Annotated[str, StringConstraints(strict=True), _named("name"), _NAME_SCHEMA]
TeamName = Annotated[str, StringConstraints(strict=True), _named("team"), _NAME_SCHEMA]
SystemName = Annotated[str, StringConstraints(strict=True), _named("system"), _NAME_SCHEMA]
DataClass = Annotated[str, StringConstraints(strict=True), _named("data class"), _NAME_SCHEMA]
Role = Annotated[str, StringConstraints(strict=True), _named("role"), _NAME_SCHEMA]
ActionName = Annotated[str, StringConstraints(strict=True), AfterValidator(_action), _ACTION_SCHEMA]
EVERY_ACTION = "*"  # alone in a grant's actions: each that the system has. Nothing like `charge.*`: names have no order


def _granted_action(text: str) -> str:
    if text != EVERY_ACTION and EVERY_ACTION in text:
        raise ValueError(f"`{text[:80]}` is no action name; write each name out, or `{EVERY_ACTION}` alone for all")
    return text if text == EVERY_ACTION else _action(text)


GrantedAction = Annotated[str, StringConstraints(strict=True), AfterValidator(_granted_action), _GRANTED_SCHEMA]
Text = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=500), AfterValidator(_printable)]
Email = Annotated[
    str,
    StringConstraints(strict=True, max_length=254, pattern=r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+$"),
    AfterValidator(str.lower),  # one person, one spelling: nobody is two people by a capital letter
]
Pattern = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=512), AfterValidator(_printable)]

_DURATION = re.compile(r"(\d{1,6})(s|m|h|d|w)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse_duration(value: object) -> dt.timedelta:
    """Return the duration that `90d`, `1h`, `15m`, `30s` or `2w` names.

    Raises:
        ValueError: it names none, or zero.
    """
    if isinstance(value, dt.timedelta):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if not match or not int(match[1]):
        raise ValueError(f"`{value}` is no duration; write a whole number and s, m, h, d or w, as in 90d")
    return dt.timedelta(seconds=int(match[1]) * _UNITS[match[2]])


def write_duration(value: dt.timedelta) -> str:
    """Return the shortest text that `parse_duration` reads back as `value`."""
    seconds = int(value.total_seconds())
    for unit in ("w", "d", "h", "m"):
        if seconds % _UNITS[unit] == 0 and not (unit == "w" and seconds // _UNITS["d"] % 7):
            return f"{seconds // _UNITS[unit]}{unit}"
    return f"{seconds}s"


Duration = Annotated[
    dt.timedelta,
    BeforeValidator(parse_duration, json_schema_input_type=Annotated[str, Field(pattern=r"^[0-9]{1,6}[smhdw]$")]),
    PlainSerializer(write_duration, return_type=str),
]


def parse_day(value: object) -> dt.date:
    """Return the day that `2027-11-02` names; numbers and times are refused, not guessed at.

    Raises:
        ValueError: it names none.
    """
    if type(value) is dt.date:
        return value
    try:
        if isinstance(value, str) and len(value) == len("2027-11-02"):
            return dt.date.fromisoformat(value)
    except ValueError:
        pass
    raise ValueError(f"`{value}` is no date; write year, month and day, as in 2027-11-02")


Day = Annotated[dt.date, BeforeValidator(parse_day), WithJsonSchema({"type": "string", "format": "date"})]


class Model(BaseModel):
    """The base of everything read from an estate: frozen, strict, closed to unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, validate_default=False)


# --- quantities and conditions ----------------------------------------------------------------------------------------

_QUANTITY = re.compile(r"(-?\d{1,12}(?:\.\d{1,4})?)(?: ([A-Za-z%][A-Za-z0-9/%]{0,15}))?")


class Quantity(Model):
    """A number with at most 4 decimals (Cedar's `decimal`) and an optional unit: `200 EUR`, `10`, `5 MB`."""

    value: Decimal
    unit: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, data: Any) -> Any:  # noqa: ANN401
        if isinstance(data, bool) or not isinstance(data, str | int | float | Decimal):
            return data
        match = _QUANTITY.fullmatch(str(data))
        if not match:
            raise ValueError(
                f"`{data}` is no quantity; write a number with at most 4 decimals and perhaps a unit: 200 EUR"
            )
        try:
            return {"value": Decimal(match[1]), "unit": match[2]}
        except InvalidOperation as err:  # pragma: no cover - the pattern admits only decimals
            raise ValueError(f"`{data}` is no number") from err

    @model_serializer
    def _write(self) -> str:
        return str(self)

    @override
    def __str__(self) -> str:
        number = f"{self.value.normalize():f}"
        return f"{number} {self.unit}" if self.unit else number


Scalar = str | int | bool


class ArgumentCondition(Model):
    """What one argument of a call must satisfy; all that is written must hold. A missing argument satisfies nothing."""

    max: Quantity | None = None
    min: Quantity | None = None
    over: Quantity | None = None
    under: Quantity | None = None
    equals: Scalar | None = None
    one_of: Annotated[tuple[Scalar, ...], Field(min_length=1, max_length=200)] | None = None
    like: Pattern | None = None

    @model_validator(mode="after")
    def _something(self) -> ArgumentCondition:
        if all(getattr(self, name) is None for name in type(self).model_fields):
            raise ValueError("says nothing; write max, min, over, under, equals, one_of or like")
        units = {q.unit for q in (self.max, self.min, self.over, self.under) if q}
        if len(units) > 1:
            raise ValueError(f"mixes units: {', '.join(sorted(str(u) for u in units))}")
        return self


MINUTES_A_DAY = 1440
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(r"([01]\d|2[0-4]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d) ([A-Za-z][A-Za-z0-9_+/-]{1,48})")


class Hours(Model):
    """A daily window `08:00-18:00 Europe/Berlin`, start included, end not. It may cross midnight."""

    start: int = Field(ge=0, le=MINUTES_A_DAY)  # minutes after local midnight
    end: int = Field(ge=0, le=MINUTES_A_DAY)
    zone: str

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, data: Any) -> Any:  # noqa: ANN401
        if not isinstance(data, str):
            return data
        match = _HOURS.fullmatch(data)
        if not match:
            raise ValueError(f"`{data}` is no window; write as in 08:00-18:00 Europe/Berlin")
        start, end = int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])
        if start == end or max(start, end) > MINUTES_A_DAY:
            raise ValueError(f"`{data}` is empty or runs past 24:00")
        return {"start": start, "end": end, "zone": match[5]}

    @model_validator(mode="after")
    def _zone_exists(self) -> Hours:
        try:
            ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError) as err:
            zones = [zone for zone in available_timezones() if "/" in zone or zone == "UTC"]
            near = suggestion(self.zone, zones, few=True) or "write an IANA name as in Europe/Berlin"
            raise ValueError(f"`{self.zone}` is no time zone; {near}") from err
        return self

    @model_serializer
    def _write(self) -> str:
        return str(self)

    @override
    def __str__(self) -> str:
        return f"{self.start // 60:02}:{self.start % 60:02}-{self.end // 60:02}:{self.end % 60:02} {self.zone}"


def parse_days(value: object) -> tuple[str, ...]:
    """Return the days `mon-fri`, `sat,sun` or a list names, in the week's order.

    Raises:
        ValueError: a word is no day.
    """
    words = [w.strip() for w in value.split(",")] if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not words:
        raise ValueError(f"`{value}` names no days; write as in mon-fri or sat,sun")
    chosen: set[str] = set()
    for word in words:
        first, _, last = str(word).partition("-")
        if first not in DAYS or (last and last not in DAYS):
            raise ValueError(f"`{word}` names no days; use {', '.join(DAYS)} or a range as in mon-fri")
        start, end = DAYS.index(first), DAYS.index(last or first)
        chosen.update(DAYS[i % 7] for i in range(start, end + 1 if end >= start else end + 8))
    return tuple(day for day in DAYS if day in chosen)


Days = Annotated[tuple[str, ...], BeforeValidator(parse_days, json_schema_input_type=str | list[str])]


class When(Model):
    """The conditions of a grant. In a file, `hours` and `days` stand beside the arguments' names."""

    hours: Hours | None = None
    days: Days | None = None
    arguments: dict[str, ArgumentCondition] = Field(default_factory=dict, max_length=32)

    @model_validator(mode="before")
    @classmethod
    def _lift_arguments(cls, data: Any) -> Any:  # noqa: ANN401
        if isinstance(data, dict) and "arguments" not in data:
            own = {key: data[key] for key in ("hours", "days") if key in data}
            return own | {"arguments": {key: val for key, val in data.items() if key not in ("hours", "days")}}
        return data

    @model_serializer
    def _write(self) -> dict[str, Any]:
        own: dict[str, Any] = {}
        if self.hours:
            own["hours"] = str(self.hours)
        if self.days:
            own["days"] = list(self.days)
        lifted = {k: v.model_dump(mode="json", exclude_none=True) for k, v in self.arguments.items()}
        # an argument that is itself called `hours` would hide the window: such arguments stay under their own heading
        return own | ({"arguments": lifted} if lifted.keys() & type(self).model_fields.keys() else lifted)


class Per(StrEnum):
    """The window of a limit, aligned to UTC."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"


class Limit(Model):
    """At most `count` calls, or at most `max` of the argument `sum`, per window."""

    count: StrictInt | None = Field(default=None, ge=1, le=1_000_000_000)
    sum: str | None = None
    max: Quantity | None = None
    per: Per

    @model_validator(mode="after")
    def _one_form(self) -> Limit:
        if (self.count is None) == (self.sum is None) or (self.sum is None) != (self.max is None):
            raise ValueError("write either `count` or `sum` with `max`")
        return self


class ApprovalRule(Model):
    """Calls for which a person of the role `by` must say yes first; without `when`, all of the grant's."""

    when: dict[str, ArgumentCondition] = Field(default_factory=dict)
    by: Role


class Grant(Model):
    """What the principal may do on one system, with its conditions."""

    system: SystemName
    actions: Annotated[tuple[GrantedAction, ...], Field(min_length=1, max_length=200)]  # exact names, or `*` alone
    objects: Annotated[tuple[Pattern, ...], Field(min_length=1, max_length=200)] = ("*",)
    when: When | None = None
    limit: Annotated[tuple[Limit, ...], Field(max_length=32)] = ()
    approval: ApprovalRule | None = None

    @model_validator(mode="after")
    def _star_stands_alone(self) -> Grant:
        if EVERY_ACTION in self.actions and len(self.actions) > 1:
            raise PlacedError(("actions",), f"`{EVERY_ACTION}` means every action; remove it or the names beside it")
        return self


# --- the charter ------------------------------------------------------------------------------------------------------


class Owner(Model):
    """Who answers for the principal."""

    person: Email
    team: TeamName


class ModelUse(Model):
    """The model the principal calls; `name` may end in `*`."""

    provider: Name
    name: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=128), AfterValidator(_printable)]


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
}
MAX_TOKEN_LIFE = dt.timedelta(minutes=15)


class Credential(Model):
    """How the principal's identity is proved.

    `federated`: by a token of a trusted `issuer` (issuers.yaml) whose claims are exactly `claims`.
    `mutual-tls`: by a certificate that an authority of the organisation issued to the name `certificate`; without a
    name, by one of the registered keys.
    """

    type: CredentialType
    issuer: Name | None = None
    claims: Annotated[dict[str, ClaimValue], Field(min_length=1, max_length=16)] | None = None
    certificate: CertificateName | None = None
    bearer: Literal["allowed"] | None = None  # its tokens may be used without the key they are bound to
    tokens: Duration | None = None  # how long they live at most

    @model_validator(mode="after")
    def _of_its_type(self) -> Credential:
        for name in self.model_fields_set & _ONLY_OF.keys():
            if _ONLY_OF[name] is not self.type:
                raise PlacedError((name,), f"`{name}` belongs to a credential of the type {_ONLY_OF[name].value}")
        if self.type is CredentialType.FEDERATED and (self.issuer is None) != (self.claims is None):
            raise PlacedError((), "`issuer` and `claims` go together: whose token, and what it must say")
        if self.tokens is not None and self.tokens > MAX_TOKEN_LIFE:
            raise PlacedError(("tokens",), f"tokens live for at most {write_duration(MAX_TOKEN_LIFE)}")
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
    approved: Approved
    credential: Credential
    grants: Annotated[tuple[Grant, ...], Field(max_length=200)] = ()
    delegation: DelegationTerms | None = None
    review: Duration
    expires: Day

    def to_json(self) -> dict[str, Any]:
        """Return the charter as plain JSON, in the shape of its file."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    @property
    def digest(self) -> str:
        """The digest of the canonical JSON: the version's identity."""
        return digest_of(self.to_json())

    @property
    def systems(self) -> tuple[str, ...]:
        """The downstream systems touched, derived from the grants, in order of first mention."""
        return tuple(dict.fromkeys(grant.system for grant in self.grants))
