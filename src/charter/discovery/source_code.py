"""Model use in code that is not Python: import lines, model names and API addresses in string literals.

Comments are blanked first, by a tokeniser that knows strings, so an import that is commented out, or that stands in a
text, is none. JavaScript's template texts are kept for addresses and blanked for imports.

INVARIANT: one pass over the text per pattern, whatever the text: patterns are linear and huge lines are left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from charter.discovery.catalogue import (
    DOTNET,
    GO_MODULES,
    HOST_MARKERS,
    JVM_PACKAGES,
    NODE_PACKAGES,
    PHP_NAMESPACES,
    RUBY_GEMS,
    RUST_CRATES,
    Sdk,
    endpoints_in,
    looked_up,
    provider_of_model,
)
from charter.discovery.file import File
from charter.discovery.python_code import endpoint_sighting, model_sighting, sdk_sighting
from charter.discovery.sighting import Sighting

MAX_LINE = 5_000  # characters; longer lines are generated or minified


@dataclass(frozen=True, slots=True)
class _Language:
    """How one language imports, and how its comments and texts look."""

    imports: re.Pattern[str]  # group 1 is what is imported
    table: Mapping[str, Sdk]
    separator: str
    tokens: re.Pattern[str]
    markers: tuple[bytes, ...]
    quoted: bool = True  # whether what is imported stands in quotes


_TEXT = r"\"(?:[^\"\\\n]|\\.)*+\"|'(?:[^'\\\n]|\\.)*+'"
_C_LIKE = re.compile(
    rf"(?P<comment>//[^\n]*+|/\*(?:[^*]|\*(?!/))*+\*/)|{_TEXT}|(?P<template>`(?:[^`\\]|\\.)*+`)", re.DOTALL
)
_HASH = re.compile(rf"(?P<comment>#[^\n]*+)|{_TEXT}|(?P<template>(?!))", re.DOTALL)
_PHP = re.compile(rf"(?P<comment>(?:#(?!\[)|//)[^\n]*+|/\*(?:[^*]|\*(?!/))*+\*/)|{_TEXT}|(?P<template>(?!))", re.DOTALL)


def _markers(table: Mapping[str, Sdk], head: Callable[[str], str]) -> tuple[bytes, ...]:
    return tuple(sorted({head(name).encode() for name in table} | set(HOST_MARKERS)))


def _first(separator: str, count: int) -> Callable[[str], str]:
    return lambda name: separator.join(name.split(separator)[:count])


_NODE = _Language(
    re.compile(
        r"(?:\bfrom|\bimport|\brequire\s*\(|\bimport\s*\()\s*[\"'](?:npm:)?((?:@[\w.-]+/)?[\w.-]+(?:/[\w./-]*)?)(?:@[\w.^~-]+)?[\"']"
    ),
    NODE_PACKAGES,
    "/",
    _C_LIKE,
    _markers(NODE_PACKAGES, lambda name: f"{name.partition('/')[0]}/" if name.startswith("@") else name),
)
_GO = _Language(
    re.compile(r"^\s*(?:import\s+)?(?:[\w.]+\s+)?\"([\w.~/-]+)\"\s*$", re.MULTILINE),
    GO_MODULES,
    "/",
    _C_LIKE,
    _markers(GO_MODULES, lambda name: name),
)
_RUST = _Language(
    re.compile(r"\b(?:use|extern\s+crate)\s+(?:::)?(\w+(?:::\w+)*)"),
    RUST_CRATES,
    "::",
    _C_LIKE,
    _markers(RUST_CRATES, lambda name: name),
    quoted=False,
)
_JVM = _Language(
    re.compile(r"^\s*import\s+(?:static\s+)?([\w.]+)", re.MULTILINE),
    JVM_PACKAGES,
    ".",
    _C_LIKE,
    _markers(JVM_PACKAGES, _first(".", 3)),
    quoted=False,
)
_CSHARP = _Language(
    re.compile(r"^\s*(?:global\s+)?using\s+(?:static\s+)?(?:\w+\s*=\s*)?([\w.]+)\s*;", re.MULTILINE),
    DOTNET,
    ".",
    _C_LIKE,
    _markers(DOTNET, lambda name: name),
    quoted=False,
)
_RUBY = _Language(
    re.compile(r"^\s*require\s*\(?\s*[\"']([\w/-]+)[\"']", re.MULTILINE),
    RUBY_GEMS,
    "/",
    _HASH,
    _markers(RUBY_GEMS, lambda name: name),
)
_PHP_CODE = _Language(
    re.compile(r"^\s*use\s+\\?([\w\\]+)", re.MULTILINE),
    PHP_NAMESPACES,
    "\\",
    _PHP,
    _markers(PHP_NAMESPACES, lambda name: name),
    quoted=False,
)
_LANGUAGES: Mapping[str, _Language] = {
    **dict.fromkeys((".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".mts", ".cts", ".vue", ".svelte", ".astro"), _NODE),
    ".go": _GO,
    ".rs": _RUST,
    **dict.fromkeys((".java", ".kt", ".kts", ".scala", ".groovy"), _JVM),
    ".cs": _CSHARP,
    ".rb": _RUBY,
    ".php": _PHP_CODE,
}
_QUOTED = re.compile(r"([\"'`])([^\"'`\n\\]{2,128})\1")


def source_sightings(file: File) -> Iterator[Sighting]:
    """Yield the model use in a file of code."""
    language = _LANGUAGES.get(file.suffix)
    if language is None or not file.holds(*language.markers):
        return
    code = _without_comments(_short_lines(file.text), language)
    yield from _imports(file, code, language)
    for provider, offset in endpoints_in(code):
        yield endpoint_sighting(file, file.line_at(offset), provider)
    for match in _QUOTED.finditer(code):
        provider_of = provider_of_model(match[2])
        if provider_of:
            yield model_sighting(file, file.line_at(match.start()), match[2], provider_of)


def node_imports(code: str) -> Iterator[Sdk]:
    """Yield the SDKs that a text of JavaScript imports."""
    bare = _NODE.tokens.sub(_unnested, _without_comments(_short_lines(code), _NODE))
    for match in _NODE.imports.finditer(bare):
        sdk = looked_up(match[1], NODE_PACKAGES, "/")
        if sdk:
            yield sdk


def _imports(file: File, code: str, language: _Language) -> Iterator[Sighting]:
    bare = language.tokens.sub(_unnested if language.quoted else lambda match: _blank(match[0]), code)
    for match in language.imports.finditer(bare):
        sdk = looked_up(match[1], language.table, language.separator)
        if sdk:
            yield sdk_sighting(file, file.line_at(match.start(1)), sdk, match[1], "an import")


def _unnested(match: re.Match[str]) -> str:
    """Return a text literal without quotes inside, so that no import can stand within it; a template goes whole."""
    text = match[0]
    if match["template"] or match["comment"]:
        return _blank(text)
    return text[0] + text[1:-1].replace("'", " ").replace('"', " ") + text[-1]


def _without_comments(text: str, language: _Language) -> str:
    """Return `text` with comments blanked; every character keeps its offset."""
    return language.tokens.sub(lambda match: _blank(match[0]) if match["comment"] else match[0], text)


def _short_lines(text: str) -> str:
    """Return `text` with huge lines blanked; every character keeps its offset."""
    if len(text) <= MAX_LINE:
        return text
    return "\n".join(line if len(line) <= MAX_LINE else " " * len(line) for line in text.split("\n"))


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)
