"""Model use in Python code and notebooks: what the syntax tree says, never what running it would show.

Only imports, calls and string literals count; comments and docstrings do not. A file that is no valid Python of today
is read by its import lines instead, with less certainty.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from typing import Any

import msgspec

from charter.discovery.catalogue import (
    BEDROCK_SERVICES,
    HOST_MARKERS,
    OPENAI_AGENTS,
    OPENAI_AGENTS_WORDS,
    PYTHON_MODULES,
    Sdk,
    endpoints_in,
    looked_up,
    provider_of_model,
)
from charter.discovery.file import File
from charter.discovery.sighting import Confidence, Sighting, SightingKind, clean
from charter.registry.charter import Kind

MAX_PARSED = 512 * 1024  # bytes: a syntax tree takes a hundred times its text
_IMPORT = re.compile(r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import\b|import[ \t]+([\w.]+))", re.MULTILINE)
_TOPS = frozenset(name.partition(".")[0] for name in PYTHON_MODULES) | {"agents"}
_LIKELY_MODEL = re.compile(
    rb"[\"'/:](?:gpt-|chatgpt-|o[134]-|text-embedding-|claude-|gemini-|gemma|(?:open-)?mi[sx]tral|command-|llama|deepseek|grok-|qwen)"
)
_MODEL_WORDS = frozenset(
    {"model", "model_name", "model_id", "modelId", "deployment_name", "azure_deployment", "engine", "repo_id"}
)


def python_sightings(file: File) -> Iterator[Sighting]:
    """Yield the model use in a Python file or notebook."""
    if file.suffix == ".ipynb":
        yield from _notebook(file)
        return
    if file.suffix not in (".py", ".pyi", ".pyw") or not _is_worth_parsing(file):
        return
    try:
        if len(file.data) > MAX_PARSED:
            raise ValueError  # noqa: TRY301 - read like any other file that gives no tree
        tree = parsed(file.text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        yield from _import_lines(file, file.text)
        return
    yield from _Reader(file).read(tree)


def _is_worth_parsing(file: File) -> bool:
    """Whether a file may show model use. Parsing is slow, and most files of most checkouts show none."""
    if file.holds(b"bedrock", b"import_module", b"__import__") or _LIKELY_MODEL.search(file.data):
        return True
    if file.holds(*HOST_MARKERS) and next(endpoints_in(file.text), None):
        return True
    modules = (match[1] or match[2] for match in _IMPORT.finditer(file.text))
    return any(module.partition(".")[0] in _TOPS for module in modules)


def parsed(text: str) -> ast.Module:
    """Return the syntax tree of Python text, whatever it warns of.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: it has none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd escapes in someone else's strings
        return ast.parse(text)


def _notebook(file: File) -> Iterator[Sighting]:
    """Yield the model use in a notebook's code cells; lines are those of the notebook's own file."""
    for lines in _cells(file):
        text = "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in lines)
        try:
            found = list(_Reader(file).read(parsed(text)))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            found = list(_import_lines(file, text))
        for each in found:
            line = lines[each.line - 1] if each.line <= len(lines) else ""
            place = file.line_of(msgspec.json.encode(line).decode()[1:-1]) if line.strip() else 1
            yield _moved(each, place)


def _cells(file: File) -> Iterator[list[str]]:
    try:
        body: Any = msgspec.json.decode(file.data)
    except (msgspec.DecodeError, RecursionError):
        return
    cells = body.get("cells") if isinstance(body, dict) else None
    for cell in cells if isinstance(cells, list) else ():
        source = cell.get("source") if isinstance(cell, dict) and cell.get("cell_type") == "code" else None
        if isinstance(source, list):
            yield "".join(part for part in source if isinstance(part, str)).split("\n")
        elif isinstance(source, str):
            yield source.split("\n")


def _moved(sighting: Sighting, line: int) -> Sighting:
    return Sighting(**{name: getattr(sighting, name) for name in Sighting.__slots__} | {"line": line})


def _import_lines(file: File, text: str) -> Iterator[Sighting]:
    """Yield what the import lines of a file that cannot be parsed say."""
    for match in _IMPORT.finditer(text):
        module = match[1] or match[2]
        sdk = looked_up(module, PYTHON_MODULES, ".")
        if sdk:
            line = text.count("\n", 0, match.start()) + 1
            yield sdk_sighting(file, line, sdk, module, "an import line; the file as a whole is no valid Python")


def sdk_sighting(
    file: File, line: int, sdk: Sdk, module: str, evidence: str, confidence: Confidence = Confidence.DECLARED
) -> Sighting:
    """Return the sighting of an SDK in use."""
    return Sighting(
        SightingKind.SDK,
        file.shown,
        line,
        clean(f"uses {sdk.name}"),
        sdk.suggests,
        confidence,
        evidence,
        provider=sdk.provider,
        module=module,
    )


def model_sighting(file: File, line: int, name: str, provider: str | None) -> Sighting:
    """Return the sighting of a model's name."""
    return Sighting(
        SightingKind.MODEL,
        file.shown,
        line,
        clean(f"names the model {name}"),
        Kind.MODEL_INTEGRATION,
        Confidence.DECLARED,
        "a text literal",
        provider=provider,
        model=clean(name, 128),
    )


def endpoint_sighting(file: File, line: int, provider: str) -> Sighting:
    """Return the sighting of a model API's address."""
    return Sighting(
        SightingKind.ENDPOINT,
        file.shown,
        line,
        f"speaks to the API of {provider}",
        Kind.MODEL_INTEGRATION,
        Confidence.INFERRED,
        "the address of a model API in a text literal",
        provider=provider,
    )


class _Reader:
    """Reads one syntax tree."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.prose: set[int] = set()  # ids of constants that are docstrings

    def read(self, tree: ast.AST) -> Iterator[Sighting]:
        """Yield what the tree shows, in the order of a walk."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from self._imported(node, [alias.name for alias in node.names])
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                yield from self._imported_from(node, node.module)
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                self.prose.add(id(node.value))
            elif isinstance(node, ast.Call):
                yield from self._called(node)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in self.prose:
                yield from self._literal(node, node.value)

    def _imported(self, node: ast.stmt, modules: list[str]) -> Iterator[Sighting]:
        for module in modules:
            sdk = looked_up(module, PYTHON_MODULES, ".")
            if sdk:
                yield sdk_sighting(self.file, node.lineno, sdk, module, "an import")

    def _imported_from(self, node: ast.ImportFrom, module: str) -> Iterator[Sighting]:
        names = [alias.name for alias in node.names]
        if module == "agents" and not OPENAI_AGENTS_WORDS.isdisjoint(names):
            yield sdk_sighting(self.file, node.lineno, OPENAI_AGENTS, module, "an import")
            return
        found = [looked_up(f"{module}.{name}", PYTHON_MODULES, ".") for name in names]
        for sdk in dict.fromkeys(sdk for sdk in found if sdk):
            yield sdk_sighting(self.file, node.lineno, sdk, module, "an import")

    def _called(self, node: ast.Call) -> Iterator[Sighting]:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        first = node.args[0] if node.args else None
        text = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None
        if name in ("import_module", "__import__") and text:
            yield from self._imported_by_name(node, text)
        service = text if text in BEDROCK_SERVICES else _keyword(node, "service_name")
        if name in ("client", "resource") and service in BEDROCK_SERVICES:
            sdk = BEDROCK_SERVICES[service]
            yield sdk_sighting(self.file, node.lineno, sdk, service, "a call that makes a client")
        for word in _MODEL_WORDS:
            model = _keyword(node, word)
            if model and _is_odd_model(model):
                yield model_sighting(self.file, node.lineno, model, None)

    def _imported_by_name(self, node: ast.Call, module: str) -> Iterator[Sighting]:
        sdk = looked_up(module, PYTHON_MODULES, ".")
        if sdk:
            yield sdk_sighting(self.file, node.lineno, sdk, module, "an import by name", Confidence.INFERRED)

    def _literal(self, node: ast.Constant, text: str) -> Iterator[Sighting]:
        provider = provider_of_model(text)
        if provider:
            yield model_sighting(self.file, node.lineno, text, provider)
        elif "://" in text:
            for found in dict.fromkeys(provider for provider, _ in endpoints_in(text)):
                yield endpoint_sighting(self.file, node.lineno, found)


def _keyword(node: ast.Call, name: str) -> str | None:
    for keyword in node.keywords:
        if keyword.arg == name and isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str):
            return keyword.value.value
    return None


_ODD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{2,100}")


def _is_odd_model(text: str) -> bool:
    """Return whether `text`, given as `model=`, is a model's name that no family knows: `acme/llm-7b`, a deployment."""
    return provider_of_model(text) is None and bool(_ODD.fullmatch(text)) and any(ch in text for ch in "-/:")
