"""A rule of the organisation as a person reads it: whom it is for, what it asks, who can lift it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_OF_PRINCIPALS = ("charters", "sharing", "behaviour")


def terms_of(rule: Mapping[str, Any]) -> list[str]:
    """Return in a few words each whom a rule, as `GET /v1/rules` tells it, is for, what it asks and who can lift it."""
    told = [f"{name}: {', '.join(words)}" for name, words in rule["for"].items()]
    if not told and rule["on"] in _OF_PRINCIPALS:
        told = ["everyone"]
    if rule["on"] == "charters":
        told += _asked(rule["asks"])
    elif rule["on"] == "behaviour":
        told += _following(rule["asks"])
    elif rule["on"] == "sharing":
        told += [f"{found}: {answer}" for found, answer in rule["asks"].items()]
    if rule["lifted_by"]:
        told.append(f"lifted by {', '.join(rule['lifted_by'])}")
    if rule["set_aside_by"]:
        told.append(f"set aside by {', '.join(rule['set_aside_by'])}")
    return told


def answering(rules: Iterable[dict[str, Any]], sought: str) -> list[dict[str, Any]]:
    """Return the rules that answer an item of a catalogue, of which `sought` is a part; all for nothing."""
    wanted = sought.casefold()
    return [each for each in rules if not wanted or any(wanted in item.casefold() for item in each["answers"])]


def _asked(asks: Mapping[str, Any]) -> list[str]:
    """Return what a rule on charters asks, each by itself."""
    most = [f"{name} at most {value}" for name, value in asks.get("at_most", {}).items()]
    only = [f"{name} only {', '.join(words) or 'none'}" for name, words in asks.get("only", {}).items()]
    return [*most, *only, *(f"{what} bounded" for what in asks.get("bounded", ()))]


def _following(asks: Mapping[str, Any]) -> list[str]:
    """Return on which signals a rule on behaviour acts, what follows, and how that ends."""
    when = asks["when"]
    told = [
        f"from {when['score']} bits on",
        *(f"{n}: {', '.join(when[n])}" for n in ("features", "effects") if n in when),
    ]
    ends = f" for {asks['expires']}" if "expires" in asks else " until a person settles it" if "release" in asks else ""
    return [*told, f"then {asks['then']}{ends}"]
