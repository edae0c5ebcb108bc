"""`charter split`: one shared account's calls, told apart; a charter proposed for each sender; how to get there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from charter.bootstrap import evidence
from charter.bootstrap.estate import check_files
from charter.core.clock import rfc3339
from charter.core.errors import AbsentError, ErrorCode, MalformedError
from charter.discovery.proposal import Proposal, in_words, is_ours, proposals, unused
from charter.discovery.split import Separation, separated, separations, told_group
from charter.discovery.uses import Feature, Tally, Uses
from charter.registry.declared import WORKLOAD, conditions_of
from charter.registry.manifest import read_files
from charter.registry.pattern import write_yaml
from charter.registry.place import Places
from charter.registry.problem import EstateError

if TYPE_CHECKING:
    import datetime as dt

    from charter.adapters.evidence_uses import Words
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction
    from charter.registry.charter import Charter

DEFAULT_PERIOD = "30d"
LEAST_CONFIDENCE = 0.2  # below, nothing is proposed unless a person names what separates


async def split(
    house: House, name: str, *, since: str | None = None, until: str | None = None, by: Iterable[str] = ()
) -> dict[str, Any]:
    """Return who is behind a principal's calls as far as they can be told apart, and what is proposed.

    Raises:
        AbsentError: there is no such principal, or the evidence has no call of it in the period.
        MalformedError: a time or a feature is none.
    """
    now = house.clock.now()
    start = evidence.parse_moment(since or DEFAULT_PERIOD, now)
    end = evidence.parse_moment(until, now) if until else now
    return await asyncio.to_thread(_split, house, name, start, end, _features(by))


def _features(by: Iterable[str]) -> tuple[Feature, ...]:
    known = {each.value for each in Feature}
    wanted = tuple(dict.fromkeys(by))
    for each in wanted:
        if each not in known:
            raise MalformedError(
                ErrorCode.BAD_VALUE, f"nothing is told apart by {each[:40]!a}", help=f"use {', '.join(sorted(known))}"
            )
    return tuple(Feature(each) for each in wanted)


def _split(house: House, name: str, start: dt.datetime, end: dt.datetime, by: tuple[Feature, ...]) -> dict[str, Any]:
    principal = house.principal(name)
    uses, charter = house.database.read(lambda tx: _read(house, tx, name, start, end))
    if not uses.calls:
        raise AbsentError(
            ErrorCode.UNKNOWN_ENTRY,
            f"the evidence has no call of `{name}` from {rfc3339(start)[:16]} to {rfc3339(end)[:16]} UTC",
            help="let its calls go through Charter for a while, or look further back: --since 90d",
        )
    considered = separations(uses)
    chosen = separated(uses, by) if by else considered[0]
    is_sure = bool(by) or chosen.confidence >= LEAST_CONFIDENCE
    groups = chosen.groups if is_sure and len(chosen.groups) > 1 else ()
    whole = Tally()
    for tally in uses.by_sender.values():
        whole.merge(tally)
    files, problems = _estate_of(house)
    taken = {
        _called(path) for path, text in files.items() if path.startswith("principals/") and not is_ours(text, name)
    }
    found = proposals(charter, groups, {*taken, *house.live.ids})
    told = [
        {
            "principal": each.name,
            "path": f"principals/{each.name}.yaml",
            "text": each.text(charter, rfc3339(start), rfc3339(end)),
            "notes": list(each.notes),
            **told_group(each.group),
        }
        for each in found
    ]
    return {
        "principal": name,
        "standing": principal.standing.value,
        "since": rfc3339(start),
        "until": rfc3339(end),
        "calls": uses.calls,
        "by": [each.value for each in chosen.features] if groups else [],
        "confidence": chosen.to_json() if groups else None,
        "considered": [each.to_json() for each in considered],
        "proposals": told,
        "rest": chosen.rest.calls if groups else uses.calls,
        "unused": unused(charter, whole),
        "problems": problems or _problems(files, charter, found, house),
        "plan": _plan(charter, found, chosen, unused(charter, whole)) if found else [],
    }


def _called(path: str) -> str:
    return path.removeprefix("principals/").partition(".")[0]


def _read(house: House, tx: HouseTransaction, name: str, start: dt.datetime, end: dt.datetime) -> tuple[Uses, Charter]:
    from charter.adapters.evidence_uses import calls_of

    principal = house.principal(name)
    uses = Uses()
    for call in calls_of(tx.connection, principal.id, start, end, _words(house), tx.payloads):
        uses.add(call)
    return uses, tx.registry.kept_charter(principal.id, principal.version).charter


def _words(house: House) -> Words:
    from charter.adapters.evidence_uses import Words

    places, keys = Places(house.live.central.sharing.value.places), house.live.keys

    def credential(thumbprint: str) -> str:
        known = keys.get(thumbprint)
        return known.id if known else thumbprint[:16]

    def workload(thumbprint: str) -> str | None:
        known = keys.get(thumbprint)
        return in_words(conditions_of(known.jwk)) if known and known.jwk.get("kty") == WORKLOAD else None

    return Words(credential, workload, lambda source: places.of(source).name)


def _estate_of(house: House) -> tuple[dict[str, str], list[str]]:
    """Return the estate's files, or why they cannot be read."""
    try:
        return read_files(house.settings.estate), []
    except EstateError as err:
        return {}, [str(each) for each in err.problems]


def _problems(files: Mapping[str, str], charter: Charter, found: Iterable[Proposal], house: House) -> list[str]:
    """Return what `charter validate` will say once a person said what is missing and the shared charter is gone."""
    shared = {f"principals/{charter.principal}.yaml", f"principals/{charter.principal}.cedar"}
    kept = {path: text for path, text in files.items() if path not in shared and not path.startswith("tests/")}
    made = {f"principals/{each.name}.yaml": write_yaml(each.filled(charter)) for each in found}
    try:
        check_files(kept | made, house.clock)
    except EstateError as err:
        return [str(each) for each in err.problems if each.path in made]
    return []


def _plan(charter: Charter, found: list[Proposal], chosen: Separation, idle: list[dict[str, Any]]) -> list[str]:
    """Return the steps from one shared account to several principals, each safe by itself."""
    name = charter.principal
    steps = [
        f"fill in what is MISSING in {', '.join(f'principals/{each.name}.yaml' for each in found)}",
        "charter validate && charter plan && charter apply",
    ]
    for each in found:
        how = (
            "its process is the new principal's as soon as the workload is taken out of the shared charter"
            if each.charter["credential"].get("workloads")
            else f"let it run as {each.name}: charter run {each.name} -- COMMAND, or charter key add {each.name} FILE"
        )
        steps.append(f"what comes by {each.group.label}: {how}")
    if any(each.charter["credential"].get("workloads") for each in found):
        steps.append(
            f"take those workloads out of principals/{name}.yaml in the same apply: one process, one principal"
        )
    if idle:
        grants = "; ".join(f"{each['system']}: {', '.join(each['actions'])}" for each in idle)
        steps.append(f"narrow {name} now by what nobody used: {grants}")
    steps.append(f"charter restrain {name}, and see for a week what still comes: charter split {name} --since 7d")
    if chosen.rest.calls:
        steps.append(f"find out who made the {chosen.rest.calls} calls that belong to no group before you end it")
    steps.append(f"charter retire {name}, and remove principals/{name}.yaml")
    return steps
