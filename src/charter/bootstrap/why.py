"""`charter why`: one recorded verdict explained by what held then, or one supposed call by what holds now."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from charter.bootstrap import verdicts, worlds
from charter.bootstrap.estate import check_files, check_texts
from charter.bootstrap.what_if import chains_of
from charter.core.clock import rfc3339
from charter.core.errors import AbsentError, ErrorCode, MalformedError
from charter.gateway.hypothetical import Supposed, SupposedCase, pinned, supposed_case
from charter.gateway.recorded import RecordedCall, recorded_call
from charter.gateway.replay import World, explaining
from charter.gateway.reserve import owed, room, with_room
from charter.policy import why as reasons
from charter.policy.builtin import BUILT_IN
from charter.policy.clause import WhyEngine
from charter.policy.verdict import Allow, Deny, Layer, Reason, word
from charter.registry.problem import suggestion
from charter.registry.standing import may_act
from charter.registry.team import Teams

if TYPE_CHECKING:
    from charter.bootstrap.house import House

Json = dict[str, Any]


# --- recorded ---------------------------------------------------------------------------------------------------------


def recorded(house: House, which: str) -> Json:
    """Return why the call of a recorded verdict (its id, or its index in the log) was decided as it was.

    It is decided again by the charters, systems, guardrails and teams that held then, and compared with the record.

    Raises:
        AbsentError: the log has no such verdict.
        MalformedError: `which` is neither an id nor an index.
        IntegrityError: what is kept of that time is not what its digest says.
    """
    stored = verdicts.find(house, which)
    call, entry = recorded_call(stored), stored.to_json()
    by = worlds.engine()
    chain = chains_of(house)(call.delegation) if call.delegation else None
    told = _told(call, entry["body"])
    if not call.reached_policy:
        return told | {"replayed": None, "agrees": None, "notes": [_unasked(call)]}
    case = worlds.Past(house, by).case(call, chain)
    if case is None:
        return told | {"replayed": None, "agrees": None, "notes": ["what held then is not kept, so it stands as told"]}
    found = explaining(call, case, by)
    notes = list(found.notes)
    digest = case.chain.case.parties[-1].bound.digest
    if digest != call.slice:
        notes.append("the policies that are kept for that time are not those that the verdict names")
    looked = reasons.why(case.chain.case, found.request, by, call.narrowed)
    difference = _difference(call, looked)
    held = told["held_then"] | {"replayed_with": digest}
    return told | {
        "held_then": held,
        "replayed": looked.to_json(),
        "agrees": difference is None,
        "difference": difference,
        "sentence": told["sentence"] if difference or call.layer == Layer.LIMIT.value else looked.sentence,
        "notes": notes,
    }


def _told(call: RecordedCall, body: Mapping[str, Any]) -> Json:
    """Return what the record itself says."""
    first = body["reasons"][0]
    decided = {"allow": "was allowed", "deny": "was denied", "escalate": "waited for a person"}[call.verdict]
    what = f"`{call.action or call.tool}` on `{call.system}` by `{call.principal}`"
    return {
        "verdict_id": call.verdict_id,
        "index": call.index,
        "at": rfc3339(call.moment),
        "call": {
            "principal": call.principal,
            "system": call.system,
            "tool": call.tool,
            "action": call.action,
            "object": body.get("object"),
            "arguments": _arguments(body),
            "chain": body.get("chain"),
        },
        "recorded": {"verdict": call.verdict, "reasons": body["reasons"]},
        "held_then": {"charter": body.get("charter"), "slice": call.slice},
        "sentence": reasons.put(call.verdict, f"{what} {decided}", first["text"], first["rule"], first.get("source")),
        "lacking": first["link"] if call.delegation and call.verdict == "deny" else None,
        "difference": None,
    }


def _arguments(body: Mapping[str, Any]) -> Any:  # noqa: ANN401 - as evidence has it
    return (body.get("asked") or {}).get("arguments")


def _unasked(call: RecordedCall) -> str:
    return f"`{call.rules[0]}` decided before any policy was asked, so no rule had a say"


def _difference(call: RecordedCall, looked: reasons.Why) -> str | None:
    """Return how the verdict, decided again, differs from the recorded one; None if it is the same by the same rules.

    What limits had left, and how many questions waited, is not of the policies: such a denial follows their yes.
    """
    again = word(looked.verdict)
    if call.verdict == "deny" and call.layer == Layer.LIMIT.value and again == "allow":
        return None
    if call.verdict == "deny" and call.rules[0].startswith("built-in/") and call.rules[0] not in BUILT_IN:
        return None  # of the call itself: too many questions, obligations that its caller cannot carry out
    rules = {reason.rule for reason in looked.verdict.reasons}
    if again != call.verdict:
        return f"recorded as {call.verdict}, and decided again as {again} by `{looked.verdict.reasons[0].rule}`"
    if rules != set(call.rules):
        return f"decided again by {_listed(rules)} in place of {_listed(call.rules)}"
    return None


def _listed(rules: Any) -> str:  # noqa: ANN401 - any collection of texts
    return ", ".join(f"`{rule}`" for rule in sorted(rules))


# --- supposed ---------------------------------------------------------------------------------------------------------


def supposed(house: House, asked: Supposed, files: Mapping[str, str] | None = None) -> Json:
    """Return why a call would be decided as it would be: by what is registered, or by `files` that are not applied.

    Raises:
        AbsentError: it names a principal, system, action or role that there is none of.
        EstateError: the files are not valid.
    """
    by = worlds.engine()
    if files is None:
        _check_roles(asked, house.database.read(lambda tx: tx.registry.teams()))
        return _ask(asked, worlds.registered(house, by), by, house)
    estate = check_files(files, house.clock)
    _check_roles(asked, estate.teams.value)
    return _ask(asked, worlds.of_files(estate, by, house), by, None)


def supposed_in(files: Mapping[str, str], asked: Supposed, today: dt.date) -> Json:
    """Return why a call would be decided as it would be by the estate in `files`, without any registry.

    Raises:
        AbsentError: it names a principal, system, action or role that there is none of.
        EstateError: the files are not valid.
    """
    estate, by = check_texts(files, today), worlds.engine()
    _check_roles(asked, estate.teams.value)
    return _ask(asked, worlds.of_files(estate, by), by, None)


def _check_roles(asked: Supposed, teams: Teams) -> None:
    """A role that there is none of would lift nothing, and the answer would read as if people had been asked."""
    for role in asked.approvals:
        if role not in teams.roles:
            help = suggestion(role[:80], teams.roles)
            raise AbsentError(ErrorCode.BAD_VALUE, f"there is no role `{role[:80]}` in teams.yaml", help=help)


def _ask(asked: Supposed, world: World, by: WhyEngine, house: House | None) -> Json:
    told: Json = {"call": _call(asked), "at": rfc3339(asked.at), "notes": []}
    try:
        found = supposed_case(asked, world)
    except MalformedError as err:
        denied = Deny((Reason(Layer.CHARTER, "built-in/arguments", err.detail, err.help or "", asked.principal),))
        what = f"`{asked.action}` on `{asked.system}` by `{asked.principal}`"
        return told | reasons.without_policy(denied, what).to_json()
    looked = reasons.why(found.case, found.request, by)
    stopped = _stopped(found, house) or _used_up(found, looked, house)
    if stopped is not None:
        looked = replace(
            looked, verdict=stopped, sentence=reasons.sentence(stopped, found.request), lacking=stopped.reasons[0].link
        )
    if house is None and not pinned(found):
        told["notes"].append("the definition of its tool is not accepted in the files, so until then it would be held")
    return told | looked.to_json() | {"limits": _limits(found, looked, house)}


def _call(asked: Supposed) -> Json:
    chain = asked.chain
    return {
        "principal": asked.principal,
        "system": asked.system,
        "action": asked.action,
        "arguments": dict(asked.arguments),
        "object": asked.object,
        "approvals": list(asked.approvals),
        "chain": {"initiator": chain.initiator, "through": list(chain.through), "purpose": chain.purpose}
        if chain
        else None,
    }


def _stopped(found: SupposedCase, house: House | None) -> Deny | None:
    """Return the denial that comes before policy: a principal or system that may not act, a tool that is held."""
    name = found.principal.name
    if house is not None:
        refusals = [may_act(found.principal.subject, at=found.request.at)]
        record = house.live.systems.get(found.system.system)
        refusals.append(may_act(record.subject, at=found.request.at) if record else None)
        refused = next((each for each in refusals if each is not None), None)
        if refused is not None:
            return Deny((Reason(Layer.STANDING, "built-in/standing", refused.text, refused.mend, refused.link),))
    if house is not None and not pinned(found):
        tool = found.system.actions[found.request.action].tool
        text = f"the definition of the tool `{tool}` on `{found.system.system}` has never been accepted, so it is held"
        mend = f"look at it and accept it: charter systems import {found.system.system} --accept, then plan and apply"
        return Deny((Reason(Layer.SYSTEM, "built-in/pinned-tools", text, mend, name),))
    return None


def _used_up(found: SupposedCase, looked: reasons.Why, house: House | None) -> Deny | None:
    """Return the denial by a limit that has no room now."""
    if house is None or not isinstance(looked.verdict, Allow):
        return None
    caller = found.case.parties[-1]
    links, system, at = owed(caller.owner, caller.asker.name, looked.verdict), found.system.system, found.request.at
    outcome = house.database.read(lambda tx: with_room(tx.limits, links, system, at))
    return outcome if isinstance(outcome, Deny) else None


def _limits(found: SupposedCase, looked: reasons.Why, house: House | None) -> list[Json]:
    """Return the limits that the call would be counted against; with a registry, how much of each is used."""
    verdict = looked.verdict
    if not isinstance(verdict, Allow):
        return []
    caller = found.case.parties[-1]
    links = owed(caller.owner, caller.asker.name, verdict)
    if house is None:
        return [{"limit": due.text, "link": each.name, "used": None} for each in links for due in each.options[0]]
    return house.database.read(lambda tx: room(tx.limits, links, found.request.at))
