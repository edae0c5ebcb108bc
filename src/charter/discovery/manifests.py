"""Dependencies on model SDKs in package manifests, and the names packages give themselves.

A manifest marks a package: what is found beside and below it belongs to it. Manifests are read as data; none is run, so
of `setup.py` only the texts that are requirements count. Lock files say nothing more, and are passed over.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from charter.discovery.catalogue import (
    DOTNET,
    GO_MODULES,
    JVM_ARTIFACTS,
    NODE_PACKAGES,
    PHP_PACKAGES,
    PYTHON_PACKAGES,
    RUBY_GEMS,
    RUST_CRATES,
    Sdk,
    looked_up,
)
from charter.discovery.file import File
from charter.discovery.python_code import parsed
from charter.discovery.sighting import Confidence, Sighting, SightingKind, clean
from charter.discovery.tree import UnreadableError, read_json

_NAMES = frozenset(
    {"package.json", "pyproject.toml", "setup.py", "setup.cfg", "pipfile", "go.mod", "cargo.toml", "pom.xml"}
    | {"build.gradle", "build.gradle.kts", "composer.json", "gemfile", "environment.yml", "environment.yaml"}
)
_REQUIREMENTS = re.compile(r"(?:.*[-_.])?requirements?(?:[-_.].*)?\.(?:txt|in)")
_REQUIREMENT = re.compile(
    r"^[ \t\-\"']*([A-Za-z0-9][A-Za-z0-9._-]{0,80})[ \t]*(?:\[[^\]\n]{0,200}\])?[ \t]*(?:[=<>!~;@,#\"']|$)",
    re.MULTILINE,
)
_MAX_LINE = 20_000


def is_manifest(path: str) -> bool:
    """Return whether the file at `path` marks the folder it is in as a package."""
    name = path.lower().rpartition("/")[2]
    return name in _NAMES or name.endswith((".csproj", ".fsproj", ".gemspec")) or bool(_REQUIREMENTS.fullmatch(name))


def manifest_sightings(file: File) -> Iterator[Sighting]:
    """Yield the model SDKs that a manifest lists.

    Raises:
        UnreadableError: the manifest cannot be read.
    """
    if not is_manifest(file.path):
        return
    own = own_name(file)
    for name, sdk, line in _listed(file):
        if name.lower() != own:
            yield Sighting(
                SightingKind.DEPENDENCY,
                file.shown,
                line,
                clean(f"depends on {name}"),
                sdk.suggests,
                Confidence.DECLARED,
                "a package manifest",
                provider=sdk.provider,
                module=name,
            )


def own_name(file: File) -> str | None:
    """Return the name a package gives itself, in lower case, if its manifest says so."""
    match file.name:
        case "package.json" | "composer.json":
            found = re.search(r'^\s{0,4}"name"\s*:\s*"([^"\n]{1,200})"', file.text, re.MULTILINE)
        case "pyproject.toml" | "cargo.toml" | "setup.cfg":
            found = re.search(r"^name[ \t]*=[ \t]*[\"']?([A-Za-z0-9._-]{1,100})", file.text, re.MULTILINE)
        case "setup.py":
            found = re.search(r"\bname\s*=\s*[\"']([A-Za-z0-9._-]{1,100})[\"']", file.text)
        case "go.mod":
            found = re.search(r"^module[ \t]+(\S{1,200})", file.text, re.MULTILINE)
        case _:
            return None
    return found[1].lower() if found else None


_Listed = Iterator[tuple[str, Sdk, int]]


def _listed(file: File) -> _Listed:
    """Yield (package, its SDK, line) of each that a manifest lists."""
    match file.name:
        case "package.json":
            yield from _from_json(file, NODE_PACKAGES, ("dependencies", "devDependencies", "peerDependencies"))
        case "composer.json":
            yield from _from_json(file, PHP_PACKAGES, ("require", "require-dev"))
        case "pyproject.toml" | "pipfile":
            yield from _from_pyproject(file)
        case "cargo.toml":
            yield from _from_lines(
                file, RUST_CRATES, r"^[ \t]*\"?([A-Za-z0-9_-]+)\"?[ \t]*=|^\[[\w.\"'()= -]*dependencies\.([\w-]+)\]"
            )
        case "go.mod":
            yield from _from_lines(
                file, GO_MODULES, r"^[ \t]*(?:require[ \t]+)?([a-z0-9.-]+\.[a-z]{2,}/?[\w./-]*)[ \t]+v", "/"
            )
        case "setup.py":
            yield from _from_setup(file)
        case "pom.xml" | "build.gradle" | "build.gradle.kts":
            yield from _from_lines(
                file,
                JVM_ARTIFACTS,
                r"<(?:groupId|artifactId)>([\w.-]+)</|[\"']([\w.-]+):[\w.-]+(?::[^\"'\n]*)?[\"']",
                ".",
            )
        case "gemfile":
            yield from _from_lines(file, RUBY_GEMS, r"^[ \t]*gem[ \t(]+[\"']([\w-]+)[\"']")
        case _:
            yield from _others(file)


def _others(file: File) -> _Listed:
    if file.suffix in (".csproj", ".fsproj"):
        yield from _from_lines(file, DOTNET, r"<PackageReference\s+Include=\"([\w.]+)\"", ".")
    elif file.suffix == ".gemspec":
        yield from _from_lines(file, RUBY_GEMS, r"add_(?:runtime_)?dependency[ (]+[\"']([\w-]+)[\"']")
    else:
        yield from _from_requirements(file.text, 1)


def _from_lines(file: File, table: Mapping[str, Sdk], pattern: str, separator: str = "\0") -> _Listed:
    """Yield what `pattern` finds: one of its groups is the package."""
    lines = file.text.split("\n")
    text = "\n".join(line if len(line) < _MAX_LINE else "" for line in lines)
    for match in re.finditer(pattern, text, re.MULTILINE):
        name = next((group for group in match.groups() if group), "")
        sdk = looked_up(
            name if separator != "\0" else name.replace("-", "_") if table is RUST_CRATES else name, table, separator
        )
        if sdk:
            yield name, sdk, text.count("\n", 0, match.start(match.lastindex or 0)) + 1


def _from_json(file: File, table: Mapping[str, Sdk], groups: tuple[str, ...]) -> _Listed:
    if not file.holds(*(b'"%s"' % group.encode() for group in groups)):
        return
    root = read_json(file.text)
    for group in groups:
        for name, node in (root.get(group) or root).fields.items() if root.get(group) else ():
            sdk = table.get(name) or table.get(f"@ai-sdk/{name}" if name == "ai-sdk" else "")
            if sdk:
                yield name, sdk, node.line


def _normal(name: str) -> str:
    """Return a Python distribution's name in its normal form (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _python(name: str) -> Sdk | None:
    return PYTHON_PACKAGES.get(_normal(name))


def _from_requirements(text: str, first: int) -> _Listed:
    for match in _REQUIREMENT.finditer(text):
        sdk = _python(match[1])
        if sdk:
            yield _normal(match[1]), sdk, first + text.count("\n", 0, match.start(1))


def _from_pyproject(file: File) -> _Listed:
    if max(map(len, file.text.split("\n")), default=0) > _MAX_LINE:
        raise UnreadableError(f"a line is longer than {_MAX_LINE:,} characters")
    try:
        body = tomllib.loads(file.text)
    except (tomllib.TOMLDecodeError, RecursionError) as err:
        raise UnreadableError("this is no TOML") from err
    names: dict[str, Sdk] = {}
    for requirement in _requirements(body):
        match = _REQUIREMENT.match(requirement)
        sdk = _python(match[1]) if match else None
        if match and sdk:
            names.setdefault(match[1], sdk)
    for name, sdk in names.items():
        place = re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", file.text)
        yield _normal(name), sdk, file.line_at(place.start()) if place else 1


def _requirements(body: dict[str, Any]) -> Iterator[str]:
    """Yield the requirements of a pyproject.toml or Pipfile, in each of the shapes tools give them."""
    project, tool = _table_at(body, "project"), _table_at(body, "tool")
    yield from _texts(project.get("dependencies"))
    for group in (
        *_table_at(project, "optional-dependencies").values(),
        *_table_at(body, "dependency-groups").values(),
    ):
        yield from _texts(group)
    yield from _texts(_table_at(tool, "uv").get("dev-dependencies"))
    poetry = _table_at(tool, "poetry")
    tables = [poetry, *(group for group in _table_at(poetry, "group").values() if isinstance(group, dict))]
    for table in (*(_table_at(t, "dependencies") for t in tables), _table_at(poetry, "dev-dependencies")):
        yield from table
    for name in ("packages", "dev-packages"):
        yield from _table_at(body, name)


def _table_at(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = body.get(name)
    return found if isinstance(found, dict) else {}


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, str))


def _from_setup(file: File) -> _Listed:
    """Yield the requirements among a setup.py's text literals."""
    try:
        tree = parsed(file.text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.List | ast.Tuple):
            for item in node.elts:
                if isinstance(item, ast.Constant) and isinstance(item.value, str) and "\n" not in item.value:
                    yield from _from_requirements(item.value, item.lineno)
