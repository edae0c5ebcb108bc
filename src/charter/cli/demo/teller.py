"""How the demo tells its story: steps, claims that are checked, commands run as a person would run them."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from charter.cli.demo.stage import HERE, Stage
from charter.cli.output import out, say
from charter.config import child_environment

COMMAND_SECONDS = 60
START_SECONDS = 60
END_SECONDS = 15


class Untrue(Exception):  # noqa: N818 - it is what it says: a claim that does not hold
    """A step did not do what it claims."""


class Teller:
    """Tells the story on one stage."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.claims = 0
        self._step = 0
        self._at_work: list[subprocess.Popen[str]] = []
        self._environment = child_environment(
            CHARTER_KEYS=str(stage.keys), CHARTER_OPERATOR="operator@example.com", NO_COLOR="1"
        )

    def step(self, title: str) -> None:
        """Begin a step."""
        self._step += 1
        out.print()
        out.rule(f"[bold]{self._step}. {title}", align="left")

    def claim(self, holds: bool, text: str) -> None:
        """State what must be true, and stop the demo if it is not.

        Raises:
            Untrue: it is not.
        """
        if not holds:
            raise Untrue(text)
        self.claims += 1
        say(f"  ✓ {text}", "green")

    def charter(self, *words: str, expect: int = 0, stdin: str | None = None) -> str:
        """Run a charter command on the demo's estate; return what it printed.

        Raises:
            Untrue: it ended with another exit code, or not at all.
        """
        shown = " ".join(w for w in words if w != "--json")
        say(f"  $ charter {textwrap.shorten(shown, 140, placeholder=' …')}", "cyan")
        try:
            done = subprocess.run(
                self._command(*words),
                cwd=self.stage.estate,
                env=self._environment,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as err:
            raise Untrue(f"`charter {shown}` had not ended after {COMMAND_SECONDS} seconds") from err
        if done.returncode != expect:
            raise Untrue(f"`charter {shown}` ended with {done.returncode}, not {expect}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def ask(self, *words: str, expect: int = 0) -> Any:  # noqa: ANN401 - any JSON value
        """Run a charter command with --json; return its answer."""
        return json.loads(self.charter(*words, "--json", expect=expect))

    def agent(self, name: str, calls: list[dict[str, Any]], *, behalf: str | None = None) -> list[dict[str, Any]]:
        """Let the demo's agent make `calls` as principal `name`, under `charter run`; return how each went.

        `behalf`: on whose behalf it acts, if not its own.
        """
        answers = self.run(name, HERE / "agent.py", calls, behalf=behalf)
        for call, answer in zip(calls, answers, strict=True):
            self._show(name, call, answer)
        return answers

    def run(
        self, name: str, program: Path, asked: list[dict[str, Any]], *, behalf: str | None = None
    ) -> list[dict[str, Any]]:
        """Let a program do what is `asked` of it as principal `name`, under `charter run`; return what it answers.

        Raises:
            Untrue: it answers more or less than it was asked.
        """
        options = ["--on-behalf-of", behalf] if behalf else []
        words = ["run", name, *options, "--", str(self.stage.servers.python), str(program)]
        printed = self.charter(*words, stdin=json.dumps(asked))
        answers = _answers(printed)
        if len(answers) != len(asked):
            raise Untrue(f"the agent did {len(answers)} of {len(asked)} things:\n{printed}")
        return answers

    def begin_agent(self, name: str, calls: list[dict[str, Any]]) -> subprocess.Popen[str]:
        """Start the demo's agent and leave it at work."""
        process = subprocess.Popen(
            self._command("run", name, "--", str(self.stage.servers.python), str(HERE / "agent.py")),
            cwd=self.stage.estate,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        _write(process.stdin, json.dumps(calls))
        process.stdin = None  # it is closed; `communicate` would flush it
        self._at_work.append(process)
        return process

    def end_agent(self, process: subprocess.Popen[str]) -> list[dict[str, Any]]:
        """Wait until an agent left at work has ended; return how its calls went.

        Raises:
            Untrue: it does not end.
        """
        try:
            printed, _ = process.communicate(timeout=COMMAND_SECONDS)
        except subprocess.TimeoutExpired as err:
            raise Untrue(f"an agent was still at work after {COMMAND_SECONDS} seconds") from err
        return _answers(printed)

    @contextmanager
    def server(self, folder: Path | None = None, **settings: str) -> Iterator[str]:
        """Run `charter up` on a free port for as long as the context lasts; yield the console's link.

        `folder`: of another estate than the demo's; `settings` go into its environment.
        """
        home = folder or self.stage.estate
        log = self.stage.root / f"{home.name}.log"
        with log.open("w", encoding="utf-8") as sink:
            process = subprocess.Popen(
                self._command("up", "--port", "0"),
                cwd=home,
                env={**self._environment, **settings},
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
        try:
            yield _await_link(process, log)
        finally:
            for agent in self._at_work:
                _end(agent)
            _end(process)

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "charter.cli.main", *words]

    def _show(self, name: str, call: dict[str, Any], answer: dict[str, Any]) -> None:
        what = "tools/list" if call.get("list") else call["tool"]
        arguments = json.dumps(call.get("arguments", {}))
        say(f"    {name} → {call['system']}/{what} {arguments[:90]}  ({answer['ms']} ms)")
        if answer["ok"]:
            say(f"      {answer['text'].strip().splitlines()[0][:110] if answer['text'].strip() else 'done'}", "dim")
        else:
            said = answer.get("error") or answer.get("text", "")
            say(f"      refused: {said}", "yellow")


def _await_link(process: subprocess.Popen[Any], log: Path) -> str:
    """Wait until the server says where its console is."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text(encoding="utf-8").splitlines():
            if line.startswith("console: "):
                return line.removeprefix("console: ")
        time.sleep(0.05)
    raise Untrue(f"`charter up` did not come up:\n{log.read_text(encoding='utf-8')}")


def call(system: str, tool: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - a tool's arguments
    """Return one call for the demo's agent."""
    return {"system": system, "tool": tool, "arguments": arguments}


def _answers(printed: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]


def _end(process: subprocess.Popen[Any]) -> None:
    """End a process that was started here, by force if it takes its time; one that has ended is left as it is."""
    process.terminate()
    try:
        process.wait(timeout=END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _write(stream: IO[str] | None, text: str) -> None:
    if stream is not None:
        stream.write(text)
        stream.close()
