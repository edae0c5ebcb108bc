"""Estate files -> an estate: read, parse, model, cross-check. All problems of all files are reported together.

    principals/NAME.yaml  systems/NAME.yaml  guardrails/*.cedar  patterns/NAME.yaml  teams.yaml
    guardrails/*.yaml  issuers.yaml  data.yaml  calendars.yaml  tests/*.yaml

A file is named for what it holds, so one name cannot stand in two files. A file in one of these folders that would be
passed over in silence (`agent.yml`, a subfolder) is a problem: someone believes that it counts. Nothing outside the
estate is read, whatever a link says.

INVARIANT: an estate is returned whole and cross-checked, or EstateError is raised; there is no estate in part.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from charter.core.values import Source
from charter.registry.central import CALENDARS, DATA, NOTHING, Central, is_central, read_central
from charter.registry.charter import Charter, Model
from charter.registry.crosscheck import CrossCheck
from charter.registry.document import MAX_FILE_BYTES, Document, read_document, read_text
from charter.registry.duty import DUTIES
from charter.registry.estate import NO_ISSUERS, NO_TEAMS, Estate, Sourced, TextFile
from charter.registry.fault import problems_in
from charter.registry.flow import FLOW
from charter.registry.issuer import Issuers
from charter.registry.own_policy import MAX_POLICY
from charter.registry.pattern import CharterPattern, problems_of_template
from charter.registry.problem import EstateError, Problem
from charter.registry.property import Property
from charter.registry.purpose import PURPOSES
from charter.registry.read_before import ReadBefore
from charter.registry.response import RESPONSES
from charter.registry.sharing import SHARING
from charter.registry.system import System
from charter.registry.team import Teams
from charter.registry.trial import TrialCase, TrialFile

M = TypeVar("M", bound=Model)

MAX_FILES = 20_000
MAX_ESTATE_CHARACTERS = 256 * 1024 * 1024
TEAMS = "teams.yaml"
ISSUERS = "issuers.yaml"
SINGLE = (
    CALENDARS,
    DATA,
    DUTIES,
    FLOW,
    ISSUERS,
    PURPOSES,
    RESPONSES,
    SHARING,
    TEAMS,
)  # files of the estate that stand in no folder
FOLDERS = {
    "principals": (".yaml", ".cedar"),
    "systems": (".yaml",),
    "guardrails": (".cedar", ".yaml"),
    "patterns": (".yaml",),
    "tests": (".yaml",),
}
_TRIES = 3  # of reading files that somebody writes meanwhile
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PASSED_OVER = (".md", ".txt")  # notes beside the files


def load_estate(root: Path, *, today: dt.date | None = None) -> Estate:
    """Return the estate in the folder `root`; with `today`, warn of charters that have run out.

    Raises:
        EstateError: files are wrong; `problems` holds all that could be told, in the files' order.
    """
    files, problems = _read(root)
    return _parse(files, today, problems)


def read_files(root: Path) -> dict[str, str]:
    """Return the text of an estate's files by their path in it, read once, so that what is planned can be applied.

    Raises:
        EstateError: a file cannot be read, is too large, is no UTF-8 or leads out of the estate.
    """
    files, problems = _read(root)
    if problems:
        raise EstateError(problems)
    return files


def parse_estate(files: Mapping[str, str], *, today: dt.date | None = None) -> Estate:
    """Return the estate that `files` (path in the estate -> text) make.

    Raises:
        EstateError: they make none.
    """
    return _parse(files, today, [])


# --- reading ----------------------------------------------------------------------------------------------------------


def _read(root: Path) -> tuple[dict[str, str], list[Problem]]:
    """Return the texts of the files of `root` as they stand together, and what is wrong with those that cannot be read.

    Somebody may be writing there, a checkout of git's for one: half of the old and half of the new is no estate.

    Raises:
        EstateError: there is no estate, it is too large, or it changes each time that it is read.
    """
    for _ in range(_TRIES):
        before = _marks(root)
        found = _read_once(root)
        if _marks(root) == before:
            return found
    text = "the files changed each time that they were read"
    raise EstateError([Problem(str(root), 1, 1, text, "wait until nothing writes there, and try again")])


def _marks(root: Path) -> list[tuple[str, int, int, int]]:
    """Return what changes when a file of the estate is written, replaced, added or removed."""
    names = [*SINGLE, *FOLDERS]
    for folder in FOLDERS:
        with contextlib.suppress(OSError):  # there is none, or it is no folder: the reading tells
            names += sorted(f"{folder}/{each.name}" for each in os.scandir(root / folder))
    found = []
    for name in names:
        with contextlib.suppress(OSError, ValueError):
            seen = (root / name).stat()
            found.append((name, seen.st_ino, seen.st_mtime_ns, seen.st_size))
    return found


def _read_once(root: Path) -> tuple[dict[str, str], list[Problem]]:
    files: dict[str, str] = {}
    problems: list[Problem] = []
    if not root.is_dir():
        raise EstateError([Problem(str(root), 1, 1, "there is no estate here", "begin one: charter init")])
    inside = root.resolve()
    for count, path in enumerate(_candidates(root, problems)):
        if count >= MAX_FILES:
            problem = Problem(path, 1, 1, f"the estate has more than {MAX_FILES:,} files", "split it in two")
            raise EstateError([*problems, problem])
        try:
            files[path] = read_text(_bytes_of(root / path, inside, path), path)
        except EstateError as err:
            problems.extend(err.problems)
    return files, problems


def _candidates(root: Path, problems: list[Problem]) -> Iterator[str]:
    """Yield the paths of the files that make the estate, in order; note those that someone may believe to count."""
    yield from (name for name in SINGLE if (root / name).exists())
    for folder, suffixes in FOLDERS.items():
        if not (root / folder).is_dir():
            continue
        for entry in sorted(each.name for each in (root / folder).iterdir()):
            path = f"{folder}/{entry}"
            if entry.startswith(".") or entry.endswith(_PASSED_OVER):
                continue
            problem = _misplaced(path, suffixes, is_folder=(root / path).is_dir())
            if problem:
                problems.append(problem)
            else:
                yield path


def _misplaced(path: str, suffixes: tuple[str, ...], *, is_folder: bool) -> Problem | None:
    """Return why the file at `path` would not count, if so."""
    folder, _, name = path.partition("/")
    if is_folder:
        return Problem(path, 1, 1, "folders inside are not read", f"put the files into {folder}/ itself")
    if not name.endswith(suffixes):
        ends = " or ".join(suffixes)
        return Problem(path, 1, 1, f"only files that end in {ends} are read", "rename it, or move it elsewhere")
    if not _FILE_NAME.fullmatch(name):
        return Problem(path, 1, 1, "the file's name holds a character that is not allowed", "use a-z, 0-9 and hyphens")
    return None


def _bytes_of(file: Path, inside: Path, path: str) -> bytes:
    """Return at most one byte more than a file may have.

    Raises:
        EstateError: it leads out of the estate, is no plain file, or cannot be read.
    """
    try:
        real = file.resolve(strict=True)
        if not real.is_relative_to(inside):
            raise EstateError([Problem(path, 1, 1, "this link leads out of the estate", "put the file itself here")])
        handle = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not make us wait
        with os.fdopen(handle, "rb") as opened:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise EstateError([Problem(path, 1, 1, "this is no plain file", "remove it")])
            return opened.read(MAX_FILE_BYTES + 1)
    except (OSError, RuntimeError) as err:  # RuntimeError: a loop of links
        why = getattr(err, "strerror", None) or "its links go round in circles"
        raise EstateError([Problem(path, 1, 1, f"the file cannot be read: {why}", "mend it or remove it")]) from err


# --- parsing ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Parts:
    """What has been parsed so far, and what was wrong."""

    problems: list[Problem]
    charters: dict[str, Sourced[Charter]] = field(default_factory=dict)
    beside: dict[str, str] = field(default_factory=dict)  # principal -> the Cedar beside its charter
    systems: dict[str, Sourced[System]] = field(default_factory=dict)
    guardrails: list[TextFile] = field(default_factory=list)
    central: list[TextFile] = field(default_factory=list)
    patterns: dict[str, Sourced[CharterPattern]] = field(default_factory=dict)
    teams: Sourced[Teams] = NO_TEAMS
    issuers: Sourced[Issuers] = NO_ISSUERS
    trials: list[Sourced[TrialCase]] = field(default_factory=list)
    properties: list[Sourced[Property]] = field(default_factory=list)

    def take(self, path: str, data: bytes) -> None:
        """Take the file at `path` in.

        Raises:
            EstateError: it is wrong.
        """
        folder, _, name = path.rpartition("/")
        if is_central(path):
            self.central.append(TextFile(path, read_text(data, path)))
            return
        match folder:
            case "principals" if name.endswith(".cedar"):
                self.beside[name.removesuffix(".cedar")] = read_text(data, path)
            case "principals":
                self.charters[name.removesuffix(".yaml")] = _charter(path, data)
            case "systems":
                self.systems[name.removesuffix(".yaml")] = _named(path, data, System, "system")
            case "patterns":
                self.patterns[name.removesuffix(".yaml")] = _pattern(path, data)
            case "tests":
                self._tests(read_document(data, path))
            case "guardrails":
                self.guardrails.append(TextFile(path, read_text(data, path)))
            case _:
                document = read_document(data, path)
                if name == TEAMS:
                    self.teams = Sourced(_modelled(document, Teams), document.sources())
                else:
                    self.issuers = Sourced(_modelled(document, Issuers), document.sources())

    def _tests(self, document: Document) -> None:
        found = _modelled(document, TrialFile)
        self.trials.extend(_named_once(found.tests, document, "tests"))
        self.properties.extend(_named_once(found.properties, document, "properties"))


def _parse(files: Mapping[str, str], today: dt.date | None, problems: list[Problem]) -> Estate:
    """Return the estate, or raise EstateError with `problems` and all those found here."""
    if len(files) > MAX_FILES or sum(map(len, files.values())) > MAX_ESTATE_CHARACTERS:
        raise EstateError([Problem(TEAMS, 1, 1, "the estate is too large", f"at most {MAX_FILES:,} files, 256 MiB")])
    parts = _Parts(problems)
    for path in sorted(files):
        try:
            _check_path(path)
            parts.take(path, files[path].encode("utf-8", "surrogatepass"))
        except EstateError as err:
            parts.problems.extend(err.problems)
    _put_beside(parts)
    central, unread = _central(parts)
    broken = frozenset(problem.path for problem in parts.problems) | unread
    if TEAMS not in files and TEAMS not in broken:
        parts.problems.append(Problem(TEAMS, 1, 1, "the estate has no teams.yaml", "begin one: charter init"))
        broken |= {TEAMS}
    checks = CrossCheck(
        charters=parts.charters,
        systems=parts.systems,
        teams=parts.teams,
        issuers=parts.issuers,
        central=central,
        patterns=parts.patterns,
        trials=parts.trials,
        properties=parts.properties,
        broken=broken,
        today=today,
    )
    checks.run()
    if parts.problems or checks.problems:
        raise EstateError([*parts.problems, *checks.problems])
    return Estate(
        charters=parts.charters,
        systems=parts.systems,
        guardrails=tuple(parts.guardrails),
        central=central,
        patterns=parts.patterns,
        teams=parts.teams,
        issuers=parts.issuers,
        trials=tuple(parts.trials),
        properties=tuple(parts.properties),
        warnings=tuple(sorted(set(checks.warnings), key=lambda w: (w.path, w.line, w.column, w.text))),
    )


def _put_beside(parts: _Parts) -> None:
    """Put the Cedar beside charters into them; it is part of each version, and of what is signed."""
    for name, part in parts.charters.items():
        if part.value.policy is not None:
            text = "the policy stands in a file of its own"
            where = part.source_of("policy")
            parts.problems.append(Problem.at(where, text, f"write it into principals/{name}.cedar"))
    for name, text in parts.beside.items():
        parts.problems.extend(_beside(parts, name, text))


def _beside(parts: _Parts, name: str, policy: str) -> Iterator[Problem]:
    path, part = f"principals/{name}.cedar", parts.charters.get(name)
    if len(policy) > MAX_POLICY:
        yield Problem(path, 1, 1, f"the file is longer than {MAX_POLICY} characters", "split it")
    elif part is not None:
        sources = dict(part.sources) | {"policy": Source(path, 1)}
        parts.charters[name] = Sourced(part.value.model_copy(update={"policy": policy}), sources)
    elif not any(problem.path == f"principals/{name}.yaml" for problem in parts.problems):
        yield Problem(path, 1, 1, f"there is no charter `{name}` beside it", "call it what the charter is called")


def _central(parts: _Parts) -> tuple[Central, frozenset[str]]:
    """Return what the central files lay down, and which of them say nothing because one of them is wrong.

    Their problems are added to those of the others.
    """
    try:
        return read_central(parts.central), frozenset()
    except EstateError as err:
        parts.problems.extend(err.problems)
        return NOTHING, frozenset(each.path for each in parts.central)


def is_estate_path(path: str) -> bool:
    """Whether a path in an estate is that of a file which is read."""
    folder, _, name = path.rpartition("/")
    is_named = folder in FOLDERS and bool(_FILE_NAME.fullmatch(name)) and name.endswith(FOLDERS[folder])
    return path in SINGLE or is_named


def _check_path(path: str) -> None:
    if not is_estate_path(path):
        raise EstateError([Problem(path, 1, 1, "this is no file of an estate", "see charter init for what is")])


def _modelled(document: Document, model: type[M]) -> M:
    try:
        return model.model_validate(document.value)
    except ValidationError as err:
        raise EstateError(problems_in(err, document, model)) from err


def _named(path: str, data: bytes, model: type[M], field_name: str) -> Sourced[M]:
    """Return the file's value, which must be called what the file is called."""
    document = read_document(data, path)
    value = _modelled(document, model)
    name = getattr(value, field_name)
    if path.rpartition("/")[2] != f"{name}.yaml":
        text = f"the file of `{name}` must be called {name}.yaml"
        raise EstateError([Problem.at(document.source((field_name,)), text, "rename the file or what it holds")])
    return Sourced(value, document.sources())


READ_BEFORE = ReadBefore()  # of this process


def _charter(path: str, data: bytes) -> Sourced[Charter]:
    part = READ_BEFORE.find(path, data)
    if part is None:
        part = _named(path, data, Charter, "principal")
        READ_BEFORE.keep(path, data, part)
    return part


def charter_in(path: str, text: str) -> Charter:
    """Return the charter that one file says, without the Cedar that may stand beside it.

    Raises:
        EstateError: with every problem found.
    """
    return _charter(path, text.encode()).value


def _pattern(path: str, data: bytes) -> Sourced[CharterPattern]:
    part = _named(path, data, CharterPattern, "pattern")
    problems = problems_of_template(part.value, read_document(data, path))
    if problems:
        raise EstateError(problems)
    return part


C = TypeVar("C", TrialCase, Property)


def _named_once(cases: Sequence[C], document: Document, field_name: str) -> Iterator[Sourced[C]]:
    """Return the entries of a test file with their places; no two of a kind are called the same."""
    sources = document.sources_of_entries(field_name)
    first: dict[str, Source] = {}
    problems: list[Problem] = []
    for index, case in enumerate(cases):
        where = sources[index].get("name", sources[index][""])
        if case.name in first:
            text = f"two {field_name} are called `{case.name}`"
            problems.append(Problem.at(where, text, f"the first is in line {first[case.name].line}; rename one"))
        first.setdefault(case.name, where)
    if problems:
        raise EstateError(problems)
    return (Sourced(case, sources[index]) for index, case in enumerate(cases))
