"""Commands that find AI in use nobody registered, and adopt it."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from charter.adapters import whole_file
from charter.cli.card_commands import CardHosts, CardKeys, draft_of_card
from charter.cli.context import Json, context_of
from charter.cli.estate_files import put_new
from charter.cli.output import print_json, say, table
from charter.core.errors import AbsentError, ErrorCode, MalformedError

_LAST_SCAN = "last-scan.json"


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("scan")(scan)
    app.command("adopt")(adopt)
    app.command("findings")(findings)


def scan(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="A checkout or any folder.", exists=True, file_okay=False)] = Path(),
    record: Annotated[bool, typer.Option("--record", help="Keep the findings in the registry.")] = False,
    as_json: Json = False,
) -> None:
    """Find AI in use: MCP servers, model SDKs, model keys in code, AI in CI and in n8n. Runs nothing it finds.

    Example: charter scan ../our-app

    With --json: origin, prefix, findings, unread, counts, stopped.
    """
    from charter.bootstrap.discovery import scan_folder

    here = context_of(context)
    report = scan_folder(path)
    body = report.to_json()
    _keep(here.settings.data_folder, body)
    if record:
        here.control.post("/v1/findings", {"findings": body["findings"], "actor": here.operator})
    if as_json:
        print_json(body)
        return
    rows: list[list[object]] = [
        [f["id"], f["suggests"], f["title"], f["where"], f["confidence"], f["risk"]] for f in body["findings"]
    ]
    table(["finding", "suggests", "what", "where", "confidence", "risk"], rows)
    say(f"{len(rows)} findings in {body['counts']['files']} files", "bold")
    if body["stopped"]:
        say(f"the scan stopped {body['stopped']}: not everything was read", "yellow")
    for unread in body["unread"][:20]:
        say(f"could not read {unread['path']}: {unread['why']}", "yellow")
    if rows:
        say("make one a charter: charter adopt FINDING", "dim")


def adopt(
    context: typer.Context,
    finding: Annotated[
        str | None,
        typer.Argument(help="A finding of the last scan: its id or the beginning of it.", show_default=False),
    ] = None,
    card: Annotated[
        str | None, typer.Option("--card", help="An A2A agent card instead: a file or an https address.")
    ] = None,
    keys: CardKeys = None,
    hosts: CardHosts = None,
    to_file: Annotated[bool, typer.Option("--write/--print", help="Write principals/NAME.yaml, or only print.")] = True,
    as_json: Json = False,
) -> None:
    """Draft a charter file for a finding, or for an A2A agent by its card; it says what a person must still fill in.

    With --keys or --jku-host, a card is adopted only if a key that counts signed it. Without, the draft says that
    nobody checked, and so does a finding.

    Example: charter adopt d0852f5c

    Example: charter adopt --card https://agents.example.com --jku-host agents.example.com

    With --json: principal, path, text. Of a card: principal, path, text, card.
    """
    from charter.bootstrap.discovery import draft

    here = context_of(context)
    more: dict[str, Any] = {}
    match finding, card:
        case str(), None:
            name, text = draft(_find(here.settings.data_folder, finding), here.settings.estate)
        case None, str():
            name, text, more = draft_of_card(here, card, keys, hosts or [])
        case _:
            raise MalformedError(
                ErrorCode.BAD_VALUE,
                "either a finding or a card is adopted",
                help="charter adopt FINDING, or --card FILE",
            )
    target = here.settings.estate / "principals" / f"{name}.yaml"
    if to_file:
        put_new(target, text, mend="move it away, or use --print")
    if as_json:
        print_json({"principal": name, "path": str(target) if to_file else None, "text": text} | more)
        return
    if not to_file:
        say(text)
        return
    missing = [line.strip() for line in text.splitlines() if "MISSING" in line]
    say(f"wrote {target}", "green")
    for line in missing:
        say(f"  {line}")
    say("fill these in, then: charter validate && charter plan", "dim")


class Word(StrEnum):
    """What a person can say of a finding."""

    ACCEPTED = "accepted"  # someone answers for leaving it as it is
    RESOLVED = "resolved"  # it is gone
    OPEN = "open"


def findings(
    context: typer.Context,
    finding: Annotated[str | None, typer.Argument(help="One finding, by its id; without it, all.")] = None,
    say_so: Annotated[Word | None, typer.Option("--say", help="Say what becomes of it.")] = None,
    reason: Annotated[str | None, typer.Option("--reason", "-r", help="Why; it stands in the evidence.")] = None,
    as_json: Json = False,
) -> None:
    """List what was found or noticed: shared and weak credentials, held tools, recorded scans; show or settle one.

    Example: charter findings

    Example: charter findings fnd_01 --say accepted --reason "two replicas behind two NAT gateways"

    With --json: findings. Of a finding: id, kind, state, title, body, principals, opened_at, status, severity,
    confidence, count.
    """
    here = context_of(context)
    if finding is None:
        if say_so is not None:
            raise MalformedError(ErrorCode.BAD_VALUE, "which finding?", help="charter findings lists them, by id")
        _list_findings(here.control.get("/v1/findings"), as_json=as_json)
        return
    path = f"/v1/findings/{quote(finding, safe='')}"
    if say_so is not None:
        body = {"state": say_so.value, "reason": reason or "", "actor": here.operator}
        answer = here.control.post(path, body)
        if as_json:
            print_json(answer)
        else:
            say(f"{answer['id']} is {answer['state']}: {answer['title']}", "green")
        return
    answer = here.control.get(path)
    if as_json:
        print_json(answer)
        return
    _show_finding(answer)


def _list_findings(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    rows: list[list[object]] = [
        [f["id"], f["state"], f["kind"], f"{f['days']} d", f["title"]] for f in answer["findings"]
    ]
    table(["id", "state", "kind", "for", "what"], rows)


def _show_finding(answer: dict[str, Any]) -> None:
    """Say one finding, both uses that it names, and what followed."""
    body = answer["body"]
    say(answer["title"], "bold")
    times = f", seen {answer['count']} times, last {answer['last_seen'][:19]} UTC" if answer["count"] > 1 else ""
    say(f"{answer['kind']}, {answer['state']} since {answer['first_seen'][:19]} UTC{times}", "dim")
    if body.get("certainty"):
        said = ", ".join(f"{name}: {word}" for name, word in body.get("answer", {}).items())
        say(f"how sure: {body['certainty']}" + (f"; what policy says: {said}" if said else ""))
    for use in body.get("uses", ()):
        say("")
        for name, value in use.items():
            say(f"  {name:<10} {value}")
    for entry in answer["entries"]:
        say(f"entry {entry['index']}: {entry['line']}", "dim")
    if body.get("settled"):
        say(f"{answer['state']} by {body['settled']['by']}: {body['settled']['reason']}")


def _keep(folder: Path, body: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = folder / _LAST_SCAN
    whole_file.replace(target, json.dumps(body).encode())


def _find(folder: Path, beginning: str) -> dict[str, Any]:
    target = folder / _LAST_SCAN
    if not target.is_file():
        raise AbsentError(ErrorCode.UNKNOWN_FINDING, "nothing was scanned yet", help="run charter scan PATH first")
    found: list[dict[str, Any]] = [
        f for f in json.loads(target.read_text(encoding="utf-8"))["findings"] if f["id"].startswith(beginning)
    ]
    if len(found) != 1:
        word = "no finding begins" if not found else f"{len(found)} findings begin"
        raise AbsentError(
            ErrorCode.UNKNOWN_FINDING, f"{word} with `{beginning}`", help="run charter scan PATH to see them"
        )
    return found[0]
