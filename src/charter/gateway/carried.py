"""What a program may decide by itself: reads that its own policies allow, whatever the estate does not tell it.

A principal that is the enforcement point of its own tools (`charter.sdk`) can carry its policies with it. What it
decides by them is never more than the pipeline would have said while they held:

    only allows   whatever is no plain allow is the pipeline's to answer: denials, holds, limits, people's approvals
    only reads    of systems whose file lets the principal vouch for itself, without obligations or words of their own
    only alone    no delegation, no narrowed token, no further context
    only strict   policies that read what the session has read are carried as their stricter form (policy/assumed.py)

INVARIANT: `allowed` names rules without limits, by which Cedar allows exactly this call without anybody's approval.
INVARIANT: equal forms, equal digests: what a decision rested on can be named in evidence.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
from pydantic import ValidationError

from charter.core.canonical import digest_of
from charter.core.errors import CharterError, ErrorCode, MalformedError
from charter.gateway.call import Call
from charter.policy.assumed import assumed
from charter.policy.decide import Evaluator
from charter.policy.engine import Engine, Json
from charter.policy.object_path import fill_template
from charter.policy.request import Asker, build_request
from charter.policy.slice import Slice, calendars_json, groups_of
from charter.policy.vocabulary import Words, action_id, question_of
from charter.registry.calendar import Calendar
from charter.registry.charter import Effect, Environment
from charter.registry.enforcement import ASKED, Enforcement
from charter.registry.flow import Origin
from charter.registry.principal import Principal, SystemRecord
from charter.registry.standing import Standing
from charter.registry.system import System, SystemKind

MAX_FORM = 4 * 1024 * 1024  # bytes
MAX_ARGUMENTS = 16_384  # bytes of canonical JSON; a call with more is the pipeline's to decide
SETS: Final = ("data", "reads", "writes", "sends")
_SHOWN: Final = ("system", "kind", "environment", "owner", "sensitive", "untrusted", "external", "data")


class Form(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is carried, as it travels. Plain JSON throughout."""

    principal: dict[str, str]  # id, name, kind, environment, team
    until: str  # when its charter ends, RFC 3339
    policies: dict[str, Json]
    groups: dict[str, str]
    zones: list[str]
    arguments: list[str]
    calendars: list[tuple[str, str, Json]]
    alike: dict[str, list[str]]
    told: dict[str, Any]  # what its charter says of the principal, as policies read it
    systems: dict[str, Json]
    free: list[str]  # rules that count against no limit
    labelled: list[str]  # actions whose answers the pipeline must know to be in the session


@dataclass(frozen=True)
class Carried:
    """The policies that a principal carries, and what of its calls they may decide."""

    form: Form

    @cached_property
    def digest(self) -> str:
        """The digest of its canonical JSON."""
        return digest_of(msgspec.to_builtins(self.form))

    @property
    def decides(self) -> bool:
        """Whether there is any call that it could decide."""
        return bool(self.form.systems)

    def encoded(self) -> bytes:
        """Return it as it travels."""
        return msgspec.json.encode(self.form)


def read_carried(data: bytes) -> Carried:
    """Return what `Carried.encoded` gave.

    Raises:
        MalformedError: it is none.
    """
    if len(data) > MAX_FORM:
        raise MalformedError(ErrorCode.TOO_LARGE, f"the carried policies take more than {MAX_FORM} bytes")
    try:
        return Carried(msgspec.json.decode(data, type=Form))
    except (msgspec.DecodeError, RecursionError) as err:
        raise MalformedError(ErrorCode.BAD_REQUEST, f"these are no carried policies: {err}") from err


def carried_of(
    principal: Principal, bound: Slice, policies: Mapping[str, Json], systems: Mapping[str, SystemRecord]
) -> Carried:
    """Return what a principal may carry of its slice.

    Args:
        principal: whose they are.
        bound: its slice.
        policies: all policies of the slice as Cedar's JSON, by id, its own grants as its own.
        systems: the systems of the estate.
    """
    shown = _shown(principal, bound, systems) if principal.standing is Standing.ACTIVE else {}
    words = bound.words
    actions = {action_id(name, action): system for name, system in shown.items() for action in system.actions}
    free = sorted([*(rule.id for rule in bound.grants if not rule.limits), *bound.permits])
    end = dt.datetime.combine(principal.expires, dt.time(), dt.UTC) + dt.timedelta(days=1)
    form = Form(
        principal={
            "id": principal.id,
            "name": principal.name,
            "kind": principal.kind.value,
            "environment": principal.environment.value,
            "team": principal.owner_team,
        },
        until=end.isoformat(),
        policies={name: assumed(policy) for name, policy in policies.items()} if shown else {},
        groups=groups_of(actions, shown),
        zones=list(words.zones),
        arguments=list(words.arguments),
        calendars=[(zone, name, said) for zone, name, said in calendars_json(words)],
        alike={name: list(patterns) for name, patterns in words.alike.items()},
        told={name: sorted(said) if name in SETS else said for name, said in words.principal.items()},
        systems={name: system.to_json() for name, system in shown.items()},
        free=free,
        labelled=sorted(name for name, system in actions.items() if _is_labelled(systems[system.system], name)),
    )
    return Carried(form)


def _shown(principal: Principal, bound: Slice, systems: Mapping[str, SystemRecord]) -> dict[str, System]:
    """Return the systems on which calls may be decided in the program, with those actions alone."""
    found: dict[str, System] = {}
    for name in bound.systems:
        record = systems.get(name)
        if record is None or not _lets(record, principal.name):
            continue
        system, enforcement = record.system, record.system.enforcement
        assert enforcement is not None  # noqa: S101 - `_lets` asked
        granted = bound.actions_on(name)
        actions = {
            each: action.model_copy(update={"pin": None, "results": None, "asked_as": None})
            for each, action in system.actions.items()
            if each in granted and action.effect is Effect.READ and not enforcement.due(each, "allow")
        }
        if actions:
            kept: dict[str, Any] = {part: getattr(system, part) for part in _SHOWN}
            own = Enforcement(points=(principal.name,), vouching="allowed")
            found[name] = System.model_construct(charter="v1", **kept, enforcement=own, actions=actions)
    return found


def _lets(record: SystemRecord, name: str) -> bool:
    """Whether a system's file lets the principal `name` vouch for itself, with nothing else to be known."""
    system, enforcement = record.system, record.system.enforcement
    return (
        record.standing is Standing.ACTIVE
        and system.kind in (SystemKind.HTTP, SystemKind.DATABASE)
        and enforcement is not None
        and name in enforcement.points
        and enforcement.vouching is not None
        and not (enforcement.subjects.known or enforcement.context or enforcement.resources)
        and enforcement.proxy is None
    )


def _is_labelled(record: SystemRecord, named: str) -> bool:
    """Whether what an action answers changes what its session has read."""
    action = named.partition("/")[2]
    labels = record.system.labels_of(action)
    return bool(record.system.touched(action).reads) or labels is None or labels.worst is Origin.UNTRUSTED


@dataclass(frozen=True, slots=True)
class Deed:
    """A call that a program would make."""

    system: str
    action: str
    object: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The action's id."""
        return action_id(self.system, self.action)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {
            "system": self.system,
            "action": self.action,
            "object": self.object,
            "arguments": dict(self.arguments),
        }

    def call(self) -> Call:
        """Return it as the pipeline sees it."""
        path = fill_template("{id}", {"id": self.object})
        named = {"system": self.system, "tool": self.action, "arguments": dict(self.arguments), "object": path}
        return Call(self.system, self.action, dict(self.arguments), digest_of(named), None, object=path)


class Local:
    """Carried policies, bound by an engine: decides."""

    def __init__(self, carried: Carried, engine: Engine, evaluator: Evaluator) -> None:
        """Bind them.

        Raises:
            MalformedError: a part of them cannot be read, or bound.
        """
        form = carried.form
        self.carried = carried
        try:
            self._asker = Asker(
                form.principal["id"],
                form.principal["name"],
                form.principal["kind"],
                Environment(form.principal["environment"]),
                form.principal["team"],
            )
            self._systems = {
                name: System.model_validate_json(msgspec.json.encode(said)) for name, said in form.systems.items()
            }
            self._until = dt.datetime.fromisoformat(form.until)
            self._words = _words(form)
        except (ValidationError, ValueError, KeyError) as err:
            raise MalformedError(ErrorCode.BAD_REQUEST, f"these policies cannot be carried: {err}"[:300]) from err
        self._evaluator = evaluator
        self._program = engine.bind(form.policies, form.groups) if form.systems else None
        self._free = frozenset(form.free)
        self._labelled = frozenset(form.labelled)

    def is_labelled(self, deed: Deed) -> bool:
        """Whether what the call answers changes what its session has read, so that the pipeline must know of it."""
        return deed.id in self._labelled

    def allowed(self, deed: Deed, at: dt.datetime) -> tuple[str, ...]:
        """Return the rules that allow a call, at the pipeline's time; none: it is the pipeline's to decide."""
        system = self._systems.get(deed.system)
        if system is None or deed.action not in system.actions or at >= self._until or ASKED in deed.arguments:
            return ()
        try:
            call = deed.call()
            request = build_request(self._asker, system, deed.action, deed.arguments, at, object=call.object)
        except CharterError:
            return ()  # the pipeline says what is wrong with it
        answer = self._evaluator.evaluate(self._program, question_of(request, self._words), frozenset())
        if not answer.allowed or answer.errors:
            return ()
        return tuple(rule for rule in answer.rules if rule in self._free)


def _words(form: Form) -> Words:
    calendars: dict[str, tuple[tuple[str, Calendar], ...]] = {}
    for zone, name, said in form.calendars:
        calendars[zone] = (*calendars.get(zone, ()), (name, Calendar.model_validate_json(msgspec.json.encode(said))))
    for zone in form.zones:
        ZoneInfo(zone)  # one that there is not shows itself now
    return Words(
        zones=tuple(form.zones),
        arguments=tuple(form.arguments),
        calendars=calendars,
        alike={name: tuple(patterns) for name, patterns in form.alike.items()},
        principal={name: frozenset(said) if name in SETS else said for name, said in form.told.items()},
    )
