"""A grant as a value: what a principal may do on one system, with its conditions, limits and approval."""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StrictInt, StringConstraints, model_serializer, model_validator

from charter.registry.duration import write_duration
from charter.registry.field import (
    EVERY_ACTION,
    Days,
    Duration,
    GrantedAction,
    Hours,
    Model,
    Name,
    Pattern,
    Quantity,
    Role,
    SystemName,
    Zone,
)
from charter.registry.problem import PlacedError
from charter.registry.seat import MAX_SEATS
from charter.registry.window import LONGEST, Window

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
    max_length: Annotated[StrictInt, Field(ge=0, le=1_000_000)] | None = None  # of a text, in characters
    max_items: Annotated[StrictInt, Field(ge=0, le=100_000)] | None = None  # of a list
    each_of: Annotated[tuple[str, ...], Field(min_length=1, max_length=200)] | None = None  # every entry of a list
    each_like: Pattern | None = None

    @model_validator(mode="after")
    def _something(self) -> ArgumentCondition:
        if all(getattr(self, name) is None for name in type(self).model_fields):
            known = ", ".join(type(self).model_fields)
            raise ValueError(f"says nothing; there is {known}")
        units = {q.unit for q in (self.max, self.min, self.over, self.under) if q}
        if len(units) > 1:
            said = " and ".join(sorted(f"`{unit}`" if unit else "no unit" for unit in units))
            raise ValueError(f"has bounds in {said}; write the same unit with each")
        return self


CalendarName = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,62}$")]
_TIMES = ("hours", "days", "workdays")


class When(Model):
    """The conditions of a grant. In a file, `hours`, `days` and `workdays` stand beside the arguments' names."""

    hours: Hours | None = None
    days: Days | None = None
    workdays: CalendarName | None = None  # of calendars.yaml, or a region as in DE-BE
    arguments: dict[str, ArgumentCondition] = Field(default_factory=dict, max_length=32)

    @model_validator(mode="before")
    @classmethod
    def _lift_arguments(cls, data: Any) -> Any:  # noqa: ANN401
        if isinstance(data, dict) and "arguments" not in data:
            own = {key: data[key] for key in _TIMES if key in data}
            return own | {"arguments": {key: val for key, val in data.items() if key not in _TIMES}}
        return data

    @model_serializer
    def _write(self) -> dict[str, Any]:
        own: dict[str, Any] = {}
        if self.hours:
            own["hours"] = str(self.hours)
        if self.days:
            own["days"] = list(self.days)
        if self.workdays:
            own["workdays"] = self.workdays
        lifted = {k: v.model_dump(mode="json", exclude_none=True) for k, v in self.arguments.items()}
        # an argument that is itself called `hours` would hide the window: such arguments stay under their own heading
        return own | ({"arguments": lifted} if lifted.keys() & type(self).model_fields.keys() else lifted)


class Per(StrEnum):
    """The window of a limit, aligned to the clock of its zone."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Limit(Model):
    """At most `count` calls, or at most `max` of the argument `sum`, per window or within any stretch of time."""

    count: StrictInt | None = Field(default=None, ge=1, le=1_000_000_000)
    sum: str | None = None
    max: Quantity | None = None
    per: Per | None = None
    zone: Zone | None = None  # in which a day, week or month begins; UTC where nothing is said
    within: Duration | None = None

    @model_validator(mode="after")
    def _one_window(self) -> Limit:
        if (self.per is None) == (self.within is None):
            raise ValueError("write either `per`, as in `per: day`, or `within`, as in `within: 24h`")
        if self.within is not None and self.within > LONGEST:
            raise PlacedError(("within",), f"a limit is kept for at most {write_duration(LONGEST)}")
        if self.zone is not None and self.per not in (Per.DAY, Per.WEEK, Per.MONTH):
            raise PlacedError(("zone",), "only days, weeks and months begin in a zone")
        return self

    @property
    def window(self) -> Window:
        """The window it is counted in."""
        if self.within is not None:
            return Window(seconds=int(self.within.total_seconds()))
        return Window(self.per.value if self.per else None, self.zone or "UTC")

    @property
    def time(self) -> str:
        """The window in words: `per day`, `per day in Europe/Berlin`, `within 24h`."""
        if self.within is not None:
            return f"within {write_duration(self.within)}"
        return f"per {self.per.value if self.per else ''}{f' in {self.zone}' if self.zone else ''}"

    @model_validator(mode="after")
    def _one_form(self) -> Limit:
        if (self.count is None) == (self.sum is None) or (self.sum is None) != (self.max is None):
            raise ValueError("write either `count` or `sum` with `max`")
        return self


LONGEST_WAIT = dt.timedelta(days=7)


class ApprovalRule(Model):
    """Calls for which people of the role `by` must say yes first; without `when`, all of the grant's.

    `count` people, each another; without it, one. They have as long as `within` says; without it, a day.
    """

    when: dict[str, ArgumentCondition] = Field(default_factory=dict)
    by: Role
    count: Annotated[StrictInt, Field(ge=1, le=MAX_SEATS)] | None = None
    within: Duration | None = None

    @model_validator(mode="after")
    def _soon_enough(self) -> ApprovalRule:
        if self.within is not None and self.within > LONGEST_WAIT:
            raise PlacedError(("within",), f"a question waits for at most {write_duration(LONGEST_WAIT)}")
        return self


class Delegated(Model):
    """Under what delegation a grant may be used; all that is written must hold. Who acts by itself satisfies none."""

    by: Annotated[tuple[Name, ...], Field(min_length=1, max_length=200)] | None = None  # `humans`, principals
    roles: Annotated[tuple[Role, ...], Field(min_length=1, max_length=50)] | None = None  # the person holds one of
    purposes: Annotated[tuple[Name, ...], Field(min_length=1, max_length=200)] | None = None
    max_depth: Annotated[StrictInt, Field(ge=1, le=8)] | None = None  # delegations in the whole chain


def _place(text: str) -> str:
    if "*" in text:
        raise ValueError(f"`{text[:80]}` holds a `*`; `under` names a place itself, and `objects` takes patterns")
    if text.endswith("/"):
        raise ValueError(f"`{text[:80]}` ends with a slash; write `{text[:80].rstrip('/')}`")
    return text


Place = Annotated[Pattern, AfterValidator(_place)]


class Grant(Model):
    """What the principal may do on one system, with its conditions."""

    system: SystemName
    actions: Annotated[tuple[GrantedAction, ...], Field(min_length=1, max_length=200)]  # exact names, or `*` alone
    objects: Annotated[tuple[Pattern, ...], Field(max_length=200)] = ("*",)
    under: Annotated[tuple[Place, ...], Field(min_length=1, max_length=200)] | None = None  # it and all that is below
    groups: Annotated[tuple[Name, ...], Field(min_length=1, max_length=50)] | None = None  # of the system's file
    when: When | None = None
    delegated: Delegated | None = None  # only when acting for somebody
    limit: Annotated[tuple[Limit, ...], Field(max_length=32)] = ()
    approval: ApprovalRule | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_objects_beside_places(cls, data: Any) -> Any:  # noqa: ANN401
        """Any object is meant only where nothing at all is said of objects."""
        if isinstance(data, dict) and "objects" not in data and (data.get("under") or data.get("groups")):
            return data | {"objects": ()}
        return data

    @model_validator(mode="after")
    def _some_object(self) -> Grant:
        if not (self.objects or self.under or self.groups):
            raise PlacedError(("objects",), "names no object; write patterns, or leave it out for any object")
        return self

    @model_validator(mode="after")
    def _star_stands_alone(self) -> Grant:
        if EVERY_ACTION in self.actions and len(self.actions) > 1:
            raise PlacedError(("actions",), f"`{EVERY_ACTION}` means every action; remove it or the names beside it")
        return self
