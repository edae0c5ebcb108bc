"""What the organisation lays down for all of its principals, beside teams and issuers: one value from a few files.

    data.yaml            classes of data (registry/data_class.py)
    calendars.yaml       working days and freezes (registry/calendar.py)
    flow.yaml            values that nobody vouches for (registry/flow.py)
    purposes.yaml        what can be done under a declared purpose (registry/purpose.py)
    duties.yaml          what must not come together in one hand (registry/duty.py)
    sharing.yaml         places, and what follows when a credential is shared (registry/sharing.py)
    responses.yaml       what follows when a principal behaves unlike itself (registry/response.py)
    guardrails/*.yaml    rules on charters (registry/rule.py)

The files are kept as their text, so that what they decide can be told with its place. Guardrails in Cedar, which rule
on calls, belong to policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from charter.core.values import Source
from charter.registry.calendar import Calendars
from charter.registry.data_class import DataClasses
from charter.registry.document import read_document
from charter.registry.duty import DUTIES, DutyFile
from charter.registry.fault import problems_in
from charter.registry.field import Model
from charter.registry.flow import FLOW, FlowFile
from charter.registry.problem import EstateError, Problem
from charter.registry.purpose import PURPOSES, PurposeFile
from charter.registry.response import RESPONSES, ResponseFile
from charter.registry.rule import CharterRule, RuleFile
from charter.registry.sharing import SHARING, SharingFile
from charter.registry.sourced import Sourced, TextFile

DATA = "data.yaml"
CALENDARS = "calendars.yaml"
M = TypeVar("M", bound=Model)

NO_DATA = Sourced(DataClasses(charter="v1"), {"": Source(DATA, 1)})
NO_CALENDARS = Sourced(Calendars(charter="v1"), {"": Source(CALENDARS, 1)})
NO_SHARING = Sourced(SharingFile(charter="v1"), {"": Source(SHARING, 1)})
NO_FLOW_FILE = Sourced(FlowFile(charter="v1"), {"": Source(FLOW, 1)})
NO_DUTIES = Sourced(DutyFile(charter="v1"), {"": Source(DUTIES, 1)})
NO_PURPOSES = Sourced(PurposeFile(charter="v1"), {"": Source(PURPOSES, 1)})
NO_RESPONSES = Sourced(ResponseFile(charter="v1"), {"": Source(RESPONSES, 1)})
_SINGLE: dict[str, type[Model]] = {
    DATA: DataClasses,
    CALENDARS: Calendars,
    SHARING: SharingFile,
    DUTIES: DutyFile,
    FLOW: FlowFile,
    RESPONSES: ResponseFile,
    PURPOSES: PurposeFile,
}


@dataclass(frozen=True, slots=True)
class Central:
    """The central files, each with the places of what it says."""

    data: Sourced[DataClasses] = NO_DATA
    calendars: Sourced[Calendars] = NO_CALENDARS
    rules: tuple[Sourced[RuleFile], ...] = ()  # by path
    sharing: Sourced[SharingFile] = NO_SHARING
    duties: Sourced[DutyFile] = NO_DUTIES
    flow: Sourced[FlowFile] = NO_FLOW_FILE
    responses: Sourced[ResponseFile] = NO_RESPONSES
    purposes: Sourced[PurposeFile] = NO_PURPOSES
    files: tuple[TextFile, ...] = ()  # what they were read from, by path

    def charter_rules(self) -> Iterator[tuple[CharterRule, Source]]:
        """Yield each rule on charters with its place, in the files' order."""
        for part in self.rules:
            for index, rule in enumerate(part.value.rules):
                yield rule, part.source_of(f"rules.{index}")


NOTHING = Central()


def is_central(path: str) -> bool:
    """Whether the file at `path` of an estate is one of these."""
    return path in _SINGLE or (path.startswith("guardrails/") and path.endswith(".yaml"))


def read_central(files: Iterable[TextFile]) -> Central:
    """Return what `files` lay down.

    Raises:
        EstateError: a file is wrong; all problems of all files.
    """
    found: dict[str, Sourced[Any]] = {}
    kept: list[TextFile] = []
    problems: list[Problem] = []
    for file in sorted(files, key=lambda each: each.path):
        model = _SINGLE.get(file.path, RuleFile)
        try:
            found[file.path] = _read(file, model)
            kept.append(file)
        except EstateError as err:
            problems += err.problems
    rules = tuple(part for path, part in found.items() if path not in _SINGLE)
    problems += _twice(rules)
    if problems:
        raise EstateError(problems)
    return Central(
        found.get(DATA, NO_DATA),
        found.get(CALENDARS, NO_CALENDARS),
        rules,
        found.get(SHARING, NO_SHARING),
        found.get(DUTIES, NO_DUTIES),
        found.get(FLOW, NO_FLOW_FILE),
        found.get(RESPONSES, NO_RESPONSES),
        found.get(PURPOSES, NO_PURPOSES),
        tuple(kept),
    )


def _read(file: TextFile, model: type[M]) -> Sourced[M]:
    document = read_document(file.text.encode("utf-8", "surrogatepass"), file.path)
    try:
        return Sourced(model.model_validate(document.value), document.sources())
    except ValidationError as err:
        raise EstateError(problems_in(err, document, model)) from err


def _twice(rules: tuple[Sourced[RuleFile], ...]) -> Iterator[Problem]:
    first: dict[str, Source] = {}
    for part in rules:
        for index, rule in enumerate(part.value.rules):
            where = part.source_of(f"rules.{index}.id")
            other = first.setdefault(rule.id, where)
            if other is not where:
                yield Problem.at(where, f"the id `{rule.id}` is taken", f"by the rule at {other}; choose another")
