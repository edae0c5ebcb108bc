"""Read one YAML 1.2 file strictly, with the place of every key and value.

The reader accepts what an estate needs and nothing more: one document of mappings with text keys, lists and scalars of
the core schema, in UTF-8, at most 256 KiB and 32 levels deep. Anchors, aliases, tags, directives, duplicate keys and
invisible characters are refused, because each lets a file mean something else than what a reviewer sees.

INVARIANT: whatever the bytes, `read_document` returns a document or raises EstateError, in time bounded by the size.
INVARIANT: plain `yes`, `on` and dates are text, as YAML 1.2's core schema has them; decimals keep every digit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.loader import BaseLoader

from charter.core.canonical import MAX_SAFE_INTEGER
from charter.core.values import Source
from charter.registry.problem import EstateError, Problem

MAX_FILE_BYTES = 256 * 1024
MAX_DEPTH = 32
_MAX_PROBLEMS = 50  # in one file; more tell a person nothing
_MAX_NUMBER = 40  # characters

Path = tuple[str | int, ...]

# Zero-width and direction-changing characters, other line ends than \n, and the byte order mark.
_INVISIBLE = re.compile(
    r"[\u0085\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_DIRECTIVE = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)*%")
_HALF = re.compile("[\ud800-\udfff]")
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEAN = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_DECIMAL = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,4})?")
_ODD_NUMBER = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


@dataclass(frozen=True, slots=True)
class Document:
    """One file's value and where each piece of it stands (line and column from 1)."""

    path: str
    value: Any
    values: dict[Path, tuple[int, int]]
    keys: dict[Path, tuple[int, int]]

    def source(self, path: Path) -> Source:
        """Return where the value at `path` stands, or the nearest one around it that is there."""
        while path and path not in self.values:
            path = path[:-1]
        return Source(self.path, *self.values.get(path, (1, 1)))

    def has_entries(self, path: Path) -> bool:
        """Whether the value at `path` is a list or mapping that holds something."""
        return any(each[: len(path)] == path and each != path for each in self.values)

    def key_source(self, path: Path) -> Source:
        """Return where the key at `path` stands, or else its value."""
        found = self.keys.get(path)
        return Source(self.path, *found) if found else self.source(path)

    def sources(self) -> dict[str, Source]:
        """Return dotted path -> place for all values; the whole is `""`."""
        return {".".join(map(str, path)): Source(self.path, *place) for path, place in self.values.items()}

    def sources_of_entries(self, name: str) -> dict[int, dict[str, Source]]:
        """Return the sources of each entry of the list at the top-level field `name`, as if each were a document."""
        found: dict[int, dict[str, Source]] = {}
        for path, place in self.values.items():
            if len(path) > 1 and path[0] == name and isinstance(path[1], int):
                found.setdefault(path[1], {})[".".join(map(str, path[2:]))] = Source(self.path, *place)
        return found


@dataclass(slots=True)
class _Frame:
    """A mapping or list that is being read."""

    path: Path
    value: dict[str, Any] | list[Any]
    key: str | None = None  # of the mapping's pair at hand
    skipped: int = 0  # keys that are none, numbered so that their values still have a path


@dataclass(slots=True)
class _Reader:
    """Builds a document from parser events; `problems` collects what is wrong."""

    path: str
    problems: list[Problem] = field(default_factory=list)
    values: dict[Path, tuple[int, int]] = field(default_factory=dict)
    keys: dict[Path, tuple[int, int]] = field(default_factory=dict)
    stack: list[_Frame] = field(default_factory=list)
    root: Any = None
    documents: int = 0

    def take(self, event: Event) -> None:
        """Take the next event in."""
        match event:
            case DocumentStartEvent():
                self._start_document(event)
            case AliasEvent():
                self._problem(event, "aliases are not allowed", "write the value out where it is needed")
                self._put(event, None)
            case ScalarEvent():
                self._scalar(event)
            case MappingStartEvent():
                self._open(event, {})
            case SequenceStartEvent():
                self._open(event, [])
            case MappingEndEvent() | SequenceEndEvent():
                self.stack.pop()
            case _:
                pass

    def _start_document(self, event: DocumentStartEvent) -> None:
        self.documents += 1
        if self.documents > 1:
            raise self._stop(event, "a second document begins here", "keep one document in a file")

    def _open(self, event: MappingStartEvent | SequenceStartEvent, value: dict[str, Any] | list[Any]) -> None:
        self._plain(event)
        if len(self.stack) >= MAX_DEPTH:
            raise self._stop(event, f"this nests deeper than {MAX_DEPTH} levels", "flatten it")
        if self._awaits_key:
            self._problem(event, "a key must be a word", "write `word: value`")
            frame = self.stack[-1]
            frame.skipped += 1
            frame.key = f"?{frame.skipped}"
            self.stack.append(_Frame((*frame.path, frame.key, "?"), value))
            return
        self.stack.append(_Frame(self._put(event, value), value))

    def _scalar(self, event: ScalarEvent) -> None:
        self._plain(event)
        if _HALF.search(event.value):  # from an escape: no text that could be stored or hashed
            self._problem(event, "this text holds half a character", "write the character itself")
        if self._awaits_key:
            self._key(event)
        else:
            self._put(event, self._resolved(event))

    @property
    def _awaits_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1].value, dict) and self.stack[-1].key is None

    def _key(self, event: ScalarEvent) -> None:
        frame = self.stack[-1]
        key = self._resolved(event)
        if not isinstance(key, str):
            self._problem(event, f"the key `{event.value[:40]}` is no text", "write it in quotes")
            key = event.value
        elif isinstance(frame.value, dict) and (key in frame.value or (*frame.path, key) in self.keys):
            first = self.keys[*frame.path, key]
            self._problem(event, f"`{key[:80]}` is written twice", f"the first is in line {first[0]}; keep one")
        frame.key = key
        self.keys.setdefault((*frame.path, key), _place(event))

    def _put(self, event: Event, value: Any) -> Path:  # noqa: ANN401 - any YAML value
        """Put `value` where the reader stands and return its path."""
        if not self.stack:
            self.root = value
            self.values[()] = _place(event)
            return ()
        frame = self.stack[-1]
        if isinstance(frame.value, list):
            path: Path = (*frame.path, len(frame.value))
            frame.value.append(value)
        else:
            key = frame.key
            if key is None:  # an alias in the place of a key; the problem is noted already
                frame.key = "?"
                return (*frame.path, "?")
            path = (*frame.path, key)
            frame.value[key] = value
            frame.key = None
        # an empty value has no place of its own: the parser puts it where the next field begins
        is_empty = isinstance(event, ScalarEvent) and event.value == "" and event.style in (None, "")
        self.values[path] = self.keys.get(path, _place(event)) if is_empty else _place(event)
        return path

    def _plain(self, event: ScalarEvent | MappingStartEvent | SequenceStartEvent) -> None:
        if event.anchor is not None:
            self._problem(event, f"the anchor `&{event.anchor[:40]}` is not allowed", "write values out where needed")
        if event.ctag is not None:
            self._problem(event, f"the tag `{str(event.ctag)[:40]}` is not allowed", "remove it; quotes make text")

    def _resolved(self, event: ScalarEvent) -> Any:  # noqa: ANN401
        """Return the value of a scalar by YAML 1.2's core schema, less octal, hexadecimal and what is not finite."""
        text: str = event.value
        if event.style is not None and event.style != "":
            return text
        if text in _NULL:
            return None
        if text in _BOOLEAN:
            return _BOOLEAN[text]
        if _ODD_NUMBER.fullmatch(text):
            self._problem(event, f"`{text[:40]}` is no plain number", "write it in quotes if it is text")
            return None
        if _INTEGER.fullmatch(text) or _DECIMAL.fullmatch(text):
            return self._number(event, text)
        return text

    def _number(self, event: ScalarEvent, text: str) -> int | Decimal | None:
        value = Decimal(text) if len(text) <= _MAX_NUMBER else None
        if value is None or abs(value) > MAX_SAFE_INTEGER:
            self._problem(event, f"the number `{text[:40]}` is too large", "write it in quotes if it is text")
            return None
        return int(text) if _INTEGER.fullmatch(text) else value

    def _problem(self, event: Event, text: str, help: str) -> None:
        self.problems.append(Problem.at(Source(self.path, *_place(event)), text, help))
        if len(self.problems) >= _MAX_PROBLEMS:
            raise EstateError(self.problems)

    def _stop(self, event: Event, text: str, help: str) -> EstateError:
        return EstateError([*self.problems, Problem.at(Source(self.path, *_place(event)), text, help)])


def read_document(data: bytes, path: str) -> Document:
    """Return the document that the bytes of the file at `path` (relative to the estate) hold.

    Raises:
        EstateError: the file is not one strict document; as many problems as can be told apart.
    """
    text = read_text(data, path)
    directive = _DIRECTIVE.match(text)
    if directive:
        line = directive[0].count("\n") + 1
        raise EstateError(
            [Problem(path, line, 1, "directives are not allowed", "remove the line that begins with `%`")]
        )
    reader = _Reader(path)
    try:
        for event in _events(text):
            reader.take(event)
    except MarkedYAMLError as err:
        raise EstateError([*reader.problems, _syntax_problem(err, path)]) from err
    except (YAMLError, ValueError, OverflowError, AssertionError, AttributeError, IndexError, TypeError) as err:
        # what the parser's own code trips over on garbage, such as an escape beyond Unicode
        line = max((place[0] for place in reader.values.values()), default=1)
        problem = Problem(path, line, 1, "this is no YAML", "look at this line and those after it")
        raise EstateError([*reader.problems, problem]) from err
    if not reader.documents:
        raise EstateError([Problem(path, 1, 1, "the file is empty", "write `charter: v1` first")])
    if reader.problems:
        raise EstateError(reader.problems)
    return Document(path, reader.root, reader.values, reader.keys)


def read_text(data: bytes, path: str) -> str:
    """Return the text of a file: UTF-8, bounded, with nothing invisible in it; line ends become LF.

    Raises:
        EstateError: it is not.
    """
    if len(data) > MAX_FILE_BYTES:
        raise EstateError([Problem(path, 1, 1, f"the file is larger than {MAX_FILE_BYTES // 1024} KiB", "split it")])
    try:
        text = data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as err:
        before = data[: err.start]
        problem = Problem(
            path,
            before.count(b"\n") + 1,
            len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1,
            f"the byte 0x{data[err.start]:02x} is no UTF-8",
            "save the file as UTF-8",
        )
        raise EstateError([problem]) from err
    problems = [_invisible_problem(text, found, path) for found in _first(_INVISIBLE.finditer(text), _MAX_PROBLEMS)]
    if problems:
        raise EstateError(problems)
    return text


def _events(text: str) -> Iterator[Event]:
    loader = BaseLoader(text)
    parser = loader.parser
    try:
        while parser.check_event():
            yield parser.get_event()
    finally:
        parser.dispose()


def _first(found: Iterator[re.Match[str]], count: int) -> Iterator[re.Match[str]]:
    return (match for match, _ in zip(found, range(count), strict=False))


def _invisible_problem(text: str, found: re.Match[str], path: str) -> Problem:
    at = found.start()
    column = at - text.rfind("\n", 0, at)
    if at == 0 and found[0] == "\ufeff":
        return Problem(path, 1, 1, "the file begins with a byte order mark", "save it as UTF-8 without one")
    return Problem(
        path,
        text.count("\n", 0, at) + 1,
        column,
        f"the character U+{ord(found[0]):04X} is invisible or changes the direction of text",
        "remove it",
    )


def _place(event: Event) -> tuple[int, int]:
    mark = event.start_mark
    return mark.line + 1, mark.column + 1


# What the parser says, and what a person can do about it.
_SYNTAX = (
    ("while scanning an alias", "`*` cannot stand here bare", 'put it in quotes: "*"'),
    ("cannot start any token", "this character cannot stand here", "indent with spaces, and put such text in quotes"),
    ("mapping values are not allowed", "a `:` stands where none can", "put text that holds `: ` in quotes"),
    ("could not find expected ':'", "a `:` is missing after this key", "write `key: value`"),
    ("while scanning a quoted scalar", "the quotes are never closed", "close them on the same line"),
    ("expected <block end>", "this is not indented like its neighbours", "line it up with the fields above"),
    ("expected ',' or '}'", "a `,` or `}` is missing", "close the braces"),
    ("expected ',' or ']'", "a `,` or `]` is missing", "close the brackets"),
    ("expected the node content", "a value is missing here", "write one, or leave the field out"),
    ("undefined tag handle", "tags are not allowed", "remove it; quotes make text"),
    ("special characters are not allowed", "this character is not allowed", "remove it"),
)


def _syntax_problem(err: MarkedYAMLError, path: str) -> Problem:
    mark = err.problem_mark or err.context_mark
    said = f"{err.context or ''} {err.problem or ''}"
    text, help = next(
        ((text, help) for word, text, help in _SYNTAX if word in said),
        (f"this is no YAML: {str(err.problem or 'it ends too early').splitlines()[0][:120]}", "look at this line"),
    )
    return Problem(path, mark.line + 1 if mark else 1, mark.column + 1 if mark else 1, text, help)
