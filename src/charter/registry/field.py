"""The fields of an estate's files: names, texts, durations, days, moments, quantities, hours. Strict, never guessed."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from typing_extensions import override

from charter.core.clock import parse_rfc3339
from charter.core.errors import MalformedError
from charter.core.values import SpiffeId, parse_action, parse_name
from charter.registry.duration import parse_duration, write_duration
from charter.registry.problem import suggestion


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


def _spiffe_id(text: str) -> str:
    try:
        return str(SpiffeId.parse(text))
    except MalformedError as err:
        raise ValueError(f"{err.detail}; {err.help}") from err


SpiffeIdText = Annotated[str, StringConstraints(strict=True), AfterValidator(_spiffe_id)]
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]*")


def printable(text: str) -> str:
    """Return `text` if nothing in it is invisible or changes the direction of text; ValueError otherwise."""
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
Text = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=500), AfterValidator(printable)]
Email = Annotated[
    str,
    StringConstraints(strict=True, max_length=254, pattern=r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+$"),
    AfterValidator(str.lower),  # one person, one spelling: nobody is two people by a capital letter
]
Pattern = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=512), AfterValidator(printable)]

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


def _moment(value: object) -> dt.datetime:
    """Return the moment that RFC 3339 text with a zone names."""
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        return value.astimezone(dt.UTC)
    try:
        return parse_rfc3339(value) if isinstance(value, str) else parse_rfc3339("")
    except ValueError as err:
        raise ValueError(f"`{value}` is no moment; write date, time and zone, as in 2026-11-24T10:00:00+01:00") from err


Moment = Annotated[
    dt.datetime,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-24T10:00:00+01:00"]}),
]


class Model(BaseModel):
    """The base of everything read from an estate: frozen, strict, closed to unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, validate_default=False)


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


MINUTES_A_DAY = 1440
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(r"([01]\d|2[0-4]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d) ([A-Za-z][A-Za-z0-9_+/-]{1,48})")


def parse_zone(text: str) -> str:
    """Return `text` if it names a time zone of the IANA database.

    Raises:
        ValueError: it names none.
    """
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError) as err:
        zones = [zone for zone in available_timezones() if "/" in zone or zone == "UTC"]
        near = suggestion(text, zones, few=True) or "write an IANA name as in Europe/Berlin"
        raise ValueError(f"`{text[:50]}` is no time zone; {near}") from err
    return text


Zone = Annotated[str, StringConstraints(strict=True, max_length=49), AfterValidator(parse_zone)]


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
        parse_zone(self.zone)
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
