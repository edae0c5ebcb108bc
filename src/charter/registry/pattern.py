"""Patterns: approved charters with parameters, from which `charter new` writes a principal's file.

A pattern's template is a charter in which texts hold `${parameter}`. Values are put into the parsed tree and never into
YAML text, so no value can add a field: whatever a person types stays one text. What is rendered is held to the same
model as any charter before it is shown. Nor may a value hold `*`, which would widen what was approved.

A template's dates may be told from the day on which a charter is made of it, so that none is born expired:

    approved: {by: "${approver}", role: platform-lead, on: today}
    expires: 365d       # after that day
"""

from __future__ import annotations

import datetime as dt
import io
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import SingleQuotedScalarString

from charter.core.canonical import digest_of
from charter.core.errors import ErrorCode, MalformedError
from charter.core.values import Source
from charter.registry.charter import Charter, Model, Name, Text
from charter.registry.document import Document, Path
from charter.registry.duration import parse_duration
from charter.registry.fault import problems_in, typed_problems_in
from charter.registry.problem import PlacedError, Problem, suggestion

_PLACEHOLDER = re.compile(r"\$\{([^{}]*)\}")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
TODAY = "today"  # for `approved.on` of a template
_SOMEBODY = "somebody@charter.invalid"  # nobody's address (RFC 2606)
_FLOW_WIDTH = 100  # a list or mapping of scalars that fits this many characters is written on one line

ParameterName = Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z][a-z0-9_]{0,39}$")]
ParameterValue = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=500)]


class Parameter(Model):
    """One thing a person fills in."""

    description: Text
    default: ParameterValue | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the parameter as plain JSON, in the shape of its file."""
        return self.model_dump(mode="json", exclude_none=True)


class CharterPattern(Model):
    """One file of `patterns/`."""

    charter: Literal["v1"]
    pattern: Name
    title: Text
    parameters: Annotated[dict[ParameterName, Parameter], Field(max_length=40)] = Field(default_factory=dict)
    template: dict[str, Any]

    @model_validator(mode="after")
    def _parameters_exist(self) -> CharterPattern:
        for path, name in placeholders(self.template):
            if name not in self.parameters:
                help = suggestion(name, self.parameters)
                text = f"the template uses `{name}`, which is no parameter; {help}"
                raise PlacedError(("template", *path), text)
        return self

    def to_json(self) -> dict[str, Any]:
        """Return the pattern as plain JSON, in the shape of its file; decimals as text."""
        body = self.model_dump(mode="json", exclude={"template"}, exclude_none=True)
        return body | {"template": _plain(self.template)}

    @property
    def digest(self) -> str:
        """The digest of the canonical JSON."""
        return digest_of(self.to_json())


def placeholders(template: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:  # noqa: ANN401 - any YAML value
    """Yield where `${…}` stands in the template's values, and the name in it."""
    match template:
        case str():
            yield from ((path, name) for name in _PLACEHOLDER.findall(template))
        case dict():
            for key, item in template.items():
                yield from placeholders(item, (*path, key))
        case list():
            for index, item in enumerate(template):
                yield from placeholders(item, (*path, index))
        case _:
            return


def render(pattern: CharterPattern, values: Mapping[str, str], today: dt.date) -> str:
    """Return the YAML text of the charter that `pattern` makes with `values` on a day; defaults fill the rest.

    Raises:
        MalformedError: a parameter is missing or unknown, or the outcome would be no charter, or one that has run out.
    """
    filled, charter = _made(pattern, values, today)
    if charter.expires < today:
        raise MalformedError(
            ErrorCode.BAD_VALUE,
            f"charters of the pattern `{pattern.pattern}` expired on {charter.expires.isoformat()}",
            help="let the pattern say how long they hold: `expires: 365d`, and `approved.on: today`",
        )
    logged = f"every call of its, whatever stands here: charter evidence query --principal {charter.principal}"
    return f"# From the pattern {pattern.pattern}: {pattern.title}\n# Logged: {logged}\n{write_yaml(filled)}"


def charter_of(pattern: CharterPattern, values: Mapping[str, str], today: dt.date) -> Charter:
    """Return the charter that `pattern` makes with `values` on a day; defaults fill the rest.

    Raises:
        MalformedError: a parameter is missing or unknown, or the outcome would be no charter.
    """
    return _made(pattern, values, today)[1]


def last_day(pattern: CharterPattern) -> dt.date | None:
    """Return the day on which all charters of a pattern expire; None if that depends on when they are made."""
    made = {_dated(pattern.template, day).get("expires") for day in (dt.date(2000, 1, 1), dt.date(2000, 1, 2))}
    try:
        return dt.date.fromisoformat(str(made.pop())) if len(made) == 1 else None
    except ValueError:
        return None


def _made(pattern: CharterPattern, values: Mapping[str, str], today: dt.date) -> tuple[dict[str, Any], Charter]:
    filled = _dated(_filled(pattern.template, _complete(pattern, values)), today)
    try:
        return filled, Charter.model_validate(filled)
    except ValidationError as err:
        first = problems_in(err, Document("", filled, {}, {}), Charter)[0]
        raise MalformedError(
            ErrorCode.BAD_VALUE,
            f"the pattern `{pattern.pattern}` makes no charter with these values: {first.text}",
            help=first.help or "give other values, or mend the pattern",
        ) from err


def problems_of_template(pattern: CharterPattern, document: Document) -> list[Problem]:
    """Return what no value of a parameter could mend: unknown fields of the template, missing ones, and wrong values.

    `document` is the pattern's own file.
    """
    sample = _dated(_filled(pattern.template, dict.fromkeys(pattern.parameters, "x")), dt.date.min)
    settled = {(place.line, place.column) for place in _settled(pattern.template, document)}
    try:
        Charter.model_validate(sample)
    except ValidationError as err:
        found = typed_problems_in(err, document, Charter, ("template",))
        return [
            problem
            for kind, problem in found
            if kind in ("missing", "extra_forbidden") or (problem.line, problem.column) in settled
        ]
    return []


def sample_of(pattern: CharterPattern, today: dt.date) -> Charter | None:
    """Return a charter such as `pattern` makes, with defaults and made-up values; None where no such value fits.

    What stands at a place where a placeholder is says nothing of the pattern (`open_places`).
    """
    people = {name for path, name in placeholders(pattern.template) if path and path[-1] in ("person", "by")}
    made_up = {name: _SOMEBODY if name in people else "x" for name in pattern.parameters}
    given = {name: each.default or made_up[name] for name, each in pattern.parameters.items()}
    try:
        return charter_of(pattern, given, today)
    except MalformedError:
        return None


def open_places(pattern: CharterPattern) -> frozenset[str]:
    """Return the dotted places in the template at which a placeholder stands."""
    return frozenset(".".join(map(str, path)) for path, _ in placeholders(pattern.template))


def _settled(template: Any, document: Document, path: Path = ("template",)) -> Iterator[Source]:  # noqa: ANN401
    """Yield the places of values in which no parameter stands."""
    match template:
        case dict():
            for key, item in template.items():
                yield from _settled(item, document, (*path, key))
        case list():
            for index, item in enumerate(template):
                yield from _settled(item, document, (*path, index))
        case str() if _PLACEHOLDER.search(template):
            return
        case _:
            yield document.source(path)


def _complete(pattern: CharterPattern, values: Mapping[str, str]) -> dict[str, str]:
    for name, value in values.items():
        if name not in pattern.parameters:
            raise MalformedError(
                ErrorCode.BAD_VALUE,
                f"the pattern `{pattern.pattern}` has no parameter {name[:40]!a}",
                help=suggestion(name, pattern.parameters),
            )
        if not value.strip():
            raise MalformedError(ErrorCode.BAD_VALUE, f"the value of `{name}` is empty", help="name what is meant")
        if "*" in value:  # what was approved for one thing must not be had for all of them
            raise MalformedError(
                ErrorCode.BAD_VALUE, f"the value of `{name}` holds a `*`", help="name the one thing that is meant"
            )
    complete = {name: each.default for name, each in pattern.parameters.items() if each.default is not None}
    complete |= values
    missing = [name for name in pattern.parameters if name not in complete]
    if missing:
        told = "; ".join(f"{name}: {pattern.parameters[name].description}" for name in missing)
        raise MalformedError(
            ErrorCode.BAD_VALUE,
            f"the pattern `{pattern.pattern}` needs {', '.join(f'`{name}`' for name in missing)}",
            help=f"give it as name=value ({told})",
        )
    return complete


def _filled(template: Any, values: Mapping[str, str]) -> Any:  # noqa: ANN401
    match template:
        case str():
            return _PLACEHOLDER.sub(lambda found: values[found[1]], template)
        case dict():
            return {key: _filled(item, values) for key, item in template.items()}
        case list():
            return [_filled(item, values) for item in template]
        case _:
            return template


def _dated(filled: dict[str, Any], today: dt.date) -> dict[str, Any]:
    """Return a template whose dates are told from a day with those dates written out."""
    approved = filled.get("approved")
    on = approved.get("on") if isinstance(approved, dict) else None
    if isinstance(approved, dict) and on == TODAY:
        filled = filled | {"approved": approved | {"on": today.isoformat()}}
    try:
        expires = _day(on, today) + parse_duration(filled.get("expires"))
    except (OverflowError, ValueError):
        return filled  # a date is written out, or something that is no date: the charter's model says so
    return filled | {"expires": expires.isoformat()}


def _day(told: Any, today: dt.date) -> dt.date:  # noqa: ANN401
    try:
        return dt.date.fromisoformat(str(told))
    except ValueError:
        return today


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Return a parsed YAML value as JSON that has a canonical form."""
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case None | bool() | int() | str():
            return value
        case _:
            return str(value)


def write_yaml(value: Mapping[str, Any]) -> str:
    """Return `value` as YAML 1.2 in the given order, short lists and mappings on one line."""
    writer = YAML()
    writer.width = 120
    writer.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    writer.dump(_laid_out(dict(value), 0), stream)
    return stream.getvalue()


def _laid_out(value: Any, depth: int) -> Any:  # noqa: ANN401
    """Return `value` with the layout a person would choose; dates stay unquoted."""
    match value:
        case dict():
            mapping = CommentedMap((key, _laid_out(item, depth + 1)) for key, item in value.items())
            if depth and _is_short(value):
                mapping.fa.set_flow_style()
            return mapping
        case list():
            sequence = CommentedSeq(_laid_out(item, depth + 1) for item in value)
            if _is_short(value) and not any(isinstance(item, dict) for item in value):
                sequence.fa.set_flow_style()
            return sequence
        case str() if _DATE.fullmatch(value):
            return _date_or_text(value)
        case str() if value.startswith("?"):  # the writer leaves it bare, and in a list on one line it begins a key
            return SingleQuotedScalarString(value)
        case _:
            return value


def _date_or_text(text: str) -> dt.date | str:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return text


def _is_short(value: dict[str, Any] | list[Any]) -> bool:
    return len(str(value)) <= _FLOW_WIDTH and "\n" not in str(value)
