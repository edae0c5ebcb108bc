"""Table tests of an estate: what a principal asks, and what must come of it; and properties beside them.

A test file is `{charter: v1, tests: [...], properties: [...]}`. The cases are data; gateway/trial.py runs them through
the same decision as the gateway. A case says as much of the answer as it cares about: the verdict always, and if it
likes a piece of the reasons' text, the rule that must have decided, the layer of control, whose authority lacked, what
would mend it, who must approve, what it is counted against.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StrictBool, StrictInt, StringConstraints, model_validator

from charter.registry.charter import ActionName, DataClass, Model, Moment, Name, Pattern, Role, SystemName, Text
from charter.registry.problem import PlacedError
from charter.registry.property import MAX_PROPERTIES, Property

MAX_ARGUMENTS = 64


class Expect(StrEnum):
    """The verdict a case expects."""

    ALLOW = "allow"
    DENY = "deny"
    ESCALATE = "escalate"


class TrialLayer(StrEnum):
    """The layers of control a case can name: those of policy/verdict.py (a test holds the two equal).

    But for a token's and an enforcement point's: no case has one.
    """

    STANDING = "standing"
    SYSTEM = "system"
    GUARDRAIL = "guardrail"
    DELEGATION = "delegation"
    CHARTER = "charter"
    LIMIT = "limit"
    APPROVAL = "approval"
    POLICY_ERROR = "policy-error"
    FRESHNESS = "freshness"


def _as_on_the_wire(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return `value` with decimals as the floats that a JSON reader would have made of them."""
    match value:
        case Decimal():
            return float(value)
        case dict():
            return {key: _as_on_the_wire(item) for key, item in value.items()}
        case list():
            return [_as_on_the_wire(item) for item in value]
        case _:
            return value


Arguments = Annotated[dict[str, Any], Field(max_length=MAX_ARGUMENTS), AfterValidator(_as_on_the_wire)]


Party = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=254)]  # a principal, or an address


LimitText = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=120)]


class TrialChain(Model):
    """The delegation under which a call is made: who began it, through whom, in which roles, for what, and how deep."""

    initiator: Party
    through: Annotated[tuple[Name, ...], Field(max_length=7)] = ()  # principals between the initiator and the caller
    roles: tuple[Role, ...] = ()
    purpose: Name | None = None
    depth: Annotated[StrictInt, Field(ge=1, le=8)] | None = None  # None: as many delegations as there are parties


ArgumentNames = Annotated[
    tuple[Annotated[str, StringConstraints(strict=True, max_length=128)], ...], Field(max_length=64)
]


class TrialFlow(Model):
    """What the call's session has read, and where its values came from. Without it, nothing was read before."""

    exposed: StrictBool = True  # to what strangers wrote
    known: StrictBool = True  # the person's request is known …
    spoken: StrictBool = True  # … and speaks of such an action
    tired: StrictBool = False  # people were asked so often that they are not asked again
    data: Annotated[tuple[DataClass, ...], Field(max_length=64)] = ()  # classes that were read
    untrusted: ArgumentNames = ()  # arguments whose values only strangers named
    unseen: ArgumentNames = ()  # … that nothing named
    carried: ArgumentNames = ()  # text that names such values
    pointed: ArgumentNames = ()  # whose values stand alone in what the request points at


class SupposedCall(Model):
    """One call that nobody made: who asks for what, with what, when, approved by whom, on whose behalf."""

    principal: Name
    system: SystemName
    action: ActionName
    arguments: Arguments = Field(default_factory=dict)
    object: Pattern | None = None  # the object's path; None: what the action's template makes of the arguments
    at: Moment | None = None
    approvals: tuple[Role, ...] = ()  # of people who approved exactly this call, each another; a role twice is two
    chain: TrialChain | None = None  # None: it acts by itself
    flow: TrialFlow | None = None  # None: its session has read nothing


class TrialCase(SupposedCall):
    """One call and the verdict it must get. Without `at`, the runner takes a fixed working hour and says so."""

    name: Text
    expect: Expect
    because: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=500)] | None = None
    rule: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=200)] | None = None
    layer: TrialLayer | None = None
    mend: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=500)] | None = None
    link: Party | None = None  # whose authority lacked (or held) the right
    approvers: tuple[Role, ...] | None = None  # of an escalation: who must say yes, a role twice for two people
    limits: tuple[LimitText, ...] | None = None  # of an allow: what it is counted against, as `50 calls per day`


class TrialFile(Model):
    """One file of `tests/`."""

    charter: Literal["v1"]
    tests: Annotated[tuple[TrialCase, ...], Field(max_length=5000)] = ()
    properties: Annotated[tuple[Property, ...], Field(max_length=MAX_PROPERTIES)] = ()

    @model_validator(mode="after")
    def _something(self) -> TrialFile:
        if not self.tests and not self.properties:
            raise PlacedError((), "the file holds neither `tests` nor `properties`; write at least one, or remove it")
        return self
