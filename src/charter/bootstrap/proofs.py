"""Proofs of an estate: what a plan does to what principals may do, and what their rules come to over all calls."""

from __future__ import annotations

import datetime as dt
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charter.adapters.cedar import CedarEngine
from charter.adapters.proof_cache import ProofFile
from charter.core.canonical import digest_of
from charter.core.clock import Clock, Deadline
from charter.core.errors import AbsentError, CharterError, ErrorCode
from charter.proof.consequence import Consequence, Progress, Review, Times, consequences
from charter.proof.duty_check import Broken, Hand, broken_duties
from charter.proof.effect import Side
from charter.proof.equal_authority import equal_authorities
from charter.proof.inspection import Inspection, idle_guardrails, inspect, read_inspection
from charter.proof.prover import Prover
from charter.proof.search import Means, plain_noon
from charter.proof.surroundings import planned, registered
from charter.registry.change_terms import ChangeTerms
from charter.registry.problem import suggestion
from charter.registry.record import PartKind
from charter.registry.risk import Tier
from charter.registry.team import Teams

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.registry.estate import Estate
    from charter.registry.plan import Plan
    from charter.registry.record import RegisteredEstate


def means_of(clock: Clock) -> Means:
    """Return what proofs are made with, from today on. z3 is loaded only if something is left to solve."""
    from charter.adapters.z3_solver import Z3Solver

    now, engine = clock.now(), CedarEngine()
    start = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return Means(Prover(Z3Solver()), engine, engine, start, plain_noon(now))


def consequences_of(
    plan: Plan, estate: Estate, current: RegisteredEstate, clock: Clock, seconds: float, *, is_tried_again: bool = False
) -> tuple[Consequence, ...]:
    """Return what `plan`, made from `estate` and what is registered, does to what principals may do.

    Plans are looked at, approved and applied one after the other: the last few are remembered, for the day. What was
    not proven within `seconds` is not proven for whoever approves and applies what was looked at either; whoever looks
    again (`is_tried_again`) has it tried again, from where it stopped.
    """
    key = f"{plan.digest} {clock.now().date()}"
    with _LOCK:
        known = _LAST.get(key)
    if known is None or (is_tried_again and not known.is_settled):
        known = _tried(plan, estate, current, clock, seconds, known.progress if known else Progress())
        with _LOCK:
            _LAST[key] = known
            while len(_LAST) > _REMEMBERED:
                _LAST.popitem(last=False)
    return known.found


def effects_of(
    house: House, plan: Plan, estate: Estate, current: RegisteredEstate, *, is_tried_again: bool = False
) -> tuple[Consequence, ...]:
    """Return what a plan for a house does, as `consequences_of` finds it within the time that the house gives it."""
    seconds = house.settings.plan_seconds
    return consequences_of(plan, estate, current, house.clock, seconds, is_tried_again=is_tried_again)


@dataclass(frozen=True, slots=True)
class _Looked:
    """What a plan was found to do, and what of that is worth a start to another try."""

    found: tuple[Consequence, ...]
    is_settled: bool
    progress: Progress


_REMEMBERED = 8  # plans
_LAST: OrderedDict[str, _Looked] = OrderedDict()
_LOCK = threading.Lock()


def _tried(
    plan: Plan, estate: Estate, current: RegisteredEstate, clock: Clock, seconds: float, progress: Progress
) -> _Looked:
    if not plan.changes:
        return _Looked((), is_settled=True, progress=progress)
    terms = _terms_in_force(current)
    means = means_of(clock)
    after = planned(estate, means.engine)
    try:
        before = registered(current, means.engine)
    except (CharterError, ValueError):
        before = None
    team_up_to = Tier(terms.team_up_to) if terms else Tier.LOW
    review = Review(means, Deadline.after(clock, seconds), team_up_to, progress)
    found = consequences(plan, estate, current, Times(before, after), review)
    is_settled = not review.deadline.is_past and all(each.is_proven for each in found)
    return _Looked(found, is_settled, Progress() if is_settled else progress)


def _terms_in_force(current: RegisteredEstate) -> ChangeTerms | None:
    teams = next((each for each in current.parts.values() if each.kind is PartKind.TEAMS and each.is_intact), None)
    return Teams.model_validate_json(teams.body).changes if teams else None


def told(found: tuple[Consequence, ...]) -> list[dict[str, Any]]:
    """Return consequences as plans show them."""
    return [each.to_json() for each in found]


@dataclass(frozen=True, slots=True)
class Proven:
    """What the rules of an estate come to."""

    inspections: tuple[Inspection, ...]
    duties: tuple[Broken, ...]
    equal: tuple[tuple[str, ...], ...]
    idle: tuple[str, ...]  # guardrails that stop nothing of what anybody is granted

    @property
    def is_clean(self) -> bool:
        """Whether every rule says something, no duty is broken, and nothing is left unproven."""
        return not self.duties and all(not each.faults and not each.gaps for each in self.inspections)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {
            "clean": self.is_clean,
            "principals": [each.to_json() for each in self.inspections],
            "duties": [each.to_json() for each in self.duties],
            "same_authority": [list(each) for each in self.equal],
            "idle_guardrails": list(self.idle),
        }


def prove(estate: Estate, clock: Clock, only: str | None = None, kept: ProofFile | None = None) -> Proven:
    """Return what the rules of `estate`, which was checked, come to; with `only`, those of one principal.

    What is `kept` from before, and is about the very same rules, is not proven again.

    Raises:
        AbsentError: there is no such principal.
    """
    if only is not None and only not in estate.charters:
        raise AbsentError(
            ErrorCode.UNKNOWN_PRINCIPAL,
            f"there is no principal {only[:64]!a} in the estate",
            help=suggestion(only, estate.charters) or "charter validate",
        )
    means = means_of(clock)
    among = planned(estate, means.engine)
    charters = {name: part.value for name, part in estate.charters.items()}
    sides = {
        name: Side(among.bind(charter, means.engine, estate.charters[name].sources), among.systems)
        for name, charter in charters.items()
    }
    wanted = [only] if only is not None else sorted(sides)
    inspections = _inspections({name: sides[name] for name in wanted}, means, kept)
    hands = {name: Hand(charters[name], partial(sides.__getitem__, name)) for name in sides}
    broken = tuple(
        each
        for each in broken_duties(estate.central.duties.value.duties, hands, means)
        if only is None or only in each.principals
    )
    if only is not None:
        return Proven(inspections, broken, (), ())
    equal = tuple(equal_authorities(charters, sides, among, means))
    return Proven(inspections, broken, equal, idle_guardrails(list(sides.values()), inspections))


def kept_in(folder: Path) -> ProofFile:
    """Return where proofs are kept in a data folder; without the folder, nowhere."""
    return ProofFile(folder)


MANY = 64  # principals that are worth a second process


def _inspections(sides: Mapping[str, Side], means: Means, kept: ProofFile | None) -> tuple[Inspection, ...]:
    """Return what the rules of each principal come to, by name; on all cores where there are many."""
    keys = {name: _key(side, means) for name, side in sides.items()}
    before = kept.read() if kept else {}
    found = {name: known for name in sides if (known := _known(before.get(keys[name]))) is not None}
    left = [name for name in sides if name not in found]
    if len(left) < MANY or threading.active_count() > 1:
        found |= {name: inspect(sides[name], means) for name in left}
    else:
        found |= _on_all_cores({name: sides[name] for name in left}, means)
    if kept and left:
        kept.write({keys[name]: each.to_json() for name, each in found.items() if not each.gaps})
    return tuple(found[name] for name in sorted(found))


def _known(told: Any) -> Inspection | None:  # noqa: ANN401 - any JSON value
    try:
        return None if told is None else read_inspection(told)
    except (KeyError, TypeError, ValueError):
        return None


def _key(side: Side, means: Means) -> str:
    """Return what changes exactly when something does that the inspection of a principal rests on."""
    bound = side.bound
    if bound is None:
        return ""
    reads_now = "context.now" in bound.text
    return digest_of(
        {
            "principal": bound.principal,
            "charter": bound.charter,
            "authority": bound.authority.digest,
            "places": [str(each.source) for some in (bound.grants, bound.permits.values()) for each in some],
            "systems": {name: side.systems[name].digest for name in bound.systems if name in side.systems},
            "day": means.noon.date().isoformat() if reads_now else None,
        }
    )


_SHARED: dict[str, Side] = {}  # what the processes that are forked for it find


def _on_all_cores(sides: Mapping[str, Side], means: Means) -> dict[str, Inspection]:
    """Return inspections made by a process for each core. They are forked before any of them has loaded z3."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    _SHARED.update(sides)
    try:
        with ProcessPoolExecutor(mp_context=multiprocessing.get_context("fork")) as pool:
            work = partial(_inspect_shared, start=means.start, noon=means.noon)
            return dict(zip(sides, pool.map(work, sides, chunksize=8), strict=True))
    finally:
        _SHARED.clear()


def _inspect_shared(name: str, *, start: dt.datetime, noon: dt.datetime) -> Inspection:
    return inspect(_SHARED[name], _means(start, noon))


@lru_cache(maxsize=1)
def _means(start: dt.datetime, noon: dt.datetime) -> Means:
    from charter.adapters.z3_solver import Z3Solver

    engine = CedarEngine()
    return Means(Prover(Z3Solver()), engine, engine, start, noon)
