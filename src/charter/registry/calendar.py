"""`calendars.yaml`: the organisation's working days, and the times when nothing may change.

    calendars:
      berlin: {holidays: DE-BE, closed: [2026-12-24, 2026-12-31]}
    freezes:
      - id: year-end
        from: 2026-12-18T18:00:00+01:00
        until: 2027-01-04T06:00:00+01:00
        for: {environments: [production]}
        approval: change-lead

Public holidays come from the `holidays` library: a country's code (ISO 3166), alone or with a part of it: `DE-BE`. A
grant's `workdays` names a calendar of this file, or such a code.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from charter.registry.charter import Day, Days, Effect, Model, Moment, Name, Role, Text
from charter.registry.problem import PlacedError, suggestion
from charter.registry.scope import Scope

MAX_CALENDARS = 200
MAX_FREEZES = 500
MAX_DAYS = 1000
_REGION = re.compile(r"[A-Z]{2}(?:-[A-Za-z0-9]{1,32})?")


def parse_region(text: str) -> str:
    """Return `text` if it names a country, or a part of one, whose public holidays are known.

    Raises:
        ValueError: it names none.
    """
    if not _REGION.fullmatch(text):
        raise ValueError(f"`{text[:40]}` is no region; write a country, or a part of one, as in DE or DE-BE")
    country, _, part = text.partition("-")
    known = _parts()
    if country not in known:
        raise ValueError(f"`{country}` is no country whose holidays are known; {suggestion(country, known)}")
    if part and part not in known[country]:
        raise ValueError(f"`{part}` is no part of {country}; {suggestion(part, known[country])}")
    return text


@lru_cache(maxsize=1)
def _parts() -> Mapping[str, frozenset[str]]:
    import holidays  # here, since few commands need it and it takes its time

    supported = holidays.list_supported_countries(include_aliases=False)
    return {country: frozenset(parts) for country, parts in supported.items()}


Region = Annotated[str, StringConstraints(strict=True), AfterValidator(parse_region)]
"""A country of ISO 3166, alone or with a part of it: `DE`, `DE-BE`."""


class Calendar(Model):
    """Which days are worked: none of the weekend, of the holidays or of `closed`, save those of `open`."""

    holidays: Region | None = None
    weekend: Days = ("sat", "sun")
    closed: Annotated[tuple[Day, ...], Field(max_length=MAX_DAYS)] = ()
    open: Annotated[tuple[Day, ...], Field(max_length=MAX_DAYS)] = ()

    def is_workday(self, day: dt.date) -> bool:
        """Whether `day` is worked."""
        if day in self.open:
            return True
        is_weekend = day.strftime("%a").lower() in self.weekend
        return not (is_weekend or day in self.closed or (self.holidays is not None and day in _holidays(self.holidays)))


@lru_cache(maxsize=256)
def _holidays(region: str) -> Mapping[dt.date, str]:
    import holidays

    country, _, part = region.partition("-")
    found: Mapping[dt.date, str] = holidays.country_holidays(country, subdiv=part or None)
    return found


def calendar_of_region(region: str) -> Calendar:
    """Return the calendar that a region's code stands for: Monday to Friday, less its public holidays.

    Raises:
        ValueError: it is no region.
    """
    return Calendar(holidays=parse_region(region))


class Freeze(Model):
    """A time in which calls of some effects are held; a person of the role `approval` may let one by."""

    id: Name
    start: Moment = Field(alias="from")
    until: Moment  # not included
    scope: Scope = Field(default_factory=Scope, alias="for")
    effects: Annotated[tuple[Effect, ...], Field(min_length=1)] = (Effect.WRITE, Effect.IRREVERSIBLE)
    approval: Role | None = None  # None: nobody can lift it
    reason: Text | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Freeze:
        if self.until <= self.start:
            raise PlacedError(("until",), "the freeze ends before it begins")
        return self


class Calendars(Model):
    """`calendars.yaml`, version 1 of the format."""

    charter: Literal["v1"]
    calendars: Annotated[dict[Name, Calendar], Field(max_length=MAX_CALENDARS)] = Field(default_factory=dict)
    freezes: Annotated[tuple[Freeze, ...], Field(max_length=MAX_FREEZES)] = ()

    @model_validator(mode="after")
    def _told_apart(self) -> Calendars:
        seen: set[str] = set()
        for index, freeze in enumerate(self.freezes):
            if freeze.id in seen:
                raise PlacedError(("freezes", index, "id"), f"two freezes are called `{freeze.id}`; rename one")
            seen.add(freeze.id)
        return self

    def find(self, name: str) -> Calendar | None:
        """Return the calendar that a grant's `workdays` names, if there is one."""
        if name in self.calendars:
            return self.calendars[name]
        try:
            return calendar_of_region(name)
        except ValueError:
            return None

    def to_json(self) -> dict[str, Any]:
        """Return the file as plain JSON."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
