"""People are told of calls that wait: real mail, a real webhook, a link that takes one answer of one person."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from charter.adapters.chat import Chat
from charter.bootstrap import authority, notices
from charter.bootstrap.notices import Notices
from charter.cli.main import app
from charter.config import Settings, settings_from
from charter.core.canonical import canonical
from charter.core.errors import AbsentError, ConflictError, DeniedError, MalformedError
from charter.gateway.pipeline import Refused
from charter.lifecycle.approval_card import Past, card_of
from charter.lifecycle.notices import MAX_TRIES, Kind, Notice, NoticeState, chat_post, headline, mail
from charter.registry.approval import Approval, ApprovalState
from houses import TEAMS, Stage, a_house, estate_files
from post_office import ChatRoom, PostOffice, a_chat_room, a_post_office

LENA, MARIA = "lena@example.com", "maria@example.com"  # both hold payments-lead; maria owns the agent
LINK = re.compile(r"https?://\S+/approve/(\S+)")


@dataclass
class Post:
    """A house that tells people, and where what it tells arrives."""

    stage: Stage
    office: PostOffice
    room: ChatRoom
    notices: Notices

    def ask(self, **changed: Any) -> str:
        said = {"charge_id": "ch_1", "amount": 150, "currency": "EUR"} | changed
        found, _ = self.stage.submit(self.stage.bearer(), self.stage.make("create_refund", said))
        assert isinstance(found, Refused)
        assert found.approval_id
        return found.approval_id

    def round(self) -> None:
        async def go() -> None:
            await self.notices.round()
            if self.notices.chat is not None:
                self.notices.chat.close()

        asyncio.run(go())

    def states(self) -> list[tuple[str, str, str, int]]:
        told = notices.listing(self.stage.house, limit=100)["notices"]
        return sorted((each["kind"], each["to"], each["state"], each["tries"]) for each in told)

    def token(self, number: int = -1) -> str:
        found = LINK.search(self.office.mails[number].get_content())
        assert found
        return found[1]

    def answer(self, token: str, *, yes: bool = True) -> str:
        return str(asyncio.run(notices.answer_by_link(self.stage.house, token, yes=yes, reason="seen"))["state"])


@contextmanager
def a_house_that_tells(folder: Path, **settings: Any) -> Iterator[Post]:
    with a_post_office() as office, a_chat_room() as room:
        told: dict[str, Any] = {"mail_server": office.url, "mail_from": "charter@example.com"} | settings
        teams = canonical(TEAMS | {"roles": TEAMS["roles"] | {"payments-lead": [LENA, MARIA, "ned@example.com"]}})
        with a_house(folder, files=estate_files() | {"teams.yaml": teams.decode()}, **told) as stage:
            made = replace(Notices.of(stage.house), chat=Chat(room.url))
            yield Post(stage, office, room, made)


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    with a_house_that_tells(tmp_path) as found:
        yield found


def test_whoever_could_say_yes_is_told_once_and_nobody_else(post: Post) -> None:
    approval = post.ask()
    for _ in range(3):
        post.round()
    assert sorted(post.office.recipients) == [LENA, "ned@example.com"]  # not the owner, who may not answer
    assert len(post.room.posts) == 1
    assert post.states() == [
        ("asked", "chat", "sent", 1),
        ("asked", LENA, "sent", 1),
        ("asked", "ned@example.com", "sent", 1),
    ]
    message = post.office.mails[0]
    assert message["subject"] == "Approval needed: refund-agent wants refund.create on payments"
    assert message["auto-submitted"] == "auto-generated"
    for words in ("charge_id", "| ch_1", "owned by maria@example.com", "Different from usual", approval):
        assert words in message.get_content()
    assert "/approve/" not in json.dumps(post.room.posts)  # a chat has many readers


def test_a_link_takes_the_answer_of_whom_it_was_sent_to_once(post: Post) -> None:
    approval = post.ask()
    post.round()
    mine = post.office.recipients.index(LENA)
    token = post.token(mine)
    told = notices.linked(post.stage.house, token)
    assert (told["person"], told["approval"]["id"]) == (LENA, approval)
    for _ in range(3):  # looking spends nothing
        notices.linked(post.stage.house, token)
    assert post.answer(token) == "approved"
    (entry,) = post.stage.entries("approval.given")
    assert entry["actor"] == LENA
    assert entry["body"]["reason"] == "seen (by a link in a mail)"
    with pytest.raises(AbsentError):
        post.answer(token)
    with pytest.raises(ConflictError):
        post.answer(post.token(1 - mine))  # ned's is his own; the question is answered


def test_a_link_that_was_passed_on_is_no_answer_of_who_is_signed_in(post: Post) -> None:
    post.ask()
    post.round()
    token = post.token(post.office.recipients.index(LENA))
    with pytest.raises(DeniedError, match=r"maria@example\.com` is signed in here"):
        asyncio.run(
            notices.answer_by_link(post.stage.house, token, yes=True, reason="seen", signed_in="maria@example.com")
        )
    answered = asyncio.run(
        notices.answer_by_link(post.stage.house, token, yes=True, reason="seen", signed_in="Lena@Example.com")
    )
    assert answered["state"] == "approved"
    assert notices.linked(post.stage.house, token)["spent"]


def test_a_link_is_worth_no_more_than_its_reader(post: Post) -> None:
    post.ask()
    post.round()
    token = post.token(post.office.recipients.index(LENA))
    teams = canonical(TEAMS | {"roles": TEAMS["roles"] | {"payments-lead": ["ned@example.com"]}}).decode()
    post.stage.apply(estate_files() | {"teams.yaml": teams})
    with pytest.raises(DeniedError, match="does not hold the role"):
        post.answer(token)
    for wrong in ("", "x", token[:-1], token + "x", "\udfff"):
        with pytest.raises(AbsentError):
            notices.linked(post.stage.house, wrong)
        with pytest.raises(AbsentError):
            post.answer(wrong)


def test_a_link_dies_with_its_question(post: Post) -> None:
    approval = post.ask()
    post.round()
    token = post.token(post.office.recipients.index(LENA))
    post.stage.clock.advance(hours=25)
    with pytest.raises(ConflictError):
        post.answer(token)
    other = post.ask(charge_id="ch_2")
    post.round()
    asyncio.run(authority.answer(post.stage.house, other, yes=False, person=LENA, reason="no"))
    with pytest.raises(ConflictError):
        post.answer(post.token())
    assert approval != other


def test_where_links_answer_nothing_mail_leads_to_sign_in(tmp_path: Path) -> None:
    with a_house_that_tells(tmp_path, approval_links=False) as post:
        approval = post.ask()
        post.round()
        text = post.office.mails[0].get_content()
        assert "/approve/" not in text
        assert f"/approvals?of={approval}" in text
        with pytest.raises(DeniedError):
            post.answer("x")


def test_people_are_reminded_once_while_it_waits(post: Post) -> None:
    post.ask()
    post.round()
    post.stage.clock.advance(hours=13)
    for _ in range(2):
        post.round()
    kinds = [each[0] for each in post.states()]
    assert (kinds.count("asked"), kinds.count("reminder")) == (3, 3)
    assert post.office.mails[-1]["subject"].startswith("Still waiting")
    with pytest.raises(AbsentError):
        post.answer(post.token(0) + "x")
    assert post.answer(post.token(0)) == "approved"  # the first mail's link is as good as the second's
    again = [n for n, to in enumerate(post.office.recipients) if to == post.office.recipients[0]][1]
    with pytest.raises(AbsentError):
        post.answer(post.token(again))


def test_the_doctor_tells_of_notices_that_were_given_up(tmp_path: Path) -> None:
    def examined() -> dict[str, Any]:
        done = CliRunner().invoke(app, ["-C", str(tmp_path), "doctor", "--json"])
        (check,) = [each for each in json.loads(done.stdout)["checks"] if each["name"] == "notices"]
        assert check["ok"] or done.exit_code == 1
        return dict(check)

    with a_house_that_tells(tmp_path) as post:
        post.stage.clock.at = dt.datetime.now(dt.UTC)
        post.ask()
        post.room.status, post.office.refuses = 500, 1
        post.round()
    told = examined()
    assert (told["ok"], told["found"]) == (True, "2 notices to be sent")

    with a_house_that_tells(tmp_path) as post:
        post.stage.clock.at = dt.datetime.now(dt.UTC)
        post.room.status = 500
        for _ in range(MAX_TRIES):
            post.stage.clock.advance(minutes=11)
            post.round()
    told = examined()
    assert (told["ok"], told["found"]) == (False, "0 notices to be sent, 1 given up: the chat answered 500")
    assert told["mend"] == "charter approvals notices; docs/approvals.md"


def test_what_cannot_be_sent_is_tried_again_with_growing_pauses_and_told(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    post.ask()
    post.room.status, post.office.refuses = 500, 1
    post.round()
    assert [each[2] for each in post.states()].count("due") == 2
    post.round()  # the pause is not over
    assert len(post.room.posts) == 1
    for _ in range(MAX_TRIES):
        post.stage.clock.advance(minutes=11)
        post.round()
    told = {each["to"]: each for each in notices.listing(post.stage.house, limit=10)["notices"]}
    assert (told["chat"]["state"], told["chat"]["tries"]) == ("failed", MAX_TRIES)
    assert told["chat"]["error"] == "the chat answered 500"
    assert {told[LENA]["state"], told["ned@example.com"]["state"]} == {"sent"}
    assert notices.listing(post.stage.house, limit=10)["backlog"] == {"due": 0, "failed": 1}
    kept = caplog.text + json.dumps(told)
    assert "secret" not in kept.replace("secret-part", "secret") or "secret-part" not in kept
    assert "secret words" not in kept


def test_what_was_answered_meanwhile_is_not_told(post: Post) -> None:
    approval = post.ask()
    post.room.status = 500
    post.round()
    asyncio.run(authority.answer(post.stage.house, approval, yes=True, person=LENA, reason="seen"))
    post.stage.clock.advance(minutes=1)
    before = len(post.room.posts)
    post.round()
    assert len(post.room.posts) == before
    assert ("asked", "chat", "moot", 1) in post.states()


def test_a_notice_outlives_a_crash_before_it_was_sent_and_after(tmp_path: Path) -> None:
    with a_house_that_tells(tmp_path) as post:
        post.ask()
        house = post.stage.house
        wanted = post.notices._unplanned()
        house.database.write(lambda tx: post.notices._plan(tx, wanted))  # kept, and here it dies
        again = replace(Notices.of(house), chat=None)
        asyncio.run(again.round())
        assert sorted(post.office.recipients) == [LENA, "ned@example.com"]

        def back(tx: Any) -> None:  # sent, and it died before that was kept
            for each in tx.notices.newest(limit=9):
                if each.recipient == LENA:
                    tx.notices.update(replace(each, state=NoticeState.DUE, sent_at=None))

        house.database.write(back)
        asyncio.run(again.round())
        assert len(post.office.mails) == 2  # it is leased for a minute to whoever sends it
        post.stage.clock.advance(minutes=2)
        asyncio.run(again.round())
        assert [to for to in post.office.recipients if to == LENA] == [LENA, LENA]
        assert post.answer(post.token()) == "approved"


def test_two_nodes_do_not_send_one_notice_twice(post: Post) -> None:
    post.ask()

    async def both() -> None:
        other = replace(post.notices, chat=None, _planned=set())
        mine = replace(post.notices, chat=None)
        await asyncio.gather(mine.round(), other.round())
        await asyncio.gather(mine.round(), other.round())

    asyncio.run(both())
    assert sorted(post.office.recipients) == [LENA, "ned@example.com"]


def a_question(**call: Any) -> Approval:
    said = {"principal": "refund-agent", "system": "payments", "action": "refund.create", "object": "x", "why": []}
    at = dt.datetime(2026, 11, 24, 9, tzinfo=dt.UTC)
    return Approval("apr_1", "prn_1", "d", said | call, ("payments-lead",), {}, ApprovalState.WAITING, at, at, "vrd_1")


HOSTILE = st.text(max_size=60) | st.sampled_from(
    ["\r\nBcc: eve@example.org", "<https://evil.example|ok>", "[x](https://evil.example)", "<!channel>", "*b* `c`"]
)


@given(HOSTILE, HOSTILE)
def test_no_text_of_an_agent_becomes_a_header_a_link_or_markup(name: str, value: str) -> None:
    approval = a_question(principal=name, action=value, arguments={"note": value}, object=value, why=[name])
    card = card_of(approval, None, Past())
    notice = Notice("ntc_1", "apr_1", Kind.ASKED, LENA, NoticeState.DUE, 1, approval.asked_at)
    message = mail(
        notice, approval, card, sender="charter@example.com", link="https://c.example/approve/t", answers=True
    )
    assert message.as_bytes()
    assert (message["to"], message["from"], message["bcc"]) == (LENA, "charter@example.com", None)
    assert "\n" not in headline(approval, Kind.ASKED)
    slack = chat_post("slack", notice, approval, card, link="https://c.example/approvals")
    assert slack["blocks"][0]["text"]["type"] == "plain_text"  # of which Slack makes nothing
    assert not set("<>") & set(slack["text"])
    teams = chat_post("teams", notice, approval, card, link="https://c.example/approvals")
    for block in teams["attachments"][0]["content"]["body"]:
        assert not re.search(r"(?<!\\)[\[\]()*_`<>]", block["text"].replace("\\\\", ""))
    assert json.dumps(chat_post("json", notice, approval, card, link="https://c.example/approvals"))


@pytest.mark.parametrize(
    ("server", "sender"),
    [
        ("http://mail.example.com", "a@example.com"),
        ("smtps://", "a@example.com"),
        ("smtps://u:secret@mail.example.com", "a@example.com"),
        ("smtps://mail.example.com/inbox", "a@example.com"),
        ("smtps://mail.example.com", "nobody"),
        ("smtps://mail.example.com", "a@example.com\r\nBcc: x@y"),
        ("smtps://mail.example.com", None),
    ],
)
def test_a_mail_server_that_is_none_is_refused_at_the_start(server: str, sender: str | None) -> None:
    given_ = {"CHARTER_MAIL_SERVER": server} | ({"CHARTER_MAIL_FROM": sender} if sender else {})
    with pytest.raises(MalformedError):
        settings_from(given_)


def test_the_secrets_are_no_settings() -> None:
    told = settings_from({"CHARTER_MAIL_PASSWORD": "pw", "CHARTER_CHAT_WEBHOOK": "https://hooks.example/x"})
    assert isinstance(told, Settings)
    assert "pw" not in str(told)
    assert "hooks" not in str(told)
