"""Commands about estate files: begin, write, check, plan and apply them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from charter.cli.context import Context, Json, context_of
from charter.cli.estate_files import put_new
from charter.cli.output import NO, counted, print_json, say, table
from charter.cli.printed_proof import is_late, print_effect, print_needs, print_proofs
from charter.core.errors import ErrorCode, MalformedError

Force = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("init")(init)
    app.command("new", context_settings={"ignore_unknown_options": True})(new)
    app.command("validate")(validate)
    app.command("plan")(plan)
    app.command("apply")(apply)
    app.command("schema")(schema)
    app.command("prove")(prove)


def init(
    path: Annotated[Path, typer.Argument(help="A folder that does not exist yet, or is empty.")] = Path("estate"),
    as_json: Json = False,
) -> None:
    """Write a starter estate: principals of all seven kinds, systems, guardrails, patterns, teams and tests.

    Example: charter init estate

    With --json: path, files.
    """
    from charter.core.clock import SystemClock
    from charter.registry.starter import init as write_starter

    files = write_starter(path, today=SystemClock().now().date())
    if as_json:
        print_json({"path": str(path), "files": [str(f) for f in files]})
        return
    say(f"wrote {counted(len(files), 'file')} to {path}", "green")
    say(f"next: cd {path} && charter validate && charter test && charter plan", "dim")


def new(
    context: typer.Context,
    pattern: Annotated[
        str | None,
        typer.Argument(
            help="The pattern's name: patterns/PATTERN.yaml; without it, they are listed.", show_default=False
        ),
    ] = None,
    values: Annotated[
        list[str] | None, typer.Argument(help="Its parameters: --name VALUE, or name=value.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a charter from an approved pattern. Without a pattern, list them, each with its parameters.

    A charter that would not be valid in the estate is not written.

    Example: charter new coding-agent --principal docs-bot --owner rita@example.com --branch docs-bot

    With --json: principal, path, text, approved_on, review, expires, credential_rotates, warnings. Without a
    pattern: patterns.
    """
    from charter.bootstrap.estate import render_pattern
    from charter.registry.duration import write_duration
    from charter.registry.manifest import charter_in

    here = context_of(context)
    if pattern is None:
        _list_patterns(here.settings.estate, as_json=as_json)
        return
    rendered = render_pattern(here.settings.estate, pattern, dict(_pairs(values or ())))
    name, text = rendered.principal, rendered.text
    target = here.settings.estate / "principals" / f"{name}.yaml"
    put_new(target, text, mend="choose another name")
    made = charter_in(f"principals/{name}.yaml", text)
    rotates = write_duration(made.credential.rotate) if made.credential.rotate else None
    told = {
        "approved_on": made.approved.on.isoformat(),
        "review": write_duration(made.review),
        "expires": made.expires.isoformat(),
        "credential_rotates": rotates,
    }
    if as_json:
        print_json({"principal": name, "path": str(target), "text": text} | told | {"warnings": rendered.warnings})
        return
    for warning in rendered.warnings:
        say(f"warning: {warning}", "yellow")
    say(f"wrote {target}", "green")
    rotation = f"; its credential is replaced every {rotates}" if rotates else ""
    say(f"approved on {told['approved_on']}, reviewed every {told['review']}, until {told['expires']}{rotation}", "dim")
    say("every call of its is logged, with verdict, reasons and outcome: no charter turns that off", "dim")


def _list_patterns(root: Path, *, as_json: bool) -> None:
    from charter.bootstrap.estate import patterns_in

    found = patterns_in(root)
    if as_json:
        print_json({"patterns": found})
        return
    for each in found:
        say(f"{each['pattern']}: {each['title']}")
        for parameter in each["parameters"]:
            default = f" (default: {parameter['default']})" if "default" in parameter else ""
            say(f"    --{parameter['name']}: {parameter['description']}{default}", "dim")
    say(counted(len(found), "pattern"), "dim")


def validate(context: typer.Context, as_json: Json = False) -> None:
    """Check every file: shape, names, references, policy. A problem comes with its place and the nearest word.

    Example: charter -C estate validate

    With --json: ok, principals, systems, guardrails, rules, patterns, tests, properties,
    warnings.
    """
    from charter.bootstrap.estate import check_folder, counts_of

    here = context_of(context)
    estate = check_folder(here.settings.estate)
    counts = counts_of(estate)
    if as_json:
        print_json({"ok": True, **counts, "warnings": [str(w) for w in estate.warnings]})
        return
    for warning in estate.warnings:
        say(f"warning: {warning}", "yellow")
    say("valid: " + ", ".join(f"{count} {what}" for what, count in counts.items()), "green")


def plan(
    context: typer.Context,
    check: Annotated[bool, typer.Option("--check", help="Exit 1 if anything would change.")] = False,
    approve: Annotated[bool, typer.Option("--approve", help="Say yes to what it widens, as far as you may.")] = False,
    propose: Annotated[bool, typer.Option("--propose", help="Put it before those whose yes it needs.")] = False,
    person: Annotated[str | None, typer.Option("--as", help="Who says yes.", show_default="the operator")] = None,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; it stands in the evidence.")] = "",
    as_json: Json = False,
) -> None:
    """Show what apply would change, what principals may do then that they could not, and who must approve it.

    Each widening comes with one call that was refused and would not be any more; proof is over all calls, and what
    cannot be proven is said to be so. Changes nothing.

    Example: charter plan --check

    Example: charter plan --propose --reason "refunds up to 300 EUR"

    With --json: estate, base, changes, unchanged, counts, digest, effects, review.
    """
    here = context_of(context)
    files = _files(here)
    answer = here.control.post("/v1/plan", {"files": files})
    if approve:
        body = {"files": files, "plan": answer["digest"], "person": person or here.operator, "reason": reason}
        answer |= {"approved": here.control.post("/v1/plan/approve", body)}
    if propose:
        body = {"files": files, "plan": answer["digest"], "actor": here.operator, "reason": reason}
        answer |= {"proposed": here.control.post("/v1/plan/propose", body)}
    if as_json:
        print_json(answer)
    else:
        print_plan(answer)
    if propose and not as_json:
        people = sorted({person for need in answer["proposed"]["needs"] for person in need["people"]})
        say(
            f"proposed; it waits in the console at /plans for {', '.join(people) or 'nobody who could say yes'}",
            "green",
        )
    if approve and not as_json:
        say(f"{answer['approved']['person']} said yes as {', '.join(answer['approved']['seats'])}", "green")
    if check and answer["changes"]:
        raise typer.Exit(NO)


def apply(
    context: typer.Context,
    reason: Annotated[
        str, typer.Option("--reason", "-r", help="Why; it stands in the evidence.")
    ] = "apply from the estate",
    yes: Force = False,
    as_json: Json = False,
) -> None:
    """Make the registry match the files: all of it or nothing. Applying twice changes nothing.

    Example: charter apply --reason "widen refunds to 300 EUR"

    With --json: plan, applied.
    """
    here = context_of(context)
    files = _files(here)
    planned = here.control.post("/v1/plan", {"files": files})
    if not as_json:
        print_plan(planned)
    if planned["changes"] and not yes and not as_json and _is_terminal():
        typer.confirm("apply this?", abort=True)
    body = {"files": files, "plan": planned["digest"], "reason": reason, "actor": here.operator}
    answer = here.control.post("/v1/apply", body)
    if as_json:
        print_json(answer)
        return
    if not planned["changes"]:
        say("nothing to apply", "green")
        return
    for applied in answer["applied"]:
        version = f"version {applied['version']}" if applied["version"] else ""  # only principals and systems have any
        say(f"{applied['what']:<10} {applied['name']:<32} {version:<11}  {applied['digest'][:19]}…")
    say(f"applied {counted(len(answer['applied']), 'change', 'changes as one')}", "green")


def prove(
    context: typer.Context,
    principal: Annotated[str | None, typer.Argument(help="Only this principal.", show_default=False)] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Exit 1 if a rule says nothing, a duty is broken, or something is unproven.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Prove what rules come to over all calls: what guardrails stop, rules that say nothing, duties that are broken.

    Reads the files alone; no server is needed. What is not proven is said to be so.

    Example: charter prove refund-agent

    With --json: clean, principals, duties, same_authority, idle_guardrails.
    """
    from charter.bootstrap.estate import check_folder
    from charter.bootstrap.proofs import kept_in
    from charter.bootstrap.proofs import prove as prove_estate
    from charter.core.clock import SystemClock

    settings, clock = context_of(context).settings, SystemClock()
    estate, kept = check_folder(settings.estate, clock), kept_in(settings.data_folder)
    found = prove_estate(estate, clock, principal, kept if principal is None else None).to_json()
    if as_json:
        print_json(found)
    else:
        print_proofs(found)
    if check and not found["clean"]:
        raise typer.Exit(NO)


def schema(
    context: typer.Context,
    cedar: Annotated[bool, typer.Option("--cedar", help="The Cedar schema of this estate's policies instead.")] = False,
) -> None:
    """Print the JSON Schemas of the estate's files, for editors; or the Cedar schema policies are checked against.

    Example: charter schema --cedar

    Prints one JSON document, a schema by each kind of file, or with --cedar the text of the Cedar schema.
    """
    from charter.bootstrap.estate import cedar_schema
    from charter.registry.schema import json_schemas

    if cedar:
        typer.echo(cedar_schema(context_of(context).settings.estate))
    else:
        print_json(json_schemas())


_MARKS = {"create": "+", "change": "~", "withdraw": "-", "drift": "!"}
_STYLES = {"create": "green", "change": "yellow", "withdraw": "red", "drift": "magenta"}


def print_plan(answer: dict[str, Any]) -> None:
    """Print a plan for people."""
    for change in answer["changes"]:
        word = change["change"]
        say(f"{_MARKS.get(word, '?')} {change['what']} {change['name']}", _STYLES.get(word))
        for difference in change["differences"]:
            say(f"    {difference['path']}: {_shown(difference['before'])} → {_shown(difference['after'])}")
        for line in change.get("notes", ()):
            say(f"    {line}", "dim")
    for effect in answer.get("effects", ()):
        print_effect(effect)
    if is_late(answer.get("effects", ())):
        say(
            "there was no time left for some of this: plan again, and a running server goes on where it stopped; "
            "CHARTER_PLAN_SECONDS gives it longer",
            "magenta",
        )
    if answer.get("review", {}).get("required"):
        print_needs(answer["review"]["needs"])
    counts = answer["counts"]
    table([*counts], [[*counts.values()]])


def _shown(value: object) -> str:
    return "(nothing)" if value is None else str(value)


def _files(here: Context) -> dict[str, str]:
    """Return the estate's files as text, read once: what is planned is what is applied."""
    from charter.registry.manifest import read_files

    return read_files(here.settings.estate)


def _pairs(words: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the parameters of a pattern, written `--name value`, `--name=value` or `name=value`.

    Raises:
        MalformedError: a word is none of these, or a name comes twice.
    """
    waiting, seen = iter(words), set[str]()
    for word in waiting:
        name, found, value = word.removeprefix("--").partition("=")
        if not found and word.startswith("--"):
            after = next(waiting, None)
            if after is None:
                raise MalformedError(ErrorCode.BAD_VALUE, f"`{word}` has no value", help=f"write {word} VALUE")
            value = after
        elif not found:
            raise MalformedError(
                ErrorCode.BAD_VALUE, f"`{word}` is no parameter", help="write as in --team support, or team=support"
            )
        if name in seen:
            raise MalformedError(ErrorCode.BAD_VALUE, f"`{name}` is given twice", help="give it once")
        seen.add(name)
        yield name, value


def _is_terminal() -> bool:
    import sys

    return sys.stdin.isatty()
