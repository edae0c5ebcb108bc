"""What a model says about a file, in people's words and at the exact place.

pydantic names fields by their path in the model; a person needs the line in the file. Paths are walked along the file's
own tree: a component that the file does not have (a union's member, a heading the file leaves out) is passed over. A
missing field is reported where its parent stands, an unknown one at its key, all else at the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from types import NoneType
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from charter.registry.document import Document, Path
from charter.registry.problem import Problem, nearest, suggestion

_SHOWN = 60  # characters of a wrong value
_MAX_ERRORS = 100  # looked at in one file; more tell a person nothing

# What a field looks like, for whoever left it out or left it empty.
EXAMPLES = {
    "charter": "charter: v1",
    "principal": "principal: refund-agent",
    "kind": "kind: agent",
    "environment": "environment: production",
    "owner": "owner: {person: maria@example.com, team: payments-ops}",
    "person": "person: maria@example.com",
    "team": "team: payments-ops",
    "purpose": "purpose: Refund small disputed card charges",
    "model": "model: {provider: anthropic, name: claude-*}",
    "provider": "provider: anthropic",
    "approved": "approved: {by: alex@example.com, role: payments-risk, on: 2026-11-02}",
    "by": "by: alex@example.com",
    "role": "role: payments-risk",
    "on": "on: 2026-11-02",
    "credential": "credential: {type: private-key-jwt}",
    "composition": "composition: {tools: granted}",
    "program": "program: sha256:… (64 hexadecimal digits)",
    "image": "image: sha256:… (64 hexadecimal digits)",
    "accepted_by": "accepted_by: payments-risk",
    "review": "review: 90d",
    "bearer": "bearer: allowed",
    "tokens": "tokens: 5m",
    "spiffe_id": "spiffe_id: spiffe://partner.example/billing",
    "certificate": "certificate: {san_dns: refunds.example.com}",
    "workloads": "workloads: [{uid: 1001}]",
    "trusts": "trusts: [partner.example]",
    "issuer": "issuer: github",
    "platform": "platform: github-actions",
    "level": "level: confidential",
    "holidays": "holidays: DE-BE",
    "until": "until: 2027-01-04T06:00:00+01:00",
    "force": "force: default",
    "sts": "sts: https://sts.eu-central-1.amazonaws.com",
    "expires": "expires: 2027-11-02",
    "system": "system: payments",
    "actions": "actions: [charge.read, refund.create]",
    "from": "from: [humans]",
    "per": "per: day",
    "tool": "tool: get_charge",
    "effect": "effect: read",
    "approval": "approval: {by: payments-lead}",
    "limit": "limit: [{count: 50, per: day}]",
    "reason": "reason: Why it is so, for whoever meets it",
    "transport": "transport: stdio",
    "command": "command: [uvx, mcp-server-git]",
    "url": "url: https://mcp.example.com/mcp",
    "lead": "lead: maria@example.com",
    "expect": "expect: deny",
    "title": "title: What it is for",
    "description": "description: What to fill in",
    "hours": "hours: 08:00-18:00 Europe/Berlin",
}
# What a model is called in a sentence.
_CALLED = {
    "Charter": "a principal",
    "System": "a system",
    "Teams": "teams.yaml",
    "Issuers": "issuers.yaml",
    "CertificateName": "a certificate's name",
    "Delegated": "a grant's terms of delegation",
    "TrialChain": "a test's delegation",
    "TrialFlow": "what a test's session has read",
    "ObjectGroup": "a group of objects",
    "DataClasses": "data.yaml",
    "DataRule": "a class of data",
    "Calendars": "calendars.yaml",
    "Freeze": "a freeze",
    "DutyFile": "duties.yaml",
    "SharingFile": "sharing.yaml",
    "ResponseFile": "responses.yaml",
    "Limit": "a limit",
    "DataFlow": "what may be read, written and sent",
    "DelegationTerms": "the terms of delegation",
    "SharingRule": "a rule on shared credentials",
    "ResponseRule": "a response",
    "AccessGroups": "the groups that may use the console",
    "HttpRoute": "a route",
    "AwsPlace": "a place in AWS",
    "LeaseTerms": "the terms of leases",
    "ObligationRule": "an obligation",
    "Proxied": "the terms of a proxy",
    "ResourceWords": "a type of resources",
    "SubjectWords": "what points call principals",
    "FlowFile": "flow.yaml",
    "PurposeFile": "purposes.yaml",
    "Purpose": "a purpose",
    "PurposePart": "a part of a purpose",
    "FlowTerms": "the terms of data flow",
    "Results": "what an action answers",
    "ChangeTerms": "the terms of changes",
    "Duty": "a duty",
    "DutyPart": "a part of a duty",
    "RuleFile": "a file of rules",
    "CharterRule": "a rule",
    "Only": "what a rule allows",
    "AtMost": "what a rule bounds",
    "Scope": "whom a rule is for",
    "RuleException": "an exception",
    "TrustedIssuer": "an issuer",
    "Pinned": "a composition",
    "Workload": "a workload",
    "CharterPattern": "a pattern",
    "TrialFile": "a test file",
    "TrialCase": "a test",
    "ModelUse": "a model",
    "When": "a grant's conditions",
    "ArgumentCondition": "an argument's conditions",
    "ApprovalRule": "an approval",
    "AmountOf": "an amount",
    "CallClass": "a class of calls",
    "Who": "those principals",
    "WhoFits": "those principals",
    "Where": "those systems",
    "WhereFits": "those systems",
    "StdioUpstream": "a stdio upstream",
    "HttpUpstream": "an http upstream",
}
_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "true or false"),
    (int, "a whole number"),
    (str, "text"),
    (dict, "fields"),
    ((list, tuple), "a list"),
)


def problems_in(error: ValidationError, document: Document, model: type[BaseModel], below: Path = ()) -> list[Problem]:
    """Return the problems that `model` found in `document`, or in what stands `below` there, one for each place."""
    return [problem for _, problem in typed_problems_in(error, document, model, below)]


def typed_problems_in(
    error: ValidationError, document: Document, model: type[BaseModel], below: Path = ()
) -> list[tuple[str, Problem]]:
    """Return the problems as `problems_in` does, each with its type: `missing`, `extra_forbidden`, …."""
    found: dict[tuple[Path, str], list[dict[str, Any]]] = {}
    for each in error.errors(include_url=False)[:_MAX_ERRORS]:
        inner = getattr(each.get("ctx", {}).get("error"), "path", ())  # of a PlacedError
        path = _path_in(document.value, (*below, *each["loc"], *inner))
        missing = str(each["loc"][-1]) if each["type"] == "missing" and each["loc"] else ""
        found.setdefault((path, missing), []).append(dict(each))
    return [
        (str(errors[0]["type"]), _problem(document, model, path, errors))
        for (path, missing), errors in found.items()
        if not _is_echo(document, path, missing, errors, found)
    ]


def _is_echo(
    document: Document, path: Path, missing: str, errors: list[dict[str, Any]], found: Mapping[tuple[Path, str], Any]
) -> bool:
    """Whether a problem only repeats another: a field missing because misspelt, a list short of a bad entry."""
    if missing:
        unknown = [p[-1] for (p, _), other in found.items() if p[:-1] == path and other[0]["type"] == "extra_forbidden"]
        return any(nearest(str(key), [missing]) for key in unknown)
    is_short = errors[0]["type"] == "too_short" and document.has_entries(path)
    return is_short and any(p[: len(path)] == path and p != path for p, _ in found)


def _path_in(value: Any, loc: tuple[str | int, ...]) -> Path:  # noqa: ANN401 - any YAML value
    """Return `loc` as a path in the file's own tree."""
    path: list[str | int] = []
    for step in loc:
        is_key = isinstance(value, dict) and step in value
        is_entry = isinstance(value, list) and isinstance(step, int) and step < len(value)
        if is_key or is_entry:
            value = value[step]
            path.append(step)
    return tuple(path)


def _problem(document: Document, model: type[BaseModel], path: Path, errors: list[dict[str, Any]]) -> Problem:
    error = errors[0]
    loc = error["loc"]
    if error["type"] == "missing":
        field = str(loc[-1])
        source = document.source(path)
        return Problem.at(source, f"`{field}` is missing", _write(field))
    if error["type"] == "extra_forbidden":
        owner = next(iter(_models_at(model, loc[:-1])), model)
        text = f"`{str(loc[-1])[:_SHOWN]}` is no field of {_called(owner)}"
        return Problem.at(document.key_source(path), text, suggestion(str(loc[-1]), _fields(owner)))
    text, help = _wrong_value(_field_of(path), errors)
    is_key = loc and loc[-1] == "[key]"
    return Problem.at(document.key_source(path) if is_key else document.source(path), text, help)


def _wrong_value(field: str, errors: list[dict[str, Any]]) -> tuple[str, str | None]:
    error = errors[0]
    value, kind, context = error["input"], str(error["type"]), error.get("ctx", {})
    if value is None:
        return f"`{field}` is empty", _write(field) or "write a value, or remove the line"
    listed = next((each for each in errors if each["type"] in ("enum", "literal_error")), None)
    if listed is not None and isinstance(value, str):  # of a union, the member that takes one word of few
        return f"`{field}` cannot be `{_show(value)}`", suggestion(value, _expected(str(listed["ctx"]["expected"])))
    if len(errors) > 1:  # the members of a union each said what they are not
        return f"`{field}` must be text, a whole number, true or false", f"this is {_kind_of(value)}"
    if kind == "value_error":
        return _split(str(context["error"]))
    if kind in ("enum", "literal_error"):
        return f"`{field}` cannot be `{_show(value)}`", suggestion(str(value), _expected(str(context["expected"])))
    return _by_type(kind, field, value, context)


def _by_type(kind: str, field: str, value: Any, context: Mapping[str, Any]) -> tuple[str, str | None]:  # noqa: ANN401
    for fits, tell in _TOLD:
        if kind.startswith(fits):
            return tell(field, value, context)
    return f"`{field}` is wrong", None


_Told = tuple[str, str | None]


def _no_text(field: str, value: Any, _: Mapping[str, Any]) -> _Told:  # noqa: ANN401
    help = "write it in quotes" if isinstance(value, bool | int | float) or _kind_of(value) == "a number" else None
    return f"`{field}` must be text, not {_kind_of(value)}", help or _write(field)


def _no_number(field: str, value: Any, _: Mapping[str, Any]) -> _Told:  # noqa: ANN401
    return f"`{field}` must be a whole number, not {_kind_of(value)}", None


def _no_boolean(field: str, value: Any, _: Mapping[str, Any]) -> _Told:  # noqa: ANN401
    return f"`{field}` must be true or false, not `{_show(value)}`", None


def _no_list(field: str, value: Any, _: Mapping[str, Any]) -> _Told:  # noqa: ANN401
    help = f"write `[{_show(value)}]`" if isinstance(value, str | int) else _write(field)
    return f"`{field}` must be a list, not {_kind_of(value)}", help


def _no_fields(field: str, value: Any, _: Mapping[str, Any]) -> _Told:  # noqa: ANN401
    near = nearest(field, ("hours", "days", "workdays"))
    if near and near != field:  # `hour: 08:00-18:00 …` reads as a condition on an argument called `hour`
        return f"`{field}` is no condition", f"did you mean `{near}`?"
    if field in _QUANTITIES:
        return f"`{field}` must be a quantity, not {_kind_of(value)}", "write as in `200 EUR`"
    return f"`{field}` must be fields, not {_kind_of(value)}", _write(field)


def _no_tag(field: str, value: Any, context: Mapping[str, Any]) -> _Told:  # noqa: ANN401
    tag = str(context.get("discriminator", "")).strip("'")
    if "tag" in context:
        return f"`{tag}` cannot be `{context['tag']}`", suggestion(
            str(context["tag"]), _expected(str(context["expected_tags"]))
        )
    if isinstance(value, dict):
        return f"`{tag}` is missing", _write(tag)
    return f"`{field}` must be fields, not {_kind_of(value)}", _write(field)


def _too_few(field: str, _value: Any, context: Mapping[str, Any]) -> _Told:  # noqa: ANN401
    return f"`{field}` has too few entries", f"write at least {context['min_length']}"


def _too_many(field: str, _value: Any, context: Mapping[str, Any]) -> _Told:  # noqa: ANN401
    return f"`{field}` has too many entries", f"at most {context['max_length']} are allowed"


def _too_short(field: str, _value: Any, context: Mapping[str, Any]) -> _Told:  # noqa: ANN401
    least = context["min_length"]
    if least == 1:
        return f"`{field}` is empty", "write it out"
    return f"`{field}` is too short", f"write at least {least} characters"


def _too_long(field: str, _value: Any, context: Mapping[str, Any]) -> _Told:  # noqa: ANN401
    return f"`{field}` is too long", f"at most {context['max_length']} characters are allowed"


def _no_match(_field: str, value: Any, context: Mapping[str, Any]) -> _Told:  # noqa: ANN401
    pattern = str(context["pattern"])
    what, example = next(
        (told for sign, *told in _FORMS if sign in pattern), ("allowed here", "use a-z, 0-9 and _, a letter first")
    )
    return f"{_show(value)!a} is {what}", example


def _out_of_range(field: str, _value: Any, context: Mapping[str, Any]) -> _Told:  # noqa: ANN401
    if "ge" in context:
        return f"`{field}` is too small", f"it must be at least {context['ge']}"
    return f"`{field}` is too large", f"it must be at most {context['le']}"


_QUANTITIES = frozenset({"max", "min", "over", "under"})
_FORMS = (
    ("@", "no e-mail address", "write as in maria@example.com"),
    ("https?", "no URL", "it begins with http:// or https:// and holds no spaces"),
    ("sha256", "no pin", "charter systems import writes it"),
)
_TOLD: tuple[tuple[str | tuple[str, ...], Callable[[str, Any, Mapping[str, Any]], _Told]], ...] = (
    ("string_type", _no_text),
    ("string_pattern", _no_match),
    ("string_too_short", _too_short),
    ("string_too_long", _too_long),
    (("int_", "decimal_"), _no_number),
    ("bool_", _no_boolean),
    (("tuple_type", "list_type"), _no_list),
    (("dict_type", "model_type", "model_attributes_type"), _no_fields),
    ("union_tag", _no_tag),
    ("too_short", _too_few),
    ("too_long", _too_many),
    (("greater_than", "less_than"), _out_of_range),
)


def _field_of(path: Path) -> str:
    """Return what to call the value at `path`: its key, for an entry of a list that of the list."""
    words = [step for step in path if isinstance(step, str)]
    return words[-1][:_SHOWN] if words else "the file"


def _kind_of(value: Any) -> str:  # noqa: ANN401
    return next((told for kind, told in _KINDS if isinstance(value, kind)), "a number")


def _show(value: Any) -> str:  # noqa: ANN401
    return str(value)[:_SHOWN]


def _write(field: str) -> str | None:
    example = EXAMPLES.get(field)
    return f"write as in `{example}`" if example else None


def _split(text: str) -> tuple[str, str | None]:
    """Return a validator's sentence as what is wrong and what to do."""
    said, _, help = text.partition("; ")
    return said, help or None


def _expected(text: str) -> list[str]:
    """Return the words in pydantic's `'read', 'write' or 'irreversible'`."""
    return re.findall(r"'([^']*)'", text)


def _called(model: type[BaseModel]) -> str:
    name = model.__name__
    if name in _CALLED:
        return _CALLED[name]
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    return ("an " if name[0] in "AEIOU" else "a ") + words


def _fields(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _models_at(model: type[BaseModel], loc: tuple[str | int, ...]) -> list[type[BaseModel]]:
    """Return the models that the value at `loc` may be."""
    here: list[Any] = [model]
    for step in loc:
        here = [inner for each in here for inner in _inside(each, step)]
    return [each for each in here if isinstance(each, type) and issubclass(each, BaseModel)]


def _inside(annotation: Any, step: str | int) -> Iterator[Any]:  # noqa: ANN401 - any annotation
    """Yield what stands at `step` within a value of the type `annotation`, unions taken apart."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            if step in (name, field.alias):
                yield from _members(field.annotation)
            elif step in get_args(field.annotation):  # the tag of a union's member, `stdio`
                yield annotation
        return
    if get_origin(annotation) is dict:
        yield from _members(get_args(annotation)[1])
    elif get_origin(annotation) is tuple:
        yield from _members(get_args(annotation)[0])


def _members(annotation: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield the types that `annotation` may be, metadata and None taken off."""
    origin = get_origin(annotation)
    if origin is dict or origin is tuple or isinstance(annotation, type):
        if annotation is not NoneType:
            yield annotation
        return
    metadata = getattr(annotation, "__metadata__", None)
    for each in get_args(annotation)[: 1 if metadata else None]:
        yield from _members(each)
