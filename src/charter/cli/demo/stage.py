"""The demo's stage: an application's checkout, an estate, a ledger, and the public MCP servers at hand."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from charter.core.entropy import Entropy
from charter.core.errors import AbsentError, ErrorCode

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[3]
_GIT_IDENTITY = ("-c", "user.name=Rita", "-c", "user.email=rita@example.com", "-c", "commit.gpgsign=false")
_LEDGER = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, card TEXT);
CREATE TABLE refunds (id INTEGER PRIMARY KEY, customer INTEGER, amount INTEGER, currency TEXT, state TEXT);
INSERT INTO customers VALUES (1, 'Ada Example', '…4242'), (2, 'Bo Sample', '…1881');
INSERT INTO refunds VALUES (1, 1, 80, 'EUR', 'disputed'), (2, 2, 35, 'EUR', 'disputed');
"""


@dataclass(frozen=True, slots=True)
class Servers:
    """The public MCP servers, as installed."""

    python: Path  # an interpreter that has the official `mcp` client
    git: Path
    time: Path
    sqlite: Path
    files: Path | None  # the filesystem server from npm
    node: str | None


def find_servers(folder: Path | None) -> Servers:
    """Return where the public MCP servers are; `folder` holds `.venv-servers` and `.venv-servers-v1`.

    Raises:
        AbsentError: one is not installed.
    """
    base = folder or CHECKOUT
    new, old = base / ".venv-servers" / "bin", base / ".venv-servers-v1" / "bin"
    files = base / ".venv-servers/npm/node_modules/@modelcontextprotocol/server-filesystem/dist/index.js"
    node = shutil.which("node")
    found = Servers(
        new / "python",
        new / "mcp-server-git",
        new / "mcp-server-time",
        old / "mcp-server-sqlite",
        files if node and files.is_file() else None,
        node,
    )
    for needed in (found.python, found.git, found.time, found.sqlite):
        if not needed.exists():
            raise AbsentError(
                ErrorCode.UNKNOWN_SYSTEM,
                f"the demo needs `{needed.name}`, and it is not at `{needed}`",
                help="run make demo in a checkout: it installs the public MCP servers",
            )
    return found


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the demo's parts stand."""

    root: Path
    servers: Servers

    @property
    def app(self) -> Path:
        """The application's checkout."""
        return self.root / "disputes"

    @property
    def estate(self) -> Path:
        """The estate's folder."""
        return self.root / "estate"

    @property
    def keys(self) -> Path:
        """Where the demo's agents keep their private keys."""
        return self.root / "keys"

    @property
    def ledger(self) -> Path:
        """The ledger's database."""
        return self.root / "ledger.db"


def build_stage(root: Path, servers: Servers, entropy: Entropy, at: datetime, *, models: int) -> Stage:
    """Put everything into `root` and return the stage. `models`: the port at which models are asked."""
    stage = Stage(root, servers)
    _write_app(stage, entropy)
    for name in ("ledger.db", "copy.db"):
        with sqlite3.connect(root / name) as database:
            database.executescript(_LEDGER)
        database.close()
    (root / "folder").mkdir()
    (root / "folder" / "notes.txt").write_text("Refunds up to 100 EUR need no call.\n", encoding="utf-8")
    _write_estate(stage, at, models)
    return stage


def _write_app(stage: Stage, entropy: Entropy) -> None:
    """Make the application a real git checkout, with a key in its code as they are found in the wild."""
    shutil.copytree(HERE / "app", stage.app)
    code = stage.app / "src" / "triage.py"
    leaked = "sk-ant-api03-" + entropy.token(70).replace("-", "a").replace("_", "b")[:93] + "AA"
    code.write_text(code.read_text(encoding="utf-8").replace("@@KEY@@", leaked), encoding="utf-8")
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "Sort disputes with a model"]):
        subprocess.run(["git", *_GIT_IDENTITY, *command], cwd=stage.app, check=True, capture_output=True)  # noqa: S607


def _write_estate(stage: Stage, at: datetime, models: int) -> None:
    """Write the estate's files for this machine."""
    closed = (at + timedelta(hours=2), at + timedelta(hours=3))
    words = {
        "@@GIT@@": stage.servers.git,
        "@@TIME@@": stage.servers.time,
        "@@SQLITE@@": stage.servers.sqlite,
        "@@NODE@@": stage.servers.node or "",
        "@@FILES@@": stage.servers.files or "",
        "@@APP@@": stage.app,
        "@@LEDGER@@": stage.ledger,
        "@@COPY@@": stage.root / "copy.db",
        "@@MODELS@@": models,
        "@@FOLDER@@": stage.root / "folder",
        "@@CLOSED@@": f"{closed[0]:%H:%M}-{closed[1]:%H:%M} UTC",
    }
    for source in sorted((HERE / "estate").rglob("*")):
        target = stage.estate / source.relative_to(HERE / "estate")
        if source.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        if source.name == "files.yaml" and stage.servers.files is None:
            continue
        text = source.read_text(encoding="utf-8")
        for word, value in words.items():
            text = text.replace(word, str(value))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
