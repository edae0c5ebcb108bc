"""Commands about sessions: which a principal had, and one drawn with what came from where."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from charter.cli.context import Json, context_of, segment
from charter.cli.output import clean, out, print_json, say, table
from charter.cli.plot import TERMINAL, Plot, Plotting, draw, write
from charter.cli.story_page import one_line
from charter.registry.kind import Kind
from charter.reports.picture import read_picture

_STYLES = {"allow": "green", "deny": "red", "escalate": "yellow"}


class Format(StrEnum):
    """How a graph is given."""

    TREE = "tree"
    DOT = "dot"
    MERMAID = "mermaid"
    SVG = "svg"
    JSON = "json"


def register(app: typer.Typer) -> None:
    """Add the command to `app`; `charter graph SESSION` is a word of `charter graph`."""
    app.command("sessions", cls=Plotting)(list_sessions)


def list_sessions(
    context: typer.Context,
    principal: Annotated[str | None, typer.Argument(help="The principal's name; with --plot, of all.")] = None,
    since: Annotated[str, typer.Option(help="From this time on: 2026-11-24, or 7d ago as 7d.")] = "7d",
    team: Annotated[str | None, typer.Option(help="With --plot: only this team's principals.")] = None,
    kind: Annotated[Kind | None, typer.Option(help="With --plot: only this kind of principal.")] = None,
    system: Annotated[str | None, typer.Option(help="With --plot: only calls to this system.")] = None,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """List a principal's sessions: when, how many calls, what was decided, and what each has read.

    With --plot: which tool followed which in them, of one principal or of all.

    Example: charter sessions refund-agent --since 30d

    Example: charter sessions --since 30d --team payments-ops --plot tools.svg

    With --json: principal, since, sessions, is_whole. With --plot: the picture's numbers.
    """
    if plot is not None:
        asked = {"since": since, "principal": principal, "team": team, "kind": kind, "system": system}
        told = context_of(context).control.get("/v1/pictures/tools", **asked)
        if as_json:
            print_json(told)
        else:
            draw([read_picture(told)], plot)
        return
    if principal is None or team or kind or system:
        raise typer.BadParameter("name one principal, or ask for --plot", param_hint="PRINCIPAL")
    answer = context_of(context).control.get(f"/v1/principals/{segment(principal)}/sessions", since=since)
    if as_json:
        print_json(answer)
        return
    rows: list[list[object]] = [
        [
            each["session"],
            one_line(each["run"]),
            each["last"][:19],
            each["steps"],
            ", ".join(f"{count} {word}" for word, count in each["verdicts"].items() if count),
            ", ".join(each["systems"]),
            ", ".join(labels(each)) or "nothing that is labelled",
        ]
        for each in answer["sessions"]
    ]
    if rows:
        table(["session", "run", "last", "calls", "decided", "systems", "has read"], rows)
        say("one of them: charter graph SESSION", "dim")
    else:
        say("no session since then", "dim")
    if not answer["is_whole"]:
        say("there are more than are looked at in one go; ask for a shorter period", "yellow")


def labels(session: Mapping[str, Any]) -> list[str]:
    """Return in words what a session has read."""
    return [*(["strangers' content"] if session["exposed"] else []), *session["data"]]


def draw_session(context: typer.Context, session: str, form: Format, since: str, plot: str | None = None) -> None:
    """Print one session in a form, or write its drawing to a file."""
    control = context_of(context).control
    if plot not in (None, TERMINAL) and form is not Format.JSON:
        path = f"/v1/sessions/{segment(session)}/drawing"
        write(lambda: str(control.get(path, since=since, form="svg")["drawing"]), str(plot))
        return
    if form in (Format.TREE, Format.JSON):
        answer = control.get(f"/v1/sessions/{segment(session)}", since=since)
        if form is Format.JSON:
            print_json(answer)
        else:
            _draw_tree(answer)
        return
    drawing = control.get(f"/v1/sessions/{segment(session)}/drawing", since=since, form=form.value)
    sys.stdout.write(drawing["drawing"])


def _draw_tree(session: dict[str, Any]) -> None:
    from rich.text import Text
    from rich.tree import Tree

    def text(said: object, style: str = "") -> Text:
        return Text(clean(one_line(said)), style=style)

    run = f", run {session['run']}" if session["run"] else ""
    root = Tree(text(f"{session['session']} of {session['principal']}{run}", "bold"))
    into: dict[str, list[str]] = {}
    labels_by = {node["id"]: node["label"] for node in session["graph"]["nodes"]}
    steps = {call["verdict_id"]: call["step"] for call in session["calls"]}
    for edge in session["graph"]["edges"]:
        if edge["kind"] in ("values", "proposed", "lent"):
            step = steps.get(edge["from"])
            where = f"step {step}" if step is not None else labels_by.get(edge["from"], edge["from"])
            into.setdefault(edge["to"], []).append(f"{edge['label']} ← {where}")
    for call in session["calls"]:
        what = f"{call['step'] or '-'}. {call['verdict']} {call['system']}/{call['action'] or call['tool']}"
        node = root.add(text(f"{what} {call['object']}", _STYLES.get(call["verdict"], "")))
        for line in into.get(call["verdict_id"], ()):
            node.add(text(line, "red" if "proposed" not in line else "dim"))
        added = call["added"] or {}
        brought = [*(["strangers' content"] if added.get("exposed") else []), *(added.get("data") or ())]
        if brought:
            node.add(text(f"brought in: {', '.join(brought)}", "yellow"))
        ended = f"{call['outcome']}  " if call["outcome"] else ""
        node.add(text(f"{ended}{call['verdict_id']}", "dim"))
    out.print(root)
    say(f"has read: {', '.join(labels(session)) or 'nothing that is labelled'}")
