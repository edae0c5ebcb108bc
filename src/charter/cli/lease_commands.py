"""Commands about leases: the credentials that systems made for principals, one by one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from charter.cli.context import Json, Reason, context_of, segment
from charter.cli.output import NO, counted, print_json, say, table, warn

LeaseId = Annotated[str, typer.Argument(help="The lease, lea_….")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(help="See, renew and revoke credentials made for principals.", no_args_is_help=True)
    group.command("ls")(list_leases)
    group.command("show")(show)
    group.command("renew")(renew)
    group.command("revoke")(revoke)
    app.add_typer(group, name="leases")


def list_leases(
    context: typer.Context,
    principal: Annotated[str | None, typer.Option(help="Only this principal's.")] = None,
    system: Annotated[str | None, typer.Option(help="Only on this system.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Those whose life is over, too; the newest 500.")] = False,
    as_json: Json = False,
) -> None:
    """List the leases: who holds what at which system, until when; and those whose revocation is overdue.

    Example: charter leases ls --principal order-agent

    With --json: leases, counts.
    """
    query = {"principal": principal, "system": system, "all": "true" if every else None}
    answer = context_of(context).control.get("/v1/leases", **query)
    if as_json:
        print_json(answer)
        return
    table(
        ["lease", "principal", "system", "may", "state", "until", "renewed", "why"],
        [
            [
                each["id"],
                each["principal"],
                each["system"],
                _rights(each),
                "overdue" if each["overdue"] else each["state"],
                each["expires_at"][:19],
                each["renewals"],
                each["why"],
            ]
            for each in answer["leases"]
        ],
    )
    counts = answer["counts"]
    say(f"{counts['in_use']} in use, {counts['revoking']} being revoked, {counts['overdue']} of them overdue", "dim")
    for each in answer["leases"]:
        if each["overdue"]:
            warn(f"{each['id']}: {counted(each['attempts'], 'attempt')} failed: {each['error']}")


def show(context: typer.Context, lease_id: LeaseId, as_json: Json = False) -> None:
    """Show one lease: what it lets do, by which verdicts, how it stands, and what its revocation waits for.

    Example: charter leases show lea_01kb…

    With --json: id, principal, system, kind, state, rights, handle, expires_at, ends_at, renewals, why, attempts,
    next_try_at, error.
    """
    lease = context_of(context).control.get(f"/v1/leases/{segment(lease_id)}")
    if as_json:
        print_json(lease)
        return
    rows = [
        ("principal", lease["principal"]),
        ("system", f"{lease['system']} ({lease['kind']})"),
        ("state", "overdue" if lease["overdue"] else lease["state"]),
        ("made", lease["created_at"][:19]),
        ("until", f"{lease['expires_at'][:19]}, at most {lease['ends_at'][:19]}"),
        ("renewed", lease["renewals"]),
        ("delegation", lease["delegation"] or "none"),
        *((f"its {name}", value) for name, value in lease["handle"].items() if value),
    ]
    rows += [("ended", lease["why"])] if lease["why"] else []
    if lease["attempts"]:
        rows += [("failed attempts", lease["attempts"]), ("last error", lease["error"])]
        rows += [("next attempt", (lease["next_try_at"] or "")[:19])]
    say(lease["id"], "bold")
    table(["", ""], [list(row) for row in rows])
    table(
        ["action", "on", "verbs", "verdict"],
        [[r["action"], r["on"], ", ".join(r["verbs"]), r["verdict_id"]] for r in lease["rights"]],
        title="\nmay do",
    )


def renew(context: typer.Context, lease_id: LeaseId, as_json: Json = False) -> None:
    """Let a lease live on for its time, up to its end. Policy decides anew, as if its holder had asked.

    Example: charter leases renew lea_01kb…

    With --json: as of show.
    """
    here = context_of(context)
    lease = here.control.post(f"/v1/leases/{segment(lease_id)}/renew", {"actor": here.operator})
    if as_json:
        print_json(lease)
        return
    say(f"{lease['id']} lives until {lease['expires_at'][:19]}, at most until {lease['ends_at'][:19]}", "green")


def revoke(
    context: typer.Context,
    lease_id: LeaseId,
    reason: Reason,
    by_hand: Annotated[
        bool, typer.Option("--by-hand", help="Say that you removed the credential yourself, after Charter could not.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Revoke one lease: its credential is taken back, and what uses it now is ended. No other lease is touched.

    If the system does not answer, Charter goes on trying until it is done. Exit 1 if it is not done yet.

    Example: charter leases revoke lea_01kb… --reason "the task is over"

    With --json: as of show.
    """
    here = context_of(context)
    body = {"actor": here.operator, "reason": reason, "by_hand": by_hand}
    lease = here.control.post(f"/v1/leases/{segment(lease_id)}/revoke", body)
    is_done = lease["state"] == "revoked"
    if as_json:
        print_json(lease)
    elif is_done:
        say(f"{lease['id']} is revoked", "green")
    else:
        warn(f"{lease['id']} is to be revoked, and is not yet: {lease['error'] or 'the system has not answered'}")
        say(f"it is tried again until it is done: charter leases show {lease['id']}")
    if not is_done:
        raise typer.Exit(NO)


def _rights(lease: dict[str, Any]) -> str:
    return ", ".join(f"{right['action']} {right['on']}" for right in lease["rights"])
