"""`charter what-if`: recorded evidence put to the files at hand, page by page."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from charter.bootstrap import evidence, worlds
from charter.bootstrap.estate import check_files
from charter.core.clock import rfc3339
from charter.core.errors import AbsentError
from charter.evidence.log import Stored
from charter.gateway.recorded import RecordedCall
from charter.gateway.replay import Case, World
from charter.gateway.what_if import Side, WhatIf
from charter.policy.shadow import CompiledEngine
from charter.registry.charter import Charter
from charter.registry.delegation import Chain
from charter.registry.estate import Estate

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction

PAGE = 500  # entries read at a time
MAX_ENTRIES = 2_000_000  # looked at in one comparison
DEFAULT_PERIOD = "7d"
_LONGEST = {"minute": 60, "hour": 3_600, "day": 90_000, "week": 608_400, "month": 2_682_000}  # seconds; zones may shift
APPROXIMATED = (
    "limits are counted over the recorded calls; after another verdict a principal might have gone on otherwise",
    "approvals are those that were given then; nobody was asked for one that is new",
    "directory groups and delegations are those that are kept now; standing is left aside",
)


def compare(
    house: House, files: Mapping[str, str], wanted: Mapping[str, str | None], *, most: int = MAX_ENTRIES
) -> Iterator[dict[str, Any]]:
    """Return progress, `{"progress": {"entries": …, "of": …}}`, and last what would change.

    Args:
        house: whose evidence and registry.
        files: the planned estate.
        wanted: any of since, until, principal and system.
        most: how many entries are looked at.

    Raises:
        EstateError: the files are not valid.
        MalformedError: a time cannot be read.
        AbsentError: nothing ever had that principal's name.
    """
    estate = check_files(files, house.clock)
    now = house.clock.now()
    since = evidence.parse_moment(wanted.get("since") or DEFAULT_PERIOD, now)
    until = evidence.parse_moment(str(wanted["until"]), now) if wanted.get("until") else None
    if wanted.get("principal"):
        house.principal(str(wanted["principal"]))
    comparison = _comparison(house, estate, wanted, since)
    return _steps(house, comparison, (since, until, _longest(estate)), most)


def _comparison(house: House, estate: Estate, wanted: Mapping[str, str | None], since: dt.datetime) -> WhatIf:
    by = worlds.engine()
    past = worlds.Past(house, by)
    return WhatIf(
        registered=Side(worlds.registered(house, by)),
        planned=Side(worlds.of_files(estate, by, house)),
        chain_of=chains_of(house),
        then=past.case,
        counted_from=rfc3339(since),
        principal=wanted.get("principal") or None,
        system=wanted.get("system") or None,
    )


@dataclass(slots=True)
class Compared:
    """A comparison, up to which index of each node's log it came, and whether that was all of it."""

    comparison: WhatIf
    after: dict[str, int]
    is_whole: bool = True


def against(
    house: House, planned: World, by: CompiledEngine, principal: str, period: tuple[dt.datetime, dt.timedelta]
) -> Compared:
    """Return the comparison of one principal's calls with what they would be if `planned` were in force.

    It covers the logs of all nodes; `catch_up` goes on from where it ends. `period`: since when, and how long before
    that calls still fill a limit.
    """
    since, before = period
    comparison = WhatIf(
        registered=Side(worlds.registered(house, by)),
        planned=Side(planned),
        chain_of=chains_of(house),
        then=worlds.Past(house, by).case,
        counted_from=rfc3339(since),
        principal=principal,
    )
    starts = house.database.read(
        lambda tx: {log.node: log.between(rfc3339(since - before), None)[0] - 1 for log in evidence.logs_of(house, tx)}
    )
    found = Compared(comparison, dict(starts))
    while house.database.read(lambda tx: catch_up(house, tx, found, PAGE)):
        if sum(found.after.values()) - sum(starts.values()) > MAX_ENTRIES:
            found.is_whole = False
            break
    return found


def catch_up(house: House, tx: HouseTransaction, found: Compared, most: int) -> bool:
    """Take at most `most` further entries of each node in; return whether there were any."""
    comparison, before = found.comparison, dict(found.after)
    then = comparison.then
    for log in evidence.logs_of(house, tx):
        if log.node != house.database.node:  # of other nodes it is not kept here what held at each entry
            comparison.then = _nothing
        for stored in log.entries(found.after.get(log.node), most):
            comparison.take(stored)
            found.after[log.node] = stored.index
        comparison.then = then
    return found.after != before


def _nothing(_call: RecordedCall, _chain: Chain | None) -> Case | None:
    return None


def chains_of(house: House) -> Callable[[str], Chain | None]:
    """Return what gives the chain that a delegation ends, as it is kept; None if it is not any more."""

    @lru_cache(maxsize=10_000)
    def chain_of(delegation: str) -> Chain | None:
        try:
            found = house.database.read(lambda tx: tx.delegations.chain(delegation))
        except AbsentError:
            return None
        return Chain(tuple(each.link for each in found))

    return chain_of


def _longest(estate: Estate) -> dt.timedelta:
    return longest(part.value for part in estate.charters.values())


def longest(charters: Iterable[Charter]) -> dt.timedelta:
    """Return how far before the period calls still fill a limit."""
    limits = [limit for charter in charters for grant in charter.grants for limit in grant.limit]
    seconds = (limit.window.seconds or _LONGEST.get(limit.window.per or "", 0) for limit in limits)
    return dt.timedelta(seconds=max(seconds, default=0))


def _steps(
    house: House, comparison: WhatIf, period: tuple[dt.datetime, dt.datetime | None, dt.timedelta], most: int
) -> Iterator[dict[str, Any]]:
    since, until, before = period
    first, last = house.database.read(
        lambda tx: evidence.log_of(house, tx).between(rfc3339(since - before), rfc3339(until) if until else None)
    )
    after, seen = first - 1, 0
    is_all = last - first < most
    last = min(last, first + most)
    while after + 1 < last:
        page = _page(house, after, min(PAGE, last - after - 1))
        if not page:
            break
        for stored in page:
            comparison.take(stored)
        after, seen = page[-1].index, seen + len(page)
        yield {"progress": {"entries": seen, "of": last - first, "changes": len(comparison.changes)}}
    end = rfc3339(until or house.clock.now())
    told = {"since": rfc3339(since), "until": end, "is_whole": is_all, "approximated": list(APPROXIMATED)}
    yield told | {"entries": seen} | comparison.to_json()


def _page(house: House, after: int, limit: int) -> list[Stored]:
    return list(house.database.read(lambda tx: evidence.log_of(house, tx).entries(after, limit)))
