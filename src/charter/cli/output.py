"""What the commands print: for people by default, for programs with --json; and what their exit codes mean.

0  done, or the answer is yes
1  the answer is no: tests failed, the log does not verify, a plan under --check is not empty
2  the input is wrong: usage, files, values
3  not allowed: the caller did not prove itself, or policy said no
4  there is no such thing
5  someone was faster, or the move is not legal from here
6  something it depends on failed; nothing was changed
7  evidence, a key or an invariant is broken: stop and look
130  interrupted from the keyboard
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from charter.core.errors import (
    AbsentError,
    CharterError,
    ConflictError,
    DeniedError,
    ErrorCode,
    IntegrityError,
    MalformedError,
    ThrottledError,
    UnauthenticatedError,
    UnavailableError,
)
from charter.evidence.neutral import lines, readable_json
from charter.registry.problem import EstateError

NO, WRONG_INPUT, NOT_ALLOWED, ABSENT, CONFLICT, UNAVAILABLE, BROKEN = 1, 2, 3, 4, 5, 6, 7
INTERRUPTED = 130
MAX_PROBLEMS = 200  # shown; --json has them all
PIPED_WIDTH = 160  # columns of a table that no terminal shows
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPED_WIDTH)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def exit_code(error: CharterError) -> int:  # noqa: PLR0911 - a table, one row an error
    """Return the exit code that `error` means."""
    match error:
        case MalformedError():
            return WRONG_INPUT
        case UnauthenticatedError() | DeniedError():
            return NOT_ALLOWED
        case AbsentError():
            return ABSENT
        case ConflictError():
            return CONFLICT
        case ThrottledError() | UnavailableError():
            return UNAVAILABLE
        case IntegrityError():
            return BROKEN
        case _:
            return NO


def clean(value: object) -> str:
    """Return `value` as text that cannot steer a terminal: control and direction-changing characters made visible."""
    return lines(str(value))


def say(text: str, style: str | None = None) -> None:
    """Print one line for people, at once: it may be read through a pipe long before the command ends."""
    out.print(Text(clean(text), style=style or ""))


def warn(text: str) -> None:
    """Print one line to standard error."""
    err.print(Text(clean(text), style="yellow"))


def print_json(value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Print `value` for programs: one document, nothing else on standard output; at once."""
    sys.stdout.write(readable_json(value, indent=2) + "\n")
    sys.stdout.flush()


def table(columns: list[str], rows: list[list[object]], *, title: str | None = None) -> None:
    """Print a table for people. `columns` are the headings."""
    shown = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for name in columns:
        shown.add_column(name, overflow="fold")
    for row in rows:
        shown.add_row(*(Text(clean("" if cell is None else cell), style=_style(cell)) for cell in row))
    out.print(shown)


_STYLES = {
    "allow": "green",
    "ok": "green",
    "active": "green",
    "pass": "green",
    "deny": "red",
    "fail": "red",
    "revoked": "red",
    "suspended": "red",
    "escalate": "yellow",
    "restrained": "yellow",
    "waiting": "yellow",
}


def _style(cell: object) -> str:
    return _STYLES.get(str(cell), "")


def fail(error: CharterError, *, as_json: bool) -> NoReturn:
    """Tell of `error` and leave with its exit code."""
    code = exit_code(error)
    if as_json:
        body: dict[str, Any] = {"error": error.code.value, "detail": error.detail, "help": error.help, "exit": code}
        if isinstance(error, EstateError):
            body["problems"] = [asdict(problem) for problem in error.problems]
        print_json(body)
    else:
        problems = error.problems if isinstance(error, EstateError) else ()
        said = f"the estate has {len(problems)} problems" if len(problems) > 1 else error.detail
        err.print(Text(f"error: {clean(said)}", style="red"))
        for line in problems[:MAX_PROBLEMS] if len(problems) > 1 else ():
            err.print(Text(f"  {clean(line)}"))
        if error.help:
            err.print(Text(f"  → {clean(error.help)}"))
    raise SystemExit(code)


def misused(error: typer.TyperException, *, as_json: bool) -> NoReturn:
    """Tell how a command was to be written, and leave: unknown words, missing or wrong values."""
    context: typer.Context | None = getattr(error, "ctx", None)
    if as_json:
        help_at = f"{context.command_path} --help" if context else "charter --help"
        detail = error.format_message()
        print_json({"error": ErrorCode.BAD_REQUEST.value, "detail": detail, "help": help_at, "exit": WRONG_INPUT})
    else:
        show: Callable[[], None] = error.show  # type: ignore[attr-defined]  # all that Typer raises have it
        show()
    raise SystemExit(WRONG_INPUT)


def clock_told(clock: Any) -> str:  # noqa: ANN401 - what the API says of the log's clock
    """Say how often the log's clock was set back; empty: never."""
    times = clock["set_back"]
    return f"the clock was set back {counted(times, 'time')}, first at entry {clock['first']}" if times else ""


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return `3 keys`, `1 key`; `many` where it is not `one` and an s."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def show_progress(*, as_json: bool) -> Callable[[dict[str, Any]], None]:
    """Return what shows how far a long answer is, where a person looks at it."""
    is_shown = sys.stderr.isatty() and not as_json

    def step(line: dict[str, Any]) -> None:
        told = line.get("progress")
        if is_shown and told:
            changes = f", {told['changes']} changes" if "changes" in told else ""
            err.print(f"{told['entries']:,} of {told['of']:,} entries{changes}", end="\r")

    return step
