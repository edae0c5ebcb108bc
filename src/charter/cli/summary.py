"""What a check found, in Markdown: for the page of a CI run or a comment on a change.

Names and texts come from files that anybody may propose; each is put so that it cannot become markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

MAX_ROWS = 50
MAX_TEXT = 300
_STATES = {"holds": "proven", "fails": "**fails**", "searched": "searched, not proven", "empty": "means nothing here"}


def summary(told: dict[str, Any], base: str | None) -> str:
    """Return what `charter check --json` tells, for people who review."""
    tests, changed = told["tests"], told["diff"]
    lines = ["## Charter", "", f"{tests['passed']} passed, {tests['failed']} failed; {_coverage(tests)}", ""]
    failed = [each for each in tests["results"] if not each["passed"]]
    if failed:
        lines += ["| test | expected | got | why |", "|---|---|---|---|"]
        lines += [_row(each["name"], each["expected"], each["got"], each["why"]) for each in failed[:MAX_ROWS]] + [""]
    if tests["properties"]:
        lines += ["| property | | |", "|---|---|---|"]
        lines += [
            f"| {_plain(each['name'])} | {_STATES[each['state']]} | {_plain(each['why'])} |"
            for each in tests["properties"][:MAX_ROWS]
        ] + [""]
    return "\n".join([*lines, *(_diff(changed, base or "") if changed is not None else ())]) + "\n"


def _diff(changed: dict[str, Any], base: str) -> list[str]:
    lines = [f"### What differs from {_plain(base)}", ""]
    if changed["note"]:
        lines += [_plain(changed["note"]), ""]
    lines += [f"- {each['change']} {each['what']} {_plain(each['name'])}" for each in changed["changes"][:MAX_ROWS]]
    lines += ["" if changed["changes"] else "Nothing.", ""]
    for effect in changed["effects"][:MAX_ROWS]:
        lines += [*_effect(effect), ""]
    return lines


def _effect(effect: dict[str, Any]) -> Iterator[str]:
    """Yield what a change does to one principal: the same as the terminal shows."""
    others = f" and {len(effect['others'])} like it" if effect["others"] else ""
    yield f"**{_plain(effect['principal'])}**{others}: {effect['conclusion']}"
    told = {
        "": [effect["note"]] if effect["note"] else [],
        "may now: ": [each["sentence"] for each in effect["gains"]],
        "may no longer: ": [each["sentence"] for each in effect["losses"]],
        "its charter ": [f"{each['turn']}: {each['text']}" for each in effect["terms"]],
        "not proven: ": [*effect["not_proven"], *effect["rules_not_proven"]],
        "breaks a duty: ": [each["sentence"] for each in effect["duties"] if each["new"]],
        "breaks a duty, as before: ": [each["sentence"] for each in effect["duties"] if not each["new"]],
        "says nothing: ": [each["sentence"] for each in effect["rules"]],
    }
    for word, sentences in told.items():
        yield from (f"- {word}{_plain(each)}" for each in sentences[:MAX_ROWS])
    if effect["route"]["seat"]:
        yield f"- needs a yes of {_plain(effect['route']['seat'])}, because {_plain(effect['route']['why'])}"


def _coverage(tests: dict[str, Any]) -> str:
    coverage = tests["coverage"]
    return f"{coverage['percent']:g}% of what rules can do is shown by a test"


def _row(*cells: str) -> str:
    return f"| {' | '.join(map(_plain, cells))} |"


def _plain(text: str) -> str:
    """Return `text` as one line in which nothing is markup, a mention or a link."""
    line = " ".join(str(text).split())
    shown = line if len(line) <= MAX_TEXT else line[:MAX_TEXT] + "…"
    quiet = re.sub(r"([^\w\s.,:;/()=-]|:(?=//)|(?<=www)\.)", lambda found: f"&#{ord(found[1])};", shown)
    return quiet.replace("_", "&#95;")
