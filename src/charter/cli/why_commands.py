"""Commands about decisions: why one was made or would be made, and what changed files would do to recorded ones."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from charter.cli.context import Context, Json, context_of, segment
from charter.cli.output import NO, clean, counted, print_json, say, show_progress, table
from charter.core.errors import ErrorCode, MalformedError

Words = Annotated[
    list[str],
    typer.Argument(help="A verdict (vrd_…, or its index in the log); or PRINCIPAL SYSTEM ACTION [name=value …]."),
]
MAX_ARGUMENTS = 1024 * 1024  # characters
_MARKS = {True: "yes", False: "NO", None: " - "}
_CALL = 3  # words that name a call: principal, system, action
FAIL_ON = ("denied", "held", "allowed")


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("why")(why)
    app.command("what-if")(what_if)


def why(
    context: typer.Context,
    words: Words,
    arguments: Annotated[
        str | None, typer.Option("--arguments", help="All arguments as one JSON object; `-` reads it from input.")
    ] = None,
    object_path: Annotated[str | None, typer.Option("--object", help="The object's path, as in charge/ch_1.")] = None,
    at: Annotated[str | None, typer.Option("--at", help="When: 2026-11-24T09:30Z.", show_default="now")] = None,
    approved: Annotated[
        list[str] | None, typer.Option("--approved", help="A role in which somebody said yes.", show_default=False)
    ] = None,
    initiator: Annotated[
        str | None, typer.Option("--for", help="Who began the chain: a principal, or a person's address.")
    ] = None,
    through: Annotated[
        list[str] | None, typer.Option("--through", help="A principal between.", show_default=False)
    ] = None,
    purpose: Annotated[str | None, typer.Option("--purpose", help="What was lent for.")] = None,
    files: Annotated[
        bool, typer.Option("--files", help="By the files in the estate's folder, not by what is registered.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Tell why a recorded call was decided as it was, or why a call would be: rules, conditions, values, the mend.

    A recorded one is decided again by what held then; exit 1 if that does not come to what was recorded. One that
    nobody made needs its principal, system, action and arguments; exit 1 if it would be denied.

    Example: charter why 4711

    Example: charter why refund-agent payments refund.create charge_id=ch_1 amount=150 --at 2026-11-24T10:00Z

    With --json: verdict, sentence, lacking, reasons, mend, approvers, limits, rules, unlisted, call, at, notes.
    Of a recorded verdict: verdict_id, index, at, call, recorded, replayed, agrees, difference, held_then, sentence,
    lacking, notes.
    """
    here = context_of(context)
    if len(words) == 1:
        told = here.control.get(f"/v1/verdicts/{segment(words[0])}/why")
        _show(told, as_json=as_json)
        if told["agrees"] is False:
            raise typer.Exit(NO)
        return
    chain = {"initiator": initiator, "through": through or [], "purpose": purpose} if initiator else None
    if chain is None and (through or purpose):
        raise MalformedError(ErrorCode.BAD_VALUE, "a chain needs who began it", help="add --for maria@example.com")
    call = _call(words) | {"object": object_path, "at": at, "approvals": approved or [], "chain": chain}
    call["arguments"] = _arguments(arguments) | call["arguments"]
    call = {name: value for name, value in call.items() if value is not None}
    told = _asked_of_files(here, call) if files else here.control.post("/v1/why", {"call": call})
    _show(told, as_json=as_json)
    if told["verdict"] == "deny":
        raise typer.Exit(NO)


def what_if(
    context: typer.Context,
    since: Annotated[str, typer.Option(help="Recorded from this time on: 2026-11-24, or 7d ago as 7d.")] = "7d",
    until: Annotated[str | None, typer.Option(help="Recorded before this time.", show_default="now")] = None,
    principal: Annotated[str | None, typer.Option(help="Calls of this principal alone.")] = None,
    system: Annotated[str | None, typer.Option(help="Calls on this system alone.")] = None,
    fail_on: Annotated[
        str, typer.Option("--fail-on", help="Exit 1 if calls would newly be: denied, held, allowed; or none.")
    ] = "denied,held,allowed",
    as_json: Json = False,
) -> None:
    """Put recorded calls to the files in the estate's folder, and list every call whose verdict would change.

    What is not recorded, such as the text of an argument, is never guessed: calls that rest on it are counted apart.
    Exit 1 if these files would change a verdict; what changed since by what was applied is listed, and fails nothing.

    Example: charter what-if --since 30d --fail-on denied,held

    With --json: since, until, entries, is_whole, replayed, same, inferred, changes, unlisted, counts, aside,
    untold, approximated.
    """
    here = context_of(context)
    wanted = _fail_on(fail_on)
    body = {"files": _files(here), "since": since, "until": until, "principal": principal, "system": system}
    told = here.control.stream("/v1/what-if", body, show_progress(as_json=as_json))
    if as_json:
        print_json(told)
    else:
        _show_changes(told)
    if any(told["counts"][f"newly_{word}"] for word in wanted):
        raise typer.Exit(NO)


def _call(words: list[str]) -> dict[str, Any]:
    if len(words) < _CALL:
        help = "write PRINCIPAL SYSTEM ACTION [name=value …], or one verdict"
        raise MalformedError(ErrorCode.BAD_VALUE, f"{len(words)} words name no call", help=help)
    return {
        "principal": words[0],
        "system": words[1],
        "action": words[2],
        "arguments": dict(_pair(word) for word in words[_CALL:]),
    }


def _pair(word: str) -> tuple[str, Any]:
    """Return an argument: its value is JSON where it reads as such, else text."""
    name, found, text = word.partition("=")
    if not found or not name:
        raise MalformedError(ErrorCode.BAD_VALUE, f"{word[:80]!a} is no name=value", help="write as in amount=150")
    try:
        return name, json.loads(text)
    except (ValueError, RecursionError):
        return name, text


def _arguments(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    read = sys.stdin.read(MAX_ARGUMENTS + 1) if text == "-" else text
    try:
        found = json.loads(read) if len(read) <= MAX_ARGUMENTS else None
    except (ValueError, RecursionError) as error:
        raise MalformedError(ErrorCode.BAD_VALUE, "the arguments are no JSON", help='write {"amount": 150}') from error
    if not isinstance(found, dict):
        raise MalformedError(ErrorCode.BAD_VALUE, "the arguments are no JSON object", help='write {"amount": 150}')
    return found


def _asked_of_files(here: Context, call: dict[str, Any]) -> dict[str, Any]:
    """Return the answer of the files, which needs no server and no registry."""
    from pydantic import ValidationError

    from charter.bootstrap.why import supposed_in
    from charter.core.clock import SystemClock
    from charter.gateway.trial import supposed_of
    from charter.registry.trial import SupposedCall
    from charter.server.problems import unreadable

    now = SystemClock().now()
    try:
        read = SupposedCall.model_validate_json(json.dumps(call))
    except ValidationError as error:
        raise unreadable(error.errors()) from error
    return supposed_in(_files(here), supposed_of(read, now), now.date())


def _files(here: Context) -> dict[str, str]:
    from charter.registry.manifest import read_files

    return read_files(here.settings.estate)


# --- for people -------------------------------------------------------------------------------------------------------


def _show(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(told)
        return
    looked = told if "rules" in told else told["replayed"]
    say(told["sentence"], {"allow": "green", "deny": "red"}.get(_verdict(told), "yellow"))
    if told["lacking"]:
        say(f"the link that lacked it: {told['lacking']}")
    for reason in (looked or told["recorded"])["reasons"][1:]:
        say(f"also {reason['rule']}: {reason['text']}", "dim")
    for each in (looked or {}).get("limits", ()):
        used = "" if not isinstance(each, dict) or each["used"] is None else f", of which {each['used']} used"
        say(f"counted against {each['limit'] if isinstance(each, dict) else each}{used}", "dim")
    if _verdict(told) != "allow":
        for mend in dict.fromkeys(reason["mend"] for reason in (looked or told["recorded"])["reasons"]):
            say(f"→ {mend}", "green") if mend else None
    _show_rules(looked)
    if "recorded" in told:
        _show_record(told)
    for note in told["notes"]:
        say(f"note: {note}", "yellow")


def _verdict(told: dict[str, Any]) -> str:
    return str(told["recorded"]["verdict"] if "recorded" in told else told["verdict"])


def _show_rules(looked: dict[str, Any] | None) -> None:
    for rule in (looked or {}).get("rules", ()):
        where = f"  {rule['source']}" if rule["source"] else ""
        mark = "*" if rule["decided"] else " "
        needs = f" ({', '.join(rule['needs'])} can lift it)" if rule["needs"] and rule["outcome"] == "forbids" else ""
        say(
            f"{mark} {rule['rule']} ({rule['link']}): {rule['outcome']}{needs}{where}",
            None if rule["decided"] else "dim",
        )
        if rule["decided"] or rule["kind"] in ("grant", "permit"):
            for each in rule["conditions"]:
                given = f"; {each['given']}" if each["given"] else ""
                say(f"      {_MARKS[each['met']]:<4} {each['condition']}{given}", "dim" if each["met"] else None)


def _show_record(told: dict[str, Any]) -> None:
    version = (told["held_then"]["charter"] or {}).get("version")
    say(f"entry {told['index']}, {told['at']}, {told['verdict_id']}, charter version {version}", "dim")
    if told["agrees"]:
        say("decided again by what held then: the same, by the same rules", "green")
    elif told["difference"]:
        say(f"decided again, it differs: {told['difference']}", "red")


def _show_changes(told: dict[str, Any]) -> None:
    rows: list[list[object]] = [
        [
            each["count"],
            each["principal"],
            f"{each['system']}/{each['action']}",
            f"{each['was']} → {each['would_be']}",
            each["rule"],
            f"{each['text']}\ne.g. {_example(each['example'])}",
            each["cause"],
        ]
        for each in told["changes"]
    ]
    if rows:
        table(["calls", "principal", "action", "verdict", "by", "why", "because of"], rows)
    if told["unlisted"]:
        say(f"{told['unlisted']} more calls would change, in ways that are not listed", "red")
    counts, calls = told["counts"], counted(told["replayed"] + _untold(told), "call")
    say(
        f"{told['replayed']} of {calls} decided again: {told['same']} the same, {counts['newly_denied']} newly denied, "
        f"{counts['newly_held']} newly held for a person, {counts['newly_allowed']} newly allowed, "
        f"{counts['already_changed']} changed already by what was applied since",
        "red" if any(counts[f"newly_{word}"] for word in FAIL_ON) else "green",
    )
    for rule, count in told["aside"].items():
        say(f"aside, {counted(count, 'call')}: `{rule}` denied them, which no estate changes", "dim")
    for each in told["untold"]:
        say(f"not told, {counted(each['count'], 'call')}: {each['why']}", "yellow")
    if told["inferred"]:
        say(f"{told['inferred']} of them rest on texts that are not kept: told by what was decided then", "dim")
    if not told["is_whole"]:
        say("the period holds more entries than are looked at in one go; ask for a shorter one", "red")
    for each in told["approximated"]:
        say(f"approximated: {clean(each)}", "dim")


def _example(example: dict[str, Any]) -> str:
    return f"{example['verdict_id']} {example['at'][:16]} {example['object']}"


def _untold(told: dict[str, Any]) -> int:
    return sum(each["count"] for each in told["untold"])


def _fail_on(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if words == ["none"]:
        return []
    wrong = next((word for word in words if word not in FAIL_ON), None)
    if wrong is not None or not words:
        raise MalformedError(
            ErrorCode.BAD_VALUE, f"{wrong!a} is nothing to fail on", help="some of denied,held,allowed; or none"
        )
    return words
