"""Properties of an estate: what must hold of all calls, whatever charters and guardrails say today and tomorrow.

    properties:
      - name: no sandbox principal ever reaches production
        never: {principals: {environment: sandbox}, systems: {environment: production}}
      - name: nobody but finance moves more than 1000 EUR without a yes
        never: {principals: {not: {team: finance}}, actions: [payments/refund.create],
                when: {amount: {over: 1000 EUR}}, unapproved: true}
      - name: only the deployer changes production
        only: {name: deployer}
        may: {systems: {environment: production}, effects: [write, irreversible]}
      - name: what cannot be undone needs the platform lead
        always: {effects: [irreversible]}
        approved_by: [platform-lead]
      - name: the helper can always read
        always: {principals: {name: repo-helper}, actions: [git/repo.log]}

A property speaks of a class of calls: those that fit all that is written. What is not written does not matter.

    never                no call of the class is allowed; with `unapproved`, none without anybody's yes
    only … may …         of the calls of the class, those principals' alone are allowed
    always, approved_by  no call of the class is allowed without a yes in each of these roles
    always               every call of the class is allowed: nothing more than it says can be needed

Files hold data; nothing in them is evaluated but as a comparison, and nothing outside the estate is read.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from charter.registry.charter import Effect, Environment, Kind
from charter.registry.field import DataClass, Model, Name, Pattern, Role, SystemName, TeamName, Text
from charter.registry.grant import Delegated, When
from charter.registry.problem import PlacedError
from charter.registry.risk import Tier

MAX_PROPERTIES = 500
_Some = Field(min_length=1, max_length=200)


def _listed(value: Any) -> Any:  # noqa: ANN401 - whatever a file holds
    """Return one word as a list of one."""
    return [value] if isinstance(value, str) else value


def _or_one(kind: Any) -> BeforeValidator:  # noqa: ANN401 - a type
    """Return what lets one word stand for a list of one, in files and in their schema."""
    return BeforeValidator(_listed, json_schema_input_type=kind | list[kind])


_Action = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=192)]
Kinds = Annotated[tuple[Kind, ...], _Some, _or_one(Kind)]
Environments = Annotated[tuple[Environment, ...], _Some, _or_one(Environment)]
Tiers = Annotated[tuple[Tier, ...], _Some, _or_one(Tier)]
Effects = Annotated[tuple[Effect, ...], _Some, _or_one(Effect)]
Names = Annotated[tuple[Name, ...], _Some, _or_one(Name)]
TeamNames = Annotated[tuple[TeamName, ...], _Some, _or_one(TeamName)]
SystemNames = Annotated[tuple[SystemName, ...], _Some, _or_one(SystemName)]
Classes = Annotated[tuple[DataClass, ...], _Some, _or_one(DataClass)]
Roles = Annotated[tuple[Role, ...], Field(min_length=1, max_length=9), _or_one(Role)]
Patterns = Annotated[tuple[Pattern, ...], _Some, _or_one(Pattern)]
Actions = Annotated[
    tuple[_Action, ...], _Some, _or_one(_Action)
]  # `payments/refund.create`; of any system `refund.create`


class WhoFits(Model):
    """Attributes of a principal."""

    name: Names | None = None
    kind: Kinds | None = None
    environment: Environments | None = None
    team: TeamNames | None = None
    tier: Tiers | None = None  # of risk
    provider: Names | None = None  # of its model


class Who(WhoFits):
    """Principals that fit all that is written, and nothing of `not`."""

    excluded: WhoFits | None = Field(default=None, alias="not")


class WhereFits(Model):
    """Attributes of a system."""

    name: SystemNames | None = None
    environment: Environments | None = None
    provider: Names | None = None  # whose models it is
    sensitive: bool | None = None
    untrusted: bool | None = None


class Where(WhereFits):
    """Systems that fit all that is written, and nothing of `not`."""

    excluded: WhereFits | None = Field(default=None, alias="not")


class CallClass(Model):
    """The calls that fit all that is written."""

    principals: Who | None = None
    systems: Where | None = None
    actions: Actions | None = None
    effects: Effects | None = None
    data: Classes | None = None  # the action touches one of them
    objects: Patterns | None = None
    when: When | None = None
    delegated: Delegated | None = None
    unapproved: bool | None = None  # nobody said yes to it

    @model_validator(mode="after")
    def _something(self) -> CallClass:
        if all(getattr(self, name) is None for name in type(self).model_fields):
            raise PlacedError((), "means every call there is; write which calls")
        if self.unapproved is False:
            raise PlacedError(("unapproved",), "`unapproved` is true or left out; left out, a yes does not matter")
        return self


class Property(Model):
    """One property: exactly one of `never`, `only` with `may`, and `always`."""

    name: Text
    why: Text | None = None
    never: CallClass | None = None
    only: Who | None = None
    may: CallClass | None = None
    always: CallClass | None = None
    approved_by: Roles | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Property:
        said = [each for each in ("never", "only", "always") if getattr(self, each) is not None]
        if len(said) != 1:
            text = f"says {' and '.join(f'`{each}`' for each in said)}" if said else "says nothing of calls"
            raise PlacedError((), f"`{self.name[:80]}` {text}; write one of `never`, `only` with `may`, `always`")
        if (self.only is None) != (self.may is None):
            missing = "may" if self.may is None else "only"
            raise PlacedError(
                (), f"`{missing}` is missing; write `only: {{team: finance}}` and `may: {{actions: […]}}`"
            )
        if self.approved_by is not None and self.always is None:
            raise PlacedError(
                ("approved_by",), "`approved_by` stands beside `always`; in `never`, write `unapproved: true`"
            )
        if self.may is not None and self.may.principals is not None:
            raise PlacedError(("may", "principals"), "`only` says which principals; remove `principals` from `may`")
        return self

    @property
    def of(self) -> CallClass:
        """The class of calls that it speaks of."""
        found = self.never or self.may or self.always
        if found is None:  # _one_form refuses it
            raise RuntimeError(f"the property `{self.name}` speaks of nothing")
        return found

    @property
    def place(self) -> str:
        """Where its class stands in the file, below the property."""
        return "never" if self.never else "may" if self.may else "always"
