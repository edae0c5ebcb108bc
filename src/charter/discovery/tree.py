"""Configuration files as trees of nodes that know their line: JSON with comments, and YAML.

Read leniently, because these are other people's files, but within bounds: depth, nodes and time are limited, aliases
are references and never copies, and nothing in a file can name a type or run code.

INVARIANT: whatever the text, a reader returns a tree or raises UnreadableError, in time linear in the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.loader import BaseLoader

MAX_DEPTH = 60
MAX_NODES = 200_000
MAX_YAML = 256 * 1024  # characters: the parser reads some 100 KB a second
MAX_WALK = 500_000  # nodes looked at in one walk; aliases can make a small file look endless


class UnreadableError(ValueError):
    """A file cannot be read as what it should be; the text says why."""


@dataclass(slots=True)
class Node:
    """A value and the line it begins on. Scalars are text; `is_text` tells quoted text from bare words."""

    value: str | list[Node] | dict[str, Node]
    line: int
    is_text: bool = False

    def get(self, *keys: str) -> Node | None:
        """Return what stands under `keys`, one below the other, if it is there."""
        node: Node | None = self
        for key in keys:
            node = node.value.get(key) if node is not None and isinstance(node.value, dict) else None
        return node

    @property
    def fields(self) -> dict[str, Node]:
        """The entries of a mapping; empty for anything else."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> list[Node]:
        """The entries of a list; empty for anything else."""
        return self.value if isinstance(self.value, list) else []

    @property
    def text(self) -> str | None:
        """The text of a scalar; None for anything else."""
        return self.value if isinstance(self.value, str) else None

    def text_at(self, *keys: str) -> str | None:
        """Return the text that stands under `keys`, if it is there and is one."""
        node = self.get(*keys)
        return node.text if node else None

    def walk(self) -> Iterator[tuple[str, Node]]:
        """Yield every (key, node) below, parents first; entries of lists have the key of their list."""
        stack: list[tuple[str, Node, int]] = [("", self, 0)]
        for _ in range(MAX_WALK):
            if not stack:
                return
            key, node, depth = stack.pop()
            yield key, node
            if depth < MAX_DEPTH:
                stack.extend((name, child, depth + 1) for name, child in reversed(node.fields.items()))
                stack.extend((key, child, depth + 1) for child in reversed(node.items))


_SKIPPED = re.compile(r"(?:[\s\ufeff]++|//[^\n]*+|/\*(?:[^*]|\*(?!/))*+\*/)*+")
_TOKEN = re.compile(r'[{}\[\]:,]|"(?:[^"\\\n]|\\.)*+"|[^\s{}\[\]:,"]++')


def read_json(text: str) -> Node:
    """Return the tree of JSON text; comments and trailing commas are forgiven.

    Raises:
        UnreadableError: it is none, nests deeper than 60 or holds more than 200,000 values.
    """
    return _JsonReader(text).read()


class _JsonReader:
    """Builds nodes from lexemes, with a stack of its own."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.line = 1
        self.at = 0
        self.stack: list[Node] = []
        self.key: str | None = None
        self.root: Node | None = None
        self.count = 0

    def read(self) -> Node:
        """Return the one value the text holds."""
        for lexeme in self._lexemes():
            self._take(lexeme)
        if self.root is None or self.stack:
            raise self._error("it ends too early")
        return self.root

    def _lexemes(self) -> Iterator[str]:
        position, size = 0, len(self.text)
        while True:
            skipped = _SKIPPED.match(self.text, position)
            position = skipped.end() if skipped else position
            self.line += self.text.count("\n", self.at, position)
            self.at = position
            if position >= size:
                return
            match = _TOKEN.match(self.text, position)
            if match is None:
                raise self._error("this is no JSON")
            yield match[0]
            position = match.end()

    def _take(self, lexeme: str) -> None:
        if lexeme in "{[":
            self._open(Node({} if lexeme == "{" else [], self.line))
        elif lexeme in "}]":
            self._close(lexeme)
        elif lexeme == ",":
            self.key = None
        elif lexeme == ":":
            if self.key is None:
                raise self._error("a `:` stands where none can")
        else:
            self._scalar(lexeme)

    def _open(self, node: Node) -> None:
        if len(self.stack) >= MAX_DEPTH:
            raise self._error(f"it nests deeper than {MAX_DEPTH} levels")
        self._put(node)
        self.stack.append(node)

    def _close(self, lexeme: str) -> None:
        wanted = dict if lexeme == "}" else list
        if not self.stack or not isinstance(self.stack[-1].value, wanted):
            raise self._error(f"`{lexeme}` closes nothing")
        self.stack.pop()
        self.key = None

    def _scalar(self, lexeme: str) -> None:
        is_text = lexeme.startswith('"')
        text = self._unquoted(lexeme) if is_text else lexeme
        if self.stack and isinstance(self.stack[-1].value, dict) and self.key is None:
            if not is_text:
                raise self._error("a key must stand in quotes")
            self.key = text
            return
        self._put(Node(text, self.line, is_text))

    def _put(self, node: Node) -> None:
        self.count += 1
        if self.count > MAX_NODES:
            raise self._error(f"it holds more than {MAX_NODES:,} values")
        if not self.stack:
            if self.root is not None:
                raise self._error("there is more after the end")
            self.root = node
            return
        parent = self.stack[-1].value
        if isinstance(parent, list):
            parent.append(node)
        elif isinstance(parent, dict) and self.key is not None:
            parent[self.key] = node
            self.key = None
        else:
            raise self._error("a key is missing here")

    def _unquoted(self, lexeme: str) -> str:
        if "\\" not in lexeme:
            return lexeme[1:-1]
        try:
            return str(json.loads(lexeme, strict=False))
        except ValueError:
            raise self._error("this text is no JSON") from None

    def _error(self, why: str) -> UnreadableError:
        return UnreadableError(f"line {self.line}: {why}")


def read_yaml(text: str) -> Node:
    """Return the tree of the first YAML document in the text; tags mean nothing, aliases are references.

    Raises:
        UnreadableError: it is none, is longer than 256 KiB, or nests deeper than 60.
    """
    if len(text) > MAX_YAML:
        raise UnreadableError(f"it is longer than {MAX_YAML // 1024} KiB")
    reader = _YamlReader()
    try:
        for event in _events(text):
            if not reader.take(event):
                break
    except UnreadableError:
        raise
    except (YAMLError, ValueError, OverflowError, AssertionError, AttributeError, IndexError, TypeError) as err:
        # besides its own errors, what the parser's code trips over on garbage
        mark = getattr(err, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None else ""
        raise UnreadableError(f"{where}this is no YAML") from err
    return reader.root or Node("", 1)


def _events(text: str) -> Iterator[Event]:
    parser = BaseLoader(text).parser
    try:
        while parser.check_event():
            yield parser.get_event()
    finally:
        parser.dispose()


class _YamlReader:
    """Builds nodes from parser events, with a stack of its own."""

    def __init__(self) -> None:
        self.stack: list[tuple[Node, str | None]] = []
        self.anchors: dict[str, Node] = {}
        self.root: Node | None = None
        self.count = 0

    def take(self, event: Event) -> bool:
        """Take the next event in; return False once the first document is whole."""
        line = event.start_mark.line + 1
        match event:
            case ScalarEvent():
                self._put(Node(str(event.value), line, event.style in ("'", '"', "|", ">")), event.anchor)
            case AliasEvent():
                self._put(self.anchors.get(str(event.anchor), Node("", line)), None)
            case MappingStartEvent() | SequenceStartEvent():
                node = Node({} if isinstance(event, MappingStartEvent) else [], line)
                self._open(node, event.anchor)
            case MappingEndEvent() | SequenceEndEvent():
                self.stack.pop()
            case _:
                pass
        return not (self.root is not None and not self.stack)

    def _open(self, node: Node, anchor: str | None) -> None:
        if len(self.stack) >= MAX_DEPTH:
            raise UnreadableError(f"line {node.line}: it nests deeper than {MAX_DEPTH} levels")
        self._put(node, anchor)
        self.stack.append((node, None))

    def _put(self, node: Node, anchor: str | None) -> None:
        self.count += 1
        if self.count > MAX_NODES:
            raise UnreadableError(f"line {node.line}: it holds more than {MAX_NODES:,} values")
        if anchor:
            self.anchors[anchor] = node
        if not self.stack:
            self.root = node
            return
        parent, key = self.stack[-1]
        if isinstance(parent.value, list):
            parent.value.append(node)
        elif isinstance(parent.value, dict):
            if key is None:
                self.stack[-1] = (parent, node.text if node.text is not None else "?")
            else:
                parent.value.setdefault(key, node)
                self.stack[-1] = (parent, None)
