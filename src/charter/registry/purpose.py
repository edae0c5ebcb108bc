"""`purposes.yaml`: what a declared purpose is for. Under it nothing else can be done, whatever the charters allow.

    purposes:
      dispute-handling:
        title: Settle a disputed card charge
        only:
          - {system: payments, actions: [charge.read, refund.create], objects: ["charge/*"]}
          - {system: mail, actions: [message.read]}

Authority is lent for a purpose (registry/delegation.py), and a task is what is done under it: when the delegation ends,
so does what its purpose left. A purpose of which nothing is said here narrows nothing.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from charter.registry.field import EVERY_ACTION, GrantedAction, Model, Name, Pattern, SystemName, Text
from charter.registry.lent_scope import EVERYTHING, Scope, ScopePart

PURPOSES = "purposes.yaml"
MAX_PURPOSES = 500


class PurposePart(Model):
    """Some actions on some objects of one system."""

    system: SystemName
    actions: Annotated[tuple[GrantedAction, ...], Field(min_length=1, max_length=200)]  # exact names, or `*` alone
    objects: Annotated[tuple[Pattern, ...], Field(min_length=1, max_length=200)] = ("*",)

    @property
    def is_every_action(self) -> bool:
        """Whether it lists all that can be done on the system."""
        return self.actions == (EVERY_ACTION,)


class Purpose(Model):
    """What one purpose is for."""

    title: Text | None = None
    only: Annotated[tuple[PurposePart, ...], Field(min_length=1, max_length=50)]


class PurposeFile(Model):
    """`purposes.yaml`, version 1 of the format."""

    charter: Literal["v1"]
    purposes: Annotated[dict[Name, Purpose], Field(max_length=MAX_PURPOSES)] = Field(default_factory=dict)

    def scope_of(self, name: str) -> Scope:
        """Return what can be done at most under a purpose."""
        purpose = self.purposes.get(name)
        if purpose is None:
            return EVERYTHING
        return Scope(tuple(ScopePart(each.system, each.actions, each.objects) for each in purpose.only))

    def to_json(self) -> dict[str, Any]:
        """Return the file as plain JSON."""
        return self.model_dump(mode="json", exclude_none=True)
