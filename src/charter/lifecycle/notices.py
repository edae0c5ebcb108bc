"""Telling people that a call waits for them: who is told, when, and in which words.

A notice is one message to one place about one approval: a mail to somebody who could say the missing yes, or a post
to the chat. Notices are kept in the store, sent at least once, and tried again while the question is open.

INVARIANT: what an agent wrote stands in a message as text alone: no header, no markup, no link is made of it.
INVARIANT: a link that answers is in mail to one person alone, never in a chat; it is good for that person, that
approval and one answer, as long as the question is open. Whether their yes counts is decided when they answer.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from email.message import EmailMessage
from enum import StrEnum
from typing import Any

from charter.evidence.neutral import cut_to
from charter.lifecycle.approval_card import plain_card, visible
from charter.lifecycle.approvals import barred_people, roles_held_by
from charter.registry.approval import Approval
from charter.registry.principal import Principal
from charter.registry.seat import role_of, told
from charter.registry.team import Teams

MAX_TRIES = 8
FIRST_PAUSE, LONGEST_PAUSE = dt.timedelta(seconds=5), dt.timedelta(minutes=10)
LEASE = dt.timedelta(seconds=60)  # a notice that is being sent is not sent by another node meanwhile
REMIND_AFTER = 0.5  # of the time that a question is open
MAX_RECIPIENTS = 50  # people told of one approval
MAX_SUBJECT = 120
MAX_CHAT = 2_800  # characters that chats take in one block
MAX_ERROR = 200
CHAT = "chat"  # in the place of a recipient


class Kind(StrEnum):
    """What a notice says."""

    ASKED = "asked"
    REMINDER = "reminder"


class NoticeState(StrEnum):
    """How far a notice came."""

    DUE = "due"
    SENT = "sent"
    FAILED = "failed"  # tried often enough
    MOOT = "moot"  # the question was answered before it went out


@dataclass(frozen=True, slots=True)
class Notice:
    """One message about one approval."""

    id: str  # ntc_…
    approval_id: str
    kind: Kind
    recipient: str  # an address, or CHAT
    state: NoticeState
    tries: int
    next_at: dt.datetime
    error: str = ""
    sent_at: dt.datetime | None = None
    link_digest: str | None = None  # of the token in the link that it was last sent with
    is_link_spent: bool = False

    def claimed(self, at: dt.datetime, link_digest: str | None) -> Notice:
        """Return it as it stands while it is being sent."""
        return replace(self, tries=self.tries + 1, next_at=at + LEASE, link_digest=link_digest)

    def sent(self, at: dt.datetime) -> Notice:
        """Return it, sent."""
        return replace(self, state=NoticeState.SENT, sent_at=at, error="")

    def refused(self, at: dt.datetime, error: str) -> Notice:
        """Return it after an attempt that failed: due again after a pause that grows, or given up."""
        if self.tries >= MAX_TRIES:
            return replace(self, state=NoticeState.FAILED, error=error[:MAX_ERROR])
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (self.tries - 1))
        return replace(self, next_at=at + pause, error=error[:MAX_ERROR])


def digest_of_link(token: str) -> str:
    """Return what is kept of a link's token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def who_can_answer(
    teams: Teams, approval: Approval, principal: Principal, away: Mapping[str, frozenset[str]]
) -> tuple[str, ...]:
    """Return the people whose yes is missing: who hold a missing role, own nothing of it and began nothing of it.

    `away`: for whom each stand-in may answer.
    """
    missing = {role_of(seat) for seat in approval.missing()}
    barred = barred_people(approval, principal)
    said = {person.casefold() for person in approval.given.values()}
    members = {each for team in teams.teams.values() for each in (team.lead, *team.members)}
    people = {each for held in teams.roles.values() for each in held} | members | set(away)
    found = []
    for each in sorted(people):
        mine = (each, *(other for other in away.get(each.casefold(), ()) if other not in barred | said))
        if each.casefold() not in barred | said and roles_held_by(teams, mine, principal) & missing:
            found.append(each)
    return tuple(found[:MAX_RECIPIENTS])


def remind_at(approval: Approval) -> dt.datetime:
    """Return when people are told a second time."""
    return approval.asked_at + (approval.expires_at - approval.asked_at) * REMIND_AFTER


def headline(approval: Approval, kind: Kind) -> str:
    """Return one line that says what waits."""
    call = approval.call
    said = f"{call.get('principal')} wants {call.get('action')} on {call.get('system')}"
    begin = "Still waiting" if kind is Kind.REMINDER else "Approval needed"
    return cut_to(" ".join(visible(f"{begin}: {said}").split()), MAX_SUBJECT)


def mail(
    notice: Notice, approval: Approval, card: Mapping[str, Any], *, sender: str, link: str, answers: bool
) -> EmailMessage:
    """Return the mail of a notice; `link` leads to the question, and with `answers` it takes this person's answer."""
    message = EmailMessage()
    message["Subject"] = headline(approval, notice.kind)
    message["From"], message["To"] = sender, notice.recipient
    message["Message-ID"] = f"<{notice.id}.{notice.tries}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    how = (
        "This link is yours alone and takes one answer. Opening it changes nothing. Do not pass it on:"
        if answers
        else "Sign in to answer:"
    )
    lines = [
        f"A call waits for a person ({told(approval.missing())}) until {approval.expires_at:%Y-%m-%d %H:%M} UTC.",
        "",
        plain_card(card),
        "",
        how,
        link,
        "",
        f"Approval {approval.id}, verdict {approval.verdict_id}.",
    ]
    message.set_content("\n".join(lines), cte="base64")
    return message


def chat_post(form: str, notice: Notice, approval: Approval, card: Mapping[str, Any], *, link: str) -> dict[str, Any]:
    """Return what is posted to a chat: `slack`, `teams`, or plain `json`; the link leads to where one signs in."""
    line, text = headline(approval, notice.kind), plain_card(card)
    shown = text if len(text) <= MAX_CHAT else f"{text[:MAX_CHAT]}\n… the whole card is in the console"
    asked = {"id": approval.id, "kind": notice.kind.value, "verdict": approval.verdict_id, "url": link}
    plain = {"charter": "approval", "headline": line, "card": dict(card)} | asked
    return chat_document(form, line, shown, link=link, button="Look and decide", plain=plain)


def chat_document(form: str, line: str, shown: str, *, link: str, button: str, plain: dict[str, Any]) -> dict[str, Any]:
    """Return a headline and a text as a chat takes it: `slack`, `teams`, or `plain` as it is."""
    match form:
        case "slack":
            text = {"type": "plain_text", "text": f"{line}\n\n{shown}", "emoji": False}
            press = {"type": "button", "text": {"type": "plain_text", "text": button}, "url": link}
            blocks = [{"type": "section", "text": text}, {"type": "actions", "elements": [press]}]
            return {"text": _escaped(line), "unfurl_links": False, "unfurl_media": False, "blocks": blocks}
        case "teams":
            body = [
                {"type": "TextBlock", "text": _unmarked(each), "wrap": True, "fontType": "Monospace"}
                for each in (line, *shown.split("\n"))
            ]
            action = {"type": "Action.OpenUrl", "title": button, "url": link}
            adaptive = {"type": "AdaptiveCard", "version": "1.4", "body": body, "actions": [action]}
            kind = "application/vnd.microsoft.card.adaptive"
            return {"type": "message", "attachments": [{"contentType": kind, "content": adaptive}]}
        case _:
            return plain


def _escaped(text: str) -> str:
    """Return text that Slack takes for text: source: Slack's reference, "Escaping text"."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _unmarked(text: str) -> str:
    """Return text of which Markdown makes nothing."""
    return "".join(f"\\{each}" if each in "\\`*_{}[]()<>#+-!|~" else each for each in text) or " "
