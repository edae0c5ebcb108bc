"""Commands about delegations: lend, list, show, withdraw, switch an edge off, verify a chain without a server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charter.cli.context import Json, Reason, context_of, segment
from charter.cli.output import NO, clean, out, print_json, say, table
from charter.core.errors import CharterError, ErrorCode, MalformedError
from charter.registry.delegation_tree import Branch, grown

if TYPE_CHECKING:
    from rich.tree import Tree

Id = Annotated[str, typer.Argument(help="The delegation's id: del_…")]
Person = Annotated[str | None, typer.Option("--person", help="Lent by this person.")]
Agent = Annotated[str | None, typer.Option("--agent", help="Lent to this principal, or by it.")]
Purpose = Annotated[str | None, typer.Option("--purpose", help="Lent for this purpose.")]
MAX_FILE = 1_000_000


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("delegate")(delegate)
    group = typer.Typer(help="See who lent authority to whom; withdraw it.", no_args_is_help=True)
    group.command("ls")(list_delegations)
    group.command("show")(show)
    group.command("withdraw")(withdraw)
    group.command("switch")(switch)
    group.command("verify")(verify)
    app.add_typer(group, name="delegations")


def delegate(
    context: typer.Context,
    borrower: Annotated[str, typer.Argument(help="The principal that may act for the person.")],
    purpose: Annotated[str, typer.Option(help="What for; one of the charter's purposes.")],
    lasts: Annotated[
        str | None, typer.Option("--for", help="How long: 30m, 8h.", show_default="as the charter allows")
    ] = None,
    system: Annotated[list[str] | None, typer.Option(help="Only this system; may be repeated.")] = None,
    action: Annotated[list[str] | None, typer.Option(help="Only this action on it; may be repeated.")] = None,
    object: Annotated[list[str] | None, typer.Option(help="Only these objects: charge/*")] = None,  # noqa: A002
    person: Annotated[str | None, typer.Option("--as", help="Who lends.", show_default="you")] = None,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; it stands in the evidence.")] = "",
    as_json: Json = False,
) -> None:
    """Lend a principal your authority, for a purpose and a time: it may then act on your behalf.

    It can do no more with it than you, its own charter and this delegation allow together.

    Example: charter delegate refund-agent --purpose dispute-handling --for 30m --system payments

    With --json: id, initiator, lender, borrower, role, purpose, scope, made, expires, standing, usable, accepted.
    """
    here = context_of(context)
    body = {
        "person": person or here.operator,
        "borrower": borrower,
        "purpose": purpose,
        "scope": _scope(system or [], action or [], object or []),
        "lasts": lasts,
        "actor": here.operator,
        "reason": reason,
    }
    made = here.control.post("/v1/delegations", body)
    if as_json:
        print_json(made)
        return
    say(f"{made['lender']} lends {made['borrower']} authority for {made['purpose']}", "green")
    say(f"  {made['id']}  until {made['expires'][:19]}Z  {_covered(made['scope'])}")
    say(f"  charter run {made['borrower']} --on-behalf-of {made['id']} -- COMMAND", "dim")


def _scope(systems: list[str], actions: list[str], objects: list[str]) -> list[dict[str, Any]] | None:
    if not systems:
        if actions or objects:
            raise MalformedError(ErrorCode.BAD_VALUE, "actions and objects are of a system", help="name it: --system")
        return None
    narrowed = ({"actions": actions} if actions else {}) | ({"objects": objects} if objects else {})
    return [{"system": system} | narrowed for system in systems]


def list_delegations(
    context: typer.Context, person: Person = None, agent: Agent = None, purpose: Purpose = None, as_json: Json = False
) -> None:
    """List the delegations that have not ended, newest first, and what stands against their use.

    Example: charter delegations ls --person maria@example.com

    With --json: delegations, live, off.
    """
    answer = context_of(context).control.get("/v1/delegations", person=person, agent=agent, purpose=purpose)
    if as_json:
        print_json(answer)
        return
    table(
        ["id", "from", "to", "role", "purpose", "covers", "until", "usable"],
        [_row(each) for each in answer["delegations"]],
    )
    for edge in answer["off"]:
        say(f"switched off: {edge['lender']} → {edge['borrower']}", "yellow")


def _row(d: dict[str, Any]) -> list[object]:
    usable = "yes" if d["usable"] else d["why"]
    covered = _covered(d["scope"])
    return [d["id"], d["lender"], d["borrower"], d["role"], d["purpose"], covered, d["expires"][:16], usable]


def show(context: typer.Context, delegation_id: Id, as_json: Json = False) -> None:
    """Show one delegation with its whole chain: who began it, who is in it, who vouched, who signed.

    Example: charter delegations show del_01m8ajzpbah2p28w1mgr5e4jbc

    With --json: id, chain, links, proofs, keys, issuer, hop, usable, why.
    """
    shown = context_of(context).control.get(f"/v1/delegations/{segment(delegation_id)}")
    if as_json:
        print_json(shown)
        return
    from rich.tree import Tree

    first, *rest = shown["chain"]
    root = branch = Tree(clean(f"{first['name']}  ({first['role']}, vouched for by {first['control_plane']})"))
    for party, link in zip(rest, shown["links"], strict=True):
        signed = "signed by its key" if link["accepted"] else "not accepted yet"
        branch = branch.add(clean(f"{party['name']}  ({party['role']}, {signed})  {link['id']}"))
        branch.label = clean(f"{branch.label}\n  {_covered(link['scope'])}, until {link['expires'][:19]}Z")
    out.print(root)
    say(
        f"for {shown['purpose']}; {'usable' if shown['usable'] else shown['why']}",
        "green" if shown["usable"] else "red",
    )


def draw_delegations(answer: dict[str, Any], *, as_json: bool) -> None:
    """Draw all delegations as trees: from each initiator to whoever acts for them."""
    oldest_first = answer["delegations"][::-1]
    if as_json:
        shown = ("lender", "borrower", "purpose", "usable", "rests_on", "expires")
        edges = [{"id": d["id"]} | {name: d[name] for name in shown} for d in oldest_first]
        print_json({"edges": edges, "off": answer["off"]})
        return
    from rich.tree import Tree

    root = Tree("delegations")
    for initiator, branches in grown(oldest_first).items():
        _add(root.add(clean(initiator)), branches)
    out.print(root)
    for edge in answer["off"]:
        say(f"switched off: {edge['lender']} → {edge['borrower']}", "yellow")


def _add(tree: Tree, branches: list[Branch]) -> None:
    for each in branches:
        _add(tree.add(clean(_edge(each.delegation))), each.branches)


def _edge(d: Mapping[str, Any]) -> str:
    state = "" if d["usable"] else ", withdrawn" if d["standing"] == "revoked" else ", not usable now"
    return f"{d['borrower']} ({d['role']}) for {d['purpose']} until {d['expires'][:16]}, {_covered(d['scope'])}{state}"


def withdraw(
    context: typer.Context,
    reason: Reason,
    delegation_id: Annotated[str | None, typer.Argument(help="One delegation: del_…", show_default=False)] = None,
    person: Person = None,
    agent: Agent = None,
    purpose: Purpose = None,
    own: Annotated[bool, typer.Option("--own", help="Only what you lent yourself.")] = False,
    as_json: Json = False,
) -> None:
    """Withdraw delegations: one, or all that a person lent, that a principal has, or that are for a purpose.

    What rests on them stops with them, at once, open streams included; nothing beside them is touched.

    Example: charter delegations withdraw --person maria@example.com --reason "on leave"

    With --json: withdrawn, count, beneath, streams, permits, leases, leases_revoked, index.
    """
    here = context_of(context)
    body = {"link": delegation_id, "agent": agent, "purpose": purpose, "reason": reason, "actor": here.operator}
    who = {"person": here.operator} if own else {"lender": person}
    path = "/v1/delegations/own/withdraw" if own else "/v1/delegations/withdraw"
    done = here.control.post(path, {k: v for k, v in (body | who).items() if v is not None})
    if as_json:
        print_json(done)
        return
    say(f"{done['count']} withdrawn{_beneath(done['beneath'])}; {done['streams']} open streams ended", "bold")
    if done["leases"]:
        say(f"  {done['leases_revoked']} of {done['leases']} leases revoked; Charter goes on trying with the others")


def _beneath(count: int | None) -> str:
    return "" if not count else f", {count} that rest on them stopped with them"


def switch(
    context: typer.Context,
    lender: Annotated[str, typer.Argument(help="A principal, a person, or humans.")],
    borrower: Annotated[str, typer.Argument(help="The principal it may lend to.")],
    reason: Reason,
    is_on: Annotated[bool, typer.Option("--on/--off", help="Let it lend, or not.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Switch off that LENDER may lend to BORROWER, whatever charters say; or on again.

    What was lent on that edge cannot be used meanwhile, and comes back with it.

    Example: charter delegations switch triage-flow refund-agent --off --reason "looking into it"

    With --json: lender, borrower, state, index.
    """
    here = context_of(context)
    body = {"lender": lender, "borrower": borrower, "on": is_on, "reason": reason, "actor": here.operator}
    done = here.control.post("/v1/delegations/switch", body)
    if as_json:
        print_json(done)
    else:
        say(f"{lender} → {borrower}: {done['state']}", "green" if is_on else "yellow")


def verify(
    file: Annotated[Path, typer.Argument(help="What charter delegations show ID --json printed.")],
    as_json: Json = False,
) -> None:
    """Verify a chain's actor proofs with the actors' public keys alone: no server, no database. Exit 1 if they do not.

    Example: charter delegations verify chain.json

    With --json: ok, proofs, actors, why.
    """
    answer = _verified(_read(file))
    if as_json:
        print_json(answer)
    elif answer["ok"]:
        say(f"{answer['proofs']} proofs verify: {' → '.join(answer['actors'])}", "green")
    else:
        say(f"does not verify: {answer['why']}", "red")
    if not answer["ok"]:
        raise typer.Exit(NO)


def _verified(shown: dict[str, Any]) -> dict[str, Any]:
    from charter.identity.actor_proof import read_proof, verify_chain
    from charter.identity.jose import parse_public_jwk

    try:
        issuer, (first, *rest) = shown["issuer"], shown["chain"]
        keys = {party: [parse_public_jwk(jwk) for jwk in jwks] for party, jwks in shown["keys"].items()}
        act: dict[str, Any] = {}
        for party in rest:
            act = {"sub": party["party"], "iss": issuer} | ({"act": act} if act else {})
        newest = read_proof(str(shown["proofs"][0]), keys[rest[-1]["party"]])
        found = verify_chain(
            [str(proof) for proof in shown["proofs"]],
            act=act,
            subject=first["party"],
            audience=newest.audiences[0],
            keys_of=lambda _issuer, actor: keys.get(actor, []),
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as err:
        raise MalformedError(
            ErrorCode.BAD_VALUE,
            "the file is not what `charter delegations show ID --json` prints",
            help="charter delegations show ID --json > chain.json",
        ) from err
    except CharterError as err:
        return {"ok": False, "proofs": len(shown["proofs"]), "actors": [], "why": err.detail}
    actors = [first["name"], *(party["name"] for party in rest)]
    return {"ok": True, "proofs": len(found), "actors": actors, "why": None}


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as source:
            found = json.loads(source.read(MAX_FILE + 1)[:MAX_FILE])
    except (OSError, ValueError, RecursionError) as err:
        raise MalformedError(ErrorCode.BAD_VALUE, f"`{file}` cannot be read as JSON", help="name a file") from err
    if not isinstance(found, dict):
        raise MalformedError(ErrorCode.BAD_VALUE, f"`{file}` holds no object", help="name another file")
    return found


def _covered(scope: list[dict[str, Any]] | None) -> str:
    """Return in words what a scope covers."""
    if scope is None:
        return "whatever both may do for that purpose"
    return "; ".join(
        f"{part['system']}: {', '.join(part['actions'])}"
        + ("" if part["objects"] == ["*"] else f" on {', '.join(part['objects'])}")
        for part in scope
    )
