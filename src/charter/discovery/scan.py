"""One scan of one checkout: every file is read once, handed to the detectors, and what they saw merged into findings.

INVARIANT: nothing that is found is run, and nothing is asked of a network. Files are bytes; configurations are data.
INVARIANT: a scan ends. Files, bytes, depth, sightings and time are bounded, and a scan that hit a bound says which.
INVARIANT: a file that cannot be read, or not as what it should be, is listed in `unread` and never ends the scan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from charter.core.clock import Clock, Deadline
from charter.discovery.assistants import assistant_sightings
from charter.discovery.file import File
from charter.discovery.findings import ScanFinding, plain
from charter.discovery.keys import key_sightings
from charter.discovery.low_code import low_code_sightings
from charter.discovery.manifests import is_manifest, manifest_sightings, own_name
from charter.discovery.mcp_clients import mcp_sightings
from charter.discovery.merge import Checkout, merged
from charter.discovery.pipelines import pipeline_sightings, script_sightings
from charter.discovery.python_code import python_sightings
from charter.discovery.sighting import Sighting, clean, clean_path
from charter.discovery.source_code import source_sightings
from charter.discovery.tree import UnreadableError


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one scan may take."""

    files: int = 200_000
    file_bytes: int = 1024 * 1024
    depth: int = 40  # folders below each other
    seconds: float = 300.0
    sightings: int = 50_000
    sightings_per_file: int = 200


class Tree(Protocol):
    """A checkout to be scanned. Paths are relative, with `/` between their parts."""

    @property
    def origin(self) -> str:
        """What tells this checkout from others, wherever it lies: its remote's address, else its path."""
        ...

    @property
    def prefix(self) -> str:
        """Where in the checkout the scanned folder is: "" or `services/api/`."""
        ...

    @property
    def name(self) -> str:
        """What people call the checkout."""
        ...

    @property
    def skipped(self) -> dict[str, int]:
        """What was left out so far, and how often: `vendored`, `links`."""
        ...

    def paths(self) -> Iterator[str]:
        """Yield the files' paths, in order.

        Raises:
            UnreadableError: the folder itself cannot be listed.
        """
        ...

    def read(self, path: str, limit: int) -> bytes:
        """Return a file's bytes.

        Raises:
            UnreadableError: it cannot be read, is no plain file, or is larger than `limit` bytes.
        """
        ...


@dataclass(frozen=True, slots=True)
class Unread:
    """A file that could not be read as what it should be."""

    path: str
    why: str


@dataclass(frozen=True, slots=True)
class ScanReport:
    """What one scan found. `stopped` names the bound that ended it early, if one did."""

    origin: str
    prefix: str
    findings: tuple[ScanFinding, ...]
    unread: tuple[Unread, ...]
    counts: dict[str, int]  # files, bytes, sightings, and what was left out: binary, large, vendored, links
    stopped: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return {
            "origin": self.origin,
            "prefix": self.prefix,
            "findings": [finding.to_json() for finding in self.findings],
            "unread": [plain(each) for each in self.unread],
            "counts": self.counts,
            "stopped": self.stopped,
        }


_DETECTORS: tuple[Callable[[File], Iterator[Sighting]], ...] = (
    mcp_sightings,
    pipeline_sightings,
    low_code_sightings,
    manifest_sightings,
    python_sightings,
    source_sightings,
    script_sightings,
    assistant_sightings,
    key_sightings,
)
_BINARY = frozenset(
    {
        ".png", ".jpg", ".jpeg", ".gif", ".webp", ".ico", ".bmp", ".tiff", ".svg", ".avif", ".pdf", ".zip", ".gz",
        ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".tar", ".jar", ".war", ".whl", ".so", ".dylib", ".dll", ".exe",
        ".o", ".a", ".class", ".pyc", ".wasm", ".woff", ".woff2", ".ttf", ".otf", ".eot", ".mp3", ".mp4", ".wav",
        ".ogg", ".webm", ".mov", ".avi", ".flac", ".parquet", ".arrow", ".npy", ".npz", ".pt", ".pth", ".onnx",
        ".safetensors", ".gguf", ".bin", ".h5", ".pkl", ".db", ".sqlite", ".sqlite3", ".dat", ".map", ".snap", ".csv",
        ".tsv", ".jsonl", ".ndjson", ".lock", ".pack", ".idx", ".pb", ".proto", ".psd", ".ai", ".xcf", ".blend",
        ".glb", ".fbx", ".icns", ".cur", ".keystore", ".p12"
    }
)  # fmt: skip
_LOCKS = frozenset({"package-lock.json", "pnpm-lock.yaml", "npm-shrinkwrap.json", "go.sum", "packages.lock.json"})
_GENERATED = (".min.js", ".min.css", ".bundle.js", ".chunk.js", ".d.ts.map")
_MAX_UNREAD = 1000
_HEAD = 8192


@dataclass(slots=True)
class _Scan:
    """One scan under way."""

    tree: Tree
    limits: Limits
    deadline: Deadline
    sightings: list[Sighting] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    packages: dict[str, set[str]] = field(default_factory=dict)  # folder -> the names its manifests give it
    counts: dict[str, int] = field(default_factory=lambda: {"files": 0, "bytes": 0, "binary": 0, "large": 0})
    stopped: str | None = None

    def run(self) -> ScanReport:
        """Scan every file and return the report."""
        for path in self._paths():
            if self._is_over():
                break
            self._visit(path)
        checkout = Checkout(self.tree.origin, self.tree.prefix, self.tree.name, self.packages)
        findings = merged(self.sightings, checkout)
        counts = self.counts | {"sightings": len(self.sightings)} | self.tree.skipped
        return ScanReport(
            clean_path(self.tree.origin),
            clean_path(self.tree.prefix),
            findings,
            tuple(self.unread),
            counts,
            self.stopped,
        )

    def _paths(self) -> Iterator[str]:
        try:
            yield from self.tree.paths()
        except UnreadableError as err:
            self._could_not_read(".", str(err))

    def _is_over(self) -> bool:
        if self.deadline.is_past:
            self.stopped = f"after {self.limits.seconds:.0f} seconds"
        elif self.counts["files"] >= self.limits.files:
            self.stopped = f"after {self.limits.files:,} files"
        elif len(self.sightings) >= self.limits.sightings:
            self.stopped = f"after {self.limits.sightings:,} sightings"
        return self.stopped is not None

    def _visit(self, path: str) -> None:
        name = path.lower().rpartition("/")[2]
        self.counts["files"] += 1
        if f".{name.rpartition('.')[2]}" in _BINARY or name in _LOCKS or name.endswith(_GENERATED):
            self.counts["binary"] += 1
            return
        try:
            data = self.tree.read(path, self.limits.file_bytes)
        except TooLargeError as err:
            self.counts["large"] += 1
            self._could_not_read(path, str(err))
            return
        except UnreadableError as err:
            self._could_not_read(path, str(err))
            return
        self.counts["bytes"] += len(data)
        if b"\0" in data[:_HEAD] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
            self.counts["binary"] += 1
            return
        self._examine(File(path, data))

    def _examine(self, file: File) -> None:
        if is_manifest(file.path):
            names = self.packages.setdefault(file.path.rpartition("/")[0], set())
            own = own_name(file)
            if own:
                names.add(own)
        seen = 0
        for detector in _DETECTORS:
            try:
                for sighting in detector(file):
                    seen += 1
                    if seen > self.limits.sightings_per_file:
                        return
                    self.sightings.append(sighting)
            except UnreadableError as err:
                self._could_not_read(file.path, str(err))

    def _could_not_read(self, path: str, why: str) -> None:
        if len(self.unread) < _MAX_UNREAD:
            self.unread.append(Unread(clean_path(path), clean(why)))


class TooLargeError(UnreadableError):
    """A file is larger than a scan reads."""


def scan_tree(tree: Tree, *, clock: Clock, limits: Limits | None = None) -> ScanReport:
    """Return what is found in `tree`. Never raises for anything the tree holds."""
    chosen = limits or Limits()
    return _Scan(tree, chosen, Deadline.after(clock, chosen.seconds)).run()
