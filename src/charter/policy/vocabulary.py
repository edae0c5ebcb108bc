"""The words policies are written in: the Cedar schema, and one call told in exactly those words.

    principal   Charter::Principal   name, kind, environment, team, data (what its charter covers), restrained
    action      Charter::Action      "<system>/<action>", in the group "read", "write" or "irreversible"
    resource    Charter::Object      system, path, environment, data, sensitive; in Charter::System::"<system>"
    context     now, local (minute and day in each zone that a policy uses), arguments, approvals (roles that said yes)

An argument is given in every form its value surely has: `text`, `number`, `flag`, and `quantity` (an exact decimal with
its unit, `""` for none). A value that has no such form is there, with none of them. So no condition ever errs: it asks
`has` first, and the strict validator holds every policy to that.

INVARIANT: `question_of` gives all that the schema of the same slice declares, and nothing that it does not.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from charter.policy.amount import whole_number
from charter.policy.cedar_text import key, quoted
from charter.policy.request import Request
from charter.registry.charter import DAYS, Effect

MAX_TEXT = 65_536  # characters of an argument that policy reads; longer text has no form at all
PRINCIPAL_ATTRIBUTES = ("name", "kind", "environment", "team", "data", "restrained")
OBJECT_ATTRIBUTES = ("system", "path", "environment", "data", "sensitive")
CALL_ATTRIBUTES = ("now", "local", "arguments", "approvals")
LOCAL_ATTRIBUTES = ("minute", "day")
FORMS = ("text", "number", "flag", "quantity")
QUANTITY_ATTRIBUTES = ("value", "unit")
GROUPS = tuple(effect.value for effect in Effect)
NO_ACTIONS = {f"-/{group}": group for group in GROUPS}  # no system is called `-`: every group has an action to check

_HEAD = """\
namespace Charter {
  entity Principal = {
    name: String, kind: String, environment: String, team: String, data: Set<String>, restrained: Bool,
  };
  entity System;
  entity Object in [System] = {
    system: String, path: String, environment: String, data: Set<String>, sensitive: Bool,
  };
  type LocalTime = { minute: Long, day: String };
  type Quantity = { value: decimal, unit: String };
  type Argument = { text?: String, number?: Long, flag?: Bool, quantity?: Quantity };
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
    """One argument of a call in the forms its value surely has."""

    text: str | None = None
    number: int | None = None
    flag: bool | None = None
    quantity: tuple[Decimal, str] | None = None

    def form(self, name: str) -> Any:  # noqa: ANN401 - as the form has it
        """Return the value in the form `name`, or None."""
        return getattr(self, name)


@dataclass(frozen=True, slots=True)
class Question:
    """One call in the schema's words, whose authority is asked, and when. Approvals are given when it is put."""

    action: str  # the entity's id
    object: str  # the entity's id
    system: str
    path: str
    environment: str
    data: tuple[str, ...]
    sensitive: bool
    restrained: bool  # of the principal
    now: dt.datetime
    local: Mapping[str, tuple[int, str]]  # zone -> (minute after midnight, day)
    arguments: Mapping[str, Argument]


def question_of(request: Request, *, zones: Iterable[str], arguments: Iterable[str]) -> Question:
    """Return `request` in the words of a schema with these zones and arguments."""
    return Question(
        action=action_id(request.system, request.action),
        object=f"{request.system}/{request.object}",
        system=request.system,
        path=request.object,
        environment=request.system_environment.value,
        data=request.data,
        sensitive=request.sensitive,
        restrained=request.asker.restrained,
        now=request.at,
        local={zone: local_time(request.at, zone) for zone in zones},
        arguments={name: argument_of(request, name) for name in arguments if request.gives(name)},
    )


def local_time(at: dt.datetime, zone: str) -> tuple[int, str]:
    """Return the minute after local midnight and the day (`mon`) at `at` in `zone`."""
    here = at.astimezone(_zone(zone))
    return here.hour * 60 + here.minute, DAYS[here.weekday()]


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def argument_of(request: Request, name: str) -> Argument:
    """Return the argument `name`, which `request` gives, in its forms."""
    value = request.arguments.get(name)
    amount = request.amounts.get(name)
    quantity = (Decimal(amount[0]), amount[1] or "") if amount else None
    if type(value) is bool:
        return Argument(flag=value, quantity=quantity)
    if type(value) is str and _is_readable(value):
        return Argument(text=value, quantity=quantity)
    return Argument(number=whole_number(value), quantity=quantity)


def _is_readable(text: str) -> bool:
    """Whether `text` is short enough to compare, and Unicode that every reader agrees on."""
    if len(text) > MAX_TEXT:
        return False
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)
