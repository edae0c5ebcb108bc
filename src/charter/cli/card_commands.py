"""Agent cards at the command line: looked at by the server, with keys that the operator trusts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charter.cli.context import Context, Json, context_of
from charter.cli.output import print_json, say
from charter.core.errors import ErrorCode, IntegrityError

if TYPE_CHECKING:
    from charter.bootstrap.cards import Shown

CardKeys = Annotated[
    Path | None,
    typer.Option("--keys", help="A file of keys that count for a card (JWK Set)."),
]
CardHosts = Annotated[
    list[str] | None,
    typer.Option("--jku-host", help="A host whose key sets count for a card, where the card names one (`jku`)."),
]
_TRUSTED = "trusted"


def draft_of_card(here: Context, where: str, keys: Path | None, hosts: list[str]) -> tuple[str, str, dict[str, Any]]:
    """Return the name and text of the draft for the card at `where`, and what was found of the card.

    Raises:
        IntegrityError: keys were named, and none of them signed the card.
    """
    from charter.bootstrap import cards

    shown = asyncio.run(cards.gather(where, keys, hosts))
    told = _looked_at(here, shown, None)
    if (keys is not None or hosts) and told["outcome"] != _TRUSTED:
        raise IntegrityError(
            ErrorCode.BAD_SIGNATURE,
            f"the card of `{told['proposes']}` is not adopted: {told['why']}",
            help="ask its publisher; charter findings has it",
        )
    name, text = cards.draft(shown.card, told, where, here.settings.estate)
    return name, text, {"card": told}


def check_card(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The principal whose charter pins a card.")],
    card: Annotated[str, typer.Argument(help="Its card as it is served: a file or an https address.")],
    keys: CardKeys = None,
    hosts: CardHosts = None,
    as_json: Json = False,
) -> None:
    """Hold an agent's card against the one that its charter pins; another one lowers its standing.

    Example: charter composition card route-planner https://agents.example.com --keys partner.jwks.json

    With --json: name, version, digest, proposes, outcome, key, why, finding, composition.
    """
    from charter.bootstrap import cards

    here = context_of(context)
    told = _looked_at(here, asyncio.run(cards.gather(card, keys, hosts or [])), name)
    if as_json:
        print_json(told)
    else:
        changed = any(each["part"] == "card" and not each["is_back"] for each in told["composition"]["changes"])
        say(f"{told['name']} {told['version']}  {told['digest']}", "bold")
        say(told["why"], "green" if told["outcome"] == _TRUSTED else "yellow")
        say("it is not the card that was accepted" if changed else "it is the card that was accepted")
        say(f"{name} is {told['composition']['standing']}")
    if told["outcome"] != _TRUSTED or told["composition"]["change"]:
        raise typer.Exit(1)


def _looked_at(here: Context, shown: Shown, principal: str | None) -> dict[str, Any]:
    body = {"card": shown.card, "keys": list(shown.keys), "where": shown.where, "actor": here.operator}
    answer: dict[str, Any] = here.control.post("/v1/cards", body | ({"principal": principal} if principal else {}))
    return answer
