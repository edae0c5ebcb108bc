"""`charter right-size`: a narrower charter from what was used, proven to be so, and put to all that was recorded.

INVARIANT: what is offered provably allows nothing new, and every recorded call of the period was decided again and is
not refused. Where either is not so for all of it, nothing is offered; the reason is told.
INVARIANT: for a call that cannot be decided again, since evidence keeps no texts, nothing was changed: every grant of
its action stays, word for word but for other actions beside it.
"""

from __future__ import annotations

import datetime as dt
import difflib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ruamel.yaml.error import YAMLError

from charter.adapters.evidence_store import SqlLog, entries_of
from charter.bootstrap import evidence, proofs, review, what_if, worlds
from charter.core.canonical import digest_of
from charter.core.clock import parse_rfc3339, rfc3339
from charter.core.errors import CharterError
from charter.evidence.entry import EntryKind
from charter.evidence.log import Query, Stored, query
from charter.policy.central import central_guardrails
from charter.policy.guardrail import parse_guardrails
from charter.proof.caution import LOOKED_BACK, MIN_HISTORY, not_covered
from charter.proof.effect import Side, effect_of
from charter.proof.lent import Lent
from charter.proof.narrowing import Ground
from charter.proof.observed import Observed
from charter.proof.right_size import Proposal, file_of, proposed
from charter.proof.route import Conclusion, conclusion_of
from charter.proof.surroundings import Surroundings
from charter.proof.terms_of_charter import term_changes
from charter.registry.charter import Charter
from charter.registry.manifest import charter_in
from charter.registry.pattern import write_yaml
from charter.registry.problem import EstateError
from charter.registry.redraft import redraft
from charter.registry.standing import Standing

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction
    from charter.registry.principal import Principal
    from charter.registry.record import CharterVersion

PAGE = 1_000
MAX_CALLS = 200_000  # looked at
ROUNDS = 4  # times that steps are left out because a call would be refused, or cannot be decided again
MAX_THIN = 20  # pieces on little use that are told
MAX_FILE = 1_000_000  # bytes of a charter's file
_NO_LINE_END = "\\ No newline at end of file"  # as git reads it after a last line that has none
GOOD_FOR = dt.timedelta(days=14)  # what was accepted, until it is applied


@dataclass(frozen=True, slots=True)
class Size:
    """A proposal with its proof and replay; `told` is what people and programs read."""

    principal: Principal
    before: Charter
    after: Charter
    told: dict[str, Any]
    compared: what_if.Compared | None = None  # the replay, which goes on with the calls that come in meanwhile


def right_size(house: House, name: str, since: str | None = None, text: str | None = None) -> dict[str, Any]:
    """Return a narrower charter for the principal `name`, and whether it is safe to take.

    `text`: the charter's file, so that the difference keeps its comments; without it, the server's own if it is there.

    Raises:
        AbsentError: there is no such principal.
        MalformedError: the time cannot be read.
    """
    return size_of(house, name, since, text).told


def size_of(house: House, name: str, since: str | None, text: str | None) -> Size:
    """Return the proposal whole. Raises as `right_size` does."""
    principal, at = house.principal(name), house.clock.now()
    start, _ = review.period(since, None, at)
    versions, marks, manager, accepted, moved = house.database.read(lambda tx: read_all(tx, principal, start, at))
    charter = versions[0].charter
    told: dict[str, Any] = {
        "principal": name,
        "since": rfc3339(start),
        "until": rfc3339(at),
        "charter": principal.digest,
        "managed_by": manager,
        "accepted": accepted,
        "excluded": _excluded(principal, versions, start, at, moved),
        "narrowings": [],
        "kept": [],
        "cautions": [],
        "calls": 0,
        "narrower": False,
        "not_proven": [],
        "replayed": 0,
        "changed": [],
        "untold": [],
        "left_out": [],
        "untouched": [],
        "safe": False,
        "proposal": None,
        "file": f"principals/{name}.yaml",
        "diff": "",
        "text": "",
        "comments_kept": False,
    }
    if told["excluded"]:
        return Size(principal, charter, charter, told)
    observed, lent, is_whole = _observed(house, principal, charter, start, at)
    covered = max(start, versions[-1].applied_at).date()
    told["cautions"] = [f"the history has no {each} in it" for each in not_covered(covered, at.date())]
    told["calls"] = observed.calls
    if not is_whole:
        told["excluded"] = f"it made more than {MAX_CALLS} calls: ask for a shorter period"
        return Size(principal, charter, charter, told)
    return _tried(house, principal, _Case(charter, versions, marks, observed, lent, at), told, text)


@dataclass(frozen=True, slots=True)
class _Case:
    charter: Charter
    versions: list[CharterVersion]
    marks: dict[str, str]
    observed: Observed
    lent: Lent
    at: dt.datetime

    def known(self, holds: Callable[[Charter], bool]) -> dt.datetime:
        """Return since when every version satisfied something."""
        since = self.at
        for version in self.versions:
            if not holds(version.charter):
                break
            since = version.applied_at
        return since


def _tried(house: House, principal: Principal, case: _Case, told: dict[str, Any], text: str | None) -> Size:
    """Return the proposal; steps under which a recorded call would be refused are left out, and it is tried again.

    So it is where calls cannot be decided again: then nothing is changed that decides them.
    """
    left: frozenset[str] = frozenset()
    fixed: frozenset[tuple[str, str]] = frozenset()
    found, compared = Proposal(case.charter, (), (), ()), None
    systems = {name: each.system for name, each in house.live.systems.items() if each.standing is Standing.ACTIVE}
    cautions = told["cautions"]
    roles = house.database.read(lambda tx: tx.registry.teams()).roles_of
    for _ in range(ROUNDS):
        ground = Ground(
            systems, case.observed, case.known, case.at, case.marks, left, fixed, lent=case.lent, roles_of=roles
        )
        found = proposed(case.charter, ground)
        told |= {
            "narrowings": [each.to_json() for each in found.narrowings],
            "kept": [{"key": key, "why": why} for key, why in found.kept],
            "left_out": sorted(left),
            "cautions": [*cautions, *found.thin[:MAX_THIN]],
        }
        if not found.is_narrower:
            return Size(principal, case.charter, case.charter, told | {"safe": True, "narrower": True})
        compared = _replayed(house, found.charter, case)
        told |= _said(compared, found)
        hit = {each["system"] for each in told["changed"]}
        more = {each.key for each in found.narrowings if not each.system or each.system in hit} if hit else set()
        if not more - left and compared.comparison.open.keys() <= fixed:
            break
        left |= more
        fixed |= compared.comparison.open.keys()
    told |= _proven(house, case.charter, found.charter)
    is_open = compared is None or not compared.comparison.open.keys() <= fixed
    is_whole = told.pop("is_whole")
    told["safe"] = told["narrower"] and not told["changed"] and not is_open and is_whole
    told |= _drawn(house, case.charter, found, text)
    if told["safe"]:
        told["proposal"] = digest_of({"before": case.charter.digest, "after": found.charter.digest})
    return Size(principal, case.charter, found.charter, told, compared)


def _said(compared: what_if.Compared, found: Proposal) -> dict[str, Any]:
    """Return what a replay came to."""
    told, calls = compared.comparison.to_json(), compared.comparison.open
    return {
        "replayed": told["replayed"],
        "changed": refused_in(told["changes"]),
        "untold": told["untold"],
        "untouched": [
            {"system": system, "action": action, "calls": calls.get((system, action), 0)}
            for system, action in found.untouched
        ],
        "is_whole": compared.is_whole and not told["unlisted"],
    }


def refused_in(changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return those of a comparison's changes by which a narrower charter would refuse what was recorded."""
    return [each for each in changes if each["cause"] == "these files" and each["would_be"] != "allow"]


# --- what it rests on -------------------------------------------------------------------------------------------------


def read_all(
    tx: HouseTransaction, principal: Principal, start: dt.datetime, at: dt.datetime
) -> tuple[list[CharterVersion], dict[str, str], str, dict[str, Any] | None, bool]:
    """Return its charters, what people keep, who manages it, what was accepted, and whether its standing moved."""
    versions = tx.registry.versions(principal.id)
    marks: dict[str, str] = {}
    for entry in entries_of(tx.connection, EntryKind.SIZE_KEPT.value, rfc3339(at - LOOKED_BACK), tx.payloads):
        body = entry["body"]
        if entry["principal"] != principal.id:
            continue
        for key in body["keys"]:
            marks.pop(key, None)
            if parse_rfc3339(body["until"]) > at:
                word = "dismissed" if body["dismissed"] else "kept"
                marks[key] = f"{word} by {entry['actor']} until {body['until'][:10]}: {body['reason']}"
    manager, _ = tx.registry.management_of(principal.id)
    accepted = next(
        (
            {"by": each["actor"], "at": each["time"], "proposal": each["body"]["proposal"]}
            for each in reversed(
                list(entries_of(tx.connection, EntryKind.SIZE_ACCEPTED.value, rfc3339(at - GOOD_FOR), tx.payloads))
            )
            if each["principal"] == principal.id and each["body"]["before"] == principal.digest
        ),
        None,
    )
    moves = entries_of(tx.connection, EntryKind.STANDING_CHANGED.value, rfc3339(start), tx.payloads)
    return versions, marks, manager.value, accepted, any(each["principal"] == principal.id for each in moves)


def _excluded(
    principal: Principal, versions: list[CharterVersion], start: dt.datetime, at: dt.datetime, moved: bool
) -> str | None:
    """Return why nothing is proposed for a principal at all; None if something may be."""
    need = f"{MIN_HISTORY.days} days"
    if principal.standing is not Standing.ACTIVE:
        return f"it is {principal.standing.value}: what it does now says little of what it needs"
    if moved:
        return "its standing was changed in the period, so what it did then says little of what it needs"
    if at - versions[-1].applied_at < MIN_HISTORY:
        return f"it was registered {(at - versions[-1].applied_at).days} days ago; nothing is proposed before {need}"
    if at - start < MIN_HISTORY:
        return f"the period is shorter than {need}"
    return None


def _observed(
    house: House, principal: Principal, charter: Charter, start: dt.datetime, at: dt.datetime
) -> tuple[Observed, Lent, bool]:
    """Return what was seen of a principal on all nodes, its delegations, and whether that is all of it."""
    names = {key: each.name for key, each in house.live.principals.items()}

    def read(tx: HouseTransaction) -> tuple[Observed, Lent, bool]:
        observed, lent = Observed.of(charter, start), Lent(principal.id, principal.name, start, names)
        for entry in entries_of(tx.connection, EntryKind.DELEGATION_MADE.value, rfc3339(at - LOOKED_BACK), tx.payloads):
            lent.made(entry["body"], parse_rfc3339(entry["time"]))
        is_whole, seen = True, 0
        for log in evidence.logs_of(house, tx):
            if charter.credential.tokens is not None:
                for stored in _pages(log, Query(principal.id, (EntryKind.AUTHENTICATION,), start), MAX_CALLS):
                    observed.issue(stored.to_json()["body"], parse_rfc3339(stored.time))
            wanted = Query(principal.id, (EntryKind.VERDICT,), min(at - LOOKED_BACK, start))
            for stored in _pages(log, wanted, MAX_CALLS + 1 - seen):
                seen += 1
                observed.take(stored.to_json()["body"], parse_rfc3339(stored.time), is_erased=stored.is_erased)
            is_whole = is_whole and seen <= MAX_CALLS
        for delegation, used in observed.delegations.items():
            lent.used(delegation, used)
        return observed, lent, is_whole

    return house.database.read(read)


def _pages(log: SqlLog, wanted: Query, most: int) -> Iterator[Stored]:
    """Yield at most `most` entries, newest first."""
    cursor, seen = None, 0
    while seen < most:
        page = query(log, replace(wanted, limit=min(PAGE, most - seen), cursor=cursor))
        yield from page.entries
        seen, cursor = seen + len(page.entries), page.cursor
        if cursor is None:
            return


# --- proof and replay -------------------------------------------------------------------------------------------------


def _replayed(house: House, after: Charter, case: _Case) -> what_if.Compared:
    by = worlds.engine()
    planned = worlds.registered(house, by, after)
    period = (case.observed.since, what_if.longest((case.charter, after)))
    return what_if.against(house, planned, by, after.principal, period)


def _proven(house: House, before: Charter, after: Charter) -> dict[str, Any]:
    """Return whether a charter is narrower, by proof."""
    means = proofs.means_of(house.clock)
    files = house.database.read(lambda tx: tx.registry.guardrails())
    central, engine = house.live.central, means.engine
    own = [one for each in files for one in parse_guardrails(each.path, each.text, engine)]
    systems = {name: each.system for name, each in house.live.systems.items()}
    around = Surroundings(systems, (*central_guardrails(central, engine), *own), central, {})
    try:
        old, new = (Side(around.bind(each, engine), systems) for each in (before, after))
    except CharterError as err:
        return {"narrower": False, "not_proven": [err.detail]}
    effect = effect_of(old, new, means)
    terms = term_changes(before, after, frozenset(rule.id for rule, _ in central.charter_rules()))
    conclusion = conclusion_of(effect, terms)
    wide = [each.sentence for each in effect.gains] + [each.sentence for each in effect.gaps]
    wide += [each.text for each in terms if each.turn.value != "narrows"]
    return {"narrower": conclusion in (Conclusion.NARROWS, Conclusion.SAME), "not_proven": wide[:10]}


# --- the file ---------------------------------------------------------------------------------------------------------


def _drawn(house: House, before: Charter, found: Proposal, text: str | None) -> dict[str, Any]:
    """Return the file as it shall be, and the difference as a patch that git applies."""
    path = f"principals/{before.principal}.yaml"
    own = text if text is not None else _file_of(house, before.principal)
    old, new = file_of(before), file_of(found.charter)
    is_own = own is not None and _says(path, own, before)
    was = own if is_own and own is not None else write_yaml(old)
    becomes, is_kept = write_yaml(new), False
    try:
        drawn = redraft(was, old, new, found.grants)
    except (YAMLError, ValueError, KeyError, IndexError, TypeError):  # written in a way that is not kept: all anew
        drawn = ""
    if drawn and _says(path, drawn, found.charter):
        becomes, is_kept = drawn, is_own
    lines = (was.splitlines(keepends=True), becomes.splitlines(keepends=True))
    compared = difflib.unified_diff(*lines, f"a/{path}", f"b/{path}")
    diff = "".join(line if line.endswith("\n") else f"{line}\n{_NO_LINE_END}\n" for line in compared)
    return {"file": path, "diff": f"diff --git a/{path} b/{path}\n{diff}", "text": becomes, "comments_kept": is_kept}


def _says(path: str, text: str, charter: Charter) -> bool:
    try:
        return charter_in(path, text).digest == charter.model_copy(update={"policy": None}).digest
    except EstateError:
        return False


def _file_of(house: House, name: str) -> str | None:
    """Return the charter's file if the estate's folder is here, and it is a plain file of a usual size."""
    path = house.settings.estate / "principals" / f"{name}.yaml"
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(file, "rb") as stream:
            data = stream.read(MAX_FILE + 1)
        return data.decode() if len(data) <= MAX_FILE else None
    except (OSError, UnicodeDecodeError):
        return None
