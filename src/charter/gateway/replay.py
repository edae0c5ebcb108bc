"""A recorded call, decided again: by what held then, or by an estate that is not applied.

    told      the verdict that would be given, and whether it rests on texts that evidence does not keep
    untold    why nobody can say: what was not recorded and would matter
    aside     that it was denied by what no estate says: a standing, a withdrawn delegation, a path that is none

What is looked at is what resolve and decide look at (facts.py): the principal's charter, the system, the tool and its
accepted definition, the chain, every policy. Standing is not: whether somebody was suspended then is no matter of the
estate. A call that was denied before policy was asked is decided again only as far as the estate can have changed that.

INVARIANT: nothing is guessed. A verdict is told only if all that it rests on is recorded, or if every text that fits
what was recorded comes to the same (`stand_in.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from msgspec import structs

from charter.gateway.chain import ReadChain, Slices, asker_of, read_alone, read_links
from charter.gateway.recorded import RecordedCall
from charter.gateway.stand_in import candidates
from charter.policy.builtin import BUILT_IN
from charter.policy.cedar_value import Record
from charter.policy.decide import Evaluator
from charter.policy.narrow import decide_narrowed
from charter.policy.reads import Read, reads_of
from charter.policy.request import Request
from charter.policy.verdict import Deny, Layer, Reason, Verdict, word
from charter.registry.delegation import Chain
from charter.registry.principal import Principal
from charter.registry.standing import Standing
from charter.registry.system import System

_OF_POLICY = frozenset(BUILT_IN)
_SYSTEM_RULES = frozenset({"built-in/known-systems", "built-in/known-tools", "built-in/pinned-tools"})


@dataclass(frozen=True, slots=True)
class World:
    """An estate that calls are put to."""

    principals: Mapping[str, Principal]  # by id
    ids: Mapping[str, str]  # name -> id
    systems: Mapping[str, System]
    slices: Slices
    evaluator: Evaluator


@dataclass(frozen=True, slots=True)
class Case:
    """A recorded call before an estate's policies."""

    chain: ReadChain
    request: Request


@dataclass(frozen=True, slots=True)
class Told:
    """What would be decided."""

    verdict: Verdict
    case: Case | None = None  # None: no policy was asked
    is_inferred: bool = False  # it rests on texts that are not kept, and every one that fits comes to this


@dataclass(frozen=True, slots=True)
class Untold:
    """Why it cannot be said."""

    why: str


@dataclass(frozen=True, slots=True)
class Aside:
    """It was denied by what is no matter of the estate, and is denied still."""

    rule: str


def case_of(call: RecordedCall, world: World, chain: Chain | None) -> Case | Told | Untold:
    """Return `call` before the policies of `world`, or what stands instead: a denial without them, or why not.

    `chain`: the delegations that it was made under, as they are kept.
    """
    principal = world.principals.get(world.ids.get(call.principal, ""))
    system = world.systems.get(call.system)
    action = system.action_of_tool(call.tool) if system else None
    if principal is None or system is None or action is None:
        return _absent(call, principal, system)
    held = _held(call, system, action)
    if held is not None:
        return held
    if not call.reached_policy:
        return Untold("it was denied before policy was asked, so nothing of its arguments was recorded")
    read = _chain(call, world, principal, chain)
    if isinstance(read, ReadChain):
        return Case(read, _request(call, principal, system, action, read))
    return read


def _absent(call: RecordedCall, principal: Principal | None, system: System | None) -> Told:
    if principal is None:
        text, mend = f"there is no principal `{call.principal}`", "keep its charter in the estate"
        return _denied(Layer.STANDING, "built-in/standing", text, mend, call)
    if system is None:
        text, mend = f"there is no system `{call.system}`", "keep its file in the estate"
        return _denied(Layer.SYSTEM, "built-in/known-systems", text, mend, call)
    text = f"`{call.system}` has no tool `{call.tool}` that anyone accepted"
    return _denied(Layer.SYSTEM, "built-in/known-tools", text, "keep it in the system's file", call)


def _chain(call: RecordedCall, world: World, principal: Principal, chain: Chain | None) -> ReadChain | Told | Untold:
    """Return the parties, each restrained exactly if it was then; or why nothing is allowed, or nobody can say."""

    def as_then(each: Principal) -> Principal:
        is_restrained = each.name in call.asked.restrained
        return replace(each, standing=Standing.RESTRAINED if is_restrained else Standing.ACTIVE)

    if call.delegation is None:
        read = read_alone(world.slices, as_then(principal))
    elif chain is None:
        return Untold("the delegation that it was made under is not kept any more")
    else:
        parties = {each: as_then(world.principals[each]) for each in chain.parties if each in world.principals}
        read = read_links(parties, world.slices, chain)
    return Told(read) if isinstance(read, Deny) else read


def is_pinned(system: System) -> bool:
    """Whether tools of a system have definitions elsewhere, which a person accepts (facts.py)."""
    return system.has_pins


def _held(call: RecordedCall, system: System, action: str) -> Told | Untold | None:
    """Return what comes of it that a tool's definition is not the accepted one; None if it is, or nobody can say."""
    if not is_pinned(system):
        return None
    pin, seen = system.actions[action].pin, call.asked.tool_pin
    if seen is None:
        return Untold("the tool's definition as it was then is not recorded") if not call.reached_policy else None
    if pin == seen:
        return None
    text = f"the definition of the tool `{call.tool}` as it was then is not the one that is accepted, so it is held"
    mend = f"look at it and accept it: charter systems import {call.system} --accept, then plan and apply"
    return _denied(Layer.SYSTEM, "built-in/pinned-tools", text, mend, call)


def _request(call: RecordedCall, principal: Principal, system: System, action: str, read: ReadChain) -> Request:
    known = system.actions[action]
    request = Request(
        asker=asker_of(principal),  # each party is asked as what it is
        system=system.system,
        system_environment=system.environment,
        action=action,
        effect=known.effect,
        object=call.object,
        data=system.data_of(action),
        arguments={},
        at=call.moment,
        approvals=call.asked.approvals,
        sensitive=system.sensitive,
        untrusted=system.untrusted,
        external=system.sends_out(action),
        flow=call.asked.flow,
        provider=system.provider or "",
        touched=system.touched(action),
        kept=call.asked.arguments,
    )
    return structs.replace(request, chain=read.facts) if read.facts else request


def _is_aside(call: RecordedCall) -> bool:
    """Whether a call was denied by what no file of an estate says: a standing, an odd path, too many questions."""
    rule = call.rules[0]
    is_built_in = rule.startswith("built-in/") and rule not in _OF_POLICY
    return call.verdict == "deny" and (is_built_in or not call.reached_policy) and rule not in _SYSTEM_RULES


def decide_again(
    call: RecordedCall, world: World, chain: Chain | None, then: Callable[[], Case | None]
) -> Told | Untold | Aside:
    """Return what `world` would decide of a recorded call.

    `then` gives the call before the policies that held when it was recorded, if they can be had: what was decided by
    them narrows down what a text can have been.
    """
    if _is_aside(call):
        return Aside(call.rules[0])
    found = case_of(call, world, chain)
    if not isinstance(found, Case):
        return found
    reads = _reads(found)
    unknown = [read for read in reads if read.argument not in call.asked.arguments]
    hidden = [read for read in reads if read.argument in call.asked.withheld and read.is_textual]
    if not unknown and not hidden:
        return Told(_decided(found, call, world), found)
    if unknown:
        return _whatever(found, call, world, {read.rule for read in (*unknown, *hidden)}, unknown)
    return _inferred(found, call, world, hidden, then)


def _reads(case: Case) -> list[Read]:
    request = case.request
    return [
        read
        for party in case.chain.case.parties
        for read in reads_of(party.bound, request.system, request.action, request.effect.value)
    ]


def _decided(case: Case, call: RecordedCall, world: World, request: Request | None = None) -> Verdict:
    return decide_narrowed(case.chain.case, request or case.request, world.evaluator, call.narrowed)


def _whatever(case: Case, call: RecordedCall, world: World, unsure: set[str], unknown: Sequence[Read]) -> Told | Untold:
    """Return the denial of a call that is denied whatever the unknown arguments were; else which of them matters."""
    verdict = _decided(case, call, world)
    if isinstance(verdict, Deny) and any(_is_sure(reason, unsure) for reason in verdict.reasons):
        return Told(Deny(tuple(reason for reason in verdict.reasons if _is_sure(reason, unsure))), case)
    names = ", ".join(f"`{name}`" for name in dict.fromkeys(read.argument for read in unknown))
    return Untold(f"`{unknown[0].rule}` reads {names}, of which nothing was recorded")


def _is_sure(reason: Reason, unsure: set[str]) -> bool:
    """Whether a denial for this reason rests on nothing unknown. What a grant lacks, another grant may have."""
    rule = reason.rule.removesuffix("/unreadable")
    is_grant = "/grant-" in rule
    return rule not in unsure and not is_grant


def _inferred(
    case: Case, call: RecordedCall, world: World, hidden: Sequence[Read], then: Callable[[], Case | None]
) -> Told | Untold:
    """Return what every text comes to that fits what was decided then."""
    before = then()
    asked = [*hidden, *(_reads(before) if before else ())]
    names = ", ".join(f"`{name}`" for name in dict.fromkeys(read.argument for read in hidden))
    verdicts: list[Verdict] = []
    for supposed in candidates(call.asked, asked, {read.argument for read in hidden}):
        if supposed is None:
            return Untold(f"`{hidden[0].rule}` reads the text of {names}, which evidence does not keep")
        if before is not None and not _fits(before, call, world.evaluator, supposed):
            continue
        verdicts.append(_decided(case, call, world, _with(case.request, supposed)))
        if word(verdicts[-1]) != word(verdicts[0]):
            return Untold(f"it depends on the text of {names}, which evidence does not keep")
    if not verdicts:
        return Untold(f"no text of {names} explains what was decided then")
    return Told(verdicts[0], case, is_inferred=True)


@dataclass(frozen=True, slots=True)
class Explained:
    """A recorded call with texts that explain its verdict, where it rested on texts."""

    request: Request
    notes: tuple[str, ...] = ()


def explaining(call: RecordedCall, case: Case, evaluator: Evaluator) -> Explained:
    """Return a recorded call as it can be put to the policies that held then, with what has to be said of that."""
    reads = _reads(case)
    unknown = sorted({read.argument for read in reads if read.argument not in call.asked.arguments})
    hidden = {read.argument for read in reads if read.argument in call.asked.withheld and read.is_textual}
    if unknown:
        names = ", ".join(f"`{name}`" for name in unknown)
        return Explained(case.request, (f"nothing was recorded of {names}, which its rules read",))
    if not hidden:
        return Explained(case.request)
    names = ", ".join(f"`{name}`" for name in sorted(hidden))
    for supposed in candidates(call.asked, reads, hidden):
        if supposed is not None and _fits(case, call, evaluator, supposed):
            note = f"the text of {names} is not kept: a stand-in takes its place that explains what was recorded"
            return Explained(_with(case.request, supposed), (note,))
    return Explained(case.request, (f"the text of {names} is not kept, and no stand-in explains what was recorded",))


def _fits(before: Case, call: RecordedCall, evaluator: Evaluator, supposed: Mapping[str, Record]) -> bool:
    """Whether what held then comes to the recorded verdict, by the same rules, if the texts were these."""
    request = _with(before.request, supposed)
    found = decide_narrowed(before.chain.case, request, evaluator, call.narrowed)
    was_limit = call.layer == Layer.LIMIT.value and word(found) == "allow"
    if was_limit:
        return True
    return word(found) == call.verdict and {reason.rule for reason in found.reasons} == set(call.rules)


def _with(request: Request, supposed: Mapping[str, Record]) -> Request:
    return structs.replace(request, kept={**(request.kept or {}), **supposed})


def _denied(layer: Layer, rule: str, text: str, mend: str, call: RecordedCall) -> Told:
    return Told(Deny((Reason(layer, rule, text, mend, call.principal),)))
