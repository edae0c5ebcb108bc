"""Commands that find AI in use nobody registered, and adopt it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from charter.adapters import whole_file
from charter.cli.context import Json, context_of
from charter.cli.estate_files import put_new
from charter.cli.output import print_json, say, table
from charter.core.errors import AbsentError, ErrorCode

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
    finding: Annotated[str, typer.Argument(help="A finding of the last scan: its id or the beginning of it.")],
    to_file: Annotated[bool, typer.Option("--write/--print", help="Write principals/NAME.yaml, or only print.")] = True,
    as_json: Json = False,
) -> None:
    """Draft a charter file for a finding; it says what a person must still fill in.

    Example: charter adopt d0852f5c

    With --json: principal, path, text.
    """
    from charter.bootstrap.discovery import draft

    here = context_of(context)
    found = _find(here.settings.data_folder, finding)
    name, text = draft(found, here.settings.estate)
    target = here.settings.estate / "principals" / f"{name}.yaml"
    if to_file:
        put_new(target, text, mend="move it away, or use --print")
    if as_json:
        print_json({"principal": name, "path": str(target) if to_file else None, "text": text})
        return
    if not to_file:
        say(text)
        return
    missing = [line.strip() for line in text.splitlines() if "MISSING" in line]
    say(f"wrote {target}", "green")
    for line in missing:
        say(f"  {line}")
    say("fill these in, then: charter validate && charter plan", "dim")


def findings(context: typer.Context, as_json: Json = False) -> None:
    """List what was found or noticed: shared and weak credentials, held tools, recorded scans, and since when.

    Example: charter findings

    With --json: findings.
    """
    answer = context_of(context).control.get("/v1/findings")
    if as_json:
        print_json(answer)
        return
    rows: list[list[object]] = [
        [f["id"], f["state"], f["kind"], f"{f['days']} d", f["title"]] for f in answer["findings"]
    ]
    table(["id", "state", "kind", "for", "what"], rows)


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
