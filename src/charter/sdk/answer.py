"""Questions to the decision API (AuthZEN 1.0) and its answers, read strictly: what is not clearly an allow is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
Obligation = Callable[[Mapping[str, Any]], None]


class CharterUnavailable(RuntimeError):  # noqa: N818 - said as it is: nothing was decided
    """No decision is to be had, so nothing is allowed."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The call may be made, now and once."""

    verdict: str  # the verdict's id


@dataclass(frozen=True, slots=True)
class Denied:
    """The call may not be made."""

    verdict: str | None
    why: str
    mend: str
    reasons: tuple[Mapping[str, Any], ...] = ()

    @property
    def text(self) -> str:
        """What a person or a model should read."""
        return f"Charter denied this call: {self.why}. To have it allowed: {self.mend}"


@dataclass(frozen=True, slots=True)
class Held:
    """The call may be made once people said yes to exactly it."""

    verdict: str | None
    why: str
    approval: str | None
    approvers: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What a person or a model should read."""
        who = f" by {', '.join(self.approvers)}" if self.approvers else ""
        how = f": charter approvals approve {self.approval}" if self.approval else ""
        return (
            f"Charter holds this call until it is approved{who}{how}. {self.why}. Then make exactly the same call again"
        )


Answer = Allowed | Denied | Held


class CallDenied(PermissionError):  # noqa: N818 - the domain's word
    """A governed call was denied."""

    def __init__(self, answer: Denied) -> None:
        super().__init__(answer.text)
        self.answer = answer


class CallHeld(PermissionError):  # noqa: N818 - the domain's word
    """A governed call waits for people."""

    def __init__(self, answer: Held) -> None:
        super().__init__(answer.text)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Question:
    """One call: who would do what to which object of which system, with which arguments."""

    subject: str
    system: str
    action: str
    object: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> Json:
        """Return it as the decision API takes it."""
        return {
            "subject": {"type": "principal", "id": self.subject},
            "action": {"name": self.action, "properties": dict(self.arguments)},
            "resource": {"type": self.system, "id": self.object},
            "context": dict(self.context),
        }


def read_answer(status: int, body: Any, obligations: Mapping[str, Obligation]) -> Answer:  # noqa: ANN401 - any JSON value
    """Return what the decision API said; an obligation that nobody here can fulfil denies.

    Raises:
        CharterUnavailable: it said nothing that is a decision.
    """
    if status != 200 or not isinstance(body, dict) or not isinstance(body.get("decision"), bool):  # noqa: PLR2004
        detail = body.get("detail") or body.get("error_description") if isinstance(body, dict) else None
        raise CharterUnavailable(f"the decision API answered {status}: {str(detail or 'no decision')[:300]}")
    context = body["context"] if isinstance(body.get("context"), dict) else {}
    verdict = str(context["evaluation_id"]) if context.get("evaluation_id") else None
    told = context["charter"] if isinstance(context.get("charter"), dict) else {}
    why, mend = _sentence(context.get("reason_admin")), _sentence(context.get("reason_user"))
    if body["decision"]:
        return _fulfilled(context.get("obligations"), obligations, verdict)
    if told.get("verdict") == "escalate":
        approvers = tuple(map(str, told.get("approvers") or ()))
        return Held(verdict, why, told.get("approval"), approvers)
    return Denied(verdict, why, mend, tuple(each for each in told.get("reasons") or () if isinstance(each, dict)))


def _fulfilled(due: object, obligations: Mapping[str, Obligation], verdict: str | None) -> Answer:
    if verdict is None:
        raise CharterUnavailable("the decision API answered without a verdict")
    for each in due if isinstance(due, list) else ():
        kind = each.get("type") or each.get("id") if isinstance(each, dict) else None
        handler = obligations.get(str(kind))
        if handler is None:
            why = f"it is allowed only if `{kind}` is done, and nothing here does it"
            return Denied(verdict, why, "give the client a handler for it, as in obligations={…}")
        handler(each)
    return Allowed(verdict)


def _sentence(said: object) -> str:
    text = next(iter(said.values()), "") if isinstance(said, dict) else said
    return str(text or "no reason was given")
