"""`charter test`: tables, properties and coverage of an estate, for people and for CI."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from charter.cli.context import Json, context_of
from charter.cli.junit import failure_of, junit
from charter.cli.output import NO, print_json, say, warn

_SHOWN = 20  # of what no test touches


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("test")(test)


def test(
    context: typer.Context,
    junit_file: Annotated[
        Path | None, typer.Option("--junit", help="Write the results here too, as JUnit XML.", show_default=False)
    ] = None,
    min_coverage: Annotated[
        float | None, typer.Option("--min-coverage", min=0, max=100, help="Exit 1 below this percentage of rules.")
    ] = None,
    proven: Annotated[bool, typer.Option("--proven", help="Exit 1 if a property is searched and not proven.")] = False,
    as_json: Json = False,
) -> None:
    """Run the estate's tables and properties through the real decision engine. Exit 1 if any fails.

    A property is held against all calls: proven, or failed with one call that shows it, or, where nobody can prove it,
    searched. Coverage is of what each rule can do: allow, let through, stop.

    Example: charter test --junit results.xml --min-coverage 80

    With --json: passed, failed, results, properties, coverage, untested.
    """
    from charter.bootstrap.estate import try_folder

    report = try_folder(context_of(context).settings.estate)
    told = report.to_json()
    if junit_file is not None:
        junit_file.write_bytes(junit(told, report.seconds))
    if as_json:
        print_json(told)
    else:
        show_tests(told)
    if falls_short(told, min_coverage, proven=proven):
        raise typer.Exit(NO)


def falls_short(told: dict[str, Any], min_coverage: float | None, *, proven: bool) -> bool:
    """Whether something fails, is covered too thinly, or should have been proven."""
    is_thin = min_coverage is not None and told["coverage"]["percent"] < min_coverage
    if is_thin:
        warn(f"coverage is {told['coverage']['percent']:g}%, below {min_coverage:g}%")
    unproven = [each["name"] for each in told["properties"] if each["state"] == "searched"]
    if proven and unproven:
        warn(f"not proven: {', '.join(unproven)}")
    return bool(told["failed"]) or is_thin or (proven and bool(unproven))


_STATES = {
    "holds": ("holds", ""),
    "fails": ("FAIL ", "red"),
    "searched": ("?    ", "yellow"),
    "empty": ("empty", "yellow"),
}


def show_tests(told: dict[str, Any]) -> None:
    """Print what tests came to, for people."""
    for result in told["results"]:
        say(f"{'pass ' if result['passed'] else 'FAIL '} {result['name']}", "" if result["passed"] else "red")
        if not result["passed"]:
            say(f"      {result['source']}: {failure_of(result)}", "red")
    for each in told["properties"]:
        mark, style = _STATES[each["state"]]
        say(f"{mark} {each['name']}", style)
        if each["state"] != "holds":
            say(f"      {each['source']}: {each['why']}", style)
    for rule in told["untested"]:
        say(f"no test touches {rule}", "yellow")
    coverage, missing = told["coverage"], told["coverage"]["missing"]
    for point in missing[:_SHOWN]:
        say(f"not shown: {point['rule']}: {point['what']}", "dim")
    if len(missing) > _SHOWN:
        say(f"and {len(missing) - _SHOWN} more that no case shows; --json has them", "dim")
    say(f"coverage {coverage['percent']:g}%: {coverage['touched']} of {coverage['of']} things that rules can do", "dim")
    say(f"{told['passed']} passed, {told['failed']} failed", "red" if told["failed"] else "green")
