"""What was decided held against what was seen to happen: each verdict agrees with its effect, disagrees, or is unknown.

Three kinds of entries are held against each other: verdicts, the outcomes that close them, and what vendors, platforms
and programs told later (`observed`). An observation counts where its service and operation are those of a governed
system's action; it is laid to a verdict of the same principal for that action, at about that time.

    an allow, and it was done so                               agrees
    a denial, and nothing was forwarded                        agrees
    forwarded, and how it ended is not known                   unknown
    a denial, and it was done nevertheless                     disagrees
    done, but to something else than was asked                 disagrees
    done in a principal's name, with no verdict at all         disagrees

INVARIANT: whatever is not known is said to be unknown; silence of a log is never taken for a proof.
INVARIANT: one allow accounts for one effect: a second one that the same source tells of has no verdict.
"""

from __future__ import annotations

import bisect
import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from charter.core.clock import parse_rfc3339
from charter.evidence.payload import known

SKEW = dt.timedelta(minutes=5)  # between our clock and those of others
WAITED = dt.timedelta(hours=1)  # after which a call that has no outcome will have none
BY_ITSELF = frozenset({"otlp"})  # sources in which a program tells of its own attempts, not a system of effects
LONGEST = dt.timedelta(days=1)  # that a call takes for an effect to be laid to it
_CARRIED_ELSEWHERE = frozenset({"access", "proxy", "in-process"})  # doors behind which another carries the answer out
_JOINTS = "/:"
_ASKS_A_MODEL = frozenset({"chat", "text_completion", "generate_content", "embeddings"})  # `gen_ai.operation.name`


class Agreement(StrEnum):
    """Whether what happened is what was decided."""

    AGREES = "agrees"
    DISAGREES = "disagrees"
    UNKNOWN = "unknown"


class Ground(StrEnum):
    """Why."""

    DONE = "done-as-allowed"
    NOT_SENT = "not-sent"  # allowed, and given up before anything was sent
    NOT_FORWARDED = "not-forwarded"  # refused, and nothing was forwarded
    UNDER_WAY = "under-way"
    NO_OUTCOME = "no-outcome"
    CUT_OFF = "cut-off"  # sent, and no answer came back whole
    ELSEWHERE = "carried-out-elsewhere"  # by an enforcement point, which tells nothing back
    DONE_ANYWAY = "done-although-refused"
    UNLIKE = "unlike-the-request"
    NO_VERDICT = "no-verdict"  # an effect that nobody asked Charter about
    OUTCOME_ALONE = "outcome-without-verdict"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is said of one verdict, or of one effect without any."""

    agreement: Agreement
    ground: Ground
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return it as answers tell it."""
        return {"agreement": self.agreement.value, "ground": self.ground.value, "text": self.text}


@dataclass(frozen=True, slots=True)
class Told:
    """A verdict as the log has it."""

    verdict_id: str
    index: int
    at: dt.datetime
    word: str  # allow | deny | escalate
    principal_id: str
    principal: str
    system: str
    tool: str
    action: str
    object: str
    model: str
    door: str

    @property
    def is_allowed(self) -> bool:
        """Whether the call was let through."""
        return self.word == "allow"


@dataclass(frozen=True, slots=True)
class Ended:
    """An outcome as the log has it."""

    verdict_id: str
    index: int
    at: dt.datetime
    word: str
    sent: bool
    model: str = ""  # that answered


@dataclass(frozen=True, slots=True)
class Seen:
    """An effect that another tells of, on a governed system and in a principal's name."""

    index: int
    at: dt.datetime
    source: str
    event: str
    principal_id: str
    principal: str
    system: str
    action: str  # "": any of the system
    names: frozenset[str]  # of that action and its tool
    object: str
    model: str
    outcome: str  # success | failure | unknown
    span: str = ""  # of a trace, where it is one
    parent: str = ""

    @property
    def is_failure(self) -> bool:
        """Whether it was tried, and did not come about."""
        return self.outcome == "failure"

    @property
    def is_by_itself(self) -> bool:
        """Whether the principal's own program tells it."""
        return self.source in BY_ITSELF


@dataclass(frozen=True, slots=True)
class Governed:
    """How others call what Charter governs."""

    services: Mapping[str, str] = field(default_factory=dict)  # a service's name, folded -> system
    operations: Mapping[str, Mapping[str, tuple[str, str]]] = field(
        default_factory=dict
    )  # system -> operation, folded -> the action, and the tool that does it
    providers: Mapping[str, str] = field(default_factory=dict)  # of models -> system
    told: Mapping[tuple[str, str], tuple[str, str, str]] = field(
        default_factory=dict
    )  # source and operation, folded, as systems' files say -> system, action, tool


@dataclass(frozen=True, slots=True)
class Held:
    """A verdict held against what happened."""

    verdict: Told
    outcome: Ended | None
    seen: tuple[Seen, ...]
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class Apart:
    """An effect or outcome that no verdict accounts for."""

    index: int
    principal_id: str
    principal: str
    system: str
    action: str
    source: str
    judgement: Judgement
    seen: Seen | None = None


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What came of it, in the log's order."""

    held: tuple[Held, ...]
    apart: tuple[Apart, ...]


# --- reading ----------------------------------------------------------------------------------------------------------


def told_of(entry: Mapping[str, Any]) -> Told | None:
    """Return the verdict of an entry; None if it has none that can be read."""
    body = entry["body"]
    try:
        return Told(
            verdict_id=str(body["verdict_id"]),
            index=int(entry["index"]),
            at=parse_rfc3339((body.get("asked") or {}).get("at") or entry["time"]),  # some are reported later
            word=str(body["verdict"]),
            principal_id=str(entry["principal"]),
            principal=str(body["principal"]),
            system=str(body["system"]),
            tool=str(body["tool"]),
            action=str(body.get("action") or ""),
            object=known(str(body.get("object") or "")),
            model=_name_of(body.get("model")),
            door=str(body.get("door") or ""),
        )
    except (KeyError, TypeError, ValueError):
        return None


def ended_of(entry: Mapping[str, Any]) -> Ended | None:
    """Return the outcome of an entry; None if it has none that can be read."""
    body = entry["body"]
    try:
        used = body.get("used") or {}
        model = str(used.get("model") or "") if isinstance(used, Mapping) else ""
        at, index = parse_rfc3339(entry["time"]), int(entry["index"])
        return Ended(str(body["verdict_id"]), index, at, str(body["outcome"]), bool(body["sent"]), model)
    except (KeyError, TypeError, ValueError):
        return None


def seen_of(entry: Mapping[str, Any], governed: Governed) -> Seen | None:
    """Return the effect that an entry of the kind `observed` tells of.

    None: it is nobody's who is a principal, or of nothing that is governed.
    """
    body = entry["body"]
    try:
        placed = _place(body, governed)
        if placed is None or entry["principal"] is None or not body.get("principal"):
            return None
        source, more = body["source"], body.get("more") or {}
        system, action, tool = placed
        # what a platform calls an object is compared only where it speaks of the service as Charter does
        is_foreign = (
            source["kind"] in BY_ITSELF or (str(source["kind"]), str(body["action"]).casefold()) in governed.told
        )
        return Seen(
            index=int(entry["index"]),
            at=parse_rfc3339(body["at"]),
            source=str(source["kind"]),
            event=str(source["event"]).partition("/")[0] if source["kind"] == "kubernetes" else str(source["event"]),
            principal_id=str(entry["principal"]),
            principal=str(body["principal"]),
            system=system,
            action=action,
            names=frozenset({action, tool}) - {""},
            object="" if body.get("model") or is_foreign else known(str(body.get("object") or "")),
            model=_name_of(body.get("model")),
            outcome=str(body.get("outcome") or "unknown"),
            span=str(more.get("span") or ""),
            parent=str(more.get("parent") or ""),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _name_of(model: object) -> str:
    return str(model.get("name") or "") if isinstance(model, Mapping) else ""


def _place(body: Mapping[str, Any], governed: Governed) -> tuple[str, str, str] | None:
    """Return which system, action and tool an observation is of; of a call to a model, only the system."""
    model, said = body.get("model"), str(body.get("action") or "").casefold()
    if isinstance(model, Mapping) and model.get("provider"):
        asks = body["source"]["kind"] not in BY_ITSELF or said.partition(" ")[0] in _ASKS_A_MODEL
        system = governed.providers.get(str(model["provider"]).casefold()) if asks else None
        return (system, "", "") if system is not None else None
    declared = governed.told.get((str(body["source"]["kind"]), said))
    if declared is not None:
        return declared
    system = governed.services.get(str(body.get("service") or "").casefold())
    if system is None:
        return None
    known = governed.operations.get(system, {})
    names = (said, said.rpartition(" ")[2], said.rpartition(":")[2])  # `execute_tool NAME`, `iam:CreateUser`
    found = next((known[name] for name in names if name in known), None)
    return (system, *found) if found is not None else None


# --- judging ----------------------------------------------------------------------------------------------------------


def reconcile(verdicts: Iterable[Told], outcomes: Iterable[Ended], seen: Iterable[Seen], at: dt.datetime) -> Reconciled:
    """Hold verdicts against what is known of their effects by `at`."""
    told = sorted(verdicts, key=lambda each: each.index)
    ended = {each.verdict_id: each for each in outcomes}
    laid = _Laid(told, ended)
    apart = laid.lay(_once(seen))
    held = []
    for verdict in told:
        outcome, own = ended.pop(verdict.verdict_id, None), tuple(laid.to[verdict.verdict_id])
        held.append(Held(verdict, outcome, own, judge(verdict, outcome, own, at)))
    apart += [_alone(each) for each in ended.values()]
    return Reconciled(tuple(held), tuple(sorted(apart, key=lambda each: each.index)))


def judge(verdict: Told, outcome: Ended | None, seen: Sequence[Seen], at: dt.datetime) -> Judgement:
    """Return what is said of one verdict, given what was laid to it."""
    if not verdict.is_allowed:
        return _of_refused(verdict, outcome, seen)
    unlike = next((each for each in seen if not _is_same(verdict, outcome, each)), None)
    if unlike is not None:
        was, asked = (unlike.model, verdict.model) if unlike.model else (unlike.object, verdict.object)
        return _disagrees(Ground.UNLIKE, f"`{asked}` was asked for, and {unlike.source} tells that it was `{was}`")
    done = next((each for each in seen if not each.is_failure), None)
    return _without_outcome(verdict, done, at) if outcome is None else _of_ended(outcome, done)


def _of_ended(outcome: Ended, done: Seen | None) -> Judgement:
    also, is_told = (f", and {done.source} tells the same", not done.is_by_itself) if done is not None else ("", False)
    if not outcome.sent:
        if done is not None and is_told:
            return _disagrees(Ground.UNLIKE, f"nothing was sent, and yet {done.source} tells that it was done")
        return Judgement(Agreement.AGREES, Ground.NOT_SENT, f"it was allowed, and nothing was sent ({outcome.word})")
    match outcome.word:
        case "ok":
            return Judgement(Agreement.AGREES, Ground.DONE, f"it was done as it was allowed{also}")
        case "tool-error":
            text = f"it was made as it was allowed, and the system answered with an error{also}"
            return Judgement(Agreement.AGREES, Ground.DONE, text)
        case word if done is not None and is_told:
            text = f"no whole answer came back ({word}), and {done.source} tells that it was done"
            return Judgement(Agreement.AGREES, Ground.DONE, text)
        case word:
            text = f"it was sent, and no whole answer came back ({word}): it may have been done"
            return Judgement(Agreement.UNKNOWN, Ground.CUT_OFF, text)


def _of_refused(verdict: Told, outcome: Ended | None, seen: Sequence[Seen]) -> Judgement:
    what = "denied" if verdict.word == "deny" else "held for a person"
    done = next((each for each in seen if not each.is_failure and not each.is_by_itself), None)
    if done is not None:
        return _disagrees(Ground.DONE_ANYWAY, f"it was {what}, and {done.source} tells that it was done")
    if outcome is not None and outcome.sent:
        return _disagrees(Ground.DONE_ANYWAY, f"it was {what}, and yet it has an outcome ({outcome.word})")
    if verdict.door in _CARRIED_ELSEWHERE:
        text = f"it was {what}; whoever asked carries that out, and tells nothing back"
        return Judgement(Agreement.UNKNOWN, Ground.ELSEWHERE, text)
    return Judgement(Agreement.AGREES, Ground.NOT_FORWARDED, f"it was {what}, and nothing was forwarded")


def _without_outcome(verdict: Told, done: Seen | None, at: dt.datetime) -> Judgement:
    if done is not None and not done.is_by_itself:
        return Judgement(Agreement.AGREES, Ground.DONE, f"{done.source} tells that it was done as it was allowed")
    if verdict.door in _CARRIED_ELSEWHERE:
        text = "it was allowed; whoever asked carries it out, and tells nothing back"
        return Judgement(Agreement.UNKNOWN, Ground.ELSEWHERE, text)
    if at - verdict.at < WAITED:
        return Judgement(Agreement.UNKNOWN, Ground.UNDER_WAY, "it was allowed, and has no outcome yet")
    hours = int(WAITED.total_seconds() // 3600)
    text = f"it was allowed, and has no outcome after {hours} h: the process that forwarded it may have ended"
    return Judgement(Agreement.UNKNOWN, Ground.NO_OUTCOME, text)


def _once(seen: Iterable[Seen]) -> list[Seen]:
    """Return each effect once, in the order of time: a span inside another of them tells of the same call."""
    every = sorted(seen, key=lambda each: (each.at, each.index))
    spans = {each.span for each in every if each.span}
    return [each for each in every if not each.parent or each.parent not in spans]


class _Laid:
    """Lays effects to verdicts: each to the nearest that accounts for it, one effect of a source to one allow."""

    def __init__(self, told: Sequence[Told], ended: Mapping[str, Ended]) -> None:
        self._by: dict[tuple[str, str], list[Told]] = defaultdict(list)
        for each in sorted(told, key=lambda each: each.at):
            self._by[each.principal_id, each.system].append(each)
        self._ended = ended
        self._spent: dict[tuple[str, str], str] = {}  # verdict and source -> event
        self.to: dict[str, list[Seen]] = defaultdict(list)

    def lay(self, seen: Sequence[Seen]) -> list[Apart]:
        """Lay effects to verdicts; return those that none accounts for."""
        left = [each for each in seen if not self._lay(each, self._just(each, is_allowed=True))]
        left = [each for each in left if not self._lay(each, self._just(each, is_allowed=False))]
        left = [each for each in left if each.is_failure or not self._lay(each, self._other(each))]
        return [_apart(each, has_others=bool(self._near(each))) for each in left]

    def _lay(self, seen: Seen, candidates: list[Told]) -> bool:
        best = min(candidates, key=lambda each: abs(seen.at - each.at), default=None)
        if best is None:
            return False
        self._spent[best.verdict_id, seen.source] = seen.event
        self.to[best.verdict_id].append(seen)
        return True

    def _near(self, seen: Seen) -> list[Told]:
        every = self._by[seen.principal_id, seen.system]
        first = bisect.bisect_left(every, seen.at - LONGEST, key=lambda each: each.at)
        last = bisect.bisect_right(every, seen.at + SKEW, key=lambda each: each.at)
        return [each for each in every[first:last] if self._fits(each, seen)]

    def _fits(self, verdict: Told, seen: Seen) -> bool:
        if seen.names and verdict.action not in seen.names and verdict.tool not in seen.names:
            return False
        ended = self._ended.get(verdict.verdict_id)
        until = ended.at if ended is not None else verdict.at + WAITED
        return verdict.at - SKEW <= seen.at <= until + SKEW

    def _just(self, seen: Seen, *, is_allowed: bool) -> list[Told]:
        """Return the verdicts of just this: allows that are free, or refusals."""
        return [
            each
            for each in self._near(seen)
            if each.is_allowed is is_allowed
            and _is_same(each, self._ended.get(each.verdict_id), seen)
            and (not is_allowed or self._spent.get((each.verdict_id, seen.source), seen.event) == seen.event)
        ]

    def _other(self, seen: Seen) -> list[Told]:
        """Return the allows of something else that this source told nothing of."""
        return [
            each for each in self._near(seen) if each.is_allowed and (each.verdict_id, seen.source) not in self._spent
        ]


def _is_same(verdict: Told, outcome: Ended | None, seen: Seen) -> bool:
    """Whether an effect is on what a call asked for, as far as both say."""
    if seen.model:
        asked = {verdict.model, outcome.model if outcome is not None else ""} - {""}
        return not asked or any(_same_model(each, seen.model) for each in asked)
    if not seen.object or verdict.object in ("", "*"):
        return True
    one, other = verdict.object.casefold(), seen.object.casefold()
    return one == other or any(one.endswith(f"{at}{other}") or other.endswith(f"{at}{one}") for at in _JOINTS)


def _same_model(one: str, other: str) -> bool:
    """Whether two names are of one model: providers add dates, regions and versions."""
    one, other = one.casefold().rpartition("/")[2], other.casefold().rpartition("/")[2]
    return one in other or other in one


def _disagrees(ground: Ground, text: str) -> Judgement:
    return Judgement(Agreement.DISAGREES, ground, text)


def _apart(seen: Seen, *, has_others: bool) -> Apart:
    did = "tried" if seen.is_failure else "did"
    what = f"`{seen.action}` on `{seen.system}`" if seen.action else f"something on `{seen.system}`"
    which = "no verdict accounts for it" if has_others else "there is no verdict of it"
    text = f"{seen.source} tells that `{seen.principal}` {did} {what}, and {which}"
    found = _disagrees(Ground.NO_VERDICT, text)
    return Apart(seen.index, seen.principal_id, seen.principal, seen.system, seen.action, seen.source, found, seen)


def _alone(ended: Ended) -> Apart:
    text = f"there is an outcome ({ended.word}) of the verdict {ended.verdict_id}, which the log does not have"
    return Apart(ended.index, "", "", "", "", "", _disagrees(Ground.OUTCOME_ALONE, text))
