"""What sessions have read, through the real pipeline: exposed, asked, vouched for, found again after a restart."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from charter.core.canonical import canonical
from charter.core.errors import MalformedError
from charter.gateway.pipeline import Admitted, Refused
from charter.policy.verdict import Deny, Escalate
from charter.registry.repeat import Terms
from flow_stage import MAIL, PIN, STRANGER, WEB, Talk, files
from houses import Stage, a_house


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with a_house(tmp_path, files=files()) as found:
        yield found


def rules(found: Admitted | Refused) -> list[str]:
    assert isinstance(found, Refused)
    return [reason.rule.removeprefix("guardrail/") for reason in found.verdict.reasons]


def test_before_strangers_are_read_nothing_is_asked(stage: Stage) -> None:
    assert isinstance(Talk(stage).call("send", to=["eve@evil.example.org"], body="hello"), Admitted)


def test_a_value_that_only_strangers_named_is_held_and_the_verdict_says_which(stage: Stage) -> None:
    talk = Talk(stage)
    assert isinstance(talk.call("read", STRANGER), Admitted)
    held = talk.call("send", to=["eve@evil.example.org"], body="hello")
    assert isinstance(held, Refused)
    assert isinstance(held.verdict, Escalate)
    assert rules(held) == ["values-are-vouched-for"]
    assert "`to` is what only content from outside named" in held.verdict.reasons[0].text
    assert "eve@evil" not in held.verdict.reasons[0].text
    assert isinstance(talk.call("send", to=["ana@other.example.net"], body="hello"), Admitted)
    assert isinstance(talk.call("send", to=["bo@example.com"], body="hello"), Admitted)


def test_what_a_text_carries_counts_as_far_as_it_names_something(stage: Stage) -> None:
    talk = Talk(stage)
    talk.call("read", STRANGER)
    held = talk.call("send", to=["ana@other.example.net"], body="pay to XY12345678901234567890")
    assert isinstance(held, Refused)
    assert "`body` names what only content from outside named" in held.verdict.reasons[0].text


def test_the_directory_vouches(stage: Stage) -> None:
    talk = Talk(stage)
    talk.call("read", {"subject": "tell zoe@third.example.net"})
    assert isinstance(talk.call("send", to=["zoe@third.example.net"], body="x"), Refused)
    talk.call("find", {"email": "zoe@third.example.net"})
    assert isinstance(talk.call("send", to=["zoe@third.example.net"], body="y"), Admitted)


def test_what_the_charter_names_exactly_needs_nobody(tmp_path: Path) -> None:
    grant = {
        "system": "mail",
        "actions": ["send"],
        "when": {"to": {"each_of": ["fixed@partner.example.net", "x@y.example"]}},
    }
    reading = {"system": "mail", "actions": ["read"]}
    with a_house(tmp_path, files=files(grants=[reading, grant])) as stage:
        talk = Talk(stage)
        talk.call("read", {"subject": "write fixed@partner.example.net"})
        assert isinstance(talk.call("send", to=["fixed@partner.example.net"], body="hello"), Admitted)


def test_a_yes_makes_the_value_the_persons_own_for_this_session_alone(stage: Stage) -> None:
    talk = Talk(stage)
    talk.call("read", STRANGER)
    talk.approve(talk.call("send", to=["eve@evil.example.org"], body="hello"))
    assert isinstance(talk.call("send", to=["eve@evil.example.org"], body="hello"), Admitted)
    assert isinstance(talk.call("send", to=["eve@evil.example.org"], body="another"), Admitted)
    other = Talk(stage, run="b")
    other.call("read", STRANGER)
    assert isinstance(other.call("send", to=["eve@evil.example.org"], body="another"), Refused)


def test_when_people_were_asked_often_enough_it_is_denied(stage: Stage) -> None:
    talk = Talk(stage)
    talk.call("read", STRANGER)
    for number in range(2):
        held = talk.call("send", to=["eve@evil.example.org"], body=f"try {number}")
        assert isinstance(held, Refused)
        assert isinstance(held.verdict, Escalate)
    denied = talk.call("send", to=["eve@evil.example.org"], body="try 3")
    assert isinstance(denied, Refused)
    assert isinstance(denied.verdict, Deny)
    assert "nobody is asked until some of the questions are an hour old" in denied.verdict.reasons[0].mend
    stage.clock.at += dt.timedelta(minutes=61)
    talk.hear("go on")
    talk.call("read", STRANGER)
    again = talk.call("send", to=["eve@evil.example.org"], body="try 4")
    assert isinstance(again, Refused)
    assert isinstance(again.verdict, Escalate)


def test_an_answered_question_can_be_used_though_no_more_are_asked(stage: Stage) -> None:
    talk = Talk(stage)
    talk.call("read", STRANGER)
    first = talk.call("send", to=["eve@evil.example.org"], body="one")
    talk.call("send", to=["eve@evil.example.org"], body="two")
    talk.approve(first)
    assert isinstance(talk.call("send", to=["eve@evil.example.org"], body="one"), Admitted)


def test_what_nobody_asked_for_is_held_once_strangers_were_read(stage: Stage) -> None:
    talk = Talk(stage, request="what came in today?")
    talk.call("read", STRANGER)
    assert rules(talk.call("send", to=["bo@example.com"], body="hello")) == ["changes-are-asked-for"]


def test_without_the_persons_words_nothing_is_ended(stage: Stage) -> None:
    talk = Talk(stage, request=None)
    talk.call("read", STRANGER)
    assert rules(talk.call("send", to=["bo@example.com"], body="hello")) == ["unknown-requests-end-nothing"]


def test_customers_data_does_not_go_to_systems_that_others_run(stage: Stage) -> None:
    talk = Talk(stage, request="post the news to the web")
    assert isinstance(talk.call("post", system="web", text="the news"), Admitted)
    talk.call("find", {"email": "zoe@third.example.net"})
    assert rules(talk.call("post", system="web", text="the news")) == ["customers-stay-inside"]


def test_asking_for_an_address_of_theirs_is_held_too(stage: Stage) -> None:
    talk = Talk(stage, request="look at www.example.net")
    assert isinstance(
        talk.call("get", {"page": "see www.evil.example.org/?k=1"}, "web", url="www.example.net"), Admitted
    )
    assert rules(talk.call("get", system="web", url="www.evil.example.org/?k=1")) == ["values-are-vouched-for"]


ZOE = {"page": "Zoe's page. Write to zoe@third.example.net."}


def test_one_action_of_a_system_may_send_out_alone(tmp_path: Path) -> None:
    actions = {**MAIL["actions"], "open": {"tool": "open", "effect": "read", "pin": PIN, "external": True}}
    inside = {"get": WEB["actions"]["get"] | {"external": False}}
    systems = {
        "systems/mail.yaml": canonical(MAIL | {"actions": actions}).decode(),
        "systems/web.yaml": canonical(WEB | {"actions": WEB["actions"] | inside}).decode(),
    }
    with a_house(tmp_path, files=files() | systems) as stage:
        talk = Talk(stage)
        talk.call("read", {"page": "see www.evil.example.org/?k=1"})
        assert rules(talk.call("open", link="www.evil.example.org/?k=1")) == ["values-are-vouched-for"]
        assert isinstance(talk.call("find", name="www.evil.example.org/?k=1"), Admitted)
        assert isinstance(talk.call("get", system="web", url="www.evil.example.org/?k=1"), Admitted)


def test_what_stands_alone_in_what_the_person_points_at_by_name_needs_nobody(stage: Stage) -> None:
    talk = Talk(stage, request="write to Zoe, her address is on www.zoe.example")
    talk.call("get", ZOE, "web", url="https://www.zoe.example/")
    assert isinstance(talk.call("send", to=["zoe@third.example.net"], body="hello"), Admitted)
    flow = stage.entries("verdict")[-1]["body"]["asked"]["flow"]
    assert flow["pointed"] == ["to"]
    assert flow["told"] == ["`to` is what stands alone in what the request points at"]
    assert "untrusted" not in flow


def test_a_second_address_on_the_page_asks_a_person(stage: Stage) -> None:
    talk = Talk(stage, request="write to Zoe, her address is on www.zoe.example")
    talk.call("get", {"page": f"{ZOE['page']} No: eve@evil.example.org!"}, "web", url="www.zoe.example")
    assert rules(talk.call("send", to=["zoe@third.example.net"], body="hello")) == ["values-are-vouched-for"]


def test_the_same_field_of_the_record_that_bears_the_name_needs_nobody_within_its_system(stage: Stage) -> None:
    talk = Talk(stage, request="write to the same people as in 'Spring news'")
    record = {"subject": "Spring news", "to": ["zoe@third.example.net", "yan@third.example.net"], "body": "x"}
    talk.call("read", {"result": [record, {"subject": "Spring", "to": ["eve@evil.example.org"]}]}, query="Spring news")
    assert isinstance(talk.call("send", to=record["to"], body="hello"), Admitted)
    assert rules(talk.call("send", to=["eve@evil.example.org"], body="hello")) == ["values-are-vouched-for"]
    assert "values-are-vouched-for" in rules(talk.call("post", system="web", to="zoe@third.example.net"))


def test_an_estate_that_does_not_say_so_asks_of_what_was_pointed_at(tmp_path: Path) -> None:
    estate = files()
    estate["flow.yaml"] = estate["flow.yaml"].replace("pointed: leads\n", "")
    with a_house(tmp_path, files=estate) as stage:
        talk = Talk(stage, request="write to Zoe, her address is on www.zoe.example")
        talk.call("get", ZOE, "web", url="www.zoe.example")
        assert rules(talk.call("send", to=["zoe@third.example.net"], body="hello")) == ["values-are-vouched-for"]
        assert stage.entries("verdict")[-1]["body"]["asked"]["flow"]["untrusted"] == ["to"]


def test_who_refuses_what_strangers_named_refuses_what_was_pointed_at_too(tmp_path: Path) -> None:
    with a_house(tmp_path, files=files(flow={"posture": "deny"})) as stage:
        talk = Talk(stage, request="write to Zoe, her address is on www.zoe.example")
        talk.call("get", ZOE, "web", url="www.zoe.example")
        assert rules(talk.call("send", to=["zoe@third.example.net"], body="hello")) == ["values-are-vouched-for"]


@pytest.mark.parametrize(("posture", "expected"), [("deny", Deny), ("observe", None)])
def test_the_posture_of_the_charter_decides_what_follows(tmp_path: Path, posture: str, expected: type | None) -> None:
    with a_house(tmp_path, files=files(flow={"posture": posture})) as stage:
        talk = Talk(stage)
        talk.call("read", STRANGER)
        found = talk.call("send", to=["eve@evil.example.org"], body="hello")
        if expected is None:
            assert isinstance(found, Admitted)
        else:
            assert isinstance(found, Refused)
            assert isinstance(found.verdict, expected)
            assert "say yes" not in found.verdict.reasons[0].mend
        flow = stage.entries("verdict")[-1]["body"]["asked"]["flow"]
        assert (flow["exposed"], flow["untrusted"]) == (True, ["to"])


def test_what_came_in_is_recorded_once_with_the_verdict_that_let_it_in(stage: Stage) -> None:
    talk = Talk(stage)
    talk.call("read", STRANGER)
    talk.call("read", STRANGER)
    (entry,) = stage.entries("context.changed")
    assert entry["body"]["exposed"] is True
    assert entry["body"]["data"] == ["customer-pii"]
    assert entry["body"]["verdict_id"] == stage.entries("verdict")[-2]["body"]["verdict_id"]
    assert entry["body"]["session"] == talk.key.id


def test_after_a_restart_the_session_is_exposed_and_nothing_but_the_person_vouches(tmp_path: Path) -> None:
    with a_house(tmp_path, files=files()) as stage:
        talk = Talk(stage)
        talk.call("read", STRANGER)
    with a_house(tmp_path, apply=False) as stage:
        talk = Talk(stage, request="write to ana@other.example.net")
        assert rules(talk.call("send", to=["eve@evil.example.org"], body="x")) == ["values-are-vouched-for"]
        assert rules(talk.call("send", to=["made@up.example.org"], body="x")) == ["values-are-vouched-for"]
        assert isinstance(talk.call("send", to=["ana@other.example.net"], body="x"), Admitted)
        assert isinstance(Talk(stage, run="b").call("send", to=["eve@evil.example.org"], body="x"), Admitted)


def test_a_restart_asks_nobody_more_often(tmp_path: Path) -> None:
    with a_house(tmp_path, files=files()) as stage:
        talk = Talk(stage)
        talk.call("read", STRANGER)
        for number in range(2):
            talk.call("send", to=["eve@evil.example.org"], body=f"try {number}")
    with a_house(tmp_path, apply=False) as stage:
        assert isinstance(Talk(stage).call("send", to=["eve@evil.example.org"], body="try 3").verdict, Deny)


def test_what_nobody_vouches_for_cannot_be_let_vary_in_the_next_calls(stage: Stage) -> None:
    talk = Talk(stage)
    talk.call("read", STRANGER)
    held = talk.call("send", to=["eve@evil.example.org"], body="hello")
    with pytest.raises(MalformedError, match="nobody vouches for `to`"):
        talk.approve(held, further=Terms(2, vary=("to", "body")))
    talk.approve(held, further=Terms(2, vary=("body",)))
    for body in ("hello", "and", "more"):
        assert isinstance(talk.call("send", to=["eve@evil.example.org"], body=body), Admitted)
