"""A person's terminal: the real `charter` command in a folder, with an environment of its own.

terminal = Terminal(tmp_path)
terminal.charter("init", "estate")
with terminal.inside("estate").up() as server:
    terminal.inside("estate").ask("ls")

The environment holds what a fresh login holds and nothing of the test run's: a setting that happens to be there hides
what a new user would meet.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from charter.cli.main import app

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
AGENT = str(ROOT / "src" / "charter" / "cli" / "demo" / "agent.py")
NOTES = [sys.executable, str(ROOT / "tests" / "servers" / "notes.py")]
# Before a command: bound by the modes of files, as everyone but root is.
_POWERS = "-dac_override,-dac_read_search"
AS_OWNER = ("setpriv", f"--bounding-set={_POWERS}", f"--inh-caps={_POWERS}") if os.geteuid() == 0 else ()
OPERATOR = "operator@example.com"
SECONDS = 120  # far more than any command takes: a bound, not a measure


def login(home: Path, **added: str) -> dict[str, str]:
    """Return the environment of a fresh login whose home is `home`."""
    home.mkdir(parents=True, exist_ok=True)
    path = f"{BIN}:{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    return kept | {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", "CHARTER_PORT": "0"} | added


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


@dataclass
class Server:
    """A running `charter up`."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str
    link: str

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=SECONDS)


@dataclass(frozen=True)
class Terminal:
    """A folder to type commands in."""

    folder: Path
    environment: Mapping[str, str]
    options: tuple[str, ...] = ()  # before the command
    before: tuple[str, ...] = ()  # a command that runs the command

    @classmethod
    def at(cls, folder: Path, **added: str) -> Terminal:
        """Return a terminal in `folder`, whose home is a folder beside it."""
        folder.mkdir(parents=True, exist_ok=True)
        home = folder.parent / f"{folder.name}-home"
        return cls(folder, login(home, CHARTER_OPERATOR=OPERATOR, **added))

    def inside(self, name: str) -> Terminal:
        """Return a terminal in a folder below."""
        return replace(self, folder=self.folder / name)

    def but(self, *options: str, before: tuple[str, ...] = (), **added: str) -> Terminal:
        """Return a terminal with other options before the command, or more in its environment."""
        return replace(self, options=options, before=before, environment={**self.environment, **added})

    def charter(self, *words: str, expect: int = 0, stdin: str = "") -> Done:
        """Run a command and check its exit code."""
        done = subprocess.run(
            self._command(*words),
            cwd=self.folder,
            env=dict(self.environment),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == expect, (
            f"`charter {' '.join(words)}` ended with {done.returncode}, not {expect}:\n{done.stdout}\n{done.stderr}"
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def say(self, *words: str, expect: int = 0) -> str:
        """Return what a command prints for people."""
        return self.charter(*words, expect=expect).out

    def ask(self, *words: str, expect: int = 0) -> Any:
        """Return a command's --json answer: one document with the fields its --help promises, nothing beside it."""
        done = self.charter(*words, "--json", expect=expect)
        assert done.err == "", done.err
        answer = json.loads(done.out)
        if "error" not in answer:
            promised = documented_fields(words)
            assert any(fields <= set(answer) for fields in promised), f"{list(answer)} keeps not {promised}"
        return answer

    def refused(self, *words: str, expect: int) -> dict[str, Any]:
        """Return the error that a command ends with, as --json gives it."""
        error = self.ask(*words, expect=expect)
        assert list(error)[:4] == ["error", "detail", "help", "exit"], error
        assert error["exit"] == expect
        return dict(error)

    def agent(self, name: str, *calls: Mapping[str, Any], expect: int = 0) -> list[dict[str, Any]]:
        """Let an agent of the official MCP client make `calls` under `charter run`; return how each went."""
        done = self.charter("run", name, "--", sys.executable, AGENT, stdin=json.dumps(calls), expect=expect)
        return [json.loads(line) for line in done.out.splitlines() if line.startswith("{")]

    def begin_agent(self, name: str, calls: list[dict[str, Any]]) -> subprocess.Popen[str]:
        """Start such an agent and leave it at work; a context that waits for its end."""
        agent = subprocess.Popen(
            self._command("run", name, "--", sys.executable, AGENT),
            cwd=self.folder,
            env=dict(self.environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert agent.stdin is not None
        agent.stdin.write(json.dumps(calls))
        agent.stdin.close()
        return agent

    @contextmanager
    def up(self, *words: str) -> Iterator[Server]:
        """Run `charter up` on a free port, its output in a file, for as long as the context lasts."""
        log = self.folder / "up.log"
        with log.open("wb") as sink:
            process = subprocess.Popen(
                self._command("up", *words),
                cwd=self.folder,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
        server = Server(process, log, "", "")
        try:
            server.url, server.link = _await_start(process, log)
            yield server
        finally:
            try:
                server.stop()
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise

    def _command(self, *words: str) -> list[str]:
        return [*self.before, str(BIN / "charter"), *self.options, *words]


def documented_fields(words: tuple[str, ...]) -> list[set[str]]:
    """Return the fields that a command's --help promises of --json, for each form of its answer."""
    command: Any = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]
        if not hasattr(command, "commands"):
            break
    told = re.sub(r"\s+", " ", command.help)
    return [
        set(fields.split(", "))
        for fields in re.findall(r"(?:With --json|Of (?:a|the) [a-z ]+): ([a-z0-9_, ]+)\.", told)
    ]


def _await_start(process: subprocess.Popen[bytes], log: Path) -> tuple[str, str]:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        said = log.read_text(encoding="utf-8")
        if "stop it with" in said:
            up, link = said.splitlines()[:2]
            return up.removeprefix("charter is up at "), link.removeprefix("console: ")
        time.sleep(0.02)
    raise AssertionError(f"charter up did not start:\n{log.read_text(encoding='utf-8')}")
