"""What `charter rotate` does about Charter's own keys: the master key, data keys, signing keys."""

from __future__ import annotations

from collections.abc import Iterator

from charter.cli.context import Context
from charter.cli.output import err, print_json, say


def rotate_signing(here: Context, use: str, why: tuple[str, bool], *, as_json: bool) -> None:
    """Replace a signing key or an authority; `why` is the reason, and whether the old one goes at once."""
    reason, at_once = why
    body = {"use": use, "actor": here.operator, "reason": reason, "at_once": at_once}
    answer = here.control.post("/v1/keys/rotate", body)
    if as_json:
        print_json(answer)
        return
    rest = "what the one before signed is worthless" if at_once else "what the one before signed holds until it expires"
    if use in ("evidence", "charter", "witness"):
        rest = "the one before signs nothing any more, and what it signed stays valid"
    say(f"new {use} key {answer['key_id']}; {rest}", "green")
    if use == "evidence":
        say(
            "auditors may keep the key that they have, which leads to the new one; charter evidence log-key prints that"
        )
    if use == "witness":
        say("whoever trusts this node as a witness needs its new key: charter evidence witness-key")


def rotate_master(here: Context, to: str | None, reason: str, *, as_json: bool) -> None:
    """Replace the master key: by the one at `to`, or by a new one in the same place."""
    body = {"to": to, "actor": here.operator, "reason": reason}
    answer = here.control.post("/v1/keys/rotate/master", body)
    if as_json:
        print_json(answer)
        return
    before, after = answer["before"], answer["after"]
    say(f"{answer['data_keys']} data keys are wrapped under {after['where']}, `{after['name']}`, from now on", "green")
    say(f"backups of the database made before now still need `{before['name']}`: keep it with them")
    if to:
        say(f"say so in the settings too: CHARTER_MASTER='{answer['setting']}'", "yellow")


def rotate_data(here: Context, reason: str, *, as_json: bool) -> None:
    """Replace the data key, and move what is sealed to the new one, with progress."""
    from rich.progress import Progress

    answer = here.control.post("/v1/keys/rotate/data", {"actor": here.operator, "reason": reason})
    total = left = answer["left"]
    with Progress(console=err, transient=True, disable=as_json) as progress:
        task = progress.add_task("sealing anew", total=total)
        for left in _resealed(here, total):
            progress.update(task, completed=total - left)
    if as_json:
        print_json({"data_key": answer["data_key"], "resealed": total - left, "left": left})
        return
    say(f"new data key {answer['data_key']}; {total - left} sealed values moved to it", "green")
    if left:
        say(f"{left} were sealed meanwhile under another; the server moves them by itself", "yellow")


def _resealed(here: Context, left: int) -> Iterator[int]:
    """Move what is sealed under older keys, and yield how much is left, until nothing is or nothing moves."""
    while left:
        before, left = left, here.control.post("/v1/keys/reseal")["left"]
        yield left
        if left >= before:
            return
