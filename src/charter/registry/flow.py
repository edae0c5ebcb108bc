"""What comes in and goes out with calls, as files say it: who could have written a result, which arguments lead.

systems/mail.yaml
  actions:
    mail.read: {tool: read_mail, effect: read, results: {origin: untrusted, fields: {id: internal}}}
    mail.send: {tool: send_mail, effect: irreversible, carries: [subject, body], asked_as: [write, reply]}
principals/*.yaml
  flow: {posture: ask}
flow.yaml
  posture: ask
  own: ["*@example.com"]
  pointed: leads
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Literal, Protocol

import msgspec
from pydantic import Field, StringConstraints

from charter.registry.field import Model, Text

FLOW = "flow.yaml"
MAX_FIELDS = 200
_HOST = re.compile(r"\[?([^/*\[\]]+)\]?:(?:[0-9]{1,5}|\*)")  # in an object of the kind egress: `host:port`
FieldName = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=128)]
Word = Annotated[str, StringConstraints(strict=True, pattern=r"^[^\s]{2,40}$")]
OwnPattern = Annotated[
    str, StringConstraints(strict=True, pattern=r"^[^\s*]*\*?[^\s*]+$", min_length=3, max_length=200)
]


class Origin(StrEnum):
    """Who could have written what a call answered."""

    TRUSTED = "trusted"  # an authority on what it says: the organisation's directory
    INTERNAL = "internal"  # made by the organisation's own systems; nobody outside chooses it
    UNTRUSTED = "untrusted"  # anybody may have written it


class Results(Model):
    """Who could have written the results of an action; `fields` by their name, wherever they stand."""

    origin: Origin | None = None  # None: untrusted where its system is, else internal
    fields: Annotated[dict[FieldName, Origin], Field(max_length=MAX_FIELDS)] = Field(default_factory=dict)
    names: Annotated[tuple[FieldName, ...], Field(max_length=64)] = ()  # arguments that what it lists may be given for


class Labels(msgspec.Struct, frozen=True):
    """What is said of the results of one action."""

    origin: Origin
    fields: Mapping[str, Origin]
    names: frozenset[str] | None
    worst: Origin  # of what cannot be told apart


def labels_by(origin: Origin, results: Results | None) -> Labels:
    """Return the labels of an action's results; `origin` holds where its file says nothing of a field."""
    fields = results.fields if results is not None else {}
    found = {origin, *fields.values()}
    worst = next(each for each in (Origin.UNTRUSTED, Origin.INTERNAL, Origin.TRUSTED) if each in found)
    return Labels(origin, fields, frozenset(results.names) if results is not None and results.names else None, worst)


class Posture(StrEnum):
    """What happens to a call whose values cannot be vouched for."""

    ASK = "ask"  # people are asked
    DENY = "deny"
    OBSERVE = "observe"  # it is told in evidence, and nothing else


class Pointing(StrEnum):
    """Whether what stands alone in the thing that a person's request names may lead a call (gateway/pointing.py)."""

    LEADS = "leads"
    ASKS = "asks"  # it counts as what strangers named, like all else that they wrote


class FlowTerms(Model):
    """A charter's posture; `questions` an hour at most are put to people in one session, after which it is denied."""

    posture: Posture
    questions: Annotated[int, Field(strict=True, ge=1, le=100)] | None = None


class FlowFile(Model):
    """`flow.yaml`: the posture of charters that have none, addresses that are ours, what persons may point at."""

    charter: Literal["v1"]
    posture: Posture = Posture.OBSERVE
    questions: Annotated[int, Field(strict=True, ge=1, le=100)] = 10
    own: Annotated[tuple[OwnPattern, ...], Field(max_length=200)] = ()
    pointed: Pointing = Pointing.ASKS
    note: Text | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the file as plain JSON."""
        return self.model_dump(mode="json", exclude_none=True)


class HasFlow(Protocol):
    """A charter, as far as it matters here."""

    @property
    def grants(self) -> Sequence[Any]:
        """Its grants."""
        ...

    @property
    def flow(self) -> FlowTerms | None:
        """Its own terms."""
        ...


@dataclass(frozen=True, slots=True)
class Watch:
    """What holds for the sessions of one charter."""

    posture: Posture = Posture.OBSERVE
    questions: int = 10
    own: tuple[str, ...] = ()
    named: Mapping[str, frozenset[str]] = field(default_factory=dict)  # by system: values that the charter itself names
    pointed: Pointing = Pointing.ASKS


OBSERVED = Watch()


def watch_of(charter: HasFlow, file: FlowFile) -> Watch:
    """Return what holds for a charter under the estate's file."""
    return Watch(posture_of(charter, file), questions_of(charter, file), file.own, _named(charter), file.pointed)


def _named(charter: HasFlow) -> dict[str, frozenset[str]]:
    """Return the values that grants name exactly: a call that gives one of them goes where the charter says."""
    found: dict[str, set[str]] = {}
    for grant in charter.grants:
        places = (*grant.objects, *(grant.under or ()))
        named = {part for place in places if "*" not in place for part in (place, *place.split("/"))}
        named |= {host[1] for place in places if (host := _HOST.fullmatch(place))}
        for condition in (grant.when.arguments if grant.when else {}).values():
            named |= {str(each) for each in (condition.equals, *(condition.one_of or ()), *(condition.each_of or ()))}
        found.setdefault(grant.system, set()).update(named - {"None", ""})
    return {system: frozenset(names) for system, names in found.items()}


def posture_of(charter: HasFlow, file: FlowFile) -> Posture:
    """Return the posture of a charter under the estate's file."""
    return charter.flow.posture if charter.flow is not None else file.posture


def questions_of(charter: HasFlow, file: FlowFile) -> int:
    """Return how often an hour people are asked in one of its sessions."""
    own = charter.flow.questions if charter.flow is not None else None
    return file.questions if own is None else own


__all__ = ["FLOW", "FieldName", "FlowFile", "FlowTerms", "Origin", "Pointing", "Posture", "Results", "Watch", "Word"]
