"""Erasing in a whole house: real calls, then what every reader says of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from charter.bootstrap import call_story, erasing, evidence, review
from charter.evidence.log import tail
from charter.evidence.ocsf import event_of
from houses import Stage, a_house


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with a_house(tmp_path) as found:
        yield found


def erased(stage: Stage, *, really: bool = True, **wanted: Any) -> dict[str, Any]:
    asked = erasing.erase_evidence(stage.house, wanted, actor="dpo@example.com", reason="request 4711", really=really)
    return asyncio.run(asked)


def test_an_erased_call_is_told_plainly_by_every_reader(stage: Stage) -> None:
    for name in ("ch_1", "ch_2"):
        stage.submit(stage.bearer("refund-agent"), stage.make("get_charge", {"charge_id": name}))
    stage.house.sealing.seal()
    stage.clock.advance(seconds=1)

    assert erased(stage, really=False, principal="refund-agent")["erased"] == 0
    told = erased(stage, principal="refund-agent")

    assert told["erased"] == told["found"] > 0
    assert erased(stage, principal="refund-agent")["erased"] == 0
    checked = asyncio.run(evidence.verify(stage.house))
    assert (checked["ok"], checked["problems"], checked["erased"]) == (True, [], told["erased"])
    found = evidence.listing(stage.house, {"kind": "verdict"}, after=None, newest=None, limit=10)["entries"]
    assert {each["body"]["object"] for each in found} == {"<erased>"}
    assert all("erased_by" in each for each in found)
    assert "ch_1" not in str(evidence.listing(stage.house, {"text": "ch_1"}, after=None, newest=None, limit=10))
    call_story.tell(stage.house, found[0]["body"]["verdict_id"])
    events = [event_of(each) for each in stage.house.database.read_log(lambda log: tail(log, None, 100))]
    assert "ch_1" not in str(events)
    assert stage.house.sealing.sealed.manifest.erasures == 1
    stage.clock.advance(seconds=1)
    answer = asyncio.run(review.answers(stage.house, review.Review()))
    assert "ch_1" not in str(answer)
    assert "<erased>" not in str([q["rows"] for q in answer["questions"] if q["name"] == "most-active"])
