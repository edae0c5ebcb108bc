"""Policies that programs carry: made of the estate as it is, and remembered while what they decided is reported.

INVARIANT: what is carried is made of the slice that the pipeline decides by, and made again when any of it changes.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from charter.adapters.cedar import CedarEngine
from charter.bootstrap.noticed import open_finding
from charter.core.canonical import digest_of
from charter.core.errors import CharterError
from charter.gateway.call import Bearer, Call
from charter.gateway.carried import Carried, Local, carried_of
from charter.gateway.facts import Facts
from charter.gateway.flow import key_of
from charter.gateway.reported import Bears, Judged, Made, Report, call_of, record_reported
from charter.identity.bearer import Proof, Vouched
from charter.policy.slice import policies_of
from charter.policy.verdict import Allow, Deny, Layer, Reason, Verdict

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction
    from charter.registry.principal import Principal, SystemRecord

FRESH_SECONDS = 1.0  # for which a program may decide by what it last heard was in force
BEAT_SECONDS = 0.25  # how often it hears that
SLACK = dt.timedelta(seconds=FRESH_SECONDS + 0.5)  # and of what clocks and messages take
MAX_REMEMBERED = 1024  # policies that were carried, of all principals
DECIDED_OTHERWISE = "decided-otherwise"
_A_BREATH = 32  # decisions looked at before others have their turn


@dataclass(slots=True)
class _Sent:
    """Policies that a principal was sent."""

    local: Local
    since: dt.datetime
    until: dt.datetime  # when they were last told to be in force


@dataclass(frozen=True, slots=True)
class _Basis:
    """What carried policies are made of, by identity."""

    principal: Principal
    generation: int
    records: tuple[SystemRecord, ...]

    def is_same(self, other: _Basis) -> bool:
        """Whether nothing of it changed."""
        return (
            self.principal is other.principal
            and self.generation == other.generation
            and len(self.records) == len(other.records)
            and all(mine is its for mine, its in zip(self.records, other.records, strict=True))
        )


@dataclass(slots=True)
class Carrying:
    """What each principal carries, and carried."""

    house: House
    began: dt.datetime  # of what was decided before, this process cannot know by which policies
    cedar: CedarEngine = field(default_factory=CedarEngine)  # the reference judges what programs decided
    _made: dict[str, tuple[_Basis, Carried]] = field(default_factory=dict)  # by principal id
    _sent: OrderedDict[tuple[str, str], _Sent] = field(default_factory=OrderedDict)  # by principal id and digest

    def of(self, principal: Principal) -> Carried:
        """Return what a principal may carry now.

        Raises:
            CharterError: its policies cannot be bound.
        """
        live, slices = self.house.live, self.house.slices
        bound = slices.of(principal)
        records = tuple(live.systems[name] for name in bound.systems if name in live.systems)
        basis = _Basis(principal, live.policy_generation, records)
        known = self._made.get(principal.id)
        if known is not None and known[0].is_same(basis):
            return known[1]
        own = slices.own_of(principal)
        made = carried_of(
            principal, bound, policies_of(self.cedar, own.grants, own.guardrails, own.permits), live.systems
        )
        if len(self._made) >= MAX_REMEMBERED:
            self._made.pop(next(iter(self._made)))
        self._made[principal.id] = (basis, made)
        return made

    def told(self, principal_id: str, carried: Carried, at: dt.datetime) -> None:
        """Remember that a principal heard at a moment that these policies are in force."""
        key = (principal_id, carried.digest)
        known = self._sent.get(key)
        if known is not None:
            known.until = at
            self._sent.move_to_end(key)
            return
        self._sent[key] = _Sent(Local(carried, self.cedar, self.cedar), at, at)
        if len(self._sent) > MAX_REMEMBERED:
            self._sent.popitem(last=False)

    async def take_left(self, name: str, report: Report, *, actor: str) -> int:
        """Record what a program of the principal `name` decided that does not run any more, brought by a person.

        Its principal may not be allowed to do anything by now: what was decided is evidence all the same.

        Raises:
            AbsentError: there is no such principal.
            UnavailableError: it could not be recorded.
        """
        principal, ends = self.house.principal(name), int(self.house.clock.now().timestamp()) + 1
        own = Bearer(principal.id, name, principal.epoch, principal.digest, "", "", ends)
        known = {each.name: getattr(own, each.name) for each in fields(Bearer)}
        return await self.take(Vouched(**known, point=own, proof=Proof.WORD), report, by=actor)

    async def take(self, bearer: Bearer, report: Report, *, by: str | None = None) -> int:
        """Record what a program decided; return the number in its spool up to which everything is recorded.

        Raises:
            UnavailableError: it could not be recorded.
        """
        now, judged = self.house.clock.now(), []
        for index, made in enumerate(report.made):
            judged.append(self._judged(bearer, made, now))
            if index % _A_BREATH == _A_BREATH - 1:
                await asyncio.sleep(0)
        told = {"issuer": self.house.settings.issuer} | ({"taken_by": by} if by else {})

        def work(tx: HouseTransaction) -> int:
            through, unborne = record_reported(tx, bearer, report.spool, judged, told)
            self._find(tx, bearer, unborne)
            return through

        through = await self.house.database.awrite(work)
        for each in judged:
            if each.facts is not None:
                self.house.pipeline.flows.take_in_unseen(key_of(bearer, each.call), each.facts, now)
        return through

    def _judged(self, bearer: Bearer, made: Made, now: dt.datetime) -> Judged:
        call = call_of(made)
        if call is None:
            text = "the program says that it decided a call whose object nobody reads alike"
            nothing = Call(made.deed.system, made.deed.action, {}, digest_of(made.deed.to_json()), None)
            return Judged(made, nothing, None, _denied(bearer, text), Bears.NOTHING)
        try:
            facts, verdict = self.house.pipeline.would(bearer, call, now)
        except CharterError as err:
            facts, verdict = None, _denied(bearer, err.detail)
        return Judged(made, call, facts, verdict, self._bears(bearer, made, facts, verdict))

    def _bears(self, bearer: Bearer, made: Made, facts: Facts | None, verdict: Verdict) -> Bears:
        sent = self._sent.get((bearer.principal_id, made.policies))
        was_in_force = sent is not None and sent.since - SLACK <= made.at <= sent.until + SLACK
        if sent is not None and was_in_force and sent.local.allowed(made.deed, made.at):
            return Bears.THEN
        is_plain = isinstance(verdict, Allow) and not verdict.limits and not verdict.approvals_used
        is_free = facts is not None and facts.request.effect.value == "read"
        is_forgotten = sent is None or made.at < self.began
        return Bears.NOW if is_forgotten and is_plain and is_free else Bears.NOTHING

    def _find(self, tx: HouseTransaction, bearer: Bearer, unborne: Sequence[Judged]) -> None:
        """Open the finding of a program that let itself do what its policies do not; one for each action."""
        for deed in {(each.made.deed.system, each.made.deed.action): each.made for each in unborne}.values():
            name, system, action = bearer.principal_name, deed.deed.system[:120], deed.deed.action[:120]
            body = {"principal": name, "system": system, "action": action, "decision": deed.id}
            title = f"`{name}` let itself do {action!a} on {system!a}, which its policies do not bear out"
            same, who = {"system": system, "action": action}, bearer.principal_id
            open_finding(self.house, tx, DECIDED_OTHERWISE, title=title, body=body, same_as=same, principal_id=who)


def _denied(bearer: Bearer, text: str) -> Deny:
    return Deny((Reason(Layer.CHARTER, "built-in/carried", text, "ask the decision API", bearer.principal_name),))
