"""`charter right-size`: a narrower charter from what was used, proven to be so, and put to all that was recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from charter.bootstrap import evidence, proofs, what_if
from charter.bootstrap.estate import check_files
from charter.core.clock import rfc3339
from charter.core.errors import AbsentError, ErrorCode
from charter.evidence.entry import EntryKind
from charter.evidence.log import Query, query
from charter.proof.effect import Side, effect_of
from charter.proof.right_size import Proposal, file_of, names_every_action, proposed
from charter.proof.surroundings import planned
from charter.registry.pattern import write_yaml
from charter.registry.problem import suggestion

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction
    from charter.registry.estate import Estate

DEFAULT_PERIOD = "90d"
PAGE = 1_000


def right_size(house: House, files: Mapping[str, str], principal: str, since: str | None) -> dict[str, Any]:
    """Return a narrower charter for `principal`, and whether it is safe to take.

    It is safe if it provably allows nothing new, and every call that was recorded in the period and can be decided
    again is decided as it was. Calls that cannot be are counted, and then nobody says that it is safe.

    Raises:
        EstateError: the files are not valid.
        AbsentError: there is no such principal.
        MalformedError: the time cannot be read.
    """
    estate = check_files(files, house.clock)
    if principal not in estate.charters:
        raise AbsentError(
            ErrorCode.UNKNOWN_PRINCIPAL,
            f"there is no principal {principal[:64]!a} in the estate",
            help=suggestion(principal, estate.charters) or "charter ls",
        )
    start = evidence.parse_moment(since or DEFAULT_PERIOD, house.clock.now())
    charter = estate.charters[principal].value
    systems = {name: part.value for name, part in estate.systems.items()}
    used = _used(house, principal, start)
    found = proposed(charter, systems, used)
    text = write_yaml(file_of(found))
    told: dict[str, Any] = {
        "principal": principal,
        "since": rfc3339(start),
        "used": sorted("/".join(each) for each in used),
        "removed": ["/".join(each) for each in found.removed],
        "charter": text,
        "open_ended": names_every_action(charter),
    }
    if not found.is_narrower:
        return told | {"narrower": True, "replayed": 0, "changed": [], "untold": [], "safe": True}
    return told | _judged(house, estate, files, (principal, text, found), since or DEFAULT_PERIOD)


def _used(house: House, principal: str, since: dt.datetime) -> frozenset[tuple[str, str]]:
    """Return the actions of systems that a principal was allowed in the period, at once or after a yes."""
    known = house.principal(principal).id

    def read(tx: HouseTransaction) -> frozenset[tuple[str, str]]:
        found: set[tuple[str, str]] = set()
        cursor = None
        while True:
            wanted = Query(principal=known, kinds=(EntryKind.VERDICT,), since=since, limit=PAGE, cursor=cursor)
            page = query(evidence.log_of(house, tx), wanted)
            bodies = (entry.to_json()["body"] for entry in page.entries)
            found |= {(str(body["system"]), str(body["action"])) for body in bodies if body["verdict"] != "deny"}
            cursor = page.cursor
            if cursor is None:
                return frozenset(found)

    return house.database.read(read)


def _judged(
    house: House, estate: Estate, files: Mapping[str, str], proposal: tuple[str, str, Proposal], since: str
) -> dict[str, Any]:
    """Return whether a proposal is narrower, by proof, and what it would do to recorded calls."""
    principal, text, found = proposal
    means = proofs.means_of(house.clock)
    among = planned(estate, means.engine)
    charters = (estate.charters[principal].value, found.charter)
    before, after = (Side(among.bind(each, means.engine), among.systems) for each in charters)
    effect = effect_of(before, after, means)
    is_narrower = not effect.gains and not effect.gaps
    changed_files = {**files, f"principals/{principal}.yaml": text}
    *_, replayed = what_if.compare(house, changed_files, {"since": since, "principal": principal})
    changed = [each for each in replayed["changes"] if each["cause"] == "these files" and each["would_be"] != "allow"]
    untold = replayed["untold"]
    return {
        "narrower": is_narrower,
        "replayed": replayed["replayed"],
        "changed": changed,
        "untold": untold,
        "safe": is_narrower and not changed and not untold and replayed["is_whole"],
    }
