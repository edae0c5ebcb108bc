"""What a serving house does beside answering: tell of failures, let old questions lapse, notice changed tools."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import itertools
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from charter.bootstrap import composition, responses
from charter.bootstrap.noticed import open_finding
from charter.bootstrap.reconciling import Follower
from charter.core.canonical import digest_of
from charter.core.clock import rfc3339
from charter.core.errors import CharterError
from charter.evidence.entry import Draft, EntryKind
from charter.evidence.observation import identity_of
from charter.identity.revocation import forget_expired
from charter.identity.rotation import ended, retire_ended
from charter.identity.weakness import OVERDUE, overdue, reconcile
from charter.registry.approval import ApprovalState
from charter.registry.composition import Part
from charter.registry.record import Finding, FindingState
from charter.registry.window import LONGEST

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction
    from charter.gateway.pins import ToolList
    from charter.registry.principal import SystemRecord

EVERY_SECONDS = 5.0
ROUNDS_AN_HOUR, ROUNDS_A_MINUTE = 720, 12
ENDED_SECONDS = 30 * 24 * 3600  # how long delegations that ended can still be shown; evidence keeps them for good
CONSENT_MEMORY_SECONDS = 7 * 86_400  # after its end a code or refresh token that comes again is still told apart
JOIN_TOKENS_KEPT = dt.timedelta(days=30)  # from their end on: of a younger one it is noticed that it comes again
OBSERVED_KEPT = dt.timedelta(days=400)  # in which an event of others that is told again is known to be told again
OBSERVED_AT_ONCE = 2_000
SPOOLS_KEPT = dt.timedelta(days=90)
NOTICES_KEPT = dt.timedelta(days=90)
HELD_TOOL = "held-tool"
MISNAMED = "other-name-in-tls"
MISHOSTED = "other-host-in-request"
MAX_NAME = 253  # characters of a host's name
MAX_MODEL = 200  # characters of a name that a call asks for
_log = logging.getLogger("charter.tending")


async def tend(house: House, stop: asyncio.Event) -> None:
    """Do the small things every few seconds until `stop`; a store that fails is tried again the next time."""
    follower, old = Follower(), OldEvents()
    for round_ in itertools.count():
        if stop.is_set():
            break
        with contextlib.suppress(CharterError):
            await house.database.awrite(lambda tx: _tend_once(house, tx))
        if round_ % ROUNDS_AN_HOUR == 0:
            with contextlib.suppress(CharterError):
                await house.database.awrite(_forget_old)
        if round_ % ROUNDS_A_MINUTE == 0:
            with contextlib.suppress(CharterError):
                await notice_overdue(house)
            with contextlib.suppress(CharterError):
                await follower.go_on(house)
            with contextlib.suppress(CharterError):
                await old.forget(house)
        with contextlib.suppress(CharterError):
            await responses.end_due(house)
        with contextlib.suppress(CharterError):
            await asyncio.to_thread(house.keys.tend, house.database)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), EVERY_SECONDS)
    drafts = house.failures.drain(early=True)
    if drafts:
        with contextlib.suppress(CharterError):
            await house.database.awrite(lambda tx: [tx.record(draft) for draft in drafts])


def _tend_once(house: House, tx: HouseTransaction) -> None:
    house.ring.tend(tx)
    house.trust.tend(tx)
    if ended(tx.live, tx.at):
        retire_ended(tx)
    forget_expired(tx)
    _forget_delegations(tx)
    tx.consents.forget_expired(int(tx.at.timestamp()) - CONSENT_MEMORY_SECONDS)
    _lapse_approvals(tx)
    for draft in house.failures.drain():
        tx.record(draft)


async def notice_overdue(house: House) -> None:
    """Open the findings of credentials that are overdue by now, and resolve those of such as were replaced."""
    now = house.clock.now()
    found = overdue(house.live, now)
    kept = house.database.read(lambda tx: tx.registry.findings.of_kinds((OVERDUE,)))
    told = {each.principal_id for each in kept if each.state is not FindingState.RESOLVED}
    changed = [house.live.principals[each] for each in found ^ told if each in house.live.principals]
    if changed:
        await house.database.awrite(lambda tx: reconcile(tx, changed, entropy=house.entropy, actor="charter"))


def _forget_old(tx: HouseTransaction) -> None:
    """Forget counters that no window can reach any more (a month's, and the longest sliding ones), and join tokens."""
    tx.limits.forget(int((tx.at - 2 * LONGEST).timestamp()))
    tx.nodes.forget_join_tokens(tx.at - JOIN_TOKENS_KEPT)
    tx.notices.forget(tx.at - NOTICES_KEPT)
    tx.spools.forget(tx.at - SPOOLS_KEPT)
    tx.repeats.forget(tx.at)


@dataclass(slots=True)
class OldEvents:
    """Forgets, some at a time, which events of others were told long ago. Their entries stay, and say when that was."""

    since: str = ""  # the time of the entry it came to; from the first one on after a start

    async def forget(self, house: House) -> int:
        """Forget those of the next entries that are old enough; return how many entries that were."""
        before = rfc3339(house.clock.now() - OBSERVED_KEPT)
        kind = EntryKind.OBSERVED.value
        found = await asyncio.to_thread(
            house.database.read_log, lambda log: log.of_kind_between(kind, self.since, before, OBSERVED_AT_ONCE)
        )
        told = [entry.to_json()["body"]["source"] for entry in found]
        identities = [identity_of(str(each["kind"]), str(each["event"])) for each in told]
        if identities:
            await house.database.awrite(lambda tx: tx.observations.forget(identities))
            self.since = found[-1].time
        return len(found)


def _forget_delegations(tx: HouseTransaction) -> None:
    """Take delegations that expired out of memory, and drop those that ended long ago from the store."""
    now = int(tx.at.timestamp())
    tx.delegations.forget(now - ENDED_SECONDS)

    def sweep() -> None:
        tx.live.delegations.sweep(now)

    tx.after_commit(sweep)


def _lapse_approvals(tx: HouseTransaction) -> None:
    """Let questions and unused answers that ran out of time expire."""
    for key, approval in list(tx.live.approvals.items()):
        if approval.is_open(tx.at):
            continue
        tx.approvals.update(replace(approval, state=ApprovalState.EXPIRED))

        def forget(key: tuple[str, str] = key) -> None:
            tx.live.approvals.pop(key, None)

        tx.after_commit(forget)


def hear_name(house: House, principal_id: str, system: str, asked: str, named: str) -> None:
    """Open the finding of a principal whose TLS handshake through the proxy named another host than it was let to."""
    title = "`{who}` asked for `{asked}`, and its TLS handshake was for {told}"
    _hear_other(house, MISNAMED, title, (principal_id, system, asked, named))


def _hear_other(house: House, kind: str, title: str, about: tuple[str, str, str, str]) -> None:
    """Open a finding of a principal that asked for one host and named another.

    One for each host it asked for: the other name is the client's, which could make up any number.
    """
    principal_id, system, asked, named = about
    principal = house.live.principals.get(principal_id)
    if principal is None:
        return
    shown = named[:MAX_NAME] if named.isprintable() else ascii(named[:MAX_NAME])
    body = {"principal": principal.name, "system": system, "asked": asked, "named": shown}
    said = title.format(who=principal.name, asked=asked, told=f"`{shown}`" if shown else "no host")

    def work(tx: HouseTransaction) -> None:
        same = {"system": system, "asked": asked}
        open_finding(house, tx, kind, title=said, body=body, same_as=same, principal_id=principal_id)

    house.database.awrite(work).add_done_callback(_noted)


def hear_host(house: House, principal_id: str, system: str, asked: str, named: str) -> None:
    """Open the finding of a principal whose request to the proxy was for one host, and named another in `Host`."""
    title = "`{who}` asked the proxy for `{asked}`, and named {told} in `Host`"
    _hear_other(house, MISHOSTED, title, (principal_id, system, asked, named))


def hear_tools(house: House, record: SystemRecord, found: ToolList) -> None:
    """Record tools whose live definition is not the accepted one: once for each definition, as a finding."""
    live = {tool.name: tool.digest for tool in found.tools}
    for principal_id, told in composition.told_of_tools(house, record.name, live):
        telling = asyncio.ensure_future(house.saw(principal_id, told, by=f"the upstream of {record.name}"))
        telling.add_done_callback(_noted)
    pins = {a.tool: a.pin for a in record.system.actions.values() if a.pin}
    changed = {name: live[name] for name, pin in pins.items() if name in live and live[name] != pin}
    if not changed:
        return

    def work(tx: HouseTransaction) -> None:
        for name, digest in changed.items():
            body = {"system": record.name, "tool": name, "accepted": pins[name], "found": digest}
            title = f"the definition of `{name}` on `{record.name}` is not the accepted one, so it is held"
            finding_id = house.entropy.identifier("fnd")
            finding = Finding.noticed(finding_id, HELD_TOOL, digest_of(body), title=title, body=body, at=tx.at)
            kept, is_new = tx.registry.findings.open(finding)
            if is_new:
                tx.record(Draft(EntryKind.TOOL_HELD, "charter", None, body | {"finding": kept.id}))

    house.database.awrite(work).add_done_callback(_noted)


def hear_model(house: House, principal_id: str, model: str, system: str) -> None:
    """Take note of a model that a principal asked for and nobody accepted."""
    told, known = {Part.MODEL.value: model[:MAX_MODEL]}, house.live.compositions.get(principal_id)
    if known is None or composition.is_flapping(known, Part.MODEL.value, model):
        return
    telling = asyncio.ensure_future(house.saw(principal_id, told, by=f"its call to {system}"))
    telling.add_done_callback(_noted)


def _noted(task: asyncio.Future[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.warning("a change could not be recorded: %s", task.exception())
