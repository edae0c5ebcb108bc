"""An owner hears that a principal left its mission: real mail, a real webhook, the reason and a link to the page."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.adapters.chat import Chat
from charter.behaviour.watch import Thresholds
from charter.bootstrap.notices import Notices
from charter.lifecycle.finding_notice import finding_mail, finding_post, headline
from desks import a_finding, a_signal
from houses import Stage, a_house
from post_office import ChatRoom, PostOffice, a_chat_room, a_post_office


@pytest.fixture
def told(tmp_path: Path) -> Iterator[tuple[Stage, PostOffice, ChatRoom, Notices]]:
    with a_post_office() as office, a_chat_room() as room:
        settings = {"mail_server": office.url, "mail_from": "charter@example.com", "chat_format": "json"}
        with a_house(tmp_path, **settings) as stage:
            stage.house.behaviour.thresholds = Thresholds(act=4.0, young=0.0)
            yield stage, office, room, replace(Notices.of(stage.house), chat=Chat(room.url))


def leave(stage: Stage) -> None:
    asyncio.run(stage.house.behaviour.step())
    refund = stage.make("create_refund", {"charge_id": "ch_1", "amount": "9.00", "currency": "EUR"})
    stage.submit(stage.bearer("charge-reader"), refund)
    while asyncio.run(stage.house.behaviour.step()):
        pass


def say(notices: Notices) -> None:
    async def go() -> None:
        await notices.findings.round()
        if notices.chat is not None:
            notices.chat.close()

    asyncio.run(go())


def test_the_owner_and_the_chat_hear_why_once(told: tuple[Stage, PostOffice, ChatRoom, Notices]) -> None:
    stage, office, room, notices = told
    leave(stage)
    say(notices)
    say(notices)
    (mail,) = office.mails
    text = mail.get_content()
    assert mail["To"] == "maria@example.com"
    assert "charge-reader" in mail["Subject"]
    assert "outside what it was given to do" in text
    assert "/behaviour/charge-reader" in text
    (post,) = room.posts
    assert post["charter"] == "finding"
    again = Notices.of(stage.house)  # a process that starts again tells nothing twice
    say(replace(again, chat=None))
    assert len(office.mails) == 1


def test_mail_that_is_refused_is_tried_again(told: tuple[Stage, PostOffice, ChatRoom, Notices]) -> None:
    stage, office, _, notices = told
    office.refuses = 1
    leave(stage)
    say(notices)
    assert office.mails == []
    say(notices)
    assert len(office.mails) == 1


_finding = st.builds(
    lambda title, sentence: a_finding(
        kind="behaviour",
        title=title,
        body=a_signal(contributions=[{"feature": "object", "key": "k", "bits": "9.0", "sentence": sentence}]),
    ),
    st.text(max_size=400),
    st.text(max_size=400),
)


@given(_finding, st.sampled_from(["slack", "teams", "json"]))
def test_whatever_an_agent_wrote_is_text_alone(finding: dict[str, object], form: str) -> None:
    mail = finding_mail(finding, "active", sender="c@x.y", to="m@x.y", link="https://c/behaviour/a", number=1)
    assert mail.as_bytes()
    assert "\n" not in headline(finding)
    assert set(mail.keys()) >= {"Subject", "To"}
    assert finding_post(form, finding, "active", link="https://c/behaviour/a")
