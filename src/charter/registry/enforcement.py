"""Systems that others stand before: who may ask what is allowed there, and in which words (docs/decision-api.md).

A gateway, an API or an MCP server of the organisation's own asks the decision API and carries the answer out itself. It
is a principal like any other, with an owner, a credential and a standing, and is called an enforcement point because a
system's file names it. What it may ask about is that system, and nothing else.

INVARIANT: a system has one enforcement. Where points enforce, Charter forwards nothing, so that no caller can send as
an argument what a policy takes for the word of a point.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from charter.registry.field import ActionName, Model, Name, Pattern, Text, printable
from charter.registry.grant import Scalar
from charter.registry.problem import PlacedError
from charter.registry.proxied import Proxied

WORD_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,127}$"
MAX_KNOWN = 2000  # subjects, or objects of one type, of which a file tells properties
PRINCIPAL = "principal"  # what every point may call a principal, besides its own words
ASKED = "asked"  # under which policies find what is told of subject, resource and context: `asked.resource.status`

Word = Annotated[str, StringConstraints(strict=True, pattern=WORD_PATTERN)]
Member = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$")]
ObjectId = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=512), AfterValidator(printable)]
Properties = Annotated[dict[Member, Scalar], Field(max_length=64)]
_STEP_UP = {"acr_value": True, "amr_values": False}  # member -> whether it must be there
_NOTIFICATION = {"to": True, "body": True, "topic": False}
_TERMINATION: dict[str, bool] = {}
_MEMBERS = {"step-up": _STEP_UP, "notification": _NOTIFICATION, "session_termination": _TERMINATION}


class SubjectWords(Model):
    """What points call principals, and what is known of some of them on this system."""

    types: Annotated[tuple[Word, ...], Field(max_length=16)] = ()
    known: Annotated[dict[Name, Properties], Field(max_length=MAX_KNOWN)] = Field(default_factory=dict)


class ResourceWords(Model):
    """One type of resource: the object's path that its ids stand for, and those whose properties are known.

    Only what is `known`, and what a grant names without a `*`, can be found by a search.
    """

    object: Pattern = "{id}"
    known: Annotated[dict[ObjectId, Properties], Field(max_length=MAX_KNOWN)] = Field(default_factory=dict)


class ObligationRule(Model):
    """What a point must do when some actions are allowed, or denied (OpenID AuthZEN Obligations Profile, Draft 1)."""

    id: Name
    type: Literal["step-up", "notification", "session_termination", "custom"]
    on: Literal["allow", "deny"] = "allow"
    actions: Annotated[tuple[ActionName, ...], Field(min_length=1, max_length=200)] | None = None  # None: all
    acr_value: Text | None = None
    amr_values: Annotated[tuple[Text, ...], Field(min_length=1, max_length=16)] | None = None
    to: Text | None = None
    body: Text | None = None
    topic: Text | None = None
    properties: Properties | None = None

    @model_validator(mode="after")
    def _of_its_type(self) -> ObligationRule:
        members = _MEMBERS.get(self.type, {"properties": True})
        for name in ("acr_value", "amr_values", "to", "body", "topic", "properties"):
            given = getattr(self, name) is not None
            if given and name not in members:
                raise PlacedError((name,), f"`{name}` does not belong to an obligation of the type {self.type}")
            if not given and members.get(name):
                raise PlacedError((), f"an obligation of the type {self.type} needs `{name}`")
        return self

    def covers(self, action: str) -> bool:
        """Whether it is for `action`."""
        return self.actions is None or action in self.actions

    def told(self, subject: str) -> dict[str, Any]:
        """Return the obligation as a point is told of it; `subject` is whom the question was about."""
        if self.type == "session_termination":
            properties: dict[str, Any] = {"subject": subject}
        elif self.type == "custom":
            properties = dict(self.properties or {})
        else:
            properties = self.model_dump(mode="json", include=set(_MEMBERS[self.type]), exclude_none=True)
        return {"id": self.id, "type": self.type, "properties": properties}


class Enforcement(Model):
    """Who stands before a system, and what they are believed.

    Without `vouching`, a point proves each subject by the subject's own access token; with it, its word is enough.
    `context` names the members of a question's context that policies may read; the others change nothing.
    """

    points: Annotated[tuple[Name, ...], Field(max_length=64)] = ()
    vouching: Literal["allowed"] | None = None
    subjects: SubjectWords = Field(default_factory=SubjectWords)
    resources: Annotated[dict[Word, ResourceWords], Field(max_length=100)] = Field(default_factory=dict)
    context: Annotated[tuple[Member, ...], Field(max_length=64)] = ()
    obligations: Annotated[tuple[ObligationRule, ...], Field(max_length=50)] = ()
    proxy: Proxied | None = None  # one that asks about each request, which brings the caller's own token

    @model_validator(mode="after")
    def _said_once(self) -> Enforcement:
        if not self.points and self.proxy is None:
            raise PlacedError((), "nobody enforces: name `points` that may ask, or a `proxy` with its routes")
        for name, said in (
            ("points", self.points),
            ("context", self.context),
            ("obligations", tuple(each.id for each in self.obligations)),
        ):
            if len(set(said)) < len(said):
                raise PlacedError((name,), "names one twice; keep one of them")
        for kind, words in self.resources.items():
            if _placeholders_of(words.object) != {"id"}:
                text = "must hold `{id}`, and no other braces: `records/{id}`"
                raise PlacedError(("resources", kind, "object"), f"`{words.object}` {text}")
        return self

    def calls_principals(self, kind: str) -> bool:
        """Whether points may call a principal `kind`."""
        return kind == PRINCIPAL or kind in self.subjects.types

    def due(self, action: str, on: str) -> tuple[ObligationRule, ...]:
        """Return the obligations that go with `action`, `allow`ed or `deny`ed."""
        return tuple(each for each in self.obligations if each.on == on and each.covers(action))


def _placeholders_of(template: str) -> set[str]:
    rest = template.replace("{id}", "")
    return {"id"} if template.count("{id}") == 1 and "{" not in rest and "}" not in rest else set()
