"""`charter replay`: recorded sessions through the real pipeline."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from charter.cli.context import Json, context_of
from charter.cli.output import NO, clean, counted, print_json, say

MAX_FILE = 1024 * 1024 * 1024
_MARKS = {"allow": ("allow   ", ""), "deny": ("DENY    ", "red"), "escalate": ("held    ", "yellow")}


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("replay")(replay)


def replay(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Recorded sessions as JSON lines; `-` reads them from input.")],
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show only what was held or denied.")] = False,
    as_json: Json = False,
) -> None:
    """Run recorded sessions through the real pipeline, by the files at hand, without any upstream.

    Each call is decided with all that its session has read before, and told with its reason. Exit 1 if a verdict is
    not the one that the file expects of it. docs/data-flow.md describes the lines.

    Example: charter replay sessions.jsonl

    With --json: calls, sessions, allowed, held, approved, denied, unexpected, questions_per_100.
    """
    from charter.bootstrap.replays import replay as run
    from charter.bootstrap.tools import known_choices
    from charter.gateway.session_file import read_sessions
    from charter.registry.manifest import read_files

    sessions = read_sessions(_lines(file))
    root = context_of(context).settings.estate
    files = read_files(root)
    calls, count, approved, wrong = [], Counter[str](), 0, 0
    for each in run(files, sessions, known_choices(root)):
        calls.append(each.to_json())
        count[each.verdict] += 1
        approved += each.passed and each.verdict == "escalate"
        wrong += not each.is_expected
        if not as_json and not (quiet and each.verdict == "allow" and each.is_expected):
            _show(calls[-1], is_expected=each.is_expected)
    told: dict[str, Any] = {
        "calls": calls,
        "sessions": len(sessions),
        "allowed": count["allow"],
        "held": count["escalate"],
        "approved": approved,
        "denied": count["deny"],
        "unexpected": wrong,
        "questions_per_100": round(100 * count["escalate"] / len(calls), 1) if calls else 0.0,
    }
    if as_json:
        print_json(told)
    else:
        say(
            f"{counted(len(calls), 'call')} of {counted(len(sessions), 'session')}: {told['allowed']} allowed, "
            f"{told['held']} held ({approved} then approved), {told['denied']} denied; "
            f"{told['questions_per_100']} questions per 100 calls",
            "red" if wrong else "green",
        )
    if wrong:
        raise typer.Exit(NO)


def _show(call: dict[str, Any], *, is_expected: bool) -> None:
    mark, style = _MARKS[call["verdict"]]
    say(f"{call['line']:>5}  {mark} {clean(call['principal'])}  {clean(call['system'])}/{clean(call['tool'])}", style)
    for reason in call["reasons"][: 2 if call["verdict"] != "allow" else 0]:
        say(f"                {clean(reason['text'])} ({reason['rule']})", "dim")
    if call["approvers"]:
        say(f"                asked: {', '.join(call['approvers'])}; {'made' if call['made'] else 'not made'}", "dim")
    if call["unanswered"]:
        say(f"                the yes came to nothing: {clean(call['unanswered'])}", "yellow")
    if not is_expected:
        say(f"                expected {call['expected']}", "red")


def _lines(file: Path) -> list[bytes]:
    from charter.adapters.whole_file import read_most, read_named

    is_named, told = str(file) != "-", "1 GiB"
    data = read_named(file, MAX_FILE, told) if is_named else read_most(sys.stdin.buffer, "-", MAX_FILE, told)
    return data.splitlines()
