"""Telling people of calls that wait: makes the notices, sends them, and takes the answers that their links bring."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from charter.adapters.chat import Chat
from charter.adapters.mailer import Mailer
from charter.bootstrap import inventory
from charter.bootstrap.finding_notices import FindingNotices
from charter.config import own_variable
from charter.core.errors import AbsentError, CharterError, DeniedError, ErrorCode, UnavailableError
from charter.lifecycle import approvals as answering
from charter.lifecycle.notices import (
    CHAT,
    Kind,
    Notice,
    NoticeState,
    chat_post,
    digest_of_link,
    mail,
    remind_at,
    who_can_answer,
)
from charter.registry.approval import Approval, ApprovalState
from charter.registry.stand_in import stood_for

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction

EVERY_SECONDS = 2.0
AT_ONCE = 20  # notices of one round
PASSWORD, WEBHOOK = "CHARTER_MAIL_PASSWORD", "CHARTER_CHAT_WEBHOOK"
_log = logging.getLogger("charter.notices")


@dataclass(slots=True)
class Notices:
    """The notices of one node."""

    house: House
    mailer: Mailer | None
    chat: Chat | None
    findings: FindingNotices = field(init=False)
    _planned: set[tuple[str, Kind]] = field(default_factory=set)  # so that the store is asked once for each

    def __post_init__(self) -> None:
        self.findings = FindingNotices(self.house, self.mailer, self.chat)

    @classmethod
    def of(cls, house: House) -> Notices:
        """Return the notices of a house, sent where its settings say."""
        server, webhook = house.settings.mail_server, own_variable(WEBHOOK)
        return cls(
            house,
            Mailer(server, own_variable(PASSWORD)) if server else None,
            Chat(webhook) if webhook else None,
        )

    async def keep_telling(self, stop: asyncio.Event) -> None:
        """Send what is due, every two seconds until `stop`; a store that fails is tried again the next time."""
        while (self.mailer or self.chat) and not stop.is_set():
            with contextlib.suppress(CharterError):
                await self.round()
            with contextlib.suppress(CharterError):
                await self.findings.round()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), EVERY_SECONDS)
        if self.chat is not None:
            self.chat.close()

    async def round(self) -> None:
        """Make the notices of calls that wait, and send those that are due."""
        wanted = self._unplanned()
        if wanted:
            await self.house.database.awrite(lambda tx: self._plan(tx, wanted))
            self._planned |= {(approval.id, kind) for approval, kind in wanted}
        due = self.house.database.read(lambda tx: tx.notices.due(self.house.clock.now(), limit=AT_ONCE))
        await asyncio.gather(*(self._send(each) for each in due))

    def _unplanned(self) -> list[tuple[Approval, Kind]]:
        at = self.house.clock.now()
        waiting = [a for a in self.house.live.approvals.values() if a.state is ApprovalState.WAITING and a.is_open(at)]
        self._planned &= {(each.id, kind) for each in waiting for kind in Kind}
        found = [(each, Kind.ASKED) for each in waiting]
        found += [(each, Kind.REMINDER) for each in waiting if at >= remind_at(each)]
        return [each for each in found if (each[0].id, each[1]) not in self._planned]

    def _plan(self, tx: HouseTransaction, wanted: list[tuple[Approval, Kind]]) -> None:
        told = tx.notices.told_of([approval.id for approval, _ in wanted])
        teams, away = tx.registry.teams(), stood_for(tx.stand_ins.current(tx.at))
        for approval, kind in wanted:
            principal = tx.live.principals.get(approval.principal_id)
            if (approval.id, kind) in told or principal is None:
                continue
            people = who_can_answer(teams, approval, principal, away) if self.mailer else ()
            places = [each for each in people if not tx.live.directory.has_left(each)] + ([CHAT] if self.chat else [])
            entropy = self.house.entropy
            tx.notices.add(
                Notice(entropy.identifier("ntc"), approval.id, kind, place, NoticeState.DUE, 0, tx.at)
                for place in places
            )

    async def _send(self, notice: Notice) -> None:
        house = self.house
        token = house.entropy.token(32)
        is_mail = notice.recipient != CHAT
        answers = is_mail and house.settings.approval_links

        def claim(tx: HouseTransaction) -> tuple[Notice, Approval] | None:
            approval = tx.approvals.get(notice.approval_id)
            if approval.state is not ApprovalState.WAITING or not approval.is_open(tx.at):
                tx.notices.update(replace(notice, state=NoticeState.MOOT))
                return None
            claimed = notice.claimed(tx.at, digest_of_link(token) if answers else None)
            return (claimed, approval) if tx.notices.claim(notice, claimed) else None

        found = await house.database.awrite(claim)
        if found is None:
            return
        claimed, approval = found
        try:
            await self._pass_on(claimed, approval, token if answers else None)
        except CharterError as err:
            _log.warning("a notice of `%s` was not sent: %s", approval.id, err.detail)
            after = claimed.refused(house.clock.now(), err.detail)
        else:
            after = claimed.sent(house.clock.now())
        await house.database.awrite(lambda tx: tx.notices.update(after))

    async def _pass_on(self, notice: Notice, approval: Approval, token: str | None) -> None:
        told = self.house.settings
        (view,) = await asyncio.to_thread(inventory.approval_cards, self.house, [approval])
        where = f"{told.issuer}/approve/{token}" if token else f"{told.issuer}/approvals?of={approval.id}"
        if notice.recipient == CHAT:
            if self.chat is None:
                raise UnavailableError(ErrorCode.NOT_RUNNING, f"{WEBHOOK} is not set any more")
            await self.chat.post(chat_post(told.chat_format, notice, approval, view["card"], link=where))
            return
        if self.mailer is None:
            raise UnavailableError(ErrorCode.NOT_RUNNING, "CHARTER_MAIL_SERVER is not set any more")
        message = mail(
            notice, approval, view["card"], sender=told.mail_from or "", link=where, answers=token is not None
        )
        await asyncio.to_thread(self.mailer.send, message)


def linked(house: House, token: str) -> dict[str, Any]:
    """Return whom a link is for, whether it is spent, and the approval that it answers.

    Raises:
        AbsentError: there is no such link.
    """
    notice = house.database.read(lambda tx: tx.notices.by_link(digest_of_link(token)))
    (view,) = inventory.approval_cards(house, [inventory.approval(house, notice.approval_id)])
    return {"person": notice.recipient, "spent": notice.is_link_spent, "approval": view}


async def answer_by_link(
    house: House, token: str, *, yes: bool, reason: str, signed_in: str | None = None
) -> dict[str, Any]:
    """Record the answer of whoever a link was sent to; the link is spent with it, in the same transaction.

    `signed_in`: who is, in the browser that it comes from, if anybody; a link passed on answers nothing there.

    Raises:
        AbsentError: there is no such link, or it was used.
        ConflictError: the approval is not waiting any more.
        DeniedError: the person may not approve it, somebody else is signed in, or links answer nothing here.
    """
    if not house.settings.approval_links:
        raise DeniedError(
            ErrorCode.POLICY_DENIED, "links answer nothing here any more", help="sign in and answer in the console"
        )

    def work(tx: HouseTransaction) -> Approval:
        notice = tx.notices.by_link(digest_of_link(token))
        if notice.is_link_spent:
            raise AbsentError(
                ErrorCode.UNKNOWN_APPROVAL, "this link was used", help="sign in and look at the approvals"
            )
        if signed_in is not None and signed_in.casefold() != notice.recipient.casefold():
            raise DeniedError(
                ErrorCode.POLICY_DENIED,
                f"`{signed_in}` is signed in here, and this link is for `{notice.recipient}` alone",
                help="answer in your own name among the approvals; if the link is yours, sign out first",
            )
        deed = answering.approve if yes else answering.refuse
        said = f"{reason} (by a link in a mail)"
        answered = deed(tx, notice.approval_id, person=notice.recipient, reason=said)
        tx.notices.spend_links(notice.approval_id, notice.recipient)
        return answered

    return inventory.approval_view(await house.database.awrite(work))


def listing(house: House, *, limit: int) -> dict[str, Any]:
    """Return the newest notices, and how many wait or were given up."""

    def read(tx: HouseTransaction) -> dict[str, Any]:
        return {"backlog": tx.notices.backlog(), "notices": [_told(each) for each in tx.notices.newest(limit=limit)]}

    return house.database.read(read)


def _told(notice: Notice) -> dict[str, Any]:
    return {
        "id": notice.id,
        "approval": notice.approval_id,
        "kind": notice.kind.value,
        "to": notice.recipient,
        "state": notice.state.value,
        "tries": notice.tries,
        "error": notice.error,
        "sent_at": notice.sent_at.isoformat() if notice.sent_at else None,
    }
