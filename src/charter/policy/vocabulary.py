"""The words policies are written in: the Cedar schema, and one call told in exactly those words.

    principal   Charter::Principal   name, kind, environment, team, tier (of risk), provider (of its model), restrained,
                                     data (what its charter covers), and which of that it may read, write and send,
                                     posture (towards values that nobody vouches for)
    action      Charter::Action      "<system>/<action>", in the group "read", "write" or "irreversible"
    resource    Charter::Object      system, path, environment, sensitive, untrusted, external, provider ("" if it is no
                                     model),
                                     data, and which of that the action reads, writes and sends; in the system,
                                     Charter::System::"<system>"
    context     now, local (minute, day and working days in each zone a policy uses), arguments, approvals (roles that
                said yes), chain (who began it, for what, how deep; of the call itself, the same for each link that is
                asked), flow (what the session has read, and where the values of this call came from)

An argument is given in every form its value surely has: `text`, `number`, `flag`, `quantity` (an exact decimal with its
unit, `""` for none), the `length` of a text, the number of `items` of a list, its `texts`, and the patterns that these
are all `alike` to; a text is a list of one. A value that has no such form is there, with none of them. So no condition
ever errs: it asks `has` first, and the strict validator holds every policy to that.

INVARIANT: `question_of` gives all that the schema of the same slice declares, and nothing that it does not.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any, Self
from zoneinfo import ZoneInfo

import msgspec

from charter.policy.amount import plain_amount, whole_number
from charter.policy.argument import ABSENT, find
from charter.policy.cedar_text import key, quoted
from charter.policy.cedar_value import Fixed, Record
from charter.policy.like import is_like
from charter.policy.request import FLOW_FLAGS, FLOW_NAMES, ChainFacts, FlowFacts, Request
from charter.registry.calendar import Calendar
from charter.registry.charter import DAYS, Effect, Kind
from charter.registry.delegation import Role, role_of

MAX_ITEMS = 1000  # of a list of texts that policy reads one by one
MAX_TEXT = 65_536  # characters of an argument that policy reads; longer text has no form at all
FLOWS = ("reads", "writes", "sends")
PRINCIPAL_ATTRIBUTES = (
    "name",
    "kind",
    "environment",
    "team",
    "tier",
    "provider",
    "data",
    *FLOWS,
    "restrained",
    "posture",
)
OBJECT_ATTRIBUTES = ("system", "path", "environment", "provider", "data", *FLOWS, "sensitive", "untrusted", "external")
CALL_ATTRIBUTES = ("now", "local", "arguments", "approvals", "chain", "flow")
FLOW_ATTRIBUTES = (*FLOW_FLAGS, *FLOW_NAMES)
CHAIN_ATTRIBUTES = ("depth", "purpose", "initiator", "by_person", "initiator_roles", "parties", "deciders")
LOCAL_ATTRIBUTES = ("minute", "day", "workdays", "before")
FORMS = ("text", "number", "flag", "quantity", "length", "items", "texts", "alike")
QUANTITY_ATTRIBUTES = ("value", "unit")
_NO_DECIDERS = frozenset(kind.value for kind in Kind if role_of(kind) is not Role.DECIDER)
GROUPS = tuple(effect.value for effect in Effect)
NO_ACTIONS = {f"-/{group}": group for group in GROUPS}  # no system is called `-`: every group has an action to check

_HEAD = """\
namespace Charter {
  entity Principal = {
    name: String, kind: String, environment: String, team: String, tier: String, provider: String,
    data: Set<String>, reads: Set<String>, writes: Set<String>, sends: Set<String>, restrained: Bool, posture: String,
  };
  entity System;
  entity Object in [System] = {
    system: String, path: String, environment: String, provider: String,
    data: Set<String>, reads: Set<String>, writes: Set<String>, sends: Set<String>, sensitive: Bool, untrusted: Bool,
    external: Bool,
  };
  type LocalTime = { minute: Long, day: String, workdays: Set<String>, before: Set<String> };
  type Quantity = { value: decimal, unit: String };
  type Chain = {
    depth: Long, purpose: String, initiator: String, by_person: Bool,
    initiator_roles: Set<String>, parties: Set<String>, deciders: Set<String>,
  };
  type Flow = {
    exposed: Bool, known: Bool, spoken: Bool, tired: Bool,
    data: Set<String>, untrusted: Set<String>, unseen: Set<String>, carried: Set<String>, pointed: Set<String>,
  };
  type Argument = {
    text?: String, number?: Long, flag?: Bool, quantity?: Quantity,
    length?: Long, items?: Long, texts?: Set<String>, alike?: Set<String>,
  };
"""


def action_id(system: str, action: str) -> str:
    """Return the id of an action's entity."""
    return f"{system}/{action}"


def schema_text(actions: Mapping[str, str], zones: Iterable[str], arguments: Iterable[str]) -> str:
    """Return the Cedar schema in its text form.

    Args:
        actions: action id -> its group.
        zones: the time zones that policies name.
        arguments: the arguments that policies name.
    """
    local = ", ".join(f"{key(zone)}: LocalTime" for zone in sorted(set(zones)))
    given = ", ".join(f"{key(name)}?: Argument" for name in sorted(set(arguments)))
    lines = [
        _HEAD.rstrip("\n"),
        "  type Call = {",
        "    now: datetime,",
        f"    local: {{ {local} }}," if local else "    local: {},",
        f"    arguments: {{ {given} }}," if given else "    arguments: {},",
        "    approvals: Set<String>,",
        "    chain: Chain,",
        "    flow: Flow,",
        "  };",
        f"  action {', '.join(map(quoted, GROUPS))};",
    ]
    for group in GROUPS:
        names = sorted(name for name, its in actions.items() if its == group)
        if names:
            lines.append(f"  action {', '.join(map(quoted, names))}")
            lines.append(
                f"    in [{quoted(group)}] appliesTo {{ principal: Principal, resource: Object, context: Call }};"
            )
    return "\n".join([*lines, "}", ""])


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a call in the forms its value surely has, as explanations read it."""

    text: str | None = None
    number: int | None = None
    flag: bool | None = None
    quantity: tuple[Decimal, str] | None = None
    length: int | None = None  # of the text, in characters
    items: int | None = None  # of the list
    texts: frozenset[str] | None = None  # of the list, or the text by itself
    alike: frozenset[str] | None = None  # patterns, of those that policies name, that each of them matches

    @classmethod
    def of(cls, record: Record) -> Self:
        """Return the argument that the schema's record tells of."""
        quantity = record.get("quantity")
        amount = quantity and (Decimal(int(quantity["value"])).scaleb(-4), quantity["unit"])
        others = (record.get(name) for name in ("length", "items", "texts", "alike"))
        return cls(record.get("text"), record.get("number"), record.get("flag"), amount, *others)

    def form(self, name: str) -> Any:  # noqa: ANN401 - as the form has it
        """Return the value in the form `name`, or None."""
        return getattr(self, name)


class Question(msgspec.Struct, frozen=True, gc=False):
    """One call in the schema's words and Cedar's values (`cedar_value.py`), whose authority is asked, and when.

    Made on every call, and therefore a Struct. Its records are nobody's to change. Approvals are given when it is put.
    """

    action: str  # the entity's id
    object: str  # the entity's id
    system: str
    resource: Record  # the object's attributes
    principal: Record  # the attributes of the one who asks
    now: dt.datetime
    local: Record  # zone -> {minute, day}
    given: Record  # argument -> the forms it has
    chain: Record  # as the schema's Chain
    flow: Record  # as the schema's Flow

    @property
    def path(self) -> str:
        """The object's path within its system."""
        return str(self.resource["path"])

    def argument(self, name: str) -> Argument | None:
        """Return one argument as explanations read it; None if the call does not give it."""
        record = self.given.get(name)
        return None if record is None else Argument.of(record)


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """What the policies of a slice name, and a question must therefore tell of."""

    zones: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    calendars: Mapping[str, tuple[tuple[str, Calendar], ...]] = field(default_factory=dict)  # by the zone of their days
    alike: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # argument -> patterns for its every entry
    principal: Record = field(default_factory=dict)  # what its charter says of the asking principal


def question_of(request: Request, words: Words) -> Question:
    """Return `request` in the words of a schema with these zones and arguments."""
    system, path, touched, asker = request.system, request.object, request.touched, request.asker
    given: Record = {}
    read = _read if request.kept is None else _kept
    for name in words.arguments:
        record = read(request, name, words.alike.get(name, ()))
        if record is not None:
            given[name] = record
    return Question(
        action_id(system, request.action),
        f"{system}/{path}",
        system,
        {
            "system": system,
            "path": path,
            "environment": request.system_environment.value,
            "provider": request.provider,
            "data": touched.data,
            "reads": touched.reads,
            "writes": touched.writes,
            "sends": touched.sends,
            "sensitive": request.sensitive,
            "untrusted": request.untrusted,
            "external": request.external,
        },
        words.principal | {"name": asker.name, "team": asker.team, "restrained": asker.restrained},
        request.at,
        _local(words, int(request.at.timestamp())) if words.zones else {},  # exact until 2242
        given,
        _chain(request.chain) if request.chain.depth else alone(asker.name, asker.kind),
        flow_record(request.flow),
    )


def _chain(chain: ChainFacts) -> Record:
    return {
        "depth": chain.depth,
        "purpose": chain.purpose,
        "initiator": chain.initiator,
        "by_person": chain.by_person,
        "initiator_roles": chain.initiator_roles,
        "parties": frozenset(chain.parties),
        "deciders": frozenset(chain.deciders),
    }


@lru_cache(maxsize=1024)
def flow_record(flow: FlowFacts) -> Record:
    """Return what policies read of where a call's values came from."""
    return {name: getattr(flow, name) for name in FLOW_ATTRIBUTES}


@lru_cache(maxsize=4096)
def alone(name: str, kind: str) -> Record:
    """Return what policies read of the chain of a principal that acts by its own authority."""
    own = (name,)
    return _chain(ChainFacts(initiator=name, parties=own, deciders=() if kind in _NO_DECIDERS else own))


@lru_cache(maxsize=4096)
def _local(words: Words, second: int) -> Record:
    """Return the local times of one second: no zone changes within it."""
    at = dt.datetime.fromtimestamp(second, dt.UTC)
    return {zone: _local_time(at.astimezone(_zone(zone)), words.calendars.get(zone, ())) for zone in words.zones}


def _local_time(here: dt.datetime, calendars: Sequence[tuple[str, Calendar]]) -> Record:
    """Return the minute after midnight, the day, and the calendars by which this day, and the one before, is worked."""
    today, before = here.date(), here.date() - dt.timedelta(days=1)
    return {
        "minute": here.hour * 60 + here.minute,
        "day": DAYS[here.weekday()],
        "workdays": frozenset(name for name, calendar in calendars if calendar.is_workday(today)),
        "before": frozenset(name for name, calendar in calendars if calendar.is_workday(before)),
    }


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def argument_of(request: Request, name: str) -> Argument | None:
    """Return the argument `name` in its forms; None if the call does not give it."""
    record = record_of(request, name)
    return None if record is None else Argument.of(record)


def record_of(request: Request, name: str, patterns: Sequence[str] = ()) -> Record | None:
    """Return the argument `name` as the schema has it, told with those of `patterns` that all its entries match.

    None if the call does not give it.
    """
    return _read(request, name, patterns) if request.kept is None else _kept(request, name, patterns)


def _read(request: Request, name: str, patterns: Sequence[str]) -> Record | None:
    value, amount = find(request.arguments, name), request.amounts.get(name)
    if amount is None and "." in name:
        amount = plain_amount(value)
    if amount is None:
        if value is ABSENT and name not in request.unread:
            return None
        forms: Record = {}
    else:
        whole, _, part = amount[0].partition(".")
        forms = {"quantity": {"value": Fixed(whole + part.ljust(4, "0")), "unit": amount[1] or ""}}
    kind = type(value)
    if kind is str:
        if _is_readable(value):
            forms["text"] = value
            forms["length"], forms["items"] = len(value), 1
            _add_texts(forms, (value,), patterns)
    elif kind is list:
        forms["items"] = len(value)
        if len(value) <= MAX_ITEMS and all(type(each) is str and _is_readable(each) for each in value):
            _add_texts(forms, value, patterns)
    elif kind is bool:
        forms["flag"] = value
    else:
        number = whole_number(value)
        if number is not None:
            forms["number"] = number
    return forms


def _kept(request: Request, name: str, patterns: Sequence[str]) -> Record | None:
    """Return an argument of a recorded call; its texts, where they are supposed, told with the patterns they match."""
    kept = (request.kept or {}).get(name)
    if kept is None or "texts" not in kept:
        return None if kept is None else dict(kept)
    matched = (each for each in patterns if all(is_like(text, each) for text in kept["texts"]))
    return dict(kept) | {"alike": frozenset(matched)}


def _add_texts(forms: Record, texts: Sequence[str], patterns: Sequence[str]) -> None:
    forms["texts"] = frozenset(texts)
    forms["alike"] = frozenset(each for each in patterns if all(is_like(text, each) for text in forms["texts"]))


def _is_readable(text: str) -> bool:
    """Whether `text` is short enough to compare, and Unicode that every reader agrees on."""
    if len(text) > MAX_TEXT:
        return False
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)
