"""One call's whole story on a terminal: who asked what, by which rule, with whose yes, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from charter.cli.output import say, table

Json = Mapping[str, Any]
_STYLES = {"allow": "green", "deny": "red", "escalate": "yellow"}
AGREEING = {"agrees": "green", "disagrees": "red", "unknown": "yellow"}


def show_story(story: Json) -> None:
    """Print the story of a call."""
    _line(story["sentence"], _STYLES.get(story["verdict"], ""))
    _line(f"{story['verdict_id']}, {story['at']}, entry {story['index']}", "dim")
    for title, lines in _parts(story):
        said = [line for line in lines if line]
        if said:
            say(f"\n{title}", "bold")
            for line in said:
                _line(f"  {line}")
    _show_reconciliation(story)
    _show_afterwards(story)
    _show_log(story)


def _line(text: str, style: str | None = None) -> None:
    """Print a line that stays one, whatever stands in a value."""
    say(one_line(text), style)


def one_line(value: object) -> str:
    """Return a value so that it writes no lines of its own."""
    return str("" if value is None else value).replace("\n", "\\n")


def _parts(story: Json) -> Iterator[tuple[str, Iterator[str]]]:
    yield "who", _who(story)
    yield "asked what", _asked(story)
    yield "decided by", _rules(story)
    yield "limits and approval", _conditions(story)
    yield "proposed by", _proposed(story)
    yield "what its session had read", _labels(story)
    yield "what came of it", _outcome(story)


def _who(story: Json) -> Iterator[str]:
    who = story["who"]
    charter, credential, authority = who["charter"], who["credential"], story["authority"]
    yield f"{who['principal']} ({who['kind']}, {who['environment']}, team {who['team']})  {who['id']}"
    if charter:
        yield f"under charter version {charter['version']}  {charter['digest']}"
    if applied := authority["applied"]:
        yield f"which {applied['by']} applied on {applied['at'][:19]}, entry {applied['index']}: {applied['reason']}"
    if credential:
        yield f"with the token {credential['token']}" + _issued(credential)
    for party in (who["chain"] or {}).get("parties", ()):
        lent = f", by {party['credential']}" if party.get("credential") else ""
        yield f"{party['role']:<9} {party['name']}, vouched for by {party['control_plane']}{lent}"
    if who["chain"]:
        yield f"for {who['chain'].get('purpose', 'what is not known')}, under {who['chain']['delegation']}"
    if asked_by := who["asked_by"]:
        yield f"asked about by the enforcement point {asked_by['point']}, on the strength of its {asked_by['proof']}"
    if who["client"] or who["source"]:
        yield f"by {who['client'] or 'a program that says nothing of itself'} from {who['source'] or 'this machine'}"
    if authority["owner"]:
        owner = authority["owner"]
        yield f"owned now by {owner['person']} ({owner['team']}); its standing is {authority['standing']}"
    yield f"to change that: {', '.join(authority['change'])}"


def _issued(credential: Json) -> str:
    if credential["index"] is None:
        return ""
    return f", issued to the key {credential['key']} by {credential['method']}, entry {credential['index']}"


def _asked(story: Json) -> Iterator[str]:
    from charter.reports.call_story import argument_text

    asked, sequence = story["asked"], story["sequence"]
    yield f"{asked['action'] or asked['tool']} on {asked['system']} (tool {asked['tool']}), object {asked['object']}"
    yield f"effect {asked['effect']}; data: {', '.join(asked['data']) or 'none'}; through the door {asked['door']}"
    if asked["model"]:
        yield f"of the model {asked['model']['provider']} {asked['model']['name']}"
    for name, value in (asked["arguments"] or {}).items():
        yield f"{name} = {argument_text(value)}"
    yield f"exactly this call: {asked['digest']}"
    if sequence:
        run = f" of the run {sequence['run']}" if sequence.get("run") else ""
        yield f"step {sequence['step']} of the session {sequence['session']}{run}"
        for parent in sequence.get("parents", ()):
            yield f"it came of {parent.get('verdict') or parent.get('session')}, known by {parent['known_by']}"


def _rules(story: Json) -> Iterator[str]:
    for reason in story["rule"]["reasons"]:
        where = f" ({reason['source']})" if reason.get("source") else ""
        yield f"{reason['rule']}{where}, of the link {reason['link']}: {reason['text']}"
        if story["verdict"] != "allow" and reason.get("mend"):
            yield f"to allow it: {reason['mend']}"
    yield f"every rule that had a say: charter why {story['verdict_id']}"


def _conditions(story: Json) -> Iterator[str]:
    for each in story["limits"]:
        yield f"counted against {each['limit']} of {each['link']}"
    approval = story["approval"]
    if not approval:
        return
    if approval["asked_at"]:
        yield f"{approval['id']} asked {', '.join(approval['roles'])} at {approval['asked_at'][:19]}"
    for each in approval["answers"]:
        given = ", ".join(f"{role}" for role, person in each["given"].items() if person == each["by"])
        as_whom = f" as {given}" if given else ""
        when = f"{each['at'][:19]}, entry {each['index']}"
        yield f"{each['by']} said {each['answer']}{as_whom} at {when}: {each['reason']}"
    if approval["spent_by"]:
        yield f"spent on {'this call' if approval['spent_by'] == story['verdict_id'] else approval['spent_by']}"


def _proposed(story: Json) -> Iterator[str]:
    proposed = story["proposed_by"]
    if proposed is None:
        return
    if not proposed["is_known"]:
        yield "no answer of a model that was asked here; its program may have decided by itself"
        return
    yield f"the answer {proposed['response']} of {proposed['model']}, asked for by {proposed['verdict_id']}"


def _labels(story: Json) -> Iterator[str]:
    before, added, after = (story["labels"][name] for name in ("before", "added", "after"))
    if before.get("exposed"):
        yield "content that strangers wrote"
    if before.get("data"):
        yield f"data: {', '.join(before['data'])}"
    for line in before.get("told", ()):
        yield f"where a value came from: {line}"
    if added["exposed"]:
        yield "new with this call: content that strangers wrote"
    if added["data"]:
        yield f"new with this call: {', '.join(added['data'])}"
    if after and not (added["exposed"] or added["data"]):
        yield "told again with this call, unchanged"


def _outcome(story: Json) -> Iterator[str]:
    yield f"permit: {story['permit']['text']}"
    for each in story["questions"]:
        yield f"its server asked ({each['what']}) at {each['at'][:19]}"
    outcome = story["outcome"]
    if outcome is None:
        return
    took = f"after {outcome['duration_ms']} ms, {outcome['bytes']} bytes"
    yield f"outcome {outcome['outcome']} {took}, entry {outcome['index']}"
    if outcome["labels"]:
        labels = outcome["labels"]
        yield f"its result counts as {labels['origin'] or 'a model'}; data: {', '.join(labels['data']) or 'none'}"
    if outcome["used"]:
        used = outcome["used"]
        cost = f", {used['cost']} {used.get('currency', '')}".rstrip() if used.get("cost") else ""
        yield f"{used.get('model')} took {used.get('input_tokens')} tokens and gave {used.get('output_tokens')}{cost}"
    if outcome["result_digest"]:
        yield f"result {outcome['result_digest']}"


def _show_reconciliation(story: Json) -> None:
    found = story["reconciliation"]
    if not found:
        return
    say("\nheld against what happened", "bold")
    _line(f"  {found['agreement']}: {found['text']}", AGREEING.get(found["agreement"], ""))
    for each in found["seen"]:
        _line(
            f"  {each['source']} told {each['action']} {each['object'] or ''} {each['outcome']}, entry {each['index']}"
        )


def _show_afterwards(story: Json) -> None:
    for title, calls in (("\ncame of it", story["children"]), ("\nafterwards in the session", story["afterwards"])):
        if calls:
            table(["step", "principal", "verdict", "call", "object", "id"], [_row(each) for each in calls], title=title)
    more = story["afterwards_in_all"] - len(story["afterwards"])
    if more > 0:
        say(f"and {more} more: charter graph {story['sequence']['session']}", "dim")


def _row(call: Json) -> list[object]:
    said = (call["principal"], call["verdict"], f"{call['system']}/{call['tool']}", call["object"], call["verdict_id"])
    return [call["step"], *map(one_line, said)]


def _show_log(story: Json) -> None:
    log = story["log"]
    indexes = ", ".join(map(str, log["entries"]))
    say("\nin the log", "bold")
    _line(f"  entries {indexes} of {log['origin']}, under the checkpoint of {log['size']} entries")
    _line(f"  prove it: {log['prove']}")
    _line(f"  its receipt: charter evidence receipt {story['verdict_id']}")
