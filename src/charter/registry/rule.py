"""Rules on charters: what the organisation asks of every charter, or of some, before any call is made.

    rules:
      - id: high-risk-review
        force: ceiling
        for: {tiers: [high, critical]}
        at_most: {review: 90d, expires: 365d}
        reason: what could do harm is looked at every quarter
        answers: [NIST AI RMF GOVERN 1.5]

`bounded: [model, objects]` asks that patterns bound something: that the model is named, and that whatever changes
state is granted on some objects and not on all.

`hard`: never otherwise. `ceiling`: at most this much. `default`: so, unless a charter's `exceptions` name the rule. A
charter that breaks a rule is a problem at the place where it does, and nothing is applied.

Guardrails in Cedar rule on calls with the same three forces (policy/guardrail.py).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, StrictInt, StringConstraints, model_validator

from charter.registry.charter import Charter, CredentialType, Effect
from charter.registry.duration import write_duration
from charter.registry.field import DataClass, Duration, Model, Name, Role, SystemName, Text
from charter.registry.problem import PlacedError
from charter.registry.reach import reached
from charter.registry.risk import Risk
from charter.registry.scope import Scope
from charter.registry.system import System
from charter.registry.unbounded import is_any_model, is_any_object

MAX_RULES = 500
Line = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=120)]
_Some = Field(min_length=1, max_length=200)


class Force(StrEnum):
    """How firm a rule is."""

    HARD = "hard"  # never otherwise
    CEILING = "ceiling"  # at most; in Cedar, a person's yes may lift it where the text says so
    DEFAULT = "default"  # unless the charter says otherwise, by name, and with a reason


class AtMost(Model):
    """Bounds on what a charter may say of itself."""

    review: Duration | None = None
    expires: Duration | None = None  # after the day of its approval
    ttl: Duration | None = None  # of a delegation
    depth: Annotated[StrictInt, Field(ge=0, le=8)] | None = None  # of a chain
    effect: Effect | None = None  # the strongest that a granted action has


class Only(Model):
    """Words of which a charter may use no others."""

    approved_by: Annotated[tuple[Role, ...], _Some] | None = None  # the role that approved it
    credentials: Annotated[tuple[CredentialType, ...], _Some] | None = None
    providers: Annotated[tuple[Name, ...], _Some] | None = None
    data: Annotated[tuple[DataClass, ...], Field(max_length=200)] | None = None  # classes; an empty list: none
    systems: Annotated[tuple[SystemName, ...], _Some] | None = None


class Bounded(StrEnum):
    """What a charter may not leave open."""

    MODEL = "model"  # which models decide, by the name under `model` or what is pinned
    OBJECTS = "objects"  # of grants by which state is changed


class CharterRule(Model):
    """One rule on charters."""

    id: Name
    force: Force = Force.HARD
    scope: Scope = Field(default_factory=Scope, alias="for")
    at_most: AtMost | None = None
    only: Only | None = None
    bounded: Annotated[tuple[Bounded, ...], Field(min_length=1, max_length=len(Bounded))] | None = None
    reason: Text
    answers: Annotated[tuple[Line, ...], Field(max_length=20)] = ()  # items of catalogues: `OWASP ASI03`

    @model_validator(mode="after")
    def _something(self) -> CharterRule:
        said = [getattr(part, name) for part in (self.at_most, self.only) if part for name in type(part).model_fields]
        if self.bounded is None and all(each is None for each in said):
            raise PlacedError((), f"the rule `{self.id}` asks nothing; write `at_most`, `only` or `bounded`")
        return self


class RuleFile(Model):
    """One file of `guardrails/*.yaml`, version 1 of the format."""

    charter: Literal["v1"]
    rules: Annotated[tuple[CharterRule, ...], Field(min_length=1, max_length=MAX_RULES)]

    def to_json(self) -> dict[str, Any]:
        """Return the file as plain JSON."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Breach(NamedTuple):
    """Where a charter breaks a rule: the place in it, what is wrong, and what would be right."""

    at: str
    text: str
    help: str


def breaches(rule: CharterRule, charter: Charter, risk: Risk, systems: Mapping[str, System]) -> Iterator[Breach]:
    """Yield how `charter`, whose risk among `systems` is `risk`, breaks `rule`; nothing if the rule is not for it."""
    if not rule.scope.covers(charter, risk.tier):
        return
    for breach in (*_beyond(rule, charter, systems), *_others(rule, charter), *_open(rule, charter, systems)):
        why = f" ({risk.sentence})" if rule.scope.tiers else ""
        yield breach._replace(text=f"{breach.text}: {rule.reason}{why}")


def _beyond(rule: CharterRule, charter: Charter, systems: Mapping[str, System]) -> Iterator[Breach]:
    most = rule.at_most or AtMost()
    if most.review and charter.review > most.review:
        yield _too_long("review", "review", charter.review, rule, most.review)
    if most.expires:
        last = charter.approved.on + most.expires
        if charter.expires > last:
            text = f"`{rule.id}` lets a charter hold for at most {write_duration(most.expires)} after its approval"
            yield Breach("expires", text, f"write {last.isoformat()} at the latest")
    lent = charter.delegation
    if lent and most.ttl and lent.max_ttl > most.ttl:
        yield _too_long("delegation.max_ttl", "max_ttl", lent.max_ttl, rule, most.ttl)
    if lent and most.depth is not None and lent.max_depth > most.depth:
        text = f"`{rule.id}` lets a chain be at most {most.depth} deep"
        yield Breach("delegation.max_depth", text, f"write {most.depth}" if most.depth else "remove `delegation`")
    if most.effect:
        yield from _too_strong(rule, charter, systems, most.effect)


def _too_long(at: str, field: str, found: dt.timedelta, rule: CharterRule, most: dt.timedelta) -> Breach:
    text = f"`{field}` is {write_duration(found)}, and `{rule.id}` allows {write_duration(most)}"
    return Breach(at, text, f"write {write_duration(most)} or less")


def _too_strong(rule: CharterRule, charter: Charter, systems: Mapping[str, System], most: Effect) -> Iterator[Breach]:
    order = list(Effect)
    for each in reached(charter, systems):
        if order.index(each.effect) > order.index(most):
            what = f"`{each.action}` on `{each.system.system}` is {each.effect.value}"
            text = f"{what}, and `{rule.id}` allows {most.value}"
            yield Breach(each.at, text, "grant another action")


def _others(rule: CharterRule, charter: Charter) -> Iterator[Breach]:
    only = rule.only or Only()
    pairs: tuple[tuple[str, str, tuple[str, ...] | None], ...] = (
        ("approved.role", charter.approved.role, only.approved_by),
        ("credential.type", charter.credential.type, only.credentials),
        ("model.provider", charter.model.provider, only.providers),
        *((f"data.{index}", name, only.data) for index, name in enumerate(charter.data)),
        *((f"grants.{index}.system", grant.system, only.systems) for index, grant in enumerate(charter.grants)),
        *(("policy", system, only.systems) for system, _ in charter.policy_actions),
    )
    for at, found, allowed in pairs:
        if allowed is not None and found not in allowed:
            words = ", ".join(f"`{each}`" for each in allowed)
            text = f"`{rule.id}` does not allow `{found}` here"
            yield Breach(at, text, f"it allows {words}" if allowed else "it allows none")


def _open(rule: CharterRule, charter: Charter, systems: Mapping[str, System]) -> Iterator[Breach]:
    asked = rule.bounded or ()
    if Bounded.MODEL in asked and is_any_model(charter):
        text = f"`{rule.id}` asks for models by name, and `{charter.model.name}` is any"
        yield Breach("model.name", text, "name those that were assessed, as in claude-*")
    for index, grant in enumerate(charter.grants if Bounded.OBJECTS in asked else ()):
        system = systems.get(grant.system)
        effects = {system.actions[name].effect for name in system.granted(grant)} if system else set()
        if is_any_object(grant) and effects - {Effect.READ}:
            text = f"`{rule.id}` asks for objects where state is changed, and this grant is for any"
            yield Breach(f"grants.{index}.objects", text, "say under `objects`, `under` or `groups` which are meant")
