"""Commands about one principal: see it, prove it, restrain it, kill it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from charter.cli.context import Json, Reason, context_of, segment
from charter.cli.delegation_commands import draw_delegations
from charter.cli.output import counted, print_json, say, table
from charter.cli.plot import Plot, Plotting
from charter.cli.session_commands import Format, draw_session
from charter.cli.story_page import show_story
from charter.registry.kind import Environment, Kind
from charter.registry.standing import Move, Standing

_MOVED = "name, before, after, steps, reason"
_REASONS = {
    Move.RESTRAIN: "odd refunds",
    Move.SUSPEND: "its owner is away",
    Move.RESUME: "explained",
    Move.KILL: "it pays the wrong people",
    Move.RETIRE: "replaced by refund-agent-2",
}
Name = Annotated[str, typer.Argument(help="The principal's name.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("ls")(list_principals)
    app.command("show")(show)
    for move, help_text in (
        (Move.RESTRAIN, "Let NAME go on, but every state-changing call needs a person."),
        (Move.SUSPEND, "Stop NAME until someone resumes it."),
        (Move.RESUME, "Let a restrained or suspended NAME act again."),
        (Move.KILL, "Withdraw NAME's authority for good: next call, open streams, tokens, permits."),
        (Move.RETIRE, "End NAME's life in order; final."),
    ):
        example = f'Example: charter {move.value} refund-agent --reason "{_REASONS[move]}"'
        app.command(move.value, help=f"{help_text}\n\n{example}\n\nWith --json: {_MOVED}.")(_mover(move))
    app.command("graph", cls=Plotting)(graph)


def list_principals(
    context: typer.Context,
    team: Annotated[str | None, typer.Option(help="Only this team's.")] = None,
    kind: Annotated[Kind | None, typer.Option(help="Only this kind.")] = None,
    environment: Annotated[Environment | None, typer.Option(help="Only this environment.")] = None,
    standing: Annotated[Standing | None, typer.Option(help="Only this standing.")] = None,
    provider: Annotated[str | None, typer.Option(help="Only those that call this provider's models.")] = None,
    data: Annotated[str | None, typer.Option(help="Only those that touch this class of data.")] = None,
    system: Annotated[str | None, typer.Option(help="Only those that reach this system.")] = None,
    tier: Annotated[str | None, typer.Option(help="Only this tier of risk.")] = None,
    wide: Annotated[bool, typer.Option("--wide", "-w", help="Show every field.")] = False,
    as_json: Json = False,
) -> None:
    """List the inventory: every AI principal, who owns it, what it touches, and whether it may act.

    Example: charter ls --team payments-ops --wide

    With --json: total, principals.
    """
    query = {"team": team, "kind": kind, "environment": environment, "standing": standing}
    query |= {"provider": provider, "data": data, "system": system, "tier": tier}
    answer = context_of(context).control.get("/v1/principals", **query)
    if as_json:
        print_json(answer)
        return
    columns, row = (_WIDE, _wide_row) if wide else (_NARROW, _narrow_row)
    table(columns, [row(p) for p in answer["principals"]])
    for p in answer["principals"]:
        for weak in p["weaknesses"]:
            say(f"{p['name']}: {weakness_text(weak)}", "yellow")
    say(counted(answer["total"], "principal"), "dim")


_NARROW = ["name", "kind", "environment", "owner", "team", "systems", "changes state", "risk", "standing", "expires"]
_WIDE = ["name", "owner", "purpose", "model", "data", "systems", "risk", "approved", "credential", "due", "standing"]
_WEAK = {
    "legacy-secret": "a shared secret proves it",
    "bearer-by-custom": "its tokens are bound to no key, and its charter does not say that they may be",
    "overdue-credential": "what proves it was to be replaced by now (charter rotate key)",
}


def weakness_text(weak: dict[str, Any]) -> str:
    """Return what a person reads of a weak credential: what it is, and for how long."""
    accepted = ", accepted" if weak["state"] == "accepted" else ""
    return f"{_WEAK.get(weak['kind'], weak['kind'])}, for {weak['days']} days{accepted}"


def _narrow_row(p: dict[str, Any]) -> list[object]:
    owner = p["owner"]
    return [
        p["name"],
        p["kind"],
        p["environment"],
        owner["person"],
        owner["team"],
        ", ".join(p["systems"]),
        _changes(p),
        p["risk"]["tier"],
        p["standing"],
        p["expires"],
    ]


def _wide_row(p: dict[str, Any]) -> list[object]:
    """Return every field of the inventory, some to a cell."""
    owner, model, approved = p["owner"], p["model"], p["approved"]
    return [
        f"{p['name']}\n{p['kind']}\n{p['environment']}",
        f"{owner['person']}\n{owner['team']}",
        p["purpose"],
        f"{model['provider']}\n{model['name']}",
        "\n".join(p["data"]) or "none",
        f"{_systems(p)}\nchanges state: {_changes(p)}",
        p["risk"]["tier"],
        f"{approved['by']}\nas {approved['role']}\non {approved['on']}",
        p["credential"],
        f"review every {p['review']}\nexpires {p['expires']}",
        p["standing"],
    ]


def _changes(p: dict[str, Any]) -> str:
    return "irreversibly" if p["irreversible"] else "yes" if p["state_changing"] else "no"


def _systems(p: dict[str, Any]) -> str:
    return ", ".join(f"{s} (sensitive)" if s in p["sensitive"] else s for s in p["systems"]) or "none"


def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A principal's name, or the id of a call's verdict (vrd_…).")],
    policy: Annotated[bool, typer.Option("--policy", help="Print the Cedar its charter compiles to.")] = False,
    files: Annotated[
        bool,
        typer.Option("--files", help="With --policy: of the files in the estate's folder, before they are applied."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show one principal (charter, standing, credentials, recent verdicts), or one call's whole story.

    The story: who asked what, by which rule and with whose yes, which answer of a model proposed it, what came of it,
    whether that is what was decided, and where in the log it stands.

    Example: charter show refund-agent

    Example: charter show refund-agent --policy --files

    Example: charter show vrd_01m8e58pkettqht5zgbn3ezx3f

    With --json: name, id, spiffe_id, kind, environment, owner, purpose, model, data, systems, sensitive,
    state_changing, irreversible, risk, approved, credential, review, expires, standing, chosen, held_by,
    composition, version, digest, charter, policy, keys, findings, recent, waiting, envelope, signing_keys. Of a
    verdict: verdict_id, index, at, verdict, sentence, who, authority, asked, rule, limits, approval, proposed_by,
    sequence, permit, outcome, labels, questions, afterwards, afterwards_in_all, children, reconciliation, log, entries.
    """
    if files:
        _show_policy_in_files(context, name, is_asked=policy, as_json=as_json)
        return
    control = context_of(context).control
    if name.startswith("vrd_"):
        story = control.get(f"/v1/verdicts/{segment(name)}")
        if as_json:
            print_json(story)
        else:
            show_story(story)
        return
    answer = control.get(f"/v1/principals/{segment(name)}")
    if as_json:
        print_json(answer)
        return
    if policy:
        say(answer["policy"])
        return
    from charter.registry import prose

    _show_facts(answer)
    table(
        ["system", "actions", "objects", "conditions"],
        [
            [g["system"], ", ".join(prose.actions(g)), ", ".join(prose.objects(g)), "; ".join(prose.conditions(g))]
            for g in answer["charter"].get("grants", [])
        ],
        title="\nmay do",
    )
    say(prose.delegation(answer["charter"]))
    for line in prose.flow(answer["charter"]):
        say(f"of its data, it {line}")
    for line in prose.exceptions(answer["charter"]):
        say(f"sets aside {line}", "yellow")
    if "policy" in answer["charter"]:
        say(f"the Cedar beside it says more: charter show {name} --policy", "dim")
    table(
        ["time", "verdict", "system", "tool", "why"],
        [[v["time"][:19], v["verdict"], v["system"], v["tool"], v["why"]] for v in answer["recent"]],
        title="\nrecent verdicts",
    )


def _show_policy_in_files(context: typer.Context, name: str, *, is_asked: bool, as_json: bool) -> None:
    from charter.bootstrap.estate import policy_in

    if not is_asked:
        raise typer.BadParameter("goes with --policy; all else about a principal is in the registry")
    text = policy_in(context_of(context).settings.estate, name)
    if as_json:
        print_json({"name": name, "policy": text})
    else:
        say(text)


def _show_facts(p: dict[str, Any]) -> None:
    from charter.registry import prose

    rows = [
        ("standing", p["standing"]),
        ("identity", f"{p['id']}  {p['spiffe_id']}"),
        ("kind", f"{p['kind']} in {p['environment']}"),
        ("owner", f"{p['owner']['person']} ({p['owner']['team']})"),
        ("purpose", p["purpose"]),
        ("model", f"{p['model']['provider']} {p['model']['name']}"),
        ("data", ", ".join(p["data"]) or "none"),
        ("systems", _systems(p)),
        ("changes state", _changes(p)),
        ("risk", prose.risk(p["risk"])),
        ("approved", f"by {p['approved']['by']} as {p['approved']['role']} on {p['approved']['on']}"),
        ("credential", f"{p['credential']} ({counted(len(p['keys']), 'key')} registered)"),
        ("tokens", _tokens(p["terms"])),
        *(("weak", weakness_text(weak)) for weak in p["weaknesses"]),
        *(("finding", f"{each['title']}: charter findings {each['id']}") for each in p["findings"]),
        ("review", f"every {p['review']}"),
        ("expires", p["expires"]),
        ("charter", f"version {p['version']}  {p['digest']}"),
        *(("composition", line) for line in _composition(p)),
    ]
    say(p["name"], "bold")
    table(["", ""], [list(row) for row in rows])


def _composition(p: dict[str, Any]) -> list[str]:
    """Return what is pinned of a principal's making, if its charter pins any of it."""
    pinned = p["composition"]
    if pinned is None:
        return []
    look = f"charter composition show {p['name']}"
    return [f"{pinned['digest']}" + (f"\nchanged, and waits for a review: {look}" if pinned["change"] else "")]


def _tokens(terms: dict[str, Any]) -> str:
    bound = "bound to a key" if terms["bearing"] == "bound" else "need no key"
    return f"{bound}, at most {terms['token_seconds']} s" if terms["token_seconds"] else bound


def _mover(move: Move) -> Any:  # noqa: ANN401 - Typer reads the signature of what is returned
    def command(context: typer.Context, name: Name, reason: Reason, as_json: Json = False) -> None:
        here = context_of(context)
        body = {"move": move.value, "reason": reason, "actor": here.operator}
        answer = here.control.post(f"/v1/principals/{segment(name)}/move", body)
        if as_json:
            print_json(answer)
            return
        say(f"{name}: {answer['before']} → {answer['after']}", "bold")
        for step in answer["steps"]:
            say(f"  {step['ms']:>8.2f} ms  {step['what']}")

    command.__name__ = move.value
    return command


def graph(
    context: typer.Context,
    session: Annotated[
        str | None, typer.Argument(help="A session (ses_…) to draw instead.", show_default=False)
    ] = None,
    delegations: Annotated[
        bool, typer.Option("--delegations", help="Draw who lent authority to whom instead.")
    ] = False,
    form: Annotated[Format, typer.Option("--format", help="Of a session: how it is given.")] = Format.TREE,
    since: Annotated[str, typer.Option(help="Of a session: how far back it is looked for.")] = "7d",
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Draw who may reach what: teams, their principals, and the systems their grants name. Or who lent what to whom.

    Or one session: its calls in order, which answer of a model proposed which, what it has read, and what came from
    where into which argument.

    Example: charter graph --delegations

    Example: charter graph ses_190191ff6919e64741730104 --format svg > session.svg

    Example: charter graph ses_190191ff6919e64741730104 --plot session.png

    With --json: edges. Of a session: session, principal, run, delegation, initiator, first, last, steps, verdicts,
    systems, exposed, data, calls, graph.
    """
    if session is not None:
        draw_session(context, session, Format.JSON if as_json else form, since, plot)
        return
    if plot is not None:
        raise typer.BadParameter("name a session to draw: charter sessions PRINCIPAL lists them", param_hint="SESSION")
    if delegations:
        draw_delegations(context_of(context).control.get("/v1/delegations"), as_json=as_json)
        return
    answer = context_of(context).control.get("/v1/principals")
    if as_json:
        edges = [{"principal": p["name"], "system": s} for p in answer["principals"] for s in p["systems"]]
        print_json({"edges": edges})
        return
    from rich.tree import Tree

    from charter.cli.output import clean, out

    root = Tree("estate")
    teams: dict[str, Tree] = {}
    for p in answer["principals"]:
        team = p["owner"]["team"]
        branch = teams.setdefault(team, root.add(clean(team)) if team not in teams else teams[team])
        leaf = branch.add(clean(f"{p['name']} ({p['standing']})"))
        for system in p["systems"]:
            leaf.add(clean(system))
    out.print(root)
