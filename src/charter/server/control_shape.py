"""What the control API's routers share: the house behind a request, and the words every body is made of."""

from __future__ import annotations

from typing import Annotated

from fastapi import Request
from pydantic import AfterValidator, BaseModel, ConfigDict

from charter.bootstrap.house import House
from charter.core.values import parse_line

MAX_PERSON, MAX_REASON = 254, 1000  # characters


# What these raise passes through pydantic as it is, and becomes its own problem document.
def _person(text: str) -> str:
    return parse_line(text, "person", longest=MAX_PERSON)


def _reason(text: str) -> str:
    return parse_line(text, "reason", longest=MAX_REASON)


def _reason_if_any(text: str) -> str:
    return _reason(text) if text.strip() else ""


Person = Annotated[str, AfterValidator(_person)]
Reason = Annotated[str, AfterValidator(_reason)]
ReasonIfAny = Annotated[str, AfterValidator(_reason_if_any)]


class Command(BaseModel):
    """The base of every body: closed to unknown fields."""

    model_config = ConfigDict(extra="forbid")


def house_of(request: Request) -> House:
    """Return the house whose control API a request came to."""
    house = request.app.state.house
    assert isinstance(house, House)  # noqa: S101 - set where the app is made (control_app)
    return house
