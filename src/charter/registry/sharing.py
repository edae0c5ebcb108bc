"""`sharing.yaml`: what the organisation knows of places, and what follows when a credential turns out to be shared.

    places:
      office: [203.0.113.0/24, "2001:db8:77::/48"]
      payments-cluster: [10.4.0.0/16]
    nodes:
      build-1: [10.8.0.4/32]
    rules:
      - id: production
        for: {environments: [production]}
        proved: suspend
        reason: what acts in production is held at once

`nodes` says where remote nodes are, by the names they joined with. How sure it is that a credential is shared decides
what follows:

    proved    signatures or the kernel say it: nobody brings it about who does not hold the credential
    stated    it contradicts what a charter, or this file, says of where and how often the credential is used
    seen      addresses alone say it, or somebody's word: one sender may have several addresses

INVARIANT: rules make the answer firmer, never weaker: the firmest of those that are for a principal counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from charter.registry.charter import Charter
from charter.registry.charter import Sharing as Answer
from charter.registry.field import Model, Name, Text
from charter.registry.place import Networks, is_network, parse_network
from charter.registry.problem import PlacedError, Problem, suggestion
from charter.registry.scope import Scope
from charter.registry.sourced import Sourced

SHARING = "sharing.yaml"
MAX_PLACES = 1000
MAX_RULES = 100
_ORDER = list(Answer)


class Certainty(StrEnum):
    """How sure it is that a credential is shared."""

    PROVED = "proved"
    STATED = "stated"
    SEEN = "seen"


# Where nothing is said. Only who holds a credential brings about what is proved, and only a person's own words what is
# stated; a restraint asks a person before each change and stops nothing else. Addresses alone stop nobody.
USUAL = {Certainty.PROVED: Answer.RESTRAIN, Certainty.STATED: Answer.RESTRAIN, Certainty.SEEN: Answer.REPORT}


class SharingRule(Model):
    """What follows for some principals, or for all."""

    id: Name
    scope: Scope = Field(default_factory=Scope, alias="for")
    proved: Answer | None = None
    stated: Answer | None = None
    seen: Answer | None = None
    reason: Text

    @model_validator(mode="after")
    def _something(self) -> SharingRule:
        if self.proved is None and self.stated is None and self.seen is None:
            raise PlacedError((), f"the rule `{self.id}` asks nothing; write `proved`, `stated` or `seen`")
        return self


_Named = Annotated[dict[Name, Networks], Field(max_length=MAX_PLACES)]


class SharingFile(Model):
    """`sharing.yaml`, version 1 of the format."""

    charter: Literal["v1"]
    places: _Named = Field(default_factory=dict)
    nodes: _Named = Field(default_factory=dict)
    rules: Annotated[tuple[SharingRule, ...], Field(max_length=MAX_RULES)] = ()

    @model_validator(mode="after")
    def _told_apart(self) -> SharingFile:
        seen: set[str] = set()
        for index, rule in enumerate(self.rules):
            if rule.id in seen:
                raise PlacedError(("rules", index, "id"), f"two rules are called `{rule.id}`; rename one")
            seen.add(rule.id)
        for name, other, index in _twice(self.places):
            raise PlacedError(("places", name, index), f"`{self.places[name][index]}` is `{other}` already")
        return self

    def to_json(self) -> dict[str, Any]:
        """Return the file as plain JSON."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def _twice(places: dict[str, tuple[str, ...]]) -> Iterator[tuple[str, str, int]]:
    """Yield networks that are two places: name, the name before, and which of its networks it is."""
    known: dict[object, str] = {}
    for name, networks in places.items():
        for index, text in enumerate(networks):
            other = known.setdefault(parse_network(text), name)
            if other != name:
                yield name, other, index


def firmest(answers: Iterable[Answer]) -> Answer:
    """Return the firmest of these answers."""
    return max(answers, key=_ORDER.index)


def unknown_places(charters: Mapping[str, Sourced[Charter]], known: SharingFile) -> Iterator[Problem]:
    """Yield a problem for each place that a charter names and `sharing.yaml` does not: it would be nowhere."""
    for part in charters.values():
        for index, name in enumerate(part.value.credential.places or ()):
            if not is_network(name) and name not in known.places:
                mend = suggestion(name, known.places) or f"write it into {SHARING}, or name a network"
                yield Problem.at(
                    part.source_of(f"credential.places.{index}"), f"`{name}` is no place of {SHARING}", mend
                )
