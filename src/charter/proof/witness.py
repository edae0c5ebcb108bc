"""Counterexamples: the values that a solver found, made into one call, and the call put to the real decision engine.

INVARIANT: no example is shown that `policy/decide.py` was not asked about, with Cedar evaluating, and that it did not
decide as the proof says. Where the two differ though the question was the same, translation or solver is wrong: that
raises. Where no call makes that very question (a text that is no amount, a moment that never comes), the answer is
"not proven".
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from charter.core.errors import ErrorCode, IntegrityError, MalformedError
from charter.policy.amount import exact_decimal
from charter.policy.argument import ABSENT, find
from charter.policy.cedar_text import decimal_digits
from charter.policy.decide import Evaluator, decide
from charter.policy.object_path import placeholders
from charter.policy.request import (
    FLOW_FLAGS,
    FLOW_NAMES,
    NO_FLOW,
    Asker,
    ChainFacts,
    FlowFacts,
    Request,
    build_request,
    flow_json,
    read_flow,
)
from charter.policy.slice import Slice
from charter.policy.verdict import Allow, Verdict
from charter.policy.vocabulary import question_of
from charter.proof.authority import Reach
from charter.proof.moment import clock_values
from charter.proof.setting import SCALE, ArgumentName, Form, Setting
from charter.proof.term import PART, Values, evaluate, text
from charter.registry.charter import Kind
from charter.registry.delegation import Role, role_of
from charter.registry.unit import in_unit

ANY = "1"  # what stands in the place of an argument that nothing depends on


class Unreal(Exception):  # noqa: N818 - no error: an answer
    """No call has these values."""


@dataclass(frozen=True, slots=True)
class Example:
    """One call."""

    system: str
    action: str
    object: str
    arguments: Mapping[str, Any]
    at: dt.datetime
    approvals: tuple[str, ...]
    restrained: bool
    chain: ChainFacts
    flow: FlowFacts = NO_FLOW
    naming: frozenset[str] = frozenset()  # the arguments that name the object

    def to_json(self) -> dict[str, Any]:
        """Return the call as `charter test` and `charter why` read one."""
        found: dict[str, Any] = {
            "system": self.system,
            "action": self.action,
            "object": self.object,
            "arguments": dict(self.arguments),
            "at": self.at.isoformat(),
        }
        if self.approvals:
            found["approvals"] = list(self.approvals)
        if self.restrained:
            found["restrained"] = True
        if self.chain.depth:
            found["chain"] = {
                "initiator": self.chain.initiator,
                "purpose": self.chain.purpose,
                "depth": self.chain.depth,
                "roles": sorted(self.chain.initiator_roles),
            }
        if self.flow.exposed:
            found["flow"] = flow_json(self.flow)
        return found


def example_of(values: Values, settings: Sequence[Setting], at: dt.datetime) -> Example:
    """Return the call that has these values; of several settings, each knows arguments of its own.

    Raises:
        Unreal: there is none.
    """
    first = settings[0]
    arguments: dict[str, Any] = {}
    for each in _named(settings):
        _put_argument(arguments, each, values)
    for setting in settings:
        for name in _segments(setting):
            if find(arguments, name) is ABSENT:
                _put(arguments, name, values.get(f"segment:{name}") or values.get(f"{PART}{name}") or ANY)
    chain = _chain(values, first)
    named = str(values.get("object") or ANY) if first.template is None else None
    try:
        request = build_request(_asker(first.bound), first.system, first.action, arguments, at, object=named)
    except MalformedError as err:
        raise Unreal(err.detail) from err
    return Example(
        first.system.system,
        first.action,
        request.object,
        arguments,
        at,
        tuple(sorted(values.get("approvals", frozenset()) - {"…"})),
        bool(values.get("restrained", False)),
        chain,
        _flow(values),
        frozenset(_segments(first)),
    )


def _named(settings: Sequence[Setting]) -> list[ArgumentName]:
    found = {(each.name, each.tag): each for setting in settings for each in setting.arguments}
    return list(found.values())


def _segments(setting: Setting) -> list[str]:
    return [name for name in placeholders(setting.template or "") if name]


def _asker(bound: Slice, *, restrained: bool = False) -> Asker:
    return Asker(
        f"proof:{bound.principal}", bound.principal, bound.kind, bound.environment, bound.team, restrained=restrained
    )


def _chain(values: Values, setting: Setting) -> ChainFacts:
    depth = int(values.get("depth", 0))
    if not depth:
        return ChainFacts()
    own, is_person = setting.bound.principal, bool(values.get("by_person", False))
    initiator = str(values.get("initiator") or "") or ("person@example.com" if is_person else "another-principal")
    parties = {initiator, own} | {each for each in values.get("parties", ()) if each != "…"}
    decides = role_of(Kind(setting.bound.kind)) is Role.DECIDER
    deciders = ({own} if decides else set()) | {each for each in values.get("deciders", ()) if each != "…"}
    roles = {"another-role" if each == "…" else each for each in values.get("initiator_roles", ())}
    return ChainFacts(
        depth=depth,
        purpose=str(values.get("purpose", "")),
        initiator=initiator,
        by_person=is_person,
        initiator_roles=frozenset(roles),
        parties=tuple(sorted(parties)),
        deciders=tuple(sorted(deciders | ({"another-principal"} if "…" in values.get("deciders", ()) else set()))),
    )


def _flow(values: Values) -> FlowFacts:
    """Return what a session has read, as far as anything rests on it."""
    found: dict[str, Any] = {name: bool(values.get(f"flow {name}", False)) for name in FLOW_FLAGS}
    for name in FLOW_NAMES:
        found[name] = ["another" if each == "…" else each for each in values.get(f"flow {name}", ())]
    return read_flow(found)


# --- arguments --------------------------------------------------------------------------------------------------------


def _put(arguments: dict[str, Any], name: str, given: Any) -> None:  # noqa: ANN401 - any JSON value
    *around, last = name.split(".")
    place = arguments
    for step in around:
        place = place.setdefault(step, {})
        if not isinstance(place, dict):
            raise Unreal(f"`{name}` would lie within a value that is no object")
    place[last] = given


def _put_argument(arguments: dict[str, Any], argument: ArgumentName, values: Values) -> None:
    form = Form(int(values.get(f"form:{argument.name}", 0)))
    has_amount = bool(values.get(f"quantity?:{argument.tag}", False))
    if has_amount and argument.amount is not None:
        _put_amount(arguments, argument, form, values)
        if argument.is_its_own:
            return
    if form is not Form.ABSENT:
        _put(arguments, argument.name, _value(argument, form, values))


def _put_amount(arguments: dict[str, Any], argument: ArgumentName, form: Form, values: Values) -> None:
    where = argument.amount
    if where is None:
        raise RuntimeError("an amount without a place")
    told = Decimal(int(values.get(f"quantity:{argument.tag}", 0))) / SCALE
    raw = in_unit(told, where.given_in) * where.per_unit if where.given_in else told * where.per_unit
    _put(arguments, where.value, _number(raw, form if argument.is_its_own else Form.WHOLE))
    if where.unit is not None and find(arguments, where.unit) is ABSENT:
        _put(arguments, where.unit, values.get(f"unit:{argument.tag}", ""))


def _number(raw: Decimal, form: Form) -> Any:  # noqa: ANN401
    """Return a number in a form that JSON has."""
    if form is Form.TEXT:
        return decimal_digits(raw)
    if raw == raw.to_integral_value():
        return int(raw)
    as_float = float(raw)
    return as_float if exact_decimal(as_float) == raw else decimal_digits(raw)


def _value(argument: ArgumentName, form: Form, values: Values) -> Any:  # noqa: ANN401, PLR0911 - one for each form
    name = argument.name
    match form:
        case Form.TEXT:
            return values.get(argument.text.data, "")
        case Form.WHOLE:
            return int(values.get(f"whole:{name}", 0))
        case Form.FRACTION:
            if values.get(f"quantity?:{argument.tag}", False):
                return _number(Decimal(int(values.get(f"quantity:{argument.tag}", 5000))) / SCALE, form)
            return 1e-5  # a number that is no exact amount
        case Form.FLAG:
            return bool(values.get(f"flag:{name}", False))
        case Form.LIST:
            return _entries(argument, values)
        case Form.MIXED:
            return [None] * max(1, int(values.get(f"items:{name}", 1)))
        case _:
            return {}


def _entries(argument: ArgumentName, values: Values) -> list[str]:
    found = sorted(each for each in values.get(f"texts:{argument.name}", ()) if each != "…")
    found += [
        str(values.get(other.data, "")) for is_there, other in argument.others() if values.get(is_there.data, False)
    ]
    wanted = int(values.get(f"items:{argument.name}", len(found)))
    if found and wanted > len(found):
        found += [found[0]] * (wanted - len(found))
    return found


# --- replaying --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the engine said of an example: with the approvals it has, and without any."""

    verdict: Verdict
    asked: Verdict  # by somebody who has nobody's yes


def replay(example: Example, reach: Reach, values: Values, evaluator: Evaluator) -> Replayed | None:
    """Return what the engine says of an example; None where the slice has no such action at all.

    Raises:
        Unreal: the call is not the one that the values tell of.
        IntegrityError: it is, and the engine decides otherwise than the proof: one of the two is wrong.
    """
    if reach.setting is None:
        return None
    request = request_of(example, reach.setting)
    verdict = decide(reach.setting.bound, request, evaluator)
    said, proven = isinstance(verdict, Allow), bool(evaluate(reach.allowed, values))
    if said is not proven:
        actual = values_of(request, reach.setting)
        if bool(evaluate(reach.allowed, actual)) is not said:
            raise IntegrityError(
                ErrorCode.EVIDENCE_BROKEN,
                f"proof and decision differ on `{example.action}` of `{example.system}` for `{request.asker.name}`",
                help="nothing is proven until this is mended; report it with `charter plan --json`",
            )
        raise Unreal("no call has just these values")
    return Replayed(verdict, decide(reach.setting.bound, replace(request, approvals=frozenset()), evaluator))


def request_of(example: Example, setting: Setting) -> Request:
    """Return the example as a request of the principal that the setting is about.

    Raises:
        Unreal: its system would not take such a call.
    """
    asker = _asker(setting.bound, restrained=example.restrained)
    approvals = frozenset(example.approvals)
    named = example.object if setting.template is None else None
    try:
        request = build_request(
            asker, setting.system, setting.action, example.arguments, example.at, approvals, object=named
        )
    except MalformedError as err:
        raise Unreal(err.detail) from err
    return replace(request, chain=example.chain, flow=example.flow)


def values_of(request: Request, setting: Setting) -> dict[str, Any]:
    """Return the values that the unknowns of a setting have in one request."""
    question = question_of(request, setting.bound.words)
    values: dict[str, Any] = clock_values(request.at, [setting])
    values |= question.chain
    values |= {f"flow {name}": found for name, found in question.flow.items()}
    values |= {"object": request.object, "approvals": request.approvals, "restrained": request.asker.restrained}
    for each in setting.arguments:
        values |= _values_of_argument(each, question.given.get(each.name), find(request.arguments, each.name))
    for name in _segments(setting):
        given = find(request.arguments, name) if "." in name else request.arguments.get(name, "")
        values[f"segment:{name}"] = values[f"{PART}{name}"] = _segment_text(given)
    return values


def _segment_text(given: Any) -> str:  # noqa: ANN401
    if isinstance(given, bool):
        return "true" if given else "false"
    return str(int(given)) if isinstance(given, float) else str(given)


def _values_of_argument(argument: ArgumentName, record: Mapping[str, Any] | None, raw: Any) -> dict[str, Any]:  # noqa: ANN401
    name, found = argument.name, record or {}
    quantity = found.get("quantity")
    values: dict[str, Any] = {f"form:{name}": int(_form_of(raw, found))}
    if record is not None and not argument.is_its_own and raw is ABSENT:
        values[f"unread?:{argument.tag}"] = quantity is None
    if quantity is not None:
        values |= {
            f"quantity?:{argument.tag}": True,
            f"quantity:{argument.tag}": int(quantity["value"]),
            f"unit:{argument.tag}": quantity["unit"],
        }
    for form, unknown in (("number", "whole"), ("flag", "flag"), ("items", "items")):
        if form in found:
            values[f"{unknown}:{name}"] = found[form]
    if "text" in found:
        values[argument.text.data] = found["text"]
    if "texts" in found:
        values |= {f"texts:{name}": found["texts"], f"alike:{name}": found["alike"]}
    return values


def _form_of(raw: Any, record: Mapping[str, Any]) -> Form:  # noqa: ANN401
    if raw is ABSENT:
        return Form.ABSENT
    for name, form in (("text", Form.TEXT), ("flag", Form.FLAG), ("number", Form.WHOLE), ("texts", Form.LIST)):
        if name in record:
            return form
    if "items" in record:
        return Form.MIXED
    is_number = isinstance(raw, int | float | Decimal) and not isinstance(raw, bool)
    return Form.FRACTION if is_number else Form.OTHER


__all__ = ["Example", "Replayed", "Unreal", "example_of", "replay", "request_of", "text", "values_of"]
