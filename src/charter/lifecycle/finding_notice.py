"""Telling an owner that a principal behaves unlike itself: one mail, one post to the chat, each time a finding opens.

INVARIANT: what an agent wrote (an object's name, an action) stands in a message as text alone; nothing in it answers
anything: the link leads to where one signs in.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.message import EmailMessage
from typing import Any

from charter.evidence.neutral import cut_to
from charter.lifecycle.approval_card import visible
from charter.lifecycle.notices import MAX_CHAT, MAX_SUBJECT, chat_document

MAX_TOLD = 8


def headline(finding: Mapping[str, Any]) -> str:
    """Return one line that says what was noticed."""
    return cut_to(" ".join(visible(str(finding["title"])).split()), MAX_SUBJECT)


def text_of(finding: Mapping[str, Any], standing: str) -> str:
    """Return what was noticed, why, and what followed, as plain text."""
    body = finding["body"]
    lines = [f"{body['score']} bits; each bit is half as probable:"]
    lines += [f"  {each['bits']:>5}  {each['sentence']}" for each in body["contributions"][:MAX_TOLD]]
    done = body.get("response")
    if done is not None:
        lines += ["", f"By the rule {done['rule']}: {done['does']}."]
    lines += ["", f"It is {standing} now."]
    return visible("\n".join(lines))


def finding_mail(
    finding: Mapping[str, Any], standing: str, *, sender: str, to: str, link: str, number: int
) -> EmailMessage:
    """Return the mail to an owner; `link` leads to the principal's page, `number` tells attempts apart."""
    message = EmailMessage()
    message["Subject"] = headline(finding)
    message["From"], message["To"] = sender, to
    message["Message-ID"] = f"<{finding['id']}.{number}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    lines = [
        headline(finding),
        "",
        text_of(finding, standing),
        "",
        "If that is normal, say so there; a change that takes nothing it uses is proposed there, too:",
        link,
        "",
        f"Finding {finding['id']}.",
    ]
    message.set_content("\n".join(lines), cte="base64")
    return message


def finding_post(form: str, finding: Mapping[str, Any], standing: str, *, link: str) -> dict[str, Any]:
    """Return what is posted to a chat: `slack`, `teams`, or plain `json`."""
    shown = text_of(finding, standing)[:MAX_CHAT]
    body = finding["body"]
    plain = {
        "charter": "finding",
        "headline": headline(finding),
        "id": finding["id"],
        "kind": finding["kind"],
        "principals": list(finding["principals"]),
        "score": body["score"],
        "contributions": list(body["contributions"]),
        "standing": standing,
        "url": link,
    }
    return chat_document(form, headline(finding), shown, link=link, button="Look", plain=plain)
