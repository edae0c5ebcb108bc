"""Verdicts held against their effects: what agrees, what disagrees, and what is honestly unknown."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.clock import rfc3339
from charter.evidence.reconciliation import (
    SKEW,
    WAITED,
    Agreement,
    Governed,
    Ground,
    Reconciled,
    ended_of,
    reconcile,
    seen_of,
    told_of,
)
from fakes import FixedClock

AT = FixedClock().now()
NOW = AT + dt.timedelta(hours=3)
KNOWN = Governed(
    services={"payments": "payments", "pay.example.com": "payments"},
    operations={
        "payments": {
            "create_refund": ("refund.create", "create_refund"),
            "refund.create": ("refund.create", "create_refund"),
        }
    },
    providers={"openai": "models"},
)
A, D, U = Agreement.AGREES, Agreement.DISAGREES, Agreement.UNKNOWN


def verdict(word: str = "allow", which: str = "vrd_1", **changed: Any) -> dict[str, Any]:
    body = {
        "verdict_id": which,
        "verdict": word,
        "principal": "refund-agent",
        "system": "payments",
        "tool": "create_refund",
        "action": "refund.create",
        "object": "charge/ch_1",
        "door": "mcp",
    }
    return _entry("verdict", body | changed, changed.pop("time", AT))


def outcome(word: str = "ok", which: str = "vrd_1", *, sent: bool = True, **more: Any) -> dict[str, Any]:
    return _entry("outcome", {"verdict_id": which, "outcome": word, "sent": sent} | more, AT + dt.timedelta(seconds=1))


def observed(event: str = "e1", at: dt.datetime = AT, **changed: Any) -> dict[str, Any]:
    body = {
        "source": {"kind": "jsonl", "event": event, "digest": "sha256:0"},
        "at": rfc3339(at),
        "principal": "refund-agent",
        "service": "payments",
        "action": "refund.create",
        "object": "charge/ch_1",
        "outcome": "success",
    }
    return _entry("observed", {k: v for k, v in (body | changed).items() if v is not None}, NOW)


def _entry(kind: str, body: dict[str, Any], at: dt.datetime) -> dict[str, Any]:
    index = next(_indexes)
    return {"index": index, "time": rfc3339(at), "kind": kind, "principal": "prn_1", "actor": "prn_1", "body": body}


_indexes = iter(range(10**6))


def held(*entries: dict[str, Any], at: dt.datetime = NOW) -> Reconciled:
    told = [each for e in entries if e["kind"] == "verdict" and (each := told_of(e))]
    ended = [each for e in entries if e["kind"] == "outcome" and (each := ended_of(e))]
    seen = [each for e in entries if e["kind"] == "observed" and (each := seen_of(e, KNOWN))]
    return reconcile(told, ended, seen, at)


def said(*entries: dict[str, Any], at: dt.datetime = NOW) -> tuple[Agreement, Ground]:
    found = held(*entries, at=at).held[0].judgement
    return found.agreement, found.ground


def alone(*entries: dict[str, Any]) -> list[Ground]:
    return [each.judgement.ground for each in held(*entries).apart]


SOON = AT + dt.timedelta(minutes=1)


@pytest.mark.parametrize(
    ("entries", "at", "expected"),
    [
        ([verdict(), outcome()], NOW, (A, Ground.DONE)),
        ([verdict(), outcome("tool-error")], NOW, (A, Ground.DONE)),
        ([verdict(), outcome("given-up", sent=False)], NOW, (A, Ground.NOT_SENT)),
        ([verdict(), outcome("failed")], NOW, (U, Ground.CUT_OFF)),
        ([verdict(), outcome("cancelled"), observed()], NOW, (A, Ground.DONE)),
        ([verdict(), outcome("failed", sent=False), observed()], NOW, (D, Ground.UNLIKE)),
        ([verdict()], SOON, (U, Ground.UNDER_WAY)),
        ([verdict()], NOW, (U, Ground.NO_OUTCOME)),
        ([verdict(), observed()], NOW, (A, Ground.DONE)),
        ([verdict(door="access")], NOW, (U, Ground.ELSEWHERE)),
        ([verdict(door="access"), observed()], NOW, (A, Ground.DONE)),
        ([verdict("deny")], NOW, (A, Ground.NOT_FORWARDED)),
        ([verdict("escalate")], NOW, (A, Ground.NOT_FORWARDED)),
        ([verdict("deny", door="proxy")], NOW, (U, Ground.ELSEWHERE)),
        ([verdict("deny"), outcome()], NOW, (D, Ground.DONE_ANYWAY)),
        ([verdict("deny"), observed()], NOW, (D, Ground.DONE_ANYWAY)),
        ([verdict("escalate"), observed()], NOW, (D, Ground.DONE_ANYWAY)),
        ([verdict("deny"), observed(outcome="failure")], NOW, (A, Ground.NOT_FORWARDED)),
        ([verdict(), outcome(), observed(object="charge/ch_9")], NOW, (D, Ground.UNLIKE)),
        ([verdict(), outcome(), observed(object="arn:pay:x:charge/ch_1")], NOW, (A, Ground.DONE)),
        ([verdict(object="*"), outcome(), observed(object="charge/ch_9")], NOW, (A, Ground.DONE)),
    ],
)
def test_what_is_said_of_a_verdict(
    entries: list[dict[str, Any]], at: dt.datetime, expected: tuple[Agreement, Ground]
) -> None:
    assert said(*entries, at=at) == expected
    assert not held(*entries, at=at).apart


def test_what_nobody_asked_about_has_no_verdict() -> None:
    assert alone(observed()) == [Ground.NO_VERDICT]
    assert alone(observed(outcome="failure")) == [Ground.NO_VERDICT]  # it was tried
    assert "tried" in held(observed(outcome="failure")).apart[0].judgement.text
    assert alone(observed(service="pay.example.com", action="create_refund")) == [Ground.NO_VERDICT]


def test_an_outcome_needs_a_verdict() -> None:
    assert alone(outcome()) == [Ground.OUTCOME_ALONE]


@pytest.mark.parametrize(
    "entry",
    [
        observed(service="another"),
        observed(action="charge.read"),
        observed(principal=None),
        observed(at=AT, source=None),
        observed() | {"principal": None},
    ],
)
def test_what_is_not_governed_or_nobodys_is_not_judged(entry: dict[str, Any]) -> None:
    assert seen_of(entry, KNOWN) is None


def test_one_allow_accounts_for_one_effect_of_each_source() -> None:
    twice = held(verdict(), outcome(), observed("e1"), observed("e2"))
    other = held(verdict(), outcome(), observed("e1"), observed("e9", source={"kind": "cloudtrail", "event": "e9"}))
    again = held(
        verdict(),
        outcome(),
        *(observed(source={"kind": "kubernetes", "event": f"audit-1/{stage}"}) for stage in ("Started", "Complete")),
    )

    assert [each.judgement.ground for each in twice.apart] == [Ground.NO_VERDICT]
    assert twice.held[0].judgement.ground is Ground.DONE
    assert not other.apart
    assert not again.apart


def test_effects_go_to_the_verdicts_of_just_that_whatever_comes_first() -> None:
    one, two = verdict(which="vrd_1"), verdict("deny", "vrd_2", object="charge/ch_2")
    found = held(one, two, outcome(), observed("e2", object="charge/ch_2"), observed("e1"))

    assert [each.judgement.ground for each in found.held] == [Ground.DONE, Ground.DONE_ANYWAY]

    twice = held(one, two, outcome(), observed("e1"), observed("e3"))  # not laid to the denial of another object
    assert [each.judgement.ground for each in twice.held] == [Ground.DONE, Ground.NOT_FORWARDED]
    assert [each.judgement.ground for each in twice.apart] == [Ground.NO_VERDICT]


def test_a_verdict_of_long_ago_or_of_another_accounts_for_nothing() -> None:
    late = AT + WAITED + SKEW + dt.timedelta(seconds=1)
    assert alone(verdict(), observed(at=late)) == [Ground.NO_VERDICT]
    assert alone(verdict(), observed(at=AT - SKEW - dt.timedelta(seconds=1))) == [Ground.NO_VERDICT]
    assert alone(verdict() | {"principal": "prn_2"}, observed()) == [Ground.NO_VERDICT]
    assert alone(verdict(), observed(at=AT - SKEW)) == []


def chat(span: str, parent: str | None = None, model: str = "small-1-2026", action: str = "chat") -> dict[str, Any]:
    more = {"span": span} | ({"parent": parent} if parent else {})
    told = {"provider": "openai", "name": model}
    return observed(source={"kind": "otlp", "event": span}, service="openai", action=action, model=told, more=more)


def asked(**changed: Any) -> dict[str, Any]:
    of_model = {"system": "models", "tool": "chat", "action": "chat", "object": "model/small-1"}
    return verdict(**of_model | {"model": {"provider": "openai", "name": "small-1"}} | changed)


def test_a_programs_own_spans_of_models_are_laid_to_the_calls_that_it_made() -> None:
    assert not held(asked(), outcome(), chat("a"), chat("b", parent="a")).apart  # told twice, once inside the other
    assert alone(asked(), outcome(), chat("a"), chat("b")) == [Ground.NO_VERDICT]
    assert alone(chat("a", action="invoke_agent x")) == []
    assert said(asked(), outcome(), chat("a", model="big-9")) == (D, Ground.UNLIKE)
    assert said(asked(), outcome(used={"model": "big-9"}), chat("a", model="big-9")) == (A, Ground.DONE)
    assert said(asked(verdict="deny"), chat("a")) == (A, Ground.NOT_FORWARDED)  # it tells of what it tried


words = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.lists(st.text(max_size=3), max_size=2)
bodies = st.dictionaries(
    st.sampled_from(
        ["verdict_id", "verdict", "outcome", "sent", "source", "at", "service", "model", "more", "principal"]
    ),
    words | st.dictionaries(st.sampled_from(["kind", "event", "provider", "name", "span"]), words),
)


@given(bodies)
def test_entries_of_any_shape_are_read_or_passed_over(body: dict[str, Any]) -> None:
    entry = observed() | {"body": body}
    told_of(entry)
    ended_of(entry)
    seen_of(entry, KNOWN)


@given(st.lists(st.sampled_from(["allow", "deny", "ok", "failed", "seen", "seen-other"]), max_size=12))
def test_every_verdict_is_judged_once_and_every_effect_goes_somewhere(words: list[str]) -> None:
    entries = []
    for number, word in enumerate(words):
        match word:
            case "allow" | "deny":
                entries.append(verdict(word, f"vrd_{number}"))
            case "ok" | "failed":
                entries.append(outcome(word, f"vrd_{number - 1}"))
            case _:
                entries.append(observed(f"e{number}", object=f"charge/ch_{1 if word == 'seen' else 2}"))
    found = held(*entries)

    assert len(found.held) == sum(each["kind"] == "verdict" for each in entries)
    laid = [each.index for every in found.held for each in every.seen] + [e.index for e in found.apart if e.seen]
    assert sorted(laid) == sorted(each["index"] for each in entries if each["kind"] == "observed")
    assert all(each.judgement.agreement is Agreement.DISAGREES for each in found.apart)
