"""Commands about evidence in and out: sinks, logs of others, applications that send spans."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charter.adapters import whole_file
from charter.cli.context import Json, Reason, context_of, segment
from charter.cli.output import NO, counted, print_json, say, table
from charter.core.errors import ErrorCode, UnavailableError

if TYPE_CHECKING:
    from charter.evidence.vendors.log_file import Line

LINES, BYTES = 1_000, 4 * 1024 * 1024  # of one request
SHOWN = 1024 * 1024  # bytes of a line that are kept where it is set aside
_COUNTS = ("added", "repeated", "unknown", "findings", "disagreements")
_STATES = {"ok": "ok", "failing": "fail", "behind": "waiting"}
Name = Annotated[str, typer.Argument(help="Its name.")]


def add_to(group: typer.Typer) -> None:
    """Add the commands to the group `evidence`."""
    for name, command in (
        ("sinks", list_sinks),
        ("sink", add_sink),
        ("remove-sink", remove_sink),
        ("ingest", ingest),
        ("identify", identify),
        ("sources", list_sources),
        ("source", add_source),
        ("revoke-source", revoke_source),
    ):
        group.command(name)(command)


def list_sinks(context: typer.Context, as_json: Json = False) -> None:
    """List where evidence is sent to, and what waits for each.

    Example: charter evidence sinks

    With --json: sinks.
    """
    answer = context_of(context).control.get("/v1/sinks")
    if as_json:
        print_json(answer)
        return
    rows: list[list[object]] = [
        [each["name"], _STATES[each["state"]], each["to"], each["form"], each["backlog"], _said_of(each)]
        for each in answer["sinks"]
    ]
    if rows:
        table(["name", "state", "to", "as", "backlog", "error"], rows)
    else:
        say("evidence is sent nowhere: charter evidence sink NAME --to ADDRESS", "dim")


def _said_of(sink: dict[str, Any]) -> str:
    return sink["error"] or "; ".join(sink["warnings"])


def add_sink(
    context: typer.Context,
    name: Name,
    to: Annotated[str, typer.Option("--to", help="https://…, otlp+https://…, syslog+tls://host, file:///folder.")],
    form: Annotated[
        str | None, typer.Option("--as", help="ocsf or entry, or spans to a collector; of files parquet, csv or jsonl.")
    ] = None,
    secret_env: Annotated[
        str | None, typer.Option(help="The server's environment variable that holds the secret it is signed with.")
    ] = None,
    from_now: Annotated[bool, typer.Option("--from-now", help="Leave out what stands in the log already.")] = False,
    as_json: Json = False,
) -> None:
    """Send evidence to a sink from now on: all of it, in order, at least once.

    Example: charter evidence sink siem --to syslog+tls://siem.example.com:6514

    With --json: name, to, kind, form, secret_env, added_by, added_at, warnings.
    """
    here = context_of(context)
    body = {"name": name, "to": to, "form": form, "secret_env": secret_env, "from_now": from_now}
    answer = here.control.post("/v1/evidence/sinks", body | {"actor": here.operator})
    if as_json:
        print_json(answer)
        return
    say(f"evidence goes to {answer['to']} as {answer['form']} from now on; charter evidence sinks shows how", "green")
    for each in answer["warnings"]:
        say(f"warning: {each}", "yellow")


def remove_sink(context: typer.Context, name: Name, reason: Reason, as_json: Json = False) -> None:
    """Send a sink nothing more.

    Example: charter evidence remove-sink siem --reason "another SIEM"

    With --json: name, to, kind, form, secret_env, added_by, added_at.
    """
    here = context_of(context)
    body = {"actor": here.operator, "reason": reason}
    answer = here.control.post(f"/v1/sinks/{segment(name)}/remove", body)
    if as_json:
        print_json(answer)
    else:
        say(f"nothing more goes to {answer['to']}", "green")


def ingest(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The log: JSON lines or a JSON document, gzipped or not.")],
    kind: Annotated[str, typer.Option("--from", help="cloudtrail, entra, okta, github, kubernetes, jsonl, …")],
    as_json: Json = False,
) -> None:
    """Take a vendor's or platform's log into the evidence. A file that was taken before adds nothing.

    Lines that cannot be read are set aside beside FILE, in FILE.aside.jsonl; exit 1 says that there are such.

    Example: charter evidence ingest --from cloudtrail trail.json.gz

    With --json: added, repeated, unknown, findings, disagreements, set_aside,
    aside_file.
    """
    from charter.evidence.vendors.log_file import MAX_FILE

    here = context_of(context)
    found: dict[str, Any] = dict.fromkeys(_COUNTS, 0) | {"set_aside": []}
    aside: list[dict[str, Any]] = []
    for group in _groups(whole_file.read_named(file, MAX_FILE, "1 GiB")):
        texts, lost = _texts(group)
        answer: dict[str, Any] = {"set_aside": []}
        if texts:
            body = {"kind": kind, "file": file.name, "lines": list(texts.values()), "first": 1, "actor": here.operator}
            answer = here.control.post("/v1/evidence/ingest", body)
        numbers = list(texts)
        for name in _COUNTS:
            found[name] += answer.get(name, 0)
        refused = {numbers[each["line"] - 1]: each["why"] for each in answer["set_aside"]} | lost
        whole = {line.number: line.data for line in group}
        for number, why in sorted(refused.items()):
            aside.append({"line": number, "why": why, "data": whole[number][:SHOWN].decode(errors="replace")})
    found["set_aside"] = [{"line": each["line"], "why": each["why"]} for each in aside]
    found["aside_file"] = _set_aside(file, aside)
    _tell(found, as_json=as_json)


def _tell(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        say(f"{counted(found['added'], 'event')} added, {found['repeated']} stood there already", "green")
        if found["unknown"]:
            told = f"{found['unknown']} by actors that are no principal"
            say(f"{told}; {counted(found['findings'], 'new finding')} of AI in use: charter findings", "yellow")
        if found["disagreements"]:
            told = f"{counted(found['disagreements'], 'new finding')} of effects that are not what was decided"
            say(f"{told}: charter evidence reconcile", "red")
        if found["set_aside"]:
            say(f"{counted(len(found['set_aside']), 'line')} set aside in {found['aside_file']}", "yellow")
    if found["set_aside"]:
        raise typer.Exit(NO)


def _groups(data: bytes) -> Iterator[list[Line]]:
    """Yield the lines of a file in groups that one request may hold."""
    from charter.evidence.vendors.log_file import split_lines

    group: list[Line] = []
    size = 0
    for line in split_lines(data):
        if group and (len(group) == LINES or size + len(line.data) > BYTES):
            yield group
            group, size = [], 0
        group.append(line)
        size += len(line.data)
    if group:
        yield group


def _texts(group: list[Line]) -> tuple[dict[int, str], dict[int, str]]:
    """Return the lines that can be sent by their numbers, and those that cannot, with why."""
    from charter.evidence.vendors.readers import MAX_LINE

    texts, lost = {}, {}
    for line in group:
        if len(line.data) > MAX_LINE:
            lost[line.number] = f"it is longer than {MAX_LINE} bytes"
            continue
        try:
            texts[line.number] = line.data.decode()
        except UnicodeDecodeError:
            lost[line.number] = "it is no UTF-8"
    return texts, lost


def _set_aside(file: Path, aside: list[dict[str, Any]]) -> str | None:
    """Write what was set aside beside the file; one from an earlier run is replaced, or gone if there is nothing."""
    from charter.evidence.neutral import ascii_json

    target = file.with_name(f"{file.name}.aside.jsonl")
    if not aside:
        return None
    try:
        whole_file.replace(target, b"".join(ascii_json(each) + b"\n" for each in aside))
    except OSError as err:
        text = f"{counted(len(aside), 'line')} cannot be set aside in `{target}`: {str(err.strerror).lower()}"
        mend = "copy the log to a folder that can be written, and ingest it again: what was taken is not taken twice"
        raise UnavailableError(ErrorCode.STORE_FAILED, text, help=mend) from err
    return str(target)


def identify(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="ACTOR", help="The actor, as the source names it.")],
    principal: Annotated[str, typer.Argument(help="The principal it is.")],
    source: Annotated[str, typer.Option("--from", help="The kind of log that names it so, or otlp.")],
    reason: Reason,
    as_json: Json = False,
) -> None:
    """Say which principal an actor of another's logs is; what it does is that principal's from now on.

    Example: charter evidence identify ci-bot@corp refund-agent --from okta --reason "its service account"

    With --json: source, actor, principal.
    """
    here = context_of(context)
    body = {"source": source, "name": name, "principal": principal, "actor": here.operator, "reason": reason}
    answer = here.control.post("/v1/evidence/actors", body)
    if as_json:
        print_json(answer)
    else:
        say(f"{answer['actor']} of {answer['source']} is {answer['principal']} from now on", "green")


def list_sources(context: typer.Context, as_json: Json = False) -> None:
    """List the applications that were given a key to send spans with.

    Example: charter evidence sources

    With --json: sources.
    """
    answer = context_of(context).control.get("/v1/sources")
    if as_json:
        print_json(answer)
        return
    rows: list[list[object]] = [[s["name"], s["standing"], s["made_by"], s["made_at"][:10]] for s in answer["sources"]]
    table(["name", "standing", "made by", "on"], rows)


def add_source(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Let an application that Charter does not govern send OpenTelemetry spans. Prints its key, this once.

    Example: charter evidence source chat-frontend

    With --json: id, name, standing, made_by, made_at, key, url.
    """
    here = context_of(context)
    answer = here.control.post("/v1/sources", {"name": name, "actor": here.operator})
    if as_json:
        print_json(answer)
        return
    say("give the application these two variables; the key is not shown again:", "green")
    typer.echo(f"OTEL_EXPORTER_OTLP_ENDPOINT={answer['url']}")
    typer.echo(f"OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20{answer['key']}")


def revoke_source(context: typer.Context, name: Name, reason: Reason, as_json: Json = False) -> None:
    """Let an application send spans no more.

    Example: charter evidence revoke-source chat-frontend --reason "retired"

    With --json: id, name, standing, made_by, made_at.
    """
    here = context_of(context)
    body = {"actor": here.operator, "reason": reason}
    answer = here.control.post(f"/v1/sources/{segment(name)}/revoke", body)
    if as_json:
        print_json(answer)
    else:
        say(f"`{name}` can send no more spans", "green")
