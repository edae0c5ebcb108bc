"""`duties.yaml`: what must not come together in one hand, nor in the hands of principals that act as one.

    duties:
      - id: pay-and-book
        parts:
          - {system: payments, actions: [refund.create]}
          - {system: ledger, actions: [entry.write], objects: ["refunds/*"]}
        tied: [owner, delegation]
        reason: whoever pays out does not also book it

A principal that may do all parts of a duty breaks it. So do two together, neither of which may do them all alone, if
something ties them: the same owner, the same team, or a delegation from one to the other that both their charters
declare. What somebody must say yes to first does not count: then a person stands between.

Whether a charter allows a part is proven over all calls (`proof/duty_check.py`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from charter.registry.field import ActionName, Model, Name, Pattern, SystemName, Text
from charter.registry.problem import PlacedError

DUTIES = "duties.yaml"
MAX_DUTIES = 200


class Tie(StrEnum):
    """What makes two principals act as one."""

    OWNER = "owner"  # one person answers for both
    TEAM = "team"
    DELEGATION = "delegation"  # one may lend the other its authority


class DutyPart(Model):
    """One thing that is kept apart from the others."""

    system: SystemName
    actions: Annotated[tuple[ActionName, ...], Field(min_length=1, max_length=200)]
    objects: Annotated[tuple[Pattern, ...], Field(min_length=1, max_length=200)] = ("*",)


class Duty(Model):
    """What must not come together."""

    id: Name
    parts: Annotated[tuple[DutyPart, ...], Field(min_length=2, max_length=8)]
    tied: Annotated[tuple[Tie, ...], Field(max_length=3)] = (Tie.OWNER, Tie.DELEGATION)
    reason: Text
    answers: Annotated[tuple[Text, ...], Field(max_length=20)] = ()  # items of catalogues: `OWASP ASI03`


class DutyFile(Model):
    """`duties.yaml`, version 1 of the format."""

    charter: Literal["v1"]
    duties: Annotated[tuple[Duty, ...], Field(max_length=MAX_DUTIES)] = ()

    @model_validator(mode="after")
    def _told_apart(self) -> DutyFile:
        seen: set[str] = set()
        for index, duty in enumerate(self.duties):
            if duty.id in seen:
                raise PlacedError(("duties", index, "id"), f"two duties are called `{duty.id}`; rename one")
            seen.add(duty.id)
        return self

    def to_json(self) -> dict[str, Any]:
        """Return the file as plain JSON."""
        return self.model_dump(mode="json", exclude_none=True)
