"""`charter diff` and `charter check`: what can be said of changed files without a server, for reviews, hooks and CI."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from charter.cli.context import Context, Json, context_of
from charter.cli.estate_commands import print_plan
from charter.cli.junit import junit
from charter.cli.output import NO, counted, print_json, say
from charter.cli.summary import summary
from charter.cli.test_command import falls_short, show_tests

Base = Annotated[
    str | None, typer.Option("--base", help="The git revision to compare with: HEAD, origin/main.", show_default=False)
]
WIDER = frozenset({"widens", "not proven"})  # what a reviewer must look at


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("diff")(diff)
    app.command("check")(check)


def diff(
    context: typer.Context,
    base: Annotated[str, typer.Option("--base", help="The git revision to compare with: HEAD, origin/main.")] = "HEAD",
    fail_on_widening: Annotated[
        bool,
        typer.Option(
            "--fail-on-widening", help="Exit 1 if a principal may do more, breaks a duty, or it is not proven."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what the files change of the estate at a git revision, and what principals may do then. Needs no server.

    Example: charter diff --base origin/main

    With --json: estate, base, changes, unchanged, counts, digest, effects, review, note.
    """
    told = _compared(context_of(context), base)
    if as_json:
        print_json(told)
    else:
        _show_diff(told, base)
    if fail_on_widening and _widens(told):
        raise typer.Exit(NO)


def check(
    context: typer.Context,
    base: Base = None,
    junit_file: Annotated[
        Path | None, typer.Option("--junit", help="Write the test results here, as JUnit XML.", show_default=False)
    ] = None,
    summary_file: Annotated[
        Path | None, typer.Option("--summary", help="Add a summary in Markdown to this file.", show_default=False)
    ] = None,
    min_coverage: Annotated[
        float | None, typer.Option("--min-coverage", min=0, max=100, help="Exit 1 below this percentage of rules.")
    ] = None,
    proven: Annotated[bool, typer.Option("--proven", help="Exit 1 if a property is searched and not proven.")] = False,
    fail_on_widening: Annotated[
        bool,
        typer.Option(
            "--fail-on-widening", help="Exit 1 if a principal may do more than at the base, or breaks a duty."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Validate the estate, run its tests and properties, and with --base show what the files change. Needs no server.

    What a hook or CI runs: exit 0 if all is well, 1 if a test fails or a bound is not kept, 2 if a file is wrong.

    Example: charter check --base origin/main --junit results.xml

    With --json: warnings, tests, diff.
    """
    from charter.bootstrap import trials
    from charter.bootstrap.estate import check_folder
    from charter.core.clock import SystemClock

    here, clock = context_of(context), SystemClock()
    estate = check_folder(here.settings.estate, clock)
    report = trials.run(estate, clock)
    changed = _compared(here, base) if base is not None else None
    told: dict[str, Any] = {
        "warnings": [str(each) for each in estate.warnings],
        "tests": report.to_json(),
        "diff": changed,
    }
    if junit_file is not None:
        junit_file.write_bytes(junit(told["tests"], report.seconds))
    if summary_file is not None:
        with summary_file.open("a", encoding="utf-8") as out:
            out.write(summary(told, base))
    if as_json:
        print_json(told)
    else:
        for warning in told["warnings"]:
            say(f"warning: {warning}", "yellow")
        say(f"valid: {counted(len(estate.charters), 'principal')}, {counted(len(estate.systems), 'system')}", "green")
        show_tests(told["tests"])
        if changed is not None:
            _show_diff(changed, base or "")
    is_short = falls_short(told["tests"], min_coverage, proven=proven)
    if is_short or (fail_on_widening and changed is not None and _widens(changed)):
        raise typer.Exit(NO)


def _compared(here: Context, base: str) -> dict[str, Any]:
    from charter.bootstrap.file_diff import compare
    from charter.cli.git_base import files_at
    from charter.core.clock import SystemClock
    from charter.registry.manifest import read_files

    settings = here.settings
    before, files = files_at(settings.estate, base), read_files(settings.estate)
    return compare(before, files, SystemClock(), settings.plan_seconds)


def _widens(told: dict[str, Any]) -> bool:
    return any(
        effect["conclusion"] in WIDER or any(duty["new"] for duty in effect["duties"]) for effect in told["effects"]
    )


def _show_diff(told: dict[str, Any], base: str) -> None:
    if told["note"]:
        say(f"note: {told['note']}", "yellow")
    if not told["changes"]:
        say(f"nothing differs from {base}", "green")
        return
    say(f"what differs from {base}:")
    print_plan(told)
