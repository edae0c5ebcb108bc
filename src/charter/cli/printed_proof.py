"""Proofs as people read them: what a plan lets principals do, and what rules come to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from charter.cli.output import counted, say

_TURNS = {"widens": "red", "not proven": "magenta", "narrows": "green", "same": "dim"}


def print_effect(effect: dict[str, Any]) -> None:
    """Print what a plan does to what one principal may do."""
    conclusion, route = effect["conclusion"], effect["route"]
    others = f" and {counted(len(effect['others']), 'other')} like it" if effect["others"] else ""
    say(f"= {effect['principal']}{others}: {conclusion}", _TURNS.get(conclusion))
    if effect["note"]:
        say(f"    {effect['note']}", "dim")
    for mark, style, changes in (("+", "red", effect["gains"]), ("-", "green", effect["losses"])):
        for change in changes:
            say(f"    {mark} {change['sentence']}", style)
    for term in effect["terms"]:
        say(f"    {term['turn']}: {term['text']}")
    for gap in (*effect["not_proven"], *effect["rules_not_proven"]):
        say(f"    ? {gap}", "magenta")
    for duty in effect["duties"]:
        _print_duty(duty, "    !" if duty["new"] else "    ! as before:")
    for fault in effect["rules"]:
        say(f"    {fault['sentence']}", "red")
    say(f"    approval: {route['seat'] or 'nobody needs to'}, because {route['why']}", "dim")


def is_late(effects: Iterable[dict[str, Any]]) -> bool:
    """Whether something was left unproven for want of time, so that another try may prove it."""
    from charter.proof.duty_check import NO_TIME

    return any(NO_TIME in gap for each in effects for gap in (*each["not_proven"], *each["rules_not_proven"]))


def print_needs(needs: list[dict[str, Any]]) -> None:
    """Print whose yes a plan needs before it is applied, and whose it has where that is known."""
    for need in needs:
        said = f"needs a yes of {need['seat']} for {', '.join(need['for'][:8])}"
        if "given" not in need:  # files are compared: nobody was asked
            say(said, "red")
        elif need["given"]:
            say(f"{said}: {', '.join(need['given'])} said yes", "green")
        else:
            say(f"{said}: nobody said yes yet", "red")


def print_proofs(found: dict[str, Any]) -> None:
    """Print what the rules of an estate come to."""
    for each in found["principals"]:
        _print_principal(each)
    for duty in found["duties"]:
        _print_duty(duty, "!")
    for names in found["same_authority"]:
        say(f"= {' and '.join(names)} may do exactly the same", "yellow")
    for name in found["idle_guardrails"]:
        say(f"  {name} stops nothing of what anybody is granted", "dim")
    say("clean" if found["clean"] else "not clean", "green" if found["clean"] else "red")


def _print_principal(each: dict[str, Any]) -> None:
    actions = counted(each["actions"], "action")
    if each["inside"] and not each["faults"]:
        say(f"{each['principal']}: {actions}, all of it within every guardrail", "green")
        return
    say(f"{each['principal']}: {actions}", "yellow")
    for stop in each["stops"]:
        lifted = f"; a yes of {' or '.join(stop['lifted_by'])} lets it by" if stop["lifted_by"] else ""
        say(f"    {stop['guardrail']} stops a part of {stop['rule']}: {_call(stop['call'])}{lifted}")
    for fault in each["faults"]:
        say(f"    {fault['sentence']}", "red")
    for gap in each["not_proven"]:
        say(f"    ? {gap}", "magenta")


def _print_duty(duty: dict[str, Any], mark: str) -> None:
    """Print a duty that is broken, with a call for each part."""
    say(f"{mark} {duty['sentence']}", "red")
    for call in duty["calls"]:
        say(f"        {call['principal']}: {_call(call['call'])}")


def _call(call: dict[str, Any]) -> str:
    named = ", ".join(f"{name} {given}" for name, given in call["arguments"].items())
    told = f" ({named})" if named else ""
    yes = f", with the yes of {' and '.join(call['approvals'])}" if call.get("approvals") else ""
    chain = f", on behalf of {call['chain']['initiator']}" if "chain" in call else ""
    return f"`{call['action']}` on `{call['system']}`, {call['object']}{told} at {call['at'][:16]} UTC{chain}{yes}"
