"""What can be asked of estates: check, test, plan and apply files; render patterns; import tools."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from charter.adapters.cedar import CedarEngine
from charter.adapters.read_cache import ReadFile
from charter.bootstrap import composition, plan_proposals, plan_review, proofs, trials
from charter.core.clock import Clock, SystemClock
from charter.core.errors import AbsentError, ConflictError, ErrorCode, MalformedError
from charter.identity.weakness import reconcile
from charter.lifecycle import repeats
from charter.policy import listing
from charter.policy.check import BoundBefore, check_estate, estate_schema, read_guardrails, systems_of, warnings_of
from charter.policy.guardrail import PREFIX
from charter.policy.slice import bind_slice
from charter.registry import plan as planning
from charter.registry.apply import apply as apply_plan
from charter.registry.estate import Estate
from charter.registry.manifest import READ_BEFORE, load_estate, parse_estate, read_files
from charter.registry.pattern import render
from charter.registry.problem import EstateError, suggestion

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction
    from charter.proof.consequence import Consequence


def check_folder(root: Path, clock: Clock | None = None) -> Estate:
    """Return the estate in `root`, checked in every respect.

    Raises:
        EstateError: with every problem found.
    """
    estate = load_estate(root, today=(clock or SystemClock()).now().date())
    return _checked(estate)


def check_files(files: Mapping[str, str], clock: Clock) -> Estate:
    """Return the estate that `files` are, checked in every respect.

    Raises:
        EstateError: with every problem found.
    """
    return check_texts(files, clock.now().date())


def check_texts(files: Mapping[str, str], today: dt.date) -> Estate:
    """Return the estate that `files` are on a day, checked in every respect.

    Raises:
        EstateError: with every problem found.
    """
    return _checked(parse_estate(files, today=today))


_BOUND_BEFORE = BoundBefore()
_KEPT = ReadFile(READ_BEFORE, _BOUND_BEFORE)


def _for(house: House, files: Mapping[str, str]) -> Estate:
    """Return the estate that `files` are, checked; what was read and bound in the house's folder is not done again.

    Raises:
        EstateError: with every problem found.
    """
    folder = house.folder.path
    _KEPT.fill(folder)
    estate = check_files(files, house.clock)
    with contextlib.suppress(OSError):  # it only spares time, and a full disk is told of where it matters
        _KEPT.keep(folder)
    return estate


def _checked(estate: Estate) -> Estate:
    problems = check_estate(estate, CedarEngine(), _BOUND_BEFORE)
    if problems:
        raise EstateError(problems)
    warnings = {*estate.warnings, *warnings_of(estate, CedarEngine())}
    return replace(
        estate, warnings=tuple(sorted(warnings, key=lambda each: (each.path, each.line, each.column, each.text)))
    )


def counts_of(estate: Estate) -> dict[str, int]:
    """Return how many of each kind a checked estate holds; guardrails and rules as `charter rules` lists them."""
    every, central = read_guardrails(estate, CedarEngine())[0], estate.central
    written = sum(each.id.startswith(PREFIX) for each in every)
    others = (central.charter_rules(), central.sharing.value.rules, central.responses.value.rules)
    return {
        "principals": len(estate.charters),
        "systems": len(estate.systems),
        "guardrails": written,
        "rules": len(every) - written + sum(len(tuple(each)) for each in others),
        "patterns": len(estate.patterns),
        "tests": len(estate.trials),
        "properties": len(estate.properties),
    }


def policy_in(root: Path, principal: str, clock: Clock | None = None) -> str:
    """Return the Cedar that a principal's charter compiles to in the estate in `root`, with what concerns it.

    Raises:
        AbsentError: there is no such charter.
        EstateError: the estate is not valid.
    """
    estate, engine = check_folder(root, clock), CedarEngine()
    part = estate.charters.get(principal)
    if part is None:
        help = suggestion(principal[:80], estate.charters)
        raise AbsentError(ErrorCode.UNKNOWN_PRINCIPAL, f"there is no principal {principal[:80]!a}", help=help)
    guardrails, _ = read_guardrails(estate, engine)
    return listing.told(bind_slice(part.value, part.sources, systems_of(estate), guardrails, engine, estate.central))


def try_folder(root: Path, clock: Clock | None = None) -> trials.TestReport:
    """Run the tests of the estate in `root` through the real decision engine.

    Raises:
        EstateError: the estate is not valid.
    """
    return trials.run(check_folder(root), clock or SystemClock())


@dataclass(frozen=True, slots=True)
class Rendered:
    """A charter that a pattern makes: the principal's name, the file's text, and what is worth a look in it."""

    principal: str
    text: str
    warnings: tuple[str, ...]


def patterns_in(root: Path) -> list[dict[str, Any]]:
    """Return the patterns of the estate in `root`, each with its parameters.

    Raises:
        EstateError: the estate is not valid.
    """
    return [
        {
            "pattern": name,
            "title": part.value.title,
            "parameters": [{"name": key, **each.to_json()} for key, each in part.value.parameters.items()],
        }
        for name, part in sorted(load_estate(root).patterns.items())
    ]


def render_pattern(root: Path, name: str, values: Mapping[str, str], clock: Clock | None = None) -> Rendered:
    """Return the charter that a pattern yields today, which is valid among the files in `root`.

    Raises:
        AbsentError: there is no such pattern.
        EstateError: the estate is not valid.
        MalformedError: a parameter is missing or unknown, or the charter that it makes is not valid there.
    """
    files, today = read_files(root), (clock or SystemClock()).now().date()
    estate = parse_estate(files)
    found = estate.patterns.get(name)
    if found is None:
        raise AbsentError(
            ErrorCode.BAD_VALUE,
            f"there is no pattern {name[:80]!a}",
            help=suggestion(name, estate.patterns) or "write patterns/NAME.yaml",
        )
    text = render(found.value, values, today)
    principal = str(YAML(typ="safe", pure=True).load(text)["principal"])
    path = f"principals/{principal}.yaml"
    if path in files:
        return Rendered(principal, text, ())  # it is there already: whoever writes it says so
    try:
        made = parse_estate({**files, path: text}, today=today)
    except EstateError as err:
        wrong = next((each for each in err.problems if each.path == path), err.problems[0])
        detail = f"the charter that `{name}` makes with these values is not valid here: {wrong.text}"
        help = wrong.help or f"give other values, or mend patterns/{name}.yaml"
        raise MalformedError(ErrorCode.BAD_VALUE, detail, help=help) from err
    return Rendered(principal, text, tuple(str(each) for each in made.warnings if each.path == path))


def cedar_schema(root: Path) -> str:
    """Return the Cedar schema that the policies of the estate in `root` are checked against."""
    return estate_schema(load_estate(root), CedarEngine())


def plan(house: House, files: Mapping[str, str]) -> dict[str, Any]:
    """Return what applying `files` would change, and what that does to what principals may do (`effects`).

    Raises:
        EstateError: they are not valid.
    """
    estate = _for(house, files)
    current = house.database.read(lambda tx: tx.registry.registered(estate))
    found = planning.plan(estate, current)
    effects = proofs.effects_of(house, found, estate, current, is_tried_again=True)
    review = plan_review.told(house, found, effects)
    return found.to_json() | {"effects": proofs.told(effects), "review": review}


async def approve(
    house: House, files: Mapping[str, str], *, plan_digest: str, person: str, reason: str
) -> dict[str, Any]:
    """Record a person's yes to the plan with this digest.

    Raises:
        EstateError: the files are not valid.
        ConflictError: the plan is another one by now.
        DeniedError: the person has no say in it.
    """
    estate = _for(house, files)
    return await plan_review.approve(house, estate, plan_digest=plan_digest, person=person, reason=reason)


async def propose(
    house: House, files: Mapping[str, str], *, plan_digest: str, actor: str, reason: str
) -> dict[str, Any]:
    """Put the plan with this digest before those whose yes it needs.

    Raises:
        EstateError: the files are not valid.
        ConflictError: the plan is another one by now, or needs nobody's yes.
    """
    estate = _for(house, files)
    return await plan_proposals.propose(house, estate, plan_digest=plan_digest, actor=actor, reason=reason)


async def apply(
    house: House, files: Mapping[str, str], *, plan_digest: str | None, actor: str, reason: str
) -> dict[str, Any]:
    """Make the registry match `files`: all of it or nothing; then end what withdrawn principals have under way.

    Raises:
        EstateError: the files are not valid.
        ConflictError: what is registered, or the plan, is not what was looked at.
        DeniedError: teams.yaml in force asks for somebody's yes, and it is missing.
    """
    estate = _for(house, files)
    current = house.database.read(lambda tx: tx.registry.registered(estate))
    found = planning.plan(estate, current)
    if plan_digest is not None and found.digest != plan_digest:
        raise ConflictError(
            ErrorCode.STALE, "what is registered changed since this was planned", help="look at a new plan"
        )

    names = [change.name for change in found.changes if change.what is planning.What.PRINCIPAL]
    effects: tuple[Consequence, ...] = ()
    if plan_review.is_required(house):
        effects = await asyncio.to_thread(proofs.effects_of, house, found, estate, current)
    owners = plan_review.owners(estate, current)

    def work(tx: HouseTransaction) -> dict[str, Any]:
        plan_review.check(tx, found, effects, owners, actor, house.clock.now())
        applied = apply_plan(
            found,
            estate,
            tx,
            signer=house.ring.signer("charter"),
            entropy=house.entropy,
            trust_domain=house.settings.trust_domain,
            actor=actor,
            reason=reason,
            reviews=plan_review.reviews(tx, found, effects, house.clock.now()),
        )
        changed = tx.registry.principals_named(names)
        reconcile(tx, changed.values(), entropy=house.entropy, actor=actor)
        composition.follow(house, tx, found, estate, actor=actor)
        if any(each.what is planning.What.TEAMS for each in found.changes):  # who may say yes may be another now
            repeats.end_of(tx, None, actor=actor, reason="teams.yaml changed")
        return applied.to_json()

    answer = await house.database.awrite(work)
    for change in found.changes:
        if change.what is planning.What.PRINCIPAL and change.change is planning.ChangeKind.WITHDRAW:
            house.pipeline.withdrawn(house.principal(change.name).id, f"`{change.name}` was withdrawn from the estate")
    return answer
