"""What a check found, in Markdown: for the page of a CI run or a comment on a change.

Names and texts come from files that anybody may propose; each is put so that it cannot become markup.
"""

from __future__ import annotations

import re
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
        others = f" and {len(effect['others'])} like it" if effect["others"] else ""
        lines.append(f"**{_plain(effect['principal'])}**{others}: {effect['conclusion']}")
        lines += [f"- may now: {_plain(each['sentence'])}" for each in effect["gains"][:MAX_ROWS]]
        lines += [f"- may no longer: {_plain(each['sentence'])}" for each in effect["losses"][:MAX_ROWS]]
        lines += [f"- not proven: {_plain(each)}" for each in effect["not_proven"][:MAX_ROWS]]
        lines += [f"- {_plain(each['sentence'])}" for each in effect["duties"]]
        lines += [f"- {_plain(each['sentence'])}" for each in effect["rules"][:MAX_ROWS]] + [""]
    return lines


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
