"""`responses.yaml`: what follows at once when a principal behaves unlike itself, without waiting for a person.

    rules:
      - id: production-leaves-its-mission
        for: {environments: [production], tiers: [high, critical]}
        when: {features: [object, purpose], score: 20, effects: [write, irreversible]}
        then: restrain
        expires: 4h
        reason: a person looks before it changes anything else

`score` is in bits (docs/behaviour.md): each bit is half as probable. `then`, in the order of firmness:

    notify      the finding, and nothing else
    approve     every state-changing call waits for a person's yes: the standing `restrained`
    restrain    the same, in the word of the command
    suspend     nothing is allowed
    kill        the identity ends for good

What approve, restrain and suspend take comes back by itself after `expires`, or, with `release: person`, when a person
settles the finding. A kill is final.

INVARIANT: there is no word here that gives anything. The firmest rule that fits counts, so that none makes another
milder.
"""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, StrictInt, model_validator

from charter.registry.charter import Effect
from charter.registry.duration import write_duration
from charter.registry.field import Duration, Model, Name, Text
from charter.registry.problem import PlacedError
from charter.registry.scope import Scope
from charter.registry.standing import Standing

RESPONSES = "responses.yaml"
MAX_RULES = 100
LONGEST = dt.timedelta(days=31)
SHORTEST = dt.timedelta(minutes=1)
_Some = Field(min_length=1, max_length=20)


class Watched(StrEnum):
    """The features of behaviour that a rule can name."""

    RATE = "rate"
    SEQUENCE = "sequence"
    OBJECT = "object"
    COUNTERPARTY = "counterparty"
    HOURS = "hours"
    VOLUME = "volume"
    DATA = "data"
    DENIALS = "denials"
    COST = "cost"
    GEOGRAPHY = "geography"
    PURPOSE = "purpose"


class Response(StrEnum):
    """What follows, mildest first."""

    NOTIFY = "notify"
    APPROVE = "approve"
    RESTRAIN = "restrain"
    SUSPEND = "suspend"
    KILL = "kill"

    @property
    def floor(self) -> Standing | None:
        """The standing that it holds a principal down to; None for what holds nothing: telling, and what is final."""
        return _FLOORS.get(self)

    def is_firmer_than(self, other: Response) -> bool:
        """Whether it takes more than another."""
        return _ORDER.index(self) > _ORDER.index(other)


_FLOORS = {
    Response.APPROVE: Standing.RESTRAINED,
    Response.RESTRAIN: Standing.RESTRAINED,
    Response.SUSPEND: Standing.SUSPENDED,
}
_ORDER = list(Response)


class When(Model):
    """Which signals a rule is about; all that is written must fit."""

    score: Annotated[StrictInt, Field(ge=1, le=400)]  # bits, of the signal as a whole
    features: Annotated[tuple[Watched, ...], _Some] | None = None  # what it is mostly about is one of these
    effects: Annotated[tuple[Effect, ...], _Some] | None = None  # what the act would have done is one of these


class ResponseRule(Model):
    """One rule."""

    id: Name
    scope: Scope = Field(default_factory=Scope, alias="for")
    when: When
    then: Response
    expires: Duration | None = None
    release: Literal["person"] | None = None
    reason: Text

    @property
    def ends(self) -> str:
        """How it ends, in the file's words."""
        if self.expires is not None:
            return f"after {write_duration(self.expires)}"
        return "when a person settles the finding" if self.release else "never" if self.then is Response.KILL else ""

    @model_validator(mode="after")
    def _ends(self) -> ResponseRule:
        if self.then.floor is None:
            for field in ("expires", "release"):
                if getattr(self, field) is not None:
                    what = "holds nothing" if self.then is Response.NOTIFY else "is final"
                    raise PlacedError((field,), f"`{self.then.value}` {what}, so `{field}` says nothing; remove it")
            return self
        if (self.expires is None) == (self.release is None):
            raise PlacedError((), f"the rule `{self.id}` needs an end: write `expires: 4h`, or `release: person`")
        if self.expires is not None and not SHORTEST <= self.expires <= LONGEST:
            text = "a response lasts between a minute and 31 days; write `release: person` for one without an end"
            raise PlacedError(("expires",), text)
        return self


class ResponseFile(Model):
    """`responses.yaml`, version 1 of the format."""

    charter: Literal["v1"]
    rules: Annotated[tuple[ResponseRule, ...], Field(max_length=MAX_RULES)] = ()

    @model_validator(mode="after")
    def _told_apart(self) -> ResponseFile:
        seen: set[str] = set()
        for index, rule in enumerate(self.rules):
            if rule.id in seen:
                raise PlacedError(("rules", index, "id"), f"two rules are called `{rule.id}`; rename one")
            seen.add(rule.id)
        return self

    def to_json(self) -> dict[str, Any]:
        """Return the file as plain JSON."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def firmest(rules: list[ResponseRule]) -> ResponseRule | None:
    """Return the rule of the firmest response; of two as firm, the one that lasts longer, a person's end being last."""

    def firmness(rule: ResponseRule) -> tuple[int, bool, dt.timedelta]:
        return _ORDER.index(rule.then), rule.release is not None, rule.expires or dt.timedelta()

    return max(rules, key=firmness, default=None)
